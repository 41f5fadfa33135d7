//! Functions of whole numbers that DataFusion has for BIGINT alone: of INTEGERs they give INTEGERs. Factorials are NUMERIC.

use std::sync::Arc;

use arrow::array::Int32Array;
use arrow::datatypes::{DataType, Decimal128Type, DecimalType};
use datafusion::common::{Result, ScalarValue};

use super::extended::Extension;
use super::row::{Call, Kind, Overload, list_of, text};
use super::series::no_step;
use crate::error::{Error, sqlstate};

use Kind::{Int4, Int4s, Int8, Text, Whole};

pub(super) const EXTENSIONS: &[Extension] = &[
    (
        "generate_series",
        are_integers,
        &[Overload::new(&[Int4, Int4, Int4], Int4s, series).optional(1)],
    ),
    (
        "gcd",
        are_integers,
        &[Overload::new(&[Int4, Int4], Int4, gcd)],
    ),
    (
        "lcm",
        are_integers,
        &[Overload::new(&[Int4, Int4], Int4, lcm)],
    ),
    (
        "to_hex",
        |types| matches!(types, [DataType::Int16 | DataType::Int32]),
        &[Overload::new(&[Int4], Text, |call| {
            // Negative numbers are shown with the bits that an INTEGER has.
            Ok(text(format!(
                "{:x}",
                call.int(0).unwrap_or_default() as i32
            )))
        })],
    ),
    (
        "factorial",
        |types| matches!(types, [of] if of.is_integer()),
        &[Overload::new(&[Int8], Whole, factorial)],
    ),
];

/// The most numbers of a series that is an array at once, as it is beside other functions that give rows.
const SERIES_MAX: i64 = 100_000_000;

/// Whether there are several arguments, which INTEGER holds.
fn are_integers(types: &[DataType]) -> bool {
    let fits = |data_type: &DataType| matches!(data_type, DataType::Int16 | DataType::Int32);
    types.len() > 1 && types.iter().all(fits)
}

/// The numbers from the first to the second, by steps of the third.
fn series(call: &Call<'_>) -> Result<ScalarValue> {
    let [start, stop] = [0, 1].map(|place| call.int(place).unwrap_or_default());
    let step = call.int(2).unwrap_or(1);
    let count = match step {
        0 => return Err(no_step().into()),
        step => (stop - start) / step,
    };
    if count > SERIES_MAX {
        let message =
            format!("a series of more than {SERIES_MAX} numbers is too long for an array");
        let error = Error::limit(sqlstate::PROGRAM_LIMIT_EXCEEDED, message);
        return Err(error.with_hint("Call generate_series in FROM.").into());
    }
    let is_empty = (stop - start).signum() == -step.signum();
    let numbers = (0..=count)
        .filter(|_| !is_empty)
        .map(|n| i32::try_from(start + n * step).ok());
    Ok(list_of(Arc::new(numbers.collect::<Int32Array>())))
}

fn gcd(call: &Call<'_>) -> Result<ScalarValue> {
    let [a, b] = [0, 1].map(|place| call.int(place).unwrap_or_default());
    in_range(divisor_of(a, b))
}

fn lcm(call: &Call<'_>) -> Result<ScalarValue> {
    let [a, b] = [0, 1].map(|place| call.int(place).unwrap_or_default());
    in_range(match divisor_of(a, b) {
        0 => 0,
        divisor => (a / divisor * b).abs(),
    })
}

fn factorial(call: &Call<'_>) -> Result<ScalarValue> {
    let number = call.int(0).unwrap_or_default();
    let error = |message| Error::invalid(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, message);
    if number < 0 {
        return Err(error("factorial of a negative number is undefined").into());
    }
    let product = (2..=i128::from(number)).try_fold(1_i128, i128::checked_mul);
    let product =
        product.filter(|product| Decimal128Type::is_valid_decimal_precision(*product, 38));
    let product = product.ok_or_else(|| error("value overflows numeric format"))?;
    Ok(ScalarValue::Decimal128(Some(product), 38, 0))
}

/// The greatest common divisor, of numbers of 32 bits.
fn divisor_of(mut a: i64, mut b: i64) -> i64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.abs()
}

/// # Errors
/// 22003 for what INTEGER does not hold.
fn in_range(number: i64) -> Result<ScalarValue> {
    let number = i32::try_from(number).map_err(|_| {
        Error::invalid(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "integer out of range")
    })?;
    Ok(ScalarValue::Int32(Some(number)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn divisors_and_multiples_are_positive() {
        assert_eq!([divisor_of(12, -18), divisor_of(0, 0)], [6, 0]);
        assert_eq!(divisor_of(i64::from(i32::MIN), 0), 1 << 31);
        assert!(in_range(1 << 31).is_err());
    }
}
