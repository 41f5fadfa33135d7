//! Functions of dates and times.

use arrow::datatypes::IntervalMonthDayNano;
use arrow::temporal_conversions::{MICROSECONDS, MICROSECONDS_IN_DAY};
use chrono::{Datelike, NaiveDate, NaiveDateTime, Timelike, Utc};
use datafusion::common::{Result, ScalarValue};

use super::Group;
use super::row::{Call, Kind, Overload, text};
use crate::catalog::infinity::Infinity;
use crate::catalog::zone::Zone;
use crate::error::{Error, sqlstate};

use Kind::{Bool, Date, Float8, Int4, Interval, Text, Time, Timestamp, Timestamptz};

pub(super) const FUNCTIONS: Group = &[
    (
        "age",
        &[
            Overload::new(&[Timestamp, Timestamp], Interval, age),
            Overload::new(&[Timestamptz, Timestamptz], Interval, age_of_instants).stable(),
            Overload::new(&[Timestamp], Interval, age_of_today).stable(),
            Overload::new(&[Timestamptz], Interval, age_of_today).stable(),
        ],
    ),
    (
        "isfinite",
        &[
            Overload::new(&[Date], Bool, is_finite),
            Overload::new(&[Timestamp], Bool, is_finite),
            Overload::new(&[Timestamptz], Bool, is_finite),
            Overload::new(&[Interval], Bool, is_finite),
        ],
    ),
    (
        "make_timestamp",
        &[Overload::new(
            &[Int4, Int4, Int4, Int4, Int4, Float8],
            Timestamp,
            |call| Ok(ScalarValue::TimestampMicrosecond(Some(made(call)?), None)),
        )],
    ),
    (
        "make_date",
        &[Overload::new(&[Int4, Int4, Int4], Date, |call| {
            let days = made(call)?.div_euclid(MICROSECONDS_IN_DAY);
            Ok(ScalarValue::Date32(i32::try_from(days).ok()))
        })],
    ),
    (
        "make_time",
        &[Overload::new(&[Int4, Int4, Float8], Time, |call| {
            Ok(ScalarValue::Time64Microsecond(Some(made_time(call, 0)?)))
        })],
    ),
    (
        "make_timestamptz",
        &[
            Overload::new(
                &[Int4, Int4, Int4, Int4, Int4, Float8],
                Timestamptz,
                |call| Ok(instant(call.zone().instant_of(made(call)?))),
            )
            .stable(),
            Overload::new(
                &[Int4, Int4, Int4, Int4, Int4, Float8, Text],
                Timestamptz,
                |call| {
                    let name = call.text(6);
                    let zone = Zone::east(name).map_or_else(|| zone_of(name), Ok)?;
                    Ok(instant(zone.instant_of(made(call)?)))
                },
            ),
        ],
    ),
    (
        "timezone",
        &[
            // What is no time yet is one with a time zone, as are dates.
            Overload::new(&[Text, Timestamptz], Timestamp, |call| {
                at_zone(call, &zone_of(call.text(0))?)
            }),
            Overload::new(&[Text, Timestamp], Timestamptz, |call| {
                at_zone(call, &zone_of(call.text(0))?)
            }),
            Overload::new(&[Interval, Timestamptz], Timestamp, |call| {
                at_zone(call, &zone_of_interval(call)?)
            }),
            Overload::new(&[Interval, Timestamp], Timestamptz, |call| {
                at_zone(call, &zone_of_interval(call)?)
            }),
        ],
    ),
    (
        "clock_timestamp",
        &[Overload::new(&[], Timestamptz, |_| {
            Ok(instant(Utc::now().timestamp_micros()))
        })
        .volatile()],
    ),
    (
        "timeofday",
        &[Overload::new(&[], Text, time_of_day).volatile()],
    ),
];

fn instant(micros: i64) -> ScalarValue {
    ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into()))
}

