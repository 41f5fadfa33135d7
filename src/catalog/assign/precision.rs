//! Seconds of times and intervals with fewer digits behind the point: `timestamp(3)`.
//!
//! PostgreSQL rounds half away from zero, and its zero of timestamps is the beginning of 2000.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::datatypes::{
    DataType, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType,
    TimeUnit, TimestampMicrosecondType,
};

use super::error::RowError;
use crate::catalog::infinity::Infinity;
use crate::error::{Error, sqlstate};

/// Microseconds from 1970 to 2000.
const MICROS_TO_2000: i64 = 946_684_800 * 1_000_000;
const NANOS_IN_MICRO: i64 = 1_000;
/// Digits of microseconds, which is how exact values are.
const DIGITS: u8 = 6;

/// The values with seconds of at most so many digits behind the point; values of other types as they are.
///
/// # Errors
/// 22008 for a value that becomes too great.
pub fn round_seconds(values: &ArrayRef, digits: u8) -> Result<ArrayRef, RowError> {
    let unit = 10_i64.pow(u32::from(DIGITS.saturating_sub(digits)));
    if unit == 1 {
        return Ok(Arc::clone(values));
    }
    match values.data_type() {
        DataType::Time64(TimeUnit::Microsecond) => {
            each::<Time64MicrosecondType>(values, |micros| rounded(micros, unit))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            each::<TimestampMicrosecondType>(values, |micros| {
                if Infinity::of(micros).is_some() {
                    return Some(micros);
                }
                rounded(micros.checked_sub(MICROS_TO_2000)?, unit)?.checked_add(MICROS_TO_2000)
            })
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            each::<IntervalMonthDayNanoType>(values, |interval| {
                let nanoseconds = rounded(interval.nanoseconds, unit * NANOS_IN_MICRO)?;
                Some(IntervalMonthDayNano {
                    nanoseconds,
                    ..interval
                })
            })
        }
        _ => Ok(Arc::clone(values)),
    }
}

/// The multiple of the unit that is next, half away from zero; `None` past the end of the numbers.
fn rounded(value: i64, unit: i64) -> Option<i64> {
    let half = (unit / 2) * value.signum();
    Some(value.checked_add(half)? / unit * unit)
}

fn each<T: ArrowPrimitiveType>(
    values: &ArrayRef,
    round: impl Fn(T::Native) -> Option<T::Native>,
) -> Result<ArrayRef, RowError> {
    let values = values.as_primitive::<T>();
    let mut rounded = Vec::with_capacity(values.len());
    for (row, value) in values.iter().enumerate() {
        rounded.push(match value {
            Some(value) => round(value).ok_or_else(|| RowError::new(row, out_of_range()))?,
            None => T::Native::default(),
        });
    }
    let array = PrimitiveArray::<T>::new(rounded.into(), values.nulls().cloned());
    Ok(Arc::new(array.with_data_type(values.data_type().clone())))
}

fn out_of_range() -> Error {
    let message = "date/time field value out of range";
    Error::invalid(sqlstate::DATETIME_FIELD_OVERFLOW, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arrow::array::{IntervalMonthDayNanoArray, Time64MicrosecondArray};

    use super::*;

    #[test]
    fn halves_go_away_from_the_zero_of_postgres() {
        for (micros, digits, expected) in [
            (1_499_999, 0, 1_000_000),
            (1_500_000, 0, 2_000_000),
            (1_234_500, 3, 1_235_000),
            (1_234_499, 3, 1_234_000),
            (86_399_999_999, 0, 86_400_000_000),
            (7, 6, 7),
        ] {
            let times: ArrayRef = Arc::new(Time64MicrosecondArray::from(vec![micros]));
            let rounded = round_seconds(&times, digits).unwrap();
            let rounded = rounded.as_primitive::<Time64MicrosecondType>();
            assert_eq!(rounded.value(0), expected, "{micros} to {digits}");
        }
        for (micros, expected) in [(500_000, 1_000_000), (-500_000, -1_000_000)] {
            let micros = MICROS_TO_2000 + micros;
            let moments = PrimitiveArray::<TimestampMicrosecondType>::from(vec![micros]);
            let moments: ArrayRef = Arc::new(moments.with_timezone("UTC"));
            let rounded = round_seconds(&moments, 0).unwrap();
            assert_eq!(rounded.data_type(), moments.data_type());
            let rounded = rounded.as_primitive::<TimestampMicrosecondType>();
            assert_eq!(rounded.value(0), MICROS_TO_2000 + expected);
        }
    }

    #[test]
    fn intervals_keep_their_months_and_nulls_stay() {
        let interval = |nanoseconds| IntervalMonthDayNano::new(1, -2, nanoseconds);
        let values = vec![Some(interval(-1_500_000_000)), None];
        let values: ArrayRef = Arc::new(IntervalMonthDayNanoArray::from(values));
        let rounded = round_seconds(&values, 0).unwrap();
        let expected = vec![Some(interval(-2_000_000_000)), None];
        let expected = IntervalMonthDayNanoArray::from(expected);
        assert_eq!(
            rounded.as_primitive::<IntervalMonthDayNanoType>(),
            &expected
        );
        let longest: ArrayRef = Arc::new(IntervalMonthDayNanoArray::from(vec![interval(i64::MAX)]));
        let error = round_seconds(&longest, 0).unwrap_err();
        assert_eq!(error.error.sqlstate(), "22008");
    }
}
