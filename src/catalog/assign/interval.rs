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
}

/// What a unit is a multiple of.
enum Unit {
    Micros(i64),
    Days(i64),
    Months(i64),
}

impl Unit {
    fn of(word: &str) -> Option<Self> {
        use Unit::{Days, Micros, Months};
        Some(match word.to_ascii_lowercase().as_str() {
            "microsecond" | "microseconds" | "us" | "usec" | "usecs" => Micros(1),
            "millisecond" | "milliseconds" | "ms" | "msec" | "msecs" => Micros(1000),
            "second" | "seconds" | "s" | "sec" | "secs" => Micros(MICROSECONDS),
            "minute" | "minutes" | "m" | "min" | "mins" => Micros(60 * MICROSECONDS),
            "hour" | "hours" | "h" | "hr" | "hrs" => Micros(3600 * MICROSECONDS),
            "day" | "days" | "d" => Days(1),
            "week" | "weeks" | "w" => Days(7),
            "month" | "months" | "mon" | "mons" => Months(1),
            "year" | "years" | "y" | "yr" | "yrs" => Months(MONTHS_PER_YEAR),
            "decade" | "decades" | "dec" | "decs" => Months(10 * MONTHS_PER_YEAR),
            "century" | "centuries" | "c" | "cent" => Months(100 * MONTHS_PER_YEAR),
            "millennium" | "millennia" | "mil" | "mils" => Months(1000 * MONTHS_PER_YEAR),
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
            overflow: self.overflow,
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
    let mut tokens = tokens(text.strip_prefix('@').unwrap_or(text)).peekable();
    tokens.peek()?;
    let mut ago = false;
    while let Some(token) = tokens.next() {
        if token.eq_ignore_ascii_case("ago") {
            ago = true;
            tokens.peek().is_none().then_some(())?;
        } else if token.contains(':') {
            time(token, &mut sum)?;
        } else if let Some(months) = year_month(token) {
            sum.add_months(Some(months));
        } else {
            let value = number(token)?;
            let is_unit = |next: &&str| next.starts_with(|c: char| c.is_ascii_alphabetic());
            match tokens.peek() {
                Some(next) if next.contains(':') => sum.add(value, Unit::Days(1)),
                Some(next) if is_unit(next) && !next.eq_ignore_ascii_case("ago") => {
                    sum.add(value, Unit::of(next)?);
                    tokens.next();
                }
                _ => sum.add(value, Unit::Micros(MICROSECONDS)),
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

/// What follows the P of `P0001-02-03T04:05:06`.
fn alternative_iso_8601(text: &str) -> Option<Sum> {
    let mut sum = Sum::default();
    let (date, clock) = text.split_once('T').unwrap_or((text, ""));
    if !date.is_empty() {
        let units = [
            Unit::Months(MONTHS_PER_YEAR),
            Unit::Months(1),
            Unit::Days(1),
        ];
        let parts: Vec<&str> = date.split('-').collect();
        if parts.len() > units.len() {
            return None;
        }
        for (part, unit) in parts.into_iter().zip(units) {
            sum.add(number(part)?, unit);
        }
    }
    if !clock.is_empty() {
        time(clock, &mut sum)?;
    }
    (!text.is_empty()).then_some(sum)
}
