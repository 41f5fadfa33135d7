//! The jobs that have not ended: who is at work, who waits for whom, who is left alone for a while.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Shared;
use crate::compaction::jobs::Task;
use crate::compaction::policy::{JobOptions, Request};
use crate::error::{Error, ErrorKind, Result, sqlstate};
use crate::storage::change::JobRecord;
use crate::storage::collection::Collection;
use crate::storage::committer::now_ms;
use crate::storage::schema::{CollectionId, JobId};

/// The most jobs that are queued or at work.
const JOBS_LIVE_MAX: usize = 10_000;
/// How long a collection is left alone after its automatic job failed; doubled by every further failure.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// The most doublings of [`RETRY_AFTER`].
const RETRY_DOUBLINGS_MAX: u32 = 8;

/// Jobs that have not ended. A collection has at most one at work; others wait for those that were asked for before.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    pub live: BTreeMap<JobId, Live>,
    failures: HashMap<CollectionId, Failures>,
}

impl Jobs {
    /// The last job of the collection before that of the id.
    pub fn before(&self, id: JobId, collection: CollectionId) -> Option<&Live> {
        let mut before = self.live.range(..id).rev().map(|(_, live)| live);
        before.find(|live| live.record.collection == collection)
    }
}

#[derive(Debug)]
pub(super) struct Live {
    pub record: JobRecord,
    options: JobOptions,
    pub task: Task,
    pub end: watch::Sender<Option<JobRecord>>,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    again: Instant,
}

impl Shared {
    /// The job that the request is for: a new one, or the one that is queued or at work already.
    pub(super) fn enlist(
        &self,
        collection: &Collection,
        request: &Request,
    ) -> Result<(JobRecord, bool)> {
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
            task: Task::with(Arc::clone(&self.pace), Arc::clone(&self.computing)),
            end: watch::Sender::new(None),
        };
        jobs.live.insert(record.id, live);
        Ok((record, true))
    }

    /// Takes an ended job from the live ones, and tells those who wait.
    pub(super) fn forget(&self, job: &JobRecord) {
        let mut jobs = self.jobs.lock();
        if let Some(live) = jobs.live.remove(&job.id) {
            live.end.send_replace(Some(job.clone()));
        }
        self.ended.notify_all();
    }

    /// Waits until all jobs of the collection that were asked for before have ended.
    pub(super) async fn wait_for_turn(&self, job: &JobRecord) {
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

    pub(super) fn is_busy(&self, collection: CollectionId) -> bool {
        self.why_not_now(collection).is_some()
    }

    /// Why no automatic job may start now.
    pub(super) fn why_not_now(&self, collection: CollectionId) -> Option<String> {
        let jobs = self.jobs.lock();
        let failed = jobs.failures.get(&collection);
        if failed.is_some_and(|f| Instant::now() < f.again) {
            return Some("the last automatic job failed a short while ago".into());
        }
        let live = jobs.live.values().map(|l| &l.record);
        let job = live.into_iter().find(|j| j.collection == collection)?;
        Some(format!("compaction {} is queued or at work", job.id))
    }

    pub(super) fn note_end(&self, collection: CollectionId, failed: bool) {
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

/// The record of a job that begins.
pub(in crate::compaction) fn new_record(
    id: JobId,
    collection: &Collection,
    request: &Request,
) -> JobRecord {
    let reason = if request.options.automatic {
        "started by itself"
    } else {
        "asked for"
    };
    let name = collection.name.to_string();
    JobRecord {
        reason: reason.to_string(),
        ..JobRecord::queued(id, collection.id, name, request.kind, now_ms())
    }
}
