//! `date_trunc` of intervals, to spans of years, and in a zone; DataFusion's function has the rest.

use arrow::datatypes::{DataType, IntervalMonthDayNano};
use arrow::temporal_conversions::MICROSECONDS_IN_DAY;
use chrono::{Datelike, NaiveDate, NaiveDateTime};
use datafusion::common::{Result, ScalarValue};

use super::Group;
use super::extended::Extension;
use super::interval::NANOS_PER_HOUR;
use super::moment::{civil, zone_of};
use super::row::{Call, Kind, Overload};
use crate::catalog::infinity::Infinity;
use crate::error::{Error, sqlstate};

use Kind::{Interval, Text, Time, Timestamp, Timestamptz};

/// The function that is called where DataFusion's lacks the unit.
pub(crate) const DATE_TRUNC: &str = "date_trunc_own";

/// A date is one of the first of these.
const OVERLOADS: &[Overload] = &[
    Overload::new(&[Text, Timestamptz], Timestamptz, |call| {
        in_zone(call, &call.zone())
    })
    .stable(),
    Overload::new(&[Text, Timestamptz, Text], Timestamptz, |call| {
        in_zone(call, &zone_of(call.text(2))?)
    }),
    Overload::new(&[Text, Timestamp], Timestamp, |call| {
        let micros = call.moment(1).unwrap_or_default();
        let name = "timestamp without time zone";
        Ok(ScalarValue::TimestampMicrosecond(
            Some(truncated(call, micros, name)?),
            None,
        ))
    }),
    OF_INTERVAL,
    OF_TIME,
];

/// A time is an interval.
const OF_TIME: Overload = Overload::new(&[Text, Time], Interval, |call| {
    let nanoseconds = call.moment(1).unwrap_or_default() * 1000;
    cut(call, IntervalMonthDayNano::new(0, 0, nanoseconds))
});

const OF_INTERVAL: Overload = Overload::new(&[Text, Interval], Interval, of_interval);

pub(super) const FUNCTIONS: Group = &[(DATE_TRUNC, OVERLOADS)];

pub(super) const EXTENSIONS: &[Extension] = &[(
    "date_trunc",
    |types| {
        use DataType::{Duration, Interval, Time32, Time64};
        matches!(
            types,
            [_, Interval(_) | Duration(_) | Time32(_) | Time64(_)]
        )
    },
    &[OF_INTERVAL, OF_TIME],
)];

fn in_zone(call: &Call<'_>, zone: &crate::catalog::zone::Zone) -> Result<ScalarValue> {
    let clock = zone.clock_at(call.moment(1).unwrap_or_default());
    let clock = truncated(call, clock, "timestamp with time zone")?;
    let instant = zone.instant_of(clock);
    Ok(ScalarValue::TimestampMicrosecond(
        Some(instant),
        Some("UTC".into()),
    ))
}

fn unknown(unit: &str, name: &str) -> Error {
    let message = format!("unit \"{unit}\" not recognized for type {name}");
    Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message)
}

/// A unit by the name that it has in the singular.
fn singular(unit: &str) -> String {
    let unit = unit.to_lowercase();
    match unit.as_str() {
        "centuries" => "century".to_string(),
        "millennia" => "millennium".to_string(),
        unit => unit.strip_suffix('s').unwrap_or(unit).to_string(),
    }
}

/// The clock's time without what is smaller than the unit.
fn truncated(call: &Call<'_>, micros: i64, name: &str) -> Result<i64> {
    if Infinity::of(micros).is_some() {
        return Ok(micros);
    }
    let unit = singular(call.text(0));
    let span = match unit.as_str() {
        "microsecond" => Some(1),
        "millisecond" => Some(1_000),
        "second" => Some(1_000_000),
        "minute" => Some(60_000_000),
        "hour" => Some(3_600_000_000),
        "day" => Some(MICROSECONDS_IN_DAY),
        _ => None,
    };
    if let Some(span) = span {
        return Ok(micros - micros.rem_euclid(span));
    }
    let date = civil(micros)?.date();
    let first = match unit.as_str() {
        "week" => {
            let behind = i64::from(date.weekday().num_days_from_monday());
            date.checked_sub_signed(chrono::TimeDelta::days(behind))
        }
        "month" => date.with_day(1),
        "quarter" => date
            .with_day(1)
            .and_then(|d| d.with_month(d.month0() / 3 * 3 + 1)),
        "year" => first_of(date.year()),
        "decade" => first_of(date.year().div_euclid(10) * 10),
        // There is no year 0: a century begins with its year 1.
        "century" => first_of((date.year() - 1).div_euclid(100) * 100 + 1),
        "millennium" => first_of((date.year() - 1).div_euclid(1000) * 1000 + 1),
        _ => return Err(unknown(call.text(0), name).into()),
    };
    let midnight = first.and_then(|first| first.and_hms_opt(0, 0, 0));
    let micros = midnight.map(|midnight: NaiveDateTime| midnight.and_utc().timestamp_micros());
    micros.ok_or_else(|| {
        Error::invalid(sqlstate::DATETIME_FIELD_OVERFLOW, "timestamp out of range").into()
    })
}

fn first_of(year: i32) -> Option<NaiveDate> {
    NaiveDate::from_ymd_opt(year, 1, 1)
}

/// The interval without what is smaller than a unit; `None` for one that intervals do not have.
pub(in crate::sql) fn cut_interval(
    interval: IntervalMonthDayNano,
    unit: &str,
) -> Option<IntervalMonthDayNano> {
    let IntervalMonthDayNano {
        months,
        days,
        nanoseconds,
    } = interval;
    let whole = |span: i32| IntervalMonthDayNano::new(months / span * span, 0, 0);
    let time = |span: i64| IntervalMonthDayNano::new(months, days, nanoseconds / span * span);
    Some(match unit {
        "millennium" => whole(12_000),
        "century" => whole(1200),
        "decade" => whole(120),
        "year" => whole(12),
        "quarter" => whole(3),
        "month" => whole(1),
        "day" => IntervalMonthDayNano::new(months, days, 0),
        "hour" => time(NANOS_PER_HOUR),
        "minute" => time(NANOS_PER_HOUR / 60),
        "second" => time(1_000_000_000),
        "millisecond" => time(1_000_000),
        "microsecond" => time(1_000),
        _ => return None,
    })
}

fn of_interval(call: &Call<'_>) -> Result<ScalarValue> {
    cut(call, call.interval(1).unwrap_or_default())
}

/// The interval without what is smaller than the unit of a call.
fn cut(call: &Call<'_>, interval: IntervalMonthDayNano) -> Result<ScalarValue> {
    let unit = singular(call.text(0));
    if unit == "week" {
        let message = "unit \"week\" not supported for type interval";
        let detail = "Months usually have fractional weeks.";
        return Err(Error::unsupported(message).with_detail(detail).into());
    }
    match cut_interval(interval, &unit) {
        Some(cut) => Ok(ScalarValue::IntervalMonthDayNano(Some(cut))),
        None => Err(unknown(call.text(0), "interval").into()),
    }
}
