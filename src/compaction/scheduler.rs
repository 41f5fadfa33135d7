//! Runs compactions in the background: those that are asked for, and those that are due.

use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt;
use parking_lot::{Condvar, Mutex};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, watch};

use super::filters::FilterBuilder;
use super::jobs::{Phase, Progress, Task};
use super::pace::Pace;
use super::policy::{Choice, JobOptions, Request, choose};
use super::run::{now_ms, record, run};
use crate::error::{Error, ErrorKind, Result, sqlstate};
use crate::settings::Settings;
use crate::storage::change::{Change, JobKind, JobRecord, JobState};
use crate::storage::collection::Collection;
use crate::storage::engine::Engine;
use crate::storage::schema::{CollectionId, JobId};
use crate::storage::transaction::Transaction;

mod automatic;

pub use automatic::RoundRecord;
use automatic::{Rounds, automatic, look_after, vacuum};

/// The most jobs at work at the same time: each has a memory budget of its own.
const JOBS_RUNNING_MAX: u64 = 2;
/// The most jobs that are queued or at work.
const JOBS_LIVE_MAX: usize = 10_000;
/// How long a collection is left alone after its automatic job failed; doubled by every further failure.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// The most doublings of [`RETRY_AFTER`].
const RETRY_DOUBLINGS_MAX: u32 = 8;
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
    closing: AtomicBool,
    running: Semaphore,
    jobs: Mutex<Jobs>,
    rounds: Mutex<Rounds>,
    filters: Arc<FilterBuilder>,
    /// Told when a job has ended.
    ended: Condvar,
}

/// Jobs that have not ended. A collection has at most one at work; others wait for those that were asked for before.
#[derive(Debug, Default)]
struct Jobs {
    live: BTreeMap<JobId, Live>,
    failures: HashMap<CollectionId, Failures>,
}

impl Jobs {
    /// The last job of the collection before that of the id.
    fn before(&self, id: JobId, collection: CollectionId) -> Option<&Live> {
        let mut before = self.live.range(..id).rev().map(|(_, live)| live);
        before.find(|live| live.record.collection == collection)
    }
}

