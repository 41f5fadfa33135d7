//! Runs compactions in the background: those that are asked for, and those that are due.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;

use super::filters::FilterBuilder;
use super::jobs::{Phase, Progress};
use super::pace::Pace;
use super::policy::{Choice, JobOptions, Request, choose};
use super::run::{end, record};
use super::threads::{computing, lower_priority};
use crate::error::{Error, ErrorKind, Result, sqlstate};
use crate::storage::change::{Change, JobKind, JobRecord, JobState};
use crate::storage::committer::now_ms;
use crate::storage::engine::Engine;
use crate::storage::schema::{CollectionId, JobId};
use crate::storage::transaction::Transaction;

mod automatic;
mod enabled;
mod queue;
mod work;

pub use automatic::RoundRecord;
use automatic::{Rounds, automatic, look_after};
pub use enabled::{check_enabled, disables_itself};
use queue::Jobs;
#[cfg(test)]
pub(super) use queue::new_record;
use work::work;

/// The most jobs at work at the same time: each has a memory budget of its own.
const JOBS_RUNNING_MAX: u64 = 2;
/// How long closing waits for jobs to stop.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// A cheap handle on the background jobs of a database. When the last one goes, jobs are stopped.
#[derive(Debug, Clone)]
pub struct Scheduler {
    owner: Arc<Owner>,
}

#[derive(Debug)]
struct Owner {
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

#[derive(Debug)]
struct Shared {
    engine: Arc<Engine>,
    pace: Arc<Pace>,
    computing: Arc<rayon::ThreadPool>,
    closing: AtomicBool,
    running: Semaphore,
    jobs: Mutex<Jobs>,
    rounds: Mutex<Rounds>,
    filters: Arc<FilterBuilder>,
    /// Told when a job has ended.
    ended: Condvar,
}

impl Scheduler {
    /// Starts the background threads. Jobs that a crash interrupted are recorded as failed.
    ///
    /// # Errors
    /// 58030 when threads cannot be started or the log cannot be written.
    pub fn open(engine: Arc<Engine>) -> Result<Self> {
        fail_interrupted(&engine)?;
        let running = engine
            .settings
            .compaction_worker_pool_size
            .clamp(1, JOBS_RUNNING_MAX);
        // Sorting keeps a thread busy; one more looks for what is due and tells of timeouts.
        let nice = engine.settings.compaction_nice;
        let runtime = Builder::new_multi_thread()
            .worker_threads(running as usize + 1)
            .thread_name("compaction")
            .on_thread_start(move || lower_priority(nice))
            .enable_time()
            .build()
            .map_err(|e| Error::io("start the threads of compaction", e))?;
        let shared = Arc::new(Shared {
            computing: Arc::new(computing(&engine.settings)?),
            pace: Arc::new(Pace::new(engine.settings.compaction_io_limit.0)),
            engine,
            closing: AtomicBool::new(false),
            running: Semaphore::new(running as usize),
            jobs: Mutex::default(),
            rounds: Mutex::default(),
            filters: Arc::default(),
            ended: Condvar::new(),
        });
        let scheduler = Self {
            owner: Arc::new(Owner {
                shared: Arc::clone(&shared),
                runtime: Some(runtime),
            }),
        };
        let handle = scheduler.handle()?;
        handle.clone().spawn(look_after(shared, handle));
        Ok(scheduler)
    }

    /// Asks for a compaction. The answer comes when the job is durably queued. While a job is queued or at work for the
    /// collection that does all that is asked for, it is that job's; another request waits for the jobs before it.
    ///
    /// # Errors
    /// 42P01 when there is no such collection, 55000 for clustering without a clustering key and when compaction (or
    /// clustering) is turned off, 53400 when too many jobs wait, 58030 when the log cannot be written.
    pub async fn submit(
        &self,
        collection: CollectionId,
        kind: JobKind,
        options: JobOptions,
    ) -> Result<JobId> {
        let shared = &self.owner.shared;
        let snapshot = shared.engine.committer.snapshot();
        let found = snapshot.collection_by_id(collection).ok_or_else(|| {
            Error::not_found(sqlstate::UNDEFINED_TABLE, "the collection does not exist")
        })?;
        check_enabled(kind, found, &shared.engine.settings)?;
        let request = Request { kind, options };
        choose(found, &request, &shared.engine.settings, now_ms())?;
        let (job, is_new) = shared.enlist(found, &request)?;
        if is_new {
            if let Err(error) = record(&shared.engine, &job).await {
                shared.forget(&job);
                return Err(error);
            }
            self.handle()?
                .spawn(work(Arc::clone(shared), job.id, request));
        }
        Ok(job.id)
    }

