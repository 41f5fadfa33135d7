//! Expressions over enums: what each becomes.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::metadata::FieldMetadata;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::logical_expr::expr::{
    AggregateFunction, AggregateFunctionParams, InList, Placeholder, ScalarFunction, WindowFunction,
};
use datafusion::logical_expr::{
    Between, BinaryExpr, Case, Cast, Expr, ExprSchemable, Operator, SortExpr,
};

use super::functions::{EnumFunction, Operation};
use crate::catalog::pg::type_name;
use crate::error::{Error, sqlstate};
use crate::storage::enum_type::{EnumType, unknown_label};
use crate::storage::schema::{ColumnType, SQL_TYPE_KEY};

/// The expression with the meaning that it has for enums; its parts have theirs.
pub(super) fn rewrite(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    Ok(match expr {
        Expr::Cast(cast) => in_cast(cast, schema)?,
        Expr::BinaryExpr(binary) if is_comparison(binary.op) => in_comparison(binary, schema)?,
        Expr::Between(between) => in_between(between, schema)?,
        Expr::InList(list) => in_list(list, schema)?,
        Expr::Case(case) => in_case(case, schema)?,
        Expr::ScalarFunction(call) => in_call(call, schema)?,
        Expr::AggregateFunction(call) => in_aggregate(call, schema),
        Expr::WindowFunction(call) => in_window(call, schema)?,
        other => Transformed::no(other),
    })
}

/// The type of an expression, if it is an enum.
fn enum_of(expr: &Expr, schema: &DFSchema) -> Option<Arc<EnumType>> {
    let field = match expr {
        // No operator makes one. Asking for the type would walk down a chain of thousands once for each of them.
        Expr::BinaryExpr(_) | Expr::Literal(_, None) => return None,
        Expr::OuterReferenceColumn(field, _) => Arc::clone(field),
        expr => expr.to_field(schema).ok()?.1,
    };
    EnumType::of_field(&field).map(Arc::new)
}

/// The first enum among types of expressions.
fn first_enum<'e>(
    exprs: impl IntoIterator<Item = &'e Expr>,
    schema: &DFSchema,
) -> Option<Arc<EnumType>> {
    exprs.into_iter().find_map(|expr| enum_of(expr, schema))
}

/// What the expression is sorted by.
pub(super) fn key(expr: Expr, schema: &DFSchema) -> Expr {
    match enum_of(&expr, schema) {
        Some(of) => position(expr, &of),
        None => expr,
    }
}

/// Makes keys of what is sorted by.
pub(super) fn sort_keys(sort: &mut [SortExpr], schema: &DFSchema) {
    for by in sort {
        by.expr = key(std::mem::take(&mut by.expr), schema);
    }
}

/// The place of a value in the order of its type.
fn position(expr: Expr, of: &Arc<EnumType>) -> Expr {
    if let Expr::Literal(ScalarValue::Utf8(label), Some(_)) = &expr {
        let place = label.as_ref().and_then(|label| of.position(label));
        if label.is_none() || place.is_some() {
            let place = place.and_then(|place| i32::try_from(place).ok());
            return Expr::Literal(ScalarValue::Int32(place), None);
        }
    }
    EnumFunction::new(Operation::Position, ColumnType::Enum(Arc::clone(of))).call(expr)
}

/// A value of the type that something else made.
fn value(expr: Expr, of: &Arc<EnumType>) -> Expr {
    EnumFunction::new(Operation::Input, ColumnType::Enum(Arc::clone(of))).call(expr)
}

/// A label as a literal that says its type.
fn literal(label: Option<String>, of: &EnumType) -> Expr {
    let metadata = HashMap::from([(SQL_TYPE_KEY.to_string(), of.sql_type())]);
    Expr::Literal(
        ScalarValue::Utf8(label),
        Some(FieldMetadata::from(metadata)),
    )
}

/// What stands beside an enum.
enum Beside {
    /// A value of its type.
    Value(Expr),
    /// Something of another type.
    Other(Expr),
}

/// What stands beside an enum: a literal is read, a parameter without a type gets it.
///
/// # Errors
/// 22P02 for a literal that is no value of the type.
fn beside(expr: Expr, of: &Arc<EnumType>, schema: &DFSchema) -> Result<Beside, Error> {
    Ok(match expr {
        Expr::Literal(value, None) if value.is_null() => Beside::Value(literal(None, of)),
        Expr::Literal(ScalarValue::Utf8(Some(label)), None) => match of.position(&label) {
            Some(_) => Beside::Value(literal(Some(label), of)),
            None => return Err(unknown_label(of, &label)),
        },
        Expr::Placeholder(Placeholder { id, field: None }) => {
            let field = Some(of.field("", true));
            Beside::Value(Expr::Placeholder(Placeholder::new_with_field(id, field)))
        }
        expr if enum_of(&expr, schema).is_some_and(|other| other.id == of.id) => {
            Beside::Value(expr)
        }
        other => Beside::Other(other),
    })
}

