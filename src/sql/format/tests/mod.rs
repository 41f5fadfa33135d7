#![allow(clippy::unwrap_used)]
//! Values both ways: against what PostgreSQL 15 writes, at random, and what is refused.

mod golden;
mod nested;
mod random;
mod refused;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{Field, FieldRef, Schema};
use arrow::record_batch::RecordBatch;
use bytes::BytesMut;

use super::*;

/// The bytes of each row of a column; `None` is NULL.
fn encode(
    array: &ArrayRef,
    field: &Field,
    format: Format,
    style: &Style,
) -> Result<Vec<Option<Vec<u8>>>> {
    let schema = Arc::new(Schema::new(vec![field.clone()]));
    let mut encoder = RowEncoder::try_new(&schema, &[format], style)?;
    let batch = RecordBatch::try_new(schema, vec![Arc::clone(array)])?;
    encoder.start(&batch)?;
    let mut rows = Vec::new();
    for row in 0..batch.num_rows() {
        let mut out = BytesMut::new();
        encoder.put_row(row, &mut out)?;
        assert_eq!(out[..2], [0, 1]);
        let length = i32::from_be_bytes(out[2..6].try_into().unwrap());
        rows.push((length >= 0).then(|| {
            assert_eq!(out.len(), 6 + length as usize);
            out[6..].to_vec()
        }));
    }
    Ok(rows)
}

/// The first row's text in the style of a new session.
fn text(array: impl Array + 'static) -> String {
    let array: ArrayRef = Arc::new(array);
    let field = Field::new("c", array.data_type().clone(), true);
    let rows = encode(&array, &field, Format::Text, &Style::default()).unwrap();
    String::from_utf8(rows[0].clone().unwrap()).unwrap()
}

/// The first row in binary, in hex.
fn binary(array: impl Array + 'static) -> String {
    let array: ArrayRef = Arc::new(array);
    let field = Field::new("c", array.data_type().clone(), true);
    let rows = encode(&array, &field, Format::Binary, &Style::default()).unwrap();
    hex(rows[0].as_ref().unwrap())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect()
}

/// A field of the type; arrays of several dimensions by `dimensions` above 1.
fn field_of(oid: u32, typmod: i32, dimensions: usize) -> FieldRef {
    let mut field = field_of_oid("element", oid, typmod).unwrap();
    for _ in 1..dimensions {
        field = Arc::new(Field::new_list("element", field, true));
    }
    field
}
