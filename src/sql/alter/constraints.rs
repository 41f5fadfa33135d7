//! ALTER TABLE of CHECK and UNIQUE constraints and of primary keys.

use datafusion::common::DFSchema;
use datafusion::sql::sqlparser::ast::Ident;

use super::Next;
use super::columns::set_nullable;
use crate::error::{Error, Result, sqlstate};
use crate::sql::ddl::primary_key;
use crate::sql::parser::fold;
use crate::sql::session::Planning;
use crate::sql::unique::{Indexes, UniqueDefinition, check_rows};
use crate::storage::change::Change;
use crate::storage::collection::Collection;
use crate::storage::schema::{Check, CollectionSchema, IndexId};
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
pub(super) fn unique_constraint(collection: &Collection, name: &str) -> Option<IndexId> {
    let mut indexes = collection.indexes().iter();
    let found = indexes.find(|index| index.is_constraint && index.name == name);
    found.map(|index| index.id)
}

pub(super) fn rename_constraint(
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
