//! ALTER TABLE of foreign keys, and of what they refer to.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::Ident;

use super::{Next, no_constraint, unique_constraint};
use crate::error::{Error, Result, sqlstate};
use crate::sql::foreign_key::{Child, ForeignKeyDefinition, Released, check_rows, releases};
use crate::sql::parser::fold;
use crate::sql::session::Planning;
use crate::storage::change::Change;
use crate::storage::collection::Collection;
use crate::storage::foreign_key::{ForeignKey, Timing};
use crate::storage::unique::{KeyId, UniqueKey, is_key_or_check};

/// ADD FOREIGN KEY, which the rows that exist must keep unless it is NOT VALID.
pub(super) async fn add(
    planning: &Planning<'_>,
    collection: &Arc<Collection>,
    next: &mut Next,
    definition: &ForeignKeyDefinition,
) -> Result<()> {
    let before: HashSet<String> = names(&next.schema.foreign_keys).collect();
    let child = Child {
        session: planning.session,
        snapshot: &planning.snapshot,
        id: collection.id,
        name: next.name.as_ref().unwrap_or(&collection.name),
        keys: &collection.unique_keys(),
    };
    child.add(&mut next.schema, definition)?;
    let added = names(&next.schema.foreign_keys).find(|name| !before.contains(name));
    match added.filter(|_| definition.is_validated) {
        Some(name) => check_rows(planning, collection, &next.schema, &name).await,
        None => Ok(()),
    }
}

fn names(keys: &[ForeignKey]) -> impl Iterator<Item = String> {
    keys.iter().map(|key| key.name.clone())
}

/// VALIDATE CONSTRAINT.
pub(super) async fn validate(
    planning: &Planning<'_>,
    collection: &Arc<Collection>,
    next: &mut Next,
    name: &Ident,
) -> Result<()> {
    let name = fold(name);
    if next.schema.checks.iter().any(|check| check.name == name) {
        return Ok(()); // Whether its rows keep it was asked when it came, or is not known.
    }
    if !key_mut(collection, next, &name)?.is_validated {
        check_rows(planning, collection, &next.schema, &name).await?;
        key_mut(collection, next, &name)?.is_validated = true;
    }
    Ok(())
}

/// ALTER CONSTRAINT.
pub(super) fn set_timing(
    collection: &Collection,
    next: &mut Next,
    name: &Ident,
    timing: Timing,
) -> Result<()> {
    let name = fold(name);
    if is_key_or_check(&collection.unique_keys(), &next.schema, &name) {
        let relation = &collection.name.name;
        let message = format!(
            "constraint \"{name}\" of relation \"{relation}\" is not a foreign key constraint"
        );
        return Err(Error::invalid(sqlstate::WRONG_OBJECT_TYPE, message));
    }
    key_mut(collection, next, &name)?.timing = timing;
    Ok(())
}

fn key_mut<'a>(
    collection: &Collection,
    next: &'a mut Next,
    name: &str,
) -> Result<&'a mut ForeignKey> {
    let mut keys = next.schema.foreign_keys.iter_mut();
    let found = keys.find(|key| key.name == name);
    found.ok_or_else(|| no_constraint(collection, name))
}

/// Takes away, with CASCADE, the foreign keys by a UNIQUE constraint that is dropped.
pub(super) fn release_constraint(
    planning: &Planning<'_>,
    collection: &Collection,
    next: &mut Next,
    name: &Ident,
    cascade: bool,
) -> Result<()> {
    match unique_constraint(collection, &fold(name)) {
        Some(index) => release(planning, collection, next, &[KeyId::Index(index)], cascade),
        None => Ok(()),
    }
}

/// Takes away, with CASCADE, the foreign keys by unique keys of a column that is dropped.
pub(super) fn release_column(
    planning: &Planning<'_>,
    collection: &Collection,
    next: &mut Next,
    name: &Ident,
    cascade: bool,
) -> Result<()> {
    let Some(id) = next.schema.column(&fold(name)).map(|column| column.id) else {
        return Ok(());
    };
    let keys = collection.unique_keys().into_iter();
    let of_column = keys.filter(|key: &UniqueKey| key.fields.contains(&id));
    let of_column: Vec<KeyId> = of_column.map(|key| key.id).collect();
    release(planning, collection, next, &of_column, cascade)
}

fn release(
    planning: &Planning<'_>,
    collection: &Collection,
    next: &mut Next,
    keys: &[KeyId],
    cascade: bool,
) -> Result<()> {
    if !cascade {
        return Ok(()); // The change itself is refused where they are needed.
    }
    let by = |key: &ForeignKey| keys.contains(&key.key);
    let own = collection.id;
    next.schema
        .foreign_keys
        .retain(|key| key.parent != own || !by(key));
    let released = Released {
        parent: collection,
        by: &by,
    };
    let (session, snapshot) = (planning.session, &planning.snapshot);
    let changes = releases(session, snapshot, &[released], &HashSet::from([own]), true)?;
    next.others.splice(0..0, changes).for_each(drop::<Change>);
    Ok(())
}
