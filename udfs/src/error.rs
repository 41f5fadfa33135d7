//! The error of a vector function, with pgvector's text and SQLSTATE.

use std::fmt;

use arrow::datatypes::DataType;
use datafusion::error::DataFusionError;

use crate::bit_type::{BIT_LENGTH_MAX, BitType};
use crate::types::{DIMENSION_MAX, Element};

/// An error with the SQLSTATE and the message that pgvector gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VectorError {
    /// The five characters of the SQLSTATE.
    pub sqlstate: &'static str,
    /// The message, as pgvector words it.
    pub message: String,
    /// What the message leaves out, where pgvector says more.
    pub detail: Option<&'static str>,
}

/// How much of a user's text a message repeats, in characters.
const QUOTE_CHARS_MAX: usize = 64;

impl VectorError {
    fn new(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self {
            sqlstate,
            message: message.into(),
            detail: None,
        }
    }

    pub(crate) fn with_detail(self, detail: &'static str) -> Self {
        let detail = Some(detail);
        Self { detail, ..self }
    }

    pub(crate) fn syntax(element: Element, text: &str) -> Self {
        let text = shorten(text);
        Self::new(
            "22P02",
            format!("invalid input syntax for type {element}: \"{text}\""),
        )
    }

    pub(crate) fn out_of_range(element: Element, number: &str) -> Self {
        let number = shorten(number);
        Self::new(
            "22003",
            format!("\"{number}\" is out of range for type {element}"),
        )
    }

    pub(crate) fn no_cast(from: &DataType, element: Element) -> Self {
        Self::new("42846", format!("cannot cast type {from} to {element}"))
    }

    pub(crate) fn overflow() -> Self {
        Self::new("22003", "value out of range: overflow")
    }

    pub(crate) fn underflow() -> Self {
        Self::new("22003", "value out of range: underflow")
    }

    pub(crate) fn not_a_number(element: Element) -> Self {
        Self::new("22000", format!("NaN not allowed in {element}"))
    }

    pub(crate) fn infinite(element: Element) -> Self {
        Self::new("22000", format!("infinite value not allowed in {element}"))
    }

    /// Two vectors that have no distance, because they differ in length.
    pub fn different_dimensions(element: Element, left: usize, right: usize) -> Self {
        Self::new(
            "22000",
            format!("different {element} dimensions {left} and {right}"),
        )
    }

    pub(crate) fn different_bit_lengths(left: usize, right: usize) -> Self {
        Self::new("22000", format!("different bit lengths {left} and {right}"))
    }

    pub(crate) fn bit_digit(digit: char, hexadecimal: bool) -> Self {
        let kind = if hexadecimal { "hexadecimal" } else { "binary" };
        Self::new("22P02", format!("\"{digit}\" is not a valid {kind} digit"))
    }

    pub(crate) fn bit_type_empty(name: &str) -> Self {
        let message = format!("length for type {name} must be at least 1");
        Self::new("22023", message)
    }

    pub(crate) fn bit_type_too_long(name: &str) -> Self {
        let message = format!("length for type {name} cannot exceed {BIT_LENGTH_MAX}");
        Self::new("22023", message)
    }

    pub(crate) fn bit_length(actual: usize, expected: u32) -> Self {
        let message = format!("bit string length {actual} does not match type bit({expected})");
        Self::new("22026", message)
    }

    pub(crate) fn bits_too_long(limit: u32) -> Self {
        let message = format!("bit string too long for type bit varying({limit})");
        Self::new("22001", message)
    }

    pub(crate) fn bit_sizes(operation: &str) -> Self {
        let message = format!("cannot {operation} bit strings of different sizes");
        Self::new("22026", message)
    }

    pub(crate) fn bit_index(place: i64, length: usize) -> Self {
        let last = length as i64 - 1;
        let message = format!("bit index {place} out of valid range (0..{last})");
        Self::new("2202E", message)
    }

    pub(crate) fn new_bit() -> Self {
        Self::new("22023", "new bit must be 0 or 1")
    }

    pub(crate) fn no_bit_cast(from: &DataType, to: BitType) -> Self {
        Self::new("42846", format!("cannot cast type {from} to {to}"))
    }

    pub(crate) fn no_cast_of_bits(from: BitType, to: &DataType) -> Self {
        Self::new("42846", format!("cannot cast type {from} to {to}"))
    }

