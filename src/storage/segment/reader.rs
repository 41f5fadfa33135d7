//! An open segment: footer and page index parsed once, shared by all who read.

use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow::datatypes::{DataType, Field, SchemaRef};
use parking_lot::Mutex;
use parquet::arrow::RowNumber;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, RowGroupMetaData};

use super::blocks::Blocks;
use super::bloom::FilterPage;
use super::bounds::Pages;
use super::file::{SegmentFile, checked, guarded, parquet_error};
use super::{ROW_COLUMN, ReadRequest, SegmentBatches};
use crate::error::{Error, Result};
use crate::storage::schema::{CollectionSchema, FieldId, field_id};
use crate::storage::stats::ColumnBounds;
use crate::storage::stored::stored_schema;
use crate::storage::vectors::VectorPages;

/// An open segment. Cheap to share; reads by position, so threads do not wait for each other.
#[derive(Debug)]
pub struct SegmentReader {
    label: String,
    file: SegmentFile,
    /// Without and with the virtual column of row numbers.
    plain: ArrowReaderMetadata,
    numbered: ArrowReaderMetadata,
    metadata_bytes: usize,
    columns: Vec<StoredColumn>,
    /// The first row of each row group, and the number of rows at the end.
    first_rows: Vec<u64>,
    vectors: Mutex<HashMap<FieldId, Option<Arc<VectorPages>>>>,
    /// Bounds of row groups, as far as they were asked for.
    pub(super) bounds: Mutex<HashMap<FieldId, ColumnBounds>>,
    /// The pages of row groups, as far as they were asked for; `None` without a page index.
    pub(super) pages: Mutex<KnownPages>,
    /// Where bloom filters are, one per row group, as far as they were asked for.
    pub(super) filters: Mutex<HashMap<FieldId, Arc<[Option<FilterPage>]>>>,
}

/// The pages of a column in a row group.
type KnownPages = HashMap<(usize, FieldId), Option<Arc<Pages>>>;

/// A column of the file.
#[derive(Debug, Clone, Copy)]
pub(in crate::storage) struct StoredColumn {
    pub field: FieldId,
    /// Its place among the file's columns.
    pub root: usize,
    /// The place of its one leaf; `None` for foreign structs with several.
    pub leaf: Option<usize>,
}

impl SegmentReader {
    /// Opens a file as a segment; `label` (collection and segment) stands before the file in errors.
    ///
    /// # Errors
    /// XX001 naming the file when it is missing or is no segment, 58030 when it cannot be read.
    pub fn open(path: &Path, label: &str) -> Result<Arc<Self>> {
        let label = format!("{label} (file {})", path.display());
        let file = open_file(path, &label)?;
        Ok(Arc::new(Self::from_file(file, &label)?))
    }

    /// As [`SegmentReader::open`], for a file of so many bytes and that checksum, as the commit has them. Its length
    /// and its footer are checked here, its blocks when they are read.
    ///
    /// # Errors
    /// As [`SegmentReader::open`]; XX001 also when it is not the segment that was written.
    pub fn open_whole(path: &Path, label: &str, bytes: u64, crc32c: u32) -> Result<Arc<Self>> {
        let label = format!("{label} (file {})", path.display());
        let file = checked(&label, SegmentFile::new(open_file(path, &label)?))?;
        if file.bytes() != bytes {
            let found = file.bytes();
            return Err(damaged(
                &label,
                &format!("it has {found} bytes, not {bytes}"),
            ));
        }
        let reader = Self::of(file, &label)?;
        let blocks = Blocks::of(reader.metadata()).map_err(|why| damaged(&label, &why))?;
        if let Some(blocks) = &blocks {
            let tail = checked(&label, reader.file.read_tail(blocks))?;
            if blocks.whole_with(&tail) != crc32c {
                let start = blocks.data_bytes();
                let why = format!("the checksum of its footer, from byte {start} on, is wrong");
                return Err(damaged(&label, &why));
            }
        }
        Ok(Arc::new(Self {
            file: reader.file.clone().with_blocks(blocks),
            ..reader
        }))
    }

    /// A segment from its open file.
    pub(in crate::storage) fn from_file(file: File, label: &str) -> Result<Self> {
        Self::of(checked(label, SegmentFile::new(file))?, label)
    }

    fn of(file: SegmentFile, label: &str) -> Result<Self> {
        guarded(label, &AtomicBool::new(false), || {
            Self::parse(file, label).map_err(|error| parquet_error(label, error))
        })
    }

