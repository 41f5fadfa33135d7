//! Functions that make long texts of short ones, with a limit: `repeat('x', 2147483647)` is refused before it takes
//! the memory of everybody.

use arrow::array::{Array, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::compute::kernels::length::length;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};
use datafusion::prelude::SessionContext;

use super::wrapped::{Check, check_function};
use crate::error::{Error, sqlstate};

/// Bytes of one value that such a function may make.
const VALUE_BYTES_MAX: i64 = 64 << 20;
/// Bytes of the values of one batch: offsets of texts have 31 bits.
const BATCH_BYTES_MAX: i64 = 1 << 30;
/// The most bytes of a character.
const CHARACTER_BYTES: i64 = 4;

/// Puts the limit on the session's functions; `chr` gives no character that a text cannot have.
pub fn limit_strings(context: &SessionContext) {
    check_function(context, "chr", NullCharacter);
    check_function(context, "array_repeat", ElementLimit);
    for name in ["repeat", "lpad", "rpad"] {
        check_function(context, name, LengthLimit);
    }
}

/// Elements of the arrays that a function makes for one batch.
const ELEMENTS_MAX: i64 = 1 << 24;

/// The limit of a function of a value and how often an array has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ElementLimit;

impl Check for ElementLimit {
    /// # Errors
    /// 54000 when an array, or all of a batch, would be too long.
    fn check(&self, _name: &str, args: &ScalarFunctionArgs) -> Result<()> {
        let [_, count] = args.args.as_slice() else {
            return Ok(());
        };
        let counts = cast(&count.to_array(args.number_rows)?, &DataType::Int64)?;
        let counts = counts.as_primitive::<Int64Type>().iter().flatten();
        let total = counts.fold(0_i64, |total, count| total.saturating_add(count.max(0)));
        if total <= ELEMENTS_MAX {
            return Ok(());
        }
        let message = format!("array size exceeds the maximum allowed ({ELEMENTS_MAX})");
        Err(Error::limit(sqlstate::PROGRAM_LIMIT_EXCEEDED, message).into())
    }
}

/// No text has a character of the number zero.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct NullCharacter;

impl Check for NullCharacter {
    /// # Errors
    /// 54000 for zero.
    fn check(&self, _name: &str, args: &ScalarFunctionArgs) -> Result<()> {
        for value in &args.args {
            let numbers = cast(&value.to_array(args.number_rows)?, &DataType::Int64)?;
            let mut numbers = numbers.as_primitive::<Int64Type>().iter();
            if numbers.any(|number| number == Some(0)) {
                let message = "null character not permitted";
                return Err(Error::limit(sqlstate::PROGRAM_LIMIT_EXCEEDED, message).into());
            }
        }
        Ok(())
    }
}

/// The limit of a function of a text and a number that says how long the result is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct LengthLimit;

impl Check for LengthLimit {
    /// # Errors
    /// 54000 when a value, or all of a batch, would be too long.
    fn check(&self, name: &str, args: &ScalarFunctionArgs) -> Result<()> {
        let [text, count, ..] = args.args.as_slice() else {
            return Ok(());
        };
        let integers = |value: &ColumnarValue| -> Result<Int64Array> {
            let array = value.to_array(args.number_rows)?;
            let array = match array.data_type() {
                t if t.is_integer() => array,
                DataType::Utf8View => length(&cast(&array, &DataType::Utf8)?)?,
                _ => length(&array)?,
            };
            Ok(cast(&array, &DataType::Int64)?
                .as_primitive::<Int64Type>()
                .clone())
        };
        let (texts, counts) = (integers(text)?, integers(count)?);
        let repeats = name == "repeat";
        let mut total = 0_i64;
        for (text, count) in texts.iter().zip(&counts) {
            let (Some(text), Some(count)) = (text, count) else {
                continue;
            };
            let unit = if repeats { text } else { CHARACTER_BYTES };
            let bytes = count.max(0).saturating_mul(unit);
            total = total.saturating_add(bytes);
            if bytes > VALUE_BYTES_MAX || total > BATCH_BYTES_MAX {
                let message = "requested length too large";
                let error = Error::limit(sqlstate::PROGRAM_LIMIT_EXCEEDED, message);
                let most = VALUE_BYTES_MAX >> 20;
                return Err(error
                    .with_detail(format!("A text has at most {most} MB."))
                    .into());
            }
        }
        Ok(())
    }
}
