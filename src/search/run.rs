//! One run of a search: from the values of its queries to the addresses of the winners of each.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{AsArray, Float64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::{Result, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use futures::future::try_join_all;
use shelfmark_udfs::{Element, VectorError, VectorType, vector_of_scalar};

use super::best::{Best, Entry};
use super::cells::SegmentCells;
use super::exec::Search;
use super::measure::Worker;
use super::metrics::SearchMetrics;
use super::pool::{Piece, Pool, Task, Unit, Weighed};
use super::target::Target;
use crate::catalog::expressions::constant;
use crate::catalog::scan::{Candidates, ScanSource};
use crate::metrics::Gauge;

/// Bytes of vectors that have to wait so that another worker is worth its start.
const WORKER_BYTES_MIN: u64 = 1 << 20;
/// Bytes of vectors that are compared while a filter is evaluated for one row, about.
const FILTER_BYTES: u64 = 64;
/// How long a worker computes before others on its thread get their turn.
const TURN: Duration = Duration::from_micros(200);

/// What all workers of a search share.
#[derive(Debug)]
pub(super) struct Run {
    pub search: Arc<Search>,
    pub source: Arc<ScanSource>,
    pub candidates: Arc<Candidates>,
    /// What rows are compared with: one query of most searches.
    pub targets: Vec<Target>,
    /// The type that an error about dimensions names.
    element: Element,
    /// Whether rows without a distance pass the filter on the distance.
    pub accepts_null: bool,
    /// The segments in the order of their ids, which is that of rows of equal distance.
    pub units: Vec<Unit>,
    /// The cells of those that have some.
    pub cells: Vec<Option<SegmentCells>>,
    pub pool: Pool,
    pub metrics: SearchMetrics,
}

impl Run {
    /// Evaluates the one query.
    ///
    /// # Errors
    /// Those of the query, and of the filter on the distance.
    pub fn try_new(
        search: Arc<Search>,
        source: Arc<ScanSource>,
        candidates: Arc<Candidates>,
        metrics: SearchMetrics,
    ) -> Result<Self> {
        let value = constant(&search.query)?;
        let element = VectorType::of(&value.data_type()).map_or(Element::Single, |v| v.element);
        let queries = vec![vector_of_scalar(&value)?];
        Self::for_queries(search, source, candidates, metrics, queries, element)
    }

    /// A run for queries whose vectors are of a type; `None` is NULL.
    ///
    /// # Errors
    /// Those of the filter on the distance.
    pub fn for_queries(
        search: Arc<Search>,
        source: Arc<ScanSource>,
        candidates: Arc<Candidates>,
        metrics: SearchMetrics,
        queries: Vec<Option<Vec<f32>>>,
        element: Element,
    ) -> Result<Self> {
        let units = units(&source, &candidates);
        let null = Float64Array::from(vec![None]);
        let accepts_null = search.accepted(null)?.is_none_or(|a| a[0]);
        let limit = search.least_limit()?;
        let cells = |unit| SegmentCells::of(unit, &source.collection, search.vector);
        let cells: Vec<Option<SegmentCells>> = units.iter().map(cells).collect();
        let target = |vector| Target::new(&search, vector, &units, &cells, accepts_null, limit);
        let targets: Vec<Target> = queries.into_iter().map(target).collect();
        let mut nearest: Vec<u32> = (0..units.len() as u32).collect();
        nearest.sort_by_cached_key(|unit| targets.iter().map(|t| t.least(*unit, None)).min());
        let mut run = Self {
            targets,
            element,
            accepts_null,
            pool: Pool::new([]),
            search,
            source,
            candidates,
            units,
            cells,
            metrics,
        };
        run.pool = Pool::new(nearest.into_iter().map(|unit| run.opening(unit)));
        Ok(run)
    }

    /// The task of a segment that is searched.
    fn opening(&self, unit: u32) -> Weighed {
        let rows = match &self.units[unit as usize] {
            Unit::Growing(segment) => segment.live_rows(),
            Unit::Sealed(segment) => segment.live_rows(),
        };
        let bytes = match self.search.filter {
            None => self.measure_bytes(rows),
            Some(_) => self.filter_bytes(rows),
        };
        (Task::Open(unit), bytes)
    }

