//! CREATE, DROP and TRUNCATE as commands.

mod like;
mod materialized;
mod view;

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, UInt64Array};
use arrow::datatypes::UInt64Type;
use arrow::record_batch::RecordBatch;
use datafusion::common::DFSchemaRef;
use datafusion::dataframe::DataFrame;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::prelude::Expr;
use datafusion::sql::sqlparser::ast::{self, ObjectName, Query};
use futures::FutureExt;

use self::like::Copied;
pub(super) use self::like::data_type_of;
pub(super) use self::materialized::refresh;
use self::materialized::wanted;
pub(crate) use self::view::plan_view;
pub(super) use self::view::{
    all_of, check_options, check_updatable, is_in_view, plan_query_of, query_of, view,
};
use super::access::definitions::owned_by;
use super::access::statement::RoleName;
use super::command::{CommandNode, count_schema};
use super::constraint;
use super::ddl::{
    check_writable, cluster_by_partition_key, column_type_of, define_schema, find_collection,
    find_table, is_reserved, no_schema, qualify, schema_name, with_keys,
};
use super::default_name::first_free;
use super::dependents::{drop_dependents, dropped_by};
use super::dml::insert_plan;
use super::foreign_key::{Child, Released, referring, releases};
use super::generated;
use super::named::table_of_execute;
use super::options;
use super::parser::fold;
use super::partition::{self, Emptied, drop_rows_of};
use super::sequence::{column_changes, restarts};
use super::session::{Planning, Session, Tag, done};
use super::statement::{CreateCollection, Drop, DropKind, Persistence};
use super::type_names::TypeNames;
use super::unique::Indexes;
use crate::catalog::options::ShelfmarkOptions;
use crate::catalog::transaction::OpenTransaction;
use crate::error::{Error, Result, sqlstate};
use crate::storage::access::{Object, Privilege};
use crate::storage::change::{Change, NewCollection, QualifiedName};
use crate::storage::schema::{CollectionId, CollectionOptions, CollectionSchema, Column, FieldId};
use crate::storage::snapshot::{DEFAULT_SCHEMA, Snapshot, TEMPORARY_SCHEMA};
use crate::storage::transaction::Durability;
use crate::storage::ttl::Ttl;
use crate::storage::unique::UniqueKey;

