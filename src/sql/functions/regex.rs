//! Functions over regular expressions.

use std::sync::Arc;

use arrow::array::{Array, ListBuilder, StringBuilder};
use arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, ScalarValue};

use super::Group;
use super::pattern::{Match, Pattern};
use super::row::{Call, Kind, Overload, list_of, text, texts};
use crate::error::{Error, sqlstate};
use crate::storage::schema::LIST_ELEMENT;

use Kind::{Bool, Int4, Int8, Text, TextRows, Texts};

pub(super) const FUNCTIONS: Group = &[
    (
        "regexp_match",
        &[Overload::new(&[Text, Text, Text], Texts, first_match).optional(1)],
    ),
    (
        "regexp_matches",
        &[Overload::new(&[Text, Text, Text], TextRows, all_matches).optional(1)],
    ),
    (
        "regexp_split_to_array",
        &[Overload::new(&[Text, Text, Text], Texts, split).optional(1)],
    ),
    (
        "regexp_split_to_table",
        &[Overload::new(&[Text, Text, Text], Texts, split).optional(1)],
    ),
    (
        "regexp_replace",
        &[
            Overload::new(&[Text, Text, Text, Text], Text, replace).optional(1),
            Overload::new(&[Text, Text, Text, Int8, Int8, Text], Text, replace_nth).optional(2),
        ],
    ),
    (
        "regexp_like",
        &[Overload::new(&[Text, Text, Text], Bool, like).optional(1)],
    ),
    (
        "regexp_count",
        &[Overload::new(&[Text, Text, Int8, Text], Int4, count).optional(2)],
    ),
    (
        "regexp_instr",
        &[Overload::new(&[Text, Text, Int8, Int8, Int8, Text, Int8], Int4, position).optional(5)],
    ),
    (
        "regexp_substr",
        &[Overload::new(&[Text, Text, Int8, Int8, Text, Int8], Text, part).optional(4)],
    ),
];

/// Those that give rows.
pub(super) const SETS: &[&str] = &["regexp_matches", "regexp_split_to_table"];

fn invalid(message: String) -> Error {
    Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message)
}

/// The pattern of a function that finds one place.
fn single(call: &Call<'_>, options: &str, function: &str) -> Result<Arc<Pattern>> {
    if options.contains('g') {
        let message = format!("{function}() does not support the \"global\" option");
        return Err(invalid(message).into());
    }
    Ok(call.patterns.get(call.text(1), options)?)
}

/// A place counted from 1; `default` where it is left out.
fn at_least(call: &Call<'_>, place: usize, name: &str, least: i64, default: i64) -> Result<usize> {
    let value = call.int(place).unwrap_or(default);
    if value < least {
        let message = format!("invalid value for parameter \"{name}\": {value}");
        return Err(invalid(message).into());
    }
    Ok(usize::try_from(value).unwrap_or(usize::MAX))
}

/// The byte at which the nth character begins, from 1.
fn byte_of(subject: &str, character: usize) -> usize {
    let mut starts = subject.char_indices().map(|(at, _)| at);
    starts
        .nth(character - 1)
        .unwrap_or_else(|| match character > subject.chars().count() + 1 {
            // Behind the end nothing is found.
            true => subject.len() + 1,
            false => subject.len(),
        })
}

fn of_span(subject: &str, span: Option<(usize, usize)>) -> Option<String> {
    span.map(|(from, to)| subject[from..to].to_string())
}

/// The groups of a match; the whole where there are none.
fn groups<'a>(subject: &'a str, found: &'a Match) -> impl Iterator<Item = Option<&'a str>> {
    let shown = if found.len() > 1 {
        &found[1..]
    } else {
        found.as_slice()
    };
    shown
        .iter()
        .map(|span| span.map(|(from, to)| &subject[from..to]))
}

fn first_match(call: &Call<'_>) -> Result<ScalarValue> {
    let pattern = single(call, call.text(2), "regexp_match")?;
    let subject = call.text(0);
    match pattern.first(subject) {
        Some(found) => Ok(texts(
            groups(subject, &found).map(|g| g.map(str::to_string)),
        )),
        None => call.null(),
    }
}

fn all_matches(call: &Call<'_>) -> Result<ScalarValue> {
    let pattern = call.patterns.get(call.text(1), call.text(2))?;
    let subject = call.text(0);
    let found = match pattern.global {
        true => pattern.matches(subject, 0),
        false => pattern.first(subject).into_iter().collect(),
    };
    let element = Field::new(LIST_ELEMENT, DataType::Utf8, true);
    let mut rows = ListBuilder::new(StringBuilder::new()).with_field(element);
    for found in &found {
        rows.append_value(groups(subject, found));
    }
    Ok(list_of(Arc::new(rows.finish()) as Arc<dyn Array>))
}

