//! Puts functions that know infinities in place of casts and operators.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{
    Between, BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, Operator,
};
use datafusion::optimizer::AnalyzerRule;

use super::cast::MomentCast;
use super::sum::MomentSum;
use crate::catalog::expressions::rewrite_expressions;

/// Makes functions of casts between dates and times, and of their sums. It must run after types are coerced.
#[derive(Debug, Default)]
pub struct InfinityRule;

impl AnalyzerRule for InfinityRule {
    fn name(&self) -> &str {
        "infinity"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_expressions(plan, concerns, rewrite)
    }
}

fn concerns(expr: &Expr) -> bool {
    match expr {
        Expr::Between(_) | Expr::InList(_) => true,
        Expr::Cast(cast) => MomentCast::is_target(cast.field.data_type()),
        Expr::BinaryExpr(binary) => {
            matches!(binary.op, Operator::Plus | Operator::Minus) || compares(binary.op)
        }
        _ => false,
    }
}

fn rewrite(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let made = match &expr {
        Expr::Cast(Cast { expr: inner, field }) => {
            let from = inner.get_type(schema).ok();
            from.and_then(|from| MomentCast::call(inner, &from, field))
        }
        Expr::BinaryExpr(comparison) if compares(comparison.op) => {
            of_comparison(comparison, schema)
        }
        Expr::BinaryExpr(sum) => of_sum(sum, schema),
        Expr::Between(between) => of_range(between, schema),
        Expr::InList(list) => of_list(list, schema),
        _ => None,
    };
    match made {
        Some(made) => Transformed::yes(made),
        None => Transformed::no(expr),
    }
}

fn of_sum(sum: &BinaryExpr, schema: &DFSchema) -> Option<Expr> {
    let (left, right) = (
        sum.left.get_type(schema).ok()?,
        sum.right.get_type(schema).ok()?,
    );
    if !MomentSum::is_one([&left, &right]) {
        return None;
    }
    let gives = Expr::BinaryExpr(sum.clone()).get_type(schema).ok()?;
    MomentSum::call(sum.op, [&sum.left, &sum.right], &gives)
}

fn compares(op: Operator) -> bool {
    use Operator as O;
    matches!(
        op,
        O::Eq
            | O::NotEq
            | O::Lt
            | O::LtEq
            | O::Gt
            | O::GtEq
            | O::IsDistinctFrom
            | O::IsNotDistinctFrom
    )
}

/// `t > '9999-12-31'` in microseconds: DataFusion would compare times with texts, and dates with times, in nanoseconds, in
/// which there are no far ones.
fn of_comparison(comparison: &BinaryExpr, schema: &DFSchema) -> Option<Expr> {
    let parts = in_micros(&[&comparison.left, &comparison.right], schema)?;
    let [left, right] = <[Expr; 2]>::try_from(parts).ok()?;
    let comparison = BinaryExpr::new(Box::new(left), comparison.op, Box::new(right));
    Some(Expr::BinaryExpr(comparison))
}

/// `d BETWEEN a AND b` in microseconds.
fn of_range(between: &Between, schema: &DFSchema) -> Option<Expr> {
    let parts = [&between.expr, &between.low, &between.high];
    let [expr, low, high]: [Expr; 3] = in_micros(&parts.map(|part| part.as_ref()), schema)?
        .try_into()
        .ok()?;
    let (negated, [expr, low, high]) = (between.negated, [expr, low, high].map(Box::new));
    Some(Expr::Between(Between::new(expr, negated, low, high)))
}

/// `d IN (..)` in microseconds.
fn of_list(list: &InList, schema: &DFSchema) -> Option<Expr> {
    let parts: Vec<&Expr> = std::iter::once(list.expr.as_ref())
        .chain(&list.list)
        .collect();
    let mut parts = in_micros(&parts, schema)?.into_iter();
    let expr = Box::new(parts.next()?);
    Some(Expr::InList(InList::new(
        expr,
        parts.collect(),
        list.negated,
    )))
}

/// What is compared in nanoseconds, in microseconds; `None` where nothing was cast to them.
fn in_micros(parts: &[&Expr], schema: &DFSchema) -> Option<Vec<Expr>> {
    if !parts.iter().any(|part| MomentCast::inner(part).is_some()) {
        return None;
    }
    let micros = |part: &&Expr| {
        let DataType::Timestamp(TimeUnit::Nanosecond, zone) = part.get_type(schema).ok()? else {
            return None;
        };
        let kind = DataType::Timestamp(TimeUnit::Microsecond, zone);
        if let Expr::Cast(of_text) = part {
            return Some(Expr::Cast(Cast::new(of_text.expr.clone(), kind)));
        }
        let of = MomentCast::inner(part).unwrap_or(part);
        let from = of.get_type(schema).ok()?;
        if from == kind {
            return Some(of.clone());
        }
        MomentCast::call(of, &from, &Arc::new(Field::new("", kind, true)))
    };
    parts.iter().map(micros).collect()
}
