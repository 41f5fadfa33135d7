//! From a join of nearest rows in a logical plan to the operator.

use std::sync::Arc;

use arrow::datatypes::Schema;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};

use super::exec::{Joined, KnnJoinExec};
use super::node::KnnJoin;
use crate::catalog::options::ShelfmarkOptions;
use crate::error::Error;
use crate::search::node::Distance;
use crate::search::planner::{Parts, scan_of, search};

/// Makes a [`KnnJoinExec`] of a [`KnnJoin`].
#[derive(Debug, Default)]
pub struct KnnJoinPlanner;

#[async_trait]
impl ExtensionPlanner for KnnJoinPlanner {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        planning: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(node) = node.as_any().downcast_ref::<KnnJoin>() else {
            return Ok(None);
        };
        let ([of_queries, of_scan], [queries, scan]) = (logical_inputs, physical_inputs) else {
            return Err(Error::internal("a join of nearest rows has two inputs").into());
        };
        let scan = scan_of(scan)?;
        let physical = |expr: &Expr, schema: &DFSchema| {
            planner.create_physical_expr(expr, schema, session, planning)
        };
        let lost = || Error::internal("a join of nearest rows lost its distance");
        // The queries' columns come from elsewhere.
        let fields = &node.schema.fields()[of_queries.schema().fields().len()..];
        let found = Arc::new(Schema::new(fields.to_vec()));
        let parts = Parts {
            key: &node.key,
            distance: Distance::of_queries(&node.key).ok_or_else(lost)?,
            queries: of_queries.schema(),
            filters: &node.filters,
            order: node.order,
            k: node.skip.saturating_add(node.rows()?),
            ties: false,
            columns: &node.columns,
            output: found,
        };
        let search = search(parts, of_scan.schema(), scan, physical)?;
        let joined = Joined {
            skip: node.skip,
            keep_all: node.keep_all,
            output: Arc::clone(node.schema.inner()),
        };
        let prune = ShelfmarkOptions::prunes(session.config_options());
        let source = Arc::clone(scan.source());
        let exec = KnnJoinExec::new(Arc::clone(queries), source, search, joined, prune);
        Ok(Some(Arc::new(exec)))
    }
}