    fn parse(file: SegmentFile, label: &str) -> Result<Self, ParquetError> {
        let options =
            || ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        let plain = ArrowReaderMetadata::load(&file, options())?;
        check_metadata(plain.metadata(), file.bytes())?;
        let row = Field::new(ROW_COLUMN, DataType::Int64, false).with_extension_type(RowNumber);
        let numbered = ArrowReaderMetadata::try_new(
            Arc::clone(plain.metadata()),
            options().with_virtual_columns(vec![Arc::new(row)])?,
        )?;
        let mut first_rows = vec![0];
        for group in plain.metadata().row_groups() {
            first_rows.push(first_rows[first_rows.len() - 1] + group.num_rows() as u64);
        }
        Ok(Self {
            columns: stored_columns(&plain),
            metadata_bytes: plain.metadata().memory_size(),
            label: label.to_string(),
            file,
            plain,
            numbered,
            first_rows,
            vectors: Mutex::default(),
            bounds: Mutex::default(),
            pages: Mutex::default(),
            filters: Mutex::default(),
        })
    }

    /// Bytes of memory that the footer and the page index take.
    pub(super) fn metadata_bytes(&self) -> usize {
        self.metadata_bytes
    }

    /// Reads the whole file and checks every byte of it.
    ///
    /// # Errors
    /// XX001 naming the file, and the bytes where it has checksums of its blocks; 58030 when it cannot be read.
    pub fn check_all(&self, crc32c: u32) -> Result<()> {
        match checked(&self.label, self.file.check_all())? == crc32c {
            true => Ok(()),
            false => Err(damaged(
                &self.label,
                "the checksum of the whole file is wrong",
            )),
        }
    }

    /// For who maps the file: checks those blocks with bytes of `range` that were not checked before, by this reader or
    /// any other of the same open segment. Called before the first look at a range; what was checked costs a look at
    /// a few bits. `whole` is the file in memory.
    ///
    /// # Errors
    /// XX001 naming the file and the bytes.
    pub fn check_mapped(&self, whole: &[u8], range: Range<u64>) -> Result<()> {
        checked(&self.label, self.file.check_mapped(whole, range))
    }

    /// Rows of the file, deleted ones included.
    pub fn rows(&self) -> u64 {
        self.first_rows[self.first_rows.len() - 1]
    }

    /// How many row groups the file has.
    pub fn row_groups(&self) -> usize {
        self.first_rows.len() - 1
    }

    /// Rows of a row group.
    pub fn row_group_rows(&self, row_group: usize) -> u64 {
        self.first_rows[row_group + 1] - self.first_rows[row_group]
    }

    /// The places of a row group's rows in the file.
    pub fn row_group_range(&self, row_group: usize) -> Range<u32> {
        self.first_rows[row_group] as u32..self.first_rows[row_group + 1] as u32
    }

    /// The row group that holds the row.
    pub fn row_group_of(&self, row: u32) -> usize {
        self.first_rows
            .partition_point(|first| *first <= u64::from(row))
            - 1
    }

    /// Whether the file has exactly the columns of a collection, as they are called today.
    pub fn is_of(&self, schema: &CollectionSchema) -> bool {
        let wanted = stored_schema(&schema.arrow_schema());
        let (found, wanted) = (self.arrow_schema().fields(), wanted.fields());
        found.len() == wanted.len()
            && found.iter().zip(wanted).all(|(found, wanted)| {
                field_id(found) == field_id(wanted)
                    && found.name() == wanted.name()
                    && found.data_type() == wanted.data_type()
                    && found.is_nullable() == wanted.is_nullable()
            })
    }

    /// Whether the file has the column; a column added after it was written is not there.
    pub fn has_field(&self, field: FieldId) -> bool {
        self.stored(field).is_some()
    }

    /// Bytes of the texts of a column in a row group; `None` where the file does not say.
    pub(super) fn bytes_of_values(&self, row_group: usize, field: FieldId) -> Option<u64> {
        let chunk = self.metadata().row_group(row_group);
        let chunk = chunk.column(self.stored(field)?.leaf?);
        u64::try_from(chunk.unencoded_byte_array_data_bytes()?).ok()
    }

    /// Reads rows.
    ///
    /// # Errors
    /// XX000 for a row group or a column that does not exist. Errors of the file come from the iterator.
    pub fn read(self: &Arc<Self>, request: ReadRequest) -> Result<SegmentBatches> {
        SegmentBatches::try_new(Arc::clone(self), request)
    }

    /// The raw pages of a vector column; `None` when the file does not have it in that form.
    ///
    /// # Errors
    /// XX001 when the file is damaged, 58030 when it cannot be read.
    pub fn vector_pages(&self, field: FieldId) -> Result<Option<Arc<VectorPages>>> {
        if let Some(known) = self.vectors.lock().get(&field) {
            return Ok(known.clone());
        }
        let pages = VectorPages::open(self, field)?.map(Arc::new);
        self.vectors.lock().insert(field, pages.clone());
        Ok(pages)
    }

    /// Whether its vectors were read in place since it was opened.
    pub(super) fn is_mapped(&self) -> bool {
        self.file.is_mapped()
    }

    /// What stands before an error about this segment.
    pub fn label(&self) -> &str {
        &self.label
    }

    pub(in crate::storage) fn file(&self) -> &SegmentFile {
        &self.file
    }

