//! The bloom filters of an open segment, wherever they are.
//!
//! They only ever save work: what cannot be read says "maybe", and the log says why.

use std::sync::Arc;

use super::collection::{Collection, Segment};
use super::engine::Engine;
use super::filter_file::FilterFile;
use super::schema::FieldId;
use super::segment::SegmentReader;
use crate::error::Error;

/// The bloom filters of an open segment.
#[derive(Debug, Clone, Copy)]
pub struct SegmentFilters<'a> {
    /// Where files of their own are cached.
    pub engine: &'a Engine,
    /// The collection of the segment.
    pub collection: &'a Collection,
    /// The segment.
    pub segment: &'a Segment,
    /// Its open file.
    pub reader: &'a SegmentReader,
}

/// The bloom filters of one column.
#[derive(Debug)]
pub enum ColumnFilters<'a> {
    /// In the segment's own file.
    Segment(&'a SegmentReader, FieldId),
    /// In a file of their own.
    File(Arc<FilterFile>),
}

impl<'a> SegmentFilters<'a> {
    /// The filters of a column, if it has them.
    pub fn column(&self, field: FieldId) -> Option<ColumnFilters<'a>> {
        let found = self.find(field);
        found.unwrap_or_else(|error| {
            warn(&error);
            None
        })
    }

    fn find(&self, field: FieldId) -> Result<Option<ColumnFilters<'a>>, Error> {
        if let Some(filter) = self.segment.filter(field) {
            let (engine, id) = (self.engine, self.collection.id);
            let label = self.reader.label();
            let file = engine.filters.open(&engine.store, id, filter, label)?;
            if let Some(file) = file {
                return Ok(Some(ColumnFilters::File(file)));
            }
        }
        let own = self.reader.filter_bytes(field)?;
        Ok(own.map(|_| ColumnFilters::Segment(self.reader, field)))
    }
}

impl ColumnFilters<'_> {
    /// Whether the row group may hold the value of one of the hashes ([`super::bloom::hashes_of`]).
    pub fn may_contain(&self, row_group: usize, hashes: &[u64]) -> bool {
        match self {
            Self::File(file) => file.may_contain(row_group, hashes),
            Self::Segment(reader, field) => reader
                .may_contain(row_group, *field, hashes)
                .unwrap_or_else(|error| {
                    warn(&error);
                    true
                }),
        }
    }
}

fn warn(error: &Error) {
    tracing::warn!(%error, "bloom filters cannot be read, their row groups are");
}
