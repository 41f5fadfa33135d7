//! A statement that runs: a task on the runtime of queries makes its answer, the connection writes it.
//!
//! ```text
//! connection (network runtime)                 task (query runtime)
//!   start ───────────────────────────────────▶ plan, execute
//!   write  ◀── Event::Bytes (bounded channel) ─ encode rows as they come
//!   feed   ◀── Event::CopyIn ────────────────── COPY .. FROM STDIN
//!   end    ◀── Ended (tag, or the error) ────── last row
//! ```
//! The task never touches the socket and the connection never computes, so a cancel request, a time limit or a
//! vanished client stops the statement at once, whatever it computes.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BinaryArray};
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use bytes::{BufMut, BytesMut};
use datafusion::common::ScalarValue;
use futures::{FutureExt, StreamExt};
use pgwire::messages::copy::{CopyDone, CopyOutResponse};
use tokio::sync::mpsc;

use super::respond::row_description;
use super::transport::put;
use crate::error::{Error, Result};
use crate::sql::format::{ClientEncoding, Format, RowEncoder, Style};
use crate::sql::{CopyFormat, CopyInput, CopyShape, Outcome, Prepared, Recall, Session, Tag};

/// Bytes of rows that a task gathers before it hands them over.
const CHUNK_BYTES: usize = 32 * 1024;
/// Chunks that wait for the socket; then the task waits.
pub const CHUNKS_MAX: usize = 4;

/// What a task tells its connection.
pub enum Event {
    /// Encoded messages.
    Bytes(BytesMut),
    /// The statement wants the client's data.
    CopyIn(CopyShape, CopyInput),
}

/// How a statement ended.
pub struct Ended {
    /// Messages that were not handed over yet.
    pub bytes: BytesMut,
    /// What to say at last.
    pub end: Result<End>,
}

/// The good ends of a statement.
pub enum End {
    /// It is done: the command tag.
    Complete(String),
    /// The row limit was reached: the rows that are left.
    Suspended(Box<Rows>),
}

/// Which results a client wants, and how.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The formats of the columns: none (text), one for all, or one each.
    pub formats: Vec<Format>,
    /// Whether the columns are described before the rows (the simple protocol).
    pub describe: bool,
    /// The most rows of this run; `None` is all.
    pub rows_max: Option<u64>,
}

impl Answer {
    /// One format per column.
    ///
    /// # Errors
    /// 08P01 when there are several formats, but not one per column.
    pub fn formats_of(formats: &[Format], columns: usize) -> Result<Vec<Format>> {
        match formats {
            [] => Ok(vec![Format::Text; columns]),
            [all] => Ok(vec![*all; columns]),
            each if each.len() == columns => Ok(each.to_vec()),
            each => Err(super::frame::violation(format!(
                "bind message has {} result formats but query has {columns} columns",
                each.len()
            ))),
        }
    }
}

/// An answer whose rows are read and encoded.
pub struct Rows {
    outcome: Outcome,
    encoder: RowEncoder,
    /// The batch being sent, and its first row that was not.
    batch: Option<(RecordBatch, usize)>,
}

/// Starts a statement and sends its answer.
pub async fn start(
    session: Session,
    prepared: Arc<Prepared>,
    parameters: Vec<ScalarValue>,
    answer: Answer,
    events: mpsc::Sender<Event>,
) -> Ended {
    let mut sender = Sender::new(events);
    let end = async {
        let outcome = session.execute(&prepared, parameters).await?;
        sender.outcome(outcome, &answer, &session.style()).await
    };
    let end = end.await;
    Ended {
        bytes: sender.bytes,
        end,
    }
}

/// Starts and answers one statement of the simple protocol; parses and plans it unless the session knows it.
pub async fn start_text(
    session: Session,
    text: String,
    recall: Recall,
    events: mpsc::Sender<Event>,
) -> Ended {
    let answer = Answer {
        formats: Vec::new(),
        describe: true,
        rows_max: None,
    };
    let mut sender = Sender::new(events);
    let end = async {
        let outcome = session.run_again(&text, recall).await?;
        sender.outcome(outcome, &answer, &session.style()).await
    };
    let end = end.await;
    Ended {
        bytes: sender.bytes,
        end,
    }
}

