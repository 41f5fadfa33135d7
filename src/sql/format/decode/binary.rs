//! The binary format of every type, read a column at a time.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, PrimitiveArray, StringArray,
};
use arrow::datatypes::{
    Date32Type, Field, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType,
    TimestampMicrosecondType, UInt32Type, UInt64Type,
};

use super::column_type::column_type;
use super::list;
use crate::catalog::assign::{RowError, cast_to};
use crate::catalog::pg_type::is_enum_oid;
use crate::catalog::zone::Zone;
use crate::error::{Error, Result, sqlstate};
use crate::sql::format::number::{invalid, numeric_text};
use crate::sql::format::sparse;
use crate::sql::format::{ClientEncoding, PgType, bits, datetime, oid};
use crate::storage::schema::ColumnType;

/// A value's bytes; `None` is NULL.
pub(super) type Cell<'a> = Option<&'a [u8]>;

/// The values of the type `oid`; `field` is what they shall become.
///
/// # Errors
/// 22P03 for bytes that are no value of the type, 0A000 for a type that has no binary format here.
pub(super) fn values(oid: u32, field: &Field, cells: &[Cell<'_>]) -> Result<ArrayRef, RowError> {
    Ok(match oid {
        oid::BOOL => {
            let values: Vec<Option<bool>> =
                each(cells, |bytes| fixed(bytes).map(|[byte]: [u8; 1]| byte != 0))?;
            Arc::new(BooleanArray::from(values))
        }
        oid::INT2 => primitive::<Int16Type, 2>(cells, |b| Ok(i16::from_be_bytes(b)))?,
        oid::INT4 => primitive::<Int32Type, 4>(cells, |b| Ok(i32::from_be_bytes(b)))?,
        oid::INT8 => primitive::<Int64Type, 8>(cells, |b| Ok(i64::from_be_bytes(b)))?,
        oid::XID8 => primitive::<UInt64Type, 8>(cells, |b| Ok(u64::from_be_bytes(b)))?,
        oid::FLOAT4 => primitive::<Float32Type, 4>(cells, |b| Ok(f32::from_be_bytes(b)))?,
        oid::FLOAT8 => primitive::<Float64Type, 8>(cells, |b| Ok(f64::from_be_bytes(b)))?,
        oid::NUMERIC => numerics(field, cells)?,
        oid::DATE => {
            primitive::<Date32Type, 4>(cells, |b| datetime::date_from_wire(i32::from_be_bytes(b)))?
        }
        oid::TIME => primitive::<Time64MicrosecondType, 8>(cells, |b| {
            datetime::time_from_wire(i64::from_be_bytes(b))
        })?,
        oid::TIMESTAMP => timestamps(cells)?,
        oid::TIMESTAMPTZ => {
            let timestamps = primitive_array::<TimestampMicrosecondType, 8>(cells, |b| {
                datetime::timestamp_from_wire(i64::from_be_bytes(b))
            })?;
            Arc::new(timestamps.with_timezone("UTC"))
        }
        oid::INTERVAL => primitive::<IntervalMonthDayNanoType, 16>(cells, interval)?,
        oid::BYTEA => {
            let values: BinaryArray = cells.iter().copied().collect();
            Arc::new(values)
        }
        oid::UUID => {
            let uuid = |bytes: &[u8]| {
                let bytes: [u8; 16] = fixed(bytes)?;
                Ok(uuid::Uuid::from_bytes(bytes).hyphenated().to_string())
            };
            Arc::new(StringArray::from(each(cells, uuid)?))
        }
        oid::JSONB => {
            let texts = each(cells, |bytes| match bytes.split_first() {
                Some((1, text)) => utf8(text),
                Some((version, _)) => Err(invalid(format!(
                    "unsupported jsonb version number {version}"
                ))),
                None => Err(invalid("insufficient data left in message")),
            })?;
            super::text_array(texts)
        }
        oid::VECTOR => list::vectors(cells)?,
        oid::HALFVEC => list::half_vectors(cells)?,
        oid::BIT | oid::VARBIT => Arc::new(StringArray::from(each(cells, bits::from_binary)?)),
        oid::SPARSEVEC => {
            let text = |bytes| sparse::from_binary(bytes).map(|vector| vector.to_string());
            Arc::new(StringArray::from(each(cells, text)?))
        }
        oid::RECORD => {
            let message = "input of anonymous composite types is not implemented";
            return Err(Error::unsupported(message).into());
        }
        oid => match PgType::of_oid(oid) {
            array if array.element().is_some() => list::arrays(field, cells)?,
            label if is_enum_oid(label.oid) => texts(cells)?,
            four if four.length == 4 => {
                primitive::<UInt32Type, 4>(cells, |b| Ok(u32::from_be_bytes(b)))?
            }
            _ if IS_TEXT.contains(&oid) => texts(cells)?,
            _ => {
                let message = format!("no binary input function available for type {oid}");
                return Err(Error::invalid(sqlstate::UNDEFINED_FUNCTION, message).into());
            }
        },
    })
}

/// Whether the binary format of a type is a text, behind one byte for some.
pub(super) fn is_text(oid: u32) -> bool {
    IS_TEXT.contains(&oid) || oid == oid::JSONB || is_enum_oid(oid)
}

/// Types whose binary format is their text.
const IS_TEXT: [u32; 9] = [
    oid::TEXT,
    oid::VARCHAR,
    oid::BPCHAR,
    oid::NAME,
    oid::CHAR,
    oid::JSON,
    oid::XML,
    oid::UNKNOWN,
    oid::REFCURSOR,
];

/// Texts in UTF-8.
///
/// # Errors
/// 22021 for other bytes, and for the character 0.
pub(super) fn texts(cells: &[Cell<'_>]) -> Result<ArrayRef, RowError> {
    Ok(super::text_array(each(cells, utf8)?))
}

fn utf8(bytes: &[u8]) -> Result<&str> {
    let bad = |bytes: &[u8]| ClientEncoding::default().malformed(bytes);
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let start = e.valid_up_to();
        let length = e.error_len().unwrap_or(bytes.len() - start);
        bad(&bytes[start..start + length])
    })?;
    if text.contains('\0') {
        return Err(bad(&[0]));
    }
    Ok(text)
}

