//! The grammar of sequences and of the columns that have one.

use datafusion::sql::sqlparser::ast::DataType;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::{ColumnSequence, SequenceChange, SequenceOptions, SequenceStatement};
use crate::error::{Error, Result, sqlstate};
use crate::sql::parser::Grammar;
use crate::sql::statement::Statement;
use crate::sql::types::column_type;
use crate::storage::schema::ColumnType;
use crate::storage::sequence::Generates;

/// `{CREATE | ALTER | DROP} SEQUENCE ..`.
pub(in crate::sql) fn parse(grammar: &mut Grammar<'_>) -> Result<Statement> {
    let verb = grammar.word(0);
    grammar.skip(2);
    let statement = match verb.as_str() {
        "CREATE" => return create(grammar, false),
        "ALTER" => {
            let if_exists = grammar.if_exists();
            SequenceStatement::Alter {
                name: grammar.name()?,
                if_exists,
                change: change(grammar)?,
            }
        }
        _ => {
            let if_exists = grammar.if_exists();
            let names = grammar.comma_separated(Grammar::name)?;
            let cascade = grammar.accept(&["CASCADE"]);
            if !cascade {
                grammar.accept(&["RESTRICT"]);
            }
            SequenceStatement::Drop {
                names,
                if_exists,
                cascade,
            }
        }
    };
    Ok(Statement::Sequence(Box::new(statement)))
}

/// CREATE [TEMPORARY] SEQUENCE, after these words.
pub(in crate::sql) fn create(grammar: &mut Grammar<'_>, temporary: bool) -> Result<Statement> {
    let if_not_exists = grammar.if_not_exists();
    let statement = SequenceStatement::Create {
        name: grammar.name()?,
        temporary,
        if_not_exists,
        options: sequence_options(grammar)?,
    };
    Ok(Statement::Sequence(Box::new(statement)))
}

fn change(grammar: &mut Grammar<'_>) -> Result<SequenceChange> {
    if grammar.accept(&["RENAME", "TO"]) {
        return Ok(SequenceChange::Rename(grammar.parser.parse_identifier()?));
    }
    if grammar.accept(&["SET", "SCHEMA"]) {
        return Ok(SequenceChange::SetSchema(
            grammar.parser.parse_identifier()?,
        ));
    }
    Ok(SequenceChange::Options(sequence_options(grammar)?))
}

/// `[AS type] [INCREMENT [BY] n] [MINVALUE n | NO MINVALUE] ..`, in any order, each once.
pub(in crate::sql) fn sequence_options(grammar: &mut Grammar<'_>) -> Result<SequenceOptions> {
    let mut options = SequenceOptions::default();
    loop {
        let again = if grammar.accept(&["SEQUENCE", "NAME"]) {
            options.name.replace(grammar.name()?).is_some()
        } else if grammar.accept(&["AS"]) {
            let data_type = column_type(&grammar.parser.parse_data_type()?)?;
            options.data_type.replace(data_type).is_some()
        } else if grammar.accept(&["INCREMENT"]) {
            grammar.accept(&["BY"]);
            options.increment.replace(number(grammar)?).is_some()
        } else if grammar.accept(&["NO", "MINVALUE"]) {
            options.min.replace(None).is_some()
        } else if grammar.accept(&["MINVALUE"]) {
            options.min.replace(Some(number(grammar)?)).is_some()
        } else if grammar.accept(&["NO", "MAXVALUE"]) {
            options.max.replace(None).is_some()
        } else if grammar.accept(&["MAXVALUE"]) {
            options.max.replace(Some(number(grammar)?)).is_some()
        } else if grammar.accept(&["START"]) {
            grammar.accept(&["WITH"]);
            options.start.replace(number(grammar)?).is_some()
        } else if grammar.accept(&["RESTART"]) {
            let named = grammar.accept(&["WITH"]) || is_number(grammar);
            let number = named.then(|| number(grammar)).transpose()?;
            options.restart.replace(number).is_some()
        } else if grammar.accept(&["CACHE"]) {
            options.cache.replace(number(grammar)?).is_some()
        } else if grammar.accept(&["NO", "CYCLE"]) {
            options.cycle.replace(false).is_some()
        } else if grammar.accept(&["CYCLE"]) {
            options.cycle.replace(true).is_some()
        } else if grammar.accept(&["OWNED", "BY", "NONE"]) {
            options.owned_by.replace(None).is_some()
        } else if grammar.accept(&["OWNED", "BY"]) {
            options.owned_by.replace(Some(grammar.name()?)).is_some()
        } else {
            return Ok(options);
        };
        if again {
            let message = "conflicting or redundant options";
            return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message));
        }
    }
}

fn is_number(grammar: &Grammar<'_>) -> bool {
    matches!(
        grammar.parser.peek_token_ref().token,
        Token::Number(..) | Token::Minus
    )
}

fn number(grammar: &mut Grammar<'_>) -> Result<i64> {
    let text = grammar.option_value()?;
    text.parse().map_err(|_| {
        let message = format!("value \"{text}\" is out of range for type bigint");
        Error::invalid(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, message)
    })
}

/// The sequence of a column of type SERIAL and the like, whose type becomes that of its numbers.
pub(in crate::sql) fn serial(data_type: &mut DataType) -> Option<ColumnSequence> {
    let DataType::Custom(name, modifiers) = &*data_type else {
        return None;
    };
    let (number, own) = match name.to_string().to_lowercase().as_str() {
        "smallserial" | "serial2" => (ColumnType::SmallInt, DataType::SmallInt(None)),
        "serial" | "serial4" => (ColumnType::Integer, DataType::Integer(None)),
        "bigserial" | "serial8" => (ColumnType::BigInt, DataType::BigInt(None)),
        _ => return None,
    };
    if !modifiers.is_empty() {
        return None;
    }
    *data_type = own;
    Some(ColumnSequence {
        generates: Generates::Default,
        options: SequenceOptions {
            data_type: Some(number),
            ..SequenceOptions::default()
        },
    })
}

/// `{ALWAYS | BY DEFAULT} AS IDENTITY [(options)]`, after GENERATED.
pub(in crate::sql) fn generated(grammar: &mut Grammar<'_>) -> Result<ColumnSequence> {
    let generates = match grammar.accept(&["ALWAYS"]) {
        true => Generates::Always,
        false => {
            grammar.expect(&["BY", "DEFAULT"])?;
            Generates::ByDefault
        }
    };
    grammar.expect(&["AS"])?;
    grammar.expect(&["IDENTITY"])?;
    let mut options = SequenceOptions::default();
    if grammar.parser.consume_token(&Token::LParen) {
        options = sequence_options(grammar)?;
        grammar.parser.expect_token(&Token::RParen)?;
    }
    Ok(ColumnSequence { generates, options })
}
