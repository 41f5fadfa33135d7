//! Intervals are sorted, grouped and compared by their lengths: a month has thirty days, a day 24 hours.
//!
//! DataFusion compares them by months, then by days, then by the rest, so that 25 hours come before a day and are not equal
//! to a day and an hour. Operators are planned by [`IntervalPlanner`](super::functions::IntervalPlanner); the rule here is
//! for everything else, and uses the same length:
//!
//! - the keys of ORDER BY, PARTITION BY and joins, BETWEEN, IN lists and CASE are lengths;
//! - `max(i)` is the first value by length, descending; `min(i)` by length, ascending;
//! - rows are grouped by lengths, and a group shows the interval of one of its rows.
//!
//! `greatest`, `least`, `nullif` and GROUPING SETS of intervals stay DataFusion's.

use std::sync::Arc;

use arrow::array::{AsArray, StringArray};
use arrow::datatypes::{Field, IntervalMonthDayNanoType};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ExprSchema, Result, ScalarValue};
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::logical_expr::expr::{
    AggregateFunction, AggregateFunctionParams, Between, Case, InList,
};
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, Window, WindowFrame, WindowFrameBound, WindowFrameUnits,
    WindowFunctionDefinition, cast,
};
use datafusion::optimizer::AnalyzerRule;

use super::format::read_texts;
use super::functions::{INTERVAL, interval_length, length_of};
use super::interval_total::IntervalTotal;
use crate::catalog::expressions::rewrite_expressions;
use crate::catalog::order_key::OrderKey;
use crate::catalog::zone::Zone;
use crate::error::Error;

/// Makes lengths of the intervals that a plan compares. It must run after types are coerced.
#[derive(Debug, Default)]
pub(crate) struct IntervalOrderRule;

impl AnalyzerRule for IntervalOrderRule {
    fn name(&self) -> &str {
        "interval_order"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let plan = rewrite_expressions(plan, concerns, in_expression)?;
        Ok(plan.transform_up_with_subqueries(in_plan)?.data)
    }
}

/// Intervals by their lengths.
const BY_LENGTH: OrderKey = OrderKey {
    is_of: |field| field.data_type() == &INTERVAL,
    key: interval_length,
};

fn is_interval(expr: &Expr, schema: &dyn ExprSchema) -> bool {
    expr.get_type(schema).is_ok_and(|t| t == INTERVAL)
}

fn concerns(expr: &Expr) -> bool {
    match expr {
        Expr::Between(_) | Expr::InList(_) | Expr::WindowFunction(_) => true,
        Expr::Case(case) => case.expr.is_some(),
        Expr::AggregateFunction(call) => {
            let params = &call.params;
            IntervalTotal::inner_of(&call.func).is_some()
                || params.distinct
                || !params.order_by.is_empty()
                || is_extreme(call)
        }
        _ => false,
    }
}

fn is_extreme(call: &AggregateFunction) -> bool {
    matches!(call.func.name(), "max" | "min")
}

fn in_expression(mut expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let is_interval = |expr: &Expr| is_interval(expr, schema);
    match &mut expr {
        Expr::Between(Between {
            expr, low, high, ..
        }) if is_interval(expr) => {
            for part in [expr, low, high] {
                **part = interval_length(std::mem::take(part));
            }
        }
        Expr::InList(InList { expr, list, .. }) if is_interval(expr) => {
            **expr = interval_length(std::mem::take(expr));
            for value in list {
                *value = interval_length(std::mem::take(value));
            }
        }
        Expr::Case(Case {
            expr: Some(expr),
            when_then_expr,
            ..
        }) if is_interval(expr) => {
            **expr = interval_length(std::mem::take(expr));
            for (when, _) in when_then_expr {
                **when = interval_length(std::mem::take(when));
            }
        }
        Expr::AggregateFunction(call) => in_aggregate(call, schema),
        Expr::WindowFunction(call) => {
            if let WindowFunctionDefinition::AggregateUDF(function) = &call.fun
                && let Some(inner) = IntervalTotal::inner_of(function).map(Arc::clone)
                && !call.params.args.iter().any(is_interval)
            {
                call.fun = WindowFunctionDefinition::AggregateUDF(inner);
            }
            if !has_offsets(&call.params.window_frame) {
                BY_LENGTH.window_keys(&mut call.params, schema);
            }
        }
        _ => return Transformed::no(expr),
    }
    Transformed::yes(expr)
}

/// Makes lengths of intervals that are sorted by and of how far a frame reaches from them, and intervals of the texts that
/// are written beside one. It must run before types are coerced: DataFusion has no frames of values over intervals, and
/// does not read these texts.
#[derive(Debug, Default)]
pub(crate) struct IntervalFrameRule;

impl AnalyzerRule for IntervalFrameRule {
    fn name(&self) -> &str {
        "interval_frame"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_expressions(plan, concerns_before, before_types)
    }
}

fn concerns_before(expr: &Expr) -> bool {
    match expr {
        Expr::Between(_) | Expr::InList(_) => true,
        Expr::Case(case) => case.expr.is_some(),
        Expr::WindowFunction(call) => call.params.window_frame.units == WindowFrameUnits::Range,
        _ => false,
    }
}

