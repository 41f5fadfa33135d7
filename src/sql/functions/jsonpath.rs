//! Paths of SQL/JSON: `jsonb_path_query(j, '$.a[*] ? (@ > 1)')`, `j @? '$.a'`, `j @@ '$.a == 1'`.
//!
//! A path is read for each call ([`parser`]) and walked in the value ([`eval`]). Left out: `keyvalue()` of
//! any object but the whole; numbers are computed with within 38 digits. A `jsonpath` is a text in its one spelling ([`write`]).

mod eval;
mod lexer;
mod moment;
mod number;
mod parser;
mod tree;
mod write;

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
    ("jsonb_path_exists_tz", EXISTS_TZ),
    ("jsonb_path_match", MATCH),
    ("jsonb_path_match_tz", MATCH_TZ),
    ("jsonb_path_query", QUERY),
    ("jsonb_path_query_tz", QUERY_TZ),
    ("jsonb_path_query_array", QUERY_ARRAY),
    ("jsonb_path_query_array_tz", QUERY_ARRAY_TZ),
    ("jsonb_path_query_first", QUERY_FIRST),
    ("jsonb_path_query_first_tz", QUERY_FIRST_TZ),
    (
        PATH_EXISTS,
        &[Overload::new(&[Json, Text], Bool, |call| {
            exists(call, OPERATOR)
        })],
    ),
    (
        PATH_MATCH,
        &[Overload::new(&[Json, Text], Bool, |call| {
            matches(call, OPERATOR)
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

/// The overload of a function, and that of its kin which tells times by the session's zone.
macro_rules! both {
    ($plain:ident, $zoned:ident, $gives:ident, $of:ident) => {
        const $plain: &[Overload] =
            &[Overload::new(ARGUMENTS, $gives, |call| $of(call, false)).optional(2)];
        const $zoned: &[Overload] = &[Overload::new(ARGUMENTS, $gives, |call| $of(call, true))
            .optional(2)
            .stable()];
    };
}

both!(EXISTS, EXISTS_TZ, Bool, exists_of);
both!(MATCH, MATCH_TZ, Bool, matches_of);
both!(QUERY, QUERY_TZ, Jsons, query);
both!(QUERY_ARRAY, QUERY_ARRAY_TZ, Json, query_array);
both!(QUERY_FIRST, QUERY_FIRST_TZ, Json, query_first);

/// How a path is walked.
#[derive(Debug, Clone, Copy)]
struct Way {
    /// Whether what the value does not have is nothing rather than an error.
    is_silent: bool,
    /// Whether times may be told by the session's zone.
    uses_zone: bool,
}

/// The way of the operators.
const OPERATOR: Way = Way {
    is_silent: true,
    uses_zone: false,
};

impl Way {
    fn of(call: &Call<'_>, uses_zone: bool) -> Self {
        let is_silent = is_silent(call);
        Self {
            is_silent,
            uses_zone,
        }
    }
}

fn exists_of(call: &Call<'_>, uses_zone: bool) -> Result<ScalarValue> {
    exists(call, Way::of(call, uses_zone))
}

fn matches_of(call: &Call<'_>, uses_zone: bool) -> Result<ScalarValue> {
    matches(call, Way::of(call, uses_zone))
}

fn query(call: &Call<'_>, uses_zone: bool) -> Result<ScalarValue> {
    let found = found(call, Way::of(call, uses_zone))?;
    Ok(texts(found.iter().map(|item| Some(write_json(item)))))
}

fn query_array(call: &Call<'_>, uses_zone: bool) -> Result<ScalarValue> {
    let found = found(call, Way::of(call, uses_zone))?;
    Ok(text(write_json(&Value::Array(found))))
}

fn query_first(call: &Call<'_>, uses_zone: bool) -> Result<ScalarValue> {
    match found(call, Way::of(call, uses_zone))?.first() {
        Some(first) => Ok(text(write_json(first))),
        None => call.null(),
    }
}

fn is_silent(call: &Call<'_>) -> bool {
    matches!(call.values.get(3), Some(ScalarValue::Boolean(Some(true))))
}

/// Calls `of` with a path, the value that it is walked in, and its variables.
fn run<T>(
    call: &Call<'_>,
    way: Way,
    of: impl FnOnce(&Run<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
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
        zone: way.uses_zone.then(|| call.zone()),
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

fn exists(call: &Call<'_>, way: Way) -> Result<ScalarValue> {
    let found = run(call, way, |run| silenced(run.exists(), way.is_silent))?;
    Ok(ScalarValue::Boolean(found))
}

fn matches(call: &Call<'_>, way: Way) -> Result<ScalarValue> {
    let truth = run(call, way, |run| {
        let mut found: Vec<Item<'_>> = Vec::new();
        if silenced(run.find(&mut found), way.is_silent)?.is_none() {
            return Ok(None);
        }
        let items: Vec<&Value> = found.iter().map(|item| &**item).collect();
        match items.as_slice() {
            [Value::Null] => Ok(None),
            [Value::Bool(truth)] => Ok(Some(*truth)),
            _ if way.is_silent => Ok(None),
            _ => {
                let code = sqlstate::SINGLETON_SQL_JSON_ITEM_REQUIRED;
                Err(Error::invalid(code, "single boolean result is expected"))
            }
        }
    })?;
    Ok(ScalarValue::Boolean(truth))
}

/// What the path finds: all before an error that is silenced.
fn found(call: &Call<'_>, way: Way) -> Result<Vec<Value>> {
    let found: Vec<Value> = run(call, way, |run| {
        let mut found = Vec::new();
        silenced(run.find(&mut found), way.is_silent)?;
        Ok(found.into_iter().map(Item::into_value).collect())
    })?;
    Ok(found)
}
