//! The input functions of the scalar types: text to value, with Postgres's words for what is wrong.

use std::borrow::Cow;
use std::num::IntErrorKind;

use super::error::{syntax, text_out_of_range};
use super::number::numeric_overflow;
use crate::error::{Error, Result, sqlstate};
use crate::storage::schema::TextName;

const BAD_TEXT: &str = sqlstate::INVALID_TEXT_REPRESENTATION;

/// `t`, `true`, `yes`, `on`, `1` and their opposites, or any unambiguous beginning.
pub fn boolean(text: &str) -> Result<bool> {
    let word = text.trim().to_ascii_lowercase();
    let begins = |whole: &str| !word.is_empty() && whole.starts_with(word.as_str());
    if begins("true") || begins("yes") || word == "on" || word == "1" {
        Ok(true)
    } else if begins("false") || begins("no") || word == "of" || word == "off" || word == "0" {
        Ok(false)
    } else {
        Err(syntax(BAD_TEXT, "boolean", text))
    }
}

/// A decimal integer.
pub(super) fn integer<T>(text: &str, type_name: &str) -> Result<T>
where
    T: std::str::FromStr<Err = std::num::ParseIntError>,
{
    text.trim()
        .parse()
        .map_err(|e: std::num::ParseIntError| match e.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => {
                text_out_of_range(type_name, text)
            }
            _ => syntax(BAD_TEXT, type_name, text),
        })
}

/// A double, `NaN` or `Infinity`.
pub(super) fn double(text: &str) -> Result<f64> {
    let number = text.trim();
    let value: f64 = number
        .parse()
        .map_err(|_| syntax(BAD_TEXT, "double precision", text))?;
    if lost_in_range(number, value.is_infinite(), value == 0.0) {
        return Err(text_out_of_range("double precision", text));
    }
    Ok(if value.is_nan() { f64::NAN } else { value })
}

/// A 32-bit float, `NaN` or `Infinity`.
pub(super) fn real(text: &str) -> Result<f32> {
    let number = text.trim();
    let value: f32 = number.parse().map_err(|_| syntax(BAD_TEXT, "real", text))?;
    if lost_in_range(number, value.is_infinite(), value == 0.0) {
        return Err(text_out_of_range("real", text));
    }
    Ok(if value.is_nan() { f32::NAN } else { value })
}

/// Whether digits were written that the float cannot hold at all.
fn lost_in_range(number: &str, infinite: bool, zero: bool) -> bool {
    if infinite {
        return number.contains(|c: char| c.is_ascii_digit());
    }
    zero && number
        .split(['e', 'E'])
        .next()
        .is_some_and(|mantissa| mantissa.contains(|c: char| ('1'..='9').contains(&c)))
}

/// A decimal's unscaled value, rounded half away from zero to the scale.
pub(super) fn decimal(text: &str, precision: u8, scale: i8) -> Result<i128> {
    let bad = || syntax(BAD_TEXT, "numeric", text);
    let number = text.trim();
    let (negative, digits) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    if is_special(digits) {
        return Err(numeric_overflow());
    }
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((m, e)) => (m, e.parse::<i32>().map_err(|_| bad())?),
        None => (digits, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !all_digits(whole) || !all_digits(fraction) {
        return Err(bad());
    }
    // Digits of the result: those of the mantissa up to the scale.
    let kept = whole.len() as i64 + i64::from(exponent) + i64::from(scale);
    let unscaled = take_digits(whole, fraction, kept).ok_or_else(numeric_overflow)?;
    let limit = 10i128.pow(u32::from(precision));
    if unscaled >= limit {
        return Err(numeric_overflow());
    }
    Ok(if negative { -unscaled } else { unscaled })
}

fn is_special(text: &str) -> bool {
    ["nan", "inf", "infinity"]
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word))
}

/// The first `kept` digits (zeros beyond the last), rounded by the one after; `None` when above 10^38.
fn take_digits(whole: &str, fraction: &str, kept: i64) -> Option<i128> {
    let digits = whole
        .bytes()
        .chain(fraction.bytes())
        .map(|b| i128::from(b - b'0'));
    let total = (whole.len() + fraction.len()) as i64;
    let mut value: i128 = 0;
    let push = |value: i128, digit: i128| {
        let next = value.checked_mul(10)?.checked_add(digit)?;
        (next < 10i128.pow(38)).then_some(next)
    };
    let mut round = false;
    for (at, digit) in digits.enumerate() {
        if (at as i64) < kept {
            value = push(value, digit)?;
        } else {
            round = at as i64 == kept && digit >= 5;
            break;
        }
    }
    if value > 0 {
        for _ in total..kept {
            value = push(value, 0)?;
        }
    }
    Some(value + i128::from(round))
}

