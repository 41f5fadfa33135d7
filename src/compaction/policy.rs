//! What to compact: a pure choice from a collection as it is.
//!
//! `merge` keeps segments full and free of dead rows; `cluster` keeps the ranges of their keys apart; [`due`] says
//! when clustering starts by itself. Nothing here reads a clock, a file or another thread: a simulation drives months of
//! inserts through [`choose`].

use crate::error::Result;
use crate::settings::{ByteSize, Settings};
use crate::storage::change::JobKind;
use crate::storage::collection::{Collection, Segment};
use crate::storage::growing::GrowingSegment;
use crate::storage::schema::{JobId, SegmentId};
use crate::storage::ttl::Ttl;

use super::ranges::{Limits, Weight};

mod cluster;
pub mod due;
mod merge;
mod scope;
mod windows;

pub(super) use scope::input_bytes;
pub use scope::{KeyRange, Scope};

/// A segment with more dead rows than this part is rewritten without them.
const DEAD_PART_MAX: f64 = 0.2;
/// Small segments are put together until they fill this part of one: room for sizes that are estimates, so that a
/// merge never makes as many segments as it took.
const MERGE_FILL: f64 = 0.9;

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The kind of job.
    pub kind: JobKind,
    /// How it is asked for.
    pub options: JobOptions,
}

/// How a compaction is asked for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JobOptions {
    /// Rewrite what is in good order already.
    pub full: bool,
    /// Asked by the scheduler itself, which waits until it is worth it.
    pub automatic: bool,
    /// Of an automatic clustering: bring the depth down to its bound now, whatever that takes.
    pub settle: bool,
    /// What it is limited to.
    pub scope: Scope,
    /// The most bytes that each output should have, if not the collection's own.
    pub target_size: Option<ByteSize>,
}

impl JobOptions {
    /// Whether a job with these options does all that a request of the same kind with `others` wants.
    pub fn does(&self, others: &Self) -> bool {
        let as_full = self.full || !others.full;
        as_full && self.scope == others.scope && self.target_size == others.target_size
    }
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Choice {
    /// All is well as it is, and why.
    NothingToDo(String),
    /// Replace these inputs.
    Work(Work),
}

/// Inputs to be replaced together, in one commit.
#[derive(Debug, Clone, PartialEq)]
pub struct Work {
    /// Each group is sorted and cut by itself.
    pub groups: Vec<Group>,
    /// What it is for.
    pub reason: String,
}

/// Segments, growing or sealed, whose rows are sorted together and cut into new segments.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The inputs; without a clustering key their order is the order of the rows.
    pub inputs: Vec<SegmentId>,
    /// The clustering run that the outputs belong to.
    pub run: Run,
    /// How often the outputs' rows have been clustered: their place among the tiers of runs.
    pub level: u8,
}

/// The clustering run of outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// None: their ranges may overlap with those of others.
    None,
    /// That of the inputs, whose ranges they keep to.
    Same(JobId),
    /// A new one, named after the job.
    New,
}

impl Work {
    /// All inputs.
    pub fn inputs(&self) -> impl Iterator<Item = SegmentId> + '_ {
        self.groups.iter().flat_map(|g| g.inputs.iter().copied())
    }
}

impl Group {
    /// A group whose outputs belong to no run.
    fn unclustered(inputs: Vec<SegmentId>) -> Self {
        Self {
            inputs,
            run: Run::None,
            level: 0,
        }
    }
}

/// What a request means for a collection at `now_ms` (milliseconds since 1970 UTC). Settings that the collection has of
/// its own win over `settings`, those of the database.
///
/// # Errors
/// 55000 for clustering a collection without a clustering key.
pub fn choose(
    collection: &Collection,
    request: &Request,
    settings: &Settings,
    now_ms: i64,
) -> Result<Choice> {
    let options = &request.options;
    let settings = &collection.options.settings(settings);
    let choice = match request.kind {
        JobKind::Seal => seal(collection, options, settings, now_ms),
        JobKind::Merge => merge::merge(collection, request, settings, now_ms),
        JobKind::Cluster => cluster::cluster(collection, request, settings)?,
    };
    Ok(scope::within_bytes(choice, collection, options, settings))
}

