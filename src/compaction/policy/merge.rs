//! Merges: small segments are put together and dead rows purged, without taking rows out of their key's range.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Choice, Group, Request, Run, growing_weight, limits, run_of, sealed_weight, work};
use super::{MERGE_FILL, clusters_by_itself, has_expired, is_purgeable};
use crate::compaction::depth::{Edge, key_range};
use crate::compaction::ranges::{Limits, Weight};
use crate::settings::Settings;
use crate::storage::collection::{Collection, Segment};
use crate::storage::growing::GrowingSegment;
use crate::storage::schema::{JobId, SegmentId};
use crate::storage::ttl::Ttl;

/// The automatic merge waits for this many segments of about one size.
const TIER_SEGMENTS_MIN: usize = 8;
/// Sizes that differ by less than this factor are about the same: a merged segment is in a higher tier than those it
/// was made of, so a row is rewritten O(log n) times until its segment is full.
const TIER_FACTOR: f64 = 8.0;
/// Where clustering starts by itself, segments past this part of one are left to it.
const CLUSTERED_TIER_MAX: f64 = 1.0 / 16.0;

/// A segment that a merge may take.
struct Candidate<'a> {
    segment: &'a Segment,
    weight: Weight,
    /// Whether it is worth a rewrite by itself.
    purge: bool,
}

impl Candidate<'_> {
    fn tier(&self, limits: Limits) -> i32 {
        let part = self.weight.part_of(limits).max(f64::MIN_POSITIVE);
        part.log(TIER_FACTOR).floor() as i32
    }
}

/// What makes a candidate.
struct Want<'a> {
    limits: Limits,
    settings: &'a Settings,
    ttl: Option<Ttl>,
    now_ms: i64,
}

fn candidate<'a>(segment: &'a Segment, want: &Want) -> Option<Candidate<'a>> {
    let weight = sealed_weight(segment);
    let purge = is_purgeable(segment) || has_expired(segment, want.ttl.as_ref(), want.now_ms);
    let small = weight.part_of(want.limits) < want.settings.segment_small_proportion;
    (small || purge).then_some(Candidate {
        segment,
        weight,
        purge,
    })
}

pub(super) fn merge(
    collection: &Collection,
    request: &Request,
    settings: &Settings,
    now_ms: i64,
) -> Choice {
    let options = &request.options;
    let limits = limits(collection, request, settings);
    let want = Want {
        limits,
        settings,
        ttl: Ttl::of(collection),
        now_ms,
    };
    let in_scope = |s: &Segment| options.scope.reaches(collection, s);
    let mut loose = Vec::new();
    let mut runs: BTreeMap<JobId, Vec<&Segment>> = BTreeMap::new();
    for segment in collection.segments() {
        match run_of(collection, segment) {
            Some(run) => runs.entry(run).or_default().push(segment),
            None => loose.push(&**segment),
        }
    }
    let mut groups = Vec::new();
    for (run, segments) in runs {
        let candidate = |s| candidate(s, &want).filter(|_| in_scope(s));
        let fill = Fill {
            limits,
            most: run_fill(settings),
        };
        groups.extend(merge_run(collection, run, segments, fill, candidate));
    }
    let growing = match options.automatic {
        true => &[],
        false => collection.growing(),
    };
    let mut candidates: Vec<_> = loose
        .iter()
        .filter_map(|s| candidate(s, &want).filter(|_| in_scope(s)))
        .collect();
    if options.automatic {
        let left_to_clustering = clusters_by_itself(collection, settings);
        candidates = worth_it(candidates, limits, left_to_clustering);
    }
    groups.extend(match collection.schema.clustering_key.is_empty() {
        true => fill_anywhere(&candidates, growing, limits),
        false => fill_neighbours(collection, &loose, candidates, growing, limits),
    });
    if groups.is_empty() {
        return Choice::NothingToDo(
            "no growing rows, no small segments to put together, no dead rows worth purging".into(),
        );
    }
    let count: usize = groups.iter().map(|g| g.inputs.len()).sum();
    let reason = format!("put {count} segments into {} or more", groups.len());
    work(groups, reason)
}

/// Those that the automatic merge takes: purgeable ones, and those of tiers with enough of them.
fn worth_it(
    candidates: Vec<Candidate<'_>>,
    limits: Limits,
    left_to_clustering: bool,
) -> Vec<Candidate<'_>> {
    let is_left = |c: &Candidate| {
        left_to_clustering && !c.purge && c.weight.part_of(limits) >= CLUSTERED_TIER_MAX
    };
    let mut tiers: BTreeMap<i32, Vec<Candidate>> = BTreeMap::new();
    for candidate in candidates.into_iter().filter(|c| !is_left(c)) {
        let tier = candidate.tier(limits);
        tiers.entry(tier).or_default().push(candidate);
    }
    let taken = tiers.into_values().flat_map(|tier| {
        let enough = tier.len() >= TIER_SEGMENTS_MIN;
        tier.into_iter().filter(move |c| enough || c.purge)
    });
    taken.collect()
}

/// How full the segments of a run may get: that part of the limits.
#[derive(Clone, Copy)]
struct Fill {
    limits: Limits,
    most: f64,
}

/// Up to how much neighbours of a run are put together: not where clustering, which prefers segments of a size, would
/// have made two of them ([`Limits::segments`]: one that is a third too large is as far from it as two halves).
fn run_fill(settings: &Settings) -> f64 {
    let preferred = settings.compaction_clustering_prefer_segment_size_ratio;
    MERGE_FILL * (preferred * 4.0 / 3.0).min(1.0)
}

