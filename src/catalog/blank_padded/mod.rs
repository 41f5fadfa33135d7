//! CHARACTER(n) in queries: texts that are kept without the blanks behind them, and shown with them.
//!
//! Without blanks, values that PostgreSQL calls equal are equal texts: `=`, joins, GROUP BY, DISTINCT, keys and pruning need
//! nothing else, and what takes a text (`length`, `||`, `upper`) takes it without blanks there too. The rule here is for the
//! rest: what is compared with such a value loses its own blanks, and LIKE, regular expressions and functions that take
//! the value as it is shown get it with blanks. Answers are padded where they are written, by the type of their column.

mod function;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{InList, Placeholder, ScalarFunction};
use datafusion::logical_expr::{
    Between, BinaryExpr, Case, Cast, Expr, ExprSchemable, Like, LogicalPlan, Operator,
};
use datafusion::optimizer::AnalyzerRule;

use self::function::{padded, trimmed};
use crate::catalog::expressions::{casts_to, mentions, retype};
use crate::catalog::pg_type::{characters, oid, type_of};
use crate::catalog::typed::as_text;
use crate::storage::schema::{ColumnType, SQL_TYPE_KEY};

/// Functions that take a value as it is shown.
const SHOWN: [&str; 11] = [
    "octet_length",
    "concat",
    "concat_ws",
    "format",
    "to_json",
    "to_jsonb",
    "json_build_array",
    "jsonb_build_array",
    "json_build_object",
    "jsonb_build_object",
    "array_to_string",
];

/// Whether values of the field are of type CHARACTER.
pub(crate) fn is_blank_padded(field: &Field) -> bool {
    let named = field.metadata().get(SQL_TYPE_KEY);
    named.is_some_and(|name| name.starts_with("bpchar")) && type_of(field).oid == oid::BPCHAR
}

/// The characters that values of the field are shown with; `None` for any number.
pub(crate) fn length_of(field: &Field) -> Option<u32> {
    u32::try_from(characters(type_of(field))?).ok()
}

/// Gives expressions the meaning that they have for CHARACTER. It runs before types are coerced, which makes texts of all.
#[derive(Debug, Default)]
pub(crate) struct BlankPaddedRule;

impl AnalyzerRule for BlankPaddedRule {
    fn name(&self) -> &str {
        "blank_padded"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        match mentions(&plan, is_blank_padded)? {
            true => Ok(plan.transform_up_with_subqueries(in_node)?.data),
            false => Ok(plan),
        }
    }
}

fn in_node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    retype(plan, |expr, schema| Ok(rewrite(expr, schema)))
}

/// The expression over rows of that schema with the meaning that it has for CHARACTER, where no plan holds it.
///
/// # Errors
/// Those of DataFusion's walk.
pub(crate) fn in_expression(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let mut fields = schema.fields().iter();
    if !fields.any(|field| is_blank_padded(field)) && !casts_to(&expr, is_blank_padded)? {
        return Ok(expr);
    }
    Ok(expr.transform_up(|expr| Ok(rewrite(expr, schema)))?.data)
}

fn rewrite(mut expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let changed = match &mut expr {
        Expr::Cast(cast) => in_cast(cast, schema),
        Expr::BinaryExpr(binary) => in_operator(binary, schema),
        Expr::Like(Like { expr, .. }) | Expr::SimilarTo(Like { expr, .. }) => show(expr, schema),
        Expr::Between(Between {
            expr, low, high, ..
        }) => compare([expr, low, high].map(Box::as_mut), schema),
        Expr::InList(InList { expr, list, .. }) => {
            compare(std::iter::once(expr.as_mut()).chain(list), schema)
        }
        Expr::Case(Case {
            expr: Some(expr),
            when_then_expr,
            ..
        }) => {
            let whens = when_then_expr.iter_mut().map(|(when, _)| when.as_mut());
            compare(std::iter::once(expr.as_mut()).chain(whens), schema)
        }
        Expr::ScalarFunction(call) => in_call(call, schema),
        _ => false,
    };
    Transformed::new_transformed(expr, changed)
}

