//! Functions of intervals.

use arrow::datatypes::IntervalMonthDayNano;
use datafusion::common::{Result, ScalarValue};

use super::Group;
use super::row::{Call, Kind, NUMBER, Overload};
use crate::error::{Error, sqlstate};

use Kind::{Float8, Int4, Interval, Number};

const HOURS_PER_DAY: i64 = 24;
pub(super) const DAYS_PER_MONTH: i32 = 30;
pub(super) const NANOS_PER_SECOND: i64 = 1_000_000_000;
pub(super) const NANOS_PER_HOUR: i64 = 3600 * NANOS_PER_SECOND;
const NANOS_PER_DAY: i64 = HOURS_PER_DAY * NANOS_PER_HOUR;
pub(super) const SECONDS_PER_DAY: f64 = 86_400.0;

/// The function of `interval * number`.
pub(crate) const INTERVAL_TIMES: &str = "interval_mul";
/// The function of `interval / number`.
pub(crate) const INTERVAL_BY: &str = "interval_div";
/// The function whose values intervals are compared by.
pub(crate) const INTERVAL_LENGTH: &str = "interval_length";
/// The function that the strides of `date_bin` go through.
pub(crate) const BIN_STRIDE: &str = "bin_stride";

pub(super) const FUNCTIONS: Group = &[
    (
        INTERVAL_TIMES,
        &[Overload::new(&[Interval, Float8], Interval, |call| {
            scaled(call, times)
        })],
    ),
    (
        INTERVAL_BY,
        &[Overload::new(&[Interval, Float8], Interval, |call| {
            check_divisor(call)?;
            scaled(call, divided)
        })],
    ),
    (
        INTERVAL_LENGTH,
        &[Overload::new(&[Interval], Number, length)],
    ),
    (
        BIN_STRIDE,
        &[Overload::new(&[Interval], Interval, bin_stride)],
    ),
    (
        "justify_hours",
        &[Overload::new(&[Interval], Interval, |call| {
            justified(call, hours_to_days)
        })],
    ),
    (
        "justify_days",
        &[Overload::new(&[Interval], Interval, |call| {
            justified(call, days_to_months)
        })],
    ),
    (
        "justify_interval",
        &[Overload::new(&[Interval], Interval, |call| {
            justified(call, justify_all)
        })],
    ),
    (
        "make_interval",
        &[Overload::new(
            &[Int4, Int4, Int4, Int4, Int4, Int4, Float8],
            Interval,
            make,
        )
        .optional(7)],
    ),
];

/// 22008.
pub(crate) fn out_of_range() -> Error {
    Error::invalid(sqlstate::DATETIME_FIELD_OVERFLOW, "interval out of range")
}

fn some(interval: IntervalMonthDayNano) -> ScalarValue {
    ScalarValue::IntervalMonthDayNano(Some(interval))
}

/// Nanoseconds, a month having thirty days and a day 24 hours (PostgreSQL's `interval_cmp_value`).
fn length(call: &Call<'_>) -> Result<ScalarValue> {
    let Some(interval) = call.interval(0) else {
        return call.null();
    };
    Ok(length_of(interval))
}

/// The nanoseconds of an interval, of months of 30 days and days of 24 hours.
pub(super) fn nanos_of(interval: IntervalMonthDayNano) -> i128 {
    let days = i128::from(interval.months) * i128::from(DAYS_PER_MONTH) + i128::from(interval.days);
    days * i128::from(NANOS_PER_DAY) + i128::from(interval.nanoseconds)
}

/// The length of an interval as `interval_length` gives it.
pub(crate) fn length_of(interval: IntervalMonthDayNano) -> ScalarValue {
    let unit = 10_i128.pow(u32::from(NUMBER.1.unsigned_abs()));
    ScalarValue::Decimal128(Some(nanos_of(interval) * unit), NUMBER.0, NUMBER.1)
}

/// The stride of `date_bin`.
///
/// # Errors
/// 0A000 for one of months, which are not of one length, 22008 for one that is not more than nothing.
fn bin_stride(call: &Call<'_>) -> Result<ScalarValue> {
    let Some(stride) = call.interval(0) else {
        return call.null();
    };
    if stride.months != 0 {
        let message = "timestamps cannot be binned into intervals containing months or years";
        return Err(Error::unsupported(message).into());
    }
    let days = i128::from(stride.days) * i128::from(NANOS_PER_DAY);
    if days + i128::from(stride.nanoseconds) <= 0 {
        let message = "stride must be greater than zero";
        return Err(Error::invalid(sqlstate::DATETIME_FIELD_OVERFLOW, message).into());
    }
    Ok(some(stride))
}

