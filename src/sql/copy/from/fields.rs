//! The fields of a record of text or csv.

use memchr::{memchr, memchr2};

use super::encoding::utf8;
use crate::error::Result;
use crate::sql::copy::bad_file;
use crate::sql::copy::dialect::Quoting;

/// A field as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field<'a> {
    /// The value; where it stands for NULL, what stands for it.
    pub(super) text: &'a str,
    /// Whether it is what stands for NULL, and not in quotes.
    pub(super) is_null: bool,
}

/// Calls `take` for each field of a record of the text format; how many there are.
///
/// # Errors
/// 22021 for escapes that make no UTF-8, and those of `take`.
pub(super) fn text_fields(
    record: &str,
    delimiter: u8,
    null: &str,
    scratch: &mut Vec<u8>,
    mut take: impl FnMut(usize, Field<'_>) -> Result<()>,
) -> Result<usize> {
    let bytes = record.as_bytes();
    let (mut start, mut count) = (0, 0);
    loop {
        let special = memchr2_from(delimiter, b'\\', bytes, start);
        let end = match special {
            Some(at) if bytes[at] == b'\\' => {
                scratch.clear();
                let end = unescape(bytes, start, at, delimiter, scratch);
                let is_null = &record[start..end] == null;
                let text = if is_null { null } else { utf8(scratch)? };
                take(count, Field { text, is_null })?;
                end
            }
            special => {
                let end = special.unwrap_or(bytes.len());
                let text = &record[start..end];
                let is_null = text == null;
                take(count, Field { text, is_null })?;
                end
            }
        };
        count += 1;
        if end == bytes.len() {
            return Ok(count);
        }
        start = end + 1;
    }
}

fn memchr2_from(first: u8, second: u8, bytes: &[u8], start: usize) -> Option<usize> {
    // A loop is faster than the call for the short fields that most are.
    const SHORT: usize = 16;
    let near = bytes.len().min(start + SHORT);
    let found = bytes[start..near]
        .iter()
        .position(|byte| *byte == first || *byte == second);
    match found {
        Some(at) => Some(start + at),
        None => memchr2(first, second, &bytes[near..]).map(|at| near + at),
    }
}

/// Writes the field that begins at `start`, with its first backslash at `at`, to `out`; where it ends.
fn unescape(bytes: &[u8], start: usize, mut at: usize, delimiter: u8, out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&bytes[start..at]);
    loop {
        // A backslash at the very end means nothing.
        let Some(&escaped) = bytes.get(at + 1) else {
            return bytes.len();
        };
        at += 2;
        match escaped {
            b'0'..=b'7' => {
                let mut value = escaped - b'0';
                for _ in 0..2 {
                    match bytes.get(at) {
                        Some(digit @ b'0'..=b'7') => {
                            value = value.wrapping_mul(8).wrapping_add(digit - b'0');
                            at += 1;
                        }
                        _ => break,
                    }
                }
                out.push(value);
            }
            b'x' => {
                let (value, digits) = hex(&bytes[at..]);
                out.push(value);
                at += digits;
            }
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'v' => out.push(11),
            other => out.push(other),
        }
        let next = memchr2_from(delimiter, b'\\', bytes, at).unwrap_or(bytes.len());
        out.extend_from_slice(&bytes[at..next]);
        at = next;
        if bytes.get(at) != Some(&b'\\') {
            return at;
        }
    }
}

/// The byte of up to two hex digits behind `\x`, and how many there are; without any it is the letter itself.
fn hex(bytes: &[u8]) -> (u8, usize) {
    let digit = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16));
    match (digit(0), digit(1)) {
        (Some(high), Some(low)) => ((high * 16 + low) as u8, 2),
        (Some(low), None) => (low as u8, 1),
        (None, _) => (b'x', 0),
    }
}

