//! Dates and times in paths: what `.datetime()` makes of a text.

use std::cmp::Ordering;

use arrow::temporal_conversions::{MICROSECONDS, MICROSECONDS_IN_DAY};
use chrono::Utc;
use datafusion::common::ScalarValue;

use crate::catalog::zone::Zone;
use crate::error::{Error, Result, sqlstate};
use crate::sql::functions::reading::{Told, read_strictly};
use crate::sql::text_output::texts_of;

/// The templates that a text without one is read by, in their order.
const DATE: &str = "yyyy-mm-dd";
const BETWEEN: [&str; 2] = [" ", "\"T\""];
const TIMES: [&str; 6] = [
    "HH24:MI:SS.USTZH:TZM",
    "HH24:MI:SS.USTZH",
    "HH24:MI:SS.US",
    "HH24:MI:SSTZH:TZM",
    "HH24:MI:SSTZH",
    "HH24:MI:SS",
];

/// A date or a time. Days are since 1970, times are microseconds, zones are seconds to the east.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    Date(i64),
    Time(i64),
    /// What the clock of the zone shows.
    TimeTz(i64, i64),
    Timestamp(i64),
    /// An instant, and the zone that it was told in.
    TimestampTz(i64, i64),
}

impl Moment {
    /// The moment of a text, by a template if there is one.
    ///
    /// # Errors
    /// 22007 and 22008 for a text or a template that is none, 22031 for a text that no template reads.
    pub(super) fn read(text: &str, template: Option<&str>) -> Result<Self> {
        if let Some(template) = template {
            return read_strictly(text, template).map(Self::of);
        }
        let whole = BETWEEN.iter().flat_map(|between| {
            TIMES
                .iter()
                .map(move |time| format!("{DATE}{between}{time}"))
        });
        let alone = std::iter::once(DATE).chain(TIMES).map(str::to_string);
        let mut templates = alone.chain(whole);
        let found = templates.find_map(|template| read_strictly(text, &template).ok());
        found.map(Self::of).ok_or_else(|| {
            let message = format!("datetime format is not recognized: \"{text}\"");
            let hint = "Use a datetime template argument to specify the input data format.";
            let code = sqlstate::INVALID_ARGUMENT_FOR_SQL_JSON_DATETIME_FUNCTION;
            Error::invalid(code, message).with_hint(hint)
        })
    }

    fn of(told: Told) -> Self {
        match told {
            Told::Date(days) => Self::Date(days),
            Told::Time(micros, None) => Self::Time(micros),
            Told::Time(micros, Some(east)) => Self::TimeTz(micros, east),
            Told::Timestamp(clock, None) => Self::Timestamp(clock),
            Told::Timestamp(clock, Some(east)) => {
                Self::TimestampTz(clock - east * MICROSECONDS, east)
            }
        }
    }

