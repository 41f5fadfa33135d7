//! Functions of numbers.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray};
use datafusion::common::{Result, ScalarValue};

use super::Group;
use super::row::{Call, Kind, NUMBER, Overload};
use crate::catalog::assign::cast_to;
use crate::catalog::zone::Zone;
use crate::error::{Error, sqlstate};
use crate::storage::schema::ColumnType;

use Kind::{Any, Array as List, Float8, Int4, Number, Numeric, Text, Whole};

pub(super) const FUNCTIONS: Group = &[
    (
        "width_bucket",
        &[
            Overload::new(&[Float8, Float8, Float8, Int4], Int4, width_bucket),
            Overload::new(
                &[Numeric, Numeric, Numeric, Int4],
                Int4,
                width_bucket_of_decimals,
            ),
            Overload::new(&[Any, List], Int4, width_bucket_of_bounds),
        ],
    ),
    ("div", &[Overload::new(&[Numeric, Numeric], Whole, div)]),
    (
        "num_nulls",
        &[Overload::new(&[Any], Int4, |call| Ok(counted(call, true)))
            .variadic()
            .with_nulls()],
    ),
    (
        "num_nonnulls",
        &[Overload::new(&[Any], Int4, |call| Ok(counted(call, false)))
            .variadic()
            .with_nulls()],
    ),
    (
        "scale",
        &[Overload::new(&[Numeric], Int4, |call| {
            Ok(scale(call, false))
        })],
    ),
    (
        "min_scale",
        &[Overload::new(&[Numeric], Int4, |call| {
            Ok(scale(call, true))
        })],
    ),
    (
        "to_number",
        &[Overload::new(&[Text, Text], Number, to_number)],
    ),
];

fn counted(call: &Call<'_>, nulls: bool) -> ScalarValue {
    let count = call.values.iter().filter(|v| v.is_null() == nulls).count();
    ScalarValue::Int32(i32::try_from(count).ok())
}

/// A decimal as a double, to compare places in a range.
fn as_float(call: &Call<'_>, place: usize) -> f64 {
    let decimal = call.decimal(place);
    decimal.map_or(f64::NAN, |(value, scale)| {
        value as f64 / 10f64.powi(i32::from(scale))
    })
}

fn width_bucket(call: &Call<'_>) -> Result<ScalarValue> {
    let float = |place| call.float(place).unwrap_or(f64::NAN);
    bucket(float(0), float(1), float(2), call.int(3).unwrap_or(0))
}

fn width_bucket_of_decimals(call: &Call<'_>) -> Result<ScalarValue> {
    let [operand, low, high] = [0, 1, 2].map(|place| as_float(call, place));
    bucket(operand, low, high, call.int(3).unwrap_or(0))
}

/// The number of the bucket of a histogram of equal widths; 0 and one more than there are for what is outside.
fn bucket(operand: f64, low: f64, high: f64, count: i64) -> Result<ScalarValue> {
    let error = |message: &str| {
        let code = sqlstate::INVALID_ARGUMENT_FOR_WIDTH_BUCKET_FUNCTION;
        Err(Error::invalid(code, message).into())
    };
    if count <= 0 {
        return error("count must be greater than zero");
    }
    if operand.is_nan() || low.is_nan() || high.is_nan() {
        return error("operand, lower bound, and upper bound cannot be NaN");
    }
    if low.is_infinite() || high.is_infinite() {
        return error("lower and upper bounds must be finite");
    }
    if low == high {
        return error("lower bound cannot equal upper bound");
    }
    let (below, above) = match low < high {
        true => (operand < low, operand >= high),
        false => (operand > low, operand <= high),
    };
    let bucket = match (below, above) {
        (true, _) => 0,
        (_, true) => count + 1,
        _ => ((operand - low) / (high - low) * count as f64).floor() as i64 + 1,
    };
    match i32::try_from(bucket) {
        Ok(bucket) => Ok(ScalarValue::Int32(Some(bucket))),
        Err(_) => {
            let message = "integer out of range";
            Err(Error::invalid(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, message).into())
        }
    }
}

