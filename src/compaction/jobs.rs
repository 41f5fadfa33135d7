//! A compaction while it is known to be at work: its progress, and the wish to stop it.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rayon::ThreadPool;
use tokio::sync::watch;

use super::pace::Pace;
use crate::error::{Error, ErrorKind, Result, sqlstate};
use crate::settings::duration_text;
use crate::storage::change::JobRecord;

/// What a job is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Waits for a worker, or for another job of its collection.
    Waiting,
    /// Learns from a sample what computed items of the key need.
    Training,
    /// Reads and sorts the narrow rows.
    Sorting,
    /// Gathers whole rows and writes segments.
    Writing,
    /// Replaces inputs by outputs.
    Committing,
}

impl Phase {
    const ALL: [Self; 5] = [
        Self::Waiting,
        Self::Training,
        Self::Sorting,
        Self::Writing,
        Self::Committing,
    ];

    /// The phase as system tables show it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Training => "training",
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
    /// What it has to do; all zero while that is not known.
    pub inputs: Inputs,
    /// Rows read.
    pub rows_read: u64,
    /// Rows written.
    pub rows_written: u64,
    /// Segments written.
    pub segments_written: u64,
    /// Bytes of these.
    pub bytes_written: u64,
    /// The most memory of its budget that it had in use until now, in bytes: that of the sort, and of what it writes.
    pub memory_bytes_max: u64,
    /// Bytes that it wrote to temporary files while it sorted.
    pub spilled_bytes: u64,
    /// Since a worker took it; zero while it waits.
    pub elapsed: Duration,
}

impl Progress {
    /// The part that is done, 0 to 1: each row is read once and written once, and counts for both.
    pub fn part_done(&self) -> f64 {
        match self.inputs.rows {
            0 => 0.0,
            rows => (self.rows_read + self.rows_written) as f64 / (2 * rows) as f64,
        }
    }

    /// How long it will go on if it does as until now; `None` while nothing is done.
    pub fn time_left(&self) -> Option<Duration> {
        let done = self.part_done();
        let left = self.elapsed.as_secs_f64() * (1.0 - done).max(0.0) / done;
        Duration::try_from_secs_f64(left).ok()
    }
}

/// What a job reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Inputs {
    /// Segments.
    pub segments: u64,
    /// Their live rows.
    pub rows: u64,
    /// Their bytes where they are.
    pub bytes: u64,
}

/// How long a worker sleeps before it looks again whether it is to stop.
const NAP: Duration = Duration::from_millis(50);

/// A running job as its worker and those who watch it share it.
#[derive(Debug, Clone, Default)]
pub struct Task {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    pace: Arc<Pace>,
    computing: Option<Arc<ThreadPool>>,
    stop: watch::Sender<Option<Stop>>,
    phase: AtomicU8,
    inputs: OnceLock<Inputs>,
    /// When it began, and how long it may take.
    started: OnceLock<(Instant, Option<Duration>)>,
    rows_read: AtomicU64,
    rows_written: AtomicU64,
    segments_written: AtomicU64,
    bytes_written: AtomicU64,
    sort_memory_max: AtomicU64,
    write_memory_max: AtomicU64,
    spilled_bytes: AtomicU64,
}

impl Task {
    /// A job that keeps to a limit on the bytes that it moves, and computes on threads of compaction.
    pub(super) fn with(pace: Arc<Pace>, computing: Arc<ThreadPool>) -> Self {
        Self {
            inner: Arc::new(Inner {
                pace,
                computing: Some(computing),
                ..Inner::default()
            }),
        }
    }

    /// Computes what rayon may spread over the threads of compaction, not over those of queries.
    pub(super) fn compute<T: Send>(&self, compute: impl FnOnce() -> T + Send) -> T {
        match &self.inner.computing {
            Some(threads) => threads.install(compute),
            None => compute(),
        }
    }

    /// Counts bytes that were read or written, and waits until more may be.
    ///
    /// # Errors
    /// Those of [`Task::check`].
    pub(super) fn moved(&self, bytes: u64) -> Result<()> {
        let mut owed = self.inner.pace.owed_for(bytes);
        while !owed.is_zero() {
            self.check()?;
            let nap = owed.min(NAP);
            std::thread::sleep(nap);
            owed -= nap;
        }
        self.check()
    }

    /// The same for bytes of which one learns only afterwards, without keeping a thread.
    ///
    /// # Errors
    /// Those of [`Task::check`].
    pub(super) async fn has_moved(&self, bytes: u64) -> Result<()> {
        let owed = self.inner.pace.owed_for(bytes);
        if owed.is_zero() {
            return self.check();
        }
        tokio::select! {
            () = tokio::time::sleep(owed) => Ok(()),
            error = self.cancelled() => Err(error),
        }
    }

    /// Asks the worker to stop, which it does within a batch.
    pub fn cancel(&self) {
        self.stop(Stop::Asked);
    }

    /// Stops the worker when the time it was given is over.
    fn expire(&self) {
        if let Some((limit, left)) = self.time_left()
            && left.is_zero()
        {
            self.stop(Stop::Expired(limit));
        }
    }

