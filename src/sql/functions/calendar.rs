//! `to_char` of dates, times and intervals: parts of the calendar put into a template.
//!
//! Left out: names of months and days in other languages (`TM`).

use arrow::datatypes::IntervalMonthDayNano;
use arrow::temporal_conversions::MICROSECONDS_IN_DAY;
use chrono::{Datelike, NaiveDateTime, Timelike};
use datafusion::common::{Result, ScalarValue};

use super::Group;
use super::moment::civil;
use super::row::{Call, Kind, Overload, text};
use crate::catalog::infinity::Infinity;

use Kind::{Date, Interval, Text, Time, Timestamp, Timestamptz};

/// Julian day of 1970-01-01.
pub(super) const JULIAN_OF_1970: i64 = 2_440_588;

pub(super) const FUNCTIONS: Group = &[(
    "to_char",
    &[
        Overload::new(&[Timestamp, Text], Text, |call| {
            of_moment(call, call.moment(0).unwrap_or_default(), Offset::default())
        }),
        Overload::new(&[Date, Text], Text, |call| {
            // What overflows is infinite.
            let days = call.moment(0).unwrap_or_default();
            let Some(micros) = days.checked_mul(MICROSECONDS_IN_DAY) else {
                return call.null();
            };
            of_moment(call, micros, Offset::default())
        }),
        Overload::new(&[Timestamptz, Text], Text, of_instant).stable(),
        Overload::new(&[Interval, Text], Text, |call| {
            let interval = call.interval(0).unwrap_or_default();
            Ok(text(write(call.text(1), &Parts::of_interval(interval))))
        }),
        Overload::new(&[Time, Text], Text, |call| {
            let nanos = call.moment(0).unwrap_or_default() * 1000;
            let interval = IntervalMonthDayNano::new(0, 0, nanos);
            Ok(text(write(call.text(1), &Parts::of_interval(interval))))
        }),
    ],
)];

/// The zone that a time is told in.
#[derive(Debug, Clone, Default)]
struct Offset {
    seconds: i64,
    name: String,
}

fn of_moment(call: &Call<'_>, micros: i64, offset: Offset) -> Result<ScalarValue> {
    if Infinity::of(micros).is_some() {
        return call.null();
    }
    let parts = Parts::of_moment(micros, civil(micros)?, offset);
    Ok(text(write(call.text(1), &parts)))
}

fn of_instant(call: &Call<'_>) -> Result<ScalarValue> {
    let instant = call.moment(0).unwrap_or_default();
    let zone = call.zone();
    let (seconds, name) = zone.offset_at(instant);
    let offset = Offset {
        seconds: i64::from(seconds),
        name: name.into_owned(),
    };
    of_moment(call, zone.clock_at(instant), offset)
}

/// What a template may show.
#[derive(Debug, Clone, Default)]
struct Parts {
    /// Astronomical, as of the ISO week, and the week.
    year: i64,
    iso_year: i64,
    iso_week: i64,
    month: i64,
    day: i64,
    day_of_year: i64,
    /// 1 is Sunday; 0 for an interval.
    weekday: i64,
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
    julian: i64,
    offset: Offset,
    /// Whether parts may be of any size.
    is_interval: bool,
}

impl Parts {
    fn of_moment(micros: i64, moment: NaiveDateTime, offset: Offset) -> Self {
        let week = moment.iso_week();
        Self {
            year: i64::from(moment.year()),
            iso_year: i64::from(week.year()),
            iso_week: i64::from(week.week()),
            month: i64::from(moment.month()),
            day: i64::from(moment.day()),
            day_of_year: i64::from(moment.ordinal()),
            weekday: i64::from(moment.weekday().num_days_from_sunday()) + 1,
            hour: i64::from(moment.hour()),
            minute: i64::from(moment.minute()),
            second: i64::from(moment.second()),
            micros: i64::from(moment.nanosecond() / 1000),
            julian: micros.div_euclid(MICROSECONDS_IN_DAY) + JULIAN_OF_1970,
            offset,
            is_interval: false,
        }
    }

    fn of_interval(interval: IntervalMonthDayNano) -> Self {
        let micros = interval.nanoseconds / 1000;
        let seconds = micros / 1_000_000;
        let (months, days) = (i64::from(interval.months), i64::from(interval.days));
        Self {
            year: months / 12,
            month: months % 12,
            day: days,
            day_of_year: months * 30 + days,
            hour: seconds / 3600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
            micros: micros % 1_000_000,
            is_interval: true,
            ..Self::default()
        }
    }

    /// The year as it is told: there is none before 1 BC but 2 BC.
    fn told_year(&self, year: i64) -> i64 {
        if self.is_interval || year > 0 {
            year
        } else {
            1 - year
        }
    }

    fn hour_of_half_day(&self) -> i64 {
        match self.hour % 12 {
            0 if !self.is_interval => 12,
            hour => hour,
        }
    }

