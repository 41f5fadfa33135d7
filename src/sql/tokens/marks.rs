//! Clauses that the parser does not read, spelled as ones that it does, with names that stand for them.
//!
//! - `USING (a) AS j` has one more column, whose name tells the alias ([`join_alias`]).
//! - `ROWS FROM (f(x), g(y))` is a call of the function [`ROWS_FROM`].
//! - `f(VARIADIC x)` has an argument of the name [`VARIADIC`].
//! - `SUBSTRING(x SIMILAR p ESCAPE e)` is a call of [`SUBSTRING_SIMILAR`].
//! - `GROUP BY DISTINCT a` has the key [`DISTINCT_SETS`] before the others; `GROUP BY ALL a` says nothing that `GROUP BY a`
//!   does not.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use super::quantifiers::last_word;
use super::{is_blank, is_spelled, is_word, last_open};
use crate::sql::functions::SUBSTRING_SIMILAR;

/// The function whose arguments are functions in FROM, side by side.
pub(in crate::sql) const ROWS_FROM: &str = "rows from";
/// The name of an argument that is an array of arguments.
pub(in crate::sql) const VARIADIC: &str = "\u{1}variadic";
/// The key of GROUP BY that leaves each set in once.
pub(in crate::sql) const DISTINCT_SETS: &str = "\u{1}distinct";
/// Begins the column of USING that tells an alias.
const JOIN_ALIAS: &str = "\u{1}as ";

/// The alias of a join, where a column of USING tells one.
pub(in crate::sql) fn join_alias(column: &str) -> Option<&str> {
    column.strip_prefix(JOIN_ALIAS)
}

/// The tokens with these spelled out.
pub(super) fn mend(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let concerns = [
        Keyword::USING,
        Keyword::ROWS,
        Keyword::GROUP,
        Keyword::SIMILAR,
    ];
    let found = |token: &TokenWithSpan| {
        is_variadic(&token.token) || concerns.into_iter().any(|k| is_word(&token.token, k))
    };
    if !tokens.iter().any(found) {
        return tokens;
    }
    let mut mended: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    // How many calls of SUBSTRING lack their ESCAPE yet.
    let mut similar = 0;
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let rest = Rest {
            tokens: &tokens,
            at,
        };
        at = match rest.spell(&mut mended, &mut similar) {
            Some(behind) => behind,
            None => {
                mended.push(token.clone());
                at + 1
            }
        };
    }
    mended
}

/// The tokens from a place on.
struct Rest<'t> {
    tokens: &'t [TokenWithSpan],
    at: usize,
}

impl Rest<'_> {
    /// Spells the clause that begins here, and tells the place behind what it read of it; `None` where none does.
    fn spell(&self, mended: &mut Vec<TokenWithSpan>, similar: &mut usize) -> Option<usize> {
        let token = &self.tokens[self.at].token;
        let begins = |keyword| is_word(token, keyword);
        match token {
            token if is_variadic(token) => self.spell_variadic(mended),
            _ if begins(Keyword::USING) => self.spell_alias(mended),
            _ if begins(Keyword::ROWS) => self.spell_rows_from(mended),
            _ if begins(Keyword::GROUP) => self.spell_group_by(mended),
            _ if begins(Keyword::SIMILAR) => self.spell_similar(mended, similar),
            _ if begins(Keyword::ESCAPE) => self.spell_escape(mended, similar),
            _ => None,
        }
    }

    fn spell_alias(&self, mended: &mut Vec<TokenWithSpan>) -> Option<usize> {
        let (close, alias, end) = self.aliased_columns()?;
        mended.extend_from_slice(&self.tokens[self.at..close]);
        let column = name(&format!("{JOIN_ALIAS}{alias}"));
        mended.extend([Token::Comma, column, Token::RParen].map(|token| self.here(token)));
        Some(end)
    }

    fn spell_rows_from(&self, mended: &mut Vec<TokenWithSpan>) -> Option<usize> {
        let open = self.follows(&[Keyword::FROM])?;
        if !self.opens(open) {
            return None;
        }
        mended.push(self.here(name(ROWS_FROM)));
        Some(open)
    }

    fn spell_variadic(&self, mended: &mut Vec<TokenWithSpan>) -> Option<usize> {
        if !begins_argument(mended) {
            return None;
        }
        mended.extend([name(VARIADIC), Token::RArrow].map(|token| self.here(token)));
        Some(self.at + 1)
    }

    fn spell_similar(&self, mended: &mut Vec<TokenWithSpan>, similar: &mut usize) -> Option<usize> {
        if self.follows(&[Keyword::TO]).is_some() || !name_substring(mended) {
            return None;
        }
        *similar += 1;
        mended.push(self.here(Token::Comma));
        Some(self.at + 1)
    }

    fn spell_escape(&self, mended: &mut Vec<TokenWithSpan>, similar: &mut usize) -> Option<usize> {
        *similar = similar.checked_sub(1)?;
        mended.push(self.here(Token::Comma));
        Some(self.at + 1)
    }

    fn spell_group_by(&self, mended: &mut Vec<TokenWithSpan>) -> Option<usize> {
        let group_by = ["GROUP", "BY"].map(|word| self.here(Token::make_keyword(word)));
        if let Some(keys) = self.follows(&[Keyword::BY, Keyword::DISTINCT]) {
            mended.extend(group_by);
            mended.extend([name(DISTINCT_SETS), Token::Comma].map(|token| self.here(token)));
            return Some(keys);
        }
        let keys = self.follows(&[Keyword::BY, Keyword::ALL])?;
        if !self.begins_key(keys) {
            return None;
        }
        mended.extend(group_by);
        Some(keys)
    }

    /// A token in the place of the one here.
    fn here(&self, token: Token) -> TokenWithSpan {
        let span = self.tokens[self.at].span;
        TokenWithSpan { token, span }
    }

    /// The place behind the keywords, if they stand behind the one here.
    fn follows(&self, keywords: &[Keyword]) -> Option<usize> {
        let mut at = self.at + 1;
        for keyword in keywords {
            at = self.solid(at)?;
            if !is_word(&self.tokens[at].token, *keyword) {
                return None;
            }
            at += 1;
        }
        Some(at)
    }

    /// The next place with more than a blank.
    fn solid(&self, from: usize) -> Option<usize> {
        (from..self.tokens.len()).find(|at| !is_blank(&self.tokens[*at].token))
    }

    fn opens(&self, from: usize) -> bool {
        let next = self.solid(from);
        next.is_some_and(|at| self.tokens[at].token == Token::LParen)
    }

    /// Whether a key of GROUP BY stands there, and not what is behind them all.
    fn begins_key(&self, from: usize) -> bool {
        use Keyword as K;
        let ends = [
            K::HAVING,
            K::WINDOW,
            K::ORDER,
            K::LIMIT,
            K::OFFSET,
            K::FETCH,
            K::FOR,
            K::UNION,
            K::INTERSECT,
            K::EXCEPT,
        ];
        self.solid(from).is_some_and(|at| {
            let token = &self.tokens[at].token;
            !matches!(token, Token::RParen | Token::SemiColon | Token::EOF)
                && !ends.into_iter().any(|end| is_word(token, end))
        })
    }

    /// Where the bracket closes, if it holds names with commas between and nothing else.
    fn end_of_names(&self, open: usize) -> Option<usize> {
        let mut at = open;
        loop {
            let name = self.solid(at + 1)?;
            let behind = self.solid(name + 1)?;
            match (&self.tokens[name].token, &self.tokens[behind].token) {
                (Token::Word(_), Token::Comma) => at = behind,
                (Token::Word(_), Token::RParen) => return Some(behind),
                _ => return None,
            }
        }
    }

    /// Of `USING (a, b) AS j`: where the bracket closes, the alias, and the place behind it.
    fn aliased_columns(&self) -> Option<(usize, &str, usize)> {
        let open = self.solid(self.at + 1)?;
        if self.tokens[open].token != Token::LParen {
            return None;
        }
        let close = self.end_of_names(open)?;
        let word = self.solid(close + 1)?;
        if !is_word(&self.tokens[word].token, Keyword::AS) {
            return None;
        }
        let alias = self.solid(word + 1)?;
        match &self.tokens[alias].token {
            Token::Word(name) => Some((close, &name.value, alias + 1)),
            _ => None,
        }
    }
}

