//! The bound of a new partition: its values become those of the columns, and it must not overlap another.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::Expr;

use super::{Bound, End};
use crate::catalog::assign::{assign, text_of};
use crate::catalog::routing::{list_key, range_key};
use crate::error::{Error, Result, sqlstate};
use crate::sql::mend::mend_expression;
use crate::sql::session::Planning;
use crate::storage::change::{QualifiedName, View};
use crate::storage::collection::Collection;
use crate::storage::partition::{KeyValue, PartitionBound, RangeEnd, Strategy, end};
use crate::storage::schema::{Column, ColumnType};
use crate::storage::stats;

/// A bound for a new partition of a collection.
pub(super) struct NewBound<'a> {
    pub planning: &'a Planning<'a>,
    pub parent: &'a Collection,
    /// The name of the partition.
    pub name: &'a QualifiedName,
}

impl NewBound<'_> {
    /// The bound as it is stored.
    ///
    /// # Errors
    /// 42P16 for a bound of another kind than the collection is divided by, 42P17 for an empty one and one that overlaps
    /// another.
    pub async fn read(&self, bound: &Bound) -> Result<PartitionBound> {
        let columns = key_columns(self.parent);
        let strategy = self.strategy()?;
        let read = match (strategy, bound) {
            (Strategy::Hash, Bound::Default) => {
                let message = "a hash-partitioned table may not have a default partition";
                return Err(malformed(message));
            }
            (_, Bound::Default) => PartitionBound::Default,
            (Strategy::List, Bound::List(values)) => {
                let column = columns.first();
                let column = column.ok_or_else(|| Error::internal("a key without columns"))?;
                self.list(values, column).await?
            }
            (Strategy::Range, Bound::Range(from, to)) => self.range(from, to, &columns).await?,
            (Strategy::Hash, Bound::Hash(modulus, remainder)) => hash(*modulus, *remainder)?,
            (strategy, _) => {
                let kind = strategy.word().to_lowercase();
                let message = format!("invalid bound specification for a {kind} partition");
                return Err(malformed(&message));
            }
        };
        let types: Vec<DataType> = columns.iter().map(|c| c.column_type.arrow_type()).collect();
        if let PartitionBound::Range { from, to } = &read {
            self.check_not_empty(&types, from, to)?;
        }
        self.check_alone(&types, &read)?;
        Ok(read)
    }

    fn strategy(&self) -> Result<Strategy> {
        let partitioning = self.parent.schema.partitioning.as_ref();
        Ok(partitioning
            .ok_or_else(|| not_partitioned(self.parent))?
            .strategy)
    }

    async fn list(&self, values: &[Expr], column: &Column) -> Result<PartitionBound> {
        let mut list = Vec::with_capacity(values.len());
        for value in values {
            let value = self.value(value, column).await?;
            if !list.contains(&value) {
                list.push(value);
            }
        }
        Ok(PartitionBound::List(list))
    }

    async fn range(&self, from: &[End], to: &[End], columns: &[&Column]) -> Result<PartitionBound> {
        for (ends, word) in [(from, "FROM"), (to, "TO")] {
            if ends.len() != columns.len() {
                let message =
                    format!("{word} must specify exactly one value per partitioning column");
                return Err(malformed(&message));
            }
            check_open_ends(ends)?;
        }
        Ok(PartitionBound::Range {
            from: self.ends(from, columns).await?,
            to: self.ends(to, columns).await?,
        })
    }

    async fn ends(&self, ends: &[End], columns: &[&Column]) -> Result<Vec<RangeEnd>> {
        let mut read = Vec::with_capacity(ends.len());
        for (end, column) in ends.iter().zip(columns) {
            read.push(match end {
                End::Min => RangeEnd::Min,
                End::Max => RangeEnd::Max,
                End::Value(value) => {
                    let value = self.value(value, column).await?;
                    let none = || invalid("cannot specify NULL in range bound".to_string());
                    RangeEnd::Value(value.ok_or_else(none)?)
                }
            });
        }
        Ok(read)
    }

    /// The value of an expression as the column has it; `None` for NULL.
    async fn value(&self, expr: &Expr, column: &Column) -> Result<Option<KeyValue>> {
        if matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) {
            let message = "cannot use column reference in partition bound expression";
            return Err(Error::unsupported(message));
        }
        let mut expr = expr.clone();
        mend_expression(&mut expr)?;
        let given = self.planning.evaluate_expr(expr).await?;
        let cast = assign(&given.to_array()?, column, &self.planning.zone());
        let array = cast.map_err(|refused| match refused.error.sqlstate() {
            sqlstate::DATATYPE_MISMATCH => cannot_cast(column),
            _ => refused.error,
        })?;
        let stored = ScalarValue::try_from_array(&array, 0)?;
        if stored.is_null() {
            return Ok(None);
        }
        let value = stats::Bound::from_scalar(&stored).ok_or_else(|| cannot_cast(column))?;
        let text = text_of(&array)?;
        let sql = constant(text.value(0), &column.column_type);
        Ok(Some(KeyValue { value, sql }))
    }

    fn check_not_empty(
        &self,
        types: &[DataType],
        from: &[RangeEnd],
        to: &[RangeEnd],
    ) -> Result<()> {
        if range_key(types, from)? < range_key(types, to)? {
            return Ok(());
        }
        let name = &self.name.name;
        let message = format!("empty range bound specified for partition \"{name}\"");
        let detail = format!(
            "Specified lower bound {} is greater than or equal to upper bound {}.",
            end(from),
            end(to)
        );
        Err(invalid(message).with_detail(detail))
    }

    /// That no other partition has rows of the bound.
    fn check_alone(&self, types: &[DataType], bound: &PartitionBound) -> Result<()> {
        let name = &self.name.name;
        let others = self.parent.partitions().iter();
        let others = others.filter_map(|view| Some((view, &view.partition.as_ref()?.bound)));
        for (other, taken) in others {
            let other: &View = other;
            let overlaps = match (bound, taken) {
                (PartitionBound::Default, PartitionBound::Default) => {
                    let other = &other.name.name;
                    return Err(invalid(format!(
                        "partition \"{name}\" conflicts with existing default partition \"{other}\""
                    )));
                }
                (PartitionBound::List(new), PartitionBound::List(taken)) => {
                    let keys = |list: &[Option<KeyValue>]| {
                        let keys = list.iter().map(|value| list_key(types, value.as_ref()));
                        keys.collect::<Result<Vec<_>>>()
                    };
                    let taken = keys(taken)?;
                    keys(new)?.iter().any(|key| taken.contains(key))
                }
                (
                    PartitionBound::Range { from, to },
                    PartitionBound::Range {
                        from: taken_from,
                        to: taken_to,
                    },
                ) => {
                    range_key(types, from)? < range_key(types, taken_to)?
                        && range_key(types, taken_from)? < range_key(types, to)?
                }
                (
                    PartitionBound::Hash { modulus, remainder },
                    PartitionBound::Hash {
                        modulus: taken_modulus,
                        remainder: taken_remainder,
                    },
                ) => {
                    check_factor(*modulus, *taken_modulus, &other.name.name)?;
                    let least = modulus.min(taken_modulus);
                    remainder % least == taken_remainder % least
                }
                _ => false,
            };
            if overlaps {
                let other = &other.name.name;
                return Err(invalid(format!(
                    "partition \"{name}\" would overlap partition \"{other}\""
                )));
            }
        }
        Ok(())
    }
}

