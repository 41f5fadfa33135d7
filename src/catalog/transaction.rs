//! A transaction of several statements: the version that it read, and what it changed since, seen by nobody else.
//!
//! ```text
//! base ── statement ──▶ base + changes ── statement ──▶ base + changes ─┬─ COMMIT: one commit, judged by the committer
//!           │ SAVEPOINT: the snapshot of that moment                    └─ ROLLBACK: dropped, and its files with it
//! ```
//! Statements read the last of these snapshots. Changes of definitions are kept in order; those of rows are read off
//! the snapshots at the end ([`row_changes`]). No lock is held between statements, so that no two transactions can
//! wait for each other: of those that meet, the first to commit wins.
//!
//! Rows that are added live in growing segments of the transaction's own. One that becomes large is sealed, as it
//! would be outside, so that memory is bounded however many rows there are.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};
use datafusion::execution::context::SessionConfig;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use parking_lot::Mutex;

use super::advisory::HeldLock;
use super::foreign_keys::{Check, Deferral};
use super::keys::Removed;
use super::sink::{SegmentFile, commit_with_files, write_segment};
use super::temporary::{Became, Temporary};
use crate::error::{Error, Result, sqlstate};
use crate::storage::adapt::adapt_batch;
use crate::storage::change::{Append, Change, Replace};
use crate::storage::collection::Collection;
use crate::storage::engine::Engine;
use crate::storage::foreign_key::ForeignKey;
use crate::storage::growing::GrowingSegment;
use crate::storage::pending::row_changes;
use crate::storage::schema::{CollectionId, FieldId, SegmentId};
use crate::storage::sequence::Sequence;
use crate::storage::snapshot::Snapshot;
use crate::storage::transaction::{Durability, KeyUse, KeyUseLengths, Transaction};

/// Memory that is counted for a change apart from its rows.
const CHANGE_BYTES: usize = 256;

/// The open transaction of a session and its temporary tables, for all who look up names for it.
#[derive(Debug, Default)]
pub struct CurrentTransaction {
    open: Mutex<Option<Arc<OpenTransaction>>>,
    temporary: Arc<Temporary>,
}

impl CurrentTransaction {
    /// The transaction, which `begin` makes where there is none.
    pub fn get_or_begin(&self, begin: impl FnOnce() -> OpenTransaction) -> Arc<OpenTransaction> {
        Arc::clone(self.open.lock().get_or_insert_with(|| Arc::new(begin())))
    }

    /// The transaction, if there is one.
    pub fn get(&self) -> Option<Arc<OpenTransaction>> {
        self.open.lock().clone()
    }

    /// Takes the transaction out, if there is one.
    pub fn take(&self) -> Option<Arc<OpenTransaction>> {
        self.open.lock().take()
    }

    /// The temporary tables of the session that has the configuration; none outside of one.
    pub fn temporary_of(config: &SessionConfig) -> Arc<Temporary> {
        let current = config.get_extension::<Self>();
        let temporary = current.map(|current| Arc::clone(&current.temporary));
        temporary.unwrap_or_default()
    }

    /// The temporary tables of the session.
    pub fn temporary(&self) -> &Arc<Temporary> {
        &self.temporary
    }

    /// What a statement reads that begins now: what the transaction sees, or the newest version.
    pub fn snapshot(&self, engine: &Engine) -> Arc<Snapshot> {
        match self.get() {
            Some(transaction) => transaction.snapshot(),
            None => self.temporary.over(engine.committer.snapshot()),
        }
    }
}

/// What one statement does to the rows of a collection.
pub(super) struct Written<'a> {
    pub collection: CollectionId,
    pub removed: &'a Removed,
    pub appended: Option<RecordBatch>,
    pub files: Vec<SegmentFile>,
    /// The unique keys that it has to do with.
    pub keys: KeyUse,
    /// What foreign keys look at when the transaction commits.
    pub deferred: Vec<Check>,
}

/// A transaction that is not committed. When it is dropped, nothing is left of it.
///
/// In the configuration of a session it makes statements write into it instead of committing.
pub struct OpenTransaction {
    engine: Arc<Engine>,
    began: DateTime<Utc>,
    base: Arc<Snapshot>,
    temporary: Arc<Temporary>,
    pending: Mutex<Pending>,
}

