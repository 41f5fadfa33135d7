//! `ON CONFLICT (lower(name)) WHERE active`: what the rows of a unique index are told apart by, which sqlparser reads as
//! names alone.
//!
//! An expression becomes a name that begins with [`EXPRESSION`], and the condition behind the list one more name of it,
//! which begins with [`PREDICATE`].

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::super::tokens::{is_blank, is_word};

/// What the name of an expression begins with.
pub(in crate::sql) const EXPRESSION: &str = "expression ";
/// What the name of a condition begins with.
pub(in crate::sql) const PREDICATE: &str = "predicate ";

/// Makes names of the expressions and conditions behind ON CONFLICT.
pub(super) fn mend_tokens(tokens: &mut Vec<TokenWithSpan>) {
    let mut from = 0;
    while let Some(list) = next_list(tokens, from) {
        let end = behind_list(tokens, list);
        let target = Target::read(&tokens[list..end]);
        let condition = condition(tokens, end);
        from = end;
        if target.is_plain && condition.is_none() {
            continue;
        }
        let (behind, predicate) = condition.unwrap_or((end, String::new()));
        let mut names = target.names;
        if !predicate.is_empty() {
            names.push(name(PREDICATE, &predicate));
        }
        let span = tokens[list].span;
        let mut mended = vec![Token::LParen];
        for (place, name) in names.into_iter().enumerate() {
            if place > 0 {
                mended.push(Token::Comma);
            }
            mended.push(name);
        }
        mended.push(Token::RParen);
        mended.push(Token::Whitespace(
            datafusion::sql::sqlparser::tokenizer::Whitespace::Space,
        ));
        from = list + mended.len();
        let mended = mended
            .into_iter()
            .map(|token| TokenWithSpan { token, span });
        tokens.splice(list..behind, mended);
    }
}

fn name(kind: &str, text: &str) -> Token {
    Token::make_word(&format!("{kind}{text}"), Some('"'))
}

/// Where the next list of names behind ON CONFLICT begins.
fn next_list(tokens: &[TokenWithSpan], from: usize) -> Option<usize> {
    let on = (from..tokens.len()).filter(|at| is_word(&tokens[*at].token, Keyword::CONFLICT));
    let mut behind = on.filter_map(|at| next(tokens, at + 1));
    behind.find(|at| tokens[*at].token == Token::LParen)
}

/// The next token that is no blank.
fn next(tokens: &[TokenWithSpan], from: usize) -> Option<usize> {
    (from..tokens.len()).find(|at| !is_blank(&tokens[*at].token))
}

/// What stands behind the bracket that closes the one at `list`.
fn behind_list(tokens: &[TokenWithSpan], list: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(list) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

/// The condition behind a list, up to DO, and where that is.
fn condition(tokens: &[TokenWithSpan], from: usize) -> Option<(usize, String)> {
    let at = next(tokens, from)?;
    if !is_word(&tokens[at].token, Keyword::WHERE) {
        return None;
    }
    let behind = (at..tokens.len()).find(|at| is_word(&tokens[*at].token, Keyword::DO))?;
    Some((behind, text(&tokens[at + 1..behind])))
}

fn text(tokens: &[TokenWithSpan]) -> String {
    let text: String = tokens.iter().map(|t| t.token.to_string()).collect();
    text.trim().to_string()
}

/// What is in a list.
struct Target {
    names: Vec<Token>,
    is_plain: bool,
}

impl Target {
    /// The list with its brackets.
    fn read(list: &[TokenWithSpan]) -> Self {
        let inner = &list[1..list.len().saturating_sub(1).max(1)];
        let mut depth = 0;
        let elements = inner.split(|token| {
            match token.token {
                Token::LParen => depth += 1,
                Token::RParen => depth -= 1,
                _ => {}
            }
            depth == 0 && token.token == Token::Comma
        });
        let mut target = Self {
            names: Vec::new(),
            is_plain: true,
        };
        for element in elements {
            let mut solid = element.iter().filter(|t| !is_blank(&t.token));
            let (first, second) = (solid.next(), solid.next());
            match (first.map(|t| &t.token), second.map(|t| &t.token)) {
                (Some(column @ Token::Word(_)), None) => target.names.push(column.clone()),
                // A column with the class or collation that its index has.
                (Some(column @ Token::Word(_)), Some(Token::Word(_))) => {
                    target.is_plain = false;
                    target.names.push(column.clone());
                }
                _ => {
                    target.is_plain = false;
                    target.names.push(name(EXPRESSION, &text(element)));
                }
            }
        }
        target
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::super::tokens::tokenize;
    use super::*;

    #[test]
    fn expressions_and_conditions_are_names() {
        for (text, expected) in [
            (
                "ON CONFLICT (a, b) DO NOTHING",
                "ON CONFLICT (a, b) DO NOTHING",
            ),
            (
                "ON CONFLICT (lower(a), b text_ops) DO NOTHING",
                "ON CONFLICT (\"expression lower(a)\",b)  DO NOTHING",
            ),
            (
                "ON CONFLICT (a) WHERE b IS NULL DO UPDATE SET x = 1 WHERE t.y",
                "ON CONFLICT (a,\"predicate b IS NULL\") DO UPDATE SET x = 1 WHERE t.y",
            ),
            (
                "ON CONFLICT ON CONSTRAINT c DO NOTHING",
                "ON CONFLICT ON CONSTRAINT c DO NOTHING",
            ),
        ] {
            let mut tokens = tokenize(text).unwrap();
            mend_tokens(&mut tokens);
            let mended: String = tokens.iter().map(|t| t.token.to_string()).collect();
            assert_eq!(mended, expected, "{text}");
        }
    }
}
