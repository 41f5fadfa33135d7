//! What `percentile_disc`, `percentile_cont` and `mode` make of the sorted array of a group's values.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::{Result, ScalarValue};

use super::Group;
use super::interval::between;
use super::row::{Call, Kind, Overload, list_of};
use crate::error::{Error, sqlstate};

use Kind::{Array as List, Element, Float8, Floats, Interval, Intervals};

pub(super) const FUNCTIONS: Group = &[
    (
        "percentile_disc_of",
        &[
            Overload::new(&[List, Floats], List, discrete),
            Overload::new(&[List, Float8], Element, discrete),
        ],
    ),
    (
        "percentile_cont_of",
        &[
            Overload::new(&[Intervals, Floats], Intervals, continuous),
            Overload::new(&[Intervals, Float8], Interval, continuous),
            Overload::new(&[List, Floats], Floats, continuous),
            Overload::new(&[List, Float8], Float8, continuous),
        ],
    ),
    ("mode_of", &[Overload::new(&[List], Element, mode)]),
];

/// What `at` gives for the fraction, or for each of an array of them.
fn by_fractions(
    call: &Call<'_>,
    element: &DataType,
    at: impl Fn(f64) -> Result<ScalarValue>,
) -> Result<ScalarValue> {
    let checked = |fraction: f64| {
        if (0.0..=1.0).contains(&fraction) {
            return at(fraction);
        }
        let message = format!("percentile value {fraction} is not between 0 and 1");
        Err(Error::invalid(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, message).into())
    };
    let Some(fractions) = call.elements(1) else {
        return call.float(1).map_or_else(|| call.null(), checked);
    };
    let fractions = fractions.as_primitive::<Float64Type>().iter();
    let values = fractions.map(|fraction| match fraction {
        Some(fraction) => checked(fraction),
        None => ScalarValue::try_from(element),
    });
    let values: Vec<ScalarValue> = values.collect::<Result<_>>()?;
    match values.is_empty() {
        true => call.null(),
        false => list_of(ScalarValue::iter_to_array(values)?).cast_to(call.gives),
    }
}

/// The values of a group; none where it has none.
fn values(call: &Call<'_>) -> Option<ArrayRef> {
    call.elements(0).filter(|values| !values.is_empty())
}

/// The first value whose place is not before the fraction.
fn discrete(call: &Call<'_>) -> Result<ScalarValue> {
    let Some(values) = values(call) else {
        return call.null();
    };
    by_fractions(call, values.data_type(), |fraction| {
        let place = (fraction * values.len() as f64).ceil() as usize;
        ScalarValue::try_from_array(&values, place.saturating_sub(1))
    })
}

/// The value at the fraction of the way, between two values where it lies between them.
fn continuous(call: &Call<'_>) -> Result<ScalarValue> {
    let Some(values) = values(call) else {
        return call.null();
    };
    let is_interval = matches!(values.data_type(), DataType::Interval(_));
    let values = match is_interval {
        true => values,
        false => cast(&values, &DataType::Float64)?,
    };
    by_fractions(call, values.data_type(), |fraction| {
        let place = fraction * (values.len() - 1) as f64;
        let low = ScalarValue::try_from_array(&values, place.floor() as usize)?;
        let high = ScalarValue::try_from_array(&values, place.ceil() as usize)?;
        let part = place - place.floor();
        Ok(match (low, high) {
            (ScalarValue::Float64(Some(low)), ScalarValue::Float64(Some(high))) => {
                // No part of a way between infinite values is NaN.
                let step = match part == 0.0 {
                    true => 0.0,
                    false => (high - low) * part,
                };
                ScalarValue::Float64(Some(low + step))
            }
            (
                ScalarValue::IntervalMonthDayNano(Some(low)),
                ScalarValue::IntervalMonthDayNano(Some(high)),
            ) => ScalarValue::IntervalMonthDayNano(Some(between(low, high, part)?)),
            _ => return Err(Error::internal("a percentile of values of another type").into()),
        })
    })
}

/// The value that comes most often; of several the first.
fn mode(call: &Call<'_>) -> Result<ScalarValue> {
    let Some(values) = values(call) else {
        return call.null();
    };
    let (mut best, mut most, mut start) = (0, 0, 0);
    while start < values.len() {
        let value = ScalarValue::try_from_array(&values, start)?;
        let mut end = start + 1;
        while end < values.len() && value.eq_array(&values, end)? {
            end += 1;
        }
        if end - start > most {
            (best, most) = (start, end - start);
        }
        start = end;
    }
    ScalarValue::try_from_array(&values, best)
}
