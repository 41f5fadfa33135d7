//! The scan of a collection as an operator: growing rows, and sealed segments that the predicate may match.
//!
//! ```text
//! planned: PartitionStats --predicate--> segments kept, dealt to partitions
//! planned: values of all columns of a unique key --> the key is looked up
//! running: segment --dynamic filters--> row groups --both--> pages --deletes--> rows --late filter--> batches
//! ```
//! Pruning leaves out only rows that the predicate does not accept, so a FilterExec above gives the same rows with it
//! and without it.

mod candidates;
mod covered;
mod metrics;
mod point;
#[cfg(test)]
mod property;
mod pruning;
mod reader;
mod source;
mod statistics;
#[cfg(test)]
mod tests;
mod units;

use std::fmt;
use std::sync::{Arc, OnceLock};

use arrow::buffer::BooleanBuffer;
use arrow::datatypes::SchemaRef;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, Statistics};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::DynamicFilterTracking;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr, split_conjunction};
use datafusion::physical_expr_common::physical_expr::{fmt_sql, is_volatile};
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::execution_plan::{
    Boundedness, EmissionType, ReplaceChildrenOptions, SchedulingType,
};
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterPushdownPhase, FilterPushdownPropagation, PushedDown,
};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, StatisticsArgs,
};

pub use self::candidates::{Candidates, RowGroup, Rows};
use self::metrics::ScanMetrics;
use self::point::{BoundKey, Sought};
use self::pruning::ScanPruning;
use self::reader::{LateFilter, PartitionReader, ReadPlan};
pub(super) use self::source::no_collection;
pub use self::source::{OutputColumn, SEGMENT_COLUMN, ScanSource};
use self::units::{Unit, deal, latest_first};
use super::prune::{Pruned, Pruner};
use crate::storage::collection::Segment;
use crate::storage::growing::GrowingSegment;
use crate::storage::snapshot::Snapshot;

/// Predicates longer than this are cut in EXPLAIN; EXPLAIN VERBOSE has all.
const PREDICATE_TEXT_MAX: usize = 400;

/// What [`CollectionScanExec::at`] makes of a predicate.
pub type Bind<'a> = dyn Fn(&Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> + 'a;

/// What to read.
#[derive(Debug, Clone)]
pub struct ScanRequest {
    /// The columns of the output.
    pub columns: Vec<OutputColumn>,
    /// All columns that the predicate can name: its column indices mean these.
    pub table: SchemaRef,
    /// What the rows are needed for, as far as is known; rows that it does not accept may come all the same.
    pub predicate: Option<Arc<dyn PhysicalExpr>>,
    /// How many rows are enough, when there is no filter above.
    pub limit: Option<usize>,
    /// Whether statistics may leave out segments, row groups and pages.
    pub prune: bool,
    /// The most partitions.
    pub partitions: usize,
}

/// Reads a collection at one version.
#[derive(Debug, Clone)]
pub struct CollectionScanExec {
    source: Arc<ScanSource>,
    request: Arc<ScanRequest>,
    /// Filters of operators above that change while they run; their columns are those of the output.
    dynamic: Vec<Arc<dyn PhysicalExpr>>,
    /// The unique key that the predicate binds, and what it is looked up by once that is known.
    key: Option<Arc<BoundKey>>,
    sought: Option<Arc<Sought>>,
    /// Whether every row of what is read is known to pass the predicate.
    is_covered: bool,
    units: Arc<Vec<Vec<Unit>>>,
    summary: Arc<Summary>,
    properties: Arc<PlanProperties>,
    statistics: Arc<OnceLock<Arc<Statistics>>>,
    metrics: ExecutionPlanMetricsSet,
}

/// What EXPLAIN tells.
#[derive(Debug)]
struct Summary {
    segments: usize,
    pruned: usize,
    by: Vec<String>,
    /// Sealed segments that will be read.
    scanned: usize,
    growing: usize,
}

impl CollectionScanExec {
    /// Chooses the segments to read and deals them to partitions.
    pub fn new(source: Arc<ScanSource>, request: ScanRequest) -> Self {
        let key = BoundKey::of(&source.collection, &request).map(Arc::new);
        Self::with_properties(source, request, key, None)
    }