/// Sends more rows of a suspended answer.
pub async fn resume(rows: Box<Rows>, rows_max: Option<u64>, events: mpsc::Sender<Event>) -> Ended {
    let mut sender = Sender::new(events);
    let end = sender.rows(rows, rows_max).await;
    Ended {
        bytes: sender.bytes,
        end,
    }
}

/// Encodes an answer into chunks.
struct Sender {
    bytes: BytesMut,
    /// Whether there is more in `bytes` than the description of rows, which may wait for the first of them.
    has_rows: bool,
    events: mpsc::Sender<Event>,
}

impl Sender {
    fn new(events: mpsc::Sender<Event>) -> Self {
        Self {
            bytes: BytesMut::new(),
            has_rows: false,
            events,
        }
    }

    async fn outcome(
        &mut self,
        mut outcome: Outcome,
        answer: &Answer,
        style: &Style,
    ) -> Result<End> {
        match outcome.tag.clone() {
            Tag::Rows | Tag::Shown(_) | Tag::Fetched { .. } | Tag::Returned(_) => {
                let columns = outcome.schema.fields().len();
                let mut formats = Answer::formats_of(&answer.formats, columns)?;
                // The simple protocol cannot ask for a format: the cursor does.
                if answer.describe && matches!(outcome.tag, Tag::Fetched { binary: true }) {
                    formats.fill(Format::Binary);
                }
                if answer.describe {
                    let description = row_description(&outcome.schema, &formats);
                    put(&mut self.bytes, &description, style.encoding)?;
                }
                let encoder = RowEncoder::try_new(&outcome.schema, &formats, style)?;
                let rows = Rows {
                    outcome,
                    encoder,
                    batch: None,
                };
                self.rows(Box::new(rows), answer.rows_max).await
            }
            tag @ Tag::Count(_) => {
                let count = count(&mut outcome).await?;
                Ok(End::Complete(tag.text(count)))
            }
            tag @ Tag::Done(_) => {
                while let Some(batch) = outcome.stream.next().await {
                    batch?;
                }
                Ok(End::Complete(tag.text(0)))
            }
            Tag::CopyOut(shape) => self.copy_out(&mut outcome, shape).await,
            ref tag @ Tag::CopyIn(shape) => {
                let input = outcome.input.take();
                let input = input.ok_or_else(|| Error::internal("COPY FROM STDIN has no input"))?;
                self.send(Event::CopyIn(shape, input)).await;
                let count = count(&mut outcome).await?;
                Ok(End::Complete(tag.text(count)))
            }
        }
    }

    async fn rows(&mut self, mut rows: Box<Rows>, rows_max: Option<u64>) -> Result<End> {
        let rows_max = rows_max.unwrap_or(u64::MAX);
        let mut sent = 0;
        loop {
            if rows.batch.is_none() {
                match self.next(&mut rows.outcome).await? {
                    Some(batch) => {
                        rows.encoder.start(&batch)?;
                        rows.batch = Some((batch, 0));
                    }
                    None => return Ok(End::Complete(rows.outcome.tag.text(sent))),
                }
            }
            if sent == rows_max {
                return Ok(End::Suspended(rows));
            }
            sent += self.batch(&mut rows, rows_max - sent).await?;
        }
    }

    /// Encodes rows of the batch at hand, at most `rows_max`, and gives how many.
    async fn batch(&mut self, rows: &mut Rows, rows_max: u64) -> Result<u64> {
        let Some((batch, from)) = rows.batch.take() else {
            return Ok(0);
        };
        let left = batch.num_rows() - from;
        let count = left.min(usize::try_from(rows_max).unwrap_or(usize::MAX));
        self.has_rows = true;
        for row in from..from + count {
            let start = self.bytes.len();
            self.bytes.put_slice(b"D\0\0\0\0");
            let put = rows.encoder.put_row(row, &mut self.bytes);
            if let Err(e) = put.and_then(|()| end_message(&mut self.bytes, start)) {
                // A client reads the error behind the last whole row.
                self.bytes.truncate(start);
                return Err(e);
            }
            if self.bytes.len() >= CHUNK_BYTES {
                self.hand_over().await;
                // Encoding a large batch for a fast reader must not keep other tasks from running.
                tokio::task::consume_budget().await;
            }
        }
        if count < left {
            rows.batch = Some((batch, from + count));
        }
        Ok(count as u64)
    }