/// Groups within a run: neighbours in key order only, so that the outputs' ranges stay disjoint from the others'.
fn merge_run<'a>(
    collection: &Collection,
    run: JobId,
    mut segments: Vec<&'a Segment>,
    fill: Fill,
    candidate: impl Fn(&'a Segment) -> Option<Candidate<'a>>,
) -> Vec<Group> {
    let key = &collection.schema.clustering_key;
    segments.sort_by_cached_key(|s| key_range(collection, s, key));
    let mut groups = Vec::new();
    let mut neighbours = Vec::new();
    for segment in segments {
        match candidate(segment) {
            Some(candidate) => neighbours.push(candidate),
            None => {
                groups.extend(fill_run(&neighbours, fill, run));
                neighbours.clear();
            }
        }
    }
    groups.extend(fill_run(&neighbours, fill, run));
    groups
}

/// Puts neighbours of a run together until a segment is full; keeps the groups that make fewer segments or purge dead rows.
fn fill_run(candidates: &[Candidate], fill: Fill, run: JobId) -> Vec<Group> {
    let mut groups = Vec::new();
    let mut rest = candidates;
    while !rest.is_empty() {
        let mut weight = Weight::default();
        let fits = |c: &&Candidate| {
            weight = weight.plus(c.weight);
            weight.part_of(fill.limits) <= fill.most
        };
        let taken = rest.iter().take_while(fits).count().max(1);
        let (group, after) = rest.split_at(taken);
        rest = after;
        if group.len() > 1 || group[0].purge {
            let levels = group.iter().map(|c| c.segment.level);
            groups.push(Group {
                inputs: group.iter().map(|c| c.segment.id).collect(),
                run: Run::Same(run),
                level: levels.max().unwrap_or(0),
            });
        }
    }
    groups
}

/// Puts unclustered neighbours in key order together, each into the first group with room for it. Two that have a
/// segment between them, which reaches neither, stay apart: together they would cover it, and more segments would lie
/// deep than before. A second merge then finds nothing to do: of two groups that fit together the first was closed,
/// by a segment that is still between them (unless its lowest keys were of dead rows, which are gone now).
fn fill_neighbours(
    collection: &Collection,
    loose: &[&Segment],
    candidates: Vec<Candidate>,
    growing: &[Arc<GrowingSegment>],
    limits: Limits,
) -> Vec<Group> {
    if candidates.is_empty() && growing.is_empty() {
        return Vec::new();
    }
    let key = &collection.schema.clustering_key;
    let mut candidates: BTreeMap<SegmentId, Candidate> =
        candidates.into_iter().map(|c| (c.segment.id, c)).collect();
    let ranges = loose.iter().map(|s| (key_range(collection, s, key), s.id));
    let ranges: BTreeSet<_> = ranges.collect();
    let mut bins: Vec<Bin> = Vec::new();
    // Those that may still take what comes: their places, and how far they reach.
    let mut open: Vec<(usize, Vec<Edge>)> = Vec::new();
    for ((low, high), id) in ranges {
        let bin = candidates.remove(&id).map(|c| Bin::of(&c));
        let has_room = |bin: &Bin| open.iter().position(|o| bins[o.0].has_room(bin, limits));
        match (bin.as_ref().and_then(has_room), bin) {
            (Some(first), Some(bin)) => {
                let (place, reach) = &mut open[first];
                bins[*place].add(bin);
                *reach = high.max(std::mem::take(reach));
            }
            (_, bin) => {
                open.retain(|(_, reach)| low <= *reach);
                if let Some(bin) = bin {
                    open.push((bins.len(), high));
                    bins.push(bin);
                }
            }
        }
    }
    if let Some(bin) = Bin::of_growing(growing) {
        match bins.last_mut() {
            Some(last) if last.has_room(&bin, limits) => last.add(bin),
            _ => bins.push(bin),
        }
    }
    groups_of(bins)
}

/// Puts each segment into the first group with room for it, and the growing rows last. A second merge then finds
/// nothing to do: no two groups fit together.
fn fill_anywhere(
    candidates: &[Candidate],
    growing: &[Arc<GrowingSegment>],
    limits: Limits,
) -> Vec<Group> {
    let mut bins: Vec<Bin> = Vec::new();
    let all = candidates.iter().map(Bin::of);
    for bin in all.chain(Bin::of_growing(growing)) {
        match bins.iter_mut().find(|b| b.has_room(&bin, limits)) {
            Some(first) => first.add(bin),
            None => bins.push(bin),
        }
    }
    groups_of(bins)
}

fn groups_of(bins: Vec<Bin>) -> Vec<Group> {
    let worth_it = bins.into_iter().filter(|b| b.worth_it);
    worth_it.map(|b| Group::unclustered(b.inputs)).collect()
}

/// Segments that together make one.
struct Bin {
    inputs: Vec<SegmentId>,
    weight: Weight,
    worth_it: bool,
}

impl Bin {
    fn of(candidate: &Candidate) -> Self {
        Self {
            inputs: vec![candidate.segment.id],
            weight: candidate.weight,
            worth_it: candidate.purge,
        }
    }

    fn of_growing(growing: &[Arc<GrowingSegment>]) -> Option<Self> {
        let weights = growing.iter().map(|g| growing_weight(g));
        (!growing.is_empty()).then(|| Self {
            inputs: growing.iter().map(|g| g.id).collect(),
            weight: weights.fold(Weight::default(), Weight::plus),
            worth_it: true,
        })
    }

    fn has_room(&self, other: &Self, limits: Limits) -> bool {
        self.weight.plus(other.weight).part_of(limits) <= MERGE_FILL
    }

    fn add(&mut self, other: Self) {
        self.inputs.extend(other.inputs);
        self.weight = self.weight.plus(other.weight);
        self.worth_it = true;
    }
}