    /// What `.type()` says.
    pub(super) fn type_name(self) -> &'static str {
        match self {
            Self::Date(_) => "date",
            Self::Time(_) => "time without time zone",
            Self::TimeTz(..) => "time with time zone",
            Self::Timestamp(_) => "timestamp without time zone",
            Self::TimestampTz(..) => "timestamp with time zone",
        }
    }

    /// The type as errors name it.
    fn short_name(self) -> &'static str {
        match self {
            Self::Date(_) => "date",
            Self::Time(_) => "time",
            Self::TimeTz(..) => "timetz",
            Self::Timestamp(_) => "timestamp",
            Self::TimestampTz(..) => "timestamptz",
        }
    }

    /// As ISO 8601 writes it, which is how it is in JSON.
    ///
    /// # Errors
    /// 22008 outside of the calendar.
    pub(super) fn text(self) -> Result<String> {
        let (value, east) = match self {
            Self::Date(days) => (ScalarValue::Date32(i32::try_from(days).ok()), None),
            Self::Time(micros) => (ScalarValue::Time64Microsecond(Some(micros)), None),
            Self::TimeTz(micros, east) => {
                (ScalarValue::Time64Microsecond(Some(micros)), Some(east))
            }
            Self::Timestamp(clock) => (timestamp(clock), None),
            Self::TimestampTz(instant, east) => {
                (timestamp(instant + east * MICROSECONDS), Some(east))
            }
        };
        let texts = texts_of(&value.to_array()?, Zone::utc())?;
        let text = ScalarValue::try_from_array(&texts, 0)?;
        let text = text.try_as_str().flatten().unwrap_or_default();
        let (text, era) = match text.strip_suffix(" BC") {
            Some(before) => (before, " BC"),
            None => (text, ""),
        };
        let zone = east.map(offset).unwrap_or_default();
        Ok(format!("{}{zone}{era}", text.replacen(' ', "T", 1)))
    }

    /// How it is ordered beside another; `None` where the two have no order. `zone` is the session's, where it may be used.
    ///
    /// # Errors
    /// 0A000 where it would have to be.
    pub(super) fn compare(self, other: Self, zone: Option<&Zone>) -> Result<Option<Ordering>> {
        use Moment::{Date, Time, TimeTz, Timestamp, TimestampTz};
        Ok(match (self, other) {
            (Date(a), Date(b)) | (Time(a), Time(b)) | (Timestamp(a), Timestamp(b)) => {
                Some(a.cmp(&b))
            }
            (TimestampTz(a, _), TimestampTz(b, _)) => Some(a.cmp(&b)),
            (Date(a), Timestamp(b)) => Some((a * MICROSECONDS_IN_DAY).cmp(&b)),
            (TimeTz(a, a_east), TimeTz(b, b_east)) => {
                let instant = |time: i64, east: i64| time - east * MICROSECONDS;
                let instants = instant(a, a_east).cmp(&instant(b, b_east));
                // Of one instant the zone that is farther to the east is first.
                Some(instants.then(b_east.cmp(&a_east)))
            }
            (Time(a), TimeTz(..)) => {
                let zone = zone.ok_or_else(|| without_zone(self, other))?;
                let east = zone.seconds_at(Utc::now().timestamp_micros());
                return TimeTz(a, i64::from(east)).compare(other, Some(zone));
            }
            (Date(_) | Timestamp(_), TimestampTz(b, _)) => {
                let zone = zone.ok_or_else(|| without_zone(self, other))?;
                let clock = match self {
                    Date(days) => days * MICROSECONDS_IN_DAY,
                    Timestamp(clock) => clock,
                    _ => 0,
                };
                Some(zone.instant_of(clock).cmp(&b))
            }
            (TimeTz(..), Time(_))
            | (Timestamp(_), Date(_))
            | (TimestampTz(..), Date(_) | Timestamp(_)) => {
                other.compare(self, zone)?.map(Ordering::reverse)
            }
            (Time(_) | TimeTz(..), _) | (_, Time(_) | TimeTz(..)) => None,
        })
    }
}

fn timestamp(clock: i64) -> ScalarValue {
    ScalarValue::TimestampMicrosecond(Some(clock), None)
}

/// `+05:20`
fn offset(east: i64) -> String {
    let sign = if east < 0 { '-' } else { '+' };
    let minutes = east.abs() / 60;
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

fn without_zone(from: Moment, to: Moment) -> Error {
    let message = format!(
        "cannot convert value from {} to {} without time zone usage",
        from.short_name(),
        to.short_name()
    );
    Error::unsupported(message).with_hint("Use *_tz() function for time zone support.")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn texts_are_read_without_a_template() {
        for (text, name, written) in [
            ("2017-03-10", "date", "2017-03-10"),
            ("0000-03-10", "date", "0001-03-10 BC"),
            ("1:2:3.50", "time", "01:02:03.5"),
            ("12:34:56+3:10", "timetz", "12:34:56+03:10"),
            ("2017-03-10 12:34:56", "timestamp", "2017-03-10T12:34:56"),
            (
                "2017-03-10T12:34:56.789-3",
                "timestamptz",
                "2017-03-10T12:34:56.789-03:00",
            ),
        ] {
            let moment = Moment::read(text, None).unwrap();
            assert_eq!(moment.short_name(), name, "{text}");
            assert_eq!(moment.text().unwrap(), written, "{text}");
        }
        for text in ["bogus", "2017-13-10", "12:34", "2017-03-10t12:34:56", ""] {
            let error = Moment::read(text, None).unwrap_err();
            assert_eq!(error.sqlstate(), "22031", "{text}");
        }
    }

    #[test]
    fn moments_of_kinds_are_compared_where_they_can_be() {
        let read = |text| Moment::read(text, None).unwrap();
        let compare = |a, b, zone: Option<&Zone>| read(a).compare(read(b), zone);
        let utc = Zone::utc();
        let midnight = compare("2017-03-10", "2017-03-10 00:00:00", None);
        assert_eq!(midnight.unwrap(), Some(Ordering::Equal));
        let zoned = compare("12:00:00+01", "11:00:00+00", None);
        assert_eq!(zoned.unwrap(), Some(Ordering::Less));
        let apart = compare("12:00:00", "2017-03-10", Some(&utc));
        assert_eq!(apart.unwrap(), None);
        let error = compare("2017-03-10 00:00:00+00", "2017-03-10", None);
        assert_eq!(error.unwrap_err().sqlstate(), "0A000");
        let with_zone = compare("2017-03-10 00:00:00+01", "2017-03-10", Some(&utc));
        assert_eq!(with_zone.unwrap(), Some(Ordering::Less));
    }
}
