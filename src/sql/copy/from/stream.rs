//! Rows of bytes as a stream of batches: one task reads and cuts, others convert, and batches come out in order.

use std::io::Read;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::stream;
use tokio::sync::mpsc;

use super::decoder::Decoder;
use super::matching::Matching;
use super::rows::{Intake, Rows};
use crate::error::{Error, Result};
use crate::sql::copy::dialect::{Dialect, Header, LineFormat};
use crate::sql::copy::files::InputFile;
use crate::sql::copy::input::{CopyPipe, CopyReceiver};
use crate::sql::copy::options::{CopyOptions, Direction};
use crate::sql::copy::progress::CopyProgress;

/// Batches that are being converted, or wait for the node that inserts.
const CONVERSIONS_AHEAD: usize = 4;
/// Bytes of a file that are read at once, and how many of these wait.
const CHUNK_BYTES: usize = 256 << 10;
const CHUNKS_AHEAD: usize = 2;

/// Where bytes come from.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// The client, in one format.
    Client(Dialect),
    /// Files, each in the format that its name and the options say.
    Files(Vec<InputFile>, Box<CopyOptions>),
}

/// The rows of a COPY .. FROM in text, csv or binary.
#[derive(Debug)]
pub(super) struct RowSource {
    intake: Arc<Intake>,
    origin: Origin,
    matching: Matching,
    progress: Arc<CopyProgress>,
}

impl RowSource {
    /// Rows for the columns of `intake`.
    pub(super) fn new(
        intake: Intake,
        origin: Origin,
        matching: Matching,
        progress: &Arc<CopyProgress>,
    ) -> Self {
        Self {
            intake: Arc::new(intake),
            origin,
            matching,
            progress: Arc::clone(progress),
        }
    }
}

impl PartitionStream for RowSource {
    fn schema(&self) -> &SchemaRef {
        self.intake.schema()
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let schema = Arc::clone(self.schema());
        let (converting, converted) = mpsc::channel(CONVERSIONS_AHEAD);
        let reader = Reader {
            intake: Arc::clone(&self.intake),
            matching: self.matching.clone(),
            progress: Arc::clone(&self.progress),
            converting,
        };
        let origin = self.origin.clone();
        let reading = SpawnedTask::spawn(async move {
            match origin {
                Origin::Client(dialect) => {
                    let pipe = context.session_config().get_extension::<CopyPipe>();
                    let receiver = pipe.and_then(|pipe| pipe.take());
                    let receiver = receiver.ok_or_else(|| {
                        Error::unsupported("COPY .. FROM STDIN has no input here")
                    })?;
                    reader.client(receiver, dialect).await
                }
                Origin::Files(files, options) => reader.files(files, &options).await,
            }
        });
        let batches = stream::unfold(Some((converted, reading)), next_batch);
        Box::pin(RecordBatchStreamAdapter::new(schema, batches))
    }
}

type Conversion = SpawnedTask<Result<RecordBatch>>;
type Pending = Option<(mpsc::Receiver<Conversion>, SpawnedTask<Result<()>>)>;

/// The batch whose conversion began first, and at last the reader's end or error.
async fn next_batch(pending: Pending) -> Option<(Result<RecordBatch, DataFusionError>, Pending)> {
    let (mut converted, reading) = pending?;
    let ended = match converted.recv().await {
        Some(conversion) => match conversion.join().await {
            Ok(Ok(batch)) => return Some((Ok(batch), Some((converted, reading)))),
            Ok(Err(e)) => Ok(Err(e)),
            Err(e) => Err(e),
        },
        None => reading.join().await,
    };
    match ended {
        Ok(Ok(())) => None,
        Ok(Err(e)) => Some((Err(e.into()), None)),
        Err(e) => Some((Err(DataFusionError::ExecutionJoin(Box::new(e))), None)),
    }
}

/// Cuts bytes into rows and has them converted.
struct Reader {
    intake: Arc<Intake>,
    matching: Matching,
    progress: Arc<CopyProgress>,
    converting: mpsc::Sender<Conversion>,
}

impl Reader {
    async fn client(&self, mut receiver: CopyReceiver, dialect: Dialect) -> Result<()> {
        let _running = self.progress.begin(0);
        let mut decoder = Decoder::try_new(Arc::clone(&self.intake), dialect)?;
        while let Some(bytes) = receiver.next().await.map_err(|e| decoder.locate(e))? {
            self.progress.add_bytes(bytes.len() as u64);
            if !self.push(&mut decoder, Some(&bytes)).await? {
                return Ok(());
            }
        }
        self.push(&mut decoder, None).await?;
        Ok(())
    }

    async fn files(&self, files: Vec<InputFile>, options: &CopyOptions) -> Result<()> {
        let bytes = files.iter().map(InputFile::bytes).sum();
        let _running = self.progress.begin(bytes);
        let several = files.len() > 1;
        for file in files {
            let dialect = options.file_dialect(&file.path, Direction::From)?;
            let label = several.then(|| file.label());
            let intake = Arc::new(self.intake.of_file(label, dialect.lines()));
            let names = matches!(
                dialect.lines(),
                Some(LineFormat {
                    header: Header::Line,
                    quoting: Some(_),
                    ..
                })
            );
            let mut decoder = Decoder::try_new(intake, dialect)?;
            if names {
                decoder = decoder.with_matching(self.matching.clone());
            }
            let (sender, mut receiver) = mpsc::channel(CHUNKS_AHEAD);
            let progress = Arc::clone(&self.progress);
            let reading = SpawnedTask::spawn_blocking(move || read_file(&file, &progress, &sender));
            while let Some(bytes) = receiver.recv().await {
                if !self.push(&mut decoder, Some(&bytes)).await? {
                    return Ok(());
                }
            }
            let read = reading.join().await;
            read.map_err(|e| Error::internal(format!("the reader of a file ended: {e}")))??;
            if !self.push(&mut decoder, None).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Gives bytes, or their end, to the decoder, and has the rows converted that are complete; whether more is wanted.
    async fn push(&self, decoder: &mut Decoder, bytes: Option<&Bytes>) -> Result<bool> {
        let mut complete = Vec::new();
        let pushed = match bytes {
            Some(bytes) => decoder.push(bytes, &mut complete),
            None => decoder.finish(&mut complete),
        };
        // Rows before an error come first: theirs is the first error.
        for rows in complete {
            if !self.convert(decoder.intake(), rows).await {
                return Ok(false);
            }
        }
        pushed.map(|()| true)
    }

    async fn convert(&self, intake: &Arc<Intake>, rows: Rows) -> bool {
        if rows.lines.is_empty() {
            return true;
        }
        self.progress.add_rows(rows.lines.len() as u64);
        let intake = Arc::clone(intake);
        // The place in the channel comes before the work: no more than these are under way.
        match self.converting.reserve().await {
            Ok(place) => {
                place.send(SpawnedTask::spawn(async move { intake.convert(&rows) }));
                true
            }
            Err(_) => false,
        }
    }
}

/// Sends the bytes of a file, without its compression, until nobody wants them.
fn read_file(
    file: &InputFile,
    progress: &Arc<CopyProgress>,
    sender: &mpsc::Sender<Bytes>,
) -> Result<()> {
    let mut input = file.open_decompressed(progress)?;
    loop {
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        let read = (&mut input)
            .take(CHUNK_BYTES as u64)
            .read_to_end(&mut chunk);
        read.map_err(|e| Error::io(format!("read file \"{}\"", file.label()), e))?;
        if chunk.is_empty() || sender.blocking_send(chunk.into()).is_err() {
            return Ok(());
        }
    }
}
