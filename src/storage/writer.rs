//! Writes a segment: a Parquet file whose vector pages are raw matrices, with its statistics and its checksums.
//!
//! Scalars are compressed with zstd and a dictionary and carry statistics per row group and page; the keys and the
//! columns of indexes have bloom filters. Vectors are ordinary lists in data pages V2, PLAIN and uncompressed, so that [`super::vectors`]
//! reads them in place; a page ends with a row, near [`VECTOR_PAGE_BYTES`].

use std::collections::HashSet;
use std::io::{self, Write};

use arrow::array::RecordBatchOptions;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{
    EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion,
};
use parquet::schema::types::ColumnPath;

use super::bloom::has_filter;
use super::collect::StatsCollector;
use super::disk::StoreFile;
use super::index::{FilterPlace, SegmentFilter};
use super::schema::{
    CollectionOptions, CollectionSchema, Column, ColumnType, FieldId, LIST_ELEMENT, field_id,
};
use super::segment::{BlockWriter, SegmentReader, parquet_error};
use super::stats::{BOUND_BYTES_MAX, SegmentStats};
use super::stored::{stored_schema, to_stored};
use crate::error::{Error, Result, sqlstate};

/// Where a page of vectors ends: after the row that reaches it.
pub const VECTOR_PAGE_BYTES: usize = 1 << 20;
/// Where a page of scalars ends, before compression.
const SCALAR_PAGE_BYTES: usize = 256 << 10;
/// The most rows of a page: the third level of pruning, below segments and row groups.
const PAGE_ROWS: usize = 2_048;
/// What a row group may take in memory while it is written; wide vectors get smaller row groups.
const ROW_GROUP_BYTES: usize = 64 << 20;
/// How often a bloom filter says "maybe" for a value that is not there.
const BLOOM_FALSE_POSITIVES: f64 = 0.01;
const LABEL: &str = "new segment";

/// How a segment is laid out.
#[derive(Debug, Clone, Copy)]
pub struct SegmentLayout<'a> {
    /// The columns and keys.
    pub schema: &'a CollectionSchema,
    /// Sizes of row groups.
    pub options: &'a CollectionOptions,
    /// The columns by which the rows come sorted (ascending, NULLs last), most significant first.
    pub sorted_by: &'a [FieldId],
    /// Float columns that may hold NaN, from [`super::collect::nan_fields`] or the `nan_count` of input segments.
    /// They get no Parquet statistics, because readers that order NaN above all numbers would prune by them
    /// wrongly. Our own reader needs no such care: where [`SegmentStats`] counts a NaN, it trusts no bound.
    pub nan_fields: &'a HashSet<FieldId>,
    /// Columns that get bloom filters besides the keys: those of indexes.
    pub filter_fields: &'a [FieldId],
}

/// What was written.
#[derive(Debug, Clone)]
pub struct WrittenSegment {
    /// Rows.
    pub rows: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// CRC32C of the whole file.
    pub crc32c: u32,
    /// What the columns hold.
    pub stats: SegmentStats,
    /// The bloom filters of indexed columns.
    pub filters: Vec<SegmentFilter>,
}

/// Writes one segment into one file, which must be open for reading too. Nothing is synced.
pub struct SegmentWriter {
    writer: ArrowWriter<Checksummed>,
    collector: StatsCollector,
    schema: SchemaRef,
    /// The schema of the file.
    stored: SchemaRef,
    filter_fields: Vec<FieldId>,
    rows: u64,
}

impl SegmentWriter {
    /// A writer into an empty file.
    ///
    /// # Errors
    /// 58030 or 53100 when the file cannot be written.
    pub fn try_new(file: impl Into<StoreFile>, layout: SegmentLayout) -> Result<Self> {
        let schema = layout.schema.arrow_schema();
        let target = Checksummed {
            file: file.into(),
            blocks: BlockWriter::default(),
        };
        let stored = stored_schema(&schema);
        let writer =
            ArrowWriter::try_new(target, SchemaRef::clone(&stored), Some(properties(layout)));
        Ok(Self {
            writer: writer.map_err(write_error)?,
            collector: StatsCollector::new(layout.schema),
            schema,
            stored,
            filter_fields: layout.filter_fields.to_vec(),
            rows: 0,
        })
    }

