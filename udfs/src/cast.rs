//! Casts to and from vectors as functions, which the planner puts in place of SQL's casts.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, ListArray, StringBuilder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float32Type};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature,
};
use datafusion::scalar::ScalarValue;

use crate::error::VectorError;
use crate::functions::result_type;
use crate::input::{Operand, Vectors, all_constant, result_rows};
use crate::output::{VectorsBuilder, columnar};
use crate::signature::{accept_vector, accept_vectors, immutable, result_field};
use crate::text::{self, check_dimension, check_finite, write_vector};
use crate::types::{Element, VectorType, is_text};

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
            _ => plan_err!("{} takes a value and a dimension, not {types:?}", self.name),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let target = result_type(&args.return_field)?;
        let rows = result_rows(&args.args, args.number_rows);
        let value = &args.args[0];
        let result = if is_text(&value.data_type()) {
            read_texts(&value.to_array(rows)?, target)?
        } else {
            convert_arrays(&Operand::try_new(value)?, rows, target)?
        };
        columnar(result, all_constant(&args.args))
    }
}

fn constant_dimension(scalar: &ScalarValue, element: Element) -> Result<Option<usize>> {
    let dimension = match scalar.cast_to(&DataType::Int64)? {
        ScalarValue::Int64(Some(n)) if n != -1 => n,
        _ => return Ok(None),
    };
    match usize::try_from(dimension) {
        Ok(n) => Ok(Some(n)),
        Err(_) => Err(VectorError::type_without_dimension(element).into()),
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

fn convert_arrays(operand: &Operand<Vectors>, rows: usize, target: VectorType) -> Result<ArrayRef> {
    let operand = operand.clone().into_single();
    let mut builder = VectorsBuilder::new(target, rows);
    for row in 0..rows {
        match operand.get(row) {
            Some(vector) => {
                check_dimension(target, vector.len())?;
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
