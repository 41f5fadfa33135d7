//! Fields put together: which number is the year, the month, the day.

use std::time::{SystemTime, UNIX_EPOCH};

use arrow::temporal_conversions::{MICROSECONDS, MICROSECONDS_IN_DAY};

use super::field::Field;
use super::{Fault, civil, days_from_civil};
use crate::catalog::zone::{DateOrder, Zone};

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const WEEKDAYS: [&str; 7] = [
    "sunday",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
];

/// Hours from Greenwich that an offset may have, at most.
const OFFSET_HOURS_MAX: i64 = 15;

/// Where the clock of a text hangs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Clock {
    /// Seconds east of Greenwich.
    East(i64),
    /// A place with its summer times.
    Place(Zone),
}

/// What a text says: any part may be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moment {
    /// Since 1970-01-01.
    pub days: Option<i64>,
    /// Since midnight; 24:00 is allowed.
    pub micros: Option<i64>,
    pub clock: Option<Clock>,
}

impl Moment {
    /// A time of Greenwich.
    pub(super) fn at(days: i64, micros: i64) -> Self {
        Self {
            days: Some(days),
            micros: Some(micros),
            clock: Some(Clock::East(0)),
        }
    }

    /// `now`, `today`, `tomorrow` and `yesterday` on the zone's clock.
    pub(super) fn named(text: &str, zone: &Zone) -> Option<Self> {
        let (plus, has_time) = match text.to_ascii_lowercase().as_str() {
            "now" => (0, true),
            "today" => (0, false),
            "tomorrow" => (1, false),
            "yesterday" => (-1, false),
            _ => return None,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        let now = i64::try_from(now.as_micros()).ok()?;
        let east = i64::from(zone.seconds_at(now));
        let local = now + east * MICROSECONDS;
        let time = match has_time {
            true => local.rem_euclid(MICROSECONDS_IN_DAY),
            false => 0,
        };
        Some(Self {
            days: Some(local.div_euclid(MICROSECONDS_IN_DAY) + plus),
            micros: Some(time),
            // In the hour that comes twice a year the time alone does not say which it is.
            clock: has_time.then_some(Clock::East(east)),
        })
    }
}

/// The month of a name or of its first three letters, from 1.
pub(super) fn month(word: &str) -> Option<i64> {
    Some(place_of(word, &MONTHS)? as i64 + 1)
}

fn place_of(word: &str, names: &[&str]) -> Option<usize> {
    let word = word.to_ascii_lowercase();
    let is_it = |name: &&str| {
        **name == word || name[..3] == word || (word == "sept" && **name == *"september")
    };
    names.iter().position(is_it)
}

/// The parts that are known so far.
#[derive(Debug, Default)]
struct Parts {
    time_only: bool,
    order: DateOrder,
    year: Option<i64>,
    /// Whether the year was written with one or two digits.
    short_year: bool,
    month: Option<i64>,
    named_month: bool,
    day: Option<i64>,
    day_of_year: Option<i64>,
    negative: bool,
    before_christ: bool,
    micros: Option<i64>,
    afternoon: Option<bool>,
    clock: Option<Clock>,
}

/// The moment that the fields say, those of a date in the given order; `time_only` where six digits are a time rather than a
/// date.
pub(super) fn of_fields(
    fields: &[Field<'_>],
    time_only: bool,
    order: DateOrder,
) -> Result<Moment, Fault> {
    let mut parts = Parts {
        time_only,
        order,
        ..Parts::default()
    };
    for (at, field) in fields.iter().enumerate() {
        match field {
            Field::Minus => parts.negative = true,
            Field::Time(text) => parts.set_time(clock_time(text)?)?,
            Field::Date(pieces) => parts.date(pieces)?,
            Field::Number(text) => parts.number_field(text)?,
            Field::Word(word) => parts.word(word, at)?,
            Field::Offset(text) => parts.set_clock(Clock::East(offset(text)?))?,
            Field::Place(name) => {
                let zone = Zone::parse(name).ok_or_else(|| Fault::Zone((*name).to_string()))?;
                parts.set_clock(Clock::Place(zone))?;
            }
        }
    }
    parts.finish()
}

impl Parts {
    fn has_date(&self) -> bool {
        self.year.is_some()
            && (self.month.is_some() && self.day.is_some() || self.day_of_year.is_some())
    }

    fn set_time(&mut self, micros: i64) -> Result<(), Fault> {
        match self.micros.replace(micros) {
            Some(_) => Err(Fault::Syntax),
            None => Ok(()),
        }
    }

    fn set_clock(&mut self, clock: Clock) -> Result<(), Fault> {
        match self.clock.replace(clock) {
            Some(_) => Err(Fault::Syntax),
            None => Ok(()),
        }
    }

    /// Parts with separators; a name among them is the month, wherever it stands.
    fn date(&mut self, pieces: &[&str]) -> Result<(), Fault> {
        if self.has_date() {
            return Err(Fault::Syntax);
        }
        if let [year, day] = pieces
            && day.len() == 3
            && year.len() == 4
        {
            self.year = Some(digits(year)?);
            self.day_of_year = Some(digits(day)?);
            return Ok(());
        }
        if pieces.len() != 3 && !(pieces.len() == 2 && self.year.is_some()) {
            return Err(Fault::Syntax);
        }
        let is_word = |piece: &str| piece.starts_with(|c: char| c.is_ascii_alphabetic());
        // Two numbers and a name are no date, as little as in PostgreSQL.
        if let [_, second, third] = pieces
            && is_word(third)
            && !is_word(second)
        {
            return Err(Fault::Syntax);
        }
        for piece in pieces {
            if is_word(piece) {
                self.set_month(month(piece).ok_or(Fault::Syntax)?)?;
            }
        }
        let numbers = pieces
            .iter()
            .filter(|piece| piece.starts_with(|c: char| c.is_ascii_digit()));
        for number in numbers {
            self.date_number(number)?;
        }
        Ok(())
    }

    fn set_month(&mut self, month: i64) -> Result<(), Fault> {
        // A month in words beside one in digits: what was taken for the month is the day.
        if let Some(taken) = self.month
            && !self.named_month
            && self.day.is_none()
        {
            self.day = Some(taken);
        } else if self.month.is_some() {
            return Err(Fault::Syntax);
        }
        self.month = Some(month);
        self.named_month = true;
        Ok(())
    }

    fn set_year(&mut self, text: &str) -> Result<(), Fault> {
        self.year = Some(digits(text)?);
        self.short_year = text.len() <= 2;
        Ok(())
    }

    /// The next number of a date, in the session's order unless one of them says otherwise.
    fn date_number(&mut self, text: &str) -> Result<(), Fault> {
        let is_long = text.len() >= 3;
        let is_year = is_long || self.order == DateOrder::Ymd;
        match (self.year, self.month, self.day) {
            (None, None, None) if is_year => self.set_year(text),
            (None, None, None) if self.order == DateOrder::Dmy => {
                self.day = Some(digits(text)?);
                Ok(())
            }
            (_, None, None) | (None, None, Some(_)) => {
                self.month = Some(digits(text)?);
                Ok(())
            }
            (None, Some(_), None) if self.named_month && is_year => self.set_year(text),
            (Some(year), Some(_), None) if self.named_month && is_long && self.short_year => {
                self.day = Some(year);
                self.set_year(text)
            }
            (_, Some(_), None) => {
                self.day = Some(digits(text)?);
                Ok(())
            }
            (None, Some(_), Some(_)) => self.set_year(text),
            (Some(_), None, Some(_)) => {
                self.month = Some(digits(text)?);
                Ok(())
            }
            _ => Err(Fault::Syntax),
        }
    }

    /// Digits that stand alone: a whole date, a whole time, or a part of a date.
    fn number_field(&mut self, text: &str) -> Result<(), Fault> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let nothing_yet = self.year.is_none() && self.month.is_none() && self.day.is_none();
        if self.has_date()
            || (self.time_only && nothing_yet)
            || (nothing_yet && !fraction.is_empty())
        {
            return self.compact_time(whole, fraction);
        }
        match whole.len() {
            _ if !fraction.is_empty() => Err(Fault::Syntax),
            8 if nothing_yet => self.compact_date(whole, 4),
            6 if nothing_yet => self.compact_date(whole, 2),
            _ => self.date_number(whole),
        }
    }

    fn compact_date(&mut self, text: &str, year_digits: usize) -> Result<(), Fault> {
        let (year, rest) = text.split_at(year_digits);
        let (month, day) = rest.split_at(2);
        self.set_year(year)?;
        self.month = Some(digits(month)?);
        self.day = Some(digits(day)?);
        Ok(())
    }

    fn compact_time(&mut self, whole: &str, fraction: &str) -> Result<(), Fault> {
        let (hour, minute, second) = match whole.len() {
            6 => (&whole[..2], &whole[2..4], &whole[4..]),
            4 => (&whole[..2], &whole[2..], "0"),
            _ => return Err(Fault::Syntax),
        };
        let micros = time_of(digits(hour)?, digits(minute)?, digits(second)?, fraction)?;
        self.set_time(micros)
    }

    fn word(&mut self, word: &str, at: usize) -> Result<(), Fault> {
        if let Some(month) = month(word) {
            return self.set_month(month);
        }
        let lower = word.to_ascii_lowercase();
        match lower.as_str() {
            "am" => self.afternoon = Some(false),
            "pm" => self.afternoon = Some(true),
            "ad" => {}
            "bc" => self.before_christ = true,
            "at" | "on" | "dst" if at > 0 => {}
            "allballs" => {
                self.set_time(0)?;
                self.set_clock(Clock::East(0))?;
            }
            _ if place_of(&lower, &WEEKDAYS).is_some() || lower == "tues" || lower == "thurs" => {}
            _ if at == 0 => return Err(Fault::Syntax),
            _ => {
                let zone = Zone::abbreviated(word).or_else(|| Zone::parse(word));
                self.set_clock(Clock::Place(zone.ok_or(Fault::Syntax)?))?;
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Moment, Fault> {
        let micros = match (self.micros, self.afternoon) {
            (Some(micros), Some(afternoon)) => Some(half_day(micros, afternoon)?),
            (None, Some(_)) => return Err(Fault::Syntax),
            (micros, None) => micros,
        };
        let is_empty = self.year.is_none()
            && self.month.is_none()
            && self.day.is_none()
            && !self.before_christ;
        let days = match is_empty {
            true => None,
            false => Some(self.days()?),
        };
        Ok(Moment {
            days,
            micros,
            clock: self.clock,
        })
    }

    fn days(&self) -> Result<i64, Fault> {
        let year = self.year.ok_or(Fault::Syntax)?;
        let year = match (self.before_christ, self.negative) {
            (true, _) if year == 0 => return Err(Fault::Range),
            (true, _) => 1 - year,
            (false, true) => -year,
            (false, false) if self.short_year && year < 70 => year + 2000,
            (false, false) if self.short_year => year + 1900,
            (false, false) if year == 0 => return Err(Fault::Range),
            (false, false) => year,
        };
        if let Some(day) = self.day_of_year {
            let days = days_from_civil(year, 1, 1) + day - 1;
            let next = days_from_civil(year + 1, 1, 1);
            return if day >= 1 && days < next {
                Ok(days)
            } else {
                Err(Fault::Range)
            };
        }
        let (month, day) = self.month.zip(self.day).ok_or(Fault::Syntax)?;
        civil(year, month, day)
    }
}

fn digits(text: &str) -> Result<i64, Fault> {
    match text.parse() {
        Ok(number) if text.len() <= 7 => Ok(number),
        _ => Err(Fault::Syntax),
    }
}

/// `12:34`, `12:34:56.7`, as microseconds.
fn clock_time(text: &str) -> Result<i64, Fault> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let parts: Vec<&str> = clock.split(':').collect();
    let (hour, minute, second) = match parts.as_slice() {
        [hour, minute] => (hour, minute, &"0"),
        [hour, minute, second] => (hour, minute, second),
        _ => return Err(Fault::Syntax),
    };
    if [hour, minute, second].iter().any(|part| part.len() > 2) {
        return Err(Fault::Syntax);
    }
    time_of(digits(hour)?, digits(minute)?, digits(second)?, fraction)
}

pub(super) fn time_of(hour: i64, minute: i64, second: i64, fraction: &str) -> Result<i64, Fault> {
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Fault::Syntax);
    }
    let place = |i: usize| {
        fraction
            .as_bytes()
            .get(i)
            .map_or(0, |d| i64::from(d - b'0'))
    };
    let micros = (0..6).fold(0, |sum, i| sum * 10 + place(i)) + i64::from(place(6) >= 5);
    if minute > 59 || second > 60 {
        return Err(Fault::Range);
    }
    let micros = ((hour * 60 + minute) * 60 + second) * MICROSECONDS + micros;
    if micros > MICROSECONDS_IN_DAY {
        return Err(Fault::Range);
    }
    Ok(micros)
}

fn half_day(micros: i64, afternoon: bool) -> Result<i64, Fault> {
    const HALF: i64 = MICROSECONDS_IN_DAY / 2;
    match (micros, afternoon) {
        (micros, _) if micros >= HALF + HALF / 12 => Err(Fault::Range),
        (micros, true) if micros < HALF => Ok(micros + HALF),
        (micros, false) if micros >= HALF => Ok(micros - HALF),
        (micros, _) => Ok(micros),
    }
}

/// `+02`, `-0330`, `+05:30`, `+00:53:28`: seconds east.
fn offset(text: &str) -> Result<i64, Fault> {
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let rest = &text[1..];
    let parts: Vec<&str> = match rest.len() {
        _ if rest.contains(':') => rest.split(':').collect(),
        1 | 2 => vec![rest],
        3 => vec![&rest[..1], &rest[1..]],
        4 => vec![&rest[..2], &rest[2..]],
        _ => return Err(Fault::Syntax),
    };
    if parts.len() > 3 {
        return Err(Fault::Syntax);
    }
    let mut seconds = 0;
    for (place, (part, unit)) in parts.iter().zip([3600, 60, 1]).enumerate() {
        let number = digits(part)?;
        let most = if place == 0 { OFFSET_HOURS_MAX } else { 59 };
        if number > most {
            return Err(Fault::Displacement);
        }
        seconds += number * unit;
    }
    Ok(sign * seconds)
}
