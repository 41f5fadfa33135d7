//! The one that writes the log: takes transactions that wait, judges them, makes all of them durable with one write,
//! publishes them.
//!
//! A group whose members all ask for [`Durability::Soon`] is published at once. Its frame stays open: the next groups go
//! into it, until a member wants to wait, the frame is large, or [`SOON`] has passed. So the log has no gaps, whatever a
//! crash takes away.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::change::Commit;
use super::checkpointer::{Checkpointer, Recovered};
use super::codec::write_commit;
use super::committer::{CommitterOptions, Shared, now_ms};
use super::conflict::{Judge, Prepared};
use super::log::{Frame, LogWriter};
use super::schema::{CollectionId, SegmentId, Version};
use super::snapshot::Snapshot;
use super::transaction::Durability;
use crate::error::{Error, ErrorKind, Result};

/// Bytes after which a group of commits takes no more members.
const GROUP_BYTES_MAX: usize = 64 << 20;
/// Requests after which a group takes no more members.
pub(super) const GROUP_MEMBERS_MAX: usize = 1_024;
/// How long a commit may wait to be written that nobody waits for.
const SOON: Duration = Duration::from_millis(100);
/// Bytes after which such commits are written at once.
const UNWRITTEN_BYTES_MAX: usize = 4 << 20;
/// A write of no more bytes takes as long as one of a single byte.
const QUICK_BYTES_MAX: usize = 64 << 10;
/// What has taken no longer than this can be done where other tasks wait for the thread.
const QUICK_TIME_MAX: Duration = Duration::from_millis(1);

pub(super) type Answer = oneshot::Sender<Result<Arc<Snapshot>>>;

/// What the handles ask for.
#[derive(Debug)]
pub(super) enum Request {
    Commit(Box<Prepared>, Answer),
    Freeze(CollectionId, SegmentId, Answer),
    /// Commits that nobody waits for are published, and have to be written in time.
    Unwritten,
}

impl Request {
    /// Whether somebody waits until it is on the disk.
    pub(super) fn waits(&self) -> bool {
        matches!(self, Self::Commit(prepared, _) if prepared.durability == Durability::Synced)
    }
}

/// Writes groups of commits, by turns for all who commit.
#[derive(Debug)]
pub(super) struct GroupWriter {
    shared: Arc<Shared>,
    log: LogWriter,
    judge: Judge,
    checkpointer: Checkpointer,
    unwritten: Option<Unwritten>,
    /// How long the last write took; of the first nothing is known.
    last_took: Duration,
}

/// Commits that are published and not yet written. There is room for them in the log.
#[derive(Debug)]
struct Unwritten {
    frame: Frame,
    commits: u64,
    since: Instant,
}

impl Unwritten {
    fn is_due(&self) -> bool {
        self.frame.len() >= UNWRITTEN_BYTES_MAX || self.since.elapsed() >= SOON
    }
}

/// A commit, what it makes, and who waits for it.
type Member = (Arc<Snapshot>, Commit, Answer);

/// The group of commits that one write makes durable.
struct Group {
    frame: Frame,
    /// What the frame had before.
    unwritten: Option<(usize, u64, Instant)>,
    /// Whether a member waits for the disk.
    waits: bool,
    /// The newest version, with the members so far.
    newest: Arc<Snapshot>,
    commits: Vec<Member>,
    /// Answers that wait only for the versions before them.
    freezes: Vec<Answer>,
}

impl GroupWriter {
    /// A writer after what was recovered.
    ///
    /// # Errors
    /// 58030 when the thread that writes checkpoints cannot be started.
    pub(super) fn new(
        shared: Arc<Shared>,
        options: &CommitterOptions,
        recovered: Recovered,
    ) -> Result<Self> {
        let store = Arc::clone(&shared.store);
        Ok(Self {
            log: LogWriter::new(Arc::clone(&store)),
            judge: Judge::new(shared.snapshot().version()),
            checkpointer: Checkpointer::start(store, options, recovered)?,
            unwritten: None,
            last_took: Duration::MAX,
            shared,
        })
    }

    /// Writes the first request, and whatever `next` has, as one group: what came while the last group was written is
    /// the next group.
    pub(super) fn write_group(
        &mut self,
        first: Request,
        mut next: impl FnMut() -> Option<Request>,
    ) {
        let shared = Arc::clone(&self.shared);
        let _unless_done = FailedByPanic(&shared);
        let mut group = self.begin();
        let mut request = Some(first);
        let mut members = 0;
        while let Some(taken) = request {
            self.take(&mut group, taken);
            members += 1;
            let full = members >= GROUP_MEMBERS_MAX || group.frame.len() >= GROUP_BYTES_MAX;
            request = if full { None } else { next() };
        }
        self.finish(group);
    }

    /// Whether a commit of so many bytes will take little: it is one small write into room that is there, on a disk that
    /// answered quickly the last time.
    pub(super) fn is_quick(&self, bytes: usize) -> bool {
        let bytes = bytes + self.unwritten.as_ref().map_or(0, |u| u.frame.len());
        bytes <= QUICK_BYTES_MAX && self.last_took <= QUICK_TIME_MAX && self.log.has_room(bytes)
    }

    /// How long the last write took, if that was long.
    pub(super) fn slow_write(&self) -> Option<Duration> {
        let took = self.last_took;
        (took > QUICK_TIME_MAX && took < Duration::MAX).then_some(took)
    }