    /// The work of finding candidates among so many rows.
    pub fn filter_bytes(&self, rows: u64) -> u64 {
        rows.saturating_mul(FILTER_BYTES)
    }

    /// The work of comparing so many rows with all queries.
    pub fn measure_bytes(&self, rows: u64) -> u64 {
        let of_row: usize = self.vectors().map(size_of_val).sum();
        rows.saturating_mul(of_row as u64)
    }

    /// Whether no row of a segment, or of a cell of it, can be among the winners of any query any more.
    pub fn is_far(&self, unit: u32, cell: Option<usize>) -> bool {
        self.targets.iter().all(|target| target.is_far(unit, cell))
    }

    /// A key that no row of some rows of a segment is below, whatever the query.
    pub fn least(&self, unit: u32, rows: &Range<u32>) -> u64 {
        let cells = self.cells[unit as usize].as_ref();
        let cells = cells.map_or(0..0, |cells| cells.meeting(rows));
        let of_target = |target: &Target| {
            let least = cells.clone().map(|cell| target.least(unit, Some(cell)));
            least.min().unwrap_or(target.least(unit, None))
        };
        self.targets.iter().map(of_target).min().unwrap_or(0)
    }

    /// Whether none of some rows of a segment can be among the winners of any query any more.
    pub fn are_far(&self, unit: u32, rows: &Range<u32>) -> bool {
        match &self.cells[unit as usize] {
            None => self.is_far(unit, None),
            Some(cells) => cells
                .meeting(rows)
                .all(|cell| self.is_far(unit, Some(cell))),
        }
    }

    /// Candidates of a segment in pieces that are measured or not, those that may be nearest first.
    pub fn pieces(&self, unit: u32, ranges: Vec<Range<u32>>) -> Vec<Piece> {
        let Some(cells) = &self.cells[unit as usize] else {
            let (cell, rows) = (None, ranges);
            return vec![Piece { cell, rows }];
        };
        let mut pieces = cells.pieces(&ranges);
        let least = |piece: &Piece| self.targets.iter().map(|t| t.least(unit, piece.cell)).min();
        pieces.sort_by_cached_key(least);
        pieces
    }

    /// The dimensions of the queries, if they are not all NULL.
    pub fn dimensions(&self) -> Option<usize> {
        self.vectors().next().map(<[f32]>::len)
    }

    fn vectors(&self) -> impl Iterator<Item = &[f32]> {
        self.targets.iter().filter_map(|t| t.vector.as_deref())
    }

    /// That the queries have as many dimensions as the vectors of a column.
    ///
    /// # Errors
    /// 22000 as the distance function has it.
    pub fn check_dimensions(&self, dimensions: usize, element: Element) -> Result<()> {
        let Some(query) = self.vectors().find(|q| q.len() != dimensions) else {
            return Ok(());
        };
        let shared = if element == self.element {
            element
        } else {
            Element::Single
        };
        Err(VectorError::different_dimensions(shared, dimensions, query.len()).into())
    }

    /// The winners of each query in order.
    ///
    /// # Errors
    /// Whatever goes wrong while rows are found and measured.
    pub async fn winners(self: &Arc<Self>, context: &TaskContext) -> Result<Vec<Vec<Entry>>> {
        let workers_max = context.session_config().target_partitions();
        let consumer = MemoryConsumer::new("vector search");
        let reservation = consumer.register(context.memory_pool());
        let mut helpers = Vec::new();
        let first = {
            let help_if_worth = || {
                let useful = self.pool.waiting_bytes() / WORKER_BYTES_MIN;
                // With others at work the processors are busy, and another worker only divides what is read in a row.
                let is_idle = || self.busy().get() < workers_max as u64;
                let is_wanted = helpers.len() + 1 < workers_max && helpers.len() < useful as usize;
                if is_wanted && is_idle() {
                    helpers.push(Helper::start(self, reservation.new_empty()));
                }
            };
            self.work(reservation.new_empty(), help_if_worth).await?
        };
        // Nothing is left to do. Helpers that have not even begun are not waited for.
        let begun = helpers.into_iter().filter(Helper::has_begun);
        let mut found = vec![first.into_iter()];
        for of_helper in try_join_all(begun.map(Helper::best)).await? {
            found.push(of_helper.into_iter());
        }
        let of_target = |target: &Target| {
            let best = found.iter_mut().filter_map(Iterator::next).collect();
            Best::merge(best, &target.bound)
        };
        self.targets.iter().map(of_target).collect()
    }

