//! WITH of statements that change rows: parts that run one after another, in one transaction.
//!
//! ```text
//! With
//!   Delete .. RETURNING     its rows are kept for the parts that read them
//!   Insert                  the main part, whose answer is that of the statement
//!   Update                  what nobody reads runs last, to its end all the same
//! ```
//! All parts read the version that the statement began with, and not what the others change.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchemaRef, Result as DataFusionResult, plan_err};
use datafusion::execution::{SendableRecordBatchStream, SessionState, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::{Distribution, EquivalenceProperties, OrderingRequirements};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning,
    PlanProperties, execute_stream,
};
use futures::{StreamExt, TryFutureExt};

use super::answer::Answer;
use super::exec::Replan;
use super::extension;
use super::statement::{TRIES_MAX, wait_for_turn};
use crate::catalog::options::{PinnedSnapshot, ShelfmarkOptions};
use crate::catalog::parts::Parts;
use crate::catalog::temporary::Temporary;
use crate::catalog::transaction::{CurrentTransaction, OpenTransaction};
use crate::error::{Error, ErrorKind, Result};
use crate::storage::engine::Engine;
use crate::storage::schema::CollectionId;
use crate::storage::snapshot::Snapshot;

/// What becomes of the rows of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartRole {
    /// They are the answer.
    Main,
    /// They are kept under this number.
    Kept(usize),
    /// Nobody reads them.
    Unread,
}

/// The parts of a statement in the order in which they run.
#[derive(Clone)]
pub struct WithNode {
    engine: Arc<Engine>,
    /// The collection whose turn a statement waits for that lost to others.
    changes: CollectionId,
    roles: Arc<[PartRole]>,
    inputs: Vec<LogicalPlan>,
    schema: DFSchemaRef,
}

impl WithNode {
    /// The plan of the parts, of which one is the main one; the first collection that they change is `changes`.
    ///
    /// # Errors
    /// XX000 without a main part.
    pub fn plan(
        engine: Arc<Engine>,
        changes: CollectionId,
        parts: Vec<(PartRole, LogicalPlan)>,
    ) -> Result<LogicalPlan> {
        let main = parts.iter().find(|(role, _)| *role == PartRole::Main);
        let main = main.ok_or_else(|| Error::internal("WITH has no main statement"))?;
        let schema = Arc::clone(main.1.schema());
        let (roles, inputs): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        Ok(extension(Self {
            engine,
            changes,
            roles: roles.into(),
            inputs,
            schema,
        }))
    }

    fn identity(&self) -> (CollectionId, &[PartRole]) {
        (self.changes, &self.roles)
    }
}

impl fmt::Debug for WithNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "With: {:?}", self.roles)
    }
}

impl PartialEq for WithNode {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity() && self.inputs == other.inputs
    }
}

impl Eq for WithNode {}

impl PartialOrd for WithNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match self.identity().cmp(&other.identity()) {
            Ordering::Equal => self.inputs.partial_cmp(&other.inputs),
            different => Some(different),
        }
    }
}

impl Hash for WithNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
        self.inputs.hash(state);
    }
}

impl UserDefinedLogicalNodeCore for WithNode {
    fn name(&self) -> &str {
        "With"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        self.inputs.iter().collect()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "With: {:?}", self.roles)
    }

    fn with_exprs_and_inputs(
        &self,
        _exprs: Vec<Expr>,
        inputs: Vec<LogicalPlan>,
    ) -> DataFusionResult<Self> {
        let main = self.roles.iter().position(|role| *role == PartRole::Main);
        match main.and_then(|main| inputs.get(main)) {
            Some(main) if inputs.len() == self.roles.len() => Ok(Self {
                schema: Arc::clone(main.schema()),
                inputs,
                ..self.clone()
            }),
            _ => plan_err!("WITH has {} parts", self.roles.len()),
        }
    }
}

/// The operator of a [`WithNode`].
#[derive(Clone)]
pub struct WithExec {
    engine: Arc<Engine>,
    changes: CollectionId,
    roles: Arc<[PartRole]>,
    parts: Vec<Arc<dyn ExecutionPlan>>,
    /// The orders that the parts were planned with.
    orders: Vec<Option<OrderingRequirements>>,
    replan: Option<Replan>,
    properties: Arc<PlanProperties>,
}

impl WithExec {
    /// # Errors
    /// XX000 for another number of parts.
    pub(super) fn try_new(
        node: &WithNode,
        parts: Vec<Arc<dyn ExecutionPlan>>,
        state: Option<&SessionState>,
    ) -> Result<Self> {
        let main = node.roles.iter().zip(&parts);
        let mut main = main.filter(|(role, _)| **role == PartRole::Main);
        let (_, main) = main
            .next()
            .ok_or_else(|| Error::internal("WITH has no main statement"))?;
        let properties = PlanProperties::new(
            EquivalenceProperties::new(main.schema()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        let order = |part: &Arc<dyn ExecutionPlan>| {
            let order = part.output_ordering().cloned();
            order.map(OrderingRequirements::from)
        };
        Ok(Self {
            engine: Arc::clone(&node.engine),
            changes: node.changes,
            roles: Arc::clone(&node.roles),
            orders: parts.iter().map(order).collect(),
            parts,
            replan: state.map(|state| {
                Replan::Plan(Arc::new(state.clone()), Arc::new(extension(node.clone())))
            }),
            properties: Arc::new(properties),
        })
    }
}

impl WithExec {
    /// What becomes of the rows of each part.
    pub(super) fn roles(&self) -> &[PartRole] {
        &self.roles
    }

    /// The parts in the order in which they run.
    pub(super) fn parts(&self) -> &[Arc<dyn ExecutionPlan>] {
        &self.parts
    }
}

impl fmt::Debug for WithExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WithExec: {:?}", self.roles)
    }
}

