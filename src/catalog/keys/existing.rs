//! The rows that have keys which a statement brings.

use std::collections::HashMap;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array, UInt64Array};
use arrow::compute::{concat_batches, take};

use super::lookup::Found;
use crate::error::Result;
use crate::storage::adapt::projected_schema;
use crate::storage::schema::{CollectionSchema, FieldId};

/// For each of some rows the live one of the collection that has its key.
pub struct Existing {
    /// The hashes of the keys, in the order of the rows.
    pub hashes: Vec<u128>,
    /// For each row its place in the following; NULL where no live row has the key.
    pub places: UInt32Array,
    segments: UInt64Array,
    rows: UInt32Array,
    columns: RecordBatch,
}

impl Existing {
    /// Of rows whose keys have these hashes, and what was found for any of them.
    ///
    /// # Errors
    /// XX000 for fields that the schema does not have.
    pub(super) fn new(
        hashes: Vec<u128>,
        found: Vec<Found>,
        schema: &CollectionSchema,
        fields: &[FieldId],
    ) -> Result<Self> {
        let mut of_hash = HashMap::with_capacity(found.iter().map(|f| f.rows.len()).sum());
        let (mut segments, mut rows) = (Vec::new(), Vec::new());
        for of_segment in &found {
            for (row, hash) in &of_segment.rows {
                of_hash.insert(*hash, rows.len() as u32);
                segments.push(of_segment.segment.0);
                rows.push(*row);
            }
        }
        let columns = found.iter().map(|f| &f.columns);
        Ok(Self {
            places: hashes
                .iter()
                .map(|hash| of_hash.get(hash).copied())
                .collect(),
            hashes,
            segments: segments.into(),
            rows: rows.into(),
            columns: concat_batches(&projected_schema(schema, fields)?, columns)?,
        })
    }

    /// Whether no live row has any of the keys.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// For each row the segment of the one that has its key, or NULL.
    ///
    /// # Errors
    /// None in practice.
    pub fn segments(&self) -> Result<ArrayRef> {
        Ok(take(&self.segments, &self.places, None)?)
    }

    /// For each row the place in its segment of the one that has its key, or NULL.
    ///
    /// # Errors
    /// None in practice.
    pub fn rows(&self) -> Result<ArrayRef> {
        Ok(take(&self.rows, &self.places, None)?)
    }

    /// For each row a column of the one that has its key, or NULL: of those that were asked for the one at `place`.
    ///
    /// # Errors
    /// None in practice.
    pub fn column(&self, place: usize) -> Result<ArrayRef> {
        Ok(take(self.columns.column(place), &self.places, None)?)
    }
}
