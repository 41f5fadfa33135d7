//! Rows on their way into a collection: few travel inside the commit, many become sealed segments at once.

mod segment_file;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use roaring::RoaringBitmap;
use tokio::task::JoinHandle;

pub(super) use self::segment_file::{SegmentFile, commit_with_files, write_segment};
use super::assign::Assignment;
use super::checks::Checks;
use super::keys::{NewKeys, Removed, expired, hashes, look_up};
use super::transaction::{OpenTransaction, Written};
use super::zone::Zone;
use crate::error::{Error, Result, sqlstate};
use crate::storage::change::{Append, Change};
use crate::storage::collection::Collection;
use crate::storage::engine::Engine;
use crate::storage::growing::batch_bytes;
use crate::storage::schema::{SegmentId, Version};
use crate::storage::snapshot::Snapshot;
use crate::storage::transaction::{Durability, Transaction};

/// Takes the rows of one statement for one collection.
///
/// Nothing of it can be seen before [`NewRows::commit`]; when it is dropped before, its files go.
pub struct Sink {
    engine: Arc<Engine>,
    collection: Arc<Collection>,
    assignment: Assignment,
    checks: Option<Arc<Checks>>,
    /// The unique keys of the collection.
    keys: Vec<NewKeys>,
    rows: u64,
    waiting: Waiting,
    files: Vec<SegmentFile>,
    /// The segment that is being written, while the next one is collected: two segments in memory at most.
    writing: Option<JoinHandle<Result<SegmentFile>>>,
}

#[derive(Default)]
struct Waiting {
    batches: Vec<RecordBatch>,
    rows: u64,
    bytes: u64,
}

impl Sink {
    /// A sink for rows of the collection as it is now, which must pass its checks; times are told by the clock of the zone.
    ///
    /// # Errors
    /// 0A000 for a unique key of a type that has no order.
    pub fn try_new(
        engine: Arc<Engine>,
        collection: Arc<Collection>,
        checks: Option<Arc<Checks>>,
        zone: Zone,
    ) -> Result<Self> {
        let schema = Arc::clone(&collection.schema);
        Ok(Self {
            assignment: Assignment::new(&collection.name, schema, zone),
            keys: NewKeys::all(&collection)?,
            checks,
            engine,
            collection,
            rows: 0,
            waiting: Waiting::default(),
            files: Vec::new(),
            writing: None,
        })
    }

    /// Takes rows whose columns are those of the collection in order, of any types that can be assigned, and gives them
    /// back as they are stored.
    ///
    /// # Errors
    /// The SQLSTATE of Postgres for the first value that does not fit, 23502 for a NULL where none may be, 23514 for a
    /// row that does not pass a check, 58030 or 53100 for what the disk says.
    pub async fn push(&mut self, rows: &RecordBatch) -> Result<RecordBatch> {
        let assigned = self.assignment.batch(rows).map_err(|e| e.error)?;
        if let Some(checks) = &self.checks {
            checks.check(&assigned)?;
        }
        for keys in &mut self.keys {
            keys.add(&assigned)?;
        }
        self.rows += assigned.num_rows() as u64;
        let mut rest = assigned.clone();
        while rest.num_rows() > 0 {
            let fits = self.rows_that_fit(&rest);
            self.waiting.push(rest.slice(0, fits));
            rest = rest.slice(fits, rest.num_rows() - fits);
            if self.is_full() {
                self.write_waiting().await?;
            }
        }
        Ok(assigned)
    }

    /// Ends the statement's rows.
    ///
    /// # Errors
    /// 23505 when a key came twice, 58030 or 53100 for what the disk says.
    pub async fn finish(mut self) -> Result<NewRows> {
        for keys in &mut self.keys {
            keys.check_unique(&self.waiting.batches)?;
        }
        let in_files = !self.files.is_empty() || self.writing.is_some();
        let settings = self.collection.options.settings(&self.engine.settings);
        let large = self.waiting.bytes > settings.growing_max_size.0;
        let mut appended = None;
        if in_files || large {
            self.write_waiting().await?;
            self.end_writing().await?;
        } else if self.waiting.rows > 0 {
            appended = Some(concat_batches(
                self.assignment.schema(),
                &self.waiting.batches,
            )?);
        }
        Ok(NewRows {
            engine: self.engine,
            collection: self.collection,
            rows: self.rows,
            appended,
            files: self.files,
            keys: self.keys.into(),
        })
    }

