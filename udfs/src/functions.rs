//! Functions of one vector: `vector_dims`, `vector_norm`, `l2_normalize` and `subvector`.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int32Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use datafusion::scalar::ScalarValue;

use crate::error::VectorError;
use crate::input::{Operand, all_constant, result_rows};
use crate::output::{VectorsBuilder, columnar};
use crate::signature::{accept_vector, accept_vectors, argument_type, immutable, result_field};
use crate::types::{Element, VectorType};

/// A measure of one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Measure {
    Dimensions,
    Norm,
}

/// `vector_dims` (`Int32`) and `vector_norm`, also called `l2_norm` (`Float64`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MeasureFunction {
    measure: Measure,
    aliases: Vec<String>,
    signature: Signature,
}

impl MeasureFunction {
    /// `vector_dims(vector)`: the number of elements.
    pub fn dimensions() -> Self {
        Self {
            measure: Measure::Dimensions,
            aliases: vec![],
            signature: immutable(),
        }
    }

    /// `vector_norm(vector)`: the Euclidean length.
    pub fn norm() -> Self {
        let aliases = vec!["l2_norm".to_string()];
        Self {
            measure: Measure::Norm,
            aliases,
            signature: immutable(),
        }
    }
}

impl MeasureFunction {
    /// Whether it is `vector_norm`.
    pub(crate) fn is_norm(function: &ScalarUDF) -> bool {
        let function = function.inner().downcast_ref::<Self>();
        function.is_some_and(|function| function.measure == Measure::Norm)
    }
}

impl ScalarUDFImpl for MeasureFunction {
    fn name(&self) -> &str {
        match self.measure {
            Measure::Dimensions => "vector_dims",
            Measure::Norm => "vector_norm",
        }
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.measure {
            Measure::Dimensions => DataType::Int32,
            Measure::Norm => DataType::Float64,
        })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(result_field(self.name(), self.return_type(&[])?, &args))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        accept_vectors(self.name(), types, 1)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let operand = Operand::try_new(&args.args[0])?.into_single();
        let vectors = (0..operand.vectors.len()).map(|row| operand.vectors.get(row));
        let result: ArrayRef = match self.measure {
            // A vector has at most 16,000 elements, an array of PostgreSQL fewer than 2^31.
            Measure::Dimensions => Arc::new(
                vectors
                    .map(|v| v.map(|v| v.len() as i32))
                    .collect::<Int32Array>(),
            ),
            Measure::Norm => Arc::new(vectors.map(|v| v.map(norm)).collect::<Float64Array>()),
        };
        columnar(result, operand.constant)
    }
}

/// The Euclidean length, summed in `f64` as pgvector does.
fn norm(vector: &[f32]) -> f64 {
    vector
        .iter()
        .map(|&x| f64::from(x) * f64::from(x))
        .sum::<f64>()
        .sqrt()
}

/// `l2_normalize(vector)`: the vector of length 1 in its direction; a zero vector stays zero.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NormalizeFunction {
    signature: Signature,
}

impl NormalizeFunction {
    /// The function.
    pub fn new() -> Self {
        Self {
            signature: immutable(),
        }
    }
}

impl Default for NormalizeFunction {
    fn default() -> Self {
        Self::new()
    }
}

impl ScalarUDFImpl for NormalizeFunction {
    fn name(&self) -> &str {
        "l2_normalize"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let open = VectorType::unsized_of(Element::Single);
        Ok(argument_type(&types[0]).unwrap_or(open).arrow())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let data_type = self.return_type(&[args.arg_fields[0].data_type().clone()])?;
        Ok(result_field(self.name(), data_type, &args))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        accept_vectors(self.name(), types, 1)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let operand = Operand::try_new(&args.args[0])?.into_single();
        let rows = operand.vectors.len();
        let mut builder = VectorsBuilder::new(result_type(&args.return_field)?, rows);
        for row in 0..rows {
            match operand.vectors.get(row) {
                Some(vector) => normalize(vector, &mut builder)?,
                None => builder.push_null(),
            }
        }
        columnar(builder.finish()?, operand.constant)
    }
}

fn normalize(vector: &[f32], builder: &mut VectorsBuilder) -> Result<(), VectorError> {
    let norm = norm(vector);
    let scale = |x: &f32| {
        if norm > 0.0 {
            (f64::from(*x) / norm) as f32
        } else {
            0.0
        }
    };
    builder.push(vector.iter().map(scale))
}

