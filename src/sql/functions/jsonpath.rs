//! Paths of SQL/JSON: `jsonb_path_query(j, '$.a[*] ? (@ > 1)')`, `j @? '$.a'`, `j @@ '$.a == 1'`.
//!
//! A path is read for each call ([`parser`]) and walked in the value ([`eval`]). Left out: `datetime()`, and `keyvalue()` of
//! any object but the whole; numbers are computed with within 38 digits. A `jsonpath` is a text in its one spelling ([`write`]).

mod eval;
mod lexer;
mod number;
mod parser;
mod tree;
mod write;

use std::borrow::Cow;

use datafusion::common::{Result, ScalarValue};

use self::eval::{Failure, Item, Run};
use self::parser::parse;
use self::tree::Path;
use self::write::write;
use super::Group;
use super::row::{Call, Kind, Overload, text, texts};
use crate::catalog::json::{Value, read_json, write_json};
use crate::error::{Error, sqlstate};

use Kind::{Bool, Json, JsonPath, Jsons, Text};

/// `j @? path`
pub(crate) const PATH_EXISTS: &str = "jsonb_path_exists_opr";
/// `j @@ path`
pub(crate) const PATH_MATCH: &str = "jsonb_path_match_opr";
/// `x::jsonpath`
pub(crate) const JSONPATH: &str = "jsonpath";

pub(super) const FUNCTIONS: Group = &[
    ("jsonb_path_exists", EXISTS),
    ("jsonb_path_exists_tz", EXISTS),
    ("jsonb_path_match", MATCH),
    ("jsonb_path_match_tz", MATCH),
    ("jsonb_path_query", QUERY),
    ("jsonb_path_query_tz", QUERY),
    ("jsonb_path_query_array", QUERY_ARRAY),
    ("jsonb_path_query_array_tz", QUERY_ARRAY),
    ("jsonb_path_query_first", QUERY_FIRST),
    ("jsonb_path_query_first_tz", QUERY_FIRST),
    (
        PATH_EXISTS,
        &[Overload::new(&[Json, Text], Bool, |call| {
            exists(call, true)
        })],
    ),
    (
        PATH_MATCH,
        &[Overload::new(&[Json, Text], Bool, |call| {
            matches(call, true)
        })],
    ),
    (
        JSONPATH,
        &[Overload::new(&[Text], JsonPath, |call| {
            Ok(text(write(&parse(call.text(0))?)))
        })],
    ),
];

/// Those that give rows.
pub(super) const SETS: &[&str] = &["jsonb_path_query", "jsonb_path_query_tz"];

const ARGUMENTS: &[Kind] = &[Json, Text, Json, Bool];
const EXISTS: &[Overload] =
    &[Overload::new(ARGUMENTS, Bool, |call| exists(call, is_silent(call))).optional(2)];
const MATCH: &[Overload] =
    &[Overload::new(ARGUMENTS, Bool, |call| matches(call, is_silent(call))).optional(2)];
const QUERY: &[Overload] = &[Overload::new(ARGUMENTS, Jsons, |call| {
    let found = found(call, is_silent(call))?;
    Ok(texts(found.iter().map(|item| Some(write_json(item)))))
})
.optional(2)];
const QUERY_ARRAY: &[Overload] = &[Overload::new(ARGUMENTS, Json, |call| {
    let found = found(call, is_silent(call))?;
    Ok(text(write_json(&Value::Array(found))))
})
.optional(2)];
const QUERY_FIRST: &[Overload] = &[Overload::new(ARGUMENTS, Json, |call| {
    match found(call, is_silent(call))?.first() {
        Some(first) => Ok(text(write_json(first))),
        None => call.null(),
    }
})
.optional(2)];

fn is_silent(call: &Call<'_>) -> bool {
    matches!(call.values.get(3), Some(ScalarValue::Boolean(Some(true))))
}

/// Calls `of` with a path, the value that it is walked in, and its variables.
fn run<T>(call: &Call<'_>, of: impl FnOnce(&Run<'_>) -> Result<T, Error>) -> Result<T, Error> {
    let path: Path = parse(call.text(1))?;
    let root = read_json(call.text(0))?;
    let variables = match call.values.get(2) {
        Some(_) => read_json(call.text(2))?,
        None => Value::Object(Default::default()),
    };
    if !matches!(variables, Value::Object(_)) {
        let message = "\"vars\" argument is not an object";
        let detail = "Jsonpath parameters should be encoded as key-value pairs of \"vars\" object.";
        let code = sqlstate::INVALID_PARAMETER_VALUE;
        return Err(Error::invalid(code, message).with_detail(detail));
    }
    of(&Run {
        path: &path,
        root: &root,
        variables: &variables,
        patterns: call.patterns,
    })
}

/// `None` for what the value does not have, if that is silenced.
fn silenced<T>(result: Result<T, Failure>, silent: bool) -> Result<Option<T>, Error> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(Failure::Item(_)) if silent => Ok(None),
        Err(Failure::Item(error) | Failure::Query(error)) => Err(error),
    }
}

fn exists(call: &Call<'_>, silent: bool) -> Result<ScalarValue> {
    let found = run(call, |run| silenced(run.exists(), silent))?;
    Ok(ScalarValue::Boolean(found))
}

fn matches(call: &Call<'_>, silent: bool) -> Result<ScalarValue> {
    let truth = run(call, |run| {
        let mut found: Vec<Item<'_>> = Vec::new();
        if silenced(run.find(&mut found), silent)?.is_none() {
            return Ok(None);
        }
        let items: Vec<&Value> = found.iter().map(Cow::as_ref).collect();
        match items.as_slice() {
            [Value::Null] => Ok(None),
            [Value::Bool(truth)] => Ok(Some(*truth)),
            _ if silent => Ok(None),
            _ => {
                let code = sqlstate::SINGLETON_SQL_JSON_ITEM_REQUIRED;
                Err(Error::invalid(code, "single boolean result is expected"))
            }
        }
    })?;
    Ok(ScalarValue::Boolean(truth))
}

/// What the path finds: all before an error that is silenced.
fn found(call: &Call<'_>, silent: bool) -> Result<Vec<Value>> {
    let found: Vec<Value> = run(call, |run| {
        let mut found = Vec::new();
        silenced(run.find(&mut found), silent)?;
        Ok(found.into_iter().map(Cow::into_owned).collect())
    })?;
    Ok(found)
}
