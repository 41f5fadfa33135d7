//! One key: where the row is that has it, as far as indexes tell.

use std::sync::Arc;

use arrow::array::ArrayRef;
use datafusion::common::ScalarValue;
use tokio::runtime::Handle;

use super::columns::{KeyColumns, one_zero};
use super::lookup::{growing_row, index_rows, index_segment};
use super::short;
use crate::error::Result;
use crate::storage::collection::Segment;
use crate::storage::engine::Engine;
use crate::storage::growing::GrowingSegment;
use crate::storage::segment::SegmentReader;

/// So many growing rows are read about as fast as they are indexed.
const UNINDEXED_MAX: u64 = 8_192;

/// A key whose row is looked for. At most one live row of a collection has it.
#[derive(Debug)]
pub struct PointKey {
    columns: Arc<KeyColumns>,
    hash: u128,
}

/// Where a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// There, and nowhere else in the collection.
    Row(u32),
    /// Not in the segment.
    Nowhere,
    /// Not indexed: it has to be searched for.
    Unknown,
}

impl PointKey {
    /// The key with these values of its columns, in order and of the columns' types; none of them is NULL.
    ///
    /// # Errors
    /// None in practice: the values are of the key's types.
    pub fn new(columns: &Arc<KeyColumns>, values: &[ScalarValue]) -> Result<Self> {
        let arrays = values.iter().map(|value| Ok(one_zero(&value.to_array()?)));
        let arrays = arrays.collect::<Result<Vec<ArrayRef>>>()?;
        Ok(Self {
            columns: Arc::clone(columns),
            hash: columns.hash(&arrays)?[0],
        })
    }

    /// The live row of a growing segment that has the key. Rows that came since the segment was last asked are indexed
    /// first, unless they are many.
    ///
    /// # Errors
    /// None in practice: the rows are of the collection.
    pub fn in_growing(&self, engine: &Engine, growing: &GrowingSegment) -> Result<Place> {
        let index = engine.keys.growing(growing.id, self.columns.number());
        let mut index = index.lock();
        if growing.rows.saturating_sub(index.rows()) > UNINDEXED_MAX {
            return Ok(Place::Unknown);
        }
        index_rows(&mut index, &self.columns, growing)?;
        // A row that is updated comes again at the end. The index may know rows that came after this version.
        for row in index.rows_of_latest_first(short(self.hash)) {
            let is_there = u64::from(row) < growing.rows && !growing.deletes.contains(row);
            if is_there && self.is_of(growing, row)? {
                return Ok(Place::Row(row));
            }
        }
        Ok(Place::Nowhere)
    }

    /// Whether the row has the key, rather than one with the same part of the hash.
    fn is_of(&self, growing: &GrowingSegment, row: u32) -> Result<bool> {
        let columns = self.columns.of_rows(&growing_row(growing, row)?)?;
        Ok(self.columns.hash(&columns)?[0] == self.hash)
    }

    /// The live rows of a sealed segment that may have the key, ascending; `None` where its keys are not indexed.
    pub fn in_sealed(&self, engine: &Engine, segment: &Segment) -> Option<Vec<u32>> {
        let keys = engine.keys.sealed(segment.id, self.columns.number())?;
        let mut rows = Vec::new();
        keys.find(&[short(self.hash)], |_, row| rows.push(row));
        rows.retain(|row| !segment.deletes.contains(*row));
        Some(rows)
    }

    /// Counts that the key is searched for in a sealed segment whose keys are not indexed, and has them indexed beside the
    /// query when they are worth it. Nothing waits for that, and it holds nothing of the database but the open file.
    ///
    /// # Errors
    /// Those of `open`, which opens the segment.
    pub fn index_if_worth(
        &self,
        engine: &Engine,
        segment: &Segment,
        open: impl FnOnce() -> Result<Arc<SegmentReader>>,
    ) -> Result<()> {
        let (id, number, rows) = (segment.id, self.columns.number(), segment.rows);
        let Some(indexing) = engine.keys.begin_index(id, number, rows) else {
            return Ok(());
        };
        let (reader, columns) = (open()?, Arc::clone(&self.columns));
        let index = move || match index_segment(&columns, &reader, rows) {
            Ok(found) => indexing.keep(id, number, found),
            // Who reads the rows hears of it.
            Err(error) => tracing::warn!(%error, "keys cannot be indexed"),
        };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(index)),
            Err(_) => index(),
        }
        Ok(())
    }
}
