//! The types `BIT(n)` and `BIT VARYING(n)`: text of `0` and `1` whose Arrow field names the type.
//!
//! Text compares as PostgreSQL compares bit strings: bit by bit, a beginning before what it begins.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::sql::sqlparser::ast;

use crate::error::VectorError;
use crate::types::is_text;

/// Metadata key of an Arrow field whose Arrow type stands for another type of SQL: `bit(3)`, `uuid`.
pub const SQL_TYPE_KEY: &str = "shelfmark.type";

/// The most bits that a type may ask for, as in PostgreSQL.
pub const BIT_LENGTH_MAX: u32 = 83_886_080;

/// A type of bit strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BitType {
    /// Whether shorter strings are values of the type too: `BIT VARYING`.
    pub varying: bool,
    /// The number of bits, or the most of them; `None` for any.
    pub length: Option<u32>,
}

impl BitType {
    /// `bit` of any length: the type of literals such as `B'101'`.
    pub const BIT: Self = Self {
        varying: false,
        length: None,
    };
    /// `bit varying` of any length.
    pub const VARBIT: Self = Self {
        varying: true,
        length: None,
    };

    /// The type with that length.
    ///
    /// # Errors
    /// 22023 when the length is 0 or above [`BIT_LENGTH_MAX`].
    pub fn try_new(varying: bool, length: u64) -> Result<Self, VectorError> {
        let name = if varying { "varbit" } else { "bit" };
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        match length {
            0 => Err(VectorError::bit_type_empty(name)),
            1..=BIT_LENGTH_MAX => Ok(Self {
                varying,
                length: Some(length),
            }),
            _ => Err(VectorError::bit_type_too_long(name)),
        }
    }

    /// The type that a type of SQL names, if it is one: `bit` alone is `bit(1)`, in quotes it is any length.
    ///
    /// # Errors
    /// Those of [`BitType::try_new`].
    pub fn of_sql(sql_type: &ast::DataType) -> Result<Option<Self>, VectorError> {
        use ast::DataType::{Bit, BitVarying, Custom, VarBit};
        Ok(match sql_type {
            Bit(length) => Some(Self::try_new(false, length.unwrap_or(1))?),
            BitVarying(None) | VarBit(None) => Some(Self::VARBIT),
            BitVarying(Some(length)) | VarBit(Some(length)) => Some(Self::try_new(true, *length)?),
            Custom(name, arguments) if arguments.is_empty() => {
                let last = name.0.last().and_then(|part| part.as_ident());
                match last.map(|ident| ident.value.as_str()) {
                    Some("bit") => Some(Self::BIT),
                    Some("varbit") => Some(Self::VARBIT),
                    _ => None,
                }
            }
            _ => None,
        })
    }

    /// The type of an Arrow field: text that says it is one.
    pub fn of_field(field: &Field) -> Option<Self> {
        if !is_text(field.data_type()) {
            return None;
        }
        let name = field.metadata().get(SQL_TYPE_KEY)?;
        let (name, length) = match name.strip_suffix(')').and_then(|n| n.split_once('(')) {
            Some((name, length)) => (name, Some(length.parse().ok()?)),
            None => (name.as_str(), None),
        };
        let varying = match name {
            "bit" => false,
            "varbit" => true,
            _ => return None,
        };
        Some(Self { varying, length })
    }

    /// A field of the type.
    pub fn field(self, name: &str, nullable: bool) -> FieldRef {
        let metadata = [(SQL_TYPE_KEY.to_string(), self.to_string())];
        Arc::new(Field::new(name, DataType::Utf8, nullable).with_metadata(metadata.into()))
    }

    /// Reads a text as a value of the type, which an assignment neither cuts nor fills.
    ///
    /// # Errors
    /// 22P02 for text that is no bit string, 22026 for another length than `bit(n)` has, 22001 for more bits than
    /// `bit varying(n)` takes.
    pub fn read(self, text: &str) -> Result<Cow<'_, str>, VectorError> {
        let bits = parse_bits(text)?;
        match self.length {
            Some(n) if self.varying && bits.len() > n as usize => {
                Err(VectorError::bits_too_long(n))
            }
            Some(n) if !self.varying && bits.len() != n as usize => {
                Err(VectorError::bit_length(bits.len(), n))
            }
            _ => Ok(bits),
        }
    }

    /// Bits as an explicit cast makes them: cut at the end, filled with zeros where the length is fixed.
    pub(crate) fn fit(self, bits: &str) -> Cow<'_, str> {
        let Some(length) = self.length.map(|n| n as usize) else {
            return Cow::Borrowed(bits);
        };
        match bits.get(..length) {
            Some(cut) => Cow::Borrowed(cut),
            None if self.varying => Cow::Borrowed(bits),
            None => Cow::Owned(format!("{bits:0<length$}")),
        }
    }
}

