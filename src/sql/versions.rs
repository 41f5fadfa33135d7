//! `FROM book FOR VERSION AS OF 41`: collections as they were.
//!
//! A version is meant by its number, or by a time (`FOR TIMESTAMP AS OF`, `FOR SYSTEM_TIME AS OF`), which means the version
//! that was the newest then. The name is that of today; rows and columns are those of the version. Such a relation becomes a
//! name of its own that stands for a table which is fixed to its version, so that nothing after the parser need know of it.

#[cfg(test)]
mod history;
pub(super) mod parameters;

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::{DFSchema, ScalarValue, TableReference};
use datafusion::dataframe::DataFrame;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::sql::sqlparser::ast::{
    self, CastKind, Ident, ObjectName, TableAlias, TableFactor, TableVersion, TimezoneInfo, Value,
    Visitor, VisitorMut,
};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::parser::name_parts;
use super::walk;
use crate::catalog::table::CollectionTable;
use crate::error::{Error, Result, sqlstate};
use crate::storage::committer::{Committer, now_ms};
use crate::storage::schema::Version;
use crate::storage::snapshot::Snapshot;

/// The catalog of tables that are fixed to a version, as EXPLAIN shows them; nothing is looked up in it.
const VERSIONS_CATALOG: &str = "shelfmark_versions";

/// Takes out the FOR before `VERSION AS OF` and `TIMESTAMP AS OF`, which sqlparser reads without it; whether there is a
/// version in the text.
pub(super) fn mend_tokens(tokens: &mut Vec<TokenWithSpan>) -> bool {
    let is_word = |token: &&TokenWithSpan| !matches!(token.token, Token::Whitespace(_));
    let words: Vec<(usize, Option<Keyword>)> = tokens
        .iter()
        .enumerate()
        .filter(|(_, token)| is_word(token))
        .map(|(at, token)| (at, keyword(&token.token)))
        .collect();
    let mut has_versions = false;
    let mut needless = Vec::new();
    for (place, window) in words.windows(3).enumerate() {
        use Keyword::{AS, FOR, OF, SYSTEM_TIME, TIMESTAMP, VERSION};
        let [(_, Some(kind)), (_, Some(AS)), (_, Some(OF))] = window else {
            continue;
        };
        let before = place.checked_sub(1).map(|before| words[before]);
        match (before, kind) {
            (Some((at, Some(FOR))), VERSION | TIMESTAMP) => needless.push(at),
            (_, VERSION | TIMESTAMP | SYSTEM_TIME) => {}
            _ => continue,
        }
        has_versions = true;
    }
    for at in needless.into_iter().rev() {
        tokens.remove(at);
    }
    has_versions
}

fn keyword(token: &Token) -> Option<Keyword> {
    match token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.keyword),
        _ => None,
    }
}

/// A relation that is wanted as it was.
struct Asked {
    name: ObjectName,
    version: TableVersion,
}

/// Gives each relation with a version a name of its own; the tables of these names.
///
/// # Errors
/// 42P01 for a collection that does not exist, or did not then, 72000 for a version that is no longer kept, 42704 for one
/// that is yet to come, 0A000 for a parameter in its place (see [`parameters`]), 22023 for a time that is yet to come.
pub(super) async fn resolve(
    state: &SessionState,
    statement: &mut ast::Statement,
) -> Result<Vec<(TableReference, Arc<dyn TableProvider>)>> {
    let mut tables: Vec<(TableReference, Arc<dyn TableProvider>)> = Vec::new();
    let mut names = Vec::new();
    for asked in asked_in(statement) {
        let table = table_of(state, &asked).await?;
        let collection = &table.collection().name;
        let named = format!("{}@{}", collection.name, table.version());
        let parts = [VERSIONS_CATALOG, &collection.schema, &named];
        names.push(parts.map(|part| Ident::with_quote('"', part)).to_vec());
        let [catalog, schema, name] = parts.map(str::to_string);
        let reference = TableReference::full(catalog, schema, name);
        tables.push((reference, Arc::new(table)));
    }
    if !names.is_empty() {
        let mut rename = Rename(names.into_iter());
        // It never breaks.
        let _ = walk::change(statement, &mut rename);
    }
    Ok(tables)
}