    /// When commits that nobody waits for have to be written, if there are any.
    pub(super) fn due(&self) -> Option<Instant> {
        self.unwritten
            .as_ref()
            .map(|unwritten| unwritten.since + SOON)
    }

    fn begin(&mut self) -> Group {
        let newest = self.shared.snapshot();
        let (frame, unwritten) = match self.unwritten.take() {
            Some(before) => {
                let had = (before.frame.len(), before.commits, before.since);
                (before.frame, Some(had))
            }
            None => (Frame::new(Version(newest.version().0 + 1)), None),
        };
        Group {
            frame,
            unwritten,
            waits: false,
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
            Request::Unwritten => {}
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
        let waits = prepared.durability == Durability::Synced;
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
        group.waits |= waits;
        group.newest = Arc::clone(&next);
        group.commits.push((next, commit, answer));
        Ok(())
    }

    fn finish(&mut self, mut group: Group) {
        let freezes = std::mem::take(&mut group.freezes);
        if let Err((error, members)) = self.finish_commits(group) {
            for (_, _, answer) in members {
                let _ = answer.send(Err(copy(&error)));
            }
        }
        for answer in freezes {
            let _ = answer.send(Ok(self.shared.snapshot()));
        }
    }

    /// Publishes the group when it is written, or before, if nobody waits for it.
    fn finish_commits(&mut self, mut group: Group) -> Result<(), (Error, Vec<Member>)> {
        if group.commits.is_empty() && group.unwritten.is_none() {
            return Ok(());
        }
        if let Err(error) = self.reserve(&group.frame) {
            // The commits of before have room.
            if let Some((len, commits, since)) = group.unwritten {
                group.frame.truncate(len);
                self.unwritten = Some(Unwritten {
                    frame: group.frame,
                    commits,
                    since,
                });
            }
            return Err((error, group.commits));
        }
        let (_, before, since) = group.unwritten.unwrap_or((0, 0, Instant::now()));
        let unwritten = Unwritten {
            commits: before + group.commits.len() as u64,
            frame: group.frame,
            since,
        };
        if !group.waits && !unwritten.is_due() {
            self.unwritten = Some(unwritten);
            self.publish(group.commits);
            return Ok(());
        }
        let commits = unwritten.commits;
        match self.write(unwritten, group.newest.version()) {
            Ok(bytes) => {
                self.publish(group.commits);
                self.checkpoint_if_due(&group.newest, commits, bytes);
                Ok(())
            }
            Err(error) => Err((error, group.commits)),
        }
    }

    /// Writes the commits that nobody waits for.
    pub(super) fn write_unwritten(&mut self) {
        let shared = Arc::clone(&self.shared);
        let _unless_done = FailedByPanic(&shared);
        let Some(unwritten) = self.unwritten.take() else {
            return;
        };
        let (newest, commits) = (shared.snapshot(), unwritten.commits);
        // Of a failure the next commit tells.
        if let Ok(bytes) = self.write(unwritten, newest.version()) {
            self.checkpoint_if_due(&newest, commits, bytes);
        }
    }

    /// Writes a frame for which there is room, whose last commit is `newest`.
    fn write(&mut self, unwritten: Unwritten, newest: Version) -> Result<u64> {
        let begun = Instant::now();
        let written = self.log.append(unwritten.frame);
        let written = written.map_err(|error| self.fail(&error))?;
        self.last_took = begun.elapsed();
        let metrics = &self.shared.metrics;
        metrics.log_written(written, unwritten.commits, self.last_took);
        self.shared.history.lock().written(newest);
        Ok(written)
    }

    fn checkpoint_if_due(&mut self, newest: &Arc<Snapshot>, commits: u64, bytes: u64) {
        let shared = &self.shared;
        let oldest_kept = || shared.history.lock().oldest();
        let checkpointer = &mut self.checkpointer;
        if checkpointer.wrote(newest, oldest_kept, commits, bytes) {
            self.log.rotate();
        }
    }

    /// Makes room for a frame. Without room the group fails, and nothing else: no byte of it is in the log.
    fn reserve(&mut self, frame: &Frame) -> Result<()> {
        let reserved = self.log.reserve(frame);
        reserved.map_err(|error| match error.kind() {
            ErrorKind::LimitExceeded => error,
            _ => self.fail(&error),
        })
    }

    /// Makes the database read-only: after a failed sync the kernel may call lost pages clean, and trying again would
    /// prove nothing.
    fn fail(&self, error: &Error) -> Error {
        tracing::error!(%error, "the log cannot be written; the database is read-only until reopened");
        let _ = self.shared.failed.set(error.to_string());
        self.shared.unavailable()
    }

    fn publish(&self, commits: Vec<Member>) {
        let Some((newest, ..)) = commits.last() else {
            return;
        };
        let newest = Arc::clone(newest);
        let spent = {
            let mut history = self.shared.history.lock();
            // Of the commits before, unless somebody came to free them.
            let spent = history.take_spent();
            for (snapshot, commit, _) in &commits {
                history.push(Arc::clone(snapshot), commit);
            }
            *self.shared.published.write() = Arc::clone(&newest);
            spent
        };
        self.shared.versions.send_replace(newest.version());
        for (snapshot, _, answer) in commits {
            let _ = answer.send(Ok(snapshot));
        }
        drop(spent);
    }
}

/// Makes the database read-only when a panic ends the writing of a group: what of it was done nobody knows.
struct FailedByPanic<'a>(&'a Shared);

impl Drop for FailedByPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.0.failed.set("its writer panicked".to_string());
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
