//! Vectors and arrays from lists of any kind, and from text.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, Float16Array, Float32Array, ListArray,
    StringArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Float16Type, Float32Type, Float64Type};
use half::f16;
use shelfmark_udfs::{VectorError, parse_halfvec, parse_vector};

use super::cast::{element_field, to_type};
use super::error::{RowError, syntax};
use crate::catalog::zone::Zone;
use crate::error::{Error, Result, sqlstate};
use crate::storage::schema::{ColumnType, VECTOR_DIMENSIONS_MAX};

/// The type of a list's elements.
pub(super) fn element_type(data_type: &DataType) -> Option<&DataType> {
    match data_type {
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::ListView(field)
        | DataType::LargeListView(field) => Some(field.data_type()),
        _ => None,
    }
}

/// Lists as offsets into their elements, one more than rows.
struct Lists {
    offsets: Vec<usize>,
    elements: ArrayRef,
    nulls: Option<NullBuffer>,
}

impl Lists {
    fn of(source: &ArrayRef) -> Self {
        match source.data_type() {
            DataType::FixedSizeList(_, n) => {
                let list = source.as_fixed_size_list();
                Self {
                    offsets: (0..=list.len()).map(|row| row * *n as usize).collect(),
                    elements: Arc::clone(list.values()),
                    nulls: list.nulls().cloned(),
                }
            }
            _ => {
                let list = source.as_list::<i32>();
                let (first, last) = (list.value_offsets()[0], list.value_offsets()[list.len()]);
                let offsets = list.value_offsets().iter().map(|o| (o - first) as usize);
                Self {
                    offsets: offsets.collect(),
                    elements: list.values().slice(first as usize, (last - first) as usize),
                    nulls: list.nulls().cloned(),
                }
            }
        }
    }

    fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|n| n.is_null(row))
    }

    /// The row that holds the element.
    fn row_of(&self, element: usize) -> usize {
        self.offsets.partition_point(|o| *o <= element) - 1
    }
}

/// Lists of numbers as `VECTOR(n)` or `HALFVEC(n)`.
pub(super) fn to_vector(source: &ArrayRef, target: &ColumnType) -> Result<ArrayRef, RowError> {
    let lists = Lists::of(source);
    let Some(dimensions) = dimensions_of(target) else {
        return to_vector_of_any_size(&lists, target);
    };
    for row in (0..lists.len()).filter(|row| !lists.is_null(*row)) {
        let actual = lists.offsets[row + 1] - lists.offsets[row];
        if actual != dimensions {
            return Err(RowError::new(row, wrong_dimensions(dimensions, actual)));
        }
    }
    check_no_null_element(&lists)?;
    let elements = only_live_elements(&lists, dimensions)?;
    let elements: ArrayRef = match target {
        ColumnType::HalfVec(_) => Arc::new(to_half(&elements)?),
        _ => Arc::new(to_single(&elements)?),
    };
    let refuse = |row| {
        let element = elements.slice(row * dimensions, dimensions);
        refuse_row(row, &element, target)
    };
    let live = |element: &usize| !lists.is_null(element / dimensions);
    if let Some(element) = not_finite(&elements).find(live) {
        return Err(refuse(element / dimensions));
    }
    fixed(target, elements, lists.nulls)
}

/// Lists of numbers as `VECTOR` or `HALFVEC` in an array, each of its own size.
fn to_vector_of_any_size(lists: &Lists, target: &ColumnType) -> Result<ArrayRef, RowError> {
    let live = |row: &usize| !lists.is_null(*row);
    for row in (0..lists.len()).filter(live) {
        let actual = lists.offsets[row + 1] - lists.offsets[row];
        if actual == 0 || actual > VECTOR_DIMENSIONS_MAX as usize {
            return Err(RowError::new(row, wrong_dimensions(0, actual)));
        }
    }
    check_no_null_element(lists)?;
    let elements: ArrayRef = match target {
        ColumnType::HalfVec(_) => Arc::new(to_half(&lists.elements)?),
        _ => Arc::new(to_single(&lists.elements)?),
    };
    let places = not_finite(&elements).map(|element| lists.row_of(element));
    if let Some(row) = places.into_iter().find(live) {
        let element = elements.slice(
            lists.offsets[row],
            lists.offsets[row + 1] - lists.offsets[row],
        );
        return Err(refuse_row(row, &element, target));
    }
    unsized_vectors(target, &lists.offsets, elements, lists.nulls.clone())
}

