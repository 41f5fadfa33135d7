//! What a statement does with the rows of its query.

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, interleave_record_batch, is_not_null};
use arrow::datatypes::{Int32Type, UInt32Type, UInt64Type};

use super::{Action, Merge, Operation, Target};
use crate::catalog::assign::Assignment;
use crate::catalog::foreign_keys::Replaced;
use crate::catalog::keys::{KeyColumns, Removed};
use crate::catalog::sink::{NewRows, Sink};
use crate::catalog::zone::Zone;
use crate::error::{Error, Result, sqlstate};
use crate::storage::collection::Collection;
use crate::storage::schema::SegmentId;
use crate::storage::snapshot::Snapshot;
use crate::storage::unique::KeyId;

/// Gathers what one execution of a statement changes.
pub(super) struct Writer {
    operation: Operation,
    collection: Arc<Collection>,
    assignment: Assignment,
    /// The keys of rows that are inserted or have one like them updated.
    proposed: Option<Proposed>,
    sink: Sink,
    removed: Removed,
    /// Rows that another part of the statement has changed already.
    gone: Removed,
    /// Rows that come in place of others, where foreign keys ask.
    replaced: Replaced,
    count: u64,
}

/// Rows that a statement changed.
pub(super) struct ChangedRows {
    /// As the query gave them.
    pub queried: RecordBatch,
    /// As they are stored; of rows that are removed nothing is.
    pub stored: Option<RecordBatch>,
}

/// What a statement is about to change.
pub(super) struct Changed {
    pub new: NewRows,
    pub removed: Arc<Removed>,
    pub count: u64,
}

impl Writer {
    /// A writer of rows of the collection as it is in the snapshot, by the clock of the zone.
    ///
    /// # Errors
    /// Those of [`Sink::try_new`].
    pub fn try_new(
        target: &Target,
        operation: Operation,
        collection: Arc<Collection>,
        snapshot: &Snapshot,
        zone: Zone,
    ) -> Result<Self> {
        Ok(Self {
            operation,
            assignment: Assignment::new(&collection, target.rows.generated.clone(), zone.clone()),
            proposed: match operation {
                Operation::Merge(Merge {
                    by_key: Some(key), ..
                }) => Some(Proposed::try_new(&collection, key)?),
                _ => None,
            },
            sink: Sink::try_new(
                Arc::clone(&target.engine),
                Arc::clone(&collection),
                target.rows.clone(),
                zone,
            )?,
            replaced: Replaced::of(&collection, snapshot),
            collection,
            removed: Removed::new(),
            gone: Removed::new(),
            count: 0,
        })
    }

    /// The same, which leaves these rows as they are.
    pub fn without(self, gone: Removed) -> Self {
        Self { gone, ..self }
    }

    /// Takes rows of the query, and gives back those that count.
    ///
    /// # Errors
    /// Those of [`Sink::push`].
    pub async fn push(&mut self, batch: &RecordBatch) -> Result<ChangedRows> {
        let first = self.operation.address_columns();
        let (queried, stored) = match self.operation {
            Operation::Insert => (batch.clone(), Some(self.values(batch, 0)?)),
            Operation::Delete => (self.take_addresses(batch)?, None),
            Operation::Update => {
                let queried = self.take_addresses(batch)?;
                let values = self.values(&queried, first)?;
                (queried, Some(values))
            }
            Operation::Merge(merge) => {
                let (queried, stored) = self.merge(batch, merge)?;
                (queried, Some(stored))
            }
        };
        self.count += queried.num_rows() as u64;
        let stored = match stored {
            Some(rows) => {
                let stored = self.sink.push(&rows).await?;
                self.note_replaced(&queried, &stored)?;
                Some(stored)
            }
            None => None,
        };
        Ok(ChangedRows { queried, stored })
    }

    /// Remembers which rows come in place of which.
    fn note_replaced(&mut self, queried: &RecordBatch, stored: &RecordBatch) -> Result<()> {
        if self.replaced.is_needless() || self.operation == Operation::Insert {
            return Ok(());
        }
        let first = self.operation.address_columns();
        let stores = match self.operation {
            Operation::Merge(_) => actions(queried, first, |a| a >= Action::Store(0).number()),
            _ => BooleanArray::from(vec![true; queried.num_rows()]),
        };
        let stores = filter_record_batch(queried, &stores)?;
        let segments = stores.column(0).as_primitive::<UInt64Type>().iter();
        let rows = stores.column(1).as_primitive::<UInt32Type>().iter();
        let places = segments
            .zip(rows)
            .map(|(segment, row)| Some((SegmentId(segment?), row?)));
        self.replaced.add(places, stored, &self.collection)
    }

    /// Takes rows that a DELETE found without reading them.
    pub fn remove(&mut self, rows: Removed) {
        for (segment, mut rows) in rows {
            if let Some(gone) = self.gone.get(&segment) {
                rows -= gone;
            }
            self.count += rows.len();
            *self.removed.entry(segment).or_default() |= rows;
        }
    }

    /// All columns of the collection, from the one at `first`.
    fn values(&self, batch: &RecordBatch, first: usize) -> Result<RecordBatch> {
        let columns = first..first + self.collection.schema.columns.len();
        Ok(batch.project(&columns.collect::<Vec<_>>())?)
    }

