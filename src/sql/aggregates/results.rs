//! What is made of the results of aggregates and window functions: values of PostgreSQL's types.
//!
//! A node whose function is another here has a projection above, whose columns are called as those of the node were.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{DFSchema, Result};
use datafusion::functions_aggregate::array_agg::array_agg_udaf;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    Aggregate, AggregateUDF, Cast, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Window,
    WindowFunctionDefinition, cast,
};

use super::string_agg::{StringAgg, joined, record};
use crate::catalog::typed::typed;
use crate::sql::format::{oid, type_of};
use crate::sql::named_results::{is_named, named_like};
use crate::sql::text_output::is_cast_to_text;

/// Functions whose result is one of the values.
const VALUES: [&str; 7] = [
    "first_value",
    "last_value",
    "nth_value",
    "lag",
    "lead",
    "max",
    "min",
];

/// Whether the expression may be of another type than DataFusion says.
pub(in crate::sql) fn concerns(expr: &Expr) -> bool {
    let name = match expr {
        Expr::AggregateFunction(call) => call.func.name(),
        Expr::WindowFunction(call) => call.fun.name(),
        _ => return false,
    };
    matches!(name, "sum" | "string_agg" | "array_agg") || VALUES.contains(&name)
}

/// What a result becomes.
enum Outcome {
    /// It stays.
    Same,
    /// A `real` of the double.
    Real,
    /// The values of an array, joined.
    Joined(Option<Expr>),
    /// A value of the type.
    Typed(FieldRef),
}

/// The node with results of the right types.
///
/// # Errors
/// Those of DataFusion's nodes.
pub(in crate::sql) fn with_results(plan: LogicalPlan) -> Result<LogicalPlan> {
    let (calls, input) = match &plan {
        LogicalPlan::Aggregate(aggregate) => (&aggregate.aggr_expr, &aggregate.input),
        LogicalPlan::Window(window) => (&window.window_expr, &window.input),
        _ => return Ok(plan),
    };
    if !calls.iter().any(|call| concerns(inside(call))) {
        return Ok(plan);
    }
    let (mut changed, mut outcomes) = (Vec::new(), Vec::new());
    let mut is_changed = false;
    let in_orders = joins_in_orders(calls);
    for (place, call) in calls.iter().enumerate() {
        let (call, outcome) = replaced(call, place, input.schema(), in_orders)?;
        is_changed |= call.is_some() || !matches!(outcome, Outcome::Same);
        changed.push(call.unwrap_or_else(|| calls[place].clone()));
        outcomes.push(outcome);
    }
    if !is_changed {
        return Ok(plan);
    }
    let below = match &plan {
        LogicalPlan::Aggregate(aggregate) => {
            let groups = aggregate.group_expr.clone();
            let input = Arc::clone(&aggregate.input);
            LogicalPlan::Aggregate(Aggregate::try_new(input, groups, changed)?)
        }
        _ => LogicalPlan::Window(Window::try_new(changed, Arc::clone(input))?),
    };
    above(&plan, below, outcomes)
}

/// The columns of `plan`, of which the last are what becomes of those of `below`.
fn above(plan: &LogicalPlan, below: LogicalPlan, outcomes: Vec<Outcome>) -> Result<LogicalPlan> {
    let columns = below.schema().columns();
    let others = columns.len() - outcomes.len();
    let same = std::iter::repeat_with(|| Outcome::Same).take(others);
    let shown = columns.into_iter().zip(same.chain(outcomes));
    let shown = shown
        .zip(plan.schema().iter())
        .map(|((column, outcome), (table, field))| {
            outcome
                .of(Expr::Column(column))
                .alias_qualified(table.cloned(), field.name())
        });
    let shown: Vec<Expr> = shown.collect();
    LogicalPlanBuilder::from(below).project(shown)?.build()
}

impl Outcome {
    fn of(self, result: Expr) -> Expr {
        match self {
            Self::Same => result,
            Self::Real => cast(result, DataType::Float32),
            Self::Joined(separator) => {
                let arguments = std::iter::once(result).chain(separator);
                joined().call(arguments.collect())
            }
            Self::Typed(of) => typed(result, &of),
        }
    }
}

/// The expression without its alias.
fn inside(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => inside(&alias.expr),
        other => other,
    }
}

/// Whether texts are joined in several orders: DataFusion's function takes part in one.
fn joins_in_orders(calls: &[Expr]) -> bool {
    let mut orders = calls.iter().filter_map(|call| match inside(call) {
        Expr::AggregateFunction(call) if call.func.name() == "string_agg" => {
            Some(&call.params.order_by)
        }
        _ => None,
    });
    let first = orders.next();
    orders.any(|order| Some(order) != first)
}

