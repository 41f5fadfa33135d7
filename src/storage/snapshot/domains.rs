//! The domains of a snapshot, and what changes do to them.

use std::sync::Arc;

use super::Snapshot;
use crate::error::{Error, Result, sqlstate};
use crate::storage::access::Object;
use crate::storage::change::QualifiedName;
use crate::storage::collection::Collection;
use crate::storage::comment::Commented;
use crate::storage::domain::Domain;
use crate::storage::schema::{CollectionId, CollectionSchema, Column, TypeId, Version};

impl Snapshot {
    /// The domains in the order of their ids.
    pub fn domains(&self) -> impl Iterator<Item = &Arc<Domain>> {
        self.domains.values().map(|(domain, _)| domain)
    }

    /// The domain of that id.
    pub fn domain_by_id(&self, id: TypeId) -> Option<&Arc<Domain>> {
        self.domains.get(&id).map(|(domain, _)| domain)
    }

    /// The domain of that name.
    pub fn domain_named(&self, name: &QualifiedName) -> Option<&Arc<Domain>> {
        self.domains().find(|domain| domain.name == *name)
    }

    /// The domain of a column.
    pub fn domain_of(&self, column: &Column) -> Option<&Arc<Domain>> {
        self.domain_by_id(column.domain?)
    }

    /// The DEFAULT of a column: its own, or that of its domain.
    pub fn default_of<'a>(&'a self, column: &'a Column) -> Option<&'a str> {
        let of_domain = || self.domain_of(column)?.default.as_deref();
        column.default.as_deref().or_else(of_domain)
    }

    /// Whether the domain was changed after `read`.
    pub(in crate::storage) fn domain_changed_since(&self, id: TypeId, read: Version) -> bool {
        let found = self.domains.get(&id);
        found.is_some_and(|(_, changed)| *changed > read)
    }

    pub(in crate::storage) fn put_domain(&mut self, domain: Domain) {
        self.use_id(domain.id.0);
        domain.checks.iter().for_each(|check| self.use_id(check.id));
        let version = self.version;
        self.domains
            .insert_mut(domain.id, (Arc::new(domain), version));
    }

    pub(super) fn create_domain(&mut self, domain: &Domain) -> Result<()> {
        self.check_type_free(&domain.name)?;
        self.put_domain(domain.clone());
        Ok(())
    }

    pub(super) fn alter_domain(&mut self, domain: &Domain) -> Result<()> {
        let before = self.domain_by_id(domain.id).ok_or_else(no_domain)?;
        if before.name != domain.name {
            self.check_type_free(&domain.name)?;
        }
        self.put_domain(domain.clone());
        // Rows that were made for the domain as it was do not fit.
        let is_of = |collection: &&Arc<Collection>| has_domain(collection, domain.id);
        let ids: Vec<CollectionId> = self.collections().filter(is_of).map(|c| c.id).collect();
        for id in ids {
            self.update(id, |collection, version| {
                let schema = CollectionSchema::clone(&collection.schema);
                collection.set_schema(schema, version);
                Ok(())
            })?;
        }
        Ok(())
    }

    pub(super) fn drop_domain(&mut self, id: TypeId) -> Result<()> {
        let domain = self.domain_by_id(id).ok_or_else(no_domain)?;
        self.check_not_of_domain(domain)?;
        self.check_no_function_of(id, &domain.name)?;
        self.domains.remove_mut(&id);
        self.authority.forget(&Object::Type(id));
        self.forget_comment(&Commented::Type(id));
        Ok(())
    }

    fn check_not_of_domain(&self, domain: &Domain) -> Result<()> {
        if !self.collections().any(|c| has_domain(c, domain.id)) {
            return Ok(());
        }
        let message = format!("cannot drop type {domain} because other objects depend on it");
        let code = sqlstate::DEPENDENT_OBJECTS_STILL_EXIST;
        Err(Error::invalid(code, message)
            .with_hint("Use DROP ... CASCADE to drop the dependent objects too."))
    }

    /// That the domains of these columns are there.
    ///
    /// # Errors
    /// 40001 when one is gone.
    pub(super) fn check_domains(&self, columns: &[Column]) -> Result<()> {
        let mut ids = columns.iter().filter_map(|column| column.domain);
        match ids.all(|id| self.domains.contains_key(&id)) {
            true => Ok(()),
            false => Err(no_domain()),
        }
    }
}

/// Whether a column of the collection is of the domain.
pub(in crate::storage) fn has_domain(collection: &Collection, id: TypeId) -> bool {
    let mut columns = collection.schema.columns.iter();
    columns.any(|column| column.domain == Some(id))
}

fn no_domain() -> Error {
    Error::conflict("the domain was dropped by a concurrent commit")
}
