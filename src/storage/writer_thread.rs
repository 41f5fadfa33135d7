//! The thread that writes: takes what waits, judges it, makes all of it durable with one write, publishes it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use super::change::Commit;
use super::checkpointer::Checkpointer;
use super::codec::write_commit;
use super::committer::{CommitterOptions, Shared, now_ms};
use super::conflict::{Judge, Prepared};
use super::log::{Frame, LogWriter};
use super::schema::{CollectionId, SegmentId, Version};
use super::snapshot::Snapshot;
use crate::error::{Error, ErrorKind, Result};

/// Bytes after which a group of commits takes no more members.
const GROUP_BYTES_MAX: usize = 64 << 20;
/// Requests after which a group takes no more members.
const GROUP_MEMBERS_MAX: usize = 1_024;

pub(super) type Answer = oneshot::Sender<Result<Arc<Snapshot>>>;

/// What the handles ask for.
#[derive(Debug)]
pub(super) enum Request {
    Commit(Box<Prepared>, Answer),
    Freeze(CollectionId, SegmentId, Answer),
}

/// How much log there is after the newest checkpoint.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Recovered {
    pub(super) log_bytes: u64,
    pub(super) commits: u64,
}

/// What the thread has.
#[derive(Debug)]
pub(super) struct WriterThread {
    shared: Arc<Shared>,
    log: LogWriter,
    judge: Judge,
    checkpointer: Checkpointer,
}

/// The group of commits that one write makes durable.
struct Group {
    frame: Frame,
    /// The newest version, with the members so far.
    newest: Arc<Snapshot>,
    commits: Vec<(Arc<Snapshot>, Commit, Answer)>,
    /// Answers that wait only for the versions before them.
    freezes: Vec<Answer>,
}

impl WriterThread {
    /// Starts the thread; it ends when all senders of `queue` are gone.
    pub(super) fn start(
        shared: Arc<Shared>,
        options: CommitterOptions,
        recovered: Recovered,
        queue: mpsc::Receiver<Request>,
    ) -> Result<JoinHandle<()>> {
        let store = Arc::clone(&shared.store);
        let mut thread = Self {
            log: LogWriter::new(Arc::clone(&store)),
            judge: Judge::new(shared.snapshot().version()),
            checkpointer: Checkpointer::start(store, &options, recovered)?,
            shared,
        };
        Builder::new()
            .name("shelfmark-committer".into())
            .spawn(move || thread.run(queue))
            .map_err(|e| Error::io("start the committer thread", e))
    }

    fn run(&mut self, mut queue: mpsc::Receiver<Request>) {
        while let Some(first) = queue.blocking_recv() {
            // Whatever came while the last group was written is the next group: no timer is needed.
            let mut group = self.begin();
            let mut next = Some(first);
            let mut members = 0;
            while let Some(request) = next {
                self.take(&mut group, request);
                members += 1;
                let full = members >= GROUP_MEMBERS_MAX || group.frame.len() >= GROUP_BYTES_MAX;
                next = if full { None } else { queue.try_recv().ok() };
            }
            self.finish(group);
        }
    }

    fn begin(&self) -> Group {
        let newest = self.shared.snapshot();
        Group {
            frame: Frame::new(Version(newest.version().0 + 1)),
            newest,
            commits: Vec::new(),
            freezes: Vec::new(),
        }
    }

    fn take(&mut self, group: &mut Group, request: Request) {
        match request {
            Request::Commit(prepared, answer) => {
                if let Err((error, answer)) = self.take_commit(group, *prepared, answer) {
                    let _ = answer.send(Err(error));
                }
            }
            Request::Freeze(collection, segment, answer) => {
                let found = group.newest.collection_by_id(collection);
                if found.is_some_and(|c| c.growing_segment(segment).is_some()) {
                    self.judge.freeze(segment);
                    group.freezes.push(answer);
                } else {
                    let message = format!("growing segment {segment} is gone");
                    let _ = answer.send(Err(Error::conflict(message)));
                }
            }
        }
    }

    /// Makes a transaction a member of the group, or gives the answer back with the error that is its alone.
    fn take_commit(
        &mut self,
        group: &mut Group,
        prepared: Prepared,
        answer: Answer,
    ) -> Result<(), (Error, Answer)> {
        if self.shared.failed.get().is_some() {
            return Err((self.shared.unavailable(), answer));
        }
        let next_id = &self.shared.next_id;
        let allocate = || next_id.fetch_add(1, Ordering::Relaxed);
        let judged = match self.judge.judge(&group.newest, prepared, allocate) {
            Ok(judged) => judged,
            Err(error) => return Err((error, answer)),
        };
        let commit = Commit {
            version: Version(group.newest.version().0 + 1),
            timestamp_ms: now_ms().max(group.newest.timestamp_ms()),
            changes: judged.changes,
        };
        let next = match group.newest.apply(&commit) {
            Ok(next) => Arc::new(next),
            Err(error) => return Err((error, answer)),
        };
        write_commit(
            group.frame.payload(),
            commit.version,
            commit.timestamp_ms,
            &judged.records,
        );
        self.judge
            .accept(commit.version, &commit.changes, judged.evidence);
        group.newest = Arc::clone(&next);
        group.commits.push((next, commit, answer));
        Ok(())
    }

    fn finish(&mut self, group: Group) {
        if !group.commits.is_empty() {
            let commits = group.commits.len() as u64;
            let written = self.write(group.frame, commits);
            match written {
                Ok(bytes) => {
                    self.publish(group.commits);
                    let newest = &group.newest;
                    if self.checkpointer.wrote(newest, commits, bytes) {
                        self.log.rotate();
                    }
                }
                Err(error) => {
                    for (_, _, answer) in group.commits {
                        let _ = answer.send(Err(copy(&error)));
                    }
                }
            }
        }
        for answer in group.freezes {
            let _ = answer.send(Ok(self.shared.snapshot()));
        }
    }

    fn write(&mut self, frame: Frame, commits: u64) -> Result<u64> {
        self.log
            .reserve(&frame)
            .map_err(|error| match error.kind() {
                // Without room the group fails, and nothing else: no byte of it is in the log.
                ErrorKind::LimitExceeded => error,
                _ => self.fail(&error),
            })?;
        let begun = Instant::now();
        let written = self.log.append(frame).map_err(|error| self.fail(&error))?;
        let metrics = &self.shared.metrics;
        metrics.log_written(written, commits, begun.elapsed());
        Ok(written)
    }

    /// Makes the database read-only: after a failed sync the kernel may call lost pages clean, and trying again would
    /// prove nothing.
    fn fail(&self, error: &Error) -> Error {
        tracing::error!(%error, "the log cannot be written; the database is read-only until reopened");
        let _ = self.shared.failed.set(error.to_string());
        self.shared.unavailable()
    }

    fn publish(&self, commits: Vec<(Arc<Snapshot>, Commit, Answer)>) {
        let Some((newest, ..)) = commits.last() else {
            return;
        };
        let newest = Arc::clone(newest);
        {
            let mut history = self.shared.history.lock();
            for (snapshot, commit, _) in &commits {
                history.push(Arc::clone(snapshot), commit);
            }
            *self.shared.published.write() = Arc::clone(&newest);
        }
        self.shared.versions.send_replace(newest.version());
        for (snapshot, _, answer) in commits {
            let _ = answer.send(Ok(snapshot));
        }
    }
}

/// The same error for each member of a group.
fn copy(error: &Error) -> Error {
    let copied = Error::new(error.kind(), error.sqlstate(), error.message());
    match error.hint() {
        Some(hint) => copied.with_hint(hint),
        None => copied,
    }
}
