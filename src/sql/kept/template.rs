//! Operators that are planned once for all executions of a statement: one partition, parameters as functions.
//!
//! ```text
//! planned:   Projection <- Filter (key = $1) <- Scan (key = $1)
//! executed:  values into the bindings; the scan made anew: newest version, $1 a value, segments pruned by it;
//!            the operators above it with fresh state
//! ```
//! Only operators that are known to start afresh are taken. A plan is in use by one execution at a time, because its
//! expressions share the bindings.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::TaskContext;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::filter_pushdown::FilterPushdown;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion::scalar::ScalarValue;
use parking_lot::Mutex;

use super::parameter::{Bindings, bound, with_functions};
use super::planning::Planner;
use super::values::{ValuesExec, with_computed_values};
use crate::catalog::covered::COVERED_FILTERS;
use crate::catalog::dml::{Again, ChangedRowsExec, ConflictExec, DmlExec};
use crate::catalog::pg::PgContext;
use crate::catalog::scan::CollectionScanExec;
use crate::catalog::transaction::OpenTransaction;
use crate::error::Error;
use crate::search::exec::{Limit, Search, VectorTopKExec};
use crate::search::knn::exec::KnnJoinExec;
use crate::storage::snapshot::Snapshot;

/// Operators that wait for their next execution; more than one when executions overlap.
const IDLE_MAX: usize = 4;
/// The rules that go by the statistics of the day when a query is planned: one answers `count(*)` by them, one leaves
/// out filters.
const BY_STATISTICS: [&str; 2] = ["aggregate_statistics", COVERED_FILTERS];

/// The operators of a statement.
pub(super) struct Template {
    /// For one partition.
    planner: Planner,
    /// For as many workers in an operator as the session has partitions.
    running: Planner,
    context: Arc<TaskContext>,
    optimized: LogicalPlan,
    fields: Vec<arrow::datatypes::FieldRef>,
    idle: Mutex<Vec<Operators>>,
}

/// Operators with the bindings that their expressions read.
struct Operators {
    root: Arc<dyn ExecutionPlan>,
    bindings: Arc<Bindings>,
    /// Whether a sort tells the scan which rows it does not want any more.
    is_dynamic: bool,
}

/// What an execution differs in from others.
pub(super) struct Given<'a> {
    /// Of the parameters.
    pub values: &'a [ScalarValue],
    /// What it reads.
    pub snapshot: Arc<Snapshot>,
    /// What functions know its session by.
    pub session: Option<PgContext>,
    /// What its changes are part of.
    pub transaction: Option<Arc<OpenTransaction>>,
}

/// Operators that are ready to be executed; they return to their template when this is dropped.
pub(super) struct Ready {
    template: Arc<Template>,
    operators: Option<Operators>,
    /// As long as it is held, the files of its segments stay.
    _read: Arc<Snapshot>,
    /// The plan of this execution.
    pub plan: Arc<dyn ExecutionPlan>,
    pub context: Arc<TaskContext>,
}

impl Drop for Ready {
    fn drop(&mut self) {
        if let Some(operators) = &self.operators {
            operators.bindings.clear();
        }
        let mut idle = self.template.idle.lock();
        if idle.len() < IDLE_MAX {
            idle.extend(self.operators.take());
        }
    }
}

impl Template {
    /// The template of an optimised plan; `None` when its operators cannot be executed again.
    pub async fn new(
        state: Arc<SessionState>,
        optimized: LogicalPlan,
        fields: Vec<arrow::datatypes::FieldRef>,
    ) -> Option<Self> {
        let config = state.config().clone();
        let one_partition = config.clone().with_target_partitions(1);
        let planner = Planner::new(Arc::clone(&state), one_partition);
        let rules = planner_rules(&planner);
        let running = Planner::new(state, config);
        let template = Self {
            planner: planner.with_rules(rules),
            context: running.task_context(),
            running,
            optimized,
            fields,
            idle: Mutex::default(),
        };
        let operators = template.operators().await.ok()?;
        template.idle.lock().push(operators);
        Some(template)
    }

    async fn operators(&self) -> Result<Operators> {
        let bindings = Arc::<Bindings>::default();
        let plan = with_functions(self.optimized.clone(), &self.fields, &bindings)?;
        let plan = with_computed_values(plan)?;
        let root = self.planner.plan(&plan).await?;
        if !is_repeatable(&root) || root.output_partitioning().partition_count() != 1 {
            return Err(Error::internal("operators that cannot be executed again").into());
        }
        Ok(Operators {
            is_dynamic: has_dynamic_filter(&root) && !has_aggregate(&root),
            root,
            bindings,
        })
    }

    /// The operators for an execution.
    ///
    /// # Errors
    /// 42P01 when a collection is gone, 0A000 when its columns are others.
    pub async fn ready(self: &Arc<Self>, execution: Given<'_>) -> Result<Ready> {
        let idle = self.idle.lock().pop();
        let operators = match idle {
            Some(operators) => operators,
            None => self.operators().await?,
        };
        let values = execution.values.to_vec();
        operators.bindings.set(values, execution.session);
        let mut plan = afresh(&operators.root, &execution.snapshot)?;
        if operators.is_dynamic {
            let options = self.context.session_config().options();
            plan = FilterPushdown::new_post_optimization().optimize(plan, options)?;
        }
        Ok(Ready {
            template: Arc::clone(self),
            operators: Some(operators),
            _read: execution.snapshot,
            plan,
            context: match execution.transaction {
                Some(transaction) => self.running.task_context_in(transaction),
                None => Arc::clone(&self.context),
            },
        })
    }
}

