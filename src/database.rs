//! A database: the engine, its background work and its sessions, wired together.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use datafusion::config::Dialect;
use datafusion::execution::context::{QueryPlanner, SessionConfig, SessionContext};
use datafusion::execution::memory_pool::{GreedyMemoryPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::{Analyzer, Optimizer};
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};

use crate::catalog::advisory::AdvisoryLocks;
use crate::catalog::arithmetic::CheckedArithmeticRule;
use crate::catalog::blank_padded::BlankPaddedRule;
use crate::catalog::cast_filters::CastFilterRule;
use crate::catalog::changes::{ChangesFunction, TABLE_CHANGES};
use crate::catalog::clustering::{CLUSTERING_INFORMATION, ClusteringFunction};
use crate::catalog::covered::CoveredFilterRule;
use crate::catalog::decimal_literal::DecimalLiteralRule;
use crate::catalog::dml::{DmlPlanner, PartSubqueriesRule};
use crate::catalog::enums::{self, EnumRule};
use crate::catalog::in_list::InListRule;
use crate::catalog::infinity::InfinityRule;
use crate::catalog::json::rule::JsonRule;
use crate::catalog::json::{self, JsonPlanner};
use crate::catalog::keys::know_functions;
use crate::catalog::math::check_domains;
use crate::catalog::options::ShelfmarkOptions;
use crate::catalog::pg::functions::PartitionTree;
use crate::catalog::pg::{self, RegTypeRule};
use crate::catalog::provider::{CATALOG, ShelfmarkCatalog, ShelfmarkCatalogList, ViewPlanner};
use crate::catalog::search_path;
use crate::catalog::stores::LocalFiles;
use crate::catalog::string_limit::limit_strings;
use crate::catalog::transaction::CurrentTransaction;
use crate::catalog::user::CurrentUser;
use crate::catalog::yielding::YieldingRule;
use crate::compaction::scheduler::Scheduler;
use crate::error::{Error, Result, sqlstate};
use crate::search::knn::lateral::LateralSearchRule;
use crate::search::knn::planner::KnnJoinPlanner;
use crate::search::knn::trim::KnnColumnsRule;
use crate::search::planner::VectorTopKPlanner;
use crate::search::rule::VectorTopKRule;
use crate::settings::Settings;
use crate::sql::access::rule::AccessRule;
use crate::sql::access::view::ViewRule;
use crate::sql::aggregates::{self, OrderedInputRule};
use crate::sql::any_element;
use crate::sql::backends::{Backends, Entry, Identity};
use crate::sql::channels::Channels;
use crate::sql::command::CommandPlanner;
use crate::sql::correlated::{CorrelatedRule, LambdaPlacesRule, SessionCell};
use crate::sql::explain::ExplainPlanner;
use crate::sql::functions::{self, ArrayPlanner, IntervalPlanner};
use crate::sql::keyless::{KeylessPlanner, KeylessRule};
use crate::sql::literal::LiteralPlanner;
use crate::sql::relation::FunctionPlanner;
use crate::sql::type_names::SessionTypes;
use crate::sql::vector_search::VectorSearchPlanner;
use crate::sql::windows::WindowRule;
use crate::sql::{
    ClockRule, CopyPlanner, FileAccess, GroupingKeysRule, IntervalFrameRule, IntervalOrderRule,
    IntervalTotal, LazyRule, MultisetRule, NamedResultRule, NumberPlanner, RecursiveTermsRule,
    Session, SetLiteralRule, TextInputRule, TextOutputRule, ValuesPlanner, output_text, plan_view,
    updatable_columns,
};
use crate::storage::access::Object;
use crate::storage::change::View;
use crate::storage::committer::now_ms;
use crate::storage::disk::Files;
use crate::storage::engine::Engine;
use crate::storage::snapshot::DEFAULT_SCHEMA;

/// How many of the largest users of memory an error names.
const TOP_CONSUMERS: usize = 5;

/// An open database. Clones are the same database; it closes when the last of them and of its sessions is dropped.
#[derive(Clone)]
pub struct Database {
    core: Arc<Core>,
}

/// What the queries of all sessions take, and may take, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Memory that they have reserved.
    pub memory_reserved: u64,
    /// Memory that they may reserve.
    pub memory_limit: u64,
    /// Disk space of their temporary files.
    pub temp_used: u64,
    /// Disk space that their temporary files may take.
    pub temp_limit: u64,
}

