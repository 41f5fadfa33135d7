//! A session: one user's settings over the shared database, and the door for all SQL.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};
use std::time::Instant;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use chrono::{DateTime, Utc};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::{SessionContext, SessionState};
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast;
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::access::FileAccess;
use super::backends::Identity;
use super::channels::SessionChannels;
use super::command::CommandNode;
use super::context::{statement_to_plan, type_planner_of};
use super::copy::{CopyInput, CopyShape};
use super::cursor::Cursors;
use super::dml::CommonNames;
use super::live::LiveSessions;
use super::named::NamedStatements;
use super::notice::{Notice, Notices};
use super::parameters::Types;
use super::repeated::Patterns;
use super::statement::{Explain, Statement};
use super::texts::Texts;
use super::transaction::Block;
use super::variables::Variables;
use super::{
    access, backup, check, comment, compaction, copy, create, cursor, dml, domains, enums, explain,
    export, index, named, rename_schema, routine, scripts, sequence, transaction, variables,
};
use crate::catalog::advisory::SessionLocks;
use crate::catalog::options::PinnedSnapshot;
use crate::catalog::pg::{PgContext, SessionFacts, show_names};
use crate::catalog::sequences::{Given, SessionSequences};
use crate::catalog::transaction::{CurrentTransaction, OpenTransaction};
use crate::catalog::user::CurrentUser;
use crate::catalog::zone::Zone;
use crate::database::Core;
use crate::error::{Error, Result};
use crate::storage::change::Change;
use crate::storage::committer::Transaction;
use crate::storage::schema::FieldId;
use crate::storage::snapshot::Snapshot;
use crate::storage::transaction::Durability;

