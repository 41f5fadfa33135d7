//! Casts to and from bit strings as functions, which the planner puts in place of SQL's casts.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature,
};

use crate::bit_type::{BitType, parse_bits};
use crate::error::VectorError;
use crate::input::{all_constant, result_rows};
use crate::output::columnar;
use crate::signature::{immutable, result_field};
use crate::types::is_text;

/// An explicit cast to a type of bit strings: text and bits are cut or filled, integers give their last bits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ToBitsFunction {
    target: BitType,
    signature: Signature,
}

impl ToBitsFunction {
    pub fn new(target: BitType) -> Self {
        Self {
            target,
            signature: immutable(),
        }
    }
}

impl ScalarUDFImpl for ToBitsFunction {
    fn name(&self) -> &str {
        if self.target.varying { "varbit" } else { "bit" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let nullable = result_field("", DataType::Utf8, &args).is_nullable();
        Ok(self.target.field(self.name(), nullable))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [text] if is_text(text) || text.is_null() => Ok(vec![DataType::Utf8]),
            [number] if number.is_integer() && !self.target.varying => Ok(vec![number.clone()]),
            [other] => Err(VectorError::no_bit_cast(other, self.target).into()),
            _ => plan_err!("{} takes one value, not {types:?}", self.name()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = result_rows(&args.args, args.number_rows);
        let value = args.args[0].to_array(rows)?;
        let bits = match value.data_type().is_integer() {
            true => bits_of_integers(&value, self.target)?,
            false => bits_of_texts(&value, self.target)?,
        };
        columnar(Arc::new(bits), all_constant(&args.args))
    }
}

fn bits_of_texts(texts: &ArrayRef, target: BitType) -> Result<StringArray> {
    let texts = cast(texts, &DataType::Utf8)?;
    let texts = texts.as_string::<i32>().iter();
    let bits = texts.map(|text| {
        let fitted = |text| Ok(target.fit(&parse_bits(text)?).into_owned());
        text.map(fitted).transpose()
    });
    Ok(bits.collect::<Result<StringArray, VectorError>>()?)
}

/// The last bits of numbers, with their sign before the first where the type is longer.
fn bits_of_integers(numbers: &ArrayRef, target: BitType) -> Result<StringArray> {
    let numbers = cast(numbers, &DataType::Int64)?;
    let length = target.length.unwrap_or(1) as usize;
    let bit = |number: i64, place: usize| match number >> place.min(63) & 1 {
        1 => '1',
        _ => '0',
    };
    let bits = |number| (0..length).rev().map(|place| bit(number, place)).collect();
    let numbers = numbers.as_primitive::<Int64Type>().iter();
    Ok(numbers
        .map(|number| number.map(bits))
        .collect::<Vec<Option<String>>>()
        .into())
}

/// A cast of a bit string to an integer, as of its binary digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct BitsToIntegerFunction {
    /// `Int32` or `Int64`.
    target: DataType,
    signature: Signature,
}

impl BitsToIntegerFunction {
    /// The cast to that type; PostgreSQL has none to other types of integers.
    ///
    /// # Errors
    /// 42846 for another type.
    pub fn try_new(from: BitType, target: &DataType) -> Result<Self, VectorError> {
        let has_cast = !from.varying && matches!(target, DataType::Int32 | DataType::Int64);
        match has_cast {
            true => Ok(Self {
                target: target.clone(),
                signature: immutable(),
            }),
            false => Err(VectorError::no_cast_of_bits(from, target)),
        }
    }

    fn digits(&self) -> usize {
        match self.target {
            DataType::Int32 => 32,
            _ => 64,
        }
    }
}

impl ScalarUDFImpl for BitsToIntegerFunction {
    fn name(&self) -> &str {
        match self.target {
            DataType::Int32 => "bittoint4",
            _ => "bittoint8",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.target.clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(result_field(self.name(), self.target.clone(), &args))
    }

    fn coerce_types(&self, _: &[DataType]) -> Result<Vec<DataType>> {
        Ok(vec![DataType::Utf8])
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = result_rows(&args.args, args.number_rows);
        let texts = cast(&args.args[0].to_array(rows)?, &DataType::Utf8)?;
        let number = |bits: &str| -> Result<i64, VectorError> {
            if bits.len() > self.digits() {
                return Err(VectorError::integer_out_of_range(&self.target));
            }
            let digits = bits.bytes();
            let number = digits.fold(0_u64, |n, bit| n << 1 | u64::from(bit == b'1'));
            // All 32 or 64 digits are the number's own, its sign among them.
            Ok(match self.target {
                DataType::Int32 => i64::from(number as u32 as i32),
                _ => number as i64,
            })
        };
        let numbers = texts.as_string::<i32>().iter();
        let numbers = numbers.map(|bits| bits.map(number).transpose());
        let numbers = numbers.collect::<Result<Int64Array, VectorError>>()?;
        columnar(cast(&numbers, &self.target)?, all_constant(&args.args))
    }
}
