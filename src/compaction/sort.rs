//! Sorts narrow rows by the clustering key within a memory budget; what does not fit is spilled.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::TaskContext;
use datafusion::execution::disk_manager::DiskManagerBuilder;
use datafusion::execution::memory_pool::{
    GreedyMemoryPool, MemoryPool, PeakRecordingPool, TrackConsumersPool,
};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};
use datafusion::prelude::SessionConfig;
use futures::stream;

use super::gather::Gatherer;
use super::input::{Batches, Input};
use super::jobs::Task;
use super::order::SortOrder;
use super::ranges::Weight;
use super::spill::SpillFiles;
use crate::error::{Error, Result};
use crate::storage::growing::batch_bytes;

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
    let source = Arc::new(Source::new(inputs, order, limits.batch_bytes, task));
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
    let context = context(limits, source.batch_rows, Arc::clone(&pool))?;
    let schema = SchemaRef::clone(order.arrow_schema());
    let partitions = vec![source as Arc<dyn PartitionStream>];
    let scan = StreamingTableExec::try_new(schema, partitions, None, [], false, None)?;
    let sort = Arc::new(SortExec::new(ordering, Arc::new(scan)));
    Ok(Sorted {
        stream: sort.execute(0, Arc::new(context))?,
        pool,
        sort: Some(sort),
    })
}

/// What a sort within these limits runs in.
fn context(
    limits: &SortLimits,
    batch_rows: usize,
    pool: Arc<PeakRecordingPool>,
) -> Result<TaskContext> {
    let spilled = SpillFiles::new(limits.spill_directory.clone(), limits.batch_bytes);
    let files = DiskManagerBuilder::default().with_temp_file_factory(Arc::new(spilled));
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(pool as Arc<dyn MemoryPool>)
        .with_disk_manager_builder(files)
        .build_arc()?;
    let mut config = SessionConfig::new()
        .with_batch_size(batch_rows)
        .with_target_partitions(1);
    let execution = &mut config.options_mut().execution;
    let reserve = usize::try_from(limits.memory_bytes / 8).unwrap_or(usize::MAX);
    execution.sort_spill_reservation_bytes = execution.sort_spill_reservation_bytes.min(reserve);
    Ok(TaskContext::default()
        .with_session_config(config)
        .with_runtime(runtime))
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
    fn new(
        inputs: &Arc<Vec<Input>>,
        order: &Arc<SortOrder>,
        batch_bytes_max: u64,
        task: &Task,
    ) -> Self {
        let narrow = order.narrow();
        let schema = Arc::clone(narrow.collection_schema());
        let gatherer = Gatherer::new(Arc::clone(inputs), schema, narrow, task.clone());
        Self {
            gatherer: Arc::new(gatherer),
            inputs: Arc::clone(inputs),
            order: Arc::clone(order),
            batch_rows: batch_rows(inputs, narrow.vector_bytes(), batch_bytes_max),
            batch_bytes_max: batch_bytes_max.max(1),
            task: task.clone(),
        }
    }

    fn stream(&self) -> SendableRecordBatchStream {
        let schema = SchemaRef::clone(self.order.arrow_schema());
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
            let row_bytes = narrow_row_bytes(&inputs[place], order.narrow().vector_bytes());
            let task = reading.clone();
            match order
                .narrow()
                .read(&inputs[place], place as u32, batch_rows)
            {
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
        self.order.arrow_schema()
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
    use arrow::array::AsArray;
    use arrow::datatypes::{DataType, Field, Float64Type, Schema};
    use futures::StreamExt;

    use super::*;
    use crate::compaction::testing::{Book, KEY, Shelf, quiet, rows_max};
    use crate::storage::schema::SegmentId;

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
