//! Dates and times in text, as PostgreSQL reads them: ISO 8601, names of months, regional orders, zones by name.
//!
//! A text is cut into [`field`]s, and these are put together in [`moment`]. Left out: `now`, `today`
//! and their like beside other fields.

mod field;
mod moment;

use arrow::temporal_conversions::{MICROSECONDS, MICROSECONDS_IN_DAY};

use self::moment::{Clock, Moment};
use super::error::{shorten, syntax};
use crate::catalog::infinity::{DAYS, Infinity, MICROS};
use crate::catalog::zone::Zone;
use crate::error::{Error, Result, sqlstate};

/// Days since 1970-01-01.
pub(super) fn parse_date(text: &str, zone: &Zone) -> Result<i32> {
    if let Some(infinity) = Infinity::read(text.trim()) {
        return Ok(infinity.days());
    }
    let moment = parse(text, "date", zone)?;
    let days = moment.days.ok_or_else(|| bad("date", text))?;
    i32::try_from(days).map_err(|_| outside(text))
}

/// Microseconds since midnight.
pub(super) fn parse_time(text: &str, zone: &Zone) -> Result<i64> {
    let moment = parse(text, "time", zone)?;
    moment.micros.ok_or_else(|| bad("time", text))
}

/// Microseconds since 1970; a zone in the text is ignored, as Postgres does.
pub(super) fn parse_timestamp(text: &str, zone: &Zone) -> Result<i64> {
    if let Some(infinity) = Infinity::read(text.trim()) {
        return Ok(infinity.timestamp());
    }
    let moment = parse(text, "timestamp", zone)?;
    let days = moment.days.ok_or_else(|| bad("timestamp", text))?;
    in_range(
        days * MICROSECONDS_IN_DAY + moment.micros.unwrap_or(0),
        text,
    )
}

/// Microseconds since 1970 UTC; a text without zone is read on the session's clock.
pub(super) fn parse_timestamptz(text: &str, zone: &Zone) -> Result<i64> {
    if let Some(infinity) = Infinity::read(text.trim()) {
        return Ok(infinity.timestamp());
    }
    let name = "timestamp with time zone";
    let moment = parse(text, name, zone)?;
    let days = moment.days.ok_or_else(|| bad(name, text))?;
    let local = days * MICROSECONDS_IN_DAY + moment.micros.unwrap_or(0);
    let instant = match moment.clock {
        Some(Clock::East(seconds)) => local - seconds * MICROSECONDS,
        Some(Clock::Place(place)) => place.instant_of(local),
        None => zone.instant_of(local),
    };
    in_range(instant, text)
}

/// `J2451187`: a day by its number since 4713 BC.
fn julian_day(text: &str) -> Option<Moment> {
    const JULIAN_OF_1970: i64 = 2_440_588;
    let digits = text.strip_prefix(['J', 'j'])?;
    let all_digits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let number: i64 = digits.parse().ok().filter(|_| all_digits)?;
    Some(Moment {
        days: Some(number - JULIAN_OF_1970),
        micros: None,
        clock: None,
    })
}

