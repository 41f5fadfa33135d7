//! Sorts narrow rows by the clustering key within a memory budget; what does not fit is spilled.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, PrimitiveArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Field, FieldRef, Float32Type, Float64Type, Schema, SchemaRef,
};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{
    GreedyMemoryPool, MemoryPool, PeakRecordingPool, TrackConsumersPool,
};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};
use datafusion::prelude::SessionConfig;
use futures::stream;

use super::computed::ComputedItem;
use super::gather::Gatherer;
use super::input::{Batches, Input, Narrow};
use super::jobs::Task;
use super::ranges::Weight;
use crate::error::{Error, Result};
use crate::storage::collection::Collection;
use crate::storage::growing::batch_bytes;
use crate::storage::key_model::KEY_TYPE;

/// The most rows of a batch.
const BATCH_ROWS_MAX: u64 = 4_096;

/// The limits of one sort.
#[derive(Debug, Clone)]
pub struct SortLimits {
    /// Bytes of memory that sorting may use.
    pub memory_bytes: u64,
    /// The most bytes that a batch should take.
    pub batch_bytes: u64,
    /// Where to spill.
    pub spill_directory: PathBuf,
}

/// Narrow rows with the columns by which they are sorted.
#[derive(Debug, Clone)]
pub struct SortOrder {
    narrow: Narrow,
    schema: SchemaRef,
    /// Columns of the key that come after the narrow columns.
    added: Vec<Added>,
    /// The clustering key.
    key: Vec<usize>,
    /// What decides between equal keys, so that the same rows always sort alike.
    ties: Vec<usize>,
}

/// A column of the key that no narrow row has.
#[derive(Debug, Clone)]
enum Added {
    /// A copy of a float column with one zero and one NaN.
    Float(usize),
    /// What is computed.
    Computed(ComputedItem),
}

impl SortOrder {
    /// The order of a collection: by its `sort_key`, else as the rows come.
    ///
    /// # Errors
    /// None in practice: the columns are the collection's own.
    pub fn try_new(collection: &Collection) -> Result<Self> {
        let schema = &collection.schema;
        let narrow = Narrow::try_new(schema)?;
        let place = |id| narrow.index_of(id);
        let columns: Vec<usize> = collection
            .sort_key()
            .iter()
            .copied()
            .filter_map(place)
            .collect();
        let mut ties: Vec<usize> = schema
            .primary_key
            .iter()
            .copied()
            .filter_map(place)
            .collect();
        ties.retain(|i| !columns.contains(i));
        ties.extend([narrow.input_index(), narrow.row_index()]);
        let mut fields: Vec<FieldRef> = narrow.arrow_schema().fields().to_vec();
        let mut added = Vec::new();
        let mut key = Vec::new();
        for id in collection.sort_key() {
            let column = match (narrow.index_of(*id), ComputedItem::of(collection, *id)) {
                (Some(index), _) if fields[index].data_type().is_floating() => Added::Float(index),
                (Some(index), _) => {
                    key.push(index);
                    continue;
                }
                (None, Some(computed)) => Added::Computed(computed),
                (None, None) => return Err(Error::internal(format!("no key has field {id}"))),
            };
            let data_type = match &column {
                Added::Float(index) => fields[*index].data_type().clone(),
                Added::Computed(_) => KEY_TYPE,
            };
            let name = format!("shelfmark.key{}", added.len());
            key.push(fields.len());
            fields.push(Arc::new(Field::new(name, data_type, true)));
            added.push(column);
        }
        Ok(Self {
            narrow,
            schema: Arc::new(Schema::new(fields)),
            added,
            key,
            ties,
        })
    }

    /// The computed items of the key, each with the place of its column in sorted batches.
    pub fn computed(&self) -> impl Iterator<Item = (&ComputedItem, usize)> {
        let first = self.narrow.arrow_schema().fields().len();
        let added = self.added.iter().enumerate();
        added.filter_map(move |(i, added)| match added {
            Added::Computed(computed) => Some((computed, first + i)),
            Added::Float(_) => None,
        })
    }

    /// The narrow rows.
    pub fn narrow(&self) -> &Narrow {
        &self.narrow
    }

