//! The grammar of statements about transaction blocks.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::{Grammar, fold};
use crate::error::{Error, Result, sqlstate};
use crate::sql::statement::Statement;
use crate::sql::transaction::{Isolation, Modes, TransactionStatement};

impl Grammar<'_> {
    /// Whether the next words begin a statement about a transaction block.
    pub(super) fn is_transaction(&self) -> bool {
        match self.word(0).as_str() {
            "BEGIN" | "COMMIT" | "END" | "ROLLBACK" | "ABORT" | "SAVEPOINT" | "RELEASE" => true,
            "START" => self.word(1) == "TRANSACTION",
            "PREPARE" => self.word(1) == "TRANSACTION",
            "SET" => {
                self.word(1) == "TRANSACTION"
                    && matches!(
                        self.word(2).as_str(),
                        "ISOLATION" | "READ" | "NOT" | "DEFERRABLE" | "SNAPSHOT"
                    )
            }
            _ => false,
        }
    }

    pub(super) fn transaction(&mut self) -> Result<Statement> {
        let first = self.word(0);
        self.skip(1);
        let statement = match first.as_str() {
            "BEGIN" => {
                self.transaction_word();
                let modes = self.modes()?;
                TransactionStatement::Begin {
                    tag: "BEGIN",
                    modes,
                }
            }
            "START" => {
                self.expect(&["TRANSACTION"])?;
                let (tag, modes) = ("START TRANSACTION", self.modes()?);
                TransactionStatement::Begin { tag, modes }
            }
            "COMMIT" | "END" => {
                self.refuse_two_phase()?;
                let chain = self.chain()?;
                TransactionStatement::Commit { chain }
            }
            "ROLLBACK" | "ABORT" => {
                self.refuse_two_phase()?;
                self.transaction_word();
                if first == "ROLLBACK" && self.accept(&["TO"]) {
                    self.accept(&["SAVEPOINT"]);
                    TransactionStatement::RollbackTo(self.savepoint_name()?)
                } else {
                    let chain = self.chain()?;
                    TransactionStatement::Rollback { chain }
                }
            }
            "SAVEPOINT" => TransactionStatement::Savepoint(self.savepoint_name()?),
            "RELEASE" => {
                self.accept(&["SAVEPOINT"]);
                TransactionStatement::Release(self.savepoint_name()?)
            }
            "PREPARE" => {
                self.expect(&["TRANSACTION"])?;
                self.parser.parse_literal_string()?;
                TransactionStatement::Prepare
            }
            _ => {
                self.expect(&["TRANSACTION"])?;
                if self.word(0) == "SNAPSHOT" {
                    return Err(Error::unsupported(
                        "SET TRANSACTION SNAPSHOT is not supported",
                    ));
                }
                let modes = self.modes()?;
                if modes == Modes::default() {
                    return Err(self.unexpected("a transaction mode"));
                }
                TransactionStatement::SetModes(modes)
            }
        };
        Ok(Statement::Transaction(statement))
    }

    fn transaction_word(&mut self) {
        if !self.accept(&["WORK"]) {
            self.accept(&["TRANSACTION"]);
        }
    }

    /// `[WORK | TRANSACTION] [AND [NO] CHAIN]`.
    fn chain(&mut self) -> Result<bool> {
        self.transaction_word();
        if !self.accept(&["AND"]) {
            return Ok(false);
        }
        let chain = !self.accept(&["NO"]);
        self.expect(&["CHAIN"])?;
        Ok(chain)
    }

    /// COMMIT PREPARED and ROLLBACK PREPARED: there are no such transactions.
    fn refuse_two_phase(&mut self) -> Result<()> {
        if !self.accept(&["PREPARED"]) {
            return Ok(());
        }
        let name = self.parser.parse_literal_string()?;
        let message = format!("prepared transaction with identifier \"{name}\" does not exist");
        Err(Error::not_found(sqlstate::UNDEFINED_OBJECT, message))
    }

    fn savepoint_name(&mut self) -> Result<String> {
        Ok(fold(&self.parser.parse_identifier()?))
    }

    /// Transaction modes, with or without commas between them.
    pub(super) fn modes(&mut self) -> Result<Modes> {
        let mut modes = Modes::default();
        loop {
            let before = modes;
            if self.accept(&["ISOLATION", "LEVEL"]) {
                modes.isolation = Some(self.isolation()?);
            } else if self.accept(&["READ", "ONLY"]) {
                modes.read_only = Some(true);
            } else if self.accept(&["READ", "WRITE"]) {
                modes.read_only = Some(false);
            } else if self.accept(&["NOT", "DEFERRABLE"]) {
                modes.deferrable = Some(false);
            } else if self.accept(&["DEFERRABLE"]) {
                modes.deferrable = Some(true);
            } else if before == Modes::default() {
                return Ok(modes);
            } else {
                return Err(self.unexpected("a transaction mode"));
            }
            let comma = self.parser.consume_token(&Token::Comma);
            let more = matches!(
                self.word(0).as_str(),
                "ISOLATION" | "READ" | "NOT" | "DEFERRABLE"
            );
            if !comma && !more {
                return Ok(modes);
            }
        }
    }

    fn isolation(&mut self) -> Result<Isolation> {
        let name = [self.word(0), self.word(1)].join(" ");
        if self.accept(&["SERIALIZABLE"]) {
            return Ok(Isolation::Serializable);
        }
        let level =
            Isolation::from_name(&name).ok_or_else(|| self.unexpected("an isolation level"))?;
        self.skip(2);
        Ok(level)
    }
}
