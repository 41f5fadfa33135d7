//! When clustering starts by itself: a pure decision from what is new and when it was last done.

use std::time::Duration;

use super::cluster::unclustered_bytes;
use super::{clusters_by_itself, run_of};
use crate::settings::{ByteSize, Settings};
use crate::storage::change::JobRecord;
use crate::storage::collection::Collection;
use crate::storage::snapshot::Snapshot;

/// What a round decided for a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Round {
    /// Cluster what is new.
    Cluster,
    /// Cluster what is new, and bring the depth down to its bound.
    Settle,
    /// Not now, and why.
    Skip(String),
}

/// When a collection was last clustered, in milliseconds since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Clustered {
    /// The end of the last clustering that changed something.
    pub last_ms: Option<i64>,
    /// The end of the last one that left the depth within its bound.
    pub settled_ms: Option<i64>,
}

impl Clustered {
    /// As the durable history of jobs has it.
    pub fn of(snapshot: &Snapshot, collection: &Collection, settings: &Settings) -> Self {
        let settings = collection.options.settings(settings);
        let bound = settings.compaction_clustering_max_depth as f64;
        let settled = |j: &JobRecord| j.depth_after.is_some_and(|depth| depth <= bound);
        let mut found = Self::default();
        for job in snapshot.clusterings(collection.id) {
            found.last_ms = found.last_ms.max(job.finished_ms);
            if settled(job) {
                found.settled_ms = job.finished_ms;
                break;
            }
        }
        found
    }
}

/// Whether a collection is to be clustered at `now_ms`, by the model's rules: for the first time when the new rows pass
/// the threshold; later never within `min_interval`, always after `max_interval`, and else past the threshold.
///
/// `max_interval` counts from the last clustering that left the depth within its bound, so that steady inserts, which
/// keep clusterings coming, do not put the deeper one off for ever.
pub fn clustering_due(
    collection: &Collection,
    clustered: Clustered,
    settings: &Settings,
    now_ms: i64,
) -> Round {
    let settings = &collection.options.settings(settings);
    if !clusters_by_itself(collection, settings) {
        return Round::Skip("clustering does not start by itself for this collection".into());
    }
    let new = ByteSize(unclustered_bytes(collection));
    let threshold = settings.compaction_clustering_new_data_size_threshold;
    let few = || {
        let new = ByteSize(new.0 >> 20 << 20);
        format!("about {new} are new, which is not more than new_data_size_threshold ({threshold})")
    };
    let since = |then: Option<i64>| {
        let then = then.unwrap_or(i64::MIN);
        Duration::from_millis(now_ms.saturating_sub(then).max(0) as u64)
    };
    let has_run = collection
        .segments()
        .any(|s| run_of(collection, s).is_some());
    if !has_run {
        return match new > threshold {
            true => Round::Cluster,
            false => Round::Skip(few()),
        };
    }
    let (last, settled) = (since(clustered.last_ms), since(clustered.settled_ms));
    let least = settings.compaction_clustering_min_interval;
    if last < least {
        let text = crate::settings::duration_text(least);
        return Round::Skip(format!(
            "the last clustering is younger than min_interval ({text})"
        ));
    }
    if settled >= settings.compaction_clustering_max_interval {
        return Round::Settle;
    }
    match new > threshold {
        true => Round::Cluster,
        false => Round::Skip(few()),
    }
}