#[derive(Debug)]
struct Live {
    record: JobRecord,
    options: JobOptions,
    task: Task,
    end: watch::Sender<Option<JobRecord>>,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    again: Instant,
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
        let runtime = Builder::new_multi_thread()
            .worker_threads(running as usize + 1)
            .thread_name("compaction")
            .enable_time()
            .build()
            .map_err(|e| Error::io("start the threads of compaction", e))?;
        let shared = Arc::new(Shared {
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

impl Shared {
    /// The job that the request is for: a new one, or the one that is queued or at work already.
    fn enlist(&self, collection: &Collection, request: &Request) -> Result<(JobRecord, bool)> {
        let mut jobs = self.jobs.lock();
        if self.closing.load(Ordering::Relaxed) {
            return Err(Error::internal("the database is being closed"));
        }
        let same = |l: &&Live| {
            let record = &l.record;
            record.collection == collection.id
                && record.kind == request.kind
                && (request.options.automatic || l.options.does(&request.options))
        };
        if let Some(live) = jobs.live.values().find(same) {
            return Ok((live.record.clone(), false));
        }
        if jobs.live.len() >= JOBS_LIVE_MAX {
            let message = format!("{JOBS_LIVE_MAX} compactions are queued already");
            let error = Error::new(
                ErrorKind::LimitExceeded,
                sqlstate::CONFIGURATION_LIMIT_EXCEEDED,
                message,
            );
            return Err(error.with_hint("WAIT FOR COMPACTION until some have ended."));
        }
        let record = new_record(
            JobId(self.engine.committer.allocate_id()),
            collection,
            request,
        );
        let live = Live {
            record: record.clone(),
            options: request.options.clone(),
            task: Task::with_pace(Arc::clone(&self.pace)),
            end: watch::Sender::new(None),
        };
        jobs.live.insert(record.id, live);
        Ok((record, true))
    }

    /// Takes an ended job from the live ones, and tells those who wait.
    fn forget(&self, job: &JobRecord) {
        let mut jobs = self.jobs.lock();
        if let Some(live) = jobs.live.remove(&job.id) {
            live.end.send_replace(Some(job.clone()));
        }
        self.ended.notify_all();
    }

    /// Waits until all jobs of the collection that were asked for before have ended.
    async fn wait_for_turn(&self, job: &JobRecord) {
        while let Some(mut end) = self.end_before(job) {
            // A sender that is gone has told of its end, too.
            let _ = end.wait_for(Option::is_some).await;
        }
    }

    /// The end of the last job of the collection before this one.
    fn end_before(&self, job: &JobRecord) -> Option<watch::Receiver<Option<JobRecord>>> {
        let jobs = self.jobs.lock();
        let before = jobs.before(job.id, job.collection)?;
        Some(before.end.subscribe())
    }

    fn is_busy(&self, collection: CollectionId) -> bool {
        self.why_not_now(collection).is_some()
    }

    /// Why no automatic job may start now.
    fn why_not_now(&self, collection: CollectionId) -> Option<String> {
        let jobs = self.jobs.lock();
        let failed = jobs.failures.get(&collection);
        if failed.is_some_and(|f| Instant::now() < f.again) {
            return Some("the last automatic job failed a short while ago".into());
        }
        let live = jobs.live.values().map(|l| &l.record);
        let job = live.into_iter().find(|j| j.collection == collection)?;
        Some(format!("compaction {} is queued or at work", job.id))
    }

    fn note_end(&self, collection: CollectionId, failed: bool) {
        let mut jobs = self.jobs.lock();
        if !failed {
            jobs.failures.remove(&collection);
            return;
        }
        let count = jobs.failures.get(&collection).map_or(0, |f| f.count);
        let doublings = count.min(RETRY_DOUBLINGS_MAX);
        let failures = Failures {
            count: count + 1,
            again: Instant::now() + RETRY_AFTER * 2_u32.pow(doublings),
        };
        jobs.failures.insert(collection, failures);
    }
}

/// That jobs of the kind may run at all for the collection.
///
/// # Errors
/// 55000 when they are turned off.
pub fn check_enabled(kind: JobKind, collection: &Collection, settings: &Settings) -> Result<()> {
    let own = collection.options.settings(settings);
    let (message, hint) = if let Some((what, setting)) = turned_off(kind, settings) {
        let hint = format!("Open the database with {setting} = on.");
        (format!("{what} is turned off"), hint)
    } else if let Some((what, setting)) = turned_off(kind, &own) {
        let name = &collection.name;
        let hint = format!("ALTER TABLE {name} RESET ({setting}) turns it on.");
        (format!("{what} of \"{name}\" is turned off"), hint)
    } else {
        return Ok(());
    };
    let code = sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE;
    Err(Error::invalid(code, message).with_hint(hint))
}

/// Whether it is the collection's own settings that allow no jobs of the kind.
pub fn disables_itself(kind: JobKind, collection: &Collection, settings: &Settings) -> bool {
    let own = collection.options.settings(settings);
    turned_off(kind, settings).is_none() && turned_off(kind, &own).is_some()
}

/// What is turned off, and by which setting.
fn turned_off(kind: JobKind, settings: &Settings) -> Option<(&'static str, &'static str)> {
    match kind {
        JobKind::Seal => None,
        _ if !settings.compaction_enable => Some(("compaction", "compaction.enable")),
        JobKind::Cluster if !settings.compaction_clustering_enable => {
            Some(("clustering", "compaction.clustering.enable"))
        }
        _ => None,
    }
}

/// The record of a job that begins.
pub(super) fn new_record(id: JobId, collection: &Collection, request: &Request) -> JobRecord {
    let reason = if request.options.automatic {
        "started by itself"
    } else {
        "asked for"
    };
    JobRecord {
        id,
        collection: collection.id,
        collection_name: collection.name.to_string(),
        kind: request.kind,
        state: JobState::Queued,
        created_ms: now_ms(),
        started_ms: None,
        finished_ms: None,
        segments_in: 0,
        segments_out: 0,
        rows_in: 0,
        rows_out: 0,
        bytes_in: 0,
        bytes_out: 0,
        depth_before: None,
        depth_after: None,
        overlaps_before: None,
        overlaps_after: None,
        deletes_rebased: 0,
        peak_memory_bytes: None,
        spilled_bytes: None,
        sqlstate: None,
        reason: reason.to_string(),
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
            job.state = JobState::Failed;
            job.finished_ms = Some(now_ms());
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

/// Carries a job from its place in the queue to its end.
async fn work(shared: Arc<Shared>, id: JobId, request: Request) {
    let Some((mut job, task)) = shared
        .jobs
        .lock()
        .live
        .get(&id)
        .map(|l| (l.record.clone(), l.task.clone()))
    else {
        return;
    };
    let result = AssertUnwindSafe(take_turn(&shared, &mut job, &request, &task))
        .catch_unwind()
        .await
        .unwrap_or_else(|_| Err(Error::internal("the worker panicked")));
    let failed = result
        .as_ref()
        .is_err_and(|e| e.kind() != ErrorKind::Cancelled);
    if request.options.automatic {
        shared.note_end(job.collection, failed);
    }
    let ended = match result {
        Ok(ended) => ended,
        Err(error) => end_with(&shared, job, &error, &task).await,
    };
    let metrics = shared.engine.metrics();
    metrics.compaction_ended(ended.kind.as_str(), ended.state.as_str());
    tracing::info!(
        job = ended.id.0,
        collection = ended.collection_name,
        kind = ?ended.kind,
        state = ?ended.state,
        rows = ended.rows_out,
        bytes = ended.bytes_out,
        reason = ended.reason,
        "compaction ended"
    );
    shared.forget(&ended);
    vacuum(&shared.engine);
}

/// Waits for the collection and for a free worker, then runs the job.
async fn take_turn(
    shared: &Shared,
    job: &mut JobRecord,
    request: &Request,
    task: &Task,
) -> Result<JobRecord> {
    let turn = async {
        shared.wait_for_turn(job).await;
        shared.running.acquire().await
    };
    let _turn = tokio::select! {
        turn = turn => turn,
        error = task.cancelled() => return Err(error),
    };
    task.check()?;
    task.start();
    job.state = JobState::Running;
    job.started_ms = Some(now_ms());
    record(&shared.engine, job).await?;
    let running = run(&shared.engine, job.clone(), request, task);
    match request.kind {
        JobKind::Cluster => within(timeout(shared, job.collection), task, running).await,
        JobKind::Seal | JobKind::Merge => running.await,
    }
}

/// How long a clustering of the collection may take.
fn timeout(shared: &Shared, collection: CollectionId) -> Duration {
    let snapshot = shared.engine.committer.snapshot();
    let settings = &shared.engine.settings;
    let own = snapshot
        .collection_by_id(collection)
        .map(|c| c.options.settings(settings));
    own.as_ref()
        .unwrap_or(settings)
        .compaction_clustering_timeout
}

/// Lets a job run for so long, and then makes it stop.
async fn within<T>(limit: Duration, task: &Task, running: impl Future<Output = T>) -> T {
    let mut running = std::pin::pin!(running);
    tokio::select! {
        ended = &mut running => ended,
        () = tokio::time::sleep(limit) => {
            task.expire(limit);
            running.await
        }
    }
}

/// Records why a job ended without having changed anything.
async fn end_with(shared: &Shared, mut job: JobRecord, error: &Error, task: &Task) -> JobRecord {
    job.finished_ms = Some(now_ms());
    task.measure(&mut job);
    job.sqlstate = Some(error.sqlstate().to_string());
    (job.state, job.reason) = match error.kind() {
        ErrorKind::Cancelled if shared.closing.load(Ordering::Relaxed) => {
            (JobState::Cancelled, "the database was closed".to_string())
        }
        ErrorKind::Cancelled => (JobState::Cancelled, "cancelled on request".to_string()),
        _ => {
            let hint = error.hint().map(|h| format!(" ({h})")).unwrap_or_default();
            (JobState::Failed, format!("{}{hint}", error.message()))
        }
    };
    if let Err(error) = record(&shared.engine, &job).await {
        tracing::warn!(%error, job = job.id.0, "the end of a compaction could not be recorded");
    }
    job
}
