//! Intervals: months, days and a time, each with a sign of its own.

use arrow::temporal_conversions::MICROSECONDS;
use bytes::{BufMut, BytesMut};

use super::datetime::{put_fraction, put_two};
use super::number::put_integer;
use super::style::IntervalStyle;

/// An interval as PostgreSQL holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) months: i32,
    pub(super) days: i32,
    pub(super) micros: i64,
}

/// The parts that are written, each with its sign.
#[derive(Clone, Copy)]
struct Parts {
    years: i64,
    months: i64,
    days: i64,
    hours: i64,
    minutes: i64,
    seconds: i64,
    micros: i64,
}

impl Parts {
    fn of(interval: Interval) -> Self {
        let seconds = interval.micros / MICROSECONDS;
        Self {
            years: i64::from(interval.months / 12),
            months: i64::from(interval.months % 12),
            days: i64::from(interval.days),
            hours: seconds / 3600,
            minutes: seconds / 60 % 60,
            seconds: seconds % 60,
            micros: interval.micros % MICROSECONDS,
        }
    }

    fn dates(&self) -> [i64; 3] {
        [self.years, self.months, self.days]
    }

    fn times(&self) -> [i64; 4] {
        [self.hours, self.minutes, self.seconds, self.micros]
    }

    fn negated(self) -> Self {
        Self {
            years: -self.years,
            months: -self.months,
            days: -self.days,
            hours: -self.hours,
            minutes: -self.minutes,
            seconds: -self.seconds,
            micros: -self.micros,
        }
    }

    fn time_is_negative(&self) -> bool {
        self.times().iter().any(|part| *part < 0)
    }

    fn has_time(&self) -> bool {
        self.times().iter().any(|part| *part != 0)
    }

    /// The seconds with their fraction, without sign.
    fn put_seconds(&self, two_digits: bool, out: &mut BytesMut) {
        if two_digits {
            put_two(self.seconds.unsigned_abs() as u8, out);
        } else {
            put_integer(self.seconds.unsigned_abs(), out);
        }
        put_fraction(self.micros.unsigned_abs() as u32, out);
    }

    /// `:05:06.7`, what follows the hours.
    fn put_minutes_and_seconds(&self, out: &mut BytesMut) {
        out.put_u8(b':');
        put_two(self.minutes.unsigned_abs() as u8, out);
        out.put_u8(b':');
        self.put_seconds(true, out);
    }
}

impl Interval {
    /// The text of the style.
    pub(super) fn put_text(self, style: IntervalStyle, out: &mut BytesMut) {
        let parts = Parts::of(self);
        match style {
            IntervalStyle::Postgres => put_postgres(&parts, out),
            IntervalStyle::PostgresVerbose => put_verbose(&parts, out),
            IntervalStyle::SqlStandard => put_sql_standard(&parts, out),
            IntervalStyle::Iso8601 => put_iso(&parts, out),
        }
    }

    /// Microseconds, days, months.
    pub(super) fn put_binary(self, out: &mut BytesMut) {
        out.put_i64(self.micros);
        out.put_i32(self.days);
        out.put_i32(self.months);
    }
}

/// `1 year -2 mons +3 days -04:05:06`: a positive part after a negative one shows its sign.
fn put_postgres(parts: &Parts, out: &mut BytesMut) {
    let (mut empty, mut negative_before) = (true, false);
    for (value, unit) in parts.dates().into_iter().zip(["year", "mon", "day"]) {
        if value == 0 {
            continue;
        }
        if !empty {
            out.put_u8(b' ');
        }
        if negative_before && value > 0 {
            out.put_u8(b'+');
        }
        put_integer(value, out);
        put_unit(unit, value != 1, out);
        (empty, negative_before) = (false, value < 0);
    }
    if !empty && !parts.has_time() {
        return;
    }
    if !empty {
        out.put_u8(b' ');
    }
    if parts.time_is_negative() {
        out.put_u8(b'-');
    } else if negative_before {
        out.put_u8(b'+');
    }
    put_hours(parts.hours, out);
    parts.put_minutes_and_seconds(out);
}

fn put_hours(hours: i64, out: &mut BytesMut) {
    let hours = hours.unsigned_abs();
    if hours < 10 {
        out.put_u8(b'0');
    }
    put_integer(hours, out);
}

