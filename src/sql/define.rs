//! The grammar of CREATE and ALTER: columns, keys, options.

mod alter;

use datafusion::sql::sqlparser::ast::{Expr, Ident, ObjectName};
use datafusion::sql::sqlparser::dialect::{Dialect, Precedence};
use datafusion::sql::sqlparser::tokenizer::Token;

pub(super) use self::alter::alter;
use super::foreign_key;
use super::mend::compares_bytes;
use super::parser::{Grammar, fold, parse_query_as_written};
use super::partition::{partition_by, partition_of};
use super::sequence;
use super::statement::{
    CheckDefinition, ColumnDefinition, CreateCollection, CreateView, KeyItem, LikeClause,
    Persistence, Refresh, Statement,
};
use super::tokens::DIALECT;
use super::unique;
use crate::error::{Error, Result, sqlstate};
use crate::storage::snapshot::OnCommit;
use crate::storage::view::CHECK_OPTION;

/// CREATE TABLE, after its first two words.
pub(super) fn collection(grammar: &mut Grammar<'_>, persistence: Persistence) -> Result<Statement> {
    let if_not_exists = grammar.if_not_exists();
    let mut create = CreateCollection {
        if_not_exists,
        ..CreateCollection::new(grammar.name()?, persistence)
    };
    if grammar.accept(&["PARTITION", "OF"]) {
        return partition_of(grammar, create);
    }
    let mut has_columns = false;
    if lists_names(grammar) {
        create.column_names = grammar.names_in_parentheses()?;
    } else if inherits_alone(grammar) {
        return Err(inheritance());
    } else if grammar.parser.consume_token(&Token::LParen) {
        grammar.comma_separated(|g| element(g, &mut create))?;
        grammar.parser.expect_token(&Token::RParen)?;
        has_columns = true;
    }
    while layout(grammar, &mut create)? {}
    if grammar.accept(&["AS"]) {
        filling(grammar, &mut create)?;
    } else if !create.column_names.is_empty() || !has_columns {
        return Err(grammar.unexpected("AS"));
    }
    Ok(Statement::CreateCollection(Box::new(create)))
}

/// `[IF NOT EXISTS] name [(columns)] [CLUSTER BY (..)] [WITH (..)] AS query [WITH [NO] DATA]`, after MATERIALIZED VIEW.
pub(super) fn materialized_view(grammar: &mut Grammar<'_>) -> Result<Statement> {
    let if_not_exists = grammar.if_not_exists();
    let mut create = CreateCollection {
        if_not_exists,
        ..CreateCollection::new(grammar.name()?, Persistence::Permanent)
    };
    if grammar.parser.peek_token().token == Token::LParen {
        create.column_names = grammar.names_in_parentheses()?;
    }
    while layout(grammar, &mut create)? {}
    grammar.expect(&["AS"])?;
    let (query, text) = grammar.with_text(|g| Ok(g.parser.parse_query()?))?;
    create.query = Some(query);
    create.materialized = Some(text);
    create.without_rows = without_rows(grammar);
    Ok(Statement::CreateCollection(Box::new(create)))
}

/// `[CONCURRENTLY] name [WITH [NO] DATA]`, after REFRESH MATERIALIZED VIEW.
pub(super) fn refresh(grammar: &mut Grammar<'_>) -> Result<Statement> {
    grammar.expect(&["REFRESH", "MATERIALIZED", "VIEW"])?;
    let concurrently = grammar.accept(&["CONCURRENTLY"]);
    let name = grammar.name()?;
    let without_rows = without_rows(grammar);
    if concurrently && without_rows {
        let message = "CONCURRENTLY and WITH NO DATA options cannot be used together";
        return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message));
    }
    Ok(Statement::Refresh(Refresh {
        name,
        concurrently,
        without_rows,
    }))
}

/// `[WITH [NO] DATA]`.
fn without_rows(grammar: &mut Grammar<'_>) -> bool {
    let without = grammar.accept(&["WITH", "NO", "DATA"]);
    grammar.accept(&["WITH", "DATA"]);
    without
}

