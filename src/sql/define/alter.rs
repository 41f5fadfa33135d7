//! The grammar of ALTER TABLE and VIEW.

use datafusion::sql::sqlparser::ast::Ident;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::{check, column, constraint_name, default, key_items, unsupported_constraint};
use crate::error::{Error, Result};
use crate::sql::parser::Grammar;
use crate::sql::partition::partitions_of_table;
use crate::sql::sequence::{self, SequenceOptions};
use crate::sql::statement::{Alter, AlterAction, AlterWord, Statement};
use crate::sql::{foreign_key, unique};
use crate::storage::sequence::Generates;

/// ALTER TABLE or VIEW, after its first two words.
pub(in crate::sql) fn alter(grammar: &mut Grammar<'_>, word: AlterWord) -> Result<Statement> {
    let if_exists = grammar.if_exists();
    grammar.accept(&["ONLY"]);
    let name = grammar.name()?;
    let actions = grammar.comma_separated(action)?;
    Ok(Statement::Alter(Box::new(Alter {
        word,
        name,
        if_exists,
        actions,
    })))
}

fn action(grammar: &mut Grammar<'_>) -> Result<AlterAction> {
    if grammar.accept(&["CLUSTER", "BY"]) {
        if grammar.accept(&["NONE"]) {
            return Ok(AlterAction::ClusterBy(Vec::new()));
        }
        return Ok(AlterAction::ClusterBy(key_items(grammar)?));
    }
    if let Some(action) = partitions_of_table(grammar)? {
        return Ok(action);
    }
    if let Some(action) = constraint_action(grammar)? {
        return Ok(action);
    }
    if grammar.accept(&["ADD"]) {
        grammar.accept(&["COLUMN"]);
        let if_not_exists = grammar.if_not_exists();
        let mut primary_key = None;
        let mut column = column(grammar, &mut |grammar, _, constraint| {
            let is_key = grammar.accept(&["PRIMARY", "KEY"]);
            if is_key {
                primary_key = Some(constraint.cloned());
            }
            Ok(is_key)
        })?;
        column.not_null |= primary_key.is_some();
        return Ok(AlterAction::AddColumn {
            column: Box::new(column),
            if_not_exists,
            primary_key,
        });
    }
    if grammar.accept(&["DROP"]) {
        grammar.accept(&["COLUMN"]);
        let if_exists = grammar.if_exists();
        let name = grammar.parser.parse_identifier()?;
        // Views find the columns of now: foreign keys alone depend on one.
        let cascade = grammar.cascades();
        return Ok(AlterAction::DropColumn {
            name,
            if_exists,
            cascade,
        });
    }
    if grammar.accept(&["RENAME", "TO"]) {
        return Ok(AlterAction::Rename(grammar.parser.parse_identifier()?));
    }
    if grammar.accept(&["RENAME"]) {
        grammar.accept(&["COLUMN"]);
        let from = grammar.parser.parse_identifier()?;
        grammar.expect(&["TO"])?;
        return Ok(AlterAction::RenameColumn(
            from,
            grammar.parser.parse_identifier()?,
        ));
    }
    if grammar.accept(&["SET", "SCHEMA"]) {
        return Ok(AlterAction::SetSchema(grammar.parser.parse_identifier()?));
    }
    if grammar.accept(&["SET"]) {
        return Ok(AlterAction::SetOptions(grammar.options()?));
    }
    if grammar.accept(&["RESET"]) {
        return Ok(AlterAction::ResetOptions(grammar.option_names()?));
    }
    if grammar.accept(&["ALTER"]) {
        return alter_column(grammar);
    }
    if let Some(action) = without_effect(grammar)? {
        return Ok(action);
    }
    Err(grammar.unexpected("ADD, DROP, RENAME, ALTER, SET, RESET or CLUSTER BY"))
}

