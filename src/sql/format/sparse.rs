//! Sparse vectors, `{1:1.5,3:-2}/5`, which are kept as text.

use bytes::{BufMut, BytesMut};

use super::number::{invalid, put_float4, put_integer};
use crate::error::{Error, Result, sqlstate};

/// The most dimensions, and the most elements that are not zero.
const DIMENSIONS_MAX: i32 = 1_000_000_000;
const ELEMENTS_MAX: usize = 16_000;

/// A vector of which only elements that are not zero are kept.
#[derive(Debug, PartialEq)]
pub(super) struct SparseVector {
    dimensions: i32,
    /// Places from 0, ascending, and what stands there.
    elements: Vec<(i32, f32)>,
}

impl SparseVector {
    /// From places and values in any order; zeros are left out.
    fn try_new(dimensions: i64, mut elements: Vec<(i64, f32)>) -> Result<Self> {
        if dimensions < 1 {
            return Err(data_exception("sparsevec must have at least 1 dimension"));
        }
        let dimensions = i32::try_from(dimensions)
            .ok()
            .filter(|n| *n <= DIMENSIONS_MAX);
        let dimensions = dimensions.ok_or_else(|| {
            too_many(format!(
                "sparsevec cannot have more than {DIMENSIONS_MAX} dimensions"
            ))
        })?;
        elements.sort_by_key(|(place, _)| *place);
        let mut kept: Vec<(i32, f32)> = Vec::with_capacity(elements.len());
        let mut last = None;
        for (place, value) in elements {
            if last == Some(place) {
                return Err(data_exception(
                    "sparsevec indices must not contain duplicates",
                ));
            }
            last = Some(place);
            let place = i32::try_from(place)
                .ok()
                .filter(|p| (0..dimensions).contains(p));
            let place = place.ok_or_else(|| data_exception("sparsevec index out of bounds"))?;
            if value.is_nan() {
                return Err(data_exception("NaN not allowed in sparsevec"));
            }
            if value.is_infinite() {
                return Err(data_exception("infinite value not allowed in sparsevec"));
            }
            if value != 0.0 {
                kept.push((place, value));
            }
        }
        if kept.len() > ELEMENTS_MAX {
            return Err(too_many_elements());
        }
        Ok(Self {
            dimensions,
            elements: kept,
        })
    }

    /// Reads pgvector's text; places count from 1.
    ///
    /// # Errors
    /// 22P02 for other text, 22000 for places or values that no sparse vector has, 54000 for too many of them.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let syntax = || {
            let message = format!("invalid input syntax for type sparsevec: \"{text}\"");
            Error::invalid(sqlstate::INVALID_TEXT_REPRESENTATION, message)
        };
        let inner = text.trim().strip_prefix('{').ok_or_else(syntax)?;
        let (elements, dimensions) = inner.split_once('}').ok_or_else(syntax)?;
        let dimensions = dimensions
            .trim_start()
            .strip_prefix('/')
            .ok_or_else(syntax)?;
        let dimensions: i64 = dimensions.trim().parse().map_err(|_| syntax())?;
        let mut read = Vec::new();
        let is_empty = elements.trim().is_empty();
        for element in elements.split(',').filter(|_| !is_empty) {
            if read.len() == ELEMENTS_MAX {
                return Err(too_many_elements());
            }
            let (place, value) = element.split_once(':').ok_or_else(syntax)?;
            let place: i64 = place.trim().parse().map_err(|_| syntax())?;
            let number = value.trim();
            let value: f32 = number.parse().map_err(|_| syntax())?;
            if value.is_infinite() && number.contains(|c: char| c.is_ascii_digit()) {
                let message = format!("\"{number}\" is out of range for type sparsevec");
                return Err(Error::invalid(
                    sqlstate::NUMERIC_VALUE_OUT_OF_RANGE,
                    message,
                ));
            }
            read.push((place.saturating_sub(1), value));
        }
        Self::try_new(dimensions, read)
    }

    /// Reads pgvector's binary format: dimensions, number of elements, a zero, places from 0, values.
    ///
    /// # Errors
    /// 22P03 for another number of bytes, and those of [`Self::parse`].
    pub(super) fn from_binary(bytes: &[u8]) -> Result<Self> {
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
        Self::try_new(i64::from(int(dimensions)), elements)
    }

    /// 22000 when the type says another number of dimensions (-1 for any).
    pub(super) fn check_dimensions(&self, typmod: i32) -> Result<()> {
        if typmod == -1 || typmod == self.dimensions {
            return Ok(());
        }
        let message = format!("expected {typmod} dimensions, not {}", self.dimensions);
        Err(data_exception(message))
    }

    pub(super) fn put_text(&self, out: &mut BytesMut) {
        out.put_u8(b'{');
        for (at, (place, value)) in self.elements.iter().enumerate() {
            if at > 0 {
                out.put_u8(b',');
            }
            put_integer(i64::from(*place) + 1, out);
            out.put_u8(b':');
            put_float4(*value, 1, out);
        }
        out.put_slice(b"}/");
        put_integer(self.dimensions, out);
    }

    pub(super) fn put_binary(&self, out: &mut BytesMut) {
        out.put_i32(self.dimensions);
        // At most `ELEMENTS_MAX`.
        out.put_i32(self.elements.len() as i32);
        out.put_i32(0);
        self.elements
            .iter()
            .for_each(|(place, _)| out.put_i32(*place));
        self.elements
            .iter()
            .for_each(|(_, value)| out.put_f32(*value));
    }

    /// The text, as it is kept.
    pub(super) fn to_text(&self) -> String {
        let mut out = BytesMut::new();
        self.put_text(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }
}