/// What the expression's field says of a type; nothing for what is none of these anyway.
fn told<T>(expr: &Expr, schema: &DFSchema, tell: impl Fn(&Field) -> Option<T>) -> Option<T> {
    match expr {
        // No operator makes one. Asking for the type would walk down a chain of thousands once for each of them.
        Expr::BinaryExpr(_) | Expr::Literal(_, None) => None,
        Expr::OuterReferenceColumn(field, _) => tell(field),
        expr => tell(&expr.to_field(schema).ok()?.1),
    }
}

fn is_character(expr: &Expr, schema: &DFSchema) -> bool {
    told(expr, schema, |field| is_blank_padded(field).then_some(())).is_some()
}

/// `c::text` is a text, which has no blanks.
fn in_cast(cast: &mut Cast, schema: &DFSchema) -> bool {
    let is_text = cast.field.data_type().is_string() && cast.field.metadata().is_empty();
    if !is_text || !is_character(&cast.expr, schema) {
        return false;
    }
    *cast.expr = as_text(std::mem::take(cast.expr.as_mut()));
    true
}

fn in_operator(binary: &mut BinaryExpr, schema: &DFSchema) -> bool {
    use Operator as O;
    match binary.op {
        O::Eq | O::NotEq | O::Lt | O::LtEq | O::Gt | O::GtEq => {}
        O::IsDistinctFrom | O::IsNotDistinctFrom => {}
        O::RegexMatch | O::RegexIMatch | O::RegexNotMatch | O::RegexNotIMatch => {
            return show(&mut binary.left, schema);
        }
        O::LikeMatch | O::ILikeMatch | O::NotLikeMatch | O::NotILikeMatch => {
            return show(&mut binary.left, schema);
        }
        _ => return false,
    }
    compare([&mut *binary.left, &mut *binary.right], schema)
}

/// Takes the blanks from what is compared with values of the type: texts that are written, and VARCHAR.
fn compare<'e>(parts: impl IntoIterator<Item = &'e mut Expr>, schema: &DFSchema) -> bool {
    let parts: Vec<&mut Expr> = parts.into_iter().collect();
    if !parts.iter().any(|part| is_character(part, schema)) {
        return false;
    }
    let mut changed = false;
    for part in parts {
        if let Expr::Literal(ScalarValue::Utf8(Some(text)), None) = part {
            text.truncate(text.trim_end_matches(' ').len());
            changed = true;
        } else if let Expr::Placeholder(Placeholder { field, .. }) = part
            && field.is_none()
        {
            *field = Some(Arc::new(any_length()));
            changed = true;
        } else if told(part, schema, |f| {
            (type_of(f).oid == oid::VARCHAR).then_some(())
        })
        .is_some()
        {
            *part = trimmed(std::mem::take(part));
            changed = true;
        }
    }
    changed
}

/// A field of the type without a length.
fn any_length() -> Field {
    let metadata = [(SQL_TYPE_KEY.to_string(), ColumnType::Char(None).sql_type())];
    Field::new("", DataType::Utf8, true).with_metadata(metadata.into())
}

/// Puts blanks behind a value of the type, as it is shown; whether it is one.
fn show(expr: &mut Expr, schema: &DFSchema) -> bool {
    let length = |field: &Field| match is_blank_padded(field) {
        true => length_of(field),
        false => None,
    };
    let Some(length) = told(expr, schema, length) else {
        return false;
    };
    *expr = padded(std::mem::take(expr), length);
    true
}

fn in_call(call: &mut ScalarFunction, schema: &DFSchema) -> bool {
    if !SHOWN.contains(&call.name()) {
        return false;
    }
    let shown = call.args.iter_mut().map(|arg| show(arg, schema));
    shown.fold(false, |any, shown| any | shown)
}
