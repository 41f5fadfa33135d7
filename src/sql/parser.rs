//! The grammar of our own statements; everything else goes to DataFusion's parser.

use std::time::Duration;

use datafusion::sql::parser::DFParserBuilder;
use datafusion::sql::sqlparser::ast::{self, Ident, ObjectName};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

pub(super) use self::conflict_target::{EXPRESSION, PREDICATE};
use self::select_into::table_of_into;
pub(super) use self::subscripts::{OPEN, is_subscript};
use super::access::grammar::role;
use super::complexity::{BRACKETS_MAX, Limits};
use super::dialect::BoundedDialect;
use super::explain::ExplainOptions;
use super::mend::mend_statement;
use super::parameters::place_of;
use super::statement::{AlterWord, Drop, DropKind, Explain, Persistence, Statement};
use super::tokens::{is_blank, tokenize};
use super::{
    access, comment, copy, define, dml, domains, enums, export, index, rename_schema, routine,
    sequence, versions,
};
use crate::error::{Error, Result, sqlstate};

/// Parses one statement within the default limits; a semicolon after it is allowed.
///
/// # Errors
/// 42601 with the position, 54000 and 54001 for what is too long or too complex.
pub fn parse(text: &str) -> Result<Statement> {
    parse_within(text, &Limits::default())
}

/// [`parse`] within other limits.
///
/// # Errors
/// Those of [`parse`].
pub fn parse_within(text: &str, limits: &Limits) -> Result<Statement> {
    let statement = parse_with(text, limits, |g| g.statement())?;
    let mut statement = table_of_into(statement);
    mend_statement(&mut statement)?;
    Ok(statement)
}

/// The query of a text that was parsed before, as its author wrote it: nothing in it is mended.
///
/// # Errors
/// Those of [`parse`].
pub(super) fn parse_query_as_written(text: &str) -> Result<Box<ast::Query>> {
    parse_with(text, &Limits::default(), |g| Ok(g.parser.parse_query()?))
}

/// As [`parse_query_as_written`], for an expression.
///
/// # Errors
/// Those of [`parse`].
pub(super) fn parse_expr_as_written(text: &str) -> Result<ast::Expr> {
    parse_with(text, &Limits::default(), |g| Ok(g.parser.parse_expr()?))
}

/// What `read` makes of all of the text.
fn parse_with<T>(
    text: &str,
    limits: &Limits,
    read: impl FnOnce(&mut Grammar<'_>) -> Result<T>,
) -> Result<T> {
    limits.check_text(text)?;
    let mut tokens = tokenize(text)?;
    limits.check_tokens(&tokens)?;
    check_parameters(&tokens)?;
    let has_versions = versions::mend_tokens(&mut tokens);
    subscripts::mend_tokens(&mut tokens);
    conflict_target::mend_tokens(&mut tokens);
    let dialect = BoundedDialect::new(tokens.len()).with_versions(has_versions);
    let parser = Parser::new(&dialect)
        .with_recursion_limit(BRACKETS_MAX)
        .with_tokens_with_locations(tokens.clone());
    let mut grammar = Grammar {
        parser,
        dialect: &dialect,
        text,
        tokens,
    };
    let value = read(&mut grammar)?;
    grammar.end()?;
    Ok(value)
}

/// # Errors
/// Those of [`place_of`], with the position.
fn check_parameters(tokens: &[TokenWithSpan]) -> Result<()> {
    for token in tokens {
        if let Token::Placeholder(id) = &token.token {
            let place = token.span.start;
            place_of(id).map_err(|e| e.with_position(place.line, place.column))?;
        }
    }
    Ok(())
}

/// A parser over the tokens of one statement.
pub(super) struct Grammar<'a> {
    pub(super) parser: Parser<'a>,
    dialect: &'a BoundedDialect,
    text: &'a str,
    tokens: Vec<TokenWithSpan>,
}

