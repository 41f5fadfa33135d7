//! Batches of another time in today's columns: matched by field id, never by name.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatchOptions, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::schema::{CollectionSchema, Column, ColumnType, FieldId, field_id};
use super::stored::from_stored;
use crate::error::{Error, Result};

/// The Arrow schema of some of the columns, in the order of `fields`.
///
/// # Errors
/// XX000 when the collection has no such column.
pub fn projected_schema(schema: &CollectionSchema, fields: &[FieldId]) -> Result<SchemaRef> {
    let fields: Result<Vec<FieldRef>> = fields
        .iter()
        .map(|id| Ok(Arc::new(column(schema, *id)?.arrow_field())))
        .collect();
    Ok(Arc::new(Schema::new(fields?)))
}

/// The rows of `batch` with exactly the columns `fields` of today's schema.
///
/// A renamed column keeps its values, a column added later has its `missing` value or NULL, a dropped one goes. Rows that
/// were deleted may have NULLs where none may be by now: a field of the result is nullable then. Who has left such rows
/// out makes a batch of the collection's own fields, which shows whether a live row has one.
///
/// # Errors
/// XX000 when the collection has no such column, XX001 when a stored column is not of the column's type.
pub fn adapt_batch(
    batch: &RecordBatch,
    schema: &CollectionSchema,
    fields: &[FieldId],
) -> Result<RecordBatch> {
    let stored = batch.schema_ref().fields();
    let rows = batch.num_rows();
    let columns: Vec<ArrayRef> = fields
        .iter()
        .map(|id| {
            let column = column(schema, *id)?;
            match stored.iter().position(|f| field_id(f) == Some(*id)) {
                Some(index) => adapt_array(batch.column(index), column),
                None => missing_array(column, rows),
            }
        })
        .collect::<Result<_>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let schema = nullable_where_null(projected_schema(schema, fields)?, &columns);
    let adapted = RecordBatch::try_new_with_options(schema, columns, &options);
    adapted.map_err(|error| Error::corrupted(format!("stored rows do not fit: {error}")))
}

fn nullable_where_null(schema: SchemaRef, columns: &[ArrayRef]) -> SchemaRef {
    let breaks =
        |(field, column): (&FieldRef, &ArrayRef)| !field.is_nullable() && column.null_count() > 0;
    if !schema.fields().iter().zip(columns).any(breaks) {
        return schema;
    }
    let fields = schema.fields().iter().zip(columns);
    let fields = fields.map(|(field, column)| {
        let nullable = field.is_nullable() || column.null_count() > 0;
        field.as_ref().clone().with_nullable(nullable)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// What `rows` rows hold that were written before the column was added.
///
/// # Errors
/// XX001 when the column's `missing` value is not of its type.
pub fn missing_array(column: &Column, rows: usize) -> Result<ArrayRef> {
    let data_type = column.column_type.arrow_type();
    match &column.missing {
        None => Ok(new_null_array(&data_type, rows)),
        Some(value) => Ok(value.to_scalar(&data_type)?.to_array_of_size(rows)?),
    }
}

fn adapt_array(array: &ArrayRef, column: &Column) -> Result<ArrayRef> {
    let wanted = column.column_type.arrow_type();
    if array.data_type() == &wanted {
        return Ok(Arc::clone(array));
    }
    if let Some(read) = from_stored(array, &wanted)? {
        return Ok(read);
    }
    // Files of other writers name a list's child otherwise; the values are the same.
    if array.data_type().equals_datatype(&wanted) {
        return Ok(cast(array, &wanted)?);
    }
    // Parquet has lists of one kind, for arrays of vectors of one size too.
    if let ColumnType::Array(inner) = &column.column_type
        && inner.is_vector()
        && array.data_type().is_list()
    {
        return Ok(cast(array, &wanted)?);
    }
    Err(Error::corrupted(format!(
        "column \"{}\" is stored as {} but is of type {}",
        column.name,
        array.data_type(),
        column.column_type
    )))
}

fn column(schema: &CollectionSchema, id: FieldId) -> Result<&Column> {
    schema
        .column_by_id(id)
        .ok_or_else(|| Error::internal(format!("the collection has no column of field id {id}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::storage::stats::Bound;

    fn bigint(id: u32, name: &str, missing: Option<i64>) -> Column {
        Column {
            id: FieldId(id),
            name: name.into(),
            column_type: ColumnType::BigInt,
            nullable: true,
            default: None,
            missing: missing.map(Bound::Int),
            generated: None,
            domain: None,
        }
    }

    fn schema(columns: Vec<Column>) -> CollectionSchema {
        CollectionSchema {
            next_field_id: FieldId(100),
            checks: Vec::new(),
            computed_keys: Vec::new(),
            foreign_keys: Vec::new(),
            primary_key_name: None,
            partitioning: None,
            columns,
            primary_key: vec![],
            clustering_key: vec![],
            partition_key: None,
        }
    }

    #[test]
    fn columns_are_matched_by_field_id_whatever_their_names() {
        let old = schema(vec![bigint(1, "a", None), bigint(2, "b", None)]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![1, 2])),
            Arc::new(Int64Array::from(vec![3, 4])),
        ];
        let batch = RecordBatch::try_new(old.arrow_schema(), columns).unwrap();
        // "b" was renamed to "a", the old "a" dropped; one column was added with a default, one without.
        let new = schema(vec![
            bigint(2, "a", None),
            bigint(3, "b", Some(7)),
            bigint(4, "c", None),
        ]);
        let fields = [FieldId(4), FieldId(3), FieldId(2)];
        let adapted = adapt_batch(&batch, &new, &fields).unwrap();
        assert_eq!(adapted.schema(), projected_schema(&new, &fields).unwrap());
        assert_eq!(adapted.column(0).null_count(), 2);
        let values = |i: usize| {
            adapted
                .column(i)
                .as_primitive::<Int64Type>()
                .values()
                .to_vec()
        };
        assert_eq!(values(1), [7, 7]);
        assert_eq!(values(2), [3, 4]);
    }

    #[test]
    fn rows_without_columns_are_counted() {
        let old = schema(vec![bigint(1, "a", None)]);
        let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![1, 2]))];
        let batch = RecordBatch::try_new(old.arrow_schema(), columns).unwrap();
        assert_eq!(adapt_batch(&batch, &old, &[]).unwrap().num_rows(), 2);
    }

    #[test]
    fn another_type_is_corruption() {
        let old = schema(vec![bigint(1, "a", None)]);
        let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![1]))];
        let batch = RecordBatch::try_new(old.arrow_schema(), columns).unwrap();
        let mut new = old.clone();
        new.columns[0].column_type = ColumnType::Text;
        let error = adapt_batch(&batch, &new, &[FieldId(1)]).unwrap_err();
        assert_eq!(error.sqlstate(), "XX001");
    }
}
