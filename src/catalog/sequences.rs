//! Sequences as a session uses them: `nextval`, `setval`, `currval`, `lastval`.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use futures::executor::block_on;
use parking_lot::Mutex;

use super::temporary::Temporary;
use super::transaction::OpenTransaction;
use crate::error::{Error, Result, sqlstate};
use crate::storage::change::Change;
use crate::storage::engine::Engine;
use crate::storage::schema::SequenceId;
use crate::storage::sequence::{Position, Sequence};
use crate::storage::snapshot::{Snapshot, TEMPORARY_SCHEMA};
use crate::storage::transaction::Transaction;

/// What sequences gave to a session.
#[derive(Debug, Default)]
pub struct Given(Mutex<Numbers>);

#[derive(Debug, Default)]
struct Numbers {
    by_sequence: HashMap<SequenceId, i64>,
    last: Option<SequenceId>,
}

impl Given {
    /// Forgets everything: DISCARD SEQUENCES.
    pub fn forget(&self) {
        *self.0.lock() = Numbers::default();
    }
}

/// The sequences of a database, as one statement of a session uses them.
///
/// Numbers are taken whatever becomes of the statement's transaction; only a sequence that the transaction made or
/// altered itself is part of it.
#[derive(Clone)]
pub struct SessionSequences {
    engine: Arc<Engine>,
    transaction: Option<Arc<OpenTransaction>>,
    temporary: Arc<Temporary>,
    given: Arc<Given>,
}

impl fmt::Debug for SessionSequences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionSequences")
            .field("transaction", &self.transaction)
            .finish_non_exhaustive()
    }
}

impl SessionSequences {
    /// Those of a statement in `transaction`, of a session that was `given` numbers before.
    pub fn new(
        engine: Arc<Engine>,
        transaction: Option<Arc<OpenTransaction>>,
        temporary: Arc<Temporary>,
        given: Arc<Given>,
    ) -> Self {
        Self {
            engine,
            transaction,
            temporary,
            given,
        }
    }

    /// The transaction of the statement, if it is part of one.
    pub fn transaction(&self) -> Option<&Arc<OpenTransaction>> {
        self.transaction.as_ref()
    }

    /// The next numbers, in order. It may wait for the disk.
    ///
    /// # Errors
    /// 2200H when the sequence has no more, 25006 or 58030 when the log cannot be written.
    pub fn next(&self, id: SequenceId, count: usize) -> Result<Vec<i64>> {
        let current = || self.current(id);
        let reserve = |sequence: &Sequence, last| {
            self.change(
                sequence,
                Change::Reserve(sequence.id, sequence.generation, last),
            )
        };
        let numbers = self.engine.sequences.take(id, count, current, reserve)?;
        if let Some(last) = numbers.last() {
            let mut given = self.given.0.lock();
            given.by_sequence.insert(id, *last);
            given.last = Some(id);
        }
        Ok(numbers)
    }

    /// Makes `number` the last that was given, or the next where `is_called` is not set. It may wait for the disk.
    ///
    /// # Errors
    /// 22003 for a number that is none of the sequence, 25006 or 58030 when the log cannot be written.
    pub fn set(&self, id: SequenceId, number: i64, is_called: bool) -> Result<()> {
        self.engine.sequences.reset(id, || {
            let sequence = self.current(id)?;
            sequence.check_holds(number)?;
            let next = Sequence {
                generation: self.engine.committer.allocate_id(),
                position: Position {
                    last: number,
                    is_called,
                },
                ..Sequence::clone(&sequence)
            };
            self.change(&sequence, Change::AlterSequence(next))
        })?;
        if is_called {
            self.given.0.lock().by_sequence.insert(id, number);
        }
        Ok(())
    }

    /// `currval`: the last number that the sequence gave to this session.
    pub fn given_by(&self, id: SequenceId) -> Option<i64> {
        self.given.0.lock().by_sequence.get(&id).copied()
    }

    /// `lastval`: the last number that any sequence which still is gave to this session.
    pub fn last_given(&self) -> Option<i64> {
        let last = self.given.0.lock().last?;
        self.current(last).ok()?;
        self.given_by(last)
    }

    /// Where the sequence is, as its own table shows it.
    pub fn position(&self, sequence: &Sequence) -> Position {
        self.engine.sequences.given(sequence)
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        match &self.transaction {
            Some(transaction) => transaction.snapshot(),
            None => self.temporary.over(self.engine.committer.snapshot()),
        }
    }

    /// The sequence as it is now: the transaction's own, else the newest.
    fn current(&self, id: SequenceId) -> Result<Arc<Sequence>> {
        let seen = self.snapshot().sequence(id).cloned();
        let seen = seen.ok_or_else(|| {
            let message = format!("sequence {id} does not exist");
            Error::not_found(sqlstate::UNDEFINED_TABLE, message)
        })?;
        match self.committed(&seen) {
            Some(committed) => Ok(committed),
            None => Ok(seen),
        }
    }

    /// The newest version of a sequence that is not the transaction's own.
    fn committed(&self, seen: &Sequence) -> Option<Arc<Sequence>> {
        let newest = self.engine.committer.snapshot();
        let newest = newest.sequence(seen.id)?;
        let is_own = match &self.transaction {
            Some(transaction) => transaction.alters(seen),
            None => false,
        };
        (!is_own).then(|| Arc::clone(newest))
    }

    /// Makes a change of a sequence durable at once, or part of the transaction whose own it is.
    fn change(&self, sequence: &Sequence, change: Change) -> Result<()> {
        match &self.transaction {
            Some(transaction) if self.committed(sequence).is_none() => {
                transaction.define(vec![change])
            }
            None if sequence.name.schema == TEMPORARY_SCHEMA => {
                self.temporary.change_sequence(change)
            }
            _ => {
                let read = self.engine.committer.snapshot().version();
                let transaction = Transaction::new(read, vec![change]);
                // The log has a thread of its own: this one waits without keeping it from going on.
                block_on(self.engine.committer.commit(transaction)).map(|_| ())
            }
        }
    }
}
