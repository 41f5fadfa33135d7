//! `DEFAULT '2024-01-01 12:00'` of a TIMESTAMPTZ column is the instant that it was for the session which said it.
//!
//! Defaults are kept as expressions and computed by the session that inserts; its clock would read the text otherwise.

use arrow::array::AsArray;
use arrow::datatypes::TimestampMicrosecondType;
use chrono::{DateTime, Datelike};
use datafusion::sql::sqlparser::ast::{Expr, Value};

use super::dml::parse_expr;
use super::session::Planning;
use crate::catalog::assign::assign;
use crate::error::Result;
use crate::storage::schema::{Column, ColumnType};

impl Planning<'_> {
    /// Makes the column's default, where it is the text of an instant, one that all sessions read alike.
    ///
    /// # Errors
    /// 22007 and 22008 for a text that is no instant.
    pub(super) async fn fix_default(&self, column: &mut Column) -> Result<()> {
        let Some(text) = column.default.as_ref() else {
            return Ok(());
        };
        if column.column_type.base() != &ColumnType::TimestampTz || !is_text(&parse_expr(text)?) {
            return Ok(());
        }
        let value = self.evaluate(text).await?;
        let read = assign(&value.to_array()?, column, &self.zone()).map_err(|e| e.error)?;
        let micros = read.as_primitive::<TimestampMicrosecondType>().value(0);
        // Others than those of four digits are written in ways of their own.
        let instant = DateTime::from_timestamp_micros(micros);
        if let Some(instant) = instant.filter(|at| (1..=9999).contains(&at.year())) {
            let instant = instant.format("%Y-%m-%d %H:%M:%S%.f");
            column.default = Some(format!("'{instant}+00'::timestamptz"));
        }
        Ok(())
    }
}

/// Whether it is a literal text, or the cast of one.
fn is_text(expr: &Expr) -> bool {
    match expr {
        Expr::Value(value) => matches!(value.value, Value::SingleQuotedString(_)),
        Expr::TypedString(_) => true,
        Expr::Cast { expr, .. } | Expr::Nested(expr) => is_text(expr),
        _ => false,
    }
}