    /// Writes rows of the collection's `arrow_schema()`, in the order of `sorted_by`.
    ///
    /// # Errors
    /// 58030 or 53100 when the file cannot be written, 54000 past 2^32 rows, XX000 for rows of another schema
    /// (other field ids, other types, NULL where none may be).
    pub fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        let rows = &self.in_schema(rows)?;
        self.rows += rows.num_rows() as u64;
        if self.rows > u64::from(u32::MAX) {
            let message = "a segment cannot have more than 4294967295 rows";
            return Err(Error::limit(sqlstate::PROGRAM_LIMIT_EXCEEDED, message));
        }
        self.collector.add(rows)?;
        let rows = to_stored(rows, &self.stored)?;
        self.writer.write(&rows).map_err(write_error)
    }

    /// The rows with the collection's own fields: operators that they came through may have lost metadata.
    fn in_schema(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let wrong = |why: &dyn std::fmt::Display| {
            Error::internal(format!(
                "rows for a segment are not of the collection's schema: {why}"
            ))
        };
        let fields = rows.schema_ref().fields().iter().zip(self.schema.fields());
        for (field, wanted) in fields {
            if field_id(field).is_some_and(|id| Some(id) != field_id(wanted)) {
                return Err(wrong(&format!("{} for {}", field.name(), wanted.name())));
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let schema = SchemaRef::clone(&self.schema);
        RecordBatch::try_new_with_options(schema, rows.columns().to_vec(), &options)
            .map_err(|error| wrong(&error))
    }

    /// Rows written so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Writes the rows so far as a row group, whatever its size.
    ///
    /// # Errors
    /// 58030 or 53100 when the file cannot be written.
    pub fn end_row_group(&mut self) -> Result<()> {
        self.writer.flush().map_err(write_error)
    }

    /// Bytes of the file so far.
    pub fn bytes(&self) -> u64 {
        self.writer.inner().blocks.bytes()
    }

    /// Bytes held in memory for the row group that is not written yet.
    pub fn memory_bytes(&self) -> usize {
        self.writer.memory_size()
    }

    /// Writes the footer, and reads the vectors once more for their radius (they are in the page cache).
    ///
    /// # Errors
    /// 58030 or 53100 when the file cannot be written or read.
    pub fn finish(mut self) -> Result<WrittenSegment> {
        // All row groups are written then: what follows is the tail, which has the checksums of what came before.
        self.writer.flush().map_err(write_error)?;
        let checksums = self.writer.inner().blocks.key_value();
        self.writer.append_key_value_metadata(checksums);
        self.writer.finish().map_err(write_error)?;
        let target = self.writer.inner_mut();
        target
            .file
            .flush()
            .map_err(|e| Error::io("write a segment", e))?;
        let (crc32c, bytes) = (target.blocks.whole(), target.blocks.bytes());
        let file = target.file.to_read();
        let file = file.map_err(|e| Error::io("write a segment", e))?;
        let reader = SegmentReader::from_file(file, LABEL)?;
        if reader.rows() != self.rows {
            return Err(Error::internal(format!(
                "a segment of {} rows was written as {} rows",
                self.rows,
                reader.rows()
            )));
        }
        let stats = self.collector.finish(|field, centroid| {
            let pages = reader.vector_pages(field)?.ok_or_else(|| {
                Error::internal(format!("vectors of field {field} are not in raw pages"))
            })?;
            pages.radius(centroid)
        })?;
        let mut filters = Vec::with_capacity(self.filter_fields.len());
        for field in self.filter_fields {
            filters.extend(reader.filter_bytes(field)?.map(|bytes| SegmentFilter {
                field,
                bytes,
                place: FilterPlace::Segment,
            }));
        }
        Ok(WrittenSegment {
            rows: self.rows,
            bytes,
            crc32c,
            stats,
            filters,
        })
    }
}

fn write_error(error: ParquetError) -> Error {
    match parquet_error(LABEL, error) {
        error if error.sqlstate() == sqlstate::DATA_CORRUPTED => {
            Error::internal(error.message().to_string()).with_source(error)
        }
        error => error,
    }
}

fn properties(layout: SegmentLayout) -> WriterProperties {
    let row_group_rows = layout
        .options
        .row_group_rows_max
        .clamp(1, u64::from(u32::MAX));
    let builder = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_2_0)
        .set_created_by(concat!("shelfmark version ", env!("CARGO_PKG_VERSION")).to_string())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_dictionary_enabled(true)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_statistics_truncate_length(Some(BOUND_BYTES_MAX))
        .set_column_index_truncate_length(Some(BOUND_BYTES_MAX))
        .set_data_page_size_limit(SCALAR_PAGE_BYTES)
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_max_row_group_row_count(Some(row_group_rows as usize))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .set_sorting_columns(sorting_columns(layout));
    let columns = layout.schema.columns.iter();
    columns
        .fold(builder, |builder, column| {
            column_properties(builder, column, layout)
        })
        .build()
}

