//! ALTER TABLE: a new schema for the same segments, or, where values change, for rows that come again.

mod columns;
mod constraints;
mod foreign_keys;
mod generated;
mod identity;
mod rewrite;
mod types;
mod view;

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::TableReference;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{DataFrame, Expr, SessionContext, lit};
use datafusion::sql::sqlparser::ast::Ident;

use self::columns::{column_mut, set_nullable};
pub(super) use self::constraints::moved_comment;
use self::constraints::{no_constraint, unique_constraint};
use super::constraint;
use super::ddl::{find_collection, qualify, set_clustering_key};
use super::dependents::{Dropped, drop_dependents, each_view_once};
use super::index;
use super::options;
use super::parser::fold;
use super::partition;
use super::session::{Planning, Session, Tag, done};
use super::statement::{Alter, AlterAction, AlterWord};
use crate::catalog::table::CollectionTable;
use crate::error::{Error, ErrorKind, Result, sqlstate};
use crate::storage::change::{AlterCollection, Change, QualifiedName, View};
use crate::storage::collection::Collection;
use crate::storage::schema::{CollectionId, CollectionSchema, FieldId};
use crate::storage::snapshot::TEMPORARY_SCHEMA;
use crate::storage::ttl::{TTL_COLUMN, Ttl};

/// ALTER TABLE.
pub(super) fn plan(session: &Session, alter: Alter) -> Result<(Tag, LogicalPlan)> {
    let name = qualify(&alter.name, &session.search_path())?;
    let session = session.clone();
    let alter = Arc::new(alter);
    let tag = alter.word.tag();
    done(tag, format!("Alter: {name}"), move || {
        let (session, name) = (session.clone(), name.clone());
        let alter = Arc::clone(&alter);
        async move { run(&session, &name, &alter).await }
    })
}

async fn run(session: &Session, name: &QualifiedName, alter: &Alter) -> Result<()> {
    let _ddl = session.inner.core.ddl.lock().await;
    let planning = Planning::new(session);
    if let Some(view) = planning.snapshot.view(name) {
        if alter.word == AlterWord::MaterializedView {
            return Err(is_not(name, "materialized view"));
        }
        let changes = match &view.partition {
            Some(partition) => of_partition(&planning, view, partition.parent, alter).await?,
            None => view::changes(&planning, view, &alter.actions).await?,
        };
        return match changes.is_empty() {
            true => Ok(()),
            false => session.commit(&planning.snapshot, changes).await,
        };
    }
    let collection = match find_collection(&planning.snapshot, name) {
        Ok(collection) => collection,
        Err(e) if alter.if_exists && e.kind() == ErrorKind::NotFound => {
            session.notice(format!("{}, skipping", e.message()));
            return Ok(());
        }
        Err(e) => return Err(e),
    };
    let is_materialized = collection.materialized.is_some();
    match alter.word {
        AlterWord::View => return Err(is_not(name, "view")),
        AlterWord::MaterializedView if !is_materialized => {
            return Err(is_not(name, "materialized view"));
        }
        _ => {}
    }
    if is_materialized {
        let mut actions = alter.actions.iter();
        actions.try_for_each(|action| view::check_materialized(action, &name.name))?;
    }
    session.check_owns(&planning.snapshot, collection)?;
    match alter.actions.as_slice() {
        [AlterAction::AttachPartition { name, bound }] => {
            return partition::attach(&planning, collection, name, bound).await;
        }
        [AlterAction::DetachPartition { name }] => {
            return partition::detach(&planning, collection, name).await;
        }
        _ => {}
    }
    let Altered { changes, values } = altered(&planning, collection, &alter.actions).await?;
    match values {
        Some(values) => rewrite::commit(&planning, collection, changes, values).await,
        None if changes.is_empty() => Ok(()),
        None => session.commit(&planning.snapshot, changes).await,
    }
}

/// What the actions do to a partition.
async fn of_partition(
    planning: &Planning<'_>,
    view: &Arc<View>,
    parent: CollectionId,
    alter: &Alter,
) -> Result<Vec<Change>> {
    let parent = planning.snapshot.collection_by_id(parent);
    let parent = parent.ok_or_else(|| Error::internal("a partition has a table"))?;
    let left = partition::check_actions(planning, view, parent, alter.word, &alter.actions)?;
    view::changes(planning, view, &left).await
}

