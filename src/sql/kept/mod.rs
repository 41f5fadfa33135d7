//! Plans that are kept with prepared statements, so that another execution repeats as little as possible.
//!
//! | level     | what is kept                            | what an execution does                                   |
//! |-----------|-----------------------------------------|----------------------------------------------------------|
//! | analysed  | names are found, types are known        | binds values, optimises, plans operators                 |
//! | optimised | the same with parameters, optimised     | binds values, plans operators                            |
//! | operators | operators that read parameters          | binds values, prunes, gives operators fresh state        |
//!
//! A plan is as far up as it may be. Optimising evaluates what is constant, so what is constant for one execution alone
//! (`current_setting()`) keeps a plan down, and so does whatever else looks at the session or the catalogs; the time of
//! `now()` is one more parameter, and `nextval()` is told of the session at each execution. Operators run in one
//! partition: right for the few rows that most prepared statements look at. What looks at more is planned for all cores
//! each time, because planning is nothing beside reading; searches find workers for what they have to read themselves. Statements that change rows are kept as queries are: one that
//! loses against a concurrent commit gives its operators the newer version.
//!
//! A plan is made again when definitions, roles or grants are others, or a setting of the session. Privileges are checked
//! at each execution.

mod parameter;
mod planning;
pub(super) mod pure;
mod template;
#[cfg(test)]
mod tests;
mod values;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use arrow::datatypes::{DataType, FieldRef, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::execution::context::SessionState;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream};
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::Optimizer;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::{Stream, StreamExt};
use parking_lot::Mutex;

use self::planning::Planner;
use self::template::{Given, Ready, Template};
pub use self::values::ValuesPlanner;
use super::access::requirements::Requirements;
use super::parameters::bind;
use super::session::{Planning, Session, Tag};
use crate::catalog::options::PinnedSnapshot;
use crate::catalog::scan::CollectionScanExec;
use crate::error::Result;
use crate::storage::schema::Version;

/// What looks at more rows than this is planned for all cores.
const SERIAL_ROWS_MAX: u64 = 65_536;

/// What has taken no longer than this can be run between the messages of other connections.
const QUICK_MICROSECONDS_MAX: u64 = 1_000;

/// The rules that do more when a LIMIT is a number.
const LIMIT_RULES: [&str; 2] = ["push_down_limit", "vector_top_k"];

/// What a plan was made from.
#[derive(Debug, Clone)]
pub(super) struct Basis {
    /// Kept, so that the session cannot change it in place.
    options: Arc<ConfigOptions>,
    /// Counts changes of the session's variables that plans may depend on.
    variables: u64,
    /// `None` in a block that changes definitions itself: nobody else knows that version.
    definitions: Option<Version>,
}

impl PartialEq for Basis {
    fn eq(&self, other: &Self) -> bool {
        self.definitions.is_some()
            && Arc::ptr_eq(&self.options, &other.options)
            && (self.variables, self.definitions) == (other.variables, other.definitions)
    }
}

/// The plan of a statement with parameters.
pub(super) struct Kept {
    basis: Basis,
    tag: Tag,
    requirements: Requirements,
    analyzed: LogicalPlan,
    optimized: Option<Optimized>,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept")
            .field("basis", &self.basis)
            .finish_non_exhaustive()
    }
}

/// A plan that was optimised with its parameters.
struct Optimized {
    plan: LogicalPlan,
    /// The types of its parameters; the last is that of `now()` if it is called.
    fields: Vec<FieldRef>,
    calls_now: bool,
    /// Whether a LIMIT is a parameter: operators learn of it only when it is a number.
    has_open_limit: bool,
    /// Whether functions must be told of the session that executes it.
    reads_session: bool,
    operators: Mutex<Operators>,
    last: Arc<Execution>,
}

/// What the last execution took that has ended.
struct Execution {
    /// Rows that it looked at.
    rows: AtomicU64,
    /// How long its operators computed.
    microseconds: AtomicU64,
}

impl Default for Execution {
    /// Before the first one nothing is known to be small.
    fn default() -> Self {
        Self {
            rows: AtomicU64::new(u64::MAX),
            microseconds: AtomicU64::new(u64::MAX),
        }
    }
}

impl Execution {
    fn is_small(&self) -> bool {
        self.rows.load(Ordering::Relaxed) <= SERIAL_ROWS_MAX
    }
}

/// Operators that may be kept.
enum Operators {
    /// Nothing was executed: many statements are executed once.
    New,
    Unknown,
    None,
    Some(Arc<Template>),
}

impl Session {
    /// What a plan would be made from now.
    pub(super) fn basis(&self) -> Basis {
        let options = Arc::clone(self.inner.context.state_ref().read().config().options());
        Basis {
            options,
            variables: self.inner.plan_changes.load(Ordering::Relaxed),
            definitions: self.snapshot().definitions(),
        }
    }