fn sorting_columns(layout: SegmentLayout) -> Option<Vec<SortingColumn>> {
    // Every column type has exactly one leaf, so a column's place is its leaf's place.
    let places = layout
        .sorted_by
        .iter()
        .map(|id| layout.schema.index_of(*id));
    let columns: Vec<_> = places
        .map_while(|place| {
            Some(SortingColumn {
                column_idx: place? as i32,
                descending: false,
                nulls_first: false,
            })
        })
        .collect();
    (!columns.is_empty()).then_some(columns)
}

fn column_properties(
    builder: WriterPropertiesBuilder,
    column: &Column,
    layout: SegmentLayout,
) -> WriterPropertiesBuilder {
    let path = leaf_path(column);
    match column.column_type.base() {
        ColumnType::Vector(_) | ColumnType::HalfVec(_) => builder
            .set_column_encoding(path.clone(), Encoding::PLAIN)
            .set_column_compression(path.clone(), Compression::UNCOMPRESSED)
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_statistics_enabled(path.clone(), EnabledStatistics::None)
            .set_column_data_page_size_limit(path, VECTOR_PAGE_BYTES),
        // The order of their bytes says nothing.
        ColumnType::Array(_) | ColumnType::Interval => {
            builder.set_column_statistics_enabled(path, EnabledStatistics::None)
        }
        _ => scalar_properties(builder, path, column, layout),
    }
}

fn scalar_properties(
    mut builder: WriterPropertiesBuilder,
    path: ColumnPath,
    column: &Column,
    layout: SegmentLayout,
) -> WriterPropertiesBuilder {
    let float = matches!(column.column_type, ColumnType::Real | ColumnType::Double);
    if float && layout.nan_fields.contains(&column.id) {
        builder = builder.set_column_statistics_enabled(path.clone(), EnabledStatistics::None);
    }
    if matches!(
        column.column_type.arrow_type(),
        DataType::Utf8 | DataType::Binary
    ) {
        // The default of V2 pages, DELTA_BYTE_ARRAY, saves shared prefixes, which zstd does too, and decodes slowly.
        builder = builder.set_column_encoding(path.clone(), Encoding::DELTA_LENGTH_BYTE_ARRAY);
    }
    if layout.schema.primary_key == [column.id] {
        // Every value differs: a dictionary would hold them all, uncompressed by what they have in common.
        builder = builder.set_column_dictionary_enabled(path.clone(), false);
    }
    let key = layout.schema.primary_key.contains(&column.id)
        || layout.schema.clustering_key.contains(&column.id);
    if layout.filter_fields.contains(&column.id) || key && has_filter(&column.column_type) {
        builder = builder.set_column_bloom_filter_fpp(path, BLOOM_FALSE_POSITIVES);
    }
    builder
}

fn leaf_path(column: &Column) -> ColumnPath {
    let mut parts = vec![column.name.clone()];
    let mut column_type = &column.column_type;
    loop {
        match column_type {
            ColumnType::Vector(_) | ColumnType::HalfVec(_) => {
                parts.extend(["list".to_string(), LIST_ELEMENT.to_string()]);
                return ColumnPath::new(parts);
            }
            ColumnType::Array(inner) => {
                parts.extend(["list".to_string(), LIST_ELEMENT.to_string()]);
                column_type = inner;
            }
            _ => return ColumnPath::new(parts),
        }
    }
}

/// A file that counts and checksums what is written to it.
struct Checksummed {
    file: StoreFile,
    blocks: BlockWriter,
}

impl Write for Checksummed {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let written = self.file.write(data)?;
        self.blocks.add(&data[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
