//! The Arrow types that stand for `VECTOR(n)`, `HALFVEC(n)`, and both without a dimension.
//!
//! | SQL | Arrow |
//! |---|---|
//! | `VECTOR(n)` | `FixedSizeList(Float32 "element", not null; n)` |
//! | `HALFVEC(n)` | `FixedSizeList(Float16 "element", not null; n)` |
//! | `VECTOR`, `HALFVEC` | `List(Float32 or Float16 "element", not null)` |
//!
//! Data from elsewhere names the list's field as it likes and calls it nullable; functions and
//! operators take such a fixed-size list of floats as a vector too.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};

use crate::error::VectorError;

/// The largest number of dimensions that a vector may have, as in pgvector.
pub const DIMENSION_MAX: usize = 16_000;

/// The name of the list field in the types that this crate makes.
const ELEMENT_FIELD: &str = "element";

/// The number type that a vector is made of; it displays as the name of the SQL type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Element {
    /// `vector`: 32-bit floats.
    Single,
    /// `halfvec`: 16-bit floats.
    Half,
}

impl Element {
    /// The element type of the SQL type of that name (`vector` or `halfvec`, in any case).
    pub fn from_sql_name(name: &str) -> Option<Self> {
        [Element::Single, Element::Half]
            .into_iter()
            .find(|e| name.eq_ignore_ascii_case(e.sql_name()))
    }

    /// The name of the SQL type.
    pub fn sql_name(self) -> &'static str {
        match self {
            Element::Single => "vector",
            Element::Half => "halfvec",
        }
    }

    /// The Arrow type of one element.
    pub fn arrow(self) -> DataType {
        match self {
            Element::Single => DataType::Float32,
            Element::Half => DataType::Float16,
        }
    }

    fn from_arrow(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::Float32 => Some(Element::Single),
            DataType::Float16 => Some(Element::Half),
            _ => None,
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sql_name())
    }
}

/// A vector type: its element and, where it is fixed, its dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VectorType {
    /// What the vector is made of.
    pub element: Element,
    /// How many elements it has; `None` for `vector` without a dimension.
    pub dimension: Option<usize>,
}

impl VectorType {
    /// The type of vectors with that many elements, `None` meaning any number.
    ///
    /// # Errors
    /// 22023 when the dimension is 0 or above [`DIMENSION_MAX`].
    pub fn try_new(element: Element, dimension: Option<usize>) -> Result<Self, VectorError> {
        match dimension {
            Some(0) => Err(VectorError::type_without_dimension(element)),
            Some(n) if n > DIMENSION_MAX => Err(VectorError::type_too_wide(element)),
            dimension => Ok(Self { element, dimension }),
        }
    }

    pub(crate) fn unsized_of(element: Element) -> Self {
        Self {
            element,
            dimension: None,
        }
    }

    /// The type of an operand that is a vector: any fixed-size list of 16- or 32-bit floats, or a
    /// list as [`VectorType::arrow`] makes it. `REAL[]` is not one.
    pub fn of(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::FixedSizeList(field, n) if *n > 0 => {
                let element = Element::from_arrow(field.data_type())?;
                Some(Self {
                    element,
                    dimension: Some(usize::try_from(*n).ok()?),
                })
            }
            _ => Self::of_target(data_type),
        }
    }

    /// The type when it is exactly one that this crate makes, up to the name inside a fixed-size
    /// list: a cast to `REAL[3]` is no cast to a vector, because its elements may be null.
    pub(crate) fn of_target(data_type: &DataType) -> Option<Self> {
        let (field, dimension) = match data_type {
            DataType::FixedSizeList(field, n) if *n > 0 => (field, Some(usize::try_from(*n).ok()?)),
            DataType::List(field) if field.name() == ELEMENT_FIELD => (field, None),
            _ => return None,
        };
        if field.is_nullable() {
            return None;
        }
        Some(Self {
            element: Element::from_arrow(field.data_type())?,
            dimension,
        })
    }

    /// The Arrow type.
    pub fn arrow(self) -> DataType {
        match self.dimension {
            // Every constructor bounds the dimension, so that it fits.
            Some(n) => DataType::FixedSizeList(self.field(), n as i32),
            None => DataType::List(self.field()),
        }
    }

    /// The field inside the list.
    pub(crate) fn field(self) -> FieldRef {
        Arc::new(Field::new(ELEMENT_FIELD, self.element.arrow(), false))
    }
}

impl fmt::Display for VectorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.dimension {
            Some(n) => write!(f, "{}({n})", self.element),
            None => write!(f, "{}", self.element),
        }
    }
}

/// Whether a value of the type is text.
pub(crate) fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

/// The type of a list's elements.
pub(crate) fn list_element(data_type: &DataType) -> Option<&DataType> {
    match data_type {
        DataType::FixedSizeList(field, _)
        | DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field) => Some(field.data_type()),
        _ => None,
    }
}

/// Whether a value of the type is a list of floats of any width.
pub(crate) fn is_float_list(data_type: &DataType) -> bool {
    list_element(data_type).is_some_and(DataType::is_floating)
}

/// Whether a value of the type is a list of numbers.
pub(crate) fn is_number_list(data_type: &DataType) -> bool {
    list_element(data_type).is_some_and(DataType::is_numeric)
}

/// Whether a value of the type is a list of anything.
pub(crate) fn is_list(data_type: &DataType) -> bool {
    list_element(data_type).is_some()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn types_survive_the_way_through_arrow() {
        for element in [Element::Single, Element::Half] {
            for dimension in [None, Some(1), Some(768), Some(DIMENSION_MAX)] {
                let vector = VectorType::try_new(element, dimension).unwrap();
                assert_eq!(VectorType::of(&vector.arrow()), Some(vector));
                assert_eq!(VectorType::of_target(&vector.arrow()), Some(vector));
            }
        }
    }

    #[test]
    fn lists_of_floats_from_elsewhere() {
        let item = |nullable| Arc::new(Field::new("item", DataType::Float32, nullable));
        let foreign = DataType::FixedSizeList(item(true), 3);
        assert_eq!(VectorType::of(&foreign).unwrap().dimension, Some(3));
        assert_eq!(VectorType::of_target(&foreign), None);
        assert_eq!(VectorType::of(&DataType::List(item(true))), None);
        assert_eq!(VectorType::of(&DataType::List(item(false))), None);
        assert!(is_float_list(&DataType::List(item(true))));
    }

    #[test]
    fn dimensions_are_bounded() {
        let error = |n| VectorType::try_new(Element::Half, Some(n)).unwrap_err();
        assert_eq!(
            error(0).message,
            "dimensions for type halfvec must be at least 1"
        );
        assert_eq!(
            error(16_001).message,
            "dimensions for type halfvec cannot exceed 16000"
        );
        assert_eq!(error(16_001).sqlstate, "22023");
    }
}