struct Pending {
    snapshot: Arc<Snapshot>,
    /// Changes that are not of rows, and truncations.
    definitions: Vec<Change>,
    keys: KeyUse,
    /// What foreign keys look at by COMMIT.
    deferred: Vec<Check>,
    /// Which of them do.
    deferral: Deferral,
    files: Vec<SegmentFile>,
    /// The collections whose rows changed.
    touched: BTreeSet<CollectionId>,
    /// Where added rows go.
    growing: HashMap<CollectionId, SegmentId>,
    savepoints: Vec<Savepoint>,
    memory: MemoryReservation,
    /// Advisory locks that are free when it ends.
    locks: Vec<HeldLock>,
    /// A statement that was planned before the end must not write into what is gone.
    has_ended: bool,
}

/// How far the transaction was.
struct Savepoint {
    snapshot: Arc<Snapshot>,
    definitions: usize,
    keys: KeyUseLengths,
    deferred: usize,
    deferral: Deferral,
    files: usize,
}

impl fmt::Debug for OpenTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenTransaction")
            .field("base", &self.base.version())
            .finish_non_exhaustive()
    }
}

impl OpenTransaction {
    /// A transaction that reads the newest version; the rows it adds take memory of the pool until they are sealed.
    pub fn begin(
        engine: Arc<Engine>,
        pool: &Arc<dyn MemoryPool>,
        temporary: Arc<Temporary>,
    ) -> Self {
        let base = temporary.over(engine.committer.snapshot());
        Self::over(engine, pool, temporary, base)
    }

    /// A transaction that reads `base`.
    pub fn over(
        engine: Arc<Engine>,
        pool: &Arc<dyn MemoryPool>,
        temporary: Arc<Temporary>,
        base: Arc<Snapshot>,
    ) -> Self {
        let pending = Pending {
            snapshot: Arc::clone(&base),
            definitions: Vec::new(),
            keys: KeyUse::default(),
            deferred: Vec::new(),
            deferral: Deferral::default(),
            files: Vec::new(),
            touched: BTreeSet::new(),
            growing: HashMap::new(),
            savepoints: Vec::new(),
            memory: MemoryConsumer::new("transaction").register(pool),
            locks: Vec::new(),
            has_ended: false,
        };
        Self {
            engine,
            began: Utc::now(),
            base,
            temporary,
            pending: Mutex::new(pending),
        }
    }

    /// When it began: the time of `now()` in all of its statements.
    pub fn began(&self) -> DateTime<Utc> {
        self.began
    }

