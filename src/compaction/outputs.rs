//! The new segments of a job until a commit names them.

use std::sync::Arc;

use crate::storage::change::NewSegment;
use crate::storage::engine::Engine;
use crate::storage::schema::CollectionId;
use crate::storage::transaction::RowMap;

/// The new segments of a job. Their files are removed when they are dropped without having been kept.
pub struct Outputs {
    engine: Arc<Engine>,
    collection: CollectionId,
    segments: Vec<NewSegment>,
    row_maps: Vec<RowMap>,
}

impl Outputs {
    /// No segments yet.
    pub fn new(engine: Arc<Engine>, collection: CollectionId) -> Self {
        Self {
            engine,
            collection,
            segments: Vec::new(),
            row_maps: Vec::new(),
        }
    }

    /// The rows so far.
    pub fn rows(&self) -> u64 {
        self.segments.iter().map(|segment| segment.rows).sum()
    }

    /// The segments so far.
    pub fn segments(&self) -> &[NewSegment] {
        &self.segments
    }

    /// Bytes of the row maps so far.
    pub fn places_bytes(&self) -> u64 {
        let bytes = self.row_maps.iter().map(|map| map.to.memory_bytes() as u64);
        bytes.sum()
    }

    /// Adds a segment that was written.
    pub(super) fn add_segment(&mut self, segment: NewSegment) {
        self.segments.push(segment);
    }

    /// Adds where the rows of an input went.
    pub(super) fn add_row_map(&mut self, map: RowMap) {
        self.row_maps.push(map);
    }

    /// Gives up the row maps for the commit.
    pub fn take_row_maps(&mut self) -> Vec<RowMap> {
        std::mem::take(&mut self.row_maps)
    }

    /// Leaves the files where they are: a commit names them, or may do so.
    pub fn keep(mut self) {
        self.segments.clear();
    }
}

impl Drop for Outputs {
    fn drop(&mut self) {
        for segment in &self.segments {
            self.engine.forget(segment.id);
            if let Err(error) = self
                .engine
                .store
                .remove_segment(self.collection, segment.id)
            {
                tracing::warn!(%error, segment = segment.id.0, "a file of a failed compaction stays");
            }
        }
    }
}