    /// The workers of all searches.
    fn busy(&self) -> &Gauge {
        &self.source.engine.metrics().search_workers
    }

    /// The best of each query that one worker met; calls `before` before it does a task.
    async fn work(
        self: &Arc<Self>,
        reservation: MemoryReservation,
        mut before: impl FnMut(),
    ) -> Result<Vec<Best>> {
        let _busy = self.busy().enter();
        let mut worker = Worker::new(Arc::clone(self), &reservation);
        let mut begun = Instant::now();
        while let Some((task, taken)) = self.pool.next().await {
            before();
            if let Err(error) = worker.perform(task) {
                self.pool.clear();
                return Err(error);
            }
            drop(taken);
            // A search is cancelled here, and others get their turn. One of a few rows has ended before.
            if begun.elapsed() >= TURN {
                tokio::task::yield_now().await;
                begun = Instant::now();
            }
        }
        Ok(worker.best)
    }
}

/// A worker beside the first one, which ends when it is dropped.
struct Helper {
    task: SpawnedTask<Result<Vec<Best>>>,
    /// Whether it has taken a task.
    has_begun: Arc<AtomicBool>,
}

impl Helper {
    fn start(run: &Arc<Run>, reservation: MemoryReservation) -> Self {
        let has_begun = Arc::<AtomicBool>::default();
        let (run, begins) = (Arc::clone(run), Arc::clone(&has_begun));
        // Told before the task is done, and so before the pool says that nothing is left.
        let tell = move || begins.store(true, Ordering::Relaxed);
        let task = SpawnedTask::spawn(async move { run.work(reservation, tell).await });
        Self { task, has_begun }
    }

    fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::Relaxed)
    }

    async fn best(self) -> Result<Vec<Best>> {
        let joined = self.task.join_unwind().await;
        joined.map_err(|e| DataFusionError::ExecutionJoin(Box::new(e)))?
    }
}

/// The segments in the order of their ids.
fn units(source: &ScanSource, candidates: &Candidates) -> Vec<Unit> {
    let growing = source.collection.growing().iter().cloned();
    let sealed = candidates.segments().cloned();
    let mut units: Vec<Unit> = growing.map(Unit::Growing).collect();
    units.extend(sealed.map(Unit::Sealed));
    units.sort_by_key(|unit| match unit {
        Unit::Growing(segment) => segment.id,
        Unit::Sealed(segment) => segment.id,
    });
    units
}

impl Search {
    /// Where a distance, or none, stands in the order.
    pub(super) fn key(&self, distance: Option<f64>) -> u64 {
        self.order.key(distance.map(|d| self.score.at(d)))
    }

    /// The least of the keys that the limits say no winner is above.
    ///
    /// # Errors
    /// Those of the limits.
    fn least_limit(&self) -> Result<u64> {
        let mut least = u64::MAX;
        for limit in &self.limits {
            // A filter that compares with NaN says nothing of numbers.
            let value = match constant(&limit.value)? {
                ScalarValue::Float64(Some(value)) if !value.is_nan() => value,
                _ => continue,
            };
            let key = |value: f64| match limit.of_score {
                true => self.order.key(Some(value)),
                false => self.key(Some(value)),
            };
            // Zero has two forms, which are one number.
            let key = if value == 0.0 {
                key(0.0).max(key(-0.0))
            } else {
                key(value)
            };
            least = least.min(key);
        }
        Ok(least)
    }

    /// Which distances the filter on the distance accepts; `None` without such a filter.
    ///
    /// # Errors
    /// Those of the filter.
    pub(super) fn accepted(&self, distances: Float64Array) -> Result<Option<Vec<bool>>> {
        let Some(filter) = &self.distance_filter else {
            return Ok(None);
        };
        let rows = distances.len();
        let batch = RecordBatch::try_new(distance_schema(), vec![Arc::new(distances)])?;
        let accepted = filter.evaluate(&batch)?.into_array(rows)?;
        let accepted = accepted.as_boolean().iter();
        Ok(Some(accepted.map(|a| a == Some(true)).collect()))
    }
}

fn distance_schema() -> SchemaRef {
    let field = Field::new("distance", DataType::Float64, true);
    Arc::new(Schema::new(vec![field]))
}
