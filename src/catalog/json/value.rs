//! JSON values: walked, compared, written.

use std::fmt::Write;

/// A JSON value as `jsonb` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` and `false`
    Bool(bool),
    /// A number as NUMERIC writes it: all of its digits, and no exponent.
    Number(String),
    /// A text, without quotes.
    String(String),
    /// An array.
    Array(Vec<Value>),
    /// An object.
    Object(Map),
}

impl Value {
    /// The text that it is, if it is one.
    pub(super) fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The value, with null left in its place.
    pub(super) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Null)
    }
}

/// The members of an object: each key once, short keys first, those of one length by their bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Map(Vec<(String, Value)>);

impl Map {
    /// The object of these members, the last of each key.
    pub fn of(mut members: Vec<(String, Value)>) -> Self {
        // The sort keeps the order of equal keys, and of these the first is kept.
        members.reverse();
        members.sort_by(|(a, _), (b, _)| order(a).cmp(&order(b)));
        members.dedup_by(|(later, _), (kept, _)| later == kept);
        Self(members)
    }

    fn place(&self, key: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(k, _)| order(k).cmp(&order(key)))
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.place(key).ok().map(|at| &self.0[at].1)
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        self.place(key).ok().map(|at| &mut self.0[at].1)
    }

    pub(super) fn contains_key(&self, key: &str) -> bool {
        self.place(key).is_ok()
    }

    pub(super) fn insert(&mut self, key: String, value: Value) {
        match self.place(&key) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.0.insert(at, (key, value)),
        }
    }

    pub(super) fn remove(&mut self, key: &str) {
        if let Ok(at) = self.place(key) {
            self.0.remove(at);
        }
    }

    /// The members of both, those of `other` where both have a key.
    pub(super) fn merged(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        Self::of(self.0)
    }

    /// The members in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The members in order.
    pub(super) fn into_members(self) -> Vec<(String, Value)> {
        self.0
    }
}

fn order(key: &str) -> (usize, &str) {
    (key.len(), key)
}

/// The value of a key, or at a place, which counts from the end when it is negative.
pub(super) fn get<'a>(value: &'a Value, step: &Step) -> Option<&'a Value> {
    match (value, step) {
        (Value::Object(map), Step::Key(key)) => map.get(key),
        (Value::Array(items), Step::Place(place)) => items.get(place_in(items.len(), *place)?),
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

/// The place in an array of so many items, which counts from the end when it is negative.
pub(super) fn place_in(items: usize, place: i64) -> Option<usize> {
    let from_end = || i64::try_from(items).ok()?.checked_add(place);
    let place = if place < 0 { from_end()? } else { place };
    usize::try_from(place).ok().filter(|at| *at < items)
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
        (Value::Array(items), inner) if !matches!(inner, Value::Array(_)) => {
            items.iter().any(|i| same(i, inner))
        }
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
        (Value::Number(l), Value::Number(r)) => without_zeros(l) == without_zeros(r),
        _ => left == right,
    }
}

/// The number without zeros behind the point, which say nothing of its value.
pub(super) fn without_zeros(number: &str) -> &str {
    match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => number,
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
pub fn kind(value: &Value) -> &'static str {
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

/// The value as `jsonb` writes it.
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
            text.push('{');
            for (place, (key, item)) in map.iter().enumerate() {
                text.push_str(if place > 0 { ", " } else { "" });
                put_string(key, text);
                text.push_str(": ");
                put(item, text);
            }
            text.push('}');
        }
        Value::Null => text.push_str("null"),
        Value::Bool(true) => text.push_str("true"),
        Value::Bool(false) => text.push_str("false"),
        Value::Number(number) => text.push_str(number),
        Value::String(string) => put_string(string, text),
    }
}

/// A text in quotes.
pub fn put_string(string: &str, text: &mut String) {
    text.push('"');
    for c in string.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            c if c < ' ' => {
                // Writing to a String cannot fail.
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::read::read;
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
        let text =
            r#"{"long":1,"b":[true,null,"x\"y\u0001\n"],"a":{},"b":[true,null,"x\"y\u0001\n"]}"#;
        let written = write(&read(text).unwrap());
        assert_eq!(
            written,
            r#"{"a": {}, "b": [true, null, "x\"y\u0001\n"], "long": 1}"#
        );
        let last = write(&read(r#"{"k": 1, "a": 2, "k": 3, "k": 4}"#).unwrap());
        assert_eq!(last, r#"{"a": 2, "k": 4}"#);
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
