//! Casts to and from vectors as functions, which the planner puts in place of SQL's casts.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, Float16Array, Float32Array, ListArray,
    StringBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Float32Type};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature,
};
use datafusion::scalar::ScalarValue;

use crate::error::VectorError;
use crate::functions::result_type;
use crate::input::{Elements, Operand, SingleVectors, Vectors, all_constant, result_rows};
use crate::output::{VectorsBuilder, columnar};
use crate::signature::{accept_vector, accept_vectors, immutable, result_field};
use crate::text::{self, check_dimension, check_finite, write_vector};
use crate::types::{DIMENSION_MAX, Element, VectorType, is_text};

/// `vector_in(text [, dimension])`, `array_to_vector(array [, dimension])` and their `halfvec` twins.
///
/// Without a dimension (or with -1) vectors of any length come out, as a list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ToVectorFunction {
    name: &'static str,
    element: Element,
    signature: Signature,
}

impl ToVectorFunction {
    /// `vector_in` or `halfvec_in`: reads text.
    pub fn from_text(element: Element) -> Self {
        let name = match element {
            Element::Single => "vector_in",
            Element::Half => "halfvec_in",
        };
        Self {
            name,
            element,
            signature: immutable(),
        }
    }

    /// `array_to_vector` or `array_to_halfvec`: converts a list of numbers, or another vector.
    pub fn from_array(element: Element) -> Self {
        let name = match element {
            Element::Single => "array_to_vector",
            Element::Half => "array_to_halfvec",
        };
        Self {
            name,
            element,
            signature: immutable(),
        }
    }
}

impl ScalarUDFImpl for ToVectorFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(VectorType::unsized_of(self.element).arrow())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let dimension = match args.scalar_arguments.get(1) {
            Some(Some(scalar)) => constant_dimension(scalar, self.element)?,
            Some(None) => return plan_err!("the dimension of {} must be a constant", self.name),
            None => None,
        };
        let target = VectorType::try_new(self.element, dimension)?;
        let nullable = args.arg_fields[0].is_nullable() || args.arg_fields[0].data_type().is_null();
        Ok(Arc::new(Field::new(self.name, target.arrow(), nullable)))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [vector] => Ok(vec![accept_vector(self.name, vector)?]),
            [vector, dimension] if dimension.is_integer() || dimension.is_null() => {
                Ok(vec![accept_vector(self.name, vector)?, DataType::Int64])
            }
            // Whether the cast is written changes nothing here.
            [vector, dimension, DataType::Boolean] if dimension.is_integer() => Ok(vec![
                accept_vector(self.name, vector)?,
                DataType::Int64,
                DataType::Boolean,
            ]),
            _ => plan_err!("{} takes a value and a dimension, not {types:?}", self.name),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let target = result_type(&args.return_field)?;
        let rows = result_rows(&args.args, args.number_rows);
        let result = cast_array_to_vector(&args.args[0].to_array(rows)?, target)?;
        columnar(result, all_constant(&args.args))
    }
}

fn constant_dimension(scalar: &ScalarValue, element: Element) -> Result<Option<usize>> {
    let dimension = match scalar.cast_to(&DataType::Int64)? {
        ScalarValue::Int64(Some(n)) if n != -1 => n,
        _ => return Ok(None),
    };
    match usize::try_from(dimension) {
        Ok(n) if n > DIMENSION_MAX => Err(VectorError::too_many_dimensions(element).into()),
        Ok(n) => Ok(Some(n)),
        Err(_) => Err(VectorError::type_without_dimension(element).into()),
    }
}

/// Converts a column to vectors: text is read, lists of numbers and other vectors are converted.
///
/// The elements are shared with the input, not copied, where they have the wanted width already and
/// lie one row after the other.
///
/// # Errors
/// The SQLSTATEs of [`crate::parse_vector`] for text; 22004 for a null inside a list, 22000 for a
/// wrong dimension, NaN or an infinite value, 22003 for what does not fit a `halfvec`.
pub fn cast_array_to_vector(array: &ArrayRef, target: VectorType) -> Result<ArrayRef> {
    if is_text(array.data_type()) {
        return read_texts(array, target);
    }
    let vectors = Vectors::try_new(array)?;
    for row in (0..array.len()).filter(|row| !vectors.is_null(*row)) {
        check_dimension(target, vectors.dimension(row))?;
    }
    match shared(&vectors, array.len(), target)? {
        Some(result) => Ok(result),
        None => copied(vectors.into_single(), target),
    }
}

