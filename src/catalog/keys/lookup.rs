//! Looks for new keys among the rows of a collection.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use datafusion::common::ScalarValue;
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};

use super::columns::KeyColumns;
use super::{Removed, short};
use crate::error::{Error, Result};
use crate::storage::bloom::hashes_of;
use crate::storage::collection::{Collection, Segment};
use crate::storage::engine::Engine;
use crate::storage::fetch::{growing_rows, sealed_rows};
use crate::storage::growing::GrowingSegment;
use crate::storage::key_index::{GrowingKeys, SealedKeys};
use crate::storage::schema::{FieldId, SegmentId};
use crate::storage::segment::{ReadRequest, SegmentReader};

/// So many growing rows are indexed in less time than it takes to wake a thread for it.
const UNINDEXED_MAX: u64 = 64;

/// New keys, and where to look for them.
pub(super) struct Lookup<'a> {
    pub engine: &'a Engine,
    pub collection: &'a Collection,
    pub columns: &'a KeyColumns,
    /// Sorted.
    pub hashes: &'a [u128],
    /// The parts of them that indexes keep.
    pub short: Vec<u64>,
    pub removed: &'a Removed,
    /// The first key column of each key, when they are few.
    pub few: Option<&'a [ScalarValue]>,
}

/// Live rows of a segment that have one of the new keys.
pub(in crate::catalog) struct Found {
    pub segment: SegmentId,
    /// Their places and the hashes of their keys.
    pub rows: Vec<(u32, u128)>,
    /// The columns that were asked for.
    pub columns: RecordBatch,
}

