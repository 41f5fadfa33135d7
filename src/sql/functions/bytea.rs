//! Functions of bytes: single bytes and bits, parts, and texts in other encodings.

use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};

use super::Group;
use super::extended::Extension;
use super::row::{Call, Kind, Overload, text};
use crate::catalog::encoding::ClientEncoding;
use crate::error::{Error, sqlstate};

use Kind::{Bytes, Int4, Int8, Text};

pub(super) const FUNCTIONS: Group = &[
    ("get_byte", &[Overload::new(&[Bytes, Int4], Int4, get_byte)]),
    (
        "set_byte",
        &[Overload::new(&[Bytes, Int4, Int4], Bytes, set_byte)],
    ),
    (
        "convert_from",
        &[Overload::new(&[Bytes, Text], Text, convert_from)],
    ),
    (
        "convert_to",
        &[Overload::new(&[Text, Text], Bytes, convert_to)],
    ),
    (
        "convert",
        &[Overload::new(&[Bytes, Text, Text], Bytes, convert)],
    ),
];

fn begins_with_bytes(types: &[DataType]) -> bool {
    types.first().is_some_and(DataType::is_binary)
}

/// What functions of texts and of bits do with bytes.
pub(super) const EXTENSIONS: &[Extension] = &[
    (
        "get_bit",
        begins_with_bytes,
        &[Overload::new(&[Bytes, Int8], Int4, get_bit)],
    ),
    (
        "set_bit",
        begins_with_bytes,
        &[Overload::new(&[Bytes, Int8, Int4], Bytes, set_bit)],
    ),
    (
        "bit_count",
        begins_with_bytes,
        &[Overload::new(&[Bytes], Int8, |call| {
            let ones = call
                .bytes(0)
                .iter()
                .map(|byte| i64::from(byte.count_ones()));
            Ok(ScalarValue::Int64(Some(ones.sum())))
        })],
    ),
    (
        "character_length",
        begins_with_bytes,
        &[
            Overload::new(&[Bytes], Int4, |call| Ok(length(call.bytes(0).len()))),
            Overload::new(&[Bytes, Text], Int4, |call| {
                let characters = decoded(call.bytes(0), call.text(1), "encoding")?;
                Ok(length(characters.chars().count()))
            }),
        ],
    ),
    (
        "octet_length",
        begins_with_bytes,
        &[Overload::new(&[Bytes], Int4, |call| {
            Ok(length(call.bytes(0).len()))
        })],
    ),
    (
        "substr",
        begins_with_bytes,
        &[Overload::new(&[Bytes, Int4, Int4], Bytes, substr).optional(1)],
    ),
    (
        "overlay",
        begins_with_bytes,
        &[Overload::new(&[Bytes, Bytes, Int4, Int4], Bytes, overlay).optional(1)],
    ),
    (
        "strpos",
        begins_with_bytes,
        &[Overload::new(&[Bytes, Bytes], Int4, position)],
    ),
    (
        "btrim",
        begins_with_bytes,
        &[Overload::new(&[Bytes, Bytes], Bytes, |call| {
            Ok(trimmed(call, true, true))
        })],
    ),
    (
        "ltrim",
        begins_with_bytes,
        &[Overload::new(&[Bytes, Bytes], Bytes, |call| {
            Ok(trimmed(call, true, false))
        })],
    ),
    (
        "rtrim",
        begins_with_bytes,
        &[Overload::new(&[Bytes, Bytes], Bytes, |call| {
            Ok(trimmed(call, false, true))
        })],
    ),
];

fn length(count: usize) -> ScalarValue {
    ScalarValue::Int32(i32::try_from(count).ok())
}

fn bytes(value: impl Into<Vec<u8>>) -> ScalarValue {
    ScalarValue::Binary(Some(value.into()))
}

/// The place of the second argument, from 0, in so many.
///
/// # Errors
/// 2202E for one that is not there.
fn place(call: &Call<'_>, count: usize) -> Result<usize, Error> {
    let at = call.int(1).unwrap_or_default();
    let place = usize::try_from(at).ok().filter(|place| *place < count);
    place.ok_or_else(|| {
        let last = count as i64 - 1;
        let message = format!("index {at} out of valid range, 0..{last}");
        Error::invalid(sqlstate::ARRAY_SUBSCRIPT_ERROR, message)
    })
}

fn get_byte(call: &Call<'_>) -> Result<ScalarValue> {
    let all = call.bytes(0);
    let byte = all[place(call, all.len())?];
    Ok(ScalarValue::Int32(Some(i32::from(byte))))
}

