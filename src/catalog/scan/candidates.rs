//! The rows that a predicate accepts, by their places: what a search measures, without any other column of theirs.
//!
//! ```text
//! PartitionStats -> segments -> row groups -> pages -+- certain: all rows are accepted, nothing is decoded
//!                                                    +- open: the predicate's columns are decoded and evaluated
//! ```
//! Decoded columns of numbers are kept for the next predicate, where most pages of a row group are open.
//! Where rows are sorted by the only column that the predicate bounds, the accepted ones follow each other: their ends are
//! found by halving in the decoded column, and no row is looked at. Deleted rows are never among the candidates.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::datatypes::{Schema, UInt32Type};
use arrow::record_batch::RecordBatch;
use datafusion::physical_expr::PhysicalExpr;

use super::pruning::{Accepted, ScanPruning};
use super::reader::{LateFilter, RowGroupsKept};
use super::source::ScanSource;
use super::{Pruned, prune_segments_by};
use crate::catalog::prune::Pruner;
use crate::error::{Error, Result};
use crate::storage::adapt::adapt_batch;
use crate::storage::collection::Segment;
use crate::storage::growing::GrowingSegment;
use crate::storage::segment::{
    ReadRequest, SegmentReader, live_ranges, live_selection, push_range, select_ranges,
};
use crate::storage::stats::PartitionStats;

/// Rows of a batch of the predicate's columns.
const BATCH_ROWS: usize = 8_192;
/// The most ranges of rows of a row group that are kept decoded by themselves: a filter on the clustering key leaves the
/// pages at either end open, one on another column many, which nobody asks for again just so.
const KEPT_PARTS_MAX: usize = 4;

/// Finds the rows of a collection that a predicate accepts.
#[derive(Debug)]
pub struct Candidates {
    source: Arc<ScanSource>,
    filter: Option<Unprepared>,
    pruning: Option<ScanPruning>,
    pruned: Pruned,
}

/// A predicate that becomes a filter when the first row has to be looked at.
#[derive(Debug)]
struct Unprepared {
    predicate: Arc<dyn PhysicalExpr>,
    table: Arc<Schema>,
    filter: OnceLock<Option<LateFilter>>,
}

/// A row group that may have candidates.
#[derive(Debug, Clone)]
pub struct RowGroup {
    /// Its place in the file.
    pub index: usize,
    /// Places in the file of rows that are all accepted, where no others of the row group are.
    pub certain: Option<Range<u32>>,
}

/// Rows that a predicate accepts, as ascending ranges of places with gaps between them.
#[derive(Debug, Default)]
pub struct Rows {
    /// The rows.
    pub ranges: Vec<Range<u32>>,
    /// For how many rows the predicate was evaluated.
    pub evaluated: u64,
    /// Bytes that were read from the file.
    pub bytes_read: u64,
}

impl Candidates {
    /// The candidates of a predicate, whose columns are scalar ones among those of `table`; its fields carry their
    /// field ids. Without `prune` every row is looked at.
    pub fn new(
        source: Arc<ScanSource>,
        predicate: Option<&Arc<dyn PhysicalExpr>>,
        table: &Arc<Schema>,
        prune: bool,
    ) -> Self {
        let filter = predicate.map(|predicate| Unprepared {
            predicate: Arc::clone(predicate),
            table: Arc::clone(table),
            filter: OnceLock::new(),
        });
        let schema = &source.collection.schema;
        let pruning = ScanPruning::new(predicate.filter(|_| prune), table, &[], table, schema);
        let planned = pruning.as_ref().and_then(ScanPruning::planned);
        Self {
            filter,
            pruned: prune_segments_by(&source, planned),
            pruning,
            source,
        }
    }

    /// The predicate as a filter.
    ///
    /// # Errors
    /// XX000 for a predicate that reads no column, or one that is not stored.
    fn filter(&self) -> Result<Option<&LateFilter>> {
        let Some(unprepared) = &self.filter else {
            return Ok(None);
        };
        let Unprepared {
            predicate,
            table,
            filter,
        } = unprepared;
        let filter = filter.get_or_init(|| LateFilter::new(predicate, table));
        let unread =
            || Error::internal(format!("the predicate {predicate} reads no stored columns"));
        filter.as_ref().ok_or_else(unread).map(Some)
    }

    /// How many sealed segments the collection has, and the columns by which some were pruned.
    pub fn pruned(&self) -> (usize, &[String]) {
        (self.pruned.kept.len(), &self.pruned.by)
    }

    /// The sealed segments that may have candidates.
    pub fn segments(&self) -> impl Iterator<Item = &Arc<Segment>> {
        let all = self.source.collection.segments().zip(&self.pruned.kept);
        let kept = all.filter(|(_, kept)| *kept).map(|(segment, _)| segment);
        kept.filter(|segment| segment.live_rows() > 0)
    }