    /// The key's columns in sorted batches, most significant first; empty for none.
    pub fn key_columns<'a>(&self, batch: &'a RecordBatch) -> Vec<&'a ArrayRef> {
        self.key.iter().map(|i| batch.column(*i)).collect()
    }

    /// Types of the key's columns.
    pub fn key_types(&self) -> Vec<DataType> {
        let field = |i: &usize| self.schema.field(*i).data_type().clone();
        self.key.iter().map(field).collect()
    }

    /// Adds the columns of the key that narrow rows do not have.
    fn with_sort_keys(&self, rows: RecordBatch, gatherer: &Gatherer) -> Result<RecordBatch> {
        if self.added.is_empty() {
            return Ok(rows);
        }
        let mut columns = rows.columns().to_vec();
        for added in &self.added {
            columns.push(match added {
                Added::Float(index) => one_zero_one_nan(rows.column(*index)),
                Added::Computed(computed) => computed.keys(&rows, gatherer)?,
            });
        }
        Ok(RecordBatch::try_new(
            SchemaRef::clone(&self.schema),
            columns,
        )?)
    }

    /// Ascending, NULL last: by the key, then by what breaks ties. `None` without a key.
    fn ordering(&self) -> Option<LexOrdering> {
        if self.key.is_empty() {
            return None;
        }
        let options = arrow::compute::SortOptions {
            descending: false,
            nulls_first: false,
        };
        let by = |index: &usize| {
            let column = Column::new(self.schema.field(*index).name(), *index);
            PhysicalSortExpr::new(Arc::new(column) as Arc<dyn PhysicalExpr>, options)
        };
        LexOrdering::new(self.key.iter().chain(&self.ties).map(by))
    }
}

/// Arrow orders -0.0 before 0.0 and knows many NaNs; SQL knows one of each, and orders NaN above all numbers.
fn one_zero_one_nan(column: &ArrayRef) -> ArrayRef {
    fn unify<T: ArrowPrimitiveType>(
        column: &PrimitiveArray<T>,
        unify: impl Fn(T::Native) -> T::Native,
    ) -> ArrayRef {
        Arc::new(column.unary::<_, T>(unify))
    }
    match column.data_type() {
        DataType::Float32 => unify(column.as_primitive::<Float32Type>(), |v| {
            if v.is_nan() { f32::NAN } else { v + 0.0 }
        }),
        DataType::Float64 => unify(column.as_primitive::<Float64Type>(), |v| {
            if v.is_nan() { f64::NAN } else { v + 0.0 }
        }),
        _ => ArrayRef::clone(column),
    }
}

/// Narrow rows in order, and what tells how that was done.
pub struct Sorted {
    /// The rows.
    pub stream: SendableRecordBatchStream,
    /// The memory of the sort.
    pub pool: Arc<PeakRecordingPool>,
    /// The sort; none where rows come as they are.
    pub sort: Option<Arc<SortExec>>,
}

/// Bytes that a sort has written to temporary files.
pub fn spilled_bytes(sort: Option<&SortExec>) -> u64 {
    let metrics = sort.and_then(SortExec::metrics);
    metrics.and_then(|m| m.spilled_bytes()).unwrap_or(0) as u64
}

/// The narrow rows of the inputs, sorted.
///
/// # Errors
/// 58030 when the spill directory cannot be written; later errors come from the stream, 53200 when the budget does
/// not hold even a few rows.
pub fn sorted(
    inputs: &Arc<Vec<Input>>,
    order: &Arc<SortOrder>,
    limits: &SortLimits,
    task: &Task,
) -> Result<Sorted> {
    let batch_bytes_max = limits.batch_bytes;
    let schema = Arc::clone(order.narrow.collection_schema());
    let source = Arc::new(Source {
        gatherer: Arc::new(Gatherer::new(
            Arc::clone(inputs),
            schema,
            &order.narrow,
            task.clone(),
        )),
        inputs: Arc::clone(inputs),
        order: Arc::clone(order),
        batch_rows: batch_rows(inputs, order.narrow.vector_bytes(), batch_bytes_max),
        batch_bytes_max: batch_bytes_max.max(1),
        task: task.clone(),
    });
    let greedy = GreedyMemoryPool::new(usize::try_from(limits.memory_bytes).unwrap_or(usize::MAX));
    let tracked = TrackConsumersPool::new(greedy, NonZeroUsize::MIN.saturating_add(2));
    let pool = Arc::new(PeakRecordingPool::new(Arc::new(tracked)));
    let Some(ordering) = order.ordering() else {
        return Ok(Sorted {
            stream: source.stream(),
            pool,
            sort: None,
        });
    };
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::clone(&pool) as Arc<dyn MemoryPool>)
        .with_temp_file_path(&limits.spill_directory)
        .with_max_temp_directory_size(u64::MAX)
        .build_arc()?;
    let mut config = SessionConfig::new()
        .with_batch_size(source.batch_rows)
        .with_target_partitions(1);
    let execution = &mut config.options_mut().execution;
    let reserve = usize::try_from(limits.memory_bytes / 8).unwrap_or(usize::MAX);
    execution.sort_spill_reservation_bytes = execution.sort_spill_reservation_bytes.min(reserve);
    let context = TaskContext::default()
        .with_session_config(config)
        .with_runtime(runtime);
    let schema = SchemaRef::clone(&order.schema);
    let partitions = vec![source as Arc<dyn PartitionStream>];
    let scan = StreamingTableExec::try_new(schema, partitions, None, [], false, None)?;
    let sort = Arc::new(SortExec::new(ordering, Arc::new(scan)));
    Ok(Sorted {
        stream: sort.execute(0, Arc::new(context))?,
        pool,
        sort: Some(sort),
    })
}