/// A UUID in any of Postgres's spellings, as its canonical text.
pub(super) fn uuid(text: &str) -> Result<String> {
    let bad = || syntax(BAD_TEXT, "uuid", text);
    let inner = text.trim();
    let inner = match inner.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}').ok_or_else(bad)?,
        None => inner,
    };
    let mut bytes = [0u8; 16];
    let mut digits = 0usize;
    let mut dash = true;
    for c in inner.chars() {
        if c == '-' {
            // A dash may follow each group of four digits.
            if dash || !digits.is_multiple_of(4) || digits == 32 {
                return Err(bad());
            }
            dash = true;
            continue;
        }
        let digit = c.to_digit(16).filter(|_| digits < 32).ok_or_else(bad)? as u8;
        bytes[digits / 2] = bytes[digits / 2] << 4 | digit;
        digits += 1;
        dash = false;
    }
    if digits != 32 || dash {
        return Err(bad());
    }
    Ok(uuid::Uuid::from_bytes(bytes).hyphenated().to_string())
}

/// That the text is JSON.
pub(super) fn json(text: &str) -> Result<()> {
    match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        Ok(_) => Ok(()),
        Err(e) => Err(
            Error::invalid(BAD_TEXT, "invalid input syntax for type json")
                .with_detail(e.to_string()),
        ),
    }
}

/// `\x` and hex digits, or text with `\\` and `\ooo`.
pub(super) fn bytea(text: &str) -> Result<Cow<'_, [u8]>> {
    if let Some(hex) = text.strip_prefix("\\x") {
        return hex_bytes(hex, text).map(Cow::Owned);
    }
    if !text.contains('\\') {
        return Ok(Cow::Borrowed(text.as_bytes()));
    }
    let bad = || syntax(BAD_TEXT, "bytea", text);
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            out.push(bytes[at]);
            at += 1;
        } else if bytes.get(at + 1) == Some(&b'\\') {
            out.push(b'\\');
            at += 2;
        } else {
            let octal = bytes.get(at + 1..at + 4).ok_or_else(bad)?;
            if octal[0] > b'3' || octal.iter().any(|b| !(b'0'..=b'7').contains(b)) {
                return Err(bad());
            }
            out.push(octal.iter().fold(0, |sum, b| sum * 8 + (b - b'0')));
            at += 4;
        }
    }
    Ok(Cow::Owned(out))
}

fn hex_bytes(hex: &str, text: &str) -> Result<Vec<u8>> {
    let bad = || syntax(BAD_TEXT, "bytea", text);
    let mut out = Vec::with_capacity(hex.len() / 2);
    let mut high = None;
    for c in hex.chars().filter(|c| !c.is_ascii_whitespace()) {
        let digit = c.to_digit(16).ok_or_else(bad)? as u8;
        high = match high {
            None => Some(digit),
            Some(high) => {
                out.push(high << 4 | digit);
                None
            }
        };
    }
    match high {
        None => Ok(out),
        Some(_) => Err(bad()),
    }
}

/// As much of the text as the column takes: blanks behind that are left out, as the standard has it.
///
/// # Errors
/// 22001 when more than blanks would be lost.
pub(super) fn varchar(text: &str, limit: u32) -> Result<&str> {
    let limit = limit as usize;
    // A text has at most as many characters as bytes.
    if text.len() <= limit {
        return Ok(text);
    }
    let Some((end, _)) = text.char_indices().nth(limit) else {
        return Ok(text);
    };
    if text[end..].bytes().all(|byte| byte == b' ') {
        return Ok(&text[..end]);
    }
    Err(Error::invalid(
        sqlstate::STRING_DATA_RIGHT_TRUNCATION,
        format!("value too long for type character varying({limit})"),
    ))
}

/// As many bytes of the text as a value of the type has.
///
/// # Errors
/// None: what is too long is cut, as PostgreSQL does.
pub(super) fn named(text: &str, name: TextName) -> Result<&str> {
    Ok(&text[..text.floor_char_boundary(name.bytes_max())])
}

