//! Which of the rows that a statement takes come back with other values: what they were referred to by may follow them.

use std::collections::HashMap;

use arrow::array::RecordBatch;

use crate::error::Result;
use crate::storage::adapt::adapt_batch;
use crate::storage::collection::Collection;
use crate::storage::schema::{FieldId, SegmentId};
use crate::storage::snapshot::Snapshot;

/// Rows that are replaced by others. They are known only where a foreign key does something about them.
#[derive(Debug, Default)]
pub struct Replaced {
    /// The columns that foreign keys refer to.
    fields: Vec<FieldId>,
    /// The place of each row among those that come.
    places: HashMap<(SegmentId, u32), usize>,
    /// These columns of the rows that come.
    pub(super) rows: Vec<RecordBatch>,
    len: usize,
}

impl Replaced {
    /// None yet, of a collection of the snapshot.
    pub fn of(collection: &Collection, snapshot: &Snapshot) -> Self {
        let keys = || snapshot.references_to(collection.id).map(|(_, key)| key);
        let acts = keys().any(|key| key.acts());
        let referred = keys().filter(|_| acts).flat_map(|key| &key.referred);
        let mut fields: Vec<FieldId> = referred.copied().collect();
        fields.sort_unstable();
        fields.dedup();
        Self {
            fields,
            ..Self::default()
        }
    }

    /// Whether rows need not be added.
    pub fn is_needless(&self) -> bool {
        self.fields.is_empty()
    }

    /// Adds rows of the collection that come in place of others; some come in place of none.
    ///
    /// # Errors
    /// None in practice.
    pub fn add(
        &mut self,
        places: impl Iterator<Item = Option<(SegmentId, u32)>>,
        rows: &RecordBatch,
        collection: &Collection,
    ) -> Result<()> {
        let places = places.zip(self.len..);
        let replaced = places.filter_map(|(place, row)| Some((place?, row)));
        self.places.extend(replaced);
        self.len += rows.num_rows();
        let rows = adapt_batch(rows, &collection.schema, &self.fields)?;
        self.rows.push(rows);
        Ok(())
    }

    /// The place among those that come of the row that replaces this one.
    pub(super) fn place(&self, segment: SegmentId, row: u32) -> Option<usize> {
        self.places.get(&(segment, row)).copied()
    }
}