fn split(call: &Call<'_>) -> Result<ScalarValue> {
    let pattern = single(call, call.text(2), "regexp_split_to_array")?;
    let subject = call.text(0);
    let mut parts = Vec::new();
    let mut from = 0;
    for found in pattern.matches(subject, 0) {
        let Some((start, end)) = found[0] else {
            continue;
        };
        // An empty match at either end, or right behind the last one, parts nothing.
        if start == end && (start == from || start >= subject.len()) {
            continue;
        }
        parts.push(Some(subject[from..start].to_string()));
        from = end;
    }
    parts.push(Some(subject[from..].to_string()));
    Ok(texts(parts))
}

/// Writes what stands for a match: `\1` a group, `\&` all of it.
fn put_replacement(replacement: &str, subject: &str, found: &Match, out: &mut String) {
    let mut characters = replacement.chars();
    while let Some(c) = characters.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let group = match characters.next() {
            Some('&') => Some(0),
            Some(digit @ '1'..='9') => Some(digit as usize - '0' as usize),
            Some('\\') => {
                out.push('\\');
                continue;
            }
            Some(other) => {
                out.push('\\');
                out.push(other);
                continue;
            }
            None => {
                out.push('\\');
                continue;
            }
        };
        let span = group.and_then(|g| found.get(g).copied().flatten());
        if let Some((from, to)) = span {
            out.push_str(&subject[from..to]);
        }
    }
}

/// The subject with matches replaced: the nth, or all where `nth` is 0.
fn replaced(subject: &str, found: &[Match], replacement: &str, nth: usize) -> String {
    let mut out = String::with_capacity(subject.len());
    let mut from = 0;
    for (place, found) in found.iter().enumerate() {
        let Some((start, end)) = found[0] else {
            continue;
        };
        if nth == 0 || place + 1 == nth {
            out.push_str(&subject[from..start]);
            put_replacement(replacement, subject, found, &mut out);
            from = end;
        }
    }
    out.push_str(&subject[from..]);
    out
}

fn replace(call: &Call<'_>) -> Result<ScalarValue> {
    let options = call.text(3);
    if let Some(digit) = options.chars().next().filter(char::is_ascii_digit) {
        let message = format!("invalid regular expression option: \"{digit}\"");
        let hint = "If you meant to use regexp_replace() with a start parameter, cast the fourth \
                    argument to integer explicitly.";
        return Err(invalid(message).with_hint(hint).into());
    }
    let pattern = call.patterns.get(call.text(1), options)?;
    let subject = call.text(0);
    let found = match pattern.global {
        true => pattern.matches(subject, 0),
        false => pattern.first(subject).into_iter().collect(),
    };
    Ok(text(replaced(subject, &found, call.text(2), 0)))
}

fn replace_nth(call: &Call<'_>) -> Result<ScalarValue> {
    let start = at_least(call, 3, "start", 1, 1)?;
    let pattern = call.patterns.get(call.text(1), call.text(5))?;
    let default = i64::from(!pattern.global);
    let nth = at_least(call, 4, "n", 0, default)?;
    let subject = call.text(0);
    let found = pattern.matches(subject, byte_of(subject, start));
    Ok(text(replaced(subject, &found, call.text(2), nth)))
}

fn like(call: &Call<'_>) -> Result<ScalarValue> {
    let pattern = single(call, call.text(2), "regexp_like")?;
    Ok(ScalarValue::from(pattern.first(call.text(0)).is_some()))
}

fn count(call: &Call<'_>) -> Result<ScalarValue> {
    let start = at_least(call, 2, "start", 1, 1)?;
    let pattern = single(call, call.text(3), "regexp_count")?;
    let subject = call.text(0);
    let found = pattern.matches(subject, byte_of(subject, start));
    Ok(ScalarValue::Int32(i32::try_from(found.len()).ok()))
}

/// The span of the nth match, or of a group in it.
fn nth_span(
    call: &Call<'_>,
    (start, nth, options, group): (usize, usize, &str, usize),
    function: &str,
) -> Result<Option<(usize, usize)>> {
    let start = at_least(call, start, "start", 1, 1)?;
    let nth = at_least(call, nth, "n", 1, 1)?;
    let group = at_least(call, group, "subexpr", 0, 0)?;
    let pattern = single(call, options, function)?;
    let subject = call.text(0);
    let found = pattern.matches(subject, byte_of(subject, start));
    let span = found.get(nth - 1).and_then(|m| m.get(group).copied());
    Ok(span.flatten())
}

fn position(call: &Call<'_>) -> Result<ScalarValue> {
    let at_end = call.int(4).unwrap_or(0);
    if !(0..=1).contains(&at_end) {
        let message = format!("invalid value for parameter \"endoption\": {at_end}");
        return Err(invalid(message).into());
    }
    let span = nth_span(call, (2, 3, call.text(5), 6), "regexp_instr")?;
    let place = span.map_or(0, |(from, to)| {
        let byte = if at_end == 1 { to } else { from };
        call.text(0)[..byte].chars().count() + 1
    });
    Ok(ScalarValue::Int32(i32::try_from(place).ok()))
}

fn part(call: &Call<'_>) -> Result<ScalarValue> {
    let span = nth_span(call, (2, 3, call.text(4), 5), "regexp_substr")?;
    Ok(ScalarValue::Utf8(of_span(call.text(0), span)))
}
