//! `to_date` and `to_timestamp` of a text and a template.
//!
//! The text is walked beside the template, as PostgreSQL does it: blanks before a field are skipped, and a separator of the
//! template stands for one of the text, whichever it is. Left out: names in other languages (`TM`).

mod fields;

use arrow::temporal_conversions::{MICROSECONDS, MICROSECONDS_IN_DAY};
use datafusion::common::{Result, ScalarValue};

use self::fields::{Fields, Moment, Source};
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
            Node::Separator | Node::Space if !is_exact => {
                skipped += i64::from(source.skip_separator()) - 1;
            }
            // What was skipped already may have stood for it.
            Node::Letter(_) if !is_exact && skipped > 0 => skipped -= 1,
            _ => source.skip_one(),
        }
    }
    fields.moment(text)
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