/// What a statement answers besides rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tag {
    /// The rows of a query.
    Rows,
    /// Rows whose number the tag leaves out (`SHOW`, `EXPLAIN`).
    Shown(&'static str),
    /// Rows that FETCH took from a cursor.
    Fetched {
        /// Whether the cursor was declared BINARY: its values travel so also where text is asked for.
        binary: bool,
    },
    /// The rows that RETURNING makes of changed ones; the word stands before their number (`INSERT 0`).
    Returned(&'static str),
    /// A number of rows touched, in the one column `count`; the word stands before it (`INSERT 0`).
    Count(&'static str),
    /// Nothing but that it was done (`CREATE TABLE`).
    Done(&'static str),
    /// COPY .. TO STDOUT: batches of one Binary column, each value the payload of one CopyData.
    CopyOut(CopyShape),
    /// COPY .. FROM STDIN: takes bytes by [`Outcome::input`]; then a number of rows as of [`Tag::Count`].
    CopyIn(CopyShape),
}

impl Tag {
    /// Whether the client gets the rows; others answer by their tag alone.
    pub fn answers_rows(&self) -> bool {
        matches!(
            self,
            Self::Rows | Self::Shown(_) | Self::Fetched { .. } | Self::Returned(_)
        )
    }

    /// That of a statement which changes rows, and maybe returns them.
    fn of_change(word: &'static str, returning: bool) -> Self {
        match returning {
            true => Self::Returned(word),
            false => Self::Count(word),
        }
    }

    /// The tag as clients read it: `n` is the number of rows that were answered, or the one value of the column
    /// `count`.
    pub fn text(&self, n: u64) -> String {
        match self {
            Self::Rows => format!("SELECT {n}"),
            Self::Fetched { .. } => format!("FETCH {n}"),
            Self::Count(word) | Self::Returned(word) => format!("{word} {n}"),
            Self::CopyOut(_) | Self::CopyIn(_) => format!("COPY {n}"),
            Self::Shown(words) | Self::Done(words) => (*words).to_string(),
        }
    }
}

/// A statement that is running.
pub struct Outcome {
    /// What kind of answer it gives.
    pub tag: Tag,
    /// The columns of its rows.
    pub schema: SchemaRef,
    /// Its rows; the statement acts as they are read.
    pub stream: SendableRecordBatchStream,
    /// Where the bytes of a COPY .. FROM STDIN go in, while its stream is polled.
    pub input: Option<CopyInput>,
}

/// One user's settings over the shared database.
///
/// Clones are the same session.
#[derive(Clone)]
pub struct Session {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) core: Arc<Core>,
    pub(super) context: SessionContext,
    identity: Identity,
    /// What of the identity the functions of the catalogs tell.
    facts: Arc<SessionFacts>,
    /// That of the context, which does not give it out.
    pub(super) type_planner: Arc<dyn TypePlanner>,
    pub(super) block: Mutex<Block>,
    /// What the block has read and changed, once one of its statements has run.
    pub(super) transaction: Arc<CurrentTransaction>,
    pub(super) variables: Mutex<Variables>,
    /// How often one of them was changed.
    pub(super) variable_changes: AtomicU64,
    /// The same of those that plans may depend on.
    pub(super) plan_changes: AtomicU64,
    /// The state that kept plans share, as long as the configuration is the same.
    pub(super) shared_state: Mutex<Option<Arc<SessionState>>>,
    /// What every statement follows of them.
    pub(super) followed: Mutex<Option<Arc<variables::Followed>>>,
    pub(super) reported: Mutex<variables::Reported>,
    /// Whether the client has been told that search is exact whatever it tunes.
    pub(super) noted_exactness: Mutex<bool>,
    pub(super) cursors: Cursors,
    pub(super) statements: NamedStatements,
    pub(super) texts: Texts,
    pub(super) patterns: Patterns,
    notices: Notices,
    copy_progress: Arc<copy::CopyProgress>,
    live: Arc<LiveSessions>,
    user: Arc<CurrentUser>,
    /// The advisory locks that it holds.
    pub(super) locks: Arc<SessionLocks>,
    pub(super) channels: SessionChannels,
    /// What sequences gave to it.
    pub(super) given: Arc<Given>,
    files: FileAccess,
}

impl Session {
    /// A session of somebody with the rights of `user`, which the context has too, as it has `transaction`.
    pub(crate) fn new(
        core: Arc<Core>,
        context: SessionContext,
        identity: Identity,
        user: Arc<CurrentUser>,
        files: FileAccess,
        transaction: Arc<CurrentTransaction>,
    ) -> Self {
        let type_planner = type_planner_of(&context.state());
        let facts = SessionFacts {
            user: identity.user.clone(),
            database: identity.database.clone(),
            backend_pid: identity.pid,
            client: identity.address,
            started_ms: core.opened_ms,
        };
        let backend = core.backends.get(identity.pid);
        let locks = Arc::new(SessionLocks::new(Arc::clone(&core.advisory)));
        let channels = SessionChannels::new(Arc::clone(&core.channels), identity.pid);
        let copy_progress = backend.map(|b| Arc::clone(&b.copy)).unwrap_or_default();
        let inner = Arc::new_cyclic(|session| {
            let compactions = compaction::functions(session);
            for function in variables::functions(session).into_iter().chain(compactions) {
                context.register_udf(function);
            }
            Inner {
                core,
                context,
                identity,
                facts: Arc::new(facts),
                type_planner,
                block: Mutex::default(),
                transaction,
                variables: Mutex::default(),
                variable_changes: AtomicU64::new(0),
                plan_changes: AtomicU64::new(0),
                shared_state: Mutex::default(),
                followed: Mutex::default(),
                reported: Mutex::default(),
                noted_exactness: Mutex::default(),
                cursors: Cursors::default(),
                statements: NamedStatements::default(),
                texts: Texts::default(),
                patterns: Patterns::default(),
                notices: Notices::default(),
                copy_progress,
                live: Arc::new(LiveSessions::new(Weak::clone(session))),
                user,
                locks,
                channels,
                given: Arc::default(),
                files,
            }
        });
        let session = Self { inner };
        let Identity { user, role, .. } = session.identity().clone();
        let is_superuser = session.snapshot().role(role).is_some_and(|r| r.superuser);
        session.set_user(&user, is_superuser);
        session
    }

    /// The DataFusion session below: functions and tables registered here are seen by [`Session::sql`].
    pub fn context(&self) -> &SessionContext {
        &self.inner.context
    }

    /// Whose session it is.
    pub fn identity(&self) -> &Identity {
        &self.inner.identity
    }

    /// Whose rights the session has.
    pub fn user(&self) -> &CurrentUser {
        &self.inner.user
    }

    /// The files that a superuser reaches by the session.
    pub fn files(&self) -> &FileAccess {
        &self.inner.files
    }

    /// How far the session's newest COPY .. FROM is.
    pub fn copy_progress(&self) -> &Arc<copy::CopyProgress> {
        &self.inner.copy_progress
    }

    /// Frees what the statements before made needless. It need not be called; whoever answers clients does so when the
    /// answer is on its way.
    pub fn free_spent(&self) {
        self.inner.core.engine.committer.free_spent();
    }

    /// Takes the notices since the last call ("relation exists already, skipping").
    pub fn take_notices(&self) -> Vec<Notice> {
        self.inner.notices.take()
    }

    pub(super) fn notice(&self, notice: impl Into<Notice>) {
        self.inner
            .notices
            .push(notice.into(), self.least_severity());
    }

    /// The newest version, also in a block that reads another.
    pub(super) fn newest(&self) -> Arc<Snapshot> {
        self.inner.core.engine.committer.snapshot()
    }

    /// The newest version with the temporary tables of the session.
    pub(super) fn newest_with_temporary(&self) -> Arc<Snapshot> {
        self.inner.transaction.temporary().over(self.newest())
    }

    /// Commits changes that were made from `snapshot`, or makes them part of the block.
    pub(super) async fn commit(&self, snapshot: &Snapshot, changes: Vec<Change>) -> Result<()> {
        if let Some(transaction) = self.open_transaction() {
            return transaction.define(changes);
        }
        if changes.iter().any(|change| snapshot.is_temporary(change)) {
            let transaction = self.new_transaction();
            transaction.define(changes)?;
            return transaction.commit(Durability::Synced).await;
        }
        let transaction = Transaction {
            read_version: snapshot.version(),
            changes,
            ..Transaction::default()
        };
        self.inner.core.engine.committer.commit(transaction).await?;
        Ok(())
    }
}

impl Session {
    /// The time of `now()` in a statement that begins.
    pub(super) fn statement_time(&self) -> DateTime<Utc> {
        match self.open_transaction() {
            Some(transaction) => transaction.began(),
            None => Utc::now(),
        }
    }

    /// What functions know a statement by that reads `snapshot`.
    pub(super) fn context_over(
        &self,
        snapshot: &Arc<Snapshot>,
        transaction: Option<&Arc<OpenTransaction>>,
    ) -> PgContext {
        let inner = &self.inner;
        let engine = Arc::clone(&inner.core.engine);
        let given = Arc::clone(&inner.given);
        PgContext::new(
            Arc::clone(&inner.facts),
            Arc::clone(&inner.user),
            Arc::clone(&inner.live) as _,
            Arc::clone(&inner.locks),
            SessionSequences::new(
                engine,
                transaction.cloned(),
                Arc::clone(inner.transaction.temporary()),
                given,
            ),
            Arc::clone(snapshot),
        )
    }
}

/// The planning of one statement against one snapshot.
pub(super) struct Planning<'a> {
    pub(super) session: &'a Session,
    pub(super) state: SessionState,
    pub(super) snapshot: Arc<Snapshot>,
    /// What is known of the types of parameters.
    pub(super) types: Types,
    /// The names of WITH that its queries may use.
    pub(super) common: CommonNames,
    /// Defaults that a view has in place of those of a collection's columns.
    pub(super) defaults: HashMap<FieldId, String>,
}

impl<'a> Planning<'a> {
    pub(super) fn new(session: &'a Session) -> Self {
        match session.open_transaction() {
            Some(transaction) => Self::within(session, transaction),
            None => Self::over(session, session.newest_with_temporary(), None),
        }
    }

    /// The zone whose clock tells times.
    pub(super) fn zone(&self) -> Zone {
        Zone::of(self.state.config_options())
    }

    /// The planning of a statement that is part of a transaction.
    pub(super) fn within(session: &'a Session, transaction: Arc<OpenTransaction>) -> Self {
        let own = Some(Arc::clone(&transaction));
        let mut planning = Self::over(session, transaction.snapshot(), own);
        planning.state.config_mut().set_extension(transaction);
        planning
    }

    fn over(
        session: &'a Session,
        snapshot: Arc<Snapshot>,
        transaction: Option<Arc<OpenTransaction>>,
    ) -> Self {
        let mut state = session.inner.context.state();
        let pinned = PinnedSnapshot(Arc::clone(&snapshot));
        let config = state.config_mut();
        config.set_extension(Arc::new(pinned));
        let context = session.context_over(&snapshot, transaction.as_ref());
        config.options_mut().extensions.insert(context);
        // Functions are given the configuration as it is at this moment.
        state.mark_start_execution();
        if let Some(transaction) = transaction {
            let began = Some(transaction.began());
            state.execution_props_mut().query_execution_start_time = began;
        }
        Self {
            session,
            state,
            snapshot,
            types: Types::default(),
            common: CommonNames::default(),
            defaults: HashMap::new(),
        }
    }

    /// The planning of a part of the same statement.
    pub(super) fn again(&self) -> Self {
        Self {
            session: self.session,
            state: self.state.clone(),
            snapshot: Arc::clone(&self.snapshot),
            types: self.types.clone(),
            common: self.common.clone(),
            defaults: self.defaults.clone(),
        }
    }

    pub(super) fn with_types(self, types: Types) -> Self {
        Self { types, ..self }
    }

    /// The state in which a plan with such an answer is made into operators: changed rows are returned in the order in
    /// which the statement has them, which is lost when they are dealt out to several threads.
    pub(super) fn state_for(self, tag: &Tag) -> SessionState {
        let mut state = self.state;
        if matches!(tag, Tag::Returned(_)) {
            let options = state.config_mut().options_mut();
            options.optimizer.enable_round_robin_repartition = false;
        }
        state
    }

    /// The plan of a query, or of another statement that DataFusion plans.
    pub(super) async fn plan(&self, mut statement: ast::Statement) -> Result<LogicalPlan> {
        let planner = &self.session.inner.type_planner;
        self.common.add_to(&mut statement);
        let tables = self.common.tables();
        if matches!(statement, ast::Statement::ShowFunctions { .. }) {
            // It reads columns of DataFusion's own information schema.
            let mut state = self.state.clone();
            state.config_mut().options_mut().catalog.information_schema = true;
            return Ok(statement_to_plan(&state, planner, statement, &self.types, tables).await?);
        }
        Ok(statement_to_plan(&self.state, planner, statement, &self.types, tables).await?)
    }

    pub(super) async fn statement(&self, statement: Statement) -> Result<(Tag, LogicalPlan)> {
        let session = self.session;
        session.check_files(&statement)?;
        match statement {
            Statement::DataFusion(statement) => {
                let DataFusionStatement::Statement(statement) = *statement else {
                    return Err(Error::unsupported("this statement is not supported"));
                };
                let plan = self.plan(*statement).await?;
                refuse_foreign(&plan)?;
                Ok((Tag::Rows, show_names(plan)?))
            }
            Statement::Explain(explain) => {
                Ok((Tag::Shown("EXPLAIN"), self.explain(explain).await?))
            }
            Statement::Insert(insert) => {
                let tag = Tag::of_change("INSERT 0", insert.statement.returning.is_some());
                Ok((tag, boxed(|| dml::insert(self, *insert)).await?))
            }
            Statement::Update(update) => {
                let tag = Tag::of_change("UPDATE", update.returning.is_some());
                Ok((tag, boxed(|| dml::update(self, *update)).await?))
            }
            Statement::Delete(delete) => {
                let tag = Tag::of_change("DELETE", delete.returning.is_some());
                Ok((tag, boxed(|| dml::delete(self, *delete)).await?))
            }
            Statement::Merge(merge) => {
                let plan = boxed(|| dml::merge(self, *merge)).await?;
                Ok((Tag::Count("MERGE"), plan))
            }
            Statement::With(with) => boxed(|| dml::with(self, *with)).await,
            Statement::Copy(statement) => boxed(|| copy::plan(self, *statement)).await,
            Statement::Access(statement) => access::command::plan(session, *statement),
            Statement::Transaction(statement) => transaction::plan(session, statement),
            Statement::CreateCollection(create) => {
                boxed(|| create::collection(self, *create)).await
            }
            Statement::CreateView(view) => boxed(|| create::view(self, *view)).await,
            Statement::Refresh(refresh) => create::refresh(session, refresh),
            Statement::CreateSchema {
                name,
                owner,
                if_not_exists,
            } => create::schema(session, name.as_ref(), owner, if_not_exists),
            Statement::RenameSchema { from, to } => rename_schema::plan(session, from, to),
            Statement::Drop(drop) => create::drop(session, drop),
            Statement::Truncate {
                names,
                restart,
                cascade,
            } => create::truncate(session, names, restart, cascade),
            Statement::Alter(alter) => super::alter::plan(session, *alter),
            Statement::CreatePartition(create) => super::partition::create(session, *create),
            Statement::AttachIndex => super::partition::of_index(session),
            Statement::CreateIndex(create) => index::create(session, *create),
            Statement::DropIndex(drop) => index::drop(session, drop),
            Statement::RenameIndex(rename) => index::rename(session, rename),
            Statement::Sequence(statement) => sequence::plan(session, *statement),
            Statement::Type(statement) => enums::plan(session, *statement),
            Statement::Domain(statement) => domains::plan(session, *statement),
            Statement::Routine(statement) => routine::plan(session, *statement),
            Statement::Comment(on) => comment::plan(session, *on),
            Statement::Compact(compact) => compaction::compact(self, *compact),
            Statement::ShowCompaction(job) => compaction::show(session, job),
            Statement::ShowCompactions(name) => compaction::list(self, name).await,
            Statement::WaitForCompaction { job, timeout } => {
                compaction::wait(session, job, timeout)
            }
            Statement::CancelCompaction(job) => compaction::cancel(session, job),
            Statement::Export(statement) => export::plan(session, *statement),
            Statement::Backup(directory) => backup::database(session, directory),
            Statement::CheckTable(name) => check::table(self, &name),
            Statement::Vacuum(vacuum) => compaction::vacuum(session, vacuum),
            Statement::Declare(declare) => boxed(|| cursor::declare(self, *declare)).await,
            Statement::Fetch(fetch) => cursor::fetch(session, fetch),
            Statement::Close(name) => cursor::close(session, name),
            Statement::Prepare(prepare) => named::prepare(session, *prepare),
            Statement::Execute(execute) => named::execute(self, &execute).await,
            Statement::Deallocate(name) => named::deallocate(session, name),
            Statement::Script(script) => scripts::plan(session, *script),
            Statement::Set(set) => variables::set(session, set),
            Statement::SetDefaultModes(modes) => variables::set_default_modes(session, modes),
            Statement::ResetAll => variables::reset_all(session),
            Statement::Show(name) => variables::show(session, &name),
            Statement::ShowAll => variables::show_all(session),
            Statement::Discard(kind) => variables::discard(session, kind),
        }
    }

    /// Boxed because EXPLAIN holds a statement, whose planning may be an EXPLAIN.
    fn explain(&self, explain: Explain) -> BoxFuture<'_, Result<LogicalPlan>> {
        async move {
            let began = Instant::now();
            if let (Statement::Compact(compact), false) =
                (&*explain.statement, explain.options.analyze)
            {
                return compaction::explain(self, compact, explain.options.format);
            }
            let (_, plan) = self.statement(*explain.statement).await?;
            let settings = match explain.options.settings {
                true => self.session.changed_settings(),
                false => Vec::new(),
            };
            explain::explain(explain.options, settings, began, plan)
        }
        .boxed()
    }
}

