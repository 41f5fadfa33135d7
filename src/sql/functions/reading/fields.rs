//! The fields that are read from a text, and the moment that they make together.

use arrow::temporal_conversions::{MICROSECONDS, UNIX_EPOCH_DAY};
use chrono::{Datelike, NaiveDate, Weekday};

use super::out_of_range;
use crate::error::{Error, sqlstate};
use crate::sql::functions::calendar::{DAYS, JULIAN_OF_1970, MONTHS, ROMAN_MONTHS};
use crate::sql::functions::template::{Field, Node, ends_digits, is_separator};

/// Hours that a zone may be away from Greenwich.
const ZONE_HOURS_MAX: i64 = 15;
/// The years that a date may be in.
const YEARS: std::ops::RangeInclusive<i64> = -4712..=262_142;

/// What is left of a text.
#[derive(Debug)]
pub(super) struct Source<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Source<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest().is_empty()
    }

    /// How many blanks there were.
    pub(super) fn skip_blanks(&mut self) -> i64 {
        let rest = self.rest();
        let blanks = rest.len()
            - rest
                .trim_start_matches(|c: char| c.is_ascii_whitespace())
                .len();
        self.at += blanks;
        blanks as i64
    }

    /// Whether there was a separator or a blank.
    pub(super) fn skip_separator(&mut self) -> bool {
        let first = self.rest().chars().next();
        let is_one = first.is_some_and(|c| c.is_ascii_whitespace() || is_separator(c));
        self.at += usize::from(is_one);
        is_one
    }

    /// Skips the character where it is next.
    pub(super) fn takes(&mut self, c: char) -> bool {
        let takes = self.rest().starts_with(c);
        self.at += if takes { c.len_utf8() } else { 0 };
        takes
    }

    pub(super) fn skip_one(&mut self) {
        self.at += self.rest().chars().next().map_or(0, char::len_utf8);
    }

    /// The character before the place.
    fn is_behind(&self, c: char) -> bool {
        self.text[..self.at].ends_with(c)
    }

    /// The place among the names of the one that the text begins with, in any case.
    fn name(&mut self, names: &[&str], pattern: &str) -> Result<usize, Error> {
        let rest = self.rest();
        let found = names.iter().position(|name| {
            let ahead = rest.get(..name.len());
            ahead.is_some_and(|ahead| ahead.eq_ignore_ascii_case(name))
        });
        let Some(place) = found else {
            let word = rest.split_ascii_whitespace().next().unwrap_or(rest);
            let detail = "The given value did not match any of the allowed values for this field.";
            return Err(invalid_value(word, pattern).with_detail(detail));
        };
        self.at += names[place].len();
        Ok(place)
    }

    /// A whole number: of so many characters, or of all digits where it ends with them. Answers its width too.
    fn number(
        &mut self,
        field: Field,
        width: usize,
        after: &[Node],
    ) -> Result<(i64, usize), Error> {
        self.skip_blanks();
        let rest = self.rest();
        let is_open = field.is_filled || ends_digits(field, after);
        let count = rest.chars().count().min(width);
        let end = rest
            .char_indices()
            .nth(count)
            .map_or(rest.len(), |(at, _)| at);
        let written = if is_open { rest } else { &rest[..end] };
        let pattern = field.pattern;
        if !is_open && count < width {
            let message = format!("source string too short for \"{pattern}\" formatting field");
            let detail = format!("Field requires {width} characters, but only {count} remain.");
            return Err(bad_format(message).with_detail(detail));
        }
        let digits = digits_of(written);
        if digits == 0 {
            return Err(
                invalid_value(&rest[..end], pattern).with_detail("Value must be an integer.")
            );
        }
        if !is_open && digits < width {
            let detail =
                format!("Field requires {width} characters, but only {digits} could be parsed.");
            return Err(invalid_value(&rest[..end], pattern).with_detail(detail));
        }
        let number = written[..digits].trim_start_matches('+').parse::<i32>();
        let number = number.map_err(|_| {
            let message = format!("value for \"{pattern}\" in source string is out of range");
            Error::invalid(sqlstate::DATETIME_FIELD_OVERFLOW, message)
        })?;
        self.at += digits;
        Ok((i64::from(number), digits))
    }

    fn skip_ending(&mut self, field: Field) {
        if field.has_ending {
            self.skip_one();
            self.skip_one();
        }
    }
}

/// How many bytes at the beginning are a sign and digits.
fn digits_of(text: &str) -> usize {
    let sign = usize::from(text.starts_with(['-', '+']));
    let digits = text[sign..].bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 { 0 } else { sign + digits }
}

pub(super) fn bad_format(message: impl Into<String>) -> Error {
    Error::invalid(sqlstate::INVALID_DATETIME_FORMAT, message)
}

