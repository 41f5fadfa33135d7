//! The text of intervals, as PostgreSQL reads it in all its styles.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, IntervalMonthDayNanoArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, DurationMicrosecondType, IntervalMonthDayNano, IntervalMonthDayNanoType,
    IntervalUnit, TimeUnit,
};
use arrow::temporal_conversions::{MICROSECONDS, MICROSECONDS_IN_DAY};

use super::error::RowError;
use crate::error::{Error, Result, sqlstate};
use crate::storage::stored::interval_of;

const DAYS_PER_MONTH: f64 = 30.0;
const MONTHS_PER_YEAR: i64 = 12;

/// Intervals of what is one already, of bytes or of durations, of which each 24 hours are a day as where PostgreSQL
/// subtracts timestamps.
///
/// # Errors
/// 22P03 for bytes that are no interval.
pub(super) fn to_interval(source: &ArrayRef) -> Result<ArrayRef, RowError> {
    match source.data_type() {
        DataType::Binary => from_bytes(source.as_binary()),
        DataType::Duration(_) => {
            let micros = cast(source, &DataType::Duration(TimeUnit::Microsecond))?;
            let micros = micros.as_primitive::<DurationMicrosecondType>();
            let intervals = micros.unary::<_, IntervalMonthDayNanoType>(|micros| {
                // Of 64 bits of microseconds there are fewer than 2^31 days.
                let days = (micros / MICROSECONDS_IN_DAY) as i32;
                IntervalMonthDayNano::new(0, days, micros % MICROSECONDS_IN_DAY * 1000)
            });
            Ok(Arc::new(intervals))
        }
        _ => {
            let interval = DataType::Interval(IntervalUnit::MonthDayNano);
            Ok(cast(source, &interval)?)
        }
    }
}

/// The intervals of bytes, as segments and exported files have them (`storage::stored`).
///
/// # Errors
/// 22P03 for bytes that are no interval.
fn from_bytes(bytes: &BinaryArray) -> Result<ArrayRef, RowError> {
    let read = |(row, value): (usize, Option<&[u8]>)| {
        let interval = value.map(|value| interval_of(value).ok_or_else(|| no_interval(value)));
        interval.transpose().map_err(|e| RowError::new(row, e))
    };
    let intervals = bytes.iter().enumerate().map(read);
    let intervals: IntervalMonthDayNanoArray = intervals.collect::<Result<_, _>>()?;
    Ok(Arc::new(intervals))
}

fn no_interval(bytes: &[u8]) -> Error {
    let message = format!("an interval has 16 bytes, not {}", bytes.len());
    Error::invalid(sqlstate::INVALID_BINARY_REPRESENTATION, message)
}

/// The interval of a text.
///
/// # Errors
/// 22007 for a text that is no interval, 22015 for one that is too long.
pub(super) fn parse(text: &str) -> Result<IntervalMonthDayNano> {
    let bad = || {
        let message = format!("invalid input syntax for type interval: \"{text}\"");
        Error::invalid(sqlstate::INVALID_DATETIME_FORMAT, message)
    };
    let trimmed = text.trim();
    let sum = match trimmed.strip_prefix('P') {
        Some(iso) => iso_8601(iso).or_else(|| alternative_iso_8601(iso)),
        None => words(trimmed),
    };
    sum.ok_or_else(bad)?.finish().ok_or_else(|| {
        let message = format!("interval field value out of range: \"{text}\"");
        Error::invalid(sqlstate::INTERVAL_FIELD_OVERFLOW, message)
    })
}

/// A number in two parts, so that neither loses digits; both have its sign.
#[derive(Clone, Copy)]
struct Number {
    whole: i64,
    fraction: f64,
}

/// A sum of units.
#[derive(Default)]
struct Sum {
    months: i64,
    days: i64,
    micros: i64,
    /// Whether it became too large.
    overflow: bool,
    /// The fields that were told, each of them once.
    told: u16,
}

const MICROSECOND: u16 = 1;
const MILLISECOND: u16 = 1 << 1;
const SECOND: u16 = 1 << 2;
/// Those that seconds with a fraction tell.
const ALL_SECONDS: u16 = MICROSECOND | MILLISECOND | SECOND;
const MINUTE: u16 = 1 << 3;
const HOUR: u16 = 1 << 4;
const DAY: u16 = 1 << 5;
const MONTH: u16 = 1 << 7;
const YEAR: u16 = 1 << 8;

/// What a unit is a multiple of.
enum Unit {
    Micros(i64),
    Days(i64),
    Months(i64),
}

