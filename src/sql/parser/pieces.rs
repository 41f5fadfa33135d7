//! The pieces that statements are made of: words, names, options, lists.

use datafusion::sql::sqlparser::ast::{Ident, ObjectName};
use datafusion::sql::sqlparser::parser::IsOptional;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::Grammar;
use crate::error::{Error, Result, sqlstate};
use crate::sql::tokens::{LineIndex, is_blank};

impl Grammar<'_> {
    /// The nth next token as an upper-case word; empty where it is none.
    pub(in crate::sql) fn word(&self, n: usize) -> String {
        match self.parser.peek_nth_token_ref(n).token {
            Token::Word(ref word) if word.quote_style.is_none() => word.value.to_uppercase(),
            _ => String::new(),
        }
    }

    pub(in crate::sql) fn skip(&mut self, tokens: usize) {
        for _ in 0..tokens {
            self.parser.next_token();
        }
    }

    /// Goes back by one token.
    pub(in crate::sql) fn unskip(&mut self) {
        self.parser.prev_token();
    }

    /// Takes the words if all of them come next.
    pub(in crate::sql) fn accept(&mut self, words: &[&str]) -> bool {
        let here = words
            .iter()
            .enumerate()
            .all(|(i, word)| self.word(i) == *word);
        if here {
            self.skip(words.len());
        }
        here
    }

    pub(in crate::sql) fn expect(&mut self, words: &[&str]) -> Result<()> {
        if self.accept(words) {
            return Ok(());
        }
        Err(self.unexpected(&words.join(" ")))
    }

    pub(in crate::sql) fn unexpected(&self, expected: &str) -> Error {
        let found = self.parser.peek_token();
        let place = found.span.start;
        let message = match found.token {
            Token::EOF => format!("syntax error at end of input, expected {expected}"),
            token => format!("syntax error at or near \"{token}\", expected {expected}"),
        };
        let error = Error::invalid(sqlstate::SYNTAX_ERROR, message);
        if place.line == 0 {
            error
        } else {
            error.with_position(place.line, place.column)
        }
    }

    /// Runs `parse` and gives what it read as its author wrote it as well.
    pub(in crate::sql) fn with_text<T>(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<(T, String)> {
        let from = self.parser.index();
        let value = parse(self)?;
        let to = self.parser.index();
        let mut read = self.tokens[from..to].iter().filter(|t| !is_blank(&t.token));
        let Some(first) = read.next() else {
            return Ok((value, String::new()));
        };
        let last = read.next_back().unwrap_or(first);
        let text = LineIndex::new(self.text).slice(first.span.start, last.span.end);
        Ok((value, text.to_string()))
    }

    pub(in crate::sql) fn if_exists(&mut self) -> bool {
        self.accept(&["IF", "EXISTS"])
    }

    pub(in crate::sql) fn if_not_exists(&mut self) -> bool {
        self.accept(&["IF", "NOT", "EXISTS"])
    }

    pub(in crate::sql) fn name(&mut self) -> Result<ObjectName> {
        Ok(self.parser.parse_object_name(false)?)
    }

    /// `( name, .. )`.
    pub(in crate::sql) fn names_in_parentheses(&mut self) -> Result<Vec<Ident>> {
        Ok(self
            .parser
            .parse_parenthesized_column_list(IsOptional::Mandatory, false)?)
    }

    /// `( option = value, .. )`; options may have dots and may stand without a value.
    pub(in crate::sql) fn options(&mut self) -> Result<Vec<(String, String)>> {
        self.parser.expect_token(&Token::LParen)?;
        let mut options = Vec::new();
        loop {
            let name = self.option_name()?;
            let _ = self.parser.consume_token(&Token::Eq);
            let bare = matches!(self.parser.peek_token().token, Token::Comma | Token::RParen);
            let value = if bare {
                "true".to_string()
            } else {
                self.option_value()?
            };
            options.push((name, value));
            if !self.parser.consume_token(&Token::Comma) {
                break;
            }
        }
        self.parser.expect_token(&Token::RParen)?;
        Ok(options)
    }

    /// `( option, .. )`; options may have dots.
    pub(in crate::sql) fn option_names(&mut self) -> Result<Vec<String>> {
        self.parser.expect_token(&Token::LParen)?;
        let names = self.comma_separated(Self::option_name)?;
        self.parser.expect_token(&Token::RParen)?;
        Ok(names)
    }

    fn option_name(&mut self) -> Result<String> {
        let mut name = self.parser.parse_identifier()?.value.to_lowercase();
        while self.parser.consume_token(&Token::Period) {
            let part = self.parser.parse_identifier()?.value.to_lowercase();
            name = format!("{name}.{part}");
        }
        Ok(name)
    }

    /// A literal or a word, as text.
    pub(in crate::sql) fn option_value(&mut self) -> Result<String> {
        let negative = self.parser.consume_token(&Token::Minus);
        let token = self.parser.next_token();
        let text = match token.token {
            Token::Word(word) => word.value,
            Token::Number(number, _) if negative => format!("-{number}"),
            Token::Number(number, _) => number,
            Token::SingleQuotedString(text)
            | Token::EscapedStringLiteral(text)
            | Token::DoubleQuotedString(text) => text,
            _ => {
                self.parser.prev_token();
                return Err(self.unexpected("a value"));
            }
        };
        Ok(text)
    }

    /// A text in quotes of any kind.
    pub(in crate::sql) fn quoted_text(&mut self, expected: &str) -> Result<String> {
        match self.parser.next_token().token {
            Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => Ok(text),
            Token::DollarQuotedString(quoted) => Ok(quoted.value),
            _ => {
                self.unskip();
                Err(self.unexpected(expected))
            }
        }
    }

    /// `[CASCADE | RESTRICT]`.
    pub(in crate::sql) fn cascades(&mut self) -> bool {
        let cascade = self.accept(&["CASCADE"]);
        if !cascade {
            self.accept(&["RESTRICT"]);
        }
        cascade
    }

    pub(in crate::sql) fn comma_separated<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut items = vec![item(self)?];
        while self.parser.consume_token(&Token::Comma) {
            items.push(item(self)?);
        }
        Ok(items)
    }
}
