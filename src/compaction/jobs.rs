//! A compaction while it is known to be at work: its progress, and the wish to stop it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::error::{Error, ErrorKind, Result, sqlstate};
use crate::settings::duration_text;

/// What a job is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Waits for a worker, or for another job of its collection.
    Waiting,
    /// Reads and sorts the narrow rows.
    Sorting,
    /// Gathers whole rows and writes segments.
    Writing,
    /// Replaces inputs by outputs.
    Committing,
}

impl Phase {
    const ALL: [Self; 4] = [
        Self::Waiting,
        Self::Sorting,
        Self::Writing,
        Self::Committing,
    ];

    /// The phase as system tables show it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sorting => "sorting",
            Self::Writing => "writing",
            Self::Committing => "committing",
        }
    }
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What it is doing.
    pub phase: Phase,
    /// Rows done: each is read once and written once, and counts for both.
    pub rows_done: u64,
    /// Rows to do, counted alike; 0 while not known.
    pub rows_total: u64,
}

/// A running job as its worker and those who watch it share it.
#[derive(Debug, Clone, Default)]
pub struct Task {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    stop: watch::Sender<Option<Stop>>,
    phase: AtomicU8,
    rows_done: AtomicU64,
    rows_total: AtomicU64,
}

impl Task {
    /// Asks the worker to stop, which it does within a batch.
    pub fn cancel(&self) {
        self.stop(Stop::Asked);
    }

    /// Stops the worker because the time it was given is over.
    pub fn expire(&self, limit: Duration) {
        self.stop(Stop::Expired(limit));
    }

    fn stop(&self, why: Stop) {
        self.inner.stop.send_if_modified(|stop| {
            let is_first = stop.is_none();
            if is_first {
                *stop = Some(why);
            }
            is_first
        });
    }

    /// That the worker has not been asked to stop.
    ///
    /// # Errors
    /// 57014 when it has; of another kind than a wish of the user when its time was over.
    pub fn check(&self) -> Result<()> {
        match *self.inner.stop.borrow() {
            Some(why) => Err(why.error()),
            None => Ok(()),
        }
    }

    /// Answers when the worker is asked to stop: 57014.
    pub async fn cancelled(&self) -> Error {
        let mut wish = self.inner.stop.subscribe();
        // The sender lives as long as the task does.
        let why = wish.wait_for(Option::is_some).await;
        let why = why.map_or(Some(Stop::Asked), |stop| *stop);
        why.unwrap_or(Stop::Asked).error()
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        let phase = usize::from(self.inner.phase.load(Ordering::Relaxed));
        Progress {
            phase: Phase::ALL[phase.min(Phase::ALL.len() - 1)],
            rows_done: self.inner.rows_done.load(Ordering::Relaxed),
            rows_total: self.inner.rows_total.load(Ordering::Relaxed),
        }
    }

    /// Begins a phase.
    pub fn enter(&self, phase: Phase) {
        let number = Phase::ALL.iter().position(|p| *p == phase).unwrap_or(0);
        self.inner.phase.store(number as u8, Ordering::Relaxed);
    }

    /// Sets how many rows the job has; each is read and written.
    pub fn set_rows(&self, rows: u64) {
        self.inner.rows_total.store(2 * rows, Ordering::Relaxed);
    }

    /// Counts rows that were read or written.
    pub fn add_rows(&self, rows: u64) {
        self.inner.rows_done.fetch_add(rows, Ordering::Relaxed);
    }
}

/// Why a worker has to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Asked,
    Expired(Duration),
}

impl Stop {
    fn error(self) -> Error {
        let code = sqlstate::QUERY_CANCELED;
        match self {
            Self::Asked => Error::new(ErrorKind::Cancelled, code, "the compaction was cancelled"),
            Self::Expired(limit) => {
                let limit = duration_text(limit);
                let message = format!("the compaction took longer than its timeout of {limit}");
                let hint =
                    "Raise compaction.clustering.timeout, or cluster less at once with LIMIT.";
                Error::new(ErrorKind::LimitExceeded, code, message).with_hint(hint)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_task_shows_how_far_it_is_until_it_is_cancelled() {
        let task = Task::default();
        assert_eq!(task.progress().phase, Phase::Waiting);
        let watcher = task.clone();
        task.enter(Phase::Writing);
        task.set_rows(10);
        task.add_rows(7);
        let expected = Progress {
            phase: Phase::Writing,
            rows_done: 7,
            rows_total: 20,
        };
        assert_eq!(watcher.progress(), expected);
        task.check().unwrap();
        watcher.cancel();
        assert_eq!(task.check().unwrap_err().sqlstate(), "57014");
    }
}
