//! Expressions are of the type of their results also where Arrow does not tell it: CASE, `coalesce`, `nullif`, `greatest`,
//! `least`, elements of arrays, aggregates, window functions.
//!
//! A uuid or a bit string is a text to Arrow: the field says what it is, and DataFusion gives these expressions fields of
//! their own. So does FULL JOIN USING, whose columns are `coalesce`. Texts written beside such a value are read as its type.
//! A cast to text keeps the field of what is cast; as a column it is a plain text. Enums have a rule of their own.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{Case, Placeholder, ScalarFunction};
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, LogicalPlan, Projection};
use datafusion::optimizer::AnalyzerRule;

use super::aggregates;
use super::format::{oid, type_of};
use super::text_output::is_cast_to_text;
use crate::catalog::expressions::{holds, retype};
use crate::catalog::pg_type::list_element;
use crate::catalog::typed::typed;
use crate::storage::enum_type::is_enum;
use crate::storage::schema::SQL_TYPE_KEY;

/// Gives expressions the types of their results. It runs before types are coerced, which looks at Arrow's alone.
#[derive(Debug, Default)]
pub(crate) struct NamedResultRule;

impl AnalyzerRule for NamedResultRule {
    fn name(&self) -> &str {
        "named_results"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        match concerns(&plan)? {
            true => Ok(plan.transform_up_with_subqueries(in_node)?.data),
            false => Ok(plan),
        }
    }
}

/// Whether the plan has such an expression.
fn concerns(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found = elements_of(node).next().is_some() || holds(node, has_results)?;
        Ok(match found {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    })?;
    Ok(found)
}

fn has_results(expr: &Expr) -> bool {
    match expr {
        Expr::Case(_) => true,
        Expr::ScalarFunction(call) => gives_argument(call) || gives_element(call),
        expr => is_cast_to_text(expr) || aggregates::concerns(expr),
    }
}

fn gives_argument(call: &ScalarFunction) -> bool {
    matches!(call.name(), "coalesce" | "nullif" | "greatest" | "least")
}

fn gives_element(call: &ScalarFunction) -> bool {
    matches!(call.name(), "array_element" | "array_slice")
}

fn in_node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let plan = retype(plan, |expr, schema| Ok(rewrite(expr, schema)))?.data;
    let plan = aggregates::with_results(plan)?;
    let plan = with_elements(plan)?;
    Ok(Transformed::yes(with_texts(plan)?))
}

/// The columns of a node that are elements of arrays whose type Arrow does not tell, and the type of each.
fn elements_of(plan: &LogicalPlan) -> impl Iterator<Item = (&Column, FieldRef)> {
    let unnest = match plan {
        LogicalPlan::Unnest(unnest) => Some(unnest),
        _ => None,
    };
    unnest.into_iter().flat_map(|unnest| {
        let arrays = unnest.input.schema();
        unnest.list_type_columns.iter().filter_map(|(at, list)| {
            let array = arrays.field(*at);
            let of = element_of(array).filter(|_| is_named(array) && list.depth == 1)?;
            Some((&list.output_column, of))
        })
    })
}

/// The node with elements of arrays as values of the type of these.
fn with_elements(plan: LogicalPlan) -> Result<LogicalPlan> {
    let elements: HashMap<&Column, FieldRef> = elements_of(&plan).collect();
    if elements.is_empty() {
        return Ok(plan);
    }
    let columns = plan.schema().columns();
    let exprs = columns
        .into_iter()
        .map(|column| match elements.get(&column) {
            Some(of) => {
                let value = typed(Expr::Column(column.clone()), of);
                value.alias_qualified(column.relation, column.name)
            }
            None => Expr::Column(column),
        });
    let exprs = exprs.collect();
    Ok(LogicalPlan::Projection(Projection::try_new(
        exprs,
        Arc::new(plan),
    )?))
}

/// The node with columns of text where they are casts to it.
fn with_texts(plan: LogicalPlan) -> Result<LogicalPlan> {
    let LogicalPlan::Projection(projection) = plan else {
        return Ok(plan);
    };
    let schema = projection.input.schema();
    let names_type = |expr: &Expr| match without_alias(expr) {
        Expr::Cast(cast) if is_cast_to_text(without_alias(expr)) => {
            let field = cast.expr.to_field(schema);
            field.is_ok_and(|(_, field)| is_named(&field))
        }
        _ => false,
    };
    if !projection.expr.iter().any(names_type) {
        return Ok(LogicalPlan::Projection(projection));
    }
    let exprs = projection.expr.iter().zip(projection.schema.iter());
    let exprs = exprs.map(|(expr, (table, field))| match names_type(expr) {
        true => {
            let text = typed(without_alias(expr).clone(), &plain_text());
            text.alias_qualified(table.cloned(), field.name())
        }
        false => expr.clone(),
    });
    let exprs = exprs.collect();
    Ok(LogicalPlan::Projection(Projection::try_new(
        exprs,
        projection.input,
    )?))
}

fn without_alias(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => without_alias(&alias.expr),
        other => other,
    }
}

fn plain_text() -> Field {
    Field::new("", DataType::Utf8, true)
}

fn rewrite(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::Case(case) => in_case(case, schema),
        Expr::ScalarFunction(call) if gives_argument(&call) => in_call(call, schema),
        Expr::ScalarFunction(call) if gives_element(&call) => of_array(call, schema),
        other => Transformed::no(other),
    }
}

