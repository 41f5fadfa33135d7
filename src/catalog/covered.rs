//! Filters that PartitionStats prove true for every row that is read: they need not be evaluated.
//!
//! What is left then is a scan whose number of rows is known, so that DataFusion answers `count(*)`, `min` and `max` of a
//! range of the clustering key that begins and ends with segments without reading anything.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};

use super::scan::CollectionScanExec;

/// The name of [`CoveredFilterRule`], for plans that are made once for many versions.
pub const COVERED_FILTERS: &str = "covered_filters";

/// Takes out filters directly above scans all of whose rows pass them. It comes before DataFusion's
/// `aggregate_statistics`.
#[derive(Debug, Default)]
pub struct CoveredFilterRule;

impl PhysicalOptimizerRule for CoveredFilterRule {
    fn name(&self) -> &str {
        COVERED_FILTERS
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            Ok(
                match node.downcast_ref().map(without).transpose()?.flatten() {
                    Some(covered) => Transformed::yes(covered),
                    None => Transformed::no(node),
                },
            )
        })
        .data()
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// What the filter gives, without it; `None` where it may reject a row.
fn without(filter: &FilterExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let scan = filter.input().downcast_ref::<CollectionScanExec>();
    let scan = scan.filter(|_| filter.fetch().is_none());
    let Some(covered) = scan.and_then(|scan| scan.covered_by(filter.predicate())) else {
        return Ok(None);
    };
    let Some(places) = filter.projection() else {
        return Ok(Some(Arc::new(covered)));
    };
    let schema = covered.schema();
    let columns = places.iter().map(|place| {
        let name = schema.field(*place).name();
        ProjectionExpr {
            expr: Arc::new(Column::new(name, *place)),
            alias: name.clone(),
        }
    });
    let columns: Vec<ProjectionExpr> = columns.collect();
    let projected = ProjectionExec::try_new(columns, Arc::new(covered))?;
    Ok(Some(Arc::new(projected)))
}
