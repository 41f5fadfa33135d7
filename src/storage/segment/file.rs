//! The file of a segment, read by position so that any number of readers share one descriptor.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use crate::error::{Error, Result};

/// What a sequential reader fetches at a time.
const READ_AHEAD_BYTES: usize = 8 << 10;

/// A file of known length that counts what is read of it. Clones share the descriptor.
#[derive(Debug, Clone)]
pub(in crate::storage) struct SegmentFile {
    file: Arc<File>,
    bytes: u64,
    bytes_read: Arc<AtomicU64>,
}

impl SegmentFile {
    /// The file as long as it is now.
    pub fn new(file: File) -> io::Result<Self> {
        Ok(Self {
            bytes: file.metadata()?.len(),
            file: Arc::new(file),
            bytes_read: Arc::default(),
        })
    }

    /// The same file with a count of its own.
    pub fn with_own_count(&self) -> Self {
        Self {
            bytes_read: Arc::default(),
            ..self.clone()
        }
    }

    /// Bytes read through this file and its clones.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Fills `target` from the bytes at `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file ends before.
    pub fn read_at(&self, offset: u64, target: &mut [u8]) -> io::Result<()> {
        self.bytes_read
            .fetch_add(target.len() as u64, Ordering::Relaxed);
        self.file.read_exact_at(target, offset)
    }
}

impl Length for SegmentFile {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for SegmentFile {
    type T = BufReader<Sequential>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        let sequential = Sequential {
            file: self.clone(),
            offset: start,
        };
        Ok(BufReader::with_capacity(READ_AHEAD_BYTES, sequential))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        // Checked before memory is taken: a damaged footer can ask for any length.
        if start
            .checked_add(length as u64)
            .is_none_or(|end| end > self.bytes)
        {
            return Err(ParquetError::EOF(format!(
                "{length} bytes at {start} are asked for, but the file has {}",
                self.bytes
            )));
        }
        let mut target = vec![0; length];
        self.read_at(start, &mut target)?;
        Ok(target.into())
    }
}

/// Reads onward from a place.
pub(in crate::storage) struct Sequential {
    file: SegmentFile,
    offset: u64,
}

impl Read for Sequential {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let read = self.file.file.read_at(target, self.offset)?;
        self.offset += read as u64;
        self.file
            .bytes_read
            .fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// What went wrong with the file called `label`: our own error where one was carried through, an I/O error as such,
/// anything else means that the bytes are not what was written.
pub(in crate::storage) fn parquet_error(label: &str, error: ParquetError) -> Error {
    let corrupted = |error: ParquetError| {
        Error::corrupted(format!("{label}: the file is damaged: {error}"))
            .with_hint("Restore the file from a backup.")
            .with_source(error)
    };
    let ParquetError::External(inner) = error else {
        return corrupted(error);
    };
    let inner = match inner.downcast::<Error>() {
        Ok(own) => return *own,
        Err(inner) => inner,
    };
    match inner.downcast::<io::Error>() {
        Ok(io) if io.kind() == io::ErrorKind::UnexpectedEof => {
            corrupted(ParquetError::External(io))
        }
        Ok(io) => io_error(label, *io),
        Err(inner) => corrupted(ParquetError::External(inner)),
    }
}

/// An I/O error on the file called `label`; its end before the bytes it should have is corruption.
pub(in crate::storage) fn io_error(label: &str, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            Error::corrupted(format!("{label}: the file is shorter than it should be"))
                .with_hint("Restore the file from a backup.")
                .with_source(error)
        }
        _ => Error::io(format!("read or write {label}"), error),
    }
}

/// What `parse` makes of the bytes of the file called `label`.
///
/// Checksums do not cover single reads, so damaged bytes reach the decoders, and some of them (Arrow's IPC schema,
/// a few Parquet encodings) answer bytes that make no sense with a panic. That is corruption like any other. A
/// panic while `elsewhere` is set is not about the file and goes on.
pub(in crate::storage) fn guarded<T>(
    label: &str,
    elsewhere: &AtomicBool,
    parse: impl FnOnce() -> Result<T>,
) -> Result<T> {
    catch_unwind(AssertUnwindSafe(parse)).unwrap_or_else(|panic| {
        if elsewhere.load(Ordering::Relaxed) {
            resume_unwind(panic);
        }
        let damaged = ParquetError::General("its bytes make no sense".to_string());
        Err(parquet_error(label, damaged))
    })
}

/// The error of a read of `result` on the file called `label`.
pub(in crate::storage) fn checked<T>(label: &str, result: io::Result<T>) -> Result<T> {
    result.map_err(|error| io_error(label, error))
}
