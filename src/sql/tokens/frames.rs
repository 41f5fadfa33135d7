//! What a window frame leaves out: `ROWS 1 PRECEDING EXCLUDE NO OTHERS` leaves out nothing, which is said without it.

use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use super::is_blank;
use super::quantifiers::last_word;
use crate::error::{Error, Result};

/// The tokens without it.
///
/// # Errors
/// 0A000 for a frame that leaves out rows.
pub(super) fn mend(tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>> {
    if !tokens.iter().any(|token| is_word(token, "EXCLUDE")) {
        return Ok(tokens);
    }
    let mut mended: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut skipped = 0;
    for (at, token) in tokens.iter().enumerate() {
        if skipped > 0 && !is_blank(&token.token) {
            skipped -= 1;
            continue;
        }
        let mut words = tokens[at + 1..].iter().filter(|t| !is_blank(&t.token));
        let (first, second) = (words.next(), words.next());
        let follow = |a: &str, b: &str| {
            first.is_some_and(|t| is_word(t, a)) && second.is_some_and(|t| is_word(t, b))
        };
        if !is_word(token, "EXCLUDE") || !ends_frame(&mended) {
            mended.push(token.clone());
        } else if follow("NO", "OTHERS") {
            skipped = 2;
        } else {
            let Location { line, column } = token.span.start;
            let message = "a window frame with EXCLUDE is not supported, other than NO OTHERS";
            return Err(Error::unsupported(message).with_position(line, column));
        }
    }
    Ok(mended)
}

/// Whether the tokens end with a bound of a frame.
fn ends_frame(tokens: &[TokenWithSpan]) -> bool {
    let last = last_word(tokens, tokens.len()).map(|at| &tokens[at]);
    let bounds = ["ROW", "PRECEDING", "FOLLOWING"];
    last.is_some_and(|last| bounds.into_iter().any(|bound| is_word(last, bound)))
}

fn is_word(token: &TokenWithSpan, word: &str) -> bool {
    matches!(&token.token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tokenize;

    #[test]
    fn no_others_says_nothing() {
        let text = "(ROWS BETWEEN 1 PRECEDING AND CURRENT ROW exclude no  others)";
        let tokens = tokenize(text).unwrap();
        let written: String = tokens.iter().map(|t| t.token.to_string()).collect();
        assert_eq!(
            written.trim_end_matches([' ', ')']),
            "(ROWS BETWEEN 1 PRECEDING AND CURRENT ROW"
        );
        let error = tokenize("(ROWS 1 PRECEDING EXCLUDE TIES)").unwrap_err();
        assert_eq!(error.sqlstate(), "0A000");
        assert!(tokenize("SELECT * EXCLUDE (a)").is_ok());
    }
}