/// A zone by name.
///
/// # Errors
/// 22023 for one that there is none of.
pub(super) fn zone_of(name: &str) -> Result<Zone> {
    let zone = Zone::abbreviated(name).or_else(|| Zone::parse(name));
    zone.ok_or_else(|| {
        let message = format!("time zone \"{name}\" not recognized");
        Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message).into()
    })
}

fn zone_of_interval(call: &Call<'_>) -> Result<Zone> {
    let interval = call.interval(0).unwrap_or_default();
    if interval.months != 0 || interval.days != 0 {
        let message = "interval time zone must not include months or days";
        return Err(Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message).into());
    }
    let seconds = interval.nanoseconds / (1000 * MICROSECONDS);
    let seconds = i32::try_from(seconds).map_err(|_| super::interval::out_of_range())?;
    Ok(Zone::fixed(seconds))
}

/// A clock's time as an instant, or an instant as the clock's time: whichever the result is.
fn at_zone(call: &Call<'_>, zone: &Zone) -> Result<ScalarValue> {
    Ok(match &call.values[1] {
        ScalarValue::TimestampMicrosecond(Some(micros), None) => instant(zone.instant_of(*micros)),
        ScalarValue::TimestampMicrosecond(Some(micros), Some(_)) => {
            ScalarValue::TimestampMicrosecond(Some(zone.clock_at(*micros)), None)
        }
        _ => return call.null(),
    })
}

/// The calendar's reading of microseconds since 1970.
///
/// # Errors
/// 22008 outside of the calendar.
pub(super) fn civil(micros: i64) -> Result<NaiveDateTime> {
    let moment = chrono::DateTime::from_timestamp_micros(micros);
    moment.map(|moment| moment.naive_utc()).ok_or_else(|| {
        Error::invalid(sqlstate::DATETIME_FIELD_OVERFLOW, "timestamp out of range").into()
    })
}

fn is_finite(call: &Call<'_>) -> Result<ScalarValue> {
    Ok(ScalarValue::from(match &call.values[0] {
        ScalarValue::Date32(Some(days)) => Infinity::of_days(*days).is_none(),
        ScalarValue::TimestampMicrosecond(Some(micros), _) => Infinity::of(*micros).is_none(),
        // No interval is infinite.
        _ => true,
    }))
}

fn age(call: &Call<'_>) -> Result<ScalarValue> {
    let (Some(later), Some(earlier)) = (call.moment(0), call.moment(1)) else {
        return call.null();
    };
    between(later, earlier)
}

fn age_of_instants(call: &Call<'_>) -> Result<ScalarValue> {
    let zone = call.zone();
    let (Some(later), Some(earlier)) = (call.moment(0), call.moment(1)) else {
        return call.null();
    };
    between(zone.clock_at(later), zone.clock_at(earlier))
}

fn age_of_today(call: &Call<'_>) -> Result<ScalarValue> {
    let Some(earlier) = call.moment(0) else {
        return call.null();
    };
    let zone = call.zone();
    let earlier = match &call.values[0] {
        ScalarValue::TimestampMicrosecond(_, Some(_)) => zone.clock_at(earlier),
        _ => earlier,
    };
    let now = zone.clock_at(Utc::now().timestamp_micros());
    between(now - now.rem_euclid(MICROSECONDS_IN_DAY), earlier)
}

/// Years, months and days of the calendar between two moments; days of a month that is borrowed from are those of the
/// earlier moment's month.
fn between(later: i64, earlier: i64) -> Result<ScalarValue> {
    let negative = later < earlier;
    let (late, early) = match negative {
        true => (civil(earlier)?, civil(later)?),
        false => (civil(later)?, civil(earlier)?),
    };
    let micros = |moment: NaiveDateTime| {
        i64::from(moment.num_seconds_from_midnight()) * MICROSECONDS
            + i64::from(moment.nanosecond() / 1000)
    };
    let mut months = (late.year() - early.year()) * 12 + late.month() as i32 - early.month() as i32;
    let mut days = late.day() as i32 - early.day() as i32;
    let mut time = micros(late) - micros(early);
    if time < 0 {
        (time, days) = (time + MICROSECONDS_IN_DAY, days - 1);
    }
    if days < 0 {
        // PostgreSQL borrows from the month of whichever moment comes first in the call.
        let lender = if negative { late } else { early };
        (days, months) = (days + days_of_month(lender.date()), months - 1);
    }
    let sign = if negative { -1 } else { 1 };
    Ok(ScalarValue::IntervalMonthDayNano(Some(
        IntervalMonthDayNano {
            months: sign * months,
            days: sign * days,
            nanoseconds: i64::from(sign) * time * 1000,
        },
    )))
}

