//! Bloom filters in the segment's own file, asked block by block.

use std::sync::Arc;

use super::SegmentReader;
use super::file::{checked, parquet_error};
use crate::error::Result;
use crate::storage::bloom::{BLOCK_BYTES, block_may_contain, block_of};
use crate::storage::page_header::{HEADER_BYTES_MAX, parse_bloom};
use crate::storage::schema::FieldId;

/// Where the filter of a row group is in the file.
#[derive(Debug, Clone, Copy)]
pub(in crate::storage) struct FilterPage {
    first_block: u64,
    blocks: u32,
}

impl SegmentReader {
    /// Whether a row group may hold the value of one of the hashes; always where the file has no bloom filter of the
    /// column.
    ///
    /// # Errors
    /// XX001 when the file is damaged, 58030 when it cannot be read.
    pub fn may_contain(&self, row_group: usize, field: FieldId, hashes: &[u64]) -> Result<bool> {
        let Some(Some(page)) = self.filter_pages(field)?.get(row_group).copied() else {
            return Ok(true);
        };
        let mut block = [0; BLOCK_BYTES];
        for hash in hashes {
            let at = u64::from(block_of(*hash, page.blocks)) * BLOCK_BYTES as u64;
            let read = self.file().read_at(page.first_block + at, &mut block);
            checked(self.label(), read)?;
            if block_may_contain(&block, *hash) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Bytes of a column's bloom filters; `None` when a row group has none.
    ///
    /// # Errors
    /// As [`SegmentReader::may_contain`].
    pub fn filter_bytes(&self, field: FieldId) -> Result<Option<u64>> {
        let pages = self.filter_pages(field)?;
        let bytes =
            |page: &Option<FilterPage>| Some(u64::from((*page)?.blocks) * BLOCK_BYTES as u64);
        let all = pages.len() == self.row_groups();
        Ok(pages.iter().map(bytes).sum::<Option<u64>>().filter(|_| all))
    }

    /// The filters of a column, one per row group; none when the file does not have the column.
    fn filter_pages(&self, field: FieldId) -> Result<Arc<[Option<FilterPage>]>> {
        if let Some(known) = self.filters.lock().get(&field) {
            return Ok(Arc::clone(known));
        }
        let leaf = self.stored(field).and_then(|c| c.leaf);
        let groups = self.metadata().row_groups().iter();
        let pages: Result<Arc<[_]>> = leaf
            .into_iter()
            .flat_map(|leaf| groups.clone().map(move |group| group.column(leaf)))
            .map(|chunk| match chunk.bloom_filter_offset() {
                Some(offset) => self.filter_page(offset).map(Some),
                None => Ok(None),
            })
            .collect();
        let pages = pages?;
        self.filters.lock().insert(field, Arc::clone(&pages));
        Ok(pages)
    }

    fn filter_page(&self, offset: i64) -> Result<FilterPage> {
        let damaged = || {
            let error =
                parquet::errors::ParquetError::General("a bloom filter makes no sense".into());
            parquet_error(self.label(), error)
        };
        let offset = u64::try_from(offset).map_err(|_| damaged())?;
        let left = self
            .file()
            .bytes()
            .checked_sub(offset)
            .ok_or_else(damaged)?;
        let mut header = vec![0; left.min(HEADER_BYTES_MAX as u64) as usize];
        checked(self.label(), self.file().read_at(offset, &mut header))?;
        let (header_bytes, bytes) = parse_bloom(&header).ok_or_else(damaged)?;
        let blocks = bytes / BLOCK_BYTES as u64;
        let whole = blocks > 0 && bytes % BLOCK_BYTES as u64 == 0;
        if !whole || header_bytes as u64 + bytes > left {
            return Err(damaged());
        }
        Ok(FilterPage {
            first_block: offset + header_bytes as u64,
            blocks: u32::try_from(blocks).map_err(|_| damaged())?,
        })
    }
}
