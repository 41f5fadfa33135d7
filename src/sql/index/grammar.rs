//! The grammar of CREATE, DROP and ALTER INDEX.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::{CreateIndex, DropIndex, KeyDefinition, KeySubject, RenameIndex};
use crate::error::{Error, Result};
use crate::sql::parser::{Grammar, name_parts};
use crate::sql::statement::Statement;
use crate::sql::unique::nulls_equal;

/// `CREATE [UNIQUE] INDEX [CONCURRENTLY] [[IF NOT EXISTS] name] ON table ..`.
pub(in crate::sql) fn parse_create(grammar: &mut Grammar<'_>) -> Result<Statement> {
    grammar.skip(1);
    let is_unique = grammar.accept(&["UNIQUE"]);
    grammar.expect(&["INDEX"])?;
    let concurrently = grammar.accept(&["CONCURRENTLY"]);
    let if_not_exists = grammar.if_not_exists();
    let name = match grammar.word(0) == "ON" && !if_not_exists {
        true => None,
        false => Some(grammar.parser.parse_identifier()?),
    };
    grammar.expect(&["ON"])?;
    grammar.accept(&["ONLY"]);
    let table = grammar.name()?;
    let method = match grammar.accept(&["USING"]) {
        true => Some(grammar.parser.parse_identifier()?),
        false => None,
    };
    grammar.parser.expect_token(&Token::LParen)?;
    let keys = grammar.comma_separated(key)?;
    grammar.parser.expect_token(&Token::RParen)?;
    let mut create = CreateIndex {
        name,
        if_not_exists,
        is_unique,
        nulls_equal: false,
        concurrently,
        table,
        method,
        keys,
        include: Vec::new(),
        options: Vec::new(),
        predicate: None,
    };
    if grammar.accept(&["INCLUDE"]) {
        create.include = grammar.names_in_parentheses()?;
    }
    create.nulls_equal = nulls_equal(grammar)?;
    if grammar.accept(&["WITH"]) {
        create.options = grammar.options()?;
    }
    if grammar.accept(&["TABLESPACE"]) {
        grammar.parser.parse_identifier()?;
    }
    if grammar.accept(&["WHERE"]) {
        let (_, text) = grammar.with_text(|g| Ok(g.parser.parse_expr()?))?;
        create.predicate = Some(text);
    }
    Ok(Statement::CreateIndex(Box::new(create)))
}

/// `{column | function(..) | (expression)} [COLLATE c] [class [(..)]] [ASC | DESC] [NULLS {FIRST | LAST}]`.
fn key(grammar: &mut Grammar<'_>) -> Result<KeyDefinition> {
    let subject = key_subject(grammar)?;
    if grammar.accept(&["COLLATE"]) {
        grammar.name()?;
    }
    let mut key = KeyDefinition {
        subject,
        operator_class: None,
        descending: None,
        nulls_first: None,
    };
    if !matches!(grammar.word(0).as_str(), "" | "ASC" | "DESC" | "NULLS") {
        key.operator_class = name_parts(&grammar.name()?)?.pop();
        if grammar.parser.peek_token().token == Token::LParen {
            grammar.options()?;
        }
    }
    if grammar.accept(&["DESC"]) {
        key.descending = Some(true);
    } else if grammar.accept(&["ASC"]) {
        key.descending = Some(false);
    }
    if grammar.accept(&["NULLS", "FIRST"]) {
        key.nulls_first = Some(true);
    } else if grammar.accept(&["NULLS", "LAST"]) {
        key.nulls_first = Some(false);
    }
    Ok(key)
}

fn key_subject(grammar: &mut Grammar<'_>) -> Result<KeySubject> {
    if grammar.parser.consume_token(&Token::LParen) {
        let (expr, text) = grammar.with_text(|g| Ok(g.parser.parse_expr()?))?;
        grammar.parser.expect_token(&Token::RParen)?;
        return Ok(KeySubject::Expression(Box::new(expr), text));
    }
    let is_call = matches!(
        grammar.parser.peek_nth_token_ref(1).token,
        Token::LParen | Token::Period
    );
    if !is_call {
        return Ok(KeySubject::Column(grammar.parser.parse_identifier()?));
    }
    let (expr, text) = grammar.with_text(|g| Ok(g.parser.parse_expr()?))?;
    Ok(KeySubject::Expression(Box::new(expr), text))
}

/// `DROP INDEX [CONCURRENTLY] [IF EXISTS] name, .. [CASCADE | RESTRICT]`.
pub(in crate::sql) fn parse_drop(grammar: &mut Grammar<'_>) -> Result<Statement> {
    grammar.skip(2);
    grammar.accept(&["CONCURRENTLY"]);
    let if_exists = grammar.if_exists();
    let names = grammar.comma_separated(Grammar::name)?;
    if !grammar.accept(&["CASCADE"]) {
        grammar.accept(&["RESTRICT"]);
    }
    Ok(Statement::DropIndex(DropIndex { names, if_exists }))
}

/// `ALTER INDEX [IF EXISTS] name RENAME TO name`.
pub(in crate::sql) fn parse_alter(grammar: &mut Grammar<'_>) -> Result<Statement> {
    grammar.skip(2);
    let if_exists = grammar.if_exists();
    let name = grammar.name()?;
    if grammar.accept(&["ATTACH", "PARTITION"]) {
        grammar.name()?;
        return Ok(Statement::AttachIndex);
    }
    if !grammar.accept(&["RENAME", "TO"]) {
        let message = "ALTER INDEX can only RENAME";
        return Err(Error::unsupported(message)
            .with_hint("Drop the index and create it again with other options."));
    }
    let to = grammar.parser.parse_identifier()?;
    Ok(Statement::RenameIndex(RenameIndex {
        name,
        if_exists,
        to,
    }))
}