/// # Errors
/// 22012 for zero beside an interval.
fn check_divisor(call: &Call<'_>) -> Result<()> {
    if call.interval(0).is_some() && call.float(1) == Some(0.0) {
        return Err(Error::invalid(sqlstate::DIVISION_BY_ZERO, "division by zero").into());
    }
    Ok(())
}

/// The interval of an argument, scaled by the other.
fn scaled(
    call: &Call<'_>,
    scale: fn(IntervalMonthDayNano, f64) -> Option<IntervalMonthDayNano>,
) -> Result<ScalarValue> {
    let Some((interval, by)) = call.interval(0).zip(call.float(1)) else {
        return call.null();
    };
    Ok(some(scale(interval, by).ok_or_else(out_of_range)?))
}

/// The interval times a factor (PostgreSQL's `interval_mul`).
fn times(interval: IntervalMonthDayNano, factor: f64) -> Option<IntervalMonthDayNano> {
    part_by_part(interval, |part| part * factor)
}

/// A part of the interval (PostgreSQL's `interval_div`): a quotient is not the product with the inverse.
pub(crate) fn divided(interval: IntervalMonthDayNano, by: f64) -> Option<IntervalMonthDayNano> {
    part_by_part(interval, |part| part / by)
}

/// A fraction of a month becomes days of which it has thirty, one of a day becomes time.
fn part_by_part(
    interval: IntervalMonthDayNano,
    scale: impl Fn(f64) -> f64,
) -> Option<IntervalMonthDayNano> {
    // Seconds, without what binary fractions add below a microsecond.
    let rounded = |seconds: f64| (seconds * 1e6).round_ties_even() / 1e6;
    let months = scale(f64::from(interval.months));
    let days = scale(f64::from(interval.days));
    let days_of_months = rounded(months.fract() * f64::from(DAYS_PER_MONTH));
    let mut seconds = rounded((days.fract() + days_of_months.fract()) * SECONDS_PER_DAY);
    let mut whole_days = days.trunc() + days_of_months.trunc();
    if seconds.abs() >= SECONDS_PER_DAY {
        whole_days += (seconds / SECONDS_PER_DAY).trunc();
        seconds %= SECONDS_PER_DAY;
    }
    let micros = scale((interval.nanoseconds / 1000) as f64) + seconds * 1e6;
    let micros = micros.round_ties_even();
    Some(IntervalMonthDayNano {
        months: whole(months.trunc())?,
        days: whole(whole_days)?,
        nanoseconds: (micros.abs() < i64::MAX as f64 / 1000.0).then(|| micros as i64 * 1000)?,
    })
}

/// The interval at that part of the way from one to another (PostgreSQL's `interval_lerp`).
///
/// # Errors
/// 22008.
pub(super) fn between(
    low: IntervalMonthDayNano,
    high: IntervalMonthDayNano,
    part: f64,
) -> Result<IntervalMonthDayNano> {
    let way = || {
        let way = IntervalMonthDayNano {
            months: high.months.checked_sub(low.months)?,
            days: high.days.checked_sub(low.days)?,
            nanoseconds: high.nanoseconds.checked_sub(low.nanoseconds)?,
        };
        let way = times(way, part)?;
        Some(IntervalMonthDayNano {
            months: low.months.checked_add(way.months)?,
            days: low.days.checked_add(way.days)?,
            nanoseconds: low.nanoseconds.checked_add(way.nanoseconds)?,
        })
    };
    Ok(way().ok_or_else(out_of_range)?)
}

fn whole(number: f64) -> Option<i32> {
    let range = f64::from(i32::MIN)..=f64::from(i32::MAX);
    range.contains(&number).then_some(number as i32)
}

fn justified(
    call: &Call<'_>,
    justify: fn(IntervalMonthDayNano) -> Option<IntervalMonthDayNano>,
) -> Result<ScalarValue> {
    match call.interval(0) {
        Some(interval) => Ok(some(justify(interval).ok_or_else(out_of_range)?)),
        None => call.null(),
    }
}