/// Each value that is not NULL.
pub(super) fn each<'a, T>(
    cells: &[Cell<'a>],
    read: impl Fn(&'a [u8]) -> Result<T>,
) -> Result<Vec<Option<T>>, RowError> {
    let read = |(row, cell): (usize, &Cell<'a>)| {
        cell.map(&read)
            .transpose()
            .map_err(|e| RowError::new(row, e))
    };
    cells.iter().enumerate().map(read).collect()
}

/// The bytes of a value that always takes as many.
fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| {
        invalid(format!(
            "incorrect binary data format: {} bytes where the type has {N}",
            bytes.len()
        ))
    })
}

fn primitive<T: ArrowPrimitiveType, const N: usize>(
    cells: &[Cell<'_>],
    read: impl Fn([u8; N]) -> Result<T::Native>,
) -> Result<ArrayRef, RowError> {
    Ok(Arc::new(primitive_array::<T, N>(cells, read)?))
}

fn primitive_array<T: ArrowPrimitiveType, const N: usize>(
    cells: &[Cell<'_>],
    read: impl Fn([u8; N]) -> Result<T::Native>,
) -> Result<PrimitiveArray<T>, RowError> {
    let values = each(cells, |bytes| read(fixed(bytes)?))?;
    Ok(values.into_iter().collect::<Vec<_>>().into_iter().collect())
}

fn timestamps(cells: &[Cell<'_>]) -> Result<ArrayRef, RowError> {
    primitive::<TimestampMicrosecondType, 8>(cells, |b| {
        datetime::timestamp_from_wire(i64::from_be_bytes(b))
    })
}

/// Microseconds, days, months.
fn interval(bytes: [u8; 16]) -> Result<IntervalMonthDayNano> {
    let [a, b, c, d, e, f, g, h, days @ .., m, n, o, p] = bytes;
    let micros = i64::from_be_bytes([a, b, c, d, e, f, g, h]);
    let nanos = micros.checked_mul(1000);
    Ok(IntervalMonthDayNano {
        months: i32::from_be_bytes([m, n, o, p]),
        days: i32::from_be_bytes(days),
        nanoseconds: nanos.ok_or_else(|| datetime::out_of_range("interval"))?,
    })
}

/// Decimals as text, from which the field's type is read; for integers and floats as numbers that become these.
fn numerics(field: &Field, cells: &[Cell<'_>]) -> Result<ArrayRef, RowError> {
    let texts = each(cells, numeric_text)?;
    let texts: ArrayRef = Arc::new(StringArray::from(texts));
    match column_type(field) {
        Some(
            ColumnType::TinyInt | ColumnType::SmallInt | ColumnType::Integer | ColumnType::BigInt,
        ) => cast_to(&texts, &ColumnType::Numeric(38, 0), &Zone::utc()),
        Some(ColumnType::Real | ColumnType::Double) => {
            cast_to(&texts, &ColumnType::Double, &Zone::utc())
        }
        _ => Ok(texts),
    }
}
