//! Bytes to a file that is there whole, or not at all.

use std::fs::{File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::common::runtime::SpawnedTask;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::error::DataFusionError;
use futures::StreamExt;
use futures::stream::BoxStream;
use tempfile::NamedTempFile;
use tokio::sync::mpsc;

use crate::error::{Error, Result};

/// Chunks that wait for the disk.
const CHUNKS_AHEAD: usize = 4;
/// Everybody may read what COPY writes, as far as the process's mask allows.
const FILE_MODE: u32 = 0o666;

/// Writes the bytes, compressed, to a file; one that exists is replaced when all were written.
///
/// # Errors
/// Those of the bytes, 58030 or 53100 for what the disk says.
pub(super) async fn write_file(
    path: PathBuf,
    compression: CompressionTypeVariant,
    bytes: BoxStream<'static, Result<Bytes, DataFusionError>>,
) -> Result<()> {
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    let writing = SpawnedTask::spawn_blocking(move || write_chunks(&path, receiver));
    let mut chunks = FileCompressionType::from(compression).convert_to_compress_stream(bytes)?;
    while let Some(chunk) = chunks.next().await {
        if sender.send(Some(chunk?)).await.is_err() {
            break;
        }
    }
    // Without this last word the writer takes the file away.
    let _ = sender.send(None).await;
    let written = writing.join().await;
    written.map_err(|e| Error::internal(format!("the writer of a file ended: {e}")))?
}

/// Where bytes go.
enum Output {
    /// A file that takes its name when it is whole.
    New(NamedTempFile),
    /// What is no ordinary file, such as a pipe.
    Special(File),
}

fn write_chunks(path: &Path, mut chunks: mpsc::Receiver<Option<Bytes>>) -> Result<()> {
    let error = |e| Error::io(format!("write file \"{}\"", path.display()), e);
    let mut output = open(path).map_err(error)?;
    loop {
        match chunks.blocking_recv() {
            Some(Some(chunk)) => output.file().write_all(&chunk).map_err(error)?,
            Some(None) => return output.finish(path).map_err(error),
            None => return Ok(()),
        }
    }
}

fn open(path: &Path) -> std::io::Result<Output> {
    if path.exists() && !path.is_file() {
        let file = OpenOptions::new().write(true).open(path)?;
        return Ok(Output::Special(file));
    }
    let directory = path.parent().unwrap_or(Path::new("."));
    let file = tempfile::Builder::new()
        .prefix(".copy-")
        .permissions(Permissions::from_mode(FILE_MODE))
        .tempfile_in(directory)?;
    Ok(Output::New(file))
}

impl Output {
    fn file(&mut self) -> &mut File {
        match self {
            Self::New(file) => file.as_file_mut(),
            Self::Special(file) => file,
        }
    }

    fn finish(self, path: &Path) -> std::io::Result<()> {
        match self {
            Self::New(file) => {
                file.persist(path)?;
                Ok(())
            }
            Self::Special(_) => Ok(()),
        }
    }
}
