//! What the parts of one statement have in common: those of WITH that change rows, and what is done with their rows.
//!
//! All of them read the version that the statement began with, and write into one transaction. What RETURNING gave in
//! one part is kept, by a number, for those that read it. Foreign keys are looked at when all parts are done.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result as DataFusionResult;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};
use futures::stream;
use parking_lot::Mutex;

use super::foreign_keys::Check;
use super::keys::Removed;
use super::transaction::OpenTransaction;
use crate::error::{Error, Result};
use crate::storage::engine::Engine;
use crate::storage::pending::row_deletes;
use crate::storage::schema::CollectionId;
use crate::storage::snapshot::Snapshot;

/// The parts of a statement that runs; in the configuration of each of them.
pub struct Parts {
    read: Arc<Snapshot>,
    rows: Mutex<HashMap<usize, Kept>>,
    checks: Mutex<Vec<Check>>,
    /// Collections that rows were added to.
    written: Mutex<BTreeSet<CollectionId>>,
}

/// Rows of a part, and their memory, which is held.
struct Kept {
    batches: Vec<RecordBatch>,
    _memory: Option<MemoryReservation>,
}

impl Parts {
    /// The parts of a statement that reads `read`.
    pub fn new(read: Arc<Snapshot>) -> Self {
        Self {
            read,
            rows: Mutex::default(),
            checks: Mutex::default(),
            written: Mutex::default(),
        }
    }

    /// Keeps the rows of a part for those that read them.
    pub fn keep(&self, part: usize, rows: Vec<RecordBatch>, memory: Option<MemoryReservation>) {
        let kept = Kept {
            batches: rows,
            _memory: memory,
        };
        self.rows.lock().insert(part, kept);
    }

    fn rows(&self, part: usize) -> Result<Vec<RecordBatch>> {
        let rows = self.rows.lock();
        let kept = rows.get(&part).map(|kept| kept.batches.clone());
        kept.ok_or_else(|| Error::internal("a part of a statement is read before it has run"))
    }

    /// Rows that the statement read and that other parts have changed by now: of two changes of a row only the first is made.
    pub fn gone(&self, now: &Snapshot, collection: CollectionId) -> Removed {
        row_deletes(&self.read, now, collection).collect()
    }

    /// Puts off looks at foreign keys until all parts are done.
    pub fn put_off(&self, checks: Vec<Check>) {
        self.checks.lock().extend(checks);
    }

    /// Puts off that a segment is sealed: that takes rows from the places where other parts found them.
    pub fn seal_later(&self, written: CollectionId) {
        self.written.lock().insert(written);
    }

    /// Does what was put off.
    ///
    /// # Errors
    /// 23503 for rows that do not keep a foreign key, 58030 or 53100 for what the disk says.
    pub async fn finish(&self, engine: &Arc<Engine>, transaction: &OpenTransaction) -> Result<()> {
        let checks = std::mem::take(&mut *self.checks.lock());
        Check::run_all(checks, engine, &transaction.snapshot()).await?;
        let written = std::mem::take(&mut *self.written.lock());
        for collection in written {
            transaction.seal_if_large(collection).await?;
        }
        Ok(())
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parts")
    }
}

/// The rows of a part as a table.
#[derive(Debug)]
pub struct PartTable {
    part: usize,
    schema: SchemaRef,
}

impl PartTable {
    /// The table of the rows of that part, which has these columns.
    pub fn new(part: usize, schema: SchemaRef) -> Self {
        Self { part, schema }
    }
}

#[async_trait]
impl TableProvider for PartTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let all = || (0..self.schema.fields().len()).collect();
        let columns = projection.cloned().unwrap_or_else(all);
        let schema = Arc::new(self.schema.project(&columns)?);
        Ok(Arc::new(PartExec::new(self.part, columns, schema)))
    }
}

/// Reads what a part gave, in the execution that it is asked in.
#[derive(Debug)]
struct PartExec {
    part: usize,
    columns: Vec<usize>,
    properties: Arc<PlanProperties>,
}

impl PartExec {
    fn new(part: usize, columns: Vec<usize>, schema: SchemaRef) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self {
            part,
            columns,
            properties: Arc::new(properties),
        }
    }
}

impl DisplayAs for PartExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "PartExec: part={}", self.part)
    }
}

impl ExecutionPlan for PartExec {
    fn name(&self) -> &str {
        "PartExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DataFusionResult<TreeNodeRecursion>,
    ) -> DataFusionResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(
        &self,
        _partition: usize,
        context: Arc<TaskContext>,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        let parts = context.session_config().get_extension::<Parts>();
        let parts = parts.ok_or_else(|| {
            let message = "a part of WITH that changes rows is not read by ON CONFLICT";
            Error::unsupported(message)
        })?;
        let (schema, columns) = (self.schema(), self.columns.clone());
        let batches = parts.rows(self.part)?.into_iter().map({
            let schema = Arc::clone(&schema);
            move |batch| Ok(with_schema(&batch.project(&columns)?, &schema)?)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            schema,
            stream::iter(batches),
        )))
    }
}

/// The parts whose rows a plan reads.
pub fn parts_read(plan: &Arc<dyn ExecutionPlan>) -> BTreeSet<usize> {
    let mut read = BTreeSet::new();
    let mut rest = vec![plan];
    while let Some(plan) = rest.pop() {
        read.extend(plan.downcast_ref().map(|part: &PartExec| part.part));
        rest.extend(plan.children());
    }
    read
}

/// The rows as they were planned: operators may give other types of the same kind.
fn with_schema(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(
        |(column, field)| match column.data_type() == field.data_type() {
            true => Ok(Arc::clone(column)),
            false => cast(column, field.data_type()),
        },
    );
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let schema = Arc::clone(schema);
    Ok(RecordBatch::try_new_with_options(
        schema, columns, &options,
    )?)
}
