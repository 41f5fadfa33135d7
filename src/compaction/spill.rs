//! The temporary files of a sort, read in pieces of a size that its memory budget allows.
//!
//! A merge has many of them open. DataFusion's own take half a megabyte of buffers each, whatever the size of their batches.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::execution::{SpillFile, SpillWriter, TempFileFactory};
use futures::{Stream, stream};
use tempfile::NamedTempFile;

/// The fewest bytes that are read at once, and the most.
const PIECE_BYTES_MIN: u64 = 8 << 10;
const PIECE_BYTES_MAX: u64 = 128 << 10;

/// Makes temporary files in a directory.
#[derive(Debug)]
pub(super) struct SpillFiles {
    directory: PathBuf,
    piece_bytes: usize,
}

impl SpillFiles {
    /// Files in `directory` for batches of so many bytes. A piece is smaller than a batch, so that no batch is a part of a
    /// piece and keeps all of it.
    pub fn new(directory: PathBuf, batch_bytes: u64) -> Self {
        let piece = (batch_bytes / 2).clamp(PIECE_BYTES_MIN, PIECE_BYTES_MAX);
        Self {
            directory,
            piece_bytes: piece as usize,
        }
    }
}

impl TempFileFactory for SpillFiles {
    fn create_temp_file(&self, _: &str) -> Result<Arc<dyn SpillFile>> {
        Ok(Arc::new(Spilled {
            file: NamedTempFile::new_in(&self.directory)?,
            piece_bytes: self.piece_bytes,
        }))
    }
}

/// A temporary file, which goes when nobody has it any more.
struct Spilled {
    file: NamedTempFile,
    piece_bytes: usize,
}

impl SpillFile for Spilled {
    fn path(&self) -> Option<&Path> {
        Some(self.file.path())
    }

    fn size(&self) -> Option<u64> {
        self.file.as_file().metadata().ok().map(|m| m.len())
    }

    /// The file piece by piece. It is read where it is polled: on the threads of compaction, as the inputs are.
    fn read_stream(&self) -> Result<Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>> {
        let (mut file, piece_bytes) = (self.file.reopen()?, self.piece_bytes);
        let pieces = std::iter::from_fn(move || {
            let piece = read_piece(&mut file, piece_bytes).map_err(DataFusionError::from);
            Some(piece).filter(|piece| !matches!(piece, Ok(piece) if piece.is_empty()))
        });
        Ok(Box::pin(stream::iter(pieces)))
    }

    fn open_writer(&self) -> Result<Box<dyn SpillWriter>> {
        let file = self.file.reopen()?;
        Ok(Box::new(Writer(BufWriter::with_capacity(
            self.piece_bytes,
            file,
        ))))
    }
}

/// As many bytes as there are, at most `bytes`.
fn read_piece(file: &mut File, bytes: usize) -> io::Result<Bytes> {
    let mut piece = Vec::with_capacity(bytes);
    file.take(bytes as u64).read_to_end(&mut piece)?;
    Ok(piece.into())
}

struct Writer(BufWriter<File>);

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl SpillWriter for Writer {
    fn finish(&mut self) -> Result<()> {
        Ok(self.0.flush()?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures::TryStreamExt;

    use super::*;

    #[tokio::test]
    async fn a_file_is_read_as_it_was_written_and_goes() {
        let directory = tempfile::tempdir().unwrap();
        let files = SpillFiles::new(directory.path().to_path_buf(), 0);
        for length in [0, 1, 8_191, 8_192, 8_193, 100_000] {
            let written: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            let file = files.create_temp_file("").unwrap();
            let mut writer = file.open_writer().unwrap();
            for part in written.chunks(777) {
                writer.write_all(part).unwrap();
            }
            writer.finish().unwrap();
            assert_eq!(file.size(), Some(length));
            for _ in 0..2 {
                let pieces: Vec<Bytes> = file.read_stream().unwrap().try_collect().await.unwrap();
                assert!(pieces.iter().all(|piece| piece.len() <= 8_192));
                assert_eq!(pieces.concat(), written);
            }
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_that_is_gone_is_an_error() {
        let files = SpillFiles::new(PathBuf::from("/nowhere/at/all"), 1 << 20);
        let error = files.create_temp_file("").err().unwrap();
        assert!(matches!(error, DataFusionError::IoError(_)), "{error}");
    }
}
