//! A statement with the values cut out that it compares with, inserts or assigns.
//!
//! ```text
//! .. a = 7 AND ..                  7 is all that stands on the right of the operator: what follows (AND, LIMIT, `)`,
//! .. e <-> '[1,2]' LIMIT 5         `,`, the end ..) cannot take it
//! .. e <-> '[1,2]'::vector ..      a cast takes a parameter as it takes a text
//! INSERT .. VALUES (7, -1, 'a')    values between brackets and commas
//! ```
//! Other values stay in the pattern. Whatever the tokenizer could write otherwise than it stood (escapes, comments,
//! dollar quotes) makes a text one without pattern.

use std::fmt::Write;

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Whitespace};

use crate::sql::tokens::{is_word, plain_tokens};

/// Longer patterns are not remembered.
const PATTERN_BYTES_MAX: usize = 16 << 10;
/// Longer texts are not looked at.
const TEXT_BYTES_MAX: usize = 256 << 10;
/// Statements with more values are planned as they are: there are few of as many.
const VALUES_MAX: usize = 256;

/// The statements that have a pattern.
const FIRST: [&str; 4] = ["SELECT", "INSERT", "UPDATE", "DELETE"];

/// What may follow a value that is compared.
const FOLLOWING: [Keyword; 17] = [
    Keyword::AND,
    Keyword::OR,
    Keyword::WHERE,
    Keyword::FROM,
    Keyword::ORDER,
    Keyword::GROUP,
    Keyword::HAVING,
    Keyword::LIMIT,
    Keyword::OFFSET,
    Keyword::FETCH,
    Keyword::RETURNING,
    Keyword::ASC,
    Keyword::DESC,
    Keyword::AS,
    Keyword::THEN,
    Keyword::ELSE,
    Keyword::END,
];

/// A value that was cut out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value {
    pub kind: Kind,
    /// Its digits, perhaps with a sign, or what stood in quotes.
    pub text: String,
    /// Whether it is inserted as it is, and not compared or assigned.
    pub is_item: bool,
}

/// How a value was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Integer,
    Decimal,
    Text,
}

/// The text of a statement with parameters, and their values.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    pub text: String,
    pub values: Vec<Value>,
}

impl Pattern {
    /// The pattern of one query or change of rows; `None` for everything else.
    pub fn of(text: &str) -> Option<Self> {
        if text.len() > TEXT_BYTES_MAX || !has_pattern(text) {
            return None;
        }
        let tokens = without_end(plain_tokens(text)?);
        let mut pattern = Self {
            text: String::with_capacity(128),
            values: Vec::new(),
        };
        let mut rows = InsertedRows::default();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            rows.pass(token);
            let place = Place {
                tokens: &tokens,
                at,
                is_in_row: rows.is_in_row(),
            };
            at += match place.value() {
                Some((value, length)) => {
                    pattern.cut(value)?;
                    length
                }
                None => {
                    pattern.text.push_str(&written(token)?);
                    1
                }
            };
        }
        let is_short = pattern.text.len() <= PATTERN_BYTES_MAX;
        (is_short && pattern.values.len() <= VALUES_MAX).then_some(pattern)
    }

    /// A value is one parameter wherever it is compared as a vector: a distance that is selected and sorted by is one.
    fn cut(&mut self, value: Value) -> Option<()> {
        let may_be_vector = value.kind == Kind::Text && value.text.starts_with('[');
        let known = match may_be_vector && !value.is_item {
            true => self.values.iter().position(|v| *v == value),
            false => None,
        };
        let place = known.unwrap_or(self.values.len());
        if known.is_none() {
            self.values.push(value);
        }
        write!(self.text, "${}", place + 1).ok()
    }
}

fn has_pattern(text: &str) -> bool {
    let word = text.trim_start().get(..6);
    word.is_some_and(|word| FIRST.iter().any(|first| word.eq_ignore_ascii_case(first)))
}

/// The tokens without blanks and comments at the end, and one semicolon.
fn without_end(mut tokens: Vec<Token>) -> Vec<Token> {
    let trim = |tokens: &mut Vec<Token>| {
        while matches!(tokens.last(), Some(Token::Whitespace(_))) {
            tokens.pop();
        }
    };
    trim(&mut tokens);
    if tokens.last() == Some(&Token::SemiColon) {
        tokens.pop();
        trim(&mut tokens);
    }
    tokens
}

/// How far the rows of an INSERT have been passed.
#[derive(Default)]
struct InsertedRows {
    is_insert: bool,
    has_begun: bool,
    /// Open brackets since VALUES.
    depth: usize,
}

