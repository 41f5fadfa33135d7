//! What a statement that changes rows answers.

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt64Array};
use datafusion::common::Result as DataFusionResult;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use futures::{Stream, StreamExt, stream};

use super::count_schema;
use crate::error::Result;

/// The rows of an answer: they wait for the commit.
pub(super) struct Answer {
    batches: Vec<RecordBatch>,
    /// Where rows that RETURNING makes are counted.
    memory: Option<MemoryReservation>,
}

impl Answer {
    /// How many rows were changed.
    ///
    /// # Errors
    /// None in practice.
    pub fn count(count: u64) -> Result<Self> {
        let count = UInt64Array::from(vec![count]);
        Ok(Self {
            batches: vec![RecordBatch::try_new(count_schema(), vec![Arc::new(count)])?],
            memory: None,
        })
    }

    /// What RETURNING makes of the rows, counted in `pool`.
    ///
    /// # Errors
    /// Those of the stream; 53200 when the pool has no room for a batch.
    pub async fn collect(
        mut rows: SendableRecordBatchStream,
        pool: &Arc<dyn MemoryPool>,
    ) -> Result<Self> {
        let memory = MemoryConsumer::new("RETURNING").register(pool);
        let mut batches = Vec::new();
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            memory.try_grow(batch.get_array_memory_size())?;
            batches.push(batch);
        }
        Ok(Self {
            batches,
            memory: Some(memory),
        })
    }

    /// The rows, and their memory.
    pub fn into_parts(self) -> (Vec<RecordBatch>, Option<MemoryReservation>) {
        (self.batches, self.memory)
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