fn unsized_vectors(
    target: &ColumnType,
    offsets: &[usize],
    elements: ArrayRef,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, RowError> {
    let DataType::List(field) = target.arrow_type() else {
        return Err(Error::internal(format!("{target} has a size")).into());
    };
    let lengths = offsets.windows(2).map(|w| w[1] - w[0]);
    let offsets = OffsetBuffer::<i32>::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(
        field, offsets, elements, nulls,
    )?))
}

/// How many numbers each vector has; `None` for any.
fn dimensions_of(target: &ColumnType) -> Option<usize> {
    match target {
        ColumnType::Vector(n) | ColumnType::HalfVec(n) if *n > 0 => Some(*n as usize),
        _ => None,
    }
}

fn wrong_dimensions(expected: usize, actual: usize) -> Error {
    let message = if actual == 0 {
        "vector must have at least 1 dimension".to_string()
    } else {
        format!("expected {expected} dimensions, not {actual}")
    };
    Error::invalid(sqlstate::DATA_EXCEPTION, message)
}

fn check_no_null_element(lists: &Lists) -> Result<(), RowError> {
    let Some(nulls) = lists.elements.nulls().filter(|n| n.null_count() > 0) else {
        return Ok(());
    };
    for row in (0..lists.len()).filter(|row| !lists.is_null(*row)) {
        let (start, end) = (lists.offsets[row], lists.offsets[row + 1]);
        if nulls.slice(start, end - start).null_count() > 0 {
            let error = Error::invalid(
                sqlstate::NULL_VALUE_NOT_ALLOWED,
                "array must not contain nulls",
            );
            return Err(RowError::new(row, error));
        }
    }
    Ok(())
}

/// The elements with `dimensions` of them for every row, NULL rows included: shared where they are so already.
fn only_live_elements(lists: &Lists, dimensions: usize) -> Result<ArrayRef, RowError> {
    let whole = lists.len() * dimensions;
    let regular = lists.offsets.last() == Some(&whole)
        && (0..lists.len()).all(|row| lists.offsets[row + 1] - lists.offsets[row] == dimensions);
    if regular {
        return Ok(lists.elements.slice(0, whole));
    }
    let indices: arrow::array::UInt64Array = (0..lists.len())
        .flat_map(|row| {
            let start = lists.offsets[row] as u64;
            let live = !lists.is_null(row);
            (0..dimensions as u64).map(move |i| live.then_some(start + i))
        })
        .collect();
    Ok(arrow::compute::take(&lists.elements, &indices, None)?)
}

/// Elements in 32 bits; those below NULL rows may be anything finite or not.
fn to_single(elements: &ArrayRef) -> Result<Float32Array, RowError> {
    let values = match elements.data_type() {
        DataType::Float32 => elements.as_primitive::<Float32Type>().values().clone(),
        DataType::Float64 => {
            let wide = elements.as_primitive::<Float64Type>();
            wide.values().iter().map(|v| *v as f32).collect()
        }
        _ => {
            let cast = arrow::compute::cast(elements, &DataType::Float32)?;
            cast.as_primitive::<Float32Type>().values().clone()
        }
    };
    Ok(Float32Array::new(values, None))
}

fn to_half(elements: &ArrayRef) -> Result<Float16Array, RowError> {
    if elements.data_type() == &DataType::Float16 {
        let values = elements.as_primitive::<Float16Type>().values().clone();
        return Ok(Float16Array::new(values, None));
    }
    let single = to_single(elements)?;
    let values = single.values().iter().map(|v| f16::from_f32(*v));
    Ok(Float16Array::new(values.collect(), None))
}

