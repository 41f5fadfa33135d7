//! The grammar of FOREIGN KEY and REFERENCES.

use datafusion::sql::sqlparser::ast::Ident;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::ForeignKeyDefinition;
use crate::error::{Error, Result};
use crate::sql::parser::Grammar;
use crate::storage::foreign_key::{ReferentialAction, Timing};

/// `FOREIGN KEY (a, b) REFERENCES ..`.
pub(in crate::sql) fn foreign_key(
    grammar: &mut Grammar<'_>,
    name: Option<Ident>,
) -> Result<ForeignKeyDefinition> {
    grammar.expect(&["FOREIGN", "KEY"])?;
    let columns = grammar.names_in_parentheses()?;
    references(grammar, name, columns)
}

/// `REFERENCES table [(columns)] [MATCH FULL] [ON DELETE action] [ON UPDATE action] [DEFERRABLE ..]`.
pub(in crate::sql) fn references(
    grammar: &mut Grammar<'_>,
    name: Option<Ident>,
    columns: Vec<Ident>,
) -> Result<ForeignKeyDefinition> {
    grammar.expect(&["REFERENCES"])?;
    let table = grammar.name()?;
    let mut key = ForeignKeyDefinition {
        name,
        columns,
        table,
        referred: Vec::new(),
        match_full: false,
        on_delete: ReferentialAction::NoAction,
        on_update: ReferentialAction::NoAction,
        set_on_delete: Vec::new(),
        timing: Timing::Immediate,
        is_validated: true,
    };
    if grammar.parser.peek_token().token == Token::LParen {
        key.referred = grammar.names_in_parentheses()?;
    }
    loop {
        if grammar.accept(&["MATCH"]) {
            key.match_full = match_full(grammar)?;
        } else if grammar.accept(&["ON", "DELETE"]) {
            (key.on_delete, key.set_on_delete) = action(grammar)?;
        } else if grammar.accept(&["ON", "UPDATE"]) {
            let (action, columns) = action(grammar)?;
            if !columns.is_empty() {
                let message = "a column list with SET is only supported for ON DELETE actions";
                return Err(Error::unsupported(message));
            }
            key.on_update = action;
        } else {
            break;
        }
    }
    key.timing = timing(grammar)?;
    Ok(key)
}

fn match_full(grammar: &mut Grammar<'_>) -> Result<bool> {
    if grammar.accept(&["PARTIAL"]) {
        return Err(Error::unsupported("MATCH PARTIAL not yet implemented"));
    }
    let full = grammar.accept(&["FULL"]);
    match full || grammar.accept(&["SIMPLE"]) {
        true => Ok(full),
        false => Err(grammar.unexpected("FULL or SIMPLE")),
    }
}

/// An action, and the columns that it sets, if it names some.
fn action(grammar: &mut Grammar<'_>) -> Result<(ReferentialAction, Vec<Ident>)> {
    let sets = [
        (["SET", "NULL"], ReferentialAction::SetNull),
        (["SET", "DEFAULT"], ReferentialAction::SetDefault),
    ];
    if let Some((_, action)) = sets.iter().find(|(words, _)| grammar.accept(words)) {
        let columns = match grammar.parser.peek_token().token == Token::LParen {
            true => grammar.names_in_parentheses()?,
            false => Vec::new(),
        };
        return Ok((*action, columns));
    }
    let known = [
        (&["NO", "ACTION"][..], ReferentialAction::NoAction),
        (&["RESTRICT"], ReferentialAction::Restrict),
        (&["CASCADE"], ReferentialAction::Cascade),
    ];
    match known.iter().find(|(words, _)| grammar.accept(words)) {
        Some((_, action)) => Ok((*action, Vec::new())),
        None => Err(grammar.unexpected("NO ACTION, RESTRICT, CASCADE or SET")),
    }
}

/// `[NOT DEFERRABLE | DEFERRABLE] [INITIALLY IMMEDIATE | INITIALLY DEFERRED]`.
pub(in crate::sql) fn timing(grammar: &mut Grammar<'_>) -> Result<Timing> {
    let (mut deferrable, mut deferred) = (None, false);
    loop {
        if grammar.accept(&["NOT", "DEFERRABLE"]) {
            deferrable = Some(false);
        } else if grammar.accept(&["DEFERRABLE"]) {
            deferrable = Some(true);
        } else if grammar.accept(&["INITIALLY", "DEFERRED"]) {
            deferred = true;
        } else if !grammar.accept(&["INITIALLY", "IMMEDIATE"]) {
            break;
        }
    }
    match (deferrable, deferred) {
        (Some(false), true) => {
            let message = "constraint declared INITIALLY DEFERRED must be DEFERRABLE";
            Err(Error::invalid(
                crate::error::sqlstate::SYNTAX_ERROR,
                message,
            ))
        }
        (_, true) => Ok(Timing::Deferred),
        (Some(true), false) => Ok(Timing::Deferrable),
        _ => Ok(Timing::Immediate),
    }
}