    /// The same scan of what `snapshot` has, in one partition and without the dynamic filters, its predicate as `bind`
    /// makes it of the one that it was planned with. It costs no more than to prune.
    ///
    /// # Errors
    /// Those of [`ScanSource::at`] and of `bind`.
    pub fn at(&self, snapshot: &Snapshot, bind: &Bind<'_>) -> Result<Self> {
        let request = ScanRequest {
            predicate: self.request.predicate.as_ref().map(bind).transpose()?,
            partitions: 1,
            ..ScanRequest::clone(&self.request)
        };
        let source = self.source.at(snapshot)?;
        let properties = Some(Arc::clone(&self.properties));
        let key = self.key.clone();
        Ok(Self::with_properties(source, request, key, properties))
    }

    /// `properties` are those of the same columns and partitions, where they are known.
    fn with_properties(
        source: Arc<ScanSource>,
        request: ScanRequest,
        key: Option<Arc<BoundKey>>,
        properties: Option<Arc<PlanProperties>>,
    ) -> Self {
        let sought = key.as_ref().zip(request.predicate.as_ref());
        let sought = sought.and_then(|(key, p)| key.sought(&source.collection, p));
        let pruned = prune_segments(&source, &request);
        let kept = source.collection.segments().zip(&pruned.kept);
        let sealed: Vec<Arc<Segment>> = kept
            .filter(|(segment, kept)| *kept && segment.live_rows() > 0)
            .map(|(segment, _)| Arc::clone(segment))
            .collect();
        let segments = pruned.kept.len();
        let kept = sealed.len();
        let (growing, sealed) = enough(source.collection.growing(), sealed, request.limit);
        let summary = Summary {
            segments,
            pruned: segments - kept,
            by: pruned.by,
            scanned: sealed.len(),
            growing: growing.len(),
        };
        let units = match &sought {
            None => deal(growing, &sealed, request.partitions),
            Some(Sought::Key(_)) => vec![latest_first(growing, &sealed)],
            Some(Sought::Nothing) => vec![Vec::new()],
        };
        let properties = properties.unwrap_or_else(|| {
            let schema = source.arrow_schema(&request.columns);
            Arc::new(compute_properties(schema, units.len()))
        });
        let metrics = ExecutionPlanMetricsSet::new();
        ScanMetrics::planned(&metrics, summary.segments, summary.pruned);
        Self {
            properties,
            units: Arc::new(units),
            summary: Arc::new(summary),
            request: Arc::new(request),
            dynamic: Vec::new(),
            key,
            sought: sought.map(Arc::new),
            is_covered: false,
            statistics: Arc::default(),
            metrics,
            source,
        }
    }

    /// What it reads from.
    pub fn source(&self) -> &Arc<ScanSource> {
        &self.source
    }

    /// What it was asked to read.
    pub fn request(&self) -> &ScanRequest {
        &self.request
    }

    /// Sealed segments of the collection, and those of them that were pruned.
    pub fn segments(&self) -> (usize, usize) {
        (self.summary.segments, self.summary.pruned)
    }

    /// Whether operators above tell it which rows they do not want any more.
    pub fn is_dynamic(&self) -> bool {
        !self.dynamic.is_empty()
    }

    /// Live rows of the segments that it will open, or about as many as it looks up.
    pub fn rows_planned(&self) -> u64 {
        if self.sought.is_some() {
            return self.units.iter().map(|units| units.len() as u64).sum();
        }
        self.units.iter().flatten().map(Unit::live_rows).sum()
    }

    /// Rows, about, of the row groups that it has read of them.
    pub fn rows_visited(&self) -> u64 {
        let metrics = self.metrics.clone_inner();
        let sum = |name| metrics.sum_by_name(name).map_or(0, |v| v.as_usize() as u64);
        if self.sought.is_some() {
            return sum("rows_read");
        }
        let row_groups = sum("row_groups_total").saturating_sub(sum("row_groups_pruned"));
        let collection = &self.source.collection;
        let growing: u64 = collection.growing().iter().map(|g| g.live_rows()).sum();
        growing + row_groups * collection.options.row_group_rows_max
    }

