//! `a OPERATOR(pg_catalog.=) ANY (..)`: sqlparser takes only bare operators before ANY, ALL and SOME.
//!
//! Those of `pg_catalog` are written bare there, which binds alike: nothing binds less than what ANY stands behind.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::super::tokens::{is_blank, is_word};

/// Takes the brackets and the schema from operators before ANY, ALL and SOME.
pub(super) fn mend_tokens(tokens: &mut Vec<TokenWithSpan>) {
    let mut from = 0;
    while let Some(at) = find_word(tokens, from) {
        from = at + 1;
        if let Some((operator, behind)) = before_quantifier(tokens, at) {
            let operator = tokens[operator].clone();
            tokens.splice(at..behind, [operator]);
        }
    }
}

fn find_word(tokens: &[TokenWithSpan], from: usize) -> Option<usize> {
    (from..tokens.len()).find(|at| is_word(&tokens[*at].token, Keyword::OPERATOR))
}

/// Where the operator stands, and what is behind the brackets, if a quantifier follows.
fn before_quantifier(tokens: &[TokenWithSpan], at: usize) -> Option<(usize, usize)> {
    let mut solid = (at + 1..tokens.len()).filter(|at| !is_blank(&tokens[*at].token));
    let mut next = || solid.next().map(|at| (at, &tokens[at].token));
    let opens = matches!(next()?.1, Token::LParen);
    let is_ours = matches!(next()?.1, Token::Word(schema) if schema.value == "pg_catalog");
    let has_point = matches!(next()?.1, Token::Period);
    let (operator, _) = next()?;
    let (end, bracket) = next()?;
    let closes = matches!(bracket, Token::RParen);
    let (_, quantifier) = next()?;
    let is_quantified = [Keyword::ANY, Keyword::ALL, Keyword::SOME]
        .into_iter()
        .any(|word| is_word(quantifier, word));
    (opens && is_ours && has_point && closes && is_quantified).then_some((operator, end + 1))
}