/// `{ENABLE | DISABLE} TRIGGER name`, `REPLICA IDENTITY ..` and `DISABLE ROW LEVEL SECURITY`; none for another action.
fn without_effect(grammar: &mut Grammar<'_>) -> Result<Option<AlterAction>> {
    if grammar.accept(&["ENABLE", "TRIGGER"]) || grammar.accept(&["DISABLE", "TRIGGER"]) {
        grammar.parser.parse_identifier()?;
        let notice = "there are no triggers, and foreign keys stay as they are";
        return Ok(Some(AlterAction::Nothing(notice)));
    }
    if grammar.accept(&["REPLICA", "IDENTITY"]) {
        if grammar.accept(&["USING", "INDEX"]) {
            grammar.parser.parse_identifier()?;
        } else {
            grammar.skip(1);
        }
        let notice = "rows are not replicated, REPLICA IDENTITY changes nothing";
        return Ok(Some(AlterAction::Nothing(notice)));
    }
    if grammar.accept(&["DISABLE", "ROW", "LEVEL", "SECURITY"])
        || grammar.accept(&["NO", "FORCE", "ROW", "LEVEL", "SECURITY"])
    {
        let notice = "there are no policies of rows";
        return Ok(Some(AlterAction::Nothing(notice)));
    }
    if matches!(grammar.word(0).as_str(), "ENABLE" | "FORCE") && grammar.word(1) == "ROW" {
        return Err(Error::unsupported("row level security is not supported"));
    }
    Ok(None)
}

/// ADD, DROP and RENAME CONSTRAINT; none for another action.
fn constraint_action(grammar: &mut Grammar<'_>) -> Result<Option<AlterAction>> {
    let listed = |n| grammar.parser.peek_nth_token_ref(n).token == Token::LParen;
    let is_constraint = match grammar.word(1).as_str() {
        "CONSTRAINT" => true,
        "CHECK" => listed(2),
        "UNIQUE" => listed(2) || matches!(grammar.word(2).as_str(), "NULLS" | "USING"),
        "PRIMARY" => listed(3) || grammar.word(3) == "USING",
        "FOREIGN" => listed(3),
        _ => false,
    };
    if grammar.word(0) == "ADD" && is_constraint {
        grammar.skip(1);
        let name = constraint_name(grammar)?;
        return Ok(Some(match grammar.word(0).as_str() {
            "CHECK" => {
                let check = check(grammar, name)?;
                let not_valid = grammar.accept(&["NOT", "VALID"]);
                AlterAction::AddCheck { check, not_valid }
            }
            "UNIQUE" if grammar.word(1) != "USING" => {
                AlterAction::AddUnique(unique::unique(grammar, name, None)?)
            }
            "UNIQUE" => use_index(grammar, name)?,
            "PRIMARY" if grammar.word(2) != "USING" => {
                grammar.expect(&["PRIMARY", "KEY"])?;
                AlterAction::AddPrimaryKey(name, grammar.names_in_parentheses()?)
            }
            "PRIMARY" => use_index(grammar, name)?,
            "FOREIGN" => {
                let mut key = foreign_key::foreign_key(grammar, name)?;
                key.is_validated = !grammar.accept(&["NOT", "VALID"]);
                AlterAction::AddForeignKey(key)
            }
            _ => return Err(unsupported_constraint(grammar)),
        }));
    }
    if grammar.accept(&["DROP", "CONSTRAINT"]) {
        let if_exists = grammar.if_exists();
        let name = grammar.parser.parse_identifier()?;
        let cascade = grammar.cascades();
        return Ok(Some(AlterAction::DropConstraint {
            name,
            if_exists,
            cascade,
        }));
    }
    if grammar.accept(&["VALIDATE", "CONSTRAINT"]) {
        let name = grammar.parser.parse_identifier()?;
        return Ok(Some(AlterAction::ValidateConstraint(name)));
    }
    if grammar.accept(&["ALTER", "CONSTRAINT"]) {
        let name = grammar.parser.parse_identifier()?;
        let timing = foreign_key::timing(grammar)?;
        return Ok(Some(AlterAction::SetTiming(name, timing)));
    }
    if grammar.accept(&["RENAME", "CONSTRAINT"]) {
        let from = grammar.parser.parse_identifier()?;
        grammar.expect(&["TO"])?;
        let to = grammar.parser.parse_identifier()?;
        return Ok(Some(AlterAction::RenameConstraint(from, to)));
    }
    Ok(None)
}

