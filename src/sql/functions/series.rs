//! `generate_series` of instants: days are those of the session's clock.

use arrow::array::TimestampMicrosecondArray;
use arrow::datatypes::IntervalMonthDayNano;
use datafusion::common::{Result, ScalarValue};

use super::Group;
use super::interval::nanos_of;
use super::row::{Call, Kind, Overload, list_of};
use crate::catalog::infinity::Infinity;
use crate::error::{Error, sqlstate};
use crate::sql::clock::{later, out_of_range};

use Kind::{Instants, Interval, Timestamptz};

/// The function that is called for instants.
pub(crate) const SERIES_OF_INSTANTS: &str = "generate_series_of_instants";

/// The most rows of a series: an array holds them.
const ROWS_MAX: usize = 50_000_000;

pub(super) const FUNCTIONS: Group = &[(
    SERIES_OF_INSTANTS,
    &[Overload::new(&[Timestamptz, Timestamptz, Interval], Instants, series).stable()],
)];

fn series(call: &Call<'_>) -> Result<ScalarValue> {
    let (Some(first), Some(last), Some(step)) = (call.moment(0), call.moment(1), call.interval(2))
    else {
        return call.null();
    };
    let forward = direction(step)?;
    if Infinity::of(first).is_some() || Infinity::of(last).is_some() {
        return Err(out_of_range().into());
    }
    let zone = call.zone();
    let (mut found, mut at) = (Vec::new(), first);
    while if forward { at <= last } else { at >= last } {
        if found.len() == ROWS_MAX {
            let message = format!("a series has at most {ROWS_MAX} rows");
            return Err(Error::limit(sqlstate::PROGRAM_LIMIT_EXCEEDED, message).into());
        }
        found.push(at);
        at = later(&zone, at, step, 1).ok_or_else(out_of_range)?;
    }
    let instants = TimestampMicrosecondArray::from(found).with_timezone("UTC");
    list_of(std::sync::Arc::new(instants)).cast_to(call.gives)
}

/// 22023 for a step that leads nowhere.
pub(super) fn no_step() -> Error {
    let message = "step size cannot equal zero";
    Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message)
}

/// Whether steps lead to later instants.
///
/// # Errors
/// 22023 for one that leads nowhere.
fn direction(step: IntervalMonthDayNano) -> Result<bool> {
    match nanos_of(step) {
        0 => Err(no_step().into()),
        nanos => Ok(nanos > 0),
    }
}
