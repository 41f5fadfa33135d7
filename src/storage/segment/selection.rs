//! Deleted rows as a row selection.

use std::ops::Range;

use arrow::array::BooleanBufferBuilder;
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use roaring::RoaringBitmap;

/// Rows per deleted row below which a bitmap selects faster than a list of runs.
const ROWS_PER_DELETE_DENSE: u64 = 32;

/// The rows of `ranges` (places in the file, one range after the other) that are not in `deletes`; `None` when all are
/// live. Many deletes give a bitmap, few give runs.
pub fn live_selection(
    deletes: &RoaringBitmap,
    ranges: impl IntoIterator<Item = Range<u32>>,
) -> Option<RowSelection> {
    let ranges: Vec<Range<u32>> = ranges.into_iter().filter(|r| !r.is_empty()).collect();
    let rows: u64 = ranges.iter().map(|r| u64::from(r.end - r.start)).sum();
    let deleted: u64 = ranges
        .iter()
        .map(|r| deletes.range_cardinality(r.clone()))
        .sum();
    match deleted {
        0 => None,
        _ if deleted == rows => Some(RowSelection::from(vec![RowSelector::skip(rows as usize)])),
        _ if rows / deleted < ROWS_PER_DELETE_DENSE => Some(bitmap(deletes, &ranges, rows)),
        _ => Some(runs(deletes, &ranges)),
    }
}

/// The rows of ascending `ranges` (places in the file) that are not in `deletes`, as ranges.
pub fn live_ranges(
    deletes: &RoaringBitmap,
    ranges: impl IntoIterator<Item = Range<u32>>,
) -> Vec<Range<u32>> {
    let mut live = Vec::new();
    for range in ranges {
        let mut next = range.start;
        for row in deletes.range(range.clone()) {
            push_range(&mut live, next..row);
            next = row + 1;
        }
        push_range(&mut live, next..range.end);
    }
    live
}

/// The rows of ascending `ranges` among those of `all`, both as places in the file.
pub fn select_ranges(
    all: Range<u32>,
    ranges: impl IntoIterator<Item = Range<u32>>,
) -> RowSelection {
    let within = |place: u32| (place - all.start) as usize;
    let ranges = ranges.into_iter();
    let ranges = ranges.map(|range| within(range.start)..within(range.end));
    RowSelection::from_consecutive_ranges(ranges, all.len())
}

/// Adds rows after those of `ranges`; what follows without a gap becomes one range.
pub fn push_range(ranges: &mut Vec<Range<u32>>, rows: Range<u32>) {
    match ranges.last_mut() {
        _ if rows.is_empty() => {}
        Some(last) if last.end == rows.start => last.end = rows.end,
        _ => ranges.push(rows),
    }
}

fn bitmap(deletes: &RoaringBitmap, ranges: &[Range<u32>], rows: u64) -> RowSelection {
    let mut mask = BooleanBufferBuilder::new(rows as usize);
    mask.append_n(rows as usize, true);
    let mut first = 0;
    for range in ranges {
        for row in deletes.range(range.clone()) {
            mask.set_bit(first + (row - range.start) as usize, false);
        }
        first += range.len();
    }
    RowSelection::from_boolean_buffer(mask.finish())
}

fn runs(deletes: &RoaringBitmap, ranges: &[Range<u32>]) -> RowSelection {
    let mut selectors = Vec::new();
    for range in ranges {
        let mut next = range.start;
        for row in deletes.range(range.clone()) {
            selectors.push(RowSelector::select((row - next) as usize));
            selectors.push(RowSelector::skip(1));
            next = row + 1;
        }
        selectors.push(RowSelector::select((range.end - next) as usize));
    }
    // Drops empty selectors and joins equal neighbours.
    selectors.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(selection: &RowSelection) -> Vec<usize> {
        let mut rows = Vec::new();
        let mut place = 0;
        for selector in selection.iter() {
            if !selector.skip {
                rows.extend(place..place + selector.row_count);
            }
            place += selector.row_count;
        }
        rows
    }

    #[test]
    fn dense_and_sparse_deletes_select_the_same_way() {
        let ranges = [10..200, 200..200, 1000..1100];
        for step in [1, 2, 7, 31, 33, 150] {
            let deletes: RoaringBitmap = (0..2000).step_by(step).collect();
            let wanted: Vec<usize> = ranges
                .iter()
                .cloned()
                .flatten()
                .enumerate()
                .filter(|(_, row)| !deletes.contains(*row))
                .map(|(place, _)| place)
                .collect();
            let selection = live_selection(&deletes, ranges.clone());
            assert_eq!(selected(&selection.unwrap_or_default()), wanted, "{step}");
            let live: Vec<u32> = live_ranges(&deletes, ranges.clone())
                .into_iter()
                .flatten()
                .collect();
            let is_live = |row: &u32| !deletes.contains(*row);
            let wanted: Vec<u32> = ranges.iter().cloned().flatten().filter(is_live).collect();
            assert_eq!(live, wanted, "{step}");
        }
    }

    #[test]
    fn no_deletes_need_no_selection() {
        let deletes: RoaringBitmap = [5, 500].into_iter().collect();
        assert!(live_selection(&deletes, [6..500, 501..600]).is_none());
        assert!(live_selection(&deletes, []).is_none());
    }
}
