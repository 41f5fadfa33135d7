//! Binary arrays and vectors.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, PrimitiveArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{ArrowPrimitiveType, DataType, Field, FieldRef, Float16Type, Float32Type};
use half::f16;
use shelfmark_udfs::{DIMENSION_MAX, VectorType, parse_halfvec, parse_vector};

use super::binary::{Cell, each, values};
use crate::catalog::assign::RowError;
use crate::error::{Error, Result, sqlstate};
use crate::sql::format::number::invalid;
use crate::sql::format::{oid, type_of};
use crate::storage::schema::LIST_ELEMENT;

/// The most dimensions that PostgreSQL's arrays have.
const DIMENSIONS_MAX: i32 = 6;

/// Reads words and values off the front of bytes.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or_else(too_short)?;
        self.0 = rest;
        Ok(*head)
    }

    fn int(&mut self) -> Result<i32> {
        self.take().map(i32::from_be_bytes)
    }

    /// A length and as many bytes; -1 is NULL.
    fn cell(&mut self) -> Result<Cell<'a>> {
        let length = self.int()?;
        if length == -1 {
            return Ok(None);
        }
        let length = usize::try_from(length).map_err(|_| too_short())?;
        let (head, rest) = self.0.split_at_checked(length).ok_or_else(too_short)?;
        self.0 = rest;
        Ok(Some(head))
    }

    fn finish(self) -> Result<()> {
        match self.0 {
            [] => Ok(()),
            _ => Err(invalid("incorrect binary data format")),
        }
    }
}

fn too_short() -> Error {
    invalid("insufficient data left in message")
}

/// One array: the lengths of its dimensions (none when it is empty), and its elements.
struct ArrayValue<'a> {
    lengths: Vec<usize>,
    element: u32,
    cells: Vec<Cell<'a>>,
}

impl<'a> ArrayValue<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self> {
        let mut reader = Reader(bytes);
        let dimensions = reader.int()?;
        if !(0..=DIMENSIONS_MAX).contains(&dimensions) {
            return Err(invalid(format!(
                "invalid number of dimensions: {dimensions}"
            )));
        }
        if !matches!(reader.int()?, 0 | 1) {
            return Err(invalid("invalid array flags"));
        }
        let element = reader.int()? as u32;
        let mut lengths = Vec::with_capacity(dimensions as usize);
        for _ in 0..dimensions {
            let length = usize::try_from(reader.int()?);
            lengths.push(length.map_err(|_| invalid("invalid array length"))?);
            reader.int()?;
        }
        let first = usize::from(!lengths.is_empty());
        let count = lengths
            .iter()
            .try_fold(first, |n, length| n.checked_mul(*length));
        // Each element has at least a length of four bytes.
        let count = count
            .filter(|n| *n <= reader.0.len() / 4 || *n == 0)
            .ok_or_else(too_short)?;
        if count == 0 {
            lengths.clear();
        }
        let cells = (0..count).map(|_| reader.cell()).collect::<Result<_>>()?;
        reader.finish()?;
        Ok(Self {
            lengths,
            element,
            cells,
        })
    }
}

