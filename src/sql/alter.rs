//! ALTER TABLE: a new schema for the same segments.

mod foreign_keys;
mod identity;
mod view;

use std::sync::Arc;

use datafusion::common::{DFSchema, ScalarValue, TableReference};
use datafusion::functions::expr_fn::character_length;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{DataFrame, Expr, SessionContext, col, ident, lit};
use datafusion::sql::sqlparser::ast::{self, Ident};

use super::constraint;
use super::ddl::{add_column, find_collection, primary_key, qualify, set_clustering_key};
use super::dependents::{Dropped, drop_dependents, each_view_once};
use super::index;
use super::options;
use super::parser::fold;
use super::session::{Planning, Session, Tag, done};
use super::statement::{Alter, AlterAction, ColumnDefinition};
use super::unique::{Indexes, UniqueDefinition, check_rows};
use crate::catalog::assign::assign;
use crate::catalog::table::CollectionTable;
use crate::error::{Error, ErrorKind, Result, sqlstate};
use crate::storage::change::{AlterCollection, Change, QualifiedName};
use crate::storage::collection::Collection;
use crate::storage::schema::{Check, CollectionSchema, Column, ColumnType, FieldId, IndexId};
use crate::storage::snapshot::TEMPORARY_SCHEMA;
use crate::storage::stats::Bound;
use crate::storage::ttl::{TTL_COLUMN, Ttl};
use crate::storage::unique::UniqueKey;

/// ALTER TABLE.
pub(super) fn plan(session: &Session, alter: Alter) -> Result<(Tag, LogicalPlan)> {
    let name = qualify(&alter.name, &session.search_path())?;
    let session = session.clone();
    let alter = Arc::new(alter);
    let tag = match alter.of_view {
        true => "ALTER VIEW",
        false => "ALTER TABLE",
    };
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
        let changes = view::changes(&planning, view, alter).await?;
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
    if alter.of_view {
        let message = format!("\"{}\" is not a view", name.name);
        return Err(Error::invalid(sqlstate::WRONG_OBJECT_TYPE, message));
    }
    session.check_owns(&planning.snapshot, collection)?;
    let changes = changes(&planning, collection, &alter.actions).await?;
    match changes.is_empty() {
        true => Ok(()),
        false => session.commit(&planning.snapshot, changes).await,
    }
}

/// What the actions change together.
///
/// # Errors
/// Those of each action.
pub(super) async fn changes(
    planning: &Planning<'_>,
    collection: &Arc<Collection>,
    actions: &[AlterAction],
) -> Result<Vec<Change>> {
    let session = planning.session;
    let mut next = Next {
        name: None,
        schema: (*collection.schema).clone(),
        options: collection.options.clone(),
        others: Vec::new(),
    };
    for action in actions {
        apply(planning, collection, &mut next, action).await?;
    }
    Ttl::check(&next.schema, &next.options)?;
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
    Ok(changes)
}