/// What a function of statements does, made in a frame of its own: statements hold statements, and a stack has room for few
/// of the futures of all kinds at once.
#[inline(never)]
fn boxed<'a, F: Future + Send + 'a>(make: impl FnOnce() -> F) -> BoxFuture<'a, F::Output> {
    Box::pin(make())
}

/// What DataFusion would do to its own catalogs or files is not ours to allow.
fn refuse_foreign(plan: &LogicalPlan) -> Result<()> {
    match plan {
        LogicalPlan::Ddl(ddl) => Err(Error::unsupported(format!(
            "{} is not supported",
            ddl.name()
        ))),
        LogicalPlan::Dml(_) | LogicalPlan::Copy(_) => {
            Err(Error::unsupported("this statement is not supported"))
        }
        LogicalPlan::Statement(other) => Err(Error::unsupported(format!(
            "{} is not supported",
            other.name()
        ))),
        _ => Ok(()),
    }
}

/// A command that answers with nothing but a tag.
pub(super) fn done<F, R>(tag: &'static str, label: String, act: F) -> Result<(Tag, LogicalPlan)>
where
    F: Fn() -> R + Send + Sync + 'static,
    R: Future<Output = Result<()>> + Send + 'static,
{
    let schema = Arc::new(Schema::empty());
    let empty = RecordBatch::new_empty(Arc::clone(&schema));
    let action = move || {
        let (acting, empty) = (act(), empty.clone());
        async move { acting.await.map(|()| empty) }.boxed()
    };
    Ok((
        Tag::Done(tag),
        CommandNode::plan(label, schema, Arc::new(action))?,
    ))
}
