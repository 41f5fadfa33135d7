//! Partitions: bounds that say which rows of a partitioned collection are whose.
//!
//! The collection holds the rows of all its partitions. A partition is a [`View`] of it with a bound: the query of the
//! view is made of the bound, and made again when the collection or another partition changes.

use serde::{Deserialize, Serialize};

use super::change::View;
use super::collection::Collection;
use super::schema::{CollectionId, CollectionSchema, Column, ColumnType, FieldId};
use super::stats::Bound;

/// The function that tells whether values belong to a remainder of their hash.
pub const HASH_FUNCTION: &str = "satisfies_hash_partition";

/// How the rows of a collection are divided: PARTITION BY.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partitioning {
    /// By what of the key.
    pub strategy: Strategy,
    /// The columns of the key.
    pub columns: Vec<FieldId>,
}

/// What of its key tells the partition of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Which of the listed values it is.
    List,
    /// In which range it is.
    Range,
    /// The remainder of its hash.
    Hash,
}

impl Strategy {
    /// The word of SQL for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::List => "LIST",
            Self::Range => "RANGE",
            Self::Hash => "HASH",
        }
    }
}

impl Partitioning {
    /// As SQL has it, behind PARTITION BY.
    pub fn definition(&self, schema: &CollectionSchema, quote: impl Fn(&str) -> String) -> String {
        let columns = self.columns.iter();
        let columns = columns.filter_map(|id| schema.column_by_id(*id));
        let names: Vec<String> = columns.map(|column| quote(&column.name)).collect();
        format!("{} ({})", self.strategy.word(), names.join(", "))
    }
}

/// A value of a key's column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyValue {
    /// As it is stored.
    pub value: Bound,
    /// As SQL reads it: a constant.
    pub sql: String,
}

/// An end of a range in one column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RangeEnd {
    /// MINVALUE: before all values.
    Min,
    /// The value.
    Value(KeyValue),
    /// MAXVALUE: behind all values.
    Max,
}

/// Which rows a partition has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartitionBound {
    /// Those that no other partition has.
    Default,
    /// Those of the values, of which one may be NULL.
    List(Vec<Option<KeyValue>>),
    /// Those from a first key up to another, which is not in it.
    Range {
        /// The first.
        from: Vec<RangeEnd>,
        /// The one behind the last.
        to: Vec<RangeEnd>,
    },
    /// Those with that remainder.
    Hash {
        /// What the hash is divided by.
        modulus: u32,
        /// The remainder.
        remainder: u32,
    },
}

/// What makes a view a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Of which collection.
    pub parent: CollectionId,
    /// Which of its rows.
    pub bound: PartitionBound,
}

impl PartitionBound {
    /// As SQL has it, behind the names.
    pub fn definition(&self) -> String {
        match self {
            Self::Default => "DEFAULT".to_string(),
            Self::List(values) => {
                let values = values.iter();
                let values = values.map(|v| v.as_ref().map_or("NULL", |v| v.sql.as_str()));
                format!("FOR VALUES IN ({})", comma_separated(values))
            }
            Self::Range { from, to } => format!("FOR VALUES FROM {} TO {}", end(from), end(to)),
            Self::Hash { modulus, remainder } => {
                format!("FOR VALUES WITH (modulus {modulus}, remainder {remainder})")
            }
        }
    }
}

fn comma_separated<'a>(parts: impl Iterator<Item = &'a str>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

/// An end of a range, as SQL has it.
pub fn end(end: &[RangeEnd]) -> String {
    let of = |end: &RangeEnd| match end {
        RangeEnd::Min => "MINVALUE".to_string(),
        RangeEnd::Max => "MAXVALUE".to_string(),
        RangeEnd::Value(value) => value.sql.clone(),
    };
    format!("({})", end.iter().map(of).collect::<Vec<_>>().join(", "))
}

/// The query for the rows of a partition, and the partitions of the same collection.
pub fn query(parent: &Collection, partition: &Partition, all: &[PartitionBound]) -> String {
    let columns = parent.schema.columns.iter();
    let columns: Vec<String> = columns.map(|column| quoted(&column.name)).collect();
    let (schema, name) = (quoted(&parent.name.schema), quoted(&parent.name.name));
    let columns = columns.join(", ");
    match condition(parent, &partition.bound, all) {
        Some(condition) => format!("SELECT {columns} FROM {schema}.{name} WHERE {condition}"),
        None => format!("SELECT {columns} FROM {schema}.{name}"),
    }
}

/// The condition, true or false, for the rows that a bound has among the bounds of `all`; none for all rows.
pub fn condition(
    parent: &Collection,
    bound: &PartitionBound,
    all: &[PartitionBound],
) -> Option<String> {
    let partitioning = parent.schema.partitioning.as_ref()?;
    let columns = partitioning.columns.iter();
    let columns = columns.filter_map(|id| parent.schema.column_by_id(*id));
    let columns: Vec<KeyColumn> = columns.map(KeyColumn::of).collect();
    Some(match bound {
        PartitionBound::Default => {
            let others = all.iter().filter(|b| **b != PartitionBound::Default);
            let others = others.filter_map(|bound| condition(parent, bound, all));
            let others: Vec<String> = others.map(|c| format!("NOT ({c})")).collect();
            return (!others.is_empty()).then(|| others.join(" AND "));
        }
        PartitionBound::List(values) => columns.first()?.in_list(values),
        PartitionBound::Range { from, to } => in_range(&columns, from, to),
        PartitionBound::Hash { modulus, remainder } => {
            let columns: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
            let columns = columns.join(", ");
            let parent = parent.id;
            format!("{HASH_FUNCTION}({parent}, {modulus}, {remainder}, {columns})")
        }
    })
}

