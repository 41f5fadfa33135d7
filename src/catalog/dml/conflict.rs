//! INSERT .. ON CONFLICT: the rows that have the keys which a statement brings, found by the indexes that enforce them.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, DFSchemaRef, Result as DataFusionResult, TableReference};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, execute_stream,
};
use futures::{StreamExt, TryStreamExt, stream};

use super::{Operation, Target, check_input, extension};
use crate::catalog::assign::Assignment;
use crate::catalog::keys::{Existing, NewKeys, Removed, are_at_hand, expired, look_up};
use crate::catalog::parts::Parts;
use crate::catalog::plan_node::only_input;
use crate::catalog::transaction::OpenTransaction;
use crate::catalog::zone::Zone;
use crate::error::{Error, Result};
use crate::storage::collection::Collection;
use crate::storage::engine::Engine;
use crate::storage::growing::batch_bytes;
use crate::storage::schema::{CollectionId, FieldId, Version};
use crate::storage::snapshot::Snapshot;
use crate::storage::ttl::Ttl;
use crate::storage::unique::KeyId;

/// Rows and bytes whose keys are looked up at once: the more, the fewer times a segment is read.
const ROWS_MAX: usize = 128 * 1024;
const BYTES_MAX: u64 = 32 << 20;

/// Memory that is counted for a key which the statement has brought.
const KEY_BYTES: usize = 32;

/// What becomes of a row whose key a live row has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Conflict {
    /// It is left out, as one is whose key came before.
    Skip,
    /// It goes on beside the live row.
    Pair,
}

/// A column of the rows that go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Paired {
    /// The column at this place of the row that is brought.
    Brought(usize),
    /// The column at this place of the live row with its key; NULL where there is none.
    Existing(usize),
    /// The segment of that row.
    Segment,
    /// Its place there.
    Row,
}

/// A column with its table's name, what it is, and where it comes from.
pub type PairedColumn = (Option<TableReference>, FieldRef, Paired);

/// Assigns the rows of its input to the columns of a collection, and looks their keys up.
#[derive(Debug, Clone)]
pub struct ConflictNode {
    target: Target,
    conflict: Conflict,
    /// The key that the statement names; none where any of them counts.
    key: Option<KeyId>,
    columns: Vec<Paired>,
    input: LogicalPlan,
    schema: DFSchemaRef,
}

impl ConflictNode {
    /// The plan over rows with all columns of a collection, which has unique keys; they are paired by one of them.
    ///
    /// # Errors
    /// 42601 for another number of columns than the collection has, 42804 for types that cannot be assigned.
    pub fn plan(
        engine: Arc<Engine>,
        collection: Arc<Collection>,
        conflict: Conflict,
        key: Option<KeyId>,
        input: LogicalPlan,
        columns: Vec<PairedColumn>,
    ) -> Result<LogicalPlan> {
        check_input(&collection, Operation::Insert, input.schema().as_arrow())?;
        let (fields, columns): (Vec<_>, _) = columns
            .into_iter()
            .map(|(relation, field, from)| match from {
                Paired::Brought(_) => ((relation, field), from),
                _ => {
                    let field = field.as_ref().clone().with_nullable(true);
                    ((relation, Arc::new(field)), from)
                }
            })
            .unzip();
        Ok(extension(Self {
            target: Target::new(engine, collection),
            conflict,
            key,
            columns,
            input,
            schema: Arc::new(DFSchema::new_with_metadata(fields, Default::default())?),
        }))
    }

    /// Of which collection.
    pub fn collection(&self) -> &Arc<Collection> {
        &self.target.collection
    }

    /// Whether the statement names the key.
    pub fn names_key(&self) -> bool {
        self.key.is_some()
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    fn identity(&self) -> (CollectionId, Conflict, Option<KeyId>, &[Paired]) {
        let id = self.target.collection.id;
        (id, self.conflict, self.key, &self.columns)
    }
}

impl PartialEq for ConflictNode {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity() && self.input == other.input
    }
}

impl Eq for ConflictNode {}

impl PartialOrd for ConflictNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match self.identity().cmp(&other.identity()) {
            Ordering::Equal => self.input.partial_cmp(&other.input),
            different => Some(different),
        }
    }
}

impl Hash for ConflictNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
        self.input.hash(state);
    }
}

