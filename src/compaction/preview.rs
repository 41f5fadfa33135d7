//! What a compaction would do, told from statistics alone.

use std::collections::HashSet;

use super::depth::{Depth, Edge, key_range, measure};
use super::policy::{Group, Work, growing_weight, input_bytes, sealed_weight};
use super::ranges::{Limits, Weight};
use crate::storage::collection::Collection;
use crate::storage::schema::SegmentId;

/// A range of clustering keys: its least and its greatest tuple.
type Range = (Vec<Edge>, Vec<Edge>);

/// What a piece of work would do.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    /// Group by group.
    pub groups: Vec<GroupPreview>,
    /// Depth by the clustering key now; `None` without such a key.
    pub before: Option<Depth>,
    /// Depth to expect afterwards. Growing rows, whose keys are not known, do not count.
    pub after: Option<Depth>,
}

/// What would become of one group of inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupPreview {
    /// Sealed inputs.
    pub sealed: Vec<SegmentId>,
    /// Growing inputs.
    pub growing: Vec<SegmentId>,
    /// Live rows, and about the bytes that they take in memory.
    pub weight: Weight,
    /// Bytes of the inputs where they are.
    pub bytes: u64,
    /// The clustering keys of the sealed inputs.
    pub keys: Option<Range>,
    /// How many segments it makes, about.
    pub outputs: u64,
}

impl Preview {
    /// What `work` would do to the collection, whose outputs keep to `limits`.
    pub fn new(collection: &Collection, work: &Work, limits: Limits) -> Self {
        let preview = |group| GroupPreview::new(collection, group, limits);
        let groups: Vec<GroupPreview> = work.groups.iter().map(preview).collect();
        let key = &collection.schema.clustering_key;
        let taken: HashSet<SegmentId> = work.inputs().collect();
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for segment in collection.segments() {
            let range = key_range(collection, segment, key);
            if !taken.contains(&segment.id) {
                after.push(range.clone());
            }
            before.push(range);
        }
        after.extend(groups.iter().flat_map(|g| g.expected_ranges(collection)));
        let depth = |ranges: &[Range]| (!key.is_empty()).then(|| measure(ranges));
        Self {
            before: depth(&before),
            after: depth(&after),
            groups,
        }
    }
}

impl GroupPreview {
    fn new(collection: &Collection, group: &Group, limits: Limits) -> Self {
        let is_sealed = |id: &SegmentId| collection.segment(*id).is_some();
        let (sealed, growing): (Vec<_>, Vec<_>) = group.inputs.iter().copied().partition(is_sealed);
        let weight_of = |id: &SegmentId| {
            let sealed = collection.segment(*id).map(|s| sealed_weight(s));
            let growing = || collection.growing_segment(*id).map(|g| growing_weight(g));
            sealed.or_else(growing).unwrap_or_default()
        };
        let weights = group.inputs.iter().map(weight_of);
        let weight = weights.fold(Weight::default(), Weight::plus);
        let bytes = group.inputs.iter().map(|id| input_bytes(collection, *id));
        let mut preview = Self {
            sealed,
            growing,
            weight,
            bytes: bytes.sum(),
            keys: None,
            outputs: limits.segments(weight) as u64,
        };
        let ranges = preview.ranges(collection);
        let low = ranges.iter().map(|(low, _)| low).min().cloned();
        preview.keys = low.zip(ranges.into_iter().map(|(_, high)| high).max());
        preview
    }

    fn ranges(&self, collection: &Collection) -> Vec<Range> {
        let key = &collection.schema.clustering_key;
        if key.is_empty() {
            return Vec::new();
        }
        let sealed = self.sealed.iter().filter_map(|id| collection.segment(*id));
        sealed.map(|s| key_range(collection, s, key)).collect()
    }

    /// The ranges of the outputs, if the ends of the inputs' ranges lie as their keys do.
    fn expected_ranges(&self, collection: &Collection) -> Vec<Range> {
        let ranges = self.ranges(collection);
        let ends = ranges.into_iter().flat_map(|(low, high)| [low, high]);
        let mut ends: Vec<Vec<Edge>> = ends.collect();
        ends.sort_unstable();
        ends.dedup();
        let pieces = (self.outputs as usize).min(ends.len());
        let piece = |i: usize| {
            let (first, last) = (i * ends.len() / pieces, (i + 1) * ends.len() / pieces - 1);
            (ends[first].clone(), ends[last].clone())
        };
        (0..pieces).map(piece).collect()
    }
}