/// CREATE TABLE, with or without AS.
pub(super) async fn collection(
    planning: &Planning<'_>,
    mut create: CreateCollection,
) -> Result<(Tag, LogicalPlan)> {
    let session = planning.session.clone();
    let path = session.search_path();
    let name = match create.persistence {
        Persistence::Temporary(_) => path.qualify_temporary(&create.name)?,
        _ => path.qualify_new(&create.name)?,
    };
    let on_commit = match create.persistence {
        Persistence::Temporary(rule) => rule,
        _ => None,
    };
    check_writable(&name.schema)?;
    let mut options = CollectionOptions::from_settings(&session.inner.core.engine.settings);
    options::set(&session, &mut options, &create.options)?;
    let copied = planning.copy_likes(&mut create).await?;
    let query = planning.filling(&create).await?.map(Arc::new);
    let materialized = wanted(planning, &create, query.as_deref()).await?;
    let columns = query.as_deref().map(|query| planning.columns(query));
    let mut schema = define(&create, columns.transpose()?, &planning.type_names())?;
    generated::set_all(planning, &mut schema, &create.columns)?;
    let of_columns = create.columns.iter().flat_map(|c| &c.checks);
    for check in of_columns.chain(&create.checks) {
        constraint::add(planning, &name.name, &mut schema, check)?;
    }
    if let Some(by) = &create.partitioning {
        partition::divide(&mut schema, by)?;
    }
    let settings = ShelfmarkOptions::settings_of(planning.state.config_options());
    if settings.use_partition_key_as_clustering_key {
        cluster_by_partition_key(&mut schema);
    }
    Ttl::check(&schema, &options)?;
    check_defaults(planning, &mut schema).await?;
    let references = create.columns.iter().filter_map(|c| c.references.clone());
    let references: Arc<[_]> = references.chain(create.foreign_keys).collect();
    let of_columns = create.columns.iter().filter_map(|c| c.unique.clone());
    let unique: Arc<[_]> = of_columns.chain(create.unique).collect();
    if create.persistence == Persistence::Unlogged {
        session.notice("the table is logged as any other, and survives a crash");
    }
    let if_not_exists = create.if_not_exists;
    let counts = query.is_some() && !create.without_rows;
    let tag = match create.without_rows {
        _ if materialized.is_some() => "CREATE MATERIALIZED VIEW",
        true => "CREATE TABLE AS",
        false => "CREATE TABLE",
    };
    let query = query.filter(|_| counts);
    let label = format!("CreateCollection: {name}");
    let definitions = Arc::new(create.columns);
    let copied: Arc<[Copied]> = copied.into();
    let act = move || {
        let (definitions, unique) = (Arc::clone(&definitions), Arc::clone(&unique));
        let (references, copied) = (Arc::clone(&references), Arc::clone(&copied));
        let (session, name) = (session.clone(), name.clone());
        let (schema, options) = (schema.clone(), options.clone());
        let query = query.clone();
        let materialized = materialized.clone();
        async move {
            let _ddl = session.inner.core.ddl.lock().await;
            if name.schema == TEMPORARY_SCHEMA {
                session.begin_temporary()?;
            }
            let snapshot = session.snapshot();
            if if_not_exists && taken(&snapshot, &name) {
                session.notice(format!("relation \"{name}\" already exists, skipping"));
                return Ok(0);
            }
            if snapshot.keyed(&name).is_some() {
                return Err(already_there(&name.name));
            }
            let id = CollectionId(session.inner.core.engine.committer.allocate_id());
            if let Some(rule) = on_commit {
                session
                    .inner
                    .transaction
                    .temporary()
                    .set_on_commit(id, rule);
            }
            session.check_creates(&snapshot, &name.schema)?;
            let mut schema = schema;
            name_primary_key(&snapshot, &name, &mut schema)?;
            let indexes = Indexes {
                session: &session,
                snapshot: &snapshot,
                collection: id,
                name: &name,
                schema: &schema,
            };
            let mut made = indexes.create_all(&unique)?;
            for copied in copied.iter() {
                copied.indexes(&indexes, &mut made)?;
            }
            let indexes = made;
            partition::check_keys(&schema, &name.name, &indexes)?;
            let child = Child {
                session: &session,
                snapshot: &snapshot,
                id,
                name: &name,
                keys: &unique_keys(&name, &schema, &indexes),
            };
            for definition in references.iter() {
                child.add(&mut schema, definition)?;
            }
            let mut changes = vec![Change::CreateCollection(NewCollection {
                id,
                name: name.clone(),
                schema: schema.clone(),
                options,
            })];
            changes.extend(materialized.map(|wanted| Change::Materialize(id, Box::new(wanted))));
            changes.extend(indexes);
            changes.extend(session.ownership(Object::Collection(id)));
            for copied in copied.iter() {
                changes.extend(copied.comments(id, &schema));
            }
            for (column, definition) in schema.columns.iter().zip(definitions.iter()) {
                if let Some(wanted) = &definition.sequence {
                    let table = (&name, id);
                    let made = column_changes(&session, &snapshot, table, column, wanted)?;
                    changes.extend(made);
                }
            }
            match query {
                Some(query) => fill(&session, id, changes, &query).await,
                None => session.commit(&snapshot, changes).await.map(|()| 0),
            }
        }
    };
    if !counts {
        return done(tag, label, move || {
            let made = act();
            async move { made.await.map(|_| ()) }
        });
    }
    let schema = count_schema();
    let answered = Arc::clone(&schema);
    let action = move || {
        let (made, schema) = (act(), Arc::clone(&answered));
        let rows = async move {
            let count: ArrayRef = Arc::new(UInt64Array::from(vec![made.await?]));
            Ok(RecordBatch::try_new(schema, vec![count])?)
        };
        rows.boxed()
    };
    let plan = CommandNode::plan(label, schema, Arc::new(action))?;
    Ok((Tag::Count("SELECT"), plan))
}