impl UserDefinedLogicalNodeCore for ConflictNode {
    fn name(&self) -> &str {
        "Conflict"
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
        write!(f, "Conflict: {:?}, collection={name}", self.conflict)
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

/// The operator of a [`ConflictNode`].
#[derive(Debug)]
pub struct ConflictExec {
    target: Target,
    version: Version,
    conflict: Conflict,
    key: Option<KeyId>,
    columns: Arc<[Paired]>,
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl ConflictExec {
    /// The operator that looks among the rows of `snapshot`; `target` is the node's with its checks.
    ///
    /// # Errors
    /// 42P01 when the collection is not there any more, 0A000 when its columns are others.
    pub(super) fn try_new(
        node: &ConflictNode,
        target: Target,
        snapshot: &Snapshot,
        input: Arc<dyn ExecutionPlan>,
    ) -> Result<Self> {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(node.schema.inner())),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Self {
            target: Target {
                collection: target.current(snapshot)?,
                ..target
            },
            version: snapshot.version(),
            conflict: node.conflict,
            key: node.key,
            columns: node.columns.clone().into(),
            input,
            properties: Arc::new(properties),
        })
    }

    /// The same over other rows, looked for in another version.
    ///
    /// # Errors
    /// Those of making it.
    pub fn at(&self, snapshot: &Snapshot, input: Arc<dyn ExecutionPlan>) -> Result<Self> {
        Ok(Self {
            target: Target {
                collection: self.target.current(snapshot)?,
                ..self.target.clone()
            },
            version: snapshot.version(),
            conflict: self.conflict,
            key: self.key,
            columns: Arc::clone(&self.columns),
            input,
            properties: Arc::clone(&self.properties),
        })
    }

    /// Whether another execution of the same operators does the same.
    pub fn is_repeatable(&self) -> bool {
        self.target.is_repeatable()
    }

    /// The version whose rows it looks at.
    pub(super) fn version(&self) -> Version {
        self.version
    }
}

impl DisplayAs for ConflictExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let name = &self.target.collection.name;
        write!(f, "ConflictExec: {:?}, collection={name}", self.conflict)
    }
}

impl ExecutionPlan for ConflictExec {
    fn name(&self) -> &str {
        "ConflictExec"
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
            target: self.target.clone(),
            version: self.version,
            conflict: self.conflict,
            key: self.key,
            columns: Arc::clone(&self.columns),
            input: input.ok_or_else(|| Error::internal("keys are looked up for one input"))?,
            properties: Arc::clone(&self.properties),
        }))
    }

    fn execute(
        &self,
        _partition: usize,
        context: Arc<TaskContext>,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        let memory = MemoryConsumer::new("ON CONFLICT").register(context.memory_pool());
        let gathered = memory.new_empty();
        let collection = &self.target.collection;
        let zone = Zone::of(context.session_config().options());
        let mut target = self.target.clone();
        if let Some(now) = self.collection_now(&context) {
            target.collection = now;
        }
        let lookups = Lookups {
            rows: execute_stream(Arc::clone(&self.input), context)?,
            lookup: Lookup {
                target,
                assignment: Assignment::new(collection, self.target.rows.generated.clone(), zone),
                key: self.key,
                fields: self.existing_fields(),
                columns: Arc::clone(&self.columns),
                schema: self.schema(),
            },
            seen: match self.conflict {
                Conflict::Skip => Some(HashSet::new()),
                Conflict::Pair => None,
            },
            memory,
            gathered,
        };
        let batches = stream::try_unfold(lookups, async |mut lookups| {
            let next = lookups.next().await?;
            Ok::<_, Error>(next.map(|batch| (batch, lookups)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema(),
            batches.map_err(Into::into).boxed(),
        )))
    }
}

impl ConflictExec {
    /// The collection as other parts of the statement have made it: they may have taken or brought keys.
    fn collection_now(&self, context: &TaskContext) -> Option<Arc<Collection>> {
        let config = context.session_config();
        config.get_extension::<Parts>()?;
        let snapshot = config.get_extension::<OpenTransaction>()?.snapshot();
        let id = self.target.collection.id;
        snapshot.collection_by_id(id).map(Arc::clone)
    }

    /// The columns of live rows, in the order in which they are asked for.
    fn existing_fields(&self) -> Vec<FieldId> {
        let columns = &self.target.collection.schema.columns;
        let fields = self.columns.iter().filter_map(|column| match column {
            Paired::Existing(place) => Some(columns[*place].id),
            _ => None,
        });
        fields.collect()
    }
}

/// One execution.
struct Lookups {
    rows: SendableRecordBatchStream,
    lookup: Lookup,
    /// The keys that came, where only the first row of a key goes on.
    seen: Option<HashSet<u128>>,
    /// Of the keys.
    memory: MemoryReservation,
    /// Of the rows that are looked up now.
    gathered: MemoryReservation,
}

