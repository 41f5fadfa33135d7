//! CREATE and REFRESH MATERIALIZED VIEW: collections whose rows are those of a query.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::prelude::Expr;

use super::put_rows;
use super::view::{plan_query_of, query_of, reads_temporary};
use crate::error::{Error, Result, sqlstate};
use crate::sql::access::view::ViewNode;
use crate::sql::ddl::{find_collection, qualify};
use crate::sql::session::{Planning, Session, Tag, done};
use crate::sql::statement::{CreateCollection, Refresh};
use crate::storage::access::Object;
use crate::storage::change::{Change, QualifiedName};
use crate::storage::collection::Collection;
use crate::storage::materialized::Materialized;
use crate::storage::transaction::Durability;

/// What CREATE MATERIALIZED VIEW keeps of its query; none for a table.
///
/// # Errors
/// 0A000 for a query of temporary relations.
pub(super) async fn wanted(
    planning: &Planning<'_>,
    create: &CreateCollection,
    plan: Option<&LogicalPlan>,
) -> Result<Option<Materialized>> {
    let (Some(text), Some(plan)) = (&create.materialized, plan) else {
        return Ok(None);
    };
    if reads_temporary(plan)? {
        let message = "materialized views must not use temporary tables or views";
        return Err(Error::unsupported(message));
    }
    let query = match &create.query {
        Some(query) => planning.query(query.clone()).await?,
        None => return Ok(None),
    };
    let names = query.schema().fields().iter().map(|f| f.name().clone());
    Ok(Some(Materialized {
        query: text.clone(),
        search_path: planning.session.search_path().into_schemas(),
        names: names.collect(),
        populated: !create.without_rows,
    }))
}

/// REFRESH MATERIALIZED VIEW.
pub(in crate::sql) fn refresh(session: &Session, refresh: Refresh) -> Result<(Tag, LogicalPlan)> {
    let session = session.clone();
    let name = qualify(&refresh.name, &session.search_path())?;
    let label = format!("RefreshMaterializedView: {name}");
    let refresh = Arc::new(refresh);
    done("REFRESH MATERIALIZED VIEW", label, move || {
        let (session, name) = (session.clone(), name.clone());
        let refresh = Arc::clone(&refresh);
        async move { run(&session, &name, &refresh).await }
    })
}

/// All rows go and those of the query come in one commit, or as part of the block: who reads meanwhile sees the old ones.
async fn run(session: &Session, name: &QualifiedName, refresh: &Refresh) -> Result<()> {
    let _ddl = session.inner.core.ddl.lock().await;
    let open = session.open_transaction();
    let is_alone = open.is_none();
    let transaction = open.unwrap_or_else(|| Arc::new(session.new_transaction()));
    let snapshot = transaction.snapshot();
    let collection = Arc::clone(find_collection(&snapshot, name)?);
    let Some(of) = &collection.materialized else {
        let message = format!("\"{}\" is not a materialized view", name.name);
        return Err(Error::unsupported(message));
    };
    session.check_owns(&snapshot, &collection)?;
    if refresh.concurrently {
        check_concurrently(&collection)?;
    }
    let planning = Planning::within(session, Arc::clone(&transaction));
    let rows = match refresh.without_rows {
        true => None,
        false => Some(rows(&planning, &collection, of).await?),
    };
    let mut changes = vec![Change::Truncate(collection.id)];
    let populated = rows.is_some();
    if populated != of.populated {
        let of = Materialized::clone(of);
        let next = Box::new(Materialized { populated, ..of });
        changes.push(Change::Materialize(collection.id, next));
    }
    transaction.define(changes)?;
    if let Some(rows) = rows {
        put_rows(session, &transaction, collection.id, &rows).await?;
    }
    match is_alone {
        true => transaction.commit(Durability::Synced).await,
        false => Ok(()),
    }
}

/// That a materialized view may be refreshed while others read it, as PostgreSQL wants it to be.
fn check_concurrently(collection: &Collection) -> Result<()> {
    if !collection.is_populated() {
        let message = "CONCURRENTLY cannot be used when the materialized view is not populated";
        return Err(Error::unsupported(message));
    }
    let mut keys = collection.unique_keys().into_iter();
    if keys.any(|key| key.computed.is_none()) {
        return Ok(());
    }
    let QualifiedName { schema, name } = &collection.name;
    let message = format!("cannot refresh materialized view \"{schema}.{name}\" concurrently");
    let hint = "Create a unique index with no WHERE clause on one or more columns of the \
                materialized view.";
    Err(Error::invalid(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message).with_hint(hint))
}

/// The rows of the query, by the rights of the owner.
async fn rows(
    planning: &Planning<'_>,
    collection: &Collection,
    of: &Materialized,
) -> Result<LogicalPlan> {
    let view = of.view(&collection.name);
    let snapshot = Arc::clone(&planning.snapshot);
    let plan = plan_query_of(&planning.state, snapshot, &view, query_of(&view)?).await?;
    let owner = planning
        .snapshot
        .access(&Object::Collection(collection.id))
        .owner;
    let rows = ViewNode::part(view.name, owner, plan);
    let columns = rows.schema().columns();
    // Columns of tables that are read do not go: a star may give more of them by now.
    if columns.len() == of.names.len() {
        return Ok(rows);
    }
    let of_name = |name: &String| {
        let mut found = columns.iter().filter(|column| column.name == *name);
        match (found.next(), found.next()) {
            (Some(column), None) => Ok(Expr::Column(Column::clone(column))),
            _ => Err(no_column(name, collection)),
        }
    };
    let exprs: Vec<Expr> = of.names.iter().map(of_name).collect::<Result<_>>()?;
    Ok(LogicalPlanBuilder::from(rows).project(exprs)?.build()?)
}

/// 42703: the query has lost a column.
fn no_column(name: &str, collection: &Collection) -> Error {
    let view = &collection.name;
    let message = format!("the query of materialized view \"{view}\" has no column \"{name}\" now");
    Error::not_found(sqlstate::UNDEFINED_COLUMN, message)
}
