//! Which ended jobs a database forgets when there are too many.
//!
//! Seals come all day; when a collection was last clustered decides when that is done again, days later. So those
//! clusterings stay from which that is counted, however many jobs came after.

use std::collections::HashMap;

use super::change::{JobKind, JobRecord, JobState};
use super::schema::{CollectionId, JobId};

/// Jobs that are remembered, besides those at work and those that must not be forgotten.
pub(super) const JOBS_MAX: usize = 1_000;

/// The job to forget of `jobs`, in the order of their ids: the one whose end is longest ago of those that nothing counts
/// from. None where all are at work or needed.
pub(super) fn to_forget<'a>(
    jobs: impl DoubleEndedIterator<Item = &'a JobRecord>,
    exists: impl Fn(CollectionId) -> bool,
) -> Option<JobId> {
    let mut counted = Counted::default();
    let ended = jobs.rev().filter_map(|job| {
        let needed = exists(job.collection) && counted.includes(job);
        let finished = job.finished_ms.filter(|_| !needed)?;
        Some((finished, job.id))
    });
    ended.min().map(|(_, id)| id)
}

/// The least depth that clusterings of a collection left, of those that were looked at.
#[derive(Default)]
struct Counted(HashMap<CollectionId, Option<f64>>);

impl Counted {
    /// Whether intervals count from a job, after all younger ones were looked at: it is the youngest clustering of its
    /// collection, or the youngest that left so small a depth, and so the last one within some bound.
    fn includes(&mut self, job: &JobRecord) -> bool {
        if job.kind != JobKind::Cluster || job.state != JobState::Succeeded {
            return false;
        }
        let Some(least) = self.0.get_mut(&job.collection) else {
            self.0.insert(job.collection, job.depth_after);
            return true;
        };
        let less = match (*least, job.depth_after) {
            (Some(least), Some(depth)) => depth < least,
            (None, depth) => depth.is_some(),
            (_, None) => false,
        };
        if less {
            *least = job.depth_after;
        }
        less
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::storage::change::{Change, Commit};
    use crate::storage::schema::Version;
    use crate::storage::snapshot::Snapshot;

    fn job(id: u64, collection: u64, kind: JobKind, finished: i64) -> JobRecord {
        JobRecord {
            finished_ms: Some(finished),
            state: JobState::Succeeded,
            ..JobRecord::queued(JobId(id), CollectionId(collection), "c", kind, 0)
        }
    }

    fn forgotten(jobs: &[JobRecord]) -> Option<u64> {
        to_forget(jobs.iter(), |id| id.0 < 10).map(|id| id.0)
    }

    #[test]
    fn what_ended_first_goes_first() {
        let mut jobs = vec![
            job(1, 1, JobKind::Seal, 50),
            job(2, 1, JobKind::Merge, 30),
            job(3, 1, JobKind::Seal, 40),
        ];
        assert_eq!(forgotten(&jobs), Some(2));
        jobs[1].state = JobState::Failed;
        assert_eq!(forgotten(&jobs), Some(2));
        (jobs[1].state, jobs[1].finished_ms) = (JobState::Running, None);
        assert_eq!(forgotten(&jobs), Some(3));
        assert_eq!(forgotten(&jobs[1..2]), None);
        assert_eq!(forgotten(&[]), None);
    }

    #[test]
    fn a_snapshot_remembers_the_newest_and_all_at_work() {
        let ended = (1..=JOBS_MAX as u64 + 10).map(|id| job(id, 1, JobKind::Seal, id as i64));
        let mut jobs: Vec<JobRecord> = ended.collect();
        (jobs[0].state, jobs[0].finished_ms) = (JobState::Queued, None);
        let commit = Commit {
            version: Version(1),
            timestamp_ms: 0,
            changes: jobs.into_iter().map(Change::Job).collect(),
        };
        let snapshot = Snapshot::empty().apply(&commit).unwrap();
        let ids: Vec<u64> = snapshot.jobs().map(|job| job.id.0).collect();
        assert_eq!(ids.len(), JOBS_MAX);
        assert_eq!(ids[..2], [1, 12]);
    }

    #[test]
    fn clusterings_that_intervals_count_from_stay() {
        let clustered = |id, collection, depth| JobRecord {
            depth_after: depth,
            ..job(id, collection, JobKind::Cluster, id as i64)
        };
        let mut jobs = vec![
            clustered(1, 1, Some(1.0)),
            clustered(2, 1, Some(3.0)),
            clustered(3, 1, Some(2.0)),
            clustered(4, 1, Some(2.0)),
            clustered(5, 1, Some(5.0)),
            clustered(6, 2, None),
        ];
        jobs[1].state = JobState::NothingToDo;
        // The fifth is the last, the fourth the last one within 2, the first the last one within 1.
        assert_eq!(forgotten(&jobs), Some(2));
        jobs.remove(1);
        assert_eq!(forgotten(&jobs), Some(3));
        jobs.remove(1);
        assert_eq!(forgotten(&jobs), None);
        // Nothing counts from those of collections that are gone.
        jobs.push(clustered(7, 10, Some(1.0)));
        assert_eq!(forgotten(&jobs), Some(7));
    }
}
