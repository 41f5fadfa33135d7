//! SQL without its passwords.

use std::borrow::Cow;

use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use memchr::memchr2_iter;

use crate::sql::tokens::{DIALECT, LineIndex, is_blank};

/// What stands for a secret.
const HIDDEN: &str = "'***'";
/// How a stored verifier begins; whoever has one can try passwords offline.
const VERIFIER: &str = "SCRAM-SHA-256$";

/// The text with `'***'` for every password and verifier in it: for logs, errors and tables of statements.
///
/// A text that does not become tokens loses everything behind the word PASSWORD.
pub fn redact(sql: &str) -> Cow<'_, str> {
    if find_word(sql, "password").is_none() && find_word(sql, VERIFIER).is_none() {
        return Cow::Borrowed(sql);
    }
    let Ok(tokens) = Tokenizer::new(&DIALECT, sql).tokenize_with_location() else {
        let words = [find_word(sql, "password"), find_word(sql, VERIFIER)];
        let from = words.into_iter().flatten().min().unwrap_or(0);
        return Cow::Owned(format!("{}{HIDDEN}", &sql[..from]));
    };
    let index = LineIndex::new(sql);
    let mut kept = String::with_capacity(sql.len());
    let mut from = 0;
    let mut follows_password = false;
    for token in tokens.iter().filter(|t| !is_blank(&t.token)) {
        let text = literal(&token.token);
        if text.is_some_and(|text| follows_password || find_word(text, VERIFIER).is_some()) {
            kept.push_str(&sql[from..index.offset(token.span.start)]);
            kept.push_str(HIDDEN);
            from = index.offset(token.span.end);
        }
        follows_password = is_password(&token.token) || follows_password && is_glue(&token.token);
    }
    kept.push_str(&sql[from..]);
    Cow::Owned(kept)
}

/// Where the word begins, in upper or lower case.
fn find_word(text: &str, word: &str) -> Option<usize> {
    let (text, word) = (text.as_bytes(), word.as_bytes());
    let first = *word.first()?;
    let (lower, upper) = (first.to_ascii_lowercase(), first.to_ascii_uppercase());
    memchr2_iter(lower, upper, text).find(|at| {
        let there = text[*at..].get(..word.len());
        there.is_some_and(|there| there.eq_ignore_ascii_case(word))
    })
}

fn is_password(token: &Token) -> bool {
    matches!(token, Token::Word(word) if word.value.eq_ignore_ascii_case("password"))
}

/// What may stand between PASSWORD and its text in a statement with a mistake.
fn is_glue(token: &Token) -> bool {
    match token {
        Token::Eq | Token::LParen | Token::Assignment => true,
        Token::Word(word) => {
            let value = word.value.to_ascii_lowercase();
            matches!(value.as_str(), "to" | "as" | "is" | "e" | "u" | "with")
        }
        _ => false,
    }
}

/// The text of a token that can hold a secret; a quoted name after PASSWORD is one in the wrong quotes.
fn literal(token: &Token) -> Option<&str> {
    match token {
        Token::SingleQuotedString(text)
        | Token::EscapedStringLiteral(text)
        | Token::UnicodeStringLiteral(text)
        | Token::NationalStringLiteral(text)
        | Token::HexStringLiteral(text)
        | Token::DoubleQuotedString(text) => Some(text),
        Token::DollarQuotedString(text) => Some(&text.value),
        Token::Word(word) if word.quote_style.is_some() => Some(&word.value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_do_not_show() {
        for (sql, expected) in [
            (
                "CREATE USER ann PASSWORD 'secret'",
                "CREATE USER ann PASSWORD '***'",
            ),
            (
                "ALTER ROLE ann WITH LOGIN ENCRYPTED password'secret' VALID UNTIL '2030-01-01'",
                "ALTER ROLE ann WITH LOGIN ENCRYPTED password'***' VALID UNTIL '2030-01-01'",
            ),
            (
                "alter user ann PassWord\n  -- 'not this'\n E'sec\\'ret';SELECT 'kept'",
                "alter user ann PassWord\n  -- 'not this'\n '***';SELECT 'kept'",
            ),
            (
                "ALTER ROLE ann PASSWORD $$secret$$",
                "ALTER ROLE ann PASSWORD '***'",
            ),
            (
                "ALTER ROLE ann PASSWORD $x$secret$x$ LOGIN",
                "ALTER ROLE ann PASSWORD '***' LOGIN",
            ),
            (
                "ALTER ROLE ann PASSWORD \"secret\"",
                "ALTER ROLE ann PASSWORD '***'",
            ),
            (
                "ALTER ROLE ann PASSWORD = 'secret'",
                "ALTER ROLE ann PASSWORD = '***'",
            ),
            (
                "ALTER ROLE ann SET PASSWORD TO 'secret'",
                "ALTER ROLE ann SET PASSWORD TO '***'",
            ),
            (
                "CREATE ROLE a PASSWORD 'é'; CREATE ROLE b PASSWORD 'secret'",
                "CREATE ROLE a PASSWORD '***'; CREATE ROLE b PASSWORD '***'",
            ),
            ("CREATE ROLE a PASSWORD 'secret", "CREATE ROLE a '***'"),
            (
                "EXPLAIN ANALYZE CREATE ROLE a PASSWORD U&'secret'",
                "EXPLAIN ANALYZE CREATE ROLE a PASSWORD '***'",
            ),
            ("SELECT 'SCRAM-SHA-256$4096:x$y:secret'", "SELECT '***'"),
        ] {
            assert_eq!(redact(sql), expected);
        }
    }

    #[test]
    fn other_text_stays_as_it_is() {
        for sql in [
            "",
            "SELECT 'secret'",
            "SELECT password, 'text' FROM login WHERE name = 'ann'",
            "ALTER ROLE ann PASSWORD NULL",
            "SELECT 'unterminated",
        ] {
            assert_eq!(redact(sql), sql);
        }
        assert!(matches!(redact("SELECT 1"), Cow::Borrowed(_)));
    }
}
