//! The relations that one session has for itself: laid over a snapshot, and taken from one.

use std::collections::HashMap;
use std::sync::Arc;

use super::Snapshot;
use crate::storage::access::{Access, Object};
use crate::storage::change::{Change, QualifiedName, View};
use crate::storage::collection::Collection;
use crate::storage::comment::Commented;
use crate::storage::schema::{CollectionId, SequenceId};
use crate::storage::sequence::Sequence;

/// The schema of temporary relations. It has one name in all sessions: none sees that of another.
pub const TEMPORARY_SCHEMA: &str = "pg_temp_1";

/// What becomes of a temporary table when a transaction commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnCommit {
    /// Its rows go.
    DeleteRows,
    /// It goes.
    Drop,
}

/// The temporary relations of a session, and whose they are.
#[derive(Debug, Clone, Default)]
pub struct TemporaryRelations {
    collections: Vec<Arc<Collection>>,
    sequences: Vec<Arc<Sequence>>,
    views: Vec<Arc<View>>,
    access: Vec<(Object, Arc<Access>)>,
    comments: Vec<(Commented, Arc<str>)>,
}

impl TemporaryRelations {
    /// The collections in the order of their names.
    pub fn collections(&self) -> &[Arc<Collection>] {
        &self.collections
    }

    /// The sequences in the order of their names.
    pub fn sequences(&self) -> &[Arc<Sequence>] {
        &self.sequences
    }

    /// The views in the order of their names.
    pub fn views(&self) -> &[Arc<View>] {
        &self.views
    }

    /// Bytes of the rows that are in memory.
    pub fn growing_bytes(&self) -> u64 {
        let growing = self.collections.iter().flat_map(|c| c.growing());
        growing.map(|growing| growing.bytes).sum()
    }

    /// Whether the collections are the same values.
    pub fn same_collections(&self, other: &Self) -> bool {
        let mut pairs = self.collections.iter().zip(&other.collections);
        self.collections.len() == other.collections.len() && pairs.all(|(a, b)| Arc::ptr_eq(a, b))
    }

    /// With the sequences of `newer` where this has those of `read`: numbers that were given meanwhile stay given.
    pub fn with_newer_sequences(mut self, read: &Self, newer: &Self) -> Self {
        for sequence in &mut self.sequences {
            let unchanged = read.sequences.iter().any(|s| Arc::ptr_eq(s, sequence));
            let current = newer.sequences.iter().find(|s| s.id == sequence.id);
            if let (true, Some(current)) = (unchanged, current) {
                *sequence = Arc::clone(current);
            }
        }
        self
    }

    /// What is left when a transaction has committed.
    pub fn after_commit(mut self, rules: &HashMap<CollectionId, OnCommit>) -> Self {
        let drops = |id| rules.get(&id) == Some(&OnCommit::Drop);
        self.collections.retain(|c| !drops(c.id));
        let owned = |s: &Arc<Sequence>| s.owner.map(|owner| owner.collection);
        self.sequences.retain(|s| !owned(s).is_some_and(drops));
        let divided = |v: &Arc<View>| v.partition.as_ref().map(|of| of.parent);
        self.views.retain(|v| !divided(v).is_some_and(drops));
        for collection in &mut self.collections {
            if rules.get(&collection.id) == Some(&OnCommit::DeleteRows) {
                Arc::make_mut(collection).clear();
            }
        }
        self
    }
}

impl Snapshot {
    /// Whether there is a schema of temporary relations.
    pub fn has_temporary_schema(&self) -> bool {
        self.has_schema(TEMPORARY_SCHEMA)
    }

    /// The temporary relations among those of this snapshot.
    pub fn temporary(&self) -> TemporaryRelations {
        let in_schema = |name: &QualifiedName| name.schema == TEMPORARY_SCHEMA;
        let collections = self.collections().filter(|c| in_schema(&c.name));
        let sequences = self.sequences().filter(|s| in_schema(&s.name));
        let views = self.views().filter(|v| in_schema(&v.name));
        let accesses = self.authority.accesses();
        let accesses = accesses.filter(|(object, _)| self.is_temporary_object(object));
        TemporaryRelations {
            collections: collections.cloned().collect(),
            sequences: sequences.cloned().collect(),
            views: views.cloned().collect(),
            comments: self.temporary_comments(),
            access: accesses.map(|(o, a)| (o.clone(), Arc::clone(a))).collect(),
        }
    }

