//! What a statement that changes rows answers.

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt64Array};
use datafusion::common::Result as DataFusionResult;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use futures::{Stream, StreamExt, stream};

use super::count_schema;
use crate::error::Result;

/// The rows of an answer: they wait for the commit, in memory that is counted.
pub(super) struct Answer {
    batches: Vec<RecordBatch>,
    memory: MemoryReservation,
}

impl Answer {
    /// Without rows, counted in `pool`.
    pub fn new(pool: &Arc<dyn MemoryPool>) -> Self {
        Self {
            batches: Vec::new(),
            memory: MemoryConsumer::new("RETURNING").register(pool),
        }
    }

    /// Adds a batch.
    ///
    /// # Errors
    /// 53200 when the pool has no room for it.
    pub fn push(&mut self, batch: RecordBatch) -> Result<()> {
        self.memory.try_grow(batch.get_array_memory_size())?;
        self.batches.push(batch);
        Ok(())
    }

    /// Adds how many rows were changed.
    ///
    /// # Errors
    /// Those of [`Answer::push`].
    pub fn push_count(&mut self, count: u64) -> Result<()> {
        let count = UInt64Array::from(vec![count]);
        self.push(RecordBatch::try_new(count_schema(), vec![Arc::new(count)])?)
    }

    /// Adds what a stream gives.
    ///
    /// # Errors
    /// Those of the stream and of [`Answer::push`].
    pub async fn collect(&mut self, mut rows: SendableRecordBatchStream) -> Result<()> {
        while let Some(batch) = rows.next().await {
            self.push(batch?)?;
        }
        Ok(())
    }

    /// The batches; their memory is held until the last is taken.
    pub fn into_stream(self) -> impl Stream<Item = DataFusionResult<RecordBatch>> {
        let Self { batches, memory } = self;
        stream::iter(batches).map(move |batch| {
            // Some of it is there until the last batch is taken.
            let _held = &memory;
            Ok(batch)
        })
    }
}