impl Grammar<'_> {
    fn statement(&mut self) -> Result<Statement> {
        let first = self.word(0);
        let second = self.word(1);
        if let Some(statement) = access::grammar::statement(self)? {
            return Ok(Statement::Access(Box::new(statement)));
        }
        match (first.as_str(), second.as_str()) {
            _ if self.is_transaction() => self.transaction(),
            _ if comment::is_comment(self) => comment::parse(self),
            _ if self.is_routine() => routine::parse(self),
            _ if self.is_script() => self.script(),
            ("EXPLAIN", _) => self.explain(),
            ("CREATE", _) if self.creates_ours() => self.create(),
            ("CREATE", "INDEX") | ("CREATE", "UNIQUE") => index::parse_create(self),
            ("DROP", "INDEX") => index::parse_drop(self),
            ("ALTER", "INDEX") => index::parse_alter(self),
            ("ALTER", "SCHEMA") => rename_schema::parse(self),
            ("CREATE" | "ALTER" | "DROP", "SEQUENCE") => sequence::parse(self),
            ("CREATE" | "ALTER" | "DROP", "TYPE") => enums::parse(self),
            ("CREATE" | "ALTER" | "DROP", "DOMAIN") => domains::parse(self),
            ("DROP", "TABLE" | "COLLECTION" | "VIEW" | "SCHEMA" | "MATERIALIZED") => self.drop(),
            ("ALTER", "TABLE" | "COLLECTION" | "VIEW" | "MATERIALIZED") => self.alter(),
            ("REFRESH", "MATERIALIZED") => define::refresh(self),
            ("TRUNCATE", _) => self.truncate(),
            ("INSERT", _) => self.insert(),
            ("UPDATE", _) => {
                let token = self.parser.next_token();
                match self.parser.parse_update(token)? {
                    ast::Statement::Update(update) => Ok(Statement::Update(Box::new(update))),
                    _ => Err(Error::unsupported("this form of UPDATE is not supported")),
                }
            }
            ("DELETE", _) => {
                let token = self.parser.next_token();
                match self.parser.parse_delete(token)? {
                    ast::Statement::Delete(delete) => Ok(Statement::Delete(Box::new(delete))),
                    _ => Err(Error::unsupported("this form of DELETE is not supported")),
                }
            }
            ("MERGE", "INTO") => dml::parse_merge(self).map(|m| Statement::Merge(Box::new(m))),
            ("WITH", _) if self.merge_behind().is_some() => self.with_merge(),
            ("COPY", _) => copy::grammar::copy(self),
            ("COMPACT", _) => self.compact(),
            ("SHOW", "COMPACTION") => self.show_compaction(),
            ("SHOW", "COMPACTIONS") => self.show_compactions(),
            ("SHOW", word) if !matches!(word, "TABLES" | "COLUMNS" | "FUNCTIONS" | "CREATE") => {
                self.show()
            }
            ("WAIT", "FOR") => self.wait_for(),
            ("CANCEL", "COMPACTION") => self.cancel_compaction(),
            ("VACUUM", _) => self.vacuum(),
            ("EXPORT", "TABLE" | "COLLECTION") => export::parse(self),
            ("BACKUP", "DATABASE") if self.word(2) == "TO" => {
                self.skip(3);
                Ok(Statement::Backup(self.parser.parse_literal_string()?))
            }
            ("CHECK", "TABLE" | "COLLECTION") => {
                self.skip(2);
                Ok(Statement::CheckTable(self.parser.parse_object_name(false)?))
            }
            ("DECLARE", _) => self.declare(),
            ("FETCH" | "MOVE", _) => self.fetch(),
            ("CLOSE", _) => self.close(),
            ("PREPARE", _) => self.prepare(),
            ("EXECUTE", _) => self.execute(),
            ("DEALLOCATE", _) => self.deallocate(),
            ("ALTER", "SYSTEM") => Err(Error::unsupported("ALTER SYSTEM is not supported")
                .with_hint("Settings of the whole database are given when it is opened.")),
            ("SET", _) => self.set(),
            ("RESET", _) => self.reset(),
            ("DISCARD", _) => self.discard(),
            ("TABLE", _) => {
                self.skip(1);
                self.other(&tokenize("SELECT * FROM ")?)
            }
            _ => self.other(&[]),
        }
    }

    /// The rest of the tokens, with others before them, as a statement of DataFusion's.
    fn other(&mut self, before: &[TokenWithSpan]) -> Result<Statement> {
        let rest = &self.tokens[self.parser.index()..];
        let rest = [before, rest].concat();
        let mut parser = DFParserBuilder::new(rest)
            .with_dialect(self.dialect)
            .with_recursion_limit(BRACKETS_MAX)
            .build()?;
        let statement = parser.parse_statement()?;
        let left = std::iter::from_fn(|| Some(parser.parser.next_token()))
            .take_while(|t| t.token != Token::EOF)
            .find(|t| t.token != Token::SemiColon);
        if let Some(left) = left {
            let message = format!("syntax error at or near \"{}\"", left.token);
            let place = left.span.start;
            return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message)
                .with_position(place.line, place.column));
        }
        while self.parser.peek_token().token != Token::EOF {
            self.parser.next_token();
        }
        Ok(Statement::DataFusion(Box::new(statement)))
    }

    /// Where MERGE INTO stands behind WITH.
    fn merge_behind(&self) -> Option<usize> {
        let mut depth = 0_usize;
        let mut was_merge = None;
        for (at, token) in self.tokens.iter().enumerate() {
            match &token.token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.saturating_sub(1),
                Token::Word(word) if word.keyword == Keyword::INTO && was_merge.is_some() => {
                    return was_merge;
                }
                token if is_blank(token) => continue,
                _ => {}
            }
            let is_merge =
                matches!(&token.token, Token::Word(word) if word.keyword == Keyword::MERGE);
            was_merge = (is_merge && depth == 0).then_some(at);
        }
        None
    }

    /// `WITH .. MERGE INTO ..`: sqlparser does not read all that MERGE may do.
    fn with_merge(&mut self) -> Result<Statement> {
        let at = self.merge_behind().unwrap_or(self.tokens.len());
        let with = &self.tokens[self.parser.index()..at];
        let query = [with, &tokenize(" SELECT 1")?].concat();
        let query = Parser::new(self.dialect)
            .with_recursion_limit(BRACKETS_MAX)
            .with_tokens_with_locations(query)
            .parse_query()?;
        while self.parser.index() < at {
            self.parser.next_token_no_skip();
        }
        dml::with_merge(query, dml::parse_merge(self)?)
    }

    fn end(&mut self) -> Result<()> {
        let mut ended = false;
        while self.parser.consume_token(&Token::SemiColon) {
            ended = true;
        }
        match self.parser.peek_token().token {
            Token::EOF => Ok(()),
            _ if ended => Err(Error::invalid(
                sqlstate::SYNTAX_ERROR,
                "cannot insert multiple commands into a prepared statement",
            )),
            _ => Err(self.unexpected("end of statement")),
        }
    }

    /// `EXPLAIN [(option value, ..)] statement`, or the words of older versions.
    fn explain(&mut self) -> Result<Statement> {
        self.skip(1);
        let mut options = ExplainOptions::default();
        let listed = self.parser.peek_token_ref().token == Token::LParen
            && !matches!(
                self.word(1).as_str(),
                "" | "SELECT" | "WITH" | "VALUES" | "TABLE"
            );
        if listed {
            for (name, value) in self.options()? {
                options.set(&name, &value)?;
            }
        } else {
            options.analyze = self.accept(&["ANALYZE"]) || self.accept(&["ANALYSE"]);
            options.verbose = self.accept(&["VERBOSE"]);
            if self.accept(&["FORMAT"]) {
                options.set_format(&self.option_value()?)?;
            }
        }
        options.check()?;
        self.check_not_nested()?;
        let statement = self.statement()?;
        if statement.is_about_session() {
            let message = "EXPLAIN takes a statement that reads or writes data";
            return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message));
        }
        Ok(Statement::Explain(Explain {
            options,
            statement: Box::new(statement),
        }))
    }

    /// That a statement with a statement inside is not inside of another.
    fn check_not_nested(&self) -> Result<()> {
        match self.word(0).as_str() {
            "EXPLAIN" | "PREPARE" => Err(self.unexpected("a statement that reads or writes data")),
            _ => Ok(()),
        }
    }

    /// Whether the next words are about functions or procedures.
    fn is_routine(&self) -> bool {
        let is_kind = |n| matches!(self.word(n).as_str(), "FUNCTION" | "PROCEDURE" | "ROUTINE");
        match self.word(0).as_str() {
            "ALTER" | "DROP" => is_kind(1),
            "CREATE" => {
                is_kind(1) || self.word(1) == "OR" && self.word(2) == "REPLACE" && is_kind(3)
            }
            _ => false,
        }
    }

    /// Whether CREATE makes something of ours rather than of DataFusion's.
    fn creates_ours(&self) -> bool {
        let words: Vec<String> = (1..4).map(|n| self.word(n)).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        matches!(
            words.as_slice(),
            ["TABLE" | "COLLECTION" | "VIEW" | "SCHEMA", ..]
                | [
                    "OR",
                    "REPLACE",
                    "VIEW" | "TEMP" | "TEMPORARY" | "RECURSIVE",
                    ..
                ]
                | ["RECURSIVE" | "MATERIALIZED", "VIEW", ..]
                | ["UNLOGGED", "TABLE", ..]
                | ["TEMP" | "TEMPORARY", ..]
                | ["LOCAL" | "GLOBAL", "TEMP" | "TEMPORARY", ..]
        )
    }

    fn create(&mut self) -> Result<Statement> {
        self.skip(1);
        if self.accept(&["SCHEMA"]) {
            let if_not_exists = self.if_not_exists();
            let name = match self.word(0).as_str() {
                "AUTHORIZATION" => None,
                _ => Some(self.name()?),
            };
            let authorized = self.accept(&["AUTHORIZATION"]);
            let owner = authorized.then(|| role(self)).transpose()?;
            return Ok(Statement::CreateSchema {
                name,
                owner,
                if_not_exists,
            });
        }
        if self.accept(&["MATERIALIZED", "VIEW"]) {
            return define::materialized_view(self);
        }
        let or_replace = self.accept(&["OR", "REPLACE"]);
        let persistence = self.persistence()?;
        let temporary = matches!(persistence, Persistence::Temporary(_));
        if matches!(self.word(0).as_str(), "VIEW" | "RECURSIVE") {
            return define::view(self, or_replace, temporary);
        }
        if temporary && self.accept(&["SEQUENCE"]) {
            return sequence::parse_create(self, temporary);
        }
        if or_replace || !matches!(self.word(0).as_str(), "TABLE" | "COLLECTION") {
            return Err(self.unexpected("TABLE or VIEW"));
        }
        self.skip(1);
        define::collection(self, persistence)
    }

    /// `[UNLOGGED | [LOCAL | GLOBAL] {TEMP | TEMPORARY}]` before what is made.
    fn persistence(&mut self) -> Result<Persistence> {
        if self.accept(&["UNLOGGED"]) {
            return Ok(Persistence::Unlogged);
        }
        let _ = self.accept(&["LOCAL"]) || self.accept(&["GLOBAL"]);
        match self.accept(&["TEMP"]) || self.accept(&["TEMPORARY"]) {
            true => Ok(Persistence::Temporary(None)),
            false => Ok(Persistence::Permanent),
        }
    }

    fn alter(&mut self) -> Result<Statement> {
        let word = match self.word(1).as_str() {
            "VIEW" => AlterWord::View,
            "MATERIALIZED" => AlterWord::MaterializedView,
            _ => AlterWord::Table,
        };
        self.skip(1);
        match word {
            AlterWord::MaterializedView => self.expect(&["MATERIALIZED", "VIEW"])?,
            _ => self.skip(1),
        }
        define::alter(self, word)
    }

    fn drop(&mut self) -> Result<Statement> {
        let kind = match self.word(1).as_str() {
            "VIEW" => DropKind::View,
            "SCHEMA" => DropKind::Schema,
            "MATERIALIZED" => DropKind::MaterializedView,
            _ => DropKind::Table,
        };
        self.skip(1);
        match kind {
            DropKind::MaterializedView => self.expect(&["MATERIALIZED", "VIEW"])?,
            _ => self.skip(1),
        }
        let if_exists = self.if_exists();
        let names = self.comma_separated(Self::name)?;
        let cascade = self.accept(&["CASCADE"]);
        self.accept(&["RESTRICT"]);
        Ok(Statement::Drop(Drop {
            kind,
            names,
            if_exists,
            cascade,
        }))
    }

    fn truncate(&mut self) -> Result<Statement> {
        self.skip(1);
        if !self.accept(&["TABLE"]) {
            self.accept(&["COLLECTION"]);
        }
        self.accept(&["ONLY"]);
        let names = self.comma_separated(Self::name)?;
        let restart = self.accept(&["RESTART", "IDENTITY"]);
        if !restart {
            self.accept(&["CONTINUE", "IDENTITY"]);
        }
        let cascade = self.cascades();
        Ok(Statement::Truncate {
            names,
            restart,
            cascade,
        })
    }
}

/// A duration such as '10 min' or '600s'; a bare number is milliseconds, as in Postgres.
///
/// # Errors
/// 22023 for text that is none.
pub fn duration(text: &str) -> Result<Duration> {
    if let Ok(milliseconds) = text.trim().parse() {
        return Ok(Duration::from_millis(milliseconds));
    }
    humantime::parse_duration(text.trim()).map_err(|_| {
        Error::invalid(
            sqlstate::INVALID_PARAMETER_VALUE,
            format!("invalid duration \"{text}\""),
        )
        .with_hint("Write it like '600s', '10 min' or '2h'.")
    })
}

/// An object name's parts, folded as SQL folds them: quoted ones stay, others are lower case.
pub fn name_parts(name: &ObjectName) -> Result<Vec<String>> {
    name.0
        .iter()
        .map(|part| part.as_ident().map(fold))
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| ParserError::ParserError(format!("\"{name}\" is not a name")).into())
}

/// An identifier as SQL folds it.
pub fn fold(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

mod compaction;
mod conflict_target;
mod cursor;
mod insert;
mod pieces;
mod scripts;
mod select_into;
mod subscripts;
mod transaction;
mod variables;

#[cfg(test)]
mod tests;
