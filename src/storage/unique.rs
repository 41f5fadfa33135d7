//! Unique keys: columns, or what is computed of them, by which no two live rows of a collection are alike.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::change::Change;
use super::collection::Collection;
use super::domain::Domain;
use super::index::{Index, IndexPart};
use super::schema::{CollectionId, CollectionSchema, Column, FieldId, IndexId, Version};
use super::snapshot::{Snapshot, has_domain};
use crate::error::{Error, Result};

/// The identity of a unique key within its collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyId {
    /// The primary key.
    Primary,
    /// The key of a unique index.
    Index(IndexId),
}

/// Columns by which no two rows are alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UniqueKey {
    /// Its identity.
    pub id: KeyId,
    /// The name of its constraint or index.
    pub name: String,
    /// Whether it is a constraint, not an index alone.
    pub is_constraint: bool,
    /// The columns, in order; of a key that is computed, those that are read for it.
    pub fields: Vec<FieldId>,
    /// NULLS NOT DISTINCT: a NULL is like another NULL.
    pub nulls_equal: bool,
    /// What it is of, where that is not the columns of all rows.
    pub computed: Option<Arc<KeyParts>>,
}

/// What a unique index is of that has expressions or a predicate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyParts {
    /// The parts of its key, in order.
    pub parts: Vec<IndexPart>,
    /// Which rows it is of.
    pub predicate: Option<String>,
}

impl KeyParts {
    /// Those of an index; `None` for one of the columns of all rows.
    fn of(index: &Index) -> Option<Self> {
        let parts = index.keys.iter().map(|key| key.part.clone());
        let parts: Vec<IndexPart> = parts.collect();
        let is_plain = |part: &IndexPart| matches!(part, IndexPart::Column(_));
        let is_computed = index.predicate.is_some() || !parts.iter().all(is_plain);
        is_computed.then(|| Self {
            parts,
            predicate: index.predicate.clone(),
        })
    }
}

impl Collection {
    /// The keys that rows of the collection must not have in common, the primary key first.
    pub fn unique_keys(&self) -> Vec<UniqueKey> {
        let has_primary = !self.schema.primary_key.is_empty();
        let primary = has_primary.then(|| UniqueKey::primary(&self.name.name, &self.schema));
        let indexes = self.indexes().iter().filter(|index| index.is_unique);
        let others = indexes.map(|index| UniqueKey::of(index));
        primary.into_iter().chain(others).collect()
    }
}

impl Collection {
    /// Whether the collection, with that schema, has a constraint of the name.
    pub fn has_constraint(&self, schema: &CollectionSchema, name: &str) -> bool {
        let has_primary = !schema.primary_key.is_empty();
        let mut indexes = self.indexes().iter().filter(|index| index.is_constraint);
        schema.foreign_key(name).is_some()
            || schema.checks.iter().any(|check| check.name == name)
            || (has_primary && schema.key_name(&self.name.name) == name)
            || indexes.any(|index| index.name == name)
    }
}

/// Whether a constraint of that name is one of these unique keys, or a CHECK of the schema.
pub fn is_key_or_check(keys: &[UniqueKey], schema: &CollectionSchema, name: &str) -> bool {
    schema.checks.iter().any(|check| check.name == name)
        || keys.iter().any(|key| key.is_constraint && key.name == name)
}

impl UniqueKey {
    /// The primary key of a collection with that name and schema.
    pub fn primary(collection: &str, schema: &CollectionSchema) -> Self {
        Self {
            id: KeyId::Primary,
            name: schema.key_name(collection),
            is_constraint: true,
            fields: schema.primary_key.clone(),
            nulls_equal: false,
            computed: None,
        }
    }

