//! Parameters and fields of COPY to values, from text or binary.

mod binary;
mod client_text;
mod column_type;
mod list;
mod plain;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;
use shelfmark_udfs::{Element, SparseType, VectorType};

pub use self::client_text::in_utf8;
use self::column_type::column_type;
use super::{Format, PgType, bits, oid, type_of};
use crate::catalog::assign::{RowError, cast_to};
use crate::catalog::pg_type::list_element;
use crate::catalog::zone::Zone;
use crate::error::{Error, Result, sqlstate};
use crate::storage::schema::{ColumnType, LIST_ELEMENT};

/// A parameter's value; its bytes are of the field's own type, and times without a zone are read on the zone's clock.
///
/// # Errors
/// 22P02 and 22007 for text that is no value of the type, 22P03 for such bytes, 22003 and 22008 for values out of
/// range, 22021 for text that is not UTF-8 or holds the character 0.
pub fn decode_parameter(
    field: &Field,
    format: Format,
    bytes: Option<&[u8]>,
    zone: &Zone,
) -> Result<ScalarValue> {
    decode_parameter_of(0, field, format, bytes, zone)
}

/// A parameter's value; its bytes are of the type that the client declared (0 for none), the value is of the field's.
///
/// # Errors
/// As [`decode_parameter`]; 42846 when the one type does not become the other.
pub fn decode_parameter_of(
    declared: u32,
    field: &Field,
    format: Format,
    bytes: Option<&[u8]>,
    zone: &Zone,
) -> Result<ScalarValue> {
    if let Some(value) = bytes.and_then(|bytes| plain::value(declared, field, format, bytes)) {
        return Ok(value);
    }
    let array = decode_column(declared, field, format, &[bytes], zone).map_err(|e| e.error)?;
    Ok(ScalarValue::try_from_array(&array, 0)?)
}

/// The values of a column, `None` being NULL; `declared` as for [`decode_parameter_of`].
///
/// # Errors
/// As [`decode_parameter_of`], with the place of the value.
pub fn decode_column(
    declared: u32,
    field: &Field,
    format: Format,
    cells: &[Option<&[u8]>],
    zone: &Zone,
) -> Result<ArrayRef, RowError> {
    let oid = match declared {
        0 | oid::UNKNOWN => type_of(field).oid,
        declared => declared,
    };
    let array = match format {
        Format::Text => binary::texts(cells)?,
        Format::Binary => binary::values(oid, field, cells)?,
    };
    convert_array(&array, field, zone)
}

/// The value as the field's type, by assignment: text is read, lists of numbers become vectors.
///
/// # Errors
/// As [`decode_parameter_of`].
pub fn convert(value: &ScalarValue, field: &Field, zone: &Zone) -> Result<ScalarValue> {
    // A text may have to be in the one spelling of a type that is kept as text.
    let is_kept_so = !field.data_type().is_string() || type_of(field).oid == oid::TEXT;
    if is_kept_so && value.data_type() == *field.data_type() {
        return Ok(value.clone());
    }
    let array = convert_array(&value.to_array()?, field, zone).map_err(|e| e.error)?;
    Ok(ScalarValue::try_from_array(&array, 0)?)
}

/// Texts as values of the field's type; times without a zone are read on the zone's clock.
///
/// # Errors
/// As [`decode_parameter_of`].
pub fn read_texts(texts: &StringArray, field: &Field, zone: &Zone) -> Result<ArrayRef, RowError> {
    let texts: ArrayRef = Arc::new(texts.clone());
    convert_array(&texts, field, zone)
}

/// Texts, or arrays of them, as values of the field's type.
///
/// # Errors
/// As [`decode_parameter_of`].
pub fn read_values(array: &ArrayRef, field: &Field, zone: &Zone) -> Result<ArrayRef, RowError> {
    convert_array(array, field, zone)
}

