//! How many rows LIMIT and OFFSET of a subquery mean.

use datafusion::common::{Result, ScalarValue};

use super::Group;
use super::row::{Call, Kind, Overload};
use crate::error::{Error, sqlstate};

use Kind::Int8;

/// The rows that are taken: all where the number is NULL.
pub(crate) const ROWS_TAKEN: &str = "rows_taken";
/// The rows that are skipped: none where the number is NULL.
pub(crate) const ROWS_SKIPPED: &str = "rows_skipped";

pub(super) const FUNCTIONS: Group = &[
    (
        ROWS_TAKEN,
        &[Overload::new(&[Int8], Int8, |call| {
            let code = sqlstate::INVALID_ROW_COUNT_IN_LIMIT;
            counted(call, i64::MAX, code, "LIMIT must not be negative")
        })
        .with_nulls()],
    ),
    (
        ROWS_SKIPPED,
        &[Overload::new(&[Int8], Int8, |call| {
            let code = sqlstate::INVALID_ROW_COUNT_IN_OFFSET;
            counted(call, 0, code, "OFFSET must not be negative")
        })
        .with_nulls()],
    ),
];

/// # Errors
/// The error of a negative number.
fn counted(
    call: &Call<'_>,
    of_null: i64,
    code: &'static str,
    message: &str,
) -> Result<ScalarValue> {
    match call.int(0) {
        Some(..0) => Err(Error::invalid(code, message).into()),
        count => Ok(ScalarValue::Int64(Some(count.unwrap_or(of_null)))),
    }
}