/// Calls the function of the bracket that is open by another name, if it is SUBSTRING.
fn name_substring(tokens: &mut [TokenWithSpan]) -> bool {
    let Some(open) = last_open(tokens) else {
        return false;
    };
    let Some(function) = last_word(tokens, open) else {
        return false;
    };
    let is_substring = is_word(&tokens[function].token, Keyword::SUBSTRING);
    if is_substring {
        tokens[function].token = name(SUBSTRING_SIMILAR);
    }
    is_substring
}

fn is_variadic(token: &Token) -> bool {
    is_spelled(token, "VARIADIC")
}

/// Whether the tokens end where an argument begins.
fn begins_argument(tokens: &[TokenWithSpan]) -> bool {
    let last = last_word(tokens, tokens.len()).map(|at| &tokens[at].token);
    matches!(last, Some(Token::LParen | Token::Comma))
}

/// A name in quotes.
fn name(value: &str) -> Token {
    Token::Word(Word {
        value: value.to_string(),
        quote_style: Some('"'),
        keyword: Keyword::NoKeyword,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tokenize;

    #[test]
    fn clauses_are_spelled_as_the_parser_reads_them() {
        for (text, expected) in [
            (
                "JOIN t USING (a, b) AS j WHERE",
                "JOIN t USING (a, b,\"\u{1}as j\") WHERE",
            ),
            ("JOIN t USING (a)", "JOIN t USING (a)"),
            (
                "DELETE FROM t USING (SELECT a FROM b) AS j",
                "DELETE FROM t USING (SELECT a FROM b) AS j",
            ),
            ("rows from (f(1), g(2)) x", "\"rows from\" (f(1), g(2)) x"),
            ("f(1, VARIADIC a)", "f(1, \"\u{1}variadic\"=> a)"),
            ("SELECT variadic", "SELECT variadic"),
            (
                "substring(a SIMILAR 'b' ESCAPE '#')",
                "\"substring_similar\"(a , 'b' , '#')",
            ),
            ("a SIMILAR TO 'b' ESCAPE '#'", "a SIMILAR TO 'b' ESCAPE '#'"),
            ("GROUP BY DISTINCT a", "GROUPBY\"\u{1}distinct\", a"),
            ("GROUP BY ALL a", "GROUPBY a"),
            ("GROUP BY ALL ORDER BY 1", "GROUP BY ALL ORDER BY 1"),
        ] {
            let tokens = tokenize(text).unwrap();
            let written: String = tokens.iter().map(|t| t.token.to_string()).collect();
            assert_eq!(written, expected, "{text}");
        }
    }
}
