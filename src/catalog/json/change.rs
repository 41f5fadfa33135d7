//! JSON values made from others: joined, without some of their parts, with new ones.

use super::value::{Map, Step, Value, place_in, put_string, write};
use crate::error::{Error, Result, sqlstate};

/// `a || b`: the members of both objects, those of the second where a key is in both; else the items of both, where what
/// is no array is an array of itself.
pub(super) fn concat(left: Value, right: Value) -> Value {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => Value::Object(left.merged(right)),
        (left, right) => {
            let items = |value| match value {
                Value::Array(items) => items,
                other => vec![other],
            };
            Value::Array([items(left), items(right)].concat())
        }
    }
}

/// `a - 'key'`, `a - 2`: without a member, or without items.
pub(super) fn without(mut value: Value, part: &Step) -> Value {
    match (&mut value, part) {
        (Value::Object(map), Step::Key(key)) => {
            map.remove(key);
        }
        (Value::Array(items), Step::Key(text)) => {
            items.retain(|item| item.as_str() != Some(text));
        }
        (Value::Array(items), Step::Place(place)) => {
            if let Some(at) = place_in(items.len(), *place) {
                items.remove(at);
            }
        }
        _ => {}
    }
    value
}

/// `a #- '{b,0}'`: without what is at the end of a path.
pub(super) fn without_path(mut value: Value, path: &[String]) -> Value {
    if let Some((last, steps)) = path.split_last()
        && let Some(parent) = find(&mut value, steps)
    {
        let step = match parent {
            Value::Array(_) => last.trim().parse().map(Step::Place).ok(),
            _ => Some(Step::Key(last.clone())),
        };
        if let Some(step) = step {
            *parent = without(parent.take(), &step);
        }
    }
    value
}

/// `jsonb_set`: with another value at the end of a path, which may be a new member or item where `creates` says so. What
/// is on the way there must be there.
pub(super) fn with(mut value: Value, path: &[String], new: Value, creates: bool) -> Value {
    if let Some((last, steps)) = path.split_last()
        && let Some(parent) = find(&mut value, steps)
    {
        match parent {
            Value::Object(map) if creates || map.contains_key(last) => {
                map.insert(last.clone(), new);
            }
            Value::Array(items) => {
                let place = last.trim().parse::<i64>().ok();
                match place.map(|place| (place, place_in(items.len(), place))) {
                    Some((_, Some(at))) => items[at] = new,
                    Some((place, None)) if creates && place < 0 => items.insert(0, new),
                    Some((_, None)) if creates => items.push(new),
                    _ => {}
                }
            }
            _ => {}
        }
    }
    value
}

/// `jsonb_insert`: with another value at the end of a path, before what is there, or behind it where `after` says so. What
/// is on the way there must be there, and in an object the key must not.
///
/// # Errors
/// 22023 for a key that an object has.
pub(super) fn inserted(
    mut value: Value,
    path: &[String],
    new: Value,
    after: bool,
) -> Result<Value> {
    if let Some((last, steps)) = path.split_last()
        && let Some(parent) = find(&mut value, steps)
    {
        match parent {
            Value::Object(map) if map.contains_key(last) => {
                let message = "cannot replace existing key";
                let error = Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message);
                return Err(
                    error.with_hint("Try using the function jsonb_set to replace key value.")
                );
            }
            Value::Object(map) => map.insert(last.clone(), new),
            Value::Array(items) => {
                let place = last.trim().parse::<i64>().ok();
                match place.map(|place| (place, place_in(items.len(), place))) {
                    Some((_, Some(at))) => items.insert(at + usize::from(after), new),
                    Some((place, None)) if place < 0 => items.insert(0, new),
                    Some((_, None)) => items.push(new),
                    None => {}
                }
            }
            _ => {}
        }
    }
    Ok(value)
}

/// Without the members of objects that are null, at any depth.
pub(super) fn strip_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let members = map.into_members().into_iter();
            let kept = members.filter(|(_, member)| *member != Value::Null);
            let kept = kept.map(|(key, member)| (key, strip_nulls(member)));
            Value::Object(Map::of(kept.collect()))
        }
        Value::Array(items) => Value::Array(items.into_iter().map(strip_nulls).collect()),
        other => other,
    }
}

/// The value with a line for each part, four blanks further in for each level.
pub(super) fn pretty(value: &Value) -> String {
    let mut text = String::new();
    put_pretty(value, 0, &mut text);
    text
}

