//! Dates and times in text, ISO 8601 as Postgres reads it.
//!
//! Left out: month names, regional orders, `now`, zone names other than UTC, `infinity` (22008).

use super::error::{shorten, syntax};
use crate::error::{Error, Result, sqlstate};

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
/// Days from 1970-01-01 that Arrow can print: years -4712 to 262142.
pub(super) const DAYS_MIN: i64 = days_from_civil(-4712, 1, 1);
/// The last of them.
pub(super) const DAYS_MAX: i64 = days_from_civil(262_142, 12, 31);
/// The first instant of [`DAYS_MIN`], microseconds.
pub(super) const MICROS_MIN: i64 = DAYS_MIN * MICROS_PER_DAY;
/// The last instant of [`DAYS_MAX`], microseconds.
pub(super) const MICROS_MAX: i64 = (DAYS_MAX + 1) * MICROS_PER_DAY - 1;

/// What a text says: any part may be missing.
struct Parts {
    days: Option<i64>,
    /// Microseconds since midnight; 24:00 is allowed.
    micros: Option<i64>,
    /// Seconds east of Greenwich.
    offset: Option<i64>,
}

/// Days since 1970-01-01.
pub(super) fn parse_date(text: &str) -> Result<i32> {
    let parts = parse(text, "date")?;
    let days = parts.days.ok_or_else(|| bad("date", text))?;
    i32::try_from(days).map_err(|_| outside(text))
}

/// Microseconds since midnight.
pub(super) fn parse_time(text: &str) -> Result<i64> {
    let parts = parse(text, "time")?;
    parts.micros.ok_or_else(|| bad("time", text))
}

/// Microseconds since 1970; a zone in the text is ignored, as Postgres does.
pub(super) fn parse_timestamp(text: &str) -> Result<i64> {
    let parts = parse(text, "timestamp")?;
    let days = parts.days.ok_or_else(|| bad("timestamp", text))?;
    in_range(days * MICROS_PER_DAY + parts.micros.unwrap_or(0), text)
}

/// Microseconds since 1970 UTC; a text without zone is UTC.
pub(super) fn parse_timestamptz(text: &str) -> Result<i64> {
    let name = "timestamp with time zone";
    let parts = parse(text, name)?;
    let days = parts.days.ok_or_else(|| bad(name, text))?;
    let local = days * MICROS_PER_DAY + parts.micros.unwrap_or(0);
    in_range(local - parts.offset.unwrap_or(0) * MICROS_PER_SECOND, text)
}

fn in_range(micros: i64, text: &str) -> Result<i64> {
    if (MICROS_MIN..=MICROS_MAX).contains(&micros) {
        Ok(micros)
    } else {
        Err(outside(text))
    }
}

fn bad(type_name: &str, text: &str) -> Error {
    syntax(sqlstate::INVALID_DATETIME_FORMAT, type_name, text)
}

fn outside(text: &str) -> Error {
    let text = shorten(text);
    Error::invalid(
        sqlstate::DATETIME_FIELD_OVERFLOW,
        format!("date/time field value out of range: \"{text}\""),
    )
}

fn parse(text: &str, type_name: &str) -> Result<Parts> {
    let trimmed = text.trim();
    let mut parts = Parts {
        days: None,
        micros: None,
        offset: None,
    };
    if trimmed.eq_ignore_ascii_case("epoch") {
        parts.days = Some(0);
        return Ok(parts);
    }
    if trimmed
        .trim_start_matches('-')
        .eq_ignore_ascii_case("infinity")
    {
        return Err(outside(text));
    }
    let (body, before_christ) = match trimmed.get(trimmed.len().saturating_sub(3)..) {
        Some(end) if end.eq_ignore_ascii_case(" bc") => (&trimmed[..trimmed.len() - 3], true),
        _ => (trimmed, false),
    };
    let mut scan = Scan { rest: body };
    let fault = |f: Fault| match f {
        Fault::Syntax => bad(type_name, text),
        Fault::Range => outside(text),
    };
    if let Some(days) = scan.date(before_christ).map_err(fault)? {
        parts.days = Some(days);
        if !scan.rest.is_empty() && !scan.skip_any(&['T', 't', ' ']) && !scan.at_zone() {
            return Err(bad(type_name, text));
        }
        scan.blanks();
    }
    parts.micros = scan.time().map_err(fault)?;
    scan.blanks();
    parts.offset = scan.zone().map_err(fault)?;
    if !scan.rest.is_empty() {
        return Err(bad(type_name, text));
    }
    Ok(parts)
}