    /// The snapshot as the session sees it that has these relations; like one with changes that are not committed.
    pub fn with_temporary(self: &Arc<Self>, relations: &TemporaryRelations) -> Self {
        let mut next = Self::clone(self);
        next.base.get_or_insert_with(|| Arc::clone(self));
        next.definitions = None;
        next.put_schema(TEMPORARY_SCHEMA.to_string());
        for collection in &relations.collections {
            next.put_collection(next.with_current_types(collection));
        }
        for sequence in &relations.sequences {
            next.put_sequence(Sequence::clone(sequence));
        }
        for view in &relations.views {
            next.put_view(Arc::clone(view));
        }
        for (on, text) in &relations.comments {
            next.put_comment(on.clone(), Arc::clone(text));
        }
        for (object, access) in &relations.access {
            next.put_access(object.clone(), Access::clone(access));
        }
        next
    }

    /// Whether the change is of temporary relations: of new ones, or of those that this snapshot has.
    pub fn is_temporary(&self, change: &Change) -> bool {
        let collection = |id: CollectionId| self.is_temporary_object(&Object::Collection(id));
        let sequence = |id: SequenceId| self.is_temporary_object(&Object::Sequence(id));
        match change {
            Change::CreateSchema(name) | Change::DropSchema(name) => name == TEMPORARY_SCHEMA,
            Change::CreateCollection(new) => new.name.schema == TEMPORARY_SCHEMA,
            Change::CreateView(view) => view.name.schema == TEMPORARY_SCHEMA,
            Change::DropView(name) => name.schema == TEMPORARY_SCHEMA,
            Change::AlterCollection(alter) => collection(alter.id),
            Change::Append(append) => collection(append.collection),
            Change::Replace(replace) => collection(replace.collection),
            Change::DropCollection(id)
            | Change::Truncate(id)
            | Change::AddSegments(id, _)
            | Change::Delete(id, ..)
            | Change::CreateIndex(id, _)
            | Change::DropIndex(id, _)
            | Change::RenameIndex(id, ..)
            | Change::AddFilters(id, ..)
            | Change::Materialize(id, _)
            | Change::Train(id, _) => collection(*id),
            Change::CreateSequence(new) | Change::AlterSequence(new) => {
                new.name.schema == TEMPORARY_SCHEMA
            }
            Change::DropSequence(id) | Change::Reserve(id, ..) => sequence(*id),
            Change::SetAccess(object, _) => self.is_temporary_object(object),
            Change::Comment(on, _) => self.is_temporary_comment(on),
            Change::CreateType(of) => of.name.schema == TEMPORARY_SCHEMA,
            Change::AlterType(_)
            | Change::DropType(_)
            | Change::CreateDomain(_)
            | Change::AlterDomain(_)
            | Change::DropDomain(_)
            | Change::CreateFunction(_)
            | Change::AlterFunction(_)
            | Change::DropFunction(_)
            | Change::Job(_)
            | Change::CreateRole(_)
            | Change::AlterRole(_)
            | Change::DropRole(_) => false,
        }
    }

    fn temporary_comments(&self) -> Vec<(Commented, Arc<str>)> {
        let own = self
            .comments()
            .filter(|(on, _)| self.is_temporary_comment(on));
        own.map(|(on, text)| (on.clone(), Arc::clone(text)))
            .collect()
    }

    fn is_temporary_comment(&self, on: &Commented) -> bool {
        match on {
            Commented::Sequence(id) => self.is_temporary_object(&Object::Sequence(*id)),
            other => other
                .collection()
                .is_some_and(|id| self.is_temporary_object(&Object::Collection(id))),
        }
    }

    fn is_temporary_object(&self, object: &Object) -> bool {
        let schema = match object {
            // Functions are in commits.
            Object::Database | Object::Function(_) => None,
            Object::Schema(name) => Some(name),
            Object::View(name) => Some(&name.schema),
            Object::Collection(id) => self.collection_by_id(*id).map(|c| &c.name.schema),
            Object::Sequence(id) => self.sequence(*id).map(|s| &s.name.schema),
            Object::Type(id) => self.type_by_id(*id).map(|of| &of.name.schema),
        };
        schema.is_some_and(|schema| schema == TEMPORARY_SCHEMA)
    }
}

impl Collection {
    /// Whether it is one session's own, in no commit.
    pub fn is_temporary(&self) -> bool {
        self.name.schema == TEMPORARY_SCHEMA
    }
}