fn put_pretty(value: &Value, depth: usize, text: &mut String) {
    let line = |depth: usize, text: &mut String| {
        text.push('\n');
        text.push_str(&"    ".repeat(depth));
    };
    match value {
        Value::Array(items) => {
            text.push('[');
            for (place, item) in items.iter().enumerate() {
                text.push_str(if place > 0 { "," } else { "" });
                line(depth + 1, text);
                put_pretty(item, depth + 1, text);
            }
            line(depth, text);
            text.push(']');
        }
        Value::Object(map) => {
            text.push('{');
            for (place, (key, member)) in map.iter().enumerate() {
                text.push_str(if place > 0 { "," } else { "" });
                line(depth + 1, text);
                put_string(key, text);
                text.push_str(": ");
                put_pretty(member, depth + 1, text);
            }
            line(depth, text);
            text.push('}');
        }
        scalar => text.push_str(&write(scalar)),
    }
}

fn find<'a>(value: &'a mut Value, path: &[String]) -> Option<&'a mut Value> {
    path.iter().try_fold(value, |value, step| match value {
        Value::Object(map) => map.get_mut(step),
        Value::Array(items) => {
            let at = place_in(items.len(), step.trim().parse().ok()?)?;
            items.get_mut(at)
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::read::read;
    use super::*;

    fn path(text: &str) -> Vec<String> {
        text.split('.').map(str::to_string).collect()
    }

    #[test]
    fn values_are_joined() {
        for (left, right, expected) in [
            (r#"{"a":1,"b":2}"#, r#"{"b":3}"#, r#"{"a": 1, "b": 3}"#),
            ("[1]", "[2,3]", "[1, 2, 3]"),
            ("[1]", r#"{"a":1}"#, r#"[1, {"a": 1}]"#),
            ("1", "null", "[1, null]"),
        ] {
            let joined = concat(read(left).unwrap(), read(right).unwrap());
            assert_eq!(write(&joined), expected);
        }
    }

    #[test]
    fn parts_go_and_come() {
        let value = || read(r#"{"a":{"b":[1,2]},"c":null}"#).unwrap();
        let gone = without_path(value(), &path("a.b.-1"));
        assert_eq!(write(&gone), r#"{"a": {"b": [1]}, "c": null}"#);
        let set = |at: &str, creates| write(&with(value(), &path(at), Value::Bool(true), creates));
        assert_eq!(set("a.b.0", false), r#"{"a": {"b": [true, 2]}, "c": null}"#);
        assert_eq!(
            set("a.b.9", true),
            r#"{"a": {"b": [1, 2, true]}, "c": null}"#
        );
        assert_eq!(
            set("d", true),
            r#"{"a": {"b": [1, 2]}, "c": null, "d": true}"#
        );
        assert_eq!(set("d", false), write(&value()));
        assert_eq!(set("x.y", true), write(&value()));
        assert_eq!(write(&strip_nulls(value())), r#"{"a": {"b": [1, 2]}}"#);
        let key = |key: &str| Step::Key(key.to_string());
        assert_eq!(
            write(&without(read(r#"["x",1]"#).unwrap(), &key("x"))),
            "[1]"
        );
        assert_eq!(
            write(&without(read("[7,8]").unwrap(), &Step::Place(-1))),
            "[7]"
        );
    }

    #[test]
    fn values_are_inserted_beside_others() {
        let value = || read(r#"{"a": [0, 1]}"#).unwrap();
        let new = || Value::Bool(true);
        for (at, after, expected) in [
            ("a.1", false, r#"{"a": [0, true, 1]}"#),
            ("a.1", true, r#"{"a": [0, 1, true]}"#),
            ("a.-1", false, r#"{"a": [0, true, 1]}"#),
            ("a.9", false, r#"{"a": [0, 1, true]}"#),
            ("a.-9", true, r#"{"a": [true, 0, 1]}"#),
            ("b", false, r#"{"a": [0, 1], "b": true}"#),
            ("x.y", false, r#"{"a": [0, 1]}"#),
        ] {
            let inserted = inserted(value(), &path(at), new(), after).unwrap();
            assert_eq!(write(&inserted), expected, "{at}");
        }
        let error = inserted(value(), &path("a"), new(), false).unwrap_err();
        assert_eq!(error.sqlstate(), "22023");
    }

    #[test]
    fn values_are_laid_out() {
        let value = read(r#"{"bb":[1,{}],"a":"x"}"#).unwrap();
        let expected =
            "{\n    \"a\": \"x\",\n    \"bb\": [\n        1,\n        {\n        }\n    ]\n}";
        assert_eq!(pretty(&value), expected);
    }
}
