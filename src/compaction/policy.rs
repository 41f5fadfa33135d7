//! What to compact: a pure choice from a collection as it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::depth::key_range;
use super::ranges::{Limits, Weight};
use crate::error::{Error, Result, sqlstate};
use crate::settings::Settings;
use crate::storage::change::JobKind;
use crate::storage::collection::{Collection, Segment};
use crate::storage::growing::GrowingSegment;
use crate::storage::schema::{JobId, SegmentId};

/// A segment with more dead rows than this part is rewritten without them.
const DEAD_PART_MAX: f64 = 0.2;
/// Small segments are put together until they fill this part of one: room for sizes that are estimates, so that a
/// merge never makes as many segments as it took.
const MERGE_FILL: f64 = 0.9;
/// The automatic merge waits for this many small segments, so that a row is rewritten O(log n) times.
const AUTO_MERGE_SEGMENTS_MIN: usize = 8;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// The kind of job.
    pub kind: JobKind,
    /// How it is asked for.
    pub options: JobOptions,
}

/// How a compaction is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JobOptions {
    /// Rewrite what is in good order already.
    pub full: bool,
    /// Asked by the scheduler itself, which waits until it is worth it.
    pub automatic: bool,
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

/// What a request means for a collection at `now_ms` (milliseconds since 1970 UTC).
///
/// # Errors
/// 55000 for clustering a collection without a clustering key.
pub fn choose(
    collection: &Collection,
    request: Request,
    settings: &Settings,
    now_ms: i64,
) -> Result<Choice> {
    match request.kind {
        JobKind::Seal => Ok(seal(collection, request.options, settings, now_ms)),
        JobKind::Merge => Ok(merge(collection, request.options, settings)),
        JobKind::Cluster => cluster(collection, request.options),
    }
}

/// How much a segment of the collection may hold.
pub fn limits(collection: &Collection) -> Limits {
    Limits {
        rows: collection.options.segment_rows_max.max(1),
        bytes: collection.options.segment_bytes_max.max(1),
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

fn seal(collection: &Collection, options: JobOptions, settings: &Settings, now: i64) -> Choice {
    let age_max = i64::try_from(settings.growing_max_age.as_millis()).unwrap_or(i64::MAX);
    let due = |g: &GrowingSegment| {
        g.bytes >= settings.growing_max_size.0
            || g.rows >= collection.options.segment_rows_max
            || now.saturating_sub(g.created_ms) >= age_max
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
    let run = Run::None;
    work(vec![Group { inputs, run }], reason)
}

fn work(groups: Vec<Group>, reason: String) -> Choice {
    Choice::Work(Work { groups, reason })
}

/// A segment that a merge may take.
struct Candidate<'a> {
    segment: &'a Segment,
    weight: Weight,
    /// Whether it is worth a rewrite by itself.
    purge: bool,
}

fn is_purgeable(segment: &Segment) -> bool {
    let dead = segment.deletes.len();
    dead > 0 && dead as f64 > DEAD_PART_MAX * segment.rows as f64
}

fn candidate<'a>(
    segment: &'a Segment,
    limits: Limits,
    settings: &Settings,
) -> Option<Candidate<'a>> {
    let weight = sealed_weight(segment);
    let purge = is_purgeable(segment);
    let small = weight.part_of(limits) < settings.compaction_small_proportion;
    (small || purge).then_some(Candidate {
        segment,
        weight,
        purge,
    })
}

fn merge(collection: &Collection, options: JobOptions, settings: &Settings) -> Choice {
    let limits = limits(collection);
    let key = &collection.schema.clustering_key;
    let mut groups = Vec::new();
    let mut loose = Vec::new();
    let mut runs: BTreeMap<JobId, Vec<&Segment>> = BTreeMap::new();
    for segment in collection.segments() {
        match run_of(collection, segment) {
            Some(run) => runs.entry(run).or_default().push(segment),
            None => loose.extend(candidate(segment, limits, settings)),
        }
    }
    for (run, segments) in runs {
        groups.extend(merge_run(collection, run, segments, limits, settings));
    }
    if !key.is_empty() {
        loose.sort_by_cached_key(|c| key_range(collection, c.segment, key));
    }
    let worth_it = !options.automatic
        || loose.len() >= AUTO_MERGE_SEGMENTS_MIN
        || loose.iter().any(|c| c.purge);
    if worth_it {
        let growing = if options.automatic {
            &[]
        } else {
            collection.growing()
        };
        groups.extend(fill_loose(&loose, growing, limits));
    }
    if groups.is_empty() {
        return Choice::NothingToDo(
            "no growing rows, no small segments to put together, no dead rows worth purging".into(),
        );
    }
    let count: usize = groups.iter().map(|g| g.inputs.len()).sum();
    let reason = format!("put {count} segments into {} or more", groups.len());
    work(groups, reason)
}

/// The clustering run that a segment belongs to, if that was made with today's clustering key.
fn run_of(collection: &Collection, segment: &Segment) -> Option<JobId> {
    let key = &collection.schema.clustering_key;
    segment
        .run
        .filter(|_| !key.is_empty() && *segment.sorted_by == **key)
}

