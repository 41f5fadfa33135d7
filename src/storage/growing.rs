//! A growing segment: rows that live in the log and in memory until they are sealed.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use roaring::RoaringBitmap;

use super::collection::check_rows;
use super::deletes::live_mask;
use super::schema::SegmentId;
use crate::error::Result;

/// Batches of at least this many rows are never copied again.
const COALESCED_ROWS: usize = 8_192;

/// Rows in order of arrival; the place of a row never changes.
///
/// Small batches merge like the digits of a binary counter: an append copies O(log n) times a row over its life,
/// and n one-row appends leave at most log2([`COALESCED_ROWS`]) small batches for a scan to meet.
#[derive(Debug, Clone)]
pub struct GrowingSegment {
    /// Its identity.
    pub id: SegmentId,
    /// Rows, deleted ones included.
    pub rows: u64,
    /// Bytes that the rows take in memory, about.
    pub bytes: u64,
    /// When the first row came, milliseconds since 1970 UTC.
    pub created_ms: i64,
    /// Places of deleted rows.
    pub deletes: RoaringBitmap,
    batches: Vec<RecordBatch>,
}

impl GrowingSegment {
    /// An empty segment.
    pub fn new(id: SegmentId, created_ms: i64) -> Self {
        Self {
            id,
            rows: 0,
            bytes: 0,
            created_ms,
            deletes: RoaringBitmap::new(),
            batches: Vec::new(),
        }
    }

    /// The segment as a checkpoint kept it.
    pub(super) fn restore(
        id: SegmentId,
        created_ms: i64,
        bytes: u64,
        deletes: RoaringBitmap,
        batches: Vec<RecordBatch>,
    ) -> Result<Self> {
        let rows = batches.iter().map(|b| b.num_rows() as u64).sum();
        check_rows(&deletes, rows, id)?;
        Ok(Self {
            id,
            rows,
            bytes,
            created_ms,
            deletes,
            batches,
        })
    }

    /// The rows in order of arrival. Batches written before an ALTER have the columns of their time; match by field id.
    pub fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    /// Rows that are not deleted.
    pub fn live_rows(&self) -> u64 {
        self.rows - self.deletes.len()
    }

    /// The rows that are not deleted, in order of arrival.
    ///
    /// # Errors
    /// None in practice.
    pub fn live_batches(&self) -> Result<Vec<RecordBatch>> {
        let mut live = Vec::with_capacity(self.batches.len());
        let mut first = 0;
        for batch in &self.batches {
            let rows = batch.num_rows() as u32;
            let deleted = self.deletes.range_cardinality(first..first + rows);
            if deleted == 0 {
                live.push(batch.clone());
            } else if deleted < u64::from(rows) {
                let mask = live_mask(&self.deletes, first..first + rows);
                live.push(filter_record_batch(batch, &BooleanArray::new(mask, None))?);
            }
            first += rows;
        }
        Ok(live)
    }

    /// The segment with `rows` after its own.
    ///
    /// # Errors
    /// None in practice: batches that merge have equal schemas.
    pub fn append(&self, rows: &RecordBatch) -> Result<Self> {
        let mut next = self.clone();
        next.rows += rows.num_rows() as u64;
        next.bytes += batch_bytes(rows);
        next.batches.push(rows.clone());
        while let [.., before, last] = next.batches.as_slice() {
            let small = before.num_rows() < COALESCED_ROWS;
            if !small || last.num_rows() < before.num_rows() || before.schema() != last.schema() {
                break;
            }
            let merged = concat_batches(&last.schema(), [before, last])?;
            next.batches.truncate(next.batches.len() - 2);
            next.batches.push(merged);
        }
        Ok(next)
    }
}

/// Bytes of the rows of a batch, slices counted by what they show rather than by their buffers.
pub fn batch_bytes(batch: &RecordBatch) -> u64 {
    batch.columns().iter().map(column_bytes).sum::<usize>() as u64
}

/// [`ArrayData::get_slice_memory_size`](arrow::array::ArrayData::get_slice_memory_size), for the commonest types without
/// making what it is a method of.
fn column_bytes(column: &ArrayRef) -> usize {
    let values = match column.data_type() {
        DataType::Utf8 => match column.as_string::<i32>().value_offsets() {
            [first, .., last] => (column.len() + 1) * size_of::<i32>() + (last - first) as usize,
            offsets => size_of_val(offsets),
        },
        other => match other.primitive_width() {
            Some(width) => column.len() * width,
            None => return column.to_data().get_slice_memory_size().unwrap_or(0),
        },
    };
    let nulls = match column.null_count() {
        0 => 0,
        _ => column.len().div_ceil(8),
    };
    values + nulls
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use arrow::array::{Decimal128Array, Int64Array, RecordBatchOptions, StringArray};
    use arrow::datatypes::{Field, Int64Type, Schema};

    use super::*;

    fn one(value: i64) -> RecordBatch {
        let schema = Arc::new(Schema::new(vec![Field::new("v", DataType::Int64, true)]));
        RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![value]))]).unwrap()
    }

    #[test]
    fn one_row_appends_leave_few_batches_in_order() {
        let mut segment = GrowingSegment::new(SegmentId(1), 0);
        for value in 0..10_000 {
            segment = segment.append(&one(value)).unwrap();
        }
        assert_eq!(segment.rows, 10_000);
        assert!(
            segment.batches().len() <= 14,
            "{} batches",
            segment.batches().len()
        );
        let values: Vec<i64> = segment
            .batches()
            .iter()
            .flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec())
            .collect();
        assert_eq!(values, (0..10_000).collect::<Vec<_>>());
    }

    #[test]
    fn bytes_of_columns_are_those_of_arrow() {
        let columns: [ArrayRef; 5] = [
            Arc::new(Int64Array::from(vec![Some(1), None, Some(3), Some(4)])),
            Arc::new(StringArray::from(vec![
                Some("a"),
                None,
                Some("bcd"),
                Some(""),
            ])),
            Arc::new(Decimal128Array::from(vec![1, 2, 3, 4])),
            Arc::new(BooleanArray::from(vec![true, false, true, true])),
            Arc::new(StringArray::from(vec!["four", "three", "two", "one"])),
        ];
        for column in columns {
            for (first, rows) in [(0, 4), (1, 2), (2, 0), (3, 1)] {
                let slice = column.slice(first, rows);
                let expected = slice.to_data().get_slice_memory_size().unwrap();
                assert_eq!(column_bytes(&slice), expected, "{slice:?}");
            }
        }
    }

    #[test]
    fn a_batch_without_columns_counts_its_rows() {
        let schema = Arc::new(Schema::empty());
        let options = RecordBatchOptions::new().with_row_count(Some(3));
        let batch = RecordBatch::try_new_with_options(schema, vec![], &options).unwrap();
        assert_eq!(
            GrowingSegment::new(SegmentId(1), 0)
                .append(&batch)
                .unwrap()
                .rows,
            3
        );
    }
}