/// Calls `take` for each field of a record of csv; how many there are. Text may stand before and behind quotes.
///
/// # Errors
/// 22P04 for quotes that do not end, and those of `take`.
pub(super) fn csv_fields(
    record: &str,
    delimiter: u8,
    quoting: Quoting,
    null: &str,
    scratch: &mut Vec<u8>,
    mut take: impl FnMut(usize, Field<'_>) -> Result<()>,
) -> Result<usize> {
    let bytes = record.as_bytes();
    let (mut start, mut count) = (0, 0);
    loop {
        let special = memchr2_from(delimiter, quoting.quote, bytes, start);
        let end = match special {
            Some(at) if bytes[at] == quoting.quote => {
                scratch.clear();
                let end = unquote(bytes, start, at, delimiter, quoting, scratch)?;
                let field = Field {
                    text: utf8(scratch)?,
                    is_null: false,
                };
                take(count, field)?;
                end
            }
            special => {
                let end = special.unwrap_or(bytes.len());
                let text = &record[start..end];
                let is_null = text == null;
                take(count, Field { text, is_null })?;
                end
            }
        };
        count += 1;
        if end == bytes.len() {
            return Ok(count);
        }
        start = end + 1;
    }
}

/// Writes the field that begins at `start`, with its first quote at `at`, to `out`; where it ends.
fn unquote(
    bytes: &[u8],
    start: usize,
    mut at: usize,
    delimiter: u8,
    quoting: Quoting,
    out: &mut Vec<u8>,
) -> Result<usize> {
    let Quoting { quote, escape } = quoting;
    out.extend_from_slice(&bytes[start..at]);
    loop {
        at = inside_quotes(bytes, at + 1, quote, escape, out)?;
        let next = memchr2_from(delimiter, quote, bytes, at).unwrap_or(bytes.len());
        out.extend_from_slice(&bytes[at..next]);
        at = next;
        if bytes.get(at) != Some(&quote) {
            return Ok(at);
        }
    }
}

/// Writes what stands inside quotes from `at` on; the place behind the closing one.
fn inside_quotes(
    bytes: &[u8],
    mut at: usize,
    quote: u8,
    escape: u8,
    out: &mut Vec<u8>,
) -> Result<usize> {
    loop {
        let rest = &bytes[at..];
        let found = match quote == escape {
            true => memchr(quote, rest),
            false => memchr2(quote, escape, rest),
        };
        let Some(found) = found else {
            return Err(bad_file("unterminated CSV quoted field"));
        };
        out.extend_from_slice(&rest[..found]);
        at += found;
        match bytes.get(at + 1) {
            Some(next) if bytes[at] == escape && (*next == quote || *next == escape) => {
                out.push(*next);
                at += 2;
            }
            _ if bytes[at] == quote => return Ok(at + 1),
            _ => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn text(record: &str) -> Result<Vec<Option<String>>> {
        let mut fields = Vec::new();
        text_fields(record, b'\t', "\\N", &mut Vec::new(), |at, field| {
            assert_eq!(at, fields.len());
            fields.push((!field.is_null).then(|| field.text.to_string()));
            Ok(())
        })?;
        Ok(fields)
    }

    fn csv(record: &str, escape: u8) -> Result<Vec<Option<String>>> {
        let quote = b'"';
        let quoting = Quoting { quote, escape };
        let mut fields = Vec::new();
        csv_fields(record, b',', quoting, "", &mut Vec::new(), |_, field| {
            fields.push((!field.is_null).then(|| field.text.to_string()));
            Ok(())
        })?;
        Ok(fields)
    }

    fn some(texts: &[&str]) -> Vec<Option<String>> {
        texts.iter().map(|t| Some(t.to_string())).collect()
    }

    #[test]
    fn backslashes_of_text() {
        let record = "a\\tb\t\\101\\x42\\b\\z\t\\\\N\t\\N\tlonger than sixteen bytes\\\tx\t";
        let mut expected = some(&[
            "a\tb",
            "AB\u{8}z",
            "\\N",
            "",
            "longer than sixteen bytes\tx",
            "",
        ]);
        expected[3] = None;
        assert_eq!(text(record).unwrap(), expected);
        assert_eq!(text("").unwrap(), some(&[""]));
        assert_eq!(text("a\\").unwrap(), some(&["a"]));
        assert_eq!(text("\\xg\\x").unwrap(), some(&["xgx"]));
        assert_eq!(text("\\303\\244").unwrap(), some(&["ä"]));
        assert_eq!(text("\\xff").unwrap_err().sqlstate(), "22021");
        assert_eq!(text("a\\0b").unwrap_err().sqlstate(), "22021");
    }

    #[test]
    fn quotes_of_csv() {
        let mut expected = some(&["a\"b", "", "xy,zw", "plain", ""]);
        expected[4] = None;
        let record = "\"a\"\"b\",\"\",x\"y,z\"w,plain,";
        assert_eq!(csv(record, b'"').unwrap(), expected);
        assert_eq!(
            csv("\"a\\\"b\\\\\",\"\\c\"", b'\\').unwrap(),
            some(&["a\"b\\", "\\c"])
        );
        let error = csv("a,\"b", b'"').unwrap_err();
        assert_eq!(error.sqlstate(), "22P04");
    }
}
