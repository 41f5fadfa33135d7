//! Filters over casts, of which DataFusion is to estimate nothing by the bounds of columns.
//!
//! DataFusion 55 estimates what a filter leaves by the bounds of columns below it, and ends a query with "Selectivity is
//! out of limit" where its estimate exceeds all rows: `at::date < '2024-01-01'` is cast back to bounds beyond those of
//! `at`. It does so whenever it makes the operator of a filter, wherever the bounds come from: statistics of a scan go
//! through LIMIT, windows and joins, and constants are bounds of themselves. It does not look into `.. IS TRUE`, which
//! is the same for a filter: one row of five is what it takes then.
//!
//! Filters above scans stay as they are. They prune by them, and tell no bounds when they do.

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::utils::{conjunction, split_conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};
use datafusion::prelude::lit;

/// Closes the conditions of filters that have casts. It comes last: filters have reached their places by then.
#[derive(Debug, Default)]
pub struct CastFilterRule;

impl OptimizerRule for CastFilterRule {
    fn name(&self) -> &str {
        "cast_filters"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Filter(mut filter) = plan else {
            return Ok(Transformed::no(plan));
        };
        if matches!(*filter.input, LogicalPlan::TableScan(_)) || !has_open_cast(&filter.predicate)?
        {
            return Ok(Transformed::no(LogicalPlan::Filter(filter)));
        }
        let conditions = split_conjunction_owned(filter.predicate).into_iter();
        let closed = conditions.map(|condition| {
            Ok(match has_open_cast(&condition)? {
                true => Expr::IsTrue(Box::new(condition)),
                false => condition,
            })
        });
        let closed = conjunction(closed.collect::<Result<Vec<_>>>()?);
        filter.predicate = closed.unwrap_or_else(|| lit(true));
        Ok(Transformed::yes(LogicalPlan::Filter(filter)))
    }
}

/// Whether one of the conditions has a cast and is not closed.
fn has_open_cast(predicate: &Expr) -> Result<bool> {
    for condition in split_conjunction(predicate) {
        let is_closed = matches!(condition, Expr::IsTrue(_));
        if !is_closed && condition.exists(|e| Ok(matches!(e, Expr::Cast(_))))? {
            return Ok(true);
        }
    }
    Ok(false)
}