impl Unit {
    /// The unit of a name, and the field that it tells.
    fn of(word: &str) -> Option<(Self, u16)> {
        use Unit::{Days, Micros, Months};
        Some(match word.to_ascii_lowercase().as_str() {
            "microsecond" | "microseconds" | "us" | "usec" | "usecs" => (Micros(1), MICROSECOND),
            "millisecond" | "milliseconds" | "ms" | "msec" | "msecs" => (Micros(1000), MILLISECOND),
            "second" | "seconds" | "s" | "sec" | "secs" => (Micros(MICROSECONDS), SECOND),
            "minute" | "minutes" | "m" | "min" | "mins" => (Micros(60 * MICROSECONDS), MINUTE),
            "hour" | "hours" | "h" | "hr" | "hrs" => (Micros(3600 * MICROSECONDS), HOUR),
            "day" | "days" | "d" => (Days(1), DAY),
            "week" | "weeks" | "w" => (Days(7), 1 << 6),
            "month" | "months" | "mon" | "mons" => (Months(1), MONTH),
            "year" | "years" | "y" | "yr" | "yrs" => (Months(MONTHS_PER_YEAR), YEAR),
            "decade" | "decades" | "dec" | "decs" => (Months(10 * MONTHS_PER_YEAR), 1 << 9),
            "century" | "centuries" | "c" | "cent" => (Months(100 * MONTHS_PER_YEAR), 1 << 10),
            "millennium" | "millenniums" | "millennia" | "mil" | "mils" => {
                (Months(1000 * MONTHS_PER_YEAR), 1 << 11)
            }
            _ => return None,
        })
    }
}

impl Sum {
    /// Adds so many of a unit; a fraction of days becomes time, one of months days, one of years months.
    fn add(&mut self, value: Number, unit: Unit) {
        match unit {
            Unit::Micros(micros) => {
                self.add_micros(value.whole.checked_mul(micros));
                self.add_micros(Some((value.fraction * micros as f64).round() as i64));
            }
            Unit::Days(days) => {
                self.add_days(value.whole.checked_mul(days));
                self.add_fraction_of_days(value.fraction * days as f64);
            }
            Unit::Months(months) => {
                self.add_months(value.whole.checked_mul(months));
                if months == 1 {
                    self.add_fraction_of_days(value.fraction * DAYS_PER_MONTH);
                } else {
                    self.add_months(Some((value.fraction * months as f64).round() as i64));
                }
            }
        }
    }

    /// Notes that the fields are told; `None` where one of them was told before.
    fn tell(&mut self, fields: u16) -> Option<()> {
        (self.told & fields == 0).then(|| self.told |= fields)
    }

    fn add_micros(&mut self, micros: Option<i64>) {
        add(&mut self.micros, micros, &mut self.overflow);
    }

    fn add_days(&mut self, days: Option<i64>) {
        add(&mut self.days, days, &mut self.overflow);
    }

    fn add_months(&mut self, months: Option<i64>) {
        add(&mut self.months, months, &mut self.overflow);
    }

    fn add_fraction_of_days(&mut self, days: f64) {
        self.add_days(Some(days.trunc() as i64));
        self.add_micros(Some(
            (days.fract() * MICROSECONDS_IN_DAY as f64).round() as i64
        ));
    }

    fn negated(self) -> Self {
        Self {
            months: -self.months,
            days: -self.days,
            micros: self.micros.saturating_neg(),
            ..self
        }
    }

    fn finish(self) -> Option<IntervalMonthDayNano> {
        Some(IntervalMonthDayNano {
            months: i32::try_from(self.months).ok()?,
            days: i32::try_from(self.days).ok()?,
            nanoseconds: self.micros.checked_mul(1000).filter(|_| !self.overflow)?,
        })
    }
}

fn add(sum: &mut i64, value: Option<i64>, overflow: &mut bool) {
    match value.and_then(|value| sum.checked_add(value)) {
        Some(new) => *sum = new,
        None => *overflow = true,
    }
}

/// `1 year 2 mons -3 days 04:05:06`, `@ 1 min ago`, `1-2 3 4:05:06`.
fn words(text: &str) -> Option<Sum> {
    let mut sum = Sum::default();
    let text = with_signs_joined(text.strip_prefix('@').unwrap_or(text));
    let mut tokens = tokens(&text).peekable();
    tokens.peek()?;
    let mut ago = false;
    while let Some(token) = tokens.next() {
        if token.eq_ignore_ascii_case("ago") {
            ago = true;
            tokens.peek().is_none().then_some(())?;
        } else if token.contains(':') {
            sum.tell(HOUR | MINUTE | ALL_SECONDS)?;
            time(token, &mut sum)?;
        } else if let Some(months) = year_month(token) {
            sum.tell(YEAR | MONTH)?;
            sum.add_months(Some(months));
        } else {
            let value = number(token)?;
            let is_unit = |next: &&str| next.starts_with(|c: char| c.is_ascii_alphabetic());
            match tokens.peek() {
                Some(next) if next.contains(':') => {
                    sum.tell(DAY)?;
                    sum.add(value, Unit::Days(1));
                }
                Some(next) if is_unit(next) && !next.eq_ignore_ascii_case("ago") => {
                    let (unit, field) = Unit::of(next)?;
                    let is_all = field == SECOND && value.fraction != 0.0;
                    sum.tell(if is_all { ALL_SECONDS } else { field })?;
                    sum.add(value, unit);
                    tokens.next();
                }
                _ => {
                    let is_all = value.fraction != 0.0;
                    sum.tell(if is_all { ALL_SECONDS } else { SECOND })?;
                    sum.add(value, Unit::Micros(MICROSECONDS));
                }
            }
        }
    }
    Some(if ago { sum.negated() } else { sum })
}

