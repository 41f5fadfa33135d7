//! Values as Parquet files have them, where Parquet has no type for what Arrow holds.
//!
//! Parquet's own intervals know milliseconds alone. Ours are 16 bytes, little-endian: months and days, 32 bits each, then
//! nanoseconds, 64 bits, as Arrow has them in memory. Other programs read the column as bytes of that length.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryArray, ListArray, PrimitiveArray, RecordBatchOptions,
};
use arrow::datatypes::{
    DataType, Field, FieldRef, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
    Schema, SchemaRef,
};
use arrow::record_batch::RecordBatch;

use crate::error::{Error, Result};

/// Bytes of an interval.
const INTERVAL_BYTES: i32 = 16;

/// The type that files have for values of a type in memory.
fn stored_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Interval(_) => DataType::FixedSizeBinary(INTERVAL_BYTES),
        DataType::List(element) => DataType::List(stored_field(element)),
        other => other.clone(),
    }
}

fn stored_field(field: &FieldRef) -> FieldRef {
    let stored = stored_type(field.data_type());
    match &stored == field.data_type() {
        true => Arc::clone(field),
        false => Arc::new(Field::clone(field).with_data_type(stored)),
    }
}

/// The schema that files have for rows of a schema in memory.
pub(super) fn stored_schema(schema: &SchemaRef) -> SchemaRef {
    let fields: Vec<FieldRef> = schema.fields().iter().map(stored_field).collect();
    match fields == schema.fields().to_vec() {
        true => Arc::clone(schema),
        false => Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())),
    }
}

/// The rows as files have them; `stored` is the [`stored_schema`] of their own.
///
/// # Errors
/// XX000 when that schema is another.
pub(super) fn to_stored(rows: &RecordBatch, stored: &SchemaRef) -> Result<RecordBatch> {
    if rows.schema_ref() == stored {
        return Ok(rows.clone());
    }
    let columns: Result<Vec<ArrayRef>> = rows.columns().iter().map(stored_array).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    let schema = Arc::clone(stored);
    Ok(RecordBatch::try_new_with_options(
        schema, columns?, &options,
    )?)
}

fn stored_array(array: &ArrayRef) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Interval(IntervalUnit::MonthDayNano) => Ok(Arc::new(to_bytes(array))),
        DataType::List(element) if stored_type(element.data_type()) != *element.data_type() => {
            with_elements(array.as_list(), stored_field(element), stored_array)
        }
        _ => Ok(Arc::clone(array)),
    }
}

/// What a file has for a column whose type in memory is `wanted`; `None` for what no column of the type is kept as.
pub(super) fn from_stored(array: &ArrayRef, wanted: &DataType) -> Result<Option<ArrayRef>> {
    if array.data_type() != &stored_type(wanted) {
        return Ok(None);
    }
    Ok(Some(match wanted {
        DataType::Interval(_) => from_bytes(array.as_fixed_size_binary()),
        DataType::List(element) => {
            let read = |values: &ArrayRef| {
                let values = from_stored(values, element.data_type())?;
                values.ok_or_else(|| Error::internal("a list's elements are of another type"))
            };
            with_elements(array.as_list(), Arc::clone(element), read)?
        }
        _ => Arc::clone(array),
    }))
}

fn with_elements(
    list: &ListArray,
    element: FieldRef,
    values: impl Fn(&ArrayRef) -> Result<ArrayRef>,
) -> Result<ArrayRef> {
    let values = values(list.values())?;
    let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
    Ok(Arc::new(ListArray::try_new(
        element, offsets, values, nulls,
    )?))
}

fn to_bytes(intervals: &ArrayRef) -> FixedSizeBinaryArray {
    let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
    let mut bytes = Vec::with_capacity(intervals.len() * INTERVAL_BYTES as usize);
    for interval in intervals.values() {
        bytes.extend_from_slice(&interval.months.to_le_bytes());
        bytes.extend_from_slice(&interval.days.to_le_bytes());
        bytes.extend_from_slice(&interval.nanoseconds.to_le_bytes());
    }
    FixedSizeBinaryArray::new(INTERVAL_BYTES, bytes.into(), intervals.nulls().cloned())
}

fn from_bytes(bytes: &FixedSizeBinaryArray) -> ArrayRef {
    let (intervals, _) = bytes.value_data().as_chunks();
    let intervals: Vec<IntervalMonthDayNano> = intervals.iter().map(of_bytes).collect();
    let nulls = bytes.nulls().cloned();
    Arc::new(PrimitiveArray::<IntervalMonthDayNanoType>::new(
        intervals.into(),
        nulls,
    ))
}

/// The interval that a file has as these bytes; `None` when they are not 16.
pub fn interval_of(bytes: &[u8]) -> Option<IntervalMonthDayNano> {
    bytes.try_into().ok().map(of_bytes)
}

fn of_bytes([a, b, c, d, e, f, g, h, nanoseconds @ ..]: &[u8; 16]) -> IntervalMonthDayNano {
    IntervalMonthDayNano {
        months: i32::from_le_bytes([*a, *b, *c, *d]),
        days: i32::from_le_bytes([*e, *f, *g, *h]),
        nanoseconds: i64::from_le_bytes(*nanoseconds),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arrow::array::{Int32Array, IntervalMonthDayNanoArray};
    use arrow::buffer::OffsetBuffer;

    use super::*;

    const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

    fn intervals() -> IntervalMonthDayNanoArray {
        let interval = |months, days, nanoseconds| {
            Some(IntervalMonthDayNano {
                months,
                days,
                nanoseconds,
            })
        };
        let values = [
            interval(1, -2, 3_000),
            None,
            interval(i32::MIN, i32::MAX, i64::MIN),
            interval(0, 0, 0),
        ];
        values.into_iter().collect()
    }

    fn rows(column: ArrayRef) -> RecordBatch {
        let number: ArrayRef = Arc::new(Int32Array::from_iter_values(0..column.len() as i32));
        let fields = vec![
            Field::new("number", DataType::Int32, false),
            Field::new("value", column.data_type().clone(), true),
        ];
        RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![number, column]).unwrap()
    }

    #[test]
    fn intervals_and_lists_of_them_come_back() {
        let element = Arc::new(Field::new("element", INTERVAL, true));
        let offsets = OffsetBuffer::from_lengths([3, 0, 1]);
        let lists = ListArray::new(element, offsets, Arc::new(intervals()), None);
        let columns: [ArrayRef; 3] = [
            Arc::new(intervals()),
            Arc::new(intervals().slice(1, 2)),
            Arc::new(lists),
        ];
        for column in columns {
            let rows = rows(Arc::clone(&column));
            let stored = to_stored(&rows, &stored_schema(&rows.schema())).unwrap();
            assert_ne!(stored.schema(), rows.schema());
            assert_eq!(stored.column(0).as_ref(), rows.column(0).as_ref());
            let read = from_stored(stored.column(1), column.data_type()).unwrap();
            assert_eq!(read.unwrap().as_ref(), column.as_ref());
        }
    }

    #[test]
    fn what_parquet_has_a_type_for_stays_as_it_is() {
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
        let rows = rows(numbers);
        let schema = stored_schema(&rows.schema());
        assert!(Arc::ptr_eq(&schema, rows.schema_ref()));
        assert_eq!(to_stored(&rows, &schema).unwrap(), rows);
        assert!(from_stored(rows.column(0), &INTERVAL).unwrap().is_none());
    }
}
