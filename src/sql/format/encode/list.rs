//! Arrays of any number of dimensions, and records.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StructArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;
use bytes::{BufMut, BytesMut};
use shelfmark_udfs::VectorType;

use super::column::{Column, Put, Target};
use crate::error::{Error, Result, sqlstate};
use crate::sql::format::{PgType, oid, type_of};

/// The most dimensions that PostgreSQL's arrays have.
const DIMENSIONS_MAX: usize = 6;

/// Where a row's elements are.
pub(super) type RangeOf = Box<dyn Fn(usize) -> Range<usize> + Send + Sync>;

/// Where each row's elements are, and all elements.
pub(super) fn ranges_of(array: &ArrayRef) -> Result<(RangeOf, ArrayRef)> {
    Ok(match array.data_type() {
        DataType::FixedSizeList(_, length) => {
            let length = *length as usize;
            let elements = Arc::clone(array.as_fixed_size_list().values());
            let range_of = move |row| row * length..(row + 1) * length;
            (Box::new(range_of), elements)
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let offsets = list.offsets().clone();
            // Offsets of an Arrow list are never negative.
            let range_of = move |row| offsets[row] as usize..offsets[row + 1] as usize;
            (Box::new(range_of), Arc::clone(list.values()))
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            let offsets = list.offsets().clone();
            let range_of = move |row| offsets[row] as usize..offsets[row + 1] as usize;
            (Box::new(range_of), Arc::clone(list.values()))
        }
        other => return Err(Error::internal(format!("{other} is no list"))),
    })
}

/// The arrays of a column.
pub(super) struct ListValues {
    range_of: RangeOf,
    elements: Elements,
}

enum Elements {
    /// The next dimension, and which of its rows are NULL.
    Lists(Box<ListValues>, Option<NullBuffer>),
    Values(Column),
}

impl ListValues {
    pub(super) fn try_new(array: &ArrayRef, target: Target<'_>) -> Result<Self> {
        let (range_of, elements) = ranges_of(array)?;
        let data_type = elements.data_type();
        let is_list = matches!(
            data_type,
            DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..)
        );
        let elements = if is_list && VectorType::of(data_type).is_none() {
            let inner = Self::try_new(&elements, target)?;
            Elements::Lists(Box::new(inner), elements.logical_nulls())
        } else {
            let element = element_type(target.pg_type);
            Elements::Values(Column::try_new(&elements, target.of(element))?)
        };
        Ok(Self { range_of, elements })
    }

    pub(super) fn into_put(self, target: Target<'_>) -> Put {
        let pg_type = target.pg_type;
        match (pg_type.oid, target.is_binary()) {
            (oid::INT2VECTOR | oid::OIDVECTOR, false) => {
                Box::new(move |row, out| self.put_spaced(row, out))
            }
            (oid::INT2VECTOR | oid::OIDVECTOR, true) => {
                Box::new(move |row, out| self.put_binary(row, element_type(pg_type).oid, 0, out))
            }
            (_, true) => {
                Box::new(move |row, out| self.put_binary(row, element_type(pg_type).oid, 1, out))
            }
            (_, false) => {
                let quoted = may_need_quotes(element_type(pg_type).oid);
                Box::new(move |row, out| self.put_text(row, quoted, out))
            }
        }
    }

    /// `{1,NULL,"a b"}`
    fn put_text(&self, row: usize, quoted: bool, out: &mut BytesMut) -> Result<()> {
        out.put_u8(b'{');
        for (at, element) in (self.range_of)(row).enumerate() {
            if at > 0 {
                out.put_u8(b',');
            }
            match &self.elements {
                Elements::Lists(_, Some(nulls)) if nulls.is_null(element) => {
                    out.put_slice(b"NULL");
                }
                Elements::Lists(inner, _) => inner.put_text(element, quoted, out)?,
                Elements::Values(column) if column.is_null(element) => out.put_slice(b"NULL"),
                Elements::Values(column) => {
                    let start = out.len();
                    column.put(element, out)?;
                    if quoted && needs_quotes(&out[start..]) {
                        quote(start, b"\\\"", |_| b'\\', out);
                    }
                }
            }
        }
        out.put_u8(b'}');
        Ok(())
    }

    /// `1 2 3`: the vectors of the system catalogs.
    fn put_spaced(&self, row: usize, out: &mut BytesMut) -> Result<()> {
        let Elements::Values(column) = &self.elements else {
            return Err(Error::internal("a vector of integers has one dimension"));
        };
        for (at, element) in (self.range_of)(row).enumerate() {
            if at > 0 {
                out.put_u8(b' ');
            }
            column.put(element, out)?;
        }
        Ok(())
    }

    /// Dimensions, whether there are NULLs, the elements' type, length and lower bound of each dimension, elements.
    fn put_binary(
        &self,
        row: usize,
        element: u32,
        lower_bound: i32,
        out: &mut BytesMut,
    ) -> Result<()> {
        if let Elements::Values(column) = &self.elements {
            let places = (self.range_of)(row);
            let length = places.len();
            return put_array(column, &[length], places, (element, lower_bound), out);
        }
        let mut shape = Shape::default();
        let column = self.walk(vec![row], &mut shape)?;
        let places = shape.places.iter().copied();
        put_array(column, &shape.lengths, places, (element, lower_bound), out)
    }

    /// The elements of the lists at `rows`, all of one length, down to those that are no lists.
    fn walk(&self, rows: Vec<usize>, shape: &mut Shape) -> Result<&Column> {
        let mut lengths = rows.iter().map(|row| (self.range_of)(*row).len());
        let length = lengths.next().unwrap_or(0);
        if lengths.any(|other| other != length) {
            return Err(ragged());
        }
        shape.lengths.push(length);
        let places: Vec<usize> = rows.into_iter().flat_map(&self.range_of).collect();
        match &self.elements {
            Elements::Lists(inner, nulls) => {
                let is_null = |place: &usize| nulls.as_ref().is_some_and(|n| n.is_null(*place));
                if places.iter().any(is_null) {
                    return Err(ragged());
                }
                inner.walk(places, shape)
            }
            Elements::Values(column) => {
                shape.places = places;
                Ok(column)
            }
        }
    }
}

