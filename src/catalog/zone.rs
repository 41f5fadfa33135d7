//! Time zones: what the clock of a place shows at an instant, and the order in which a session reads days and months.

use std::borrow::Cow;

use arrow::temporal_conversions::{MICROSECONDS, MICROSECONDS_IN_DAY};
use chrono::{DateTime, LocalResult, NaiveDateTime, Offset, TimeZone};
use chrono_tz::{OffsetName, TZ_VARIANTS, Tz};
use datafusion::common::config::ConfigOptions;

use super::infinity::Infinity;
use super::options::ShelfmarkOptions;

/// The largest distance from Greenwich that PostgreSQL takes, in seconds: less than a week.
const OFFSET_MAX: i32 = 167 * 3600 + 59 * 60 + 59;

/// Short names of zones, in hours east, as PostgreSQL's default set has the most used of them.
const ABBREVIATIONS: [(&str, f64); 33] = [
    ("utc", 0.0),
    ("gmt", 0.0),
    ("ut", 0.0),
    ("z", 0.0),
    ("zulu", 0.0),
    ("wet", 0.0),
    ("west", 1.0),
    ("bst", 1.0),
    ("cet", 1.0),
    ("cest", 2.0),
    ("eet", 2.0),
    ("eest", 3.0),
    ("msk", 3.0),
    ("msd", 4.0),
    ("jst", 9.0),
    ("kst", 9.0),
    ("aest", 10.0),
    ("aedt", 11.0),
    ("nzst", 12.0),
    ("nzdt", 13.0),
    ("ist", 2.0),
    ("ast", -4.0),
    ("adt", -3.0),
    ("est", -5.0),
    ("edt", -4.0),
    ("cst", -6.0),
    ("cdt", -5.0),
    ("mst", -7.0),
    ("mdt", -6.0),
    ("pst", -8.0),
    ("pdt", -7.0),
    ("akst", -9.0),
    ("hst", -10.0),
];

/// The order of the parts of a date in the styles that are not ISO.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DateOrder {
    /// Month, day, year.
    #[default]
    Mdy,
    /// Day, month, year.
    Dmy,
    /// Year, month, day; written like month, day, year.
    Ymd,
}

/// A time zone, and the order of the parts of a date that goes with it: together what times in text are read by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Zone {
    clock: Clock,
    date_order: DateOrder,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Clock {
    /// Always as far from Greenwich.
    Fixed {
        /// Seconds to the east.
        east: i32,
        /// As SHOW TimeZone names it.
        name: String,
    },
    /// A place of the IANA database, with its summer times.
    Place(Tz),
}

impl From<Clock> for Zone {
    fn from(clock: Clock) -> Self {
        let date_order = DateOrder::default();
        Self { clock, date_order }
    }
}

impl Zone {
    /// Universal time.
    pub fn utc() -> Self {
        let name = "UTC".to_string();
        Clock::Fixed { east: 0, name }.into()
    }

    /// The same clock for a session that reads dates in that order.
    pub fn with_date_order(self, date_order: DateOrder) -> Self {
        Self { date_order, ..self }
    }

    /// The order in which the parts of dates are read.
    pub fn date_order(&self) -> DateOrder {
        self.date_order
    }

    /// The zone of a session. Its configuration names zones as Arrow does, offsets to the east (`+02:00`).
    pub fn of(options: &ConfigOptions) -> Self {
        let name = options.execution.time_zone.as_deref();
        let zone = name.and_then(|name| match offset(name) {
            Some(0) => None,
            Some(east) => Some(Self::fixed(east)),
            None => Self::parse(name),
        });
        let order = ShelfmarkOptions::date_order_of(options);
        zone.unwrap_or_else(Self::utc).with_date_order(order)
    }

    /// The name that Arrow has for it: offsets to the east (`+02:00`).
    pub fn arrow_name(&self) -> String {
        match &self.clock {
            Clock::Fixed { east, name } if name != "UTC" => {
                let sign = if *east < 0 { '-' } else { '+' };
                let minutes = east.unsigned_abs() / 60;
                format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
            }
            Clock::Fixed { .. } => "UTC".to_string(),
            Clock::Place(place) => place.name().to_string(),
        }
    }

    /// Whether its clock shows universal time.
    pub fn is_utc(&self) -> bool {
        matches!(self.clock, Clock::Fixed { east: 0, .. })
    }

