//! Functions of arrays.

use arrow::array::{Array, ArrayRef, BooleanArray, UInt32Array};
use arrow::compute::{cast, filter, interleave, take};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};

use super::Group;
use super::row::{Call, Kind, Overload, list_of};
use crate::error::{Error, sqlstate};

use Kind::{Any, Array as List, Int4};

pub(super) const FUNCTIONS: Group = &[
    (
        "array_remove",
        &[Overload::new(&[List, Any], List, remove).with_nulls()],
    ),
    (
        "array_replace",
        &[Overload::new(&[List, Any, Any], List, replace).with_nulls()],
    ),
    ("trim_array", &[Overload::new(&[List, Int4], List, trim)]),
];

/// Which elements are equal to the value, NULL to NULL.
fn equal(elements: &ArrayRef, value: &ScalarValue) -> Result<BooleanArray> {
    let value = value.cast_to(elements.data_type())?;
    let rows = 0..elements.len();
    let same = rows.map(|row| Ok(ScalarValue::try_from_array(elements, row)? == value));
    Ok(same.collect::<Result<Vec<bool>>>()?.into())
}

/// The array as its type says: the list keeps the name of its element.
fn same_type(call: &Call<'_>, elements: ArrayRef) -> Result<ScalarValue> {
    match call.gives {
        DataType::List(element) => {
            let elements = cast(&elements, element.data_type())?;
            list_of(elements).cast_to(call.gives)
        }
        _ => Ok(list_of(elements)),
    }
}

fn remove(call: &Call<'_>) -> Result<ScalarValue> {
    let Some(elements) = call.elements(0) else {
        return call.null();
    };
    let is_kept: BooleanArray = equal(&elements, &call.values[1])?
        .iter()
        .map(|same| same.map(|same| !same))
        .collect();
    same_type(call, filter(&elements, &is_kept)?)
}

fn replace(call: &Call<'_>) -> Result<ScalarValue> {
    let Some(elements) = call.elements(0) else {
        return call.null();
    };
    let new = call.values[2].cast_to(elements.data_type())?.to_array()?;
    let same = equal(&elements, &call.values[1])?;
    let places = same.values().iter().enumerate();
    let places = places.map(|(row, same)| if same { (1, 0) } else { (0, row) });
    let places: Vec<(usize, usize)> = places.collect();
    same_type(
        call,
        interleave(&[elements.as_ref(), new.as_ref()], &places)?,
    )
}

/// Without so many of the last elements.
fn trim(call: &Call<'_>) -> Result<ScalarValue> {
    let Some((elements, count)) = call.elements(0).zip(call.int(1)) else {
        return call.null();
    };
    let length = elements.len() as i64;
    if !(0..=length).contains(&count) {
        let message = format!("number of elements to trim must be between 0 and {length}");
        return Err(Error::invalid(sqlstate::ARRAY_SUBSCRIPT_ERROR, message).into());
    }
    let kept = UInt32Array::from_iter_values(0..(length - count) as u32);
    same_type(call, take(&elements, &kept, None)?)
}