fn invalid_value(text: &str, pattern: &str) -> Error {
    bad_format(format!("invalid value \"{text}\" for \"{pattern}\""))
}

/// Which calendar dates are told by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Convention {
    Gregorian,
    Iso,
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Fields {
    convention: Option<Convention>,
    /// The numbers that were read, by their names.
    numbers: Vec<(&'static str, i64)>,
    /// Whether hours are those of half a day.
    is_half_day: bool,
    is_afternoon: Option<bool>,
    is_before_christ: bool,
    /// How many digits of seconds the template asks for.
    second_digits: Option<u32>,
    /// How many digits of the year the template asks for.
    year_digits: usize,
    /// The sign of a zone's distance.
    east: Option<i64>,
}

/// A day since 1970, a time of it, and how many seconds to the east of Greenwich, if that is told.
#[derive(Debug)]
pub(super) struct Moment {
    pub days: i64,
    pub micros: i64,
    pub east: Option<i64>,
}

impl Fields {
    fn get(&self, name: &str) -> i64 {
        self.find(name).unwrap_or(0)
    }

    fn find(&self, name: &str) -> Option<i64> {
        let found = self.numbers.iter().find(|(known, _)| *known == name);
        found
            .map(|(_, number)| *number)
            .filter(|number| *number != 0)
    }

    fn set(&mut self, name: &'static str, number: i64, pattern: &str) -> Result<(), Error> {
        match self.find(name) {
            Some(known) if known != number => {
                let message =
                    format!("conflicting values for \"{pattern}\" field in formatting string");
                let detail = "This value contradicts a previous setting for the same field type.";
                Err(bad_format(message).with_detail(detail))
            }
            _ => {
                self.numbers.push((name, number));
                Ok(())
            }
        }
    }

    fn agree(&mut self, convention: Convention) -> Result<(), Error> {
        match self.convention {
            Some(known) if known != convention => {
                let hint =
                    "Do not mix Gregorian and ISO week date conventions in a formatting template.";
                Err(bad_format("invalid combination of date conventions").with_hint(hint))
            }
            _ => {
                self.convention = Some(convention);
                Ok(())
            }
        }
    }

    /// Reads a field; `is_behind_blanks` says whether characters before it were skipped.
    pub(super) fn read(
        &mut self,
        field: Field,
        after: &[Node],
        source: &mut Source<'_>,
        is_behind_blanks: bool,
    ) -> Result<(), Error> {
        let pattern = field.pattern;
        match pattern {
            "AM" | "PM" => {
                self.is_afternoon = Some(source.name(&["AM", "PM"], pattern)? == 1);
                self.is_half_day = true;
            }
            "A.M." | "P.M." => {
                self.is_afternoon = Some(source.name(&["A.M.", "P.M."], pattern)? == 1);
                self.is_half_day = true;
            }
            "AD" | "BC" => self.is_before_christ = source.name(&["AD", "BC"], pattern)? == 1,
            "A.D." | "B.C." => {
                self.is_before_christ = source.name(&["A.D.", "B.C."], pattern)? == 1;
            }
            "MONTH" | "MON" | "DAY" | "DY" | "RM" => self.read_name(pattern, source)?,
            "TZ" | "OF" => {
                let message =
                    format!("formatting field \"{pattern}\" is only supported in to_char");
                return Err(Error::unsupported(message));
            }
            "TZH" => {
                let is_west = match source.rest().chars().next() {
                    Some(sign @ ('+' | '-' | ' ')) => {
                        source.skip_one();
                        sign == '-'
                    }
                    _ => is_behind_blanks && source.is_behind('-'),
                };
                self.east = Some(if is_west { -1 } else { 1 });
                let (hours, _) = source.number(field, 2, after)?;
                self.set("zone hours", hours, pattern)?;
            }
            "Y,YYY" => self.read_grouped_year(source)?,
            _ => self.read_number(field, after, source)?,
        }
        source.skip_ending(field);
        Ok(())
    }

    fn read_name(&mut self, pattern: &'static str, source: &mut Source<'_>) -> Result<(), Error> {
        let shorten = |names: &[&'static str]| -> Vec<&'static str> {
            names.iter().map(|name| &name[..3]).collect()
        };
        self.agree(Convention::Gregorian)?;
        let (name, names) = match pattern {
            "MONTH" => ("month", MONTHS.to_vec()),
            "MON" => ("month", shorten(&MONTHS)),
            "DAY" => ("weekday", DAYS.to_vec()),
            "DY" => ("weekday", shorten(&DAYS)),
            // The longer ones first, for some begin with others.
            _ => ("month", ROMAN_MONTHS.iter().rev().copied().collect()),
        };
        let place = source.name(&names, pattern)? as i64;
        let number = if pattern == "RM" {
            12 - place
        } else {
            place + 1
        };
        self.set(name, number, pattern)
    }

    /// `1,582`
    fn read_grouped_year(&mut self, source: &mut Source<'_>) -> Result<(), Error> {
        self.agree(Convention::Gregorian)?;
        let rest = source.rest();
        let thousands = digits_of(rest);
        let years = rest[thousands..].strip_prefix(',');
        let years = years.map_or(0, |years| digits_of(years).min(3));
        let number = |text: &str| text.parse::<i32>().ok().map(i64::from);
        let year = number(&rest[..thousands]).zip(
            rest.get(thousands + 1..thousands + 1 + years)
                .and_then(number),
        );
        let Some((thousands_of_years, year)) = year else {
            return Err(bad_format("invalid input string for \"Y,YYY\""));
        };
        source.at += thousands + 1 + years;
        self.year_digits = 4;
        self.set("year", thousands_of_years * 1000 + year, "Y,YYY")
    }

    fn read_number(
        &mut self,
        field: Field,
        after: &[Node],
        source: &mut Source<'_>,
    ) -> Result<(), Error> {
        use Convention::{Gregorian, Iso};
        let pattern = field.pattern;
        let (name, width, convention) = match pattern {
            "HH24" | "HH12" | "HH" => ("hour", 2, None),
            "MI" => ("minute", 2, None),
            "SS" => ("second", 2, None),
            "SSSSS" | "SSSS" => ("second of day", pattern.len(), None),
            "MS" => ("millisecond", 3, None),
            "US" => ("microsecond", 6, None),
            "TZM" => ("zone minutes", 2, None),
            "CC" => ("century", 2, None),
            "J" => ("julian", 1, None),
            "Q" => ("quarter", 1, None),
            "YYYY" | "YYY" | "YY" | "Y" => ("year", pattern.len(), Some(Gregorian)),
            "IYYY" | "IYY" | "IY" | "I" => ("year", pattern.len(), Some(Iso)),
            "MM" => ("month", 2, Some(Gregorian)),
            "DD" => ("day", 2, Some(Gregorian)),
            "DDD" => ("day of year", 3, Some(Gregorian)),
            "D" => ("weekday", 1, Some(Gregorian)),
            "WW" => ("week", 2, Some(Gregorian)),
            "W" => ("week of month", 1, Some(Gregorian)),
            "IW" => ("week", 2, Some(Iso)),
            "ID" => ("weekday", 1, Some(Iso)),
            "IDDD" => ("day of year", 3, Some(Iso)),
            // FF1 to FF6.
            _ => (
                "microsecond",
                usize::from(pattern.as_bytes()[2] - b'0'),
                None,
            ),
        };
        if let Some(convention) = convention {
            self.agree(convention)?;
        }
        let (mut number, width) = source.number(field, width, after)?;
        match pattern {
            "Q" => return Ok(()),
            "HH12" | "HH" => self.is_half_day = true,
            "MS" if width < 3 => number *= 10_i64.pow(3 - width as u32),
            "ID" => number = number % 7 + 1,
            _ if name == "microsecond" => {
                if width < 6 {
                    number *= 10_i64.pow(6 - width as u32);
                }
                let digits = pattern.strip_prefix("FF");
                self.second_digits = digits.and_then(|digits| digits.parse().ok());
            }
            _ if name == "year" => {
                self.year_digits = pattern.len();
                let is_partial = pattern.len() < 4 && width < 4;
                number = if is_partial {
                    whole_year(number)
                } else {
                    number
                };
            }
            _ => {}
        }
        self.set(name, number, pattern)
    }

    /// What the fields make together.
    ///
    /// # Errors
    /// 22007 and 22008 for fields that make none.
    pub(super) fn moment(&self, text: &str) -> Result<Moment, Error> {
        let micros = self.time(text)?;
        let day = self.date(text)?;
        let (hours, minutes) = (self.get("zone hours"), self.get("zone minutes"));
        if self.east.is_some()
            && !((0..=ZONE_HOURS_MAX).contains(&hours) && (0..60).contains(&minutes))
        {
            let message = format!("time zone displacement out of range: \"{text}\"");
            let code = sqlstate::INVALID_TIME_ZONE_DISPLACEMENT_VALUE;
            return Err(Error::invalid(code, message));
        }
        Ok(Moment {
            days: i64::from(day.num_days_from_ce()) - UNIX_EPOCH_DAY,
            micros,
            east: self.east.map(|sign| sign * (hours * 60 + minutes) * 60),
        })
    }

    /// Microseconds since midnight.
    fn time(&self, text: &str) -> Result<i64, Error> {
        let of_day = self.get("second of day");
        let part = |name, of_day: i64| self.find(name).unwrap_or(of_day);
        let mut hour = part("hour", of_day / 3600);
        let (minute, second) = (
            part("minute", of_day / 60 % 60),
            part("second", of_day % 60),
        );
        if self.is_half_day {
            if !(1..=12).contains(&hour) {
                let message = format!("hour \"{hour}\" is invalid for the 12-hour clock");
                let hint = "Use the 24-hour clock, or give an hour between 1 and 12.";
                return Err(bad_format(message).with_hint(hint));
            }
            match self.is_afternoon {
                Some(true) if hour < 12 => hour += 12,
                Some(true) => {}
                _ if hour == 12 => hour = 0,
                _ => {}
            }
        }
        let mut micros = self.get("millisecond") * 1000 + self.get("microsecond");
        if let Some(digits) = self.second_digits {
            let unit = 10_i64.pow(6_u32.saturating_sub(digits));
            micros = (micros + unit / 2) / unit * unit;
        }
        let fits = (0..24).contains(&hour)
            && [minute, second].iter().all(|part| (0..60).contains(part))
            && (0..=MICROSECONDS).contains(&micros);
        match fits {
            true => Ok(((hour * 60 + minute) * 60 + second) * MICROSECONDS + micros),
            false => Err(out_of_range(text)),
        }
    }

    /// The year, with 0 before the year 1; `None` where nothing tells it.
    fn year(&self) -> Option<i64> {
        let sign = if self.is_before_christ { -1 } else { 1 };
        let century = self.find("century").map(|century| century * sign);
        match (self.find("year"), century) {
            (Some(year), Some(century)) if self.year_digits <= 2 => Some(match year % 100 {
                0 if century >= 0 => century * 100,
                0 => century * 100 + 1,
                year if century >= 0 => year + (century - 1) * 100,
                year => (century + 1) * 100 - year + 1,
            }),
            (Some(year), _) => Some(match year * sign {
                year if year < 0 => year + 1,
                year => year,
            }),
            (None, Some(century)) if century >= 0 => Some((century - 1) * 100 + 1),
            (None, Some(century)) => Some(century * 100 + 1),
            (None, None) => None,
        }
    }

    fn date(&self, text: &str) -> Result<NaiveDate, Error> {
        let out = || out_of_range(text);
        let year = self.year().unwrap_or(0);
        if !YEARS.contains(&year) {
            return Err(out());
        }
        let year_of = year as i32;
        let is_iso = self.convention == Some(Convention::Iso);
        if let Some(julian) = self.find("julian") {
            let days = julian - JULIAN_OF_1970 + UNIX_EPOCH_DAY;
            let day = i32::try_from(days)
                .ok()
                .and_then(NaiveDate::from_num_days_from_ce_opt);
            return day.ok_or_else(out);
        }
        let week = self.find("week");
        if is_iso && let Some(week) = week {
            // Sunday is the first in what was read, and the last of an ISO week.
            let weekday = (self.find("weekday").unwrap_or(2) + 5) % 7;
            let monday = NaiveDate::from_isoywd_opt(year_of, 1, Weekday::Mon).ok_or_else(out)?;
            let days = (week - 1) * 7 + weekday;
            return monday
                .checked_add_signed(chrono::TimeDelta::days(days))
                .ok_or_else(out);
        }
        let day_of_year = week
            .map(|week| (week - 1) * 7 + 1)
            .or(self.find("day of year"));
        let week_of_month = self.find("week of month").map(|week| (week - 1) * 7 + 1);
        let month = self.find("month").unwrap_or(1);
        let day = week_of_month.or(self.find("day")).unwrap_or(1);
        if let Some(days) = day_of_year
            && (month <= 1 || day <= 1)
        {
            if year == 0 && !self.is_before_christ {
                let message = "cannot calculate day of year without year information";
                return Err(bad_format(message));
            }
            let first = match is_iso {
                true => NaiveDate::from_isoywd_opt(year_of, 1, Weekday::Mon),
                false => NaiveDate::from_ymd_opt(year_of, 1, 1),
            };
            let delta = chrono::TimeDelta::days(days - 1);
            let found = first.and_then(|first| first.checked_add_signed(delta));
            let found = found.filter(|found| is_iso || i64::from(found.year()) == year);
            return found.filter(|_| days > 0).ok_or_else(out);
        }
        let (month, day) = (u32::try_from(month), u32::try_from(day));
        let date = month.ok().zip(day.ok());
        date.and_then(|(month, day)| NaiveDate::from_ymd_opt(year_of, month, day))
            .ok_or_else(out)
    }
}

/// The year of few digits that is next to 2020.
fn whole_year(year: i64) -> i64 {
    match year {
        0..70 => year + 2000,
        70..100 => year + 1900,
        100..520 => year + 2000,
        520..1000 => year + 1000,
        year => year,
    }
}
