//! `to_date` and `to_timestamp` of a text and a template.
//!
//! The text is walked beside the template, as PostgreSQL does it: blanks before a field are skipped, and a separator of the
//! template stands for one of the text, whichever it is. Left out: names in other languages (`TM`).

mod fields;

use arrow::temporal_conversions::{MICROSECONDS, MICROSECONDS_IN_DAY};
use datafusion::common::{Result, ScalarValue};

use self::fields::{Fields, Moment, Source, bad_format};
use super::Group;
use super::row::{Call, Kind, Overload};
use super::template::{Node, nodes};
use crate::error::{Error, sqlstate};

use Kind::{Date, Text, Timestamptz};

/// `to_date` of two arguments.
pub(crate) const DATE_BY_TEMPLATE: &str = "date_by_template";
/// `to_timestamp` of two arguments.
pub(crate) const INSTANT_BY_TEMPLATE: &str = "instant_by_template";

pub(super) const FUNCTIONS: Group = &[
    (
        DATE_BY_TEMPLATE,
        &[Overload::new(&[Text, Text], Date, to_date)],
    ),
    (
        INSTANT_BY_TEMPLATE,
        &[Overload::new(&[Text, Text], Timestamptz, to_timestamp).stable()],
    ),
];

fn to_date(call: &Call<'_>) -> Result<ScalarValue> {
    let moment = read(call.text(0), call.text(1))?;
    let days = i32::try_from(moment.days).map_err(|_| out_of_range(call.text(0)))?;
    Ok(ScalarValue::Date32(Some(days)))
}

fn to_timestamp(call: &Call<'_>) -> Result<ScalarValue> {
    let moment = read(call.text(0), call.text(1))?;
    let local = moment.days.checked_mul(MICROSECONDS_IN_DAY);
    let local = local.and_then(|days| days.checked_add(moment.micros));
    let local = local.ok_or_else(|| out_of_range(call.text(0)))?;
    let micros = match moment.east {
        Some(seconds) => local - seconds * MICROSECONDS,
        None => call.zone().instant_of(local),
    };
    Ok(ScalarValue::TimestampMicrosecond(
        Some(micros),
        Some("UTC".into()),
    ))
}

fn out_of_range(text: &str) -> Error {
    let message = format!("date/time field value out of range: \"{text}\"");
    Error::invalid(sqlstate::DATETIME_FIELD_OVERFLOW, message)
}

/// The moment that a text tells by a template.
fn read(text: &str, template: &str) -> Result<Moment, Error> {
    let nodes = nodes(template);
    let mut source = Source::of(text);
    let mut fields = Fields::default();
    let mut is_exact = false;
    // Characters that were skipped beyond those of the template.
    let mut skipped = 0_i64;
    for (at, node) in nodes.iter().enumerate() {
        if source.is_at_end() {
            break;
        }
        if !is_exact && (at == 0 || matches!(node, Node::Field(_))) {
            skipped += source.skip_blanks();
        }
        match node {
            Node::Exact => is_exact = true,
            Node::Field(field) => {
                let after = &nodes[at + 1..];
                fields.read(*field, after, &mut source, skipped > 0)?;
                if !is_exact {
                    skipped = source.skip_blanks();
                }
            }
            Node::Separator(_) | Node::Space if !is_exact => {
                skipped += i64::from(source.skip_separator()) - 1;
            }
            // What was skipped already may have stood for it.
            Node::Letter(_) | Node::Loose(_) if !is_exact && skipped > 0 => skipped -= 1,
            _ => source.skip_one(),
        }
    }
    fields.moment(text)
}

/// What a text tells by a template of the SQL standard, with the seconds of a zone to the east, if it tells one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// Days since 1970.
    Date(i64),
    /// Microseconds since midnight.
    Time(i64, Option<i64>),
    /// Microseconds since 1970 on the zone's clock.
    Timestamp(i64, Option<i64>),
}

/// What may stand between fields of such a template.
const SEPARATORS: &str = "-./,':;";

/// What a text tells by a template of the SQL standard, which every character has to fit.
///
/// # Errors
/// 22007 and 22008 for a template or a text that does not.
pub(super) fn read_strictly(text: &str, template: &str) -> Result<Told, Error> {
    let nodes = nodes(template);
    let loose = nodes.iter().find_map(|node| match node {
        Node::Loose(c) => Some(*c),
        Node::Separator(c) if !SEPARATORS.contains(*c) => Some(*c),
        _ => None,
    });
    if let Some(c) = loose {
        return Err(bad_format(format!(
            "invalid datetime format separator: \"{c}\""
        )));
    }
    let mut source = Source::of(text);
    let mut fields = Fields::default();
    for (at, node) in nodes.iter().enumerate() {
        if source.is_at_end() {
            return Err(bad_format("input string is too short for datetime format"));
        }
        let (wanted, what) = match node {
            Node::Exact => continue,
            Node::Field(field) => {
                fields.read(*field, &nodes[at + 1..], &mut source, false)?;
                continue;
            }
            Node::Separator(c) => (*c, "separator"),
            Node::Space => (' ', "separator"),
            Node::Letter(c) | Node::Loose(c) => (*c, "character"),
        };
        if !source.takes(wanted) {
            return Err(bad_format(format!("unmatched format {what} \"{wanted}\"")));
        }
    }
    source.skip_blanks();
    if !source.is_at_end() {
        return Err(bad_format(
            "trailing characters remain in input string after datetime format",
        ));
    }
    told(&nodes, &fields.moment(text)?)
}