    /// What its next statement reads.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.pending.lock().snapshot)
    }

    /// Whether the transaction made or altered the sequence, which it sees as `seen`.
    pub(super) fn alters(&self, seen: &Sequence) -> bool {
        let base = self.base.sequence(seen.id);
        base.is_none_or(|base| base.generation != seen.generation || base.name != seen.name)
    }

    /// Holds an advisory lock until it ends.
    pub(super) fn hold(&self, lock: HeldLock) {
        let mut pending = self.pending.lock();
        if !pending.has_ended {
            pending.locks.push(lock);
        }
    }

    /// Makes changes of definitions, or truncates.
    ///
    /// # Errors
    /// Those of [`Snapshot::apply`], 53200 when there is no memory for them. Nothing has changed then.
    pub fn define(&self, changes: Vec<Change>) -> Result<()> {
        let mut pending = self.pending.lock();
        pending.check_open()?;
        let before = Arc::clone(&pending.snapshot);
        let after = Arc::new(before.with_pending(&changes)?);
        pending.snapshot = Arc::clone(&after);
        let definitions = pending.definitions.len();
        if changes.iter().any(|c| matches!(c, Change::Truncate(_))) {
            // The place of a row in a segment never changes, so new rows need a new one.
            pending.growing.clear();
        }
        // What became of temporary relations is told by the snapshot.
        let lasts = |c: &Change| !before.is_temporary(c) && !after.is_temporary(c);
        pending
            .definitions
            .extend(changes.into_iter().filter(lasts));
        pending.reserve().inspect_err(|_| {
            pending.definitions.truncate(definitions);
            pending.snapshot = before;
        })
    }

    /// Changes rows.
    ///
    /// # Errors
    /// Those of [`Snapshot::apply`], 53200 when there is no memory for the rows. Nothing has changed then.
    pub(super) fn write(&self, written: Written<'_>) -> Result<()> {
        let id = written.collection;
        let removed = written.removed.iter();
        let mut changes: Vec<Change> = removed
            .map(|(segment, rows)| Change::Delete(id, *segment, rows.clone()))
            .collect();
        if !written.files.is_empty() {
            let segments = written.files.iter().map(|f| f.segment().clone());
            changes.push(Change::AddSegments(id, segments.collect()));
        }
        let mut pending = self.pending.lock();
        pending.check_open()?;
        if let Some(rows) = written.appended {
            let temporary = pending.snapshot.collection_by_id(id);
            let temporary = temporary.filter(|c| c.is_temporary());
            // Nobody else adds rows to the segment of a temporary table.
            let begun = temporary.and_then(|c| c.growing().last()).map(|g| g.id);
            let allocate =
                || begun.unwrap_or_else(|| SegmentId(self.engine.committer.allocate_id()));
            let segment = *pending.growing.entry(id).or_insert_with(allocate);
            changes.push(Change::Append(Append {
                collection: id,
                segment,
                rows,
            }));
        }
        let before = Arc::clone(&pending.snapshot);
        pending.snapshot = Arc::new(before.with_pending(&changes)?);
        pending.touched.insert(id);
        let keys = pending.keys.lengths();
        let deferred = pending.deferred.len();
        pending.keys.append(written.keys);
        pending.deferred.extend(written.deferred);
        if let Err(error) = pending.reserve() {
            pending.snapshot = before;
            pending.keys.truncate(keys);
            pending.deferred.truncate(deferred);
            return Err(error.with_hint("Load large data with COPY, or in smaller transactions."));
        }
        pending.files.extend(written.files);
        Ok(())
    }

    /// Writes the rows that were added to a collection as a sealed segment, if they have become many.
    ///
    /// # Errors
    /// 58030 or 53100 for what the disk says.
    pub(super) async fn seal_if_large(&self, id: CollectionId) -> Result<()> {
        let Some((collection, growing)) = self.large(id) else {
            return Ok(());
        };
        let (engine, rows) = (Arc::clone(&self.engine), Arc::clone(&growing));
        let write = move || seal(engine, &collection, &rows);
        let file = tokio::task::spawn_blocking(write)
            .await
            .map_err(|e| Error::internal(format!("the writer of a segment ended: {e}")))??;
        let mut pending = self.pending.lock();
        pending.check_open()?;
        let replace = Change::Replace(Replace {
            collection: id,
            inputs: vec![growing.id],
            outputs: vec![file.segment().clone()],
        });
        pending.snapshot = Arc::new(pending.snapshot.with_pending(&[replace])?);
        pending.growing.remove(&id);
        // Should the segment come back, then without the rows of this transaction.
        self.engine.keys.remove(growing.id);
        pending.files.push(file);
        pending.reserve()
    }

    /// The growing segment of a collection that should be sealed.
    fn large(&self, id: CollectionId) -> Option<(Arc<Collection>, Arc<GrowingSegment>)> {
        let pending = self.pending.lock();
        let segment = pending.growing.get(&id)?;
        let collection = pending.snapshot.collection_by_id(id)?;
        let growing = collection.growing_segment(*segment)?;
        let settings = collection.options.settings(&self.engine.settings);
        let is_large = growing.bytes > settings.growing_max_size.0;
        (is_large && growing.live_rows() > 0).then(|| (Arc::clone(collection), Arc::clone(growing)))
    }

    /// Marks a place to which it can go back: the last of those that it has.
    pub fn savepoint(&self) {
        let mut pending = self.pending.lock();
        let savepoint = Savepoint {
            snapshot: Arc::clone(&pending.snapshot),
            definitions: pending.definitions.len(),
            keys: pending.keys.lengths(),
            deferred: pending.deferred.len(),
            deferral: pending.deferral.clone(),
            files: pending.files.len(),
        };
        pending.savepoints.push(savepoint);
    }

    /// Forgets all but the first `kept` savepoints.
    pub fn release(&self, kept: usize) {
        self.pending.lock().savepoints.truncate(kept);
    }

    /// Undoes what came after the last of the first `kept` savepoints, which stays.
    pub fn roll_back_to(&self, kept: usize) {
        let mut pending = self.pending.lock();
        let pending = &mut *pending;
        pending.savepoints.truncate(kept);
        if let Some(savepoint) = pending.savepoints.last() {
            pending.snapshot = Arc::clone(&savepoint.snapshot);
            pending.definitions.truncate(savepoint.definitions);
            pending.keys.truncate(savepoint.keys);
            pending.deferred.truncate(savepoint.deferred);
            pending.deferral = savepoint.deferral.clone();
            pending.files.truncate(savepoint.files);
            // Indexes of keys may know rows that are gone: later rows go elsewhere.
            self.forget_keys(pending);
            pending.growing.clear();
            // Less than before.
            let _ = pending.reserve();
        }
    }

    /// Commits what was done, or takes back what was begun when it failed.
    ///
    /// # Errors
    /// That of what failed, or those of [`OpenTransaction::commit`].
    pub async fn end<T>(&self, done: Result<T>, durability: Durability) -> Result<T> {
        match done {
            Ok(answer) => {
                self.commit(durability).await?;
                Ok(answer)
            }
            Err(error) => {
                self.roll_back();
                Err(error)
            }
        }
    }

    /// Commits it; definitions are always synced. After an error nothing is left of it. Once begun it goes on to its end, also when nobody waits.
    ///
    /// # Errors
    /// 40001 when a concurrent commit won, 42P07 and the like when it took a name, and the errors of
    /// [`Committer::commit`](crate::storage::committer::Committer::commit).
    pub async fn commit(&self, durability: Durability) -> Result<()> {
        if let Err(error) = self.check_deferred(|_, _| true).await {
            self.roll_back();
            return Err(error);
        }
        let committed = self.commit_once(durability).await;
        if committed.is_err() {
            self.forget_keys(&self.pending.lock());
        }
        committed
    }

    /// Which foreign keys are looked at by COMMIT.
    pub(super) fn deferral(&self) -> Deferral {
        self.pending.lock().deferral.clone()
    }

    /// Says which foreign keys are looked at by COMMIT from now on. Those that are not any more are looked at now.
    ///
    /// # Errors
    /// 23503 for rows that do not keep one; then nothing has changed.
    pub async fn defer(&self, change: impl FnOnce(&mut Deferral)) -> Result<()> {
        let mut deferral = self.deferral();
        change(&mut deferral);
        self.check_deferred(|child, key| !deferral.defers(child, key))
            .await?;
        self.pending.lock().deferral = deferral;
        Ok(())
    }

    /// Looks at what was put off of some foreign keys.
    async fn check_deferred(
        &self,
        wanted: impl Fn(CollectionId, &ForeignKey) -> bool,
    ) -> Result<()> {
        let (checks, snapshot) = {
            let pending = self.pending.lock();
            let checks = pending.deferred.iter().filter(|check| {
                let (child, key) = check.of();
                wanted(child, key)
            });
            let checks: Vec<Check> = checks.cloned().collect();
            (checks, Arc::clone(&pending.snapshot))
        };
        Check::run_all(checks, &self.engine, &snapshot).await
    }

    async fn commit_once(&self, durability: Durability) -> Result<()> {
        let Closed {
            mut transaction,
            files,
            temporary,
        } = self.close()?;
        let temporary = temporary.map(|became| (self.base.temporary(), became));
        if let Some((read, _)) = &temporary {
            self.temporary.check(read)?;
        }
        if !transaction.changes.iter().any(Change::defines) {
            transaction.durability = durability;
        }
        commit_with_files(&self.engine, transaction, files)
            .await
            .map_err(|(error, _files)| error)?;
        if let Some((read, became)) = temporary {
            self.temporary.install(&read, became);
        }
        Ok(())
    }

    /// Drops what it changed, and its files.
    pub fn roll_back(&self) {
        let mut pending = self.pending.lock();
        self.forget_keys(&pending);
        pending.end();
        pending.snapshot = Arc::clone(&self.base);
        pending.definitions.clear();
        pending.keys = KeyUse::default();
        pending.deferred.clear();
        pending.files.clear();
    }

    /// Forgets the keys of rows that it added to segments which get others instead: those of temporary tables.
    fn forget_keys(&self, pending: &Pending) {
        for (id, segment) in &pending.growing {
            let seen = [&self.base, &pending.snapshot].into_iter();
            let mut seen = seen.filter_map(|snapshot| snapshot.collection_by_id(*id));
            if seen.any(|collection| collection.is_temporary()) {
                self.engine.keys.remove(*segment);
            }
        }
    }

    /// Ends it: what is to be committed and the files that it names, and what stays with the session.
    fn close(&self) -> Result<Closed> {
        let mut pending = self.pending.lock();
        let pending = &mut *pending;
        pending.end();
        let touched = std::mem::take(&mut pending.touched);
        let now = std::mem::replace(&mut pending.snapshot, Arc::clone(&self.base));
        let mut changes = std::mem::take(&mut pending.definitions);
        let is_temporary = |id: &CollectionId| {
            let seen = [&self.base, &now].into_iter();
            let mut seen = seen.filter_map(|snapshot| snapshot.collection_by_id(*id));
            seen.any(|collection| collection.is_temporary())
        };
        let lasting = touched.into_iter().filter(|id| !is_temporary(id));
        let rows = row_changes(&self.base, &now, lasting)?;
        let files = std::mem::take(&mut pending.files).into_iter();
        let is_committed =
            |f: &SegmentFile| rows.iter().any(|change| names(change, f.segment().id));
        let (files, own): (Vec<_>, Vec<_>) = files.partition(is_committed);
        changes.extend(rows);
        let mut transaction = Transaction::new(self.base.version(), changes);
        let mut keys = std::mem::take(&mut pending.keys);
        keys.retain(|id| !is_temporary(id));
        transaction.keys = keys.joined();
        let temporary = match now.has_temporary_schema() {
            true => Some(pending.kept(&now, own)?),
            false => None,
        };
        Ok(Closed {
            transaction,
            files,
            temporary,
        })
    }
}