/// The parts as values of the type.
///
/// # Errors
/// As [`beside`]; what `mismatch` says of the type of a part that is none.
fn all_beside<'e>(
    parts: impl IntoIterator<Item = &'e mut Box<Expr>>,
    of: &Arc<EnumType>,
    schema: &DFSchema,
    mismatch: impl Fn(&str) -> Error,
) -> Result<()> {
    for part in parts {
        **part = match beside(std::mem::take(part.as_mut()), of, schema)? {
            Beside::Value(value) => value,
            Beside::Other(other) => return Err(mismatch(&type_of(&other, schema)).into()),
        };
    }
    Ok(())
}

/// The name of an expression's type in messages.
fn type_of(expr: &Expr, schema: &DFSchema) -> String {
    match expr.to_field(schema) {
        Ok((_, field)) => type_name(&field),
        Err(_) => "unknown".to_string(),
    }
}

fn no_operator(of: &EnumType, op: &str, other: &str) -> Error {
    let message = format!("operator does not exist: {of} {op} {other}");
    Error::invalid(sqlstate::UNDEFINED_FUNCTION, message).with_hint(
        "No operator matches the given name and argument types. You might need to add explicit type casts.",
    )
}

fn is_comparison(op: Operator) -> bool {
    use Operator::{Eq, IsDistinctFrom, IsNotDistinctFrom, NotEq};
    is_order(op) || matches!(op, Eq | NotEq | IsDistinctFrom | IsNotDistinctFrom)
}

fn is_order(op: Operator) -> bool {
    use Operator::{Gt, GtEq, Lt, LtEq};
    matches!(op, Lt | LtEq | Gt | GtEq)
}

fn in_comparison(binary: BinaryExpr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let BinaryExpr {
        mut left,
        op,
        mut right,
    } = binary;
    let Some(of) = first_enum([&*left, &*right], schema) else {
        return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr {
            left,
            op,
            right,
        })));
    };
    let mismatch = |other: &str| no_operator(&of, &op.to_string(), other);
    all_beside([&mut left, &mut right], &of, schema, mismatch)?;
    if is_order(op) {
        *left = position(*left, &of);
        *right = position(*right, &of);
    }
    let compared = BinaryExpr { left, op, right };
    Ok(Transformed::yes(Expr::BinaryExpr(compared)))
}

fn in_between(between: Between, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Between {
        mut expr,
        negated,
        mut low,
        mut high,
    } = between;
    let Some(of) = first_enum([&*expr, &*low, &*high], schema) else {
        let between = Between::new(expr, negated, low, high);
        return Ok(Transformed::no(Expr::Between(between)));
    };
    let mismatch = |other: &str| no_operator(&of, ">=", other);
    all_beside([&mut expr, &mut low, &mut high], &of, schema, mismatch)?;
    for part in [&mut expr, &mut low, &mut high] {
        **part = position(std::mem::take(part.as_mut()), &of);
    }
    let between = Between::new(expr, negated, low, high);
    Ok(Transformed::yes(Expr::Between(between)))
}

fn in_list(list: InList, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let InList {
        expr,
        list,
        negated,
    } = list;
    let Some(of) = enum_of(&expr, schema) else {
        let list = InList::new(expr, list, negated);
        return Ok(Transformed::no(Expr::InList(list)));
    };
    let mut list: Vec<Box<Expr>> = list.into_iter().map(Box::new).collect();
    let mismatch = |other: &str| no_operator(&of, "=", other);
    all_beside(&mut list, &of, schema, mismatch)?;
    let list = list.into_iter().map(|item| *item).collect();
    let list = InList::new(expr, list, negated);
    Ok(Transformed::yes(Expr::InList(list)))
}

/// What is compared in `CASE m WHEN ..`, and what it gives.
fn in_case(mut case: Case, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let compared = case.expr.as_deref().and_then(|expr| enum_of(expr, schema));
    if let Some(of) = &compared {
        let whens = case.when_then_expr.iter_mut().map(|(when, _)| when);
        all_beside(whens, of, schema, |other| no_operator(of, "=", other))?;
    }
    let given = case.when_then_expr.iter().map(|(_, then)| &**then);
    let given = first_enum(given.chain(case.else_expr.as_deref()), schema);
    let Some(of) = given else {
        let changed = compared.is_some();
        let case = Expr::Case(case);
        return Ok(match changed {
            true => Transformed::yes(case),
            false => Transformed::no(case),
        });
    };
    let results = case.when_then_expr.iter_mut().map(|(_, then)| then);
    let results = results.chain(&mut case.else_expr);
    all_beside(results, &of, schema, |other| no_match("CASE", &of, other))?;
    Ok(Transformed::yes(value(Expr::Case(case), &of)))
}

