//! Dates, times of day and timestamps.

use arrow::temporal_conversions::{MICROSECONDS, MICROSECONDS_IN_DAY};
use bytes::{BufMut, BytesMut};

use super::number::put_integer;
use super::style::{DateOrder, DateStyle, Style};
use crate::catalog::infinity::{DAYS, Infinity, MICROS};
use crate::error::{Error, Result, sqlstate};

/// Days from 1970-01-01 to 2000-01-01, where PostgreSQL begins to count.
const EPOCH_DAYS: i64 = 10_957;
/// Microseconds between the same.
const EPOCH_MICROS: i64 = EPOCH_DAYS * MICROSECONDS_IN_DAY;

const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// 22008 for a moment that PostgreSQL's type cannot hold.
pub(super) fn out_of_range(type_name: &str) -> Error {
    Error::invalid(
        sqlstate::DATETIME_FIELD_OVERFLOW,
        format!("{type_name} out of range"),
    )
}

/// Days since 1970 as days since 2000.
pub(super) fn date_to_wire(days: i32) -> Result<i32> {
    if Infinity::of_days(days).is_some() {
        return Ok(days);
    }
    let wire = days.checked_sub(EPOCH_DAYS as i32);
    wire.ok_or_else(|| out_of_range("date"))
}

/// Days since 2000 as days since 1970.
pub(super) fn date_from_wire(days: i32) -> Result<i32> {
    if Infinity::of_days(days).is_some() {
        return Ok(days);
    }
    let date = days.checked_add(EPOCH_DAYS as i32);
    let date = date.filter(|days| DAYS.contains(&i64::from(*days)));
    date.ok_or_else(|| out_of_range("date"))
}

/// Microseconds since 1970 as microseconds since 2000.
pub(super) fn timestamp_to_wire(micros: i64) -> Result<i64> {
    if Infinity::of(micros).is_some() {
        return Ok(micros);
    }
    let wire = micros.checked_sub(EPOCH_MICROS);
    wire.ok_or_else(|| out_of_range("timestamp"))
}

/// Microseconds since 2000 as microseconds since 1970.
pub(super) fn timestamp_from_wire(micros: i64) -> Result<i64> {
    if Infinity::of(micros).is_some() {
        return Ok(micros);
    }
    let timestamp = micros.checked_add(EPOCH_MICROS);
    let timestamp = timestamp.filter(|micros| MICROS.contains(micros));
    timestamp.ok_or_else(|| out_of_range("timestamp"))
}

/// Microseconds since midnight, 24:00:00 included.
pub(super) fn time_from_wire(micros: i64) -> Result<i64> {
    if (0..=MICROSECONDS_IN_DAY).contains(&micros) {
        Ok(micros)
    } else {
        Err(out_of_range("time"))
    }
}

/// A day of the calendar.
struct Civil {
    /// Astronomical: 0 is 1 BC.
    year: i64,
    month: u8,
    day: u8,
}

impl Civil {
    /// From days since 1970, in the proleptic Gregorian calendar (Howard Hinnant's `civil_from_days`).
    fn of(days: i64) -> Self {
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 {
            shifted_month + 3
        } else {
            shifted_month - 9
        };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Self {
            year,
            month: month as u8,
            day: day as u8,
        }
    }

    fn put_year(&self, out: &mut BytesMut) {
        let year = if self.year > 0 {
            self.year
        } else {
            1 - self.year
        };
        if let Ok(short) = u16::try_from(year)
            && short < 10_000
        {
            put_two((short / 100) as u8, out);
            put_two((short % 100) as u8, out);
        } else {
            put_integer(year, out);
        }
    }

    fn put_era(&self, out: &mut BytesMut) {
        if self.year <= 0 {
            out.put_slice(b" BC");
        }
    }

    /// Day and month in the order of the style, with what stands between.
    fn put_day_and_month(&self, day_first: bool, between: u8, out: &mut BytesMut) {
        let (first, second) = if day_first {
            (self.day, self.month)
        } else {
            (self.month, self.day)
        };
        put_two(first, out);
        out.put_u8(between);
        put_two(second, out);
        out.put_u8(between);
    }

    fn put(&self, style: &Style, out: &mut BytesMut) {
        let day_first = style.date_order == DateOrder::Dmy;
        match style.date_style {
            DateStyle::Iso => {
                self.put_year(out);
                out.put_u8(b'-');
                put_two(self.month, out);
                out.put_u8(b'-');
                return put_two(self.day, out);
            }
            DateStyle::Sql => self.put_day_and_month(day_first, b'/', out),
            DateStyle::Postgres => self.put_day_and_month(day_first, b'-', out),
            DateStyle::German => self.put_day_and_month(true, b'.', out),
        }
        self.put_year(out);
    }
}