    async fn copy_out(&mut self, outcome: &mut Outcome, shape: CopyShape) -> Result<End> {
        let (format, columns, formats) = copy_formats(shape);
        let response = CopyOutResponse::new(format, columns, formats);
        put(&mut self.bytes, &response, ClientEncoding::default())?;
        self.has_rows = true;
        let mut sent = 0;
        while let Some(batch) = self.next(outcome).await? {
            let values: &BinaryArray = batch
                .column(0)
                .as_binary_opt()
                .ok_or_else(|| Error::internal("COPY TO STDOUT gave something else than bytes"))?;
            for value in values.iter().flatten() {
                let start = self.bytes.len();
                self.bytes.put_slice(b"d\0\0\0\0");
                self.bytes.put_slice(value);
                end_message(&mut self.bytes, start)?;
                if self.bytes.len() >= CHUNK_BYTES {
                    self.hand_over().await;
                }
            }
            sent += values.len() as u64;
        }
        put(&mut self.bytes, &CopyDone::new(), ClientEncoding::default())?;
        Ok(End::Complete(outcome.tag.text(shape.rows(sent))))
    }

    /// The next batch with rows. What is encoded already does not wait for it.
    async fn next(&mut self, outcome: &mut Outcome) -> Result<Option<RecordBatch>> {
        loop {
            let mut next = outcome.stream.next();
            let batch = match (&mut next).now_or_never() {
                Some(batch) => batch,
                None => {
                    if self.has_rows {
                        self.hand_over().await;
                    }
                    next.await
                }
            };
            match batch.transpose()? {
                Some(batch) if batch.num_rows() == 0 => {}
                other => return Ok(other),
            }
        }
    }

    async fn hand_over(&mut self) {
        if !self.bytes.is_empty() {
            let bytes = std::mem::take(&mut self.bytes);
            self.has_rows = false;
            self.send(Event::Bytes(bytes)).await;
        }
    }

    /// A connection that does not listen any more aborts the task, so that nobody misses the event.
    async fn send(&self, event: Event) {
        let _ended = self.events.send(event).await;
    }
}

/// Writes the length of the message that begins at `start`.
fn end_message(bytes: &mut BytesMut, start: usize) -> Result<()> {
    let length = bytes.len() - start - 1;
    let length = i32::try_from(length).map_err(|_| {
        let message = format!("a row of {length} bytes is above the protocol's limit of 2 GiB");
        Error::limit(crate::error::sqlstate::PROGRAM_LIMIT_EXCEEDED, message)
    })?;
    bytes[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// The one number that a counting statement answers.
async fn count(outcome: &mut Outcome) -> Result<u64> {
    let mut count = 0;
    while let Some(batch) = outcome.stream.next().await {
        let batch = batch?;
        let column = batch.columns().first();
        let column = column.ok_or_else(|| Error::internal("a count has no column"))?;
        if let Some(counts) = column.as_primitive_opt::<Int64Type>() {
            count += counts.iter().flatten().map(|n| n as u64).sum::<u64>();
        } else {
            let counts = arrow::compute::cast(column, &arrow::datatypes::DataType::UInt64)?;
            let counts = counts.as_primitive::<arrow::datatypes::UInt64Type>();
            count += counts.iter().flatten().sum::<u64>();
        }
    }
    Ok(count)
}

/// The format of a COPY as the protocol writes it: of all, how many columns, of each.
pub fn copy_formats(shape: CopyShape) -> (i8, i16, Vec<i16>) {
    let format = match shape.format {
        CopyFormat::Text => 0,
        CopyFormat::Binary => 1,
    };
    (
        format,
        shape.columns as i16,
        vec![i16::from(format); shape.columns],
    )
}