impl InsertedRows {
    fn pass(&mut self, token: &Token) {
        match token {
            Token::LParen if self.has_begun => self.depth += 1,
            Token::RParen => self.depth = self.depth.saturating_sub(1),
            token => {
                self.is_insert |= is_word(token, Keyword::INSERT);
                self.has_begun |= self.is_insert && is_word(token, Keyword::VALUES);
            }
        }
    }

    /// Whether what comes next is an item of a row, and not an argument within it.
    fn is_in_row(&self) -> bool {
        self.depth == 1
    }
}

/// A place among the tokens of a statement.
struct Place<'a> {
    tokens: &'a [Token],
    at: usize,
    /// Whether it is in a row of VALUES that are inserted.
    is_in_row: bool,
}

impl<'a> Place<'a> {
    /// The value that begins here and how many tokens it has, if it can be a parameter.
    fn value(&self) -> Option<(Value, usize)> {
        let (kind, text, length) = match &self.tokens[self.at..] {
            [Token::Minus, Token::Number(digits, false), ..] => {
                (kind_of(digits)?, format!("-{digits}"), 2)
            }
            [Token::Number(digits, false), ..] => (kind_of(digits)?, digits.clone(), 1),
            [Token::SingleQuotedString(text), ..] => (Kind::Text, text.clone(), 1),
            _ => return None,
        };
        let touches_word = matches!(self.tokens.get(self.at + length), Some(Token::Word(_)));
        let is_item = self.is_item(length);
        let is_open = is_item || self.is_compared(kind, length);
        let value = Value {
            kind,
            text,
            is_item,
        };
        (is_open && !touches_word).then_some((value, length))
    }

    fn before(&self) -> impl Iterator<Item = &'a Token> {
        let before = self.tokens[..self.at].iter().rev();
        before.filter(|token| !matches!(token, Token::Whitespace(_)))
    }

    fn after(&self, length: usize) -> Option<&'a Token> {
        let mut after = self.tokens[self.at + length..].iter();
        after.find(|token| !matches!(token, Token::Whitespace(_)))
    }

    /// Whether it is a whole item of a row.
    fn is_item(&self, length: usize) -> bool {
        let begins = matches!(self.before().next(), Some(Token::LParen | Token::Comma));
        let ends = matches!(self.after(length), Some(Token::RParen | Token::Comma));
        self.is_in_row && begins && ends
    }

    /// Whether it is the right side of an operator, and of nothing else.
    fn is_compared(&self, kind: Kind, length: usize) -> bool {
        let mut before = self.before();
        let operator = before.next();
        let Some(operator) = operator.filter(|o| is_comparison(o) || is_distance(o)) else {
            return false;
        };
        let has_left = matches!(before.next(), Some(Token::Word(_) | Token::RParen));
        let ends = match self.after(length) {
            None | Some(Token::RParen | Token::Comma) => true,
            Some(Token::DoubleColon) => kind == Kind::Text,
            // Distances are taken before they are compared.
            Some(token) if is_comparison(token) => is_distance(operator),
            Some(token) => FOLLOWING.iter().any(|word| is_word(token, *word)),
        };
        has_left && ends
    }
}

/// The kind of a number; `None` for one with an exponent.
fn kind_of(digits: &str) -> Option<Kind> {
    match digits.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        true if digits.contains('.') => Some(Kind::Decimal),
        true => Some(Kind::Integer),
        false => None,
    }
}

fn is_comparison(token: &Token) -> bool {
    matches!(
        token,
        Token::Eq | Token::Neq | Token::Lt | Token::Gt | Token::LtEq | Token::GtEq
    )
}

fn is_distance(token: &Token) -> bool {
    match token {
        Token::TwoWayArrow => true,
        Token::CustomBinaryOperator(operator) => ["<=>", "<+>", "<#>"].contains(&operator.as_str()),
        _ => false,
    }
}