/// What all sessions of a database share.
pub(crate) struct Core {
    pub(crate) engine: Arc<Engine>,
    pub(crate) scheduler: Scheduler,
    /// The sessions of clients.
    pub(crate) backends: Arc<Backends>,
    /// When it was opened, milliseconds since 1970 UTC.
    pub(crate) opened_ms: i64,
    /// The advisory locks of all sessions.
    pub(crate) advisory: Arc<AdvisoryLocks>,
    /// Who listens to what.
    pub(crate) channels: Arc<Channels>,
    /// Held while a definition is read, changed and committed.
    pub(crate) ddl: tokio::sync::Mutex<()>,
    pub(crate) runtime: Arc<RuntimeEnv>,
    /// The directory of a temporary database, removed with it. Last, so that the engine closes before.
    _temporary: Option<tempfile::TempDir>,
}

impl Database {
    /// Opens the database in a directory, which is made if it does not exist, and recovers what was committed.
    ///
    /// # Errors
    /// 55006 when another process has it open, XX001 for damaged files, 58030 for I/O errors.
    pub async fn open(path: impl AsRef<Path>, settings: Settings) -> Result<Self> {
        Self::open_on(path.as_ref(), settings, Files::default(), None).await
    }

    /// A database in a temporary directory, which goes when the database is closed.
    ///
    /// # Errors
    /// 58030 when the directory cannot be made.
    pub async fn temporary(settings: Settings) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("shelfmark-")
            .tempdir()
            .map_err(|e| Error::io("make a temporary directory", e))?;
        let path = directory.path().join("data");
        Self::open_on(&path, settings, Files::default(), Some(directory)).await
    }

    async fn open_on(
        path: &Path,
        settings: Settings,
        files: Files,
        temporary: Option<tempfile::TempDir>,
    ) -> Result<Self> {
        let path = path.to_path_buf();
        let opening = tokio::task::spawn_blocking(move || {
            let engine = Arc::new(Engine::open_on(path, settings, files)?);
            let scheduler = Scheduler::open(Arc::clone(&engine))?;
            Ok::<_, Error>((engine, scheduler))
        });
        let (engine, scheduler) = opening
            .await
            .map_err(|e| Error::internal(format!("opening stopped: {e}")))??;
        let runtime = runtime_env(&engine)?;
        let ddl = tokio::sync::Mutex::new(());
        let core = Core {
            scheduler,
            backends: Arc::default(),
            advisory: Arc::default(),
            channels: Arc::default(),
            opened_ms: now_ms(),
            engine,
            ddl,
            runtime,
            _temporary: temporary,
        };
        Ok(Self {
            core: Arc::new(core),
        })
    }

    /// A new session of the first superuser with the default settings. It reaches the files that the program reaches.
    pub fn session(&self) -> Session {
        self.open_session(Identity::embedded(), FileAccess::Anywhere)
    }

    /// A new session with the rights of a role. A superuser's reaches the files that the program reaches.
    ///
    /// # Errors
    /// 42704 when the role does not exist.
    pub fn session_as(&self, role: &str) -> Result<Session> {
        let snapshot = self.core.engine.committer.snapshot();
        let role = snapshot.role_named(role).ok_or_else(|| {
            let message = format!("role \"{role}\" does not exist");
            Error::not_found(sqlstate::UNDEFINED_OBJECT, message)
        })?;
        let identity = Identity {
            role: role.id,
            user: role.name.clone(),
            ..Identity::embedded()
        };
        Ok(self.open_session(identity, FileAccess::Anywhere))
    }

    /// The session of a connected client, which has proved who it is.
    pub fn connect(&self, entry: &Entry, files: FileAccess) -> Session {
        self.open_session(entry.backend().identity.clone(), files)
    }

    pub(crate) fn open_session(&self, identity: Identity, files: FileAccess) -> Session {
        let user = Arc::new(CurrentUser::new(identity.role));
        let transaction = Arc::default();
        let context = self.context(&user, &transaction);
        let core = Arc::clone(&self.core);
        Session::new(core, context, identity, user, files, transaction)
    }

    /// What queries take of what they may take together.
    pub fn usage(&self) -> Usage {
        let runtime = &self.core.runtime;
        Usage {
            memory_reserved: runtime.memory_pool.reserved() as u64,
            memory_limit: self.core.engine.settings.memory_limit.0,
            temp_used: runtime.disk_manager.used_disk_space(),
            temp_limit: self.core.engine.settings.temp_limit.0,
        }
    }

    /// The background jobs.
    pub fn scheduler(&self) -> &Scheduler {
        &self.core.scheduler
    }

    /// The sessions of connected clients.
    pub fn backends(&self) -> &Arc<Backends> {
        &self.core.backends
    }

    /// The engine below: snapshots, segments and the commit log.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.core.engine
    }

    fn context(
        &self,
        user: &Arc<CurrentUser>,
        transaction: &Arc<CurrentTransaction>,
    ) -> SessionContext {
        let engine = Arc::clone(&self.core.engine);
        let views = Arc::new(Views {
            engine: Arc::clone(&engine),
            transaction: Arc::clone(transaction),
            session: SessionCell::default(),
        });
        let catalog = ShelfmarkCatalog::new(Arc::clone(&engine))
            .with_transaction(Arc::clone(transaction))
            .with_views(Arc::clone(&views) as _)
            .with_scheduler(self.core.scheduler.clone());
        let types = SessionTypes {
            engine: Arc::clone(&engine),
            transaction: Arc::clone(transaction),
            session: Arc::clone(&views.session),
        };
        let builder = SessionStateBuilder::new()
            .with_config(
                session_config(&engine)
                    .with_extension(Arc::clone(user))
                    .with_extension(Arc::clone(transaction)),
            )
            .with_runtime_env(Arc::clone(&self.core.runtime))
            .with_catalog_list(Arc::new(ShelfmarkCatalogList::with_catalog(catalog)))
            .with_default_features()
            .with_query_planner(Arc::new(Planner))
            .with_physical_optimizer_rule(Arc::new(PartSubqueriesRule))
            .with_physical_optimizer_rule(Arc::new(YieldingRule))
            .with_type_planner(Arc::new(types))
            .with_relation_planners(vec![
                Arc::new(VectorSearchPlanner),
                Arc::new(FunctionPlanner),
            ]);
        let mut builder = builder;
        let scalar = builder.scalar_functions().get_or_insert_with(Vec::new);
        scalar.extend(pg::functions::all());
        scalar.extend(json::functions().map(Arc::new));
        scalar.extend(enums::functions().map(Arc::new));
        scalar.extend(functions::functions().into_iter().map(Arc::new));
        scalar.extend(any_element::functions().map(Arc::new));
        scalar.push(Arc::new(output_text()));
        let known = builder.aggregate_functions().get_or_insert_with(Vec::new);
        known.extend(IntervalTotal::functions());
        known.extend(aggregates::functions());
        let mut builder = shelfmark_udfs::with_vector_support(builder)
            .with_analyzer_rule(Arc::new(InListRule))
            .with_analyzer_rule(Arc::new(IntervalOrderRule))
            .with_analyzer_rule(Arc::new(CheckedArithmeticRule))
            .with_analyzer_rule(Arc::new(ClockRule))
            .with_analyzer_rule(Arc::new(InfinityRule))
            .with_analyzer_rule(Arc::new(TextInputRule))
            .with_analyzer_rule(Arc::new(LazyRule))
            .with_analyzer_rule(Arc::new(TextOutputRule))
            .with_analyzer_rule(Arc::new(RecursiveTermsRule))
            .with_analyzer_rule(Arc::new(KeylessRule))
            .with_analyzer_rule(Arc::new(WindowRule));
        let planners = builder.expr_planners().get_or_insert_with(Vec::new);
        planners.insert(0, Arc::new(LiteralPlanner));
        planners.insert(0, Arc::new(ArrayPlanner));
        planners.insert(0, Arc::new(JsonPlanner));
        planners.insert(0, Arc::new(IntervalPlanner::new()));
        planners.insert(0, Arc::new(NumberPlanner));
        let analyzer = builder.analyzer().get_or_insert_with(Analyzer::new);
        analyzer.rules.insert(0, Arc::new(DecimalLiteralRule));
        analyzer.rules.insert(0, Arc::new(SetLiteralRule));
        analyzer.rules.insert(0, Arc::new(IntervalFrameRule));
        analyzer.rules.insert(0, Arc::new(RegTypeRule));
        analyzer.rules.insert(0, Arc::new(MultisetRule));
        analyzer.rules.insert(0, Arc::new(GroupingKeysRule));
        let correlated = CorrelatedRule::new(Arc::clone(&views.session));
        analyzer.rules.insert(0, Arc::new(correlated));
        // Before it, which would run a search for each row.
        analyzer.rules.insert(0, Arc::new(LateralSearchRule));
        analyzer.rules.insert(0, Arc::new(OrderedInputRule));
        // Before all that look at literals beside values.
        analyzer.rules.insert(0, Arc::new(NamedResultRule));
        analyzer.rules.insert(0, Arc::new(EnumRule));
        analyzer.rules.insert(0, Arc::new(BlankPaddedRule));
        analyzer.rules.insert(0, Arc::new(JsonRule));
        let access = AccessRule::new(Arc::clone(&engine), Arc::clone(user));
        analyzer.rules.insert(0, Arc::new(access));
        let physical = builder
            .physical_optimizers()
            .get_or_insert_with(PhysicalOptimizer::new);
        physical.rules.insert(0, Arc::new(CoveredFilterRule));
        // Before all that move expressions.
        physical.rules.insert(0, Arc::new(LambdaPlacesRule));
        let optimizer = builder.optimizer().get_or_insert_with(Optimizer::new);
        optimizer.rules.insert(0, Arc::new(ViewRule));
        // Last: limits and filters have reached their places by then.
        optimizer.rules.push(Arc::new(VectorTopKRule));
        optimizer.rules.push(Arc::new(KnnColumnsRule));
        optimizer.rules.push(Arc::new(CastFilterRule));
        let state = builder.build();
        let context = SessionContext::new_with_state(state);
        let changes = Arc::new(ChangesFunction::new(Arc::clone(&engine)));
        context.register_udtf(TABLE_CHANGES, changes);
        let clustering = Arc::new(ClusteringFunction::new(engine));
        context.register_udtf(CLUSTERING_INFORMATION, clustering);
        limit_strings(&context);
        check_domains(&context);
        functions::extend(&context);
        know_functions(&context.state());
        context.register_udf(functions::random_uuid());
        context.register_udtf("pg_get_keywords", Arc::new(pg::functions::Keywords));
        context.register_udtf(PartitionTree::NAME, Arc::new(PartitionTree));
        views.session.get_or_init(|| context.state_weak_ref());
        context
    }
}