/// What is left of a transaction that ends well.
struct Closed {
    transaction: Transaction,
    files: Vec<SegmentFile>,
    /// `None` where the session has no temporary tables.
    temporary: Option<Became>,
}

impl Pending {
    /// What it made of the temporary tables, with the files that are theirs among those which no commit names.
    ///
    /// # Errors
    /// 53200 when there is no memory for the rows.
    fn kept(&self, now: &Snapshot, files: Vec<SegmentFile>) -> Result<Became> {
        let relations = now.temporary();
        let memory = self.memory.new_empty();
        memory.try_resize(relations.growing_bytes() as usize)?;
        Ok(Became {
            relations,
            files,
            memory,
        })
    }

    fn end(&mut self) {
        self.has_ended = true;
        self.savepoints.clear();
        self.memory.free();
        self.locks.clear();
    }

    fn check_open(&self) -> Result<()> {
        if !self.has_ended {
            return Ok(());
        }
        let message = "the transaction that the statement was part of has ended";
        Err(Error::invalid(sqlstate::INVALID_TRANSACTION_STATE, message))
    }

    /// Accounts for the memory that it takes.
    ///
    /// # Errors
    /// 53200 when there is not so much.
    fn reserve(&self) -> Result<()> {
        let own = |id: &CollectionId| {
            self.snapshot
                .collection_by_id(*id)
                .zip(self.growing.get(id))
        };
        let growing = self.touched.iter().filter_map(own);
        let growing = growing.filter_map(|(c, segment)| c.growing_segment(*segment));
        let rows: u64 = growing.map(|growing| growing.bytes).sum();
        let changes = (self.keys.lists() + self.definitions.len()) * CHANGE_BYTES;
        let deferred: usize = self.deferred.iter().map(Check::bytes).sum();
        let bytes = rows as usize + self.keys.hashes() * 8 + deferred + changes;
        Ok(self.memory.try_resize(bytes)?)
    }
}

/// Writes the live rows of a growing segment in today's columns.
fn seal(
    engine: Arc<Engine>,
    collection: &Collection,
    growing: &GrowingSegment,
) -> Result<SegmentFile> {
    let fields: Vec<FieldId> = collection.schema.columns.iter().map(|c| c.id).collect();
    let batches = growing.live_batches()?;
    let adapted = batches
        .iter()
        .map(|batch| adapt_batch(batch, &collection.schema, &fields));
    write_segment(engine, collection, &adapted.collect::<Result<Vec<_>>>()?)
}

fn names(change: &Change, id: SegmentId) -> bool {
    matches!(change, Change::AddSegments(_, segments) if segments.iter().any(|s| s.id == id))
}
