#![allow(clippy::unwrap_used)]
//! Values both ways.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, Float32Array, Float64Array, Int32Array, Int64Array,
    StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Field, Float32Type, Int32Type, Schema};
use arrow::record_batch::RecordBatch;
use bytes::BytesMut;

use super::*;

/// The bytes of each row of a column; `None` is NULL.
fn encode(array: ArrayRef, field: &Field, format: Format, style: &Style) -> Vec<Option<Vec<u8>>> {
    let schema = Arc::new(Schema::new(vec![field.clone()]));
    let mut encoder = RowEncoder::try_new(&schema, &[format], style).unwrap();
    let batch = RecordBatch::try_new(schema, vec![array]).unwrap();
    encoder.start(&batch).unwrap();
    let mut rows = Vec::new();
    for row in 0..batch.num_rows() {
        let mut out = BytesMut::new();
        encoder.put_row(row, &mut out).unwrap();
        assert_eq!(out[..2], [0, 1]);
        let length = i32::from_be_bytes(out[2..6].try_into().unwrap());
        rows.push((length >= 0).then(|| {
            assert_eq!(out.len(), 6 + length as usize);
            out[6..].to_vec()
        }));
    }
    rows
}

fn texts(array: impl arrow::array::Array + 'static) -> Vec<Option<String>> {
    let field = Field::new("c", array.data_type().clone(), true);
    let rows = encode(Arc::new(array), &field, Format::Text, &Style::default());
    rows.into_iter()
        .map(|row| row.map(|bytes| String::from_utf8(bytes).unwrap()))
        .collect()
}

fn text(array: impl arrow::array::Array + 'static) -> String {
    texts(array)[0].clone().unwrap()
}

#[test]
fn text_of_common_types() {
    assert_eq!(text(Int32Array::from(vec![-7])), "-7");
    assert_eq!(texts(Int64Array::from(vec![None::<i64>])), [None]);
    assert_eq!(text(Float64Array::from(vec![1e20])), "1e+20");
    assert_eq!(text(Float64Array::from(vec![1e15])), "1e+15");
    assert_eq!(
        text(Float64Array::from(vec![123456789012345.0])),
        "123456789012345"
    );
    assert_eq!(text(Float64Array::from(vec![0.00001])), "1e-05");
    assert_eq!(text(Float32Array::from(vec![1e6])), "1e+06");
    assert_eq!(text(Float32Array::from(vec![-0.0])), "-0");
    let numeric = Decimal128Array::from(vec![-5]).with_precision_and_scale(10, 3);
    assert_eq!(text(numeric.unwrap()), "-0.005");
    assert_eq!(text(Date32Array::from(vec![-719_528])), "0001-01-01 BC");
    let stamp = TimestampMicrosecondArray::from(vec![1_500_000]).with_timezone("UTC");
    assert_eq!(text(stamp), "1970-01-01 00:00:01.5+00");
    let list =
        arrow::array::ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1), None])]);
    assert_eq!(text(list), "{1,NULL}");
    let vector = arrow::array::FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(
        [Some([Some(1.0), Some(2.5)])],
        2,
    );
    assert_eq!(text(vector), "[1,2.5]");
    assert_eq!(text(StringArray::from(vec!["a"])), "a");
}