/// Groups within a run: neighbours in key order only, so that the outputs' ranges stay disjoint from the others'.
fn merge_run(
    collection: &Collection,
    run: JobId,
    mut segments: Vec<&Segment>,
    limits: Limits,
    settings: &Settings,
) -> Vec<Group> {
    let key = &collection.schema.clustering_key;
    segments.sort_by_cached_key(|s| key_range(collection, s, key));
    let mut groups = Vec::new();
    let mut neighbours = Vec::new();
    for segment in segments {
        match candidate(segment, limits, settings) {
            Some(candidate) => neighbours.push(candidate),
            None => {
                groups.extend(fill_run(&neighbours, limits, run));
                neighbours.clear();
            }
        }
    }
    groups.extend(fill_run(&neighbours, limits, run));
    groups
}

/// Puts neighbours of a run together until a segment is full; keeps the groups that make fewer segments or purge dead rows.
fn fill_run(candidates: &[Candidate], limits: Limits, run: JobId) -> Vec<Group> {
    let mut groups = Vec::new();
    let mut rest = candidates;
    while !rest.is_empty() {
        let mut weight = Weight::default();
        let fits = |c: &&Candidate| {
            weight = weight.plus(c.weight);
            weight.part_of(limits) <= MERGE_FILL
        };
        let taken = rest.iter().take_while(fits).count().max(1);
        let (group, after) = rest.split_at(taken);
        rest = after;
        if group.len() > 1 || group[0].purge {
            let inputs = group.iter().map(|c| c.segment.id).collect();
            groups.push(Group {
                inputs,
                run: Run::Same(run),
            });
        }
    }
    groups
}

/// Puts each segment into the first group with room for it, and the growing rows last. A second merge then finds
/// nothing to do: no two groups fit together.
fn fill_loose(
    candidates: &[Candidate],
    growing: &[Arc<GrowingSegment>],
    limits: Limits,
) -> Vec<Group> {
    let mut bins: Vec<Bin> = Vec::new();
    for candidate in candidates {
        let bin = Bin {
            inputs: vec![candidate.segment.id],
            weight: candidate.weight,
            worth_it: candidate.purge,
        };
        bin.put_into(&mut bins, limits);
    }
    if !growing.is_empty() {
        let weights = growing.iter().map(|g| growing_weight(g));
        let bin = Bin {
            inputs: growing.iter().map(|g| g.id).collect(),
            weight: weights.fold(Weight::default(), Weight::plus),
            worth_it: true,
        };
        bin.put_into(&mut bins, limits);
    }
    let worth_it = bins.into_iter().filter(|b| b.worth_it);
    worth_it
        .map(|b| Group {
            inputs: b.inputs,
            run: Run::None,
        })
        .collect()
}

/// Segments that together make one.
struct Bin {
    inputs: Vec<SegmentId>,
    weight: Weight,
    worth_it: bool,
}

impl Bin {
    fn put_into(self, bins: &mut Vec<Self>, limits: Limits) {
        let has_room = |b: &&mut Self| b.weight.plus(self.weight).part_of(limits) <= MERGE_FILL;
        match bins.iter_mut().find(has_room) {
            Some(bin) => {
                bin.inputs.extend(self.inputs);
                bin.weight = bin.weight.plus(self.weight);
                bin.worth_it = true;
            }
            None => bins.push(self),
        }
    }
}

fn cluster(collection: &Collection, options: JobOptions) -> Result<Choice> {
    if collection.schema.clustering_key.is_empty() {
        let name = &collection.name;
        let message = format!("collection \"{name}\" has no clustering key");
        let hint = format!("Give it one: ALTER TABLE {name} CLUSTER BY (column).");
        return Err(
            Error::invalid(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message).with_hint(hint),
        );
    }
    let sealed = collection.segments().map(|s| s.id);
    let inputs: Vec<SegmentId> = sealed
        .chain(collection.growing().iter().map(|g| g.id))
        .collect();
    if inputs.is_empty() {
        return Ok(Choice::NothingToDo("the collection is empty".into()));
    }
    if !options.full && is_clustered(collection) {
        return Ok(Choice::NothingToDo(
            "every row is in one clustered run already".into(),
        ));
    }
    let reason = format!("cluster {} segments by key range", inputs.len());
    let run = Run::New;
    Ok(work(vec![Group { inputs, run }], reason))
}

/// Whether every row is in one run made with today's key. A run's ranges are disjoint as it was made, and merges
/// within it keep them so; its statistics need not show that, where long texts were truncated to equal bounds.
fn is_clustered(collection: &Collection) -> bool {
    let key = &collection.schema.clustering_key;
    let mut segments = collection.segments();
    let Some(first) = segments.next() else {
        return false;
    };
    let sorted = |s: &Segment| *s.sorted_by == **key && !is_purgeable(s);
    let alone = collection.segments().len() == 1;
    collection.growing().is_empty()
        && sorted(first)
        && (alone || first.run.is_some())
        && segments.all(|s| sorted(s) && s.run == first.run)
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
