//! JSON values: walked, compared, written.

use std::fmt::Write;

use serde_json::Value;

use crate::error::{Error, Result, sqlstate};

/// Reads a text.
///
/// # Errors
/// 22P02 for one that is no JSON.
pub fn read(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|e| {
        let message = "invalid input syntax for type json";
        Error::invalid(sqlstate::INVALID_TEXT_REPRESENTATION, message).with_detail(e.to_string())
    })
}

/// The value of a key, or at a place, which counts from the end when it is negative.
pub(super) fn get<'a>(value: &'a Value, step: &Step) -> Option<&'a Value> {
    match (value, step) {
        (Value::Object(map), Step::Key(key)) => map.get(key),
        (Value::Array(items), Step::Place(place)) => {
            let from_end = || i64::try_from(items.len()).ok()?.checked_add(*place);
            let place = if *place < 0 { from_end()? } else { *place };
            items.get(usize::try_from(place).ok()?)
        }
        _ => None,
    }
}

/// One step into a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Of an object.
    Key(String),
    /// Of an array.
    Place(i64),
}

/// The value at the end of a path, whose steps are keys or places as the values on the way ask for.
pub(super) fn walk<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, step| match value {
        Value::Array(_) => get(value, &Step::Place(step.trim().parse().ok()?)),
        _ => get(value, &Step::Key(step.clone())),
    })
}

/// Whether `outer` holds `inner`, as `@>` says: objects by their keys, arrays as sets, scalars by being equal; an array
/// also holds a scalar that is one of its items.
pub(super) fn contains(outer: &Value, inner: &Value) -> bool {
    match (outer, inner) {
        (Value::Array(_), Value::Object(_)) => false,
        (Value::Array(items), inner) if !inner.is_array() => items.iter().any(|i| same(i, inner)),
        _ => holds(outer, inner),
    }
}

fn holds(outer: &Value, inner: &Value) -> bool {
    match (outer, inner) {
        (Value::Object(outer), Value::Object(inner)) => inner
            .iter()
            .all(|(key, value)| outer.get(key).is_some_and(|found| holds(found, value))),
        (Value::Array(outer), Value::Array(inner)) => inner
            .iter()
            .all(|value| outer.iter().any(|found| holds(found, value))),
        _ => same(outer, inner),
    }
}

/// Numbers are the same whatever they are written like: 1 is 1.0.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(l), Value::Number(r)) => l == r || l.as_f64() == r.as_f64(),
        _ => left == right,
    }
}

/// Whether a key of an object, or a text in an array, is that.
pub(super) fn has_key(value: &Value, key: &str) -> bool {
    match value {
        Value::Object(map) => map.contains_key(key),
        Value::Array(items) => items.iter().any(|item| item.as_str() == Some(key)),
        Value::String(text) => text == key,
        _ => false,
    }
}

/// The word for the kind of value.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The value as text: a string without quotes; `None` for null.
pub fn plain(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        value => Some(write(value)),
    }
}

/// The value as JSON.
pub fn write(value: &Value) -> String {
    let mut text = String::new();
    put(value, &mut text);
    text
}

fn put(value: &Value, text: &mut String) {
    match value {
        Value::Array(items) => {
            text.push('[');
            for (place, item) in items.iter().enumerate() {
                text.push_str(if place > 0 { ", " } else { "" });
                put(item, text);
            }
            text.push(']');
        }
        Value::Object(map) => {
            // As PostgreSQL keeps them: short keys first.
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| (key.len(), *key));
            text.push('{');
            for (place, (key, item)) in entries.into_iter().enumerate() {
                text.push_str(if place > 0 { ", " } else { "" });
                // Writing to a String cannot fail.
                let _ = write!(text, "{}: ", Value::String(key.clone()));
                put(item, text);
            }
            text.push('}');
        }
        scalar => {
            let _ = write!(text, "{scalar}");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn values_hold_each_other_as_postgres_says() {
        let cases = [
            (r#"{"a": 1, "b": 2}"#, r#"{"b": 2.0}"#, true),
            (
                r#"{"a": {"b": [1, 2, 3]}}"#,
                r#"{"a": {"b": [3, 1, 1]}}"#,
                true,
            ),
            (r#"{"a": {"b": 1}}"#, r#"{"b": 1}"#, false),
            ("[1, 2, 3]", "[3, 1]", true),
            ("[1, [2, 3]]", "[[2]]", true),
            ("[1, [2, 3]]", "[2]", false),
            (r#"["a", "b"]"#, r#""a""#, true),
            (r#""a""#, r#"["a"]"#, false),
            (r#"[{"a": 1, "b": 2}]"#, r#"[{"a": 1}]"#, true),
            (r#"[{"a": 1}]"#, r#"{"a": 1}"#, false),
            ("{}", "{}", true),
            ("[]", "[]", true),
            ("null", "null", true),
        ];
        for (outer, inner, expected) in cases {
            let found = contains(&read(outer).unwrap(), &read(inner).unwrap());
            assert_eq!(found, expected, "{outer} @> {inner}");
        }
    }

    #[test]
    fn values_are_written_as_jsonb() {
        let text = r#"{"long":1,"b":[true,null,"x\"y"],"a":{}}"#;
        let written = write(&read(text).unwrap());
        assert_eq!(
            written,
            r#"{"a": {}, "b": [true, null, "x\"y"], "long": 1}"#
        );
        assert_eq!(read("{a}").unwrap_err().sqlstate(), "22P02");
    }

    #[test]
    fn paths_lead_through_objects_and_arrays() {
        let value = read(r#"{"a": [{"b": 7}, 8]}"#).unwrap();
        let path = |steps: &[&str]| {
            let steps: Vec<String> = steps.iter().map(|s| (*s).to_string()).collect();
            walk(&value, &steps).map(write)
        };
        assert_eq!(path(&["a", "0", "b"]).as_deref(), Some("7"));
        assert_eq!(path(&["a", "-1"]).as_deref(), Some("8"));
        assert_eq!(path(&["a", "x"]), None);
        assert_eq!(path(&["b"]), None);
    }
}
