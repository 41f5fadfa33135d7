//! ALTER TABLE .. ATTACH and DETACH PARTITION: rows move between a table and one of their own, in one commit.

use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{Expr, SessionContext, ident};
use datafusion::sql::sqlparser::ast::ObjectName;

use super::Bound;
use super::bound::{NewBound, not_partitioned};
use super::create::{check_default, has_row, partition};
use super::rows::empty;
use crate::catalog::table::CollectionTable;
use crate::error::{Error, Result, sqlstate};
use crate::sql::create::{name_primary_key, put_rows};
use crate::sql::ddl::{find_table, no_relation, qualify};
use crate::sql::default_name::first_free;
use crate::sql::session::{Planning, Session, Tag, done};
use crate::storage::access::Object;
use crate::storage::change::{AlterCollection, Change, NewCollection, QualifiedName};
use crate::storage::collection::Collection;
use crate::storage::index::Index;
use crate::storage::partition::{PartitionBound, condition};
use crate::storage::schema::{CollectionId, CollectionSchema, IndexId};
use crate::storage::snapshot::Snapshot;
use crate::storage::transaction::Durability;

/// ATTACH PARTITION.
///
/// # Errors
/// 42P17 for a bound that overlaps another, 42804 for other columns, 23514 for a row that is outside of the bound.
pub(in crate::sql) async fn attach(
    planning: &Planning<'_>,
    parent: &Arc<Collection>,
    name: &ObjectName,
    bound: &Bound,
) -> Result<()> {
    let session = planning.session;
    check_divided(parent)?;
    let name = qualify(name, &session.search_path())?;
    if planning.snapshot.partition(&name).is_some() {
        let message = format!("\"{}\" is already a partition", name.name);
        return Err(Error::invalid(sqlstate::WRONG_OBJECT_TYPE, message));
    }
    let table = Arc::clone(find_table(&planning.snapshot, &name)?);
    session.check_owns(&planning.snapshot, &table)?;
    if table.schema.partitioning.is_some() {
        return Err(super::grammar::subpartitions());
    }
    check_columns(parent, &table)?;
    let new = NewBound {
        planning,
        parent,
        name: &name,
    };
    let bound = new.read(bound).await?;
    check_rows(planning, parent, &name, &bound).await?;
    check_default(planning, parent, &bound).await?;
    let open = session.open_transaction();
    let is_alone = open.is_none();
    let transaction = open.unwrap_or_else(|| Arc::new(session.new_transaction()));
    let snapshot = transaction.snapshot();
    let access = snapshot.access(&Object::Collection(table.id));
    let rows = rows_for(planning, parent, table.id, snapshot)?;
    transaction.define(vec![
        // Emptied and altered in one commit: no row may come to the table while its rows move.
        Change::Truncate(table.id),
        Change::AlterCollection(AlterCollection {
            id: table.id,
            name: None,
            schema: None,
            options: None,
        }),
        Change::DropCollection(table.id),
        Change::CreateView(partition(parent.id, &name, bound)),
        Change::SetAccess(Object::View(name), (*access).clone()),
    ])?;
    put_rows(session, &transaction, parent.id, &rows).await?;
    match is_alone {
        true => transaction.commit(Durability::Synced).await,
        false => Ok(()),
    }
}

fn check_divided(parent: &Collection) -> Result<()> {
    match parent.schema.partitioning {
        Some(_) => Ok(()),
        None => Err(not_partitioned(parent)),
    }
}

/// That a table has the columns of another, in whichever order.
fn check_columns(parent: &Collection, table: &Collection) -> Result<()> {
    let mismatch = |message: String| Error::invalid(sqlstate::DATATYPE_MISMATCH, message);
    let (parent_name, name) = (&parent.name.name, &table.name.name);
    let mut columns = table.schema.columns.iter();
    if let Some(other) = columns.find(|c| parent.schema.column(&c.name).is_none()) {
        let other = &other.name;
        return Err(mismatch(format!(
            "table \"{name}\" contains column \"{other}\" not found in parent \"{parent_name}\""
        ))
        .with_detail("The new partition may contain only the columns present in parent."));
    }
    for column in &parent.schema.columns {
        let Some(own) = table.schema.column(&column.name) else {
            let column = &column.name;
            return Err(mismatch(format!(
                "child table is missing column \"{column}\""
            )));
        };
        let named = &column.name;
        if own.column_type != column.column_type {
            return Err(mismatch(format!(
                "child table \"{name}\" has different type for column \"{named}\""
            )));
        }
        if own.nullable && !column.nullable {
            return Err(mismatch(format!(
                "column \"{named}\" in child table must be marked NOT NULL"
            )));
        }
    }
    Ok(())
}

/// That all rows of a table are within a bound.
async fn check_rows(
    planning: &Planning<'_>,
    parent: &Collection,
    name: &QualifiedName,
    bound: &PartitionBound,
) -> Result<()> {
    let Some(condition) = condition(parent, bound, &bounds_of(parent)) else {
        return Ok(());
    };
    if !has_row(planning, name, &format!("NOT ({condition})")).await? {
        return Ok(());
    }
    let name = &name.name;
    let message = format!("partition constraint of relation \"{name}\" is violated by some row");
    Err(Error::invalid(sqlstate::CHECK_VIOLATION, message))
}

