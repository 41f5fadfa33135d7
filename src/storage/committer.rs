//! The committer: a handle on the only writer of the log, and so of the database.
//!
//! ```text
//! nobody else commits:  session --------------- judge, write, sync, publish -> goes on
//! many at a time:       session -> queue ~~> thread: the same for all that wait -> answers ~~> session
//! ```
//! `~~>` wakes another thread, which takes about as long as the disk. So a session that is alone writes itself; those
//! that come meanwhile are the next group.

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, MutexGuard, RwLock};
use tokio::sync::{mpsc, oneshot, watch};

use super::conflict::Prepared;
use super::group_writer::{Answer, GroupWriter, Request};
use super::history::History;
pub use super::history::{Step, VersionInfo};
use super::recovery::{Opened, recover};
use super::schema::{CollectionId, SegmentId, Version};
use super::snapshot::Snapshot;
use super::store::Store;
pub use super::transaction::{Durability, RowMap, Transaction};
use super::vacuum::{self, VacuumOptions, Vacuumed};
use super::writer_thread;
use crate::error::{Error, ErrorKind, Result, sqlstate};
use crate::metrics::Metrics;
use crate::settings::Settings;

/// Transactions that may wait for the writer; more wait outside.
const QUEUE_MAX: usize = 1_024;

/// How the committer keeps its log and its history.
#[derive(Debug, Clone, PartialEq)]
pub struct CommitterOptions {
    /// How long a version can be queried after a newer one came.
    pub retention: Duration,
    /// Bytes of log after which a checkpoint is written.
    pub checkpoint_log_bytes: u64,
    /// Commits after which a checkpoint is written.
    pub checkpoint_commits: u64,
}

impl From<&Settings> for CommitterOptions {
    fn from(settings: &Settings) -> Self {
        Self {
            retention: settings.retention_duration,
            checkpoint_log_bytes: settings.checkpoint_log_size.0,
            checkpoint_commits: settings.checkpoint_commits,
        }
    }
}

/// A cheap handle on the one that writes. Its thread ends, and the store is free again, when the last handle is
/// dropped.
#[derive(Debug, Clone)]
pub struct Committer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    /// Whoever has the lock writes.
    writer: Arc<Mutex<GroupWriter>>,
    requests: Option<mpsc::Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

/// What the handles and the thread have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) store: Arc<Store>,
    pub(super) next_id: AtomicU64,
    pub(super) published: RwLock<Arc<Snapshot>>,
    pub(super) history: Mutex<History>,
    pub(super) versions: watch::Sender<Version>,
    pub(super) metrics: Metrics,
    /// Why nothing can be written any more.
    pub(super) failed: OnceLock<String>,
}

impl Shared {
    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.published.read())
    }

    /// The error of everything that would write after a failure.
    pub(super) fn unavailable(&self) -> Error {
        let why = self.failed.get().map_or("its writer ended", String::as_str);
        let message = format!("the database is read-only: {why}");
        Error::new(ErrorKind::Unavailable, sqlstate::IO_ERROR, message)
            .with_hint("Reopen the database: that shows whether the last transactions were kept.")
    }
}

