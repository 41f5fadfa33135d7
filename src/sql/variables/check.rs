//! The parameters whose values have rules of their own.

use super::list;
use super::parameter::Parameter;
use crate::error::{Error, Result};
use crate::sql::format::Style;
use crate::sql::format::Zone;

/// The value of a parameter that `text` means. `now` is its value so far, which a part of a value may leave in place.
///
/// # Errors
/// 22023 for a value that it cannot have, 0A000 for one that PostgreSQL takes and we do not.
pub fn check(parameter: &Parameter, text: &str, now: &str) -> Result<String> {
    let value = parameter.parse(text)?;
    match parameter.name {
        "DateStyle" | "TimeZone" | "client_encoding" => styled(parameter, text, now),
        "search_path" => match list::split(text) {
            Some(_) => Ok(value),
            None => Err(parameter.wrong(text).with_detail("List syntax is invalid.")),
        },
        "application_name" => Ok(ascii(text)),
        "standard_conforming_strings" if value == "off" => Err(unsupported(parameter, &value)),
        "transform_null_equals" if value == "on" => Err(unsupported(parameter, &value)),
        _ => Ok(value),
    }
}

/// A value that the writing of rows follows.
fn styled(parameter: &Parameter, text: &str, now: &str) -> Result<String> {
    if parameter.name == "TimeZone"
        && let Ok(hours) = text.trim().parse::<f64>()
    {
        let seconds = hours * 3_600.0;
        // The least and the most that PostgreSQL takes: a week.
        if seconds.abs() >= 604_800.0 {
            return Err(parameter.wrong(text));
        }
        return Ok(Zone::fixed(seconds as i32).name().to_string());
    }
    let mut style = Style::default();
    style.set(parameter.name, now)?;
    style.set(parameter.name, text)?;
    style
        .show(parameter.name)
        .ok_or_else(|| parameter.wrong(text))
}

/// What clients call themselves ends up in logs: a question mark for each byte that is no printable ASCII.
fn ascii(text: &str) -> String {
    let printable = |byte: u8| {
        if (b' '..=b'~').contains(&byte) {
            byte
        } else {
            b'?'
        }
    };
    text.bytes()
        .map(|byte| char::from(printable(byte)))
        .collect()
}

fn unsupported(parameter: &Parameter, value: &str) -> Error {
    Error::unsupported(format!("{} = {value} is not supported", parameter.name))
}
