//! Functions of arrays.

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, UInt32Array, new_empty_array, new_null_array,
};
use arrow::compute::{cast, filter, interleave, take};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_err};

use super::Group;
use super::extended::Extension;
use super::row::{Call, Kind, Overload, list_of};
use crate::error::{Error, sqlstate};

use Kind::{Any, Array as List, Int4, Text};

pub(super) const FUNCTIONS: Group = &[
    (
        "array_remove",
        &[Overload::new(&[List, Any], List, remove).with_nulls()],
    ),
    (
        "array_replace",
        &[Overload::new(&[List, Any, Any], List, replace).with_nulls()],
    ),
    ("array_ndims", &[Overload::new(&[List], Int4, dimensions)]),
    ("array_dims", &[Overload::new(&[List], Text, bounds)]),
    ("trim_array", &[Overload::new(&[List, Int4], List, trim)]),
    (
        SET_ELEMENT,
        &[Overload::new(&[List, Any, Int4], List, set_element).with_nulls()],
    ),
    (
        SET_SLICE,
        &[Overload::new(&[List, List, Int4, Int4], List, set_slice).with_nulls()],
    ),
];

pub(super) const EXTENSIONS: &[Extension] = &[(
    "cardinality",
    are_vectors,
    &[Overload::new(&[List], Int4, cardinality)],
)];

/// Whether it is an array of vectors, whose own elements are none of the array's.
fn are_vectors(types: &[DataType]) -> bool {
    match types {
        [DataType::List(element)] => matches!(element.data_type(), DataType::FixedSizeList(..)),
        _ => false,
    }
}

fn cardinality(call: &Call<'_>) -> Result<ScalarValue> {
    let length = call.elements(0).map(|elements| elements.len() as i32);
    Ok(ScalarValue::Int32(length))
}

/// The array with another value at a place: `SET a[1] = ..`.
pub(crate) const SET_ELEMENT: &str = "array_set_element";
/// The array with other values from a place to another: `SET a[2:3] = ..`.
pub(crate) const SET_SLICE: &str = "array_set_slice";
/// The most elements that an array is extended to.
const ELEMENTS_MAX: i64 = 134_217_727;

/// The lengths of an array's dimensions; none of an empty array.
fn lengths(call: &Call<'_>) -> Vec<usize> {
    let mut lengths = Vec::new();
    let mut inside = call.elements(0);
    while let Some(elements) = inside.filter(|elements| !elements.is_empty()) {
        lengths.push(elements.len());
        let lists = elements.as_list_opt::<i32>();
        inside = lists
            .filter(|lists| lists.is_valid(0))
            .map(|lists| lists.value(0));
    }
    lengths
}

fn dimensions(call: &Call<'_>) -> Result<ScalarValue> {
    match lengths(call).len() {
        0 => call.null(),
        count => Ok(ScalarValue::Int32(Some(count as i32))),
    }
}

fn bounds(call: &Call<'_>) -> Result<ScalarValue> {
    let bounds = lengths(call)
        .into_iter()
        .map(|length| format!("[1:{length}]"));
    match bounds.collect::<String>() {
        none if none.is_empty() => call.null(),
        bounds => Ok(ScalarValue::Utf8(Some(bounds))),
    }
}

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

fn set_element(call: &Call<'_>) -> Result<ScalarValue> {
    let at = subscript(call, 2)?;
    let elements = elements_or_none(call)?;
    let new = call.values[1].cast_to(elements.data_type())?.to_array()?;
    assign(call, &elements, &new, at)
}

fn set_slice(call: &Call<'_>) -> Result<ScalarValue> {
    let elements = elements_or_none(call)?;
    let Some(new) = call.elements(1) else {
        return same_type(call, elements);
    };
    let (from, to) = (subscript(call, 2)?, subscript(call, 3)?);
    let length = to - from + 1;
    if length < 0 {
        return Err(subscript_error("upper bound cannot be less than lower bound").into());
    }
    if length > new.len() as i64 {
        return Err(subscript_error("source array too small").into());
    }
    let new = cast(&new, elements.data_type())?;
    assign(call, &elements, &new.slice(0, length as usize), from)
}

/// The elements of the first argument; none of NULL.
fn elements_or_none(call: &Call<'_>) -> Result<ArrayRef> {
    match (call.elements(0), call.gives) {
        (Some(elements), _) => Ok(elements),
        (None, DataType::List(element)) => Ok(new_empty_array(element.data_type())),
        (None, other) => exec_err!("{other} is no array"),
    }
}

fn subscript(call: &Call<'_>, place: usize) -> Result<i64> {
    let at = call.int(place).ok_or_else(|| {
        let message = "array subscript in assignment must not be null";
        Error::invalid(sqlstate::NULL_VALUE_NOT_ALLOWED, message)
    })?;
    // Arrays begin at 1 here, and so have no elements before.
    if !(1..=ELEMENTS_MAX).contains(&at) {
        return Err(subscript_error("array subscript out of range").into());
    }
    Ok(at)
}

fn subscript_error(message: &str) -> Error {
    Error::invalid(sqlstate::ARRAY_SUBSCRIPT_ERROR, message)
}

/// The elements with new ones from a place on, and NULL between where they do not meet.
fn assign(call: &Call<'_>, elements: &ArrayRef, new: &ArrayRef, at: i64) -> Result<ScalarValue> {
    let null = new_null_array(elements.data_type(), 1);
    let (first, behind) = (at as usize - 1, at as usize - 1 + new.len());
    let place = |row: usize| match row {
        row if (first..behind).contains(&row) => (1, row - first),
        row if row < elements.len() => (0, row),
        _ => (2, 0),
    };
    let places: Vec<(usize, usize)> = (0..behind.max(elements.len())).map(place).collect();
    let sources = [elements.as_ref(), new.as_ref(), null.as_ref()];
    same_type(call, interleave(&sources, &places)?)
}
