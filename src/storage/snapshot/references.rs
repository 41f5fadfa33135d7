//! Who refers to whom by foreign keys, and that definitions leave no reference to what is gone.

use std::sync::Arc;

use super::Snapshot;
use crate::error::{Error, Result, sqlstate};
use crate::storage::change::Change;
use crate::storage::collection::Collection;
use crate::storage::foreign_key::ForeignKey;
use crate::storage::schema::{CollectionId, FieldId};
use crate::storage::ttl::Ttl;

impl Snapshot {
    /// The foreign keys by which collections refer to this one, itself among them.
    pub fn references_to(
        &self,
        parent: CollectionId,
    ) -> impl Iterator<Item = (&Arc<Collection>, &ForeignKey)> {
        let all = (parent, CollectionId(u64::MIN))..=(parent, CollectionId(u64::MAX));
        let children = self.references.range(all);
        let children = children.filter_map(|(_, child)| self.collections.get(child));
        children.flat_map(move |child| {
            let keys = child.schema.foreign_keys.iter();
            keys.filter(move |key| key.parent == parent)
                .map(move |key| (child, key))
        })
    }

    /// Whether a foreign key refers to the collection.
    pub fn is_referred_to(&self, parent: CollectionId) -> bool {
        self.references_to(parent).next().is_some()
    }

    /// Puts a collection in place of the one with its id, and knows to whom it refers.
    pub(super) fn insert_collection(&mut self, collection: Arc<Collection>) {
        self.forget_references(collection.id);
        for key in &collection.schema.foreign_keys {
            self.references.insert_mut((key.parent, collection.id));
        }
        self.collections.insert_mut(collection.id, collection);
    }

    /// Forgets to whom a collection refers.
    pub(super) fn forget_references(&mut self, id: CollectionId) {
        let Some(before) = self.collections.get(&id) else {
            return;
        };
        for key in &before.schema.foreign_keys {
            self.references.remove_mut(&(key.parent, id));
        }
    }

    /// That no reference of what these changes have touched leads nowhere.
    ///
    /// # Errors
    /// 2BP01 for a collection, a key or a column that is gone and referred to, 0A000 for one whose rows expire.
    pub(super) fn check_references(&self, changes: &[Change]) -> Result<()> {
        for change in changes {
            let touched = match change {
                Change::CreateCollection(new) => new.id,
                Change::AlterCollection(alter) => alter.id,
                Change::DropCollection(id) | Change::DropIndex(id, _) => *id,
                _ => continue,
            };
            let own = self.collections.get(&touched).into_iter();
            let own =
                own.flat_map(|child| child.schema.foreign_keys.iter().map(move |k| (child, k)));
            for (child, key) in own.chain(self.references_to(touched)) {
                self.check_reference(child, key)?;
            }
        }
        Ok(())
    }

    fn check_reference(&self, child: &Collection, key: &ForeignKey) -> Result<()> {
        let Some(parent) = self.collections.get(&key.parent) else {
            return Err(depends("table", child, key));
        };
        let keys = parent.unique_keys();
        let unique = keys.iter().find(|unique| unique.id == key.key);
        let Some(unique) = unique else {
            return Err(depends("unique constraint or index", child, key));
        };
        let has = |id: &FieldId| parent.schema.column_by_id(*id).is_some();
        if !unique.fields.iter().all(has) {
            return Err(depends("column", child, key));
        }
        if Ttl::of(parent).is_some() {
            let message = format!(
                "rows of \"{}\" cannot expire while foreign keys refer to them",
                parent.name
            );
            let hint = format!("Constraint \"{}\" of \"{}\" does.", key.name, child.name);
            return Err(Error::unsupported(message).with_hint(hint));
        }
        Ok(())
    }
}

fn depends(what: &str, child: &Collection, key: &ForeignKey) -> Error {
    let (name, table) = (&key.name, &child.name);
    let message = format!("cannot drop a {what} because other objects depend on it");
    Error::invalid(sqlstate::DEPENDENT_OBJECTS_STILL_EXIST, message)
        .with_detail(format!("Constraint {name} on table {table} depends on it."))
        .with_hint("Use DROP ... CASCADE to drop the dependent objects too.")
}