    fn with_dynamic(&self, filters: Vec<Arc<dyn PhysicalExpr>>) -> Self {
        let mut dynamic = self.dynamic.clone();
        dynamic.extend(filters);
        let metrics = ExecutionPlanMetricsSet::new();
        ScanMetrics::planned(&metrics, self.summary.segments, self.summary.pruned);
        Self {
            dynamic,
            metrics,
            statistics: Arc::default(),
            ..self.clone()
        }
    }

    fn read_plan(&self, partition: usize, batch_size: usize) -> ReadPlan {
        let request = &self.request;
        let output = self.schema();
        let pruning = || {
            ScanPruning::new(
                request.predicate.as_ref(),
                &request.table,
                &self.dynamic,
                &output,
                &self.source.collection.schema,
            )
        };
        // Growing rows have no statistics.
        let has_sealed = !self.units[partition].iter().all(Unit::is_growing);
        ReadPlan {
            source: Arc::clone(&self.source),
            columns: request.columns.clone(),
            pruning: (request.prune && has_sealed).then(pruning).flatten(),
            sought: self.sought.clone(),
            late: (request.prune && !self.is_covered)
                .then(|| self.late_filter())
                .flatten(),
            batch_size,
            metrics: ScanMetrics::new(&self.metrics, partition),
            output,
        }
    }

    /// The predicate as a filter that runs before wide columns are read, where there are such columns.
    fn late_filter(&self) -> Option<LateFilter> {
        let schema = &self.source.collection.schema;
        let is_wide = |column: &OutputColumn| match column {
            OutputColumn::Stored(id) => schema
                .column_by_id(*id)
                .is_some_and(|c| !c.column_type.is_scalar()),
            _ => false,
        };
        let predicate = self.request.predicate.as_ref()?;
        if !self.request.columns.iter().any(is_wide) || is_volatile(predicate) {
            return None;
        }
        LateFilter::new(predicate, &self.request.table)
    }

    fn projection(&self) -> String {
        let schema = self.schema();
        let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        names.join(", ")
    }

    fn predicate_text(&self, whole: bool) -> Option<String> {
        let mut text = fmt_sql(self.request.predicate.as_ref()?.as_ref()).to_string();
        if !whole && text.len() > PREDICATE_TEXT_MAX {
            text.truncate(text.floor_char_boundary(PREDICATE_TEXT_MAX));
            text.push_str("...");
        }
        Some(text)
    }

    fn dynamic_text(&self) -> Option<String> {
        let filters: Vec<String> = self.dynamic.iter().map(|d| d.to_string()).collect();
        (!filters.is_empty()).then(|| filters.join(" AND "))
    }
}

/// Which sealed segments the predicate of a request leaves.
fn prune_segments(source: &ScanSource, request: &ScanRequest) -> Pruned {
    let predicate = request.predicate.as_ref().filter(|_| request.prune);
    let pruner = predicate.map(|p| Pruner::new(p, &request.table));
    prune_segments_by(source, pruner.filter(Pruner::is_useful).as_ref())
}

/// Which sealed segments a predicate leaves.
fn prune_segments_by(source: &ScanSource, pruner: Option<&Pruner>) -> Pruned {
    match pruner {
        Some(pruner) => pruner.prune(source.collection.partition_stats()),
        None => Pruned {
            kept: BooleanBuffer::new_set(source.collection.segments().len()),
            by: Vec::new(),
        },
    }
}

/// As many segments as hold `limit` live rows, growing ones first; all without a limit.
fn enough(
    growing: &[Arc<GrowingSegment>],
    sealed: Vec<Arc<Segment>>,
    limit: Option<usize>,
) -> (&[Arc<GrowingSegment>], Vec<Arc<Segment>>) {
    let Some(limit) = limit else {
        return (growing, sealed);
    };
    let mut missing = limit as u64;
    let mut take = |live_rows: u64| {
        let wanted = missing > 0;
        missing = missing.saturating_sub(live_rows);
        wanted
    };
    let taken = growing.iter().take_while(|g| take(g.live_rows())).count();
    let sealed = sealed.into_iter().filter(|s| take(s.live_rows())).collect();
    (&growing[..taken], sealed)
}

fn is_dynamic(filter: &Arc<dyn PhysicalExpr>) -> bool {
    DynamicFilterTracking::classify(filter).contains_dynamic_filter()
}