/// `{UNIQUE | PRIMARY KEY} USING INDEX index`.
fn use_index(grammar: &mut Grammar<'_>, name: Option<Ident>) -> Result<AlterAction> {
    let is_primary = grammar.accept(&["PRIMARY", "KEY"]);
    if !is_primary {
        grammar.expect(&["UNIQUE"])?;
    }
    grammar.expect(&["USING", "INDEX"])?;
    Ok(AlterAction::UseIndex {
        name,
        index: grammar.parser.parse_identifier()?,
        is_primary,
    })
}

fn alter_column(grammar: &mut Grammar<'_>) -> Result<AlterAction> {
    grammar.accept(&["COLUMN"]);
    let name = grammar.parser.parse_identifier()?;
    if grammar.accept(&["SET", "DEFAULT"]) {
        return Ok(AlterAction::SetDefault(name, Some(default(grammar)?)));
    }
    if grammar.accept(&["DROP", "DEFAULT"]) {
        return Ok(AlterAction::SetDefault(name, None));
    }
    if grammar.accept(&["DROP", "NOT", "NULL"]) {
        return Ok(AlterAction::SetNullable(name, true));
    }
    if grammar.accept(&["SET", "NOT", "NULL"]) {
        return Ok(AlterAction::SetNullable(name, false));
    }
    if grammar.accept(&["DROP", "EXPRESSION"]) {
        let if_exists = grammar.if_exists();
        return Ok(AlterAction::DropExpression { name, if_exists });
    }
    if grammar.accept(&["SET", "DATA", "TYPE"]) || grammar.accept(&["TYPE"]) {
        return column_type(grammar, name);
    }
    if let Some(action) = alter_identity(grammar, &name)? {
        return Ok(action);
    }
    let tunings = [
        ["SET", "STORAGE"],
        ["SET", "COMPRESSION"],
        ["SET", "STATISTICS"],
    ];
    if tunings.iter().any(|words| grammar.accept(words)) {
        grammar.skip(1);
        return Ok(AlterAction::TuneColumn(name));
    }
    Err(grammar.unexpected("SET DEFAULT, DROP DEFAULT, SET NOT NULL or DROP NOT NULL"))
}

/// `type [USING expression]`, after TYPE.
fn column_type(grammar: &mut Grammar<'_>, name: Ident) -> Result<AlterAction> {
    let data_type = grammar.parser.parse_data_type()?;
    let using = match grammar.accept(&["USING"]) {
        true => Some(Box::new(grammar.parser.parse_expr()?)),
        false => None,
    };
    Ok(AlterAction::SetType {
        name,
        data_type,
        using,
    })
}

/// `ADD GENERATED ..`, `DROP IDENTITY`, `SET GENERATED ..`, `SET INCREMENT BY ..`, `RESTART`; none for another action.
fn alter_identity(grammar: &mut Grammar<'_>, name: &Ident) -> Result<Option<AlterAction>> {
    let name = name.clone();
    if grammar.accept(&["ADD", "GENERATED"]) {
        let sequence = sequence::generated(grammar)?;
        return Ok(Some(AlterAction::AddIdentity(name, Box::new(sequence))));
    }
    if grammar.accept(&["DROP", "IDENTITY"]) {
        let if_exists = grammar.if_exists();
        return Ok(Some(AlterAction::DropIdentity { name, if_exists }));
    }
    let mut generates = None;
    if grammar.accept(&["SET", "GENERATED", "ALWAYS"]) {
        generates = Some(Generates::Always);
    } else if grammar.accept(&["SET", "GENERATED", "BY", "DEFAULT"]) {
        generates = Some(Generates::ByDefault);
    }
    let is_option = matches!(
        grammar.word(1).as_str(),
        "INCREMENT" | "MINVALUE" | "MAXVALUE" | "NO" | "START" | "CACHE" | "CYCLE"
    );
    if is_option {
        grammar.accept(&["SET"]);
    }
    let options = sequence::sequence_options(grammar)?;
    let is_none = generates.is_none() && options == SequenceOptions::default();
    Ok((!is_none).then_some(AlterAction::SetIdentity(name, generates, Box::new(options))))
}
