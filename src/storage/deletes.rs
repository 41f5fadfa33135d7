//! Deletes: which rows of a segment a scan reads, and where deletes go when segments are replaced.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::BooleanBufferBuilder;
use arrow::buffer::BooleanBuffer;
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use roaring::RoaringBitmap;

use super::change::NewSegment;
use super::places::Places;
use super::schema::{CollectionId, SegmentId};
use super::transaction::RowMap;
use crate::error::{Error, Result};

/// Bytes of row maps that are kept for transactions that read before a replace.
const MAPS_BYTES_MAX: usize = 256 << 20;

/// The rows of `range` (places in the segment) that are not deleted, as a selection over `range`.
pub fn live_selection(deletes: &RoaringBitmap, range: Range<u32>) -> RowSelection {
    let mut selectors = Vec::new();
    let mut next = range.start;
    for (first, last) in runs(deletes.range(range.clone())) {
        selectors.push(RowSelector::select((first - next) as usize));
        selectors.push(RowSelector::skip((last - first) as usize + 1));
        next = last + 1;
    }
    selectors.push(RowSelector::select((range.end - next) as usize));
    RowSelection::from(selectors)
}

/// Of each row of `range` (places in the segment) whether it is not deleted.
pub fn live_mask(deletes: &RoaringBitmap, range: Range<u32>) -> BooleanBuffer {
    let mut live = BooleanBufferBuilder::new(range.len());
    live.append_n(range.len(), true);
    for row in deletes.range(range.clone()) {
        live.set_bit((row - range.start) as usize, false);
    }
    live.finish()
}

/// Runs of consecutive numbers as (first, last).
fn runs(rows: impl Iterator<Item = u32>) -> impl Iterator<Item = (u32, u32)> {
    let mut rows = rows.peekable();
    std::iter::from_fn(move || {
        let first = rows.next()?;
        let mut last = first;
        while let Some(next) = rows.next_if(|n| *n == last + 1) {
            last = next;
        }
        Some((first, last))
    })
}

/// That a row map moves every live row of its input to exactly one place, and no deleted one anywhere.
///
/// # Errors
/// XX000 for a map that would lose a row or bring one back.
pub(super) fn check_map(map: &RowMap, output_rows: u64) -> Result<()> {
    let wrong = |why: String| {
        Error::internal(format!(
            "the row map of segment {} is wrong: {why}",
            map.input
        ))
    };
    let mut deleted = map.read_deletes.iter().peekable();
    for (row, target) in map.to.iter().enumerate() {
        let was_deleted = deleted.next_if(|d| *d as usize == row).is_some();
        if was_deleted != target.is_none() {
            return Err(wrong(format!("row {row} is lost, or comes back")));
        }
        if let Some(place) = target.filter(|place| *place >= output_rows) {
            return Err(wrong(format!("row {row} goes to {place} of {output_rows}")));
        }
    }
    if deleted.next().is_some() {
        return Err(wrong("it has deletes of rows that do not exist".into()));
    }
    Ok(())
}

/// The outputs of a replace by the first place of each among all their rows; the last element is the number of these.
#[derive(Debug, Clone)]
pub(super) struct Starts(Arc<[u64]>);

impl Starts {
    pub fn of(outputs: &[NewSegment]) -> Self {
        let mut next = 0;
        let starts = outputs.iter().map(|output| {
            next += output.rows;
            next
        });
        Self(std::iter::once(0).chain(starts).collect())
    }

    /// All rows.
    pub fn rows(&self) -> u64 {
        self.0.last().copied().unwrap_or(0)
    }

    /// The number of the output that has a place, and the row in it.
    fn target(&self, place: u64) -> Option<(u32, u32)> {
        let output = self
            .0
            .partition_point(|start| *start <= place)
            .checked_sub(1)?;
        let row = place - self.0[output];
        Some((u32::try_from(output).ok()?, u32::try_from(row).ok()?))
    }
}

/// The rows of a replaced segment as rows of the outputs, by the outputs' numbers. `None` where one was not carried.
fn carry(
    to: &Places,
    starts: &Starts,
    rows: &RoaringBitmap,
) -> Option<BTreeMap<u32, RoaringBitmap>> {
    let mut carried = BTreeMap::<u32, RoaringBitmap>::new();
    for row in rows {
        let (output, row) = starts.target(to.get(row)?)?;
        carried.entry(output).or_default().insert(row);
    }
    Some(carried)
}

/// The deletes that landed on an input after it was read, as deletes of the outputs.
///
/// # Errors
/// XX000 when the segment has fewer deletes now than when it was read.
pub(super) fn rebase(
    map: &RowMap,
    starts: &Starts,
    deletes_now: &RoaringBitmap,
) -> Result<BTreeMap<u32, RoaringBitmap>> {
    let landed = deletes_now - &map.read_deletes;
    if landed.len() + map.read_deletes.len() != deletes_now.len() {
        let message = format!("segment {} lost deletes while it was replaced", map.input);
        return Err(Error::internal(message));
    }
    carry(&map.to, starts, &landed)
        .ok_or_else(|| Error::internal(format!("the row map of segment {} is wrong", map.input)))
}

/// Where the rows of recently replaced segments are now; bounded, the oldest are forgotten first.
#[derive(Debug, Default)]
pub(super) struct Replaced {
    maps: HashMap<(CollectionId, SegmentId), Moved>,
    order: VecDeque<(CollectionId, SegmentId)>,
    bytes: usize,
}

