//! The operator.

use std::fmt;
use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, Statistics, stats::Precision};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::scalar_subquery::ScalarSubqueryExpr;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_expr_common::physical_expr::fmt_sql;
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::execution_plan::{
    Boundedness, EmissionType, ReplaceChildrenOptions, SchedulingType,
};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, StatisticsArgs,
};
use futures::{TryStreamExt, stream};
use shelfmark_udfs::{Metric, VectorType};

use super::best::Entry;
use super::metrics::SearchMetrics;
use super::node::metric_name;
use super::order::Order;
use super::run::Run;
use super::score::Score;
use crate::catalog::expressions::constant;
use crate::catalog::scan::{Candidates, OutputColumn, ScanSource};
use crate::storage::schema::{FieldId, field_id};

/// What to search for.
#[derive(Debug, Clone)]
pub struct Search {
    /// How vectors are compared.
    pub metric: Metric,
    /// What the order is of.
    pub score: Score,
    /// The vector column.
    pub vector: FieldId,
    /// Its name, for EXPLAIN.
    pub vector_name: String,
    /// What rows are compared with; it reads no columns and is evaluated once for each run.
    pub query: Arc<dyn PhysicalExpr>,
    /// What candidates have to fulfil, over scalar columns of `table`.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
    /// What their distances have to fulfil, over one column with the distance.
    pub distance_filter: Option<Arc<dyn PhysicalExpr>>,
    /// What the filter on the distances says that no winner exceeds.
    pub limits: Vec<Limit>,
    /// The order of the scores.
    pub order: Order,
    /// How many rows.
    pub k: usize,
    /// Whether rows as good as the last come too.
    pub ties: bool,
    /// The columns that the filter can name; the fields carry their field ids.
    pub table: SchemaRef,
    /// The columns that come out, before the score.
    pub columns: Vec<OutputColumn>,
    /// Those columns and the score.
    pub output: SchemaRef,
}

impl Search {
    /// Visits its expressions, as operators have to.
    pub(super) fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let mut recursion = TreeNodeRecursion::Continue;
        let filters = self.filter.iter().chain(&self.distance_filter);
        let limits = self.limits.iter().map(|limit| &limit.value);
        for expr in std::iter::once(&self.query).chain(filters).chain(limits) {
            recursion = recursion.visit_sibling(|| f(expr))?;
        }
        Ok(recursion)
    }

    /// The dimensions of the vector column.
    pub(super) fn dimensions(&self) -> Option<usize> {
        let fields = self.table.fields().iter();
        let mut vectors = fields.filter(|field| field_id(field) == Some(self.vector));
        VectorType::of(vectors.next()?.data_type())?.dimension
    }
}

/// A value that no winner exceeds in the order of a search.
#[derive(Debug, Clone)]
pub struct Limit {
    /// Whether it is of scores; else of distances, of which then the smallest come first.
    pub of_score: bool,
    /// It reads no columns.
    pub value: Arc<dyn PhysicalExpr>,
}

