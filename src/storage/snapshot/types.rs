//! The types of a snapshot, and what changes do to them: collections have the types of their columns as they are now.

use std::sync::Arc;

use super::Snapshot;
use crate::error::{Error, Result, sqlstate};
use crate::storage::access::Object;
use crate::storage::change::QualifiedName;
use crate::storage::collection::Collection;
use crate::storage::comment::Commented;
use crate::storage::enum_type::EnumType;
use crate::storage::schema::{CollectionId, CollectionSchema, TypeId, Version};

impl Snapshot {
    /// The types in the order of their ids.
    pub fn types(&self) -> impl Iterator<Item = &Arc<EnumType>> {
        self.types.values().map(|(of, _)| of)
    }

    /// The type of that id.
    pub fn type_by_id(&self, id: TypeId) -> Option<&Arc<EnumType>> {
        self.types.get(&id).map(|(of, _)| of)
    }

    /// The name of the enum or domain of that id.
    pub fn type_name(&self, id: TypeId) -> Option<&QualifiedName> {
        let of = self.type_by_id(id).map(|of| &of.name);
        of.or_else(|| Some(&self.domain_by_id(id)?.name))
    }

    /// The type of that name.
    pub fn type_named(&self, name: &QualifiedName) -> Option<&Arc<EnumType>> {
        self.types().find(|of| of.name == *name)
    }

    /// Whether the type was changed after `read`.
    pub(in crate::storage) fn type_changed_since(&self, id: TypeId, read: Version) -> bool {
        self.types
            .get(&id)
            .is_some_and(|(_, changed)| *changed > read)
    }

    pub(in crate::storage) fn put_type(&mut self, of: EnumType) {
        self.use_id(of.id.0);
        of.labels.iter().for_each(|label| self.use_id(label.id));
        let version = self.version;
        self.types.insert_mut(of.id, (Arc::new(of), version));
    }

    pub(super) fn create_type(&mut self, of: &EnumType) -> Result<()> {
        self.check_type_free(&of.name)?;
        self.put_type(of.clone());
        Ok(())
    }