    /// How many rows of a batch the waiting segment has room for; at least one.
    fn rows_that_fit(&self, batch: &RecordBatch) -> usize {
        let options = &self.collection.options;
        let rows = batch.num_rows() as u64;
        let row_bytes = (batch_bytes(batch) / rows).max(1);
        let bytes_left = options.segment_bytes_max.saturating_sub(self.waiting.bytes);
        let rows_left = options.segment_rows_max.saturating_sub(self.waiting.rows);
        rows.min(rows_left)
            .min(bytes_left.div_ceil(row_bytes))
            .max(1) as usize
    }

    fn is_full(&self) -> bool {
        let options = &self.collection.options;
        self.waiting.rows >= options.segment_rows_max
            || self.waiting.bytes >= options.segment_bytes_max
    }

    /// Begins to write the waiting rows as a segment, when the one before is done.
    async fn write_waiting(&mut self) -> Result<()> {
        self.end_writing().await?;
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.rows == 0 {
            return Ok(());
        }
        let (engine, collection) = (Arc::clone(&self.engine), Arc::clone(&self.collection));
        let write = move || write_segment(engine, &collection, &waiting.batches);
        self.writing = Some(tokio::task::spawn_blocking(write));
        Ok(())
    }

    async fn end_writing(&mut self) -> Result<()> {
        if let Some(writing) = self.writing.take() {
            let file = writing
                .await
                .map_err(|e| Error::internal(format!("the writer of a segment ended: {e}")))??;
            self.files.push(file);
        }
        Ok(())
    }
}

impl Waiting {
    fn push(&mut self, batch: RecordBatch) {
        self.rows += batch.num_rows() as u64;
        self.bytes += batch_bytes(&batch);
        self.batches.push(batch);
    }
}

/// The rows of a statement, ready to be committed.
pub struct NewRows {
    engine: Arc<Engine>,
    collection: Arc<Collection>,
    rows: u64,
    appended: Option<RecordBatch>,
    files: Vec<SegmentFile>,
    keys: Arc<[NewKeys]>,
}

impl NewRows {
    /// How many rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Commits the rows, and the removal of others, as of `snapshot`. After a conflict it can be tried again with a
    /// newer snapshot; after other errors there is nothing left of it.
    ///
    /// # Errors
    /// 23505 when a live row has one of the keys, 40001 when a concurrent commit won (kind `Conflict`) or altered the
    /// collection (kind `InvalidInput`), 42P01 when one dropped it, and the errors of [`Committer::commit`](crate::storage::committer::Committer::commit).
    pub async fn commit(
        &mut self,
        snapshot: &Snapshot,
        removed: &Arc<Removed>,
        durability: Durability,
    ) -> Result<()> {
        let removed = self.check_keys(self.current(snapshot)?, removed).await?;
        let mut transaction = self.transaction(snapshot.version(), &removed);
        transaction.durability = durability;
        let files = std::mem::take(&mut self.files);
        let committed = commit_with_files(&self.engine, transaction, files).await;
        committed.map_err(|(error, files)| {
            self.files = files;
            error
        })
    }

    /// Makes the rows, and the removal of others, part of a transaction.
    ///
    /// # Errors
    /// 23505 when a live row has one of the keys, 42P01 when the transaction dropped the collection, 53200 when there
    /// is no memory for the rows, 58030 or 53100 for what the disk says.
    pub async fn join(
        mut self,
        transaction: &OpenTransaction,
        removed: &Arc<Removed>,
    ) -> Result<()> {
        let snapshot = transaction.snapshot();
        let removed = &self.check_keys(self.current(&snapshot)?, removed).await?;
        let has_keys = self.rows > 0 && !self.keys.is_empty();
        transaction.write(Written {
            collection: self.collection.id,
            removed,
            appended: self.appended.take(),
            files: std::mem::take(&mut self.files),
            keys: has_keys.then(|| hashes(&self.keys)),
        })?;
        transaction.seal_if_large(self.collection.id).await
    }

