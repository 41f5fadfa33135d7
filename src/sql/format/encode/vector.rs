//! Vectors: `[1,2.5]`, or dimension and big-endian floats.

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float16Type, Float32Type};
use bytes::{BufMut, BytesMut};
use half::f16;

use super::column::{Put, Target};
use super::list::ranges_of;
use crate::error::{Error, Result, sqlstate};
use crate::sql::format::number::put_float4;

/// Bytes that the text of an element takes, as a first guess.
const ELEMENT_TEXT_BYTES: usize = 12;

/// The vectors of a list array.
pub(super) fn values(array: &ArrayRef, target: Target<'_>) -> Result<Put> {
    let (range_of, elements) = ranges_of(array)?;
    if elements.data_type() == &DataType::Float16 {
        let values = elements.as_primitive::<Float16Type>().values().clone();
        return Ok(if target.is_binary() {
            Box::new(move |row, out| put_binary(&values[range_of(row)], f16::to_be_bytes, out))
        } else {
            Box::new(move |row, out| put_text(&values[range_of(row)], f16::to_f32, out))
        });
    }
    let values = elements.as_primitive::<Float32Type>().values().clone();
    Ok(if target.is_binary() {
        Box::new(move |row, out| put_binary(&values[range_of(row)], f32::to_be_bytes, out))
    } else {
        Box::new(move |row, out| put_text(&values[range_of(row)], |value| value, out))
    })
}

fn put_text<T: Copy>(values: &[T], wide: impl Fn(T) -> f32, out: &mut BytesMut) -> Result<()> {
    out.reserve(values.len() * ELEMENT_TEXT_BYTES);
    out.put_u8(b'[');
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            out.put_u8(b',');
        }
        // pgvector always writes the shortest text.
        put_float4(wide(*value), 1, out);
    }
    out.put_u8(b']');
    Ok(())
}

/// The dimension as `int16`, a zero as `int16`, then the elements.
fn put_binary<T: Copy, const N: usize>(
    values: &[T],
    bytes_of: impl Fn(T) -> [u8; N],
    out: &mut BytesMut,
) -> Result<()> {
    let dimension = i16::try_from(values.len()).map_err(|_| {
        Error::limit(
            sqlstate::PROGRAM_LIMIT_EXCEEDED,
            "vector cannot have more than 16000 dimensions",
        )
    })?;
    out.put_i16(dimension);
    out.put_i16(0);
    let start = out.len();
    out.resize(start + values.len() * N, 0);
    for (slot, value) in out[start..].chunks_exact_mut(N).zip(values) {
        slot.copy_from_slice(&bytes_of(*value));
    }
    Ok(())
}