fn compute_properties(schema: SchemaRef, partitions: usize) -> PlanProperties {
    PlanProperties::new(
        EquivalenceProperties::new(schema),
        Partitioning::UnknownPartitioning(partitions),
        EmissionType::Incremental,
        Boundedness::Bounded,
    )
    .with_scheduling_type(SchedulingType::Cooperative)
}

impl DisplayAs for CollectionScanExec {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let summary = &self.summary;
        let by = match summary.by.as_slice() {
            [] => String::new(),
            columns => format!(" (by {})", columns.join(", ")),
        };
        let mut parts = vec![
            format!("collection={}", self.source.collection.name),
            format!("version={}", self.source.version),
            format!("segments={}", summary.segments),
            format!("pruned={}{by}", summary.pruned),
            format!("scanned={}", summary.scanned),
            format!("growing={}", summary.growing),
            format!("projection=[{}]", self.projection()),
        ];
        let whole = matches!(t, DisplayFormatType::Verbose);
        let predicate = self.predicate_text(whole);
        parts.extend(predicate.map(|text| format!("predicate={text}")));
        let dynamic = self.dynamic_text();
        parts.extend(dynamic.map(|text| format!("dynamic_filter={text}")));
        parts.extend(self.request.limit.map(|limit| format!("limit={limit}")));
        let key = self.key.as_ref().filter(|_| self.sought.is_some());
        parts.extend(key.map(|key| format!("lookup={}", key.name())));
        if self.is_covered {
            parts.push("covered".to_string());
        }
        if !self.request.prune {
            parts.push("prune=off".to_string());
        }
        match t {
            DisplayFormatType::TreeRender => f.write_str(&parts.join("\n")),
            _ => write!(f, "CollectionScanExec: {}", parts.join(", ")),
        }
    }
}

impl ExecutionPlan for CollectionScanExec {
    fn name(&self) -> &str {
        "CollectionScanExec"
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
        let mut recursion = TreeNodeRecursion::Continue;
        for expr in self.request.predicate.iter().chain(&self.dynamic) {
            recursion = recursion.visit_sibling(|| f(expr))?;
        }
        Ok(recursion)
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

    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(self.with_dynamic(Vec::new())))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        if partition == 0 {
            let totals = self.source.engine.metrics();
            totals.segments_pruned.add(self.summary.pruned as u64);
        }
        let plan = self.read_plan(partition, context.session_config().batch_size());
        let units = self.units[partition].clone();
        let reader = PartitionReader::new(plan, units, self.request.limit);
        let stream = futures::stream::iter(reader);
        let stream = RecordBatchStreamAdapter::new(self.schema(), stream);
        Ok(make_cooperative(Box::pin(stream)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(
        &self,
        _input_stats: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        if let Some(partition) = args.partition() {
            let units = &self.units[partition];
            return Ok(Arc::new(statistics::of_partition(units, &self.schema())));
        }
        let all = self.statistics.get_or_init(|| {
            let exact = (self.request.predicate.is_none() || self.is_covered)
                && self.request.limit.is_none()
                && self.dynamic.is_empty();
            let columns = &self.request.columns;
            let stats = statistics::of_scan(&self.source, &self.units, columns);
            Arc::new(if exact {
                stats
            } else {
                statistics::without_bounds(stats)
            })
        });
        Ok(Arc::clone(all))
    }

    fn handle_child_pushdown_result(
        &self,
        phase: FilterPushdownPhase,
        result: ChildPushdownResult,
        _config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        let filters = result.parent_filters.iter().map(|f| &f.filter);
        // What is known when the query is planned came with the scan request.
        let dynamic: Vec<Arc<dyn PhysicalExpr>> = filters
            .flat_map(split_conjunction)
            .filter(|f| phase == FilterPushdownPhase::Post && is_dynamic(f))
            .cloned()
            .collect();
        let answers = vec![PushedDown::No; result.parent_filters.len()];
        let answer = FilterPushdownPropagation::with_parent_pushdown_result(answers);
        if dynamic.is_empty() {
            return Ok(answer);
        }
        Ok(answer.with_updated_node(Arc::new(self.with_dynamic(dynamic))))
    }
}