/// Makes the collection of CREATE TABLE AS and its rows in one transaction; answers how many they are.
async fn fill(
    session: &Session,
    id: CollectionId,
    changes: Vec<Change>,
    query: &LogicalPlan,
) -> Result<u64> {
    let open = session.open_transaction();
    let is_alone = open.is_none();
    let transaction = open.unwrap_or_else(|| Arc::new(session.new_transaction()));
    transaction.define(changes)?;
    let rows = put_rows(session, &transaction, id, query).await?;
    if is_alone {
        transaction.commit(Durability::Synced).await?;
    }
    Ok(rows)
}

/// Puts rows into a collection as the transaction has it; answers how many they are.
pub(super) async fn put_rows(
    session: &Session,
    transaction: &Arc<OpenTransaction>,
    id: CollectionId,
    query: &LogicalPlan,
) -> Result<u64> {
    let snapshot = transaction.snapshot();
    let collection = snapshot.collection_by_id(id);
    let collection = collection.ok_or_else(|| Error::internal("the collection was not made"))?;
    let plan = insert_plan(session, collection, query.clone())?;
    let planning = Planning::within(session, Arc::clone(transaction));
    let counts = DataFrame::new(planning.state, plan).collect().await?;
    let counts = counts
        .iter()
        .map(|batch| batch.column(0).as_primitive::<UInt64Type>());
    Ok(counts.filter_map(arrow::compute::sum).sum())
}

/// That the name of a new collection's primary key is free; that which it has by default gets a number where it is not.
pub(super) fn name_primary_key(
    snapshot: &Snapshot,
    table: &QualifiedName,
    schema: &mut CollectionSchema,
) -> Result<()> {
    if schema.primary_key.is_empty() {
        return Ok(());
    }
    let is_free = |name: &String| !snapshot.has_relation(&QualifiedName::new(&table.schema, name));
    let name = schema.key_name(&table.name);
    if is_free(&name) {
        return Ok(());
    }
    if schema.primary_key_name.is_some() {
        return Err(already_there(&name));
    }
    schema.primary_key_name = Some(first_free(|number| format!("{name}{number}"), is_free));
    Ok(())
}

/// The unique keys of a collection that is made with these indexes.
fn unique_keys(
    name: &QualifiedName,
    schema: &CollectionSchema,
    indexes: &[Change],
) -> Vec<UniqueKey> {
    let primary = (!schema.primary_key.is_empty()).then(|| UniqueKey::primary(&name.name, schema));
    let others = indexes.iter().filter_map(|change| match change {
        Change::CreateIndex(_, index) => Some(UniqueKey::of(index)),
        _ => None,
    });
    primary.into_iter().chain(others).collect()
}

fn already_there(name: &str) -> Error {
    let message = format!("relation \"{name}\" already exists");
    Error::exists(sqlstate::DUPLICATE_TABLE, message)
}

fn taken(snapshot: &Snapshot, name: &QualifiedName) -> bool {
    snapshot.has_relation(name)
}

/// The columns of CREATE TABLE AS come from the query; the keys from the statement.
fn define(
    create: &CreateCollection,
    columns: Option<DFSchemaRef>,
    types: &TypeNames,
) -> Result<CollectionSchema> {
    let Some(columns) = columns else {
        return define_schema(create, types);
    };
    if !create.columns.is_empty() {
        let message = "CREATE TABLE AS takes the names of columns, without types";
        return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message));
    }
    let column = |(i, field): (usize, &arrow::datatypes::FieldRef)| {
        Ok(Column {
            id: FieldId(i as u32 + 1),
            name: field.name().clone(),
            column_type: column_type_of(field)?,
            nullable: true,
            default: None,
            missing: None,
            generated: None,
            domain: None,
        })
    };
    let fields = columns.fields().iter().enumerate();
    with_keys(create, fields.map(column).collect::<Result<_>>()?)
}

