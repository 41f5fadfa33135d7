//! Rows on their way into a collection: few travel inside the commit, many become sealed segments at once.

mod new_rows;
mod segment_file;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use tokio::task::JoinHandle;

pub use self::new_rows::NewRows;
pub(super) use self::segment_file::{SegmentFile, commit_with_files, write_segment};
use super::assign::Assignment;
use super::foreign_keys::Brought;
use super::keys::NewKeys;
use super::row_rules::RowRules;
use super::zone::Zone;
use crate::error::{Error, Result};
use crate::storage::collection::Collection;
use crate::storage::engine::Engine;
use crate::storage::growing::batch_bytes;

/// Takes the rows of one statement for one collection.
///
/// Nothing of it can be seen before [`NewRows::commit`]; when it is dropped before, its files go.
pub struct Sink {
    engine: Arc<Engine>,
    collection: Arc<Collection>,
    assignment: Assignment,
    rules: RowRules,
    /// The unique keys of the collection.
    keys: Vec<NewKeys>,
    /// The keys that its foreign keys refer to.
    brought: Vec<Brought>,
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
    /// A sink for rows of the collection as it is now, by its rules; times are told by the clock of the zone.
    ///
    /// # Errors
    /// 0A000 for a unique key of a type that has no order.
    pub fn try_new(
        engine: Arc<Engine>,
        collection: Arc<Collection>,
        rules: RowRules,
        zone: Zone,
    ) -> Result<Self> {
        Ok(Self {
            assignment: Assignment::new(&collection, rules.generated.clone(), zone),
            keys: NewKeys::all(&collection)?,
            brought: Brought::all(&collection)?,
            rules,
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
        self.rules.check(&assigned)?;
        for keys in &mut self.keys {
            keys.add(&assigned)?;
        }
        for brought in &mut self.brought {
            brought.add(&assigned)?;
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
            brought: self.brought.into(),
            replaced: Arc::default(),
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