/// The binary format of the array with the elements at `places`; `of` is their type and the bound they count from.
fn put_array(
    column: &Column,
    lengths: &[usize],
    places: impl ExactSizeIterator<Item = usize> + Clone,
    of: (u32, i32),
    out: &mut BytesMut,
) -> Result<()> {
    let lengths = if places.len() == 0 { &[] } else { lengths };
    if lengths.len() > DIMENSIONS_MAX {
        let message = format!(
            "number of array dimensions ({}) exceeds the maximum allowed ({DIMENSIONS_MAX})",
            lengths.len()
        );
        return Err(Error::limit(sqlstate::PROGRAM_LIMIT_EXCEEDED, message));
    }
    let (element, lower_bound) = of;
    let nulls = places.clone().any(|place| column.is_null(place));
    out.put_i32(lengths.len() as i32);
    out.put_i32(i32::from(nulls));
    out.put_u32(element);
    for length in lengths {
        out.put_i32(i32::try_from(*length).map_err(|_| too_large())?);
        out.put_i32(lower_bound);
    }
    let mut places = places;
    places.try_for_each(|place| column.put_with_length(place, out))
}

/// The lengths of an array's dimensions, and where its elements are.
#[derive(Default)]
struct Shape {
    lengths: Vec<usize>,
    places: Vec<usize>,
}

fn ragged() -> Error {
    Error::invalid(
        sqlstate::ARRAY_SUBSCRIPT_ERROR,
        "multidimensional arrays must have sub-arrays with matching dimensions",
    )
    .with_hint("Such lists can be read as text.")
}

fn too_large() -> Error {
    Error::limit(
        sqlstate::PROGRAM_LIMIT_EXCEEDED,
        "array size exceeds the maximum allowed",
    )
}

/// The type of the elements; text for an array type that is not known.
fn element_type(array: PgType) -> PgType {
    match array.oid {
        oid::INT2VECTOR => PgType::of_oid(oid::INT2),
        oid::OIDVECTOR => PgType::of_oid(oid::OID),
        _ => array.element().unwrap_or(PgType::of_oid(oid::TEXT)),
    }
}

/// Whether texts of the type may hold what an array's text must quote.
fn may_need_quotes(element: u32) -> bool {
    !matches!(
        element,
        oid::BOOL
            | oid::INT2
            | oid::INT4
            | oid::INT8
            | oid::OID
            | oid::FLOAT4
            | oid::FLOAT8
            | oid::NUMERIC
            | oid::UUID
    )
}

fn needs_quotes(text: &[u8]) -> bool {
    let special = |byte: &u8| {
        matches!(
            byte,
            b'"' | b'\\' | b'{' | b'}' | b',' | b' ' | b'\t'..=b'\r'
        )
    };
    text.is_empty() || text.iter().any(special) || text.eq_ignore_ascii_case(b"null")
}

/// Puts what was written from `start` on in quotes, and before each of `special` its escape.
fn quote(start: usize, special: &[u8], escape: impl Fn(u8) -> u8, out: &mut BytesMut) {
    let text = out.split_off(start);
    out.reserve(text.len() + 2);
    out.put_u8(b'"');
    for byte in text {
        if special.contains(&byte) {
            out.put_u8(escape(byte));
        }
        out.put_u8(byte);
    }
    out.put_u8(b'"');
}

/// The records of a struct array.
pub(super) struct Record {
    fields: Vec<(u32, Column)>,
}

impl Record {
    pub(super) fn try_new(array: &StructArray, target: Target<'_>) -> Result<Self> {
        let fields = array.fields().iter().zip(array.columns());
        let fields = fields.map(|(field, array)| {
            let pg_type = type_of(field);
            Ok((pg_type.oid, Column::try_new(array, target.of(pg_type))?))
        });
        Ok(Self {
            fields: fields.collect::<Result<_>>()?,
        })
    }

    pub(super) fn into_put(self, target: Target<'_>) -> Put {
        if target.is_binary() {
            return Box::new(move |row, out| {
                out.put_i32(self.fields.len() as i32);
                self.fields.iter().try_for_each(|(oid, column)| {
                    out.put_u32(*oid);
                    column.put_with_length(row, out)
                })
            });
        }
        Box::new(move |row, out| self.put_text(row, out))
    }

    /// `(1,"a b",)`: NULL is nothing at all.
    fn put_text(&self, row: usize, out: &mut BytesMut) -> Result<()> {
        out.put_u8(b'(');
        for (at, (_, column)) in self.fields.iter().enumerate() {
            if at > 0 {
                out.put_u8(b',');
            }
            if column.is_null(row) {
                continue;
            }
            let start = out.len();
            column.put(row, out)?;
            let special = |byte: &u8| {
                matches!(
                    byte,
                    b'"' | b'\\' | b'(' | b')' | b',' | b' ' | b'\t'..=b'\r'
                )
            };
            let text = &out[start..];
            if text.is_empty() || text.iter().any(special) {
                quote(start, b"\\\"", |byte| byte, out);
            }
        }
        out.put_u8(b')');
        Ok(())
    }
}
