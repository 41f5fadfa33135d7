//! The column type that has a field's values, so that parameters are read as stored values are.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use shelfmark_udfs::{BitType, Element, SparseType, VectorType};

use crate::catalog::pg_type::seconds_digits;
use crate::sql::format::{oid, type_of};
use crate::storage::enum_type::EnumType;
use crate::storage::schema::{ColumnType, SQL_TYPE_KEY, TextName};

/// `None` for a type that columns cannot have.
pub(super) fn column_type(field: &Field) -> Option<ColumnType> {
    let of = kind_of(field)?;
    Some(match seconds_digits(type_of(field)) {
        Some(digits) => of.rounded(digits.into()),
        None => of,
    })
}

/// The type without the digits of its seconds.
fn kind_of(field: &Field) -> Option<ColumnType> {
    use ColumnType as C;
    use DataType as D;
    let data_type = field.data_type();
    if let Some(vector) = VectorType::of(data_type) {
        return vector_type(vector).filter(|of| !matches!(of, C::Vector(0) | C::HalfVec(0)));
    }
    if let Some(bits) = BitType::of_field(field) {
        return Some(bits.into());
    }
    if let Some(sparse) = SparseType::of_field(field) {
        return Some(sparse.into());
    }
    if let Some(of) = EnumType::of_field(field) {
        return Some(C::Enum(Arc::new(of)));
    }
    Some(match data_type {
        D::Dictionary(_, values) => {
            let plain = field.clone().with_data_type(values.as_ref().clone());
            return column_type(&plain);
        }
        D::RunEndEncoded(_, values) => return column_type(values),
        D::Boolean => C::Boolean,
        D::Int8 => C::TinyInt,
        D::Int16 | D::UInt8 => C::SmallInt,
        D::Int32 | D::UInt16 => C::Integer,
        D::Int64 | D::UInt32 => C::BigInt,
        D::UInt64 => C::Numeric(20, 0),
        D::Float16 | D::Float32 => C::Real,
        D::Float64 => C::Double,
        D::Decimal32(p, s) | D::Decimal64(p, s) | D::Decimal128(p, s) => C::Numeric(*p, *s),
        D::Decimal256(p, s) if *p <= 38 => C::Numeric(*p, *s),
        D::Utf8 | D::LargeUtf8 | D::Utf8View => text_type(field),
        D::Date32 => C::Date,
        D::Time32(_) | D::Time64(_) => C::Time,
        D::Timestamp(_, None) | D::Date64 => C::Timestamp,
        D::Timestamp(_, Some(_)) => C::TimestampTz,
        D::Interval(_) => C::Interval,
        D::Binary | D::LargeBinary | D::BinaryView | D::FixedSizeBinary(_) => C::Bytea,
        D::List(element)
        | D::LargeList(element)
        | D::FixedSizeList(element, _)
        | D::ListView(element)
        | D::LargeListView(element) => C::Array(Box::new(element_type(element, field)?)),
        _ => return None,
    })
}

/// The type of a list's elements, which may be vectors of any size.
fn element_type(element: &Field, list: &Field) -> Option<ColumnType> {
    match VectorType::of(element.data_type()) {
        Some(vector) => vector_type(vector),
        None => column_type(&named(element, list)),
    }
}

/// Of the dimension 0 where there is none.
fn vector_type(vector: VectorType) -> Option<ColumnType> {
    let dimension = u32::try_from(vector.dimension.unwrap_or(0)).ok()?;
    Some(match vector.element {
        Element::Single => ColumnType::Vector(dimension),
        Element::Half => ColumnType::HalfVec(dimension),
    })
}

/// The field of a list's elements, with the name of their type that the list's field carries (`uuid[]`).
fn named(element: &Field, list: &Field) -> Field {
    let name = list.metadata().get(SQL_TYPE_KEY);
    match name.and_then(|name| name.strip_suffix("[]")) {
        Some(name) => {
            let metadata = [(SQL_TYPE_KEY.to_string(), name.to_string())];
            element.clone().with_metadata(metadata.into())
        }
        None => element.clone(),
    }
}

fn text_type(field: &Field) -> ColumnType {
    let pg_type = type_of(field);
    match (pg_type.oid, u32::try_from(pg_type.typmod.saturating_sub(4))) {
        (oid::UUID, _) => ColumnType::Uuid,
        (oid::JSON, _) => ColumnType::Json,
        (oid::JSONB, _) => ColumnType::Jsonb,
        (oid::VARCHAR, Ok(characters)) => ColumnType::Varchar(characters),
        (oid::VARCHAR, Err(_)) => ColumnType::Named(TextName::Varchar),
        (oid::NAME, _) => ColumnType::Named(TextName::Name),
        (oid::CHAR, _) => ColumnType::Named(TextName::Char),
        (oid::BPCHAR, characters) => ColumnType::Char(characters.ok()),
        _ => ColumnType::Text,
    }
}
