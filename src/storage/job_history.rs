//! The jobs that a database remembers: those at work, and ended ones until their time is over.
//!
//! A job may be forgotten some time after its end, which its record says. Seals come all day; when a collection was last
//! clustered decides when that is done again, days later. So those clusterings stay from which that is counted, however
//! old they are and however many jobs came after. What it costs to record a job does not grow with those that are
//! remembered, nor with the clusterings among them.

use std::sync::Arc;

use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};

use super::change::{JobKind, JobRecord, JobState};
use super::schema::{CollectionId, JobId};

/// The most jobs that are remembered, besides those at work and those that must not be forgotten: some 10 MB.
const JOBS_MAX: usize = 20_000;
/// How long jobs are remembered whose records do not say it, those of before.
const KEPT_MS: i64 = 7 * 86_400_000;

/// Jobs in the order of their ids, and what is known of when they may go.
///
/// Invariants: `forgettable` has exactly the ended jobs from which no interval counts, by the time at which they may go;
/// `counted` has the others, for each collection from old to young.
#[derive(Debug, Clone)]
pub(super) struct JobHistory {
    jobs: RedBlackTreeMapSync<JobId, Arc<JobRecord>>,
    forgettable: RedBlackTreeSetSync<(i64, JobId)>,
    counted: RedBlackTreeMapSync<CollectionId, Vec<Clustering>>,
}

/// A clustering that left so small a depth that no younger one left less: it is the last one within some bound. Bounds
/// are whole numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Clustering {
    depth: u64,
    job: JobId,
}

impl JobHistory {
    pub(super) fn new() -> Self {
        Self {
            jobs: RedBlackTreeMapSync::new_sync(),
            forgettable: RedBlackTreeSetSync::new_sync(),
            counted: RedBlackTreeMapSync::new_sync(),
        }
    }

    /// The jobs in the order of their ids.
    pub(super) fn jobs(&self) -> impl DoubleEndedIterator<Item = &Arc<JobRecord>> {
        self.jobs.values()
    }

    pub(super) fn job(&self, id: JobId) -> Option<&Arc<JobRecord>> {
        self.jobs.get(&id)
    }

    /// The clusterings of a collection from which intervals count, youngest first: its last one, and for each bound the
    /// last one that left the depth within it.
    pub(super) fn clusterings(&self, of: CollectionId) -> impl Iterator<Item = &Arc<JobRecord>> {
        let counted = self.counted.get(&of).into_iter().flatten().rev();
        counted.filter_map(|c| self.jobs.get(&c.job))
    }

    /// Takes in the record of a job, in the place of an earlier one. Intervals count from it only if its collection exists.
    pub(super) fn put(&mut self, job: Arc<JobRecord>, collection_exists: bool) {
        self.take(job.id);
        if collection_exists && job.kind == JobKind::Cluster && job.state == JobState::Succeeded {
            self.count(&job);
        } else if let Some(until) = kept_until(&job) {
            self.forgettable.insert_mut((until, job.id));
        }
        self.jobs.insert_mut(job.id, job);
    }

    /// Forgets what may go at `now_ms`, and what is too much: first what may go first.
    pub(super) fn forget(&mut self, now_ms: i64) {
        while let Some((until, id)) = self.forgettable.first().copied() {
            if until >= now_ms && self.jobs.size() <= JOBS_MAX {
                break;
            }
            self.take(id);
        }
    }

    /// A collection is gone: nothing counts from its clusterings any more.
    pub(super) fn forget_collection(&mut self, collection: CollectionId) {
        let counted = self.counted.get(&collection).cloned();
        self.counted.remove_mut(&collection);
        counted
            .into_iter()
            .flatten()
            .for_each(|c| self.uncount(c.job));
    }

    /// Intervals count from this clustering, the youngest of its collection, and no longer from those that left no less.
    fn count(&mut self, job: &JobRecord) {
        let new = Clustering {
            depth: job
                .depth_after
                .map_or(u64::MAX, |depth| depth.ceil() as u64),
            job: job.id,
        };
        let mut counted = self
            .counted
            .get(&job.collection)
            .cloned()
            .unwrap_or_default();
        while let Some(last) = counted.pop_if(|last| last.depth >= new.depth) {
            self.uncount(last.job);
        }
        counted.push(new);
        self.counted.insert_mut(job.collection, counted);
    }

    fn uncount(&mut self, id: JobId) {
        if let Some(until) = self.jobs.get(&id).and_then(|job| kept_until(job)) {
            self.forgettable.insert_mut((until, id));
        }
    }

    fn take(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id).cloned() else {
            return;
        };
        self.jobs.remove_mut(&id);
        if let Some(until) = kept_until(&job) {
            self.forgettable.remove_mut(&(until, id));
        }
        if let Some(counted) = self.counted.get(&job.collection)
            && counted.iter().any(|c| c.job == id)
        {
            let others = counted.iter().filter(|c| c.job != id).copied().collect();
            self.counted.insert_mut(job.collection, others);
        }
    }
}