fn planner_rules(planner: &Planner) -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    use datafusion::catalog::Session;
    let rules = planner.physical_optimizers().iter();
    let is_kept = |name: &str| !BY_STATISTICS.iter().any(|by| by.eq_ignore_ascii_case(name));
    let kept = rules.filter(|rule| is_kept(rule.name()));
    kept.cloned().collect()
}

/// Whether all operators can be executed again by [`afresh`].
pub(super) fn is_repeatable(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let is_known = plan.is::<CollectionScanExec>()
        || plan.is::<FilterExec>()
        || plan.is::<ProjectionExec>()
        || plan.is::<SortExec>()
        || plan.is::<GlobalLimitExec>()
        || plan.is::<LocalLimitExec>()
        || plan.is::<AggregateExec>()
        || plan.is::<VectorTopKExec>()
        || plan.is::<KnnJoinExec>()
        || plan.is::<UnnestExec>()
        || plan.is::<CooperativeExec>()
        || plan.is::<PlaceholderRowExec>()
        || plan.is::<ValuesExec>()
        || plan.is::<ChangedRowsExec>()
        || plan.downcast_ref().is_some_and(ConflictExec::is_repeatable)
        || plan.downcast_ref().is_some_and(DmlExec::is_repeatable);
    is_known && plan.children().into_iter().all(is_repeatable)
}

fn has_dynamic_filter(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let here = plan.downcast_ref::<CollectionScanExec>();
    here.is_some_and(CollectionScanExec::is_dynamic)
        || plan.children().into_iter().any(has_dynamic_filter)
}

/// An aggregate keeps the bounds of its last execution in the filter that it gives to the scan: it must not give it again.
fn has_aggregate(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<AggregateExec>() || plan.children().into_iter().any(has_aggregate)
}

/// The same operators, as if they had not run, with scans of `snapshot`.
fn afresh(
    plan: &Arc<dyn ExecutionPlan>,
    snapshot: &Arc<Snapshot>,
) -> Result<Arc<dyn ExecutionPlan>> {
    if let Some(scan) = plan.downcast_ref::<CollectionScanExec>() {
        let bind = |expr: &Arc<dyn PhysicalExpr>| bound(expr);
        return Ok(Arc::new(scan.at(snapshot, &bind)?));
    }
    if let Some(search) = plan.downcast_ref::<VectorTopKExec>() {
        let source = search.source().at(snapshot)?;
        let again = search_again(search.search())?;
        return Ok(Arc::new(search.with_search(source, again)));
    }
    if let Some(join) = plan.downcast_ref::<KnnJoinExec>() {
        let queries = afresh(join.queries(), snapshot)?;
        let source = join.source().at(snapshot)?;
        let again = search_again(join.search())?;
        return Ok(Arc::new(join.with_search(queries, source, again)));
    }
    if let Some(change) = plan.downcast_ref::<DmlExec>() {
        return Ok(Arc::new(change_again(change, snapshot)?));
    }
    let children = plan.children();
    if children.is_empty() {
        return Arc::clone(plan).reset_state();
    }
    if let Some(conflict) = plan.downcast_ref::<ConflictExec>() {
        return Ok(Arc::new(
            conflict.at(snapshot, afresh(children[0], snapshot)?)?,
        ));
    }
    let children = children.into_iter().map(|child| afresh(child, snapshot));
    let children = children.collect::<Result<Vec<_>>>()?;
    // A sort with a limit has a filter for the scan. Others have no state but metrics, which go with their children.
    let plan = match plan.fetch().is_some() {
        true => Arc::clone(plan).reset_state()?,
        false => Arc::clone(plan),
    };
    plan.replace_children(
        children,
        ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep),
    )
}

/// The statement over `snapshot`, which looks for its rows again when it meets a newer one.
fn change_again(change: &DmlExec, snapshot: &Arc<Snapshot>) -> Result<DmlExec> {
    let input = Arc::clone(change.input());
    let now = afresh(&input, snapshot)?;
    let again: Arc<Again> = Arc::new(move |snapshot| afresh(&input, snapshot));
    Ok(change.repeated(now, Arc::clone(snapshot), again))
}

/// The search for what its parameters are now.
fn search_again(search: &Search) -> Result<Search> {
    let limits = search.limits.iter().map(|limit| {
        let value = bound(&limit.value)?;
        Ok(Limit { value, ..*limit })
    });
    Ok(Search {
        query: bound(&search.query)?,
        filter: search.filter.as_ref().map(bound).transpose()?,
        distance_filter: search.distance_filter.as_ref().map(bound).transpose()?,
        limits: limits.collect::<Result<_>>()?,
        ..Search::clone(search)
    })
}
