//! CREATE, DROP and TRUNCATE as commands.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, UInt64Array};
use arrow::datatypes::UInt64Type;
use arrow::record_batch::RecordBatch;
use datafusion::common::DFSchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::dataframe::DataFrame;
use datafusion::datasource::source_as_provider;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast::{self, ObjectName, Query};
use futures::FutureExt;

use super::access::view::ViewNode;
use super::command::{CommandNode, count_schema};
use super::complexity::{check_relations, too_complex};
use super::constraint;
use super::context::{statement_to_plan, type_planner_of};
use super::ddl::{
    check_writable, cluster_by_partition_key, column_type_of, define_schema, find_collection,
    no_schema, qualify, schema_name, with_keys,
};
use super::dependents::{drop_dependents, dropped_by};
use super::dml::insert_plan;
use super::foreign_key::{Child, Released, referring, releases};
use super::mend::name_columns;
use super::options;
use super::parameters::Types;
use super::parser::fold;
use super::sequence::{column_changes, restarts};
use super::session::{Planning, Session, Tag, done};
use super::stack::with_room;
use super::statement::{CreateCollection, CreateView, Drop, DropKind, Persistence};
use super::type_names::{NamedTypes, TypeNames};
use super::unique::Indexes;
use crate::catalog::options::ShelfmarkOptions;
use crate::catalog::search_path;
use crate::catalog::table::CollectionTable;
use crate::error::{Error, Result, sqlstate};
use crate::storage::access::{Object, Privilege};
use crate::storage::change::{Change, NewCollection, QualifiedName, View};
use crate::storage::role::RoleId;
use crate::storage::schema::{CollectionId, CollectionOptions, CollectionSchema, Column, FieldId};
use crate::storage::snapshot::{DEFAULT_SCHEMA, Snapshot, TEMPORARY_SCHEMA};
use crate::storage::transaction::Durability;
use crate::storage::ttl::Ttl;
use crate::storage::unique::UniqueKey;

