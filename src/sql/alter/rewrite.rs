//! ALTER TABLE where the values of rows change: they are read as they were, and come again in one commit with the new
//! definition.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{Expr, SessionContext, ident, lit};

use super::Next;
use crate::catalog::table::CollectionTable;
use crate::error::{Error, Result};
use crate::sql::create::put_rows;
use crate::sql::session::Planning;
use crate::storage::change::Change;
use crate::storage::collection::Collection;
use crate::storage::schema::{CollectionId, Column};
use crate::storage::snapshot::Snapshot;
use crate::storage::transaction::Durability;

/// What all columns of a collection get in the rows that exist.
pub(super) fn values(collection: &Collection, next: &Next) -> Result<Vec<Expr>> {
    let columns = next.schema.columns.iter();
    let values = columns.map(|column| Ok(value(collection, next, column)?.alias(&column.name)));
    values.collect()
}

/// What a column gets in a row that exists.
fn value(collection: &Collection, next: &Next, column: &Column) -> Result<Expr> {
    if column.generated.is_some() {
        return Ok(lit(ScalarValue::Null));
    }
    if let Some(value) = next.values.get(&column.id) {
        return Ok(value.clone());
    }
    if let Some(before) = collection.schema.column_by_id(column.id) {
        return Ok(ident(&before.name));
    }
    let missing = column.missing.as_ref();
    let missing = missing.map(|value| value.to_scalar(&column.column_type.arrow_type()));
    Ok(lit(missing.transpose()?.unwrap_or(ScalarValue::Null)))
}

/// Commits the changes, with the rows that have the values, or makes both part of the block.
///
/// # Errors
/// 40001 when rows came or went meanwhile, and those of INSERT.
pub(super) async fn commit(
    planning: &Planning<'_>,
    collection: &Collection,
    changes: Vec<Change>,
    values: Vec<Expr>,
) -> Result<()> {
    let session = planning.session;
    let open = session.open_transaction();
    let is_alone = open.is_none();
    let transaction = open.unwrap_or_else(|| Arc::new(session.new_transaction()));
    // The rows are those that the transaction is judged by.
    let snapshot = transaction.snapshot();
    let now = snapshot.collection_by_id(collection.id);
    // Rows may have been counted.
    let is_same = |now: &Arc<Collection>| {
        now.schema == collection.schema && now.live_rows() == collection.live_rows()
    };
    if !now.is_some_and(is_same) {
        let name = &collection.name;
        let message = format!("collection \"{name}\" was altered by a concurrent commit");
        return Err(Error::conflict(message));
    }
    let rows = rows(planning, collection.id, snapshot, values)?;
    let emptied = [Change::Truncate(collection.id)];
    transaction.define(emptied.into_iter().chain(changes).collect())?;
    put_rows(session, &transaction, collection.id, &rows).await?;
    match is_alone {
        true => transaction.commit(Durability::Synced).await,
        false => Ok(()),
    }
}

/// The rows of a collection as a snapshot has them, with such values.
fn rows(
    planning: &Planning<'_>,
    id: CollectionId,
    snapshot: Arc<Snapshot>,
    values: Vec<Expr>,
) -> Result<LogicalPlan> {
    let engine = Arc::clone(&planning.session.inner.core.engine);
    let table = CollectionTable::at(engine, snapshot, id)?.stored();
    let context = SessionContext::new_with_state(planning.state.clone());
    let rows = context.read_table(Arc::new(table))?.select(values)?;
    Ok(rows.into_unoptimized_plan())
}
