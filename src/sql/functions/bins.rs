//! `date_bin` of an origin that is computed: DataFusion's function takes constants alone.

use arrow::temporal_conversions::MICROSECONDS_IN_DAY;
use datafusion::common::{Result, ScalarValue};

use super::Group;
use super::finite::out_of_range;
use super::row::{Call, Kind, Overload};
use crate::catalog::infinity::Infinity;

use Kind::{Interval, Timestamp, Timestamptz};

/// The function that is called.
pub(crate) const BIN_OF_ORIGIN: &str = "date_bin_of_origin";

const NANOS_PER_MICROSECOND: i64 = 1000;

pub(super) const FUNCTIONS: Group = &[(
    BIN_OF_ORIGIN,
    &[
        Overload::new(&[Interval, Timestamp, Timestamp], Timestamp, |call| {
            Ok(ScalarValue::TimestampMicrosecond(Some(bin(call)?), None))
        }),
        Overload::new(&[Interval, Timestamptz, Timestamptz], Timestamptz, |call| {
            let zone = Some("UTC".into());
            Ok(ScalarValue::TimestampMicrosecond(Some(bin(call)?), zone))
        }),
    ],
)];

/// The begin of the bin, in microseconds; infinite for an infinite moment. The stride has been checked: it has no months and is more than nothing.
///
/// # Errors
/// 22008 where there is no such moment, and for an infinite origin.
fn bin(call: &Call<'_>) -> Result<i64> {
    let stride = call.interval(0).unwrap_or_default();
    // Longer ones than all time have one bin.
    let days = i64::from(stride.days).saturating_mul(MICROSECONDS_IN_DAY);
    let stride = days.saturating_add(stride.nanoseconds / NANOS_PER_MICROSECOND);
    let [moment, origin] = [1, 2].map(|place| call.moment(place).unwrap_or_default());
    if Infinity::of(origin).is_some() {
        return Err(out_of_range("origin").into());
    }
    if Infinity::of(moment).is_some() {
        return Ok(moment);
    }
    let begin = moment
        .checked_sub(origin)
        .and_then(|passed| passed.checked_rem_euclid(stride))
        .and_then(|in_bin| moment.checked_sub(in_bin));
    begin.ok_or_else(|| out_of_range("timestamp").into())
}