/// A key, options or ON COMMIT behind the columns, if one comes next.
fn layout(grammar: &mut Grammar<'_>, create: &mut CreateCollection) -> Result<bool> {
    if grammar.accept(&["CLUSTER", "BY"]) {
        let items = key_items(grammar)?;
        set_key(&mut create.clustering_key, items, "clustering")?;
    } else if grammar.accept(&["PARTITION", "KEY"]) {
        let names = partition_key(grammar)?;
        create.partition_key = Some(names);
    } else if grammar.accept(&["PARTITION", "BY"]) {
        create.partitioning = Some(partition_by(grammar)?);
    } else if grammar.word(0) == "INHERITS" {
        return Err(inheritance());
    } else if grammar.accept(&["WITH"]) {
        create.options.extend(grammar.options()?);
    } else if grammar.accept(&["ON", "COMMIT"]) {
        create.persistence = on_commit(grammar, create.persistence)?;
    } else {
        return Ok(false);
    }
    Ok(true)
}

/// Whether a table without columns of its own comes next: `() INHERITS`.
fn inherits_alone(grammar: &Grammar<'_>) -> bool {
    let token = |n| &grammar.parser.peek_nth_token_ref(n).token;
    *token(0) == Token::LParen && *token(1) == Token::RParen && grammar.word(2) == "INHERITS"
}

/// 0A000: tables do not inherit.
fn inheritance() -> Error {
    Error::unsupported("inheritance of tables is not supported")
        .with_hint("PARTITION BY divides a table, LIKE copies its columns.")
}

/// Whether names of columns come next, without types: those that CREATE TABLE AS gives.
fn lists_names(grammar: &Grammar<'_>) -> bool {
    let token = |n| &grammar.parser.peek_nth_token_ref(n).token;
    *token(0) == Token::LParen
        && matches!(token(1), Token::Word(_))
        && matches!(token(2), Token::Comma | Token::RParen)
}

/// `{query | EXECUTE name [(values)]} [WITH [NO] DATA]`, after AS.
fn filling(grammar: &mut Grammar<'_>, create: &mut CreateCollection) -> Result<()> {
    if grammar.word(0) == "EXECUTE" {
        if let Statement::Execute(execute) = grammar.execute()? {
            create.execute = Some(execute);
        }
    } else {
        create.query = Some(grammar.parser.parse_query()?);
    }
    create.without_rows = without_rows(grammar);
    Ok(())
}

/// `LIKE table [{INCLUDING | EXCLUDING} what] ..`
fn like(grammar: &mut Grammar<'_>, at: usize) -> Result<LikeClause> {
    grammar.expect(&["LIKE"])?;
    let mut like = LikeClause::new(grammar.name()?, at);
    loop {
        let is_included = match grammar.word(0).as_str() {
            "INCLUDING" => true,
            "EXCLUDING" => false,
            _ => return Ok(like),
        };
        let chosen = match grammar.word(1).as_str() {
            "DEFAULTS" => vec![&mut like.defaults],
            "CONSTRAINTS" => vec![&mut like.constraints],
            "IDENTITY" => vec![&mut like.identity],
            "INDEXES" => vec![&mut like.indexes],
            "COMMENTS" => vec![&mut like.comments],
            "ALL" => like.all(),
            "GENERATED" => vec![&mut like.generated],
            // There is nothing of the kind.
            "COMPRESSION" | "STATISTICS" | "STORAGE" => Vec::new(),
            _ => {
                grammar.skip(1);
                return Err(grammar.unexpected("DEFAULTS, CONSTRAINTS, INDEXES, IDENTITY or ALL"));
            }
        };
        chosen.into_iter().for_each(|part| *part = is_included);
        grammar.skip(2);
    }
}

/// `PRESERVE ROWS`, `DELETE ROWS` or `DROP`, after ON COMMIT.
fn on_commit(grammar: &mut Grammar<'_>, persistence: Persistence) -> Result<Persistence> {
    let rule = if grammar.accept(&["DELETE", "ROWS"]) {
        Some(OnCommit::DeleteRows)
    } else if grammar.accept(&["DROP"]) {
        Some(OnCommit::Drop)
    } else {
        grammar.expect(&["PRESERVE", "ROWS"])?;
        None
    };
    match persistence {
        Persistence::Temporary(_) => Ok(Persistence::Temporary(rule)),
        _ => Err(definition("ON COMMIT can only be used on temporary tables")),
    }
}

fn partition_key(grammar: &mut Grammar<'_>) -> Result<Ident> {
    if grammar.parser.peek_token().token != Token::LParen {
        return Ok(grammar.parser.parse_identifier()?);
    }
    let mut names = grammar.names_in_parentheses()?;
    match (names.pop(), names.is_empty()) {
        (Some(name), true) => Ok(name),
        _ => Err(definition("a partition key has one column")),
    }
}