fn asked_in(statement: &ast::Statement) -> Vec<Asked> {
    struct Found(Vec<Asked>);
    impl Visitor for Found {
        type Break = ();
        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            if let TableFactor::Table {
                name,
                version: Some(version),
                ..
            } = factor
            {
                self.0.push(Asked {
                    name: name.clone(),
                    version: version.clone(),
                });
            }
            ControlFlow::Continue(())
        }
    }
    let mut found = Found(Vec::new());
    // It never breaks.
    let _ = walk::read(statement, &mut found);
    found.0
}

/// Gives the relations their names, in the order in which they were found.
struct Rename(std::vec::IntoIter<Vec<Ident>>);

impl VisitorMut for Rename {
    type Break = Error;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        if let TableFactor::Table {
            name,
            alias,
            version,
            ..
        } = factor
            && version.take().is_some()
            && let Some(parts) = self.0.next()
        {
            let last = name.0.last().and_then(|part| part.as_ident()).cloned();
            if let (None, Some(last)) = (&alias, last) {
                *alias = Some(TableAlias {
                    explicit: true,
                    name: last,
                    columns: Vec::new(),
                    at: None,
                });
            }
            *name = ObjectName::from(parts);
        }
        ControlFlow::Continue(())
    }
}

async fn table_of(state: &SessionState, asked: &Asked) -> Result<CollectionTable> {
    let current = current_table(state, &asked.name).await?;
    let Some(table) = current.downcast_ref::<CollectionTable>() else {
        let message = format!("\"{}\" is not a collection: it has no versions", asked.name);
        return Err(Error::invalid(sqlstate::WRONG_OBJECT_TYPE, message));
    };
    let engine = table.engine();
    let snapshot = snapshot_of(state, &engine.committer, &asked.version).await?;
    let collection = table.collection();
    if snapshot.collection_by_id(collection.id).is_none() {
        let (name, version) = (&collection.name, snapshot.version());
        let message = format!("relation \"{name}\" did not exist in version {version}");
        return Err(Error::not_found(sqlstate::UNDEFINED_TABLE, message));
    }
    CollectionTable::at(Arc::clone(engine), snapshot, collection.id)
}

async fn current_table(state: &SessionState, name: &ObjectName) -> Result<Arc<dyn TableProvider>> {
    let parts = name_parts(name)?;
    let reference = match parts.as_slice() {
        [table] => TableReference::bare(table.as_str()),
        [schema, table] => TableReference::partial(schema.as_str(), table.as_str()),
        [catalog, schema, table] => {
            TableReference::full(catalog.as_str(), schema.as_str(), table.as_str())
        }
        _ => return Err(no_relation(name)),
    };
    let schema = state.schema_for_ref(reference.clone());
    let found = match schema {
        Ok(schema) => schema.table(reference.table()).await?,
        Err(_) => None,
    };
    found.ok_or_else(|| no_relation(name))
}

fn no_relation(name: &ObjectName) -> Error {
    let message = format!("relation \"{name}\" does not exist");
    Error::not_found(sqlstate::UNDEFINED_TABLE, message)
}

async fn snapshot_of(
    state: &SessionState,
    committer: &Committer,
    version: &TableVersion,
) -> Result<Arc<Snapshot>> {
    match version {
        TableVersion::VersionAsOf(number) => committer.snapshot_at(version_number(number)?),
        TableVersion::TimestampAsOf(time) | TableVersion::ForSystemTimeAsOf(time) => {
            let time_ms = evaluate_time(state, time).await?;
            if time_ms > now_ms() {
                let message = "the time of a version lies in the future";
                return Err(Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message));
            }
            committer.snapshot_as_of(time_ms)
        }
        other => Err(Error::unsupported(format!("{other} is not supported"))
            .with_hint("Write FOR VERSION AS OF 41, or FOR TIMESTAMP AS OF '2026-01-31 12:00'.")),
    }
}

