//! The operator that changes rows when it is executed.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, BooleanArray, RecordBatch, UInt64Array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{UInt32Type, UInt64Type};
use datafusion::common::Result as DataFusionResult;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::{SendableRecordBatchStream, SessionState, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{
    Boundedness, EmissionType, ReplaceChildrenOptions, SchedulingType,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, execute_stream,
};
use futures::StreamExt;
use tokio::sync::MutexGuard;

use super::{Operation, Target, count_schema};
use crate::catalog::keys::Removed;
use crate::catalog::options::PinnedSnapshot;
use crate::catalog::scan::CollectionScanExec;
use crate::catalog::sink::{NewRows, Sink};
use crate::catalog::transaction::OpenTransaction;
use crate::error::{Error, ErrorKind, Result, sqlstate};
use crate::storage::collection::Collection;
use crate::storage::schema::{SegmentId, Version};
use crate::storage::snapshot::Snapshot;

/// How often a statement is run before it reports that others were faster.
const TRIES_MAX: usize = 100;
/// The most time between a conflict and the version that won.
const NEWER_VERSION_TIMEOUT: Duration = Duration::from_secs(5);

/// What it takes to plan a statement's query again, against a newer version.
#[derive(Debug)]
pub(super) struct Replan {
    pub state: SessionState,
    pub input: LogicalPlan,
}

impl Replan {
    /// The query over `snapshot`.
    async fn plan(&self, snapshot: &Arc<Snapshot>) -> Result<Arc<dyn ExecutionPlan>> {
        let mut state = self.state.clone();
        let pinned = PinnedSnapshot(Arc::clone(snapshot));
        state.config_mut().set_extension(Arc::new(pinned));
        Ok(state
            .query_planner()
            .create_physical_plan(&self.input, &state)
            .await?)
    }
}

/// Changes rows of a collection in one commit, or as part of an [`OpenTransaction`]; gives back how many.
#[derive(Debug)]
pub struct DmlExec {
    target: Target,
    operation: Operation,
    input: Arc<dyn ExecutionPlan>,
    replan: Option<Arc<Replan>>,
    properties: Arc<PlanProperties>,
}

impl DmlExec {
    pub(super) fn new(
        target: Target,
        operation: Operation,
        input: Arc<dyn ExecutionPlan>,
        replan: Option<Arc<Replan>>,
    ) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(count_schema()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        Self {
            target,
            operation,
            input,
            replan,
            properties: Arc::new(properties),
        }
    }

    fn statement(&self, context: Arc<TaskContext>) -> Statement {
        Statement {
            target: self.target.clone(),
            operation: self.operation,
            input: Arc::clone(&self.input),
            replan: self.replan.clone(),
            context,
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
        Ok(Arc::new(Self::new(target, self.operation, input, replan)))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        use datafusion::physical_plan::ChildrenPropertiesMode;
        let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        self.replace_children(children, options)
    }

    fn execute(
        &self,
        _partition: usize,
        context: Arc<TaskContext>,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        let statement = self.statement(context);
        let run = async move {
            let count = UInt64Array::from(vec![statement.run().await?]);
            Ok(RecordBatch::try_new(count_schema(), vec![Arc::new(count)])?)
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            count_schema(),
            futures::stream::once(run).boxed(),
        )))
    }
}

/// One execution.
struct Statement {
    target: Target,
    operation: Operation,
    input: Arc<dyn ExecutionPlan>,
    replan: Option<Arc<Replan>>,
    context: Arc<TaskContext>,
}

impl Statement {
    async fn run(&self) -> Result<u64> {
        let config = self.context.session_config();
        match (self.operation, config.get_extension::<OpenTransaction>()) {
            (_, Some(transaction)) => self.join(&transaction).await,
            (Operation::Insert, None) => self.insert().await,
            (Operation::Update | Operation::Delete, None) => self.change().await,
        }
    }

    /// The transaction has read what it read: a statement in it is not run again.
    async fn join(&self, transaction: &OpenTransaction) -> Result<u64> {
        let changed = self.rows(&self.input, &transaction.snapshot()).await?;
        changed.new.join(transaction, &changed.removed).await?;
        Ok(changed.count)
    }

    /// Rows that were read once are inserted as they are, however often others commit meanwhile.
    async fn insert(&self) -> Result<u64> {
        let committer = &self.target.engine.committer;
        let Changed {
            mut new, removed, ..
        } = self.rows(&self.input, &committer.snapshot()).await?;
        let mut turn = None;
        for _ in 1..TRIES_MAX {
            let snapshot = committer.snapshot();
            match new.commit(&snapshot, &removed).await {
                Err(e) if e.kind() == ErrorKind::Conflict => {
                    self.wait_for_turn(&mut turn, snapshot.version()).await;
                }
                result => return result.map(|()| new.rows()),
            }
        }
        let last = new.commit(&committer.snapshot(), &removed).await;
        last.map(|()| new.rows())
    }

    /// Rows are looked for again, in a newer version, when others changed them meanwhile.
    async fn change(&self) -> Result<u64> {
        let mut tries = 1;
        let mut plan = self.consistent_plan().await?;
        loop {
            let result = self.change_once(&plan).await;
            match (result, &self.replan) {
                (Err(e), Some(replan)) if e.kind() == ErrorKind::Conflict && tries < TRIES_MAX => {
                    tries += 1;
                    plan = replan
                        .plan(&self.target.engine.committer.snapshot())
                        .await?;
                }
                (result, _) => return result,
            }
        }
    }

