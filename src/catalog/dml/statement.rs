//! One execution of a statement that changes rows: in a transaction, or as one of its own.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::metrics::Count;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::StreamExt;
use tokio::sync::OwnedMutexGuard;

use super::answer::Answer;
use super::changed::{ChangedRowsExec, Slot};
use super::conflict::ConflictExec;
use super::exec::Replan;
use super::whole::{Split, split};
use super::write::{Changed, Writer};
use super::{Answering, Operation, Target};
use crate::catalog::keys::Removed;
use crate::catalog::options::{PinnedSnapshot, ShelfmarkOptions};
use crate::catalog::parts::Parts;
use crate::catalog::scan::CollectionScanExec;
use crate::catalog::temporary::Temporary;
use crate::catalog::transaction::{CurrentTransaction, OpenTransaction};
use crate::catalog::zone::Zone;
use crate::error::{Error, ErrorKind, Result};
use crate::storage::engine::Engine;
use crate::storage::schema::{CollectionId, Version};
use crate::storage::snapshot::Snapshot;
use crate::storage::transaction::Durability;

/// How often a statement is run before it reports that others were faster.
pub(super) const TRIES_MAX: usize = 100;
/// The most time between a conflict and the version that won.
const NEWER_VERSION_TIMEOUT: Duration = Duration::from_secs(5);

/// One execution.
pub(super) struct Statement {
    pub target: Target,
    pub operation: Operation,
    pub input: Arc<dyn ExecutionPlan>,
    pub answering: Answering,
    pub replan: Option<Replan>,
    pub read: Option<Arc<Snapshot>>,
    pub context: Arc<TaskContext>,
    /// Of a DELETE that may take segments whole.
    pub segments_whole: Option<Count>,
}

impl Statement {
    /// Does what the statement says, and commits it unless it is part of a transaction.
    ///
    /// # Errors
    /// Those of its query, of what the rows break, and 40001 when others were faster too often.
    pub async fn run(&self) -> Result<Answer> {
        let config = self.context.session_config();
        match (self.operation, config.get_extension::<OpenTransaction>()) {
            (_, Some(transaction)) => self.join(&transaction).await,
            (_, None) if self.target.collection.is_temporary() || reads_temporary(&self.input) => {
                self.alone().await
            }
            (Operation::Insert, None) if !looks_keys_up(&self.input) => self.insert().await,
            (_, None) => self.change().await,
        }
    }

    fn durability(&self) -> Durability {
        ShelfmarkOptions::durability_of(self.context.session_config().options())
    }

    /// The zone whose clock tells times.
    fn zone(&self) -> Zone {
        Zone::of(self.context.session_config().options())
    }

    /// The transaction has read what it read: a statement in it is not run again.
    async fn join(&self, transaction: &OpenTransaction) -> Result<Answer> {
        self.join_by(&self.input, transaction).await
    }

    async fn join_by(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        transaction: &OpenTransaction,
    ) -> Result<Answer> {
        let parts = self.context.session_config().get_extension::<Parts>();
        let snapshot = transaction.snapshot();
        let gone = match &parts {
            Some(parts) => parts.gone(&snapshot, self.target.collection.id),
            None => Removed::new(),
        };
        let Run { changed, answer } = self.rows(plan, &snapshot, gone).await?;
        let (new, removed) = (changed.new, &changed.removed);
        let rules = &self.target.rules;
        new.join(transaction, removed, rules, self.zone(), parts.as_deref())
            .await?;
        Ok(answer)
    }

    /// Temporary tables are in no commit: a statement that names one is a transaction of its own.
    async fn alone(&self) -> Result<Answer> {
        let config = self.context.session_config();
        let current = config.get_extension::<CurrentTransaction>();
        let current = current.ok_or_else(|| {
            Error::unsupported("temporary tables need a session of a shelfmark Database")
        })?;
        let base = PinnedSnapshot::or_newest(config, &self.target.engine);
        let temporary = Arc::clone(current.temporary());
        self.commit_alone(&self.input, base, temporary).await
    }

    /// What foreign keys do about rows that go is part of a transaction.
    async fn cascade(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        snapshot: &Arc<Snapshot>,
    ) -> Result<Answer> {
        let config = self.context.session_config();
        let temporary = CurrentTransaction::temporary_of(config);
        self.commit_alone(plan, Arc::clone(snapshot), temporary)
            .await
    }