/// Two digits.
pub(super) fn put_two(value: u8, out: &mut BytesMut) {
    out.put_slice(&[b'0' + value / 10 % 10, b'0' + value % 10]);
}

/// The digits of a second's fraction, without zeros at the end; nothing for 0.
pub(super) fn put_fraction(micros: u32, out: &mut BytesMut) {
    if micros == 0 {
        return;
    }
    let mut digits = *b".000000";
    let mut rest = micros;
    for digit in digits[1..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let end = digits.iter().rposition(|d| *d != b'0').unwrap_or(0);
    out.put_slice(&digits[..=end]);
}

/// A date, from days since 1970.
pub(super) fn put_date(days: i32, style: &Style, out: &mut BytesMut) {
    if let Some(infinity) = Infinity::of_days(days) {
        return out.put_slice(infinity.name().as_bytes());
    }
    let civil = Civil::of(i64::from(days));
    civil.put(style, out);
    civil.put_era(out);
}

/// A time of day, from microseconds since midnight; 24:00:00 is one.
pub(super) fn put_time(micros: i64, out: &mut BytesMut) {
    let seconds = micros.div_euclid(MICROSECONDS);
    put_two((seconds / 3600) as u8, out);
    out.put_u8(b':');
    put_two((seconds / 60 % 60) as u8, out);
    out.put_u8(b':');
    put_two((seconds % 60) as u8, out);
    put_fraction(micros.rem_euclid(MICROSECONDS) as u32, out);
}

/// A timestamp, from microseconds since 1970.
pub(super) fn put_timestamp(micros: i64, style: &Style, out: &mut BytesMut) {
    if let Some(infinity) = Infinity::of(micros) {
        return out.put_slice(infinity.name().as_bytes());
    }
    put_moment(micros, style, out, |_| {});
}

/// A timestamp with time zone, from microseconds since 1970 UTC: the clock of the session's zone, and that zone.
pub(super) fn put_timestamptz(micros: i64, style: &Style, out: &mut BytesMut) {
    if let Some(infinity) = Infinity::of(micros) {
        return out.put_slice(infinity.name().as_bytes());
    }
    if style.date_style == DateStyle::Iso {
        let east = style.zone.seconds_at(micros);
        let local = micros.saturating_add(i64::from(east) * MICROSECONDS);
        return put_moment(local, style, out, |out| put_offset(east, out));
    }
    let (east, short) = style.zone.offset_at(micros);
    let local = micros.saturating_add(i64::from(east) * MICROSECONDS);
    put_moment(local, style, out, |out| {
        out.put_u8(b' ');
        out.put_slice(short.as_bytes());
    });
}

fn put_moment(micros: i64, style: &Style, out: &mut BytesMut, zone: impl FnOnce(&mut BytesMut)) {
    let days = micros.div_euclid(MICROSECONDS_IN_DAY);
    let time = micros.rem_euclid(MICROSECONDS_IN_DAY);
    let civil = Civil::of(days);
    if style.date_style == DateStyle::Postgres {
        // 1970-01-01 was a Thursday.
        let weekday = WEEKDAYS[(days + 4).rem_euclid(7) as usize];
        out.put_slice(weekday.as_bytes());
        out.put_u8(b' ');
        let month = MONTHS[usize::from(civil.month - 1)].as_bytes();
        if style.date_order == DateOrder::Dmy {
            put_two(civil.day, out);
            out.put_u8(b' ');
            out.put_slice(month);
        } else {
            out.put_slice(month);
            out.put_u8(b' ');
            put_two(civil.day, out);
        }
        out.put_u8(b' ');
        put_time(time, out);
        out.put_u8(b' ');
        civil.put_year(out);
    } else {
        civil.put(style, out);
        out.put_u8(b' ');
        put_time(time, out);
    }
    zone(out);
    civil.put_era(out);
}

/// `+02`, `-03:30`, `+00:53:28`.
fn put_offset(east: i32, out: &mut BytesMut) {
    out.put_u8(if east < 0 { b'-' } else { b'+' });
    let size = east.unsigned_abs();
    let (hours, minutes, seconds) = (size / 3600, size / 60 % 60, size % 60);
    if hours < 100 {
        put_two(hours as u8, out);
    } else {
        put_integer(hours, out);
    }
    if minutes != 0 || seconds != 0 {
        out.put_u8(b':');
        put_two(minutes as u8, out);
    }
    if seconds != 0 {
        out.put_u8(b':');
        put_two(seconds as u8, out);
    }
}
