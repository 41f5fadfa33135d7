//! One run of a search: from the query's value to the addresses of the winners.

use std::sync::Arc;

use arrow::array::{AsArray, Float64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::{Result, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use futures::future::try_join_all;
use shelfmark_udfs::{Element, VectorError, VectorType, vector_of_scalar};

use super::best::{Best, Bound, Entry};
use super::centroid::Ball;
use super::exec::Search;
use super::measure::Worker;
use super::metrics::SearchMetrics;
use super::pool::{Pool, Unit};
use crate::catalog::scan::{Candidates, ScanSource};

/// Bytes of vectors below which another worker is not worth its start.
const WORKER_BYTES_MIN: u64 = 1 << 20;

/// What all workers of a search share.
#[derive(Debug)]
pub(super) struct Run {
    pub search: Arc<Search>,
    pub source: Arc<ScanSource>,
    pub candidates: Arc<Candidates>,
    /// The query; `None` is NULL, from which every distance is NULL.
    pub query: Option<Vec<f32>>,
    /// The type that an error about dimensions names.
    element: Element,
    /// Whether rows without a distance pass the filter on the distance.
    pub accepts_null: bool,
    /// The segments in the order of their ids, which is that of rows of equal distance.
    pub units: Vec<Unit>,
    /// For each segment a key that no row of it is below.
    least: Vec<u64>,
    pub pool: Pool,
    pub bound: Bound,
    pub metrics: SearchMetrics,
}

impl Run {
    /// Evaluates the query.
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
        let vector = VectorType::of(&value.data_type());
        let growing = source.collection.growing().iter().cloned();
        let sealed = candidates.segments().cloned();
        let mut units: Vec<Unit> = growing.map(Unit::Growing).collect();
        units.extend(sealed.map(Unit::Sealed));
        units.sort_by_key(|unit| match unit {
            Unit::Growing(segment) => segment.id,
            Unit::Sealed(segment) => segment.id,
        });
        let null = Float64Array::from(vec![None]);
        let accepts_null = search.accepted(null)?.is_none_or(|a| a[0]);
        let query = vector_of_scalar(&value)?;
        let bound = search.least_limit()?;
        let least: Vec<u64> = units
            .iter()
            .map(|unit| least_key(&search, query.as_deref(), unit, accepts_null))
            .collect();
        let mut nearest: Vec<u32> = (0..units.len() as u32).collect();
        nearest.sort_by_key(|unit| least[*unit as usize]);
        Ok(Self {
            query,
            element: vector.map_or(Element::Single, |v| v.element),
            accepts_null,
            pool: Pool::new(nearest),
            least,
            bound: Bound::new(bound),
            search,
            source,
            candidates,
            units,
            metrics,
        })
    }

    /// Whether no row of a segment can be among the winners any more.
    pub fn is_far(&self, unit: u32) -> bool {
        self.least[unit as usize] > self.bound.get()
    }

    /// That the query has as many dimensions as the vectors of a column.
    ///
    /// # Errors
    /// 22000 as the distance function has it.
    pub fn check_dimensions(&self, dimensions: usize, element: Element) -> Result<()> {
        let Some(query) = self.query.as_ref().filter(|q| q.len() != dimensions) else {
            return Ok(());
        };
        let shared = if element == self.element {
            element
        } else {
            Element::Single
        };
        Err(VectorError::different_dimensions(shared, dimensions, query.len()).into())
    }

    /// The winners in order.
    ///
    /// # Errors
    /// Whatever goes wrong while rows are found and measured.
    pub async fn winners(self: &Arc<Self>, context: &TaskContext) -> Result<Vec<Entry>> {
        let consumer = MemoryConsumer::new("VectorTopKExec");
        let reservation = consumer.register(context.memory_pool());
        let workers = self.workers(context.session_config().target_partitions());
        if workers == 1 {
            let best = Arc::clone(self).work(reservation).await?;
            return Best::merge(vec![best], &self.bound);
        }
        let spawned = (0..workers).map(|_| {
            let work = Arc::clone(self).work(reservation.new_empty());
            async {
                let joined = SpawnedTask::spawn(work).join_unwind().await;
                joined.map_err(|e| DataFusionError::ExecutionJoin(Box::new(e)))?
            }
        });
        Best::merge(try_join_all(spawned).await?, &self.bound)
    }

    fn workers(&self, workers_max: usize) -> usize {
        let rows = |unit: &Unit| match unit {
            Unit::Growing(segment) => segment.live_rows(),
            Unit::Sealed(segment) => segment.live_rows(),
        };
        let rows: u64 = self.units.iter().map(rows).sum();
        let vector_bytes = self
            .query
            .as_ref()
            .map_or(0, |q| q.len() * size_of::<f32>());
        let useful = rows * vector_bytes as u64 / WORKER_BYTES_MIN;
        (useful as usize).clamp(1, workers_max.max(1))
    }

    async fn work(self: Arc<Self>, reservation: MemoryReservation) -> Result<Best> {
        let mut worker = Worker::new(Arc::clone(&self), reservation);
        while let Some(task) = self.pool.next().await {
            worker.perform(task)?;
            self.pool.done();
            // A search is cancelled here, and others get their turn.
            tokio::task::yield_now().await;
        }
        Ok(worker.best)
    }
}

/// A key that no row of a segment is below; the least of all where nothing is known.
fn least_key(search: &Search, query: Option<&[f32]>, unit: &Unit, accepts_null: bool) -> u64 {
    let Unit::Sealed(segment) = unit else {
        return 0;
    };
    let (Some(query), Some(stats)) = (query, segment.stats.vector(search.vector)) else {
        return 0;
    };
    let least = stats.centroid().filter(|c| c.len() == query.len());
    let least = least.and_then(|centroid| {
        let radius = stats.radius;
        search.least_key(Ball { centroid, radius }, query)
    });
    let least = least.unwrap_or(0);
    match stats.null_count > 0 && accepts_null {
        true => least.min(search.key(None)),
        false => least,
    }
}

/// The value of an expression that reads no columns.
fn constant(expr: &Arc<dyn PhysicalExpr>) -> Result<ScalarValue> {
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let schema = Arc::new(Schema::empty());
    let row = RecordBatch::try_new_with_options(schema, vec![], &options)?;
    match expr.evaluate(&row)? {
        ColumnarValue::Scalar(value) => Ok(value),
        ColumnarValue::Array(array) => ScalarValue::try_from_array(&array, 0),
    }
}

impl Search {
    /// Where a distance, or none, stands in the order.
    pub(super) fn key(&self, distance: Option<f64>) -> u64 {
        self.order.key(distance.map(|d| self.score.at(d)))
    }

    /// Whether centroid and radius of a segment tell what none of its rows is before.
    pub(super) fn skips_segments(&self) -> bool {
        !self.farthest_first() || self.metric.negated().is_some()
    }

    fn farthest_first(&self) -> bool {
        self.order.descending != self.score.is_decreasing()
    }

    /// A key that no vector of a ball is below.
    fn least_key(&self, ball: Ball, query: &[f32]) -> Option<u64> {
        let first = match self.farthest_first() {
            false => ball.least_distance(self.metric, query)?,
            // Not a sign turned: zero would become the zero that no distance is.
            true => 0.0 - ball.least_distance(self.metric.negated()?, query)?,
        };
        let nan = match ball.excludes_nan(self.metric, query) {
            true => u64::MAX,
            false => self.key(Some(f64::NAN)),
        };
        Some(self.key(Some(first)).min(nan))
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
