//! What `=`, `<`, ORDER BY, GROUP BY and joins mean for JSON: `jsonb` has an order, by keys that the rule puts in its place;
//! `json` has none, not even of what is equal.

use arrow::datatypes::Field;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{InList, Placeholder};
use datafusion::logical_expr::{
    Aggregate, Between, BinaryExpr, Case, Cast, Distinct, Expr, ExprSchemable, LogicalPlan,
    Operator,
};
use datafusion::optimizer::AnalyzerRule;

use super::json_field;
use super::key::key_of;
use crate::catalog::expressions::{casts_to, holds, mentions, retype};
use crate::catalog::order_key::OrderKey;
use crate::catalog::pg::type_name;
use crate::catalog::typed::as_text;
use crate::error::{Error, sqlstate};
use crate::storage::schema::SQL_TYPE_KEY;

/// `jsonb` by keys.
const BY_KEY: OrderKey = OrderKey {
    is_of: is_jsonb,
    key: key_of,
};

fn is_called(field: &Field, name: &str) -> bool {
    field.data_type().is_string()
        && field
            .metadata()
            .get(SQL_TYPE_KEY)
            .is_some_and(|n| n == name)
}

fn is_jsonb(field: &Field) -> bool {
    is_called(field, "jsonb")
}

fn is_json(field: &Field) -> bool {
    is_called(field, "json")
}

fn is_either(field: &Field) -> bool {
    is_json(field) || is_jsonb(field)
}

/// Gives comparisons the meaning that they have for JSON. It runs before types are coerced, which makes texts of both.
#[derive(Debug, Default)]
pub(crate) struct JsonRule;

impl AnalyzerRule for JsonRule {
    fn name(&self) -> &str {
        "json"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        match mentions(&plan, is_either)? || makes(&plan)? {
            true => Ok(plan.transform_up_with_subqueries(in_node)?.data),
            false => Ok(plan),
        }
    }
}

/// Whether the plan has a function that gives JSON.
fn makes(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found = holds(node, gives_json)?;
        Ok(match found {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    })?;
    Ok(found)
}

fn gives_json(expr: &Expr) -> bool {
    match expr {
        Expr::ScalarFunction(call) => call.name().contains("json"),
        _ => false,
    }
}

/// The expression over rows of that schema with the meaning that it has for JSON, where no plan holds it.
///
/// # Errors
/// 42883 for a comparison of `json`, or of `jsonb` with another type.
pub(crate) fn in_expression(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let mut fields = schema.fields().iter();
    let concerns = fields.any(|field| is_either(field))
        || casts_to(&expr, is_either)?
        || expr.exists(|expr| Ok(gives_json(expr)))?;
    match concerns {
        true => Ok(expr.transform_up(|expr| rewrite(expr, schema))?.data),
        false => Ok(expr),
    }
}

fn in_node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    refuse_json(&plan)?;
    retype(BY_KEY.in_plan(plan)?.data, rewrite)
}

/// # Errors
/// 42883 for a node that sorts or groups by `json`.
fn refuse_json(plan: &LogicalPlan) -> Result<()> {
    let is_it = |expr: &Expr, schema: &DFSchema| {
        expr.to_field(schema)
            .is_ok_and(|(_, field)| is_json(&field))
    };
    let mut kind = "equality";
    let found = match plan {
        LogicalPlan::Sort(sort) => {
            kind = "ordering";
            let mut keys = sort.expr.iter();
            keys.any(|by| is_it(&by.expr, sort.input.schema()))
        }
        LogicalPlan::Distinct(Distinct::All(input)) => {
            input.schema().fields().iter().any(|field| is_json(field))
        }
        LogicalPlan::Distinct(Distinct::On(distinct)) => {
            let mut on = distinct.on_expr.iter();
            on.any(|expr| is_it(expr, distinct.input.schema()))
        }
        LogicalPlan::Aggregate(Aggregate {
            group_expr, input, ..
        }) => group_expr.iter().any(|expr| is_it(expr, input.schema())),
        _ => false,
    };
    if !found {
        return Ok(());
    }
    let message = format!("could not identify an {kind} operator for type json");
    Err(Error::invalid(sqlstate::UNDEFINED_FUNCTION, message)
        .with_hint("A jsonb has one: the json can be cast to it.")
        .into())
}

