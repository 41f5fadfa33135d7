//! Rows of a query as payloads of CopyData, a few at a time.

use std::sync::Arc;

use arrow::array::{BinaryArray, RecordBatch};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use bytes::{Bytes, BytesMut};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use futures::{Stream, StreamExt, stream};

use super::encode::Encoder;
use super::progress::CopyProgress;
use crate::error::{Error, Result, sqlstate};

/// Bytes after which payloads leave: a batch of vectors would be many megabytes of text.
const PAYLOADS_BYTES: usize = 256 << 10;

/// Payloads one behind the other.
#[derive(Default)]
pub(super) struct Payloads {
    bytes: BytesMut,
    ends: Vec<i32>,
}

impl Payloads {
    /// Ends the payload whose bytes were written last.
    fn end(&mut self) -> Result<()> {
        let end = i32::try_from(self.bytes.len()).map_err(|_| {
            let message = "a row is larger than 2 GiB";
            Error::limit(sqlstate::PROGRAM_LIMIT_EXCEEDED, message)
        })?;
        self.ends.push(end);
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.bytes.len() >= PAYLOADS_BYTES
    }

    /// All of them as one run of bytes.
    pub(super) fn into_bytes(self) -> Bytes {
        self.bytes.freeze()
    }

    /// Each as a value.
    pub(super) fn into_array(self) -> Result<BinaryArray> {
        let offsets: Vec<i32> = std::iter::once(0).chain(self.ends).collect();
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        Ok(BinaryArray::try_new(
            offsets,
            Buffer::from(self.bytes.freeze()),
            None,
        )?)
    }
}

/// The rows under way.
struct Encoding {
    rows: SendableRecordBatchStream,
    encoder: Encoder,
    progress: Arc<CopyProgress>,
    batch: Option<RecordBatch>,
    /// The next row of the batch.
    next: usize,
    begun: bool,
}

/// The payloads of the rows, with header and trailer.
pub(super) fn payloads(
    rows: SendableRecordBatchStream,
    encoder: Encoder,
    progress: Arc<CopyProgress>,
) -> impl Stream<Item = Result<Payloads, DataFusionError>> + Send + 'static {
    let encoding = Encoding {
        rows,
        encoder,
        progress,
        batch: None,
        next: 0,
        begun: false,
    };
    stream::try_unfold(Some(encoding), |encoding| async move {
        match encoding {
            Some(encoding) => encoding.step().await.map(Some),
            None => Ok(None),
        }
    })
}

impl Encoding {
    /// The next payloads, and what comes behind them.
    async fn step(mut self) -> Result<(Payloads, Option<Self>), DataFusionError> {
        let mut payloads = Payloads::default();
        let mut rows_written = 0;
        if !self.begun {
            self.begun = true;
            self.put_header(&mut payloads)?;
        }
        loop {
            if let Some(batch) = &self.batch {
                let rows = batch.num_rows();
                while self.next < rows && !payloads.is_full() {
                    self.encoder.put_row(self.next, &mut payloads.bytes)?;
                    payloads.end()?;
                    self.next += 1;
                    rows_written += 1;
                }
                if self.next < rows {
                    break;
                }
                self.batch = None;
                // The first rows of a slow query do not wait for the next ones.
                if !payloads.ends.is_empty() {
                    break;
                }
            }
            match self.rows.next().await.transpose()? {
                Some(batch) => {
                    self.encoder.start(&batch)?;
                    (self.batch, self.next) = (Some(batch), 0);
                }
                None => {
                    if self.encoder.put_trailer(&mut payloads.bytes) {
                        payloads.end()?;
                    }
                    self.progress.add_bytes(payloads.bytes.len() as u64);
                    return Ok((payloads, None));
                }
            }
        }
        self.progress.add_rows(rows_written);
        self.progress.add_bytes(payloads.bytes.len() as u64);
        Ok((payloads, Some(self)))
    }

    fn put_header(&mut self, payloads: &mut Payloads) -> Result<()> {
        let schema = self.rows.schema();
        let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        if self.encoder.put_header(&names, &mut payloads.bytes)? {
            payloads.end()?;
        }
        Ok(())
    }
}
