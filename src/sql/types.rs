//! SQL's type names as column types.

use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, CharacterLength, DataType, ExactNumberInfo, TimezoneInfo,
};
use shelfmark_udfs::{BitType, SparseType};

use crate::error::{Error, Result, sqlstate};
use crate::storage::schema::{ColumnType, TextName, VECTOR_DIMENSIONS_MAX};

/// Digits of NUMERIC without precision, and how many of them stand behind the point.
const NUMERIC_DEFAULT: (u8, i8) = (38, 10);
/// The most characters that VARCHAR(n) and CHARACTER(n) may be declared with, as in Postgres.
const LENGTH_MAX: u64 = 10_485_760;

/// The column type that a type name stands for.
///
/// # Errors
/// 0A000 for a type that collections do not have, 22023 for a precision or length out of range.
pub fn column_type(data_type: &DataType) -> Result<ColumnType> {
    use ColumnType as C;
    use DataType as D;
    if let Some(bits) = BitType::of_sql(data_type).map_err(|e| Error::from_vector(&e))? {
        return Ok(bits.into());
    }
    if let Some(sparse) = SparseType::of_sql(data_type).map_err(|e| Error::from_vector(&e))? {
        return Ok(sparse.into());
    }
    Ok(match data_type {
        D::Bool | D::Boolean => C::Boolean,
        D::TinyInt(_) => C::TinyInt,
        D::SmallInt(_) | D::Int2(_) | D::Int16 => C::SmallInt,
        D::Int(_) | D::Integer(_) | D::Int4(_) | D::Int32 | D::MediumInt(_) => C::Integer,
        D::BigInt(_) | D::Int8(_) | D::Int64 => C::BigInt,
        D::Real | D::Float4 | D::Float32 => C::Real,
        D::Float(ExactNumberInfo::Precision(bits)) if *bits <= 24 => C::Real,
        D::Float(_) | D::Float8 | D::Float64 | D::Double(_) | D::DoublePrecision => C::Double,
        D::Numeric(info) | D::Decimal(info) | D::Dec(info) => numeric(*info)?,
        D::Text | D::String(_) => C::Text,
        D::Varchar(length)
        | D::CharacterVarying(length)
        | D::CharVarying(length)
        | D::Nvarchar(length) => varchar(length.as_ref())?,
        D::Char(length) | D::Character(length) => C::Char(Some(characters(length.as_ref())?)),
        D::Date | D::Date32 => C::Date,
        D::Time(digits, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            in_seconds(C::Time, *digits)
        }
        D::Timestamp(digits, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone)
        | D::Datetime(digits) => in_seconds(C::Timestamp, *digits),
        D::Timestamp(digits, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone) => {
            in_seconds(C::TimestampTz, *digits)
        }
        D::Interval {
            fields: None,
            precision,
        } => in_seconds(C::Interval, *precision),
        D::Bytea | D::Bytes(_) | D::Blob(_) | D::Varbinary(_) | D::Binary(_) => C::Bytea,
        D::Uuid => C::Uuid,
        D::JSON => C::Json,
        D::JSONB => C::Jsonb,
        D::Array(
            ArrayElemTypeDef::SquareBracket(inner, _)
            | ArrayElemTypeDef::AngleBracket(inner)
            | ArrayElemTypeDef::Parenthesis(inner),
        ) => array(inner)?,
        D::Custom(name, arguments) => custom(&name.to_string().to_lowercase(), arguments)?,
        other => return Err(unknown(&other.to_string())),
    })
}

/// The type with so many digits of seconds behind the point.
fn in_seconds(of: ColumnType, digits: Option<u64>) -> ColumnType {
    match digits {
        Some(digits) => of.rounded(digits),
        None => of,
    }
}

fn unknown(name: &str) -> Error {
    Error::unsupported(format!(
        "columns of type {} are not supported",
        name.to_lowercase()
    ))
}

fn out_of_range(message: String) -> Error {
    Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message)
}

