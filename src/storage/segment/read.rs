//! Reading rows of a segment: chosen columns, row groups and rows, filtered before the wide columns are fetched.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{AsArray, BooleanArray, RecordBatchOptions, UInt32Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use parking_lot::Mutex;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowPredicateFn, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection,
    RowSelector,
};
use parquet::errors::ParquetError;

use super::file::{SegmentFile, guarded, parquet_error};
use super::reader::no_row_group;
use super::{ROW_COLUMN, SegmentReader};
use crate::error::{Error, Result};
use crate::storage::adapt::{adapt_batch, projected_schema};
use crate::storage::schema::{CollectionSchema, FieldId};
use crate::storage::vectors::VectorPages;

/// Chooses rows from a batch of the filter's columns; NULL is no.
pub type RowFilter = Box<dyn Fn(&RecordBatch) -> Result<BooleanArray> + Send>;

/// What to read of a segment.
pub struct ReadRequest {
    /// The collection's schema of today.
    pub schema: Arc<CollectionSchema>,
    /// The columns, in the order of the output.
    pub fields: Vec<FieldId>,
    /// The row groups, in the order of the output.
    pub row_groups: Vec<usize>,
    /// The rows among those of the row groups, one row group after the other; `None` for all.
    pub rows: Option<RowSelection>,
    /// Whether a column [`ROW_COLUMN`] (UInt32) with the place of each row in the file comes last.
    pub row_number: bool,
    /// A filter with its columns, evaluated first; the other columns are read only where it says yes.
    pub filter: Option<(Vec<FieldId>, RowFilter)>,
    /// The most rows of a batch; batches end with their row group.
    pub batch_size: usize,
}

impl ReadRequest {
    /// All rows of the given columns.
    pub fn all(
        reader: &SegmentReader,
        schema: Arc<CollectionSchema>,
        fields: Vec<FieldId>,
    ) -> Self {
        Self {
            schema,
            fields,
            row_groups: (0..reader.row_groups()).collect(),
            rows: None,
            row_number: false,
            filter: None,
            batch_size: 8_192,
        }
    }
}

/// The rows that a [`ReadRequest`] asks for, read as the iterator moves.
pub struct SegmentBatches {
    reader: Arc<SegmentReader>,
    file: SegmentFile,
    schema: Arc<CollectionSchema>,
    output: SchemaRef,
    row_number: bool,
    /// The output's columns in order: vectors in raw pages are copied from there, the others are decoded.
    columns: Vec<Source>,
    /// The columns that are decoded.
    decoded: Vec<FieldId>,
    filter: Option<(Vec<FieldId>, Arc<Mutex<RowFilter>>)>,
    /// Whether a panic comes from the filter rather than from the file.
    in_filter: Arc<AtomicBool>,
    batch_size: usize,
    row_groups: std::vec::IntoIter<(usize, Option<RowSelection>)>,
    current: Option<ParquetRecordBatchReader>,
}

/// Where a column of the output comes from.
enum Source {
    /// The column at this place of the decoded ones.
    Decoded(usize),
    /// Raw pages.
    Pages(VectorPages),
}

impl SegmentBatches {
    pub(super) fn try_new(reader: Arc<SegmentReader>, request: ReadRequest) -> Result<Self> {
        let fields = projected_schema(&request.schema, &request.fields)?;
        let output = if request.row_number {
            let mut fields = fields.fields().to_vec();
            fields.push(Arc::new(Field::new(ROW_COLUMN, DataType::UInt32, false)));
            Arc::new(Schema::new(fields))
        } else {
            fields
        };
        let row_groups = split_rows(&reader, &request.row_groups, request.rows)?;
        let file = reader.file().with_own_count();
        let mut decoded = Vec::new();
        let mut columns = Vec::with_capacity(request.fields.len());
        for (place, field) in request.fields.iter().enumerate() {
            let pages = match output.field(place).data_type() {
                DataType::FixedSizeList(_, _) => reader.vector_pages(*field)?,
                _ => None,
            };
            let of_type = |p: &Arc<VectorPages>| &p.data_type() == output.field(place).data_type();
            columns.push(match pages.filter(of_type) {
                Some(pages) => Source::Pages(pages.with_file(file.clone())),
                None => {
                    decoded.push(*field);
                    Source::Decoded(decoded.len() - 1)
                }
            });
        }
        Ok(Self {
            file,
            reader,
            schema: request.schema,
            output,
            row_number: request.row_number,
            columns,
            decoded,
            filter: request
                .filter
                .map(|(f, filter)| (f, Arc::new(Mutex::new(filter)))),
            in_filter: Arc::default(),
            batch_size: request.batch_size.max(1),
            row_groups: row_groups.into_iter(),
            current: None,
        })
    }