/// How many of the bounds, which are in order, are not above the operand.
fn width_bucket_of_bounds(call: &Call<'_>) -> Result<ScalarValue> {
    let Some(bounds) = call.elements(1) else {
        return call.null();
    };
    if bounds.null_count() > 0 {
        let message = "thresholds array must not contain NULLs";
        return Err(Error::invalid(sqlstate::NULL_VALUE_NOT_ALLOWED, message).into());
    }
    let operand = call.values[0].cast_to(bounds.data_type())?;
    let (mut low, mut high) = (0, bounds.len());
    while low < high {
        let middle = (low + high) / 2;
        let bound = ScalarValue::try_from_array(&bounds, middle)?;
        match operand.partial_cmp(&bound) {
            Some(Ordering::Less) => high = middle,
            _ => low = middle + 1,
        }
    }
    Ok(ScalarValue::Int32(i32::try_from(low).ok()))
}

/// The quotient without its fraction.
fn div(call: &Call<'_>) -> Result<ScalarValue> {
    let Some(((dividend, scale), (divisor, other))) = call.decimal(0).zip(call.decimal(1)) else {
        return call.null();
    };
    if divisor == 0 {
        return Err(Error::invalid(sqlstate::DIVISION_BY_ZERO, "division by zero").into());
    }
    let common = scale.max(other);
    let scaled = |value: i128, scale: i8| {
        let factor = 10_i128.checked_pow((common - scale).unsigned_abs().into());
        factor.and_then(|factor| value.checked_mul(factor))
    };
    let sides = scaled(dividend, scale).zip(scaled(divisor, other));
    let quotient = sides.map(|(dividend, divisor)| dividend / divisor);
    let quotient = quotient.ok_or_else(|| {
        let message = "value overflows numeric format";
        Error::invalid(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, message)
    })?;
    Ok(ScalarValue::Decimal128(Some(quotient), NUMBER.0, 0))
}

/// The digits behind the point; without zeros at the end where the least is asked for.
fn scale(call: &Call<'_>, least: bool) -> ScalarValue {
    let digits = call.decimal(0).map(|(mut value, scale)| {
        let mut scale = i32::from(scale);
        while least && scale > 0 && value % 10 == 0 {
            (value, scale) = (value / 10, scale - 1);
        }
        scale
    });
    ScalarValue::Int32(digits)
}

/// The number in a text; the template says which characters of it are no part of a number.
fn to_number(call: &Call<'_>) -> Result<ScalarValue> {
    let (subject, template) = (call.text(0), call.text(1).to_ascii_uppercase());
    let mut number = String::new();
    let mut has_point = false;
    for c in subject.chars() {
        match c {
            '0'..='9' => number.push(c),
            '.' if !has_point => {
                has_point = true;
                number.push(c);
            }
            _ => {}
        }
    }
    if subject.contains('-') || (template.contains("PR") && subject.contains('<')) {
        number.insert(0, '-');
    }
    if let Some((_, behind)) = template.split_once('V') {
        let digits = behind.bytes().filter(|b| matches!(b, b'0' | b'9')).count();
        number.push_str(&format!("e-{digits}"));
    }
    let texts: ArrayRef = Arc::new(StringArray::from(vec![number]));
    let (precision, scale) = NUMBER;
    let read = cast_to(&texts, &ColumnType::Numeric(precision, scale), &Zone::utc())
        .map_err(|e| e.error)?;
    ScalarValue::try_from_array(&read, 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn buckets_have_the_lower_bound_inside() {
        let of = |operand, low, high| match bucket(operand, low, high, 4).unwrap() {
            ScalarValue::Int32(Some(bucket)) => bucket,
            other => panic!("{other}"),
        };
        assert_eq!(of(5.35, 0.024, 10.06), 3);
        assert_eq!(
            [of(0.0, 0.0, 4.0), of(3.9, 0.0, 4.0), of(4.0, 0.0, 4.0)],
            [1, 4, 5]
        );
        assert_eq!(
            [of(4.0, 4.0, 0.0), of(0.0, 4.0, 0.0), of(5.0, 4.0, 0.0)],
            [1, 5, 0]
        );
        assert!(bucket(1.0, 2.0, 2.0, 4).is_err());
    }
}