    pub(in crate::storage) fn metadata(&self) -> &ParquetMetaData {
        self.plain.metadata()
    }

    pub(in crate::storage) fn arrow_metadata(&self, row_numbers: bool) -> &ArrowReaderMetadata {
        if row_numbers {
            &self.numbered
        } else {
            &self.plain
        }
    }

    pub(in crate::storage) fn arrow_schema(&self) -> &SchemaRef {
        self.plain.schema()
    }

    pub(in crate::storage) fn stored(&self, field: FieldId) -> Option<StoredColumn> {
        self.columns.iter().find(|c| c.field == field).copied()
    }
}

fn open_file(path: &Path, label: &str) -> Result<File> {
    // A link could lead anywhere, and a pipe would never end.
    let found = std::fs::symlink_metadata(path);
    let file = match found {
        Ok(found) if !found.is_file() => return Err(damaged(label, "it is not a regular file")),
        Ok(_) => File::open(path),
        Err(error) => Err(error),
    };
    file.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::corrupted(format!("{label}: the file is missing"))
            .with_hint("Restore the file from a backup.")
            .with_source(error),
        _ => Error::io(format!("open {label}"), error),
    })
}

fn damaged(label: &str, why: &str) -> Error {
    Error::corrupted(format!("{label}: the file is damaged: {why}"))
        .with_hint("Restore the file from a backup.")
}

fn stored_columns(metadata: &ArrowReaderMetadata) -> Vec<StoredColumn> {
    let descriptor = metadata.parquet_schema();
    let leaf_of = |root: usize| {
        let mut leaves =
            (0..descriptor.num_columns()).filter(|l| descriptor.get_column_root_idx(*l) == root);
        let leaf = leaves.next()?;
        leaves.next().is_none().then_some(leaf)
    };
    let fields = metadata.schema().fields().iter().enumerate();
    fields
        .filter_map(|(root, field)| {
            Some(StoredColumn {
                field: field_id(field)?,
                root,
                leaf: leaf_of(root),
            })
        })
        .collect()
}

/// What the reader below takes for granted and would panic about.
fn check_metadata(metadata: &ParquetMetaData, file_bytes: u64) -> Result<(), ParquetError> {
    let wrong = |what: &str| Err(ParquetError::General(what.to_string()));
    let leaves = metadata.file_metadata().schema_descr().num_columns();
    let mut rows = 0u64;
    for group in metadata.row_groups() {
        let Ok(group_rows) = u64::try_from(group.num_rows()) else {
            return wrong("a row group has a negative number of rows");
        };
        rows = rows.saturating_add(group_rows);
        if group.columns().len() != leaves {
            return wrong("a row group does not have every column");
        }
        if !chunks_in_file(group, file_bytes) {
            return wrong("a column lies outside of the file");
        }
    }
    if rows > u64::from(u32::MAX) {
        return wrong("there are more than 4294967295 rows");
    }
    if i64::try_from(rows) != Ok(metadata.file_metadata().num_rows()) {
        return wrong("the row groups do not have as many rows as the file");
    }
    check_pages(metadata, file_bytes)
}

fn chunks_in_file(group: &RowGroupMetaData, file_bytes: u64) -> bool {
    group.columns().iter().all(|chunk| {
        let start = chunk
            .dictionary_page_offset()
            .unwrap_or(chunk.data_page_offset());
        let ends = u64::try_from(start)
            .ok()
            .zip(u64::try_from(chunk.compressed_size()).ok());
        ends.and_then(|(start, bytes)| start.checked_add(bytes))
            .is_some_and(|end| end <= file_bytes)
    })
}

fn check_pages(metadata: &ParquetMetaData, file_bytes: u64) -> Result<(), ParquetError> {
    let wrong = || Err(ParquetError::General("the page index is wrong".to_string()));
    let Some(index) = metadata.offset_index() else {
        return Ok(());
    };
    if index.len() != metadata.num_row_groups() {
        return wrong();
    }
    for (group, columns) in metadata.row_groups().iter().zip(index) {
        if columns.len() != group.columns().len() {
            return wrong();
        }
        for pages in columns.iter().map(|c| c.page_locations()) {
            let inside = pages.iter().all(|page| {
                page.offset >= 0
                    && page.compressed_page_size >= 0
                    && page.offset as u64 + page.compressed_page_size as u64 <= file_bytes
                    && (0..=group.num_rows()).contains(&page.first_row_index)
            });
            if !inside || !pages.is_sorted_by_key(|page| page.first_row_index) {
                return wrong();
            }
            if pages.first().is_some_and(|page| page.first_row_index != 0) {
                return wrong();
            }
        }
    }
    Ok(())
}

/// A row group that the file does not have: a fault of the caller.
pub(super) fn no_row_group(label: &str, row_group: usize) -> Error {
    Error::internal(format!("{label} has no row group {row_group}"))
}
