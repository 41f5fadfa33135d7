//! The sequences of a snapshot, and what changes do to them.

use std::sync::Arc;

use super::Snapshot;
use crate::error::{Error, Result};
use crate::storage::access::Object;
use crate::storage::change::QualifiedName;
use crate::storage::comment::Commented;
use crate::storage::schema::{CollectionId, FieldId, SequenceId};
use crate::storage::sequence::{Position, Sequence};

impl Snapshot {
    /// The sequences in the order of their ids.
    pub fn sequences(&self) -> impl Iterator<Item = &Arc<Sequence>> {
        self.sequences.values()
    }

    /// The sequence of that id.
    pub fn sequence(&self, id: SequenceId) -> Option<&Arc<Sequence>> {
        self.sequences.get(&id)
    }

    /// The sequence of that name.
    pub fn sequence_named(&self, name: &QualifiedName) -> Option<&Arc<Sequence>> {
        self.sequences().find(|s| s.name == *name)
    }

    /// The sequence that belongs to the column; where there are several, the newest.
    pub fn owned_sequence(&self, id: CollectionId, field: FieldId) -> Option<&Arc<Sequence>> {
        self.sequences.get(self.owned.get(&(id, field))?)
    }

    pub(super) fn create_sequence(&mut self, sequence: &Sequence) -> Result<()> {
        self.check_free(&sequence.name)?;
        self.put_sequence(sequence.clone());
        Ok(())
    }

    /// Puts it where one of its id was, if one was.
    pub(in crate::storage) fn put_sequence(&mut self, sequence: Sequence) {
        self.use_id(sequence.id.0);
        self.use_id(sequence.generation);
        let before = self.sequences.get(&sequence.id).and_then(|s| s.owner);
        if let Some(owner) = before {
            self.owned.remove_mut(&(owner.collection, owner.field));
        }
        if let Some(owner) = sequence.owner {
            let column = (owner.collection, owner.field);
            self.owned.insert_mut(column, sequence.id);
        }
        self.sequences.insert_mut(sequence.id, Arc::new(sequence));
    }

    pub(super) fn alter_sequence(&mut self, sequence: &Sequence) -> Result<()> {
        let before = self.sequences.get(&sequence.id).ok_or_else(no_sequence)?;
        let mut next = sequence.clone();
        if before.generation == next.generation {
            // Numbers were reserved since it was read, perhaps.
            next.position = before.position;
        }
        if before.name != next.name {
            self.check_free(&next.name)?;
        }
        self.put_sequence(next);
        Ok(())
    }

    pub(super) fn drop_sequence(&mut self, id: SequenceId) -> Result<()> {
        let sequence = Arc::clone(self.sequences.get(&id).ok_or_else(no_sequence)?);
        self.sequences.remove_mut(&id);
        if let Some(owner) = sequence.owner {
            self.owned.remove_mut(&(owner.collection, owner.field));
        }
        self.authority.forget(&Object::Sequence(id));
        self.forget_comment(&Commented::Sequence(id));
        Ok(())
    }

    /// A reservation of a generation that is over changes nothing: its numbers are not those of the sequence any more.
    pub(super) fn reserve(&mut self, id: SequenceId, generation: u64, last: i64) -> Result<()> {
        let sequence = self.sequences.get(&id).ok_or_else(no_sequence)?;
        if sequence.generation == generation {
            let mut next = Sequence::clone(sequence);
            next.position = Position::reserved(last);
            self.sequences.insert_mut(id, Arc::new(next));
        }
        Ok(())
    }

    /// The sequences that belong to columns of a collection which `wanted` names.
    fn owned_by(&self, id: CollectionId, wanted: impl Fn(FieldId) -> bool) -> Vec<Arc<Sequence>> {
        let all = self.sequences().filter(|s| {
            let owner = s.owner.filter(|o| o.collection == id);
            owner.is_some_and(|o| wanted(o.field))
        });
        all.cloned().collect()
    }

    pub(super) fn drop_owned(&mut self, id: CollectionId, wanted: impl Fn(FieldId) -> bool) {
        for sequence in self.owned_by(id, wanted) {
            self.sequences.remove_mut(&sequence.id);
            self.authority.forget(&Object::Sequence(sequence.id));
            self.forget_comment(&Commented::Sequence(sequence.id));
            if let Some(owner) = sequence.owner {
                self.owned.remove_mut(&(id, owner.field));
            }
        }
    }

    /// Sequences of a collection's columns are in its schema.
    pub(super) fn move_owned(&mut self, id: CollectionId, schema: &str) -> Result<()> {
        for sequence in self.owned_by(id, |_| true) {
            if sequence.name.schema != schema {
                let mut next = Sequence::clone(&sequence);
                next.name.schema = schema.to_string();
                self.alter_sequence(&next)?;
            }
        }
        Ok(())
    }
}

fn no_sequence() -> Error {
    Error::conflict("the sequence was dropped by a concurrent commit")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::storage::change::Change;
    use crate::storage::testing::{name, sequence};

    #[test]
    fn a_new_name_does_not_take_back_what_was_reserved_since_it_was_asked_for() {
        let read = sequence("numbers");
        let renamed = Sequence {
            name: name("others"),
            ..read.clone()
        };
        let restarted = Sequence {
            generation: 8,
            ..renamed.clone()
        };
        let snapshot = Arc::new(Snapshot::empty());
        let after = |changes: Vec<Change>| {
            let snapshot = snapshot.with_pending(&changes).unwrap();
            snapshot.sequence(read.id).unwrap().position
        };
        let mut changes = vec![
            Change::CreateSequence(read.clone()),
            Change::Reserve(read.id, read.generation, 32),
            Change::AlterSequence(renamed),
        ];
        assert_eq!(after(changes.clone()), Position::reserved(32));
        changes.push(Change::AlterSequence(restarted));
        assert_eq!(after(changes), read.position);
    }
}
