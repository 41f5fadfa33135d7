//! Functions on arrays that PostgreSQL has and DataFusion does not.

use arrow::array::Array;
use datafusion::common::{Result, ScalarValue};

use super::{Call, Definition, Gives, Value};

pub(super) const FUNCTIONS: &[Definition] = &[
    Definition::new("array_upper", 2..=2, Gives::Int4, upper),
    Definition::new("array_lower", 2..=2, Gives::Int4, lower),
];

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
