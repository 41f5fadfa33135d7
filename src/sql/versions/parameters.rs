//! `FOR VERSION AS OF $1`: versions that are named when a statement is executed.
//!
//! While such a statement is prepared the relation is read as of the newest version, which tells its columns. With the values
//! it is planned again; a version with other columns is an error then.

use std::ops::ControlFlow;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast::{self, TableFactor, TableVersion, Value, VisitorMut};

use crate::error::{Error, Result, sqlstate};
use crate::sql::parameters::place_of;
use crate::sql::statement::Statement;
use crate::sql::walk;
use crate::storage::schema::Version;

/// What stands in the place of a version.
enum Wanted {
    Number,
    Time,
}

impl Wanted {
    fn data_type(&self) -> DataType {
        match self {
            Self::Number => DataType::Int64,
            Self::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }
}

/// The parameters of a query that name versions, by their places, with their types.
///
/// # Errors
/// 42P02 for `$0`, 54023 for too many parameters.
pub(in crate::sql) fn parameters(statement: &Statement) -> Result<Vec<(usize, FieldRef)>> {
    let mut found = Vec::new();
    let mut statement = statement.clone();
    replace(&mut statement, |place, wanted| {
        found.push((place, Field::new("", wanted.data_type(), true).into()));
        Ok(None)
    })?;
    Ok(found)
}

/// The statement with the newest version in place of those that are parameters.
///
/// # Errors
/// As [`parameters`].
pub(in crate::sql) fn as_of_newest(mut statement: Statement, newest: Version) -> Result<Statement> {
    replace(&mut statement, |_, _| Ok(Some(version(newest.0))))?;
    Ok(statement)
}

/// The statement with values in place of the parameters that name versions; whether there were any.
///
/// # Errors
/// 22004 for NULL, 22023 for a number that no version can have.
pub(in crate::sql) fn with_values(
    mut statement: Statement,
    values: &[ScalarValue],
) -> Result<(Statement, bool)> {
    let mut any = false;
    replace(&mut statement, |place, wanted| {
        any = true;
        let value = values.get(place).unwrap_or(&ScalarValue::Null);
        match (wanted, value) {
            (_, value) if value.is_null() => {
                let message = "the version that is to be read is NULL";
                Err(Error::invalid(sqlstate::NULL_VALUE_NOT_ALLOWED, message))
            }
            (Wanted::Number, ScalarValue::Int64(Some(number))) if *number >= 0 => {
                Ok(Some(version(number.unsigned_abs())))
            }
            (Wanted::Time, ScalarValue::TimestampMicrosecond(Some(time), _)) => {
                Ok(Some(time_version(*time)?))
            }
            (_, other) => {
                let message = format!("{other} is not the number of a version");
                Err(Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message))
            }
        }
    })?;
    Ok((statement, any))
}

fn version(number: u64) -> TableVersion {
    TableVersion::VersionAsOf(literal(Value::Number(number.to_string(), false)))
}

fn time_version(microseconds: i64) -> Result<TableVersion> {
    let time = chrono::DateTime::from_timestamp_micros(microseconds).ok_or_else(|| {
        let message = "the time of a version is out of range";
        Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message)
    })?;
    let text = time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    Ok(TableVersion::TimestampAsOf(literal(
        Value::SingleQuotedString(text),
    )))
}

fn literal(value: Value) -> ast::Expr {
    ast::Expr::Value(value.with_empty_span())
}

/// The name of the parameter that an expression is, casts and parentheses aside.
fn placeholder(expr: &ast::Expr) -> Option<&str> {
    match expr {
        ast::Expr::Value(value) => match &value.value {
            Value::Placeholder(name) => Some(name),
            _ => None,
        },
        ast::Expr::Nested(inner) | ast::Expr::Cast { expr: inner, .. } => placeholder(inner),
        _ => None,
    }
}

/// Calls `with` for each version that is a parameter, with its place, and puts what it answers there. Of queries alone:
/// nothing else may name a version by a parameter.
fn replace(
    statement: &mut Statement,
    with: impl FnMut(usize, Wanted) -> Result<Option<TableVersion>>,
) -> Result<()> {
    struct Replace<F>(F);
    impl<F: FnMut(usize, Wanted) -> Result<Option<TableVersion>>> VisitorMut for Replace<F> {
        type Break = Error;
        fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
            let TableFactor::Table {
                version: Some(version),
                ..
            } = factor
            else {
                return ControlFlow::Continue(());
            };
            let (expr, wanted) = match version {
                TableVersion::VersionAsOf(expr) => (expr, Wanted::Number),
                TableVersion::TimestampAsOf(expr) | TableVersion::ForSystemTimeAsOf(expr) => {
                    (expr, Wanted::Time)
                }
                _ => return ControlFlow::Continue(()),
            };
            let Some(name) = placeholder(expr) else {
                return ControlFlow::Continue(());
            };
            match place_of(name).and_then(|place| (self.0)(place, wanted)) {
                Ok(Some(new)) => *version = new,
                Ok(None) => {}
                Err(error) => return ControlFlow::Break(error),
            }
            ControlFlow::Continue(())
        }
    }
    let Statement::DataFusion(query) = statement else {
        return Ok(());
    };
    let DataFusionStatement::Statement(query) = query.as_mut() else {
        return Ok(());
    };
    walk::change(query.as_mut(), &mut Replace(with))
}
