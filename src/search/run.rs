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
        let value = constant(&search)?;
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
        let least: Vec<u64> = units
            .iter()
            .map(|unit| least_key(&search, query.as_deref(), unit))
            .collect();
        let mut nearest: Vec<u32> = (0..units.len() as u32).collect();
        nearest.sort_by_key(|unit| least[*unit as usize]);
        Ok(Self {
            query,
            element: vector.map_or(Element::Single, |v| v.element),
            accepts_null,
            pool: Pool::new(nearest),
            least,
            bound: Bound::new(),
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
///
/// In descending order NaN comes first, and nothing tells of NaN.
fn least_key(search: &Search, query: Option<&[f32]>, unit: &Unit) -> u64 {
    let order = search.order;
    let stats = match unit {
        Unit::Sealed(segment) => segment.stats.vector(search.vector),
        Unit::Growing(_) => None,
    };
    let known = query
        .zip(stats)
        .filter(|(_, stats)| !order.descending && (stats.null_count == 0 || !order.nulls_first));
    let least = known.and_then(|(query, stats)| {
        let ball = Ball {
            centroid: stats.centroid().filter(|c| c.len() == query.len())?,
            radius: stats.radius,
        };
        ball.least_distance(search.metric, query)
    });
    least.map_or(0, |distance| order.key(Some(distance)))
}

/// The value of the query.
fn constant(search: &Search) -> Result<ScalarValue> {
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let schema = Arc::new(Schema::empty());
    let row = RecordBatch::try_new_with_options(schema, vec![], &options)?;
    match search.query.evaluate(&row)? {
        ColumnarValue::Scalar(value) => Ok(value),
        ColumnarValue::Array(array) => ScalarValue::try_from_array(&array, 0),
    }
}

impl Search {
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
