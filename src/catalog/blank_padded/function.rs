//! The functions that the rule puts around values.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::functions::utils::make_scalar_function;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::error::{Error, sqlstate};

/// Blanks of the values of one batch that may be written.
const BATCH_BYTES_MAX: usize = 1 << 30;

/// A text without the blanks behind it.
pub(super) fn trimmed(text: Expr) -> Expr {
    call(Operation::Trimmed, text)
}

/// The value as a text with blanks behind it, of so many characters.
pub(super) fn padded(value: Expr, length: u32) -> Expr {
    call(Operation::Padded(length), value)
}

fn call(operation: Operation, value: Expr) -> Expr {
    let function = BlankFunction {
        operation,
        signature: Signature::any(1, Volatility::Immutable),
    };
    ScalarUDF::new_from_impl(function).call(vec![value])
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Operation {
    Trimmed,
    Padded(u32),
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct BlankFunction {
    operation: Operation,
    signature: Signature,
}

impl BlankFunction {
    fn texts(&self, values: &ArrayRef) -> Result<ArrayRef> {
        let texts = cast(values, &DataType::Utf8)?;
        let values = texts.as_string::<i32>();
        Ok(match self.operation {
            Operation::Trimmed => {
                let trimmed = values.iter().map(|text| Some(text?.trim_end_matches(' ')));
                Arc::new(trimmed.collect::<StringArray>())
            }
            Operation::Padded(length) => Arc::new(padded_texts(values, length as usize)?),
        })
    }
}

/// # Errors
/// 54000 for a batch that would take too much memory.
fn padded_texts(values: &StringArray, length: usize) -> Result<StringArray> {
    if values.len().saturating_mul(length) > BATCH_BYTES_MAX {
        let message = "requested length too large";
        return Err(Error::limit(sqlstate::PROGRAM_LIMIT_EXCEEDED, message).into());
    }
    let mut texts = StringBuilder::with_capacity(values.len(), values.values().len());
    let mut shown = String::new();
    for value in values {
        let Some(value) = value else {
            texts.append_null();
            continue;
        };
        shown.clear();
        shown.push_str(value);
        let blanks = length.saturating_sub(value.chars().count());
        shown.extend(std::iter::repeat_n(' ', blanks));
        texts.append_value(&shown);
    }
    Ok(texts.finish())
}

impl ScalarUDFImpl for BlankFunction {
    fn name(&self) -> &str {
        match self.operation {
            Operation::Trimmed => "bpchar_in",
            Operation::Padded(_) => "bpchar_out",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        make_scalar_function(|arrays| self.texts(&arrays[0]), Vec::new())(&args.args)
    }
}