/// The vector type that the planner gave to a function's result.
pub(crate) fn result_type(field: &FieldRef) -> Result<VectorType> {
    match VectorType::of(field.data_type()) {
        Some(vector) => Ok(vector),
        None => plan_err!(
            "{} returns a vector, not {}",
            field.name(),
            field.data_type()
        ),
    }
}

/// `subvector(vector, start, count)`: some of the elements, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SubvectorFunction {
    signature: Signature,
}

impl SubvectorFunction {
    /// The function.
    pub fn new() -> Self {
        Self {
            signature: immutable(),
        }
    }
}

impl Default for SubvectorFunction {
    fn default() -> Self {
        Self::new()
    }
}

impl ScalarUDFImpl for SubvectorFunction {
    fn name(&self) -> &str {
        "subvector"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let element = argument_type(&types[0]).map_or(Element::Single, |v| v.element);
        Ok(VectorType::unsized_of(element).arrow())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let vector = argument_type(args.arg_fields[0].data_type())
            .unwrap_or(VectorType::unsized_of(Element::Single));
        let constant = |i: usize| match args.scalar_arguments[i] {
            Some(ScalarValue::Int64(Some(n))) => Some(*n),
            Some(scalar) => scalar.cast_to(&DataType::Int64).ok().and_then(|s| match s {
                ScalarValue::Int64(n) => n,
                _ => None,
            }),
            None => None,
        };
        let dimension = match (vector.dimension, constant(1), constant(2)) {
            (Some(n), Some(start), Some(count)) => {
                Some(elements_of(n, start, count, vector.element)?.len())
            }
            _ => None,
        };
        let data_type = VectorType {
            dimension,
            ..vector
        }
        .arrow();
        Ok(result_field(self.name(), data_type, &args))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [vector, start, count] if is_count(start) && is_count(count) => {
                let vector = accept_vector(self.name(), vector)?;
                Ok(vec![vector, DataType::Int64, DataType::Int64])
            }
            _ => plan_err!("subvector takes a vector and two integers, not {types:?}"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = result_rows(&args.args, args.number_rows);
        let operand = Operand::try_new(&args.args[0])?.into_single();
        let target = result_type(&args.return_field)?;
        let starts = cast(&args.args[1].to_array(rows)?, &DataType::Int64)?;
        let counts = cast(&args.args[2].to_array(rows)?, &DataType::Int64)?;
        let bounds = starts
            .as_primitive::<Int64Type>()
            .iter()
            .zip(counts.as_primitive::<Int64Type>());
        let mut builder = VectorsBuilder::new(target, rows);
        for (row, bounds) in bounds.enumerate() {
            match (operand.get(row), bounds) {
                (Some(vector), (Some(start), Some(count))) => {
                    let range = elements_of(vector.len(), start, count, target.element)?;
                    builder.push(vector[range].iter().copied())?;
                }
                _ => builder.push_null(),
            }
        }
        columnar(builder.finish()?, all_constant(&args.args))
    }
}

fn is_count(data_type: &DataType) -> bool {
    data_type.is_integer() || data_type.is_null()
}

/// The elements that `subvector` takes; a start before the first shortens the result.
fn elements_of(
    dimension: usize,
    start: i64,
    count: i64,
    element: Element,
) -> Result<std::ops::Range<usize>, VectorError> {
    let length = i64::try_from(dimension).unwrap_or(i64::MAX);
    let end = start.saturating_add(count).min(length + 1);
    let start = start.max(1);
    if end <= start {
        return Err(VectorError::no_dimension(element));
    }
    // Both are between 1 and length + 1 here.
    Ok(start as usize - 1..end as usize - 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn subvectors_are_cut_at_the_ends() {
        let cut = |start, count| elements_of(5, start, count, Element::Single);
        assert_eq!(cut(1, 3).unwrap(), 0..3);
        assert_eq!(cut(3, 2).unwrap(), 2..4);
        assert_eq!(cut(3, 100).unwrap(), 2..5);
        assert_eq!(cut(-1, 3).unwrap(), 0..1);
        assert_eq!(cut(1, i64::MAX).unwrap(), 0..5);
        for (start, count) in [(6, 1), (1, 0), (1, -1), (-1, 2), (i64::MIN, i64::MIN)] {
            let error = cut(start, count).unwrap_err();
            assert_eq!(error.message, "vector must have at least 1 dimension");
        }
    }

    #[test]
    fn norms() {
        assert_eq!(norm(&[3.0, 4.0]), 5.0);
        assert!(norm(&[3e38, 3e38]).is_finite());
    }
}