    /// Waits until the job has ended, and answers its record.
    ///
    /// # Errors
    /// 42704 when there is no such job, 57014 when `timeout` passes before.
    pub async fn wait(&self, id: JobId, timeout: Option<Duration>) -> Result<JobRecord> {
        let shared = &self.owner.shared;
        let live = shared.jobs.lock().live.get(&id).map(|l| l.end.subscribe());
        let Some(mut end) = live else {
            let snapshot = shared.engine.committer.snapshot();
            return snapshot
                .job(id)
                .map(|j| JobRecord::clone(j))
                .ok_or_else(|| unknown(id));
        };
        // Timers are those of our own threads: the caller may have none.
        let waiting = self.handle()?.spawn(async move {
            let ended = end.wait_for(Option::is_some);
            match timeout {
                Some(limit) => match tokio::time::timeout(limit, ended).await {
                    Ok(ended) => ended.map(|r| r.clone()).unwrap_or_default(),
                    Err(_) => None,
                },
                None => ended.await.map(|r| r.clone()).unwrap_or_default(),
            }
        });
        let closed = |_| Error::internal("the scheduler of compactions was closed");
        waiting.await.map_err(closed)?.ok_or_else(|| {
            let message = format!("compaction {id} has not ended within the time given");
            Error::new(ErrorKind::Cancelled, sqlstate::QUERY_CANCELED, message)
                .with_hint("It goes on; SHOW COMPACTION STATE tells how far it is.")
        })
    }

    /// Asks a job to stop. It ends within a batch; nothing changes then.
    ///
    /// # Errors
    /// 42704 when there is no such job, 55000 when it has ended.
    pub fn cancel(&self, id: JobId) -> Result<()> {
        let shared = &self.owner.shared;
        if let Some(live) = shared.jobs.lock().live.get(&id) {
            live.task.cancel();
            return Ok(());
        }
        let snapshot = shared.engine.committer.snapshot();
        snapshot.job(id).ok_or_else(|| unknown(id))?;
        let message = format!("compaction {id} has ended already");
        Err(Error::invalid(
            sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE,
            message,
        ))
    }

    /// Builds the bloom filters that the collection's indexes want and its segments lack. It goes on when the answer
    /// is not waited for.
    ///
    /// # Errors
    /// XX001 for a damaged segment, 58030 or 53100 for what the disk says, 57014 when the database is closed.
    pub async fn build_filters(&self, collection: CollectionId) -> Result<()> {
        let shared = Arc::clone(&self.owner.shared);
        let build = async move { shared.filters.build(&shared.engine, collection).await };
        let built = self.handle()?.spawn(build).await;
        built.map_err(|e| Error::internal(format!("bloom filters could not be built: {e}")))?
    }

    /// How far a job is that has not ended.
    pub fn progress(&self, id: JobId) -> Option<Progress> {
        let jobs = self.owner.shared.jobs.lock();
        jobs.live.get(&id).map(|l| l.task.progress())
    }

    /// The jobs that are at work, and how far they are.
    pub fn running(&self) -> Vec<(JobRecord, Progress)> {
        let jobs = self.owner.shared.jobs.lock();
        let all = jobs.live.values();
        let all = all.map(|l| (l.record.clone(), l.task.progress()));
        all.filter(|(_, p)| p.phase != Phase::Waiting).collect()
    }