/// Rows of a batch so that it takes about `bytes`, by the average of the inputs without their vectors.
fn batch_rows(inputs: &[Input], vector_bytes: u64, bytes: u64) -> usize {
    let weights = inputs.iter().map(Input::weight);
    let total = weights.fold(Weight::default(), Weight::plus);
    let per_row = (total.bytes / total.rows.max(1))
        .saturating_sub(vector_bytes)
        .max(1);
    usize::try_from((bytes / per_row).clamp(16, BATCH_ROWS_MAX)).unwrap_or(1)
}

/// About the bytes that are read of a file for a row without its vectors.
fn narrow_row_bytes(input: &Input, vector_bytes: u64) -> u64 {
    match input {
        Input::Sealed(_) => (input.bytes() / input.rows().max(1)).saturating_sub(vector_bytes),
        Input::Growing(_) => 0,
    }
}

/// The inputs as a stream for the sort.
struct Source {
    inputs: Arc<Vec<Input>>,
    /// Reads the vectors that a key is computed from.
    gatherer: Arc<Gatherer>,
    order: Arc<SortOrder>,
    batch_rows: usize,
    batch_bytes_max: u64,
    task: Task,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({} segments)", self.inputs.len())
    }
}

impl Source {
    fn stream(&self) -> SendableRecordBatchStream {
        let schema = SchemaRef::clone(&self.order.schema);
        let batches = self.batches().map(|batch| batch.map_err(Into::into));
        Box::pin(RecordBatchStreamAdapter::new(schema, stream::iter(batches)))
    }

    fn batches(&self) -> impl Iterator<Item = Result<RecordBatch>> + Send + use<> {
        let inputs = Arc::clone(&self.inputs);
        let order = Arc::clone(&self.order);
        let batch_rows = self.batch_rows;
        let task = self.task.clone();
        let bytes_max = self.batch_bytes_max;
        let gatherer = Arc::clone(&self.gatherer);
        let reading = task.clone();
        let read = move |place: usize| -> Batches {
            let row_bytes = narrow_row_bytes(&inputs[place], order.narrow.vector_bytes());
            let task = reading.clone();
            match order.narrow.read(&inputs[place], place as u32, batch_rows) {
                Ok(batches) => {
                    let (order, gatherer) = (Arc::clone(&order), Arc::clone(&gatherer));
                    Box::new(batches.map(move |batch| {
                        let batch = batch?;
                        task.moved(row_bytes * batch.num_rows() as u64)?;
                        order.with_sort_keys(batch, &gatherer)
                    }))
                }
                Err(error) => Box::new(std::iter::once(Err(error))),
            }
        };
        (0..self.inputs.len())
            .flat_map(read)
            .map(move |batch| {
                let batch = batch?;
                task.check()?;
                task.add_rows_read(batch.num_rows() as u64);
                Ok(batch)
            })
            .flat_map(move |batch| split(batch, bytes_max))
    }
}

impl PartitionStream for Source {
    fn schema(&self) -> &SchemaRef {
        &self.order.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        self.stream()
    }
}

