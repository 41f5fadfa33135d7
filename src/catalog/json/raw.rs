//! Parts of `json`, as they are written.

use super::read::{items, members, read};
use super::value::{Step, place_in, plain, put_string};
use crate::error::Result;

/// The value of a key, the last of it, or at a place.
///
/// # Errors
/// 22P02 for a text that is no JSON.
pub(super) fn get<'a>(text: &'a str, step: &Step) -> Result<Option<&'a str>> {
    Ok(match step {
        Step::Key(key) => members(text)?.and_then(|members| {
            let found = members.into_iter().rfind(|(known, _)| known == key);
            found.map(|(_, value)| value)
        }),
        Step::Place(place) => items(text)?.and_then(|items| {
            let at = place_in(items.len(), *place)?;
            items.get(at).copied()
        }),
    })
}

/// The value at the end of a path, whose steps are keys or places as the values on the way ask for.
///
/// # Errors
/// As [`get`].
pub(super) fn walk<'a>(text: &'a str, path: &[String]) -> Result<Option<&'a str>> {
    let mut found = text;
    for step in path {
        let is_array = found.trim_start().starts_with('[');
        let step = match (is_array, step.trim().parse()) {
            (true, Ok(place)) => Step::Place(place),
            (true, Err(_)) => return Ok(None),
            (false, _) => Step::Key(step.clone()),
        };
        match get(found, &step)? {
            Some(part) => found = part,
            None => return Ok(None),
        }
    }
    Ok(Some(found))
}

/// A value as text: a string without quotes, `None` for null, all else as it is written.
///
/// # Errors
/// As [`get`].
pub fn text(part: &str) -> Result<Option<String>> {
    match part.as_bytes().first() {
        Some(b'"' | b'n') => Ok(plain(&read(part)?)),
        _ => Ok(Some(part.to_string())),
    }
}

/// Without the members of objects that are null, at any depth, and without blanks.
///
/// # Errors
/// As [`get`].
pub(super) fn strip_nulls(text: &str) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    put_stripped(text.trim(), &mut out)?;
    Ok(out)
}

fn put_stripped(text: &str, out: &mut String) -> Result<()> {
    if let Some(members) = members(text)? {
        out.push('{');
        let mut is_first = true;
        for (key, value) in members.into_iter().filter(|(_, value)| *value != "null") {
            out.push_str(if is_first { "" } else { "," });
            is_first = false;
            put_string(&key, out);
            out.push(':');
            put_stripped(value, out)?;
        }
        out.push('}');
    } else if let Some(items) = items(text)? {
        out.push('[');
        for (place, item) in items.into_iter().enumerate() {
            out.push_str(if place > 0 { "," } else { "" });
            put_stripped(item, out)?;
        }
        out.push(']');
    } else {
        read(text)?;
        out.push_str(text);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn parts_keep_blanks_and_digits() {
        let json = r#" {"b": 1.0,  "a" : [1e1,  "x\n", null], "b":{ "c":null, "d": [null ,1] } } "#;
        let key = |key: &str| get(json, &Step::Key(key.to_string())).unwrap();
        assert_eq!(key("a"), Some("[1e1,  \"x\\n\", null]"));
        assert_eq!(key("b"), Some(r#"{ "c":null, "d": [null ,1] }"#));
        assert_eq!(key("c"), None);
        assert_eq!(get(json, &Step::Place(0)).unwrap(), None);
        let path = |steps: &[&str]| {
            let steps: Vec<String> = steps.iter().map(|s| (*s).to_string()).collect();
            walk(json, &steps).unwrap()
        };
        assert_eq!(path(&["a", "-3"]), Some("1e1"));
        assert_eq!(path(&["a", "x"]), None);
        assert_eq!(path(&["b", "d", "1"]), Some("1"));
        assert_eq!(path(&["b", "d", "1", "e"]), None);
        assert_eq!(text("\"x\\n\"").unwrap().as_deref(), Some("x\n"));
        assert_eq!(text("null").unwrap(), None);
        assert_eq!(text("[1,  2]").unwrap().as_deref(), Some("[1,  2]"));
        let stripped = strip_nulls(json).unwrap();
        assert_eq!(
            stripped,
            r#"{"b":1.0,"a":[1e1,"x\n",null],"b":{"d":[null,1]}}"#
        );
    }
}