fn in_range(micros: i64, text: &str) -> Result<i64> {
    if MICROS.contains(&micros) {
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

fn parse(text: &str, type_name: &str, zone: &Zone) -> Result<Moment> {
    let trimmed = text.trim();
    if trimmed.eq_ignore_ascii_case("epoch") {
        return Ok(Moment::at(0, 0));
    }
    if let Some(moment) = julian_day(trimmed) {
        return Ok(moment);
    }
    if let Some(moment) = Moment::named(trimmed, zone) {
        return Ok(moment);
    }
    let time_only = type_name == "time";
    field::fields(trimmed)
        .and_then(|fields| moment::of_fields(&fields, time_only, zone.date_order()))
        .map_err(|fault| match fault {
            Fault::Syntax => bad(type_name, text),
            Fault::Range => outside(text),
            Fault::Displacement => {
                let message = format!("time zone displacement out of range: \"{}\"", shorten(text));
                Error::invalid(sqlstate::INVALID_TIME_ZONE_DISPLACEMENT_VALUE, message)
            }
            Fault::Zone(name) => {
                let message = format!("time zone \"{}\" not recognized", shorten(&name));
                Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message)
            }
        })
}

/// What is wrong with a text.
#[derive(Debug)]
enum Fault {
    Syntax,
    Range,
    Displacement,
    Zone(String),
}

/// Days since 1970-01-01 of a day that the calendar has.
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
    if DAYS.contains(&days) {
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

    fn date(text: &str) -> Result<i32> {
        parse_date(text, &Zone::utc())
    }

    fn time(text: &str) -> Result<i64> {
        parse_time(text, &Zone::utc())
    }

    fn instant(text: &str) -> Result<i64> {
        parse_timestamptz(text, &Zone::utc())
    }

    #[test]
    fn dates() {
        let good = [
            ("1970-01-01", 0),
            (" 2000-02-29 ", 11_016),
            ("20000229", 11_016),
            ("000229", 11_016),
            ("2000/2/29", 11_016),
            ("2/29/2000", 11_016),
            ("2/29/00", 11_016),
            ("29-Feb-2000", 11_016),
            ("Feb 29, 2000", 11_016),
            ("February 29 2000", 11_016),
            ("29 feb 2000", 11_016),
            ("2000 Feb 29", 11_016),
            ("2000.060", 11_016),
            ("2000-02-29 23:59:59", 11_016),
            ("Tue Feb 29 23:59:59 2000 PST", 11_016),
            ("1969-12-31T00:00:00Z", -1),
            ("epoch", 0),
            ("0001-01-01", -719_162),
            ("9999-12-31", 2_932_896),
            ("0001-01-01 BC", -719_528),
            ("J2451187", 10_599),
            ("infinity", i32::MAX),
            (" -Infinity ", i32::MIN),
        ];
        for (text, days) in good {
            assert_eq!(date(text).unwrap(), days, "{text}");
        }
        let bad = [
            ("", "22007"),
            ("abc", "22007"),
            ("2000-01", "22007"),
            ("2000-01-01x", "22007"),
            ("12:00", "22007"),
            ("Feb", "22007"),
            ("2001-02-29", "22008"),
            ("2000-13-01", "22008"),
            ("2000-00-10", "22008"),
            ("inf", "22007"),
            ("+infinity", "22007"),
            ("294277-01-01", "22008"),
        ];
        for (text, code) in bad {
            assert_eq!(date(text).unwrap_err().sqlstate(), code, "{text}");
        }
    }

    #[test]
    fn times_and_timestamps() {
        assert_eq!(time("01:02:03.5").unwrap(), 3_723_500_000);
        assert_eq!(time("01:02 pm").unwrap(), 46_920_000_000);
        assert_eq!(time("12:00am").unwrap(), 0);
        assert_eq!(time("010203").unwrap(), 3_723_000_000);
        assert_eq!(time("24:00").unwrap(), MICROSECONDS_IN_DAY);
        assert_eq!(time("24:01").unwrap_err().sqlstate(), "22008");
        assert_eq!(time("13:00 am").unwrap_err().sqlstate(), "22008");
        assert_eq!(time("2000-01-01").unwrap_err().sqlstate(), "22007");
        let day = parse_timestamp("1970-01-02", &Zone::utc());
        assert_eq!(day.unwrap(), MICROSECONDS_IN_DAY);
        let zone = "1970-01-01 01:00:00.0000015+01";
        let local = parse_timestamp(zone, &Zone::utc());
        assert_eq!(local.unwrap(), 3_600_000_002);
        assert_eq!(instant(zone).unwrap(), 2);
        for same in [
            "1970-01-01T00:00:00Z",
            "1970-01-01 00:00 UTC",
            "19700101 000000",
            "19700101T000000",
            "1970-01-01 05:30+05:30",
            "1969-12-31 20:00:00-0400",
            "1969-12-31 16:00 America/Los_Angeles",
            "Wed Dec 31 16:00:00 1969 PST",
            "01 Jan 1970 1:00 +1",
        ] {
            assert_eq!(instant(same).unwrap(), 0, "{same}");
        }
        let named = instant("2000-01-01 00:00 Mars/Base");
        assert_eq!(named.unwrap_err().sqlstate(), "22023");
        let far = instant("2000-01-01 00:00+16");
        assert_eq!(far.unwrap_err().sqlstate(), "22009");
        assert_eq!(time("infinity").unwrap_err().sqlstate(), "22007");
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        assert_eq!(parse_timestamptz("-infinity", &berlin).unwrap(), i64::MIN);
        assert_eq!(parse_timestamp("INFINITY", &berlin).unwrap(), i64::MAX);
        let summer = parse_timestamptz("1970-01-01 01:00", &berlin);
        assert_eq!(summer.unwrap(), 0);
    }
}
