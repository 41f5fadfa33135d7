//! Rows of segments by their places, which are few or far apart.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{concat, concat_batches, take, take_record_batch};
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};

use super::adapt::{adapt_batch, projected_schema};
use super::growing::GrowingSegment;
use super::schema::{CollectionSchema, FieldId, SegmentId};
use super::segment::{ColumnCache, ReadRequest, SegmentReader, select_ranges};
use crate::error::Result;

/// Columns of rows of a growing segment. The rows ascend.
///
/// # Errors
/// XX000 for columns that the schema does not have.
pub fn growing_rows(
    segment: &GrowingSegment,
    collection: &CollectionSchema,
    fields: &[FieldId],
    rows: &[u32],
) -> Result<RecordBatch> {
    let schema = projected_schema(collection, fields)?;
    let mut parts = Vec::new();
    let (mut first, mut rest) = (0, rows);
    for batch in segment.batches() {
        let end = first + batch.num_rows() as u32;
        let (here, later) = rest.split_at(rest.partition_point(|row| *row < end));
        if !here.is_empty() {
            let places = UInt32Array::from_iter_values(here.iter().map(|row| row - first));
            let batch = adapt_batch(batch, collection, fields)?;
            parts.push(take_record_batch(&batch, &places)?);
        }
        (first, rest) = (end, later);
    }
    Ok(concat_batches(&schema, &parts)?)
}

/// Columns of rows of a sealed segment, and how many bytes were read for them. The rows ascend.
///
/// # Errors
/// XX001 when the file is damaged, 58030 when it cannot be read.
pub fn sealed_rows(
    reader: &Arc<SegmentReader>,
    collection: &Arc<CollectionSchema>,
    fields: &[FieldId],
    rows: &[u32],
) -> Result<(RecordBatch, u64)> {
    let schema = projected_schema(collection, fields)?;
    let mut row_groups = Vec::new();
    let mut selectors: Vec<RowSelector> = Vec::new();
    for of_group in rows.chunk_by(|a, b| reader.row_group_of(*a) == reader.row_group_of(*b)) {
        let row_group = reader.row_group_of(of_group[0]);
        let places = of_group.iter().map(|row| *row..row + 1);
        let selection = select_ranges(reader.row_group_range(row_group), places);
        selectors.extend(Vec::from(selection));
        row_groups.push(row_group);
    }
    let mut batches = reader.read(ReadRequest {
        schema: Arc::clone(collection),
        fields: fields.to_vec(),
        row_groups,
        rows: Some(RowSelection::from(selectors)),
        row_number: false,
        filter: None,
        batch_size: rows.len(),
    })?;
    let parts: Vec<RecordBatch> = batches.by_ref().collect::<Result<_>>()?;
    Ok((concat_batches(&schema, &parts)?, batches.bytes_read()))
}

/// What [`sealed_rows`] gives, with the columns that are kept decoded taken from memory.
///
/// # Errors
/// Those of [`sealed_rows`].
pub fn sealed_rows_kept(
    kept: &ColumnCache,
    segment: SegmentId,
    reader: &Arc<SegmentReader>,
    collection: &Arc<CollectionSchema>,
    fields: &[FieldId],
    rows: &[u32],
) -> Result<(RecordBatch, u64)> {
    let mut bytes_read = 0;
    let mut columns: Vec<Option<ArrayRef>> = Vec::with_capacity(fields.len());
    for field in fields {
        let mut column = |row_group| {
            let found = kept.read_again(segment, reader, row_group, collection, *field)?;
            Ok(found.map(|(column, bytes)| {
                bytes_read += bytes;
                column
            }))
        };
        columns.push(rows_of_column(reader, rows, &mut column)?);
    }
    let missing = fields.iter().zip(&columns);
    let missing = missing.filter(|(_, column)| column.is_none());
    let missing: Vec<FieldId> = missing.map(|(field, _)| *field).collect();
    if !missing.is_empty() {
        let (read, bytes) = sealed_rows(reader, collection, &missing, rows)?;
        bytes_read += bytes;
        let mut read = read.columns().iter();
        for column in columns.iter_mut().filter(|column| column.is_none()) {
            *column = read.next().cloned();
        }
    }
    let columns = columns.into_iter().flatten().collect();
    let schema = projected_schema(collection, fields)?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let rows = RecordBatch::try_new_with_options(schema, columns, &options)?;
    Ok((rows, bytes_read))
}

/// Rows of a column of which `column` gives whole row groups; `None` where it does not.
fn rows_of_column(
    reader: &SegmentReader,
    rows: &[u32],
    column: &mut dyn FnMut(usize) -> Result<Option<ArrayRef>>,
) -> Result<Option<ArrayRef>> {
    let mut parts = Vec::new();
    for of_group in rows.chunk_by(|a, b| reader.row_group_of(*a) == reader.row_group_of(*b)) {
        let row_group = reader.row_group_of(of_group[0]);
        let Some(column) = column(row_group)? else {
            return Ok(None);
        };
        let first = reader.row_group_range(row_group).start;
        let places = UInt32Array::from_iter_values(of_group.iter().map(|row| row - first));
        parts.push(take(&column, &places, None)?);
    }
    let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
    Ok(Some(concat(&parts)?))
}