/// The collection as it will be.
struct Next {
    name: Option<QualifiedName>,
    schema: CollectionSchema,
    options: crate::storage::schema::CollectionOptions,
    /// What happens to the sequences of its columns and to its indexes.
    others: Vec<Change>,
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
        } => {
            let name = fold(&column.name);
            if *if_not_exists && next.schema.column(&name).is_some() {
                let text = format!("column \"{name}\" already exists, skipping");
                planning.session.notice(text);
                return Ok(());
            }
            add(planning, collection, &mut next.schema, column).await?;
            for check in &column.checks {
                let relation = &collection.name.name;
                constraint::add(planning, relation, &mut next.schema, check)?;
            }
            if let Some(wanted) = &column.sequence {
                identity::add(planning, collection, next, &name, wanted)?;
            }
            if let Some(definition) = &column.unique {
                add_unique(planning, collection, next, definition).await?;
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
            foreign_keys::release_column(planning, collection, next, name, *cascade)?;
            if let Some(column) = next.schema.column(&fold(name)) {
                let dropped = [Dropped::column(collection, column)];
                let views = drop_dependents(planning, &dropped, *cascade).await?;
                next.others.extend(views);
            }
            drop(next, name)
        }
        AlterAction::AddCheck { check, not_valid } => {
            let relation = old_name().name;
            let before = next.schema.checks.clone();
            constraint::add(planning, &relation, &mut next.schema, check)?;
            let mut checks = next.schema.checks.iter();
            match checks.find(|c| !before.contains(c)).filter(|_| !not_valid) {
                Some(added) => holds(planning, collection, added).await,
                None => Ok(()),
            }
        }
        AlterAction::SetType(name, data_type) => {
            set_type(planning, collection, &mut next.schema, name, data_type).await
        }
        AlterAction::AddUnique(definition) => {
            add_unique(planning, collection, next, definition).await
        }
        AlterAction::AddPrimaryKey(names) => {
            add_primary_key(planning, collection, &mut next.schema, names).await
        }
        AlterAction::AddForeignKey(key) => foreign_keys::add(planning, collection, next, key).await,
        AlterAction::ValidateConstraint(name) => {
            let name_of_check = fold(name);
            let mut checks = next.schema.checks.iter();
            if let Some(check) = checks.find(|check| check.name == name_of_check).cloned() {
                return holds(planning, collection, &check).await;
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
            drop_constraint(planning, collection, next, name, *if_exists)
        }
        AlterAction::RenameConstraint(from, to) => rename_constraint(collection, next, from, to),
        AlterAction::RenameColumn(from, to) => {
            rename(&mut next.schema, from, to)?;
            let renamed = index::column_renamed(collection, &fold(from), &fold(to))?;
            next.others.extend(renamed);
            let lives_by = next.options.own_settings.get_mut(TTL_COLUMN);
            if let Some(column) = lives_by.filter(|column| **column == fold(from)) {
                *column = fold(to);
            }
            Ok(())
        }
        AlterAction::Rename(to) => {
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
            identity::lose_default(planning, collection, next, name)?;
            let column = column_mut(&mut next.schema, name)?;
            column.default = default.as_ref().map(|(_, text)| text.clone());
            planning.fix_default(column).await
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

fn column_mut<'a>(schema: &'a mut CollectionSchema, name: &Ident) -> Result<&'a mut Column> {
    let name = fold(name);
    schema
        .columns
        .iter_mut()
        .find(|c| c.name == name)
        .ok_or_else(|| {
            let message = format!("column \"{name}\" does not exist");
            Error::not_found(sqlstate::UNDEFINED_COLUMN, message)
        })
}

/// Rows that exist get the default's value of now, without being rewritten.
async fn add(
    planning: &Planning<'_>,
    collection: &Collection,
    schema: &mut CollectionSchema,
    definition: &ColumnDefinition,
) -> Result<()> {
    add_column(schema, definition, &planning.type_names())?;
    let Some(column) = schema.columns.last_mut() else {
        return Err(Error::internal("the added column is missing"));
    };
    planning.fix_default(column).await?;
    if let Some(text) = &column.default {
        let value = planning.evaluate(text).await?;
        let array = assign(&value.to_array()?, column, &planning.zone()).map_err(|e| e.error)?;
        let value = ScalarValue::try_from_array(&array, 0)?;
        column.missing = Bound::from_scalar(&value);
        if column.missing.is_none() && !value.is_null() {
            return Err(Error::unsupported(format!(
                "a DEFAULT for the new column \"{}\" of type {} is not supported",
                column.name, column.column_type
            ))
            .with_hint("Add the column without DEFAULT, then ALTER COLUMN .. SET DEFAULT."));
        }
    }
    if definition.sequence.is_some() && collection.live_rows() > 0 {
        return Err(Error::unsupported(format!(
            "a sequence for the new column \"{}\" of a collection with rows is not supported",
            column.name
        ))
        .with_hint("Create a collection with the column, and INSERT the rows into it."));
    }
    if !column.nullable && column.missing.is_none() && collection.live_rows() > 0 {
        return Err(holds_nulls(column, collection));
    }
    Ok(())
}

fn holds_nulls(column: &Column, collection: &Collection) -> Error {
    let message = format!(
        "column \"{}\" of relation \"{}\" contains null values",
        column.name, collection.name
    );
    Error::invalid(sqlstate::NOT_NULL_VIOLATION, message)
}

fn drop(next: &mut Next, name: &Ident) -> Result<()> {
    let schema = &mut next.schema;
    let id = column_mut(schema, name)?.id;
    let computed = schema.computed_keys.iter();
    let computed = computed.flat_map(|key| key.function.columns()).copied();
    let clustering: Vec<FieldId> = schema
        .clustering_key
        .iter()
        .copied()
        .chain(computed)
        .collect();
    let keys: [(&str, &[FieldId]); 3] = [
        ("primary", &schema.primary_key),
        ("clustering", &clustering),
        ("partition", schema.partition_key.as_slice()),
    ];
    let key = keys.iter().find(|(_, key)| key.contains(&id));
    let key = key.map(|(kind, _)| format!("the {kind} key depends"));
    let lives_by = next.options.own_settings.get(TTL_COLUMN);
    let ttl = lives_by.filter(|column| **column == fold(name));
    if let Some(what) = key.or(ttl.map(|_| "the times to live depend".to_string())) {
        let message = format!("cannot drop column \"{}\" because {what} on it", fold(name));
        return Err(Error::invalid(
            sqlstate::DEPENDENT_OBJECTS_STILL_EXIST,
            message,
        ));
    }
    if schema.columns.len() == 1 {
        return Err(Error::unsupported(
            "the last column of a collection cannot be dropped",
        ));
    }
    schema.columns.retain(|c| c.id != id);
    schema.checks.retain(|c| !c.columns.contains(&id));
    schema.foreign_keys.retain(|k| !k.columns.contains(&id));
    Ok(())
}

fn rename(schema: &mut CollectionSchema, from: &Ident, to: &Ident) -> Result<()> {
    let to = fold(to);
    if schema.column(&to).is_some() {
        let message = format!("column \"{to}\" already exists");
        return Err(Error::exists(sqlstate::DUPLICATE_COLUMN, message));
    }
    let column = column_mut(schema, from)?;
    let (id, old) = (column.id, std::mem::replace(&mut column.name, to.clone()));
    for check in schema.checks.iter_mut().filter(|c| c.columns.contains(&id)) {
        check.condition = constraint::rename_column(&check.condition, &old, &to)?;
    }
    Ok(())
}

/// Gives a column another type whose values are stored alike: a longer or shorter text.
async fn set_type(
    planning: &Planning<'_>,
    collection: &Collection,
    schema: &mut CollectionSchema,
    name: &Ident,
    data_type: &ast::DataType,
) -> Result<()> {
    let wanted = planning.type_names().column_type(data_type)?;
    let column = column_mut(schema, name)?;
    let most = |of: &ColumnType| match of {
        ColumnType::Text => Some(u32::MAX),
        ColumnType::Varchar(most) => Some(*most),
        _ => None,
    };
    match (most(&column.column_type), most(&wanted)) {
        _ if column.column_type == wanted => return Ok(()),
        (Some(before), Some(after)) if after < before => {
            // The name that the rows are read under is the one before this statement.
            if let Some(stored) = collection.schema.column_by_id(column.id) {
                let too_long = character_length(ident(&stored.name)).gt(lit(i64::from(after)));
                if planning.count(collection, too_long).await? > 0 {
                    let message = format!("value too long for type character varying({after})");
                    return Err(Error::invalid(
                        sqlstate::STRING_DATA_RIGHT_TRUNCATION,
                        message,
                    ));
                }
            }
        }
        (Some(_), Some(_)) => {}
        _ => {
            let message = format!(
                "column \"{}\" of type {} cannot become {wanted}: its values are stored in another way",
                column.name, column.column_type
            );
            return Err(Error::unsupported(message).with_hint(
                "Add a column of the type, UPDATE it from this one, and drop this one.",
            ));
        }
    }
    column.column_type = wanted;
    Ok(())
}

async fn add_unique(
    planning: &Planning<'_>,
    collection: &Collection,
    next: &mut Next,
    definition: &UniqueDefinition,
) -> Result<()> {
    let indexes = Indexes {
        session: planning.session,
        snapshot: &planning.snapshot,
        collection: collection.id,
        name: next.name.as_ref().unwrap_or(&collection.name),
        schema: &next.schema,
    };
    let change = indexes.create(definition, &next.others)?;
    if let Change::CreateIndex(_, index) = &change {
        check_rows(planning, collection, &next.schema, &UniqueKey::of(index)).await?;
    }
    next.others.push(change);
    Ok(())
}

async fn add_primary_key(
    planning: &Planning<'_>,
    collection: &Collection,
    schema: &mut CollectionSchema,
    names: &[Ident],
) -> Result<()> {
    if !schema.primary_key.is_empty() {
        let relation = &collection.name.name;
        let message = format!("multiple primary keys for table \"{relation}\" are not allowed");
        return Err(Error::invalid(sqlstate::INVALID_TABLE_DEFINITION, message));
    }
    let key = primary_key(schema, names)?;
    for name in names {
        set_nullable(planning, collection, schema, name, false).await?;
    }
    schema.primary_key = key;
    let key = UniqueKey::primary(&collection.name.name, schema);
    check_rows(planning, collection, schema, &key).await?;
    Ok(())
}

/// That no row which exists makes the check false.
async fn holds(planning: &Planning<'_>, collection: &Collection, check: &Check) -> Result<()> {
    let row = DFSchema::try_from(collection.schema.arrow_schema())?;
    let condition = planning.expression(&check.condition, &row)?;
    if planning.count(collection, condition.is_false()).await? == 0 {
        return Ok(());
    }
    let (name, relation) = (&check.name, &collection.name.name);
    let message =
        format!("check constraint \"{name}\" of relation \"{relation}\" is violated by some row");
    Err(Error::invalid(sqlstate::CHECK_VIOLATION, message))
}

fn no_constraint(collection: &Collection, name: &str) -> Error {
    let relation = &collection.name.name;
    let message = format!("constraint \"{name}\" of relation \"{relation}\" does not exist");
    Error::not_found(sqlstate::UNDEFINED_OBJECT, message)
}

fn drop_constraint(
    planning: &Planning<'_>,
    collection: &Collection,
    next: &mut Next,
    name: &Ident,
    if_exists: bool,
) -> Result<()> {
    let name = fold(name);
    if let Some(index) = unique_constraint(collection, &name) {
        next.others.push(Change::DropIndex(collection.id, index));
        return Ok(());
    }
    let schema = &mut next.schema;
    let before = schema.checks.len() + schema.foreign_keys.len();
    schema.checks.retain(|c| c.name != name);
    schema.foreign_keys.retain(|key| key.name != name);
    if schema.checks.len() + schema.foreign_keys.len() < before {
        return Ok(());
    }
    if !schema.primary_key.is_empty() && name == format!("{}_pkey", collection.name.name) {
        return Err(Error::unsupported("the primary key cannot be dropped")
            .with_hint("CREATE TABLE .. AS makes a copy without it."));
    }
    let error = no_constraint(collection, &name);
    if !if_exists {
        return Err(error);
    }
    planning
        .session
        .notice(format!("{}, skipping", error.message()));
    Ok(())
}

/// The index of a UNIQUE constraint.
fn unique_constraint(collection: &Collection, name: &str) -> Option<IndexId> {
    let mut indexes = collection.indexes().iter();
    let found = indexes.find(|index| index.is_constraint && index.name == name);
    found.map(|index| index.id)
}

fn rename_constraint(
    collection: &Collection,
    next: &mut Next,
    from: &Ident,
    to: &Ident,
) -> Result<()> {
    let (from, to) = (fold(from), fold(to));
    if let Some(index) = unique_constraint(collection, &from) {
        let change = Change::RenameIndex(collection.id, index, to);
        next.others.push(change);
        return Ok(());
    }
    let schema = &mut next.schema;
    if schema.checks.iter().any(|c| c.name == to) || schema.foreign_key(&to).is_some() {
        let relation = &collection.name.name;
        let message = format!("constraint \"{to}\" for relation \"{relation}\" already exists");
        return Err(Error::exists(sqlstate::DUPLICATE_OBJECT, message));
    }
    let mut checks = schema.checks.iter_mut();
    let mut references = schema.foreign_keys.iter_mut();
    if let Some(check) = checks.find(|c| c.name == from) {
        check.name = to;
    } else if let Some(key) = references.find(|key| key.name == from) {
        key.name = to;
    } else {
        return Err(no_constraint(collection, &from));
    }
    schema.checks.sort_by(|a, b| a.name.cmp(&b.name));
    schema.foreign_keys.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(())
}

async fn set_nullable(
    planning: &Planning<'_>,
    collection: &Collection,
    schema: &mut CollectionSchema,
    name: &Ident,
    nullable: bool,
) -> Result<()> {
    let primary = schema.primary_key.clone();
    let column = column_mut(schema, name)?;
    if nullable && primary.contains(&column.id) {
        let message = format!("column \"{}\" is in a primary key", column.name);
        return Err(Error::invalid(sqlstate::INVALID_TABLE_DEFINITION, message));
    }
    if !nullable && column.nullable {
        // The name that the rows are read under is the one before this statement.
        if let Some(stored) = collection.schema.column_by_id(column.id) {
            let is_null = col(format!("\"{}\"", stored.name.replace('"', "\"\""))).is_null();
            if planning.count(collection, is_null).await? > 0 {
                return Err(holds_nulls(column, collection));
            }
        }
    }
    column.nullable = nullable;
    Ok(())
}

impl Planning<'_> {
    /// How many rows of the collection match.
    async fn count(&self, collection: &Collection, filter: Expr) -> Result<usize> {
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
