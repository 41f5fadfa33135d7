//! The operator that joins queries with their nearest rows.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{BatchCoalescer, take, take_record_batch};
use arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{Distribution, EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::metrics::{
    Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use shelfmark_udfs::{Element, VectorType, vectors_of_array};

use crate::catalog::scan::{Candidates, ScanSource};
use crate::search::best::Entry;
use crate::search::exec::{Search, description, find_candidates};
use crate::search::metrics::SearchMetrics;
use crate::search::run::Run;

/// The most queries that share the reading of vectors.
const QUERIES_MAX: usize = 1_024;
/// The most winners, bounds of segments, and numbers of vectors that the queries of a run may have.
const ENTRIES_MAX: usize = 1 << 20;
const LEAST_MAX: usize = 1 << 20;
const NUMBERS_MAX: usize = 1 << 21;

/// What a join does with the winners of its queries.
#[derive(Debug, Clone)]
pub struct Joined {
    /// How many of the first of each query are left out.
    pub skip: usize,
    /// Whether a query without winners comes out once.
    pub keep_all: bool,
    /// The columns of the queries, those of the search, and the score.
    pub output: SchemaRef,
}

/// Joins each row of `queries`, in their order, with its nearest rows of a collection at one version.
#[derive(Debug)]
pub struct KnnJoinExec {
    queries: Arc<dyn ExecutionPlan>,
    join: Arc<Join>,
    prune: bool,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

#[derive(Debug)]
struct Join {
    source: Arc<ScanSource>,
    /// Its query reads columns of the queries.
    search: Arc<Search>,
    candidates: Arc<Candidates>,
    joined: Joined,
}

impl KnnJoinExec {
    /// A join over the collection at the version of `source`; segments are pruned here if `prune`.
    pub fn new(
        queries: Arc<dyn ExecutionPlan>,
        source: Arc<ScanSource>,
        search: Search,
        joined: Joined,
        prune: bool,
    ) -> Self {
        let metrics = ExecutionPlanMetricsSet::new();
        let candidates = find_candidates(&source, &search, prune, &metrics);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&joined.output)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        let join = Join {
            source,
            search: Arc::new(search),
            candidates: Arc::new(candidates),
            joined,
        };
        Self {
            queries,
            join: Arc::new(join),
            prune,
            properties: Arc::new(properties),
            metrics,
        }
    }

    /// The operator that gives the queries.
    pub fn queries(&self) -> &Arc<dyn ExecutionPlan> {
        &self.queries
    }

    /// Whose rows are joined.
    pub fn source(&self) -> &Arc<ScanSource> {
        &self.join.source
    }

    /// What is searched for.
    pub fn search(&self) -> &Search {
        &self.join.search
    }

    /// The same operator for other queries, at the version of another source.
    pub fn with_search(
        &self,
        queries: Arc<dyn ExecutionPlan>,
        source: Arc<ScanSource>,
        search: Search,
    ) -> Self {
        let joined = self.join.joined.clone();
        Self::new(queries, source, search, joined, self.prune)
    }
}

impl DisplayAs for KnnJoinExec {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let Join {
            source,
            search,
            candidates,
            joined,
        } = self.join.as_ref();
        let mut parts = description(source, search, candidates, self.prune);
        if joined.keep_all {
            parts.insert(0, "keep_all".to_string());
        }
        if joined.skip > 0 {
            parts.push(format!("skip={}", joined.skip));
        }
        match t {
            DisplayFormatType::TreeRender => f.write_str(&parts.join("\n")),
            _ => write!(f, "KnnJoinExec: {}", parts.join(", ")),
        }
    }
}

impl ExecutionPlan for KnnJoinExec {
    fn name(&self) -> &str {
        "KnnJoinExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.queries]
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        vec![Distribution::SinglePartition]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.join.search.apply_expressions(f)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Ok([queries]) = <[_; 1]>::try_from(children) else {
            return datafusion::common::internal_err!("KnnJoinExec has one child");
        };
        let (source, search) = (Arc::clone(self.source()), self.search().clone());
        Ok(Arc::new(self.with_search(queries, source, search)))
    }

    fn execute(
        &self,
        _partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let join = Arc::clone(&self.join);
        let metrics = SearchMetrics::new(&self.metrics);
        let queries = MetricBuilder::new(&self.metrics).counter("queries", 0);
        let totals = (Arc::clone(&join), metrics.clone());
        let chunks = chunks(
            self.queries.execute(0, Arc::clone(&context))?,
            join.queries_at_once(),
        );
        let answers = chunks.and_then(move |chunk| {
            let (join, context) = (Arc::clone(&join), Arc::clone(&context));
            let (metrics, queries) = (metrics.clone(), Count::clone(&queries));
            async move {
                queries.add(chunk.num_rows());
                join.answer(chunk, metrics, &context).await
            }
        });
        let counted = stream::once(async move {
            let (join, metrics) = totals;
            let pruned = join.candidates.pruned().0 - join.candidates.segments().count();
            metrics.count_in(join.source.engine.metrics(), pruned);
        });
        let nothing = counted.filter_map(|()| async { None });
        let stream = answers.try_flatten().chain(nothing);
        let stream = RecordBatchStreamAdapter::new(self.schema(), stream);
        Ok(make_cooperative(Box::pin(stream)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// The rows of a stream in batches of `rows` each.
fn chunks(
    stream: SendableRecordBatchStream,
    rows: usize,
) -> impl Stream<Item = Result<RecordBatch>> {
    let coalescer = BatchCoalescer::new(stream.schema(), rows);
    stream::try_unfold((stream, coalescer), |(mut stream, mut coalescer)| async {
        loop {
            if let Some(chunk) = coalescer.next_completed_batch() {
                return Ok(Some((chunk, (stream, coalescer))));
            }
            match stream.next().await.transpose()? {
                Some(batch) => coalescer.push_batch(batch)?,
                None if coalescer.is_empty() => return Ok(None),
                None => coalescer.finish_buffered_batch()?,
            }
        }
    })
}

impl Join {
    /// How many queries run together, so that what is kept for them is bounded.
    fn queries_at_once(&self) -> usize {
        let segments = self.candidates.segments().count() + self.source.collection.growing().len();
        let vectors = self
            .candidates
            .segments()
            .map(|s| s.stats.vector(self.search.vector));
        let cells = vectors.filter_map(|v| Some(v?.cells.as_ref()?.cells.len()));
        let bounds = segments + cells.sum::<usize>();
        let dimensions = self.search.dimensions().unwrap_or(1);
        QUERIES_MAX
            .min(ENTRIES_MAX / self.search.k)
            .min(LEAST_MAX / bounds.max(1))
            .min(NUMBERS_MAX / dimensions.max(1))
            .max(1)
    }

    /// The rows of the join for some queries.
    async fn answer(
        self: Arc<Self>,
        queries: RecordBatch,
        metrics: SearchMetrics,
        context: &TaskContext,
    ) -> Result<impl Stream<Item = Result<RecordBatch>> + use<>> {
        let vectors = self.search.query.evaluate(&queries)?;
        let vectors = vectors.into_array(queries.num_rows())?;
        let element = VectorType::of(vectors.data_type()).map_or(Element::Single, |v| v.element);
        let run = Arc::new(Run::for_queries(
            Arc::clone(&self.search),
            Arc::clone(&self.source),
            Arc::clone(&self.candidates),
            metrics,
            vectors_of_array(&vectors)?,
            element,
        )?);
        let pairs = self.pairs(run.winners(context).await?);
        let rows = context.session_config().batch_size().max(1);
        let starts = (0..pairs.len()).step_by(rows);
        Ok(stream::iter(starts.map(move |start| {
            let end = pairs.len().min(start + rows);
            let batch = self.batch(&run, &queries, &pairs[start..end])?;
            run.metrics.baseline.record_output(batch.num_rows());
            Ok(batch)
        })))
    }

    /// The rows of the output: a query by its place, and a winner of it.
    fn pairs(&self, winners: Vec<Vec<Entry>>) -> Vec<(u32, Option<Entry>)> {
        let mut pairs = Vec::new();
        for (query, winners) in winners.into_iter().enumerate() {
            let before = pairs.len();
            let winners = winners.into_iter().skip(self.joined.skip);
            pairs.extend(winners.map(|winner| (query as u32, Some(winner))));
            if self.joined.keep_all && pairs.len() == before {
                pairs.push((query as u32, None));
            }
        }
        pairs
    }

    fn batch(
        &self,
        run: &Run,
        queries: &RecordBatch,
        pairs: &[(u32, Option<Entry>)],
    ) -> Result<RecordBatch> {
        let places = UInt32Array::from_iter_values(pairs.iter().map(|(query, _)| *query));
        let winners: Vec<Entry> = pairs.iter().filter_map(|(_, winner)| *winner).collect();
        let found = run.fetch(&winners)?;
        let mut columns = take_record_batch(queries, &places)?.columns().to_vec();
        if winners.len() == pairs.len() {
            columns.extend_from_slice(found.columns());
        } else {
            let mut next = 0..;
            let place = |winner: &Option<Entry>| winner.and_then(|_| next.next());
            let places: UInt32Array = pairs.iter().map(|(_, winner)| winner).map(place).collect();
            let padded = found.columns().iter().map(|c| take(c, &places, None));
            columns.extend(padded.collect::<Result<Vec<ArrayRef>, _>>()?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(pairs.len()));
        let output = Arc::clone(&self.joined.output);
        Ok(RecordBatch::try_new_with_options(
            output, columns, &options,
        )?)
    }
}
