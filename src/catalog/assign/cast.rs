//! The assignment cast of one array.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BinaryBuilder, BooleanArray,
    FixedSizeListArray, PrimitiveArray, StringArray, StringBuilder, new_null_array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, IntervalMonthDayNanoType, Time64MicrosecondType,
    TimestampMicrosecondType,
};
use shelfmark_udfs::{BitType, SparseType, to_sparse};

use super::error::{RowError, shorten};
use super::number::to_number;
use super::precision::round_seconds;
use super::{datetime, interval, list, moment, output, parse};
use crate::catalog::json::{read_json, write_json};
use crate::catalog::zone::Zone;
use crate::error::{Error, Result, sqlstate};
use crate::storage::enum_type::{EnumType, unknown_label};
use crate::storage::schema::{Column, ColumnType};

/// The array as the column stores it, by the clock of the zone; NULLs pass, see [`super::Assignment`] for NOT NULL.
///
/// # Errors
/// The SQLSTATE of Postgres for the first value that does not fit; 42804 when no value of the type can.
pub fn assign(source: &ArrayRef, column: &Column, zone: &Zone) -> Result<ArrayRef, RowError> {
    check_assignable(source.data_type(), column)?;
    to_type(source, &column.column_type, zone).map_err(|e| RowError {
        row: e.row,
        error: in_column(e.error, column),
    })
}

/// The same error, with the column's name behind its message.
fn in_column(error: Error, column: &Column) -> Error {
    error.with_place(format!("column \"{}\"", column.name))
}

/// That values of the type can be assigned to the column.
///
/// # Errors
/// 42804 when they cannot without an explicit cast.
pub fn check_assignable(source: &DataType, column: &Column) -> Result<()> {
    if is_assignable(source, &column.column_type) {
        return Ok(());
    }
    let message = format!(
        "column \"{}\" is of type {} but expression is of type {source}",
        column.name, column.column_type
    );
    Err(Error::invalid(sqlstate::DATATYPE_MISMATCH, message)
        .with_hint("You will need to rewrite or cast the expression."))
}

fn is_assignable(source: &DataType, target: &ColumnType) -> bool {
    use ColumnType as C;
    match source {
        DataType::Dictionary(_, values) => return is_assignable(values, target),
        DataType::RunEndEncoded(_, values) => return is_assignable(values.data_type(), target),
        DataType::Null => return true,
        text if text.is_string() => return true,
        _ => {}
    }
    let bytes = is_bytes(source);
    let moment = matches!(source, DataType::Timestamp(..) | DataType::Date64);
    match target.base() {
        C::Rounded(of, _) => is_assignable(source, of),
        C::Boolean => source == &DataType::Boolean,
        C::TinyInt | C::SmallInt | C::Integer | C::BigInt => source.is_numeric(),
        C::Real | C::Double | C::Numeric(..) => source.is_numeric(),
        C::Text | C::Varchar(_) | C::Char(_) | C::Named(_) => true,
        C::Date => moment || source == &DataType::Date32,
        C::Timestamp | C::TimestampTz => moment || source == &DataType::Date32,
        C::Time => moment || matches!(source, DataType::Time32(_) | DataType::Time64(_)),
        C::Interval => bytes || matches!(source, DataType::Interval(_) | DataType::Duration(_)),
        C::Bytea => bytes,
        // As text alone.
        C::Bit { .. } | C::Enum(_) => false,
        C::SparseVec(_) => list::element_type(source).is_some_and(DataType::is_numeric),
        C::Uuid => bytes,
        C::Json | C::Jsonb => source.is_nested(),
        C::Vector(_) | C::HalfVec(_) => list::element_type(source)
            .is_some_and(|element| element.is_numeric() || element.is_null()),
        C::Array(inner) => {
            list::element_type(source).is_some_and(|element| is_assignable(element, inner))
        }
    }
}

fn is_bytes(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_)
    )
}

/// The array as the type, by the clock of the zone, for a value of no column.
///
/// # Errors
/// The SQLSTATE of Postgres for the first value that does not fit; 42846 when no value of the array's type can.
pub fn cast_to(source: &ArrayRef, target: &ColumnType, zone: &Zone) -> Result<ArrayRef, RowError> {
    if !is_assignable(source.data_type(), target) {
        let message = format!("cannot cast type {} to {target}", source.data_type());
        return Err(Error::invalid(sqlstate::CANNOT_COERCE, message).into());
    }
    to_type(source, target, zone)
}

