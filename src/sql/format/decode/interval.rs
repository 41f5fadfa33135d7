//! The text of intervals, as PostgreSQL reads it in all its styles.

use arrow::array::StringArray;
use arrow::datatypes::IntervalMonthDayNano;

use crate::catalog::assign::RowError;
use crate::error::{Error, Result, sqlstate};

const NANOS_PER_SECOND: f64 = 1e9;
const SECONDS_PER_DAY: f64 = 86_400.0;
const DAYS_PER_MONTH: f64 = 30.0;

/// The intervals of texts; NULL stays NULL.
///
/// # Errors
/// 22007 for a text that is no interval, 22008 for one that is too long.
pub(super) fn parse_all(
    texts: &StringArray,
) -> Result<Vec<Option<IntervalMonthDayNano>>, RowError> {
    let parse = |(row, text): (usize, Option<&str>)| {
        text.map(parse)
            .transpose()
            .map_err(|e| RowError::new(row, e))
    };
    texts.iter().enumerate().map(parse).collect()
}

/// A sum of units; each keeps its fraction until the end.
#[derive(Default)]
struct Sum {
    months: f64,
    days: f64,
    seconds: f64,
}

fn parse(text: &str) -> Result<IntervalMonthDayNano> {
    let bad = || {
        let message = format!("invalid input syntax for type interval: \"{text}\"");
        Error::invalid(sqlstate::INVALID_DATETIME_FORMAT, message)
    };
    let trimmed = text.trim();
    let sum = match trimmed.strip_prefix('P') {
        Some(iso) => iso_8601(iso),
        None => words(trimmed),
    };
    sum.ok_or_else(bad)?.finish().ok_or_else(|| {
        Error::invalid(
            sqlstate::DATETIME_FIELD_OVERFLOW,
            format!("interval field value out of range: \"{text}\""),
        )
    })
}

impl Sum {
    /// Adds a number of a unit; `None` for a word that is no unit.
    fn add(&mut self, value: f64, unit: &str) -> Option<()> {
        let unit = unit.to_ascii_lowercase();
        match unit.as_str() {
            "microsecond" | "microseconds" | "us" | "usec" | "usecs" => self.seconds += value / 1e6,
            "millisecond" | "milliseconds" | "ms" | "msec" | "msecs" => self.seconds += value / 1e3,
            "second" | "seconds" | "s" | "sec" | "secs" => self.seconds += value,
            "minute" | "minutes" | "m" | "min" | "mins" => self.seconds += value * 60.0,
            "hour" | "hours" | "h" | "hr" | "hrs" => self.seconds += value * 3600.0,
            "day" | "days" | "d" => self.days += value,
            "week" | "weeks" | "w" => self.days += value * 7.0,
            "month" | "months" | "mon" | "mons" => self.months += value,
            "year" | "years" | "y" | "yr" | "yrs" => self.months += value * 12.0,
            "decade" | "decades" | "dec" | "decs" => self.months += value * 120.0,
            "century" | "centuries" | "c" | "cent" => self.months += value * 1200.0,
            "millennium" | "millennia" | "mil" | "mils" => self.months += value * 12_000.0,
            _ => return None,
        }
        Some(())
    }

    /// Fractions of months become days, those of days become time.
    fn finish(self) -> Option<IntervalMonthDayNano> {
        let months = self.months.trunc();
        let days = self.days + self.months.fract() * DAYS_PER_MONTH;
        let seconds = self.seconds + days.fract() * SECONDS_PER_DAY;
        // Microseconds are what PostgreSQL keeps.
        let nanos = (seconds * 1e6).round() * 1e3;
        let fits = |value: f64, limit: f64| value.abs() < limit;
        (fits(months, 2_147_483_648.0)
            && fits(days.trunc(), 2_147_483_648.0)
            && fits(nanos, 9_223_372_036.0 * NANOS_PER_SECOND))
        .then(|| IntervalMonthDayNano {
            months: months as i32,
            days: days.trunc() as i32,
            nanoseconds: nanos as i64,
        })
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
            sum.seconds += time(token)?;
        } else if let Some((years, months)) = year_month(token) {
            sum.months += years * 12.0 + months;
        } else {
            let value = number(token)?;
            let is_unit = |next: &&str| next.starts_with(|c: char| c.is_ascii_alphabetic());
            match tokens.peek() {
                Some(next) if next.contains(':') => sum.days += value,
                Some(next) if is_unit(next) && !next.eq_ignore_ascii_case("ago") => {
                    sum.add(value, next)?;
                    tokens.next();
                }
                _ => sum.seconds += value,
            }
        }
    }
    if ago {
        sum = Sum {
            months: -sum.months,
            days: -sum.days,
            seconds: -sum.seconds,
        };
    }
    Some(sum)
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

fn number(text: &str) -> Option<f64> {
    let plain = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.');
    if !text.chars().all(plain) {
        return None;
    }
    text.parse().ok()
}

/// `-04:05:06.7` or `04:05`, as seconds.
fn time(text: &str) -> Option<f64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut seconds = 0.0;
    let parts: Vec<&str> = digits.split(':').collect();
    if parts.len() > 3 {
        return None;
    }
    for (at, (part, unit)) in parts.iter().zip([3600.0, 60.0, 1.0]).enumerate() {
        let signed = part.starts_with(['+', '-']);
        let value = number(part).filter(|_| !signed)?;
        if at > 0 && value >= 60.0 {
            return None;
        }
        seconds += value * unit;
    }
    Some(sign * seconds)
}

/// `-1-2`: years and months of the SQL standard.
fn year_month(text: &str) -> Option<(f64, f64)> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let (years, months) = digits.split_once('-')?;
    let (years, months) = (years.parse::<u32>().ok()?, months.parse::<u32>().ok()?);
    (months < 12).then(|| (sign * f64::from(years), sign * f64::from(months)))
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
        match (&rest[end..=end], in_time) {
            ("Y", false) => sum.months += value * 12.0,
            ("M", false) => sum.months += value,
            ("W", false) => sum.days += value * 7.0,
            ("D", false) => sum.days += value,
            ("H", true) => sum.seconds += value * 3600.0,
            ("M", true) => sum.seconds += value * 60.0,
            ("S", true) => sum.seconds += value,
            _ => return None,
        }
        rest = &rest[end + 1..];
        any = true;
    }
    any.then_some(sum)
}
