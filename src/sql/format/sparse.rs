//! The binary format of sparse vectors, `{1:1.5,3:-2}/5`, which are kept as text.

use bytes::{BufMut, BytesMut};
use shelfmark_udfs::SparseVector;

use super::number::invalid;
use crate::error::{Error, Result, sqlstate};

/// Reads a text.
///
/// # Errors
/// Those of [`SparseVector::parse`].
pub(super) fn parse(text: &str) -> Result<SparseVector> {
    SparseVector::parse(text).map_err(|e| Error::from_vector(&e))
}

/// Reads pgvector's binary format: dimensions, number of elements, a zero, places from 0, values.
///
/// # Errors
/// 22P03 for another number of bytes, and those of [`parse`].
pub(super) fn from_binary(bytes: &[u8]) -> Result<SparseVector> {
    let (words, rest) = bytes.as_chunks::<4>();
    let ([dimensions, count, unused, body @ ..], []) = (words, rest) else {
        return Err(invalid("incorrect binary data format"));
    };
    let int = |word: &[u8; 4]| i32::from_be_bytes(*word);
    if int(unused) != 0 {
        let message = format!("expected unused to be 0, not {}", int(unused));
        return Err(data_exception(message));
    }
    let count = usize::try_from(int(count)).unwrap_or(usize::MAX);
    if count.checked_mul(2) != Some(body.len()) {
        return Err(invalid("incorrect binary data format"));
    }
    let (places, values) = body.split_at(count);
    let values = values.iter().map(|word| f32::from_be_bytes(*word));
    let elements: Vec<(i64, f32)> = places
        .iter()
        .map(|p| i64::from(int(p)))
        .zip(values)
        .collect();
    if elements.iter().any(|(_, value)| *value == 0.0) {
        let message = "binary representation of sparsevec cannot contain zero values";
        return Err(data_exception(message));
    }
    if !elements.is_sorted_by_key(|(place, _)| *place) {
        return Err(data_exception(
            "sparsevec indices must be in ascending order",
        ));
    }
    let vector = SparseVector::try_new(i64::from(int(dimensions)), elements);
    vector.map_err(|e| Error::from_vector(&e))
}

/// Writes the binary format.
pub(super) fn put_binary(vector: &SparseVector, out: &mut BytesMut) {
    let elements = vector.elements();
    out.put_u32(vector.dimension());
    // At most 16,000.
    out.put_u32(elements.len() as u32);
    out.put_u32(0);
    elements.iter().for_each(|(place, _)| out.put_u32(*place));
    elements.iter().for_each(|(_, value)| out.put_f32(*value));
}

fn data_exception(message: impl Into<String>) -> Error {
    Error::invalid(sqlstate::DATA_EXCEPTION, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn bytes_are_those_of_pgvector() {
        let vector = parse(" { 3 : 2.5, 1:1 , 2:0}/5 ").unwrap();
        let mut bytes = BytesMut::new();
        put_binary(&vector, &mut bytes);
        let words = [5, 2, 0, 0, 2, 0x3f80_0000u32, 0x4020_0000];
        let expected: Vec<u8> = words.iter().flat_map(|w| w.to_be_bytes()).collect();
        assert_eq!(&bytes[..], expected);
        assert_eq!(from_binary(&bytes).unwrap(), vector);
        assert!(from_binary(&bytes[..24]).is_err());
    }
}