/// Places of NaN and infinite elements.
fn not_finite(elements: &ArrayRef) -> Box<dyn Iterator<Item = usize> + '_> {
    fn places<'a, T: Copy>(
        values: &'a [T],
        finite: impl Fn(T) -> bool + Copy + 'a,
    ) -> Box<dyn Iterator<Item = usize> + 'a> {
        // A whole pass without branches is what the compiler vectorises.
        if values.iter().fold(true, |all, v| all & finite(*v)) {
            return Box::new(std::iter::empty());
        }
        Box::new((0..values.len()).filter(move |i| !finite(values[*i])))
    }
    match elements.data_type() {
        DataType::Float16 => places(
            elements.as_primitive::<Float16Type>().values(),
            f16::is_finite,
        ),
        _ => places(
            elements.as_primitive::<Float32Type>().values(),
            f32::is_finite,
        ),
    }
}

fn refuse_row(row: usize, elements: &ArrayRef, target: &ColumnType) -> RowError {
    let name = match target {
        ColumnType::HalfVec(_) => "halfvec",
        _ => "vector",
    };
    let nan = match elements.data_type() {
        DataType::Float16 => elements
            .as_primitive::<Float16Type>()
            .values()
            .iter()
            .any(|v| v.is_nan()),
        _ => elements
            .as_primitive::<Float32Type>()
            .values()
            .iter()
            .any(|v| v.is_nan()),
    };
    let message = if nan {
        format!("NaN not allowed in {name}")
    } else {
        format!("infinite value not allowed in {name}")
    };
    RowError::new(row, Error::invalid(sqlstate::DATA_EXCEPTION, message))
}

fn fixed(
    target: &ColumnType,
    elements: ArrayRef,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, RowError> {
    let DataType::FixedSizeList(field, n) = target.arrow_type() else {
        return Err(Error::internal(format!("{target} is no vector")).into());
    };
    Ok(Arc::new(FixedSizeListArray::try_new(
        field, n, elements, nulls,
    )?))
}

/// Vectors in pgvector's text format.
pub(super) fn vector_from_text(
    texts: &StringArray,
    target: &ColumnType,
) -> Result<ArrayRef, RowError> {
    let dimensions = dimensions_of(target);
    let (offsets, elements): (_, ArrayRef) = match target {
        ColumnType::HalfVec(_) => {
            let read = |text: &str| parse_halfvec(text, dimensions);
            let (offsets, values) = numbers_of(texts, dimensions, f16::ZERO, read)?;
            (offsets, Arc::new(Float16Array::from(values)))
        }
        _ => {
            let read = |text: &str| parse_vector(text, dimensions);
            let (offsets, values) = numbers_of(texts, dimensions, 0.0, read)?;
            (offsets, Arc::new(Float32Array::from(values)))
        }
    };
    match dimensions {
        Some(_) => fixed(target, elements, texts.nulls().cloned()),
        None => unsized_vectors(target, &offsets, elements, texts.nulls().cloned()),
    }
}

/// The numbers of all texts, and where those of each begin, and of the last end. Where there is no text, there are as many
/// as every vector has.
fn numbers_of<N: Copy>(
    texts: &StringArray,
    dimensions: Option<usize>,
    missing: N,
    read: impl Fn(&str) -> Result<Vec<N>, VectorError>,
) -> Result<(Vec<usize>, Vec<N>), RowError> {
    let mut values = Vec::with_capacity(texts.len() * dimensions.unwrap_or(0));
    let mut offsets = vec![0];
    for (row, text) in texts.iter().enumerate() {
        match text.map(&read) {
            Some(parsed) => {
                values.extend(parsed.map_err(|e| RowError::new(row, Error::from_vector(&e)))?);
            }
            None => values.resize(values.len() + dimensions.unwrap_or(0), missing),
        }
        offsets.push(values.len());
    }
    Ok((offsets, values))
}

/// Lists as `inner[]`, element by element.
pub(super) fn to_array(
    source: &ArrayRef,
    inner: &ColumnType,
    zone: &Zone,
) -> Result<ArrayRef, RowError> {
    let lists = Lists::of(source);
    let elements = to_type(&lists.elements, inner, zone)
        .map_err(|e| e.moved(|element| lists.row_of(element)))?;
    list_array(inner, &lists.offsets, elements, lists.nulls)
}

fn list_array(
    inner: &ColumnType,
    offsets: &[usize],
    elements: ArrayRef,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, RowError> {
    let lengths = offsets.windows(2).map(|w| w[1] - w[0]);
    let offsets = OffsetBuffer::<i32>::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(
        element_field(inner),
        offsets,
        elements,
        nulls,
    )?))
}