fn numeric(info: ExactNumberInfo) -> Result<ColumnType> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => {
            return Ok(ColumnType::Numeric(NUMERIC_DEFAULT.0, NUMERIC_DEFAULT.1));
        }
        ExactNumberInfo::Precision(precision) => (precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
    };
    if !(1..=38).contains(&precision) {
        return Err(out_of_range(format!(
            "NUMERIC precision {precision} must be between 1 and 38"
        )));
    }
    if scale < 0 || scale.unsigned_abs() > precision {
        let message = format!("NUMERIC scale {scale} must be between 0 and precision {precision}");
        return Err(out_of_range(message));
    }
    Ok(ColumnType::Numeric(precision as u8, scale as i8))
}

fn varchar(length: Option<&CharacterLength>) -> Result<ColumnType> {
    match length {
        None | Some(CharacterLength::Max) => Ok(ColumnType::Named(TextName::Varchar)),
        Some(CharacterLength::IntegerLength { length, .. }) => {
            Ok(ColumnType::Varchar(length_of("varchar", *length)?))
        }
    }
}

/// The length of CHARACTER, which is 1 where none is written.
pub(super) fn characters(length: Option<&CharacterLength>) -> Result<u32> {
    match length {
        None => Ok(1),
        Some(CharacterLength::Max) => Ok(LENGTH_MAX as u32),
        Some(CharacterLength::IntegerLength { length, .. }) => length_of("char", *length),
    }
}

fn length_of(name: &str, length: u64) -> Result<u32> {
    match length {
        0 => Err(out_of_range(format!(
            "length for type {name} must be at least 1"
        ))),
        1..=LENGTH_MAX => Ok(length as u32),
        _ => Err(out_of_range(format!(
            "length for type {name} cannot exceed {LENGTH_MAX}"
        ))),
    }
}

fn array(inner: &DataType) -> Result<ColumnType> {
    let element = match vector_of_any_size(inner) {
        Some(vector) => vector,
        None => column_type(inner)?,
    };
    match element {
        ColumnType::Array(_) => Err(Error::unsupported("arrays of arrays are not supported")),
        element => Ok(ColumnType::Array(Box::new(element))),
    }
}

/// `vector` and `halfvec` without their dimensions, which arrays may have as elements.
fn vector_of_any_size(data_type: &DataType) -> Option<ColumnType> {
    match data_type {
        DataType::Custom(name, arguments) if arguments.is_empty() => {
            match name.to_string().to_lowercase().as_str() {
                "vector" => Some(ColumnType::Vector(0)),
                "halfvec" => Some(ColumnType::HalfVec(0)),
                _ => None,
            }
        }
        _ => None,
    }
}

fn custom(name: &str, arguments: &[String]) -> Result<ColumnType> {
    match name {
        "bpchar" => bpchar(arguments),
        "name" if arguments.is_empty() => Ok(ColumnType::Named(TextName::Name)),
        "\"char\"" if arguments.is_empty() => Ok(ColumnType::Named(TextName::Char)),
        "vector" => Ok(ColumnType::Vector(dimensions(name, arguments)?)),
        "halfvec" => Ok(ColumnType::HalfVec(dimensions(name, arguments)?)),
        "bigserial" | "serial" | "smallserial" => Err(Error::unsupported(format!(
            "{name} columns are not supported"
        ))
        .with_hint("Use BIGINT and give the values.")),
        _ => Err(Error::not_found(
            sqlstate::UNDEFINED_OBJECT,
            format!("type \"{name}\" does not exist"),
        )),
    }
}

/// CHARACTER of any length, or of the one in brackets.
fn bpchar(arguments: &[String]) -> Result<ColumnType> {
    let length = match arguments {
        [] => None,
        [length] => match length.parse() {
            Ok(length) => Some(length_of("char", length)?),
            Err(_) => {
                return Err(out_of_range(format!(
                    "invalid length \"{length}\" for type char"
                )));
            }
        },
        _ => return Err(out_of_range("invalid type modifier".to_string())),
    };
    Ok(ColumnType::Char(length))
}