    fn century(&self) -> i64 {
        match self.year {
            year if self.is_interval => year / 100,
            year if year > 0 => (year + 99) / 100,
            year => -((1 - year + 99) / 100),
        }
    }
}

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(super) const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];
pub(super) const ROMAN_MONTHS: [&str; 12] = [
    "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII",
];
/// The width of the longest month, and of the longest day.
const NAME_WIDTH: usize = 9;

/// Every pattern, in upper case; those that begin with another come before it.
const PATTERNS: [&str; 53] = [
    "SSSSS", "SSSS", "SS", "HH24", "HH12", "HH", "MI", "MONTH", "MON", "MM", "MS", "US", "FF1",
    "FF2", "FF3", "FF4", "FF5", "FF6", "A.M.", "P.M.", "AM", "PM", "A.D.", "B.C.", "AD", "BC",
    "Y,YYY", "YYYY", "YYY", "YY", "Y", "IYYY", "IYY", "IY", "IDDD", "ID", "IW", "I", "DAY", "DDD",
    "DD", "DY", "D", "WW", "W", "CC", "J", "Q", "RM", "TZH", "TZM", "TZ", "OF",
];

fn write(template: &str, parts: &Parts) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some(first) = rest.chars().next() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"').unwrap_or(quoted.len());
            out.push_str(&quoted[..end]);
            rest = quoted.get(end + 1..).unwrap_or("");
            continue;
        }
        let after_fill = rest.strip_prefix("FM").or_else(|| rest.strip_prefix("fm"));
        let after_fill = after_fill.or_else(|| rest.strip_prefix("TM"));
        let at = after_fill.unwrap_or(rest);
        match pattern_at(at) {
            Some(pattern) => {
                let written = &at[..pattern.len()];
                let value = shown(pattern, written, parts, after_fill.is_none());
                rest = &at[pattern.len()..];
                out.push_str(&value);
                rest = put_ordinal(rest, &value, &mut out);
            }
            None if first == '\\' => {
                out.extend(rest[1..].chars().next());
                rest = rest[1..]
                    .char_indices()
                    .nth(1)
                    .map_or("", |(i, _)| &rest[1 + i..]);
            }
            None => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    out
}

/// The pattern that a text begins with.
pub(super) fn pattern_at(text: &str) -> Option<&'static str> {
    let begins = |pattern: &&&str| {
        let ahead = text.get(..pattern.len());
        ahead.is_some_and(|ahead| ahead.eq_ignore_ascii_case(pattern))
    };
    PATTERNS.iter().find(begins).copied()
}

/// Writes `th` or `TH` behind a number, if it is asked for; what follows.
fn put_ordinal<'a>(rest: &'a str, value: &str, out: &mut String) -> &'a str {
    let upper = match rest.get(..2) {
        Some("TH") => true,
        Some("th") => false,
        _ => return rest,
    };
    let Some(last) = value.bytes().next_back().filter(u8::is_ascii_digit) else {
        return rest;
    };
    let is_teen = value.len() > 1 && value.as_bytes()[value.len() - 2] == b'1';
    let ending = match last {
        _ if is_teen => "th",
        b'1' => "st",
        b'2' => "nd",
        b'3' => "rd",
        _ => "th",
    };
    match upper {
        true => out.push_str(&ending.to_uppercase()),
        false => out.push_str(ending),
    }
    &rest[2..]
}

/// A number with leading zeros, unless they are not wanted; a sign comes before them.
fn padded(value: i64, width: usize, fill: bool) -> String {
    match fill {
        true if value < 0 => format!("-{:0width$}", value.unsigned_abs()),
        true => format!("{value:0width$}"),
        false => value.to_string(),
    }
}

/// A name in the case of its pattern, filled up with blanks.
fn named(name: &str, written: &str, fill: bool) -> String {
    let lower_first = written.starts_with(|c: char| c.is_ascii_lowercase());
    let lower_second = written
        .chars()
        .nth(1)
        .is_some_and(|c| c.is_ascii_lowercase());
    let name = match (lower_first, lower_second) {
        (true, _) => name.to_lowercase(),
        (false, false) => name.to_uppercase(),
        (false, true) => name.to_string(),
    };
    match fill {
        true => format!("{name:NAME_WIDTH$}"),
        false => name,
    }
}

fn cased(text: &str, written: &str) -> String {
    match written.starts_with(|c: char| c.is_ascii_lowercase()) {
        true => text.to_lowercase(),
        false => text.to_uppercase(),
    }
}

