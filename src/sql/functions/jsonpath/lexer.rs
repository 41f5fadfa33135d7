//! Tokens of a path.

use crate::error::{Error, Result, sqlstate};

/// A token of a path.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A key or a keyword, without quotes.
    Word(String),
    /// A text in quotes.
    Text(String),
    /// A number as it is written.
    Number(String),
    /// `$name`
    Variable(String),
    /// An operator or a bracket.
    Sign(&'static str),
}

/// Longer ones before those that they begin with.
const SIGNS: [&str; 28] = [
    "&&", "||", "==", "!=", "<>", "<=", ">=", "**", "$", "@", "?", ".", ",", "(", ")", "[", "]",
    "{", "}", "+", "-", "*", "/", "%", "!", "=", "<", ">",
];

/// Characters that end a word.
const SPECIAL: &str = "?%$.[]{}()|&!=<>@#,*:-+/\\\" \t\n\r\u{c}";

/// 42601.
pub(super) fn syntax(message: impl Into<String>) -> Error {
    Error::invalid(sqlstate::SYNTAX_ERROR, message)
}

pub(super) fn at_or_near(token: &str) -> Error {
    syntax(format!(
        "syntax error at or near \"{token}\" of jsonpath input"
    ))
}

pub(super) fn at_end() -> Error {
    syntax("syntax error at end of jsonpath input")
}

/// The tokens of a path.
///
/// # Errors
/// 42601 for a text that has others.
pub(super) fn tokens(path: &str) -> Result<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = path;
    while let Some(first) = rest.chars().next() {
        if first.is_ascii_whitespace() {
            rest = &rest[1..];
            continue;
        }
        if let Some(comment) = rest.strip_prefix("/*") {
            let end = comment.find("*/");
            let end = end.ok_or_else(|| syntax("unterminated comment in jsonpath input"))?;
            rest = &comment[end + 2..];
            continue;
        }
        let next = rest[first.len_utf8()..].chars().next();
        let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
        let is_word = |c: Option<char>| c.is_some_and(|c| !SPECIAL.contains(c) || c == '\\');
        let token;
        (token, rest) = match first {
            '"' => quoted(&rest[1..]).map(|(text, rest)| (Token::Text(text), rest))?,
            '$' if next == Some('"') => {
                let (name, rest) = quoted(&rest[2..])?;
                (Token::Variable(name), rest)
            }
            '$' if is_word(next) => {
                let (name, rest) = word(&rest[1..])?;
                (Token::Variable(name), rest)
            }
            '0'..='9' => number(rest)?,
            '.' if is_digit(next) && !matches!(tokens.last(), Some(token) if ends_value(token)) => {
                number(rest)?
            }
            _ => match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
                Some(sign) => (Token::Sign(sign), &rest[sign.len()..]),
                None if is_word(Some(first)) => {
                    let (word, rest) = word(rest)?;
                    (Token::Word(word), rest)
                }
                None => return Err(at_or_near(&first.to_string())),
            },
        };
        tokens.push(token);
    }
    Ok(tokens)
}

/// Whether a point behind the token is that of an accessor.
fn ends_value(token: &Token) -> bool {
    !matches!(token, Token::Sign(sign) if !matches!(*sign, ")" | "]" | "$" | "@" | "*" | "}"))
}

/// `1`, `1.5`, `.5`, `1.`, `1e3`; what follows.
fn number(text: &str) -> Result<(Token, &str)> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let whole = digits(text);
    let mut end = whole;
    if text[end..].starts_with('.') {
        end += 1 + digits(&text[end + 1..]);
    }
    if text[end..].starts_with(['e', 'E']) {
        let sign = usize::from(text[end + 1..].starts_with(['+', '-']));
        let exponent = digits(&text[end + 1 + sign..]);
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    let (number, rest) = text.split_at(end);
    let next = rest.chars().next();
    let is_junk =
        next.is_some_and(|c| !SPECIAL.contains(c)) || (whole > 1 && text.starts_with('0'));
    if is_junk {
        let next = next.map(String::from).unwrap_or_default();
        let message = "trailing junk after numeric literal at or near";
        return Err(syntax(format!(
            "{message} \"{number}{next}\" of jsonpath input"
        )));
    }
    Ok((Token::Number(number.to_string()), rest))
}

/// A word, which ends before the first special character; what follows.
fn word(text: &str) -> Result<(String, &str)> {
    let mut word = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        match c {
            '\\' => rest = escaped(&rest[1..], &mut word)?,
            c if SPECIAL.contains(c) => break,
            c => {
                word.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    Ok((word, rest))
}

/// The text up to the next quote; what follows.
fn quoted(text: &str) -> Result<(String, &str)> {
    let mut quoted = String::new();
    let mut rest = text;
    loop {
        match rest.chars().next() {
            None => {
                return Err(syntax(
                    "unterminated quoted string at end of jsonpath input",
                ));
            }
            Some('"') => return Ok((quoted, &rest[1..])),
            Some('\\') => rest = escaped(&rest[1..], &mut quoted)?,
            Some(c) => {
                quoted.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
}

/// Puts the character that stands behind a backslash; what follows.
fn escaped<'a>(text: &'a str, out: &mut String) -> Result<&'a str> {
    let bad = || syntax("invalid escape sequence of jsonpath input");
    let c = text.chars().next().ok_or_else(at_end)?;
    let rest = &text[c.len_utf8()..];
    let plain = match c {
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        'x' => {
            let (code, rest) = hexadecimal(rest, 2).ok_or_else(bad)?;
            out.push(character(code)?);
            return Ok(rest);
        }
        'u' => return unicode(rest, out),
        c => c,
    };
    out.push(plain);
    Ok(rest)
}

fn character(code: u32) -> Result<char> {
    match char::from_u32(code) {
        Some('\0') | None => {
            let message = "unsupported Unicode escape sequence";
            Err(Error::invalid(sqlstate::UNTRANSLATABLE_CHARACTER, message))
        }
        Some(c) => Ok(c),
    }
}

/// `u0061`, `u{61}`, and two of the former for a character of two halves.
fn unicode<'a>(text: &'a str, out: &mut String) -> Result<&'a str> {
    let bad = || syntax("invalid Unicode escape sequence of jsonpath input");
    if let Some(braced) = text.strip_prefix('{') {
        let end = braced
            .find('}')
            .filter(|end| (1..=6).contains(end))
            .ok_or_else(bad)?;
        let (code, _) = hexadecimal(braced, end).ok_or_else(bad)?;
        out.push(character(code)?);
        return Ok(&braced[end + 1..]);
    }
    let (code, rest) = hexadecimal(text, 4).ok_or_else(bad)?;
    if !(0xD800..0xDC00).contains(&code) {
        out.push(character(code)?);
        return Ok(rest);
    }
    let low = rest
        .strip_prefix("\\u")
        .and_then(|rest| hexadecimal(rest, 4));
    let (low, rest) = low
        .filter(|(low, _)| (0xDC00..0xE000).contains(low))
        .ok_or_else(bad)?;
    out.push(character(
        0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00),
    )?);
    Ok(rest)
}

fn hexadecimal(text: &str, digits: usize) -> Option<(u32, &str)> {
    let code = text.get(..digits)?;
    let all = code.bytes().all(|b| b.is_ascii_hexdigit());
    let code = u32::from_str_radix(code, 16).ok().filter(|_| all)?;
    Some((code, &text[digits..]))
}
