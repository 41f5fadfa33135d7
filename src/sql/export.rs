//! EXPORT COLLECTION name TO 'directory' (FORMAT parquet | delta).

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::ObjectName;
use datafusion::sql::sqlparser::tokenizer::Token;
use futures::FutureExt;

use super::command::CommandNode;
use super::ddl::{find_collection, qualify};
use super::parser::Grammar;
use super::session::{Session, Tag};
use super::statement::Statement;
use crate::compaction::expire::expired_rows;
use crate::error::{Error, Result, sqlstate};
use crate::storage::change::Change;
use crate::storage::collection::Collection;
use crate::storage::committer::now_ms;
use crate::storage::engine::Engine;
use crate::storage::export::{ExportFormat, Exported, export};
use crate::storage::role::RoleId;
use crate::storage::snapshot::Snapshot;

/// An EXPORT statement.
#[derive(Debug, Clone)]
pub struct ExportStatement {
    name: ObjectName,
    directory: String,
    format: ExportFormat,
}

/// `EXPORT COLLECTION|TABLE name TO 'directory' [(FORMAT parquet|delta)]`.
pub(super) fn parse(grammar: &mut Grammar<'_>) -> Result<Statement> {
    grammar.skip(2);
    let name = grammar.parser.parse_object_name(false)?;
    if grammar.word(0) != "TO" {
        return Err(grammar.unexpected("TO"));
    }
    grammar.skip(1);
    let directory = grammar.parser.parse_literal_string()?;
    let mut format = ExportFormat::Parquet;
    if grammar.parser.consume_token(&Token::LParen) {
        if grammar.word(0) != "FORMAT" {
            return Err(grammar.unexpected("FORMAT"));
        }
        grammar.skip(1);
        format = match grammar.word(0).as_str() {
            "PARQUET" => ExportFormat::Parquet,
            "DELTA" => ExportFormat::Delta,
            other => {
                let message = format!("EXPORT format \"{}\" not recognized", other.to_lowercase());
                return Err(Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message)
                    .with_hint("There are parquet and delta."));
            }
        };
        grammar.skip(1);
        grammar.parser.expect_token(&Token::RParen)?;
    }
    Ok(Statement::Export(Box::new(ExportStatement {
        name,
        directory,
        format,
    })))
}

/// EXPORT COLLECTION: answers with what was written.
pub(super) fn plan(session: &Session, statement: ExportStatement) -> Result<(Tag, LogicalPlan)> {
    let name = qualify(&statement.name, &session.search_path())?;
    let label = format!("Export: {name} to {}", statement.directory);
    let session = session.clone();
    let action =
        move || {
            let (session, name) = (session.clone(), name.clone());
            let ExportStatement {
                directory, format, ..
            } = statement.clone();
            async move {
            let snapshot = session.snapshot();
            let collection = Arc::clone(find_collection(&snapshot, &name)?);
            session.check_owns(&snapshot, &collection)?;
            if !session.rights(&snapshot).acts_as(RoleId::WRITE_SERVER_FILES) {
                let message = "must be superuser or have privileges of the pg_write_server_files \
                               role to EXPORT to a directory";
                return Err(Error::denied(message));
            }
            session.files().check_write(&directory)?;
            let engine = Arc::clone(&session.inner.core.engine);
            let writing = tokio::task::spawn_blocking(move || {
                let collection = without_expired(&engine, &snapshot, collection)?;
                let written = export(&engine, &collection, &PathBuf::from(directory), format);
                // Held until the last file is read.
                drop(snapshot);
                written
            });
            let written = writing.await;
            row(written.map_err(|e| Error::internal(format!("the export ended: {e}")))??)
        }
        .boxed()
        };
    let plan = CommandNode::plan(label, schema(), Arc::new(action))?;
    Ok((Tag::Rows, plan))
}

/// The collection as if rows that have expired were deleted.
fn without_expired(
    engine: &Arc<Engine>,
    snapshot: &Arc<Snapshot>,
    collection: Arc<Collection>,
) -> Result<Arc<Collection>> {
    let Some(expired) = expired_rows(engine, &collection, now_ms())? else {
        return Ok(collection);
    };
    let id = collection.id;
    let deletes = expired.into_iter();
    let deletes: Vec<Change> = deletes
        .map(|(segment, rows)| Change::Delete(id, segment, rows))
        .collect();
    let without = snapshot.with_pending(&deletes)?;
    Ok(without.collection_by_id(id).map_or(collection, Arc::clone))
}

fn schema() -> SchemaRef {
    let number = |name| Field::new(name, DataType::Int64, false);
    Arc::new(Schema::new(["rows", "files", "bytes"].map(number).to_vec()))
}

fn row(written: Exported) -> Result<RecordBatch> {
    let column = |number: u64| Arc::new(Int64Array::from(vec![number as i64])) as ArrayRef;
    let numbers = [written.rows, written.files, written.bytes];
    Ok(RecordBatch::try_new(
        schema(),
        numbers.map(column).to_vec(),
    )?)
}
