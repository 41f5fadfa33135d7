//! Text and bytes, and what is kept as text: identifiers, JSON, bits, sparse vectors.

use arrow::array::{Array, ArrayAccessor, ArrayRef, AsArray, StringArrayType};
use arrow::datatypes::DataType;
use bytes::{BufMut, BytesMut};

use super::column::{Put, Target};
use crate::catalog::pg_type::{characters, is_enum_oid};
use crate::error::{Error, Result};
use crate::sql::format::number::invalid;
use crate::sql::format::sparse;
use crate::sql::format::{ByteaOutput, bits, oid};

/// The first byte of `jsonb`'s binary format.
const JSON_VERSION: u8 = 1;

/// Texts, in binary as their type has it and in the client's encoding.
///
/// # Errors
/// 0A000 for a type whose binary format the text does not tell.
pub(super) fn texts(array: &ArrayRef, target: Target<'_>) -> Result<Put> {
    let put = in_utf8(array, target)?;
    let encoding = target.style.encoding;
    let is_text = !matches!(
        target.pg_type.oid,
        oid::UUID | oid::BIT | oid::VARBIT | oid::SPARSEVEC
    );
    // What is not binary is converted as a whole: an array of texts, for one.
    if !(encoding.converts() && target.is_binary() && is_text) {
        return Ok(put);
    }
    Ok(Box::new(move |row, out| {
        let start = out.len();
        put(row, out)?;
        encoding.convert_from(start, out)
    }))
}

fn in_utf8(array: &ArrayRef, target: Target<'_>) -> Result<Put> {
    if let (oid::BPCHAR, Some(length)) = (target.pg_type.oid, characters(target.pg_type)) {
        return Ok(each_text(array, move |text, out| {
            put_padded(text, length, out);
            Ok(())
        }));
    }
    let put: fn(&str, &mut BytesMut) -> Result<()> = match target.pg_type.oid {
        _ if !target.is_binary() => put_plain,
        oid::UUID => put_uuid,
        oid::JSONB | oid::JSONPATH => put_versioned,
        oid::BIT | oid::VARBIT => put_bits,
        oid::SPARSEVEC => put_sparse,
        oid::INT2VECTOR | oid::OIDVECTOR | oid::TID | oid::PG_LSN | oid::ACLITEM => {
            return Err(no_binary());
        }
        oid if is_enum_oid(oid) => put_plain,
        // Nothing, as a value that is empty.
        oid::VOID => put_plain,
        _ if target.pg_type.length == 4 => return Err(no_binary()),
        _ => put_plain,
    };
    Ok(each_text(array, put))
}

fn each_text(
    array: &ArrayRef,
    put: impl Fn(&str, &mut BytesMut) -> Result<()> + Send + Sync + 'static,
) -> Put {
    match array.data_type() {
        DataType::LargeUtf8 => each(array.as_string::<i64>().clone(), put),
        DataType::Utf8View => each(array.as_string_view().clone(), put),
        _ => each(array.as_string::<i32>().clone(), put),
    }
}

fn no_binary() -> Error {
    Error::unsupported("this type has no binary format here").with_hint("Ask for text.")
}

fn each<A>(array: A, put: impl Fn(&str, &mut BytesMut) -> Result<()> + Send + Sync + 'static) -> Put
where
    A: Array + 'static,
    for<'a> &'a A: StringArrayType<'a>,
{
    Box::new(move |row, out| put((&array).value(row), out))
}

fn put_plain(text: &str, out: &mut BytesMut) -> Result<()> {
    out.put_slice(text.as_bytes());
    Ok(())
}

/// A text with blanks behind it up to so many characters.
fn put_padded(text: &str, length: usize, out: &mut BytesMut) {
    out.put_slice(text.as_bytes());
    out.put_bytes(b' ', length.saturating_sub(text.chars().count()));
}

fn put_uuid(text: &str, out: &mut BytesMut) -> Result<()> {
    let uuid = uuid::Uuid::try_parse(text)
        .map_err(|_| invalid(format!("invalid input syntax for type uuid: \"{text}\"")))?;
    out.put_slice(uuid.as_bytes());
    Ok(())
}

/// `jsonb` and `jsonpath`: the version of the format, and the text.
fn put_versioned(text: &str, out: &mut BytesMut) -> Result<()> {
    out.put_u8(JSON_VERSION);
    put_plain(text, out)
}

fn put_bits(text: &str, out: &mut BytesMut) -> Result<()> {
    bits::put_binary(text, out);
    Ok(())
}

fn put_sparse(text: &str, out: &mut BytesMut) -> Result<()> {
    sparse::put_binary(&sparse::parse(text)?, out);
    Ok(())
}

/// Bytes as `bytea`.
pub(super) fn bytes(array: &ArrayRef, target: Target<'_>) -> Put {
    let put: fn(&[u8], &mut BytesMut) = match (target.is_binary(), target.style.bytea_output) {
        (true, _) => |bytes, out| out.put_slice(bytes),
        (false, ByteaOutput::Hex) => put_hex,
        (false, ByteaOutput::Escape) => put_escaped,
    };
    match array.data_type() {
        DataType::LargeBinary => {
            let array = array.as_binary::<i64>().clone();
            Box::new(move |row, out| {
                put(array.value(row), out);
                Ok(())
            })
        }
        DataType::BinaryView => {
            let array = array.as_binary_view().clone();
            Box::new(move |row, out| {
                put(array.value(row), out);
                Ok(())
            })
        }
        DataType::FixedSizeBinary(_) => {
            let array = array.as_fixed_size_binary().clone();
            Box::new(move |row, out| {
                put(array.value(row), out);
                Ok(())
            })
        }
        _ => {
            let array = array.as_binary::<i32>().clone();
            Box::new(move |row, out| {
                put(array.value(row), out);
                Ok(())
            })
        }
    }
}

/// `\xdeadbeef`
fn put_hex(bytes: &[u8], out: &mut BytesMut) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(2 + 2 * bytes.len());
    out.put_slice(b"\\x");
    for byte in bytes {
        out.put_slice(&[
            DIGITS[usize::from(byte >> 4)],
            DIGITS[usize::from(byte & 15)],
        ]);
    }
}

/// Printable ASCII as it is, a backslash twice, everything else as `\ooo`.
fn put_escaped(bytes: &[u8], out: &mut BytesMut) {
    for byte in bytes {
        match byte {
            b'\\' => out.put_slice(b"\\\\"),
            0x20..=0x7e => out.put_u8(*byte),
            _ => out.put_slice(&[
                b'\\',
                b'0' + (byte >> 6),
                b'0' + (byte >> 3 & 7),
                b'0' + (byte & 7),
            ]),
        }
    }
}
