//! How arrays are to each other: what one holds of another, which comes first, and one behind the other; and their elements
//! as texts.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, new_empty_array};
use arrow::compute::{cast, concat};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, Rows, SortField};
use datafusion::common::{Result, ScalarValue};
use shelfmark_udfs::VectorType;

use super::Group;
use super::row::{Call, Kind, Overload, list_of, text};
use crate::sql::text_output::texts_of;

use Kind::{Array as List, Bool, Int4, Text};

pub(super) const FUNCTIONS: Group = &[
    (CONTAINS, &[Overload::new(&[List, List], Bool, contains)]),
    (OVERLAP, &[Overload::new(&[List, List], Bool, overlap)]),
    (COMPARE, &[Overload::new(&[List, List], Int4, compare)]),
    (
        ARRAY_CAT,
        &[Overload::new(&[List, List], List, joined).with_nulls()],
    ),
    (
        CAT_BEFORE,
        &[Overload::new(&[List, List], List, joined_before).with_nulls()],
    ),
    (FLAT, &[Overload::new(&[List], Kind::Innermost, flat)]),
    (
        "array_to_string",
        &[Overload::new(&[List, Text, Text], Text, to_string)
            .optional(1)
            .with_nulls()],
    ),
];

/// `a @> b`
pub(super) const CONTAINS: &str = "arraycontains";
/// `a && b`
pub(super) const OVERLAP: &str = "arrayoverlap";
/// Less than zero where the first array comes before the second.
pub(super) const COMPARE: &str = "btarraycmp";
/// `a || b`
pub(super) const ARRAY_CAT: &str = "array_cat";
/// `b || a`
pub(super) const CAT_BEFORE: &str = "array_cat_before";
/// The elements of all dimensions in one.
pub(crate) const FLAT: &str = "array_elements_flat";

/// The elements at the bottom of an array.
fn bottom(elements: &ArrayRef) -> ArrayRef {
    let mut elements = ArrayRef::clone(elements);
    while VectorType::of(elements.data_type()).is_none()
        && let Some(lists) = elements.as_list_opt::<i32>()
    {
        let (first, last) = (lists.value_offsets()[0], lists.value_offsets()[lists.len()]);
        let inside = lists
            .values()
            .slice(first as usize, (last - first) as usize);
        elements = inside;
    }
    elements
}

/// The elements of both arrays, as rows that compare as the elements do, and which of them are not NULL.
struct Both {
    rows: [Rows; 2],
    elements: [ArrayRef; 2],
}

impl Both {
    fn of(call: &Call<'_>) -> Result<Option<Self>> {
        let (Some(left), Some(right)) = (call.elements(0), call.elements(1)) else {
            return Ok(None);
        };
        let (left, right) = (bottom(&left), bottom(&right));
        let right = match right.data_type() == left.data_type() {
            true => right,
            false => cast(&right, left.data_type())?,
        };
        let converter = RowConverter::new(vec![SortField::new_with_options(
            left.data_type().clone(),
            arrow::compute::SortOptions {
                descending: false,
                nulls_first: false,
            },
        )])?;
        let rows = [
            converter.convert_columns(&[ArrayRef::clone(&left)])?,
            converter.convert_columns(&[ArrayRef::clone(&right)])?,
        ];
        let elements = [left, right];
        Ok(Some(Self { rows, elements }))
    }

    /// Whether the first array has that element of the second; NULL is in none.
    fn has(&self, element: usize) -> bool {
        self.elements[1].is_valid(element)
            && self.rows[0]
                .iter()
                .any(|row| row == self.rows[1].row(element))
    }
}

fn truth(value: bool) -> Result<ScalarValue> {
    Ok(ScalarValue::Boolean(Some(value)))
}

fn contains(call: &Call<'_>) -> Result<ScalarValue> {
    match Both::of(call)? {
        Some(both) => truth((0..both.elements[1].len()).all(|element| both.has(element))),
        None => call.null(),
    }
}

fn overlap(call: &Call<'_>) -> Result<ScalarValue> {
    match Both::of(call)? {
        Some(both) => truth((0..both.elements[1].len()).any(|element| both.has(element))),
        None => call.null(),
    }
}

/// Element by element, NULL behind all others; of two of which one begins with the other, the shorter comes first.
fn compare(call: &Call<'_>) -> Result<ScalarValue> {
    let Some(both) = Both::of(call)? else {
        return call.null();
    };
    let [left, right] = &both.rows;
    let order = match left.iter().cmp(right.iter()) {
        Ordering::Less => -1,
        Ordering::Equal => 0,
        Ordering::Greater => 1,
    };
    Ok(ScalarValue::Int32(Some(order)))
}

/// The elements of both; those of NULL are none.
fn both_joined(call: &Call<'_>, places: [usize; 2]) -> Result<ScalarValue> {
    let DataType::List(element) = call.gives else {
        return call.null();
    };
    let parts = places.map(|place| call.elements(place));
    if parts.iter().all(Option::is_none) {
        return call.null();
    }
    let as_element = |part: Option<ArrayRef>| match part {
        Some(part) => cast(&part, element.data_type()),
        None => Ok(new_empty_array(element.data_type())),
    };
    let [first, second] = parts.map(as_element);
    let (first, second) = (first?, second?);
    list_of(concat(&[first.as_ref(), second.as_ref()])?).cast_to(call.gives)
}

fn joined(call: &Call<'_>) -> Result<ScalarValue> {
    both_joined(call, [0, 1])
}

fn joined_before(call: &Call<'_>) -> Result<ScalarValue> {
    both_joined(call, [1, 0])
}

fn flat(call: &Call<'_>) -> Result<ScalarValue> {
    match call.elements(0) {
        Some(elements) => list_of(bottom(&elements)).cast_to(call.gives),
        None => call.null(),
    }
}

/// The elements as texts with a separator between, NULL left out or as it is told to be.
fn to_string(call: &Call<'_>) -> Result<ScalarValue> {
    let (Some(elements), false) = (call.elements(0), call.values[1].is_null()) else {
        return call.null();
    };
    let elements = bottom(&elements);
    let missing = call.values.get(2).filter(|value| !value.is_null());
    let texts = match elements.as_boolean_opt() {
        Some(truths) => truth_letters(truths),
        None => texts_of(&elements, call.zone())?,
    };
    let parts = texts.as_string::<i32>().iter();
    let parts = parts.filter_map(|part| part.or_else(|| missing.map(|_| call.text(2))));
    Ok(text(parts.collect::<Vec<_>>().join(call.text(1))))
}

fn truth_letters(truths: &BooleanArray) -> ArrayRef {
    let letters = truths
        .iter()
        .map(|truth| Some(if truth? { "t" } else { "f" }));
    std::sync::Arc::new(letters.collect::<arrow::array::StringArray>())
}