/// The text without the blanks behind it, of which CHARACTER(n) keeps none.
///
/// # Errors
/// 22001 when more than n characters are left.
pub(super) fn character(text: &str, limit: Option<u32>) -> Result<&str> {
    let kept = text.trim_end_matches(' ');
    match limit {
        Some(limit) if kept.len() > limit as usize && kept.chars().count() > limit as usize => {
            Err(Error::invalid(
                sqlstate::STRING_DATA_RIGHT_TRUNCATION,
                format!("value too long for type character({limit})"),
            ))
        }
        _ => Ok(kept),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn booleans() {
        for yes in ["t", "TRUE", "y", "yes", "on", "1", " tr "] {
            assert!(boolean(yes).unwrap(), "{yes}");
        }
        for no in ["f", "false", "n", "No", "off", "of", "0"] {
            assert!(!boolean(no).unwrap(), "{no}");
        }
        for bad in ["", "2", "maybe", "o", "tt"] {
            assert_eq!(boolean(bad).unwrap_err().sqlstate(), "22P02", "{bad}");
        }
    }

    #[test]
    fn numbers() {
        assert_eq!(integer::<i32>(" -7 ", "integer").unwrap(), -7);
        let code = |text| integer::<i16>(text, "smallint").unwrap_err().sqlstate();
        assert_eq!(code("32768"), "22003");
        for bad in ["", "1.5", "0x10", "1_000", "\u{661}"] {
            assert_eq!(code(bad), "22P02", "{bad}");
        }
        assert!(real("nan").unwrap().is_nan());
        assert_eq!(double("-Infinity").unwrap(), f64::NEG_INFINITY);
        assert_eq!(double("1e400").unwrap_err().sqlstate(), "22003");
        assert_eq!(real("1e-60").unwrap_err().sqlstate(), "22003");
        assert_eq!(real("0e-60").unwrap(), 0.0);
        assert_eq!(double("0x10").unwrap_err().sqlstate(), "22P02");
    }

    #[test]
    fn decimals() {
        let cases = [
            ("1.005", 100 + 1),
            ("-1.005", -101),
            ("1.004999", 100),
            (".5", 50),
            ("5.", 500),
            ("1e2", 10_000),
            ("12e-3", 1),
            ("4e-3", 0),
            ("0.000", 0),
            ("0e999999999", 0),
        ];
        for (text, expected) in cases {
            assert_eq!(decimal(text, 10, 2).unwrap(), expected, "{text}");
        }
        let code = |text| decimal(text, 5, 2).unwrap_err().sqlstate();
        assert_eq!(code("1000"), "22003");
        assert_eq!(code("999.995"), "22003");
        assert_eq!(code("1e40"), "22003");
        assert_eq!(code("NaN"), "22003");
        for bad in ["", ".", "1..2", "0x1", "1_0", "1e", "--1"] {
            assert_eq!(code(bad), "22P02", "{bad}");
        }
        let all = "9".repeat(38);
        assert_eq!(decimal(&all, 38, 0).unwrap(), 10i128.pow(38) - 1);
    }

    #[test]
    fn identifiers_and_bytes() {
        let canonical = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
        for text in [
            canonical,
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11",
        ] {
            assert_eq!(uuid(text).unwrap(), canonical);
        }
        for bad in [
            "",
            "a0ee",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1g",
            "{a0eebc999c0b4ef8bb6d6bb9bd380a11",
        ] {
            assert_eq!(uuid(bad).unwrap_err().sqlstate(), "22P02", "{bad}");
        }
        assert_eq!(&*bytea("\\xDEad be").unwrap(), [0xde, 0xad, 0xbe]);
        assert_eq!(&*bytea("a\\\\b\\001").unwrap(), b"a\\b\x01");
        for bad in ["\\xabc", "\\xzz", "\\9", "a\\"] {
            assert_eq!(bytea(bad).unwrap_err().sqlstate(), "22P02", "{bad}");
        }
    }

    #[test]
    fn characters_are_counted_not_bytes() {
        assert_eq!(varchar("äöü", 3).unwrap(), "äöü");
        assert_eq!(varchar("äöü  ", 3).unwrap(), "äöü");
        assert_eq!(varchar("äöü \t", 3).unwrap_err().sqlstate(), "22001");
        assert_eq!(varchar("äöüß", 3).unwrap_err().sqlstate(), "22001");
        assert_eq!(character("äö ", Some(3)).unwrap(), "äö");
        assert_eq!(character("äöü    ", Some(3)).unwrap(), "äöü");
        assert_eq!(character("   ", Some(1)).unwrap(), "");
        assert_eq!(character("äöüß ", None).unwrap(), "äöüß");
        let error = character("äöüß", Some(3)).unwrap_err();
        assert_eq!(error.sqlstate(), "22001");
        assert!(json("{\"a\": [1, null]}").is_ok());
        assert_eq!(json("{a}").unwrap_err().sqlstate(), "22P02");
    }
}
