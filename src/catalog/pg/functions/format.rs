//! `format`: `%s` is a value, `%I` a name, `%L` a literal; `%1$s` says which argument, `%-10s` and `%*s` how wide.

use std::iter::Peekable;
use std::str::Chars;

use datafusion::common::Result;

use super::{Call, Definition, Gives, Value};
use crate::catalog::pg::definition::{quote_ident, quote_literal};
use crate::error::{Error, sqlstate};

/// The most arguments of a function, as in PostgreSQL.
const ARGUMENTS_MAX: usize = 100;
/// The most characters that a value is made wide.
const WIDTH_MAX: usize = 1 << 20;

/// Arguments behind the first are texts by then.
pub(super) const FUNCTIONS: &[Definition] =
    &[Definition::new("format", 1..=ARGUMENTS_MAX, Gives::Text, format_text).with_nulls()];

/// One specifier.
#[derive(Debug, Default, PartialEq, Eq)]
struct Specifier {
    /// The argument that is written; without one the next.
    place: Option<usize>,
    /// Whether blanks come behind the value.
    is_left: bool,
    width: Width,
    kind: char,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Width {
    #[default]
    None,
    Characters(usize),
    /// That of an argument, or of the next.
    Argument(Option<usize>),
}

fn wrong(message: impl Into<String>) -> Error {
    Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message)
}

fn unterminated() -> Error {
    wrong("unterminated format() type specifier").with_hint("For a single \"%\" use \"%%\".")
}

fn out_of_range() -> Error {
    let message = "number is out of range";
    Error::invalid(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, message)
}

fn format_text(call: &Call<'_>) -> Result<Value> {
    let Some(pattern) = call.text(0) else {
        return Ok(Value::Null);
    };
    let (mut result, mut next) = (String::new(), 1);
    let mut rest = pattern.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '%' {
            result.push(c);
        } else if rest.next_if_eq(&'%').is_some() {
            result.push('%');
        } else {
            let specifier = Specifier::read(&mut rest)?;
            specifier.write(call, &mut next, &mut result)?;
        }
    }
    Ok(result.into())
}

/// The number that comes next, if one does.
fn number(rest: &mut Peekable<Chars<'_>>) -> Result<Option<usize>, Error> {
    let mut digits = String::new();
    while let Some(digit) = rest.next_if(char::is_ascii_digit) {
        digits.push(digit);
    }
    if digits.is_empty() {
        return Ok(None);
    }
    let number: i32 = digits.parse().map_err(|_| out_of_range())?;
    Ok(usize::try_from(number).ok())
}

/// The argument that a number before `$` means.
fn argument(number: usize) -> Result<usize, Error> {
    match number {
        0 => Err(wrong(
            "format specifies argument 0, but arguments are numbered from 1",
        )),
        number => Ok(number),
    }
}

impl Specifier {
    /// The specifier behind a percent sign.
    fn read(rest: &mut Peekable<Chars<'_>>) -> Result<Self, Error> {
        let mut specifier = Self::default();
        match number(rest)? {
            Some(place) if rest.next_if_eq(&'$').is_some() => {
                specifier.place = Some(argument(place)?);
            }
            // No flags stand behind a width.
            Some(width) => {
                specifier.width = Width::Characters(width);
                return specifier.of_kind(rest);
            }
            None => {}
        }
        while rest.next_if_eq(&'-').is_some() {
            specifier.is_left = true;
        }
        if rest.next_if_eq(&'*').is_some() {
            let place = number(rest)?;
            if place.is_some() && rest.next_if_eq(&'$').is_none() {
                return Err(wrong("width argument position must be ended by \"$\""));
            }
            specifier.width = Width::Argument(place.map(argument).transpose()?);
        } else if let Some(width) = number(rest)? {
            specifier.width = Width::Characters(width);
        }
        specifier.of_kind(rest)
    }

    fn of_kind(self, rest: &mut Peekable<Chars<'_>>) -> Result<Self, Error> {
        match rest.next() {
            Some(kind @ ('s' | 'I' | 'L')) => Ok(Self { kind, ..self }),
            Some(other) => {
                let message = format!("unrecognized format() type specifier \"{other}\"");
                Err(wrong(message).with_hint("For a single \"%\" use \"%%\"."))
            }
            None => Err(unterminated()),
        }
    }

    /// Writes the value; `next` is the argument that comes next.
    fn write(self, call: &Call<'_>, next: &mut usize, result: &mut String) -> Result<()> {
        let mut take = |place: Option<usize>| {
            let place = place.unwrap_or(*next);
            if place >= call.len() {
                return Err(wrong("too few arguments for format()"));
            }
            *next = place + 1;
            Ok(call.text(place))
        };
        let (width, is_left) = match self.width {
            Width::None => (0, self.is_left),
            Width::Characters(width) => (width, self.is_left),
            Width::Argument(place) => {
                let width = width_of(take(place)?.as_deref())?;
                let characters = usize::try_from(width.unsigned_abs()).unwrap_or(usize::MAX);
                (characters, self.is_left || width < 0)
            }
        };
        let value = take(self.place)?;
        let text = match self.kind {
            'I' => {
                let message = "null values cannot be formatted as an SQL identifier";
                let code = sqlstate::NULL_VALUE_NOT_ALLOWED;
                quote_ident(&value.ok_or_else(|| Error::invalid(code, message))?)
            }
            'L' => value.map_or("NULL".to_string(), |text| quote_literal(&text)),
            _ => value.unwrap_or_default(),
        };
        if width > WIDTH_MAX {
            let message = "requested length too large";
            return Err(Error::limit(sqlstate::PROGRAM_LIMIT_EXCEEDED, message).into());
        }
        let blanks = " ".repeat(width.saturating_sub(text.chars().count()));
        let parts = if is_left {
            [text, blanks]
        } else {
            [blanks, text]
        };
        result.extend(parts);
        Ok(())
    }
}

/// The width that an argument says; NULL is none.
fn width_of(text: Option<&str>) -> Result<i32, Error> {
    let Some(text) = text else {
        return Ok(0);
    };
    text.trim().parse().map_err(|_| {
        let message = format!("invalid input syntax for type integer: \"{text}\"");
        Error::invalid(sqlstate::INVALID_TEXT_REPRESENTATION, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifiers_are_read_as_they_are_written() {
        let read = |text: &str| Specifier::read(&mut text.chars().peekable()).ok();
        let of = |place, is_left, width, kind| {
            Some(Specifier {
                place,
                is_left,
                width,
                kind,
            })
        };
        assert_eq!(read("s"), of(None, false, Width::None, 's'));
        assert_eq!(read("2$-5L"), of(Some(2), true, Width::Characters(5), 'L'));
        assert_eq!(read("--*I"), of(None, true, Width::Argument(None), 'I'));
        let both = Width::Argument(Some(2));
        assert_eq!(read("1$*2$s"), of(Some(1), false, both, 's'));
        for wrong in ["", "d", "0$s", "5-s", "*2s", "99999999999s", "1$"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