    /// The session's state as all plans of one configuration share it.
    fn shared_state(&self, options: &Arc<ConfigOptions>) -> Arc<SessionState> {
        let mut shared = self.inner.shared_state.lock();
        match shared.as_ref() {
            Some(state) if Arc::ptr_eq(state.config().options(), options) => Arc::clone(state),
            _ => {
                let mut state = self.inner.context.state();
                // Functions are given the configuration as it is at this moment.
                state.mark_start_execution();
                Arc::clone(shared.insert(Arc::new(state)))
            }
        }
    }
}

impl Kept {
    /// Keeps an analysed plan whose parameters have the types of `fields`.
    pub fn new(
        basis: Basis,
        tag: Tag,
        state: &SessionState,
        made: &LogicalPlan,
        analyzed: LogicalPlan,
        fields: Vec<FieldRef>,
    ) -> Result<Self> {
        let (open, time) = pure::with_open_time(analyzed.clone(), fields.len())?;
        let optimized = match pure::is_pure(&open)? {
            true => Some(Optimized::new(state, open, fields, time)?),
            false => None,
        };
        Ok(Self {
            basis,
            tag,
            requirements: Requirements::of(made)?,
            analyzed,
            optimized,
        })
    }

    /// Whether it would be the same if it were made from this.
    pub fn is_of(&self, basis: &Basis) -> bool {
        self.basis == *basis
    }

    /// Whether its operators are kept and took little the last time. What takes numbers of a sequence may wait for the disk.
    pub fn is_quick(&self) -> bool {
        let quick = |optimized: &Optimized| {
            let took = optimized.last.microseconds.load(Ordering::Relaxed);
            took <= QUICK_MICROSECONDS_MAX
                && !optimized.reads_session
                && optimized.last.is_small()
                && matches!(*optimized.operators.lock(), Operators::Some(_))
        };
        self.optimized.as_ref().is_some_and(quick)
    }

    pub fn tag(&self) -> &Tag {
        &self.tag
    }

    /// The columns of its rows.
    pub fn schema(&self) -> &SchemaRef {
        self.analyzed.schema().inner()
    }

    /// The plan with these values, for those that plan further themselves.
    ///
    /// # Errors
    /// 42P02 for a parameter without a value.
    pub fn bound(&self, values: &[ScalarValue]) -> Result<LogicalPlan> {
        bind(self.analyzed.clone(), values)
    }

    /// Starts an execution with these values.
    ///
    /// # Errors
    /// 42501 for who may not, and whatever is wrong with the values.
    pub async fn start(
        &self,
        session: &Session,
        mut values: Vec<ScalarValue>,
    ) -> Result<SendableRecordBatchStream> {
        self.requirements
            .check(&session.snapshot(), session.user().current())?;
        let Some(optimized) = &self.optimized else {
            let state = Planning::new(session).state_for(&self.tag);
            let frame = datafusion::dataframe::DataFrame::new(state, self.bound(&values)?);
            return Ok(frame.execute_stream().await?);
        };
        values.extend(optimized.time(session));
        if let Some(rows) = optimized.repeat(session, &values).await? {
            return Ok(rows);
        }
        let shared = session.shared_state(&self.basis.options);
        if matches!(self.tag, Tag::Rows) && !optimized.reads_session {
            return optimized.read(session, shared, &values).await;
        }
        optimized.keep_operators(&shared).await;
        let state = Planning::new(session).state_for(&self.tag);
        optimized.plan_and_start(state, &values).await
    }
}

impl Optimized {
    fn new(
        state: &SessionState,
        analyzed: LogicalPlan,
        mut fields: Vec<FieldRef>,
        time: Option<FieldRef>,
    ) -> Result<Self> {
        let calls_now = time.is_some();
        fields.extend(time);
        Ok(Self {
            has_open_limit: pure::has_open_limit(&analyzed)?,
            reads_session: pure::has_session_functions(&analyzed)?,
            plan: state.optimizer().optimize(analyzed, state, |_, _| {})?,
            fields,
            calls_now,
            operators: Mutex::new(Operators::New),
            last: Arc::default(),
        })
    }

    /// The value of `now()`, if it is called.
    fn time(&self, session: &Session) -> Option<ScalarValue> {
        let field = self.fields.last().filter(|_| self.calls_now)?;
        let now = session.statement_time().timestamp_nanos_opt();
        let DataType::Timestamp(TimeUnit::Nanosecond, zone) = field.data_type() else {
            return None;
        };
        Some(ScalarValue::TimestampNanosecond(now, zone.clone()))
    }

    fn bound(&self, state: &SessionState, values: &[ScalarValue]) -> Result<LogicalPlan> {
        let plan = bind(self.plan.clone(), values)?;
        if !self.has_open_limit {
            return Ok(plan);
        }
        let rules = state.optimizers().iter();
        let rules = rules.filter(|rule| LIMIT_RULES.contains(&rule.name()));
        let optimizer = Optimizer::with_rules(rules.cloned().collect());
        Ok(optimizer.optimize(plan, state, |_, _| {})?)
    }

