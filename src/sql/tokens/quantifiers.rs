//! What stands around ANY, SOME and ALL, as the parser reads it.
//!
//! - `x [NOT] [I]LIKE ANY (..)` is written with the operator of that name: `~~`, `~~*`, `!~~` or `!~~*`.
//! - `x OPERATOR(pg_catalog.=) ANY (..)` is `x = ANY (..)`.
//! - `ANY (VALUES ..)` is `ANY (SELECT * FROM (VALUES ..))`.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan, Word};

use super::is_blank;

/// The tokens with all of it spelled out.
pub(super) fn mend(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    if !tokens.iter().any(|t| is_quantifier(&t.token)) {
        return tokens;
    }
    let mut mended = Vec::with_capacity(tokens.len());
    // The brackets that are open, and which of them a VALUES was put into.
    let mut open: Vec<bool> = Vec::new();
    for token in tokens {
        match &token.token {
            word if is_quantifier(word) => {
                unqualify_operator(&mut mended);
                name_operator(&mut mended);
            }
            Token::LParen => open.push(false),
            Token::RParen => {
                let has_values = open.pop() == Some(true);
                mended.extend(has_values.then(|| with_span(Token::RParen, token.span)));
            }
            Token::Word(word) if is(word, Keyword::VALUES) && opens_quantified(&mended) => {
                if let Some(last) = open.last_mut() {
                    *last = true;
                    mended.extend(select_from(token.span));
                }
            }
            _ => {}
        }
        mended.push(token);
    }
    mended
}

pub(super) fn is(word: &Word, keyword: Keyword) -> bool {
    word.keyword == keyword && word.quote_style.is_none()
}

fn is_quantifier(token: &Token) -> bool {
    let Token::Word(word) = token else {
        return false;
    };
    [Keyword::ANY, Keyword::SOME, Keyword::ALL]
        .into_iter()
        .any(|quantifier| is(word, quantifier))
}

/// Puts the operator for a LIKE that the tokens end with.
fn name_operator(tokens: &mut Vec<TokenWithSpan>) {
    let Some(at) = last_word(tokens, tokens.len()) else {
        return;
    };
    let ignores_case = match &tokens[at].token {
        Token::Word(word) if is(word, Keyword::LIKE) => false,
        Token::Word(word) if is(word, Keyword::ILIKE) => true,
        _ => return,
    };
    let not = last_word(tokens, at)
        .filter(|at| matches!(&tokens[*at].token, Token::Word(word) if is(word, Keyword::NOT)));
    let operator = match (not.is_some(), ignores_case) {
        (false, false) => Token::DoubleTilde,
        (false, true) => Token::DoubleTildeAsterisk,
        (true, false) => Token::ExclamationMarkDoubleTilde,
        (true, true) => Token::ExclamationMarkDoubleTildeAsterisk,
    };
    let span = tokens[at].span;
    tokens.truncate(not.unwrap_or(at));
    tokens.push(with_span(operator, span));
}

/// Puts the operator itself for an OPERATOR(..) that the tokens end with.
fn unqualify_operator(tokens: &mut Vec<TokenWithSpan>) {
    let place = |before: usize, is_it: &dyn Fn(&Token) -> bool| {
        last_word(tokens, before).filter(|at| is_it(&tokens[*at].token))
    };
    let Some(close) = place(tokens.len(), &|token| *token == Token::RParen) else {
        return;
    };
    let Some(operator) = place(close, &|token| !matches!(token, Token::Word(_))) else {
        return;
    };
    let qualifier = place(operator, &|token| *token == Token::Period);
    let qualifier = qualifier.and_then(|at| place(at, &|token| matches!(token, Token::Word(_))));
    let open = place(qualifier.unwrap_or(operator), &|token| {
        *token == Token::LParen
    });
    let word = open.and_then(|at| {
        place(
            at,
            &|token| matches!(token, Token::Word(word) if is(word, Keyword::OPERATOR)),
        )
    });
    if let Some(word) = word {
        let operator = tokens[operator].clone();
        tokens.truncate(word);
        tokens.push(operator);
    }
}

/// Where the last token before a place is that is no blank.
pub(super) fn last_word(tokens: &[TokenWithSpan], before: usize) -> Option<usize> {
    tokens[..before].iter().rposition(|t| !is_blank(&t.token))
}

/// Whether the tokens end with the bracket behind an operator and its quantifier; UNION ALL is none.
fn opens_quantified(tokens: &[TokenWithSpan]) -> bool {
    let bracket = last_word(tokens, tokens.len());
    let bracket = bracket.filter(|at| tokens[*at].token == Token::LParen);
    let quantifier = bracket.and_then(|at| last_word(tokens, at));
    let quantifier = quantifier.filter(|at| is_quantifier(&tokens[*at].token));
    let operator = quantifier.and_then(|at| last_word(tokens, at));
    operator.is_some_and(|at| !matches!(tokens[at].token, Token::Word(_)))
}

fn select_from(span: Span) -> impl Iterator<Item = TokenWithSpan> {
    let tokens = [
        Token::make_keyword("SELECT"),
        Token::Mul,
        Token::make_keyword("FROM"),
        Token::LParen,
    ];
    tokens.into_iter().map(move |token| with_span(token, span))
}

pub(super) fn with_span(token: Token, span: Span) -> TokenWithSpan {
    TokenWithSpan { token, span }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tokenize;

    fn written(text: &str) -> String {
        let tokens = tokenize(text).unwrap();
        tokens.iter().map(|t| t.token.to_string()).collect()
    }

    #[test]
    fn like_before_a_quantifier_is_an_operator() {
        for (text, expected) in [
            ("a LIKE ANY (b)", "a ~~ ANY (b)"),
            ("a not  ilike\nall (b)", "a !~~* all (b)"),
            ("a ILIKE SOME (b)", "a ~~* SOME (b)"),
            ("a NOT LIKE ALL (b)", "a !~~ ALL (b)"),
            ("a LIKE 'x' UNION ALL b", "a LIKE 'x' UNION ALL b"),
            ("a LIKE \"any\"", "a LIKE \"any\""),
        ] {
            let compact = |text: &str| text.replace([' ', '\n'], "");
            assert_eq!(compact(&written(text)), compact(expected), "{text}");
        }
    }

    #[test]
    fn operators_before_a_quantifier_have_no_schema() {
        for (text, expected) in [
            ("a OPERATOR(pg_catalog.=) ANY (b)", "a = ANY (b)"),
            ("a operator ( <> ) all (b)", "a <> all (b)"),
            (
                "a OPERATOR(pg_catalog.=) b UNION ALL c",
                "a OPERATOR(pg_catalog.=) b UNION ALL c",
            ),
            ("f(a) UNION ALL b", "f(a) UNION ALL b"),
        ] {
            let compact = |text: &str| text.replace([' ', '\n'], "");
            assert_eq!(compact(&written(text)), compact(expected), "{text}");
        }
    }

    #[test]
    fn values_behind_a_quantifier_are_selected() {
        for (text, expected) in [
            (
                "a = ANY ( VALUES (1), (2)) + (3)",
                "a = ANY ( SELECT*FROM(VALUES (1), (2))) + (3)",
            ),
            (
                "VALUES (1) UNION ALL (VALUES (2))",
                "VALUES (1) UNION ALL (VALUES (2))",
            ),
        ] {
            assert_eq!(written(text), expected, "{text}");
        }
    }
}
