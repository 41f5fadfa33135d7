//! The relations of `pg_catalog` and `information_schema` as PostgreSQL 15 has them: names, columns, types.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, IntervalUnit, Schema, SchemaRef, TimeUnit};

use crate::storage::schema::{LIST_ELEMENT, SQL_TYPE_KEY};

/// `schema, name, kind, oid, column:type column:type ..`, a relation a line.
const RELATIONS: &str = include_str!("data/relations.tsv");

/// A relation of the system.
#[derive(Debug)]
pub(super) struct SystemRelation {
    /// Its SQL schema.
    pub schema: &'static str,
    /// Its name.
    pub name: &'static str,
    /// `r` for a table, `v` for a view.
    pub kind: &'static str,
    /// Its OID.
    pub oid: u32,
    /// Its columns.
    pub columns: Vec<SystemColumn>,
    /// The columns as Arrow has them.
    pub arrow: SchemaRef,
}

/// A column of a system relation.
#[derive(Debug)]
pub(super) struct SystemColumn {
    /// Its name.
    pub name: &'static str,
    /// How its values are kept.
    pub kind: Kind,
}

/// How values of a column are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    /// Values without a form of their own here; always NULL.
    Other(DataType),
    /// Microseconds since 1970 UTC.
    Instant,
    /// OIDs and other unsigned numbers, under the name of their type.
    Oid(&'static str),
    /// Text under the name of its type.
    Text(&'static str),
    /// An array, under the name of its type where that is none of `element[]`.
    List(Box<Kind>, Option<&'static str>),
}

impl Kind {
    fn of(name: &'static str) -> Self {
        if let Some(element) = name.strip_suffix("[]") {
            return Self::List(Box::new(Self::of(element)), None);
        }
        match name {
            "bool" => Self::Bool,
            "int2" => Self::Int2,
            "int4" | "cardinal_number" => Self::Int4,
            "int8" => Self::Int8,
            "float4" => Self::Float4,
            "float8" => Self::Float8,
            "timestamptz" | "time_stamp" => Self::Instant,
            "oid" | "xid" | "regproc" | "regtype" | "regclass" => Self::Oid(name),
            "sql_identifier" => Self::Text("name"),
            "character_data" | "yes_or_no" => Self::Text("varchar"),
            "int2vector" => Self::List(Box::new(Self::Int2), Some(name)),
            "oidvector" => Self::List(Box::new(Self::Oid("oid")), Some(name)),
            "interval" => Self::Other(DataType::Interval(IntervalUnit::MonthDayNano)),
            "bytea" => Self::Other(DataType::Binary),
            "numeric" => Self::Other(DataType::Decimal128(38, 10)),
            name => Self::Text(name),
        }
    }

    /// The Arrow type of the column.
    pub fn data_type(&self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int2 => DataType::Int16,
            Self::Int4 => DataType::Int32,
            Self::Int8 => DataType::Int64,
            Self::Float4 => DataType::Float32,
            Self::Float8 => DataType::Float64,
            Self::Other(data_type) => data_type.clone(),
            Self::Instant => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Oid(_) => DataType::UInt32,
            Self::Text(_) => DataType::Utf8,
            Self::List(element, _) => {
                // The list says what its elements are, in its own metadata.
                let element = Field::new(LIST_ELEMENT, element.data_type(), true);
                DataType::List(Arc::new(element))
            }
        }
    }

    /// A nullable field of the kind, which says the type's name where Arrow's type does not.
    pub fn field(&self, name: &str) -> Field {
        let field = Field::new(name, self.data_type(), true);
        let named = match self {
            Self::Text("text") => None,
            Self::Oid(name) | Self::Text(name) | Self::List(_, Some(name)) => {
                Some((*name).to_string())
            }
            Self::List(element, None) => match element.as_ref() {
                Self::Text("text") => None,
                Self::Oid(name) | Self::Text(name) => Some(format!("{name}[]")),
                _ => None,
            },
            _ => None,
        };
        match named {
            Some(name) => field.with_metadata([(SQL_TYPE_KEY.to_string(), name)].into()),
            None => field,
        }
    }
}

static ALL: LazyLock<Vec<SystemRelation>> =
    LazyLock::new(|| RELATIONS.lines().filter_map(parse).collect());

static BY_NAME: LazyLock<HashMap<(&'static str, &'static str), &'static SystemRelation>> =
    LazyLock::new(|| ALL.iter().map(|r| ((r.schema, r.name), r)).collect());

fn parse(line: &'static str) -> Option<SystemRelation> {
    let mut parts = line.split('\t');
    let (schema, name, kind) = (parts.next()?, parts.next()?, parts.next()?);
    let oid = parts.next()?.parse().ok()?;
    let column = |text: &'static str| {
        let (name, kind) = text.split_once(':')?;
        let kind = Kind::of(kind);
        Some(SystemColumn { name, kind })
    };
    let columns: Vec<_> = parts.next()?.split(' ').filter_map(column).collect();
    let fields: Vec<Field> = columns.iter().map(|c| c.kind.field(c.name)).collect();
    Some(SystemRelation {
        schema,
        name,
        kind,
        oid,
        columns,
        arrow: Arc::new(Schema::new(fields)),
    })
}

/// Every relation of `pg_catalog` and `information_schema`.
pub(super) fn all() -> &'static [SystemRelation] {
    &ALL
}

/// The relation of that name.
pub(super) fn find(schema: &str, name: &str) -> Option<&'static SystemRelation> {
    BY_NAME.get(&(schema, name)).copied()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::catalog::pg_type::{oid, type_of};

    #[test]
    fn every_line_is_a_relation() {
        assert_eq!(all().len(), RELATIONS.lines().count());
        assert_eq!(find("pg_catalog", "pg_class").unwrap().columns.len(), 33);
        assert!(find("information_schema", "columns").is_some());
    }

    #[test]
    fn columns_have_the_types_of_postgres() {
        let class = find("pg_catalog", "pg_class").unwrap();
        let of = |name: &str| type_of(class.arrow.field_with_name(name).unwrap()).oid;
        assert_eq!(of("oid"), oid::OID);
        assert_eq!(of("relname"), oid::NAME);
        assert_eq!(of("relkind"), oid::CHAR);
        assert_eq!(of("reloptions"), oid::TEXT_ARRAY);
        assert_eq!(of("relacl"), oid::ACLITEM_ARRAY);
        let index = find("pg_catalog", "pg_index").unwrap();
        let key = type_of(index.arrow.field_with_name("indkey").unwrap());
        assert_eq!(key.oid, oid::INT2VECTOR);
    }
}