fn version_number(number: &ast::Expr) -> Result<Version> {
    let ast::Expr::Value(value) = number else {
        return Err(no_number(number));
    };
    match &value.value {
        Value::Number(digits, _) => match digits.parse() {
            Ok(number) => Ok(Version(number)),
            Err(_) => Err(no_number(number)),
        },
        Value::Placeholder(_) => Err(no_parameter()),
        _ => Err(no_number(number)),
    }
}

fn no_number(number: &ast::Expr) -> Error {
    let message = format!("{number} is not the number of a version");
    Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message)
}

fn no_parameter() -> Error {
    let message = "which version is read cannot be a parameter here";
    let hint =
        "In a query it can be $1 alone; otherwise write the number or the time into the statement.";
    Error::unsupported(message).with_hint(hint)
}

/// The value of an expression without columns as milliseconds since 1970 UTC. Text is read as a timestamp with time zone.
async fn evaluate_time(state: &SessionState, time: &ast::Expr) -> Result<i64> {
    if has_placeholder(time) {
        return Err(no_parameter());
    }
    let cast = ast::Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(time.clone()),
        data_type: ast::DataType::Timestamp(None, TimezoneInfo::Tz),
        array: false,
        format: None,
    };
    let expr = ast::ExprWithAlias {
        expr: cast,
        alias: None,
    };
    let expr = state.create_logical_expr_from_sql_expr(expr, &DFSchema::empty())?;
    let plan = LogicalPlanBuilder::empty(true)
        .project(vec![expr])?
        .build()?;
    let batches = DataFrame::new(state.clone(), plan).collect().await?;
    let value = match batches.first() {
        Some(batch) => ScalarValue::try_from_array(batch.column(0), 0)?,
        None => ScalarValue::Null,
    };
    match value {
        ScalarValue::TimestampMicrosecond(Some(value), _) => Ok(value.div_euclid(1_000)),
        ScalarValue::TimestampNanosecond(Some(value), _) => Ok(value.div_euclid(1_000_000)),
        _ => {
            let message = "the time of a version is NULL";
            Err(Error::invalid(sqlstate::NULL_VALUE_NOT_ALLOWED, message))
        }
    }
}

fn has_placeholder(expr: &ast::Expr) -> bool {
    let found = walk::read_expressions(expr, |expr| match expr {
        ast::Expr::Value(value) if matches!(value.value, Value::Placeholder(_)) => {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::sql::tokens::tokenize;

    fn mended(text: &str) -> (bool, String) {
        let mut tokens = tokenize(text).unwrap();
        let has_versions = mend_tokens(&mut tokens);
        let texts = tokens.iter().map(|t| t.token.to_string());
        (has_versions, texts.collect::<String>())
    }

    #[test]
    fn only_versions_lose_their_for() {
        for (text, has_versions, becomes) in [
            (
                "FROM t FOR VERSION AS OF 3 x",
                true,
                "FROM t  VERSION AS OF 3 x",
            ),
            (
                "t for timestamp as of now()",
                true,
                "t  timestamp as of now()",
            ),
            (
                "t FOR SYSTEM_TIME AS OF now()",
                true,
                "t FOR SYSTEM_TIME AS OF now()",
            ),
            ("FROM t FOR UPDATE", false, "FROM t FOR UPDATE"),
            ("FROM t at, u before", false, "FROM t at, u before"),
            ("\"version\" AS of", false, "\"version\" AS of"),
        ] {
            assert_eq!(mended(text), (has_versions, becomes.to_string()), "{text}");
        }
    }
}