/// The call that takes the place of another, if it is another, and what becomes of its result.
fn replaced(
    call: &Expr,
    place: usize,
    schema: &DFSchema,
    in_orders: bool,
) -> Result<(Option<Expr>, Outcome)> {
    let call = inside(call);
    let parts = match call {
        Expr::AggregateFunction(call) => (call.func.name(), call.params.args.as_slice()),
        Expr::WindowFunction(call) => (call.fun.name(), call.params.args.as_slice()),
        _ => return Ok((None, Outcome::Same)),
    };
    let hidden = |call: Expr| Some(call.alias(format!("__result_{place}")));
    Ok(match parts {
        ("sum", [value]) if value.get_type(schema)? == DataType::Float32 => {
            let double = cast(value.clone(), DataType::Float64);
            let sum = with_arguments(call.clone(), None, vec![double]);
            (hidden(sum), Outcome::Real)
        }
        ("string_agg", [value, separator]) => {
            match gathered(call, value, separator, schema, in_orders)? {
                Some((array, separator)) => (hidden(array), Outcome::Joined(separator)),
                None => (Some(of_texts(call.clone())), Outcome::Same),
            }
        }
        ("array_agg", [value]) => (None, outcome_of(value, schema, true)?),
        (name, [value, ..]) if VALUES.contains(&name) => match outcome_of(value, schema, false)? {
            // Of texts with a length these are texts.
            Outcome::Typed(of) if matches!(name, "max" | "min") && is_varchar(&of) => {
                (None, Outcome::Same)
            }
            outcome => (None, outcome),
        },
        _ => (None, Outcome::Same),
    })
}

fn is_varchar(field: &FieldRef) -> bool {
    matches!(type_of(field).oid, oid::VARCHAR | oid::BPCHAR)
}

/// A value of the type of the argument, or an array of such values.
fn outcome_of(value: &Expr, schema: &DFSchema, in_array: bool) -> Result<Outcome> {
    let field = value.to_field(schema)?.1;
    Ok(match is_named(&field) && !is_cast_to_text(value) {
        true => Outcome::Typed(named_like(&field, in_array)),
        false => Outcome::Same,
    })
}

/// The call that gathers what `string_agg` joins, and the separator where it is the same for all rows; `None` where
/// DataFusion's function joins it.
fn gathered(
    call: &Expr,
    value: &Expr,
    separator: &Expr,
    schema: &DFSchema,
    in_orders: bool,
) -> Result<Option<(Expr, Option<Expr>)>> {
    let is_bytes = value.get_type(schema)?.is_binary();
    let is_same = match separator {
        Expr::Literal(..) | Expr::Placeholder(_) => true,
        Expr::Cast(Cast { expr, .. }) => matches!(expr.as_ref(), Expr::Literal(..)),
        _ => false,
    };
    if is_same && !is_bytes && !in_orders {
        return Ok(None);
    }
    let of = if is_bytes {
        DataType::Binary
    } else {
        DataType::Utf8
    };
    let separator = cast(separator.clone(), of);
    let array_agg = Some(array_agg_udaf());
    let is_there = value.clone().is_not_null();
    let (array, separator) = match is_same {
        true => (vec![value.clone()], Some(separator)),
        false => (vec![record(value.clone(), separator)], None),
    };
    let mut gather = with_arguments(call.clone(), array_agg, array);
    let filter = match &mut gather {
        Expr::AggregateFunction(call) => &mut call.params.filter,
        Expr::WindowFunction(call) => &mut call.params.filter,
        _ => return Ok(None),
    };
    *filter = Some(Box::new(match filter.take() {
        Some(given) => given.and(is_there),
        None => is_there,
    }));
    Ok(Some((gather, separator)))
}

/// DataFusion's `string_agg`.
fn of_texts(call: Expr) -> Expr {
    let function = match &call {
        Expr::AggregateFunction(call) => Some(&call.func),
        Expr::WindowFunction(call) => aggregate_of(call),
        _ => None,
    };
    let inner = function.and_then(|function| StringAgg::inner_of(function));
    let inner = inner.map(Arc::clone);
    let arguments = match &call {
        Expr::AggregateFunction(call) => call.params.args.clone(),
        Expr::WindowFunction(call) => call.params.args.clone(),
        _ => return call,
    };
    with_arguments(call, inner, arguments)
}

fn aggregate_of(call: &WindowFunction) -> Option<&Arc<AggregateUDF>> {
    match &call.fun {
        WindowFunctionDefinition::AggregateUDF(function) => Some(function),
        WindowFunctionDefinition::WindowUDF(_) => None,
    }
}

/// The same call with other arguments, and of another function where one is given.
fn with_arguments(call: Expr, function: Option<Arc<AggregateUDF>>, arguments: Vec<Expr>) -> Expr {
    match call {
        Expr::AggregateFunction(mut call) => {
            call.params.args = arguments;
            call.func = function.unwrap_or(call.func);
            Expr::AggregateFunction(call)
        }
        Expr::WindowFunction(mut call) => {
            call.params.args = arguments;
            if let Some(function) = function {
                call.fun = WindowFunctionDefinition::AggregateUDF(function);
            }
            Expr::WindowFunction(call)
        }
        other => other,
    }
}