/// The array as the type; the caller has checked that the types go together.
pub(super) fn to_type(
    source: &ArrayRef,
    target: &ColumnType,
    zone: &Zone,
) -> Result<ArrayRef, RowError> {
    let source = plain(source)?;
    if source.data_type().is_null() {
        return Ok(all_null(target, source.len()));
    }
    if source.data_type() == &DataType::Utf8 {
        return read_text(source.as_string::<i32>(), target, zone);
    }
    use ColumnType as C;
    match target {
        C::Rounded(of, digits) => round_seconds(&to_type(&source, of, zone)?, *digits),
        C::Boolean | C::Bit { .. } | C::Enum(_) => Ok(source),
        C::TinyInt | C::SmallInt | C::Integer | C::BigInt => to_number(&source, target),
        C::Real | C::Double | C::Numeric(..) => to_number(&source, target),
        C::Text | C::Varchar(_) | C::Char(_) | C::Named(_) => {
            read_text(&output::text_of(&source)?, target, zone)
        }
        C::Json => Ok(Arc::new(output::json_of(&source)?)),
        C::Jsonb => read_text(&output::json_of(&source)?, target, zone),
        C::Bytea => Ok(source),
        C::Uuid => uuid_from_bytes(source.as_binary::<i32>()),
        C::Date | C::Time | C::Timestamp | C::TimestampTz => {
            moment::to_moment(&source, target, zone)
        }
        C::Interval => interval::to_interval(&source),
        C::SparseVec(dimension) => {
            let dimension = *dimension;
            Ok(Arc::new(to_sparse(&source, SparseType { dimension })?))
        }
        C::Vector(_) | C::HalfVec(_) => list::to_vector(&source, target),
        C::Array(inner) => list::to_array(&source, inner, zone),
    }
}

/// Without dictionaries, runs, views and 64-bit offsets.
fn plain(source: &ArrayRef) -> Result<ArrayRef, RowError> {
    let target = match source.data_type() {
        DataType::Dictionary(_, values) => {
            return plain(&cast(source, values)?);
        }
        DataType::RunEndEncoded(_, values) => {
            return plain(&cast(source, values.data_type())?);
        }
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            DataType::Binary
        }
        DataType::LargeList(field) | DataType::ListView(field) | DataType::LargeListView(field) => {
            DataType::List(Arc::clone(field))
        }
        _ => return Ok(Arc::clone(source)),
    };
    if source.get_buffer_memory_size() > i32::MAX as usize
        && value_bytes(source) > i32::MAX as usize
    {
        return Err(Error::limit(
            sqlstate::PROGRAM_LIMIT_EXCEEDED,
            "the values of one batch take more than 2 GiB",
        )
        .into());
    }
    Ok(cast(source, &target)?)
}

/// Bytes that the values of views or large arrays take when laid out one after the other.
fn value_bytes(source: &ArrayRef) -> usize {
    match source.data_type() {
        DataType::Utf8View => source.as_string_view().lengths().map(|n| n as usize).sum(),
        DataType::BinaryView => source.as_binary_view().lengths().map(|n| n as usize).sum(),
        _ => source.to_data().get_slice_memory_size().unwrap_or(0),
    }
}

/// A column of NULLs; the elements below a NULL vector are zeros, for they may not be NULL.
fn all_null(target: &ColumnType, rows: usize) -> ArrayRef {
    let data_type = target.arrow_type();
    match &data_type {
        DataType::FixedSizeList(field, n) => {
            let zeros = match field.data_type() {
                DataType::Float32 => new_zeros::<Float32Type>(rows * *n as usize),
                _ => new_zeros::<arrow::datatypes::Float16Type>(rows * *n as usize),
            };
            let nulls = Some(NullBuffer::new_null(rows));
            Arc::new(FixedSizeListArray::new(Arc::clone(field), *n, zeros, nulls))
        }
        _ => new_null_array(&data_type, rows),
    }
}