    /// A zone that is so many seconds east of Greenwich, named as PostgreSQL does after `SET TIME ZONE 5.5`.
    pub fn fixed(east: i32) -> Self {
        let sign = |negative| if negative { '-' } else { '+' };
        let size = east.unsigned_abs();
        let mut digits = format!("{:02}", size / 3600);
        if !size.is_multiple_of(3600) {
            digits.push_str(&format!(":{:02}", size / 60 % 60));
        }
        if !size.is_multiple_of(60) {
            digits.push_str(&format!(":{:02}", size % 60));
        }
        // A POSIX name counts hours to the west.
        let name = format!("<{0}{digits}>{1}{digits}", sign(east < 0), sign(east >= 0));
        Clock::Fixed { east, name }.into()
    }

    /// `UTC`, a place (`Europe/Berlin`, in any case), or a name of POSIX, whose offset is to the west (`UTC+2`, `-05:30`,
    /// `<+02>-02`).
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let upper = text.to_ascii_uppercase();
        if matches!(upper.as_str(), "UTC" | "GMT") {
            let (east, name) = (0, upper);
            return Some(Clock::Fixed { east, name }.into());
        }
        let same = |zone: &&Tz| zone.name().eq_ignore_ascii_case(text);
        let exact = text.parse::<Tz>().ok();
        let zone = exact.or_else(|| TZ_VARIANTS.iter().find(same).copied());
        let clock = zone.map(Clock::Place).or_else(|| {
            let east = -offset(posix_offset(text)?)?;
            Some(Clock::Fixed { east, name: upper })
        });
        clock.map(Self::from)
    }

    /// The zone of an abbreviation (`CEST`).
    pub fn abbreviated(text: &str) -> Option<Self> {
        let known = |(name, _): &&(&str, f64)| name.eq_ignore_ascii_case(text);
        let (name, hours) = ABBREVIATIONS.iter().find(known)?;
        let clock = Clock::Fixed {
            east: (hours * 3600.0) as i32,
            name: name.to_ascii_uppercase(),
        };
        Some(clock.into())
    }

    /// The zone of an offset to the east with its sign, as in a timestamp (`+02`, `-0530`).
    pub fn east(text: &str) -> Option<Self> {
        let (sign, digits) = (text.get(..1)?, text.get(1..)?);
        if !matches!(sign, "+" | "-") {
            return None;
        }
        let east = match digits.len() == 4 && !digits.contains(':') {
            true => offset(&format!("{sign}{}:{}", digits.get(..2)?, digits.get(2..)?)),
            false => offset(text),
        };
        east.map(Self::fixed)
    }

    /// The name as SHOW TimeZone writes it.
    pub fn name(&self) -> &str {
        match &self.clock {
            Clock::Fixed { name, .. } => name,
            Clock::Place(zone) => zone.name(),
        }
    }

    /// Seconds that the clock is ahead of Greenwich at an instant (microseconds since 1970), and the short name of
    /// its time then (`CEST`).
    pub fn offset_at(&self, micros: i64) -> (i32, Cow<'_, str>) {
        match &self.clock {
            Clock::Fixed { east, name } => {
                let inner = name.strip_prefix('<').and_then(|rest| rest.split_once('>'));
                let short = match inner {
                    Some((short, _)) => short,
                    None => &name[..name.find(is_offset).unwrap_or(name.len())],
                };
                (*east, Cow::Borrowed(short))
            }
            Clock::Place(zone) => {
                let offset = zone.offset_from_utc_datetime(&instant(micros));
                let short = match offset.abbreviation() {
                    Some(short) => Cow::Owned(short.to_string()),
                    None => Cow::Owned(compact(offset.fix().local_minus_utc())),
                };
                (offset.fix().local_minus_utc(), short)
            }
        }
    }

    /// Seconds that the clock is ahead of Greenwich at an instant.
    pub fn seconds_at(&self, micros: i64) -> i32 {
        match &self.clock {
            Clock::Fixed { east, .. } => *east,
            Clock::Place(zone) => zone
                .offset_from_utc_datetime(&instant(micros))
                .fix()
                .local_minus_utc(),
        }
    }

    /// What the clock shows at an instant, both in microseconds; infinities are the same everywhere.
    pub fn clock_at(&self, micros: i64) -> i64 {
        if Infinity::of(micros).is_some() {
            return micros;
        }
        micros.saturating_add(i64::from(self.seconds_at(micros)) * MICROSECONDS)
    }

    /// The instant at which the clock shows a time, both in microseconds. Of a time that comes twice it is the later, and
    /// one that is left out is read with the offset before.
    pub fn instant_of(&self, local: i64) -> i64 {
        if Infinity::of(local).is_some() {
            return local;
        }
        let place = match &self.clock {
            Clock::Fixed { east, .. } => {
                return local.saturating_sub(i64::from(*east) * MICROSECONDS);
            }
            Clock::Place(place) => place,
        };
        let east = match place.offset_from_local_datetime(&instant(local)) {
            LocalResult::Single(offset) | LocalResult::Ambiguous(_, offset) => {
                offset.fix().local_minus_utc()
            }
            // A gap is never longer than a day.
            LocalResult::None => self.seconds_at(local.saturating_sub(MICROSECONDS_IN_DAY)),
        };
        local.saturating_sub(i64::from(east) * MICROSECONDS)
    }
}

