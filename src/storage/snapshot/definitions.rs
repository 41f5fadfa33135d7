//! Schemas, collections, indexes and views come, change and go.

use std::sync::Arc;

use super::{Snapshot, gone, no_index, no_schema};
use crate::error::{Error, Result, sqlstate};
use crate::storage::access::Object;
use crate::storage::change::{AlterCollection, NewCollection, QualifiedName, View};
use crate::storage::collection::Collection;
use crate::storage::comment::Commented;
use crate::storage::index::Index;
use crate::storage::schema::{CollectionId, IndexId};

impl Snapshot {
    pub(super) fn create_schema(&mut self, name: &str) -> Result<()> {
        if self.schemas.contains(name) {
            let message = format!("schema \"{name}\" already exists");
            return Err(Error::exists(sqlstate::DUPLICATE_SCHEMA, message));
        }
        self.schemas.insert_mut(name.to_string());
        Ok(())
    }

    pub(super) fn drop_schema(&mut self, name: &str) -> Result<()> {
        let inside = |n: &QualifiedName| n.schema == name;
        let sequences = self.sequences().map(|s| &s.name);
        let types = self.types().map(|of| &of.name);
        let types = types.chain(self.domains().map(|domain| &domain.name));
        let types = types.chain(self.functions().map(|function| &function.name));
        let relations = self.names.keys().chain(self.views.keys());
        if relations.chain(sequences).chain(types).any(inside) {
            let message =
                format!("cannot drop schema \"{name}\" because other objects depend on it");
            return Err(
                Error::invalid(sqlstate::DEPENDENT_OBJECTS_STILL_EXIST, message)
                    .with_hint("Drop them first, or use DROP SCHEMA .. CASCADE."),
            );
        }
        if !self.schemas.remove_mut(name) {
            return Err(no_schema(name));
        }
        self.authority.forget(&Object::Schema(name.to_string()));
        self.forget_comment(&Commented::Schema(name.to_string()));
        Ok(())
    }

    /// That a table, view, sequence or index may be made under `name`.
    pub(super) fn check_free(&self, name: &QualifiedName) -> Result<()> {
        if !self.schemas.contains(&name.schema) {
            return Err(no_schema(&name.schema));
        }
        // Logs of before keys had names of their own may use the names that keys have without one.
        let is_named = |keyed: &Arc<Collection>| keyed.schema.primary_key_name.is_some();
        if self.is_taken(name) || self.keyed(name).is_some_and(is_named) {
            let message = format!("relation \"{name}\" already exists");
            return Err(Error::exists(sqlstate::DUPLICATE_TABLE, message));
        }
        Ok(())
    }

    pub(super) fn create_collection(&mut self, new: &NewCollection) -> Result<()> {
        self.check_free(&new.name)?;
        self.check_no_type(&new.name)?;
        self.check_domains(&new.schema.columns)?;
        self.use_id(new.id.0);
        let mut collection = Collection::new(new, self.version);
        if let Some(schema) = self.with_types(&new.schema)? {
            collection.set_schema(schema, self.version);
        }
        self.names.insert_mut(new.name.clone(), new.id);
        self.insert_collection(Arc::new(collection));
        Ok(())
    }

    pub(super) fn drop_collection(&mut self, id: CollectionId) -> Result<()> {
        let collection = self.collections.get(&id).ok_or_else(gone)?;
        let collection = Arc::clone(collection);
        let name = collection.name.clone();
        for partition in collection.partitions() {
            self.forget_view(&partition.name);
        }
        self.forget_references(id);
        self.names.remove_mut(&name);
        self.collections.remove_mut(&id);
        self.authority.forget(&Object::Collection(id));
        self.jobs.forget_collection(id);
        self.forget_comments_of(id);
        self.drop_owned(id, |_| true);
        Ok(())
    }

    pub(super) fn alter_collection(&mut self, alter: &AlterCollection) -> Result<()> {
        if let Some(name) = &alter.name {
            self.check_free(name)?;
            self.check_no_type(name)?;
            let collection = Arc::clone(self.collections.get(&alter.id).ok_or_else(gone)?);
            if collection.name.schema != name.schema {
                for index in collection.indexes() {
                    self.check_free(&QualifiedName::new(&name.schema, &index.name))?;
                }
            }
            self.names.remove_mut(&collection.name);
            self.names.insert_mut(name.clone(), alter.id);
            self.move_owned(alter.id, &name.schema)?;
        }
        let mut schema = alter.schema.clone();
        if let Some(schema) = &mut schema {
            self.drop_owned(alter.id, |field| schema.column_by_id(field).is_none());
            self.forget_comments_beside(alter.id, schema);
            self.check_domains(&schema.columns)?;
            if let Some(current) = self.with_types(schema)? {
                *schema = current;
            }
        }
        self.update(alter.id, |collection, version| {
            if let Some(name) = &alter.name {
                collection.rename(name.clone(), version);
            }
            if let Some(schema) = schema {
                collection.set_schema(schema, version);
            }
            if let Some(options) = &alter.options {
                collection.options = options.clone();
            }
            Ok(())
        })?;
        self.link_partitions(alter.id)
    }

    pub(super) fn create_index(&mut self, id: CollectionId, index: &Index) -> Result<()> {
        let collection = self.collections.get(&id).ok_or_else(gone)?;
        self.check_free(&QualifiedName::new(&collection.name.schema, &index.name))?;
        self.use_id(index.id.0);
        self.update(id, |c, version| {
            c.put_index(index.clone(), version);
            Ok(())
        })
    }

    pub(super) fn rename_index(
        &mut self,
        id: CollectionId,
        index: IndexId,
        name: &str,
    ) -> Result<()> {
        let collection = self.collections.get(&id).ok_or_else(gone)?;
        self.check_free(&QualifiedName::new(&collection.name.schema, name))?;
        self.move_comment_of_index(id, index, name);
        self.update(id, |c, _| {
            c.rename_index(index, name)
                .then_some(())
                .ok_or_else(no_index)
        })
    }

    pub(super) fn create_view(&mut self, view: &View) -> Result<()> {
        if !self.views.contains_key(&view.name) {
            self.check_free(&view.name)?;
            self.check_no_type(&view.name)?;
        }
        self.put_view(Arc::new(view.clone()));
        match &view.partition {
            Some(partition) => self.divide(partition.parent),
            None => Ok(()),
        }
    }

    pub(super) fn drop_view(&mut self, name: &QualifiedName) -> Result<()> {
        let Some(view) = self.views.get(name).cloned() else {
            let message = format!("view \"{name}\" does not exist");
            return Err(Error::not_found(sqlstate::UNDEFINED_TABLE, message));
        };
        self.forget_view(name);
        match &view.partition {
            Some(partition) => self.divide(partition.parent),
            None => Ok(()),
        }
    }

    fn forget_view(&mut self, name: &QualifiedName) {
        self.views.remove_mut(name);
        self.authority.forget(&Object::View(name.clone()));
        self.forget_comments_of_view(name);
    }
}
