//! `TABLE t` where a query begins, as the parser reads it: `SELECT * FROM t`.
//!
//! The parser takes the token behind the name for a part of it.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use super::is_blank;
use super::quantifiers::{is, last_word, with_span};

/// The tokens with each such query spelled out.
pub(super) fn mend(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let is_table = |token: &TokenWithSpan| matches!(&token.token, Token::Word(word) if is(word, Keyword::TABLE));
    if !tokens.iter().any(is_table) {
        return tokens;
    }
    let mut mended = Vec::with_capacity(tokens.len() + 2);
    for (at, token) in tokens.iter().enumerate() {
        let mut behind = tokens[at + 1..].iter().filter(|t| !is_blank(&t.token));
        let is_named = matches!(behind.next(), Some(next) if matches!(next.token, Token::Word(_)));
        if is_table(token) && is_named && begins_query(&mended) {
            let words = [
                Token::make_keyword("SELECT"),
                Token::Mul,
                Token::make_keyword("FROM"),
            ];
            mended.extend(words.map(|word| with_span(word, token.span)));
        } else {
            mended.push(token.clone());
        }
    }
    mended
}

/// Whether a query begins behind the tokens: within a bracket, behind that of WITH, behind a set operation or what INSERT
/// names.
fn begins_query(tokens: &[TokenWithSpan]) -> bool {
    let Some(at) = last_word(tokens, tokens.len()) else {
        return false;
    };
    let is_operation = |word: &Word| {
        let operations = [Keyword::UNION, Keyword::EXCEPT, Keyword::INTERSECT];
        operations.into_iter().any(|operation| is(word, operation))
    };
    match &tokens[at].token {
        Token::LParen => true,
        Token::RParen => begins_with(tokens, Keyword::WITH) || begins_with(tokens, Keyword::INSERT),
        Token::Word(word) if is(word, Keyword::ALL) || is(word, Keyword::DISTINCT) => {
            let before = last_word(tokens, at).map(|at| &tokens[at].token);
            matches!(before, Some(Token::Word(word)) if is_operation(word))
        }
        Token::Word(word) if is(word, Keyword::INTO) => false,
        Token::Word(word) => is_operation(word) || begins_with(tokens, Keyword::INSERT),
        _ => false,
    }
}

/// Whether the statement begins with the word.
fn begins_with(tokens: &[TokenWithSpan], keyword: Keyword) -> bool {
    let first = tokens.iter().find(|t| !is_blank(&t.token));
    matches!(first.map(|t| &t.token), Some(Token::Word(word)) if is(word, keyword))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tokenize;

    #[test]
    fn a_table_is_a_query_where_one_begins() {
        for (text, expected) in [
            ("(TABLE k) LIMIT 1", "(SELECT*FROM k) LIMIT 1"),
            ("a UNION ALL TABLE s.k", "a UNION ALL SELECT*FROM s.k"),
            ("WITH w AS (a) TABLE w", "WITH w AS (a) SELECT*FROM w"),
            ("EXISTS (table \"K\")", "EXISTS (SELECT*FROM \"K\")"),
            (
                "INSERT INTO t (a) TABLE k",
                "INSERT INTO t (a) SELECT*FROM k",
            ),
            ("INSERT INTO t TABLE k", "INSERT INTO t SELECT*FROM k"),
            ("CREATE TABLE k", "CREATE TABLE k"),
            ("EXPLAIN (a) TABLE k", "EXPLAIN (a) TABLE k"),
            ("GRANT ALL ON TABLE k", "GRANT ALL ON TABLE k"),
            ("SELECT (\"table\" + 1)", "SELECT (\"table\" + 1)"),
        ] {
            let tokens = tokenize(text).unwrap();
            let written: String = tokens.iter().map(|t| t.token.to_string()).collect();
            assert_eq!(written, expected, "{text}");
        }
    }
}