fn rewrite(mut expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let changed = match &mut expr {
        Expr::Cast(cast) => in_cast(cast, schema),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match comparison(*op) {
            Some(op) => compare([left, right].map(Box::as_mut), op, schema)?,
            None => false,
        },
        Expr::Between(Between {
            expr, low, high, ..
        }) => compare([expr, low, high].map(Box::as_mut), ">=", schema)?,
        Expr::InList(InList { expr, list, .. }) => {
            compare(std::iter::once(expr.as_mut()).chain(list), "=", schema)?
        }
        Expr::Case(Case {
            expr: Some(expr),
            when_then_expr,
            ..
        }) => {
            let whens = when_then_expr.iter_mut().map(|(when, _)| when.as_mut());
            compare(std::iter::once(expr.as_mut()).chain(whens), "=", schema)?
        }
        Expr::AggregateFunction(call) => {
            BY_KEY.sort_keys(&mut call.params.order_by, schema);
            if let ("count", true, [value]) = (
                call.func.name(),
                call.params.distinct,
                call.params.args.as_mut_slice(),
            ) {
                *value = BY_KEY.key(std::mem::take(value), schema);
            }
            true
        }
        Expr::WindowFunction(call) => {
            BY_KEY.window_keys(&mut call.params, schema);
            true
        }
        _ => false,
    };
    Ok(Transformed::new_transformed(expr, changed))
}

fn comparison(op: Operator) -> Option<&'static str> {
    use Operator as O;
    Some(match op {
        O::Eq | O::IsDistinctFrom | O::IsNotDistinctFrom => "=",
        O::NotEq => "<>",
        O::Lt => "<",
        O::LtEq => "<=",
        O::Gt => ">",
        O::GtEq => ">=",
        _ => return None,
    })
}

/// `j::text` is a text, which is compared as one.
fn in_cast(cast: &mut Cast, schema: &DFSchema) -> bool {
    let is_text = cast.field.data_type().is_string() && cast.field.metadata().is_empty();
    if !is_text || !of(&cast.expr, schema).is_some_and(|field| is_either(&field)) {
        return false;
    }
    *cast.expr = as_text(std::mem::take(cast.expr.as_mut()));
    true
}

/// The field of an expression, unless it cannot be JSON anyway.
fn of(expr: &Expr, schema: &DFSchema) -> Option<Field> {
    match expr {
        // No operator makes one. Asking for the type would walk down a chain of thousands once for each of them.
        Expr::BinaryExpr(_) | Expr::Literal(_, None) => None,
        Expr::OuterReferenceColumn(field, _) => Some(Field::clone(field)),
        expr => Some(Field::clone(&expr.to_field(schema).ok()?.1)),
    }
}

/// Puts keys in the place of `jsonb` that is compared, with texts written beside it read as `jsonb`; whether there is any.
///
/// # Errors
/// 42883 where one of them is of `json`, or of another type beside `jsonb`.
fn compare<'e>(
    parts: impl IntoIterator<Item = &'e mut Expr>,
    op: &str,
    schema: &DFSchema,
) -> Result<bool> {
    let parts: Vec<&mut Expr> = parts.into_iter().collect();
    let fields: Vec<Option<Field>> = parts.iter().map(|part| of(part, schema)).collect();
    let named = |is: fn(&Field) -> bool| fields.iter().flatten().any(is);
    if !named(is_either) {
        return Ok(false);
    }
    let types: Vec<String> = fields.iter().zip(&parts).map(type_of_part).collect();
    for (place, part) in parts.into_iter().enumerate() {
        let is_it = fields[place].as_ref().is_some_and(is_jsonb);
        if named(is_json) || !(is_it || is_untyped(part)) {
            return Err(no_operator(&types[0], op, &types[place.max(1)]).into());
        }
        *part = key_of(read_as_jsonb(std::mem::take(part)));
    }
    Ok(true)
}

fn type_of_part((field, part): (&Option<Field>, &&mut Expr)) -> String {
    match field {
        Some(field) if !field.data_type().is_null() && !is_untyped(part) => type_name(field),
        _ => "unknown".to_string(),
    }
}

fn is_untyped(part: &Expr) -> bool {
    match part {
        Expr::Literal(value, None) => value.is_null() || matches!(value, ScalarValue::Utf8(_)),
        Expr::Placeholder(parameter) => parameter.field.is_none(),
        _ => false,
    }
}

fn read_as_jsonb(part: Expr) -> Expr {
    let field = json_field("", true).into();
    match part {
        Expr::Literal(ScalarValue::Utf8(Some(_)), None) => {
            Expr::Cast(Cast::new_from_field(Box::new(part), field))
        }
        Expr::Placeholder(Placeholder { id, field: None }) => {
            Expr::Placeholder(Placeholder::new_with_field(id, Some(field)))
        }
        other => other,
    }
}

fn no_operator(left: &str, op: &str, right: &str) -> Error {
    let message = format!("operator does not exist: {left} {op} {right}");
    Error::invalid(sqlstate::UNDEFINED_FUNCTION, message).with_hint(
        "No operator matches the given name and argument types. You might need to add explicit type casts.",
    )
}