impl Lookup<'_> {
    /// The text of a key that a live row of a growing segment has.
    pub fn in_growing(&self) -> Result<Option<String>> {
        for growing in self.collection.growing() {
            for row in self.growing_candidates(growing)? {
                if let Some(key) = self.if_same(&growing_row(growing, row)?)? {
                    return Ok(Some(key));
                }
            }
        }
        Ok(None)
    }

    /// The live rows of a growing segment that may have one of the keys.
    fn growing_candidates(&self, growing: &GrowingSegment) -> Result<Vec<u32>> {
        let index = self.engine.keys.growing(growing.id, self.columns.number());
        let mut index = index.lock();
        index_rows(&mut index, self.columns, growing)?;
        let hashes = self.short.chunk_by(|a, b| a == b).map(|same| same[0]);
        let rows = hashes.flat_map(|hash| index.rows_of(hash));
        // The index may know rows that came after this version.
        let rows = rows.filter(|row| u64::from(*row) < growing.rows);
        let is_live =
            |row: &u32| !growing.deletes.contains(*row) && !self.is_removed(growing.id, *row);
        Ok(rows.filter(is_live).collect())
    }

    /// The text of a key that a live row of a sealed segment has; the new keys' first column lies between `least`
    /// and `greatest`.
    pub fn in_sealed(&self, least: &[u8], greatest: &[u8]) -> Result<Option<String>> {
        let may_hold = self.segments_in_range(least, greatest)?;
        for (segment, may_hold) in self.collection.segments().zip(may_hold) {
            if !may_hold {
                continue;
            }
            if let Some(key) = self.in_segment(segment)? {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    /// Whether all keys of the segments that may have one are in indexes, or nearly all.
    pub fn is_at_hand(&self, least: &[u8], greatest: &[u8]) -> Result<bool> {
        let (indexes, number) = (&self.engine.keys, self.columns.number());
        let is_indexed = |growing: &Arc<GrowingSegment>| {
            let index = indexes.growing(growing.id, number);
            let index = index.try_lock();
            index.is_some_and(|index| growing.rows.saturating_sub(index.rows()) <= UNINDEXED_MAX)
        };
        if !self.collection.growing().iter().all(is_indexed) {
            return Ok(false);
        }
        if self.collection.segments().len() == 0 {
            return Ok(true);
        }
        let may_hold = self.segments_in_range(least, greatest)?.into_iter();
        let mut segments = self.collection.segments().zip(may_hold);
        Ok(segments
            .all(|(segment, may_hold)| !may_hold || indexes.sealed(segment.id, number).is_some()))
    }

    fn segments_in_range(&self, least: &[u8], greatest: &[u8]) -> Result<Vec<bool>> {
        let stats = self.collection.partition_stats();
        if !self.columns.is_of_columns() {
            return Ok(vec![true; stats.containers]);
        }
        let first = self.columns.fields()[0];
        let Some(bounds) = stats.column(first) else {
            return Ok(vec![true; stats.containers]);
        };
        let lower = self.columns.first_column_rows(&bounds.min)?;
        let upper = self.columns.first_column_rows(&bounds.max)?;
        // NULLs are not within bounds.
        let holds_nulls = self.columns.nulls_equal();
        let overlaps = |i: usize| {
            let below = !bounds.max.is_null(i) && upper.row(i).as_ref() < least;
            let above = !bounds.min.is_null(i) && lower.row(i).as_ref() > greatest;
            holds_nulls || bounds.may_nan[i] || !(below || above)
        };
        Ok((0..stats.containers).map(overlaps).collect())
    }

    fn in_segment(&self, segment: &Segment) -> Result<Option<String>> {
        let rows = self.sealed_candidates(segment)?;
        if rows.is_empty() {
            return Ok(None);
        }
        let reader = self.open(segment)?;
        for row in rows {
            if let Some(key) = self.if_same(&self.sealed_row(&reader, row)?)? {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    /// The live rows of a sealed segment that may have one of the keys.
    fn sealed_candidates(&self, segment: &Segment) -> Result<Vec<u32>> {
        let indexes = &self.engine.keys;
        let mut rows = match (indexes.sealed(segment.id, self.columns.number()), self.few) {
            (Some(keys), _) => self.rows_of(&keys),
            (None, Some(few)) if !indexes.has_room(segment.rows) => {
                self.rows_in_groups(segment, few)?
            }
            (None, _) => {
                let keys = index_segment(self.columns, &self.open(segment)?, segment.rows)?;
                let keys = Arc::new(keys);
                indexes.keep(segment.id, self.columns.number(), Arc::clone(&keys));
                self.rows_of(&keys)
            }
        };
        rows.retain(|row| !segment.deletes.contains(*row) && !self.is_removed(segment.id, *row));
        Ok(rows)
    }

    /// The live rows that have one of the keys, whose first column lies in `range`: their key columns, then those of
    /// `fields`.
    pub fn existing(
        &self,
        range: Option<&(Vec<u8>, Vec<u8>)>,
        fields: &[FieldId],
    ) -> Result<Vec<Found>> {
        let Some((least, greatest)) = range else {
            return Ok(Vec::new());
        };
        let fields = [self.columns.fields(), fields].concat();
        let schema = self.columns.schema();
        let mut found = Vec::new();
        for growing in self.collection.growing() {
            let rows = ascending(self.growing_candidates(growing)?);
            if !rows.is_empty() {
                let columns = growing_rows(growing, schema, &fields, &rows)?;
                found.push(self.with_keys(growing.id, rows, columns)?);
            }
        }
        let may_hold = self.segments_in_range(least, greatest)?;
        let segments = self.collection.segments().zip(may_hold);
        for (segment, _) in segments.filter(|(_, may_hold)| *may_hold) {
            let rows = ascending(self.sealed_candidates(segment)?);
            if !rows.is_empty() {
                let reader = self.open(segment)?;
                let (columns, _) = sealed_rows(&reader, schema, &fields, &rows)?;
                found.push(self.with_keys(segment.id, rows, columns)?);
            }
        }
        Ok(found)
    }

    /// The rows that have one of the keys, without those that have the same part of a hash.
    fn with_keys(&self, segment: SegmentId, rows: Vec<u32>, columns: RecordBatch) -> Result<Found> {
        let keys = self.columns.fields().len();
        let read: Vec<usize> = (0..keys).collect();
        let key_columns = self.columns.of_rows(&columns.project(&read)?)?;
        let hashes = self.columns.hash(&key_columns)?;
        let has_key = |hash: &u128| self.hashes.binary_search(hash).is_ok();
        let kept = BooleanArray::from_iter(hashes.iter().map(|hash| Some(has_key(hash))));
        let pairs = rows.into_iter().zip(hashes);
        let pairs = pairs.filter(|(_, hash)| has_key(hash));
        let others: Vec<usize> = (keys..columns.num_columns()).collect();
        Ok(Found {
            segment,
            rows: pairs.collect(),
            columns: filter_record_batch(&columns.project(&others)?, &kept)?,
        })
    }

    fn rows_of(&self, keys: &SealedKeys) -> Vec<u32> {
        let mut rows = Vec::new();
        keys.find(&self.short, |_, row| rows.push(row));
        rows
    }

    /// The rows with one of a few keys, found by reading the row groups that may hold one.
    fn rows_in_groups(&self, segment: &Segment, few: &[ScalarValue]) -> Result<Vec<u32>> {
        let reader = self.open(segment)?;
        let first = self.columns.fields()[0];
        let hashes: Option<Vec<Vec<u64>>> = few.iter().map(hashes_of).collect();
        let hashes = hashes.filter(|_| self.columns.is_of_columns());
        let hashes = hashes.map(|hashes| hashes.concat());
        let mut rows = Vec::new();
        for group in 0..reader.row_groups() {
            if let Some(hashes) = &hashes
                && !reader.may_contain(group, first, hashes)?
            {
                continue;
            }
            let schema = Arc::clone(self.columns.schema());
            let mut request = ReadRequest::all(&reader, schema, self.columns.fields().to_vec());
            request.row_groups = vec![group];
            let mut row = reader.row_group_range(group).start;
            for batch in reader.read(request)? {
                let columns = self.columns.of_rows(&batch?)?;
                for hash in self.columns.hash(&columns)? {
                    if self.hashes.binary_search(&hash).is_ok() {
                        rows.push(row);
                    }
                    row += 1;
                }
            }
        }
        Ok(rows)
    }

    fn is_removed(&self, segment: SegmentId, row: u32) -> bool {
        self.removed
            .get(&segment)
            .is_some_and(|rows| rows.contains(row))
    }

    fn open(&self, segment: &Segment) -> Result<Arc<SegmentReader>> {
        self.engine.open_segment(self.collection, segment)
    }

    fn sealed_row(&self, reader: &Arc<SegmentReader>, row: u32) -> Result<RecordBatch> {
        let group = reader.row_group_of(row);
        let before = (row - reader.row_group_range(group).start) as usize;
        let schema = Arc::clone(self.columns.schema());
        let mut request = ReadRequest::all(reader, schema, self.columns.fields().to_vec());
        let after = reader.row_group_rows(group) as usize - before - 1;
        request.row_groups = vec![group];
        request.rows = Some(RowSelection::from(vec![
            RowSelector::skip(before),
            RowSelector::select(1),
            RowSelector::skip(after),
        ]));
        let missing = || Error::corrupted(format!("{}: no row {row}", reader.label()));
        let mut rows = reader.read(request)?;
        rows.next().ok_or_else(missing)?
    }

    /// The text of the row's key when it is one of the new ones, rather than one with the same part of the hash.
    fn if_same(&self, row: &RecordBatch) -> Result<Option<String>> {
        let columns: Vec<ArrayRef> = self.columns.of_rows(row)?;
        let hash = self.columns.hash(&columns)?[0];
        match self.hashes.binary_search(&hash) {
            Ok(_) => self.columns.describe(&columns, 0).map(Some),
            Err(_) => Ok(None),
        }
    }
}

/// A row may be a candidate for two keys.
fn ascending(mut rows: Vec<u32>) -> Vec<u32> {
    rows.sort_unstable();
    rows.dedup();
    rows
}

/// Reads all keys of a segment of so many rows.
pub(super) fn index_segment(
    columns: &KeyColumns,
    reader: &Arc<SegmentReader>,
    rows: u64,
) -> Result<SealedKeys> {
    let schema = Arc::clone(columns.schema());
    let request = ReadRequest::all(reader, schema, columns.fields().to_vec());
    let mut hashes = Vec::with_capacity(rows as usize);
    for batch in reader.read(request)? {
        let of_rows = columns.of_rows(&batch?)?;
        hashes.extend(columns.hash(&of_rows)?.into_iter().map(short));
    }
    if hashes.len() as u64 != rows {
        let found = hashes.len();
        let message = format!("{}: {found} keys for {rows} rows", reader.label());
        return Err(Error::corrupted(message));
    }
    Ok(SealedKeys::new(&hashes))
}

/// Indexes the rows of a growing segment that came since the index was brought up to date.
pub(super) fn index_rows(
    index: &mut GrowingKeys,
    columns: &KeyColumns,
    growing: &GrowingSegment,
) -> Result<()> {
    let mut first = 0;
    for batch in growing.batches() {
        let end = first + batch.num_rows() as u64;
        if end > index.rows() {
            let known = (index.rows() - first) as usize;
            let new = batch.slice(known, batch.num_rows() - known);
            let hashes = columns.hash(&columns.of_rows(&new)?)?;
            hashes.into_iter().for_each(|hash| index.push(short(hash)));
        }
        first = end;
    }
    Ok(())
}

pub(super) fn growing_row(growing: &GrowingSegment, row: u32) -> Result<RecordBatch> {
    let mut first = 0;
    for batch in growing.batches() {
        let end = first + batch.num_rows();
        if (row as usize) < end {
            return Ok(batch.slice(row as usize - first, 1));
        }
        first = end;
    }
    let (id, rows) = (growing.id, growing.rows);
    Err(Error::internal(format!(
        "row {row} of growing segment {id}, which has {rows}"
    )))
}