    /// The collection with the columns for which the rows were made.
    fn current<'a>(&self, snapshot: &'a Snapshot) -> Result<&'a Arc<Collection>> {
        let name = &self.collection.name;
        // Neither gets better by trying again.
        let current = snapshot.collection_by_id(self.collection.id);
        let current = current.ok_or_else(|| {
            let message = format!("relation \"{name}\" was dropped by a concurrent commit");
            Error::not_found(sqlstate::UNDEFINED_TABLE, message)
        })?;
        let known = self.collection.unique_keys();
        let mut keys = current.unique_keys().into_iter();
        if current.schema != self.collection.schema || keys.any(|key| !known.contains(&key)) {
            let message = format!("\"{name}\" was altered by a concurrent commit");
            return Err(Error::invalid(sqlstate::SERIALIZATION_FAILURE, message)
                .with_hint("Run the statement again."));
        }
        Ok(current)
    }

    /// That the keys are free. Rows that have expired give theirs up: the answer has them too among those to be removed.
    async fn check_keys(
        &self,
        current: &Arc<Collection>,
        removed: &Arc<Removed>,
    ) -> Result<Arc<Removed>> {
        let error = match self.check_absent(current, removed).await {
            Err(error) if error.sqlstate() == sqlstate::UNIQUE_VIOLATION => error,
            checked => return checked.map(|()| Arc::clone(removed)),
        };
        let expired = expired(&self.engine, current).await?.ok_or(error)?;
        let mut all = Removed::clone(removed);
        for (segment, rows) in expired {
            *all.entry(segment).or_default() |= rows;
        }
        let all = Arc::new(all);
        self.check_absent(current, &all).await?;
        Ok(all)
    }

    async fn check_absent(&self, current: &Arc<Collection>, removed: &Arc<Removed>) -> Result<()> {
        if self.keys.is_empty() || self.rows == 0 {
            return Ok(());
        }
        let mut are_at_hand = true;
        for keys in self.keys.iter() {
            are_at_hand &= keys.are_at_hand(&self.engine, current)?;
        }
        let keys = Arc::clone(&self.keys);
        let (engine, current) = (Arc::clone(&self.engine), Arc::clone(current));
        let removed = Arc::clone(removed);
        let check = move || {
            let mut keys = keys.iter();
            keys.try_for_each(|keys| keys.check_absent(&engine, &current, &removed))
        };
        look_up(are_at_hand, check).await
    }

    fn transaction(&self, read_version: Version, removed: &Removed) -> Transaction {
        let id = self.collection.id;
        let mut deletes: Vec<(SegmentId, &RoaringBitmap)> = removed
            .iter()
            .map(|(segment, rows)| (*segment, rows))
            .collect();
        deletes.sort_unstable_by_key(|(segment, _)| *segment);
        let deletes = deletes.into_iter();
        let mut changes: Vec<Change> = deletes
            .map(|(segment, rows)| Change::Delete(id, segment, rows.clone()))
            .collect();
        if !self.files.is_empty() {
            let segments = self.files.iter().map(|f| f.segment().clone()).collect();
            changes.push(Change::AddSegments(id, segments));
        }
        if let Some(rows) = &self.appended {
            changes.push(Change::Append(Append {
                collection: id,
                segment: SegmentId(0),
                rows: rows.clone(),
            }));
        }
        let mut transaction = Transaction::new(read_version, changes);
        if self.rows > 0 && !self.keys.is_empty() {
            transaction.keys.push((id, hashes(&self.keys)));
        }
        transaction
    }
}