/// A column or a table constraint.
fn element(grammar: &mut Grammar<'_>, create: &mut CreateCollection) -> Result<()> {
    let name = constraint_name(grammar)?;
    let listed = |g: &Grammar<'_>, n| g.parser.peek_nth_token_ref(n).token == Token::LParen;
    match (grammar.word(0).as_str(), grammar.word(1).as_str()) {
        ("PRIMARY", "KEY") => {
            grammar.skip(2);
            let names = grammar.names_in_parentheses()?;
            create.primary_key_name = name;
            set_key(&mut create.primary_key, names, "primary")
        }
        ("CLUSTERING", "KEY") if listed(grammar, 2) => {
            grammar.skip(2);
            let items = key_items(grammar)?;
            set_key(&mut create.clustering_key, items, "clustering")
        }
        ("PARTITION", "KEY") if listed(grammar, 2) => {
            grammar.skip(2);
            create.partition_key = Some(partition_key(grammar)?);
            Ok(())
        }
        ("CHECK", _) if listed(grammar, 1) => {
            create.checks.push(check(grammar, name)?);
            Ok(())
        }
        ("UNIQUE", word) if listed(grammar, 1) || word == "NULLS" => {
            create.unique.push(unique::unique(grammar, name, None)?);
            Ok(())
        }
        ("FOREIGN", "KEY") if listed(grammar, 2) => {
            let key = foreign_key::foreign_key(grammar, name)?;
            create.foreign_keys.push(key);
            Ok(())
        }
        ("LIKE", _) if !listed(grammar, 1) => {
            let like = like(grammar, create.columns.len())?;
            create.likes.push(like);
            Ok(())
        }
        ("EXCLUDE", _) => Err(unsupported_constraint(grammar)),
        _ => {
            let column = column(grammar, &mut |grammar, name, constraint| {
                column_key(grammar, create, name, constraint)
            })?;
            create.columns.push(column);
            Ok(())
        }
    }
}

/// `[CONSTRAINT name]`.
pub(super) fn constraint_name(grammar: &mut Grammar<'_>) -> Result<Option<Ident>> {
    match grammar.accept(&["CONSTRAINT"]) {
        true => Ok(Some(grammar.parser.parse_identifier()?)),
        false => Ok(None),
    }
}

/// `CHECK (condition) [NO INHERIT]`.
pub(super) fn check(grammar: &mut Grammar<'_>, name: Option<Ident>) -> Result<CheckDefinition> {
    grammar.expect(&["CHECK"])?;
    grammar.parser.expect_token(&Token::LParen)?;
    let condition = grammar.parser.parse_expr()?;
    grammar.parser.expect_token(&Token::RParen)?;
    grammar.accept(&["NO", "INHERIT"]);
    Ok(CheckDefinition { name, condition })
}

fn unsupported_constraint(grammar: &Grammar<'_>) -> Error {
    Error::unsupported(format!("{} constraints are not supported", grammar.word(0)))
}

/// Takes a key that stands behind the column of a name, and of a constraint with a name, if one does.
type TakeKey<'a> = dyn FnMut(&mut Grammar<'_>, &Ident, Option<&Ident>) -> Result<bool> + 'a;

/// `name type [NOT NULL | DEFAULT .. | PRIMARY KEY | CLUSTERING KEY | PARTITION KEY] ..`.
fn column(grammar: &mut Grammar<'_>, take_key: &mut TakeKey<'_>) -> Result<ColumnDefinition> {
    let name = grammar.parser.parse_identifier()?;
    let mut data_type = grammar.parser.parse_data_type()?;
    let sequence = sequence::serial(&mut data_type).map(Box::new);
    let mut column = ColumnDefinition {
        name,
        data_type,
        not_null: sequence.is_some(),
        default: None,
        checks: Vec::new(),
        unique: None,
        references: None,
        sequence,
        generated: None,
    };
    loop {
        let constraint = constraint_name(grammar)?;
        if grammar.word(0) == "CHECK" {
            column.checks.push(check(grammar, constraint)?);
        } else if grammar.word(0) == "UNIQUE" {
            let name = column.name.clone();
            column.unique = Some(unique::unique(grammar, constraint, Some(&name))?);
        } else if grammar.word(0) == "REFERENCES" {
            let columns = vec![column.name.clone()];
            column.references = Some(foreign_key::references(grammar, constraint, columns)?);
        } else if grammar.accept(&["NOT", "NULL"]) {
            column.not_null = true;
        } else if grammar.accept(&["NULL"]) {
            column.not_null = false;
        } else if grammar.accept(&["DEFAULT"]) {
            column.default = Some(default(grammar)?);
            check_one_source(&column)?;
        } else if grammar.word(0) == "GENERATED" {
            generated(grammar, &mut column)?;
            check_one_source(&column)?;
        } else if take_key(grammar, &column.name, constraint.as_ref())? {
        } else if constraint.is_none() && grammar.accept(&["COLLATE"]) {
            column_collation(grammar)?;
        } else if grammar.word(0) == "PRIMARY" || constraint.is_some() {
            return Err(unsupported_constraint(grammar));
        } else {
            return Ok(column);
        }
    }
}