    /// Plans with a state of the statement's own: that of functions that read it, or of changes, which may have to plan
    /// again.
    async fn plan_and_start(
        &self,
        state: SessionState,
        values: &[ScalarValue],
    ) -> Result<SendableRecordBatchStream> {
        let plan = self.bound(&state, values)?;
        let operators = state
            .query_planner()
            .create_physical_plan(&plan, &state)
            .await?;
        let rows = execute_stream(Arc::clone(&operators), state.task_ctx())?;
        Ok(self.observed(rows, operators, None))
    }

    /// The rows of the kept operators, if there are any and they have few rows to look at.
    async fn repeat(
        &self,
        session: &Session,
        values: &[ScalarValue],
    ) -> Result<Option<SendableRecordBatchStream>> {
        let template = match &*self.operators.lock() {
            Operators::Some(template) => Arc::clone(template),
            _ => return Ok(None),
        };
        let transaction = session.open_transaction();
        let snapshot = match &transaction {
            Some(transaction) => transaction.snapshot(),
            None => session.newest_with_temporary(),
        };
        let context = || session.context_over(&snapshot, transaction.as_ref());
        let given = Given {
            values,
            session: self.reads_session.then(context),
            snapshot,
            transaction,
        };
        let ready = template.ready(given).await?;
        let is_small = self.last.is_small()
            || rows(&ready.plan, CollectionScanExec::rows_planned) <= SERIAL_ROWS_MAX;
        if !is_small {
            return Ok(None);
        }
        let rows = ready.plan.execute(0, Arc::clone(&ready.context))?;
        let plan = Arc::clone(&ready.plan);
        Ok(Some(self.observed(rows, plan, Some(ready))))
    }

    /// Plans a query with the state that all statements share.
    async fn read(
        &self,
        session: &Session,
        state: Arc<SessionState>,
        values: &[ScalarValue],
    ) -> Result<SendableRecordBatchStream> {
        let plan = self.bound(&state, values)?;
        let pinned = Arc::new(PinnedSnapshot(session.snapshot()));
        let config = state.config().clone().with_extension(pinned);
        let planner = Planner::new(Arc::clone(&state), config);
        let operators = planner.plan(&plan).await?;
        self.keep_operators(&state).await;
        let rows = execute_stream(Arc::clone(&operators), planner.task_context())?;
        Ok(self.observed(rows, operators, None))
    }

    /// Plans the operators that will be kept, if they can be and this is not the first execution.
    async fn keep_operators(&self, state: &Arc<SessionState>) {
        {
            let mut operators = self.operators.lock();
            match &*operators {
                Operators::New => {
                    *operators = Operators::Unknown;
                    return;
                }
                Operators::Unknown => {}
                Operators::None | Operators::Some(_) => return,
            }
        }
        let template = match self.has_open_limit {
            true => None,
            false => Template::new(Arc::clone(state), self.plan.clone(), self.fields.clone()).await,
        };
        *self.operators.lock() = match template {
            Some(template) => Operators::Some(Arc::new(template)),
            None => Operators::None,
        };
    }

    fn observed(
        &self,
        rows: SendableRecordBatchStream,
        plan: Arc<dyn ExecutionPlan>,
        ready: Option<Ready>,
    ) -> SendableRecordBatchStream {
        Box::pin(Observed {
            rows,
            plan,
            microseconds: 0,
            last: Arc::clone(&self.last),
            _ready: ready,
        })
    }
}

/// The rows of an execution, which tells at its end what it took.
struct Observed {
    rows: SendableRecordBatchStream,
    plan: Arc<dyn ExecutionPlan>,
    microseconds: u64,
    last: Arc<Execution>,
    /// The last field, so that operators are free when nothing reads them any more.
    _ready: Option<Ready>,
}

impl Drop for Observed {
    fn drop(&mut self) {
        let visited = rows(&self.plan, CollectionScanExec::rows_visited);
        self.last.rows.store(visited, Ordering::Relaxed);
        self.last
            .microseconds
            .store(self.microseconds, Ordering::Relaxed);
    }
}

impl Stream for Observed {
    type Item = datafusion::common::Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let begun = Instant::now();
        let polled = self.rows.poll_next_unpin(context);
        self.microseconds += begun.elapsed().as_micros() as u64;
        polled
    }
}

impl RecordBatchStream for Observed {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }
}

/// The sum of what the scans of a plan say.
fn rows(plan: &Arc<dyn ExecutionPlan>, of: fn(&CollectionScanExec) -> u64) -> u64 {
    let below = plan.children().into_iter().map(|child| rows(child, of));
    let here = plan.downcast_ref::<CollectionScanExec>().map_or(0, of);
    below.fold(here, u64::saturating_add)
}
