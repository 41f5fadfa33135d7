//! What a statement does with the rows of its query.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{UInt32Type, UInt64Type};
use roaring::RoaringBitmap;

use super::{Operation, Target};
use crate::catalog::keys::Removed;
use crate::catalog::sink::{NewRows, Sink};
use crate::error::Result;
use crate::storage::collection::Collection;
use crate::storage::schema::SegmentId;

/// Gathers what one execution of a statement changes.
pub(super) struct Writer {
    operation: Operation,
    collection: Arc<Collection>,
    sink: Sink,
    removed: Removed,
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
    /// A writer of rows of the collection as it is now.
    ///
    /// # Errors
    /// Those of [`Sink::try_new`].
    pub fn try_new(
        target: &Target,
        operation: Operation,
        collection: Arc<Collection>,
    ) -> Result<Self> {
        Ok(Self {
            operation,
            sink: Sink::try_new(
                Arc::clone(&target.engine),
                Arc::clone(&collection),
                target.checks.clone(),
            )?,
            collection,
            removed: Removed::new(),
            count: 0,
        })
    }

    /// Takes rows of the query, and gives back those that count.
    ///
    /// # Errors
    /// Those of [`Sink::push`].
    pub async fn push(&mut self, batch: &RecordBatch) -> Result<ChangedRows> {
        let queried = match self.operation {
            Operation::Insert => batch.clone(),
            Operation::Update | Operation::Delete => take_addresses(batch, &mut self.removed)?,
        };
        self.count += queried.num_rows() as u64;
        let stored = match self.operation {
            Operation::Delete => None,
            Operation::Insert | Operation::Update => {
                let values: Vec<usize> = self.operation.values(&self.collection).collect();
                Some(self.sink.push(&queried.project(&values)?).await?)
            }
        };
        Ok(ChangedRows { queried, stored })
    }

    /// Ends the rows.
    ///
    /// # Errors
    /// Those of [`Sink::finish`].
    pub async fn finish(self) -> Result<Changed> {
        Ok(Changed {
            new: self.sink.finish().await?,
            removed: Arc::new(self.removed),
            count: self.count,
        })
    }
}

/// Adds the addresses of the rows to `removed`, and leaves out rows that were there already: a join may find a row
/// more than once.
fn take_addresses(
    rows: &RecordBatch,
    removed: &mut HashMap<SegmentId, RoaringBitmap>,
) -> Result<RecordBatch> {
    let segments = rows.column(0).as_primitive::<UInt64Type>().values();
    let places = rows.column(1).as_primitive::<UInt32Type>().values();
    let first: BooleanArray = segments
        .iter()
        .zip(places.iter())
        .map(|(segment, row)| {
            let rows = removed.entry(SegmentId(*segment)).or_default();
            Some(rows.insert(*row))
        })
        .collect();
    if first.true_count() == rows.num_rows() {
        return Ok(rows.clone());
    }
    Ok(filter_record_batch(rows, &first)?)
}