/// Arrays as lists in lists, as many as `field` has.
///
/// # Errors
/// 22P03 for bytes that are no array, 2202E for another number of dimensions, 42804 for elements of several types.
pub(super) fn arrays(field: &Field, cells: &[Cell<'_>]) -> Result<ArrayRef, RowError> {
    let rows = each(cells, ArrayValue::read)?;
    let present = || rows.iter().flatten().filter(|row| !row.lengths.is_empty());
    let element = rows.iter().flatten().map(|r| r.element).next();
    let leaf = Leaf::of(field, matches!(element, Some(oid::VECTOR | oid::HALFVEC)));
    let depth = leaf
        .depth
        .unwrap_or_else(|| present().map(|r| r.lengths.len()).max().unwrap_or(1));
    let element = element.unwrap_or_else(|| type_of(&leaf.field).oid);
    for (at, row) in rows.iter().enumerate() {
        let Some(row) = row else { continue };
        if row.element != element {
            let error = Error::invalid(sqlstate::DATATYPE_MISMATCH, "wrong element type");
            return Err(RowError::new(at, error));
        }
        if !row.lengths.is_empty() && row.lengths.len() != depth {
            let message = format!(
                "an array of {depth} dimensions was expected, not of {}",
                row.lengths.len()
            );
            let error = Error::invalid(sqlstate::ARRAY_SUBSCRIPT_ERROR, message);
            return Err(RowError::new(at, error));
        }
    }
    let cells: Vec<Cell<'_>> = rows
        .iter()
        .flatten()
        .flat_map(|r| r.cells.iter().copied())
        .collect();
    let mut array = values(element, &leaf.field, &cells).map_err(|e| RowError {
        row: e.row.map(|place| row_of(&rows, place)),
        error: e.error,
    })?;
    for level in (0..depth).rev() {
        let lengths = rows.iter().flat_map(|row| lists_at(row.as_ref(), level));
        let offsets = OffsetBuffer::from_lengths(lengths);
        let nulls = (level == 0).then(|| NullBuffer::from_iter(rows.iter().map(Option::is_some)));
        let field = Arc::new(Field::new(LIST_ELEMENT, array.data_type().clone(), true));
        array = Arc::new(ListArray::try_new(field, offsets, array, nulls)?);
    }
    Ok(array)
}

/// The row that holds the element at `place`.
fn row_of(rows: &[Option<ArrayValue<'_>>], place: usize) -> usize {
    let mut end = 0;
    let holds = |row: &Option<ArrayValue<'_>>| {
        end += row.as_ref().map_or(0, |r| r.cells.len());
        place < end
    };
    rows.iter().position(holds).unwrap_or(0)
}

/// The lengths of the lists that a row has at a level: one at the top, more below.
fn lists_at(row: Option<&ArrayValue<'_>>, level: usize) -> impl Iterator<Item = usize> {
    let lengths = row.map_or(&[][..], |row| &row.lengths);
    let (count, length) = match lengths.get(level) {
        Some(length) => (lengths[..level].iter().product(), *length),
        // NULL and the empty array are one empty list.
        None => (usize::from(level == 0), 0),
    };
    std::iter::repeat_n(length, count)
}

/// What lies below the lists of a field.
struct Leaf {
    field: FieldRef,
    /// How many lists; `None` when the field is no list, as for text.
    depth: Option<usize>,
}

impl Leaf {
    /// Of a field, whose vectors are lists too unless they are what arrays hold.
    fn of(field: &Field, holds_vectors: bool) -> Self {
        let mut leaf = Arc::new(field.clone());
        let mut depth = 0;
        let is_leaf = |field: &Field| holds_vectors && VectorType::of(field.data_type()).is_some();
        while let DataType::List(inner)
        | DataType::LargeList(inner)
        | DataType::FixedSizeList(inner, _)
        | DataType::ListView(inner)
        | DataType::LargeListView(inner) = leaf.data_type()
        {
            if is_leaf(&leaf) {
                break;
            }
            leaf = Arc::clone(inner);
            depth += 1;
        }
        Self {
            field: leaf,
            depth: (depth > 0).then_some(depth),
        }
    }
}

/// `vector`s as lists of floats that are not NULL.
pub(super) fn vectors(cells: &[Cell<'_>]) -> Result<ArrayRef, RowError> {
    let rows = each(cells, |bytes| {
        elements(
            bytes,
            "vector",
            f32::from_be_bytes,
            f32::is_nan,
            f32::is_infinite,
        )
    })?;
    lists::<Float32Type>(rows)
}

/// `halfvec`s as lists of floats that are not NULL.
pub(super) fn half_vectors(cells: &[Cell<'_>]) -> Result<ArrayRef, RowError> {
    let rows = each(cells, |bytes| {
        elements(
            bytes,
            "halfvec",
            f16::from_be_bytes,
            f16::is_nan,
            f16::is_infinite,
        )
    })?;
    lists::<Float16Type>(rows)
}

/// The dimension as `int16`, a zero as `int16`, then the elements.
fn elements<T: Copy, const N: usize>(
    bytes: &[u8],
    name: &str,
    read: fn([u8; N]) -> T,
    is_nan: fn(T) -> bool,
    is_infinite: fn(T) -> bool,
) -> Result<Vec<T>> {
    let mut reader = Reader(bytes);
    let dimension = i16::from_be_bytes(reader.take()?);
    let unused = i16::from_be_bytes(reader.take()?);
    let dimension = usize::try_from(dimension).unwrap_or(0);
    check_dimension(dimension, name)?;
    if unused != 0 {
        return Err(data_exception(format!(
            "expected unused to be 0, not {unused}"
        )));
    }
    let (chunks, rest) = reader.0.as_chunks::<N>();
    if chunks.len() != dimension || !rest.is_empty() {
        return Err(invalid("incorrect binary data format"));
    }
    let values: Vec<T> = chunks.iter().map(|chunk| read(*chunk)).collect();
    check_finite(&values, name, is_nan, is_infinite)?;
    Ok(values)
}

fn data_exception(message: String) -> Error {
    Error::invalid(sqlstate::DATA_EXCEPTION, message)
}

fn check_dimension(dimension: usize, name: &str) -> Result<()> {
    if dimension == 0 {
        return Err(data_exception(format!(
            "{name} must have at least 1 dimension"
        )));
    }
    if dimension > DIMENSION_MAX {
        let message = format!("{name} cannot have more than {DIMENSION_MAX} dimensions");
        return Err(Error::limit(sqlstate::PROGRAM_LIMIT_EXCEEDED, message));
    }
    Ok(())
}

fn check_finite<T: Copy>(
    values: &[T],
    name: &str,
    is_nan: fn(T) -> bool,
    is_infinite: fn(T) -> bool,
) -> Result<()> {
    if values.iter().any(|v| is_nan(*v)) {
        return Err(data_exception(format!("NaN not allowed in {name}")));
    }
    if values.iter().any(|v| is_infinite(*v)) {
        return Err(data_exception(format!(
            "infinite value not allowed in {name}"
        )));
    }
    Ok(())
}

fn lists<T: ArrowPrimitiveType>(rows: Vec<Option<Vec<T::Native>>>) -> Result<ArrayRef, RowError> {
    let nulls = NullBuffer::from_iter(rows.iter().map(Option::is_some));
    let lengths = rows.iter().map(|row| row.as_ref().map_or(0, Vec::len));
    let offsets = OffsetBuffer::from_lengths(lengths);
    let values: Vec<T::Native> = rows.into_iter().flatten().flatten().collect();
    let field = Arc::new(Field::new(LIST_ELEMENT, T::DATA_TYPE, false));
    let values = Arc::new(PrimitiveArray::<T>::new(values.into(), None));
    Ok(Arc::new(ListArray::try_new(
        field,
        offsets,
        values,
        Some(nulls),
    )?))
}

/// Vectors without a dimension in their type, from text or from lists of numbers.
///
/// # Errors
/// Those of pgvector's casts.
pub(super) fn unsized_vectors(array: &ArrayRef, half: bool) -> Result<ArrayRef, RowError> {
    let name = if half { "halfvec" } else { "vector" };
    if array.data_type() == &DataType::Utf8 {
        let texts = array.as_string::<i32>().iter().enumerate();
        return if half {
            let rows = texts.map(|(row, text)| vector_text(row, text, parse_halfvec));
            lists::<Float16Type>(rows.collect::<Result<_, _>>()?)
        } else {
            let rows = texts.map(|(row, text)| vector_text(row, text, parse_vector));
            lists::<Float32Type>(rows.collect::<Result<_, _>>()?)
        };
    }
    let element = if half {
        DataType::Float16
    } else {
        DataType::Float32
    };
    let list = DataType::List(Arc::new(Field::new(LIST_ELEMENT, element, true)));
    let numbers = cast(array, &list)?;
    let numbers = numbers.as_list::<i32>();
    for (row, elements) in numbers.iter().enumerate() {
        let Some(elements) = elements else { continue };
        if elements.null_count() > 0 {
            let error = Error::invalid(
                sqlstate::NULL_VALUE_NOT_ALLOWED,
                "array must not contain nulls",
            );
            return Err(RowError::new(row, error));
        }
        check_dimension(elements.len(), name).map_err(|e| RowError::new(row, e))?;
        let wide = cast(&elements, &DataType::Float32)?;
        let wide = wide.as_primitive::<Float32Type>();
        check_finite(wide.values(), name, f32::is_nan, f32::is_infinite)
            .map_err(|e| RowError::new(row, e))?;
    }
    let field = Field::new(LIST_ELEMENT, numbers.value_type(), false);
    let list = ListArray::try_new(
        Arc::new(field),
        numbers.offsets().clone(),
        Arc::clone(numbers.values()),
        numbers.nulls().cloned(),
    )?;
    Ok(Arc::new(list))
}

fn vector_text<T>(
    row: usize,
    text: Option<&str>,
    parse: fn(&str, Option<usize>) -> Result<Vec<T>, shelfmark_udfs::VectorError>,
) -> Result<Option<Vec<T>>, RowError> {
    let vector = text.map(|text| parse(text, None)).transpose();
    vector.map_err(|e| RowError::new(row, Error::from_vector(&e)))
}
