//! `generate_series` of instants: days are those of the session's clock.

use arrow::array::TimestampMicrosecondArray;
use arrow::datatypes::IntervalMonthDayNano;
use arrow::temporal_conversions::{MICROSECONDS, MICROSECONDS_IN_DAY};
use chrono::Months;
use datafusion::common::{Result, ScalarValue};

use super::Group;
use super::moment::civil;
use super::row::{Call, Kind, Overload, list_of};
use crate::catalog::zone::Zone;
use crate::error::{Error, sqlstate};

use Kind::{Instants, Interval, Timestamptz};

/// The function that is called for instants.
pub(crate) const SERIES_OF_INSTANTS: &str = "generate_series_of_instants";

/// The most rows of a series: an array holds them.
const ROWS_MAX: usize = 50_000_000;

pub(super) const FUNCTIONS: Group = &[(
    SERIES_OF_INSTANTS,
    &[Overload::new(&[Timestamptz, Timestamptz, Interval], Instants, series).stable()],
)];

fn series(call: &Call<'_>) -> Result<ScalarValue> {
    let (Some(first), Some(last), Some(step)) = (call.moment(0), call.moment(1), call.interval(2))
    else {
        return call.null();
    };
    let forward = direction(step)?;
    let zone = call.zone();
    let (mut found, mut at) = (Vec::new(), first);
    while if forward { at <= last } else { at >= last } {
        if found.len() == ROWS_MAX {
            let message = format!("a series has at most {ROWS_MAX} rows");
            return Err(Error::limit(sqlstate::PROGRAM_LIMIT_EXCEEDED, message).into());
        }
        found.push(at);
        at = after(at, step, &zone)?;
    }
    let instants = TimestampMicrosecondArray::from(found).with_timezone("UTC");
    list_of(std::sync::Arc::new(instants)).cast_to(call.gives)
}

/// Whether steps lead to later instants.
///
/// # Errors
/// 22023 for one that leads nowhere.
fn direction(step: IntervalMonthDayNano) -> Result<bool> {
    let days = i128::from(step.months) * 30 + i128::from(step.days);
    let nanos = days * i128::from(MICROSECONDS_IN_DAY) * 1000 + i128::from(step.nanoseconds);
    match nanos {
        0 => {
            let message = "step size cannot equal zero";
            Err(Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message).into())
        }
        nanos => Ok(nanos > 0),
    }
}

/// An instant and a step: months and days by the clock, the rest by time that goes by.
fn after(instant: i64, step: IntervalMonthDayNano, zone: &Zone) -> Result<i64> {
    let mut instant = instant;
    if step.months != 0 || step.days != 0 {
        let clock = zone.clock_at(instant);
        let moved = months_after(clock, step.months)?;
        instant = zone.instant_of(moved + i64::from(step.days) * MICROSECONDS_IN_DAY);
    }
    Ok(instant + step.nanoseconds / 1000)
}

fn months_after(clock: i64, months: i32) -> Result<i64> {
    if months == 0 {
        return Ok(clock);
    }
    let moment = civil(clock)?;
    let by = Months::new(months.unsigned_abs());
    let moved = match months > 0 {
        true => moment.checked_add_months(by),
        false => moment.checked_sub_months(by),
    };
    let moved = moved.ok_or_else(|| {
        Error::invalid(sqlstate::DATETIME_FIELD_OVERFLOW, "timestamp out of range")
    })?;
    let micros = moved.and_utc().timestamp_micros();
    debug_assert_eq!(
        micros.rem_euclid(MICROSECONDS),
        clock.rem_euclid(MICROSECONDS)
    );
    Ok(micros)
}