impl Committer {
    /// Recovers the database from its newest checkpoint and the log after it, and starts the thread.
    ///
    /// # Errors
    /// XX001 naming file and offset for bytes that are not what was written, 58030 for what the disk says.
    pub fn open(store: Arc<Store>, options: CommitterOptions) -> Result<Self> {
        let Opened {
            history,
            recovered,
            next_id,
        } = recover(&store, options.retention)?;
        let snapshot = Arc::clone(history.newest());
        let shared = Arc::new(Shared {
            store,
            next_id: AtomicU64::new(next_id),
            history: Mutex::new(history),
            versions: watch::Sender::new(snapshot.version()),
            published: RwLock::new(snapshot),
            metrics: Metrics::default(),
            failed: OnceLock::new(),
        });
        let (requests, queue) = mpsc::channel(QUEUE_MAX);
        let writer = GroupWriter::new(Arc::clone(&shared), &options, recovered)?;
        let writer = Arc::new(Mutex::new(writer));
        let thread = writer_thread::start(Arc::clone(&writer), queue)?;
        let inner = Inner {
            shared,
            writer,
            requests: Some(requests),
            thread: Some(thread),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The newest durable version.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.inner.shared.snapshot()
    }

    /// A recent version.
    ///
    /// # Errors
    /// 72000 when it is no longer kept, 42704 when it is yet to come.
    pub fn snapshot_at(&self, version: Version) -> Result<Arc<Snapshot>> {
        let history = self.inner.shared.history.lock();
        if let Some(found) = history.get(version) {
            return Ok(Arc::clone(found));
        }
        let newest = history.newest().version();
        if version > newest {
            let message = format!("version {version} does not exist; the newest is {newest}");
            return Err(Error::not_found(sqlstate::UNDEFINED_OBJECT, message));
        }
        let message = format!("version {version} is no longer kept");
        Err(too_old(message, history.oldest()))
    }

    /// The newest version that was there at a time, milliseconds since 1970 UTC.
    ///
    /// # Errors
    /// 72000 when it is no longer kept.
    pub fn snapshot_as_of(&self, timestamp_ms: i64) -> Result<Arc<Snapshot>> {
        let history = self.inner.shared.history.lock();
        let found = history.as_of(timestamp_ms);
        found.map(Arc::clone).ok_or_else(|| {
            let message = "the version of that time is no longer kept".to_string();
            too_old(message, history.oldest())
        })
    }

    /// What the commits from `first` to `last` did, oldest first.
    ///
    /// # Errors
    /// 72000 when the version before one of them is no longer kept, 42704 when one is yet to come.
    pub fn steps(&self, first: Version, last: Version) -> Result<Vec<Step>> {
        self.snapshot_at(last)?;
        let history = self.inner.shared.history.lock();
        let steps = (first.0..=last.0).map(|version| {
            history.step(Version(version)).ok_or_else(|| {
                let message = format!("what version {version} changed is no longer known");
                too_old(message, Version(history.oldest().0 + 1))
            })
        });
        steps.collect()
    }

    /// What was counted since it was opened.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.shared.metrics
    }

    /// Whether nothing can be written any more, because the log could not be.
    pub fn is_read_only(&self) -> bool {
        self.inner.shared.failed.get().is_some()
    }

    /// What is known of recent versions, oldest first.
    pub fn versions(&self) -> Vec<VersionInfo> {
        self.inner.shared.history.lock().infos()
    }