fn in_case(mut case: Case, schema: &DFSchema) -> Transformed<Expr> {
    let thens = case.when_then_expr.iter().map(|(_, then)| then.as_ref());
    let results: Vec<&Expr> = thens.chain(case.else_expr.as_deref()).collect();
    let is_whole = case.else_expr.is_some();
    let Some(of) = common(&results, is_whole, schema) else {
        return Transformed::no(Expr::Case(case));
    };
    let results = case.when_then_expr.iter_mut().map(|(_, then)| then);
    for result in results.chain(&mut case.else_expr) {
        **result = beside(std::mem::take(result.as_mut()), &of);
    }
    Transformed::yes(typed(Expr::Case(case), &of))
}

fn in_call(mut call: ScalarFunction, schema: &DFSchema) -> Transformed<Expr> {
    let results: Vec<&Expr> = match call.name() {
        "nullif" => call.args.iter().take(1).collect(),
        _ => call.args.iter().collect(),
    };
    let Some(of) = common(&results, true, schema) else {
        return Transformed::no(Expr::ScalarFunction(call));
    };
    let args = std::mem::take(&mut call.args);
    call.args = args.into_iter().map(|arg| beside(arg, &of)).collect();
    Transformed::yes(typed(Expr::ScalarFunction(call), &of))
}

/// An element of an array, or a part of it.
fn of_array(call: ScalarFunction, schema: &DFSchema) -> Transformed<Expr> {
    let array = call
        .args
        .first()
        .and_then(|array| array.to_field(schema).ok());
    let array = array
        .map(|(_, field)| field)
        .filter(|field| is_named(field));
    let of = array.and_then(|array| match call.name() {
        "array_slice" => Some(array),
        _ => element_of(&array),
    });
    match of {
        Some(of) => Transformed::yes(typed(Expr::ScalarFunction(call), &of)),
        None => Transformed::no(Expr::ScalarFunction(call)),
    }
}

/// `uuid` of `uuid[]`.
fn element_of(array: &Field) -> Option<FieldRef> {
    let element = list_element(array.data_type())?;
    let name = array.metadata().get(SQL_TYPE_KEY)?.strip_suffix("[]")?;
    let metadata = [(SQL_TYPE_KEY.to_string(), name.to_string())];
    Some(Arc::new(element.clone().with_metadata(metadata.into())))
}

/// The type of all that are of one, the others being texts that are written; `None` where Arrow's type says all, or they
/// differ. A length such as that of `varchar(20)` stays where all have it, and nothing else `is_whole`.
fn common(results: &[&Expr], is_whole: bool, schema: &DFSchema) -> Option<FieldRef> {
    let mut found: Option<FieldRef> = None;
    let mut same = is_whole;
    for result in results {
        if is_untyped(result) {
            same = false;
            continue;
        }
        let field = result.to_field(schema).ok()?.1;
        if is_cast_to_text(result) || !is_named(&field) {
            return None;
        }
        let (told, known) = (type_of(&field), found.as_deref().map(type_of));
        match known {
            Some(known) if known.oid != told.oid => return None,
            Some(known) => same &= known == told,
            None => found = Some(field),
        }
    }
    let found = found?;
    Some(match same {
        true => found,
        false => without_length(&found),
    })
}

/// A text or NULL as it is written, or a parameter of which nothing is known.
fn is_untyped(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(value, None) => value.is_null() || matches!(value, ScalarValue::Utf8(_)),
        Expr::Placeholder(parameter) => parameter.field.is_none(),
        _ => false,
    }
}

/// Whether the field says more than that there are texts, or lists of them.
pub(super) fn is_named(field: &Field) -> bool {
    let element = list_element(field.data_type()).unwrap_or(field);
    element.data_type().is_string()
        && field.metadata().contains_key(SQL_TYPE_KEY)
        && !matches!(type_of(field).oid, oid::TEXT | oid::TEXT_ARRAY)
        && !is_enum(field)
}

/// `varchar` of `varchar(20)`.
fn without_length(field: &FieldRef) -> FieldRef {
    named_like(field, false)
}

/// The type of a field without a length, or that of arrays of such values.
pub(super) fn named_like(field: &FieldRef, in_array: bool) -> FieldRef {
    let name = field
        .metadata()
        .get(SQL_TYPE_KEY)
        .map_or("", String::as_str);
    let (bare, is_array) = match name.strip_suffix("[]") {
        Some(element) => (element, true),
        None => (name, in_array),
    };
    let bare = bare.split_once('(').map_or(bare, |(bare, _)| bare);
    let list = if is_array { "[]" } else { "" };
    let metadata = [(SQL_TYPE_KEY.to_string(), format!("{bare}{list}"))];
    Arc::new(Field::clone(field).with_metadata(metadata.into()))
}

/// What stands beside values of the type: a text that is written is read, a parameter gets the type.
fn beside(expr: Expr, of: &FieldRef) -> Expr {
    let field = || Arc::new(Field::clone(of).with_name("").with_nullable(true));
    match expr {
        Expr::Literal(ScalarValue::Utf8(Some(_)), None) => {
            Expr::Cast(Cast::new_from_field(Box::new(expr), field()))
        }
        Expr::Placeholder(Placeholder { id, field: None }) => {
            Expr::Placeholder(Placeholder::new_with_field(id, Some(field())))
        }
        other => other,
    }
}