/// Finds the k rows of a collection whose distances from a query come first, at one version.
#[derive(Debug)]
pub struct VectorTopKExec {
    source: Arc<ScanSource>,
    search: Arc<Search>,
    candidates: Arc<Candidates>,
    prune: bool,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl VectorTopKExec {
    /// A search of the collection at the version of `source`; segments are pruned here if `prune`.
    pub fn new(source: Arc<ScanSource>, search: Search, prune: bool) -> Self {
        let properties = Arc::new(compute_properties(&search));
        Self::with_properties(source, search, prune, properties)
    }

    fn with_properties(
        source: Arc<ScanSource>,
        search: Search,
        prune: bool,
        properties: Arc<PlanProperties>,
    ) -> Self {
        let metrics = ExecutionPlanMetricsSet::new();
        let candidates = find_candidates(&source, &search, prune, &metrics);
        Self {
            properties,
            candidates: Arc::new(candidates),
            search: Arc::new(search),
            source,
            prune,
            metrics,
        }
    }

    /// What it reads from.
    pub fn source(&self) -> &Arc<ScanSource> {
        &self.source
    }

    /// What it searches for.
    pub fn search(&self) -> &Search {
        &self.search
    }

    /// The same operator for another version, or a search with other values: nothing is planned again but the pruning.
    pub fn with_search(&self, source: Arc<ScanSource>, search: Search) -> Self {
        Self::with_properties(source, search, self.prune, Arc::clone(&self.properties))
    }

    fn run(&self) -> Result<Run> {
        let metrics = SearchMetrics::new(&self.metrics);
        let search = Arc::clone(&self.search);
        let candidates = self.candidates_now(&metrics)?;
        Run::try_new(search, Arc::clone(&self.source), candidates, metrics)
    }

    /// The candidates, found again where the filter has subqueries, whose values are known when the search begins.
    fn candidates_now(&self, metrics: &SearchMetrics) -> Result<Arc<Candidates>> {
        let filter = self.search.filter.as_ref().map(with_values).transpose()?;
        let Some(filter) = filter.filter(|filter| filter.transformed && self.prune) else {
            return Ok(Arc::clone(&self.candidates));
        };
        let (source, table) = (Arc::clone(&self.source), &self.search.table);
        let candidates = Candidates::new(source, Some(&filter.data), table, true);
        let pruned = self.candidates.segments().count() - candidates.segments().count();
        metrics.segments_pruned_late.add(pruned);
        Ok(Arc::new(candidates))
    }

    fn pruned(&self) -> usize {
        self.candidates.pruned().0 - self.candidates.segments().count()
    }
}

/// The expression with the values of its subqueries.
///
/// # Errors
/// XX000 before they are known.
fn with_values(expr: &Arc<dyn PhysicalExpr>) -> Result<Transformed<Arc<dyn PhysicalExpr>>> {
    Arc::clone(expr).transform_up(|part| {
        if !part.is::<ScalarSubqueryExpr>() {
            return Ok(Transformed::no(part));
        }
        let value: Arc<dyn PhysicalExpr> = Arc::new(Literal::new(constant(&part)?));
        Ok(Transformed::yes(value))
    })
}

/// The rows that a search may find; records how many segments are left.
pub(super) fn find_candidates(
    source: &Arc<ScanSource>,
    search: &Search,
    prune: bool,
    metrics: &ExecutionPlanMetricsSet,
) -> Candidates {
    let filter = search.filter.as_ref();
    let candidates = Candidates::new(Arc::clone(source), filter, &search.table, prune);
    let (segments, _) = candidates.pruned();
    let kept = candidates.segments().count();
    SearchMetrics::planned(metrics, segments, segments - kept);
    candidates
}

/// What EXPLAIN shows of a search.
pub(super) fn description(
    source: &ScanSource,
    search: &Search,
    candidates: &Candidates,
    prune: bool,
) -> Vec<String> {
    let collection = &source.collection;
    let (segments, by) = candidates.pruned();
    let by = match by {
        [] => String::new(),
        columns => format!(" (by {})", columns.join(", ")),
    };
    let names: Vec<&str> = search
        .output
        .fields()
        .iter()
        .map(|f| f.name().as_str())
        .collect();
    let filters = [
        ("filter", &search.filter),
        ("distance_filter", &search.distance_filter),
    ];
    let filters = filters.into_iter().filter_map(|(name, filter)| {
        let text = fmt_sql(filter.as_ref()?.as_ref()).to_string();
        Some(format!("{name}={text}"))
    });
    let ties = if search.ties { " with ties" } else { "" };
    let descending = if search.order.descending {
        " descending"
    } else {
        ""
    };
    let score = match search.score.is_distance() {
        true => String::new(),
        false => format!(", score={}", search.score),
    };
    let mut parts = vec![
        format!("collection={}", collection.name),
        format!("version={}", source.version),
        format!("k={}{ties}", search.k),
        format!("metric={}{score}{descending}", metric_name(search.metric)),
        format!("column={}", search.vector_name),
        format!("segments={segments}"),
        format!("pruned={}{by}", segments - candidates.segments().count()),
        format!("growing={}", collection.growing().len()),
        format!("projection=[{}]", names.join(", ")),
    ];
    parts.extend(filters);
    if search.skips_segments() {
        parts.push("centroid_bound=on".to_string());
    }
    if !prune {
        parts.push("prune=off".to_string());
    }
    parts
}

fn compute_properties(search: &Search) -> PlanProperties {
    let distance = search.output.fields().len() - 1;
    let name = search.output.field(distance).name();
    let key = PhysicalSortExpr {
        expr: Arc::new(Column::new(name, distance)),
        options: SortOptions {
            descending: search.order.descending,
            nulls_first: search.order.nulls_first,
        },
    };
    let output = Arc::clone(&search.output);
    PlanProperties::new(
        EquivalenceProperties::new_with_orderings(output, [[key]]),
        Partitioning::UnknownPartitioning(1),
        EmissionType::Final,
        Boundedness::Bounded,
    )
    .with_scheduling_type(SchedulingType::Cooperative)
}

impl DisplayAs for VectorTopKExec {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let parts = description(&self.source, &self.search, &self.candidates, self.prune);
        match t {
            DisplayFormatType::TreeRender => f.write_str(&parts.join("\n")),
            _ => write!(f, "VectorTopKExec: {}", parts.join(", ")),
        }
    }
}

impl ExecutionPlan for VectorTopKExec {
    fn name(&self) -> &str {
        "VectorTopKExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.search.apply_expressions(f)
    }

    fn replace_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(
        &self,
        _partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let run = Arc::new(self.run()?);
        let pruned = self.pruned();
        let batch_rows = context.session_config().batch_size().max(1);
        let found = async move {
            let winners = run.winners(&context).await;
            let winners = winners.map(|of_queries| of_queries.into_iter().flatten().collect());
            let totals = run.source.engine.metrics();
            run.metrics.count_in(totals, pruned);
            Ok::<_, DataFusionError>(batches(run, winners?, batch_rows))
        };
        let stream = stream::once(found).try_flatten();
        let stream = RecordBatchStreamAdapter::new(self.schema(), stream);
        Ok(make_cooperative(Box::pin(stream)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(
        &self,
        _input_stats: &[Arc<Statistics>],
        _args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        Ok(Arc::new(Statistics {
            num_rows: Precision::Inexact(self.search.k),
            ..Statistics::new_unknown(&self.search.output)
        }))
    }
}

/// The output rows of winners, read as they are asked for.
fn batches(
    run: Arc<Run>,
    winners: Vec<Entry>,
    batch_rows: usize,
) -> impl futures::Stream<Item = Result<arrow::record_batch::RecordBatch>> {
    let starts = (0..winners.len()).step_by(batch_rows);
    stream::iter(starts.map(move |start| {
        let end = winners.len().min(start + batch_rows);
        let batch = run.fetch(&winners[start..end])?;
        run.metrics.baseline.record_output(batch.num_rows());
        Ok(batch)
    }))
}