enum Fault {
    Syntax,
    Range,
}

/// The text that is not read yet.
struct Scan<'a> {
    rest: &'a str,
}

impl Scan<'_> {
    fn skip(&mut self, c: char) -> bool {
        self.skip_any(&[c])
    }

    fn skip_any(&mut self, any: &[char]) -> bool {
        match self.rest.strip_prefix(any) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn at_zone(&self) -> bool {
        self.rest.starts_with(['Z', 'z', '+', '-'])
    }

    /// The digits ahead, without reading them.
    fn digits_ahead(&self) -> usize {
        self.rest.bytes().take_while(u8::is_ascii_digit).count()
    }

    /// A number of `least` to `most` digits.
    fn number(&mut self, least: usize, most: usize) -> Result<i64, Fault> {
        let n = self.digits_ahead();
        if n < least || n > most {
            return Err(Fault::Syntax);
        }
        let (digits, rest) = self.rest.split_at(n);
        self.rest = rest;
        digits.parse().map_err(|_| Fault::Syntax)
    }

    /// The first `n` digits of a longer run.
    fn take(&mut self, n: usize) -> Result<i64, Fault> {
        let (digits, rest) = self.rest.split_at_checked(n).ok_or(Fault::Syntax)?;
        self.rest = rest;
        digits.parse().map_err(|_| Fault::Syntax)
    }

    /// `YYYY-MM-DD`, `YYYY/MM/DD` or `YYYYMMDD`; `None` when the text begins with a time.
    fn date(&mut self, before_christ: bool) -> Result<Option<i64>, Fault> {
        let negative = self.rest.starts_with('-');
        let year_sign = self.skip_any(&['-', '+']);
        let n = self.digits_ahead();
        if n == 0 {
            return Err(Fault::Syntax);
        }
        let after = self.rest[n..].chars().next();
        if after == Some(':') || (n == 6 && !matches!(after, Some('-' | '/'))) {
            return if year_sign {
                Err(Fault::Syntax)
            } else {
                Ok(None)
            };
        }
        let (year, month, day) = if n == 8 && !matches!(after, Some('-' | '/')) {
            (self.take(4)?, self.take(2)?, self.take(2)?)
        } else {
            let year = self.number(1, 7)?;
            let separator = self.rest.chars().next().unwrap_or(' ');
            if !matches!(separator, '-' | '/') {
                return Err(Fault::Syntax);
            }
            self.skip(separator);
            let month = self.number(1, 2)?;
            if !self.skip(separator) {
                return Err(Fault::Syntax);
            }
            (year, month, self.number(1, 2)?)
        };
        let year = match (before_christ, negative) {
            (true, _) if year == 0 => return Err(Fault::Range),
            (true, _) => 1 - year,
            (false, true) => -year,
            (false, false) => year,
        };
        civil(year, month, day).map(Some)
    }

    /// `HH:MM[:SS[.ffffff]]` or `HHMMSS[.ffffff]`.
    fn time(&mut self) -> Result<Option<i64>, Fault> {
        let n = self.digits_ahead();
        if n == 0 {
            return Ok(None);
        }
        let (hour, minute, second) = if n == 6 {
            (self.take(2)?, self.take(2)?, self.take(2)?)
        } else {
            let hour = self.number(1, 2)?;
            if !self.skip(':') {
                return Err(Fault::Syntax);
            }
            let minute = self.number(1, 2)?;
            let second = if self.skip(':') {
                self.number(1, 2)?
            } else {
                0
            };
            (hour, minute, second)
        };
        let fraction = if self.skip('.') { self.fraction() } else { 0 };
        if minute > 59 || second > 60 {
            return Err(Fault::Range);
        }
        let micros = ((hour * 60 + minute) * 60 + second) * MICROS_PER_SECOND + fraction;
        if micros > MICROS_PER_DAY {
            return Err(Fault::Range);
        }
        Ok(Some(micros))
    }

    /// Digits after the point as microseconds, rounded.
    fn fraction(&mut self) -> i64 {
        let n = self.digits_ahead();
        let (digits, rest) = self.rest.split_at(n);
        self.rest = rest;
        let place = |i: usize| digits.as_bytes().get(i).map_or(0, |d| i64::from(d - b'0'));
        let micros = (0..6).fold(0, |sum, i| sum * 10 + place(i));
        micros + i64::from(place(6) >= 5)
    }

    /// `Z`, `UTC`, `GMT` or an offset; seconds east.
    fn zone(&mut self) -> Result<Option<i64>, Fault> {
        for name in ["UTC", "GMT", "Z"] {
            let ahead = self.rest.get(..name.len());
            if ahead.is_some_and(|a| a.eq_ignore_ascii_case(name)) {
                self.rest = &self.rest[name.len()..];
                return Ok(Some(0));
            }
        }
        let sign = if self.rest.starts_with('-') { -1 } else { 1 };
        if !self.skip_any(&['+', '-']) {
            return Ok(None);
        }
        let (hours, minutes) = if self.digits_ahead() == 4 {
            (self.take(2)?, self.take(2)?)
        } else {
            let hours = self.number(1, 2)?;
            (
                hours,
                if self.skip(':') {
                    self.number(2, 2)?
                } else {
                    0
                },
            )
        };
        let seconds = if self.skip(':') {
            self.number(2, 2)?
        } else {
            0
        };
        if hours > 15 || minutes > 59 || seconds > 59 {
            return Err(Fault::Range);
        }
        Ok(Some(sign * ((hours * 60 + minutes) * 60 + seconds)))
    }
}