#[derive(Debug)]
struct Moved {
    to: Places,
    outputs: Arc<[SegmentId]>,
    starts: Starts,
}

impl Replaced {
    /// Remembers a replace that was committed.
    pub(super) fn record(
        &mut self,
        collection: CollectionId,
        outputs: &[NewSegment],
        maps: impl Iterator<Item = RowMap>,
    ) {
        let starts = Starts::of(outputs);
        let outputs: Arc<[SegmentId]> = outputs.iter().map(|output| output.id).collect();
        for map in maps {
            let id = (collection, map.input);
            self.bytes += bytes(&map.to);
            let moved = Moved {
                to: map.to,
                outputs: Arc::clone(&outputs),
                starts: starts.clone(),
            };
            self.maps.insert(id, moved);
            self.order.push_back(id);
        }
        while self.bytes > MAPS_BYTES_MAX && self.order.len() > 1 {
            let oldest = self.order.pop_front();
            let forgotten = oldest.and_then(|id| self.maps.remove(&id));
            self.bytes -= forgotten.map_or(0, |m| bytes(&m.to));
        }
    }

    /// Where deletes of rows of a segment belong today: the segment itself when it was not replaced, otherwise
    /// what it became, over any number of replaces. `None` when one of the rows was deleted before it was moved.
    pub(super) fn resolve(
        &self,
        collection: CollectionId,
        segment: SegmentId,
        rows: &RoaringBitmap,
    ) -> Option<BTreeMap<SegmentId, RoaringBitmap>> {
        let mut resolved = BTreeMap::<SegmentId, RoaringBitmap>::new();
        let mut moving = vec![(segment, rows.clone())];
        while let Some((segment, rows)) = moving.pop() {
            let Some(moved) = self.maps.get(&(collection, segment)) else {
                *resolved.entry(segment).or_default() |= rows;
                continue;
            };
            for (output, rows) in carry(&moved.to, &moved.starts, &rows)? {
                moving.push((*moved.outputs.get(output as usize)?, rows));
            }
        }
        Some(resolved)
    }
}

fn bytes(to: &Places) -> usize {
    to.memory_bytes() + 128
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::storage::testing::new_segment;

    #[test]
    fn a_selection_has_exactly_the_live_rows() {
        let deletes: RoaringBitmap = [0, 1, 5, 9, 10, 11, 70_000].into();
        for range in [0..0, 0..12, 1..6, 2..5, 9..12, 10..80_000, 100..200] {
            let mut place = range.start;
            let mut live = Vec::new();
            for selector in live_selection(&deletes, range.clone()).iter() {
                if !selector.skip {
                    live.extend(place..place + selector.row_count as u32);
                }
                place += selector.row_count as u32;
            }
            let expected: Vec<u32> = range.clone().filter(|r| !deletes.contains(*r)).collect();
            assert_eq!(live, expected, "{range:?}");
            let mask = live_mask(&deletes, range.clone());
            let masked: Vec<u32> = mask.set_indices_u32().map(|r| r + range.start).collect();
            assert_eq!((masked, mask.len()), (expected, range.len()), "{range:?}");
        }
    }

    fn map(to: &[Option<u64>], read_deletes: &[u32]) -> RowMap {
        let mut places = Places::new(to.len() as u64, 100);
        for (row, place) in to.iter().enumerate() {
            place
                .iter()
                .for_each(|place| places.set(row as u32, *place));
        }
        RowMap {
            input: SegmentId(1),
            read_deletes: read_deletes.iter().copied().collect(),
            to: places,
        }
    }

    #[test]
    fn a_map_that_loses_or_revives_a_row_is_refused() {
        assert!(check_map(&map(&[Some(0), None], &[1]), 1).is_ok());
        assert!(check_map(&map(&[], &[]), 0).is_ok());
        for (to, deletes) in [
            (vec![Some(0), None], vec![]),
            (vec![Some(0), Some(0)], vec![1]),
            (vec![Some(0), Some(1)], vec![]),
            (vec![Some(5)], vec![]),
            (vec![Some(0), None], vec![1, 2]),
        ] {
            assert!(check_map(&map(&to, &deletes), 1).is_err(), "{to:?}");
        }
    }

    #[test]
    fn deletes_follow_rows_through_several_replaces() {
        let c = CollectionId(7);
        let mut replaced = Replaced::default();
        let outputs = [new_segment(2, 1), new_segment(3, 1)];
        let first = map(&[Some(1), Some(0), None], &[2]);
        replaced.record(c, &outputs, [first].into_iter());
        let second = RowMap {
            input: SegmentId(3),
            ..map(&[Some(9)], &[])
        };
        replaced.record(c, &[new_segment(4, 10)], [second].into_iter());
        let resolved = replaced.resolve(c, SegmentId(1), &[0, 1].into()).unwrap();
        let expected = [(SegmentId(2), [0].into()), (SegmentId(4), [9].into())];
        assert_eq!(resolved, BTreeMap::from(expected));
        assert_eq!(replaced.resolve(c, SegmentId(1), &[2].into()), None);
        let other = replaced.resolve(CollectionId(8), SegmentId(1), &[0].into());
        assert_eq!(other.unwrap().keys().next(), Some(&SegmentId(1)));
    }
}
