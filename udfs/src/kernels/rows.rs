//! A matrix of rows as the bytes that it consists of.

use half::f16;

/// Rows of one dimension, one after the other, at any alignment.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    bytes: &'a [u8],
    width: Width,
}

/// The format of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    Single,
    Half,
}

impl<'a> Rows<'a> {
    /// Rows of little-endian `f32`, as they lie in a page.
    pub fn single_le_bytes(bytes: &'a [u8]) -> Self {
        let width = Width::Single;
        Self { bytes, width }
    }

    /// Rows of little-endian `f16`, as they lie in a page.
    pub fn half_le_bytes(bytes: &'a [u8]) -> Self {
        let width = Width::Half;
        Self { bytes, width }
    }

    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub(super) fn width(&self) -> Width {
        self.width
    }

    /// The bytes of a row of so many elements.
    pub(super) fn row_bytes(&self, dimension: usize) -> usize {
        dimension
            * match self.width {
                Width::Single => size_of::<f32>(),
                Width::Half => size_of::<f16>(),
            }
    }

    /// Asserts that these are `count` rows of a dimension.
    pub(super) fn assert_shape(&self, dimension: usize, count: usize) {
        let expected = self.row_bytes(dimension).checked_mul(count);
        assert_eq!(Some(self.bytes.len()), expected, "matrix of another shape");
    }

    /// `count` rows of so many bytes, from row `first`.
    pub(super) fn slice(&self, row_bytes: usize, first: usize, count: usize) -> Self {
        Self {
            bytes: &self.bytes[first * row_bytes..(first + count) * row_bytes],
            width: self.width,
        }
    }
}

impl<'a> From<&'a [f32]> for Rows<'a> {
    fn from(values: &'a [f32]) -> Self {
        // SAFETY: the same memory for the same time; any byte is a `u8`, and `u8` has no alignment.
        let bytes =
            unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) };
        Self::single_le_bytes(bytes)
    }
}

impl<'a> From<&'a [f16]> for Rows<'a> {
    fn from(values: &'a [f16]) -> Self {
        // SAFETY: as for `f32`; `f16` is a transparent `u16`.
        let bytes =
            unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) };
        Self::half_le_bytes(bytes)
    }
}