/// The rows of a table as those of another that has its columns.
fn rows_for(
    planning: &Planning<'_>,
    parent: &Collection,
    id: CollectionId,
    snapshot: Arc<Snapshot>,
) -> Result<LogicalPlan> {
    let engine = Arc::clone(&planning.session.inner.core.engine);
    let table = CollectionTable::at(engine, snapshot, id)?.stored();
    let context = SessionContext::new_with_state(planning.state.clone());
    let columns = parent.schema.columns.iter();
    let columns: Vec<Expr> = columns.map(|column| ident(&column.name)).collect();
    let rows = context.read_table(Arc::new(table))?.select(columns)?;
    Ok(rows.into_unoptimized_plan())
}

/// DETACH PARTITION.
///
/// # Errors
/// 42P01 for what is no partition of the table.
pub(in crate::sql) async fn detach(
    planning: &Planning<'_>,
    parent: &Arc<Collection>,
    name: &ObjectName,
) -> Result<()> {
    let session = planning.session;
    check_divided(parent)?;
    let name = qualify(name, &session.search_path())?;
    if !planning.snapshot.has_relation(&name) {
        return Err(no_relation(&name));
    }
    let found = planning.snapshot.partition(&name);
    let found = found.filter(|(_, partition)| partition.parent == parent.id);
    let Some((view, _)) = found else {
        let (name, parent) = (&name.name, &parent.name.name);
        let message = format!("relation \"{name}\" is not a partition of relation \"{parent}\"");
        return Err(Error::not_found(sqlstate::UNDEFINED_TABLE, message));
    };
    let bound = view.partition.as_ref().map(|of| of.bound.clone());
    let bound = bound.ok_or_else(|| Error::internal("a partition has a bound"))?;
    let open = session.open_transaction();
    let is_alone = open.is_none();
    let transaction = open.unwrap_or_else(|| Arc::new(session.new_transaction()));
    let snapshot = transaction.snapshot();
    let access = snapshot.access(&Object::View(name.clone()));
    let rows = rows_within(planning, parent, &bound, Arc::clone(&snapshot))?;
    let (id, mut changes) = own_table(session, &snapshot, parent, &name)?;
    // Its rows are found by its bound, which goes with its name: they go first.
    empty(session, &transaction, &name).await?;
    changes.insert(0, Change::DropView(name));
    changes.push(Change::SetAccess(Object::Collection(id), (*access).clone()));
    transaction.define(changes)?;
    put_rows(session, &transaction, id, &rows).await?;
    match is_alone {
        true => transaction.commit(Durability::Synced).await,
        false => Ok(()),
    }
}

/// The rows of a partition as a snapshot has them.
fn rows_within(
    planning: &Planning<'_>,
    parent: &Collection,
    bound: &PartitionBound,
    snapshot: Arc<Snapshot>,
) -> Result<LogicalPlan> {
    let engine = Arc::clone(&planning.session.inner.core.engine);
    let table = CollectionTable::at(engine, snapshot, parent.id)?.stored();
    let context = SessionContext::new_with_state(planning.state.clone());
    let mut rows = context.read_table(Arc::new(table))?;
    if let Some(condition) = condition(parent, bound, &bounds_of(parent)) {
        let condition = planning.expression(&condition, rows.schema())?;
        rows = rows.filter(condition)?;
    }
    Ok(rows.into_unoptimized_plan())
}

/// What makes a table of its own of a partition: it has the columns, keys, checks and indexes of its parent.
fn own_table(
    session: &Session,
    snapshot: &Snapshot,
    parent: &Collection,
    name: &QualifiedName,
) -> Result<(CollectionId, Vec<Change>)> {
    let allocate = || session.inner.core.engine.committer.allocate_id();
    let id = CollectionId(allocate());
    let mut schema = CollectionSchema {
        partitioning: None,
        primary_key_name: None,
        ..(*parent.schema).clone()
    };
    name_primary_key(snapshot, name, &mut schema)?;
    let mut changes = vec![Change::CreateCollection(NewCollection {
        id,
        name: name.clone(),
        schema,
        options: parent.options.clone(),
    })];
    for index in parent.indexes() {
        let own = own_name(snapshot, parent, name, &index.name);
        changes.push(Change::CreateIndex(
            id,
            Index {
                id: IndexId(allocate()),
                name: own,
                ..Index::clone(index)
            },
        ));
    }
    Ok((id, changes))
}

/// The name of an index with the name of the partition in it instead of that of its table.
fn own_name(snapshot: &Snapshot, parent: &Collection, name: &QualifiedName, index: &str) -> String {
    let rest = index.strip_prefix(parent.name.name.as_str());
    let own = match rest {
        Some(rest) => format!("{}{rest}", name.name),
        None => format!("{}_{index}", name.name),
    };
    let is_free = |own: &String| !snapshot.has_relation(&QualifiedName::new(&name.schema, own));
    match is_free(&own) {
        true => own,
        false => first_free(|number| format!("{own}{number}"), is_free),
    }
}

/// The bounds of all partitions of a table.
fn bounds_of(parent: &Collection) -> Vec<PartitionBound> {
    let partitions = parent.partitions().iter();
    let bounds = partitions.filter_map(|view| Some(view.partition.as_ref()?.bound.clone()));
    bounds.collect()
}

/// ALTER INDEX .. ATTACH PARTITION: an index of a table is over all its partitions already.
pub(in crate::sql) fn of_index(session: &Session) -> Result<(Tag, LogicalPlan)> {
    let session = session.clone();
    done("ALTER INDEX", "AttachIndex".to_string(), move || {
        session.notice("the index of a partitioned table is over all its partitions already");
        std::future::ready(Ok(()))
    })
}
