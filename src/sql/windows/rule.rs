//! Windows with a mark of what they exclude, and functions over what is left; functions whose distance is computed.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{Expr, LogicalPlan, Window, WindowFunctionDefinition, WindowUDF};
use datafusion::optimizer::AnalyzerRule;

use super::Exclusion;
use super::excluding::{Computed, Excluding};
use super::shifting::Shifting;

/// Makes functions of windows that exclude rows ones of what is left, and `lag` and `lead` of computed distances own ones.
/// It runs when types are coerced.
#[derive(Debug, Default)]
pub(crate) struct WindowRule;

impl AnalyzerRule for WindowRule {
    fn name(&self) -> &str {
        "windows"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let mut found = false;
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::Window(window) = node {
                found |= window.window_expr.iter().any(concerns);
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        match found {
            true => Ok(plan.transform_up_with_subqueries(in_node)?.data),
            false => Ok(plan),
        }
    }
}

fn call_of(expr: &Expr) -> Option<&WindowFunction> {
    match expr {
        Expr::Alias(alias) => call_of(&alias.expr),
        Expr::WindowFunction(call) => Some(call),
        _ => None,
    }
}

fn concerns(expr: &Expr) -> bool {
    is_marked(expr) || call_of(expr).is_some_and(|call| shifting(call).is_some())
}

/// The function for `lag` and `lead` of a distance that is no literal.
fn shifting(call: &WindowFunction) -> Option<Shifting> {
    let ahead = match call.fun.name() {
        "lead" => true,
        "lag" => false,
        _ => return None,
    };
    let distance = call.params.args.get(1)?;
    let is_literal = match distance {
        Expr::Cast(cast) => matches!(cast.expr.as_ref(), Expr::Literal(..)),
        Expr::Negative(inner) => matches!(inner.as_ref(), Expr::Literal(..)),
        distance => matches!(distance, Expr::Literal(..)),
    };
    (!is_literal).then(|| Shifting::new(ahead))
}

fn is_marked(expr: &Expr) -> bool {
    call_of(expr).is_some_and(|call| call.params.partition_by.iter().any(|k| mark(k).is_some()))
}

fn mark(key: &Expr) -> Option<Exclusion> {
    match key {
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => Exclusion::of_mark(text),
        _ => None,
    }
}

fn in_node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Window(window) = plan else {
        return Ok(Transformed::no(plan));
    };
    if !window.window_expr.iter().any(concerns) {
        return Ok(Transformed::no(LogicalPlan::Window(window)));
    }
    let calls = window.window_expr.into_iter();
    let calls = calls.map(|expr| match concerns(&expr) {
        true => {
            let name = expr.schema_name().to_string();
            with_own_function(expr).alias(name)
        }
        false => expr,
    });
    let window = Window::try_new(calls.collect(), window.input)?;
    Ok(Transformed::yes(LogicalPlan::Window(window)))
}

/// The call without marks, of a function that excludes rows where it is one of a frame.
fn with_own_function(expr: Expr) -> Expr {
    let mut call = match expr {
        Expr::Alias(alias) => return with_own_function(*alias.expr),
        Expr::WindowFunction(call) => call,
        other => return other,
    };
    if let Some(shifting) = shifting(&call) {
        call.fun = WindowFunctionDefinition::WindowUDF(Arc::new(WindowUDF::from(shifting)));
    }
    let params = &mut call.params;
    let exclusion = params.partition_by.iter().find_map(mark);
    params.partition_by.retain(|key| mark(key).is_none());
    let computed = computed_by(&call.fun);
    if let (Some(exclusion), Some(computed)) = (exclusion, computed) {
        let condition = params.filter.take().map(|condition| *condition);
        let function = Excluding::new(call.fun.name(), computed, exclusion, condition.is_some());
        params.args.extend(condition);
        call.fun = WindowFunctionDefinition::WindowUDF(Arc::new(WindowUDF::from(function)));
    }
    Expr::WindowFunction(call)
}

/// What a function computes of its frame; `None` for one that looks at its partition.
fn computed_by(function: &WindowFunctionDefinition) -> Option<Computed> {
    match function {
        WindowFunctionDefinition::AggregateUDF(function) => {
            Some(Computed::Aggregate(Arc::clone(function)))
        }
        WindowFunctionDefinition::WindowUDF(function) => match function.name() {
            "first_value" => Some(Computed::First),
            "last_value" => Some(Computed::Last),
            "nth_value" => Some(Computed::Nth),
            _ => None,
        },
    }
}
