//! What a window frame leaves out: `ROWS 1 PRECEDING EXCLUDE NO OTHERS` leaves out nothing, which is said without it.
//! What leaves out more becomes a key of PARTITION BY that stands for it.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan, Word};

use super::quantifiers::last_word;
use super::{is_blank, is_spelled, last_open};
use crate::sql::windows::Exclusion;

/// The tokens without it.
pub(super) fn mend(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    if !tokens
        .iter()
        .any(|token| is_spelled(&token.token, "EXCLUDE"))
    {
        return tokens;
    }
    let mut mended: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        let excluded = match is_spelled(&token.token, "EXCLUDE") && ends_frame(&mended) {
            true => excluded(&tokens[at..]),
            false => None,
        };
        match excluded {
            None => mended.push(token.clone()),
            Some((words, exclusion)) => {
                at += words;
                if let Some(exclusion) = exclusion {
                    put_mark(&mut mended, exclusion, token.span);
                }
            }
        }
    }
    mended
}

/// How many tokens behind EXCLUDE say what a frame leaves out, and what that is; `None` for EXCLUDE of something else.
fn excluded(tokens: &[TokenWithSpan]) -> Option<(usize, Option<Exclusion>)> {
    let length = |words: &[&str]| {
        let mut places = (0..tokens.len()).filter(|at| !is_blank(&tokens[*at].token));
        let mut length = 0;
        for word in words {
            let place = places.next()?;
            if !is_spelled(&tokens[place].token, word) {
                return None;
            }
            length = place + 1;
        }
        Some(length)
    };
    if let Some(length) = length(&["NO", "OTHERS"]) {
        return Some((length, None));
    }
    let mut all = Exclusion::ALL.into_iter();
    all.find_map(|exclusion| Some((length(exclusion.words())?, Some(exclusion))))
}

/// Puts the mark into the PARTITION BY of the window whose frame the tokens end with.
fn put_mark(tokens: &mut Vec<TokenWithSpan>, exclusion: Exclusion, span: Span) {
    let Some(open) = last_open(tokens) else {
        return;
    };
    // Planning leaves out keys that are plain literals.
    let mark = vec![
        Token::LParen,
        Token::SingleQuotedString(exclusion.mark()),
        Token::RParen,
    ];
    let words = || (open + 1..tokens.len()).filter(|at| !is_blank(&tokens[*at].token));
    let begins = |at: usize, words: &[&str]| words.iter().any(|w| is_spelled(&tokens[at].token, w));
    let first = words().next().filter(|at| begins(*at, &["PARTITION"]));
    let (at, mut put) = match (first, words().next()) {
        // Behind PARTITION BY.
        (Some(_), _) => match words().nth(1) {
            Some(by) => (by + 1, [mark, vec![Token::Comma]].concat()),
            None => return,
        },
        // Behind the name of the window that this one is made of.
        (None, Some(name)) if !begins(name, &["ORDER", "ROWS", "RANGE", "GROUPS"]) => {
            (name + 1, partition_by(mark))
        }
        _ => (open + 1, partition_by(mark)),
    };
    put.insert(0, blank());
    put.push(blank());
    let put = put.into_iter().map(|token| TokenWithSpan { token, span });
    tokens.splice(at..at, put);
}

fn blank() -> Token {
    Token::Whitespace(datafusion::sql::sqlparser::tokenizer::Whitespace::Space)
}

fn partition_by(mark: Vec<Token>) -> Vec<Token> {
    let word = |value: &str, keyword| {
        Token::Word(Word {
            value: value.to_string(),
            quote_style: None,
            keyword,
        })
    };
    let words = vec![
        word("PARTITION", Keyword::PARTITION),
        blank(),
        word("BY", Keyword::BY),
        blank(),
    ];
    [words, mark].concat()
}

/// Whether the tokens end with a bound of a frame.
fn ends_frame(tokens: &[TokenWithSpan]) -> bool {
    let last = last_word(tokens, tokens.len()).map(|at| &tokens[at]);
    let bounds = ["ROW", "PRECEDING", "FOLLOWING"];
    last.is_some_and(|last| {
        bounds
            .into_iter()
            .any(|bound| is_spelled(&last.token, bound))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tokenize;

    fn mended(text: &str) -> String {
        let tokens = tokenize(text).unwrap();
        tokens.iter().map(|t| t.token.to_string()).collect()
    }

    #[test]
    fn no_others_says_nothing() {
        let text = "(ROWS BETWEEN 1 PRECEDING AND CURRENT ROW exclude no  others)";
        assert_eq!(
            mended(text).trim_end_matches([' ', ')']),
            "(ROWS BETWEEN 1 PRECEDING AND CURRENT ROW"
        );
        assert_eq!(mended("SELECT * EXCLUDE (a)"), "SELECT * EXCLUDE (a)");
    }

    #[test]
    fn what_is_left_out_is_a_key() {
        let mark = "('\u{1}exclude TIES')";
        let ends = |text: &str, begin: &str| {
            let mended = mended(text);
            assert!(mended.starts_with(begin), "{mended:?}");
            assert!(!mended.contains("EXCLUDE"), "{mended:?}");
        };
        ends(
            "(ROWS 1 PRECEDING EXCLUDE TIES)",
            &format!("( PARTITION BY {mark} ROWS 1 PRECEDING"),
        );
        ends(
            "(PARTITION BY f(a), b ROWS 1 PRECEDING EXCLUDE TIES)",
            &format!("(PARTITION BY {mark},  f(a), b ROWS"),
        );
        ends(
            "(w ROWS 1 PRECEDING EXCLUDE TIES)",
            &format!("(w PARTITION BY {mark}  ROWS"),
        );
    }
}
