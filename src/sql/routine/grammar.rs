//! The grammar of CREATE, ALTER and DROP FUNCTION.

use datafusion::sql::sqlparser::ast::{DataType, Ident};
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::{
    CreateRoutine, ParameterDefinition, ReturnsDefinition, RoutineChange, RoutineKind,
    RoutineStatement, Signature,
};
use crate::error::{Error, Result, sqlstate};
use crate::sql::define::default;
use crate::sql::parser::{Grammar, fold};
use crate::sql::statement::Statement;
use crate::storage::function::{Body, Hints, Mode, Parallel, Volatility};

/// Languages that PostgreSQL has, by itself or with extensions that are much used.
const OTHER_LANGUAGES: [&str; 10] = [
    "c",
    "internal",
    "plperl",
    "plperlu",
    "plpython3u",
    "plpythonu",
    "plr",
    "pltcl",
    "pltclu",
    "plv8",
];

/// `{CREATE [OR REPLACE] | ALTER | DROP} {FUNCTION | PROCEDURE | ROUTINE} ..`.
pub(in crate::sql) fn parse(grammar: &mut Grammar<'_>) -> Result<Statement> {
    let verb = grammar.word(0);
    grammar.skip(1);
    let or_replace = grammar.accept(&["OR", "REPLACE"]);
    let kind = match grammar.word(0).as_str() {
        "PROCEDURE" => RoutineKind::Procedure,
        "ROUTINE" => RoutineKind::Any,
        _ => RoutineKind::Function,
    };
    grammar.skip(1);
    let statement = match verb.as_str() {
        "CREATE" => create(grammar, or_replace, kind)?,
        "ALTER" => alter(grammar, kind)?,
        _ => {
            let if_exists = grammar.if_exists();
            let signatures = grammar.comma_separated(parse_signature)?;
            RoutineStatement::Drop {
                kind,
                signatures,
                if_exists,
                cascade: grammar.cascades(),
            }
        }
    };
    Ok(Statement::Routine(Box::new(statement)))
}

fn alter(grammar: &mut Grammar<'_>, kind: RoutineKind) -> Result<RoutineStatement> {
    let signature = parse_signature(grammar)?;
    let change = if grammar.accept(&["RENAME", "TO"]) {
        RoutineChange::Rename(grammar.parser.parse_identifier()?)
    } else if grammar.accept(&["SET", "SCHEMA"]) {
        RoutineChange::SetSchema(grammar.parser.parse_identifier()?)
    } else {
        let message = "ALTER FUNCTION takes RENAME TO, OWNER TO and SET SCHEMA";
        return Err(Error::unsupported(message)
            .with_hint("CREATE OR REPLACE FUNCTION changes what it is otherwise."));
    };
    Ok(RoutineStatement::Alter {
        kind,
        signature,
        change,
    })
}

/// `name [([[mode] [name] type [, ..]])]`.
pub(in crate::sql) fn parse_signature(grammar: &mut Grammar<'_>) -> Result<Signature> {
    let name = grammar.name()?;
    let arguments = match grammar.parser.peek_token_ref().token {
        Token::LParen => {
            let parameters = parameters(grammar)?;
            let inputs = parameters
                .into_iter()
                .filter(|p| !matches!(p.mode, Mode::Out | Mode::Table));
            Some(inputs.map(|p| p.data_type).collect())
        }
        _ => None,
    };
    Ok(Signature { name, arguments })
}

/// `([[mode] [name] type [default] [, ..]])`.
fn parameters(grammar: &mut Grammar<'_>) -> Result<Vec<ParameterDefinition>> {
    grammar.parser.expect_token(&Token::LParen)?;
    if grammar.parser.consume_token(&Token::RParen) {
        return Ok(Vec::new());
    }
    let parameters = grammar.comma_separated(parameter)?;
    grammar.parser.expect_token(&Token::RParen)?;
    Ok(parameters)
}

fn parameter(grammar: &mut Grammar<'_>) -> Result<ParameterDefinition> {
    // A name that is one of these words has no mode before it: then a comma or bracket follows.
    let is_mode = matches!(grammar.parser.peek_nth_token_ref(1).token, Token::Word(_));
    let mode = match grammar.word(0).as_str() {
        _ if !is_mode => Mode::In,
        "IN" if grammar.word(1) == "OUT" => {
            grammar.skip(1);
            Mode::InOut
        }
        "IN" => Mode::In,
        "OUT" => Mode::Out,
        "INOUT" => Mode::InOut,
        "VARIADIC" => Mode::Variadic,
        _ => Mode::In,
    };
    if is_mode
        && matches!(
            grammar.word(0).as_str(),
            "IN" | "OUT" | "INOUT" | "VARIADIC"
        )
    {
        grammar.skip(1);
    }
    let (name, data_type) = named_type(grammar)?;
    let has_default = grammar.accept(&["DEFAULT"]) || grammar.parser.consume_token(&Token::Eq);
    let default = match has_default {
        true => Some(default(grammar)?),
        false => None,
    };
    Ok(ParameterDefinition {
        mode,
        name,
        data_type,
        default,
    })
}

