//! ALTER TABLE of CHECK and UNIQUE constraints and of primary keys.

use datafusion::common::DFSchema;
use datafusion::sql::sqlparser::ast::Ident;

use super::Next;
use super::columns::set_nullable;
use crate::error::{Error, Result, sqlstate};
use crate::sql::create::name_primary_key;
use crate::sql::ddl::primary_key;
use crate::sql::parser::fold;
use crate::sql::session::Planning;
use crate::sql::unique::{Indexes, UniqueDefinition, check_rows};
use crate::storage::change::Change;
use crate::storage::collection::Collection;
use crate::storage::comment::Commented;
use crate::storage::index::{Index, IndexKey, IndexPart};
use crate::storage::schema::{Check, CollectionSchema, IndexId};
use crate::storage::snapshot::Snapshot;
use crate::storage::unique::UniqueKey;

pub(super) async fn add_unique(
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
    // Rows that come again are looked at as they come.
    if let Change::CreateIndex(_, index) = &change
        && !next.is_rewritten
    {
        check_rows(planning, collection, &next.schema, &UniqueKey::of(index)).await?;
    }
    next.others.push(change);
    Ok(())
}

pub(super) async fn add_primary_key(
    planning: &Planning<'_>,
    collection: &Collection,
    next: &mut Next,
    name: Option<&Ident>,
    names: &[Ident],
) -> Result<()> {
    let table = next.name.as_ref().unwrap_or(&collection.name).clone();
    let schema = &mut next.schema;
    check_no_primary_key(schema, &table.name)?;
    let key = primary_key(schema, names)?;
    for name in names {
        set_nullable(planning, collection, schema, name, false).await?;
    }
    schema.primary_key = key;
    schema.primary_key_name = name.map(fold);
    name_primary_key(&planning.snapshot, &table, schema)?;
    if next.is_rewritten {
        return Ok(()); // Rows that come again are looked at as they come.
    }
    let key = UniqueKey::primary(&table.name, &next.schema);
    check_rows(planning, collection, &next.schema, &key).await?;
    Ok(())
}

fn check_no_primary_key(schema: &CollectionSchema, relation: &str) -> Result<()> {
    if schema.primary_key.is_empty() {
        return Ok(());
    }
    let message = format!("multiple primary keys for table \"{relation}\" are not allowed");
    Err(Error::invalid(sqlstate::INVALID_TABLE_DEFINITION, message))
}

/// ADD CONSTRAINT .. USING INDEX: a unique index becomes a constraint, of the index's name or another.
///
/// # Errors
/// 42704 for an index that the table does not have, 42809 for one that keeps no columns apart in all rows, 55000 for that of
/// another constraint, 42P16 for a second primary key.
pub(super) async fn use_index(
    planning: &Planning<'_>,
    collection: &Collection,
    next: &mut Next,
    name: Option<&Ident>,
    index: &Ident,
    is_primary: bool,
) -> Result<()> {
    let wanted = fold(index);
    let found = collection.indexes().iter().find(|i| i.name == wanted);
    let found = found.ok_or_else(|| {
        let message = format!("index \"{wanted}\" does not exist");
        Error::not_found(sqlstate::UNDEFINED_OBJECT, message)
    })?;
    check_usable(found)?;
    let name = name.map_or_else(|| wanted.clone(), fold);
    if name != wanted {
        let notice = format!(
            "ALTER TABLE / ADD CONSTRAINT USING INDEX will rename index \"{wanted}\" to \"{name}\""
        );
        planning.session.notice(notice);
    }
    next.others.push(Change::DropIndex(collection.id, found.id));
    if !is_primary {
        let mut used = Index::clone(found);
        (used.name, used.is_constraint) = (name, true);
        next.others.push(Change::CreateIndex(collection.id, used));
        return Ok(());
    }
    let table = next.name.as_ref().unwrap_or(&collection.name);
    check_no_primary_key(&next.schema, &table.name)?;
    let fields = UniqueKey::of(found).fields;
    let columns = fields.iter().filter_map(|id| next.schema.column_by_id(*id));
    let columns: Vec<Ident> = columns.map(|c| Ident::with_quote('"', &c.name)).collect();
    for column in &columns {
        set_nullable(planning, collection, &mut next.schema, column, false).await?;
    }
    next.schema.primary_key = primary_key(&next.schema, &columns)?;
    let is_renamed = name != wanted;
    next.schema.primary_key_name = Some(name);
    match is_renamed {
        true => name_primary_key(&planning.snapshot, table, &mut next.schema),
        false => Ok(()),
    }
}

/// That an index keeps the columns of all rows apart, and belongs to no constraint.
fn check_usable(index: &Index) -> Result<()> {
    let name = &index.name;
    if index.is_constraint {
        let message = format!("index \"{name}\" is already associated with a constraint");
        let code = sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE;
        return Err(Error::invalid(code, message));
    }
    let computes = |key: &IndexKey| matches!(key.part, IndexPart::Expression(_));
    let message = if !index.is_unique {
        format!("\"{name}\" is not a unique index")
    } else if index.keys.iter().any(computes) {
        format!("index \"{name}\" contains expressions")
    } else if index.predicate.is_some() {
        format!("\"{name}\" is a partial index")
    } else {
        return Ok(());
    };
    let detail = "Cannot create a primary key or unique constraint using such an index.";
    Err(Error::invalid(sqlstate::WRONG_OBJECT_TYPE, message).with_detail(detail))
}

/// That no row which exists makes the check false.
pub(super) async fn holds(
    planning: &Planning<'_>,
    collection: &Collection,
    check: &Check,
) -> Result<()> {
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

pub(super) fn no_constraint(collection: &Collection, name: &str) -> Error {
    let relation = &collection.name.name;
    let message = format!("constraint \"{name}\" of relation \"{relation}\" does not exist");
    Error::not_found(sqlstate::UNDEFINED_OBJECT, message)
}

pub(super) fn drop_constraint(
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
    if !schema.primary_key.is_empty() && name == schema.key_name(&collection.name.name) {
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
pub(super) fn unique_constraint(collection: &Collection, name: &str) -> Option<IndexId> {
    let mut indexes = collection.indexes().iter();
    let found = indexes.find(|index| index.is_constraint && index.name == name);
    found.map(|index| index.id)
}

pub(super) fn rename_constraint(
    planning: &Planning<'_>,
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
    let comment = moved_comment(&planning.snapshot, collection, &from, &to);
    next.others.extend(comment);
    let relation = &collection.name.name;
    let schema = &mut next.schema;
    let is_primary = !schema.primary_key.is_empty() && schema.key_name(relation) == from;
    if schema.checks.iter().any(|c| c.name == to) || schema.foreign_key(&to).is_some() {
        let message = format!("constraint \"{to}\" for relation \"{relation}\" already exists");
        return Err(Error::exists(sqlstate::DUPLICATE_OBJECT, message));
    }
    if is_primary {
        schema.primary_key_name = Some(to);
        return name_primary_key(&planning.snapshot, &collection.name, schema);
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

/// What keeps the comment on a constraint that has another name.
pub(in crate::sql) fn moved_comment(
    snapshot: &Snapshot,
    collection: &Collection,
    from: &str,
    to: &str,
) -> Option<Change> {
    let on = |name: &str| Commented::Constraint(collection.id, name.to_string());
    let mut comments = snapshot.comments();
    let (_, text) = comments.find(|(commented, _)| **commented == on(from))?;
    Some(Change::Comment(on(to), Some(text.to_string())))
}