/// The columns of a collection's partition key.
pub(super) fn key_columns(parent: &Collection) -> Vec<&Column> {
    let key = parent.schema.partitioning.iter().flat_map(|of| &of.columns);
    key.filter_map(|id| parent.schema.column_by_id(*id))
        .collect()
}

/// 42P17 for a table that is not divided.
pub(super) fn not_partitioned(collection: &Collection) -> Error {
    invalid(format!(
        "table \"{}\" is not partitioned",
        collection.name.name
    ))
}

/// That nothing but MINVALUE comes behind MINVALUE, and the same of MAXVALUE.
fn check_open_ends(ends: &[End]) -> Result<()> {
    for pair in ends.windows(2) {
        let word = match (&pair[0], &pair[1]) {
            (End::Min, End::Max | End::Value(_)) => "MINVALUE",
            (End::Max, End::Min | End::Value(_)) => "MAXVALUE",
            _ => continue,
        };
        let message = format!("every bound following {word} must also be {word}");
        return Err(Error::invalid(sqlstate::DATATYPE_MISMATCH, message));
    }
    Ok(())
}

fn hash(modulus: i64, remainder: i64) -> Result<PartitionBound> {
    if modulus <= 0 {
        return Err(malformed(
            "modulus for hash partition must be an integer value greater than zero",
        ));
    }
    if remainder >= modulus {
        return Err(malformed(
            "remainder for hash partition must be less than modulus",
        ));
    }
    let too_large = || malformed("modulus for hash partition is too large");
    let modulus = u32::try_from(modulus).ok().filter(|m| *m <= MODULUS_MAX);
    Ok(PartitionBound::Hash {
        modulus: modulus.ok_or_else(too_large)?,
        remainder: u32::try_from(remainder).map_err(|_| too_large())?,
    })
}

/// Each remainder of the greatest modulus has its partition in a table.
const MODULUS_MAX: u32 = 65_536;

/// That one modulus is a factor of the other.
fn check_factor(new: u32, taken: u32, other: &str) -> Result<()> {
    let (less, greater) = (new.min(taken), new.max(taken));
    if greater % less == 0 {
        return Ok(());
    }
    let detail = match new < taken {
        true => format!(
            "The new modulus {new} is not a factor of {taken}, the modulus of existing partition \
             \"{other}\"."
        ),
        false => format!(
            "The new modulus {new} is not divisible by {taken}, the modulus of existing partition \
             \"{other}\"."
        ),
    };
    let message = "every hash partition modulus must be a factor of the next larger modulus";
    Err(invalid(message.to_string()).with_detail(detail))
}

/// A value as PostgreSQL writes it in a bound.
fn constant(text: &str, column_type: &ColumnType) -> String {
    let is_plain = match column_type.base() {
        ColumnType::Integer | ColumnType::Numeric(..) => {
            text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        }
        ColumnType::Boolean => true,
        _ => false,
    };
    // A zone of whole hours has no minutes.
    let text = match column_type.base() {
        ColumnType::TimestampTz => text.strip_suffix(":00").unwrap_or(text),
        _ => text,
    };
    match is_plain {
        true => text.to_string(),
        false => format!("'{}'", text.replace('\'', "''")),
    }
}

fn cannot_cast(column: &Column) -> Error {
    let message = format!(
        "specified value cannot be cast to type {} for column \"{}\"",
        column.column_type, column.name
    );
    Error::invalid(sqlstate::DATATYPE_MISMATCH, message)
}

fn malformed(message: &str) -> Error {
    Error::invalid(sqlstate::INVALID_TABLE_DEFINITION, message)
}

fn invalid(message: String) -> Error {
    Error::invalid(sqlstate::INVALID_OBJECT_DEFINITION, message)
}
