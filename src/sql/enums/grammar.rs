//! The grammar of CREATE, ALTER and DROP TYPE.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::{Neighbour, TypeChange, TypeStatement};
use crate::error::{Error, Result};
use crate::sql::parser::Grammar;
use crate::sql::statement::Statement;

/// `{CREATE | ALTER | DROP} TYPE ..`.
pub(in crate::sql) fn parse(grammar: &mut Grammar<'_>) -> Result<Statement> {
    let verb = grammar.word(0);
    grammar.skip(2);
    let statement = match verb.as_str() {
        "CREATE" => create(grammar)?,
        "ALTER" => TypeStatement::Alter {
            name: grammar.name()?,
            change: change(grammar)?,
        },
        _ => {
            let if_exists = grammar.if_exists();
            TypeStatement::Drop {
                names: grammar.comma_separated(Grammar::name)?,
                if_exists,
                cascade: grammar.cascades(),
            }
        }
    };
    Ok(Statement::Type(Box::new(statement)))
}

/// `name AS ENUM ('a', ..)`.
fn create(grammar: &mut Grammar<'_>) -> Result<TypeStatement> {
    let name = grammar.name()?;
    if !grammar.accept(&["AS", "ENUM"]) {
        let message = "composite, range and base types are not supported";
        return Err(Error::unsupported(message).with_hint("CREATE TYPE .. AS ENUM (..) is."));
    }
    grammar.parser.expect_token(&Token::LParen)?;
    let labels = match grammar.parser.peek_token_ref().token {
        Token::RParen => Vec::new(),
        _ => grammar.comma_separated(label)?,
    };
    grammar.parser.expect_token(&Token::RParen)?;
    Ok(TypeStatement::Create { name, labels })
}

fn label(grammar: &mut Grammar<'_>) -> Result<String> {
    Ok(grammar.parser.parse_literal_string()?)
}

fn change(grammar: &mut Grammar<'_>) -> Result<TypeChange> {
    if grammar.accept(&["ADD", "VALUE"]) {
        let if_not_exists = grammar.if_not_exists();
        let added = label(grammar)?;
        let place = if grammar.accept(&["BEFORE"]) {
            Some(Neighbour::Before(label(grammar)?))
        } else if grammar.accept(&["AFTER"]) {
            Some(Neighbour::After(label(grammar)?))
        } else {
            None
        };
        return Ok(TypeChange::AddValue {
            label: added,
            if_not_exists,
            place,
        });
    }
    if grammar.accept(&["RENAME", "VALUE"]) {
        let from = label(grammar)?;
        grammar.expect(&["TO"])?;
        return Ok(TypeChange::RenameValue(from, label(grammar)?));
    }
    if grammar.accept(&["RENAME", "TO"]) {
        return Ok(TypeChange::Rename(grammar.parser.parse_identifier()?));
    }
    if grammar.accept(&["SET", "SCHEMA"]) {
        return Ok(TypeChange::SetSchema(grammar.parser.parse_identifier()?));
    }
    Err(grammar.unexpected("ADD VALUE, RENAME, SET SCHEMA or OWNER TO"))
}