fn new_zeros<T: ArrowPrimitiveType>(len: usize) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(
        vec![T::Native::default(); len].into(),
        None,
    ))
}

/// Texts as values of the type; times without a zone are read on the zone's clock.
///
/// # Errors
/// The SQLSTATE of Postgres for the first text that is no value of the type.
pub fn read_text(
    texts: &StringArray,
    target: &ColumnType,
    zone: &Zone,
) -> Result<ArrayRef, RowError> {
    use ColumnType as C;
    let name = target.to_string();
    match target {
        C::Boolean => {
            let mut values = Vec::with_capacity(texts.len());
            for (row, text) in texts.iter().enumerate() {
                let value = text.map(parse::boolean).transpose();
                values.push(value.map_err(|e| RowError::new(row, e))?);
            }
            Ok(Arc::new(BooleanArray::from(values)))
        }
        C::TinyInt => each::<Int8Type>(texts, target, |t| parse::integer(t, &name)),
        C::SmallInt => each::<Int16Type>(texts, target, |t| parse::integer(t, &name)),
        C::Integer => each::<Int32Type>(texts, target, |t| parse::integer(t, &name)),
        C::BigInt => each::<Int64Type>(texts, target, |t| parse::integer(t, &name)),
        C::Real => each::<Float32Type>(texts, target, parse::real),
        C::Double => each::<Float64Type>(texts, target, parse::double),
        C::Numeric(p, s) => each::<Decimal128Type>(texts, target, |t| parse::decimal(t, *p, *s)),
        C::Date => each::<Date32Type>(texts, target, |t| datetime::parse_date(t, zone)),
        C::Time => each::<Time64MicrosecondType>(texts, target, |t| datetime::parse_time(t, zone)),
        C::Timestamp => {
            each::<TimestampMicrosecondType>(texts, target, |t| datetime::parse_timestamp(t, zone))
        }
        C::TimestampTz => each::<TimestampMicrosecondType>(texts, target, |t| {
            datetime::parse_timestamptz(t, zone)
        }),
        C::Interval => each::<IntervalMonthDayNanoType>(texts, target, interval::parse),
        C::Rounded(of, digits) => round_seconds(&read_text(texts, of, zone)?, *digits),
        C::Text => checked(texts, |_| Ok(())),
        C::Named(name) => limited(texts, |text| parse::named(text, *name)),
        C::Varchar(n) => limited(texts, |text| parse::varchar(text, *n)),
        C::Char(n) => limited(texts, |text| parse::character(text, *n)),
        C::Json => checked(texts, parse::json),
        C::Jsonb => respelled(texts, |text| Ok(write_json(&read_json(text)?))),
        C::Uuid => {
            let mut builder = StringBuilder::with_capacity(texts.len(), texts.len() * 36);
            for (row, text) in texts.iter().enumerate() {
                let uuid = text.map(parse::uuid).transpose();
                builder.append_option(uuid.map_err(|e| RowError::new(row, e))?);
            }
            Ok(Arc::new(builder.finish()))
        }
        C::Bytea => {
            let mut builder = BinaryBuilder::with_capacity(texts.len(), texts.values().len());
            for (row, text) in texts.iter().enumerate() {
                let bytes = text.map(parse::bytea).transpose();
                builder.append_option(bytes.map_err(|e| RowError::new(row, e))?);
            }
            Ok(Arc::new(builder.finish()))
        }
        C::Bit { varying, length } => {
            let (varying, length) = (*varying, *length);
            let target = BitType { varying, length };
            respelled(texts, |text| {
                let bits = target.read(text).map_err(|e| Error::from_vector(&e))?;
                Ok(bits.into_owned())
            })
        }
        C::SparseVec(dimension) => {
            let dimension = *dimension;
            let target = SparseType { dimension };
            respelled(texts, |text| {
                let vector = target.read(text).map_err(|e| Error::from_vector(&e))?;
                Ok(vector.to_string())
            })
        }
        C::Enum(of) => labels(texts, of),
        C::Vector(_) | C::HalfVec(_) => list::vector_from_text(texts, target),
        C::Array(inner) => list::array_from_text(texts, inner, zone),
    }
}

