//! The part of a collection that a request is for: keys that its inputs must reach, and bytes that they may have.

use std::collections::HashSet;

use super::cluster::level_of;
use super::{Choice, Group, JobOptions, Run, Work, is_purgeable, run_of};
use crate::compaction::depth::{Edge, key_range};
use crate::settings::{ByteSize, Settings};
use crate::storage::collection::{Collection, Segment};
use crate::storage::schema::{FieldId, JobId, SegmentId};
use crate::storage::stats::Bound;

/// Which segments a request may take.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scope {
    /// Inputs hold keys of each of these ranges, as far as their statistics tell.
    pub ranges: Vec<KeyRange>,
    /// The most bytes that the inputs may have together.
    pub bytes_max: Option<ByteSize>,
}

/// Values of a column, both ends included; an end that is not given is open.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyRange {
    /// The column.
    pub field: FieldId,
    /// The least value.
    pub low: Option<Bound>,
    /// The greatest.
    pub high: Option<Bound>,
}

impl Scope {
    /// Whether the segment may hold rows of every range. What statistics do not rule out it may hold.
    pub(in crate::compaction) fn reaches(
        &self,
        collection: &Collection,
        segment: &Segment,
    ) -> bool {
        self.ranges.iter().all(|r| r.meets(collection, segment))
    }
}

impl KeyRange {
    fn meets(&self, collection: &Collection, segment: &Segment) -> bool {
        let (low, high) = key_range(collection, segment, &[self.field]);
        let edge = |bound: &Option<Bound>| bound.clone().map(|b| vec![Edge::Value(b)]);
        edge(&self.low).is_none_or(|least| high >= least)
            && edge(&self.high).is_none_or(|most| low <= most)
    }
}

/// The choice with no more input than the request allows: whole groups, and of one that makes a new run a part.
///
/// A part is adjoining keys, so that depth goes down there; of a FULL rewrite it is what was written longest ago, so that
/// the same request again goes on where this one ended.
pub(super) fn within_bytes(
    choice: Choice,
    collection: &Collection,
    options: &JobOptions,
    settings: &Settings,
) -> Choice {
    let (Some(limit), Choice::Work(work)) = (options.scope.bytes_max, &choice) else {
        return choice;
    };
    let all = total(collection, work.inputs());
    if all <= limit.0 {
        return choice;
    }
    let mut left = limit.0;
    let mut groups = Vec::new();
    for group in &work.groups {
        let bytes = total(collection, group.inputs.iter().copied());
        if bytes <= left {
            left -= bytes;
            groups.push(group.clone());
        } else if group.run == Run::New
            && let Some(part) = part_of(group, collection, options.full, left)
        {
            let bytes = total(collection, part.iter().copied());
            left -= bytes;
            let level = group.level.min(level_of(bytes, settings));
            let run = Run::New;
            groups.push(Group {
                inputs: part,
                run,
                level,
            });
        }
    }
    let inputs = work.inputs().count();
    if groups.is_empty() {
        let reason = format!("nothing that is worth a rewrite fits into the limit of {limit}");
        return Choice::NothingToDo(reason);
    }
    let taken: usize = groups.iter().map(|g| g.inputs.len()).sum();
    let reason = format!(
        "{}; of {inputs} inputs {taken} fit into the limit of {limit}",
        work.reason
    );
    Choice::Work(Work { groups, reason })
}

fn total(collection: &Collection, inputs: impl Iterator<Item = SegmentId>) -> u64 {
    inputs.map(|id| input_bytes(collection, id)).sum()
}

/// The bytes of an input where it is: in its file, or in memory.
pub(crate) fn input_bytes(collection: &Collection, id: SegmentId) -> u64 {
    let sealed = collection.segment(id).map(|s| s.bytes);
    let growing = || collection.growing_segment(id).map(|g| g.bytes);
    sealed.or_else(growing).unwrap_or(0)
}

/// Inputs of the group that have no more than so many bytes; none where they are not worth a rewrite by themselves.
fn part_of(
    group: &Group,
    collection: &Collection,
    full: bool,
    bytes_max: u64,
) -> Option<Vec<SegmentId>> {
    let key = &collection.schema.clustering_key;
    let mut inputs = group.inputs.clone();
    inputs.sort_by_cached_key(|id| {
        let segment = collection.segment(*id);
        let written = segment.map(|s| s.created).filter(|_| full);
        // Growing rows, whose keys are not known, come last.
        let keys = segment.map(|s| key_range(collection, s, key));
        (segment.is_none(), written, keys, *id)
    });
    let mut left = bytes_max;
    let fits = |id: &SegmentId| {
        let bytes = input_bytes(collection, *id);
        let fits = bytes <= left;
        left = left.saturating_sub(bytes);
        fits
    };
    let part: Vec<SegmentId> = inputs.into_iter().take_while(fits).collect();
    let runs: HashSet<Option<JobId>> = part.iter().map(|id| run_kept(collection, *id)).collect();
    // Rows of one run are in order already.
    let worth_it = full || runs.len() > 1 || runs.contains(&None);
    (worth_it && !part.is_empty()).then_some(part)
}

/// The run of an input whose rows are best left where they are.
fn run_kept(collection: &Collection, id: SegmentId) -> Option<JobId> {
    let segment = collection.segment(id)?;
    run_of(collection, segment).filter(|_| !is_purgeable(segment))
}
