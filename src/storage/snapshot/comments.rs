//! The comments of a snapshot: they go with what they are on.

use std::sync::Arc;

use super::Snapshot;
use crate::error::{Error, Result};
use crate::storage::change::QualifiedName;
use crate::storage::comment::Commented;
use crate::storage::schema::{CollectionId, CollectionSchema, IndexId};

impl Snapshot {
    /// The comments in the order of what they are on.
    pub fn comments(&self) -> impl Iterator<Item = (&Commented, &Arc<str>)> {
        self.comments.iter()
    }

    pub(in crate::storage) fn put_comment(&mut self, on: Commented, text: Arc<str>) {
        self.comments.insert_mut(on, text);
    }

    /// Gives an object that is there another comment, or none.
    pub(super) fn comment(&mut self, on: &Commented, text: Option<&str>) -> Result<()> {
        if !self.has(on) {
            let message = "what the comment is on was dropped by a concurrent commit";
            return Err(Error::conflict(message));
        }
        match text {
            Some(text) => self.put_comment(on.clone(), text.into()),
            None => self.forget_comment(on),
        }
        Ok(())
    }

    fn has(&self, on: &Commented) -> bool {
        let collection = |id: &CollectionId| self.collections.get(id);
        match on {
            Commented::Database => true,
            Commented::Schema(name) => self.has_schema(name),
            Commented::Collection(id) | Commented::PrimaryKey(id) => collection(id).is_some(),
            Commented::Column(id, field) => {
                collection(id).is_some_and(|c| c.schema.column_by_id(*field).is_some())
            }
            Commented::Index(id, index) => {
                let indexes = collection(id).map(|c| c.indexes());
                indexes.is_some_and(|all| all.iter().any(|i| i.id == *index))
            }
            Commented::View(name) | Commented::ViewColumn(name, _) => self.view(name).is_some(),
            Commented::Sequence(id) => self.sequence(*id).is_some(),
            Commented::Type(id) => self.type_name(*id).is_some(),
            Commented::Function(id) => self.function(*id).is_some(),
            Commented::Constraint(id, name) => {
                collection(id).is_some_and(|c| c.has_constraint(&c.schema, name))
            }
        }
    }

    pub(super) fn forget_comment(&mut self, on: &Commented) {
        self.comments.remove_mut(on);
    }

    /// Forgets the comments on a collection and its parts.
    pub(super) fn forget_comments_of(&mut self, id: CollectionId) {
        self.forget_comments(|on| on.collection() == Some(id));
    }

    /// Forgets the comments on columns that a collection's schema has no more.
    pub(super) fn forget_comments_beside(&mut self, id: CollectionId, schema: &CollectionSchema) {
        let collection = self.collections.get(&id).cloned();
        let has = |name: &str| {
            collection
                .as_ref()
                .is_some_and(|c| c.has_constraint(schema, name))
        };
        self.forget_comments(|on| match on {
            Commented::Column(of, field) => *of == id && schema.column_by_id(*field).is_none(),
            Commented::PrimaryKey(of) => *of == id && schema.primary_key.is_empty(),
            Commented::Constraint(of, name) => *of == id && !has(name),
            _ => false,
        });
    }

    /// Forgets the comments on an index, and on the constraint that it keeps.
    pub(super) fn forget_comments_of_index(&mut self, id: CollectionId, index: IndexId) {
        self.forget_comment(&Commented::Index(id, index));
        if let Some(on) = self.constraint_of(id, index) {
            self.forget_comment(&on);
        }
    }

    /// Gives the constraint that an index keeps its comment under another name.
    pub(super) fn move_comment_of_index(&mut self, id: CollectionId, index: IndexId, to: &str) {
        let on = self.constraint_of(id, index);
        let text = on.as_ref().and_then(|on| self.comments.get(on)).cloned();
        if let (Some(on), Some(text)) = (on, text) {
            self.forget_comment(&on);
            self.put_comment(Commented::Constraint(id, to.to_string()), text);
        }
    }

    fn constraint_of(&self, id: CollectionId, index: IndexId) -> Option<Commented> {
        let mut indexes = self.collections.get(&id)?.indexes().iter();
        let found = indexes.find(|i| i.id == index && i.is_constraint)?;
        Some(Commented::Constraint(id, found.name.clone()))
    }

    /// Forgets the comments on a view and its columns.
    pub(super) fn forget_comments_of_view(&mut self, name: &QualifiedName) {
        self.forget_comments(|on| match on {
            Commented::View(of) | Commented::ViewColumn(of, _) => of == name,
            _ => false,
        });
    }

    fn forget_comments(&mut self, gone: impl Fn(&Commented) -> bool) {
        let gone: Vec<Commented> = self
            .comments
            .keys()
            .filter(|on| gone(on))
            .cloned()
            .collect();
        gone.iter().for_each(|on| self.forget_comment(on));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::storage::change::{AlterCollection, Change, Commit};
    use crate::storage::schema::{FieldId, Version};
    use crate::storage::testing::new_collection;

    fn applied(snapshot: &Snapshot, changes: Vec<Change>) -> Result<Snapshot> {
        snapshot.apply(&Commit {
            version: Version(snapshot.version().0 + 1),
            timestamp_ms: 0,
            changes,
        })
    }

    fn comment(on: Commented, text: &str) -> Change {
        Change::Comment(on, Some(text.to_string()))
    }

    #[test]
    fn comments_stay_with_a_new_name_and_go_with_their_objects() {
        let table = new_collection(1, "diary");
        let (id, column) = (table.id, table.schema.columns[0].id);
        let schema = table.schema.clone();
        let changes = vec![
            Change::CreateCollection(table),
            comment(Commented::Collection(id), "days"),
            comment(Commented::Column(id, column), "a day"),
            comment(Commented::Schema("public".to_string()), "all"),
        ];
        let snapshot = applied(&Snapshot::empty(), changes).unwrap();
        assert_eq!(snapshot.comments().count(), 3);
        let alter = |name, schema| {
            Change::AlterCollection(AlterCollection {
                id,
                name,
                schema,
                options: None,
            })
        };
        let name = Some(QualifiedName::new("public", "book"));
        let renamed = applied(&snapshot, vec![alter(name, None)]).unwrap();
        assert_eq!(renamed.comments().count(), 3);
        let mut less = schema;
        less.columns.retain(|c| c.id != column);
        let less = applied(&snapshot, vec![alter(None, Some(less))]).unwrap();
        assert_eq!(less.comments().count(), 2);
        let gone = applied(&snapshot, vec![Change::DropCollection(id)]).unwrap();
        assert_eq!(gone.comments().count(), 1);
        let nowhere = comment(Commented::Column(id, FieldId(99)), "x");
        assert_eq!(
            applied(&snapshot, vec![nowhere]).unwrap_err().sqlstate(),
            "40001"
        );
        let none = Change::Comment(Commented::Collection(id), None);
        assert_eq!(
            applied(&snapshot, vec![none]).unwrap().comments().count(),
            2
        );
    }
}
