//! The types that PostgreSQL has beside those of SQL (`oid`, `name`, `regclass`), as DataFusion's planner asks for them.

use std::sync::Arc;

use arrow::datatypes::{DataType as Arrow, Field, FieldRef, TimeUnit};
use datafusion::common::Result;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::{DataType, TimezoneInfo};

use crate::catalog::pg::field_of_type;

/// Plans types by their names in `pg_type`; a schema before the name is ignored.
#[derive(Debug, Default)]
pub(crate) struct PgTypePlanner;

impl TypePlanner for PgTypePlanner {
    fn plan_type_field(&self, sql_type: &DataType) -> Result<Option<FieldRef>> {
        let field = match sql_type {
            DataType::Regclass => field_of_type("regclass", false),
            DataType::Time(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
                unnamed(Arrow::Time64(TimeUnit::Microsecond))
            }
            // In microseconds, as columns are: nanoseconds end in 2262.
            DataType::Timestamp(_, zone) => {
                let has_zone = matches!(zone, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone);
                let zone = has_zone.then(|| "UTC".into());
                unnamed(Arrow::Timestamp(TimeUnit::Microsecond, zone))
            }
            DataType::Uuid => field_of_type("uuid", false),
            DataType::JSON => field_of_type("json", false),
            DataType::JSONB => field_of_type("jsonb", false),
            DataType::CharacterVarying(_) | DataType::CharVarying(_) => {
                field_of_type("varchar", false)
            }
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

fn unnamed(data_type: Arrow) -> Option<Field> {
    Some(Field::new("", data_type, true))
}
