//! GROUPING SETS among the sets of others, which the parser does not read: `GROUPING SETS (a, GROUPING SETS (b, c))` has the
//! sets `a`, `b` and `c`.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::{is_blank, is_word};

/// What an open bracket is of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bracket {
    Sets,
    /// Of sets that are among others: it is left out.
    NestedSets,
    Other,
}

/// The tokens with the sets of nested ones among those around.
pub(super) fn mend(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let sets = tokens.iter().filter(|t| is_word(&t.token, Keyword::SETS));
    if sets.count() < 2 {
        return tokens;
    }
    let mut mended = Vec::with_capacity(tokens.len());
    let mut brackets: Vec<Bracket> = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        let open = opens_sets(&tokens, at - 1);
        match (&token.token, open) {
            (_, Some(open)) => {
                let is_nested =
                    matches!(brackets.last(), Some(Bracket::Sets | Bracket::NestedSets));
                if !is_nested {
                    mended.extend_from_slice(&tokens[at - 1..=open]);
                }
                brackets.push(match is_nested {
                    true => Bracket::NestedSets,
                    false => Bracket::Sets,
                });
                at = open + 1;
            }
            (Token::RParen, None) => {
                if brackets.pop() != Some(Bracket::NestedSets) {
                    mended.push(token.clone());
                }
            }
            (other, None) => {
                if *other == Token::LParen {
                    brackets.push(Bracket::Other);
                }
                mended.push(token.clone());
            }
        }
    }
    mended
}

/// The bracket that opens behind GROUPING SETS, where these words begin.
fn opens_sets(tokens: &[TokenWithSpan], at: usize) -> Option<usize> {
    let mut shown = (at..tokens.len()).filter(|&at| !is_blank(&tokens[at].token));
    let begins =
        |at: Option<usize>, keyword| at.is_some_and(|at| is_word(&tokens[at].token, keyword));
    if shown.clone().next() != Some(at) || !begins(shown.next(), Keyword::GROUPING) {
        return None;
    }
    if !begins(shown.next(), Keyword::SETS) {
        return None;
    }
    shown.next().filter(|&at| tokens[at].token == Token::LParen)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::raw_tokens;
    use super::*;

    fn mended(text: &str) -> String {
        let tokens = mend(raw_tokens(text).unwrap());
        tokens.iter().map(|token| token.token.to_string()).collect()
    }

    #[test]
    fn nested_sets_are_among_those_around() {
        assert_eq!(
            mended("GROUPING SETS (a, GROUPING SETS ((b), GROUPING SETS (())))"),
            "GROUPING SETS (a, (b), ())"
        );
        let twice = "GROUPING SETS (a), GROUPING SETS (b, f(sets))";
        assert_eq!(mended(twice), twice);
    }
}