    /// A number that no collection, segment or job of this database has had. A number that came into no commit and
    /// no file may be given again after a reopen: nobody can know it then.
    pub fn allocate_id(&self) -> u64 {
        self.inner.shared.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Tells of every new version; of several that come together only the last.
    pub fn subscribe(&self) -> watch::Receiver<Version> {
        self.inner.shared.versions.subscribe()
    }

    /// Commits a transaction; the answer comes when it is durable, and is the snapshot that it made.
    ///
    /// A transaction without changes makes no version. After an error of kind [`ErrorKind::Unavailable`], and when the
    /// future is dropped, the commit may still be in the log: segment files that it names must stay (the next open
    /// removes those that no version names). After any other error it has not happened, and the caller removes its
    /// files.
    ///
    /// # Errors
    /// 40001 when a concurrent commit won, the errors of [`Snapshot::apply`], 58030 when the log cannot be written,
    /// 53100 when the disk is full, 54000 for a transaction too large for one commit.
    pub async fn commit(&self, transaction: Transaction) -> Result<Arc<Snapshot>> {
        // Encoded here, so that the one writing thread does not have to.
        let prepared = Prepared::new(transaction)?;
        if prepared.is_empty() {
            return Ok(self.snapshot());
        }
        let (answer, answered) = oneshot::channel();
        match self.lead(prepared, answer) {
            None => self.answer(answered).await,
            Some(request) => self.request(request, answered).await,
        }
    }

    /// Commits on the thread of the caller, if nobody else commits and it takes little; else gives back what is to be
    /// queued.
    fn lead(&self, prepared: Prepared, answer: Answer) -> Option<Request> {
        let bytes = prepared.bytes;
        let request = Request::Commit(Box::new(prepared), answer);
        let Some(queue) = &self.inner.requests else {
            return Some(request);
        };
        let is_empty = queue.capacity() == queue.max_capacity();
        let writer = self.inner.writer.try_lock().filter(|_| is_empty);
        let Some(mut writer) = writer.filter(|writer| writer.is_quick(bytes)) else {
            return Some(request);
        };
        let due = writer.due();
        writer.write_group(request, || None);
        if due.is_none() && writer.due().is_some() {
            // When there is no room in the queue, the thread looks anyway.
            let _ = queue.try_send(Request::Unwritten);
        }
        // The thread may have a group that came meanwhile.
        MutexGuard::unlock_fair(writer);
        None
    }

    /// Ends the growth of a growing segment: later rows go to another. The answer has all rows it will ever have.
    ///
    /// # Errors
    /// 40001 when there is no such growing segment (any more), 58030 when the log cannot be written.
    pub async fn freeze(
        &self,
        collection: CollectionId,
        segment: SegmentId,
    ) -> Result<Arc<Snapshot>> {
        let (answer, answered) = oneshot::channel();
        let request = Request::Freeze(collection, segment, answer);
        self.request(request, answered).await
    }

    /// Deletes the files of segments that no version needs which anybody can reach. Whoever has an [`super::engine::Engine`]
    /// calls its vacuum, which closes the files too.
    ///
    /// # Errors
    /// 58030 for what the disk says; what is left is tried again next time.
    pub fn vacuum(&self, options: &VacuumOptions) -> Result<Vacuumed> {
        let shared = &self.inner.shared;
        let of = options.collections.as_deref();
        let (newest, unreachable) = {
            let mut history = shared.history.lock();
            let retention = options.retention.unwrap_or(history.retention());
            if options.dry_run {
                let files = history.unreachable_after(retention, now_ms(), of);
                drop(history);
                return Ok(vacuum::count(&shared.store, &files));
            }
            history.trim_to(retention, now_ms());
            drop(history.take_spent());
            (Arc::clone(history.newest()), history.take_unreachable(of))
        };
        vacuum::remove_unreachable(&shared.store, &newest, unreachable).map_err(|(left, error)| {
            shared.history.lock().retire(left);
            error
        })
    }

    /// Whether a vacuum would find files to delete: asked often, it costs little.
    pub fn has_unreachable_files(&self) -> bool {
        let history = self.inner.shared.history.lock();
        let unreachable = history.unreachable_after(history.retention(), now_ms(), None);
        !unreachable.is_empty()
    }

    /// Frees what the last commits made needless, if nobody else is at it. Whoever has sent the answer to a commit calls
    /// it: then nobody waits.
    pub fn free_spent(&self) {
        let history = self.inner.shared.history.try_lock();
        let spent = history.map(|mut history| history.take_spent());
        drop(spent);
    }

    async fn request(
        &self,
        request: Request,
        answered: oneshot::Receiver<Result<Arc<Snapshot>>>,
    ) -> Result<Arc<Snapshot>> {
        let unavailable = || self.inner.shared.unavailable();
        let requests = self.inner.requests.as_ref().ok_or_else(unavailable)?;
        requests.send(request).await.map_err(|_| unavailable())?;
        self.answer(answered).await
    }

    async fn answer(
        &self,
        answered: oneshot::Receiver<Result<Arc<Snapshot>>>,
    ) -> Result<Arc<Snapshot>> {
        let unavailable = |_| Err(self.inner.shared.unavailable());
        answered.await.unwrap_or_else(unavailable)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // The thread holds the store, and with it the lock of the directory.
            let _ = thread.join();
        }
    }
}

fn too_old(message: String, oldest: Version) -> Error {
    let message = format!("{message}; the oldest is {oldest}");
    Error::new(ErrorKind::NotFound, sqlstate::SNAPSHOT_TOO_OLD, message).with_hint(
        "SELECT * FROM shelfmark.versions shows what is kept, which retention_duration says.",
    )
}

/// Milliseconds since 1970 UTC.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}