    /// Commits a transaction of which the statement is all.
    async fn commit_alone(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        base: Arc<Snapshot>,
        temporary: Arc<Temporary>,
    ) -> Result<Answer> {
        let engine = Arc::clone(&self.target.engine);
        let pool = self.context.memory_pool();
        let transaction = OpenTransaction::over(engine, pool, temporary, base);
        let done = self.join_by(plan, &transaction).await;
        transaction.end(done, self.durability()).await
    }

    /// Rows that were read once are inserted as they are, however often others commit meanwhile.
    async fn insert(&self) -> Result<Answer> {
        let committer = &self.target.engine.committer;
        let snapshot = committer.snapshot();
        let rows = self.rows(&self.input, &snapshot, Removed::new());
        let Run { changed, answer } = rows.await?;
        let Changed {
            mut new, removed, ..
        } = changed;
        let (mut turn, durability) = (None, self.durability());
        for _ in 1..TRIES_MAX {
            let snapshot = committer.snapshot();
            match new.commit(&snapshot, &removed, durability).await {
                Err(e) if e.kind() == ErrorKind::Conflict => {
                    self.wait_for_turn(&mut turn, snapshot.version()).await;
                }
                result => return result.map(|()| answer),
            }
        }
        let snapshot = committer.snapshot();
        let last = new.commit(&snapshot, &removed, durability).await;
        last.map(|()| answer)
    }

    /// Rows are looked for again, in a newer version, when others changed them meanwhile.
    async fn change(&self) -> Result<Answer> {
        let (mut plan, mut planned) = self.consistent_plan().await?;
        let mut turn = None;
        for _ in 1..TRIES_MAX {
            let snapshot = self.read_by(&plan, &planned)?;
            match (self.change_once(&plan, &snapshot).await, &self.replan) {
                (Err(e), Some(replan)) if e.kind() == ErrorKind::Conflict => {
                    self.wait_for_turn(&mut turn, snapshot.version()).await;
                    planned = self.target.engine.committer.snapshot();
                    plan = replan.plan(&planned).await?;
                }
                (result, _) => return result,
            }
        }
        let snapshot = self.read_by(&plan, &planned)?;
        self.change_once(&plan, &snapshot).await
    }

    async fn wait_for_turn(&self, turn: &mut Option<OwnedMutexGuard<()>>, read: Version) {
        wait_for_turn(&self.target.engine, self.target.collection.id, turn, read).await;
    }

    /// The statement's query as it was planned, unless its scans read different versions, and what it was planned over.
    async fn consistent_plan(&self) -> Result<(Arc<dyn ExecutionPlan>, Arc<Snapshot>)> {
        let versions = versions(&self.input);
        match &self.replan {
            Some(replan) if versions.len() > 1 => {
                let newest = self.target.engine.committer.snapshot();
                Ok((replan.plan(&newest).await?, newest))
            }
            _ => Ok((Arc::clone(&self.input), self.planned_over())),
        }
    }

    /// The version that the query was planned over; a session that pins none gives the newest.
    fn planned_over(&self) -> Arc<Snapshot> {
        let pinned =
            || PinnedSnapshot::or_newest(self.context.session_config(), &self.target.engine);
        self.read.clone().unwrap_or_else(pinned)
    }

    /// The version that a plan reads. It need not be among those that are kept: whoever has planned over it holds it.
    fn read_by(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        planned: &Arc<Snapshot>,
    ) -> Result<Arc<Snapshot>> {
        let committer = &self.target.engine.committer;
        let versions = versions(plan);
        match versions.iter().next() {
            // A query that was planned to have no rows scans nothing.
            None => Ok(committer.snapshot()),
            Some(version) if *version == planned.version() && versions.len() == 1 => {
                Ok(Arc::clone(planned))
            }
            Some(version) if versions.len() == 1 => committer.snapshot_at(*version),
            Some(_) => {
                let message = "the statement's query reads different versions";
                Err(Error::conflict(message))
            }
        }
    }

    async fn change_once(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        snapshot: &Arc<Snapshot>,
    ) -> Result<Answer> {
        let mut references = snapshot.references_to(self.target.collection.id);
        if references.any(|(_, key)| key.acts()) {
            return self.cascade(plan, snapshot).await;
        }
        let Run {
            mut changed,
            answer,
        } = self.rows(plan, snapshot, Removed::new()).await?;
        let durability = self.durability();
        let new = &mut changed.new;
        new.commit(snapshot, &changed.removed, durability).await?;
        Ok(answer)
    }