    /// Waits until the statements that lost before are done, and the commit that won can be seen: a conflict is told
    /// before the winner is durable.
    async fn wait_for_turn<'a>(&'a self, turn: &mut Option<MutexGuard<'a, ()>>, read: Version) {
        if turn.is_none() {
            *turn = Some(self.target.engine.retrying.lock().await);
        }
        let mut versions = self.target.engine.committer.subscribe();
        let newer = versions.wait_for(|version| *version > read);
        // When no newer version comes, the log cannot be written, and the next try will say so.
        let _ = tokio::time::timeout(NEWER_VERSION_TIMEOUT, newer).await;
    }

    /// The statement's query as it was planned, unless its scans read different versions.
    async fn consistent_plan(&self) -> Result<Arc<dyn ExecutionPlan>> {
        let versions = versions(&self.input);
        match &self.replan {
            Some(replan) if versions.len() > 1 => {
                replan.plan(&self.target.engine.committer.snapshot()).await
            }
            _ => Ok(Arc::clone(&self.input)),
        }
    }

    async fn change_once(&self, plan: &Arc<dyn ExecutionPlan>) -> Result<u64> {
        let committer = &self.target.engine.committer;
        let versions = versions(plan);
        let snapshot = match versions.iter().next() {
            // A query that was planned to have no rows scans nothing.
            None => committer.snapshot(),
            Some(version) if versions.len() == 1 => committer.snapshot_at(*version)?,
            Some(_) => {
                let message = "the statement's query reads different versions";
                return Err(Error::conflict(message));
            }
        };
        let mut changed = self.rows(plan, &snapshot).await?;
        changed.new.commit(&snapshot, &changed.removed).await?;
        Ok(changed.count)
    }

    /// Runs the query: the rows that come and the addresses of those that go.
    async fn rows(&self, plan: &Arc<dyn ExecutionPlan>, snapshot: &Snapshot) -> Result<Changed> {
        let collection = self.current(snapshot)?;
        let mut sink = Sink::try_new(
            Arc::clone(&self.target.engine),
            collection,
            self.target.checks.clone(),
        )?;
        let mut removed = Removed::new();
        let mut count = 0;
        let address = self.operation.address_columns();
        let mut rows = execute_stream(Arc::clone(plan), Arc::clone(&self.context))?;
        while let Some(batch) = rows.next().await {
            let mut batch = batch?;
            if address > 0 {
                batch = take_addresses(&batch, &mut removed)?;
            }
            count += batch.num_rows() as u64;
            if self.operation != Operation::Delete {
                let values: Vec<usize> = (address..batch.num_columns()).collect();
                sink.push(&batch.project(&values)?).await?;
            }
        }
        Ok(Changed {
            new: sink.finish().await?,
            removed: Arc::new(removed),
            count,
        })
    }

    /// The collection in a version, with the columns for which the statement was planned.
    fn current(&self, snapshot: &Snapshot) -> Result<Arc<Collection>> {
        let planned = &self.target.collection;
        let name = &planned.name;
        let current = snapshot.collection_by_id(planned.id).ok_or_else(|| {
            let message = format!("relation \"{name}\" does not exist");
            Error::not_found(sqlstate::UNDEFINED_TABLE, message)
        })?;
        let (now, then) = (&current.schema, &planned.schema);
        if now.columns != then.columns || now.checks != then.checks {
            let message = format!("cached plan is out of date: \"{name}\" was altered");
            return Err(Error::unsupported(message).with_hint("Run the statement again."));
        }
        Ok(Arc::clone(current))
    }
}

/// What a statement is about to change.
struct Changed {
    new: NewRows,
    removed: Arc<Removed>,
    count: u64,
}

/// The versions that the scans of a query read.
fn versions(plan: &Arc<dyn ExecutionPlan>) -> HashSet<Version> {
    let mut versions = HashSet::new();
    let mut rest = vec![plan];
    while let Some(plan) = rest.pop() {
        if let Some(scan) = plan.downcast_ref::<CollectionScanExec>() {
            versions.insert(scan.source().version);
        }
        rest.extend(plan.children());
    }
    versions
}

/// Adds the addresses of the rows to `removed`, and leaves out rows that were there already: a join may find a row
/// more than once.
fn take_addresses(
    rows: &RecordBatch,
    removed: &mut HashMap<SegmentId, roaring::RoaringBitmap>,
) -> Result<RecordBatch> {
    let segments = rows.column(0).as_primitive::<UInt64Type>().values();
    let places = rows.column(1).as_primitive::<UInt32Type>().values();
    let first: BooleanArray = segments
        .iter()
        .zip(places.iter())
        .map(|(segment, row)| {
            let rows = removed.entry(SegmentId(*segment)).or_default();
            Some(rows.insert(*row))
        })
        .collect();
    if first.true_count() == rows.num_rows() {
        return Ok(rows.clone());
    }
    Ok(filter_record_batch(rows, &first)?)
}