fn convert_array(array: &ArrayRef, field: &Field, zone: &Zone) -> Result<ArrayRef, RowError> {
    let target = field.data_type();
    let same = array.data_type() == target;
    // Text of a type kept as text must still be checked.
    if same && type_of(field).oid == oid::TEXT {
        return Ok(Arc::clone(array));
    }
    let told = type_of(field);
    if let Some(column_type) = column_type(field) {
        if matches!(told.oid, oid::BIT | oid::VARBIT | oid::SPARSEVEC) {
            let texts = cast_to(array, &column_type, zone)?;
            return exactly(&kept_as_text(&texts, told)?, target);
        }
        return exactly(&cast_to(array, &column_type, zone)?, target);
    }
    if same {
        return Ok(Arc::clone(array));
    }
    if let Some(vector) = VectorType::of(target).filter(|v| v.dimension.is_none()) {
        let vectors = list::unsized_vectors(array, vector.element == Element::Half)?;
        return exactly(&vectors, target);
    }
    if let Some(element) = list_element(target) {
        return exactly(&convert_list(array, element, zone)?, target);
    }
    match (array.data_type(), target) {
        (_, DataType::Null) => Ok(Arc::clone(array)),
        (DataType::Utf8, DataType::Duration(_)) => {
            exactly(&cast_to(array, &ColumnType::Interval, zone)?, target)
        }
        (DataType::Utf8, DataType::Struct(_)) => {
            Err(Error::unsupported("input of anonymous composite types is not implemented").into())
        }
        _ => exactly(array, target),
    }
}

/// Lists of a type that columns cannot have, element by element.
fn convert_list(array: &ArrayRef, element: &Field, zone: &Zone) -> Result<ArrayRef, RowError> {
    let array = match array.data_type() {
        DataType::Utf8 => {
            let texts = ColumnType::Array(Box::new(ColumnType::Text));
            cast_to(array, &texts, zone)?
        }
        _ => Arc::clone(array),
    };
    let Some(list) = array.as_list_opt::<i32>() else {
        let message = format!("cannot cast type {} to an array", array.data_type());
        return Err(Error::invalid(sqlstate::CANNOT_COERCE, message).into());
    };
    let offsets = list.offsets();
    let row_of = |place: usize| offsets.partition_point(|o| *o as usize <= place) - 1;
    let elements = convert_array(list.values(), element, zone).map_err(|e| RowError {
        row: e.row.map(row_of),
        error: e.error,
    })?;
    let field = Arc::new(Field::new(LIST_ELEMENT, elements.data_type().clone(), true));
    let list = ListArray::try_new(field, offsets.clone(), elements, list.nulls().cloned())?;
    Ok(Arc::new(list))
}

/// Bits and sparse vectors in their one spelling, with the length that their type says.
fn kept_as_text(texts: &ArrayRef, told: PgType) -> Result<ArrayRef, RowError> {
    let read = |text: &str| match told.oid {
        oid::SPARSEVEC => {
            let dimension = u32::try_from(told.typmod).ok();
            let vector = SparseType { dimension }.read(text);
            Ok(vector.map_err(|e| Error::from_vector(&e))?.to_string())
        }
        _ => bits::parse(text, told.oid, told.typmod),
    };
    let texts = texts.as_string::<i32>().iter().enumerate();
    let texts = texts.map(|(row, text)| {
        text.map(read)
            .transpose()
            .map_err(|e| RowError::new(row, e))
    });
    let texts: StringArray = texts.collect::<Result<_, _>>()?;
    Ok(Arc::new(texts))
}

/// Arrow's cast between types of one meaning.
fn exactly(array: &ArrayRef, target: &DataType) -> Result<ArrayRef, RowError> {
    if array.data_type() == target {
        return Ok(Arc::clone(array));
    }
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(array, target, &options).map_err(|source| {
        let from = array.data_type();
        let message = format!("a value of type {from} cannot be used as {target}");
        RowError::from(Error::invalid(sqlstate::CANNOT_COERCE, message).with_source(source))
    })
}

/// A column of texts.
fn text_array(texts: Vec<Option<&str>>) -> ArrayRef {
    Arc::new(StringArray::from(texts))
}