fn is_not(name: &QualifiedName, kind: &str) -> Error {
    let message = format!("\"{}\" is not a {kind}", name.name);
    Error::invalid(sqlstate::WRONG_OBJECT_TYPE, message)
}

/// What ALTER TABLE does.
struct Altered {
    changes: Vec<Change>,
    /// What the columns of rows become, where these do not stay as they are.
    values: Option<Vec<Expr>>,
}

/// The changes of actions that leave the values of rows as they are.
///
/// # Errors
/// Those of each action.
pub(super) async fn changes(
    planning: &Planning<'_>,
    collection: &Arc<Collection>,
    actions: &[AlterAction],
) -> Result<Vec<Change>> {
    Ok(altered(planning, collection, actions).await?.changes)
}

/// What drops columns by their names, with what depends on them: each collection is changed once.
///
/// # Errors
/// Those of DROP COLUMN .. CASCADE.
pub(super) async fn drop_columns(
    planning: &Planning<'_>,
    mut columns: Vec<(Arc<Collection>, String)>,
) -> Result<Vec<Change>> {
    columns.sort_by_key(|(collection, _)| collection.id);
    let mut dropped = Vec::new();
    for of_collection in columns.chunk_by(|(a, _), (b, _)| a.id == b.id) {
        let drop = |(_, name): &(Arc<Collection>, String)| AlterAction::DropColumn {
            name: Ident::with_quote('"', name),
            if_exists: false,
            cascade: true,
        };
        let actions: Vec<AlterAction> = of_collection.iter().map(drop).collect();
        dropped.extend(changes(planning, &of_collection[0].0, &actions).await?);
    }
    Ok(dropped)
}

/// What the actions do together.
async fn altered(
    planning: &Planning<'_>,
    collection: &Arc<Collection>,
    actions: &[AlterAction],
) -> Result<Altered> {
    let session = planning.session;
    let mut next = Next {
        name: None,
        schema: (*collection.schema).clone(),
        options: collection.options.clone(),
        others: Vec::new(),
        is_rewritten: false,
        values: HashMap::new(),
        retyped: Vec::new(),
    };
    for action in actions {
        apply(planning, collection, &mut next, action).await?;
    }
    types::check(planning, collection, &next)?;
    partition::check_keys(&next.schema, &collection.name.name, &next.others)?;
    Ttl::check(&next.schema, &next.options)?;
    let values = next
        .is_rewritten
        .then(|| rewrite::values(collection, &next));
    let values = values.transpose()?;
    if values.is_some() {
        // The rows that come have values of their own.
        next.schema
            .columns
            .iter_mut()
            .for_each(|c| c.missing = None);
    }
    let change = AlterCollection {
        id: collection.id,
        name: next.name,
        schema: (next.schema != *collection.schema).then_some(next.schema),
        options: (next.options != collection.options).then_some(next.options),
    };
    if let Some(name) = &change.name {
        session.check_creates(&planning.snapshot, &name.schema)?;
        if collection.is_temporary() != (name.schema == TEMPORARY_SCHEMA) {
            let message = "cannot move objects into or out of temporary schemas";
            return Err(Error::unsupported(message));
        }
    }
    let is_same = change.name.is_none() && change.schema.is_none() && change.options.is_none();
    let altered = (!is_same).then_some(Change::AlterCollection(change));
    let mut changes: Vec<Change> = altered.into_iter().chain(next.others).collect();
    each_view_once(&mut changes);
    Ok(Altered { changes, values })
}

/// The collection as it will be.
struct Next {
    name: Option<QualifiedName>,
    schema: CollectionSchema,
    options: crate::storage::schema::CollectionOptions,
    /// What happens to the sequences of its columns and to its indexes.
    others: Vec<Change>,
    /// Whether the values of rows change.
    is_rewritten: bool,
    /// What columns get that existed before, by expressions over the rows as they were.
    values: HashMap<FieldId, Expr>,
    /// The columns that get other types.
    retyped: Vec<FieldId>,
}

