//! Numbers into number columns, with Postgres's rounding and range checks.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, PrimitiveArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, DecimalType, Float32Type, Float64Type,
};

use super::error::{RowError, out_of_range};
use super::parse;
use crate::error::{Error, sqlstate};
use crate::storage::schema::ColumnType;

/// A number array as the type; whatever does not fit is 22003.
pub(super) fn to_number(source: &ArrayRef, target: &ColumnType) -> Result<ArrayRef, RowError> {
    match target {
        ColumnType::Numeric(precision, scale) => to_decimal(source, *precision, *scale),
        ColumnType::Real => {
            let cast = cast_or_overflow(source, &DataType::Float32, || out_of_range("real"))?;
            check_real(source, &cast)?;
            Ok(canonical_nan(&cast))
        }
        ColumnType::Double => {
            let cast = cast_or_overflow(source, &DataType::Float64, || out_of_range("double"))?;
            Ok(canonical_nan(&cast))
        }
        _ => {
            let whole = rounded(source)?;
            cast_or_overflow(&whole, &target.arrow_type(), || {
                out_of_range(&target.to_string())
            })
        }
    }
}

/// Fractions go the way Postgres rounds them: floats to even, decimals away from zero.
fn rounded(source: &ArrayRef) -> Result<ArrayRef, RowError> {
    let cast = |to: &DataType| cast_or_overflow(source, to, || out_of_range("numeric"));
    Ok(match source.data_type() {
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            let wide = cast(&DataType::Float64)?;
            let floats = wide.as_primitive::<Float64Type>();
            Arc::new(floats.unary::<_, Float64Type>(f64::round_ties_even))
        }
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) => {
            cast(&DataType::Decimal128(38, 0))?
        }
        DataType::Decimal256(..) => cast(&DataType::Decimal256(76, 0))?,
        _ => Arc::clone(source),
    })
}

/// Arrow's cast; the first value that it cannot carry over is the error.
pub(super) fn cast_or_overflow(
    source: &ArrayRef,
    target: &DataType,
    error: impl Fn() -> Error,
) -> Result<ArrayRef, RowError> {
    let options = CastOptions {
        safe: true,
        ..CastOptions::default()
    };
    let cast = cast_with_options(source, target, &options).map_err(|_| error())?;
    if cast.null_count() > source.null_count() {
        let lost = (0..cast.len()).find(|&row| cast.is_null(row) && !source.is_null(row));
        return Err(RowError {
            row: lost,
            error: error(),
        });
    }
    Ok(cast)
}

/// A finite double must not become infinite, nor a number become zero.
fn check_real(source: &ArrayRef, cast: &ArrayRef) -> Result<(), RowError> {
    if source.data_type() != &DataType::Float64 {
        return Ok(());
    }
    let (wide, narrow) = (
        source.as_primitive::<Float64Type>(),
        cast.as_primitive::<Float32Type>(),
    );
    let lost =
        |(a, b): (&f64, &f32)| (b.is_infinite() && a.is_finite()) || (*b == 0.0 && *a != 0.0);
    let pairs = wide.values().iter().zip(narrow.values());
    match pairs
        .enumerate()
        .find(|(row, pair)| lost(*pair) && !source.is_null(*row))
    {
        Some((row, _)) => Err(RowError::new(row, out_of_range("real"))),
        None => Ok(()),
    }
}

/// Every NaN becomes the one positive NaN, so that equal keys have equal bits.
pub(super) fn canonical_nan(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Float32 => {
            let floats = array.as_primitive::<Float32Type>();
            if !floats.values().iter().any(|v| v.is_nan()) {
                return Arc::clone(array);
            }
            let clean = |v: f32| if v.is_nan() { f32::NAN } else { v };
            Arc::new(floats.unary::<_, Float32Type>(clean))
        }
        DataType::Float64 => {
            let floats = array.as_primitive::<Float64Type>();
            if !floats.values().iter().any(|v| v.is_nan()) {
                return Arc::clone(array);
            }
            let clean = |v: f64| if v.is_nan() { f64::NAN } else { v };
            Arc::new(floats.unary::<_, Float64Type>(clean))
        }
        _ => Arc::clone(array),
    }
}

fn to_decimal(source: &ArrayRef, precision: u8, scale: i8) -> Result<ArrayRef, RowError> {
    let target = DataType::Decimal128(precision, scale);
    match source.data_type() {
        DataType::Float16 | DataType::Float32 => {
            let floats = cast_or_overflow(source, &DataType::Float32, numeric_overflow)?;
            floats_to_decimal(floats.as_primitive::<Float32Type>(), precision, scale)
        }
        DataType::Float64 => {
            floats_to_decimal(source.as_primitive::<Float64Type>(), precision, scale)
        }
        same if *same == target => {
            check_precision(source.as_primitive::<Decimal128Type>(), precision)?;
            Ok(Arc::clone(source))
        }
        _ => cast_or_overflow(source, &target, numeric_overflow),
    }
}

fn check_precision(decimals: &Decimal128Array, precision: u8) -> Result<(), RowError> {
    let fits = |v: &i128| Decimal128Type::is_valid_decimal_precision(*v, precision);
    match decimals
        .values()
        .iter()
        .enumerate()
        .find(|(row, v)| !fits(v) && !decimals.is_null(*row))
    {
        Some((row, _)) => Err(RowError::new(row, numeric_overflow())),
        None => Ok(()),
    }
}

/// The digits of the float that are sure, then rounded to the scale.
fn floats_to_decimal<T>(
    floats: &PrimitiveArray<T>,
    precision: u8,
    scale: i8,
) -> Result<ArrayRef, RowError>
where
    T: ArrowPrimitiveType,
    T::Native: std::fmt::LowerExp,
{
    // Behind the first one.
    let digits = match T::DATA_TYPE {
        DataType::Float32 => f32::DIGITS - 1,
        _ => f64::DIGITS - 1,
    } as usize;
    let mut values = Vec::with_capacity(floats.len());
    for (row, value) in floats.iter().enumerate() {
        let unscaled = match value {
            None => 0,
            Some(value) => parse::decimal(&format!("{value:.digits$e}"), precision, scale)
                .map_err(|_| RowError::new(row, numeric_overflow()))?,
        };
        values.push(unscaled);
    }
    let decimals = Decimal128Array::new(values.into(), floats.nulls().cloned())
        .with_precision_and_scale(precision, scale)?;
    Ok(Arc::new(decimals))
}

/// 22003 as Postgres words it for NUMERIC.
pub(super) fn numeric_overflow() -> Error {
    Error::invalid(
        sqlstate::NUMERIC_VALUE_OUT_OF_RANGE,
        "numeric field overflow",
    )
}