fn set_byte(call: &Call<'_>) -> Result<ScalarValue> {
    let mut all = call.bytes(0).to_vec();
    let at = place(call, all.len())?;
    // Of the new value the lowest eight bits count.
    all[at] = call.int(2).unwrap_or_default() as u8;
    Ok(bytes(all))
}

/// Bits are counted from the lowest of each byte.
fn get_bit(call: &Call<'_>) -> Result<ScalarValue> {
    let all = call.bytes(0);
    let at = place(call, all.len() * 8)?;
    let bit = all[at / 8] >> (at % 8) & 1;
    Ok(ScalarValue::Int32(Some(i32::from(bit))))
}

fn set_bit(call: &Call<'_>) -> Result<ScalarValue> {
    let mut all = call.bytes(0).to_vec();
    let at = place(call, all.len() * 8)?;
    let mask = 1 << (at % 8);
    match call.int(2) {
        Some(0) => all[at / 8] &= !mask,
        Some(1) => all[at / 8] |= mask,
        _ => {
            let message = "new bit must be 0 or 1";
            return Err(Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message).into());
        }
    }
    Ok(bytes(all))
}

/// The part from a place on, which may be before the first, of so many bytes.
///
/// # Errors
/// 22011 for less than none.
fn part(all: &[u8], from: i64, count: Option<i64>) -> Result<&[u8], Error> {
    if count.is_some_and(|count| count < 0) {
        let message = "negative substring length not allowed";
        return Err(Error::invalid(sqlstate::SUBSTRING_ERROR, message));
    }
    let end = count.map_or(i64::MAX, |count| from.saturating_add(count));
    let inside = |place: i64| (place.max(1) as usize - 1).min(all.len());
    Ok(&all[inside(from)..inside(end.max(from))])
}

fn substr(call: &Call<'_>) -> Result<ScalarValue> {
    let from = call.int(1).unwrap_or_default();
    Ok(bytes(part(call.bytes(0), from, call.int(2))?))
}

fn overlay(call: &Call<'_>) -> Result<ScalarValue> {
    let (all, new) = (call.bytes(0), call.bytes(1));
    let from = call.int(2).unwrap_or_default();
    if from <= 0 {
        let message = "negative substring length not allowed";
        return Err(Error::invalid(sqlstate::SUBSTRING_ERROR, message).into());
    }
    let count = call.int(3).unwrap_or(new.len() as i64);
    let before = part(all, 1, Some(from - 1))?;
    let after = part(all, from.saturating_add(count), None)?;
    Ok(bytes([before, new, after].concat()))
}

fn position(call: &Call<'_>) -> Result<ScalarValue> {
    let (all, part) = (call.bytes(0), call.bytes(1));
    let found = match part {
        [] => Some(0),
        part => memchr::memmem::find(all, part),
    };
    Ok(length(found.map_or(0, |at| at + 1)))
}

/// Without bytes of the second argument at the ends.
fn trimmed(call: &Call<'_>, at_start: bool, at_end: bool) -> ScalarValue {
    let (mut rest, cut) = (call.bytes(0), call.bytes(1));
    while at_start && let [first, after @ ..] = rest {
        if !cut.contains(first) {
            break;
        }
        rest = after;
    }
    while at_end && let [before @ .., last] = rest {
        if !cut.contains(last) {
            break;
        }
        rest = before;
    }
    bytes(rest)
}

/// The encoding of a name; `role` says which argument it is.
///
/// # Errors
/// 22023 for one that does not exist, 0A000 for one that we do not have.
fn encoding(name: &str, role: &str) -> Result<ClientEncoding, Error> {
    let encoding = ClientEncoding::of_name(name).ok_or_else(|| {
        let message = format!("invalid {role} name \"{name}\"");
        Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message)
    })?;
    match encoding.is_supported() {
        true => Ok(encoding),
        false => {
            let message = format!("the encoding {} is not supported", encoding.name());
            Err(Error::unsupported(message))
        }
    }
}

fn decoded(all: &[u8], name: &str, role: &str) -> Result<String, Error> {
    encoding(name, role)?.decode(all)
}

fn encoded(text: &str, name: &str) -> Result<Vec<u8>, Error> {
    encoding(name, "destination encoding")?.encode(text)
}

fn convert_from(call: &Call<'_>) -> Result<ScalarValue> {
    let decoded = decoded(call.bytes(0), call.text(1), "source encoding")?;
    Ok(text(decoded))
}

fn convert_to(call: &Call<'_>) -> Result<ScalarValue> {
    Ok(bytes(encoded(call.text(0), call.text(1))?))
}

fn convert(call: &Call<'_>) -> Result<ScalarValue> {
    let text = decoded(call.bytes(0), call.text(1), "source encoding")?;
    Ok(bytes(encoded(&text, call.text(2))?))
}
