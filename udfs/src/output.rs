//! Arrays of vectors, built row by row.

use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeListArray, Float16Array, Float32Array, ListArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;
use datafusion::scalar::ScalarValue;
use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::error::VectorError;
use crate::types::{Element, VectorType};

/// Collects vectors of one type.
#[derive(Debug)]
pub(crate) struct VectorsBuilder {
    target: VectorType,
    values: Vec<f32>,
    lengths: Vec<usize>,
    valid: Vec<bool>,
}

impl VectorsBuilder {
    pub fn new(target: VectorType, rows: usize) -> Self {
        let values = Vec::with_capacity(rows * target.dimension.unwrap_or(0));
        Self {
            target,
            values,
            lengths: Vec::with_capacity(rows),
            valid: Vec::with_capacity(rows),
        }
    }

    pub fn push_null(&mut self) {
        let padding = self.target.dimension.unwrap_or(0);
        self.values.resize(self.values.len() + padding, 0.0);
        self.lengths.push(padding);
        self.valid.push(false);
    }

    /// Adds a vector.
    ///
    /// # Errors
    /// 22000 when the type asks for another dimension, 22003 when an element does not fit.
    pub fn push(&mut self, vector: impl IntoIterator<Item = f32>) -> Result<(), VectorError> {
        let start = self.values.len();
        self.values.extend(vector);
        let length = self.values.len() - start;
        if let Some(expected) = self.target.dimension.filter(|n| *n != length) {
            return Err(VectorError::unexpected_dimension(expected, length));
        }
        if self.target.element == Element::Half {
            check_half(&self.values[start..])?;
        }
        self.lengths.push(length);
        self.valid.push(true);
        Ok(())
    }

    pub fn finish(self) -> Result<ArrayRef> {
        let nulls = NullBuffer::from(self.valid);
        let nulls = (nulls.null_count() > 0).then_some(nulls);
        let rows = self.lengths.len();
        let values: ArrayRef = match self.target.element {
            Element::Single => Arc::new(Float32Array::from(self.values)),
            Element::Half => Arc::new(Float16Array::from(narrow(&self.values))),
        };
        let field = self.target.field();
        Ok(match self.target.dimension {
            Some(n) => Arc::new(FixedSizeListArray::try_new_with_length(
                field, n as i32, values, nulls, rows,
            )?),
            None => {
                let offsets = OffsetBuffer::from_lengths(self.lengths);
                Arc::new(ListArray::try_new(field, offsets, values, nulls)?)
            }
        })
    }
}

fn narrow(values: &[f32]) -> Vec<f16> {
    let mut halves = vec![f16::ZERO; values.len()];
    halves.convert_from_f32_slice(values);
    halves
}

fn check_half(values: &[f32]) -> Result<(), VectorError> {
    let too_large = |x: &f32| x.is_finite() && f16::from_f32(*x).is_infinite();
    match values.iter().find(|x| too_large(x)) {
        Some(x) => Err(VectorError::out_of_range(Element::Half, &x.to_string())),
        None => Ok(()),
    }
}

/// The array, or its only row when all arguments were constant.
pub(crate) fn columnar(array: ArrayRef, constant: bool) -> Result<ColumnarValue> {
    if constant {
        return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
            &array, 0,
        )?));
    }
    Ok(ColumnarValue::Array(array))
}

/// One vector as a scalar of the type.
pub(crate) fn vector_scalar(values: &[f32], target: VectorType) -> Result<ScalarValue> {
    let mut builder = VectorsBuilder::new(target, 1);
    builder.push(values.iter().copied())?;
    ScalarValue::try_from_array(&builder.finish()?, 0)
}