/// The configuration of a new session.
pub(crate) fn session_config(engine: &Engine) -> SessionConfig {
    let mut config = SessionConfig::new()
        // PostgreSQL's is served, not DataFusion's.
        .with_information_schema(false)
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(CATALOG, search_path::join([DEFAULT_SCHEMA.to_string()]))
        .with_option_extension(ShelfmarkOptions::from_settings(&engine.settings));
    let options = config.options_mut();
    options.sql_parser.dialect = Dialect::PostgreSQL;
    // Of several aggregates one without a value yet leaves no trace in DataFusion's filter, so rows that only it wants
    // are lost: min(a), max(b) where the first rows have a NULL in a.
    options.optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    // Of a subquery in order the first rows are those that LIMIT outside of it takes.
    options.sql_parser.enable_subquery_sort_elimination = false;
    // Errors then know their place in the statement.
    options.sql_parser.collect_spans = true;
    // Our columns are Utf8; views would only be cast back and forth.
    options.sql_parser.map_string_types_to_utf8view = false;
    options.execution.time_zone = Some("UTC".into());
    config
}

fn runtime_env(engine: &Engine) -> Result<Arc<RuntimeEnv>> {
    let limit = engine.settings.memory_limit.0 as usize;
    let top = NonZeroUsize::MIN.saturating_add(TOP_CONSUMERS - 1);
    let pool = TrackConsumersPool::new(GreedyMemoryPool::new(limit), top);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(pool))
        .with_temp_file_path(engine.store.tmp_dir())
        .with_object_store_registry(Arc::new(LocalFiles::default()))
        .with_max_temp_directory_size(engine.settings.temp_limit.0)
        .build_arc()?;
    Ok(runtime)
}

