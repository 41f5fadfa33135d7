//! The grammar of INSERT, with OVERRIDING, which sqlparser does not read.

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::super::complexity::BRACKETS_MAX;
use super::super::statement::{Insert, Overriding, Statement};
use super::super::tokens::is_blank;
use super::Grammar;
use crate::error::{Error, Result};

impl Grammar<'_> {
    /// `INSERT INTO table [(columns)] [OVERRIDING {SYSTEM | USER} VALUE] ..`.
    pub(super) fn insert(&mut self) -> Result<Statement> {
        let first = self.parser.index();
        let rest = &self.tokens[first..];
        let (statement, overriding) = match overriding(rest) {
            None => {
                let token = self.parser.next_token();
                (self.parser.parse_insert(token)?, None)
            }
            Some((overriding, words)) => {
                let (before, after) = (&rest[..words.start], &rest[words.end..]);
                let mut parser = Parser::new(self.dialect)
                    .with_recursion_limit(BRACKETS_MAX)
                    .with_tokens_with_locations([before, after].concat());
                let token = parser.next_token();
                let statement = parser.parse_insert(token)?;
                let end = first + parser.index() + words.len();
                while self.parser.index() < end {
                    self.parser.next_token_no_skip();
                }
                (statement, Some(overriding))
            }
        };
        match statement {
            ast::Statement::Insert(statement) => Ok(Statement::Insert(Box::new(Insert {
                statement,
                overriding,
            }))),
            _ => Err(Error::unsupported("this form of INSERT is not supported")),
        }
    }
}

/// What INSERT is told about identity columns, and which of its tokens say so: three words before its rows.
fn overriding(tokens: &[TokenWithSpan]) -> Option<(Overriding, std::ops::Range<usize>)> {
    let mut depth = 0;
    let words: Vec<(usize, String)> = tokens
        .iter()
        .enumerate()
        .filter(|(_, token)| !is_blank(&token.token))
        .map_while(|(at, token)| match &token.token {
            Token::LParen => {
                depth += 1;
                Some((at, String::new()))
            }
            Token::RParen => {
                depth -= 1;
                Some((at, String::new()))
            }
            Token::Word(word) if depth == 0 => {
                let word = word.value.to_ascii_uppercase();
                let begins_rows = ["VALUES", "SELECT", "DEFAULT", "WITH", "TABLE"];
                (!begins_rows.contains(&word.as_str())).then_some((at, word))
            }
            _ => Some((at, String::new())),
        })
        .collect();
    let at = words.iter().position(|(_, word)| word == "OVERRIDING")?;
    let [(start, _), (_, whose), (last, value)] = words.get(at..at + 3)? else {
        return None;
    };
    let overriding = match whose.as_str() {
        "SYSTEM" => Overriding::System,
        "USER" => Overriding::User,
        _ => return None,
    };
    (value == "VALUE").then_some((overriding, *start..last + 1))
}
