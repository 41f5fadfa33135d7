//! The fields of the text of a date or time: numbers, words, parts with separators, offsets.

use super::Fault;

/// A piece of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Field<'a> {
    /// Digits, perhaps with a fraction behind a point.
    Number(&'a str),
    /// `12:34:56.7`
    Time(&'a str),
    /// `1999-01-08`, `8-Jan-1999`, `1/8/1999`, `1999.008`: the parts.
    Date(Vec<&'a str>),
    /// Letters, in any case.
    Word(&'a str),
    /// `America/New_York`, `EST5EDT`
    Place(&'a str),
    /// `+02`, `-03:30`
    Offset(&'a str),
    /// The sign before a year.
    Minus,
}

/// Cuts a text into its fields.
pub(super) fn fields(text: &str) -> Result<Vec<Field<'_>>, Fault> {
    let mut fields = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after = match first {
            c if c.is_ascii_digit() => numeric(rest, &mut fields),
            c if c.is_ascii_alphabetic() => alphabetic(rest, &mut fields),
            '+' | '-' => signed(rest, &mut fields)?,
            c if c.is_whitespace() || c == ',' => &rest[c.len_utf8()..],
            _ => return Err(Fault::Syntax),
        };
        rest = after;
    }
    Ok(fields)
}

/// The beginning of a text whose characters are such, and what follows.
fn run(text: &str, is_part: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !is_part(c)).unwrap_or(text.len()))
}

fn numeric<'a>(text: &'a str, fields: &mut Vec<Field<'a>>) -> &'a str {
    let (digits, after) = run(text, |c| c.is_ascii_digit());
    let mut following = after.chars();
    let (separator, next) = (following.next(), following.next());
    let goes_on = next.is_some_and(|c| c.is_ascii_alphanumeric());
    match separator {
        Some(':') => {
            let (time, rest) = run(text, |c| c.is_ascii_digit() || c == ':' || c == '.');
            fields.push(Field::Time(time));
            rest
        }
        Some(separator @ ('-' | '/' | '.')) if goes_on => {
            let (whole, rest) = parts(text, separator);
            let parts: Vec<&str> = whole.split(separator).collect();
            let is_fraction = separator == '.' && parts.len() == 2;
            fields.push(match is_fraction && digits.len() != 4 {
                true => Field::Number(whole),
                false => Field::Date(parts),
            });
            rest
        }
        _ => {
            fields.push(Field::Number(digits));
            after
        }
    }
}

/// Two or three parts of letters or of digits with a separator between them.
fn parts(text: &str, separator: char) -> (&str, &str) {
    let mut end = 0;
    for part in 0..3 {
        let from = match part {
            0 => 0,
            _ if text[end..].starts_with(separator) => end + 1,
            _ => break,
        };
        let is_word = text[from..].starts_with(|c: char| c.is_ascii_alphabetic());
        let (found, _) = run(&text[from..], |c| match is_word {
            true => c.is_ascii_alphabetic(),
            false => c.is_ascii_digit(),
        });
        if found.is_empty() {
            break;
        }
        end = from + found.len();
    }
    text.split_at(end)
}

fn alphabetic<'a>(text: &'a str, fields: &mut Vec<Field<'a>>) -> &'a str {
    let (word, after) = run(text, |c| c.is_ascii_alphabetic());
    let mut following = after.chars();
    let (separator, next) = (following.next(), following.next());
    // The T of ISO 8601.
    if word.eq_ignore_ascii_case("t")
        && separator.is_some_and(|c| c.is_ascii_digit())
        && !fields.is_empty()
    {
        return after;
    }
    if let Some(separator @ ('-' | '/')) = separator
        && next.is_some_and(|c| c.is_ascii_digit())
        && super::moment::month(word).is_some()
    {
        let (whole, rest) = parts(text, separator);
        fields.push(Field::Date(whole.split(separator).collect()));
        return rest;
    }
    let in_place = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '+' | '-');
    let (place, rest) = run(text, in_place);
    if place.contains('/')
        || (place.len() > word.len() && word.len() >= 3 && super::moment::month(word).is_none())
    {
        fields.push(Field::Place(place));
        return rest;
    }
    fields.push(Field::Word(word));
    after
}

fn signed<'a>(text: &'a str, fields: &mut Vec<Field<'a>>) -> Result<&'a str, Fault> {
    let (digits, rest) = run(&text[1..], |c| c.is_ascii_digit() || c == ':');
    if fields.is_empty() {
        if text.starts_with('-') {
            fields.push(Field::Minus);
        }
        return Ok(&text[1..]);
    }
    if digits.is_empty() {
        return Err(Fault::Syntax);
    }
    fields.push(Field::Offset(&text[..1 + digits.len()]));
    Ok(rest)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::Field::*;
    use super::*;

    #[test]
    fn texts_are_cut() {
        for (text, expected) in [
            (
                "1999-01-08 04:05:06.7+02",
                vec![
                    Date(vec!["1999", "01", "08"]),
                    Time("04:05:06.7"),
                    Offset("+02"),
                ],
            ),
            (
                "8-Jan-1999 4:05 PM EST5EDT",
                vec![
                    Date(vec!["8", "Jan", "1999"]),
                    Time("4:05"),
                    Word("PM"),
                    Place("EST5EDT"),
                ],
            ),
            (
                "20011227T040506.789-08",
                vec![Number("20011227"), Number("040506.789"), Offset("-08")],
            ),
            ("Jan-08-1999", vec![Date(vec!["Jan", "08", "1999"])]),
            ("-44-03-15", vec![Minus, Date(vec!["44", "03", "15"])]),
        ] {
            assert_eq!(fields(text).unwrap(), expected, "{text}");
        }
        assert!(fields("1999;01").is_err());
    }
}
