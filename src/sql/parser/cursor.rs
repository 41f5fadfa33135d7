//! The grammar of cursors and of prepared statements.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::{Grammar, fold};
use crate::error::{Error, Result, sqlstate};
use crate::sql::cursor::{Declare, Fetch, Target};
use crate::sql::named::{Execute, Prepare};
use crate::sql::statement::Statement;

impl Grammar<'_> {
    /// `DECLARE name [BINARY] [INSENSITIVE] [[NO] SCROLL] CURSOR [{WITH | WITHOUT} HOLD] FOR query`.
    pub(super) fn declare(&mut self) -> Result<Statement> {
        self.skip(1);
        let name = self.simple_name()?;
        let (mut binary, mut scroll) = (false, None);
        loop {
            if self.accept(&["BINARY"]) {
                binary = true;
            } else if self.accept(&["NO", "SCROLL"]) {
                scroll = Some(false);
            } else if self.accept(&["SCROLL"]) {
                scroll = Some(true);
            } else if !self.accept(&["INSENSITIVE"]) && !self.accept(&["ASENSITIVE"]) {
                break;
            }
        }
        self.expect(&["CURSOR"])?;
        let hold = self.accept(&["WITH", "HOLD"]);
        if !hold {
            self.accept(&["WITHOUT", "HOLD"]);
        }
        self.expect(&["FOR"])?;
        let query = self.parser.parse_query()?;
        Ok(Statement::Declare(Box::new(Declare {
            name,
            binary,
            scroll,
            hold,
            query,
            text: self.text.trim().trim_end_matches(';').to_string(),
        })))
    }

    /// `{FETCH | MOVE} [direction] [FROM | IN] name`.
    pub(super) fn fetch(&mut self) -> Result<Statement> {
        let only_moves = self.word(0) == "MOVE";
        self.skip(1);
        let target = self.target()?;
        if !self.accept(&["FROM"]) {
            self.accept(&["IN"]);
        }
        let name = self.simple_name()?;
        Ok(Statement::Fetch(Fetch {
            name,
            target,
            only_moves,
        }))
    }

    fn target(&mut self) -> Result<Target> {
        // A word alone is the cursor's name, whatever it is.
        let is_name = matches!(
            self.parser.peek_nth_token_ref(1).token,
            Token::EOF | Token::SemiColon
        );
        let word = if is_name { String::new() } else { self.word(0) };
        let target = match word.as_str() {
            "NEXT" => Target::Forward(Some(1)),
            "PRIOR" => Target::Backward(Some(1)),
            "FIRST" => Target::Absolute(1),
            "LAST" => Target::Absolute(-1),
            "ALL" => Target::Forward(None),
            "ABSOLUTE" => {
                self.skip(1);
                return Ok(Target::Absolute(self.signed_number()?));
            }
            "RELATIVE" => {
                self.skip(1);
                return Ok(Target::Relative(self.signed_number()?));
            }
            "FORWARD" | "BACKWARD" => {
                self.skip(1);
                let forward = word == "FORWARD";
                return self.count(forward);
            }
            _ => return self.count(true),
        };
        self.skip(1);
        Ok(target)
    }

    /// `[n | ALL]`; a number below zero turns around.
    fn count(&mut self, forward: bool) -> Result<Target> {
        let is_number = matches!(
            self.parser.peek_token_ref().token,
            Token::Number(..) | Token::Minus | Token::Plus
        );
        let (forward, most) = if is_number {
            let number = self.signed_number()?;
            (forward == (number >= 0), Some(number.unsigned_abs()))
        } else {
            let names_all = self.word(0) == "ALL"
                && !matches!(
                    self.parser.peek_nth_token_ref(1).token,
                    Token::EOF | Token::SemiColon
                );
            match names_all && self.accept(&["ALL"]) {
                true => (forward, None),
                false => (forward, Some(1)),
            }
        };
        Ok(match forward {
            true => Target::Forward(most),
            false => Target::Backward(most),
        })
    }

    fn signed_number(&mut self) -> Result<i64> {
        let negative = self.parser.consume_token(&Token::Minus);
        if !negative {
            let _ = self.parser.consume_token(&Token::Plus);
        }
        let Token::Number(digits, _) = self.parser.peek_token().token else {
            return Err(self.unexpected("a number"));
        };
        let number: i32 = digits
            .parse()
            .map_err(|_| self.unexpected("a whole number"))?;
        self.skip(1);
        Ok(i64::from(if negative { -number } else { number }))
    }

    /// `CLOSE {name | ALL}`.
    pub(super) fn close(&mut self) -> Result<Statement> {
        self.skip(1);
        let all = self.accept(&["ALL"]);
        let name = if all { None } else { Some(self.simple_name()?) };
        Ok(Statement::Close(name))
    }

    /// `PREPARE name [(type, ..)] AS statement`.
    pub(super) fn prepare(&mut self) -> Result<Statement> {
        self.skip(1);
        let name = self.simple_name()?;
        let mut types = Vec::new();
        if self.parser.consume_token(&Token::LParen) {
            types = self.comma_separated(|g| Ok(g.parser.parse_data_type()?))?;
            self.parser.expect_token(&Token::RParen)?;
        }
        self.expect(&["AS"])?;
        self.check_not_nested()?;
        let statement = self.statement()?;
        if statement.is_about_session() {
            let message = "only statements that read or write data can be prepared";
            return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message));
        }
        Ok(Statement::Prepare(Box::new(Prepare {
            name,
            types,
            statement,
            text: self.text.trim().trim_end_matches(';').to_string(),
        })))
    }

    /// `EXECUTE name [(value, ..)]`.
    pub(in crate::sql) fn execute(&mut self) -> Result<Statement> {
        self.skip(1);
        let name = self.simple_name()?;
        let mut values = Vec::new();
        if self.parser.consume_token(&Token::LParen) && !self.parser.consume_token(&Token::RParen) {
            values = self.comma_separated(|g| Ok(g.parser.parse_expr()?))?;
            self.parser.expect_token(&Token::RParen)?;
        }
        Ok(Statement::Execute(Box::new(Execute { name, values })))
    }

    /// `DEALLOCATE [PREPARE] {name | ALL}`.
    pub(super) fn deallocate(&mut self) -> Result<Statement> {
        self.skip(1);
        self.accept(&["PREPARE"]);
        let all = self.accept(&["ALL"]);
        let name = if all { None } else { Some(self.simple_name()?) };
        Ok(Statement::Deallocate(name))
    }

    fn simple_name(&mut self) -> Result<String> {
        Ok(fold(&self.parser.parse_identifier()?))
    }
}