/// The collation of a column, which must be one of those that compare texts by their bytes, as all are compared here.
///
/// # Errors
/// 42704 for a collation that does not exist.
pub(super) fn column_collation(grammar: &mut Grammar<'_>) -> Result<()> {
    let name = grammar.name()?;
    match compares_bytes(&name) {
        true => Ok(()),
        false => {
            let message = format!("collation {name} for encoding \"UTF8\" does not exist");
            Err(Error::not_found(sqlstate::UNDEFINED_OBJECT, message))
        }
    }
}

/// `GENERATED {ALWAYS AS (expression) STORED | {ALWAYS | BY DEFAULT} AS IDENTITY ..}`.
fn generated(grammar: &mut Grammar<'_>, column: &mut ColumnDefinition) -> Result<()> {
    let computed = |g: &Grammar<'_>, n| g.parser.peek_nth_token_ref(n).token == Token::LParen;
    if grammar.word(1) == "BY" && computed(grammar, 4) {
        let message = "for a generated column, GENERATED ALWAYS must be specified";
        return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message));
    }
    if grammar.word(1) == "ALWAYS" && computed(grammar, 3) {
        grammar.skip(4);
        let expression = grammar.parser.parse_expr()?;
        grammar.parser.expect_token(&Token::RParen)?;
        grammar.expect(&["STORED"])?;
        if column.generated.replace(Box::new(expression)).is_some() {
            return Err(two_sources(column, "multiple generation clauses"));
        }
        return Ok(());
    }
    grammar.skip(1);
    if column.sequence.is_some() {
        return Err(two_sources(column, "both default and identity"));
    }
    column.sequence = Some(Box::new(sequence::generated(grammar)?));
    column.not_null = true;
    Ok(())
}

/// That at most one of DEFAULT, a sequence and an expression gives the column its values.
fn check_one_source(column: &ColumnDefinition) -> Result<()> {
    let both = match (&column.default, &column.sequence, &column.generated) {
        (Some(_), Some(_), _) => "both default and identity",
        (Some(_), _, Some(_)) => "both default and generation expression",
        (_, Some(_), Some(_)) => "both identity and generation expression",
        _ => return Ok(()),
    };
    Err(two_sources(column, both))
}

fn two_sources(column: &ColumnDefinition, both: &str) -> Error {
    let message = format!("{both} specified for column \"{}\"", fold(&column.name));
    Error::invalid(sqlstate::SYNTAX_ERROR, message)
}

/// The expression behind DEFAULT. It ends before NOT, so that `DEFAULT 5 NOT NULL` reads as in Postgres.
pub(super) fn default(grammar: &mut Grammar<'_>) -> Result<(Expr, String)> {
    let precedence = DIALECT.prec_value(Precedence::Between);
    grammar.with_text(|g| Ok(g.parser.parse_subexpr(precedence)?))
}

/// Takes a key that stands behind a column, if one does.
fn column_key(
    grammar: &mut Grammar<'_>,
    create: &mut CreateCollection,
    name: &Ident,
    constraint: Option<&Ident>,
) -> Result<bool> {
    let names = vec![name.clone()];
    if grammar.accept(&["PRIMARY", "KEY"]) {
        create.primary_key_name = constraint.cloned();
        set_key(&mut create.primary_key, names, "primary")?;
    } else if grammar.accept(&["CLUSTERING", "KEY"]) {
        let items = vec![KeyItem::Column(name.clone())];
        set_key(&mut create.clustering_key, items, "clustering")?;
    } else if grammar.accept(&["PARTITION", "KEY"]) {
        if create.partition_key.replace(name.clone()).is_some() {
            return Err(definition("a collection has one partition key"));
        }
    } else {
        return Ok(false);
    }
    Ok(true)
}

