//! The operator that changes rows when it is executed.

use std::fmt;
use std::sync::Arc;

use datafusion::common::Result as DataFusionResult;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::{SendableRecordBatchStream, SessionState, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{
    Boundedness, EmissionType, ReplaceChildrenOptions, SchedulingType,
};
use datafusion::physical_plan::metrics::{
    Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};
use futures::{StreamExt, TryFutureExt};

use super::statement::Statement;
use super::{Answering, Operation, Target, count_schema};
use crate::catalog::options::PinnedSnapshot;
use crate::error::{Error, Result};
use crate::storage::snapshot::Snapshot;

/// The operators of a statement's query over another version.
pub type Again = dyn Fn(&Arc<Snapshot>) -> DataFusionResult<Arc<dyn ExecutionPlan>> + Send + Sync;

/// What it takes to plan a statement's query again, against a newer version.
#[derive(Clone)]
pub enum Replan {
    /// The query is planned anew.
    Plan(Arc<SessionState>, Arc<LogicalPlan>),
    /// Operators that were kept are given the version.
    Repeat(Arc<Again>),
}

impl fmt::Debug for Replan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plan(..) => "Plan",
            Self::Repeat(_) => "Repeat",
        })
    }
}

impl Replan {
    /// The query over `snapshot`.
    ///
    /// # Errors
    /// Those of planning it.
    pub(super) async fn plan(&self, snapshot: &Arc<Snapshot>) -> Result<Arc<dyn ExecutionPlan>> {
        let (state, input) = match self {
            Self::Plan(state, input) => (state, input),
            Self::Repeat(again) => return Ok(again(snapshot)?),
        };
        let mut state = SessionState::clone(state);
        let pinned = PinnedSnapshot(Arc::clone(snapshot));
        state.config_mut().set_extension(Arc::new(pinned));
        Ok(state
            .query_planner()
            .create_physical_plan(input, &state)
            .await?)
    }
}

/// Changes rows of a collection in one commit, or as part of a transaction that is open; gives back how many, or what
/// RETURNING makes of them.
#[derive(Debug)]
pub struct DmlExec {
    target: Target,
    operation: Operation,
    input: Arc<dyn ExecutionPlan>,
    answering: Answering,
    replan: Option<Replan>,
    /// What its query reads, where the session's configuration does not say so.
    read: Option<Arc<Snapshot>>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl DmlExec {
    pub(super) fn new(
        target: Target,
        operation: Operation,
        input: Arc<dyn ExecutionPlan>,
        answering: Answering,
        replan: Option<Replan>,
    ) -> Self {
        let schema = match answering {
            Answering::Returned => input.schema(),
            Answering::Count | Answering::Checked => count_schema(),
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        Self {
            target,
            operation,
            input,
            answering,
            replan,
            read: None,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    /// The query that finds the rows.
    pub fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }

    /// Whether another execution of the same operators does the same: checks are planned with the time of that day.
    pub fn is_repeatable(&self) -> bool {
        self.target.is_repeatable()
    }

    /// The same statement with a query over `read`, which is made again by `again`.
    pub fn repeated(
        &self,
        input: Arc<dyn ExecutionPlan>,
        read: Arc<Snapshot>,
        again: Arc<Again>,
    ) -> Self {
        Self {
            target: self.target.clone(),
            operation: self.operation,
            input,
            answering: self.answering,
            replan: Some(Replan::Repeat(again)),
            read: Some(read),
            properties: Arc::clone(&self.properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    /// Counts segments that are deleted whole, where that may be.
    fn segments_whole(&self) -> Option<Count> {
        let may = self.operation == Operation::Delete && self.answering == Answering::Count;
        may.then(|| MetricBuilder::new(&self.metrics).global_counter("segments_deleted_whole"))
    }

    fn statement(&self, context: Arc<TaskContext>) -> Statement {
        Statement {
            target: self.target.clone(),
            operation: self.operation,
            input: Arc::clone(&self.input),
            answering: self.answering,
            replan: self.replan.clone(),
            read: self.read.clone(),
            context,
            segments_whole: self.segments_whole(),
        }
    }
}

impl DisplayAs for DmlExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let name = &self.target.collection.name;
        write!(f, "DmlExec: {}, collection={name}", self.operation)
    }
}

impl ExecutionPlan for DmlExec {
    fn name(&self) -> &str {
        "DmlExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    /// Without it a sort below would be taken for useless.
    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DataFusionResult<TreeNodeRecursion>,
    ) -> DataFusionResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let input = children.pop();
        let input = input.ok_or_else(|| Error::internal("DmlExec takes one input"))?;
        let replan = self.replan.clone();
        let target = self.target.clone();
        let (operation, answering) = (self.operation, self.answering);
        Ok(Arc::new(Self {
            read: self.read.clone(),
            ..Self::new(target, operation, input, answering, replan)
        }))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        use datafusion::physical_plan::ChildrenPropertiesMode;
        let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        self.replace_children(children, options)
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(
        &self,
        _partition: usize,
        context: Arc<TaskContext>,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        let statement = self.statement(context);
        let run = async move { Ok(statement.run().await?.into_stream()) };
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema(),
            run.try_flatten_stream().boxed(),
        )))
    }
}