    /// The row groups of a segment that may have candidates.
    ///
    /// # Errors
    /// XX001 when the file is damaged, 58030 when it cannot be read.
    pub fn row_groups(
        &self,
        segment: &Segment,
        reader: &Arc<SegmentReader>,
    ) -> Result<Vec<RowGroup>> {
        let row_group = |index, is_certain: bool| RowGroup {
            index,
            certain: is_certain.then(|| reader.row_group_range(index)),
        };
        let Some(pruning) = &self.pruning else {
            let all = 0..reader.row_groups();
            return Ok(all.map(|i| row_group(i, self.filter.is_none())).collect());
        };
        let stats = pruning.row_group_stats(reader, segment);
        if let Some(found) = self.in_sorted(pruning, &stats, segment, reader)? {
            return Ok(found);
        }
        let kept = RowGroupsKept::new(&self.source, pruning, &stats, segment, reader);
        let certain = |i| self.filter.is_none() || kept.certain.value(i);
        Ok(kept
            .all
            .set_indices()
            .map(|i| row_group(i, certain(i)))
            .collect())
    }

    /// [`Self::row_groups`] with their candidates, where the rows are sorted by the column of which the predicate accepts
    /// an interval, and the column can be kept decoded.
    fn in_sorted(
        &self,
        pruning: &ScanPruning,
        stats: &PartitionStats,
        segment: &Segment,
        reader: &Arc<SegmentReader>,
    ) -> Result<Option<Vec<RowGroup>>> {
        let sorted_by = segment.sorted_by.first();
        let interval = pruning.planned().and_then(Pruner::interval);
        let Some(interval) = interval.filter(|i| Some(&i.field()) == sorted_by) else {
            return Ok(None);
        };
        let (schema, columns) = (&self.source.collection.schema, &self.source.engine.columns);
        let (kept, certain) = pruning.planned_matches(stats);
        let mut found = Vec::new();
        for index in kept.set_indices() {
            let all = reader.row_group_range(index);
            let rows = if certain.value(index) {
                all
            } else {
                let key =
                    columns.read_column(segment.id, reader, index, schema, interval.field())?;
                let Some(rows) = key.and_then(|(key, _)| interval.of_sorted(&key)) else {
                    return Ok(None);
                };
                all.start + rows.start as u32..all.start + rows.end as u32
            };
            if !rows.is_empty() {
                let certain = Some(rows);
                found.push(RowGroup { index, certain });
            }
        }
        Ok(Some(found))
    }

    /// The candidates in a row group.
    ///
    /// # Errors
    /// Those of the predicate; XX001 when the file is damaged, 58030 when it cannot be read.
    pub fn in_row_group(
        &self,
        segment: &Segment,
        reader: &Arc<SegmentReader>,
        row_group: RowGroup,
    ) -> Result<Rows> {
        let all = reader.row_group_range(row_group.index);
        let certain = |rows| Rows {
            ranges: live_ranges(&segment.deletes, [rows]),
            ..Rows::default()
        };
        if let Some(rows) = row_group.certain {
            return Ok(certain(rows));
        }
        let Some(filter) = self.filter()? else {
            return Ok(certain(all));
        };
        let accepted = match &self.pruning {
            Some(pruning) => pruning.accepted(reader, segment, row_group.index),
            None => Accepted {
                open: vec![all],
                ..Accepted::default()
            },
        };
        let certain = live_ranges(&segment.deletes, accepted.certain);
        let (index, open) = (row_group.index, accepted.open.as_slice());
        let mut rows = match self.kept_rows(segment, reader, index, open, filter)? {
            Some(rows) => rows,
            None => self.open_rows(segment, reader, index, open, filter)?,
        };
        rows.ranges = merged(rows.ranges, certain);
        Ok(rows)
    }