fn put_unit(unit: &str, plural: bool, out: &mut BytesMut) {
    out.put_u8(b' ');
    out.put_slice(unit.as_bytes());
    if plural {
        out.put_u8(b's');
    }
}

/// `@ 1 year 2 mons ago`: the first part's sign is the whole's.
fn put_verbose(parts: &Parts, out: &mut BytesMut) {
    out.put_u8(b'@');
    let (mut empty, mut ago) = (true, false);
    let values = [
        parts.years,
        parts.months,
        parts.days,
        parts.hours,
        parts.minutes,
    ];
    for (value, unit) in values
        .into_iter()
        .zip(["year", "mon", "day", "hour", "min"])
    {
        if value == 0 {
            continue;
        }
        ago = if empty { value < 0 } else { ago };
        let value = if ago { -value } else { value };
        out.put_u8(b' ');
        put_integer(value, out);
        put_unit(unit, value != 1, out);
        empty = false;
    }
    if parts.seconds != 0 || parts.micros != 0 {
        out.put_u8(b' ');
        let negative = parts.seconds < 0 || parts.micros < 0;
        if negative && empty {
            ago = true;
        } else if negative != ago {
            out.put_u8(b'-');
        }
        parts.put_seconds(false, out);
        put_unit("sec", parts.seconds.abs() != 1 || parts.micros != 0, out);
        empty = false;
    }
    if empty {
        out.put_slice(b" 0");
    }
    if ago {
        out.put_slice(b" ago");
    }
}

/// `1-2`, `3 4:05:06`, or both with all signs where the standard has no such interval.
fn put_sql_standard(parts: &Parts, out: &mut BytesMut) {
    let all = || parts.dates().into_iter().chain(parts.times());
    let (negative, positive) = (all().any(|p| p < 0), all().any(|p| p > 0));
    let year_month = parts.years != 0 || parts.months != 0;
    let day_time = parts.days != 0 || parts.has_time();
    if !negative && !positive {
        return out.put_u8(b'0');
    }
    if (negative && positive) || (year_month && day_time) {
        let sign = |negative| if negative { b'-' } else { b'+' };
        out.put_u8(sign(parts.years < 0 || parts.months < 0));
        put_integer(parts.years.unsigned_abs(), out);
        out.put_u8(b'-');
        put_integer(parts.months.unsigned_abs(), out);
        out.put_u8(b' ');
        out.put_u8(sign(parts.days < 0));
        put_integer(parts.days.unsigned_abs(), out);
        out.put_u8(b' ');
        out.put_u8(sign(parts.time_is_negative()));
        put_integer(parts.hours.unsigned_abs(), out);
        return parts.put_minutes_and_seconds(out);
    }
    let parts = if negative {
        out.put_u8(b'-');
        parts.negated()
    } else {
        *parts
    };
    if year_month {
        put_integer(parts.years, out);
        out.put_u8(b'-');
        put_integer(parts.months, out);
        return;
    }
    if parts.days != 0 {
        put_integer(parts.days, out);
        out.put_u8(b' ');
    }
    put_integer(parts.hours, out);
    parts.put_minutes_and_seconds(out);
}

/// `P1Y2M-3DT4H5M6.7S`
fn put_iso(parts: &Parts, out: &mut BytesMut) {
    let put = |value: i64, unit: u8, out: &mut BytesMut| {
        if value != 0 {
            put_integer(value, out);
            out.put_u8(unit);
        }
    };
    if !parts.has_time() && parts.dates() == [0; 3] {
        return out.put_slice(b"PT0S");
    }
    out.put_u8(b'P');
    put(parts.years, b'Y', out);
    put(parts.months, b'M', out);
    put(parts.days, b'D', out);
    if !parts.has_time() {
        return;
    }
    out.put_u8(b'T');
    put(parts.hours, b'H', out);
    put(parts.minutes, b'M', out);
    if parts.seconds != 0 || parts.micros != 0 {
        if parts.seconds < 0 || parts.micros < 0 {
            out.put_u8(b'-');
        }
        parts.put_seconds(false, out);
        out.put_u8(b'S');
    }
}