/// A plan with other names for its first columns.
pub(super) fn renamed(plan: LogicalPlan, names: &[String]) -> Result<LogicalPlan> {
    let columns = plan.schema().columns().into_iter().enumerate();
    let columns = columns.map(|(at, column)| match names.get(at) {
        Some(name) => Expr::Column(column).alias(name),
        None => Expr::Column(column),
    });
    let columns: Vec<Expr> = columns.collect();
    Ok(LogicalPlanBuilder::from(plan).project(columns)?.build()?)
}

/// That each DEFAULT is an expression without columns; those that this session's clock reads are read.
async fn check_defaults(planning: &Planning<'_>, schema: &mut CollectionSchema) -> Result<()> {
    for column in &mut schema.columns {
        if let Some(text) = &column.default {
            let context = format!("default of column \"{}\"", column.name);
            planning.constant(text).map_err(|e| e.context(context))?;
        }
        planning.fix_default(column).await?;
    }
    Ok(())
}

impl Planning<'_> {
    /// The columns of a plan with the types that they have once it is analyzed.
    fn columns(&self, plan: &LogicalPlan) -> Result<DFSchemaRef> {
        let options = self.state.config_options();
        let analyzer = self.state.analyzer();
        let analyzed = analyzer.execute_and_check(plan.clone(), options, |_, _| {})?;
        Ok(Arc::clone(analyzed.schema()))
    }

    /// The rows of CREATE TABLE AS, under the names that the statement gives them.
    async fn filling(&self, create: &CreateCollection) -> Result<Option<LogicalPlan>> {
        let plan = match (&create.query, &create.execute) {
            (Some(query), _) => self.query(query.clone()).await?,
            (None, Some(execute)) => table_of_execute(self, execute).await?,
            (None, None) => return Ok(None),
        };
        let names: Vec<String> = create.column_names.iter().map(fold).collect();
        if names.len() > plan.schema().fields().len() {
            let message = "too many column names were specified";
            return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message));
        }
        if let Some(twice) = names
            .iter()
            .enumerate()
            .find(|(i, n)| names[..*i].contains(n))
        {
            let message = format!("column \"{}\" specified more than once", twice.1);
            return Err(Error::exists(sqlstate::DUPLICATE_COLUMN, message));
        }
        match names.is_empty() {
            true => Ok(Some(plan)),
            false => Ok(Some(renamed(plan, &names)?)),
        }
    }

    /// The plan of a query.
    pub(super) async fn query(&self, query: Box<Query>) -> Result<LogicalPlan> {
        self.plan(ast::Statement::Query(query)).await
    }
}

/// CREATE SCHEMA.
pub(super) fn schema(
    session: &Session,
    name: Option<&ObjectName>,
    owner: Option<RoleName>,
    if_not_exists: bool,
) -> Result<(Tag, LogicalPlan)> {
    let session = session.clone();
    let name = name.map(schema_name).transpose()?;
    let described = format!("CreateSchema: {}", name.as_deref().unwrap_or_default());
    done("CREATE SCHEMA", described, move || {
        let (session, name, owner) = (session.clone(), name.clone(), owner.clone());
        async move {
            let snapshot = session.snapshot();
            session.check_creates_schemas(&snapshot)?;
            let owner = match &owner {
                Some(owner) => session.new_owner(&snapshot, owner)?,
                None => session.user().current(),
            };
            let of_owner = || snapshot.role(owner).map(|role| role.name.clone());
            let name = name.or_else(of_owner).unwrap_or_default();
            check_writable(&name)?;
            check_acceptable(&name)?;
            if if_not_exists && snapshot.has_schema(&name) {
                session.notice(format!("schema \"{name}\" already exists, skipping"));
                return Ok(());
            }
            let owned = owned_by(owner, Object::Schema(name.clone()));
            let mut changes = vec![Change::CreateSchema(name)];
            changes.extend(owned);
            session.commit(&snapshot, changes).await
        }
    })
}

