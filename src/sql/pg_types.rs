//! The types that PostgreSQL has beside those of SQL (`oid`, `name`, `regclass`), as DataFusion's planner asks for them.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::{ArrayElemTypeDef, DataType, TimezoneInfo};

use super::types::{characters, column_type};
use crate::catalog::pg::field_of_type;
use crate::storage::schema::{ColumnType, LIST_ELEMENT, SQL_TYPE_KEY};

/// Plans types by their names in `pg_type`; a schema before the name is ignored.
#[derive(Debug, Default)]
pub(crate) struct PgTypePlanner;

impl TypePlanner for PgTypePlanner {
    fn plan_type_field(&self, sql_type: &DataType) -> Result<Option<FieldRef>> {
        let field = match sql_type {
            DataType::Regclass => field_of_type("regclass", false),
            DataType::Time(digits, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
                in_seconds(ColumnType::Time, *digits)
            }
            // In microseconds, as columns are: nanoseconds end in 2262.
            DataType::Timestamp(digits, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone) => {
                in_seconds(ColumnType::TimestampTz, *digits)
            }
            DataType::Timestamp(digits, _) => in_seconds(ColumnType::Timestamp, *digits),
            DataType::Interval {
                fields: None,
                precision: Some(digits),
            } => in_seconds(ColumnType::Interval, Some(*digits)),
            DataType::Char(length) | DataType::Character(length) => {
                Some(named(&ColumnType::Char(Some(characters(length.as_ref())?))))
            }
            DataType::Uuid => field_of_type("uuid", false),
            DataType::JSON => field_of_type("json", false),
            DataType::JSONB => field_of_type("jsonb", false),
            DataType::CharacterVarying(_) | DataType::CharVarying(_) | DataType::Varchar(_) => {
                field_of_type("varchar", false)
            }
            // To DataFusion FLOAT is REAL.
            DataType::Float(_) => match column_type(sql_type)? {
                ColumnType::Real => field_of_type("float4", false),
                _ => field_of_type("float8", false),
            },
            DataType::Array(
                ArrayElemTypeDef::SquareBracket(inner, _)
                | ArrayElemTypeDef::AngleBracket(inner)
                | ArrayElemTypeDef::Parenthesis(inner),
            ) => self.plan_type_field(inner)?.as_deref().and_then(array_of),
            DataType::Custom(name, arguments) if arguments.is_empty() => {
                let last = name.0.last().and_then(|part| part.as_ident());
                last.and_then(|ident| match ident.quote_style {
                    Some(_) => field_of_type(&ident.value, true),
                    None => field_of_type(&ident.value.to_lowercase(), false),
                })
            }
            _ => None,
        };
        Ok(field.map(Arc::new))
    }
}

/// Arrays of elements whose type has a name. The array's field has it (`uuid[]`): values of DataFusion keep none inside a
/// list.
fn array_of(element: &Field) -> Option<Field> {
    let name = element.metadata().get(SQL_TYPE_KEY)?;
    // An array of arrays is one array of several dimensions.
    let name = name.strip_suffix("[]").unwrap_or(name);
    let metadata = [(SQL_TYPE_KEY.to_string(), format!("{name}[]"))];
    let element = Field::new(LIST_ELEMENT, element.data_type().clone(), true);
    Some(Field::new_list("", element, true).with_metadata(metadata.into()))
}

/// A field of the type, which says the digits of its seconds where they are given.
fn in_seconds(of: ColumnType, digits: Option<u64>) -> Option<Field> {
    let Some(digits) = digits else {
        return Some(Field::new("", of.arrow_type(), true));
    };
    Some(named(&of.rounded(digits)))
}

/// A field that says the whole type.
fn named(of: &ColumnType) -> Field {
    let metadata = [(SQL_TYPE_KEY.to_string(), of.sql_type())];
    Field::new("", of.arrow_type(), true).with_metadata(metadata.into())
}