impl Lookups {
    /// The next rows that go on.
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        while let Some(batch) = self.gather().await? {
            let (batch, existing) = self.lookup.find(&batch).await?;
            let mut batch = self.lookup.pair(&batch, &existing)?;
            if let Some(seen) = &mut self.seen {
                let rows = batch.num_rows();
                self.memory.try_grow(rows * existing.len() * KEY_BYTES)?;
                let new = (0..rows).map(|row| Some(is_new(&existing, row, seen)));
                batch = filter_record_batch(&batch, &new.collect::<BooleanArray>())?;
            }
            if batch.num_rows() > 0 {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    /// As many rows of the input as are looked up at once.
    async fn gather(&mut self) -> Result<Option<RecordBatch>> {
        let (mut batches, mut rows, mut bytes) = (Vec::new(), 0, 0);
        self.gathered.free();
        while rows < ROWS_MAX && bytes < BYTES_MAX {
            let Some(batch) = self.rows.next().await.transpose()? else {
                break;
            };
            rows += batch.num_rows();
            bytes += batch_bytes(&batch);
            self.gathered.try_resize(bytes as usize)?;
            batches.push(batch);
        }
        match batches.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(one.clone())),
            [first, ..] => Ok(Some(concat_batches(&first.schema(), &batches)?)),
        }
    }
}

/// Whether neither a live row nor one that came before has one of the row's keys, which are seen from then on.
fn is_new(existing: &[Existing], row: usize, seen: &mut HashSet<u128>) -> bool {
    let is_free = |of: &Existing| of.places.is_null(row) && !seen.contains(&of.hashes[row]);
    let is_new = existing.iter().all(is_free);
    if is_new {
        seen.extend(existing.iter().map(|of| of.hashes[row]));
    }
    is_new
}

/// What all lookups of an execution have in common.
struct Lookup {
    target: Target,
    assignment: Assignment,
    key: Option<KeyId>,
    fields: Vec<FieldId>,
    columns: Arc<[Paired]>,
    schema: SchemaRef,
}

impl Lookup {
    /// The rows as they would be stored, which are checked whatever becomes of them, and the live ones with their keys, for
    /// each key that counts.
    async fn find(&self, batch: &RecordBatch) -> Result<(RecordBatch, Vec<Existing>)> {
        let Target {
            engine,
            collection,
            rows,
            ..
        } = &self.target;
        let brought = self.assignment.batch(batch).map_err(|e| e.error)?;
        rows.check(&brought)?;
        let mut keys = match self.key {
            Some(key) => vec![NewKeys::of(collection, key)?],
            None => NewKeys::all(collection)?,
        };
        keys.iter_mut().try_for_each(|keys| keys.add(&brought))?;
        let are_at_hand = are_at_hand(&keys, engine, collection)?;
        let keys = Arc::new(keys);
        let existing = self.existing(&keys, Removed::new(), are_at_hand).await?;
        if Ttl::of(collection).is_none() || existing.iter().all(Existing::is_empty) {
            return Ok((brought, existing));
        }
        // Rows that have expired give their keys up.
        match expired(engine, collection).await? {
            Some(expired) if !expired.is_empty() => {
                Ok((brought, self.existing(&keys, expired, false).await?))
            }
            _ => Ok((brought, existing)),
        }
    }

    /// The live rows with the keys, those of `removed` apart.
    async fn existing(
        &self,
        keys: &Arc<Vec<NewKeys>>,
        removed: Removed,
        are_at_hand: bool,
    ) -> Result<Vec<Existing>> {
        let Target {
            engine, collection, ..
        } = &self.target;
        let (engine, collection) = (Arc::clone(engine), Arc::clone(collection));
        let (keys, fields) = (Arc::clone(keys), self.fields.clone());
        let find = move || {
            let existing = keys.iter();
            let existing = existing.map(|keys| keys.find(&engine, &collection, &fields, &removed));
            existing.collect::<Result<_>>()
        };
        look_up(are_at_hand, find).await
    }

    fn pair(&self, brought: &RecordBatch, existing: &[Existing]) -> Result<RecordBatch> {
        let existing = existing.first();
        let existing = existing.ok_or_else(|| Error::internal("ON CONFLICT without a key"))?;
        let mut asked = 0..;
        let mut column = |column: &Paired| -> Result<ArrayRef> {
            match column {
                Paired::Brought(place) => Ok(Arc::clone(brought.column(*place))),
                Paired::Existing(_) => existing.column(asked.next().unwrap_or_default()),
                Paired::Segment => existing.segments(),
                Paired::Row => existing.rows(),
            }
        };
        let arrays = self
            .columns
            .iter()
            .map(&mut column)
            .collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(brought.num_rows()));
        let schema = Arc::clone(&self.schema);
        Ok(RecordBatch::try_new_with_options(schema, arrays, &options)?)
    }
}
