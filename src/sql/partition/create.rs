//! CREATE TABLE .. PARTITION OF.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;

use super::CreatePartition;
use super::bound::NewBound;
use crate::error::{Error, Result, sqlstate};
use crate::sql::ddl::{check_writable, find_table, qualify};
use crate::sql::parser::parse_query_as_written;
use crate::sql::session::{Planning, Session, Tag, done};
use crate::storage::access::Object;
use crate::storage::change::{Change, QualifiedName, View};
use crate::storage::collection::Collection;
use crate::storage::partition::{Partition, PartitionBound, condition};
use crate::storage::schema::CollectionId;
use crate::storage::snapshot::TEMPORARY_SCHEMA;

/// CREATE TABLE .. PARTITION OF.
pub(in crate::sql) fn create(
    session: &Session,
    create: CreatePartition,
) -> Result<(Tag, LogicalPlan)> {
    let path = session.search_path();
    let name = match create.temporary {
        true => path.qualify_temporary(&create.name)?,
        false => path.qualify_new(&create.name)?,
    };
    check_writable(&name.schema)?;
    let session = session.clone();
    let create = Arc::new(create);
    done(
        "CREATE TABLE",
        format!("CreatePartition: {name}"),
        move || {
            let (session, name) = (session.clone(), name.clone());
            let create = Arc::clone(&create);
            async move { run(&session, &name, &create).await }
        },
    )
}

async fn run(session: &Session, name: &QualifiedName, create: &CreatePartition) -> Result<()> {
    let _ddl = session.inner.core.ddl.lock().await;
    let planning = Planning::new(session);
    let snapshot = &planning.snapshot;
    if snapshot.has_relation(name) {
        let message = format!("relation \"{name}\" already exists");
        if create.if_not_exists {
            session.notice(format!("{message}, skipping"));
            return Ok(());
        }
        return Err(Error::exists(sqlstate::DUPLICATE_TABLE, message));
    }
    let parent_name = qualify(&create.parent, &session.search_path())?;
    let is_part = snapshot.partition(&parent_name).is_some();
    let parent = match is_part {
        true => None,
        false => Some(find_table(snapshot, &parent_name)?),
    };
    let parent = parent.filter(|parent| parent.schema.partitioning.is_some());
    let Some(parent) = parent else {
        let message = format!("\"{}\" is not partitioned", parent_name.name);
        return Err(Error::invalid(sqlstate::INVALID_OBJECT_DEFINITION, message));
    };
    session.check_owns(snapshot, parent)?;
    session.check_creates(snapshot, &name.schema)?;
    check_lasts_as(parent, name)?;
    let new = NewBound {
        planning: &planning,
        parent,
        name,
    };
    let bound = new.read(&create.bound).await?;
    check_default(&planning, parent, &bound).await?;
    let mut changes = vec![Change::CreateView(partition(parent.id, name, bound))];
    changes.extend(session.ownership(Object::View(name.clone())));
    session.commit(snapshot, changes).await
}

/// That a table and its partition are both of one session, or both for good.
fn check_lasts_as(parent: &Collection, name: &QualifiedName) -> Result<()> {
    let is_temporary = name.schema == TEMPORARY_SCHEMA;
    let message = match (parent.is_temporary(), is_temporary) {
        (true, false) => "cannot create a permanent relation as partition of temporary relation",
        (false, true) => "cannot create a temporary relation as partition of permanent relation",
        _ => return Ok(()),
    };
    let message = format!("{message} \"{}\"", parent.name.name);
    Err(Error::invalid(sqlstate::WRONG_OBJECT_TYPE, message))
}

/// The partition; its query is made where it is stored.
pub(super) fn partition(parent: CollectionId, name: &QualifiedName, bound: PartitionBound) -> View {
    View {
        name: name.clone(),
        columns: Vec::new(),
        query: String::new(),
        search_path: vec![name.schema.clone()],
        options: Vec::new(),
        defaults: BTreeMap::new(),
        partition: Some(Box::new(Partition { parent, bound })),
    }
}

/// That the default partition, if there is one, has no rows of the new one.
///
/// # Errors
/// 23514.
pub(super) async fn check_default(
    planning: &Planning<'_>,
    parent: &Collection,
    bound: &PartitionBound,
) -> Result<()> {
    let is_default = |view: &&Arc<View>| {
        let partition = view.partition.as_ref();
        partition.is_some_and(|of| of.bound == PartitionBound::Default)
    };
    let Some(default) = parent.partitions().iter().find(is_default) else {
        return Ok(());
    };
    let Some(condition) = condition(parent, bound, &[]) else {
        return Ok(());
    };
    if !has_row(planning, &parent.name, &condition).await? {
        return Ok(());
    }
    let message = format!(
        "updated partition constraint for default partition \"{}\" would be violated by some row",
        default.name.name
    );
    Err(Error::invalid(sqlstate::CHECK_VIOLATION, message))
}

/// Whether a row of a table meets a condition.
pub(super) async fn has_row(
    planning: &Planning<'_>,
    table: &QualifiedName,
    condition: &str,
) -> Result<bool> {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let (schema, name) = (quoted(&table.schema), quoted(&table.name));
    let text = format!("SELECT 1 FROM {schema}.{name} WHERE {condition} LIMIT 1");
    let plan = planning.query(parse_query_as_written(&text)?).await?;
    let frame = datafusion::dataframe::DataFrame::new(planning.state.clone(), plan);
    Ok(frame.count().await? > 0)
}