/// CREATE TABLE, with or without AS.
pub(super) async fn collection(
    planning: &Planning<'_>,
    create: CreateCollection,
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
    let query = match &create.query {
        Some(query) => Some(Arc::new(planning.query(query.clone()).await?)),
        None => None,
    };
    let columns = query.as_deref().map(|query| planning.columns(query));
    let mut schema = define(&create, columns.transpose()?, &planning.type_names())?;
    let of_columns = create.columns.iter().flat_map(|c| &c.checks);
    for check in of_columns.chain(&create.checks) {
        constraint::add(planning, &name.name, &mut schema, check)?;
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
    let (if_not_exists, counts) = (create.if_not_exists, query.is_some());
    let label = format!("CreateCollection: {name}");
    let definitions = Arc::new(create.columns);
    let act = move || {
        let (definitions, unique) = (Arc::clone(&definitions), Arc::clone(&unique));
        let references = Arc::clone(&references);
        let (session, name) = (session.clone(), name.clone());
        let (schema, options) = (schema.clone(), options.clone());
        let query = query.clone();
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
            let indexes = Indexes {
                session: &session,
                snapshot: &snapshot,
                collection: id,
                name: &name,
                schema: &schema,
            };
            let indexes = indexes.create_all(&unique)?;
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
            changes.extend(indexes);
            changes.extend(session.ownership(Object::Collection(id)));
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
        return done("CREATE TABLE", label, move || {
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
    let snapshot = transaction.snapshot();
    let collection = snapshot.collection_by_id(id);
    let collection = collection.ok_or_else(|| Error::internal("the collection was not made"))?;
    let plan = insert_plan(session, collection, query.clone())?;
    let planning = Planning::within(session, Arc::clone(&transaction));
    let counts = DataFrame::new(planning.state, plan).collect().await?;
    if is_alone {
        transaction.commit(Durability::Synced).await?;
    }
    let counts = counts
        .iter()
        .map(|batch| batch.column(0).as_primitive::<UInt64Type>());
    Ok(counts.filter_map(arrow::compute::sum).sum())
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

fn taken(snapshot: &Snapshot, name: &QualifiedName) -> bool {
    snapshot.collection(name).is_some() || snapshot.view(name).is_some()
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
        return Err(
            Error::unsupported("CREATE TABLE AS with a list of columns is not supported")
                .with_hint("Name the columns in the query."),
        );
    }
    let column = |(i, field): (usize, &arrow::datatypes::FieldRef)| {
        Ok(Column {
            id: FieldId(i as u32 + 1),
            name: field.name().clone(),
            column_type: column_type_of(field)?,
            nullable: true,
            default: None,
            missing: None,
        })
    };
    let fields = columns.fields().iter().enumerate();
    with_keys(create, fields.map(column).collect::<Result<_>>()?)
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

    /// The plan of a query.
    pub(super) async fn query(&self, query: Box<Query>) -> Result<LogicalPlan> {
        self.plan(ast::Statement::Query(query)).await
    }
}

/// CREATE VIEW.
pub(super) async fn view(
    planning: &Planning<'_>,
    create: CreateView,
) -> Result<(Tag, LogicalPlan)> {
    let session = planning.session.clone();
    let name = session.search_path().qualify_new(&create.name)?;
    check_writable(&name.schema)?;
    let plan = planning.query(create.query.clone()).await?;
    let columns: Vec<String> = create.columns.iter().map(fold).collect();
    check_lasting(&plan, &name)?;
    if columns.len() > plan.schema().fields().len() {
        let message = "CREATE VIEW specifies more column names than columns";
        return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message));
    }
    let view = View {
        name,
        columns,
        query: create.text.clone(),
        search_path: session.search_path().into_schemas(),
    };
    let or_replace = create.or_replace;
    done(
        "CREATE VIEW",
        format!("CreateView: {}", view.name),
        move || {
            let (session, view) = (session.clone(), view.clone());
            async move {
                let _ddl = session.inner.core.ddl.lock().await;
                let snapshot = session.snapshot();
                if snapshot.view(&view.name).is_some() && !or_replace {
                    let message = format!("relation \"{}\" already exists", view.name);
                    return Err(Error::exists(sqlstate::DUPLICATE_TABLE, message));
                }
                session.check_creates(&snapshot, &view.name.schema)?;
                let object = Object::View(view.name.clone());
                let owner = match snapshot.view(&view.name) {
                    Some(_) => {
                        session.check_owner(&snapshot, &object, &view.name.name)?;
                        None
                    }
                    None => session.ownership(object),
                };
                let mut changes = vec![Change::CreateView(view)];
                changes.extend(owner);
                session.commit(&snapshot, changes).await
            }
        },
    )
}

/// That a view is none of temporary tables.
///
/// # Errors
/// 0A000.
fn check_lasting(plan: &LogicalPlan, name: &QualifiedName) -> Result<()> {
    let mut reads_temporary = name.schema == TEMPORARY_SCHEMA;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Ok(provider) = source_as_provider(&scan.source)
            && let Some(table) = provider.downcast_ref::<CollectionTable>()
        {
            reads_temporary |= table.collection().is_temporary();
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    match reads_temporary {
        true => Err(Error::unsupported("temporary views are not supported")),
        false => Ok(()),
    }
}

/// How many views may stand in each other.
const VIEW_NESTING_MAX: usize = 32;

tokio::task_local! {
    /// How many views are around the one that is planned.
    static VIEWS_AROUND: usize;
}

/// The plan that a view's name stands for.
///
/// # Errors
/// 54001 for views that nest too deeply or are too many relations, or whatever is wrong with the query by now: a column
/// it names may be gone.
pub(crate) async fn plan_view(
    state: &SessionState,
    snapshot: Arc<Snapshot>,
    view: &View,
    owner: RoleId,
) -> Result<LogicalPlan> {
    let around = VIEWS_AROUND.try_with(|around| *around).unwrap_or(0);
    if around == VIEW_NESTING_MAX {
        return Err(too_complex("views nest too deeply"));
    }
    let planned = VIEWS_AROUND.scope(around + 1, plan_view_query(state, snapshot, view, owner));
    let plan = with_room(planned).await?;
    check_relations(&plan)?;
    Ok(plan)
}

async fn plan_view_query(
    state: &SessionState,
    snapshot: Arc<Snapshot>,
    view: &View,
    owner: RoleId,
) -> Result<LogicalPlan> {
    let statement = query_of(view)?;
    let state = state_of(state, view);
    let types = types_of(&state, snapshot, view);
    let plan = statement_to_plan(&state, &types, statement, &Types::default(), &[]).await?;
    let marked = |plan| ViewNode::plan(view.name.clone(), owner, plan);
    if view.columns.is_empty() {
        return Ok(marked(plan));
    }
    let fields = plan.schema().columns();
    let named = fields.into_iter().enumerate().map(|(i, column)| {
        let expr = datafusion::prelude::Expr::Column(column);
        match view.columns.get(i) {
            Some(name) => expr.alias(name),
            None => expr,
        }
    });
    let named: Vec<_> = named.collect();
    let plan = LogicalPlanBuilder::from(plan).project(named)?.build()?;
    Ok(marked(plan))
}

/// The query of a view.
fn query_of(view: &View) -> Result<ast::Statement> {
    let statement = super::parser::parse(&view.query)?;
    let not_a_query = || Error::internal(format!("view \"{}\" is not a query", view.name));
    let super::statement::Statement::DataFusion(statement) = statement else {
        return Err(not_a_query());
    };
    let DataFusionStatement::Statement(mut statement) = *statement else {
        return Err(not_a_query());
    };
    match statement.as_mut() {
        ast::Statement::Query(query) => name_columns(query),
        _ => return Err(not_a_query()),
    }
    Ok(*statement)
}

/// Names mean what they meant when the view was made, whoever asks: its rights are those of its owner.
fn state_of(state: &SessionState, view: &View) -> Box<SessionState> {
    let mut state = Box::new(state.clone());
    let catalog = &mut state.config_mut().options_mut().catalog;
    let path = search_path::join(view.search_path.iter().cloned());
    catalog.default_schema = search_path::without_temporary(path);
    state
}

/// Names of types too, as for those of relations.
fn types_of(state: &SessionState, snapshot: Arc<Snapshot>, view: &View) -> Arc<dyn TypePlanner> {
    Arc::new(NamedTypes {
        names: TypeNames::new(snapshot, view.search_path.clone()),
        inner: type_planner_of(state),
    })
}

/// CREATE SCHEMA.
pub(super) fn schema(
    session: &Session,
    name: &ObjectName,
    if_not_exists: bool,
) -> Result<(Tag, LogicalPlan)> {
    let session = session.clone();
    let name = schema_name(name)?;
    check_writable(&name)?;
    check_acceptable(&name)?;
    done(
        "CREATE SCHEMA",
        format!("CreateSchema: {name}"),
        move || {
            let (session, name) = (session.clone(), name.clone());
            async move {
                let snapshot = session.snapshot();
                if if_not_exists && snapshot.has_schema(&name) {
                    session.notice(format!("schema \"{name}\" already exists, skipping"));
                    return Ok(());
                }
                session.check_creates_schemas(&snapshot)?;
                let owner = session.ownership(Object::Schema(name.clone()));
                let mut changes = vec![Change::CreateSchema(name)];
                changes.extend(owner);
                session.commit(&snapshot, changes).await
            }
        },
    )
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
            session.commit(&snapshot, changes).await
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
    if drop.kind == DropKind::Table {
        let id = find_collection(snapshot, &name)?.id;
        let object = Object::Collection(id);
        session.check_drops(snapshot, &object, &name.schema, &name.name)?;
        return Ok(vec![Change::DropCollection(id)]);
    }
    if snapshot.view(&name).is_none() {
        if snapshot.collection(&name).is_some() {
            let message = format!("\"{name}\" is not a view");
            return Err(Error::invalid(sqlstate::WRONG_OBJECT_TYPE, message));
        }
        let message = format!("view \"{name}\" does not exist");
        return Err(Error::not_found(sqlstate::UNDEFINED_TABLE, message));
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
        let types = snapshot.types().filter(|of| of.name.schema == name);
        changes.extend(types.map(|of| Change::DropType(of.id)));
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
                let named = names.iter();
                let named = named.map(|name| find_collection(&snapshot, name).cloned());
                let named = named.collect::<Result<Vec<_>>>()?;
                for collection in &referring(&session, &snapshot, named, cascade)? {
                    session.check_may(&snapshot, collection, Privilege::Truncate)?;
                    changes.push(Change::Truncate(collection.id));
                    if restart {
                        changes.extend(restarts(&session, &snapshot, collection)?);
                    }
                }
                session.commit(&snapshot, changes).await
            }
        },
    )
}
