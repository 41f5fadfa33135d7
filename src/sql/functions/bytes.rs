//! `encode` and `decode`: bytes as texts.

use base64::Engine;
use base64::prelude::BASE64_STANDARD as STANDARD;
use datafusion::common::{Result, ScalarValue};

use super::Group;
use super::row::{Call, Kind, Overload, text};
use crate::error::{Error, sqlstate};

use Kind::{Bytes, Text};

pub(super) const FUNCTIONS: Group = &[
    ("encode", &[Overload::new(&[Bytes, Text], Text, encode)]),
    ("decode", &[Overload::new(&[Text, Text], Bytes, decode)]),
];

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Characters of a line of base64.
const LINE: usize = 76;

/// How bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Base64,
    Hex,
    Escape,
}

fn wrong(message: impl Into<String>) -> Error {
    Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message)
}

impl Encoding {
    fn of(name: &str) -> Result<Self, Error> {
        match name.to_ascii_lowercase().as_str() {
            "base64" => Ok(Self::Base64),
            "hex" => Ok(Self::Hex),
            "escape" => Ok(Self::Escape),
            _ => Err(wrong(format!("unrecognized encoding: \"{name}\""))),
        }
    }
}

fn encode(call: &Call<'_>) -> Result<ScalarValue> {
    let bytes = call.bytes(0);
    Ok(text(match Encoding::of(call.text(1))? {
        Encoding::Base64 => base64(bytes),
        Encoding::Hex => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        Encoding::Escape => bytes.iter().map(|byte| escaped(*byte)).collect(),
    }))
}

fn decode(call: &Call<'_>) -> Result<ScalarValue> {
    let subject = call.text(0);
    let bytes = match Encoding::of(call.text(1))? {
        Encoding::Base64 => of_base64(subject),
        Encoding::Hex => of_hex(subject),
        Encoding::Escape => of_escaped(subject),
    };
    Ok(ScalarValue::Binary(Some(bytes?)))
}

/// Base64 with its padding, and a line break behind each full line.
fn base64(bytes: &[u8]) -> String {
    let mut encoded = STANDARD.encode(bytes);
    for full in (1..=encoded.len() / LINE).rev() {
        encoded.insert(full * LINE, '\n');
    }
    encoded
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

fn of_base64(subject: &str) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::with_capacity(subject.len() * 3 / 4);
    let (mut group, mut digits, mut padded) = (0u32, 0, 0);
    for c in subject.chars().filter(|c| !is_blank(*c)) {
        let digit = DIGITS.iter().position(|digit| char::from(*digit) == c);
        let value = match digit {
            Some(value) => value as u32,
            None if c == '=' && (digits >= 2 || padded > 0) => {
                padded += 1;
                0
            }
            None if c == '=' => {
                return Err(wrong("unexpected \"=\" while decoding base64 sequence"));
            }
            None => {
                let message =
                    format!("invalid symbol \"{c}\" found while decoding base64 sequence");
                return Err(wrong(message));
            }
        };
        group = group << 6 | value;
        digits += 1;
        if digits == 4 {
            let whole = 3_usize.saturating_sub(padded);
            bytes.extend(&group.to_be_bytes()[1..][..whole]);
            (group, digits) = (0, 0);
        }
    }
    match digits {
        0 => Ok(bytes),
        _ => Err(wrong("invalid base64 end sequence")
            .with_hint("Input data is missing padding, is truncated, or is otherwise corrupted.")),
    }
}

fn of_hex(subject: &str) -> Result<Vec<u8>, Error> {
    let digits = subject.chars().filter(|c| !is_blank(*c)).map(|c| {
        let digit = c.to_digit(16);
        digit.ok_or_else(|| wrong(format!("invalid hexadecimal digit: \"{c}\"")))
    });
    let digits: Vec<u32> = digits.collect::<Result<_, Error>>()?;
    if !digits.len().is_multiple_of(2) {
        return Err(wrong("invalid hexadecimal data: odd number of digits"));
    }
    let bytes = digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8);
    Ok(bytes.collect())
}

fn escaped(byte: u8) -> String {
    match byte {
        b'\\' => "\\\\".to_string(),
        0 | 0x80.. => format!("\\{byte:03o}"),
        byte => char::from(byte).to_string(),
    }
}

fn of_escaped(subject: &str) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::with_capacity(subject.len());
    let mut rest = subject.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = match (first, behind) {
            (b'\\', [b'\\', behind @ ..]) => {
                bytes.push(b'\\');
                behind
            }
            (
                b'\\',
                [
                    a @ b'0'..=b'3',
                    b @ b'0'..=b'7',
                    c @ b'0'..=b'7',
                    behind @ ..,
                ],
            ) => {
                bytes.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                behind
            }
            (b'\\', _) => {
                let message = "invalid input syntax for type bytea";
                let code = sqlstate::INVALID_TEXT_REPRESENTATION;
                return Err(Error::invalid(code, message));
            }
            (byte, behind) => {
                bytes.push(*byte);
                behind
            }
        };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        for length in 0..200_usize {
            let bytes: Vec<u8> = (0..length).map(|n| (n * 151 % 256) as u8).collect();
            assert_eq!(of_base64(&base64(&bytes)).unwrap(), bytes);
            let written: String = bytes.iter().map(|byte| escaped(*byte)).collect();
            assert_eq!(of_escaped(&written).unwrap(), bytes);
        }
    }

    #[test]
    fn lines_have_76_characters_and_the_last_is_padded() {
        assert_eq!(base64(b"ab"), "YWI=");
        let long = base64(&[0; 100]);
        let lengths: Vec<usize> = long.split('\n').map(str::len).collect();
        assert_eq!(lengths, [76, 60]);
        assert_eq!(base64(&[0; 57]).len(), 77);
        assert_eq!(of_base64(" Y W\nI = ").unwrap(), b"ab");
        for wrong in ["YWI", "Y*I=", "=", "Y===="] {
            assert_eq!(of_base64(wrong).unwrap_err().sqlstate(), "22023", "{wrong}");
        }
    }

    #[test]
    fn other_texts_are_errors() {
        assert_eq!(of_hex("61 6 2").unwrap(), b"ab");
        assert_eq!(of_hex("616").unwrap_err().sqlstate(), "22023");
        assert_eq!(of_hex("zz").unwrap_err().sqlstate(), "22023");
        assert_eq!(of_escaped("a\\400").unwrap_err().sqlstate(), "22P02");
        assert_eq!(Encoding::of("HEX").unwrap(), Encoding::Hex);
        assert!(Encoding::of("base32").is_err());
    }
}