/// Words and numbers, also where no blank parts them (`1h30m`).
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace().flat_map(|word| {
        let mut rest = word;
        std::iter::from_fn(move || {
            let first = rest.chars().next()?;
            let letters = first.is_ascii_alphabetic();
            let end = rest.find(|c: char| c.is_ascii_alphabetic() != letters);
            let (token, after) = rest.split_at(end.unwrap_or(rest.len()));
            rest = after;
            Some(token)
        })
    })
}

/// `-1.5`, at most with the digits that a 64-bit integer has before its point.
fn number(text: &str) -> Option<Number> {
    let (sign, digits) = sign(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let whole: i64 = if whole.is_empty() {
        0
    } else {
        whole.parse().unwrap_or(i64::MAX)
    };
    let fraction: f64 = format!("0.{fraction}0").parse().ok()?;
    Some(Number {
        whole: sign * whole,
        fraction: sign as f64 * fraction,
    })
}

fn sign(text: &str) -> (i64, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    }
}

/// `-04:05:06.7` or `04:05`, whose sign is that of all parts.
fn time(text: &str, sum: &mut Sum) -> Option<()> {
    let (sign, digits) = sign(text);
    let parts: Vec<&str> = digits.split(':').collect();
    if parts.len() > 3 {
        return None;
    }
    for (at, (part, seconds)) in parts.iter().zip([3600, 60, 1]).enumerate() {
        let value = number(part).filter(|_| part.starts_with(|c: char| c.is_ascii_digit()))?;
        if at > 0 && value.whole >= 60 {
            return None;
        }
        let signed = Number {
            whole: sign * value.whole,
            fraction: sign as f64 * value.fraction,
        };
        sum.add(signed, Unit::Micros(seconds * MICROSECONDS));
    }
    Some(())
}

/// `-1-2`: years and months of the SQL standard, as months.
fn year_month(text: &str) -> Option<i64> {
    let (sign, digits) = sign(text);
    let (years, months) = digits.split_once('-')?;
    let (years, months) = (years.parse::<u32>().ok()?, months.parse::<u32>().ok()?);
    (months < 12).then(|| sign * (i64::from(years) * MONTHS_PER_YEAR + i64::from(months)))
}

/// What follows the P of `P1Y2M3DT4H5M6.7S`.
fn iso_8601(text: &str) -> Option<Sum> {
    let mut sum = Sum::default();
    let (mut rest, mut in_time, mut any) = (text, false, false);
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('T') {
            (rest, in_time) = (after, true);
            continue;
        }
        let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let value = number(&rest[..end])?;
        let unit = match (&rest[end..=end], in_time) {
            ("Y", false) => Unit::Months(MONTHS_PER_YEAR),
            ("M", false) => Unit::Months(1),
            ("W", false) => Unit::Days(7),
            ("D", false) => Unit::Days(1),
            ("H", true) => Unit::Micros(3600 * MICROSECONDS),
            ("M", true) => Unit::Micros(60 * MICROSECONDS),
            ("S", true) => Unit::Micros(MICROSECONDS),
            _ => return None,
        };
        sum.add(value, unit);
        rest = &rest[end + 1..];
        any = true;
    }
    any.then_some(sum)
}

/// What follows the P of `P0001-02-03T04:05:06` and `P00010203T040506`.
fn alternative_iso_8601(text: &str) -> Option<Sum> {
    let mut sum = Sum::default();
    let (date, clock) = text.split_once('T').unwrap_or((text, ""));
    if !date.is_empty() {
        let units = [
            Unit::Months(MONTHS_PER_YEAR),
            Unit::Months(1),
            Unit::Days(1),
        ];
        // `00010203` has four digits of years, two of months and two of days.
        let parts: Vec<&str> = match digits_of(date, 8) {
            Some(date) => vec![&date[..4], &date[4..6], &date[6..]],
            None => date.split('-').collect(),
        };
        if parts.len() > units.len() {
            return None;
        }
        for (part, unit) in parts.into_iter().zip(units) {
            sum.add(number(part)?, unit);
        }
    }
    match digits_of(clock, 6) {
        Some(clock) => {
            let clock = [&clock[..2], &clock[2..4], &clock[4..]].join(":");
            time(&clock, &mut sum)?;
        }
        None if clock.is_empty() => {}
        None => time(clock, &mut sum)?,
    }
    (!text.is_empty()).then_some(sum)
}

/// The text, where it is that many digits.
fn digits_of(text: &str, count: usize) -> Option<&str> {
    let is_digits = text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    is_digits.then_some(text)
}

/// The text without the blanks between signs and what they are of.
fn with_signs_joined(text: &str) -> String {
    let mut joined = String::with_capacity(text.len());
    let mut after_sign = false;
    for c in text.chars() {
        if after_sign && c.is_whitespace() {
            continue;
        }
        let begins = joined.is_empty() || joined.ends_with(char::is_whitespace);
        after_sign = begins && matches!(c, '-' | '+');
        joined.push(c);
    }
    joined
}