    /// The time it was given and what is left of it; none when it runs without a limit, or not yet.
    fn time_left(&self) -> Option<(Duration, Duration)> {
        let (started, limit) = *self.inner.started.get()?;
        let limit = limit?;
        Some((limit, limit.saturating_sub(started.elapsed())))
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

    /// That the worker has not been asked to stop, and that its time is not over.
    ///
    /// # Errors
    /// 57014 otherwise; of another kind than a wish of the user when its time was over.
    pub fn check(&self) -> Result<()> {
        self.expire();
        match *self.inner.stop.borrow() {
            Some(why) => Err(why.error()),
            None => Ok(()),
        }
    }

    /// Answers when the worker is asked to stop or its time is over: 57014.
    pub async fn cancelled(&self) -> Error {
        let mut wish = self.inner.stop.subscribe();
        // The sender lives as long as the task does.
        let asked = wish.wait_for(Option::is_some);
        let why = match self.time_left() {
            Some((limit, left)) => match tokio::time::timeout(left, asked).await {
                Ok(why) => why.map_or(None, |stop| *stop),
                Err(_) => Some(Stop::Expired(limit)),
            },
            None => asked.await.map_or(None, |stop| *stop),
        };
        why.unwrap_or(Stop::Asked).error()
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        let inner = &self.inner;
        let phase = usize::from(inner.phase.load(Ordering::Relaxed));
        Progress {
            phase: Phase::ALL[phase.min(Phase::ALL.len() - 1)],
            inputs: inner.inputs.get().copied().unwrap_or_default(),
            rows_read: inner.rows_read.load(Ordering::Relaxed),
            rows_written: inner.rows_written.load(Ordering::Relaxed),
            segments_written: inner.segments_written.load(Ordering::Relaxed),
            bytes_written: inner.bytes_written.load(Ordering::Relaxed),
            memory_bytes_max: inner.sort_memory_max.load(Ordering::Relaxed)
                + inner.write_memory_max.load(Ordering::Relaxed),
            spilled_bytes: inner.spilled_bytes.load(Ordering::Relaxed),
            elapsed: inner
                .started
                .get()
                .map_or(Duration::ZERO, |(at, _)| at.elapsed()),
        }
    }

    /// Puts into the record what was measured.
    pub fn measure(&self, job: &mut JobRecord) {
        let progress = self.progress();
        job.peak_memory_bytes = Some(progress.memory_bytes_max);
        job.spilled_bytes = Some(progress.spilled_bytes);
    }

    /// Begins a phase.
    pub fn enter(&self, phase: Phase) {
        let number = Phase::ALL.iter().position(|p| *p == phase).unwrap_or(0);
        self.inner.phase.store(number as u8, Ordering::Relaxed);
    }

    /// A worker takes the job, which may take so long.
    pub fn start(&self, limit: Option<Duration>) {
        let _ = self.inner.started.set((Instant::now(), limit));
    }

    /// Tells what the job reads, once.
    pub fn set_inputs(&self, inputs: Inputs) {
        let _ = self.inner.inputs.set(inputs);
    }

    /// Counts rows that were read.
    pub fn add_rows_read(&self, rows: u64) {
        self.inner.rows_read.fetch_add(rows, Ordering::Relaxed);
    }

    /// Counts rows that were written.
    pub fn add_rows_written(&self, rows: u64) {
        self.inner.rows_written.fetch_add(rows, Ordering::Relaxed);
    }

    /// Counts a segment that was written.
    pub fn add_segment(&self, bytes: u64) {
        self.inner.segments_written.fetch_add(1, Ordering::Relaxed);
        self.inner.bytes_written.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Notes how much memory the sort had reserved.
    pub fn note_sort_memory(&self, bytes: u64) {
        let most = &self.inner.sort_memory_max;
        most.fetch_max(bytes, Ordering::Relaxed);
    }

    /// Notes how much memory whoever writes has in use.
    pub fn note_write_memory(&self, bytes: u64) {
        let most = &self.inner.write_memory_max;
        most.fetch_max(bytes, Ordering::Relaxed);
    }

    /// Counts bytes that were written to temporary files.
    pub fn add_spilled(&self, bytes: u64) {
        self.inner.spilled_bytes.fetch_add(bytes, Ordering::Relaxed);
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
        assert_eq!(task.progress().part_done(), 0.0);
        assert_eq!(task.progress().time_left(), None);
        task.start(None);
        task.enter(Phase::Writing);
        let inputs = Inputs {
            segments: 2,
            rows: 10,
            bytes: 800,
        };
        task.set_inputs(inputs);
        task.add_rows_read(10);
        task.add_rows_written(5);
        task.add_segment(300);
        task.note_sort_memory(60);
        task.note_sort_memory(50);
        task.note_write_memory(10);
        task.add_spilled(20);
        task.add_spilled(30);
        let progress = watcher.progress();
        let expected = Progress {
            phase: Phase::Writing,
            inputs,
            rows_read: 10,
            rows_written: 5,
            segments_written: 1,
            bytes_written: 300,
            memory_bytes_max: 70,
            spilled_bytes: 50,
            elapsed: progress.elapsed,
        };
        assert_eq!(progress, expected);
        assert_eq!(progress.part_done(), 0.75);
        let waited = Progress {
            elapsed: Duration::from_secs(6),
            ..progress
        };
        assert_eq!(waited.time_left(), Some(Duration::from_secs(2)));
        task.check().unwrap();
        watcher.cancel();
        assert_eq!(task.check().unwrap_err().sqlstate(), "57014");
    }

    #[tokio::test]
    async fn a_task_whose_time_is_over_stops_at_the_next_check() {
        let task = Task::default();
        task.check().unwrap();
        task.start(Some(Duration::ZERO));
        let error = task.check().unwrap_err();
        assert_eq!(error.sqlstate(), "57014");
        assert_ne!(error.kind(), ErrorKind::Cancelled);
        assert_eq!(task.cancelled().await.message(), error.message());
        let hour = Task::default();
        hour.start(Some(Duration::from_secs(3_600)));
        hour.check().unwrap();
    }
}