/// `[name] type`: what is a type up to the end of the parameter has no name before it.
fn named_type(grammar: &mut Grammar<'_>) -> Result<(Option<Ident>, DataType)> {
    let alone = grammar.parser.maybe_parse(|parser| {
        let data_type = parser.parse_data_type()?;
        let ends = match &parser.peek_token_ref().token {
            Token::Comma | Token::RParen | Token::Eq => true,
            Token::Word(word) => word.value.eq_ignore_ascii_case("default"),
            _ => false,
        };
        match ends {
            true => Ok(data_type),
            false => Err(ParserError::ParserError("a name".to_string())),
        }
    })?;
    match alone {
        Some(data_type) => Ok((None, data_type)),
        None => {
            let name = grammar.parser.parse_identifier()?;
            Ok((Some(name), grammar.parser.parse_data_type()?))
        }
    }
}

/// What stands behind the parameters.
struct Options {
    create: CreateRoutine,
    language: Option<String>,
    body: Option<Body>,
    seen: Vec<&'static str>,
}

impl Options {
    /// # Errors
    /// 42601 for an option that comes twice.
    fn once(&mut self, option: &'static str) -> Result<()> {
        if self.seen.contains(&option) {
            let message = "conflicting or redundant options";
            return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message));
        }
        self.seen.push(option);
        Ok(())
    }
}

fn create(
    grammar: &mut Grammar<'_>,
    or_replace: bool,
    kind: RoutineKind,
) -> Result<RoutineStatement> {
    let name = grammar.name()?;
    let mut create = CreateRoutine {
        name,
        or_replace,
        is_procedure: kind == RoutineKind::Procedure,
        parameters: parameters(grammar)?,
        returns: None,
        body: Body::Text(String::new()),
        volatility: Volatility::Volatile,
        is_strict: false,
        is_definer: false,
        hints: Hints::default(),
        search_path: None,
    };
    if !create.is_procedure && grammar.accept(&["RETURNS"]) {
        let (returns, columns) = returns(grammar)?;
        create.returns = Some(returns);
        create.parameters.extend(columns);
    }
    let mut options = Options {
        create,
        language: None,
        body: None,
        seen: Vec::new(),
    };
    while option(grammar, &mut options)? {}
    check_language(options.language.as_deref(), options.body.as_ref())?;
    let is_block = options.language.as_deref() == Some("plpgsql");
    let body = match options.body {
        Some(Body::Text(text)) if is_block => Body::Block(text),
        Some(Body::Return(_) | Body::Atomic(_)) if is_block => {
            return Err(invalid(
                "inline SQL function body only valid for language SQL",
            ));
        }
        Some(body) => body,
        None => return Err(invalid("no function body specified")),
    };
    let create = CreateRoutine {
        body,
        ..options.create
    };
    Ok(RoutineStatement::Create(Box::new(create)))
}

/// `[SETOF] type` or `TABLE (name type, ..)`, after RETURNS.
fn returns(grammar: &mut Grammar<'_>) -> Result<(ReturnsDefinition, Vec<ParameterDefinition>)> {
    if grammar.accept(&["TABLE"]) {
        let columns = parameters(grammar)?.into_iter();
        let columns = columns.map(|column| ParameterDefinition {
            mode: Mode::Table,
            ..column
        });
        let returns = ReturnsDefinition {
            is_set: true,
            data_type: None,
            is_table: true,
        };
        return Ok((returns, columns.collect()));
    }
    let returns = ReturnsDefinition {
        is_set: grammar.accept(&["SETOF"]),
        data_type: Some(grammar.parser.parse_data_type()?),
        is_table: false,
    };
    Ok((returns, Vec::new()))
}

/// An option, if one comes next.
fn option(grammar: &mut Grammar<'_>, options: &mut Options) -> Result<bool> {
    let word = grammar.word(0);
    match word.as_str() {
        "LANGUAGE" => {
            options.once("language")?;
            grammar.skip(1);
            options.language = Some(grammar.option_value()?.to_lowercase());
        }
        "AS" => {
            options.once("as")?;
            grammar.skip(1);
            options.body = Some(Body::Text(
                grammar.quoted_text("the body of the function as a text")?,
            ));
        }
        "RETURN" => {
            options.once("as")?;
            grammar.skip(1);
            let (_, text) = grammar.with_text(|g| Ok(g.parser.parse_expr()?))?;
            options.body = Some(Body::Return(text));
        }
        "BEGIN" if grammar.word(1) == "ATOMIC" => {
            options.once("as")?;
            grammar.skip(2);
            options.body = Some(Body::Atomic(atomic(grammar)?));
        }
        "SET" => {
            grammar.skip(1);
            set(grammar, options)?;
        }
        "SUPPORT" | "TRANSFORM" | "WINDOW" => {
            let message = format!("{word} of functions is not supported");
            return Err(Error::unsupported(message));
        }
        _ => return property(grammar, options),
    }
    Ok(true)
}