fn data_exception(message: impl Into<String>) -> Error {
    Error::invalid(sqlstate::DATA_EXCEPTION, message)
}

fn too_many_elements() -> Error {
    too_many(format!(
        "sparsevec cannot have more than {ELEMENTS_MAX} non-zero elements"
    ))
}

fn too_many(message: String) -> Error {
    Error::limit(sqlstate::PROGRAM_LIMIT_EXCEEDED, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn text_and_bytes_are_those_of_pgvector() {
        let vector = SparseVector::parse(" { 3 : 2.5, 1:1 , 2:0}/5 ").unwrap();
        assert_eq!(vector.to_text(), "{1:1,3:2.5}/5");
        let mut bytes = BytesMut::new();
        vector.put_binary(&mut bytes);
        let words = [5, 2, 0, 0, 2, 0x3f80_0000u32, 0x4020_0000];
        let expected: Vec<u8> = words.iter().flat_map(|w| w.to_be_bytes()).collect();
        assert_eq!(&bytes[..], expected);
        assert_eq!(SparseVector::from_binary(&bytes).unwrap(), vector);
        assert_eq!(SparseVector::parse("{}/3").unwrap().to_text(), "{}/3");
        assert!(vector.check_dimensions(5).is_ok());
        assert_eq!(
            vector.check_dimensions(4).unwrap_err().message(),
            "expected 4 dimensions, not 5"
        );
    }

    #[test]
    fn what_is_no_sparse_vector() {
        for (text, code) in [
            ("", "22P02"),
            ("{1:1}", "22P02"),
            ("{1:1,}/2", "22P02"),
            ("{1}/2", "22P02"),
            ("{a:1}/2", "22P02"),
            ("{0:1}/2", "22000"),
            ("{3:1}/2", "22000"),
            ("{1:1,1:2}/2", "22000"),
            ("{1:nan}/2", "22000"),
            ("{1:inf}/2", "22000"),
            ("{1:4e38}/2", "22003"),
            ("{}/0", "22000"),
            ("{}/1000000001", "54000"),
        ] {
            assert_eq!(
                SparseVector::parse(text).unwrap_err().sqlstate(),
                code,
                "{text}"
            );
        }
    }
    #[test]
    fn too_many_elements_are_refused() {
        let elements: Vec<_> = (1..=ELEMENTS_MAX + 1).map(|i| format!("{i}:1")).collect();
        let code = |n: usize| {
            let vector = SparseVector::parse(&format!("{{{}}}/20000", elements[..n].join(",")));
            vector.map_err(|e| e.sqlstate()).map(|v| v.elements.len())
        };
        assert_eq!(code(ELEMENTS_MAX), Ok(ELEMENTS_MAX));
        assert_eq!(code(ELEMENTS_MAX + 1), Err("54000"));
    }
}