    pub(super) fn alter_type(&mut self, of: &EnumType) -> Result<()> {
        let before = self.type_by_id(of.id).ok_or_else(no_type)?;
        if before.name != of.name {
            self.check_type_free(&of.name)?;
        }
        self.put_type(of.clone());
        self.tell_functions(of.id)?;
        for id in self.collections_of_type(of.id) {
            let collection = self.collections.get(&id).ok_or_else(super::gone)?;
            if let Some(schema) = self.with_types(&collection.schema)? {
                self.update(id, |collection, version| {
                    collection.set_schema(schema, version);
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    pub(super) fn drop_type(&mut self, id: TypeId) -> Result<()> {
        let of = self.type_by_id(id).ok_or_else(no_type)?;
        if !self.collections_of_type(id).is_empty() {
            let message = format!("cannot drop type {of} because other objects depend on it");
            let code = sqlstate::DEPENDENT_OBJECTS_STILL_EXIST;
            return Err(Error::invalid(code, message)
                .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
        }
        self.check_no_function_of(id, &of.name)?;
        self.types.remove_mut(&id);
        self.authority.forget(&Object::Type(id));
        self.forget_comment(&Commented::Type(id));
        Ok(())
    }

    fn collections_of_type(&self, id: TypeId) -> Vec<CollectionId> {
        let has = |c: &&Arc<Collection>| {
            let mut columns = c.schema.columns.iter();
            columns.any(|column| column.column_type.is_of_enum(id))
        };
        self.collections().filter(has).map(|c| c.id).collect()
    }

    /// The schema with its types as they are now; `None` where they are so already.
    ///
    /// # Errors
    /// 40001 when one of them is gone.
    pub(super) fn with_types(&self, schema: &CollectionSchema) -> Result<Option<CollectionSchema>> {
        let mut next = None;
        for (place, column) in schema.columns.iter().enumerate() {
            let Some(of) = column.column_type.enum_type() else {
                continue;
            };
            let current = self.type_by_id(of.id).ok_or_else(no_type)?;
            if current != of {
                let next = next.get_or_insert_with(|| schema.clone());
                next.columns[place].column_type = column.column_type.with_enum(current);
            }
        }
        Ok(next)
    }

    /// A collection of one session with its types as they are now; those that are gone stay as they were.
    pub(super) fn with_current_types(&self, collection: &Arc<Collection>) -> Arc<Collection> {
        match self.with_types(&collection.schema) {
            Ok(Some(schema)) => {
                let mut next = Collection::clone(collection);
                next.set_schema(schema, self.version);
                Arc::new(next)
            }
            _ => Arc::clone(collection),
        }
    }

    /// That a type may be made under `name`; each table and view is a type too.
    pub(super) fn check_type_free(&self, name: &QualifiedName) -> Result<()> {
        if !self.schemas.contains(&name.schema) {
            return Err(super::no_schema(&name.schema));
        }
        if self.names.contains_key(name) || self.views.contains_key(name) {
            return Err(type_exists(name));
        }
        self.check_no_type(name)
    }

    /// That no type has the name of a table or view that is to be.
    pub(super) fn check_no_type(&self, name: &QualifiedName) -> Result<()> {
        match self.type_named(name).is_none() && self.domain_named(name).is_none() {
            true => Ok(()),
            false => Err(type_exists(name)),
        }
    }
}

fn type_exists(name: &QualifiedName) -> Error {
    let message = format!("type \"{name}\" already exists");
    Error::exists(sqlstate::DUPLICATE_OBJECT, message)
}

fn no_type() -> Error {
    Error::conflict("the type was dropped by a concurrent commit")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::storage::change::{AlterCollection, Change, Commit};
    use crate::storage::enum_type::EnumLabel;
    use crate::storage::schema::ColumnType;
    use crate::storage::testing::new_collection;

    fn mood(labels: &[&str]) -> EnumType {
        let label = |(place, name): (usize, &&str)| EnumLabel {
            id: 10 + place as u64,
            name: (*name).to_string(),
        };
        EnumType {
            id: TypeId(5),
            name: QualifiedName::new("public", "mood"),
            labels: labels.iter().enumerate().map(label).collect(),
        }
    }

    fn applied(snapshot: &Snapshot, changes: Vec<Change>) -> Result<Snapshot> {
        snapshot.apply(&Commit {
            version: Version(snapshot.version().0 + 1),
            timestamp_ms: 0,
            changes,
        })
    }

    #[test]
    fn columns_have_their_types_as_they_are_now() {
        let (old, new) = (mood(&["sad"]), mood(&["sad", "ok"]));
        let mut table = new_collection(1, "diary");
        let id = table.id;
        let list = ColumnType::Array(Box::new(ColumnType::Enum(Arc::new(old.clone()))));
        table.schema.columns[0].column_type = list;
        let schema = table.schema.clone();
        let changes = vec![
            Change::CreateType(old.clone()),
            Change::CreateCollection(table),
        ];
        let snapshot = applied(&Snapshot::empty(), changes).unwrap();
        assert_eq!(snapshot.next_id(), 11);
        let snapshot = applied(&snapshot, vec![Change::AlterType(new.clone())]).unwrap();
        // A change that was made from the type as it was.
        let alter = AlterCollection {
            id,
            name: None,
            schema: Some(schema),
            options: None,
        };
        let altered = applied(&snapshot, vec![Change::AlterCollection(alter)]).unwrap();
        for snapshot in [&snapshot, &altered] {
            let collection = snapshot.collection_by_id(id).unwrap();
            let of = collection.schema.columns[0].column_type.enum_type();
            assert_eq!(**of.unwrap(), new);
        }
        let refused = applied(&snapshot, vec![Change::DropType(old.id)]).unwrap_err();
        assert_eq!(refused.sqlstate(), "2BP01");
        let gone = vec![Change::DropCollection(id), Change::DropType(old.id)];
        assert_eq!(applied(&snapshot, gone).unwrap().types().count(), 0);
    }

    #[test]
    fn only_keys_with_names_of_their_own_keep_others_from_them() {
        let (table, named) = (new_collection(1, "book"), new_collection(2, "book_pkey"));
        let mut keyed = table.clone();
        keyed.schema.primary_key_name = Some("book_pkey".to_string());
        let both = |first| {
            vec![first, named.clone()]
                .into_iter()
                .map(Change::CreateCollection)
        };
        // As logs of earlier formats have it.
        assert!(applied(&Snapshot::empty(), both(table).collect()).is_ok());
        let refused = applied(&Snapshot::empty(), both(keyed).collect()).unwrap_err();
        assert_eq!(refused.sqlstate(), "42P07");
    }
}
