//! `json_object` and `jsonb_object`: objects of arrays of texts.

use datafusion::common::{Result, ScalarValue};

use arrow::array::{ArrayRef, AsArray};

use super::Group;
use super::row::{Call, Kind, Overload, text};
use crate::catalog::json::{put_json_string, read_json, write_json};
use crate::error::{Error, sqlstate};

use Kind::{Json, TextRows, Texts};

pub(super) const FUNCTIONS: Group = &[
    ("json_object", OVERLOADS),
    ("jsonb_object", OVERLOADS_OF_BINARY),
];

const OVERLOADS: &[Overload] = &[
    Overload::new(&[Texts], Json, |call| of_pairs(&alternating(call)?)),
    Overload::new(&[TextRows], Json, |call| of_pairs(&rows(call)?)),
    Overload::new(&[Texts, Texts], Json, |call| of_pairs(&beside(call)?)),
];

const OVERLOADS_OF_BINARY: &[Overload] = &[
    Overload::new(&[Texts], Json, |call| binary(&alternating(call)?)),
    Overload::new(&[TextRows], Json, |call| binary(&rows(call)?)),
    Overload::new(&[Texts, Texts], Json, |call| binary(&beside(call)?)),
];

/// A key, and its value, where it has one.
type Pair = (Option<String>, Option<String>);

fn wrong_subscripts(message: &str) -> Error {
    Error::invalid(sqlstate::ARRAY_SUBSCRIPT_ERROR, message)
}

fn texts_of(array: Option<ArrayRef>) -> Vec<Option<String>> {
    let Some(array) = array else {
        return Vec::new();
    };
    let texts = array.as_string_opt::<i32>();
    let texts = texts.into_iter().flat_map(|texts| texts.iter());
    texts.map(|text| text.map(str::to_string)).collect()
}

/// `{a,1,b,2}`
fn alternating(call: &Call<'_>) -> Result<Vec<Pair>, Error> {
    let texts = texts_of(call.elements(0));
    if !texts.len().is_multiple_of(2) {
        return Err(wrong_subscripts("array must have even number of elements"));
    }
    let pairs = texts.chunks_exact(2);
    Ok(pairs
        .map(|pair| (pair[0].clone(), pair[1].clone()))
        .collect())
}

/// `{{a,1},{b,2}}`
fn rows(call: &Call<'_>) -> Result<Vec<Pair>, Error> {
    let rows = call.elements(0);
    let rows = rows.as_ref().and_then(|rows| rows.as_list_opt::<i32>());
    let pair = |row: Option<ArrayRef>| match texts_of(row).as_slice() {
        [key, value] => Ok((key.clone(), value.clone())),
        _ => Err(wrong_subscripts("array must have two columns")),
    };
    rows.into_iter()
        .flat_map(|rows| rows.iter())
        .map(pair)
        .collect()
}

/// `{a,b}` and `{1,2}`
fn beside(call: &Call<'_>) -> Result<Vec<Pair>, Error> {
    let (keys, values) = (texts_of(call.elements(0)), texts_of(call.elements(1)));
    match keys.len() == values.len() {
        true => Ok(keys.into_iter().zip(values).collect()),
        false => Err(wrong_subscripts("mismatched array dimensions")),
    }
}

/// The object as `json` has it.
fn written(pairs: &[Pair]) -> Result<String, Error> {
    let mut out = String::from("{");
    for (at, (key, value)) in pairs.iter().enumerate() {
        let Some(key) = key else {
            let message = "null value not allowed for object key";
            return Err(Error::invalid(sqlstate::NULL_VALUE_NOT_ALLOWED, message));
        };
        out.push_str(if at > 0 { ", " } else { "" });
        put_json_string(key, &mut out);
        out.push_str(" : ");
        match value {
            Some(value) => put_json_string(value, &mut out),
            None => out.push_str("null"),
        }
    }
    out.push('}');
    Ok(out)
}

fn of_pairs(pairs: &[Pair]) -> Result<ScalarValue> {
    Ok(text(written(pairs)?))
}

fn binary(pairs: &[Pair]) -> Result<ScalarValue> {
    Ok(text(write_json(&read_json(&written(pairs)?)?)))
}
