//! Segments all of whose rows a DELETE takes: PartitionStats prove it, so the rows need not be read.
//!
//! What is deleted is the same as if they had been found one by one, so everything that follows from deletes holds:
//! conflicts with concurrent commits, compactions that go on meanwhile, versions before. Segments without live rows are
//! not opened by anything, and the automatic purge takes them.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;

use crate::catalog::keys::Removed;
use crate::catalog::scan::CollectionScanExec;

/// The query of a DELETE without the segments that it takes whole, and the rows of these.
pub(super) struct Split {
    /// What is still to be looked for.
    pub rest: Arc<dyn ExecutionPlan>,
    /// The live rows of the segments that are taken whole.
    pub whole: Removed,
}

/// Splits a query for the addresses of rows of one collection; `None` for a query of another shape than a filter over a
/// scan, such as a join.
///
/// # Errors
/// None in practice: the operators are rebuilt over a scan of the same columns.
pub(super) fn split(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Split>> {
    split_below(plan, None)
}

/// The split of what `filter`, on the columns of the plan, accepts.
fn split_below(
    plan: &Arc<dyn ExecutionPlan>,
    filter: Option<&Arc<dyn PhysicalExpr>>,
) -> Result<Option<Split>> {
    if let Some(scan) = plan.downcast_ref::<CollectionScanExec>() {
        let (scan, whole) = scan.without_accepted(filter);
        let rest = Arc::new(scan) as _;
        return Ok(Some(Split { rest, whole }));
    }
    let below = match plan.downcast_ref::<FilterExec>() {
        Some(own) if filter.is_none() && own.fetch().is_none() => {
            split_below(own.input(), Some(own.predicate()))?
        }
        None if passes_rows_on(plan) || (filter.is_none() && passes_addresses_on(plan)) => {
            split_below(plan.children()[0], filter)?
        }
        _ => None,
    };
    let Some(Split { rest, whole }) = below else {
        return Ok(None);
    };
    let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
    let rest = Arc::clone(plan).replace_children(vec![rest], options)?;
    Ok(Some(Split { rest, whole }))
}

/// Whether each row of its one input goes on as it is.
fn passes_rows_on(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let gathers_all = |plan: &CoalescePartitionsExec| plan.fetch().is_none();
    plan.is::<CooperativeExec>()
        || plan.is::<RepartitionExec>()
        || plan.downcast_ref().is_some_and(gathers_all)
}

/// Whether some columns of each row of its one input go on.
fn passes_addresses_on(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let is_choice = |projection: &ProjectionExec| {
        let mut exprs = projection.expr().iter();
        exprs.all(|e| e.expr.is::<Column>())
    };
    plan.downcast_ref().is_some_and(is_choice)
}
