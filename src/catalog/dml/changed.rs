//! The rows that a statement changes, on their way to what RETURNING computes of them.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, DFSchemaRef, Result as DataFusionResult, TableReference};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, execute_stream,
};
use futures::{StreamExt, stream};
use tokio::sync::Mutex;

use super::write::{ChangedRows, Writer};
use super::{Operation, Target, check_input, extension};
use crate::catalog::plan_node::only_input;
use crate::error::{Error, Result};
use crate::storage::collection::Collection;
use crate::storage::engine::Engine;
use crate::storage::schema::CollectionId;

/// Where a column of a changed row comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Returned {
    /// The column of the collection at this place, as it is stored.
    Stored(usize),
    /// The column of the query at this place: of a row that is removed, or of another table.
    Queried(usize),
}

/// A column of the rows that are handed on: its table's name, what it is, and where it comes from.
pub type ReturnedColumn = (Option<TableReference>, FieldRef, Returned);

/// Writes the rows of a query, and hands them on.
#[derive(Debug, Clone)]
pub struct ChangedRowsNode {
    pub(super) target: Target,
    pub(super) operation: Operation,
    pub(super) input: LogicalPlan,
    columns: Vec<Returned>,
    schema: DFSchemaRef,
}

impl ChangedRowsNode {
    /// The plan over the query of an operation; the query may have more columns behind those that the operation takes.
    ///
    /// # Errors
    /// 42601 for another number of columns than the collection has, 42804 for types that cannot be assigned.
    pub fn plan(
        engine: Arc<Engine>,
        collection: Arc<Collection>,
        operation: Operation,
        input: LogicalPlan,
        columns: Vec<ReturnedColumn>,
    ) -> Result<LogicalPlan> {
        let taken = operation.columns(&collection);
        let fields = input.schema().fields().iter().take(taken);
        let taken = Schema::new(fields.cloned().collect::<Vec<_>>());
        check_input(&collection, operation, &taken)?;
        let (fields, columns): (Vec<_>, _) = columns
            .into_iter()
            .map(|(relation, field, from)| ((relation, field), from))
            .unzip();
        Ok(extension(Self {
            target: Target::new(engine, collection),
            operation,
            input,
            columns,
            schema: Arc::new(DFSchema::new_with_metadata(fields, Default::default())?),
        }))
    }

    /// Of which collection.
    pub fn collection(&self) -> &Arc<Collection> {
        &self.target.collection
    }

    /// What is done to it.
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// Whether a column is handed on as it is stored.
    pub(super) fn has_stored(&self) -> bool {
        let mut columns = self.columns.iter();
        columns.any(|column| matches!(column, Returned::Stored(_)))
    }

    fn identity(&self) -> (CollectionId, Operation, &[Returned]) {
        let id = self.target.collection.id;
        (id, self.operation, self.columns.as_slice())
    }
}

impl PartialEq for ChangedRowsNode {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity() && self.input == other.input
    }
}

impl Eq for ChangedRowsNode {}

impl PartialOrd for ChangedRowsNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match self.identity().cmp(&other.identity()) {
            Ordering::Equal => self.input.partial_cmp(&other.input),
            different => Some(different),
        }
    }
}

impl Hash for ChangedRowsNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
        self.input.hash(state);
    }
}

impl UserDefinedLogicalNodeCore for ChangedRowsNode {
    fn name(&self) -> &str {
        "ChangedRows"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let name = &self.target.collection.name;
        write!(f, "ChangedRows: {}, collection={name}", self.operation)
    }

    fn with_exprs_and_inputs(
        &self,
        _exprs: Vec<Expr>,
        inputs: Vec<LogicalPlan>,
    ) -> DataFusionResult<Self> {
        Ok(Self {
            input: only_input(self, inputs)?,
            ..self.clone()
        })
    }
}

/// Where the writer of an execution is, while the query runs.
#[derive(Default)]
pub(super) struct Slot(Mutex<Option<Writing>>);

