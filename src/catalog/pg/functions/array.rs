//! Functions on arrays that PostgreSQL has and DataFusion does not.

use arrow::array::{Array, AsArray};
use datafusion::common::{Result, ScalarValue};

use super::{Call, Definition, Gives, Value};

pub(super) const FUNCTIONS: &[Definition] = &[
    Definition::new("array_upper", 2..=2, Gives::Int4, upper),
    Definition::new("array_lower", 2..=2, Gives::Int4, lower),
];

/// How many elements a dimension of an array has; none for an empty one, which has no bounds.
fn length(call: &Call<'_>) -> Option<i64> {
    let dimension = call.int(1).filter(|dimension| *dimension > 0)?;
    let mut elements = match call.arguments.first()? {
        ScalarValue::List(list) => list.value(0),
        ScalarValue::LargeList(list) => list.value(0),
        ScalarValue::FixedSizeList(list) => list.value(0),
        _ => return None,
    };
    for _ in 1..dimension {
        let inner = elements.as_list_opt::<i32>()?;
        elements = (!inner.is_empty() && inner.is_valid(0)).then(|| inner.value(0))?;
    }
    i64::try_from(elements.len()).ok().filter(|n| *n > 0)
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