async fn apply(
    planning: &Planning<'_>,
    collection: &Arc<Collection>,
    next: &mut Next,
    action: &AlterAction,
) -> Result<()> {
    let old_name = || next.name.clone().unwrap_or_else(|| collection.name.clone());
    match action {
        AlterAction::AddColumn {
            column,
            if_not_exists,
            primary_key,
        } => {
            let name = fold(&column.name);
            if *if_not_exists && next.schema.column(&name).is_some() {
                let text = format!("column \"{name}\" already exists, skipping");
                planning.session.notice(text);
                return Ok(());
            }
            columns::add(planning, collection, next, column).await?;
            generated::add(planning, next, column)?;
            // Its values are checked as they come.
            next.is_rewritten |= next
                .schema
                .column(&name)
                .is_some_and(|c| c.domain.is_some());
            for check in &column.checks {
                let relation = &collection.name.name;
                constraint::add(planning, relation, &mut next.schema, check)?;
            }
            if let Some(wanted) = &column.sequence {
                identity::add(planning, collection, next, &name, wanted)?;
                identity::number_rows(collection, next, &name)?;
            }
            if let Some(key) = primary_key {
                let names = [column.name.clone()];
                constraints::add_primary_key(planning, collection, next, key.as_ref(), &names)
                    .await?;
            }
            if let Some(definition) = &column.unique {
                constraints::add_unique(planning, collection, next, definition).await?;
            }
            match &column.references {
                Some(key) => foreign_keys::add(planning, collection, next, key).await,
                None => Ok(()),
            }
        }
        AlterAction::DropColumn {
            name,
            if_exists,
            cascade,
        } => {
            if *if_exists && next.schema.column(&fold(name)).is_none() {
                let text = format!("column \"{}\" does not exist, skipping", fold(name));
                planning.session.notice(text);
                return Ok(());
            }
            generated::drop_readers(planning, collection, next, name, *cascade)?;
            foreign_keys::release_column(planning, collection, next, name, *cascade)?;
            if let Some(column) = next.schema.column(&fold(name)) {
                let dropped = [Dropped::column(collection, column)];
                let views = drop_dependents(planning, &dropped, *cascade).await?;
                next.others.extend(views);
            }
            columns::drop(next, &collection.name.name, name)
        }
        AlterAction::AddCheck { check, not_valid } => {
            let relation = old_name().name;
            let before = next.schema.checks.clone();
            constraint::add(planning, &relation, &mut next.schema, check)?;
            let mut checks = next.schema.checks.iter();
            match checks.find(|c| !before.contains(c)).filter(|_| !not_valid) {
                Some(added) => constraints::holds(planning, collection, added).await,
                None => Ok(()),
            }
        }
        AlterAction::SetType {
            name,
            data_type,
            using,
        } => {
            let using = using.as_deref();
            let new = types::NewType {
                name,
                data_type,
                using,
            };
            new.set(planning, collection, next).await
        }
        AlterAction::AddUnique(definition) => {
            constraints::add_unique(planning, collection, next, definition).await
        }
        AlterAction::AddPrimaryKey(name, names) => {
            constraints::add_primary_key(planning, collection, next, name.as_ref(), names).await
        }
        AlterAction::UseIndex {
            name,
            index,
            is_primary,
        } => {
            let name = name.as_ref();
            constraints::use_index(planning, collection, next, name, index, *is_primary).await
        }
        AlterAction::AddForeignKey(key) => foreign_keys::add(planning, collection, next, key).await,
        AlterAction::ValidateConstraint(name) => {
            let name_of_check = fold(name);
            let mut checks = next.schema.checks.iter();
            if let Some(check) = checks.find(|check| check.name == name_of_check).cloned() {
                return constraints::holds(planning, collection, &check).await;
            }
            foreign_keys::validate(planning, collection, next, name).await
        }
        AlterAction::SetTiming(name, timing) => {
            foreign_keys::set_timing(collection, next, name, *timing)
        }
        AlterAction::DropConstraint {
            name,
            if_exists,
            cascade,
        } => {
            foreign_keys::release_constraint(planning, collection, next, name, *cascade)?;
            constraints::drop_constraint(planning, collection, next, name, *if_exists)
        }
        AlterAction::RenameConstraint(from, to) => {
            constraints::rename_constraint(planning, collection, next, from, to)
        }
        AlterAction::RenameColumn(from, to) => {
            columns::rename(&mut next.schema, from, to)?;
            let renamed = index::column_renamed(collection, &fold(from), &fold(to))?;
            next.others.extend(renamed);
            let lives_by = next.options.own_settings.get_mut(TTL_COLUMN);
            if let Some(column) = lives_by.filter(|column| **column == fold(from)) {
                *column = fold(to);
            }
            Ok(())
        }
        AlterAction::AttachPartition { .. } | AlterAction::DetachPartition { .. } => {
            let message = "ATTACH and DETACH PARTITION stand alone in a statement";
            Err(Error::invalid(sqlstate::SYNTAX_ERROR, message))
        }
        AlterAction::Rename(to) => {
            // The primary key keeps its name.
            if !next.schema.primary_key.is_empty() {
                let name = next.schema.key_name(&old_name().name);
                next.schema.primary_key_name = Some(name);
            }
            next.name = Some(QualifiedName::new(old_name().schema, fold(to)));
            Ok(())
        }
        AlterAction::SetSchema(to) => {
            super::ddl::check_writable(&fold(to))?;
            next.name = Some(QualifiedName::new(fold(to), old_name().name));
            Ok(())
        }
        AlterAction::ClusterBy(items) => set_clustering_key(&mut next.schema, items),
        AlterAction::SetOptions(changes) => {
            options::set(planning.session, &mut next.options, changes)
        }
        AlterAction::ResetOptions(names) => {
            options::reset(planning.session, &mut next.options, names)
        }
        AlterAction::Nothing(notice) => {
            planning.session.notice(*notice);
            Ok(())
        }
        AlterAction::TuneColumn(name) => {
            column_mut(&mut next.schema, name)?;
            planning
                .session
                .notice("segments have one layout, the column stays as it is");
            Ok(())
        }
        AlterAction::SetDefault(name, default) => {
            if let Some((_, text)) = default {
                planning.constant(text)?;
            }
            let column = column_mut(&mut next.schema, name)?;
            generated::check_default(collection, column, default.is_none())?;
            identity::lose_default(planning, collection, next, name)?;
            let column = column_mut(&mut next.schema, name)?;
            column.default = default.as_ref().map(|(_, text)| text.clone());
            planning.fix_default(column).await
        }
        AlterAction::DropExpression { name, if_exists } => {
            generated::drop_expression(planning, collection, next, name, *if_exists)
        }
        AlterAction::AddIdentity(name, wanted) => {
            let column = column_mut(&mut next.schema, name)?;
            if column.nullable {
                return Err(identity::is_nullable(column, collection));
            }
            identity::add(planning, collection, next, &fold(name), wanted)
        }
        AlterAction::SetIdentity(name, generates, options) => {
            identity::set(planning, collection, next, name, *generates, options)
        }
        AlterAction::DropIdentity { name, if_exists } => {
            identity::remove(planning, collection, next, name, *if_exists)
        }
        AlterAction::SetNullable(name, nullable) => {
            set_nullable(planning, collection, &mut next.schema, name, *nullable).await
        }
    }
}

impl Planning<'_> {
    /// How many rows of the collection match.
    pub(super) async fn count(&self, collection: &Collection, filter: Expr) -> Result<usize> {
        let rows = self.rows_of(collection).await?;
        Ok(rows.filter(filter)?.select(vec![lit(1)])?.count().await?)
    }

    /// The rows of the collection, which the open block may have made; those that have expired too, since files hold them.
    pub(super) async fn rows_of(&self, collection: &Collection) -> Result<DataFrame> {
        let name = &collection.name;
        let table = TableReference::partial(name.schema.clone(), name.name.clone());
        let context = SessionContext::new_with_state(self.state.clone());
        let provider = context.table_provider(table.clone()).await?;
        match provider.downcast_ref::<CollectionTable>() {
            Some(stored) => Ok(context.read_table(Arc::new(stored.clone().stored()))?),
            None => Ok(context.table(table).await?),
        }
    }
}