/// That a SQL schema of users may be called so.
///
/// # Errors
/// 42939.
pub(super) fn check_acceptable(schema: &str) -> Result<()> {
    if schema.starts_with("pg_") {
        let message = format!("unacceptable schema name \"{schema}\"");
        return Err(Error::invalid(sqlstate::RESERVED_NAME, message)
            .with_detail("The prefix \"pg_\" is reserved for system schemas."));
    }
    Ok(())
}

/// DROP TABLE, VIEW or SCHEMA.
pub(super) fn drop(session: &Session, drop: Drop) -> Result<(Tag, LogicalPlan)> {
    let session = session.clone();
    let tag = drop.kind.tag();
    let names: Vec<String> = drop.names.iter().map(ToString::to_string).collect();
    let drop = Arc::new(drop);
    done(tag, format!("Drop: {}", names.join(", ")), move || {
        let (session, drop) = (session.clone(), Arc::clone(&drop));
        async move {
            let _ddl = session.inner.core.ddl.lock().await;
            let planning = Planning::new(&session);
            let snapshot = Arc::clone(&planning.snapshot);
            let mut changes = Vec::new();
            for name in &drop.names {
                match drop_one(&session, &snapshot, &drop, name) {
                    Ok(more) => changes.extend(more),
                    Err(e) if drop.if_exists && e.kind() == crate::error::ErrorKind::NotFound => {
                        session.notice(format!("{}, skipping", e.message()));
                    }
                    Err(e) => return Err(e),
                }
            }
            if changes.is_empty() {
                return Ok(());
            }
            let dropped = dropped_by(&planning, &changes);
            let views = drop_dependents(&planning, &dropped, drop.cascade).await?;
            changes.extend(releases_of(&session, &snapshot, &changes, drop.cascade)?);
            changes.extend(views);
            let emptied = drop_rows_of(&snapshot, &mut changes);
            emptied.commit(&session, &snapshot, changes).await
        }
    })
}

/// The changes that take away the foreign keys to collections which `changes` drop.
fn releases_of(
    session: &Session,
    snapshot: &Snapshot,
    changes: &[Change],
    cascade: bool,
) -> Result<Vec<Change>> {
    let dropped = changes.iter().filter_map(|change| match change {
        Change::DropCollection(id) => Some(*id),
        _ => None,
    });
    let dropped: HashSet<CollectionId> = dropped.collect();
    let parents = dropped
        .iter()
        .filter_map(|id| snapshot.collection_by_id(*id));
    let released: Vec<Released<'_>> = parents
        .map(|parent| Released {
            parent,
            by: &|_| true,
        })
        .collect();
    releases(session, snapshot, &released, &dropped, cascade)
}

fn drop_one(
    session: &Session,
    snapshot: &Snapshot,
    drop: &Drop,
    name: &ObjectName,
) -> Result<Vec<Change>> {
    if drop.kind == DropKind::Schema {
        return drop_schema(session, snapshot, &schema_name(name)?, drop.cascade);
    }
    let name = qualify(name, &session.search_path())?;
    if !snapshot.has_schema(&name.schema) && !is_reserved(&name.schema) {
        return Err(no_schema(&name.schema));
    }
    let what = drop.kind.words();
    if !snapshot.has_relation(&name) {
        let message = format!("{what} \"{name}\" does not exist");
        return Err(Error::not_found(sqlstate::UNDEFINED_TABLE, message));
    }
    let collection = snapshot.collection(&name);
    let found = match (collection, snapshot.view(&name)) {
        (Some(collection), _) => collection.kind(),
        (None, Some(view)) => view.kind(),
        (None, None) => find_collection(snapshot, &name)?.kind(),
    };
    if found != what {
        let message = format!("\"{name}\" is not a {what}");
        let hint = format!("Use DROP {} to remove a {found}.", found.to_uppercase());
        return Err(Error::invalid(sqlstate::WRONG_OBJECT_TYPE, message).with_hint(hint));
    }
    if let Some(collection) = collection {
        let object = Object::Collection(collection.id);
        session.check_drops(snapshot, &object, &name.schema, &name.name)?;
        return Ok(vec![Change::DropCollection(collection.id)]);
    }
    let object = Object::View(name.clone());
    session.check_drops(snapshot, &object, &name.schema, &name.name)?;
    Ok(vec![Change::DropView(name)])
}

