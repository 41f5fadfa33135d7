//! JSON as PostgreSQL works with it: `m -> 'k'`, `m ->> 'k'`, `m #>> '{a,0}'`, `m @> '{"k": 1}'`, `m ? 'k'`, `m || n`,
//! `m - 'k'`, and functions.
//!
//! Both types are kept as text. `jsonb` is read when it is stored, and written anew: keys in order and each once, a blank
//! behind each comma and colon, numbers as NUMERIC writes them ([`read_json`], [`write_json`]). `json` stays as it was
//! written, and so do its parts ([`raw_members`]). A function reads the text of each row, and gives JSON of the type of its
//! name; an operator that of its left side. `jsonb` is compared by keys ([`rule`]), `json` not at all.

mod build;
mod change;
mod function;
mod key;
mod raw;
mod read;
pub(crate) mod rule;
mod value;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::{DFSchema, Result};
use datafusion::functions_nested::expr_fn::make_array;
use datafusion::logical_expr::planner::{
    ExprPlanner, PlannerResult, RawBinaryExpr, RawFieldAccessExpr,
};
use datafusion::logical_expr::{Expr, ExprSchemable, GetFieldAccess, ScalarUDF, cast, lit};
use datafusion::sql::sqlparser::ast::BinaryOperator;
use shelfmark_udfs::field_of;

use self::build::BuildFunction;
use self::function::{JsonFunction, Kind};
pub use self::raw::text as raw_text;
pub use self::read::{items as raw_items, members as raw_members, read as read_json};
pub use self::value::{
    Map, Value, kind as kind_of, plain as plain_text, put_string as put_json_string,
    write as write_json,
};
use crate::error::{Error, sqlstate};
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
        let is_json = is_named(&left, schema, "json");
        let function = Arc::new(ScalarUDF::new_from_impl(JsonFunction::of(kind, is_json)));
        Ok(PlannerResult::Planned(function.call(vec![left, right])))
    }

    /// `j['a']` and `j[0]`, which are of `jsonb` alone.
    fn plan_field_access(
        &self,
        expr: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        let RawFieldAccessExpr { field_access, expr } = expr;
        if !is_named(&expr, schema, "jsonb") {
            let original = RawFieldAccessExpr { field_access, expr };
            return Ok(PlannerResult::Original(original));
        }
        let key = match field_access {
            GetFieldAccess::NamedStructField { name } => lit(name),
            GetFieldAccess::ListIndex { key } => cast(*key, DataType::Utf8),
            GetFieldAccess::ListRange { .. } => {
                let message = "jsonb subscript does not support slices";
                return Err(Error::invalid(sqlstate::DATATYPE_MISMATCH, message).into());
            }
        };
        let function = Arc::new(ScalarUDF::new_from_impl(JsonFunction::of(
            Kind::Path,
            false,
        )));
        let path = make_array(vec![key]);
        Ok(PlannerResult::Planned(function.call(vec![expr, path])))
    }
}

/// Whether the type is JSON by name: texts have operators of the same names.
fn is_declared(expr: &Expr, schema: &DFSchema) -> bool {
    is_named(expr, schema, "json") || is_named(expr, schema, "jsonb")
}

/// Whether the type is called so.
fn is_named(expr: &Expr, schema: &DFSchema, name: &str) -> bool {
    let is_named = |field: &Field| {
        field
            .metadata()
            .get(SQL_TYPE_KEY)
            .is_some_and(|n| n == name)
    };
    match expr {
        Expr::Cast(cast) => is_named(&cast.field),
        expr => field_of(expr, schema).is_ok_and(|field| is_named(&field)),
    }
}

/// A field of `jsonb`, or of `json`.
pub(crate) fn json_field(name: &str, is_binary: bool) -> Field {
    let json = if is_binary { "jsonb" } else { "json" };
    let metadata = [(SQL_TYPE_KEY.to_string(), json.to_string())];
    Field::new(name, DataType::Utf8, true).with_metadata(metadata.into())
}