/// Arrays as Postgres writes them, `{a,"b c",NULL}`, or as JSON does, `["a",null]`.
pub(super) fn array_from_text(
    texts: &StringArray,
    inner: &ColumnType,
    zone: &Zone,
) -> Result<ArrayRef, RowError> {
    let mut elements: Vec<Option<String>> = Vec::new();
    let mut offsets = vec![0];
    for (row, text) in texts.iter().enumerate() {
        if let Some(text) = text {
            let nested = matches!(inner, ColumnType::Array(_));
            split_array(text.trim_matches(is_space), nested, &mut elements)
                .ok_or_else(|| RowError::new(row, malformed(text)))?;
        }
        offsets.push(elements.len());
    }
    let row_of = |element| offsets.partition_point(|o| *o <= element) - 1;
    let source: ArrayRef = Arc::new(StringArray::from(elements));
    let elements = to_type(&source, inner, zone).map_err(|e| e.moved(row_of))?;
    list_array(inner, &offsets, elements, texts.nulls().cloned())
}

fn malformed(text: &str) -> Error {
    let short = syntax(sqlstate::INVALID_TEXT_REPRESENTATION, "array", text);
    let text = short
        .message()
        .split_once(": ")
        .map_or("", |(_, t)| t)
        .to_string();
    Error::invalid(
        sqlstate::INVALID_TEXT_REPRESENTATION,
        format!("malformed array literal: {text}"),
    )
}

/// What stands between elements without being part of them: PostgreSQL's `array_isspace`, no other blank of Unicode.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

/// Appends the elements' texts; `None` when the text is no array.
fn split_array(text: &str, nested: bool, out: &mut Vec<Option<String>>) -> Option<()> {
    if text.starts_with('[') {
        let values: Vec<serde_json::Value> = serde_json::from_str(text).ok()?;
        out.extend(values.into_iter().map(|value| match value {
            serde_json::Value::Null => None,
            serde_json::Value::String(text) => Some(text),
            other => Some(other.to_string()),
        }));
        return Some(());
    }
    let body = text.strip_prefix('{')?.strip_suffix('}')?;
    if body.chars().all(is_space) {
        return Some(());
    }
    let mut rest = body;
    loop {
        rest = rest.trim_start_matches(is_space);
        let (element, after) = match rest.chars().next()? {
            '"' => quoted(rest).map(|(text, after)| (Some(text), after))?,
            '{' if nested => {
                let (inner, after) = rest.split_at(end_of_braces(rest)?);
                (Some(inner.to_string()), after)
            }
            _ => bare(rest)?,
        };
        out.push(element);
        rest = after.trim_start_matches(is_space);
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None if rest.is_empty() => return Some(()),
            None => return None,
        }
    }
}

/// An element without quotes: up to the next comma, NULL in any case being the missing value.
fn bare(text: &str) -> Option<(Option<String>, &str)> {
    let end = text.find(',').unwrap_or(text.len());
    let (element, after) = text.split_at(end);
    let element = element.trim_end_matches(is_space);
    if element.is_empty() || element.contains(['{', '}', '"']) {
        return None;
    }
    let value = (!element.eq_ignore_ascii_case("null")).then(|| element.replace('\\', ""));
    Some((value, after))
}

/// An element in quotes, with backslashes before what is meant as it stands.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((out, &text[at + 1..])),
            '\\' => out.push(chars.next()?.1),
            c => out.push(c),
        }
    }
    None
}

/// Where the array that the text begins with ends.
fn end_of_braces(text: &str) -> Option<usize> {
    let (mut depth, mut inside) = (0usize, false);
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' => inside = !inside,
            b'{' if !inside => depth += 1,
            b'}' if !inside => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}