fn drop_schema(
    session: &Session,
    snapshot: &Snapshot,
    name: &str,
    cascade: bool,
) -> Result<Vec<Change>> {
    check_writable(name)?;
    if name == DEFAULT_SCHEMA || name == TEMPORARY_SCHEMA {
        return Err(Error::unsupported(format!(
            "schema \"{name}\" cannot be dropped"
        )));
    }
    if !snapshot.has_schema(name) {
        return Err(no_schema(name));
    }
    session.check_owner(snapshot, &Object::Schema(name.to_string()), name)?;
    let mut changes = Vec::new();
    if cascade {
        let alone = snapshot.sequences().filter(|s| s.owner.is_none());
        let alone = alone.filter(|s| s.name.schema == name);
        changes.extend(alone.map(|s| Change::DropSequence(s.id)));
        let collections = snapshot.collections().filter(|c| c.name.schema == name);
        changes.extend(collections.map(|c| Change::DropCollection(c.id)));
        let views = snapshot.views().filter(|v| v.name.schema == name);
        changes.extend(views.map(|v| Change::DropView(v.name.clone())));
        // Before the types that they take.
        let functions = snapshot.functions().filter(|f| f.name.schema == name);
        changes.extend(functions.map(|function| Change::DropFunction(function.id)));
        let types = snapshot.types().filter(|of| of.name.schema == name);
        changes.extend(types.map(|of| Change::DropType(of.id)));
        let domains = snapshot.domains().filter(|d| d.name.schema == name);
        changes.extend(domains.map(|domain| Change::DropDomain(domain.id)));
    }
    changes.push(Change::DropSchema(name.to_string()));
    Ok(changes)
}

/// TRUNCATE.
pub(super) fn truncate(
    session: &Session,
    names: Vec<ObjectName>,
    restart: bool,
    cascade: bool,
) -> Result<(Tag, LogicalPlan)> {
    let session = session.clone();
    let path = session.search_path();
    let names: Vec<_> = names
        .iter()
        .map(|n| qualify(n, &path))
        .collect::<Result<_>>()?;
    let texts: Vec<String> = names.iter().map(ToString::to_string).collect();
    done(
        "TRUNCATE TABLE",
        format!("Truncate: {}", texts.join(", ")),
        move || {
            let (session, names) = (session.clone(), names.clone());
            async move {
                let snapshot = session.snapshot();
                let mut changes = Vec::new();
                let (partitions, named): (Vec<_>, Vec<_>) = names
                    .into_iter()
                    .partition(|name| snapshot.partition(name).is_some());
                for name in &partitions {
                    session.check_may_view(&snapshot, name, Privilege::Truncate)?;
                }
                let named = named.iter();
                let named = named.map(|name| find_table(&snapshot, name).cloned());
                let named = named.collect::<Result<Vec<_>>>()?;
                for collection in &referring(&session, &snapshot, named, cascade)? {
                    session.check_may(&snapshot, collection, Privilege::Truncate)?;
                    changes.push(Change::Truncate(collection.id));
                    if restart {
                        changes.extend(restarts(&session, &snapshot, collection)?);
                    }
                }
                let emptied = Emptied::beside(&snapshot, &changes, partitions);
                emptied.commit(&session, &snapshot, changes).await
            }
        },
    )
}