fn days_of_month(date: NaiveDate) -> i32 {
    i32::from(date.num_days_in_month())
}

/// The clock's time of `year, month, day`, and of `hour, min, sec` if they are given, in microseconds.
fn made(call: &Call<'_>) -> Result<i64> {
    let part = |place| call.int(place).unwrap_or(0);
    let year = match part(0) {
        // There is no year 0: -44 is 44 BC.
        year if year < 0 => year + 1,
        year => year,
    };
    let date = || {
        let (month, day) = (u32::try_from(part(1)).ok()?, u32::try_from(part(2)).ok()?);
        NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day).filter(|_| part(0) != 0)
    };
    let date = date().ok_or_else(|| {
        let message = format!(
            "date field value out of range: {}-{:02}-{:02}",
            part(0),
            part(1),
            part(2)
        );
        Error::invalid(sqlstate::DATETIME_FIELD_OVERFLOW, message)
    })?;
    let midnight = date.and_hms_opt(0, 0, 0).unwrap_or_default();
    let time = match call.values.len() {
        3 => 0,
        _ => made_time(call, 3)?,
    };
    Ok(midnight.and_utc().timestamp_micros() + time)
}

/// Microseconds since midnight of `hour, min, sec`, which are the arguments from a place on.
fn made_time(call: &Call<'_>, place: usize) -> Result<i64> {
    let (hour, minute) = (
        call.int(place).unwrap_or(0),
        call.int(place + 1).unwrap_or(0),
    );
    let seconds = call.float(place + 2).unwrap_or(0.0);
    let micros = ((hour * 60 + minute) * 60) as f64 * 1e6 + (seconds * 1e6).round();
    let fits = (0..=23).contains(&hour) && (0..=59).contains(&minute);
    let is_midnight = hour == 24 && micros == MICROSECONDS_IN_DAY as f64;
    if !((fits || is_midnight) && (0.0..=60.0).contains(&seconds)) {
        let message = format!("time field value out of range: {hour}:{minute:02}:{seconds:02}");
        return Err(Error::invalid(sqlstate::DATETIME_FIELD_OVERFLOW, message).into());
    }
    Ok(micros as i64)
}

fn time_of_day(call: &Call<'_>) -> Result<ScalarValue> {
    let zone = call.zone();
    let now = Utc::now().timestamp_micros();
    let clock = civil(zone.clock_at(now))?;
    let (_, short) = zone.offset_at(now);
    Ok(text(format!(
        "{} {short}",
        clock.format("%a %b %d %H:%M:%S%.6f %Y")
    )))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ages_are_of_the_calendar() {
        let at = |text: &str| {
            let date: NaiveDate = text.parse().unwrap();
            date.and_hms_opt(0, 0, 0)
                .unwrap()
                .and_utc()
                .timestamp_micros()
        };
        let age = |later, earlier| match between(at(later), at(earlier)).unwrap() {
            ScalarValue::IntervalMonthDayNano(Some(i)) => (i.months, i.days, i.nanoseconds),
            other => panic!("{other}"),
        };
        assert_eq!(age("2001-04-10", "1957-06-13"), (525, 27, 0));
        assert_eq!(age("2024-03-01", "2024-01-31"), (1, 1, 0));
        assert_eq!(age("2024-01-31", "2024-03-01"), (-1, -1, 0));
    }
}