/// `+0545`: how the time of a place without a name of its own is called.
fn compact(east: i32) -> String {
    let size = east.unsigned_abs();
    let sign = if east < 0 { '-' } else { '+' };
    match size / 60 % 60 {
        0 => format!("{sign}{:02}", size / 3600),
        minutes => format!("{sign}{:02}{minutes:02}", size / 3600),
    }
}

/// The instant, or the nearest that chrono's calendar has.
fn instant(micros: i64) -> NaiveDateTime {
    match DateTime::from_timestamp_micros(micros) {
        Some(instant) => instant.naive_utc(),
        None if micros < 0 => NaiveDateTime::MIN,
        None => NaiveDateTime::MAX,
    }
}

/// Whether an offset begins with the character.
fn is_offset(c: char) -> bool {
    c.is_ascii_digit() || matches!(c, '+' | '-')
}

/// What stands behind the short name in a name of POSIX, which may be empty.
fn posix_offset(text: &str) -> Option<&str> {
    match text.strip_prefix('<') {
        Some(rest) => rest.split_once('>').map(|(_, offset)| offset),
        None => {
            let (short, offset) = text.split_at(text.find(is_offset)?);
            short
                .bytes()
                .all(|b| b.is_ascii_alphabetic())
                .then_some(offset)
        }
    }
}

/// `+02`, `-05:30`, `+00:53:28`, or hours alone: seconds.
fn offset(text: &str) -> Option<i32> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        b'0'..=b'9' => (1, text),
        _ => return None,
    };
    let parts: Vec<&str> = rest.split(':').collect();
    if parts.len() > 3 {
        return None;
    }
    let mut seconds = 0i32;
    for (part, unit) in parts.iter().zip([3600, 60, 1]) {
        let short = (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        let number: i32 = part.parse().ok().filter(|_| short)?;
        if unit < 3600 && number > 59 {
            return None;
        }
        seconds += number * unit;
    }
    (seconds <= OFFSET_MAX).then_some(sign * seconds)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names() {
        for (text, name, east) in [
            ("utc", "UTC", 0),
            ("+00:00", "+00:00", 0),
            ("gmt", "GMT", 0),
            ("+05:30", "+05:30", -19_800),
            ("-8", "-8", 28_800),
            ("utc+2", "UTC+2", -7200),
            ("ABC3:30", "ABC3:30", -12_600),
            ("<+02>-02", "<+02>-02", 7200),
            ("america/new_york", "America/New_York", -18_000),
        ] {
            let zone = Zone::parse(text).unwrap();
            assert_eq!(zone.name(), name);
            assert_eq!(zone.seconds_at(0), east, "{text}");
        }
        for bad in [
            "",
            "Mars/Base",
            "+1:99",
            "+200",
            "+0530",
            "+",
            "1:2:3:4",
            "+1é",
            "Z",
            "UTC+",
            "<a",
            "<a>",
        ] {
            assert_eq!(Zone::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn times_of_a_clock() {
        let moscow = Zone::parse("Europe/Moscow").unwrap();
        let hour = 3_600 * MICROSECONDS;
        let at = |days: i64, hours: i64| days * MICROSECONDS_IN_DAY + hours * hour;
        // 2011-03-27: 02:00 is 03:00 by then.
        assert_eq!(moscow.instant_of(at(15_060, 1)), at(15_059, 22));
        assert_eq!(moscow.instant_of(at(15_060, 2)), at(15_059, 23));
        assert_eq!(moscow.instant_of(at(15_060, 3)), at(15_059, 23));
        // 2014-10-26: 01:00 comes twice.
        assert_eq!(moscow.instant_of(at(16_369, 1)), at(16_368, 22));
        assert_eq!(Zone::fixed(7200).instant_of(at(1, 0)), at(0, 22));
    }

    #[test]
    fn summer_time_has_its_own_offset() {
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        let july_2024 = 1_720_000_000_000_000;
        assert_eq!(berlin.offset_at(july_2024), (7200, Cow::Borrowed("CEST")));
        assert_eq!(berlin.offset_at(0), (3600, Cow::Borrowed("CET")));
        assert_eq!(berlin.seconds_at(i64::MIN), 3208);
        assert_eq!(Zone::fixed(7200).offset_at(0), (7200, Cow::Borrowed("+02")));
        let short = |name| Zone::parse(name).unwrap().offset_at(0).1.into_owned();
        assert_eq!(short("UTC-2"), "UTC");
        assert_eq!(short("-02:00"), "");
    }
}