/// `( column | VECTOR (column) | HILBERT (column, ..), .. )`.
fn key_items(grammar: &mut Grammar<'_>) -> Result<Vec<KeyItem>> {
    grammar.parser.expect_token(&Token::LParen)?;
    let items = grammar.comma_separated(key_item)?;
    grammar.parser.expect_token(&Token::RParen)?;
    Ok(items)
}

fn key_item(grammar: &mut Grammar<'_>) -> Result<KeyItem> {
    if grammar.parser.peek_nth_token_ref(1).token != Token::LParen {
        return Ok(KeyItem::Column(grammar.parser.parse_identifier()?));
    }
    if grammar.accept(&["HILBERT"]) {
        return Ok(KeyItem::Hilbert(grammar.names_in_parentheses()?));
    }
    if !grammar.accept(&["VECTOR"]) {
        return Err(grammar.unexpected("a column, VECTOR (column) or HILBERT (column, column)"));
    }
    let mut names = grammar.names_in_parentheses()?;
    match (names.pop(), names.is_empty()) {
        (Some(name), true) => Ok(KeyItem::Vector(name)),
        _ => Err(definition("VECTOR takes one column")),
    }
}

fn set_key<T>(key: &mut Vec<T>, names: Vec<T>, kind: &str) -> Result<()> {
    if !key.is_empty() {
        return Err(
            definition(&format!("multiple {kind} keys for one collection"))
                .with_hint("A key of several columns is written once, in parentheses."),
        );
    }
    *key = names;
    Ok(())
}

fn definition(message: &str) -> Error {
    Error::invalid(sqlstate::INVALID_TABLE_DEFINITION, message)
}

/// `[RECURSIVE] VIEW name [(columns)] [WITH (options)] AS query`.
pub(super) fn view(
    grammar: &mut Grammar<'_>,
    or_replace: bool,
    temporary: bool,
) -> Result<Statement> {
    let recursive = grammar.accept(&["RECURSIVE"]);
    grammar.expect(&["VIEW"])?;
    let name = grammar.name()?;
    let listed = grammar.parser.peek_token().token == Token::LParen;
    let columns = if listed {
        grammar.names_in_parentheses()?
    } else {
        Vec::new()
    };
    let mut options = match grammar.accept(&["WITH"]) {
        true => grammar.options()?,
        false => Vec::new(),
    };
    grammar.expect(&["AS"])?;
    let (mut query, mut text) = grammar.with_text(|g| Ok(g.parser.parse_query()?))?;
    if let Some(check) = check_option(grammar) {
        if recursive {
            let message = "WITH CHECK OPTION not supported on recursive views";
            return Err(Error::unsupported(message));
        }
        options.push((CHECK_OPTION.to_string(), check.to_string()));
    }
    if recursive {
        text = recursive_query(&name, &columns, &text)?;
        query = parse_query_as_written(&text)?;
    }
    Ok(Statement::CreateView(Box::new(CreateView {
        name,
        or_replace,
        temporary,
        columns,
        options,
        query,
        text,
    })))
}

/// `WITH [LOCAL | CASCADED] CHECK OPTION`.
fn check_option(grammar: &mut Grammar<'_>) -> Option<&'static str> {
    if grammar.accept(&["WITH", "LOCAL", "CHECK", "OPTION"]) {
        return Some("local");
    }
    let is_cascaded = grammar.accept(&["WITH", "CHECK", "OPTION"])
        || grammar.accept(&["WITH", "CASCADED", "CHECK", "OPTION"]);
    is_cascaded.then_some("cascaded")
}

/// The query of a view that names itself.
fn recursive_query(name: &ObjectName, columns: &[Ident], text: &str) -> Result<String> {
    let Some(own) = name.0.last().filter(|_| !columns.is_empty()) else {
        let message = "a recursive view needs the names of its columns";
        return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message));
    };
    let columns: Vec<String> = columns.iter().map(ToString::to_string).collect();
    let columns = columns.join(", ");
    Ok(format!(
        "WITH RECURSIVE {own} ({columns}) AS ({text}) SELECT {columns} FROM {own}"
    ))
}