/// Halves of halves of a batch until each takes at most `bytes_max`, copied so that each owns only its own bytes.
fn split(batch: Result<RecordBatch>, bytes_max: u64) -> Vec<Result<RecordBatch>> {
    let batch = match batch {
        Ok(batch) => batch,
        Err(error) => return vec![Err(error)],
    };
    if batch_bytes(&batch) <= bytes_max || batch.num_rows() < 2 {
        return vec![Ok(batch)];
    }
    let mut pieces = Vec::new();
    let mut rest = vec![batch];
    while let Some(piece) = rest.pop() {
        if batch_bytes(&piece) > bytes_max && piece.num_rows() > 1 {
            let half = piece.num_rows() / 2;
            rest.push(piece.slice(half, piece.num_rows() - half));
            rest.push(piece.slice(0, half));
            continue;
        }
        let all = UInt32Array::from_iter_values(0..piece.num_rows() as u32);
        pieces.push(take_record_batch(&piece, &all).map_err(Error::from));
    }
    pieces
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arrow::array::{Array, Float32Array, Float64Array};
    use futures::StreamExt;

    use super::*;
    use crate::compaction::testing::{Book, KEY, Shelf, quiet, rows_max};
    use crate::storage::schema::SegmentId;

    #[test]
    fn one_zero_and_one_nan_are_left() {
        let odd = f64::from_bits(0xFFF8_0000_0000_0001);
        let column: ArrayRef = Arc::new(Float64Array::from(vec![Some(-0.0), None, Some(odd)]));
        let unified = one_zero_one_nan(&column);
        let values = unified.as_primitive::<Float64Type>();
        assert_eq!(values.value(0).to_bits(), 0.0_f64.to_bits());
        assert_eq!(values.value(2).to_bits(), f64::NAN.to_bits());
        assert_eq!(values.null_count(), 1);
        let column: ArrayRef = Arc::new(Float32Array::from(vec![-0.0, -f32::NAN]));
        let unified = one_zero_one_nan(&column);
        let values = unified.as_primitive::<Float32Type>();
        assert_eq!(values.value(0).to_bits(), 0.0_f32.to_bits());
        assert_eq!(values.value(1).to_bits(), f32::NAN.to_bits());
    }

    #[test]
    fn wide_batches_are_split_into_copies() {
        let schema = Schema::new(vec![Field::new("t", DataType::Utf8, false)]);
        let texts = arrow::array::StringArray::from_iter_values(vec!["x".repeat(100); 64]);
        let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(texts)]).unwrap();
        let pieces: Vec<RecordBatch> = split(Ok(batch), 1_000)
            .into_iter()
            .map(Result::unwrap)
            .collect();
        assert_eq!(pieces.iter().map(RecordBatch::num_rows).sum::<usize>(), 64);
        assert!(pieces.iter().all(|p| p.get_array_memory_size() < 4_000));
    }

    #[tokio::test]
    async fn memory_stays_within_the_budget_and_spill_files_go() {
        let shelf = Shelf::open(quiet(), rows_max(1_000), &[KEY]);
        for part in 0..20 {
            let books: Vec<Book> = (0..2_000)
                .map(|i| {
                    let id = part * 2_000 + i;
                    let mut book = Book::new(id, ((id * 7_919) % 10_007) as f64);
                    book.title = Some(format!("{id} {}", "x".repeat(500)));
                    book
                })
                .collect();
            shelf.insert(&books);
        }
        let collection = shelf.current();
        let growing: Vec<SegmentId> = collection.growing().iter().map(|g| g.id).collect();
        let find = |id: &SegmentId| Input::find(&shelf.engine, &collection, *id).unwrap();
        let inputs = Arc::new(growing.iter().map(find).collect::<Vec<_>>());
        let order = Arc::new(SortOrder::try_new(&collection).unwrap());
        let spill = tempfile::tempdir().unwrap();
        let limits = SortLimits {
            memory_bytes: 8 << 20,
            batch_bytes: 8 << 15,
            spill_directory: spill.path().to_path_buf(),
        };
        let Sorted {
            mut stream,
            pool,
            sort,
        } = sorted(&inputs, &order, &limits, &Task::default()).unwrap();
        let (mut rows, mut last) = (0, f64::NEG_INFINITY);
        let mut spilled = false;
        while let Some(batch) = stream.next().await {
            let batch = batch.unwrap();
            let keys = order.key_columns(&batch)[0].as_primitive::<Float64Type>();
            assert!(keys.values().is_sorted() && keys.value(0) >= last);
            last = keys.value(keys.len() - 1);
            rows += batch.num_rows();
            spilled |= std::fs::read_dir(spill.path()).unwrap().count() > 0;
        }
        assert_eq!(rows, 40_000);
        assert!(spilled);
        // 40,000 titles of 500 bytes and more do not compress here, nor do they fit into 8 MiB.
        assert!(spilled_bytes(sort.as_deref()) > 20 << 20);
        assert!(pool.max_reserved() <= 8 << 20, "{}", pool.max_reserved());
        drop(stream);
        assert_eq!(std::fs::read_dir(spill.path()).unwrap().count(), 0);
    }
}
