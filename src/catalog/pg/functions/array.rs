//! Functions on arrays that PostgreSQL has and DataFusion does not.

use arrow::array::Array;
use datafusion::common::{Result, ScalarValue};

use crate::error::{Error, sqlstate};

use super::{Call, Definition, Gives, Value};

pub(super) const FUNCTIONS: &[Definition] = &[
    Definition::new("array_upper", 2..=2, Gives::Int4, upper),
    Definition::new("array_lower", 2..=2, Gives::Int4, lower),
    Definition::new("json_build_object", 0..=32, Gives::Named("json"), object).with_nulls(),
];

/// `json_build_object(key, value, ..)`.
fn object(call: &Call<'_>) -> Result<Value> {
    let wrong = |message: &str| Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message);
    if !call.len().is_multiple_of(2) {
        return Err(wrong("argument list must have even number of elements").into());
    }
    let mut pairs = Vec::with_capacity(call.len() / 2);
    for (place, pair) in call.arguments.chunks(2).enumerate() {
        let Some(key) = call.text(place * 2) else {
            return Err(wrong("argument 1: key must not be null").into());
        };
        let value = match &pair[1] {
            value if value.is_null() => "null".to_string(),
            ScalarValue::Boolean(_) => call.text(place * 2 + 1).unwrap_or_default(),
            value if value.data_type().is_numeric() => value.to_string(),
            _ => json_text(&call.text(place * 2 + 1).unwrap_or_default()),
        };
        pairs.push(format!("{} : {value}", json_text(&key)));
    }
    Ok(format!("{{{}}}", pairs.join(", ")).into())
}

fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// How many elements an array of one dimension has; none for an empty one, which has no bounds.
fn length(call: &Call<'_>) -> Option<i64> {
    if call.int(1) != Some(1) {
        return None;
    }
    let length = match call.arguments.first()? {
        ScalarValue::List(list) => list.value(0).len(),
        ScalarValue::LargeList(list) => list.value(0).len(),
        ScalarValue::FixedSizeList(list) => list.value(0).len(),
        _ => return None,
    };
    i64::try_from(length).ok().filter(|n| *n > 0)
}

/// The vectors of the catalogs are numbered from 0, all other arrays from 1.
fn first(call: &Call<'_>) -> i64 {
    let named = call.fields.first().and_then(|f| {
        let name = f.metadata().get(crate::storage::schema::SQL_TYPE_KEY)?;
        matches!(name.as_str(), "int2vector" | "oidvector").then_some(0)
    });
    named.unwrap_or(1)
}

fn upper(call: &Call<'_>) -> Result<Value> {
    Ok(length(call).map(|n| first(call) + n - 1).into())
}

fn lower(call: &Call<'_>) -> Result<Value> {
    Ok(length(call).map(|_| first(call)).into())
}
