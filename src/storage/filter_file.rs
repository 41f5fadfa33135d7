//! A file with the bloom filters of one column of one segment, and a cache of those that are asked often.
//!
//! ```text
//! file = "SHELFBLM" | format u32 | row groups u32 | blocks u32 per row group | block of 32 bytes *    little-endian
//! ```
//! The commit that names the file has its checksum.

use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use lru::LruCache;
use parking_lot::Mutex;

use super::bloom::{self, BLOCK_BYTES, block_may_contain, block_of};
use super::disk::Files;
use super::index::{FilterPlace, SegmentFilter};
use super::schema::{CollectionId, CollectionSchema, FieldId, FilterId};
use super::segment::{ReadRequest, SegmentReader};
use super::store::{Store, io};
use crate::error::{Error, Result};

const MAGIC: &[u8; 8] = b"SHELFBLM";
const FORMAT: u32 = 1;
const HEADER_BYTES: usize = 16;

/// The bloom filters of one column of one segment.
#[derive(Debug)]
pub struct FilterFile {
    bytes: Vec<u8>,
    /// The bytes of each row group's filter.
    row_groups: Vec<Range<usize>>,
}

impl FilterFile {
    /// Whether the row group may hold the value of one of the hashes; always where it has no filter.
    pub fn may_contain(&self, row_group: usize, hashes: &[u64]) -> bool {
        let Some(range) = self.row_groups.get(row_group) else {
            return true;
        };
        let (blocks, _) = self.bytes[range.clone()].as_chunks::<BLOCK_BYTES>();
        hashes.iter().any(|hash| {
            let block = blocks.get(block_of(*hash, blocks.len() as u32) as usize);
            block.is_none_or(|block| block_may_contain(block, *hash))
        })
    }

    /// The filters of a file's bytes; `None` when they are not as [`write`] leaves them.
    fn parse(bytes: Vec<u8>) -> Option<Self> {
        let word = |at: usize| {
            let bytes = bytes.get(at..at + 4)?;
            Some(u32::from_le_bytes(bytes.try_into().ok()?))
        };
        if bytes.get(..8)? != MAGIC || word(8)? != FORMAT {
            return None;
        }
        let count = word(12)? as usize;
        let mut end = HEADER_BYTES.checked_add(count.checked_mul(4)?)?;
        let mut row_groups = Vec::new();
        for group in 0..count {
            let length = (word(HEADER_BYTES + group * 4)? as usize).checked_mul(BLOCK_BYTES)?;
            row_groups.push(end..end.checked_add(length)?);
            end += length;
        }
        (end == bytes.len()).then_some(Self { bytes, row_groups })
    }
}

/// Writes the filters of a column of a segment, durably, where its file has none. What is answered is for a commit;
/// without one, the file is removed at the next open.
///
/// # Errors
/// XX001 for a damaged segment, 58030 or 53100 for what the disk says, also when the file exists.
pub fn write(
    store: &Store,
    collection: CollectionId,
    id: FilterId,
    reader: &Arc<SegmentReader>,
    schema: &Arc<CollectionSchema>,
    field: FieldId,
) -> Result<SegmentFilter> {
    let own = |bytes| SegmentFilter {
        field,
        bytes,
        place: FilterPlace::Segment,
    };
    if !reader.has_field(field) {
        return Ok(own(0));
    }
    if let Some(bytes) = reader.filter_bytes(field)? {
        return Ok(own(bytes));
    }
    let bytes = encode(reader, schema, field)?;
    let mut file = store.create(store.filter_path(collection, id))?;
    let path = file.path().to_path_buf();
    file.file()
        .write_all(&bytes)
        .map_err(|e| io("write", &path, e))?;
    file.publish()?;
    Ok(SegmentFilter {
        field,
        bytes: bytes.len() as u64,
        place: FilterPlace::File {
            id,
            crc32c: crc32c::crc32c(&bytes),
        },
    })
}

