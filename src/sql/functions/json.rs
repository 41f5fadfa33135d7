//! Functions that make rows of JSON.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray, StructArray};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};

use super::Group;
use super::row::{Call, Kind, Overload, list_of, texts};
use crate::catalog::json::{
    Value, plain_text, raw_items, raw_members, raw_text, read_json, write_json,
};
use crate::error::{Error, sqlstate};

use Kind::{Json, JsonMembers, JsonMembersAsWritten, Jsons, TextMembers, Texts};

pub(super) const FUNCTIONS: Group = &[
    ("jsonb_each", EACH),
    ("json_each", EACH_AS_WRITTEN),
    ("jsonb_each_text", EACH_TEXT),
    ("json_each_text", EACH_TEXT_AS_WRITTEN),
    ("jsonb_array_elements", ELEMENTS),
    ("json_array_elements", ELEMENTS_AS_WRITTEN),
    ("jsonb_array_elements_text", ELEMENTS_TEXT),
    ("json_array_elements_text", ELEMENTS_TEXT_AS_WRITTEN),
    ("jsonb_object_keys", KEYS),
    ("json_object_keys", KEYS_AS_WRITTEN),
];

/// Those that give rows.
pub(super) const SETS: &[&str] = &[
    "jsonb_each",
    "json_each",
    "jsonb_each_text",
    "json_each_text",
    "jsonb_array_elements",
    "json_array_elements",
    "jsonb_array_elements_text",
    "json_array_elements_text",
    "jsonb_object_keys",
    "json_object_keys",
];

const EACH: &[Overload] = &[Overload::new(&[Json], JsonMembers, |call| {
    members(call, written)
})];
const EACH_TEXT: &[Overload] = &[Overload::new(&[Json], TextMembers, |call| {
    members(call, plain_text)
})];
const ELEMENTS: &[Overload] = &[Overload::new(&[Json], Jsons, |call| {
    elements(call, written)
})];
const ELEMENTS_TEXT: &[Overload] = &[Overload::new(&[Json], Texts, |call| {
    elements(call, plain_text)
})];
const KEYS: &[Overload] = &[Overload::new(&[Json], Texts, keys)];

/// Those of `json` give parts as they are written, in the order that they have there.
const EACH_AS_WRITTEN: &[Overload] = &[Overload::new(&[Json], JsonMembersAsWritten, |call| {
    members_as_written(call, as_written)
})];
const EACH_TEXT_AS_WRITTEN: &[Overload] = &[Overload::new(&[Json], TextMembers, |call| {
    members_as_written(call, raw_text)
})];
const ELEMENTS_AS_WRITTEN: &[Overload] = &[Overload::new(&[Json], Jsons, |call| {
    elements_as_written(call, as_written)
})];
const ELEMENTS_TEXT_AS_WRITTEN: &[Overload] = &[Overload::new(&[Json], Texts, |call| {
    elements_as_written(call, raw_text)
})];
const KEYS_AS_WRITTEN: &[Overload] = &[Overload::new(&[Json], Texts, keys_as_written)];

fn written(value: &Value) -> Option<String> {
    Some(write_json(value))
}

fn as_written(part: &str) -> Result<Option<String>, Error> {
    Ok(Some(part.to_string()))
}

/// 22023 for JSON of another kind than the function takes.
fn wrong_kind(message: impl Into<String>) -> datafusion::error::DataFusionError {
    Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message).into()
}

fn members(call: &Call<'_>, value_of: fn(&Value) -> Option<String>) -> Result<ScalarValue> {
    let Value::Object(object) = read_json(call.text(0))? else {
        return Err(wrong_kind("cannot call jsonb_each on a non-object"));
    };
    let entries = object.iter();
    let entries = entries.map(|(key, value)| (key.to_string(), value_of(value)));
    records(call, entries.collect())
}

fn members_as_written(
    call: &Call<'_>,
    value_of: fn(&str) -> Result<Option<String>, Error>,
) -> Result<ScalarValue> {
    let Some(members) = raw_members(call.text(0))? else {
        return Err(wrong_kind("cannot call json_each on a non-object"));
    };
    let entries = members.into_iter();
    let entries = entries.map(|(key, value)| Ok((key, value_of(value)?)));
    records(call, entries.collect::<Result<_, Error>>()?)
}

/// A list of keys and values.
fn records(call: &Call<'_>, entries: Vec<(String, Option<String>)>) -> Result<ScalarValue> {
    let DataType::List(element) = call.gives else {
        return call.null();
    };
    let DataType::Struct(fields) = element.data_type() else {
        return call.null();
    };
    let rows = entries.len();
    let (keys, values): (Vec<String>, Vec<Option<String>>) = entries.into_iter().unzip();
    let (keys, values) = (StringArray::from(keys), StringArray::from(values));
    let columns: Vec<ArrayRef> = vec![Arc::new(keys), Arc::new(values)];
    let records = StructArray::try_new_with_length(fields.clone(), columns, None, rows)?;
    Ok(list_of(Arc::new(records)))
}

fn elements(call: &Call<'_>, value_of: fn(&Value) -> Option<String>) -> Result<ScalarValue> {
    match read_json(call.text(0))? {
        Value::Array(items) => Ok(texts(items.iter().map(value_of))),
        Value::Object(_) => Err(wrong_kind("cannot extract elements from an object")),
        _ => Err(wrong_kind("cannot extract elements from a scalar")),
    }
}

fn elements_as_written(
    call: &Call<'_>,
    value_of: fn(&str) -> Result<Option<String>, Error>,
) -> Result<ScalarValue> {
    match raw_items(call.text(0))? {
        Some(items) => {
            let found = items.into_iter().map(value_of);
            Ok(texts(found.collect::<Result<Vec<_>, Error>>()?))
        }
        None => elements(call, written),
    }
}

fn keys(call: &Call<'_>) -> Result<ScalarValue> {
    let name = "jsonb_object_keys";
    match read_json(call.text(0))? {
        Value::Object(object) => Ok(texts(object.iter().map(|(key, _)| Some(key.to_string())))),
        Value::Array(_) => Err(wrong_kind(format!("cannot call {name} on an array"))),
        _ => Err(wrong_kind(format!("cannot call {name} on a scalar"))),
    }
}

fn keys_as_written(call: &Call<'_>) -> Result<ScalarValue> {
    match raw_members(call.text(0))? {
        Some(members) => Ok(texts(members.into_iter().map(|(key, _)| Some(key)))),
        None => keys(call),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};

    use super::*;

    #[test]
    fn texts_of_values_are_plain() {
        let list = texts([
            plain_text(&Value::String("a".to_string())),
            plain_text(&Value::Null),
        ]);
        let ScalarValue::List(list) = list else {
            panic!("a list");
        };
        let parts = list.value(0);
        let parts = parts.as_string::<i32>();
        assert_eq!(parts.value(0), "a");
        assert!(parts.is_null(1));
    }
}
