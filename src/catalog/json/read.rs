//! Texts of JSON, read as PostgreSQL reads them: whole, or as the parts that they are written of.

use super::value::{Map, Value};
use crate::error::{Error, Result, sqlstate};

/// How deep values may nest.
const DEPTH_MAX: usize = 256;
/// How many zeros an exponent may stand for: the digits of a NUMERIC.
const EXPONENT_MAX: i64 = 131_072;

/// Reads a text.
///
/// # Errors
/// 22P02 for one that is no JSON, 22P05 for the character 0, 22003 for a number that is too great, 54001 for a value that
/// nests too deeply.
pub fn read(text: &str) -> Result<Value> {
    let mut reader = Reader::new(text);
    let value = reader.value()?;
    reader.end()?;
    Ok(value)
}

/// The members of an object as they are written, or `None` for another value.
///
/// # Errors
/// As [`read`].
pub fn members(text: &str) -> Result<Option<Vec<(String, &str)>>> {
    let mut reader = Reader::new(text);
    if reader.peek() != Some(b'{') {
        return Ok(None);
    }
    let mut members = Vec::new();
    reader.object(|reader, key| {
        members.push((key, reader.skipped()?));
        Ok(())
    })?;
    reader.end()?;
    Ok(Some(members))
}

/// The items of an array as they are written, or `None` for another value.
///
/// # Errors
/// As [`read`].
pub fn items(text: &str) -> Result<Option<Vec<&str>>> {
    let mut reader = Reader::new(text);
    if reader.peek() != Some(b'[') {
        return Ok(None);
    }
    let mut items = Vec::new();
    reader.array(|reader| {
        items.push(reader.skipped()?);
        Ok(())
    })?;
    reader.end()?;
    Ok(Some(items))
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

fn invalid(detail: String) -> Error {
    let message = "invalid input syntax for type json";
    Error::invalid(sqlstate::INVALID_TEXT_REPRESENTATION, message).with_detail(detail)
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        let (at, depth) = (0, 0);
        Self { text, at, depth }
    }

    /// The next character, behind blanks.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    /// Goes past the character if it is the next.
    fn takes(&mut self, wanted: u8) -> bool {
        let is_next = self.peek() == Some(wanted);
        self.at += usize::from(is_next);
        is_next
    }

    /// That something else stands where `wanted` should.
    fn expected(&mut self, wanted: &str) -> Error {
        match self.peek() {
            None => invalid("The input string ended unexpectedly.".to_string()),
            Some(_) => invalid(format!(
                "Expected {wanted}, but found \"{}\".",
                self.token()
            )),
        }
    }

    /// What stands next, as errors show it.
    fn token(&self) -> &'a str {
        let rest = &self.text[self.at..];
        let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '+' | '-');
        let word = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let first = rest.chars().next().map_or(0, char::len_utf8);
        &rest[..word.max(first)]
    }

    fn end(&mut self) -> Result<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.expected("end of input")),
        }
    }

    fn value(&mut self) -> Result<Value> {
        match self.peek() {
            Some(b'{') => {
                let mut members = Vec::new();
                self.object(|reader, key| {
                    members.push((key, reader.value()?));
                    Ok(())
                })?;
                Ok(Value::Object(Map::of(members)))
            }
            Some(b'[') => {
                let mut items = Vec::new();
                self.array(|reader| {
                    items.push(reader.value()?);
                    Ok(())
                })?;
                Ok(Value::Array(items))
            }
            Some(b'"') => Ok(Value::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => Ok(Value::Number(numeric(self.number()?)?)),
            Some(c) if c.is_ascii_alphabetic() => self.word(),
            _ => Err(self.expected("JSON value")),
        }
    }

    /// Goes past a value, and answers what it is written like.
    fn skipped(&mut self) -> Result<&'a str> {
        self.peek();
        let start = self.at;
        self.value()?;
        Ok(&self.text[start..self.at])
    }

    fn word(&mut self) -> Result<Value> {
        let word = self.token();
        let value = match word {
            "null" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            other => return Err(invalid(format!("Token \"{other}\" is invalid."))),
        };
        self.at += word.len();
        Ok(value)
    }

    /// Goes into an object, where `each` reads the values.
    fn object(&mut self, mut each: impl FnMut(&mut Self, String) -> Result<()>) -> Result<()> {
        self.enter()?;
        if !self.takes(b'}') {
            loop {
                if self.peek() != Some(b'"') {
                    return Err(self.expected("string"));
                }
                let key = self.string()?;
                if !self.takes(b':') {
                    return Err(self.expected("\":\""));
                }
                each(self, key)?;
                if self.takes(b'}') {
                    break;
                }
                if !self.takes(b',') {
                    return Err(self.expected("\",\" or \"}\""));
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// Goes into an array, where `each` reads the values.
    fn array(&mut self, mut each: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        self.enter()?;
        if !self.takes(b']') {
            loop {
                each(self)?;
                if self.takes(b']') {
                    break;
                }
                if !self.takes(b',') {
                    return Err(self.expected("\",\" or \"]\""));
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// Goes past the bracket that opens a value.
    fn enter(&mut self) -> Result<()> {
        self.at += 1;
        self.depth += 1;
        if self.depth <= DEPTH_MAX {
            return Ok(());
        }
        let error = Error::limit(
            sqlstate::STATEMENT_TOO_COMPLEX,
            "stack depth limit exceeded",
        );
        Err(error.with_detail(format!("JSON nests at most {DEPTH_MAX} values.")))
    }

    /// A text in quotes.
    fn string(&mut self) -> Result<String> {
        self.at += 1;
        let mut string = String::new();
        loop {
            let rest = &self.text[self.at..];
            let is_special = |c: char| c == '"' || c == '\\' || c < ' ';
            let Some(end) = rest.find(is_special) else {
                self.at = self.text.len();
                return Err(invalid("The input string ended unexpectedly.".to_string()));
            };
            string.push_str(&rest[..end]);
            self.at += end + 1;
            match rest.as_bytes()[end] {
                b'"' => return Ok(string),
                b'\\' => string.push(self.escaped()?),
                control => {
                    let detail = format!("Character with value 0x{control:02x} must be escaped.");
                    return Err(invalid(detail));
                }
            }
        }
    }

    /// The character of an escape, behind its backslash.
    fn escaped(&mut self) -> Result<char> {
        let Some(c) = self.text[self.at..].chars().next() else {
            return Err(invalid("The input string ended unexpectedly.".to_string()));
        };
        self.at += c.len_utf8();
        Ok(match c {
            '"' | '\\' | '/' => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => return self.unicode(),
            other => {
                let detail = format!("Escape sequence \"\\{other}\" is invalid.");
                return Err(invalid(detail));
            }
        })
    }

    /// The character of `\u0041`, or of two such escapes that are the halves of one.
    fn unicode(&mut self) -> Result<char> {
        let first = self.hexadecimal()?;
        let code = match first {
            0 => {
                let message = "unsupported Unicode escape sequence";
                let error = Error::invalid(sqlstate::UNTRANSLATABLE_CHARACTER, message);
                return Err(error.with_detail("\\u0000 cannot be converted to text."));
            }
            0xd800..=0xdbff => {
                let detail = "Unicode low surrogate must follow a high surrogate.";
                if !self.text[self.at..].starts_with("\\u") {
                    return Err(invalid(detail.to_string()));
                }
                self.at += 2;
                match self.hexadecimal()? {
                    low @ 0xdc00..=0xdfff => 0x1_0000 + ((first - 0xd800) << 10) + (low - 0xdc00),
                    _ => return Err(invalid(detail.to_string())),
                }
            }
            other => other,
        };
        char::from_u32(code).ok_or_else(|| {
            invalid("Unicode low surrogate must follow a high surrogate.".to_string())
        })
    }

    fn hexadecimal(&mut self) -> Result<u32> {
        let digits = self.text.get(self.at..self.at + 4);
        let is_hexadecimal = |digits: &&str| digits.bytes().all(|b| b.is_ascii_hexdigit());
        let number = digits
            .filter(is_hexadecimal)
            .and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let detail = "\"\\u\" must be followed by four hexadecimal digits.";
        let number = number.ok_or_else(|| invalid(detail.to_string()))?;
        self.at += 4;
        Ok(number)
    }

    /// A number as it is written.
    fn number(&mut self) -> Result<&'a str> {
        let token = self.token();
        if !is_number(token) {
            return Err(invalid(format!("Token \"{token}\" is invalid.")));
        }
        self.at += token.len();
        Ok(token)
    }
}

/// Whether it is a number of JSON's: `-0.5e+7`, but neither `01` nor `1.`.
fn is_number(token: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let unsigned = token.strip_prefix('-').unwrap_or(token);
    let (number, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (number, None),
    };
    let exponent = exponent.map(|e| e.strip_prefix(['+', '-']).unwrap_or(e));
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(digits)
}

/// A number of JSON's as NUMERIC writes it: `1e2` is `100`, `1.10` stays.
///
/// # Errors
/// 22003 when it has more digits than a NUMERIC.
fn numeric(number: &str) -> Result<String> {
    let (sign, unsigned) = match number.strip_prefix('-') {
        Some(unsigned) => ("-", unsigned),
        None => ("", number),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse().unwrap_or(i64::MAX)),
        None => (unsigned, 0_i64),
    };
    if exponent.unsigned_abs() > EXPONENT_MAX as u64 {
        let message = "value overflows numeric format";
        return Err(Error::invalid(
            sqlstate::NUMERIC_VALUE_OUT_OF_RANGE,
            message,
        ));
    }
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let point = whole.len() as i64 + exponent;
    let (whole, fraction) = match usize::try_from(point) {
        Ok(point) if point >= digits.len() => (
            format!("{digits}{}", "0".repeat(point - digits.len())),
            String::new(),
        ),
        Ok(point) if point > 0 => (digits[..point].to_string(), digits[point..].to_string()),
        _ => {
            let zeros = "0".repeat(usize::try_from(-point).unwrap_or_default());
            ("0".to_string(), format!("{zeros}{digits}"))
        }
    };
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    let is_zero = whole == "0" && fraction.bytes().all(|b| b == b'0');
    let sign = if is_zero { "" } else { sign };
    Ok(match fraction.is_empty() {
        true => format!("{sign}{whole}"),
        false => format!("{sign}{whole}.{fraction}"),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::value::write;
    use super::*;

    #[test]
    fn numbers_keep_their_digits() {
        for (text, expected) in [
            ("1.10", "1.10"),
            ("1e2", "100"),
            ("-0", "0"),
            ("-0.00", "0.00"),
            ("1E-3", "0.001"),
            ("12.5e1", "125"),
            ("12.5e-3", "0.0125"),
            ("0e5", "0"),
            ("-12345678901234567890123", "-12345678901234567890123"),
        ] {
            assert_eq!(write(&read(text).unwrap()), expected, "{text}");
        }
        assert_eq!(read("1e400000").unwrap_err().sqlstate(), "22003");
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for (text, code) in [
            ("", "22P02"),
            ("{a}", "22P02"),
            ("{\"a\" 1}", "22P02"),
            ("{\"a\": 1,}", "22P02"),
            ("[1 2]", "22P02"),
            ("[1,]", "22P02"),
            ("01", "22P02"),
            ("1.", "22P02"),
            ("+1", "22P02"),
            ("nul", "22P02"),
            ("1 2", "22P02"),
            ("\"a", "22P02"),
            ("\"a\n\"", "22P02"),
            ("\"\\x\"", "22P02"),
            ("\"\\u12\"", "22P02"),
            ("\"\\ud800\"", "22P02"),
            ("\"\\udc00\"", "22P02"),
            ("\"\\u0000\"", "22P05"),
        ] {
            assert_eq!(read(text).unwrap_err().sqlstate(), code, "{text}");
        }
        let deep = "[".repeat(DEPTH_MAX + 1);
        assert_eq!(read(&deep).unwrap_err().sqlstate(), "54001");
    }

    #[test]
    fn texts_are_unescaped() {
        let text = r#""\u0041\n\u00e9\/\ud83d\ude00 ä""#;
        assert_eq!(read(text).unwrap(), Value::String("A\né/😀 ä".to_string()));
    }

    #[test]
    fn parts_are_as_they_are_written() {
        let found = members(r#" {"b": 1.0,  "a" : [1,  2], "b":{ } } "#)
            .unwrap()
            .unwrap();
        let expected = [("b", "1.0"), ("a", "[1,  2]"), ("b", "{ }")];
        assert_eq!(found, expected.map(|(key, value)| (key.to_string(), value)));
        assert_eq!(items("[1e2, \"x\" ]").unwrap().unwrap(), ["1e2", "\"x\""]);
        assert_eq!(items("{}").unwrap(), None);
        assert_eq!(members("[]").unwrap(), None);
        assert!(members("{} x").is_err());
    }
}
