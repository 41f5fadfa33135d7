//! Parameters and fields of COPY to values, from text or binary.

mod binary;
mod column_type;
mod interval;
mod list;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, IntervalMonthDayNanoType};
use datafusion::common::ScalarValue;
use shelfmark_udfs::{Element, VectorType};

use self::column_type::column_type;
use super::{Format, oid, type_of};
use crate::catalog::assign::{RowError, cast_to};
use crate::error::{Error, Result, sqlstate};

/// A parameter's value; its bytes are of the field's own type.
///
/// # Errors
/// 22P02 and 22007 for text that is no value of the type, 22P03 for such bytes, 22003 and 22008 for values out of
/// range, 22021 for text that is not UTF-8 or holds the character 0.
pub fn decode_parameter(
    field: &Field,
    format: Format,
    bytes: Option<&[u8]>,
) -> Result<ScalarValue> {
    decode_parameter_of(0, field, format, bytes)
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
) -> Result<ScalarValue> {
    let array = decode_column(declared, field, format, &[bytes]).map_err(|e| e.error)?;
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
) -> Result<ArrayRef, RowError> {
    let oid = match declared {
        0 | oid::UNKNOWN => type_of(field).oid,
        declared => declared,
    };
    let array = match format {
        Format::Text => binary::texts(cells)?,
        Format::Binary => binary::values(oid, field, cells)?,
    };
    convert_array(&array, field)
}

/// The value as the field's type, by assignment: text is read, lists of numbers become vectors.
///
/// # Errors
/// As [`decode_parameter_of`].
pub fn convert(value: &ScalarValue, field: &Field) -> Result<ScalarValue> {
    if value.data_type() == *field.data_type() {
        return Ok(value.clone());
    }
    let array = convert_array(&value.to_array()?, field).map_err(|e| e.error)?;
    Ok(ScalarValue::try_from_array(&array, 0)?)
}

fn convert_array(array: &ArrayRef, field: &Field) -> Result<ArrayRef, RowError> {
    let target = field.data_type();
    let same = array.data_type() == target;
    // Text of a type kept as text must still be checked.
    if same && type_of(field).oid == oid::TEXT {
        return Ok(Arc::clone(array));
    }
    if let Some(column_type) = column_type(field) {
        return exactly(&cast_to(array, &column_type)?, target);
    }
    if same {
        return Ok(Arc::clone(array));
    }
    if let Some(vector) = VectorType::of(target).filter(|v| v.dimension.is_none()) {
        let vectors = list::unsized_vectors(array, vector.element == Element::Half)?;
        return exactly(&vectors, target);
    }
    match (array.data_type(), target) {
        (_, DataType::Null) => Ok(Arc::clone(array)),
        (DataType::Utf8, DataType::Interval(_) | DataType::Duration(_)) => {
            let texts = arrow::array::AsArray::as_string::<i32>(array);
            let intervals = interval::parse_all(texts)?;
            let intervals: ArrayRef =
                Arc::new(arrow::array::PrimitiveArray::<IntervalMonthDayNanoType>::from(intervals));
            exactly(&intervals, target)
        }
        (DataType::Utf8, DataType::Struct(_)) => {
            Err(Error::unsupported("input of anonymous composite types is not implemented").into())
        }
        _ => exactly(array, target),
    }
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
