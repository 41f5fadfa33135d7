//! Bytes that have to be text.

use memchr::memchr;

use crate::error::{Error, Result};
use crate::sql::format::ClientEncoding;

/// The bytes as text.
///
/// # Errors
/// 22021 for what is not UTF-8, and for the character 0, with the bytes as PostgreSQL shows them.
pub(super) fn utf8(bytes: &[u8]) -> Result<&str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if memchr(0, bytes).is_none() => Ok(text),
        Ok(_) => Err(invalid(&[0])),
        Err(e) => match memchr(0, &bytes[..e.valid_up_to()]) {
            Some(_) => Err(invalid(&[0])),
            None => Err(invalid(sequence(&bytes[e.valid_up_to()..]))),
        },
    }
}

/// The bytes that the first one says belong together.
fn sequence(bytes: &[u8]) -> &[u8] {
    let length = match bytes.first() {
        Some(0xc0..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf7) => 4,
        _ => 1,
    };
    &bytes[..bytes.len().min(length)]
}

fn invalid(sequence: &[u8]) -> Error {
    ClientEncoding::default().malformed(sequence)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_no_text_is_shown_in_hex() {
        assert_eq!(utf8("aä".as_bytes()).unwrap(), "aä");
        for (bytes, shown) in [
            (&b"a\0b"[..], "0x00"),
            (b"a\xffb", "0xff"),
            (b"a\xe3\x28\xa1b", "0xe3 0x28 0xa1"),
            (b"\xed\xa0\x80", "0xed 0xa0 0x80"),
            (b"\xc3", "0xc3"),
        ] {
            let error = utf8(bytes).unwrap_err();
            assert_eq!(error.sqlstate(), "22021");
            assert!(error.message().ends_with(&format!(": {shown}")), "{error}");
        }
    }
}