struct Writing {
    writer: Writer,
    /// Whether the query has come to its end: without it a part of the rows would be changed.
    has_ended: bool,
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slot")
    }
}

impl Slot {
    /// Begins an execution.
    pub async fn open(&self, writer: Writer) {
        *self.0.lock().await = Some(Writing {
            writer,
            has_ended: false,
        });
    }

    /// Ends the execution: the writer has all rows.
    ///
    /// # Errors
    /// XX000 when it has not.
    pub async fn close(&self) -> Result<Writer> {
        match self.0.lock().await.take() {
            Some(writing) if writing.has_ended => Ok(writing.writer),
            _ => Err(Error::internal("RETURNING did not read all changed rows")),
        }
    }

    async fn push(&self, batch: &RecordBatch) -> Result<ChangedRows> {
        match self.0.lock().await.as_mut() {
            Some(writing) => writing.writer.push(batch).await,
            None => Err(no_writer()),
        }
    }

    async fn end(&self) -> Result<()> {
        let mut writing = self.0.lock().await;
        writing.as_mut().ok_or_else(no_writer)?.has_ended = true;
        Ok(())
    }
}

fn no_writer() -> Error {
    Error::internal("changed rows are read without a statement that changes them")
}

/// The operator of a [`ChangedRowsNode`].
#[derive(Debug)]
pub struct ChangedRowsExec {
    label: String,
    columns: Arc<[Returned]>,
    input: Arc<dyn ExecutionPlan>,
    slot: Arc<Slot>,
    properties: Arc<PlanProperties>,
}

impl ChangedRowsExec {
    pub(super) fn new(node: &ChangedRowsNode, input: Arc<dyn ExecutionPlan>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(node.schema.inner())),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let name = &node.target.collection.name;
        Self {
            label: format!("{}, collection={name}", node.operation),
            columns: node.columns.clone().into(),
            input,
            slot: Arc::default(),
            properties: Arc::new(properties),
        }
    }

    pub(super) fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }
}

impl DisplayAs for ChangedRowsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "ChangedRowsExec: {}", self.label)
    }
}

impl ExecutionPlan for ChangedRowsExec {
    fn name(&self) -> &str {
        "ChangedRowsExec"
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

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let input = children.pop();
        Ok(Arc::new(Self {
            label: self.label.clone(),
            columns: Arc::clone(&self.columns),
            input: input.ok_or_else(|| Error::internal("changed rows have one input"))?,
            slot: Arc::default(),
            properties: Arc::clone(&self.properties),
        }))
    }

    fn execute(
        &self,
        _partition: usize,
        context: Arc<TaskContext>,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        let rows = execute_stream(Arc::clone(&self.input), context)?;
        let (slot, columns) = (Arc::clone(&self.slot), Arc::clone(&self.columns));
        let schema = self.schema();
        let handed_on = rows.then(move |batch| {
            let (slot, columns) = (Arc::clone(&slot), Arc::clone(&columns));
            let schema = Arc::clone(&schema);
            async move { Ok(hand_on(slot.push(&batch?).await?, &columns, &schema)?) }
        });
        let slot = Arc::clone(&self.slot);
        let end = stream::once(async move { slot.end().await.map_err(Into::into) });
        let end = end.filter_map(async |ended: DataFusionResult<()>| ended.err().map(Err));
        let all = handed_on.chain(end).boxed();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), all)))
    }
}

/// The columns that are asked for.
fn hand_on(rows: ChangedRows, columns: &[Returned], schema: &SchemaRef) -> Result<RecordBatch> {
    let missing = || Error::internal("removed rows are not stored");
    let column = |column: &Returned| -> Result<ArrayRef> {
        Ok(match column {
            Returned::Queried(at) => Arc::clone(rows.queried.column(*at)),
            Returned::Stored(at) => {
                Arc::clone(rows.stored.as_ref().ok_or_else(missing)?.column(*at))
            }
        })
    };
    let arrays = columns.iter().map(column).collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.queried.num_rows()));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        arrays,
        &options,
    )?)
}
