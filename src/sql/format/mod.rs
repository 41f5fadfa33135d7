//! Values as PostgreSQL's clients read and write them: types, text and binary formats, both ways.
//!
//! | part | what it does |
//! |---|---|
//! | [`type_of`] | the PostgreSQL type of an Arrow field |
//! | [`Style`] | the session's settings that text output follows |
//! | [`RowEncoder`] | record batches to rows, in text or binary |
//! | [`decode_parameter`] | a parameter's bytes to a value of the wanted type |
//!
//! The text format follows `*_out` and `*_in` of PostgreSQL 15, the binary one `*_send` and `*_recv`; those of vectors
//! are pgvector's.

mod bits;
mod datetime;
mod decode;
mod encode;
mod interval;
mod number;
mod sparse;
mod style;
#[cfg(test)]
mod tests;

pub use crate::catalog::encoding::{ClientEncoding, TextDecoder};
pub use crate::catalog::pg_type::{PgType, field_of_oid, oid, type_of};
pub use crate::catalog::zone::Zone;
pub use decode::{
    convert, decode_column, decode_parameter, decode_parameter_of, in_utf8, read_texts, read_values,
};
pub use encode::RowEncoder;
pub use style::{ByteaOutput, DateOrder, DateStyle, IntervalStyle, Style};

use crate::error::{Error, Result, sqlstate};

/// How values travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Format {
    /// As people read them.
    #[default]
    Text,
    /// As PostgreSQL's `*_send` functions write them, big-endian.
    Binary,
}

impl Format {
    /// The format of a code of the protocol: 0 is text, 1 is binary.
    ///
    /// # Errors
    /// 22023 for any other code.
    pub fn from_code(code: i16) -> Result<Self> {
        match code {
            0 => Ok(Self::Text),
            1 => Ok(Self::Binary),
            _ => Err(Error::invalid(
                sqlstate::INVALID_PARAMETER_VALUE,
                format!("unsupported format code: {code}"),
            )),
        }
    }

    /// The code of the protocol.
    pub fn code(self) -> i16 {
        match self {
            Self::Text => 0,
            Self::Binary => 1,
        }
    }
}