fn dimensions(name: &str, arguments: &[String]) -> Result<u32> {
    let [text] = arguments else {
        return Err(
            out_of_range(format!("a column of type {name} needs its dimensions"))
                .with_hint(format!("For example {name}(384).")),
        );
    };
    match text.parse::<i64>() {
        Ok(n) if n < 1 => Err(out_of_range(format!(
            "dimensions for type {name} must be at least 1"
        ))),
        Ok(n) if n > i64::from(VECTOR_DIMENSIONS_MAX) => Err(out_of_range(format!(
            "dimensions for type {name} cannot exceed {VECTOR_DIMENSIONS_MAX}"
        ))),
        Ok(n) => Ok(n as u32),
        Err(_) => Err(out_of_range(format!(
            "invalid dimensions \"{text}\" for type {name}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tokens::{DIALECT, tokenize};
    use super::*;
    use datafusion::sql::sqlparser::parser::Parser;

    fn parse(text: &str) -> Result<ColumnType> {
        let tokens = tokenize(text)?;
        let mut parser = Parser::new(&DIALECT).with_tokens_with_locations(tokens);
        column_type(&parser.parse_data_type()?)
    }

    #[test]
    fn names_of_postgres_and_pgvector() {
        for (text, expected) in [
            ("boolean", ColumnType::Boolean),
            ("int8", ColumnType::BigInt),
            ("float", ColumnType::Double),
            ("float(24)", ColumnType::Real),
            ("double precision", ColumnType::Double),
            ("numeric(10, 2)", ColumnType::Numeric(10, 2)),
            ("numeric", ColumnType::Numeric(38, 10)),
            ("varchar", ColumnType::Named(TextName::Varchar)),
            ("name", ColumnType::Named(TextName::Name)),
            ("\"char\"", ColumnType::Named(TextName::Char)),
            ("character varying(20)", ColumnType::Varchar(20)),
            ("timestamptz", ColumnType::TimestampTz),
            ("timestamp with time zone", ColumnType::TimestampTz),
            ("char", ColumnType::Char(Some(1))),
            ("character(5)", ColumnType::Char(Some(5))),
            ("bpchar", ColumnType::Char(None)),
            ("bpchar(7)", ColumnType::Char(Some(7))),
            ("timestamp", ColumnType::Timestamp),
            ("timestamp(3)", ColumnType::Timestamp.rounded(3)),
            ("timestamptz(0)", ColumnType::TimestampTz.rounded(0)),
            ("time(9)", ColumnType::Time.rounded(6)),
            ("interval(2)", ColumnType::Interval.rounded(2)),
            ("json", ColumnType::Json),
            ("jsonb", ColumnType::Jsonb),
            ("VECTOR(768)", ColumnType::Vector(768)),
            ("halfvec(3)", ColumnType::HalfVec(3)),
            ("bit", BitType::try_new(false, 1).unwrap().into()),
            ("BIT(3)", BitType::try_new(false, 3).unwrap().into()),
            ("bit varying(3)", BitType::try_new(true, 3).unwrap().into()),
            ("varbit", BitType::VARBIT.into()),
            ("sparsevec(5)", ColumnType::SparseVec(Some(5))),
            ("text[]", ColumnType::Array(Box::new(ColumnType::Text))),
            (
                "vector[]",
                ColumnType::Array(Box::new(ColumnType::Vector(0))),
            ),
            (
                "halfvec(3)[]",
                ColumnType::Array(Box::new(ColumnType::HalfVec(3))),
            ),
        ] {
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn bad_sizes_have_their_codes() {
        for (text, code) in [
            ("vector(0)", "22023"),
            ("bit(0)", "22023"),
            ("varbit(83886081)", "22023"),
            ("vector(40000)", "22023"),
            ("vector", "22023"),
            ("varchar(0)", "22023"),
            ("char(0)", "22023"),
            ("char(10485761)", "22023"),
            ("numeric(39)", "22023"),
            ("numeric(5,6)", "22023"),
            ("colour", "42704"),
        ] {
            assert_eq!(parse(text).unwrap_err().sqlstate(), code, "{text}");
        }
    }
}