    /// The job of the same collection that a queued one waits for: the last one before it.
    pub fn waits_for(&self, id: JobId) -> Option<JobId> {
        let jobs = self.owner.shared.jobs.lock();
        let collection = jobs.live.get(&id)?.record.collection;
        Some(jobs.before(id, collection)?.record.id)
    }

    /// What the rounds of automatic clustering decided since the database was opened, oldest first.
    pub fn rounds(&self) -> Vec<RoundRecord> {
        let rounds = self.owner.shared.rounds.lock();
        rounds.records().cloned().collect()
    }

    /// How many jobs are queued or at work, by kind and state.
    pub fn live(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        let mut counts = BTreeMap::new();
        for live in self.owner.shared.jobs.lock().live.values() {
            let state = match live.task.progress().phase {
                Phase::Waiting => JobState::Queued,
                _ => JobState::Running,
            };
            let labels = (live.record.kind.as_str(), state.as_str());
            *counts.entry(labels).or_default() += 1;
        }
        counts
    }

    /// How many segments automatic compaction should rewrite now: what it does not keep up with.
    pub fn backlog(&self) -> u64 {
        let engine = &self.owner.shared.engine;
        let snapshot = engine.committer.snapshot();
        let segments = snapshot.collections().flat_map(|collection| {
            let requests = automatic(collection, &engine.settings).into_iter();
            let choices = requests.map(|request| {
                let choice = choose(collection, &request, &engine.settings, now_ms());
                match choice {
                    Ok(Choice::Work(work)) => work.inputs().count() as u64,
                    Ok(Choice::NothingToDo(_)) | Err(_) => 0,
                }
            });
            choices.collect::<Vec<_>>()
        });
        segments.sum()
    }

    fn handle(&self) -> Result<tokio::runtime::Handle> {
        let runtime = self.owner.runtime.as_ref();
        let handle = runtime.map(|r| r.handle().clone());
        handle.ok_or_else(|| Error::internal("the scheduler of compactions was closed"))
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Relaxed);
        self.shared.filters.close();
        for live in self.shared.jobs.lock().live.values() {
            live.task.cancel();
        }
        let Some(runtime) = self.runtime.take() else {
            return;
        };
        let shared = Arc::clone(&self.shared);
        // A runtime may not be dropped on a thread of another one, which may be where we are.
        let closer = std::thread::spawn(move || {
            let deadline = Instant::now() + CLOSE_TIMEOUT;
            let mut jobs = shared.jobs.lock();
            while !jobs.live.is_empty() {
                if shared.ended.wait_until(&mut jobs, deadline).timed_out() {
                    tracing::warn!("compactions did not stop in time");
                    break;
                }
            }
            drop(jobs);
            runtime.shutdown_timeout(CLOSE_TIMEOUT);
        });
        if closer.join().is_err() {
            tracing::warn!("the threads of compaction did not stop");
        }
    }
}

fn unknown(id: JobId) -> Error {
    let message = format!("compaction {id} does not exist");
    Error::not_found(sqlstate::UNDEFINED_OBJECT, message)
        .with_hint("SHOW COMPACTIONS lists those that are remembered.")
}

/// Records as failed what was queued or at work when the database ended without being closed.
fn fail_interrupted(engine: &Engine) -> Result<()> {
    let snapshot = engine.committer.snapshot();
    let open = |j: &&Arc<JobRecord>| matches!(j.state, JobState::Queued | JobState::Running);
    let changes: Vec<Change> = snapshot
        .jobs()
        .filter(open)
        .map(|job| {
            let mut job = JobRecord::clone(job);
            end(engine, &mut job, JobState::Failed);
            job.sqlstate = Some(sqlstate::ADMIN_SHUTDOWN.to_string());
            job.reason = "interrupted: the database ended while the job was not done".to_string();
            Change::Job(job)
        })
        .collect();
    if changes.is_empty() {
        return Ok(());
    }
    let transaction = Transaction::new(snapshot.version(), changes);
    futures::executor::block_on(engine.committer.commit(transaction)).map(|_| ())
}