/// DataFusion's physical planner with our nodes.
#[derive(Debug)]
struct Planner;

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(
        &self,
        logical_plan: &LogicalPlan,
        session: &dyn datafusion::catalog::Session,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![
            Arc::new(CommandPlanner),
            Arc::new(DmlPlanner),
            Arc::new(CopyPlanner),
            Arc::new(ExplainPlanner),
            Arc::new(VectorTopKPlanner),
            Arc::new(KnnJoinPlanner),
            Arc::new(ValuesPlanner),
            Arc::new(KeylessPlanner),
        ]);
        planner.create_physical_plan(logical_plan, session).await
    }
}

/// Plans views by the session that looks them up. The session owns the catalog that owns this, hence weak.
struct Views {
    engine: Arc<Engine>,
    transaction: Arc<CurrentTransaction>,
    session: SessionCell,
}

#[async_trait]
impl ViewPlanner for Views {
    async fn plan_view(&self, view: &View) -> datafusion::error::Result<LogicalPlan> {
        let session = self.session.get().and_then(Weak::upgrade);
        let session = session.ok_or_else(|| Error::internal("the session is closed"))?;
        let state = session.read().clone();
        let snapshot = self.transaction.snapshot(&self.engine);
        let access = snapshot.access(&Object::View(view.name.clone()));
        Ok(plan_view(&state, snapshot, view, access.owner).await?)
    }

    async fn updatable_columns(&self, view: &View) -> datafusion::error::Result<Vec<bool>> {
        let session = self.session.get().and_then(Weak::upgrade);
        let session = session.ok_or_else(|| Error::internal("the session is closed"))?;
        let state = session.read().clone();
        let snapshot = self.transaction.snapshot(&self.engine);
        Ok(updatable_columns(&state, &snapshot, view).await?)
    }
}

#[cfg(test)]
mod crash;