/// A column of a key in conditions.
struct KeyColumn {
    /// Its name, in quotes.
    name: String,
    column_type: ColumnType,
}

impl KeyColumn {
    fn of(column: &Column) -> Self {
        Self {
            name: quoted(&column.name),
            column_type: column.column_type.clone(),
        }
    }

    /// A value of the column, as a condition has it.
    fn operand(&self, value: &KeyValue) -> String {
        use ColumnType as T;
        let sql = &value.sql;
        let of = self.column_type.base();
        match of {
            T::TinyInt | T::SmallInt | T::Integer | T::BigInt => {
                let number = sql.trim_matches('\'');
                match number.starts_with('-') {
                    true => format!("({number})"),
                    false => number.to_string(),
                }
            }
            T::Real
            | T::Double
            | T::Numeric(..)
            | T::Date
            | T::Time
            | T::Timestamp
            | T::TimestampTz => {
                format!("CAST('{}' AS {of})", sql.trim_matches('\''))
            }
            _ => sql.clone(),
        }
    }

    fn in_list(&self, values: &[Option<KeyValue>]) -> String {
        let column = &self.name;
        let operands = values.iter().flatten().map(|value| self.operand(value));
        let operands: Vec<String> = operands.collect();
        let is_listed = match operands.as_slice() {
            [] => return format!("{column} IS NULL"),
            [one] => format!("{column} = {one}"),
            several => format!("{column} IN ({})", several.join(", ")),
        };
        match values.contains(&None) {
            true => format!("({column} IS NULL OR {is_listed})"),
            false => format!("{column} IS NOT NULL AND {is_listed}"),
        }
    }
}

fn in_range(columns: &[KeyColumn], from: &[RangeEnd], to: &[RangeEnd]) -> String {
    let known = columns.iter().map(|c| format!("{} IS NOT NULL", c.name));
    let mut parts: Vec<String> = known.collect();
    for (end, is_upper) in [(from, false), (to, true)] {
        match beyond(columns, end, is_upper) {
            Side::All => {}
            Side::None => parts.push("false".to_string()),
            Side::Some(condition) => parts.push(condition),
        }
    }
    parts.join(" AND ")
}

/// The keys on one side of an end.
enum Side {
    All,
    None,
    Some(String),
}

/// The keys from an end on, or those before it.
fn beyond(columns: &[KeyColumn], end: &[RangeEnd], is_upper: bool) -> Side {
    let ([column, columns @ ..], [first, rest @ ..]) = (columns, end) else {
        // A key equal to the end is behind it.
        return if is_upper { Side::None } else { Side::All };
    };
    let value = match first {
        RangeEnd::Min if is_upper => return Side::None,
        RangeEnd::Max if !is_upper => return Side::None,
        RangeEnd::Min | RangeEnd::Max => return Side::All,
        RangeEnd::Value(value) => column.operand(value),
    };
    let operator = if is_upper { '<' } else { '>' };
    let column = &column.name;
    Side::Some(match beyond(columns, rest, is_upper) {
        Side::All => format!("{column} {operator}= {value}"),
        Side::None => format!("{column} {operator} {value}"),
        // The first part alone is what segments are told from each other by.
        Side::Some(condition) => format!(
            "{column} {operator}= {value} AND ({column} {operator} {value} OR ({condition}))"
        ),
    })
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl View {
    /// What it is, in words.
    pub fn kind(&self) -> &'static str {
        match self.partition {
            Some(_) => "table",
            None => "view",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(number: i64) -> RangeEnd {
        let value = Bound::Int(number);
        let sql = number.to_string();
        RangeEnd::Value(KeyValue { value, sql })
    }

    fn range(from: &[RangeEnd], to: &[RangeEnd]) -> String {
        let columns = ["a", "b"].map(column);
        in_range(&columns[..from.len()], from, to)
    }

    fn column(name: &str) -> KeyColumn {
        KeyColumn {
            name: name.to_string(),
            column_type: ColumnType::Integer,
        }
    }

    #[test]
    fn a_range_is_a_condition_on_each_column() {
        assert_eq!(
            range(&[value(1)], &[value(10)]),
            "a IS NOT NULL AND a >= 1 AND a < 10"
        );
        assert_eq!(range(&[RangeEnd::Min], &[RangeEnd::Max]), "a IS NOT NULL");
        assert_eq!(
            range(&[value(1), RangeEnd::Max], &[value(2), RangeEnd::Max]),
            "a IS NOT NULL AND b IS NOT NULL AND a > 1 AND a <= 2"
        );
        assert_eq!(
            range(&[value(1), RangeEnd::Min], &[value(2), value(7)]),
            "a IS NOT NULL AND b IS NOT NULL AND a >= 1 AND a <= 2 AND (a < 2 OR (b < 7))"
        );
    }

    #[test]
    fn a_list_has_null_where_it_says_so() {
        let of = |number: i64| {
            let value = Bound::Int(number);
            let sql = number.to_string();
            Some(KeyValue { value, sql })
        };
        assert_eq!(column("a").in_list(&[None]), "a IS NULL");
        assert_eq!(column("a").in_list(&[of(1)]), "a IS NOT NULL AND a = 1");
        assert_eq!(
            column("a").in_list(&[of(1), None, of(2)]),
            "(a IS NULL OR a IN (1, 2))"
        );
    }
}