/// The moment as far as the template asks for it.
fn told(nodes: &[Node], moment: &Moment) -> Result<Told, Error> {
    let (mut is_dated, mut is_timed, mut is_zoned) = (false, false, false);
    for node in nodes {
        if let Node::Field(field) = node {
            match field.pattern {
                "TZH" | "TZM" => is_zoned = true,
                pattern if is_of_day(pattern) => is_timed = true,
                _ => is_dated = true,
            }
        }
    }
    let east = moment.east.filter(|_| is_zoned);
    match (is_dated, is_timed) {
        (true, true) => {
            let clock = moment.days * MICROSECONDS_IN_DAY + moment.micros;
            Ok(Told::Timestamp(clock, east))
        }
        (false, true) => Ok(Told::Time(moment.micros, east)),
        _ if is_zoned => Err(bad_format("datetime format is zoned but not timed")),
        (true, false) => Ok(Told::Date(moment.days)),
        (false, false) => Err(bad_format("datetime format is not dated and not timed")),
    }
}

/// Whether a pattern is of a time of day.
fn is_of_day(pattern: &str) -> bool {
    let patterns = [
        "HH24", "HH12", "HH", "MI", "SS", "SSSS", "SSSSS", "MS", "US", "AM", "PM", "A.M.", "P.M.",
    ];
    patterns.contains(&pattern) || pattern.starts_with("FF")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn clock(text: &str, template: &str) -> String {
        let moment = read(text, template).unwrap();
        let micros = moment.days * MICROSECONDS_IN_DAY + moment.micros;
        let clock = super::super::moment::civil(micros).unwrap();
        clock.format("%Y-%m-%d %H:%M:%S%.f").to_string()
    }

    #[test]
    fn texts_are_read_beside_their_templates() {
        for (text, template, expected) in [
            (
                "2011$03!18 23_38_15",
                "YYYY-MM-DD HH24:MI:SS",
                "2011-03-18 23:38:15",
            ),
            ("05 Dec 2000", "DD Mon YYYY", "2000-12-05 00:00:00"),
            (
                "15 \"text between quote marks\" 98 54 45",
                r#"HH24 "\"text between quote marks\"" YY MI SS"#,
                "1998-01-01 15:54:45",
            ),
            ("20000-1116", "YYYY-MMDD", "+20000-11-16 00:00:00"),
            ("9-1116", "Y-MMDD", "2009-11-16 00:00:00"),
            (
                "97/2/16 8:14:30",
                "FMYY/FMMM/FMDD FMHH:FMMI:FMSS",
                "1997-02-16 08:14:30",
            ),
            ("1,582nd VIII 21", "Y,YYYth FMRM DD", "1582-08-21 00:00:00"),
            ("2020-032", "YYYY-DDD", "2020-02-01 00:00:00"),
            ("2005527", "IYYYIWID", "2006-01-01 00:00:00"),
            ("20050302", "YYYYMMDD", "2005-03-02 00:00:00"),
            ("11:12 PM 7", "HH12:MI AM SS", "0000-01-01 23:12:07"),
            ("1.5", "SS.MS", "0000-01-01 00:00:01.500"),
        ] {
            assert_eq!(clock(text, template), expected, "{text} {template}");
        }
    }

    #[test]
    fn strict_templates_are_fitted_by_each_character() {
        let noon = 12 * 3_600_000_000;
        for (text, template, expected) in [
            ("02-01-1970", "dd-mm-yyyy", Told::Date(1)),
            ("02011970 ", "ddmmyyyy", Told::Date(1)),
            ("12:00", "HH24:MI", Told::Time(noon, None)),
            ("12:00 -5", "HH24:MI TZH", Told::Time(noon, Some(-18_000))),
            (
                "1970-01-01T12",
                "yyyy-mm-dd\"T\"HH24",
                Told::Timestamp(noon, None),
            ),
        ] {
            assert_eq!(read_strictly(text, template).unwrap(), expected, "{text}");
        }
        for (text, template, message) in [
            ("12:34", "aaa", "invalid datetime format separator: \"a\""),
            ("10", "dd $", "invalid datetime format separator: \"$\""),
            ("1-2-1970", "dd/mm/yyyy", "unmatched format separator \"/\""),
            ("1t", "dd\"T\"", "unmatched format character \"T\""),
            (
                "12",
                "HH24:MI",
                "input string is too short for datetime format",
            ),
            (
                "1 x",
                "dd",
                "trailing characters remain in input string after datetime format",
            ),
            ("+1", "TZH", "datetime format is zoned but not timed"),
            ("", "", "datetime format is not dated and not timed"),
        ] {
            let error = read_strictly(text, template).unwrap_err();
            assert_eq!(error.sqlstate(), "22007", "{text}");
            assert!(error.to_string().contains(message), "{error}");
        }
    }

    #[test]
    fn other_texts_are_errors() {
        for (text, template, code) in [
            ("2016-13-10", "YYYY-MM-DD", "22008"),
            ("2016-06-13 25:00:00", "YYYY-MM-DD HH24:MI:SS", "22008"),
            ("10000000000", "FMYYYY", "22008"),
            ("13:00", "HH12:MI", "22007"),
            ("199711xy", "YYYYMMDD", "22007"),
            ("97/Feb/16", "YYMonDD", "22007"),
            ("2000 1", "YYYY IW", "22007"),
            ("1 2", "MM MM", "22007"),
        ] {
            assert_eq!(
                read(text, template).unwrap_err().sqlstate(),
                code,
                "{text} {template}"
            );
        }
    }
}