/// As in `pg_type`, with the length behind it: `bit(3)`, `varbit`.
impl fmt::Display for BitType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.varying { "varbit" } else { "bit" })?;
        match self.length {
            Some(length) => write!(f, "({length})"),
            None => Ok(()),
        }
    }
}

/// Reads what PostgreSQL reads as a bit string: `0` and `1`, also after a `b`, or hexadecimal digits after an `x`.
///
/// # Errors
/// 22P02 for other characters.
pub fn parse_bits(text: &str) -> Result<Cow<'_, str>, VectorError> {
    let (digits, hexadecimal) = match text.as_bytes().first() {
        Some(b'x' | b'X') => (&text[1..], true),
        Some(b'b' | b'B') => (&text[1..], false),
        _ => (text, false),
    };
    let is_digit = |c: &char| match hexadecimal {
        true => c.is_ascii_hexdigit(),
        false => matches!(c, '0' | '1'),
    };
    if let Some(other) = digits.chars().find(|c| !is_digit(c)) {
        return Err(VectorError::bit_digit(other, hexadecimal));
    }
    if !hexadecimal {
        return Ok(Cow::Borrowed(digits));
    }
    let nibbles = digits.chars().filter_map(|c| c.to_digit(16));
    Ok(Cow::Owned(
        nibbles.map(|nibble| format!("{nibble:04b}")).collect(),
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn texts_of_bits() {
        for (text, bits) in [
            ("", ""),
            ("0110", "0110"),
            ("b01", "01"),
            ("X6f", "01101111"),
        ] {
            assert_eq!(parse_bits(text).unwrap(), bits);
        }
        let error = parse_bits("102").unwrap_err();
        assert_eq!(error.message, "\"2\" is not a valid binary digit");
        let error = parse_bits("xg").unwrap_err();
        assert_eq!(error.message, "\"g\" is not a valid hexadecimal digit");
        assert_eq!(error.sqlstate, "22P02");
    }

    #[test]
    fn assignments_refuse_what_casts_cut() {
        let bit = BitType::try_new(false, 3).unwrap();
        let varbit = BitType::try_new(true, 3).unwrap();
        assert_eq!(bit.read("1011").unwrap_err().sqlstate, "22026");
        assert_eq!(bit.read("10").unwrap_err().sqlstate, "22026");
        assert_eq!(varbit.read("1011").unwrap_err().sqlstate, "22001");
        assert_eq!(varbit.read("10").unwrap(), "10");
        assert_eq!(
            (bit.fit("1011"), bit.fit("1")),
            ("101".into(), "100".into())
        );
        assert_eq!(
            (varbit.fit("1011"), varbit.fit("1")),
            ("101".into(), "1".into())
        );
        assert_eq!(BitType::BIT.fit("1011"), "1011");
    }

    #[test]
    fn types_survive_the_way_through_fields() {
        for varying in [false, true] {
            for length in [1, 3, u64::from(BIT_LENGTH_MAX)] {
                let bit = BitType::try_new(varying, length).unwrap();
                assert_eq!(BitType::of_field(&bit.field("", true)), Some(bit));
            }
            for length in [0, u64::from(BIT_LENGTH_MAX) + 1, u64::MAX] {
                assert_eq!(
                    BitType::try_new(varying, length).unwrap_err().sqlstate,
                    "22023"
                );
            }
        }
        assert_eq!(
            BitType::of_field(&BitType::VARBIT.field("", true)),
            Some(BitType::VARBIT)
        );
        let number = Field::clone(&BitType::BIT.field("", true)).with_data_type(DataType::Int32);
        assert_eq!(BitType::of_field(&number), None);
    }
}
