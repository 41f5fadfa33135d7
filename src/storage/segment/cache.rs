//! Open segments, as many and as large as may be kept, the least recently used closed first.

use std::collections::{HashMap, HashSet};
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
    bytes_max: usize,
    readers: Mutex<Readers>,
}

#[derive(Debug, Default)]
struct Readers {
    /// Counts uses; the greatest is the newest.
    clock: u64,
    open: HashMap<SegmentId, (u64, Arc<SegmentReader>)>,
    /// Bytes of memory of all that are open.
    bytes: usize,
}

impl Readers {
    fn remove(&mut self, id: SegmentId) {
        if let Some((_, reader)) = self.open.remove(&id) {
            self.bytes -= reader.metadata_bytes();
        }
    }

    fn oldest(&self) -> Option<SegmentId> {
        let used = self.open.iter().map(|(id, (used, _))| (*used, *id));
        used.min().map(|(_, id)| id)
    }
}

impl SegmentCache {
    /// A cache of at most `readers_max` segments, each of which keeps a file descriptor, whose footers and page indexes
    /// take `bytes_max` bytes at the most; of one segment at least.
    pub fn new(readers_max: usize, bytes_max: usize) -> Self {
        Self {
            readers_max: readers_max.max(1),
            bytes_max,
            readers: Mutex::default(),
        }
    }

    /// Opens a segment that is not open ([`SegmentCache::get`]) from `path`; `label` names it in errors.
    ///
    /// # Errors
    /// Those of [`SegmentReader::open_whole`].
    pub fn open(&self, segment: &Segment, path: &Path, label: &str) -> Result<Arc<SegmentReader>> {
        // Not under the lock: other segments can be used meanwhile. Two may open the same; one is kept.
        let reader = SegmentReader::open_whole(path, label, segment.bytes, segment.crc32c)?;
        Ok(self.insert(segment.id, reader))
    }

    /// Whether one of these segments is open, and its vectors were read in place, as searches do.
    pub fn is_any_mapped(&self, segments: &HashSet<SegmentId>) -> bool {
        let readers = self.readers.lock();
        let mut open = readers.open.iter();
        open.any(|(id, (_, reader))| segments.contains(id) && reader.is_mapped())
    }

    /// Forgets a segment whose file goes.
    pub fn remove(&self, id: SegmentId) {
        self.readers.lock().remove(id);
    }

    /// The segment, if it is open.
    pub fn get(&self, id: SegmentId) -> Option<Arc<SegmentReader>> {
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
        if let Some((used, other)) = readers.open.get_mut(&id) {
            *used = clock;
            return Arc::clone(other);
        }
        readers.bytes += reader.metadata_bytes();
        readers.open.insert(id, (clock, Arc::clone(&reader)));
        let too_many = |readers: &Readers| {
            let count = readers.open.len();
            count > self.readers_max || (count > 1 && readers.bytes > self.bytes_max)
        };
        while too_many(&readers)
            && let Some(oldest) = readers.oldest()
        {
            readers.remove(oldest);
        }
        reader
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
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
            computed_keys: Vec::new(),
            foreign_keys: Vec::new(),
            primary_key_name: None,
            partitioning: None,
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
        let open = |cache: &SegmentCache, id| {
            let new = NewSegment {
                bytes: written.bytes,
                crc32c: written.crc32c,
                ..new_segment(id, 0)
            };
            let segment = Segment::from_new(&new, Version(1));
            cache.open(&segment, file.path(), "segment").unwrap()
        };
        let bytes = open(&SegmentCache::new(1, 0), 1).metadata_bytes();
        assert!(bytes > 0);
        // Either bound leaves room for two.
        for cache in [
            SegmentCache::new(2, usize::MAX),
            SegmentCache::new(9, 2 * bytes),
        ] {
            let open = |id| open(&cache, id);
            let (first, second) = (open(1), open(2));
            assert!(Arc::ptr_eq(&first, &open(1)));
            open(3);
            assert!(Arc::ptr_eq(&first, &open(1)));
            assert!(!Arc::ptr_eq(&second, &open(2)));
            cache.remove(SegmentId(1));
            assert!(!Arc::ptr_eq(&first, &open(1)));
        }
        // The newest stays, however large it is.
        let cache = SegmentCache::new(9, 0);
        let first = open(&cache, 1);
        assert!(Arc::ptr_eq(&first, &open(&cache, 1)));
    }
}
