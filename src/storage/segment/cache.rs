//! Open segments, as many as may be kept, the least recently used closed first.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::SegmentReader;
use crate::error::Result;
use crate::storage::collection::Segment;
use crate::storage::schema::SegmentId;

/// A bounded cache of open segments. A reader that is still in use lives on when it leaves the cache.
#[derive(Debug)]
pub struct SegmentCache {
    readers_max: usize,
    readers: Mutex<Readers>,
}

#[derive(Debug, Default)]
struct Readers {
    /// Counts uses; the greatest is the newest.
    clock: u64,
    open: HashMap<SegmentId, (u64, Arc<SegmentReader>)>,
}

impl SegmentCache {
    /// A cache of at most `readers_max` segments: each keeps a file descriptor and its footer.
    pub fn new(readers_max: usize) -> Self {
        Self {
            readers_max: readers_max.max(1),
            readers: Mutex::default(),
        }
    }

    /// The open segment, opened from `path` if need be; `label` names it in errors.
    ///
    /// # Errors
    /// Those of [`SegmentReader::open_whole`].
    pub fn open(&self, segment: &Segment, path: &Path, label: &str) -> Result<Arc<SegmentReader>> {
        if let Some(reader) = self.get(segment.id) {
            return Ok(reader);
        }
        // Not under the lock: other segments can be used meanwhile. Two may open the same; one is kept.
        let reader = SegmentReader::open_whole(path, label, segment.bytes, segment.crc32c)?;
        Ok(self.insert(segment.id, reader))
    }

    /// Forgets a segment whose file goes.
    pub fn remove(&self, id: SegmentId) {
        self.readers.lock().open.remove(&id);
    }

    fn get(&self, id: SegmentId) -> Option<Arc<SegmentReader>> {
        let mut readers = self.readers.lock();
        readers.clock += 1;
        let clock = readers.clock;
        let (used, reader) = readers.open.get_mut(&id)?;
        *used = clock;
        Some(Arc::clone(reader))
    }

    fn insert(&self, id: SegmentId, reader: Arc<SegmentReader>) -> Arc<SegmentReader> {
        let mut readers = self.readers.lock();
        readers.clock += 1;
        let clock = readers.clock;
        let slot = readers.open.entry(id).or_insert((clock, reader));
        let reader = Arc::clone(&slot.1);
        if readers.open.len() > self.readers_max {
            let oldest = readers.open.iter().min_by_key(|(_, (used, _))| *used);
            let oldest = oldest.map(|(id, _)| *id);
            oldest.map(|id| readers.open.remove(&id));
        }
        reader
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::HashSet;

    use super::*;
    use crate::storage::change::NewSegment;
    use crate::storage::schema::{CollectionOptions, CollectionSchema, FieldId, Version};
    use crate::storage::testing::new_segment;
    use crate::storage::writer::{SegmentLayout, SegmentWriter};

    #[test]
    fn the_least_recently_used_is_closed_first() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let schema = CollectionSchema {
            columns: vec![],
            primary_key: vec![],
            clustering_key: vec![],
            partition_key: None,
            next_field_id: FieldId(1),
            checks: Vec::new(),
        };
        let layout = SegmentLayout {
            schema: &schema,
            options: &CollectionOptions::default(),
            sorted_by: &[],
            nan_fields: &HashSet::new(),
            filter_fields: &[],
        };
        let writer = SegmentWriter::try_new(file.reopen().unwrap(), layout).unwrap();
        let written = writer.finish().unwrap();
        assert_eq!(written.rows, 0);
        let cache = SegmentCache::new(2);
        let open = |id| {
            let new = NewSegment {
                bytes: written.bytes,
                crc32c: written.crc32c,
                ..new_segment(id, 0)
            };
            let segment = Segment::from_new(&new, Version(1));
            cache.open(&segment, file.path(), "segment").unwrap()
        };
        let (first, second) = (open(1), open(2));
        assert!(Arc::ptr_eq(&first, &open(1)));
        open(3);
        assert!(Arc::ptr_eq(&first, &open(1)));
        assert!(!Arc::ptr_eq(&second, &open(2)));
        cache.remove(SegmentId(1));
        assert!(!Arc::ptr_eq(&first, &open(1)));
    }
}
