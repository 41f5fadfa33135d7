//! Units of work of a scan, and how they are dealt to partitions.

use std::sync::Arc;

use crate::storage::collection::Segment;
use crate::storage::growing::GrowingSegment;

/// A segment of fewer rows is not cut into parts.
const PART_ROWS_MIN: u64 = 32_768;
/// With this many segments per partition, whole segments spread the work well enough.
const UNITS_PER_PARTITION: usize = 4;

/// What one partition reads without interruption.
#[derive(Debug, Clone)]
pub(super) enum Unit {
    /// All of a growing segment.
    Growing(Arc<GrowingSegment>),
    /// The row groups of a sealed segment whose place leaves `part` when divided by `parts`: neighbours go to
    /// different partitions, because a filter on the clustering key leaves neighbours.
    Sealed {
        segment: Arc<Segment>,
        part: usize,
        parts: usize,
    },
}

impl Unit {
    fn bytes(&self) -> u64 {
        match self {
            Self::Growing(segment) => segment.bytes,
            Self::Sealed { segment, parts, .. } => segment.bytes / *parts as u64,
        }
    }

    fn order(&self) -> (u64, usize) {
        match self {
            Self::Growing(segment) => (segment.id.0, 0),
            Self::Sealed { segment, part, .. } => (segment.id.0, *part),
        }
    }

    /// The sealed segment that it is of.
    pub fn segment(&self) -> Option<&Arc<Segment>> {
        match self {
            Self::Growing(_) => None,
            Self::Sealed { segment, .. } => Some(segment),
        }
    }

    /// Whether it is of a growing segment.
    pub fn is_growing(&self) -> bool {
        matches!(self, Self::Growing(_))
    }

    /// Rows of all its segment that are not deleted.
    pub fn live_rows_of_whole(&self) -> u64 {
        match self {
            Self::Growing(segment) => segment.live_rows(),
            Self::Sealed { segment, .. } => segment.live_rows(),
        }
    }

    /// Rows that are not deleted; about, for a part.
    pub fn live_rows(&self) -> u64 {
        match self {
            Self::Growing(segment) => segment.live_rows(),
            Self::Sealed { segment, parts, .. } => segment.live_rows() / *parts as u64,
        }
    }
}

/// The segments in the order in which a key is looked for: rows that changed last are in growing segments.
pub(super) fn latest_first(growing: &[Arc<GrowingSegment>], sealed: &[Arc<Segment>]) -> Vec<Unit> {
    let growing = growing.iter().rev().map(|g| Unit::Growing(Arc::clone(g)));
    let sealed = sealed.iter().rev().map(|segment| Unit::Sealed {
        segment: Arc::clone(segment),
        part: 0,
        parts: 1,
    });
    growing.chain(sealed).collect()
}

/// Deals segments to at most `partitions` partitions (at least one), the same number of bytes to each, about.
/// Within a partition units are in the order of their segments.
pub(super) fn deal(
    growing: &[Arc<GrowingSegment>],
    sealed: &[Arc<Segment>],
    partitions: usize,
) -> Vec<Vec<Unit>> {
    let few = sealed.len() < partitions * UNITS_PER_PARTITION;
    let parts = |segment: &Segment| match few && segment.rows >= PART_ROWS_MIN {
        true => partitions.max(1),
        false => 1,
    };
    let cut = |segment: &Arc<Segment>| {
        let parts = parts(segment);
        let segment = Arc::clone(segment);
        (0..parts).map(move |part| Unit::Sealed {
            segment: Arc::clone(&segment),
            part,
            parts,
        })
    };
    let growing = growing.iter().map(|g| Unit::Growing(Arc::clone(g)));
    let mut units: Vec<Unit> = growing.chain(sealed.iter().flat_map(cut)).collect();
    units.sort_by_key(|unit| std::cmp::Reverse(unit.bytes()));
    let mut dealt = vec![(0, Vec::new()); partitions.min(units.len()).max(1)];
    for unit in units {
        let least = dealt.iter_mut().min_by_key(|(bytes, _)| *bytes);
        let (bytes, units): &mut (u64, Vec<Unit>) =
            least.expect("invariant: there is at least one partition");
        // Empty units count too, so that they spread.
        *bytes += unit.bytes().max(1);
        units.push(unit);
    }
    dealt
        .into_iter()
        .map(|(_, mut units)| {
            units.sort_by_key(Unit::order);
            units
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::change::NewSegment;
    use crate::storage::schema::{SegmentId, Version};

    fn segment(id: u64, rows: u64, bytes: u64) -> Arc<Segment> {
        let new = NewSegment {
            id: SegmentId(id),
            rows,
            bytes,
            crc32c: 0,
            sorted_by: vec![],
            run: None,
            level: 0,
            stats: Arc::default(),
            filters: vec![],
            deletes: Default::default(),
        };
        Arc::new(Segment::from_new(&new, Version(1)))
    }

    fn ids(dealt: &[Vec<Unit>]) -> Vec<Vec<(u64, usize)>> {
        let orders = |units: &Vec<Unit>| units.iter().map(Unit::order).collect();
        dealt.iter().map(orders).collect()
    }

    #[test]
    fn bytes_are_spread_and_segments_stay_in_order() {
        let sealed: Vec<_> = (1..=9).map(|id| segment(id, 10, 100 * id)).collect();
        let dealt = deal(&[], &sealed, 2);
        let bytes = |units: &Vec<Unit>| units.iter().map(Unit::bytes).sum::<u64>();
        assert_eq!(dealt.iter().map(bytes).collect::<Vec<_>>(), [2300, 2200]);
        assert!(ids(&dealt).iter().all(|ids| ids.is_sorted()));
    }

    #[test]
    fn a_large_segment_alone_is_cut_into_parts() {
        let dealt = deal(&[], &[segment(7, 1_000_000, 1 << 20)], 3);
        assert_eq!(ids(&dealt), [[(7, 0)], [(7, 1)], [(7, 2)]]);
    }

    #[test]
    fn nothing_to_read_is_one_empty_partition() {
        assert_eq!(ids(&deal(&[], &[], 4)), [[]]);
    }
}
