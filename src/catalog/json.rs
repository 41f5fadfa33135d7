//! JSON as PostgreSQL works with it: `m -> 'k'`, `m ->> 'k'`, `m #>> '{a,0}'`, `m @> '{"k": 1}'`, `m ? 'k'`, `m || n`,
//! `m - 'k'`, and functions.
//!
//! JSON is kept as text. A function reads the text of each row, walks it, and writes what it finds as PostgreSQL
//! writes `jsonb`: keys in order, a blank behind each comma and colon. `json` and `jsonb` are one here.

mod build;
mod change;
mod function;
mod value;

use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, ScalarUDF};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use self::build::BuildFunction;
use self::function::{JsonFunction, Kind};
pub use self::value::{plain as plain_text, read as read_json, write as write_json};
use crate::storage::schema::SQL_TYPE_KEY;

/// The functions, under the names of both types.
pub fn functions() -> impl Iterator<Item = ScalarUDF> {
    let named = Kind::ALL.into_iter().flat_map(|(kind, names)| {
        names
            .iter()
            .map(move |name| ScalarUDF::new_from_impl(JsonFunction::new(name, kind)))
    });
    let built = BuildFunction::all().map(ScalarUDF::new_from_impl);
    named.chain(built).collect::<Vec<_>>().into_iter()
}

/// Makes functions of the operators on JSON.
#[derive(Debug, Default)]
pub struct JsonPlanner;

impl ExprPlanner for JsonPlanner {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let (kind, is_swapped) = match expr.op {
            BinaryOperator::Arrow => (Kind::Get, false),
            BinaryOperator::LongArrow => (Kind::GetText, false),
            BinaryOperator::HashArrow => (Kind::Path, false),
            BinaryOperator::HashLongArrow => (Kind::PathText, false),
            BinaryOperator::AtArrow => (Kind::Contains, false),
            BinaryOperator::ArrowAt => (Kind::Contains, true),
            BinaryOperator::Question => (Kind::HasKey, false),
            BinaryOperator::QuestionPipe => (Kind::HasAny, false),
            BinaryOperator::QuestionAnd => (Kind::HasAll, false),
            BinaryOperator::HashMinus => (Kind::DeletePath, false),
            BinaryOperator::StringConcat
                if is_declared(&expr.left, schema) || is_declared(&expr.right, schema) =>
            {
                (Kind::Concat, false)
            }
            BinaryOperator::Minus if is_declared(&expr.left, schema) => (Kind::Delete, false),
            _ => return Ok(PlannerResult::Original(expr)),
        };
        // These two are operators of arrays as well.
        let is_json = |e: &Expr| {
            e.get_type(schema)
                .is_ok_and(|t| t.is_string() || t.is_null())
        };
        if kind == Kind::Contains && !(is_json(&expr.left) && is_json(&expr.right)) {
            return Ok(PlannerResult::Original(expr));
        }
        let (left, right) = match is_swapped {
            true => (expr.right, expr.left),
            false => (expr.left, expr.right),
        };
        let function = Arc::new(ScalarUDF::new_from_impl(JsonFunction::of(kind)));
        Ok(PlannerResult::Planned(function.call(vec![left, right])))
    }
}

/// Whether the type is JSON by name: texts have operators of the same names.
fn is_declared(expr: &Expr, schema: &DFSchema) -> bool {
    let is_json = |field: &Field| match field.metadata().get(SQL_TYPE_KEY) {
        Some(name) => name == "json" || name == "jsonb",
        None => false,
    };
    match expr {
        Expr::Cast(cast) => is_json(&cast.field),
        expr => expr
            .to_field(schema)
            .is_ok_and(|(_, field)| is_json(&field)),
    }
}
