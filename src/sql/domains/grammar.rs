//! The grammar of CREATE, ALTER and DROP DOMAIN.

use datafusion::sql::sqlparser::ast::{Expr, Ident};

use super::{DomainChange, DomainDefinition, DomainStatement};
use crate::error::{Error, Result, sqlstate};
use crate::sql::define::{check, column_collation, constraint_name, default};
use crate::sql::parser::Grammar;
use crate::sql::statement::Statement;

/// `{CREATE | ALTER | DROP} DOMAIN ..`.
pub(in crate::sql) fn parse(grammar: &mut Grammar<'_>) -> Result<Statement> {
    let verb = grammar.word(0);
    grammar.skip(2);
    let statement = match verb.as_str() {
        "CREATE" => create(grammar)?,
        "ALTER" => DomainStatement::Alter {
            name: grammar.name()?,
            change: change(grammar)?,
        },
        _ => {
            let if_exists = grammar.if_exists();
            DomainStatement::Drop {
                names: grammar.comma_separated(Grammar::name)?,
                if_exists,
                cascade: grammar.cascades(),
            }
        }
    };
    Ok(Statement::Domain(Box::new(statement)))
}

/// `name [AS] type [DEFAULT ..] [[CONSTRAINT name] {NOT NULL | NULL | CHECK (..)}] ..`.
fn create(grammar: &mut Grammar<'_>) -> Result<DomainStatement> {
    let name = grammar.name()?;
    grammar.accept(&["AS"]);
    let mut definition = DomainDefinition {
        data_type: grammar.parser.parse_data_type()?,
        nullable: None,
        default: None,
        checks: Vec::new(),
    };
    loop {
        let constraint = constraint_name(grammar)?;
        if grammar.word(0) == "CHECK" {
            definition.checks.push(check(grammar, constraint)?);
        } else if grammar.accept(&["NOT", "NULL"]) {
            set_nullable(&mut definition, false)?;
        } else if grammar.accept(&["NULL"]) {
            set_nullable(&mut definition, true)?;
        } else if grammar.accept(&["DEFAULT"]) {
            if definition.default.replace(default(grammar)?).is_some() {
                let message = "multiple default expressions";
                return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message));
            }
        } else if constraint.is_none() && grammar.accept(&["COLLATE"]) {
            column_collation(grammar)?;
        } else if constraint.is_some() {
            let message = format!("{} of domains is not supported", grammar.word(0));
            return Err(Error::unsupported(message));
        } else {
            return Ok(DomainStatement::Create { name, definition });
        }
    }
}

fn set_nullable(definition: &mut DomainDefinition, nullable: bool) -> Result<()> {
    match definition.nullable.replace(nullable) {
        Some(before) if before != nullable => {
            let message = "conflicting NULL/NOT NULL constraints";
            Err(Error::invalid(sqlstate::SYNTAX_ERROR, message))
        }
        _ => Ok(()),
    }
}

fn change(grammar: &mut Grammar<'_>) -> Result<DomainChange> {
    let to = |grammar: &mut Grammar<'_>| -> Result<Ident> {
        grammar.expect(&["TO"])?;
        Ok(grammar.parser.parse_identifier()?)
    };
    if grammar.accept(&["SET", "DEFAULT"]) {
        return Ok(DomainChange::Default(Some(default(grammar)?)));
    }
    if grammar.accept(&["DROP", "DEFAULT"]) {
        return Ok(DomainChange::Default(None::<(Expr, String)>));
    }
    if grammar.accept(&["SET", "NOT", "NULL"]) {
        return Ok(DomainChange::Nullable(false));
    }
    if grammar.accept(&["DROP", "NOT", "NULL"]) {
        return Ok(DomainChange::Nullable(true));
    }
    if grammar.accept(&["ADD"]) {
        let name = constraint_name(grammar)?;
        let check = check(grammar, name)?;
        let not_valid = grammar.accept(&["NOT", "VALID"]);
        return Ok(DomainChange::AddCheck { check, not_valid });
    }
    if grammar.accept(&["DROP", "CONSTRAINT"]) {
        let if_exists = grammar.if_exists();
        let name = grammar.parser.parse_identifier()?;
        grammar.cascades();
        return Ok(DomainChange::DropCheck { name, if_exists });
    }
    if grammar.accept(&["VALIDATE", "CONSTRAINT"]) {
        let name = grammar.parser.parse_identifier()?;
        return Ok(DomainChange::Validate(name));
    }
    if grammar.accept(&["RENAME", "CONSTRAINT"]) {
        let from = grammar.parser.parse_identifier()?;
        return Ok(DomainChange::RenameCheck(from, to(grammar)?));
    }
    if grammar.accept(&["RENAME"]) {
        return Ok(DomainChange::Rename(to(grammar)?));
    }
    if grammar.accept(&["SET", "SCHEMA"]) {
        let name = grammar.parser.parse_identifier()?;
        return Ok(DomainChange::SetSchema(name));
    }
    Err(grammar.unexpected("SET, DROP, ADD, RENAME, VALIDATE or OWNER TO"))
}
