//! The grammar of COMPACT, and of the statements about compaction jobs.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::{Grammar, duration};
use crate::error::{Error, Result, sqlstate};
use crate::settings::{ByteSize, parse};
use crate::sql::statement::{Compact, Statement};
use crate::storage::schema::JobId;

impl Grammar<'_> {
    /// `COMPACT {[TABLE | COLLECTION] name | ALL} [WITH {CLUSTERING | (option, ..)}] [FULL] [WAIT]`.
    pub(super) fn compact(&mut self) -> Result<Statement> {
        self.skip(1);
        let mut compact = Compact::default();
        if !self.accept(&["ALL"]) {
            if !self.accept(&["TABLE"]) {
                self.accept(&["COLLECTION"]);
            }
            compact.name = Some(self.name()?);
        }
        if self.accept(&["WITH"]) {
            if self.parser.peek_token().token == Token::LParen {
                self.compact_options(&mut compact)?;
            } else {
                self.expect(&["CLUSTERING"])?;
                compact.clustering = true;
            }
        }
        compact.full |= self.accept(&["FULL"]);
        compact.wait |= self.accept(&["WAIT"]);
        check(&compact)?;
        Ok(Statement::Compact(Box::new(compact)))
    }

    fn compact_options(&mut self, compact: &mut Compact) -> Result<()> {
        self.parser.expect_token(&Token::LParen)?;
        let mut seen = Vec::new();
        loop {
            let option = self.word(0);
            if option.is_empty() {
                return Err(self.unexpected("an option"));
            }
            if seen.contains(&option) {
                return Err(self.unexpected("each option once"));
            }
            self.compact_option(compact, &option)?;
            seen.push(option);
            if !self.parser.consume_token(&Token::Comma) {
                break;
            }
        }
        self.parser.expect_token(&Token::RParen)?;
        Ok(())
    }

    fn compact_option(&mut self, compact: &mut Compact, option: &str) -> Result<()> {
        let flag = match option {
            "CLUSTERING" => &mut compact.clustering,
            "FULL" => &mut compact.full,
            "WAIT" => &mut compact.wait,
            "WHERE" => {
                self.skip(1);
                compact.filter = Some(self.parser.parse_expr()?);
                return Ok(());
            }
            "TARGET_SIZE" => {
                compact.target_size = Some(self.size(option, ByteSize::mib(1))?);
                return Ok(());
            }
            "LIMIT" => {
                compact.limit = Some(self.size(option, ByteSize(1))?);
                return Ok(());
            }
            _ => {
                let message = format!("unrecognized COMPACT option \"{}\"", option.to_lowercase());
                let hint = "The options are CLUSTERING, FULL, WAIT, TARGET_SIZE, WHERE and LIMIT.";
                return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message).with_hint(hint));
            }
        };
        self.skip(1);
        *flag = self.flag(option)?;
        Ok(())
    }

    /// `[[=] on | off]`; nothing is on.
    fn flag(&mut self, option: &str) -> Result<bool> {
        let _ = self.parser.consume_token(&Token::Eq);
        if matches!(self.parser.peek_token().token, Token::Comma | Token::RParen) {
            return Ok(true);
        }
        parse(option, &self.option_value()?, ..)
    }

    /// `[=] '256MB'`, or `256MB` as it is.
    fn size(&mut self, option: &str, least: ByteSize) -> Result<ByteSize> {
        self.skip(1);
        let _ = self.parser.consume_token(&Token::Eq);
        let most = match option {
            "TARGET_SIZE" => ByteSize::mib(16_384),
            _ => ByteSize(u64::MAX),
        };
        let mut text = self.option_value()?;
        if matches!(self.parser.peek_token_ref().token, Token::Word(_)) {
            text.push_str(&self.word(0));
            self.skip(1);
        }
        parse(option, &text, least..=most)
    }

    fn job_id(&mut self) -> Result<JobId> {
        Ok(JobId(self.parser.parse_literal_uint()?))
    }

    /// `SHOW COMPACTION [STATE] n`.
    pub(super) fn show_compaction(&mut self) -> Result<Statement> {
        self.skip(2);
        self.accept(&["STATE"]);
        Ok(Statement::ShowCompaction(self.job_id()?))
    }

    /// `SHOW COMPACTIONS [FOR name]`.
    pub(super) fn show_compactions(&mut self) -> Result<Statement> {
        self.skip(2);
        let name = match self.accept(&["FOR"]) {
            true => Some(self.name()?),
            false => None,
        };
        Ok(Statement::ShowCompactions(name))
    }

    /// `WAIT FOR COMPACTION n [TIMEOUT '..']`.
    pub(super) fn wait_for(&mut self) -> Result<Statement> {
        self.skip(2);
        self.expect(&["COMPACTION"])?;
        let job = self.job_id()?;
        let timeout = match self.accept(&["TIMEOUT"]) {
            true => Some(duration(&self.option_value()?)?),
            false => None,
        };
        Ok(Statement::WaitForCompaction { job, timeout })
    }

    /// `CANCEL COMPACTION n`.
    pub(super) fn cancel_compaction(&mut self) -> Result<Statement> {
        self.skip(2);
        Ok(Statement::CancelCompaction(self.job_id()?))
    }
}

fn check(compact: &Compact) -> Result<()> {
    if compact.full && !compact.clustering {
        let message = "FULL goes with CLUSTERING";
        return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message)
            .with_hint("COMPACT book WITH (CLUSTERING, FULL)"));
    }
    if compact.name.is_none() && compact.filter.is_some() {
        let message = "WHERE goes with one collection, not with ALL";
        return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message));
    }
    Ok(())
}