fn encode(
    reader: &Arc<SegmentReader>,
    schema: &Arc<CollectionSchema>,
    field: FieldId,
) -> Result<Vec<u8>> {
    let groups = reader.row_groups();
    let mut bytes = MAGIC.to_vec();
    bytes.extend(FORMAT.to_le_bytes());
    bytes.extend((groups as u32).to_le_bytes());
    let mut filters = Vec::new();
    for group in 0..groups {
        let mut request = ReadRequest::all(reader, Arc::clone(schema), vec![field]);
        request.row_groups = vec![group];
        let mut hashes = Vec::new();
        for batch in reader.read(request)? {
            hashes.extend(column_hashes(&batch?)?);
        }
        let filter = bloom::build(&mut hashes);
        bytes.extend(((filter.len() / BLOCK_BYTES) as u32).to_le_bytes());
        filters.extend(filter);
    }
    bytes.extend(filters);
    Ok(bytes)
}

fn column_hashes(batch: &RecordBatch) -> Result<Vec<u64>> {
    let column = batch.column(0);
    bloom::hashes(column).ok_or_else(|| {
        let data_type = column.data_type();
        Error::internal(format!("there are no bloom filters of {data_type}"))
    })
}

/// The filters of a file.
///
/// # Errors
/// XX001 for a file that is missing or not what was written, 58030 when it cannot be read.
pub(super) fn read(files: &Files, path: &Path, label: &str, crc32c: u32) -> Result<FilterFile> {
    let wrong = |why: &str| {
        let file = path.display();
        Error::corrupted(format!("{label}: the bloom filters in {file} {why}"))
            .with_hint("Drop the index and create it again.")
    };
    let bytes = files.read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => wrong("are missing"),
        _ => io("read", path, error),
    })?;
    if crc32c::crc32c(&bytes) != crc32c {
        return Err(wrong("are damaged"));
    }
    FilterFile::parse(bytes).ok_or_else(|| wrong("are of another format"))
}

/// Filter files in memory, those asked for last, within a limit.
#[derive(Debug)]
pub struct FilterCache {
    bytes_max: usize,
    cached: Mutex<Cached>,
}

#[derive(Debug)]
struct Cached {
    bytes: usize,
    files: LruCache<FilterId, Arc<FilterFile>>,
}

impl FilterCache {
    /// A cache of about `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        let cached = Cached {
            bytes: 0,
            files: LruCache::unbounded(),
        };
        Self {
            bytes_max,
            cached: Mutex::new(cached),
        }
    }

    /// The filters of a column that are in a file of their own; `label` names the segment in errors.
    ///
    /// # Errors
    /// XX001 for a file that is missing or not what was written, 58030 when it cannot be read.
    pub fn open(
        &self,
        store: &Store,
        collection: CollectionId,
        filter: &SegmentFilter,
        label: &str,
    ) -> Result<Option<Arc<FilterFile>>> {
        let FilterPlace::File { id, crc32c } = filter.place else {
            return Ok(None);
        };
        if let Some(known) = self.cached.lock().files.get(&id) {
            return Ok(Some(Arc::clone(known)));
        }
        // Not under the lock: others can be used meanwhile. Two may read the same.
        let path = store.filter_path(collection, id);
        let file = Arc::new(read(store.files(), &path, label, crc32c)?);
        let mut cached = self.cached.lock();
        cached.bytes += file.bytes.len();
        if let Some((_, old)) = cached.files.push(id, Arc::clone(&file)) {
            cached.bytes -= old.bytes.len();
        }
        while cached.bytes > self.bytes_max
            && let Some((_, oldest)) = cached.files.pop_lru()
        {
            cached.bytes -= oldest.bytes.len();
        }
        Ok(Some(file))
    }

    /// Forgets a file that is gone.
    pub fn remove(&self, id: FilterId) {
        let mut cached = self.cached.lock();
        if let Some(file) = cached.files.pop(&id) {
            cached.bytes -= file.bytes.len();
        }
    }
}