    pub(crate) fn integer_out_of_range(target: &DataType) -> Self {
        let name = match target {
            DataType::Int32 => "integer",
            _ => "bigint",
        };
        Self::new("22003", format!("{name} out of range"))
    }

    pub(crate) fn integer_syntax(text: &str) -> Self {
        let text = shorten(text);
        Self::new(
            "22P02",
            format!("invalid input syntax for type integer: \"{text}\""),
        )
    }

    pub(crate) fn sparse_type_empty() -> Self {
        Self::new("22023", "dimensions for type sparsevec must be at least 1")
    }

    pub(crate) fn sparse_type_too_wide(limit: u32) -> Self {
        let message = format!("dimensions for type sparsevec cannot exceed {limit}");
        Self::new("22023", message)
    }

    pub(crate) fn sparse_syntax(text: &str) -> Self {
        let text = shorten(text);
        Self::new(
            "22P02",
            format!("invalid input syntax for type sparsevec: \"{text}\""),
        )
    }

    pub(crate) fn sparse_out_of_range(number: &str) -> Self {
        let number = shorten(number);
        Self::new(
            "22003",
            format!("\"{number}\" is out of range for type sparsevec"),
        )
    }

    pub(crate) fn sparse_nan() -> Self {
        Self::new("22000", "NaN not allowed in sparsevec")
    }

    pub(crate) fn sparse_infinite() -> Self {
        Self::new("22000", "infinite value not allowed in sparsevec")
    }

    pub(crate) fn sparse_place() -> Self {
        Self::new("22000", "sparsevec index out of bounds")
    }

    pub(crate) fn sparse_twins() -> Self {
        Self::new("22000", "sparsevec indices must not contain duplicates")
    }

    pub(crate) fn no_sparse_dimension() -> Self {
        Self::new("22000", "sparsevec must have at least 1 dimension")
    }

    pub(crate) fn too_many_sparse_dimensions(limit: u32) -> Self {
        let message = format!("sparsevec cannot have more than {limit} dimensions");
        Self::new("54000", message)
    }

    pub(crate) fn too_many_elements(limit: usize) -> Self {
        let message = format!("sparsevec cannot have more than {limit} non-zero elements");
        Self::new("54000", message)
    }

    pub(crate) fn different_sparse_dimensions(left: u32, right: u32) -> Self {
        Self::new(
            "22000",
            format!("different sparsevec dimensions {left} and {right}"),
        )
    }

    pub(crate) fn unexpected_dimension(expected: usize, actual: usize) -> Self {
        Self::new(
            "22000",
            format!("expected {expected} dimensions, not {actual}"),
        )
    }

    pub(crate) fn no_dimension(element: Element) -> Self {
        Self::new("22000", format!("{element} must have at least 1 dimension"))
    }

    pub(crate) fn too_many_dimensions(element: Element) -> Self {
        let message = format!("{element} cannot have more than {DIMENSION_MAX} dimensions");
        Self::new("54000", message)
    }

    pub(crate) fn type_without_dimension(element: Element) -> Self {
        let message = format!("dimensions for type {element} must be at least 1");
        Self::new("22023", message)
    }

    pub(crate) fn type_too_wide(element: Element) -> Self {
        let message = format!("dimensions for type {element} cannot exceed {DIMENSION_MAX}");
        Self::new("22023", message)
    }

    /// XX000 as pgvector's `elog`, though it is the caller's array that is wrong.
    pub(crate) fn no_state(function: &str) -> Self {
        Self::new("XX000", format!("{function}: expected state array"))
    }

    pub(crate) fn type_modifier() -> Self {
        Self::new("22023", "invalid type modifier")
    }

    pub(crate) fn null_element() -> Self {
        Self::new("22004", "array must not contain nulls")
    }

    pub(crate) fn nested_array() -> Self {
        Self::new("22000", "array must be 1-D")
    }

    pub(crate) fn unsupported_array() -> Self {
        Self::new("22000", "unsupported array type")
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(QUOTE_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_string(),
    }
}

impl fmt::Display for VectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for VectorError {}

impl From<VectorError> for DataFusionError {
    fn from(error: VectorError) -> Self {
        DataFusionError::External(Box::new(error))
    }
}
