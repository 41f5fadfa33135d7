//! Who refers to what is dropped or emptied.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::error::{Error, Result, sqlstate};
use crate::sql::session::Session;
use crate::storage::change::{AlterCollection, Change};
use crate::storage::collection::Collection;
use crate::storage::foreign_key::ForeignKey;
use crate::storage::schema::CollectionId;
use crate::storage::snapshot::Snapshot;

/// What is dropped of a collection that others refer to.
#[derive(Clone, Copy)]
pub(in crate::sql) struct Released<'a> {
    /// Whose rows are referred to.
    pub parent: &'a Collection,
    /// By which foreign keys.
    pub by: &'a dyn Fn(&ForeignKey) -> bool,
}

/// The changes that take away the foreign keys to what is dropped, of collections that are not dropped themselves.
///
/// # Errors
/// 2BP01 when there are some, unless they go too: CASCADE.
pub(in crate::sql) fn releases(
    session: &Session,
    snapshot: &Snapshot,
    released: &[Released<'_>],
    dropped: &HashSet<CollectionId>,
    cascade: bool,
) -> Result<Vec<Change>> {
    let mut children = BTreeMap::<CollectionId, (Arc<Collection>, Vec<String>)>::new();
    for Released { parent, by } in released {
        let references = snapshot.references_to(parent.id);
        for (child, key) in references.filter(|(_, key)| by(key)) {
            if dropped.contains(&child.id) {
                continue;
            }
            let (name, table) = (&key.name, &child.name);
            if !cascade {
                return Err(is_needed(parent, child, name));
            }
            session.notice(format!(
                "drop cascades to constraint {name} on table {table}"
            ));
            let entry = children.entry(child.id);
            let (_, names) = entry.or_insert_with(|| (Arc::clone(child), Vec::new()));
            names.push(name.clone());
        }
    }
    let without = children.into_values().map(|(child, names)| {
        let mut schema = (*child.schema).clone();
        schema.foreign_keys.retain(|key| !names.contains(&key.name));
        Change::AlterCollection(AlterCollection {
            id: child.id,
            name: None,
            schema: Some(schema),
            options: None,
        })
    });
    Ok(without.collect())
}

fn is_needed(parent: &Collection, child: &Collection, name: &str) -> Error {
    let (parent, child) = (&parent.name, &child.name);
    let message = format!("cannot drop table {parent} because other objects depend on it");
    Error::invalid(sqlstate::DEPENDENT_OBJECTS_STILL_EXIST, message)
        .with_detail(format!(
            "constraint {name} on table {child} depends on table {parent}"
        ))
        .with_hint("Use DROP ... CASCADE to drop the dependent objects too.")
}

/// The collections together with those that refer to them, where all their rows are to go.
///
/// # Errors
/// 0A000 when others refer to them, unless their rows go too: CASCADE.
pub(in crate::sql) fn referring(
    session: &Session,
    snapshot: &Snapshot,
    collections: Vec<Arc<Collection>>,
    cascade: bool,
) -> Result<Vec<Arc<Collection>>> {
    let mut known: HashSet<CollectionId> = collections.iter().map(|c| c.id).collect();
    let mut all = collections;
    let mut next = 0;
    while let Some(parent) = all.get(next).cloned() {
        next += 1;
        for (child, _) in snapshot.references_to(parent.id) {
            if !known.insert(child.id) {
                continue;
            }
            if !cascade {
                return Err(is_referred_to(&parent, child));
            }
            session.notice(format!("truncate cascades to table \"{}\"", child.name));
            all.push(Arc::clone(child));
        }
    }
    Ok(all)
}

fn is_referred_to(parent: &Collection, child: &Collection) -> Error {
    let (parent, child) = (&parent.name.name, &child.name.name);
    let message = "cannot truncate a table referenced in a foreign key constraint";
    Error::unsupported(message)
        .with_detail(format!("Table \"{child}\" references \"{parent}\"."))
        .with_hint(format!(
            "Truncate table \"{child}\" at the same time, or use TRUNCATE ... CASCADE."
        ))
}