fn civil(year: i64, month: i64, day: i64) -> Result<i64, Fault> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return Err(Fault::Range),
    };
    if !(1..=last).contains(&day) {
        return Err(Fault::Range);
    }
    let days = days_from_civil(year, month, day);
    if (DAYS_MIN..=DAYS_MAX).contains(&days) {
        Ok(days)
    } else {
        Err(Fault::Range)
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar (Howard Hinnant's `days_from_civil`).
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn dates() {
        let good = [
            ("1970-01-01", 0),
            (" 2000-02-29 ", 11_016),
            ("20000229", 11_016),
            ("2000/2/29", 11_016),
            ("2000-02-29 23:59:59", 11_016),
            ("1969-12-31T00:00:00Z", -1),
            ("epoch", 0),
            ("0001-01-01", -719_162),
            ("9999-12-31", 2_932_896),
            ("0001-01-01 BC", -719_528),
        ];
        for (text, days) in good {
            assert_eq!(parse_date(text).unwrap(), days, "{text}");
        }
        let bad = [
            ("", "22007"),
            ("abc", "22007"),
            ("2000-01", "22007"),
            ("2000-01-01x", "22007"),
            ("12:00", "22007"),
            ("2001-02-29", "22008"),
            ("2000-13-01", "22008"),
            ("2000-00-10", "22008"),
            ("infinity", "22008"),
            ("294277-01-01", "22008"),
        ];
        for (text, code) in bad {
            assert_eq!(parse_date(text).unwrap_err().sqlstate(), code, "{text}");
        }
    }

    #[test]
    fn times_and_timestamps() {
        assert_eq!(parse_time("01:02:03.5").unwrap(), 3_723_500_000);
        assert_eq!(parse_time("24:00").unwrap(), MICROS_PER_DAY);
        assert_eq!(parse_time("24:01").unwrap_err().sqlstate(), "22008");
        assert_eq!(parse_time("2000-01-01").unwrap_err().sqlstate(), "22007");
        assert_eq!(parse_timestamp("1970-01-02").unwrap(), MICROS_PER_DAY);
        let zone = "1970-01-01 01:00:00.0000015+01";
        assert_eq!(parse_timestamp(zone).unwrap(), 3_600_000_002);
        assert_eq!(parse_timestamptz(zone).unwrap(), 2);
        for same in [
            "1970-01-01T00:00:00Z",
            "1970-01-01 00:00 UTC",
            "19700101 000000",
            "1970-01-01 05:30+05:30",
            "1969-12-31 20:00:00-0400",
        ] {
            assert_eq!(parse_timestamptz(same).unwrap(), 0, "{same}");
        }
        let named = parse_timestamptz("2000-01-01 00:00 Mars/Base");
        assert_eq!(named.unwrap_err().sqlstate(), "22007");
    }
}