/// The token as it stood; `None` where that is not certain, and where there is another statement.
fn written(token: &Token) -> Option<String> {
    let is_plain = match token {
        Token::Word(word) => match word.quote_style {
            None => true,
            Some(quote) => quote == '"' && !word.value.contains('"'),
        },
        Token::SingleQuotedString(text) => !text.contains(['\'', '\\']),
        Token::Number(..)
        | Token::Comma
        | Token::Period
        | Token::LParen
        | Token::RParen
        | Token::LBracket
        | Token::RBracket
        | Token::DoubleColon
        | Token::Plus
        | Token::Minus
        | Token::Mul
        | Token::Div
        | Token::Mod
        | Token::StringConcat
        | Token::Whitespace(Whitespace::Space | Whitespace::Newline | Whitespace::Tab) => true,
        token => is_comparison(token) || is_distance(token),
    };
    is_plain.then(|| token.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shown(text: &str) -> String {
        match Pattern::of(text) {
            None => "none".to_string(),
            Some(pattern) => {
                let values = pattern.values.iter().map(|value| match value.kind {
                    Kind::Integer | Kind::Decimal => value.text.clone(),
                    Kind::Text => format!("'{}'", value.text),
                });
                let values: Vec<String> = values.collect();
                format!("{} | {}", pattern.text, values.join(" "))
            }
        }
    }

    #[test]
    fn values_that_are_compared_are_cut_out() {
        for (text, expected) in [
            (
                "select v from t where id = 7;",
                "select v from t where id = $1 | 7",
            ),
            (
                "SELECT 1 FROM t WHERE a >= 'it''s' AND b<>5 LIMIT 3",
                "SELECT 1 FROM t WHERE a >= $1 AND b<>$2 LIMIT 3 | 'it's' 5",
            ),
            (
                "SELECT id, e <-> '[1,2]' AS d FROM t WHERE k = 5 ORDER BY e <-> '[1,2]'::vector LIMIT 5 ;\n",
                "SELECT id, e <-> $1 AS d FROM t WHERE k = $2 ORDER BY e <-> $1::vector LIMIT 5 | '[1,2]' 5",
            ),
            (
                "SELECT id FROM t WHERE e <=> '[1]' < 0.5 AND (e <+> '[2]' < 1)",
                "SELECT id FROM t WHERE e <=> $1 < 0.5 AND (e <+> $2 < 1) | '[1]' '[2]'",
            ),
            (
                "SELECT count(*) FROM \"T\" HAVING count(*) > 5\n ORDER BY 1",
                "SELECT count(*) FROM \"T\" HAVING count(*) > $1\n ORDER BY 1 | 5",
            ),
            ("SELECT a FROM t /* of b */; -- all", "SELECT a FROM t | "),
            (
                "INSERT INTO t (a, b) VALUES (1, 'x'), (-2, lower('Y')), (1 + 1, NULL) RETURNING a",
                "INSERT INTO t (a, b) VALUES ($1, $2), ($3, lower('Y')), (1 + 1, NULL) RETURNING a | 1 'x' -2",
            ),
            (
                "UPDATE t SET a = -1, b = 'x' WHERE c = 'it''s' RETURNING a",
                "UPDATE t SET a = $1, b = $2 WHERE c = $3 RETURNING a | -1 'x' 'it's'",
            ),
            (
                "DELETE FROM t WHERE a = 1",
                "DELETE FROM t WHERE a = $1 | 1",
            ),
            // What an operator may take, or another type than that of what it is compared with, stays.
            (
                "SELECT 1 FROM t WHERE a = 1 + b AND c = 1e5 AND d = 2 IS TRUE AND 3 = e",
                "SELECT 1 FROM t WHERE a = 1 + b AND c = 1e5 AND d = 2 IS TRUE AND 3 = e | ",
            ),
            (
                "SELECT 1 FROM t WHERE d > date '2020-01-01' AND n IN (1, 2) AND m = - 5 AND s = 'a' || t",
                "SELECT 1 FROM t WHERE d > date '2020-01-01' AND n IN (1, 2) AND m = - 5 AND s = 'a' || t | ",
            ),
            (
                "SELECT 1 FROM t WHERE n = 5::bigint AND s = '5'::bigint",
                "SELECT 1 FROM t WHERE n = 5::bigint AND s = $1::bigint | '5'",
            ),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_certain_has_no_pattern() {
        for text in [
            "",
            "MERGE INTO t USING u ON a = 1",
            "/* hint */ SELECT a FROM t WHERE a = 1",
            "SELECT a FROM t -- one\n WHERE a = 1",
            "SELECT a FROM t WHERE a = 1; SELECT 2",
            "SELECT a FROM t WHERE a = $1",
            "SELECT E'a\\n' FROM t",
            "SELECT $$a$$ FROM t",
            "SELECT 'it''s' FROM t",
            "SELECT \"a\"\"b\" FROM t",
            "SELECT 'a",
            "SELECT doc->>'a' FROM t",
        ] {
            assert_eq!(shown(text), "none", "{text}");
        }
    }

    #[test]
    fn a_word_that_touches_a_value_is_not_parted_from_it() {
        for text in ["SELECT a FROM t WHERE a = 1AND b", "SELECT a = 'x'AS b"] {
            assert_eq!(shown(text), format!("{text} | "));
        }
    }
}