/// How much each output may hold. Clustering leaves room in bytes, unless the request names a size.
pub fn limits(collection: &Collection, request: &Request, settings: &Settings) -> Limits {
    let settings = collection.options.settings(settings);
    let of_collection = ByteSize(collection.options.segment_bytes_max);
    let (largest, preferred) = match (request.kind, request.options.target_size) {
        (JobKind::Cluster, None) => {
            let largest = settings.compaction_clustering_max_segment_size_ratio;
            let preferred = settings.compaction_clustering_prefer_segment_size_ratio;
            (largest, (preferred / largest).min(1.0))
        }
        _ => (1.0, 1.0),
    };
    let bytes = request.options.target_size.unwrap_or(of_collection).0;
    Limits {
        rows: collection.options.segment_rows_max.max(1),
        bytes: ((bytes as f64 * largest) as u64).max(1),
        preferred,
    }
}

/// Live rows of a sealed segment, and about the bytes that they take in memory.
pub fn sealed_weight(segment: &Segment) -> Weight {
    let bytes = segment.stats.memory_bytes.max(1);
    Weight {
        rows: segment.live_rows(),
        bytes: scale(bytes, segment.live_rows(), segment.rows),
    }
}

/// Live rows of a growing segment, and about the bytes that they take.
pub fn growing_weight(segment: &GrowingSegment) -> Weight {
    Weight {
        rows: segment.live_rows(),
        bytes: scale(segment.bytes, segment.live_rows(), segment.rows),
    }
}

fn scale(bytes: u64, live: u64, rows: u64) -> u64 {
    match rows {
        0 => 0,
        _ => (u128::from(bytes) * u128::from(live) / u128::from(rows)) as u64,
    }
}

fn seal(collection: &Collection, options: &JobOptions, settings: &Settings, now: i64) -> Choice {
    let age_max = i64::try_from(settings.growing_max_age.as_millis()).unwrap_or(i64::MAX);
    let due = |g: &GrowingSegment| {
        g.bytes >= settings.growing_max_size.0 || now.saturating_sub(g.created_ms) >= age_max
    };
    let growing = collection.growing().iter();
    let inputs: Vec<SegmentId> = growing
        .filter(|g| !options.automatic || due(g))
        .map(|g| g.id)
        .collect();
    if inputs.is_empty() {
        return Choice::NothingToDo("there are no growing rows to seal".into());
    }
    let reason = format!("seal {} growing segments", inputs.len());
    work(vec![Group::unclustered(inputs)], reason)
}

fn work(groups: Vec<Group>, reason: String) -> Choice {
    Choice::Work(Work { groups, reason })
}

/// Whether clustering of the collection may start by itself.
fn clusters_by_itself(collection: &Collection, settings: &Settings) -> bool {
    let on = settings.compaction_clustering_enable && settings.compaction_clustering_auto;
    on && settings.compaction_auto && !collection.schema.clustering_key.is_empty()
}

/// The clustering run that a segment belongs to, if that was made with today's clustering key.
fn run_of(collection: &Collection, segment: &Segment) -> Option<JobId> {
    let key = &collection.schema.clustering_key;
    segment
        .run
        .filter(|_| !key.is_empty() && *segment.sorted_by == **key)
}

fn is_purgeable(segment: &Segment) -> bool {
    let dead = segment.deletes.len();
    dead > 0 && dead as f64 > DEAD_PART_MAX * segment.rows as f64
}

/// Whether so many rows of a segment have expired, by its statistics. Once it is rewritten without them, its first row to
/// expire is a later one: it is not taken again until time has passed.
fn has_expired(segment: &Segment, ttl: Option<&Ttl>, now_ms: i64) -> bool {
    let part = |ttl: &Ttl| {
        let stats = segment.stats.of_column(&ttl.column, segment.rows);
        ttl.expired_part(&stats, now_ms)
    };
    segment.live_rows() > 0 && ttl.map_or(0.0, part) > DEAD_PART_MAX
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
