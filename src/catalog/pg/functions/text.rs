//! Functions of texts that DataFusion does not have.

use datafusion::common::Result;

use super::{Call, Definition, Gives, Value};
use crate::error::{Error, sqlstate};

pub(super) const FUNCTIONS: &[Definition] = &[
    Definition::new("like_escape", 2..=2, Gives::Text, like_escape),
    Definition::new("parse_ident", 1..=2, Gives::Names, parse_ident),
];

/// A pattern of LIKE whose escape is the second argument, as one whose escape is the backslash.
fn like_escape(call: &Call<'_>) -> Result<Value> {
    let (pattern, escape) = (
        call.text(0).unwrap_or_default(),
        call.text(1).unwrap_or_default(),
    );
    let mut escape = escape.chars();
    let own = match (escape.next(), escape.next()) {
        (_, Some(_)) => {
            let message = "invalid escape string";
            let hint = "Escape string must be empty or one character.";
            let error = Error::invalid(sqlstate::INVALID_ESCAPE_SEQUENCE, message);
            return Err(error.with_hint(hint).into());
        }
        (own, None) => own,
    };
    let mut mended = String::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(c) = characters.next() {
        match c {
            c if Some(c) == own => {
                mended.push('\\');
                mended.extend(characters.next());
            }
            '\\' => mended.push_str("\\\\"),
            c => mended.push(c),
        }
    }
    Ok(mended.into())
}

/// The parts of a qualified name, folded as SQL folds names; what is behind them is left out if the second argument is
/// false.
fn parse_ident(call: &Call<'_>) -> Result<Value> {
    let text = call.text(0).unwrap_or_default();
    let strict = call.bool(1).unwrap_or(true);
    match parts_of(&text, strict) {
        Some(parts) => Ok(parts.into()),
        None => {
            let message = format!("string is not a valid identifier: \"{text}\"");
            Err(Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message).into())
        }
    }
}

fn parts_of(text: &str, strict: bool) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = text.trim_start();
    loop {
        let (part, behind) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_part(quoted)?,
            None => {
                let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
                let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
                (rest[..end].to_lowercase(), &rest[end..])
            }
        };
        if part.is_empty() || part.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        parts.push(part);
        rest = behind.trim_start();
        match rest.strip_prefix('.') {
            Some(next) => rest = next.trim_start(),
            None => return (rest.is_empty() || !strict).then_some(parts),
        }
    }
}

/// The name up to its closing quote, and what is behind.
fn quoted_part(text: &str) -> Option<(String, &str)> {
    let mut part = String::new();
    let mut rest = text;
    loop {
        let (before, behind) = rest.split_once('"')?;
        part.push_str(before);
        match behind.strip_prefix('"') {
            Some(more) => {
                part.push('"');
                rest = more;
            }
            None => return Some((part, behind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_into_their_parts() {
        let parts = |text: &str, strict| parts_of(text, strict).map(|p| p.join("|"));
        assert_eq!(parts("Public.games", true).as_deref(), Some("public|games"));
        assert_eq!(parts(" a . \"B \"\"c\" ", true).as_deref(), Some("a|B \"c"));
        assert_eq!(parts("f(int)", false).as_deref(), Some("f"));
        for wrong in ["", "f(int)", "a.", "\"open", "1a"] {
            assert_eq!(parts(wrong, true), None, "{wrong}");
        }
    }
}