/// Texts that are values of an enum.
fn labels(texts: &StringArray, of: &EnumType) -> Result<ArrayRef, RowError> {
    let known: HashSet<&str> = of.labels.iter().map(|label| label.name.as_str()).collect();
    checked(texts, |text| match known.contains(text) {
        true => Ok(()),
        false => Err(unknown_label(of, text)),
    })
}

/// What the type keeps of each text, which is its beginning.
fn limited(
    texts: &StringArray,
    kept_of: impl Fn(&str) -> Result<&str>,
) -> Result<ArrayRef, RowError> {
    let mut is_cut = false;
    for (row, text) in texts.iter().enumerate() {
        if let Some(text) = text {
            let kept = kept_of(text).map_err(|e| RowError::new(row, e))?;
            is_cut |= kept.len() < text.len();
        }
    }
    if !is_cut {
        return Ok(Arc::new(texts.clone()));
    }
    let kept = texts.iter().map(|text| text.and_then(|t| kept_of(t).ok()));
    Ok(Arc::new(kept.collect::<StringArray>()))
}

/// Bit strings, sparse vectors or JSON in their one spelling.
fn respelled(
    texts: &StringArray,
    spell: impl Fn(&str) -> Result<String>,
) -> Result<ArrayRef, RowError> {
    let mut builder = StringBuilder::with_capacity(texts.len(), texts.values().len());
    for (row, text) in texts.iter().enumerate() {
        let spelled = text.map(&spell).transpose();
        builder.append_option(spelled.map_err(|e| RowError::new(row, e))?);
    }
    Ok(Arc::new(builder.finish()))
}

fn each<T: ArrowPrimitiveType>(
    texts: &StringArray,
    target: &ColumnType,
    value_of: impl Fn(&str) -> Result<T::Native>,
) -> Result<ArrayRef, RowError> {
    let mut values = Vec::with_capacity(texts.len());
    for (row, text) in texts.iter().enumerate() {
        values.push(match text {
            Some(text) => value_of(text).map_err(|e| RowError::new(row, e))?,
            None => T::Native::default(),
        });
    }
    let array = PrimitiveArray::<T>::new(values.into(), texts.nulls().cloned())
        .with_data_type(target.arrow_type());
    Ok(Arc::new(array))
}

/// The texts themselves, when each passes; no text may hold the character 0.
fn checked(texts: &StringArray, check: impl Fn(&str) -> Result<()>) -> Result<ArrayRef, RowError> {
    let (first, last) = (texts.value_offsets()[0], texts.value_offsets()[texts.len()]);
    let zero_inside = texts.values()[first as usize..last as usize].contains(&0);
    for (row, text) in texts.iter().enumerate() {
        let Some(text) = text else { continue };
        check(text).map_err(|e| RowError::new(row, e))?;
        if zero_inside && text.contains('\0') {
            let message = "invalid byte sequence for encoding \"UTF8\": 0x00";
            let error = Error::invalid(sqlstate::CHARACTER_NOT_IN_REPERTOIRE, message);
            return Err(RowError::new(row, error));
        }
    }
    Ok(Arc::new(texts.clone()))
}

fn uuid_from_bytes(bytes: &BinaryArray) -> Result<ArrayRef, RowError> {
    let mut builder = StringBuilder::with_capacity(bytes.len(), bytes.len() * 36);
    for (row, value) in bytes.iter().enumerate() {
        let Some(value) = value else {
            builder.append_null();
            continue;
        };
        let uuid = uuid::Uuid::from_slice(value).map_err(|_| {
            let shown = shorten(&format!("{value:02x?}"));
            let message = format!("a uuid has 16 bytes, not {}: {shown}", value.len());
            RowError::new(
                row,
                Error::invalid(sqlstate::INVALID_TEXT_REPRESENTATION, message),
            )
        })?;
        builder.append_value(uuid.hyphenated().to_string());
    }
    Ok(Arc::new(builder.finish()))
}

/// The field of an array's elements.
pub(super) fn element_field(inner: &ColumnType) -> Arc<Field> {
    Arc::new(Field::new(
        crate::storage::schema::LIST_ELEMENT,
        inner.arrow_type(),
        true,
    ))
}