fn before_types(mut expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let changed = match &mut expr {
        Expr::Between(Between {
            expr, low, high, ..
        }) => read_beside([expr, low, high].map(Box::as_mut), schema),
        Expr::InList(InList { expr, list, .. }) => {
            read_beside(std::iter::once(expr.as_mut()).chain(list), schema)
        }
        Expr::Case(case) => {
            let whens = case.when_then_expr.iter_mut().map(|(when, _)| when);
            read_beside(case.expr.iter_mut().chain(whens).map(Box::as_mut), schema)
        }
        _ => return in_frame(expr, schema),
    };
    Transformed::new_transformed(expr, changed)
}

/// Makes intervals of the texts that are written beside one; whether there are any.
fn read_beside<'e>(parts: impl IntoIterator<Item = &'e mut Expr>, schema: &DFSchema) -> bool {
    let parts: Vec<&mut Expr> = parts.into_iter().collect();
    if !parts.iter().any(|part| is_interval(part, schema)) {
        return false;
    }
    let mut changed = false;
    for part in parts {
        if matches!(part, Expr::Literal(ScalarValue::Utf8(_), None)) {
            *part = cast(std::mem::take(part), INTERVAL);
            changed = true;
        }
    }
    changed
}

fn in_frame(mut expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Expr::WindowFunction(call) = &mut expr else {
        return Transformed::no(expr);
    };
    let params = &mut call.params;
    let mut keys = params.order_by.iter();
    if !keys.any(|by| is_interval(&by.expr, schema)) {
        return Transformed::no(expr);
    }
    let frame = &mut params.window_frame;
    if has_offsets(frame) {
        let bounds = (
            length_bound(&frame.start_bound),
            length_bound(&frame.end_bound),
        );
        let (1, (Some(start), Some(end))) = (params.order_by.len(), bounds) else {
            return Transformed::no(expr);
        };
        (frame.start_bound, frame.end_bound) = (start, end);
    }
    BY_LENGTH.window_keys(params, schema);
    Transformed::yes(expr)
}

/// The end of a frame as a length; `None` for one that is no interval.
fn length_bound(bound: &WindowFrameBound) -> Option<WindowFrameBound> {
    let length = |by: &ScalarValue| match by.try_as_str() {
        Some(Some(text)) => length_of_text(text),
        _ => by.is_null().then(|| by.clone()),
    };
    Some(match bound {
        WindowFrameBound::Preceding(by) => WindowFrameBound::Preceding(length(by)?),
        WindowFrameBound::Following(by) => WindowFrameBound::Following(length(by)?),
        WindowFrameBound::CurrentRow => WindowFrameBound::CurrentRow,
    })
}

fn length_of_text(text: &str) -> Option<ScalarValue> {
    let texts = StringArray::from(vec![text]);
    let field = Field::new("by", INTERVAL, true);
    let read = read_texts(&texts, &field, &Zone::utc()).ok()?;
    let read = read.as_primitive::<IntervalMonthDayNanoType>();
    Some(length_of(read.value(0)))
}

/// Whether the frame's ends are so far from the row's own key: then the key must be an interval.
fn has_offsets(frame: &WindowFrame) -> bool {
    let is_offset = |bound: &WindowFrameBound| match bound {
        WindowFrameBound::Preceding(by) | WindowFrameBound::Following(by) => !by.is_null(),
        WindowFrameBound::CurrentRow => false,
    };
    frame.units == WindowFrameUnits::Range
        && (is_offset(&frame.start_bound) || is_offset(&frame.end_bound))
}

fn in_aggregate(call: &mut AggregateFunction, schema: &DFSchema) {
    BY_LENGTH.sort_keys(&mut call.params.order_by, schema);
    let [value] = call.params.args.as_slice() else {
        return;
    };
    if !is_interval(value, schema) {
        if let Some(inner) = IntervalTotal::inner_of(&call.func).map(Arc::clone) {
            call.func = inner;
        }
        return;
    }
    if is_extreme(call) {
        let ascending = call.func.name() == "min";
        let by = interval_length(value.clone()).sort(ascending, false);
        call.func = first_value_udaf();
        call.params = AggregateFunctionParams {
            distinct: false,
            order_by: vec![by],
            ..call.params.clone()
        };
    } else if call.params.distinct && call.func.name() == "count" {
        call.params.args = vec![interval_length(value.clone())];
    }
}

fn in_plan(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    if let LogicalPlan::Window(window) = &plan {
        refuse_extremes(window)?;
    }
    BY_LENGTH.in_plan(plan)
}

/// # Errors
/// 0A000 for the longest or the shortest interval of a frame: the first value by length would need an order of its own.
fn refuse_extremes(window: &Window) -> Result<()> {
    let is_refused = |expr: &Expr| match expr {
        Expr::WindowFunction(call) => {
            let mut args = call.params.args.iter();
            matches!(call.fun.name(), "max" | "min")
                && args.any(|arg| is_interval(arg, window.input.schema()))
        }
        _ => false,
    };
    let mut calls = window.window_expr.iter();
    if calls.any(|call| is_refused(&call.clone().unalias())) {
        let message = "max and min of intervals are not supported as window functions";
        return Err(Error::unsupported(message)
            .with_hint("Use extract(epoch FROM ..) of the intervals.")
            .into());
    }
    Ok(())
}
