//! Scalar subqueries of a statement whose WITH changes rows.
//!
//! DataFusion runs those that do not depend on outer rows once, before all other operators. Some read what a part of the
//! statement returns: they run when that part has run.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::execution_plan::ReplaceChildrenOptions;
use datafusion::physical_plan::scalar_subquery::{ScalarSubqueryExec, ScalarSubqueryLink};
use datafusion::physical_plan::{ChildrenPropertiesMode, ExecutionPlan};

use super::with::{PartRole, WithExec};
use crate::catalog::parts::parts_read;

/// Puts each subquery of a statement around the first of its parts that may run behind it.
#[derive(Debug, Default)]
pub struct PartSubqueriesRule;

impl PhysicalOptimizerRule for PartSubqueriesRule {
    fn name(&self) -> &str {
        "part_subqueries"
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_down(|node| {
            let moved = node.downcast_ref().map(moved).transpose()?.flatten();
            Ok(match moved {
                // Subqueries of subqueries are theirs.
                Some(moved) => Transformed::new(moved, true, TreeNodeRecursion::Jump),
                None => Transformed::no(node),
            })
        })
        .data()
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The statement below without the operator; `None` where there is none.
fn moved(subqueries: &ScalarSubqueryExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let input = Arc::clone(subqueries.input());
    let moved = input.transform_down(|node| {
        Ok(match node.downcast_ref::<WithExec>() {
            Some(with) => {
                let parts = with_subqueries(with, subqueries);
                let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
                let with = Arc::clone(&node).replace_children(parts, options)?;
                Transformed::new(with, true, TreeNodeRecursion::Stop)
            }
            None => Transformed::no(node),
        })
    })?;
    Ok(moved.transformed.then_some(moved.data))
}

fn with_subqueries(
    with: &WithExec,
    subqueries: &ScalarSubqueryExec,
) -> Vec<Arc<dyn ExecutionPlan>> {
    let mut links: Vec<Vec<ScalarSubqueryLink>> = vec![Vec::new(); with.parts().len()];
    for link in subqueries.subqueries() {
        links[place_of(&link.plan, with.roles())].push(link.clone());
    }
    let parts = with.parts().iter().zip(links);
    let part = |(part, links): (&Arc<dyn ExecutionPlan>, Vec<ScalarSubqueryLink>)| {
        let part = Arc::clone(part);
        match links.is_empty() {
            true => part,
            false => {
                let results = subqueries.results().clone();
                Arc::new(ScalarSubqueryExec::new(part, links, results)) as _
            }
        }
    };
    parts.map(part).collect()
}

/// Behind the last part that the subquery reads. Whoever has the subquery reads that part too, and is behind it.
fn place_of(subquery: &Arc<dyn ExecutionPlan>, roles: &[PartRole]) -> usize {
    let read = parts_read(subquery);
    let is_read = |role: &PartRole| matches!(role, PartRole::Kept(part) if read.contains(part));
    let last = roles.iter().rposition(is_read);
    last.map_or(0, |last| (last + 1).min(roles.len() - 1))
}