/// Twenty-four hours become a day, both of one sign.
fn hours_to_days(interval: IntervalMonthDayNano) -> Option<IntervalMonthDayNano> {
    let mut days = i64::from(interval.days) + interval.nanoseconds / NANOS_PER_DAY;
    let mut time = interval.nanoseconds % NANOS_PER_DAY;
    if days > 0 && time < 0 {
        (days, time) = (days - 1, time + NANOS_PER_DAY);
    } else if days < 0 && time > 0 {
        (days, time) = (days + 1, time - NANOS_PER_DAY);
    }
    Some(IntervalMonthDayNano {
        days: i32::try_from(days).ok()?,
        nanoseconds: time,
        ..interval
    })
}

/// Thirty days become a month, both of one sign.
fn days_to_months(interval: IntervalMonthDayNano) -> Option<IntervalMonthDayNano> {
    let mut months = interval
        .months
        .checked_add(interval.days / DAYS_PER_MONTH)?;
    let mut days = interval.days % DAYS_PER_MONTH;
    if months > 0 && days < 0 {
        (months, days) = (months - 1, days + DAYS_PER_MONTH);
    } else if months < 0 && days > 0 {
        (months, days) = (months + 1, days - DAYS_PER_MONTH);
    }
    Some(IntervalMonthDayNano {
        months,
        days,
        ..interval
    })
}

/// Both, and all three parts of one sign.
fn justify_all(interval: IntervalMonthDayNano) -> Option<IntervalMonthDayNano> {
    let days = i64::from(interval.days) + interval.nanoseconds / NANOS_PER_DAY;
    let mut time = interval.nanoseconds % NANOS_PER_DAY;
    let month_days = i64::from(DAYS_PER_MONTH);
    let mut months = i64::from(interval.months) + days / month_days;
    let mut days = days % month_days;
    if months > 0 && (days < 0 || (days == 0 && time < 0)) {
        (months, days) = (months - 1, days + month_days);
    } else if months < 0 && (days > 0 || (days == 0 && time > 0)) {
        (months, days) = (months + 1, days - month_days);
    }
    if days > 0 && time < 0 {
        (days, time) = (days - 1, time + NANOS_PER_DAY);
    } else if days < 0 && time > 0 {
        (days, time) = (days + 1, time - NANOS_PER_DAY);
    }
    Some(IntervalMonthDayNano {
        months: i32::try_from(months).ok()?,
        days: i32::try_from(days).ok()?,
        nanoseconds: time,
    })
}

/// `make_interval(years, months, weeks, days, hours, mins, secs)`.
fn make(call: &Call<'_>) -> Result<ScalarValue> {
    let part = |place| call.int(place).unwrap_or(0);
    let seconds = call.float(6).unwrap_or(0.0);
    let made = || {
        let time = (part(4) * 60 + part(5)).checked_mul(60 * NANOS_PER_SECOND)?;
        let nanoseconds = (seconds * 1e6).round() * 1000.0;
        let nanoseconds = (nanoseconds.abs() < i64::MAX as f64).then_some(nanoseconds as i64)?;
        Some(IntervalMonthDayNano {
            months: i32::try_from(part(0) * 12 + part(1)).ok()?,
            days: i32::try_from(part(2) * 7 + part(3)).ok()?,
            nanoseconds: time.checked_add(nanoseconds)?,
        })
    };
    Ok(some(made().ok_or_else(out_of_range)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(months: i32, days: i32, hours: i64) -> IntervalMonthDayNano {
        IntervalMonthDayNano::new(months, days, hours * NANOS_PER_HOUR)
    }

    #[test]
    fn fractions_go_down_to_smaller_units() {
        assert_eq!(times(interval(1, 0, 0), 0.5), Some(interval(0, 15, 0)));
        assert_eq!(times(interval(0, 1, 0), 2.5), Some(interval(0, 2, 12)));
        assert_eq!(times(interval(1, 1, 1), -2.0), Some(interval(-2, -2, -2)));
        assert_eq!(times(interval(i32::MAX, 0, 0), 2.0), None);
        assert_eq!(divided(interval(49, 49, 0), 49.0), Some(interval(1, 1, 0)));
    }

    #[test]
    fn units_become_larger_ones_of_one_sign() {
        assert_eq!(hours_to_days(interval(0, 1, 30)), Some(interval(0, 2, 6)));
        assert_eq!(days_to_months(interval(0, 35, 0)), Some(interval(1, 5, 0)));
        assert_eq!(justify_all(interval(1, 0, -1)), Some(interval(0, 29, 23)));
    }
}