    /// The rows that change, as the query gave them and as they become.
    fn merge(&mut self, batch: &RecordBatch, merge: Merge) -> Result<(RecordBatch, RecordBatch)> {
        let first = self.operation.address_columns();
        let changes = actions(batch, first, |action| action != Action::Nothing.number());
        if merge.by_key.is_some() {
            let brought = self.values(batch, first)?;
            let proposed = self.proposed.as_mut();
            proposed.map_or(Ok(()), |proposed| proposed.add(&brought, &changes))?;
        }
        let queried = filter_record_batch(batch, &changes)?;
        self.remove_matched(&queried)?;
        let own = self.collection.schema.columns.len();
        let mut sets = Vec::with_capacity(merge.sets);
        for set in 0..merge.sets {
            let action = Action::Store(set).number();
            let rows = filter_record_batch(&queried, &actions(&queried, first, |a| a == action))?;
            let values = self.values(&rows, first + set * own)?;
            sets.push(self.assignment.batch(&values).map_err(|e| e.error)?);
        }
        let sets: Vec<&RecordBatch> = sets.iter().collect();
        let places = places_in_sets(&queried, first, merge.sets);
        let stored = match sets.as_slice() {
            [] => RecordBatch::new_empty(Arc::clone(self.assignment.schema())),
            sets => interleave_record_batch(sets, &places)?,
        };
        Ok((queried, stored))
    }

    /// Removes the rows that have addresses.
    fn remove_matched(&mut self, changed: &RecordBatch) -> Result<()> {
        let is_matched = is_not_null(changed.column(0))?;
        let matched = filter_record_batch(changed, &is_matched)?;
        let once = self.take_addresses(&matched)?;
        if once.num_rows() == matched.num_rows() {
            return Ok(());
        }
        let message = "MERGE command cannot affect row a second time";
        let hint = "Ensure that not more than one source row matches any one target row.";
        Err(Error::invalid(sqlstate::CARDINALITY_VIOLATION, message).with_hint(hint))
    }

    /// Adds the addresses of the rows to those that are removed, and leaves out rows that were there already: a join may
    /// find a row more than once.
    fn take_addresses(&mut self, rows: &RecordBatch) -> Result<RecordBatch> {
        let segments = rows.column(0).as_primitive::<UInt64Type>().values();
        let places = rows.column(1).as_primitive::<UInt32Type>().values();
        let first: BooleanArray = segments
            .iter()
            .zip(places.iter())
            .map(|(segment, row)| {
                let segment = SegmentId(*segment);
                let gone = self.gone.get(&segment);
                let is_gone = gone.is_some_and(|gone| gone.contains(*row));
                let rows = self.removed.entry(segment).or_default();
                Some(!is_gone && rows.insert(*row))
            })
            .collect();
        if first.true_count() == rows.num_rows() {
            return Ok(rows.clone());
        }
        Ok(filter_record_batch(rows, &first)?)
    }

    /// Ends the rows.
    ///
    /// # Errors
    /// 21000 when a key was changed twice, and those of [`Sink::finish`].
    pub async fn finish(self) -> Result<Changed> {
        self.proposed.map_or(Ok(()), Proposed::check)?;
        Ok(Changed {
            new: self.sink.finish().await?.in_place_of(self.replaced),
            removed: Arc::new(self.removed),
            count: self.count,
        })
    }
}

/// Of each row whether its action, which stands before the column at `first`, is one of those.
fn actions(batch: &RecordBatch, first: usize, is: impl Fn(i32) -> bool) -> BooleanArray {
    let actions = batch.column(first - 1).as_primitive::<Int32Type>().values();
    actions.iter().map(|action| Some(is(*action))).collect()
}

/// For each row that is stored its set, and its place among the rows of the set.
fn places_in_sets(batch: &RecordBatch, first: usize, sets: usize) -> Vec<(usize, usize)> {
    let actions = batch.column(first - 1).as_primitive::<Int32Type>().values();
    let mut next = vec![0; sets];
    let stored = actions.iter().filter_map(|action| {
        let set = usize::try_from(action - Action::Store(0).number()).ok()?;
        let place = next.get_mut(set)?;
        *place += 1;
        Some((set, *place - 1))
    });
    stored.collect()
}

/// The keys that INSERT .. ON CONFLICT DO UPDATE brought, in order.
struct Proposed {
    columns: KeyColumns,
    /// With whether the row of the key was changed then.
    keys: Vec<(u128, bool)>,
}

impl Proposed {
    fn try_new(collection: &Collection, key: KeyId) -> Result<Self> {
        Ok(Self {
            columns: KeyColumns::of(collection, key)?,
            keys: Vec::new(),
        })
    }

    fn add(&mut self, brought: &RecordBatch, changes: &BooleanArray) -> Result<()> {
        let hashes = self.columns.hash(&self.columns.of_rows(brought)?)?;
        let changes = changes.iter().map(|change| change == Some(true));
        self.keys.extend(hashes.into_iter().zip(changes));
        Ok(())
    }

    /// That no key came again after its row was changed: which of them would come last is not told by anything.
    fn check(mut self) -> Result<()> {
        self.keys.sort_by_key(|(hash, _)| *hash);
        let twice = |pair: &[(u128, bool)]| pair[0].0 == pair[1].0 && pair[0].1;
        if !self.keys.windows(2).any(twice) {
            return Ok(());
        }
        let message = "ON CONFLICT DO UPDATE command cannot affect row a second time";
        let hint = "Ensure that no rows proposed for insertion within the same command have \
            duplicate constrained values.";
        Err(Error::invalid(sqlstate::CARDINALITY_VIOLATION, message).with_hint(hint))
    }
}
