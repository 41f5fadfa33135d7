//! The file of a segment, read by position so that any number of readers share one descriptor.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use super::blocks::{Blocks, Damage};
use super::map::FileMap;
use crate::error::{Error, Result};

/// What a sequential reader fetches at a time.
const READ_AHEAD_BYTES: usize = 8 << 10;

/// What is read at a time of a whole file: a number of blocks.
const PIECE_BYTES: usize = 1 << 20;

/// A file of known length that counts what is read of it, and checks each block of it once. Clones share the
/// descriptor, and what was checked.
#[derive(Debug, Clone)]
pub(in crate::storage) struct SegmentFile {
    file: Arc<File>,
    bytes: u64,
    bytes_read: Arc<AtomicU64>,
    /// The checksums of its blocks, where it has them.
    blocks: Option<Arc<Blocks>>,
    /// The file in memory, once its bytes were asked for there.
    map: Arc<OnceLock<FileMap>>,
}

impl SegmentFile {
    /// The file as long as it is now.
    pub fn new(file: File) -> io::Result<Self> {
        Ok(Self {
            bytes: file.metadata()?.len(),
            file: Arc::new(file),
            bytes_read: Arc::default(),
            blocks: None,
            map: Arc::default(),
        })
    }

    /// The same file, its blocks checked from now on.
    pub fn with_blocks(self, blocks: Option<Blocks>) -> Self {
        Self {
            blocks: blocks.map(Arc::new),
            ..self
        }
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

    /// Fills `target` from the bytes at `offset`, whose blocks are checked if they were not before.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file ends before, `InvalidData` for bytes that are not what was written.
    pub fn read_at(&self, offset: u64, target: &mut [u8]) -> io::Result<()> {
        self.bytes_read
            .fetch_add(target.len() as u64, Ordering::Relaxed);
        self.file.read_exact_at(target, offset)?;
        self.check(offset, target)
    }

    /// That the file is as long as it was: behind its end there is nothing to read, and no memory.
    ///
    /// # Errors
    /// `UnexpectedEof` when it is shorter.
    pub fn check_length(&self) -> io::Result<()> {
        match self.file.metadata()?.len() >= self.bytes {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// The bytes of `range` where the page cache has them; their blocks are checked if they were not before. Ask
    /// [`SegmentFile::check_length`] first.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file ends before, `InvalidData` for bytes that are not what was written.
    pub fn mapped(&self, range: Range<u64>) -> io::Result<&[u8]> {
        let map = match self.map.get() {
            Some(map) => map,
            None => {
                let map = FileMap::new(&self.file, self.bytes)?;
                self.map.get_or_init(|| map)
            }
        };
        self.bytes_read
            .fetch_add(range.end - range.start, Ordering::Relaxed);
        self.check_mapped(map.bytes(), range.clone())?;
        let bytes = map.bytes().get(range.start as usize..range.end as usize);
        bytes.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Whether bytes were asked for where the page cache has them.
    pub fn is_mapped(&self) -> bool {
        self.map.get().is_some()
    }

    /// Checks those blocks with bytes of `range` that were not checked before. `whole` is the file in memory.
    ///
    /// # Errors
    /// `InvalidData` for bytes that are not what was written.
    pub(super) fn check_mapped(&self, whole: &[u8], range: Range<u64>) -> io::Result<()> {
        let Some(blocks) = &self.blocks else {
            return Ok(());
        };
        for block in blocks.unchecked(range) {
            let bytes = whole.get(block.start as usize..block.end as usize);
            blocks.check(block, bytes.ok_or(io::ErrorKind::UnexpectedEof)?)?;
        }
        Ok(())
    }

    /// Checks the blocks of bytes that were read at `offset`; those that they have in part are read again, whole.
    fn check(&self, offset: u64, read: &[u8]) -> io::Result<()> {
        let Some(blocks) = &self.blocks else {
            return Ok(());
        };
        let end = offset + read.len() as u64;
        for block in blocks.unchecked(offset..end) {
            if offset <= block.start && block.end <= end {
                let bytes = &read[(block.start - offset) as usize..(block.end - offset) as usize];
                blocks.check(block, bytes)?;
            } else {
                let mut bytes = vec![0; (block.end - block.start) as usize];
                self.file.read_exact_at(&mut bytes, block.start)?;
                self.bytes_read
                    .fetch_add(bytes.len() as u64, Ordering::Relaxed);
                blocks.check(block, &bytes)?;
            }
        }
        Ok(())
    }

    /// Reads all bytes, checks each block, and answers with the checksum of the file.
    ///
    /// # Errors
    /// Those of [`SegmentFile::read_at`].
    pub fn check_all(&self) -> io::Result<u32> {
        let mut crc32c = 0;
        let mut piece = vec![0; PIECE_BYTES];
        let mut blocks = self.blocks.iter().flat_map(|b| b.all()).peekable();
        for start in (0..self.bytes).step_by(PIECE_BYTES) {
            let piece = &mut piece[..(self.bytes - start).min(PIECE_BYTES as u64) as usize];
            self.file.read_exact_at(piece, start)?;
            crc32c = crc32c::crc32c_append(crc32c, piece);
            let end = start + piece.len() as u64;
            while let (Some(all), Some(block)) =
                (&self.blocks, blocks.next_if(|block| block.end <= end))
            {
                let bytes = &piece[(block.start - start) as usize..(block.end - start) as usize];
                all.check(block, bytes)?;
            }
        }
        Ok(crc32c)
    }

    /// The bytes behind the blocks; none where there are no checksums.
    pub fn read_tail(&self, blocks: &Blocks) -> io::Result<Vec<u8>> {
        let bytes = self.bytes.checked_sub(blocks.data_bytes());
        let mut tail = vec![0; bytes.ok_or(io::ErrorKind::UnexpectedEof)? as usize];
        self.file.read_exact_at(&mut tail, blocks.data_bytes())?;
        Ok(tail)
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
        self.file.check(self.offset, &target[..read])?;
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

/// An I/O error on the file called `label`; its end before the bytes it should have is corruption, and so is a wrong
/// checksum.
pub(in crate::storage) fn io_error(label: &str, error: io::Error) -> Error {
    let damage = error.get_ref().and_then(|inner| inner.downcast_ref());
    let why = match damage {
        Some(damage @ Damage { .. }) => format!("the file is damaged: {damage}"),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the file is shorter than it should be".to_string()
        }
        None => return Error::io(format!("read or write {label}"), error),
    };
    Error::corrupted(format!("{label}: {why}"))
        .with_hint("Restore the file from a backup.")
        .with_source(error)
}

/// What `parse` makes of the bytes of the file called `label`.
///
/// A footer is parsed before its checksum can be known, and old segments have no checksums, so damaged bytes reach
/// the decoders, and some of them (Arrow's IPC schema, a few Parquet encodings) answer bytes that make no sense with
/// a panic. That is corruption like any other. A panic while `elsewhere` is set is not about the file and goes on.
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