/// Until when an ended job is remembered; none while it has not ended.
fn kept_until(job: &JobRecord) -> Option<i64> {
    let finished = job.finished_ms?;
    Some(
        job.kept_until_ms
            .unwrap_or(finished.saturating_add(KEPT_MS)),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::storage::change::{Change, Commit};
    use crate::storage::schema::Version;
    use crate::storage::snapshot::Snapshot;

    /// A job that ended at the time which is its id, and may go ten later.
    fn job(id: u64, collection: u64, kind: JobKind) -> JobRecord {
        JobRecord {
            finished_ms: Some(id as i64),
            kept_until_ms: Some(id as i64 + 10),
            state: JobState::Succeeded,
            ..JobRecord::queued(JobId(id), CollectionId(collection), "c", kind, 0)
        }
    }

    fn clustered(id: u64, collection: u64, depth: impl Into<Option<f64>>) -> JobRecord {
        JobRecord {
            depth_after: depth.into(),
            ..job(id, collection, JobKind::Cluster)
        }
    }

    fn history(jobs: impl IntoIterator<Item = JobRecord>) -> JobHistory {
        let mut history = JobHistory::new();
        for job in jobs {
            history.put(Arc::new(job), true);
        }
        history
    }

    fn ids(history: &JobHistory) -> Vec<u64> {
        history.jobs().map(|job| job.id.0).collect()
    }

    fn counted(history: &JobHistory, collection: u64) -> Vec<u64> {
        let clusterings = history.clusterings(CollectionId(collection));
        clusterings.map(|job| job.id.0).collect()
    }

    #[test]
    fn jobs_go_by_their_age_from_their_end_on() {
        let at_work = JobRecord {
            finished_ms: None,
            kept_until_ms: None,
            state: JobState::Running,
            ..job(1, 1, JobKind::Merge)
        };
        let of_before = JobRecord {
            kept_until_ms: None,
            ..job(4, 1, JobKind::Seal)
        };
        let long = JobRecord {
            finished_ms: Some(8),
            kept_until_ms: Some(18),
            ..job(2, 1, JobKind::Cluster)
        };
        let long = JobRecord {
            state: JobState::Failed,
            ..long
        };
        let jobs = [at_work.clone(), long, job(3, 1, JobKind::Seal), of_before];
        let mut history = history(jobs);
        history.forget(13);
        assert_eq!(ids(&history), [1, 2, 3, 4]);
        history.forget(14);
        assert_eq!(ids(&history), [1, 2, 4]);
        history.forget(19);
        assert_eq!(ids(&history), [1, 4]);
        history.forget(4 + KEPT_MS + 1);
        assert_eq!(ids(&history), [1]);
        let ended = JobRecord {
            finished_ms: Some(50),
            kept_until_ms: Some(60),
            ..at_work
        };
        history.put(Arc::new(ended), true);
        history.forget(60);
        assert_eq!(ids(&history), [1]);
        history.forget(61);
        assert_eq!(ids(&history), [0; 0]);
    }

    #[test]
    fn a_job_that_begins_again_is_not_forgotten() {
        let mut history = history([job(1, 1, JobKind::Seal)]);
        let again = JobRecord {
            finished_ms: None,
            ..job(1, 1, JobKind::Seal)
        };
        history.put(Arc::new(again), true);
        history.forget(i64::MAX);
        assert_eq!(ids(&history), [1]);
    }

    #[test]
    fn a_snapshot_forgets_by_the_time_of_commits_and_what_is_too_much() {
        let most = JOBS_MAX as u64;
        let jobs = (1..=most + 10).map(|id| JobRecord {
            kept_until_ms: Some(i64::MAX),
            ..job(id, 1, JobKind::Seal)
        });
        let mut jobs: Vec<JobRecord> = jobs.collect();
        (jobs[0].state, jobs[0].finished_ms) = (JobState::Queued, None);
        jobs[20].kept_until_ms = Some(4);
        jobs[30].kept_until_ms = Some(5);
        let commit = Commit {
            version: Version(1),
            timestamp_ms: 5,
            changes: jobs.into_iter().map(Change::Job).collect(),
        };
        let snapshot = Snapshot::empty().apply(&commit).unwrap();
        let ids: Vec<u64> = snapshot.jobs().map(|job| job.id.0).collect();
        assert_eq!(ids.len(), JOBS_MAX);
        assert_eq!(ids[..2], [1, 10]);
        assert!(snapshot.job(JobId(21)).is_none());
    }

    #[test]
    fn clusterings_that_intervals_count_from_stay() {
        let nothing_to_do = JobRecord {
            state: JobState::NothingToDo,
            ..clustered(2, 1, 0.5)
        };
        let mut history = history([
            clustered(1, 1, 1.0),
            nothing_to_do,
            clustered(3, 1, 2.0),
            clustered(4, 1, 2.0),
            clustered(5, 1, 5.0),
            clustered(6, 2, None),
            clustered(7, 1, 5.5),
        ]);
        // The last one is within 6, the fifth the last within 5, the fourth within 2, the first within 1.
        assert_eq!(counted(&history, 1), [7, 5, 4, 1]);
        assert_eq!(counted(&history, 2), [6]);
        history.forget(i64::MAX);
        assert_eq!(ids(&history), [1, 4, 5, 6, 7]);
        history.put(Arc::new(clustered(8, 1, 1.5)), true);
        history.put(Arc::new(clustered(9, 2, 9.0)), true);
        assert_eq!(counted(&history, 1), [8, 1]);
        assert_eq!(counted(&history, 2), [9]);
        history.forget(17);
        assert_eq!(ids(&history), [1, 7, 8, 9]);
        // Nothing counts from those of collections that are gone.
        history.forget_collection(CollectionId(1));
        assert_eq!(counted(&history, 1), [0; 0]);
        history.put(Arc::new(clustered(10, 1, 1.0)), false);
        history.forget(i64::MAX);
        assert_eq!(ids(&history), [9]);
    }
}