fn no_match(what: &str, of: &EnumType, other: &str) -> Error {
    let message = format!("{what} types {of} and {other} cannot be matched");
    Error::invalid(sqlstate::DATATYPE_MISMATCH, message)
}

/// `coalesce`, `nullif`, `greatest` and `least`, which give a value of the type of their arguments.
fn in_call(call: ScalarFunction, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let orders = matches!(call.name(), "greatest" | "least");
    let of = match call.name() {
        "coalesce" | "nullif" | "greatest" | "least" => first_enum(&call.args, schema),
        _ => None,
    };
    let Some(of) = of else {
        return Ok(Transformed::no(Expr::ScalarFunction(call)));
    };
    let name = call.name().to_uppercase();
    let mut args: Vec<Box<Expr>> = call.args.into_iter().map(Box::new).collect();
    all_beside(&mut args, &of, schema, |other| no_match(&name, &of, other))?;
    let args = args.into_iter().map(|arg| match orders {
        true => position(*arg, &of),
        false => *arg,
    });
    let result = call.func.call(args.collect());
    Ok(Transformed::yes(match orders {
        true => {
            let label = EnumFunction::new(Operation::Label, ColumnType::Enum(of));
            label.call(result)
        }
        false => value(result, &of),
    }))
}

/// `max(m)` is the first value of the order, descending; `min(m)` ascending.
fn in_aggregate(mut call: AggregateFunction, schema: &DFSchema) -> Transformed<Expr> {
    sort_keys(&mut call.params.order_by, schema);
    if let ("min" | "max", [value]) = (call.func.name(), call.params.args.as_slice())
        && let Some(of) = enum_of(value, schema)
    {
        let ascending = call.func.name() == "min";
        let by = position(value.clone(), &of).sort(ascending, false);
        call.func = first_value_udaf();
        call.params = AggregateFunctionParams {
            distinct: false,
            order_by: vec![by],
            ..call.params
        };
    }
    Transformed::yes(Expr::AggregateFunction(call))
}

/// # Errors
/// 0A000 for `min` and `max` over a frame: the first value of the order would need an order of its own.
fn in_window(mut call: Box<WindowFunction>, schema: &DFSchema) -> Result<Transformed<Expr>> {
    if matches!(call.fun.name(), "min" | "max") && first_enum(&call.params.args, schema).is_some() {
        let message = "min and max of enums are not supported as window functions";
        return Err(Error::unsupported(message)
            .with_hint("first_value(..) OVER (ORDER BY ..) gives the least.")
            .into());
    }
    sort_keys(&mut call.params.order_by, schema);
    Ok(Transformed::yes(Expr::WindowFunction(call)))
}

/// Casts to enums and arrays of them read texts; those from enums give texts.
fn in_cast(cast: Cast, schema: &DFSchema) -> Result<Transformed<Expr>> {
    if let Some(of) = EnumType::of_field(&cast.field) {
        return cast_to_enum(*cast.expr, &Arc::new(of), schema).map(Transformed::yes);
    }
    if let Some(of) = EnumType::of_list(&cast.field) {
        let target = ColumnType::Array(Box::new(ColumnType::Enum(Arc::new(of))));
        let list = EnumFunction::new(Operation::Input, target);
        return Ok(Transformed::yes(list.call(*cast.expr)));
    }
    let Some(of) = enum_of(&cast.expr, schema) else {
        return Ok(Transformed::no(Expr::Cast(cast)));
    };
    if !cast.field.data_type().is_string() {
        return Err(no_cast(&of.to_string(), &type_name(&cast.field)).into());
    }
    let text = EnumFunction::new(Operation::Text, ColumnType::Enum(of)).call(*cast.expr);
    let cast = Cast::new_from_field(Box::new(text), cast.field);
    Ok(Transformed::yes(Expr::Cast(cast)))
}

fn cast_to_enum(expr: Expr, of: &Arc<EnumType>, schema: &DFSchema) -> Result<Expr> {
    let other = match beside(expr, of, schema)? {
        Beside::Value(value) => return Ok(value),
        Beside::Other(other) => other,
    };
    let field = other.to_field(schema)?.1;
    match field.data_type().is_string() && EnumType::of_field(&field).is_none() {
        true => Ok(value(other, of)),
        false => Err(no_cast(&type_name(&field), &of.to_string()).into()),
    }
}

fn no_cast(from: &str, to: &str) -> Error {
    let message = format!("cannot cast type {from} to {to}");
    Error::invalid(sqlstate::CANNOT_COERCE, message)
}
