//! Bit strings, `10110`, which are kept as text.

use bytes::{BufMut, BytesMut};

use super::number::invalid;
use super::oid;
use crate::error::{Error, Result, sqlstate};

/// Reads a text, also `B'101'` and `X'1F'` as PostgreSQL's input does, with the length that the type says (-1 for any).
///
/// # Errors
/// 22P02 for other characters, 22026 and 22001 for another or a larger length than the type has.
pub(super) fn parse(text: &str, type_oid: u32, typmod: i32) -> Result<String> {
    let (digits, bits_per_digit) = match text.as_bytes().first() {
        Some(b'x' | b'X') => (&text[1..], 4),
        Some(b'b' | b'B') => (&text[1..], 1),
        _ => (text, 1),
    };
    let mut bits = String::with_capacity(digits.len() * bits_per_digit);
    for c in digits.chars() {
        let radix = 1 << bits_per_digit;
        let digit = c.to_digit(radix).ok_or_else(|| {
            let kind = if bits_per_digit == 4 {
                "hexadecimal"
            } else {
                "binary"
            };
            let message = format!("\"{c}\" is not a valid {kind} digit");
            Error::invalid(sqlstate::INVALID_TEXT_REPRESENTATION, message)
        })?;
        for bit in (0..bits_per_digit).rev() {
            bits.push(if digit >> bit & 1 == 1 { '1' } else { '0' });
        }
    }
    check_length(bits.len(), type_oid, typmod)?;
    Ok(bits)
}

fn check_length(length: usize, type_oid: u32, typmod: i32) -> Result<()> {
    let Ok(limit) = usize::try_from(typmod) else {
        return Ok(());
    };
    if type_oid == oid::VARBIT && length > limit {
        let message = format!("bit string too long for type bit varying({limit})");
        return Err(Error::invalid(
            sqlstate::STRING_DATA_RIGHT_TRUNCATION,
            message,
        ));
    }
    if type_oid == oid::BIT && length != limit {
        let message = format!("bit string length {length} does not match type bit({limit})");
        return Err(Error::invalid(
            sqlstate::STRING_DATA_LENGTH_MISMATCH,
            message,
        ));
    }
    Ok(())
}

/// The number of bits, then the bits, the first one highest.
pub(super) fn put_binary(text: &str, out: &mut BytesMut) {
    out.put_i32(text.len() as i32);
    for bits in text.as_bytes().chunks(8) {
        let bits = bits.iter().enumerate();
        out.put_u8(bits.fold(0, |byte, (at, bit)| {
            byte | u8::from(*bit == b'1') << (7 - at)
        }));
    }
}

/// The text of bits in binary.
///
/// # Errors
/// 22P03 for another number of bytes.
pub(super) fn from_binary(bytes: &[u8]) -> Result<String> {
    let (length, bits) = bytes
        .split_first_chunk::<4>()
        .ok_or_else(|| invalid("insufficient data left in message"))?;
    let length = usize::try_from(i32::from_be_bytes(*length))
        .map_err(|_| invalid("invalid length in external bit string"))?;
    if bits.len() != length.div_ceil(8) {
        return Err(invalid("incorrect binary data format"));
    }
    let bit = |at: usize| bits[at / 8] >> (7 - at % 8) & 1 == 1;
    Ok((0..length)
        .map(|at| if bit(at) { '1' } else { '0' })
        .collect())
}
