//! Texts of Unicode: `normalize`, `IS NORMALIZED`, `unistr`.

use datafusion::common::{Result, ScalarValue};
use unicode_normalization::UnicodeNormalization;

use super::Group;
use super::row::{Call, Kind, Overload, text};
use crate::error::{Error, sqlstate};

use Kind::{Bool, Text};

pub(super) const FUNCTIONS: Group = &[
    (
        "normalize",
        &[Overload::new(&[Text, Text], Text, |call| Ok(text(normal(call)?))).optional(1)],
    ),
    (
        IS_NORMALIZED,
        &[Overload::new(&[Text, Text], Bool, |call| {
            Ok(ScalarValue::from(normal(call)? == call.text(0)))
        })
        .optional(1)],
    ),
    ("unistr", &[Overload::new(&[Text], Text, unistr)]),
];

/// Whether a text is in a form: `x IS NFC NORMALIZED`.
pub(crate) const IS_NORMALIZED: &str = "is_normalized";

/// The text in the form that the second argument names.
///
/// # Errors
/// 22023 for a form that there is none of.
fn normal(call: &Call<'_>) -> Result<String> {
    let given = call.text(0);
    match call.text(1).to_ascii_uppercase().as_str() {
        "" | "NFC" => Ok(given.nfc().collect()),
        "NFD" => Ok(given.nfd().collect()),
        "NFKC" => Ok(given.nfkc().collect()),
        "NFKD" => Ok(given.nfkd().collect()),
        other => {
            let message = format!("invalid normalization form: {other}");
            Err(Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message).into())
        }
    }
}

/// The text with characters for `\0061`, `\u0061`, `\+000061`, `\U00000061` and `\\`.
fn unistr(call: &Call<'_>) -> Result<ScalarValue> {
    let mut out = String::new();
    // The first half of a pair that is one character.
    let mut high = None;
    let mut rest = call.text(0);
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        if high.is_some() && at > 0 {
            return Err(surrogate_error().into());
        }
        let after = &rest[at + 1..];
        if let Some(behind) = after.strip_prefix('\\') {
            out.push('\\');
            rest = behind;
            continue;
        }
        let (code, behind) = code_point(after).ok_or_else(escape_error)?;
        rest = behind;
        let code = match (high.take(), code) {
            (None, 0xD800..=0xDBFF) => {
                high = Some(code);
                continue;
            }
            (Some(high), 0xDC00..=0xDFFF) => 0x10000 + ((high - 0xD800) << 10) + (code - 0xDC00),
            (Some(_), _) => return Err(surrogate_error().into()),
            (None, code) => code,
        };
        let character = char::from_u32(code).filter(|c| *c != '\0');
        out.push(
            character.ok_or_else(|| {
                Error::invalid(sqlstate::SYNTAX_ERROR, "invalid Unicode code point")
            })?,
        );
    }
    if high.is_some() {
        return Err(surrogate_error().into());
    }
    out.push_str(rest);
    Ok(text(out))
}

/// The code behind a backslash, and what follows it.
fn code_point(text: &str) -> Option<(u32, &str)> {
    let (digits, count) = match text.as_bytes().first()? {
        b'+' => (&text[1..], 6),
        b'u' => (&text[1..], 4),
        b'U' => (&text[1..], 8),
        _ => (text, 4),
    };
    let code = digits.get(..count)?;
    if !code.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    Some((u32::from_str_radix(code, 16).ok()?, &digits[count..]))
}

fn escape_error() -> Error {
    let hint = "Unicode escapes must be \\XXXX, \\+XXXXXX, \\uXXXX, or \\UXXXXXXXX.";
    Error::invalid(sqlstate::SYNTAX_ERROR, "invalid Unicode escape").with_hint(hint)
}

fn surrogate_error() -> Error {
    Error::invalid(sqlstate::SYNTAX_ERROR, "invalid Unicode surrogate pair")
}