/// IMMUTABLE and its like.
fn property(grammar: &mut Grammar<'_>, options: &mut Options) -> Result<bool> {
    let volatility = match grammar.word(0).as_str() {
        "IMMUTABLE" => Some(Volatility::Immutable),
        "STABLE" => Some(Volatility::Stable),
        "VOLATILE" => Some(Volatility::Volatile),
        _ => None,
    };
    let create = &mut options.create;
    if let Some(volatility) = volatility {
        create.volatility = volatility;
        grammar.skip(1);
        options.once("volatility")?;
    } else if grammar.accept(&["CALLED", "ON", "NULL", "INPUT"]) {
        options.once("strict")?;
    } else if grammar.accept(&["RETURNS", "NULL", "ON", "NULL", "INPUT"])
        || grammar.accept(&["STRICT"])
    {
        create.is_strict = true;
        options.once("strict")?;
    } else if grammar.accept(&["EXTERNAL", "SECURITY"]) || grammar.accept(&["SECURITY"]) {
        create.is_definer = grammar.accept(&["DEFINER"]);
        if !create.is_definer {
            grammar.expect(&["INVOKER"])?;
        }
        options.once("security")?;
    } else if grammar.accept(&["NOT", "LEAKPROOF"]) {
        options.once("leakproof")?;
    } else if grammar.accept(&["LEAKPROOF"]) {
        create.hints.leakproof = true;
        options.once("leakproof")?;
    } else if grammar.accept(&["PARALLEL"]) {
        create.hints.parallel = parallel(&grammar.option_value()?)?;
        options.once("parallel")?;
    } else if grammar.accept(&["COST"]) {
        create.hints.cost = Some(positive(grammar, "COST")?);
        options.once("cost")?;
    } else if grammar.accept(&["ROWS"]) {
        create.hints.rows = Some(positive(grammar, "ROWS")?);
        options.once("rows")?;
    } else {
        return Ok(false);
    }
    Ok(true)
}

fn parallel(value: &str) -> Result<Parallel> {
    match value.to_lowercase().as_str() {
        "safe" => Ok(Parallel::Safe),
        "restricted" => Ok(Parallel::Restricted),
        "unsafe" => Ok(Parallel::Unsafe),
        _ => {
            let message = "parameter \"parallel\" must be SAFE, RESTRICTED, or UNSAFE";
            Err(Error::invalid(sqlstate::SYNTAX_ERROR, message))
        }
    }
}

fn positive(grammar: &mut Grammar<'_>, option: &str) -> Result<f64> {
    let value = grammar.option_value()?.parse::<f64>();
    value.ok().filter(|value| *value > 0.0).ok_or_else(|| {
        let message = format!("{option} must be positive");
        Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message)
    })
}

/// `name {TO | =} value`, after SET.
fn set(grammar: &mut Grammar<'_>, options: &mut Options) -> Result<()> {
    let name = fold(&grammar.parser.parse_identifier()?);
    if name != "search_path" {
        let message = format!("SET {name} of functions is not supported");
        return Err(Error::unsupported(message).with_hint("SET search_path is."));
    }
    options.once("search_path")?;
    if !grammar.accept(&["TO"]) {
        grammar.parser.expect_token(&Token::Eq)?;
    }
    let names = grammar.comma_separated(Grammar::option_value)?;
    let names = names.into_iter().filter(|name| !name.is_empty());
    options.create.search_path = Some(names.collect());
    Ok(())
}

/// The statements up to the END of BEGIN ATOMIC, which is left behind.
fn atomic(grammar: &mut Grammar<'_>) -> Result<String> {
    let ((), text) = grammar.with_text(|grammar| {
        let mut depth = 0_usize;
        loop {
            match grammar.word(0).as_str() {
                "CASE" => depth += 1,
                "END" if depth == 0 => return Ok(()),
                "END" => depth -= 1,
                _ => {}
            }
            if grammar.parser.peek_token_ref().token == Token::EOF {
                return Err(grammar.unexpected("END"));
            }
            grammar.skip(1);
        }
    })?;
    grammar.expect(&["END"])?;
    Ok(text)
}

fn invalid(message: &str) -> Error {
    Error::invalid(sqlstate::INVALID_FUNCTION_DEFINITION, message)
}

/// # Errors
/// 0A000 for a language that PostgreSQL has, 42704 for any other, 42P13 for none.
fn check_language(language: Option<&str>, body: Option<&Body>) -> Result<()> {
    match language {
        Some("sql" | "plpgsql") => Ok(()),
        None if matches!(body, Some(Body::Return(_) | Body::Atomic(_))) => Ok(()),
        None => Err(invalid("no language specified")),
        Some(known) if OTHER_LANGUAGES.contains(&known) => {
            let message = format!("functions in language \"{known}\" are not supported");
            Err(Error::unsupported(message).with_hint(
                "Write the body as statements of SQL, with LANGUAGE sql; what needs variables or loops belongs into the \
                 program that calls.",
            ))
        }
        Some(unknown) => {
            let message = format!("language \"{unknown}\" does not exist");
            Err(Error::not_found(sqlstate::UNDEFINED_OBJECT, message))
        }
    }
}