impl DisplayAs for WithExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "WithExec: {:?}", self.roles)
    }
}

impl ExecutionPlan for WithExec {
    fn name(&self) -> &str {
        "WithExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.parts.iter().collect()
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        vec![Distribution::SinglePartition; self.parts.len()]
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        self.orders.clone()
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false; self.parts.len()]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DataFusionResult<TreeNodeRecursion>,
    ) -> DataFusionResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        parts: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self {
            parts,
            ..Self::clone(&self)
        }))
    }

    fn execute(
        &self,
        _partition: usize,
        context: Arc<TaskContext>,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        let run = Run {
            with: self.clone(),
            context,
        };
        let run = async move { Ok(run.run().await?.into_stream()) };
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema(),
            run.try_flatten_stream().boxed(),
        )))
    }
}

/// One execution.
struct Run {
    with: WithExec,
    context: Arc<TaskContext>,
}

impl Run {
    /// Does all parts, and commits them unless they are part of a transaction.
    async fn run(&self) -> Result<Answer> {
        let engine = &self.with.engine;
        let config = self.context.session_config();
        let mut read = PinnedSnapshot::or_newest(config, engine);
        let mut parts = self.with.parts.clone();
        if let Some(transaction) = config.get_extension::<OpenTransaction>() {
            return self.join(&parts, &transaction, read).await;
        }
        let temporary = CurrentTransaction::temporary_of(config);
        let mut turn = None;
        for _ in 1..TRIES_MAX {
            match (
                self.alone(&parts, &read, &temporary).await,
                &self.with.replan,
            ) {
                (Err(e), Some(replan)) if e.kind() == ErrorKind::Conflict => {
                    wait_for_turn(engine, self.with.changes, &mut turn, read.version()).await;
                    read = temporary.over(engine.committer.snapshot());
                    parts = parts_of(replan.plan(&read).await?)?;
                }
                (result, _) => return result,
            }
        }
        self.alone(&parts, &read, &temporary).await
    }

    /// Commits a transaction of which the statement is all.
    async fn alone(
        &self,
        parts: &[Arc<dyn ExecutionPlan>],
        read: &Arc<Snapshot>,
        temporary: &Arc<Temporary>,
    ) -> Result<Answer> {
        let transaction = Arc::new(OpenTransaction::over(
            Arc::clone(&self.with.engine),
            self.context.memory_pool(),
            Arc::clone(temporary),
            Arc::clone(read),
        ));
        let done = self.join(parts, &transaction, Arc::clone(read)).await;
        let options = self.context.session_config().options();
        let durability = ShelfmarkOptions::durability_of(options);
        transaction.end(done, durability).await
    }

    /// Does all parts in a transaction.
    async fn join(
        &self,
        plans: &[Arc<dyn ExecutionPlan>],
        transaction: &Arc<OpenTransaction>,
        read: Arc<Snapshot>,
    ) -> Result<Answer> {
        let parts = Arc::new(Parts::new(read));
        let context = self.context_of(transaction, &parts);
        let mut answer = None;
        for (plan, role) in plans.iter().zip(self.with.roles.iter()) {
            let rows = execute_stream(Arc::clone(plan), Arc::clone(&context))?;
            let rows = Answer::collect(rows, context.memory_pool()).await?;
            match role {
                PartRole::Main => answer = Some(rows),
                PartRole::Kept(part) => {
                    let (rows, memory) = rows.into_parts();
                    parts.keep(*part, rows, memory);
                }
                PartRole::Unread => {}
            }
        }
        parts.finish(&self.with.engine, transaction).await?;
        answer.ok_or_else(|| Error::internal("WITH has no main statement"))
    }

    fn context_of(
        &self,
        transaction: &Arc<OpenTransaction>,
        parts: &Arc<Parts>,
    ) -> Arc<TaskContext> {
        let context = &self.context;
        let config = context.session_config().clone();
        Arc::new(TaskContext::new(
            context.task_id(),
            context.session_id(),
            config
                .with_extension(Arc::clone(transaction))
                .with_extension(Arc::clone(parts)),
            context.scalar_functions().clone(),
            context.higher_order_functions().clone(),
            context.aggregate_functions().clone(),
            context.window_functions().clone(),
            context.runtime_env(),
        ))
    }
}

/// The parts of a statement that was planned again.
fn parts_of(mut plan: Arc<dyn ExecutionPlan>) -> Result<Vec<Arc<dyn ExecutionPlan>>> {
    loop {
        if let Some(with) = plan.downcast_ref::<WithExec>() {
            return Ok(with.parts.clone());
        }
        let below = plan.children().into_iter().next().map(Arc::clone);
        plan = below.ok_or_else(|| Error::internal("WITH was planned without its parts"))?;
    }
}
