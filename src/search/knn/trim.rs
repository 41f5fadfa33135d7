//! The optimizer rule that leaves out columns of a join of nearest rows.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, Result};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::node::KnnJoin;

/// Takes those columns of the scan out of a [`KnnJoin`] that the projection above it does not need, so that they are not
/// read for the winners.
#[derive(Debug, Default)]
pub struct KnnColumnsRule;

impl OptimizerRule for KnnColumnsRule {
    fn name(&self) -> &str {
        "knn_columns"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let below = match &plan {
            LogicalPlan::Projection(projection) => &projection.input,
            LogicalPlan::Aggregate(aggregate) => &aggregate.input,
            _ => return Ok(Transformed::no(plan)),
        };
        let trimmed = trimmed(below, columns_of(&plan))?;
        Ok(match trimmed {
            Some(below) => Transformed::yes(plan.with_new_exprs(plan.expressions(), vec![below])?),
            None => Transformed::no(plan),
        })
    }
}

/// The plan with no more columns than are needed; `None` where there is nothing to leave out.
fn trimmed(plan: &LogicalPlan, mut needed: HashSet<Column>) -> Result<Option<LogicalPlan>> {
    match plan {
        LogicalPlan::Extension(extension) => {
            let Some(join) = extension.node.as_any().downcast_ref::<KnnJoin>() else {
                return Ok(None);
            };
            let columns = join.columns.iter().filter(|c| needed.contains(c)).cloned();
            let columns: Vec<Column> = columns.collect();
            if columns.len() == join.columns.len() {
                return Ok(None);
            }
            let node = Arc::new(join.clone().with_columns(columns)?);
            Ok(Some(LogicalPlan::Extension(Extension { node })))
        }
        LogicalPlan::Filter(_) | LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => {
            needed.extend(columns_of(plan));
            let [input] = plan.inputs()[..] else {
                return Ok(None);
            };
            let below = trimmed(input, needed)?;
            let above = |below| plan.with_new_exprs(plan.expressions(), vec![below]);
            below.map(above).transpose()
        }
        _ => Ok(None),
    }
}

fn columns_of(plan: &LogicalPlan) -> HashSet<Column> {
    let exprs = plan.expressions();
    let columns = exprs.iter().flat_map(Expr::column_refs);
    columns.cloned().collect()
}
