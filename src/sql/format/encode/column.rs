//! One column of a batch, downcast once, that writes its values.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Date64Type, Decimal32Type, Decimal64Type,
    Decimal128Type, Decimal256Type, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, TimeUnit, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use bytes::{BufMut, BytesMut};
use shelfmark_udfs::VectorType;

use super::list::{ListValues, Record};
use super::{NULL_LENGTH, put_sized, scalar, text, vector};
use crate::catalog::assign::{json_of, text_of};
use crate::catalog::quotient::Shown;
use crate::error::Result;
use crate::sql::format::{Format, PgType, Style, oid};

/// What a column's values are written as.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) pg_type: PgType,
    pub(super) format: Format,
    /// Which digits behind the point are shown of decimals that are computed.
    pub(super) shown: Option<Shown>,
    pub(super) style: &'a Arc<Style>,
}

impl<'a> Target<'a> {
    /// The same format for another type, that of a part.
    pub(super) fn of(self, pg_type: PgType) -> Target<'a> {
        let shown = None;
        Target {
            pg_type,
            shown,
            ..self
        }
    }

    pub(super) fn is_binary(self) -> bool {
        self.format == Format::Binary
    }
}

/// Writes the value of a row that is not NULL.
pub(super) type Put = Box<dyn Fn(usize, &mut BytesMut) -> Result<()> + Send + Sync>;

/// The values of one column.
pub(super) struct Column {
    nulls: Option<NullBuffer>,
    put: Put,
}

impl Column {
    /// The column of an array.
    ///
    /// # Errors
    /// 0A000 for a type without binary format.
    pub(super) fn try_new(array: &ArrayRef, target: Target<'_>) -> Result<Self> {
        let nulls = array.logical_nulls();
        let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
        Ok(Self {
            nulls,
            put: put_of(array, target)?,
        })
    }

    pub(super) fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// Writes the value; the caller knows that it is not NULL.
    pub(super) fn put(&self, row: usize, out: &mut BytesMut) -> Result<()> {
        (self.put)(row, out)
    }

    /// Writes the length and the value, or that it is NULL.
    pub(super) fn put_with_length(&self, row: usize, out: &mut BytesMut) -> Result<()> {
        if self.is_null(row) {
            out.put_i32(NULL_LENGTH);
            return Ok(());
        }
        put_sized(out, |out| self.put(row, out))
    }
}

/// Writes each value of a primitive array.
pub(super) fn each<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    put: impl Fn(T::Native, &mut BytesMut) -> Result<()> + Send + Sync + 'static,
) -> Put {
    let array: PrimitiveArray<T> = array.as_primitive::<T>().clone();
    Box::new(move |row, out| put(array.value(row), out))
}

fn put_of(array: &ArrayRef, target: Target<'_>) -> Result<Put> {
    use DataType as D;
    if VectorType::of(array.data_type()).is_some() {
        return vector::values(array, target);
    }
    Ok(match array.data_type() {
        D::Dictionary(_, values) => return put_of(&cast(array, values)?, target),
        D::RunEndEncoded(_, values) => return put_of(&cast(array, values.data_type())?, target),
        D::Null => Box::new(|_, _| Ok(())),
        D::Boolean => scalar::booleans(array, target),
        D::Int8 => scalar::integers::<Int8Type>(array, target),
        D::Int16 => scalar::integers::<Int16Type>(array, target),
        D::Int32 => scalar::integers::<Int32Type>(array, target),
        D::Int64 => scalar::integers::<Int64Type>(array, target),
        D::UInt8 => scalar::integers::<UInt8Type>(array, target),
        D::UInt16 => scalar::integers::<UInt16Type>(array, target),
        D::UInt32 => scalar::integers::<UInt32Type>(array, target),
        D::UInt64 => scalar::decimals::<UInt64Type>(array, 0, target),
        D::Float16 => scalar::floats4::<Float16Type>(array, target, |v| v.to_f32()),
        D::Float32 => scalar::floats4::<Float32Type>(array, target, |v| v),
        D::Float64 => scalar::floats8(array.as_primitive::<Float64Type>(), target),
        D::Decimal32(_, scale) => scalar::decimals::<Decimal32Type>(array, *scale, target),
        D::Decimal64(_, scale) => scalar::decimals::<Decimal64Type>(array, *scale, target),
        D::Decimal128(_, scale) => scalar::decimals::<Decimal128Type>(array, *scale, target),
        D::Decimal256(_, scale) => scalar::decimals::<Decimal256Type>(array, *scale, target),
        D::Date32 => scalar::dates(array.as_primitive::<Date32Type>(), target),
        D::Date64 => scalar::timestamps::<Date64Type>(array, TimeUnit::Millisecond, false, target),
        D::Time32(unit) | D::Time64(unit) => scalar::times(array, *unit, target),
        D::Timestamp(unit, zone) => scalar::moments(array, *unit, zone.is_some(), target),
        D::Interval(unit) => scalar::intervals(array, *unit, target),
        D::Duration(unit) => scalar::durations(array, *unit, target),
        D::Utf8 | D::LargeUtf8 | D::Utf8View => return text::texts(array, target),
        D::Binary | D::LargeBinary | D::BinaryView | D::FixedSizeBinary(_) => {
            text::bytes(array, target)
        }
        D::List(_) | D::LargeList(_) | D::FixedSizeList(..) => {
            ListValues::try_new(array, target)?.into_put(target)
        }
        D::ListView(field) => {
            return put_of(&cast(array, &D::List(Arc::clone(field)))?, target);
        }
        D::LargeListView(field) => {
            return put_of(&cast(array, &D::LargeList(Arc::clone(field)))?, target);
        }
        D::Struct(_) => Record::try_new(array.as_struct(), target)?.into_put(target),
        D::Map(..) => {
            let json: ArrayRef = Arc::new(json_of(array)?);
            return text::texts(&json, target.of(PgType::of_oid(oid::JSON)));
        }
        D::Union(..) => {
            let texts: ArrayRef = Arc::new(text_of(array)?);
            return text::texts(&texts, target);
        }
    })
}