fn read_texts(texts: &ArrayRef, target: VectorType) -> Result<ArrayRef> {
    let texts = cast(texts, &DataType::Utf8View)?;
    let mut builder = VectorsBuilder::new(target, texts.len());
    for text in texts.as_string_view() {
        match text {
            Some(text) => builder.push(text::parse(text, target)?)?,
            None => builder.push_null(),
        }
    }
    builder.finish()
}

/// The same elements in a list of the target's type; `None` where they have to be copied.
fn shared(vectors: &Vectors, rows: usize, target: VectorType) -> Result<Option<ArrayRef>> {
    let (Some(dimension), Some(range)) = (target.dimension, vectors.dense_range(rows)) else {
        return Ok(None);
    };
    // Null rows of another length than the target's; the others are checked.
    if range.len() != rows * dimension {
        return Ok(None);
    }
    let values: ArrayRef = match (&vectors.elements, target.element) {
        (Elements::Single(values), Element::Single) => {
            let values = values.slice(range.start, range.len());
            check_rows(vectors, rows, dimension, |i| values[i], target.element)?;
            Arc::new(Float32Array::new(values, None))
        }
        (Elements::Half(values), Element::Half) => {
            let values = values.slice(range.start, range.len());
            check_rows(
                vectors,
                rows,
                dimension,
                |i| values[i].to_f32(),
                target.element,
            )?;
            Arc::new(Float16Array::new(values, None))
        }
        _ => return Ok(None),
    };
    let nulls = vectors.nulls.clone();
    // The dimension of a type is bounded, so that it fits.
    let (field, size) = (target.field(), dimension as i32);
    let list = FixedSizeListArray::try_new_with_length(field, size, values, nulls, rows)?;
    Ok(Some(Arc::new(list)))
}

fn check_rows(
    vectors: &Vectors,
    rows: usize,
    dimension: usize,
    element_at: impl Fn(usize) -> f32,
    element: Element,
) -> Result<(), VectorError> {
    for row in (0..rows).filter(|row| !vectors.is_null(*row)) {
        for i in row * dimension..(row + 1) * dimension {
            check_finite(element_at(i), element)?;
        }
    }
    Ok(())
}

fn copied(vectors: SingleVectors, target: VectorType) -> Result<ArrayRef> {
    let mut builder = VectorsBuilder::new(target, vectors.len());
    for row in 0..vectors.len() {
        match vectors.get(row) {
            Some(vector) => {
                vector
                    .iter()
                    .try_for_each(|x| check_finite(*x, target.element))?;
                builder.push(vector.iter().copied())?;
            }
            None => builder.push_null(),
        }
    }
    builder.finish()
}

/// `vector_out(vector)`, also called `halfvec_out`: the text form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ToTextFunction {
    aliases: Vec<String>,
    signature: Signature,
}

impl ToTextFunction {
    /// The function.
    pub fn new() -> Self {
        Self {
            aliases: vec!["halfvec_out".to_string()],
            signature: immutable(),
        }
    }
}

impl Default for ToTextFunction {
    fn default() -> Self {
        Self::new()
    }
}

impl ScalarUDFImpl for ToTextFunction {
    fn name(&self) -> &str {
        "vector_out"
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(result_field(self.name(), DataType::Utf8, &args))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        accept_vectors(self.name(), types, 1)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let operand = Operand::try_new(&args.args[0])?.into_single();
        let mut builder = StringBuilder::new();
        let mut text = String::new();
        for row in 0..operand.vectors.len() {
            match operand.vectors.get(row) {
                Some(vector) => {
                    text.clear();
                    write_vector(vector.iter().copied(), &mut text);
                    builder.append_value(&text);
                }
                None => builder.append_null(),
            }
        }
        columnar(Arc::new(builder.finish()), operand.constant)
    }
}

/// `vector_to_float4(vector)`, also called `halfvec_to_float4`: a `REAL[]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ToArrayFunction {
    aliases: Vec<String>,
    signature: Signature,
}

impl ToArrayFunction {
    /// The function.
    pub fn new() -> Self {
        Self {
            aliases: vec!["halfvec_to_float4".to_string()],
            signature: immutable(),
        }
    }
}