/// What a pattern shows.
fn shown(pattern: &str, written: &str, parts: &Parts, fill: bool) -> String {
    let number = |value, width| padded(value, width, fill);
    let month = usize::try_from(parts.month - 1).ok();
    let month_name = month.and_then(|m| MONTHS.get(m)).copied().unwrap_or("");
    let day = usize::try_from(parts.weekday - 1).ok();
    let day_name = day.and_then(|d| DAYS.get(d)).copied().unwrap_or("");
    let year = parts.told_year(parts.year);
    let iso_year = parts.told_year(parts.iso_year);
    let iso_day = if parts.weekday == 1 {
        7
    } else {
        parts.weekday - 1
    };
    match pattern {
        "HH24" => number(parts.hour, 2),
        "HH12" | "HH" => number(parts.hour_of_half_day(), 2),
        "MI" => number(parts.minute, 2),
        "SS" => number(parts.second, 2),
        "SSSSS" | "SSSS" => {
            let seconds = (parts.hour * 60 + parts.minute) * 60 + parts.second;
            seconds.to_string()
        }
        "MS" => format!("{:03}", parts.micros / 1000),
        "US" => format!("{:06}", parts.micros),
        "FF1" | "FF2" | "FF3" | "FF4" | "FF5" | "FF6" => {
            let digits = usize::from(pattern.as_bytes()[2] - b'0');
            format!("{:06}", parts.micros)[..digits].to_string()
        }
        "AM" | "PM" => cased(if parts.hour % 24 < 12 { "am" } else { "pm" }, written),
        "A.M." | "P.M." => cased(if parts.hour % 24 < 12 { "a.m." } else { "p.m." }, written),
        "AD" | "BC" => cased(if parts.year > 0 { "ad" } else { "bc" }, written),
        "A.D." | "B.C." => cased(if parts.year > 0 { "a.d." } else { "b.c." }, written),
        "Y,YYY" => format!("{},{:03}", year / 1000, year % 1000),
        "YYYY" => number(year, 4),
        "YYY" => number(year % 1000, 3),
        "YY" => number(year % 100, 2),
        "Y" => number(year % 10, 1),
        "IYYY" => number(iso_year, 4),
        "IYY" => number(iso_year % 1000, 3),
        "IY" => number(iso_year % 100, 2),
        "I" => number(iso_year % 10, 1),
        "MONTH" => named(month_name, written, fill),
        "MON" => named(month_name.get(..3).unwrap_or(""), written, false),
        "MM" => number(parts.month, 2),
        "DAY" => named(day_name, written, fill),
        "DY" => named(day_name.get(..3).unwrap_or(""), written, false),
        "DDD" => number(parts.day_of_year, 3),
        "IDDD" => number((parts.iso_week - 1) * 7 + iso_day, 3),
        "DD" => number(parts.day, 2),
        "D" => number(parts.weekday, 1),
        "ID" => number(iso_day, 1),
        "WW" => number((parts.day_of_year - 1) / 7 + 1, 2),
        "IW" => number(parts.iso_week, 2),
        "W" => number((parts.day - 1) / 7 + 1, 1),
        "CC" => number(parts.century(), 2),
        "J" => number(parts.julian, 1),
        "Q" => match month {
            Some(month) => number(month as i64 / 3 + 1, 1),
            None => String::new(),
        },
        "RM" => {
            let roman = month
                .and_then(|m| ROMAN_MONTHS.get(m))
                .copied()
                .unwrap_or("");
            let roman = cased(roman, written);
            if fill { format!("{roman:4}") } else { roman }
        }
        "TZ" => cased(&parts.offset.name, written),
        _ => put_offset(pattern, parts.offset.seconds),
    }
}

/// `TZH`, `TZM` and `OF`: the distance from Greenwich.
fn put_offset(pattern: &str, seconds: i64) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let (hours, minutes) = (seconds.abs() / 3600, seconds.abs() / 60 % 60);
    match (pattern, minutes) {
        ("TZM", _) => format!("{minutes:02}"),
        ("TZH", _) | (_, 0) => format!("{sign}{hours:02}"),
        _ => format!("{sign}{hours:02}:{minutes:02}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn templates_show_parts_of_the_calendar() {
        let micros = 1_715_000_645_006_700;
        let offset = Offset {
            seconds: -12_600,
            name: "NST".to_string(),
        };
        let parts = Parts::of_moment(micros, civil(micros).unwrap(), offset);
        for (template, expected) in [
            ("YYYY-MM-DD HH24:MI:SS.US", "2024-05-06 13:04:05.006700"),
            (
                "Day, DD Month YYYY HH12:MI AM",
                "Monday   , 06 May       2024 01:04 PM",
            ),
            ("FMDay, FMDDth FMMonth", "Monday, 6th May"),
            ("DY Dy dy MON", "MON Mon mon MAY"),
            ("IYYY-IW-ID DDD Q CC J", "2024-19-1 127 2 21 2460437"),
            ("\"Year\" Y,YYY p.m. B.C.", "Year 2,024 p.m. A.D."),
            ("TZH:TZM OF TZ tz", "-03:30 -03:30 NST nst"),
            ("FF3 MS SSSSS RM", "006 006 47045 V   "),
        ] {
            assert_eq!(write(template, &parts), expected, "{template}");
        }
        let interval = IntervalMonthDayNano::new(14, 3, 30 * 3_600_000_000_000);
        let parts = Parts::of_interval(interval);
        assert_eq!(write("YYYY MM DD HH24:MI", &parts), "0001 02 03 30:00");
    }
}