    /// Removes the segments that are taken whole; the answer finds the other rows.
    fn take_whole(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        writer: &mut Writer,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(counter) = &self.segments_whole else {
            return Ok(Arc::clone(plan));
        };
        Ok(match split(plan)? {
            Some(Split { rest, whole }) => {
                counter.add(whole.len());
                writer.remove(whole);
                rest
            }
            None => Arc::clone(plan),
        })
    }

    /// Reads what is made of the changed rows, and keeps what RETURNING asks for.
    async fn answer(&self, mut rows: SendableRecordBatchStream) -> Result<Option<Answer>> {
        if self.answering == Answering::Returned {
            let kept = Answer::collect(rows, self.context.memory_pool()).await?;
            return Ok(Some(kept));
        }
        while let Some(batch) = rows.next().await {
            batch?;
        }
        Ok(None)
    }

    /// Runs the query: the rows that come, the addresses of those that go, and what RETURNING makes of them.
    /// Rows that are gone already are left.
    async fn rows(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        snapshot: &Snapshot,
        gone: Removed,
    ) -> Result<Run> {
        let collection = self.target.current(snapshot)?;
        let (target, zone) = (&self.target, self.zone());
        let writer = Writer::try_new(target, self.operation, collection, snapshot, zone)?;
        let mut writer = writer.without(gone);
        let plan = &self.take_whole(plan, &mut writer)?;
        let execute = || execute_stream(Arc::clone(plan), Arc::clone(&self.context));
        if self.answering != Answering::Count {
            let slot = slot_of(plan)?;
            // Operators may run as soon as they are executed, before anybody asks for their rows.
            slot.open(writer).await;
            let answer = async { self.answer(execute()?).await }.await;
            let written = slot.close().await;
            let answer = answer?;
            let changed = written?.finish().await?;
            let answer = match answer {
                Some(returned) => returned,
                None => Answer::count(changed.count)?,
            };
            return Ok(Run { changed, answer });
        }
        let mut rows = execute()?;
        while let Some(batch) = rows.next().await {
            writer.push(&batch?).await?;
        }
        let changed = writer.finish().await?;
        let answer = Answer::count(changed.count)?;
        Ok(Run { changed, answer })
    }
}

/// Waits until the statements that lost before in the collection are done, and the commit that won can be seen: a conflict is told
/// before the winner is durable.
pub(super) async fn wait_for_turn(
    engine: &Engine,
    collection: CollectionId,
    turn: &mut Option<OwnedMutexGuard<()>>,
    read: Version,
) {
    if turn.is_none() {
        *turn = Some(engine.retrying.wait(collection).await);
    }
    let mut versions = engine.committer.subscribe();
    let newer = versions.wait_for(|version| *version > read);
    // When no newer version comes, the log cannot be written, and the next try will say so.
    let _ = tokio::time::timeout(NEWER_VERSION_TIMEOUT, newer).await;
}

/// What a statement is about to change, and what it answers then.
struct Run {
    changed: Changed,
    answer: Answer,
}

/// Where the writer goes that hands changed rows on.
fn slot_of(plan: &Arc<dyn ExecutionPlan>) -> Result<Arc<Slot>> {
    let mut rest = vec![plan];
    while let Some(plan) = rest.pop() {
        if let Some(changed) = plan.downcast_ref::<ChangedRowsExec>() {
            return Ok(Arc::clone(changed.slot()));
        }
        rest.extend(plan.children());
    }
    Err(Error::internal("RETURNING lost the changed rows"))
}

/// Whether what is inserted depends on the keys that are there.
fn looks_keys_up(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<ConflictExec>() || plan.children().into_iter().any(looks_keys_up)
}

/// Whether a scan is of a temporary table.
fn reads_temporary(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let scan = plan.downcast_ref::<CollectionScanExec>();
    scan.is_some_and(|scan| scan.source().collection.is_temporary())
        || plan.children().into_iter().any(reads_temporary)
}

/// The versions that the scans of a query read, those aside that are asked for by their number or time.
fn versions(plan: &Arc<dyn ExecutionPlan>) -> HashSet<Version> {
    let mut versions = HashSet::new();
    let mut rest = vec![plan];
    while let Some(plan) = rest.pop() {
        let scan = plan.downcast_ref::<CollectionScanExec>();
        if let Some(scan) = scan.filter(|scan| scan.source().held.is_none()) {
            versions.insert(scan.source().version);
        }
        if let Some(conflict) = plan.downcast_ref::<ConflictExec>() {
            versions.insert(conflict.version());
        }
        rest.extend(plan.children());
    }
    versions
}
