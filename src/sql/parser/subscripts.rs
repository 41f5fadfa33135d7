//! Targets like `a[1]` and `a[2:3]` in SET and in the column list of INSERT, which sqlparser does not read.
//!
//! The brackets become a call in the name, `a."subscript "(1)` and `a."subscript "(2, 3)`, as some dialects have calls in
//! names; a bound that is left out is the word [`OPEN`].

use datafusion::sql::sqlparser::ast::Ident;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use super::super::tokens::is_blank;

/// The name of the calls.
const SUBSCRIPT: &str = "subscript ";
/// The bound of a slice that is left out.
pub(in crate::sql) const OPEN: &str = "open ";

/// Whether the part of a name is such a call.
pub(in crate::sql) fn is_subscript(name: &Ident) -> bool {
    name.quote_style.is_some() && name.value == SUBSCRIPT
}

/// Writes the subscripts of targets as calls.
pub(super) fn mend_tokens(tokens: &mut Vec<TokenWithSpan>) {
    if !tokens.iter().any(|t| t.token == Token::LBracket) {
        return;
    }
    let mut targets = Targets::default();
    let mut mended: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut rest = tokens.drain(..).peekable();
    while let Some(token) = rest.next() {
        let is_subscript = token.token == Token::LBracket && targets.in_name;
        if !is_blank(&token.token) {
            targets.see(&token.token);
        }
        if is_subscript {
            mend_subscript(token, &mut rest, &mut mended);
        } else {
            mended.push(token);
        }
    }
    drop(rest);
    *tokens = mended;
}

/// Where the targets of assignments are.
#[derive(Default)]
struct Targets {
    depth: usize,
    /// The depth of the lists of targets that are open.
    lists: Vec<usize>,
    /// Whether a target may begin here.
    begins: bool,
    /// Whether what stands before is the name of one.
    in_name: bool,
    /// Whether SET would begin a list.
    changes: bool,
    /// Whether a bracket would be that of INSERT's columns.
    inserts: bool,
}

impl Targets {
    fn see(&mut self, token: &Token) {
        let begins = std::mem::take(&mut self.begins);
        let in_name = std::mem::take(&mut self.in_name);
        match token {
            Token::LParen => {
                self.depth += 1;
                if std::mem::take(&mut self.inserts) {
                    self.lists.push(self.depth);
                    self.begins = true;
                }
            }
            Token::RParen => {
                self.depth = self.depth.saturating_sub(1);
                let depth = self.depth;
                self.lists.retain(|list| *list <= depth);
            }
            Token::Comma => self.begins = self.lists.last() == Some(&self.depth),
            Token::Period => self.begins = in_name,
            // The subscript is skipped: another may follow.
            Token::LBracket => self.in_name = in_name,
            Token::Word(word) => self.word(word, begins),
            _ => {}
        }
    }

    fn word(&mut self, word: &Word, begins: bool) {
        let is_query = matches!(
            word.keyword,
            Keyword::SELECT | Keyword::WITH | Keyword::VALUES | Keyword::TABLE
        );
        self.in_name = begins && !is_query;
        if self.in_name || word.quote_style.is_some() {
            return;
        }
        match word.keyword {
            Keyword::UPDATE | Keyword::MERGE => self.changes = true,
            Keyword::INTO => self.inserts = true,
            Keyword::SET if self.changes => {
                self.lists.push(self.depth);
                self.begins = true;
            }
            Keyword::FROM
            | Keyword::WHERE
            | Keyword::RETURNING
            | Keyword::WHEN
            | Keyword::USING
            | Keyword::SELECT
            | Keyword::WITH
            | Keyword::TABLE
            | Keyword::VALUES => {
                self.inserts = false;
                if self.lists.last() == Some(&self.depth) {
                    self.lists.pop();
                }
            }
            _ => {}
        }
    }
}

/// Writes what stands between a bracket and the one that closes it as the arguments of a call.
fn mend_subscript(
    bracket: TokenWithSpan,
    rest: &mut impl Iterator<Item = TokenWithSpan>,
    mended: &mut Vec<TokenWithSpan>,
) {
    let span = bracket.span;
    let mut push = |token: Token| mended.push(TokenWithSpan { token, span });
    let quoted = |name: &str| Token::make_word(name, Some('"'));
    push(Token::Period);
    push(quoted(SUBSCRIPT));
    push(Token::LParen);
    let (mut depth, mut is_empty) = (0, true);
    for token in rest {
        match token.token {
            Token::RBracket if depth == 0 => {
                if is_empty {
                    push(quoted(OPEN));
                }
                push(Token::RParen);
                return;
            }
            Token::Colon if depth == 0 => {
                if is_empty {
                    push(quoted(OPEN));
                }
                push(Token::Comma);
                is_empty = true;
            }
            token => {
                match token {
                    Token::LBracket | Token::LParen => depth += 1,
                    Token::RBracket | Token::RParen => depth -= 1,
                    _ => {}
                }
                is_empty &= is_blank(&token);
                push(token);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::super::tokens::tokenize;
    use super::*;

    fn mended(text: &str) -> String {
        let mut tokens = tokenize(text).unwrap();
        mend_tokens(&mut tokens);
        let text: String = tokens.iter().map(|t| t.token.to_string()).collect();
        text.replace("\"subscript \"", "S")
            .replace("\"open \"", "O")
    }

    #[test]
    fn subscripts_of_targets_are_calls() {
        for (text, expected) in [
            (
                "UPDATE t SET a[1] = b[2], c = ARRAY[1], d [x[1]:2] = f(a, b[1]) WHERE a[1] = 1",
                "UPDATE t SET a.S(1) = b[2], c = ARRAY[1], d .S(x[1],2) = f(a, b[1]) WHERE a[1] = 1",
            ),
            (
                "UPDATE t SET a[:2] = x, b[2:] = y",
                "UPDATE t SET a.S(O,2) = x, b.S(2,O) = y",
            ),
            ("UPDATE t SET a[1][2] = 1", "UPDATE t SET a.S(1).S(2) = 1"),
            (
                "INSERT INTO t AS u (a[1], b) VALUES (a[1], b[2]) ON CONFLICT (a) DO UPDATE SET a[1] = b[1]",
                "INSERT INTO t AS u (a.S(1), b) VALUES (a[1], b[2]) ON CONFLICT (a) DO UPDATE SET a.S(1) = b[1]",
            ),
            ("SELECT a[1], b[1:2] FROM t", "SELECT a[1], b[1:2] FROM t"),
            (
                "INSERT INTO t (SELECT a[1], b[1] FROM u)",
                "INSERT INTO t (SELECT a[1], b[1] FROM u)",
            ),
            (
                "MERGE INTO t USING (SELECT a[1], b[1] FROM u) s ON true WHEN MATCHED THEN UPDATE SET a[1] = 2",
                "MERGE INTO t USING (SELECT a[1], b[1] FROM u) s ON true WHEN MATCHED THEN UPDATE SET a.S(1) = 2",
            ),
        ] {
            assert_eq!(mended(text), expected, "{text}");
        }
    }
}
