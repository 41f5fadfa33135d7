//! Bit strings, `10110`, which are kept as text.

use bytes::{BufMut, BytesMut};
use shelfmark_udfs::BitType;

use super::number::invalid;
use super::oid;
use crate::error::{Error, Result};

/// Reads a text as PostgreSQL's input does, with the length that the type says (-1 for any).
///
/// # Errors
/// 22P02 for other characters, 22026 and 22001 for another or a larger length than the type has.
pub(super) fn parse(text: &str, type_oid: u32, typmod: i32) -> Result<String> {
    let bits = BitType {
        varying: type_oid == oid::VARBIT,
        length: u32::try_from(typmod).ok(),
    };
    let bits = bits.read(text).map_err(|e| Error::from_vector(&e))?;
    Ok(bits.into_owned())
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
