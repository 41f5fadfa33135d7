//! The committer: the only writer of the log, and so of the database.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::change::{Change, Commit};
use super::schema::{CollectionId, SegmentId, Version};
use super::snapshot::Snapshot;
use super::store::Store;
use super::transaction::Transaction;
use crate::error::{Error, ErrorKind, Result, sqlstate};
use crate::settings::Settings;

/// The most versions that can be queried besides the newest.
const HISTORY_VERSIONS_MAX: usize = 1_000;

/// How the committer keeps its log and its history.
#[derive(Debug, Clone, PartialEq)]
pub struct CommitterOptions {
    /// How long versions can be queried after a newer one came.
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

/// What `shelfmark.versions` says of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionInfo {
    /// The version.
    pub version: Version,
    /// When it was made, milliseconds since 1970 UTC.
    pub timestamp_ms: i64,
    /// What its commit did, in a few words.
    pub summary: String,
    /// Whether it can still be queried.
    pub retained: bool,
}

/// A cheap handle on the one thread that writes.
#[derive(Debug, Clone)]
pub struct Committer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    _store: Arc<Store>,
    next_id: AtomicU64,
    published: RwLock<Arc<Snapshot>>,
    state: Mutex<State>,
    versions: watch::Sender<Version>,
}

#[derive(Debug, Default)]
struct State {
    history: VecDeque<(Arc<Snapshot>, VersionInfo)>,
    frozen: HashSet<SegmentId>,
}

impl Committer {
    /// Recovers the database from its checkpoint and log, and starts the thread.
    ///
    /// # Errors
    /// XX001 naming file and offset for bytes that are not what was written, 58030 for what the disk says.
    pub fn open(store: Arc<Store>, _options: CommitterOptions) -> Result<Self> {
        let snapshot = Arc::new(Snapshot::empty());
        let inner = Inner {
            _store: store,
            next_id: AtomicU64::new(snapshot.next_id()),
            versions: watch::Sender::new(snapshot.version()),
            published: RwLock::new(snapshot),
            state: Mutex::default(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The newest durable version.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.inner.published.read())
    }

    /// A recent version.
    ///
    /// # Errors
    /// 72000 when it is no longer kept, 42704 when it is yet to come.
    pub fn snapshot_at(&self, version: Version) -> Result<Arc<Snapshot>> {
        let newest = self.snapshot();
        if version == newest.version() {
            return Ok(newest);
        }
        if version > newest.version() {
            let message = format!(
                "version {version} does not exist; the newest is {}",
                newest.version()
            );
            return Err(Error::not_found(sqlstate::UNDEFINED_OBJECT, message));
        }
        let state = self.inner.state.lock();
        let found = state.history.iter().find(|(s, _)| s.version() == version);
        found.map(|(s, _)| Arc::clone(s)).ok_or_else(|| {
            let message = format!("version {version} is no longer kept");
            Error::new(ErrorKind::NotFound, sqlstate::SNAPSHOT_TOO_OLD, message)
        })
    }

    /// What is known of recent versions, oldest first.
    pub fn versions(&self) -> Vec<VersionInfo> {
        let state = self.inner.state.lock();
        state.history.iter().map(|(_, info)| info.clone()).collect()
    }

    /// A number that no collection, segment or job of this database has had.
    pub fn allocate_id(&self) -> u64 {
        self.inner.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Tells of every new version.
    pub fn subscribe(&self) -> watch::Receiver<Version> {
        self.inner.versions.subscribe()
    }

    /// Commits a transaction; the answer comes when it is durable, and is the snapshot that has it.
    ///
    /// A transaction without changes makes no version. After an error of kind [`ErrorKind::Unavailable`], and when
    /// the future is dropped, the commit may still be in the log: files it names must stay. After any other error it
    /// has not happened.
    ///
    /// # Errors
    /// 40001 when a concurrent commit won, the errors of [`Snapshot::apply`], 58030 when the log cannot be written.
    pub async fn commit(&self, transaction: Transaction) -> Result<Arc<Snapshot>> {
        let mut state = self.inner.state.lock();
        let current = self.snapshot();
        if transaction.changes.is_empty() {
            return Ok(current);
        }
        let mut changes = transaction.changes;
        for change in &mut changes {
            if let Change::Append(append) = change
                && append.segment == SegmentId(0)
            {
                let collection = current.collection_by_id(append.collection);
                let open = collection.and_then(|c| {
                    let mut newest_first = c.growing().iter().rev();
                    newest_first.find(|g| !state.frozen.contains(&g.id))
                });
                append.segment = match open {
                    Some(segment) => segment.id,
                    None => SegmentId(self.allocate_id()),
                };
            }
        }
        let commit = Commit {
            version: Version(current.version().0 + 1),
            timestamp_ms: now_ms().max(current.timestamp_ms()),
            changes,
        };
        let next = Arc::new(current.apply(&commit)?);
        let info = VersionInfo {
            version: next.version(),
            timestamp_ms: next.timestamp_ms(),
            summary: String::new(),
            retained: true,
        };
        state.history.push_back((Arc::clone(&next), info));
        if state.history.len() > HISTORY_VERSIONS_MAX {
            state.history.pop_front();
        }
        *self.inner.published.write() = Arc::clone(&next);
        self.inner.versions.send_replace(next.version());
        Ok(next)
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
        let mut state = self.inner.state.lock();
        let snapshot = self.snapshot();
        let found = snapshot
            .collection_by_id(collection)
            .and_then(|c| c.growing_segment(segment));
        if found.is_none() {
            return Err(Error::conflict(format!(
                "growing segment {segment} is gone"
            )));
        }
        state.frozen.insert(segment);
        Ok(snapshot)
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| d.as_millis() as i64)
}
