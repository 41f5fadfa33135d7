//! The thread that writes checkpoints while commits go on.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use super::checkpoint;
use super::committer::CommitterOptions;
use super::schema::Version;
use super::snapshot::Snapshot;
use super::store::Store;
use crate::error::{Error, Result};

/// How much log there is after the newest checkpoint.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Recovered {
    pub(super) log_bytes: u64,
    pub(super) commits: u64,
}

/// What a checkpoint is written of, and the oldest version that is kept then.
type Work = (Arc<Snapshot>, Version);

/// A handle on the thread, and the count of what was committed since it was last given work.
#[derive(Debug)]
pub(super) struct Checkpointer {
    since: Recovered,
    log_bytes_max: u64,
    commits_max: u64,
    work: Option<SyncSender<Work>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// Starts the thread.
    pub(super) fn start(
        store: Arc<Store>,
        options: &CommitterOptions,
        since: Recovered,
    ) -> Result<Self> {
        // Without room in the channel a snapshot is offered only when the thread waits for one.
        let (work, waiting) = sync_channel(0);
        let thread = Builder::new()
            .name("shelfmark-checkpoint".into())
            .spawn(move || run(&store, &waiting))
            .map_err(|e| Error::io("start the checkpoint thread", e))?;
        Ok(Self {
            since,
            log_bytes_max: options.checkpoint_log_bytes,
            commits_max: options.checkpoint_commits,
            work: Some(work),
            thread: Some(thread),
        })
    }

    /// Counts a group of commits; whether a checkpoint of `newest` began.
    pub(super) fn wrote(
        &mut self,
        newest: &Arc<Snapshot>,
        oldest_kept: impl FnOnce() -> Version,
        commits: u64,
        bytes: u64,
    ) -> bool {
        self.since.commits += commits;
        self.since.log_bytes += bytes;
        let due =
            self.since.commits >= self.commits_max || self.since.log_bytes >= self.log_bytes_max;
        let work = self.work.as_ref().filter(|_| due);
        // While one is written, the next waits for a later commit.
        let send = |work: &SyncSender<Work>| work.try_send((Arc::clone(newest), oldest_kept()));
        if work.is_none_or(|work| send(work).is_err()) {
            return false;
        }
        self.since = Recovered::default();
        true
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.work = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(store: &Store, waiting: &Receiver<Work>) {
    while let Ok((snapshot, oldest_kept)) = waiting.recv() {
        let version = snapshot.version();
        match checkpoint::write(store, &snapshot, oldest_kept) {
            Ok(bytes) => tracing::info!(%version, bytes, "checkpoint written"),
            // The log has everything: only opening takes longer.
            Err(error) => tracing::error!(%version, %error, "checkpoint not written"),
        }
    }
}