    /// The key of a unique index.
    pub fn of(index: &Index) -> Self {
        let computed = KeyParts::of(index).map(Arc::new);
        let fields = index.keys.iter().filter_map(|key| match key.part {
            IndexPart::Column(field) => Some(field),
            IndexPart::Expression(_) => None,
        });
        let fields = match computed {
            Some(_) => index.columns.clone(),
            None => fields.collect(),
        };
        Self {
            id: KeyId::Index(index.id),
            name: index.name.clone(),
            is_constraint: index.is_constraint,
            fields,
            nulls_equal: index.nulls_equal,
            computed,
        }
    }
}

/// When rows last came into each collection: a constraint that was found to hold may not hold for those that came since.
#[derive(Debug, Default)]
pub(super) struct Arrivals(HashMap<CollectionId, Version>);

impl Arrivals {
    /// Remembers the changes of a commit.
    pub(super) fn record(&mut self, version: Version, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Append(append) => self.0.insert(append.collection, version),
                Change::AddSegments(collection, _) => self.0.insert(*collection, version),
                Change::DropCollection(collection) => self.0.remove(collection),
                _ => None,
            };
        }
    }

    /// Whether rows came into the collection since `read`.
    pub(super) fn since(&self, collection: CollectionId, read: Version) -> bool {
        self.0.get(&collection).is_some_and(|came| *came > read)
    }

    /// That no rows came since `read` into a collection which the change constrains.
    ///
    /// # Errors
    /// 40001 when some did.
    pub(super) fn check(&self, current: &Snapshot, change: &Change, read: Version) -> Result<()> {
        let constrained = match change {
            Change::CreateIndex(collection, index) if index.is_unique => *collection,
            Change::AlterCollection(alter) => match (&alter.schema, alter.id) {
                (Some(schema), id) if constrains(current, id, schema) => id,
                _ => return Ok(()),
            },
            Change::AlterDomain(domain) => return self.check_domain(current, domain, read),
            // The rows of a partition that goes are gone, or in a table of their own.
            Change::DropView(name) => match current.partition(name) {
                Some((_, partition)) => partition.parent,
                None => return Ok(()),
            },
            // Its rows must not be in the default partition.
            Change::CreateView(view) => match &view.partition {
                Some(partition) => partition.parent,
                None => return Ok(()),
            },
            _ => return Ok(()),
        };
        self.check_none(constrained, read)
    }

    /// That no rows came since `read` that a domain may not allow any more.
    fn check_domain(&self, current: &Snapshot, domain: &Domain, read: Version) -> Result<()> {
        let before = current.domain_by_id(domain.id);
        let allows = |before: &Domain| {
            let mut checks = domain.checks.iter();
            (domain.nullable || !before.nullable) && checks.all(|c| before.checks.contains(c))
        };
        if before.is_some_and(|before| allows(before)) {
            return Ok(());
        }
        let mut collections = current.collections().filter(|c| has_domain(c, domain.id));
        collections.try_for_each(|collection| self.check_none(collection.id, read))
    }

    fn check_none(&self, collection: CollectionId, read: Version) -> Result<()> {
        if !self.since(collection, read) {
            return Ok(());
        }
        let message = "rows came by a concurrent commit while a constraint was checked";
        Err(Error::conflict(message))
    }
}

/// Whether rows that suit the collection may not suit the schema.
fn constrains(current: &Snapshot, id: CollectionId, schema: &CollectionSchema) -> bool {
    let Some(collection) = current.collection_by_id(id) else {
        return false;
    };
    let before = &collection.schema;
    let is_new_check = |check| !before.checks.contains(check);
    let is_new_reference = |key| !before.foreign_keys.contains(key);
    let requires = |id| {
        let column = before.column_by_id(id);
        column.is_some_and(|column| column.nullable)
    };
    let has_new_type = |column: &Column| {
        let known = before.column_by_id(column.id);
        known.is_some_and(|known| known.column_type != column.column_type)
    };
    let mut required = schema.columns.iter().filter(|column| !column.nullable);
    schema.primary_key != before.primary_key
        || schema.checks.iter().any(is_new_check)
        || schema.foreign_keys.iter().any(is_new_reference)
        || schema.columns.iter().any(has_new_type)
        || required.any(|column| requires(column.id))
}