impl Default for ToArrayFunction {
    fn default() -> Self {
        Self::new()
    }
}

impl ScalarUDFImpl for ToArrayFunction {
    fn name(&self) -> &str {
        "vector_to_float4"
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::new_list(DataType::Float32, true))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(result_field(self.name(), self.return_type(&[])?, &args))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        accept_vectors(self.name(), types, 1)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let operand = Operand::try_new(&args.args[0])?.into_single();
        let rows = (0..operand.vectors.len()).map(|row| {
            operand
                .vectors
                .get(row)
                .map(|vector| vector.iter().copied().map(Some))
        });
        let list = ListArray::from_iter_primitive::<Float32Type, _, _>(rows);
        columnar(Arc::new(list), operand.constant)
    }
}

/// The value of a vector column's or literal's row as `f32`s; `None` for NULL.
///
/// # Errors
/// When the scalar is no list of numbers, and those of a cast to `vector`.
pub fn vector_of_scalar(scalar: &ScalarValue) -> Result<Option<Vec<f32>>> {
    let vectors = Vectors::try_new(&scalar.to_array()?)?.into_single();
    Ok(vectors.get(0).map(<[f32]>::to_vec))
}

/// The vectors of an array as `f32`s, each by itself; `None` for NULL.
///
/// # Errors
/// Those of [`vector_of_scalar`].
pub fn vectors_of_array(array: &ArrayRef) -> Result<Vec<Option<Vec<f32>>>> {
    let vectors = Vectors::try_new(array)?.into_single();
    let vector = |row| vectors.get(row).map(<[f32]>::to_vec);
    Ok((0..array.len()).map(vector).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arrow::datatypes::Float64Type;

    use super::*;

    fn single(dimension: usize) -> VectorType {
        VectorType::try_new(Element::Single, Some(dimension)).unwrap()
    }

    #[test]
    fn lists_of_one_length_are_shared() {
        let data = (0..4).map(|i| Some(vec![Some(i as f32), Some(1.0)]));
        let list = ListArray::from_iter_primitive::<Float32Type, _, _>(data).slice(1, 2);
        let before = list
            .values()
            .as_primitive::<Float32Type>()
            .values()
            .as_ptr();
        let array: ArrayRef = Arc::new(list);
        let vectors = cast_array_to_vector(&array, single(2)).unwrap();
        assert_eq!(vectors.data_type(), &single(2).arrow());
        let values = vectors
            .as_fixed_size_list()
            .values()
            .as_primitive::<Float32Type>()
            .values();
        assert_eq!(values.to_vec(), [1.0, 1.0, 2.0, 1.0]);
        assert_eq!(values.as_ptr(), before.wrapping_add(2));
    }

    #[test]
    fn other_lists_are_copied() {
        let data = [
            Some(vec![Some(1.0), Some(2.0)]),
            None,
            Some(vec![Some(3.0), Some(4.0)]),
        ];
        let list: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(data));
        for element in [Element::Single, Element::Half] {
            for dimension in [Some(2), None] {
                let target = VectorType { element, dimension };
                let vectors = cast_array_to_vector(&list, target).unwrap();
                assert_eq!(vectors.data_type(), &target.arrow());
                let rows = Vectors::try_new(&vectors).unwrap().into_single();
                assert_eq!(rows.get(0), Some([1.0, 2.0].as_slice()));
                assert_eq!(rows.get(1), None);
                assert_eq!(rows.get(2), Some([3.0, 4.0].as_slice()));
            }
        }
        assert!(cast_array_to_vector(&list, single(3)).is_err());
    }

    #[test]
    fn null_rows_may_hold_anything() {
        let data = [None, Some(vec![Some(1.0), Some(2.0)])];
        let list = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(data, 2);
        let (field, size, _, nulls) = list.into_parts();
        let values = Float32Array::from(vec![f32::NAN, f32::INFINITY, 1.0, 2.0]);
        let list = FixedSizeListArray::try_new(field, size, Arc::new(values), nulls).unwrap();
        let list: ArrayRef = Arc::new(list);
        assert_eq!(
            cast_array_to_vector(&list, single(2)).unwrap().null_count(),
            1
        );
        let empty = list.slice(0, 0);
        assert_eq!(cast_array_to_vector(&empty, single(2)).unwrap().len(), 0);
    }
}
