//! The grammar of statements that scripts for PostgreSQL have and that need nothing here.

use std::time::Duration;

use datafusion::sql::sqlparser::ast::ObjectName;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::{Grammar, duration, fold};
use crate::error::{Error, Result, sqlstate};
use crate::settings::parse;
use crate::sql::scripts::{MissingKind, Script};
use crate::sql::statement::{Statement, Vacuum};

/// What VACUUM, ANALYZE and CLUSTER may be told as words.
const MAINTENANCE_WORDS: [&str; 5] = ["FULL", "FREEZE", "VERBOSE", "ANALYZE", "ANALYSE"];
/// PostgreSQL's options of VACUUM in parentheses, which change nothing here.
const VACUUM_OPTIONS: [&str; 11] = [
    "full",
    "freeze",
    "verbose",
    "analyze",
    "disable_page_skipping",
    "skip_locked",
    "index_cleanup",
    "process_toast",
    "truncate",
    "parallel",
    "analyse",
];
/// Those of ANALYZE.
const ANALYZE_OPTIONS: [&str; 2] = ["verbose", "skip_locked"];

impl Grammar<'_> {
    /// Whether the next words begin one of these statements.
    pub(super) fn is_script(&self) -> bool {
        match self.word(0).as_str() {
            "DROP" if self.missing_kind().is_some() => true,
            "CREATE" | "DROP" if self.word(1) == "DATABASE" => true,
            "CREATE" | "DROP" | "ALTER" => self.word(1) == "EXTENSION",
            "COMMENT" => self.word(1) == "ON",
            "SET" => self.word(1) == "CONSTRAINTS",
            "ANALYZE" | "ANALYSE" | "CLUSTER" | "REINDEX" | "CHECKPOINT" | "LOCK" | "LISTEN"
            | "UNLISTEN" | "NOTIFY" | "DO" => true,
            _ => false,
        }
    }

    pub(super) fn script(&mut self) -> Result<Statement> {
        let first = self.word(0);
        let script = match first.as_str() {
            "CREATE" | "DROP" if self.word(1) == "DATABASE" => self.database()?,
            "CREATE" => self.create_extension()?,
            "DROP" => match self.missing_kind() {
                Some((kind, words)) => self.drop_missing(kind, words)?,
                None => self.drop_extension()?,
            },
            "ALTER" => self.alter_extension()?,
            "COMMENT" => {
                self.expect(&["COMMENT", "ON"])?;
                self.skip_rest();
                Script::Comment
            }
            "ANALYZE" | "ANALYSE" => {
                self.skip(1);
                for (option, _) in self.maintenance_options()? {
                    if !ANALYZE_OPTIONS.contains(&option.as_str()) {
                        return Err(unknown_option("ANALYZE", &option));
                    }
                }
                Script::Analyze(self.maintained()?)
            }
            "CLUSTER" => self.cluster()?,
            "REINDEX" => {
                self.skip_rest();
                Script::Reindex
            }
            "CHECKPOINT" => {
                self.skip(1);
                Script::Checkpoint
            }
            "LOCK" => self.lock()?,
            "SET" => self.set_constraints()?,
            "LISTEN" => {
                self.skip(1);
                Script::Listen(self.channel()?)
            }
            "UNLISTEN" => {
                self.skip(1);
                let is_all = self.parser.consume_token(&Token::Mul);
                Script::Unlisten(match is_all {
                    true => None,
                    false => Some(self.channel()?),
                })
            }
            "NOTIFY" => {
                self.skip(1);
                let channel = self.channel()?;
                let payload = match self.parser.consume_token(&Token::Comma) {
                    true => self.quoted_text("a payload as a text")?,
                    false => String::new(),
                };
                Script::Notify { channel, payload }
            }
            _ => return Err(Error::unsupported(format!("{first} is not supported"))),
        };
        Ok(Statement::Script(Box::new(script)))
    }

    fn channel(&mut self) -> Result<String> {
        Ok(fold(&self.parser.parse_identifier()?))
    }

    /// `VACUUM [(option, ..) | FULL ..] [table, ..] [RETAIN '7 days'] [DRY RUN]`; the last two in any order, or among the
    /// options in parentheses.
    pub(super) fn vacuum(&mut self) -> Result<Statement> {
        self.skip(1);
        let mut vacuum = Vacuum::default();
        for (option, value) in self.maintenance_options()? {
            match option.as_str() {
                "retain" => vacuum.retain = Some(retention(&value)?),
                "dry_run" => vacuum.dry_run = parse("DRY_RUN", &value, ..)?,
                option if VACUUM_OPTIONS.contains(&option) => {}
                option => return Err(unknown_option("VACUUM", option)),
            }
        }
        if !self.at_end() && !self.retains() && !self.runs_dry() {
            vacuum.names = self.maintained()?;
        }
        loop {
            if vacuum.retain.is_none() && self.retains() {
                self.skip(1);
                vacuum.retain = Some(self.retention()?);
            } else if !vacuum.dry_run && self.runs_dry() {
                self.skip(2);
                vacuum.dry_run = true;
            } else {
                return Ok(Statement::Vacuum(vacuum));
            }
        }
    }

    /// `'7 days'` or `7 DAYS`.
    fn retention(&mut self) -> Result<Duration> {
        let mut text = self.option_value()?;
        if !self.runs_dry() && matches!(self.parser.peek_token_ref().token, Token::Word(_)) {
            text = format!("{text} {}", self.word(0).to_lowercase());
            self.skip(1);
        }
        retention(&text)
    }

    fn retains(&self) -> bool {
        let next = &self.parser.peek_nth_token_ref(1).token;
        self.word(0) == "RETAIN" && matches!(next, Token::SingleQuotedString(_) | Token::Number(..))
    }

    fn runs_dry(&self) -> bool {
        self.word(0) == "DRY" && self.word(1) == "RUN"
    }

    /// What PostgreSQL's statements of maintenance may be told: words, which change nothing here, or options.
    fn maintenance_options(&mut self) -> Result<Vec<(String, String)>> {
        if self.parser.peek_token_ref().token == Token::LParen {
            return self.options();
        }
        while MAINTENANCE_WORDS.contains(&self.word(0).as_str()) {
            self.skip(1);
        }
        Ok(Vec::new())
    }

    /// Tables, with columns or without; none where the statement ends.
    fn maintained(&mut self) -> Result<Vec<ObjectName>> {
        if self.at_end() {
            return Ok(Vec::new());
        }
        self.comma_separated(|g| {
            let name = g.name()?;
            if g.parser.peek_token_ref().token == Token::LParen {
                g.names_in_parentheses()?;
            }
            Ok(name)
        })
    }

    fn at_end(&self) -> bool {
        matches!(
            self.parser.peek_token_ref().token,
            Token::EOF | Token::SemiColon
        )
    }

    fn skip_rest(&mut self) {
        while !self.at_end() {
            self.skip(1);
        }
    }

    fn create_extension(&mut self) -> Result<Script> {
        self.skip(2);
        let if_not_exists = self.if_not_exists();
        let name = fold(&self.parser.parse_identifier()?);
        self.accept(&["WITH"]);
        while matches!(self.word(0).as_str(), "SCHEMA" | "VERSION") {
            self.skip(2);
        }
        self.accept(&["CASCADE"]);
        Ok(Script::CreateExtension {
            name,
            if_not_exists,
        })
    }

    fn drop_extension(&mut self) -> Result<Script> {
        self.skip(2);
        let if_exists = self.if_exists();
        let names = self.comma_separated(|g| Ok(fold(&g.parser.parse_identifier()?)))?;
        if !self.accept(&["CASCADE"]) {
            self.accept(&["RESTRICT"]);
        }
        Ok(Script::DropExtension { names, if_exists })
    }

    /// `CREATE DATABASE name [options]`, `DROP DATABASE [IF EXISTS] name [[WITH] (FORCE)]`.
    fn database(&mut self) -> Result<Script> {
        let creates = self.word(0) == "CREATE";
        self.skip(2);
        let if_exists = !creates && self.if_exists();
        let name = fold(&self.parser.parse_identifier()?);
        if creates {
            self.skip_rest();
            return Ok(Script::CreateDatabase(name));
        }
        let is_with = self.accept(&["WITH"]);
        if is_with || self.parser.peek_token_ref().token == Token::LParen {
            self.parser.expect_token(&Token::LParen)?;
            self.expect(&["FORCE"])?;
            self.parser.expect_token(&Token::RParen)?;
        }
        Ok(Script::DropDatabase { name, if_exists })
    }

    /// The kind that DROP names, and how many words it is.
    fn missing_kind(&self) -> Option<(MissingKind, usize)> {
        MissingKind::of_words(&self.word(1), &self.word(2))
    }

    /// `DROP kind [IF EXISTS] name [(types)] [ON table], .. [CASCADE | RESTRICT]`.
    fn drop_missing(&mut self, kind: MissingKind, words: usize) -> Result<Script> {
        self.skip(1 + words);
        let if_exists = self.if_exists();
        let names = self.comma_separated(|g| {
            let name = g.name()?;
            if g.parser.peek_token_ref().token == Token::LParen {
                let ((), types) = g.with_text(|g| {
                    g.skip_brackets();
                    Ok(())
                })?;
                return Ok(format!("{name}{types}"));
            }
            let quoted = format!("\"{}\"", name.to_string().replace('"', ""));
            match g.accept(&["ON"]) {
                true => Ok(format!("{quoted} for relation \"{}\"", g.name()?)),
                false => Ok(quoted),
            }
        })?;
        self.cascades();
        Ok(Script::DropMissing {
            kind,
            names,
            if_exists,
        })
    }

    /// Skips what stands in brackets.
    fn skip_brackets(&mut self) {
        let mut depth = 0;
        while !self.at_end() {
            match self.parser.next_token().token {
                Token::LParen => depth += 1,
                Token::RParen => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return;
            }
        }
    }

    fn alter_extension(&mut self) -> Result<Script> {
        self.skip(2);
        let name = fold(&self.parser.parse_identifier()?);
        self.expect(&["UPDATE"])?;
        if self.accept(&["TO"]) {
            self.skip(1);
        }
        Ok(Script::AlterExtension(name))
    }

    /// `CLUSTER [VERBOSE] [table [USING index]]`.
    fn cluster(&mut self) -> Result<Script> {
        self.skip(1);
        self.accept(&["VERBOSE"]);
        if self.at_end() {
            return Ok(Script::Cluster(None));
        }
        let name = self.name()?;
        if self.accept(&["USING"]) {
            self.parser.parse_identifier()?;
        }
        Ok(Script::Cluster(Some(name)))
    }

    /// `SET CONSTRAINTS { ALL | name, .. } { DEFERRED | IMMEDIATE }`.
    fn set_constraints(&mut self) -> Result<Script> {
        self.skip(2);
        let names = match self.accept(&["ALL"]) {
            true => Vec::new(),
            false => self.comma_separated(Self::name)?,
        };
        let deferred = self.accept(&["DEFERRED"]);
        if !deferred {
            self.expect(&["IMMEDIATE"])?;
        }
        Ok(Script::SetConstraints { names, deferred })
    }

    /// `LOCK [TABLE] [ONLY] table, .. [IN .. MODE] [NOWAIT]`.
    fn lock(&mut self) -> Result<Script> {
        self.skip(1);
        self.accept(&["TABLE"]);
        self.accept(&["ONLY"]);
        let names = self.comma_separated(Self::name)?;
        if self.accept(&["IN"]) {
            while !self.at_end() && self.word(0) != "MODE" {
                self.skip(1);
            }
            self.expect(&["MODE"])?;
        }
        self.accept(&["NOWAIT"]);
        Ok(Script::Lock(names))
    }
}

/// How long versions are kept. A number without a unit would be milliseconds, as everywhere, which nobody means who forgets
/// versions by it: only 0 needs none.
fn retention(text: &str) -> Result<Duration> {
    match text.trim().parse() {
        Ok(0) => Ok(Duration::ZERO),
        Ok::<u64, _>(_) => {
            let message = format!("invalid duration \"{text}\"");
            Err(Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message)
                .with_hint("Write it with a unit, like '600s', '10 min' or '7 days'."))
        }
        Err(_) => duration(text),
    }
}

fn unknown_option(statement: &str, option: &str) -> Error {
    let message = format!("unrecognized {statement} option \"{option}\"");
    Error::invalid(sqlstate::SYNTAX_ERROR, message)
}
