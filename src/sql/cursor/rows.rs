//! The rows of one cursor, and its place among them.

use std::collections::VecDeque;
use std::ops::Range;

use arrow::array::UInt32Array;
use arrow::compute::take_record_batch;
use arrow::record_batch::RecordBatch;
use datafusion::dataframe::DataFrame;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::MemoryReservation;
use futures::StreamExt;

use crate::error::{Error, Result, sqlstate};

/// What a cursor that said nothing of scrolling keeps, in bytes.
const CASUAL_BYTES_MAX: usize = 16 << 20;
/// What a cursor with SCROLL keeps, in bytes.
const SCROLL_BYTES_MAX: usize = 256 << 20;

/// Whether a cursor goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scroll {
    /// NO SCROLL: never.
    Never,
    /// Neither was said: while the rows so far are few.
    Cheaply,
    /// SCROLL: always, or an error.
    Always,
}

/// Where rows come from.
enum Source {
    /// Nothing was fetched yet.
    Waiting(Box<DataFrame>),
    /// Rows that are being made.
    Running(SendableRecordBatchStream),
    /// There are no more.
    Ended,
}

/// The rows of a cursor, numbered from 1.
pub struct Rows {
    source: Source,
    scroll: Scroll,
    /// Rows that were read, without gaps.
    kept: VecDeque<RecordBatch>,
    /// How many rows were read and are not kept, all before those that are.
    dropped: u64,
    /// How many rows were read.
    read: u64,
    /// The row that the cursor stands on: 0 is before the first, `read + 1` of an ended source behind the last.
    place: u64,
    /// The memory of `kept`.
    memory: MemoryReservation,
}

impl Rows {
    /// The rows of a query that has not run yet.
    pub fn new(query: DataFrame, scroll: Scroll, memory: MemoryReservation) -> Self {
        Self {
            source: Source::Waiting(Box::new(query)),
            scroll,
            kept: VecDeque::new(),
            dropped: 0,
            read: 0,
            place: 0,
            memory,
        }
    }

    /// The row that the cursor stands on.
    pub fn place(&self) -> u64 {
        self.place
    }

    /// Goes forward over at most `most` rows, and answers with some of them: `None` behind the last.
    ///
    /// # Errors
    /// Those of the query; 53200 where rows that must be kept are too many.
    pub async fn forward(&mut self, most: u64) -> Result<Option<RecordBatch>> {
        let next = self.place + 1;
        while next > self.read {
            if !self.read_more().await? {
                self.place = self.read + 1;
                return Ok(None);
            }
        }
        let rows = self.slice(next, most);
        if let Some(rows) = &rows {
            self.place += rows.num_rows() as u64;
            self.forget();
        }
        Ok(rows)
    }

    /// Goes back over at most `most` rows, and answers with some of them, the last first: `None` before the first.
    ///
    /// # Errors
    /// 55000 where the rows are not kept.
    pub fn backward(&mut self, most: u64) -> Result<Option<RecordBatch>> {
        self.check_scroll()?;
        let last = self.place.min(self.read + 1).saturating_sub(1);
        if last == 0 {
            self.place = 0;
            return Ok(None);
        }
        let mut end = self.dropped;
        let batch = self.kept.iter().find(|batch| {
            end += batch.num_rows() as u64;
            end >= last
        });
        let Some(batch) = batch else {
            return Err(only_forward());
        };
        let begin = end - batch.num_rows() as u64;
        let rows = most.min(last - begin);
        self.place = last - rows + 1;
        let from = |row: u64| (row - begin - 1) as u32;
        let rows: UInt32Array = (self.place..=last).rev().map(from).collect();
        Ok(Some(take_record_batch(batch, &rows)?))
    }

    /// The row that the cursor stands on, again.
    ///
    /// # Errors
    /// 55000 where the rows are not kept.
    pub fn again(&self) -> Result<Option<RecordBatch>> {
        if self.place == 0 || self.place > self.read {
            return Ok(None);
        }
        self.check_scroll()?;
        Ok(self.slice(self.place, 1))
    }

    /// Goes to before the row `next`, or behind the last.
    ///
    /// # Errors
    /// Those of the query; 55000 for a row before this one where the rows are not kept.
    pub async fn seek(&mut self, next: u64) -> Result<()> {
        if next <= self.place {
            self.check_scroll()?;
            self.place = next - 1;
            return Ok(());
        }
        while self.place + 1 < next {
            if self.forward(next - 1 - self.place).await?.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// Goes behind the last row; answers how many there are.
    ///
    /// # Errors
    /// Those of the query; 53200 where rows that must be kept are too many.
    pub async fn seek_end(&mut self) -> Result<u64> {
        while self.forward(u64::MAX).await?.is_some() {}
        Ok(self.read)
    }

    /// Reads the next rows of the source, if there are any.
    async fn read_more(&mut self) -> Result<bool> {
        if let Source::Waiting(_) = self.source {
            let Source::Waiting(query) = std::mem::replace(&mut self.source, Source::Ended) else {
                return Ok(false);
            };
            self.source = Source::Running(query.execute_stream().await?);
        }
        let Source::Running(stream) = &mut self.source else {
            return Ok(false);
        };
        let Some(batch) = stream.next().await else {
            self.source = Source::Ended;
            return Ok(false);
        };
        self.keep(batch?)?;
        Ok(true)
    }

    fn keep(&mut self, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let bytes = batch.get_array_memory_size();
        if self.scroll == Scroll::Cheaply && self.memory.size() + bytes > CASUAL_BYTES_MAX {
            self.scroll = Scroll::Never;
            self.forget();
        }
        if self.scroll == Scroll::Always && self.memory.size() + bytes > SCROLL_BYTES_MAX {
            let message = format!(
                "the cursor keeps more than {} MiB of rows to go back to",
                SCROLL_BYTES_MAX >> 20
            );
            return Err(Error::limit(sqlstate::OUT_OF_MEMORY, message)
                .with_hint("Declare it with NO SCROLL."));
        }
        self.memory.try_grow(bytes)?;
        self.read += batch.num_rows() as u64;
        self.kept.push_back(batch);
        Ok(())
    }

    /// Lets go of rows that nobody can go back to.
    fn forget(&mut self) {
        if self.scroll != Scroll::Never {
            return;
        }
        while let Some(first) = self.kept.front() {
            let end = self.dropped + first.num_rows() as u64;
            if end > self.place {
                return;
            }
            self.dropped = end;
            self.memory.shrink(first.get_array_memory_size());
            self.kept.pop_front();
        }
    }

    /// At most `most` kept rows from `first` on.
    fn slice(&self, first: u64, most: u64) -> Option<RecordBatch> {
        let mut rows = Range {
            start: self.dropped,
            end: self.dropped,
        };
        for batch in &self.kept {
            rows = rows.end..rows.end + batch.num_rows() as u64;
            if first > rows.start && first <= rows.end {
                let offset = first - rows.start - 1;
                let length = most.min(batch.num_rows() as u64 - offset);
                return Some(batch.slice(offset as usize, length as usize));
            }
        }
        None
    }

    fn check_scroll(&self) -> Result<()> {
        match self.scroll {
            Scroll::Never => Err(only_forward()),
            Scroll::Cheaply | Scroll::Always => Ok(()),
        }
    }
}

fn only_forward() -> Error {
    Error::invalid(
        sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE,
        "cursor can only scan forward",
    )
    .with_hint("Declare it with SCROLL option to enable backward scan.")
}