    /// The schema of the batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.output
    }

    /// Bytes read from the file so far.
    pub fn bytes_read(&self) -> u64 {
        self.file.bytes_read()
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(current) = &mut self.current {
                if let Some(batch) = current.next() {
                    return self.finish(batch).map(Some);
                }
                self.current = None;
            }
            let Some((row_group, rows)) = self.row_groups.next() else {
                return Ok(None);
            };
            self.current = Some(self.open(row_group, rows)?);
        }
    }

    /// Starts on a row group. The filter runs over all of it here.
    fn open(
        &self,
        row_group: usize,
        rows: Option<RowSelection>,
    ) -> Result<ParquetRecordBatchReader> {
        let metadata = self.reader.arrow_metadata(self.numbers_rows()).clone();
        let mut builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(self.file.clone(), metadata)
                .with_batch_size(self.batch_size)
                .with_row_groups(vec![row_group])
                .with_projection(self.mask(&self.decoded));
        if let Some(rows) = rows {
            builder = builder.with_row_selection(rows);
        }
        if let Some((fields, filter)) = &self.filter {
            builder = builder.with_row_filter(self.row_filter(fields, filter));
        }
        builder.build().map_err(|error| self.error(error))
    }

    fn row_filter(
        &self,
        fields: &[FieldId],
        filter: &Arc<Mutex<RowFilter>>,
    ) -> parquet::arrow::arrow_reader::RowFilter {
        let (schema, filter) = (Arc::clone(&self.schema), Arc::clone(filter));
        let (ids, in_filter) = (fields.to_vec(), Arc::clone(&self.in_filter));
        let evaluate = move |batch: RecordBatch| {
            let batch = adapt_batch(&batch, &schema, &ids)?;
            in_filter.store(true, Ordering::Relaxed);
            let chosen = (filter.lock())(&batch);
            in_filter.store(false, Ordering::Relaxed);
            chosen
        };
        let predicate = ArrowPredicateFn::new(self.mask(fields), move |batch| {
            evaluate(batch).map_err(|error| ArrowError::ExternalError(Box::new(error)))
        });
        parquet::arrow::arrow_reader::RowFilter::new(vec![Box::new(predicate)])
    }

    fn mask(&self, fields: &[FieldId]) -> ProjectionMask {
        let roots = fields
            .iter()
            .filter_map(|id| self.reader.stored(*id))
            .map(|c| c.root);
        ProjectionMask::roots(self.reader.arrow_metadata(false).parquet_schema(), roots)
    }

    fn finish(&self, batch: Result<RecordBatch, ArrowError>) -> Result<RecordBatch> {
        let batch = batch.map_err(|error| self.error(ParquetError::from(error)))?;
        let decoded = adapt_batch(&batch, &self.schema, &self.decoded)
            .map_err(|error| error.context(self.reader.label()))?;
        let numbers = match self.numbers_rows() {
            true => row_numbers(&batch)?,
            false => UInt32Array::new_null(0),
        };
        let mut columns = Vec::with_capacity(self.output.fields().len());
        for source in &self.columns {
            columns.push(match source {
                Source::Decoded(place) => Arc::clone(decoded.column(*place)),
                Source::Pages(pages) => pages.gather_array(numbers.values())?,
            });
        }
        if self.row_number {
            columns.push(Arc::new(numbers));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let output = SchemaRef::clone(&self.output);
        let finished = RecordBatch::try_new_with_options(output, columns, &options);
        finished.map_err(|error| {
            Error::corrupted(format!("{}: rows do not fit: {error}", self.reader.label()))
        })
    }

    /// Whether the Parquet reader has to number the rows: for the output, or to find the vectors.
    fn numbers_rows(&self) -> bool {
        let pages = |source: &Source| matches!(source, Source::Pages(_));
        self.row_number || self.columns.iter().any(pages)
    }

    fn error(&self, error: ParquetError) -> Error {
        parquet_error(self.reader.label(), unwrap_arrow(error))
    }
}

impl Iterator for SegmentBatches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let (reader, in_filter) = (Arc::clone(&self.reader), Arc::clone(&self.in_filter));
        let next = guarded(reader.label(), &in_filter, || self.next_batch());
        if next.is_err() {
            // Nothing good comes after an error.
            self.row_groups = Vec::new().into_iter();
            self.current = None;
        }
        next.transpose()
    }
}

/// The row numbers that the Parquet reader put last.
fn row_numbers(batch: &RecordBatch) -> Result<UInt32Array> {
    let last = batch.columns().last();
    let numbers = last.ok_or_else(|| Error::internal("a batch has no row numbers"))?;
    let numbers = cast(numbers, &DataType::UInt32)?;
    Ok(numbers.as_primitive::<UInt32Type>().clone())
}

/// The selection of each row group's own rows.
fn split_rows(
    reader: &SegmentReader,
    row_groups: &[usize],
    mut rows: Option<RowSelection>,
) -> Result<Vec<(usize, Option<RowSelection>)>> {
    let mut split = Vec::with_capacity(row_groups.len());
    for row_group in row_groups {
        if *row_group >= reader.row_groups() {
            return Err(no_row_group(reader.label(), *row_group));
        }
        let count = reader.row_group_rows(*row_group) as usize;
        let part = rows.as_mut().map(|rows| rows.split_off(count));
        match part {
            Some(part) if !part.selects_any() => {}
            part => split.push((*row_group, part.map(|part| pad(part, count)))),
        }
    }
    Ok(split)
}

/// A selection that ends early selects nothing more; the Parquet reader wants to hear of every row.
fn pad(selection: RowSelection, rows: usize) -> RowSelection {
    let known = selection.row_count() + selection.skipped_row_count();
    if known >= rows {
        return selection;
    }
    let mut selectors: Vec<RowSelector> = selection.into();
    selectors.push(RowSelector::skip(rows - known));
    selectors.into()
}

/// Takes an error out of Arrow's and Parquet's wrappers, so that ours and I/O errors are seen.
fn unwrap_arrow(error: ParquetError) -> ParquetError {
    let ParquetError::External(inner) = error else {
        return error;
    };
    match inner.downcast::<ArrowError>() {
        Ok(arrow) => match *arrow {
            ArrowError::ExternalError(inner) => unwrap_arrow(ParquetError::External(inner)),
            arrow => ParquetError::External(Box::new(arrow)),
        },
        Err(inner) => match inner.downcast::<ParquetError>() {
            Ok(parquet) => unwrap_arrow(*parquet),
            Err(inner) => ParquetError::External(inner),
        },
    }
}