    /// What [`Self::open_rows`] gives, from columns that are kept decoded: all of the row group, or the pages that are asked
    /// for where they are few; `None` where they are not kept.
    fn kept_rows(
        &self,
        segment: &Segment,
        reader: &Arc<SegmentReader>,
        row_group: usize,
        open: &[Range<u32>],
        filter: &LateFilter,
    ) -> Result<Option<Rows>> {
        let all = reader.row_group_range(row_group);
        let asked: usize = open.iter().map(ExactSizeIterator::len).sum();
        let parts: Vec<Range<u32>> = match asked >= all.len() / 2 {
            true => vec![all],
            false => open.to_vec(),
        };
        if asked == 0 || parts.len() > KEPT_PARTS_MAX {
            return Ok(None);
        }
        let source = self.source.as_ref();
        let (schema, columns) = (&source.collection.schema, &source.engine.columns);
        let (mut accepted, mut bytes_read) = (Vec::new(), 0);
        for part in parts {
            let kept =
                columns.read_rows(segment.id, reader, part.clone(), schema, &filter.fields)?;
            let Some((columns, bytes)) = kept else {
                return Ok(None);
            };
            bytes_read += bytes;
            let within = |range: &&Range<u32>| part.start <= range.start && range.end <= part.end;
            for (start, count) in open.iter().filter(within).flat_map(in_batches) {
                let batch = columns.slice((start - part.start) as usize, count);
                // It may fail for rows that are deleted, which the other way does not look at.
                if accepted_rows(filter, &batch, start, &mut accepted).is_err() {
                    return Ok(None);
                }
            }
        }
        let live = live_ranges(&segment.deletes, open.iter().cloned());
        Ok(Some(Rows {
            evaluated: live.iter().map(|range| range.len() as u64).sum(),
            ranges: live_ranges(&segment.deletes, accepted),
            bytes_read,
        }))
    }

    /// The rows of `open` (places in the file, within one row group) that are live and accepted.
    fn open_rows(
        &self,
        segment: &Segment,
        reader: &Arc<SegmentReader>,
        row_group: usize,
        open: &[Range<u32>],
        filter: &LateFilter,
    ) -> Result<Rows> {
        let all = reader.row_group_range(row_group);
        let mut selection = select_ranges(all, open.iter().cloned());
        if let Some(live) = live_selection(&segment.deletes, open.iter().cloned()) {
            selection = selection.and_then(&live);
        }
        let mut rows = Rows {
            evaluated: selection.row_count() as u64,
            ..Rows::default()
        };
        if rows.evaluated == 0 {
            return Ok(rows);
        }
        let request = ReadRequest {
            schema: Arc::clone(&self.source.collection.schema),
            fields: Vec::new(),
            row_groups: vec![row_group],
            rows: Some(selection),
            row_number: true,
            filter: Some((filter.fields.clone(), filter.row_filter())),
            batch_size: BATCH_ROWS,
        };
        let mut batches = reader.read(request)?;
        for batch in batches.by_ref() {
            for row in batch?.column(0).as_primitive::<UInt32Type>().values() {
                push_range(&mut rows.ranges, *row..row + 1);
            }
        }
        rows.bytes_read = batches.bytes_read();
        Ok(rows)
    }

    /// The candidates in a growing segment.
    ///
    /// # Errors
    /// Those of the predicate.
    pub fn in_growing(&self, growing: &GrowingSegment) -> Result<Rows> {
        let filter = self.filter()?;
        let mut rows = Rows::default();
        let mut first = 0;
        for batch in growing.batches() {
            let places = first..first + batch.num_rows() as u32;
            first = places.end;
            let Some(filter) = filter else {
                push_range(&mut rows.ranges, places);
                continue;
            };
            rows.evaluated += places.len() as u64;
            let batch = adapt_batch(batch, &self.source.collection.schema, &filter.fields)?;
            accepted_rows(filter, &batch, places.start, &mut rows.ranges)?;
        }
        rows.ranges = live_ranges(&growing.deletes, rows.ranges);
        Ok(rows)
    }
}

/// The starts and lengths of the batches of a range.
fn in_batches(range: &Range<u32>) -> impl Iterator<Item = (u32, usize)> {
    let end = range.end;
    let starts = range.clone().step_by(BATCH_ROWS);
    starts.map(move |start| (start, BATCH_ROWS.min((end - start) as usize)))
}

/// Adds the accepted rows of a batch whose first row is at place `first`.
fn accepted_rows(
    filter: &LateFilter,
    batch: &RecordBatch,
    first: u32,
    ranges: &mut Vec<Range<u32>>,
) -> Result<()> {
    let accepted = filter.evaluate(batch)?;
    for (start, end) in true_values(&accepted).set_slices() {
        push_range(ranges, first + start as u32..first + end as u32);
    }
    Ok(())
}

/// NULL is no.
fn true_values(accepted: &BooleanArray) -> arrow::buffer::BooleanBuffer {
    match accepted.nulls() {
        Some(nulls) => accepted.values() & nulls.inner(),
        None => accepted.values().clone(),
    }
}

/// The ranges of both, which have no row in common.
fn merged(a: Vec<Range<u32>>, b: Vec<Range<u32>>) -> Vec<Range<u32>> {
    let mut all = [a, b].concat();
    all.sort_unstable_by_key(|range| range.start);
    let mut merged = Vec::with_capacity(all.len());
    for range in all {
        push_range(&mut merged, range);
    }
    merged
}
