//! Functions that make rows of JSON.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray, StructArray};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use serde_json::{Map, Value};

use super::Group;
use super::row::{Call, Kind, Overload, list_of, texts};
use crate::catalog::json::{plain_text, read_json, write_json};
use crate::error::{Error, sqlstate};

use Kind::{Json, JsonMembers, Jsons, TextMembers, Texts};

pub(super) const FUNCTIONS: Group = &[
    ("jsonb_each", EACH),
    ("json_each", EACH),
    ("jsonb_each_text", EACH_TEXT),
    ("json_each_text", EACH_TEXT),
    ("jsonb_array_elements", ELEMENTS),
    ("json_array_elements", ELEMENTS),
    ("jsonb_array_elements_text", ELEMENTS_TEXT),
    ("json_array_elements_text", ELEMENTS_TEXT),
    ("jsonb_object_keys", KEYS),
    ("json_object_keys", KEYS),
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

fn written(value: &Value) -> Option<String> {
    Some(write_json(value))
}

/// 22023 for JSON of another kind than the function takes.
fn wrong_kind(message: impl Into<String>) -> datafusion::error::DataFusionError {
    Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message).into()
}

/// The members as `jsonb` keeps them: short keys first.
fn in_order(object: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = object.iter().collect();
    entries.sort_by_key(|(key, _)| (key.len(), *key));
    entries
}

fn members(call: &Call<'_>, value_of: fn(&Value) -> Option<String>) -> Result<ScalarValue> {
    let Value::Object(object) = read_json(call.text(0))? else {
        return Err(wrong_kind("cannot call jsonb_each on a non-object"));
    };
    let DataType::List(element) = call.gives else {
        return call.null();
    };
    let DataType::Struct(fields) = element.data_type() else {
        return call.null();
    };
    let entries = in_order(&object);
    let keys: StringArray = entries.iter().map(|(key, _)| Some(key)).collect();
    let values: StringArray = entries.iter().map(|(_, value)| value_of(value)).collect();
    let columns: Vec<ArrayRef> = vec![Arc::new(keys), Arc::new(values)];
    let records = StructArray::try_new_with_length(fields.clone(), columns, None, object.len())?;
    Ok(list_of(Arc::new(records)))
}

fn elements(call: &Call<'_>, value_of: fn(&Value) -> Option<String>) -> Result<ScalarValue> {
    match read_json(call.text(0))? {
        Value::Array(items) => Ok(texts(items.iter().map(value_of))),
        Value::Object(_) => Err(wrong_kind("cannot extract elements from an object")),
        _ => Err(wrong_kind("cannot extract elements from a scalar")),
    }
}

fn keys(call: &Call<'_>) -> Result<ScalarValue> {
    let name = "jsonb_object_keys";
    match read_json(call.text(0))? {
        Value::Object(object) => {
            let keys = in_order(&object).into_iter();
            Ok(texts(keys.map(|(key, _)| Some(key.clone()))))
        }
        Value::Array(_) => Err(wrong_kind(format!("cannot call {name} on an array"))),
        _ => Err(wrong_kind(format!("cannot call {name} on a scalar"))),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};

    use super::*;

    #[test]
    fn texts_of_values_are_plain() {
        let list = texts([plain_text(&Value::from("a")), plain_text(&Value::Null)]);
        let ScalarValue::List(list) = list else {
            panic!("a list");
        };
        let parts = list.value(0);
        let parts = parts.as_string::<i32>();
        assert_eq!(parts.value(0), "a");
        assert!(parts.is_null(1));
    }
}
