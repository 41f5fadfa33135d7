//! `SUBSTRING(x SIMILAR pattern ESCAPE e)`: what stands between the two `e"` of a pattern of SIMILAR TO.

use datafusion::common::{Result, ScalarValue};
use regex::Regex;

use super::Group;
use super::row::{Call, Kind, Overload, text};
use crate::error::{Error, sqlstate};

use Kind::Text;

/// The function that is called.
pub(crate) const SUBSTRING_SIMILAR: &str = "substring_similar";

pub(super) const FUNCTIONS: Group = &[(
    SUBSTRING_SIMILAR,
    &[Overload::new(&[Text, Text, Text], Text, substring)],
)];

fn substring(call: &Call<'_>) -> Result<ScalarValue> {
    let mut escape = call.text(2).chars();
    let escape = match (escape.next(), escape.next()) {
        (first, None) => first,
        _ => {
            let message = "invalid escape string";
            let error = Error::invalid(sqlstate::INVALID_ESCAPE_SEQUENCE, message);
            return Err(error
                .with_hint("Escape string must be empty or one character.")
                .into());
        }
    };
    let pattern = regex_of(call.text(1), escape)?;
    let regex = Regex::new(&pattern).map_err(|error| {
        let message = format!("invalid regular expression: {error}");
        Error::invalid(sqlstate::INVALID_REGULAR_EXPRESSION, message)
    })?;
    let found = regex.captures(call.text(0));
    match found.and_then(|found| Some(found.get(1).or_else(|| found.get(0))?.as_str().to_string()))
    {
        Some(found) => Ok(text(found)),
        None => call.null(),
    }
}

/// The regular expression of the pattern, whose first group is what is asked for.
///
/// # Errors
/// 2200C for more than two separators.
fn regex_of(pattern: &str, escape: Option<char>) -> Result<String, Error> {
    let mut out = String::from("(?s)^(?:");
    let (mut separators, mut in_class) = (0, false);
    let mut characters = pattern.chars();
    while let Some(c) = characters.next() {
        if Some(c) == escape {
            match characters.next() {
                Some('"') => {
                    separators += 1;
                    // The first part takes as little as it can, as PostgreSQL's does.
                    match separators {
                        1 => out = out.replacen("(?s)^(?:", "(?s)^(?:(?U:", 1) + "))(",
                        2 => out.push_str(")(?:"),
                        _ => {
                            let message = "SQL regular expression may not contain more than two escape-double-quote separators";
                            return Err(Error::invalid(
                                sqlstate::INVALID_USE_OF_ESCAPE_CHARACTER,
                                message,
                            ));
                        }
                    }
                }
                Some(next) => out.push_str(&regex::escape(next.encode_utf8(&mut [0; 4]))),
                None => {}
            }
            continue;
        }
        match c {
            '[' => in_class = true,
            ']' => in_class = false,
            _ => {}
        }
        match c {
            '%' if !in_class => out.push_str(".*"),
            '_' if !in_class => out.push('.'),
            '(' if !in_class => out.push_str("(?:"),
            '.' | '^' | '$' | '\\' if !in_class => {
                out.push('\\');
                out.push(c);
            }
            '\\' => out.push_str("\\\\"),
            c => out.push(c),
        }
    }
    out.push_str(")$");
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_part_between_separators_is_a_group() {
        let regex = |pattern| regex_of(pattern, Some('#')).unwrap();
        assert_eq!(regex("foo#\"b#\"%"), "(?s)^(?:(?U:foo))(b)(?:.*)$");
        assert_eq!(regex("a_#%.c"), "(?s)^(?:a.%\\.c)$");
        let error = regex_of("#\"a#\"b#\"", Some('#')).unwrap_err();
        assert_eq!(error.sqlstate(), "2200C");
    }
}
