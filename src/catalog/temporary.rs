//! The temporary tables of a session, as they are between its transactions.
//!
//! Whatever a session reads is laid over by them, so that a transaction begins with them and its statements treat them
//! as any other collection. When it commits, what they have become goes back to here and not into the log.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use datafusion::execution::memory_pool::MemoryReservation;
use parking_lot::Mutex;

use super::sink::SegmentFile;
use crate::error::{Error, Result, sqlstate};
use crate::storage::change::Change;
use crate::storage::schema::CollectionId;
use crate::storage::snapshot::{OnCommit, Snapshot, TemporaryRelations};

/// The temporary tables of a session.
#[derive(Default)]
pub struct Temporary(Mutex<State>);

#[derive(Default)]
struct State {
    /// `None` until the session makes its first.
    relations: Option<TemporaryRelations>,
    on_commit: HashMap<CollectionId, OnCommit>,
    /// Those of sealed segments; they go with their segments.
    files: Vec<SegmentFile>,
    /// For the rows in memory.
    memory: Option<MemoryReservation>,
}

impl fmt::Debug for Temporary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Temporary")
            .field(&self.0.lock().relations)
            .finish()
    }
}

/// What a transaction made of the temporary tables.
pub(super) struct Became {
    pub relations: TemporaryRelations,
    /// The files of segments that it wrote.
    pub files: Vec<SegmentFile>,
    pub memory: MemoryReservation,
}

impl Temporary {
    /// Gives the session its schema: transactions that begin from here on have it.
    pub fn begin(&self) {
        self.0.lock().relations.get_or_insert_default();
    }

    /// What the session sees of a snapshot.
    pub fn over(&self, snapshot: Arc<Snapshot>) -> Arc<Snapshot> {
        match &self.0.lock().relations {
            Some(relations) => Arc::new(snapshot.with_temporary(relations)),
            None => snapshot,
        }
    }

    /// Sets what becomes of a table that is about to be made.
    pub fn set_on_commit(&self, id: CollectionId, rule: OnCommit) {
        self.0.lock().on_commit.insert(id, rule);
    }

    /// That the tables are those that a transaction read which began with `read`.
    ///
    /// # Errors
    /// 40001 when another statement of the session has changed them.
    pub(super) fn check(&self, read: &TemporaryRelations) -> Result<()> {
        let state = self.0.lock();
        match &state.relations {
            Some(now) if !now.same_collections(read) => {
                let message = "a temporary table was changed by another statement of the session";
                Err(Error::invalid(sqlstate::SERIALIZATION_FAILURE, message))
            }
            _ => Ok(()),
        }
    }

    /// Takes over what a transaction that began with `read` made of the tables.
    pub(super) fn install(&self, read: &TemporaryRelations, became: Became) {
        let mut state = self.0.lock();
        let state = &mut *state;
        let now = state.relations.take().unwrap_or_default();
        let next = became.relations.with_newer_sequences(read, &now);
        let next = next.after_commit(&state.on_commit);
        let is_there = |id| next.collections().iter().any(|c| c.id == id);
        state.on_commit.retain(|id, _| is_there(*id));
        state.files.extend(became.files);
        let is_named = |file: &SegmentFile| {
            let id = file.segment().id;
            let mut collections = next.collections().iter();
            collections.any(|c| c.segment(id).is_some())
        };
        state.files.retain(is_named);
        state.memory = Some(became.memory);
        state.relations = Some(next);
    }

    /// Changes a sequence outside of a transaction.
    ///
    /// # Errors
    /// 40001 when it is gone.
    pub(super) fn change_sequence(&self, change: Change) -> Result<()> {
        let mut state = self.0.lock();
        let relations = state.relations.clone().unwrap_or_default();
        let seen = Arc::new(Arc::new(Snapshot::empty()).with_temporary(&relations));
        state.relations = Some(seen.with_pending(&[change])?.temporary());
        Ok(())
    }
}
