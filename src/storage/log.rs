//! The log: frames in preallocated files, one frame per group of commits.
//!
//! ```text
//! file   = header | frame* | zeros                     log/<first version, 20 digits>.log
//! header = "SHELFLOG" | format u32 | crc32c u32 | first version u64 | salt u64
//! frame  = length u32 | crc32c u32 | version u64 | payload | pad to 8      version of the payload's first commit
//! ```
//! All numbers are little-endian. A frame's checksum begins with the file's salt and covers length, version and
//! payload; the salt is random, so that neither stale bytes nor a user's bytes look like a frame. The space behind
//! the last frame is written with zeros beforehand, in steps: then a commit changes no metadata, and one write of whole
//! blocks past the page cache makes it durable ([`DurableFile`]). A frame is written once, and only as it is again with
//! the next in its last block; after an error nothing is written behind it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::Files;
use super::durable_file::DurableFile;
use super::schema::Version;
use super::store::{Store, io};
use crate::error::{Error, Result, sqlstate};

pub(super) const MAGIC: &[u8; 8] = b"SHELFLOG";
/// The format that is written. 2 added roles, owners and grants; 3 foreign keys, and what items of clustering keys were
/// trained to; 4 types and comments; 5 columns of intervals; 6 columns of
/// times with fewer digits and of characters; 7 generated columns, domains and names of primary keys;
/// 8 options and defaults of views, and materialized views; 9 partitions, columns of VARCHAR, NAME and "char";
/// 10 functions; 11 functions that are blocks.
pub(super) const FORMAT: u32 = 11;
/// The oldest format that can be read.
pub(super) const FORMAT_MIN: u32 = 1;
pub(super) const FILE_HEADER_BYTES: usize = 32;
pub(super) const FRAME_HEADER_BYTES: usize = 16;
/// The most bytes that one frame may have.
pub(super) const FRAME_BYTES_MAX: usize = 1 << 30;
/// Bytes that are written with zeros at a time.
const STEP_BYTES: u64 = 4 << 20;
/// Bytes after which the next frame goes to a new file.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// The path of the file whose first frame begins with `version`.
pub(super) fn file_path(directory: &Path, version: Version) -> PathBuf {
    directory.join(format!("{:020}.log", version.0))
}

/// The log files of a directory with their first versions, oldest first.
pub(super) fn log_files(disk: &Files, directory: &Path) -> Result<Vec<(Version, PathBuf)>> {
    numbered_files(disk, directory, "log")
}

/// The files of a directory that are called `<version, 20 digits>.<extension>`, oldest first.
pub(super) fn numbered_files(
    disk: &Files,
    directory: &Path,
    extension: &str,
) -> Result<Vec<(Version, PathBuf)>> {
    let mut files = Vec::new();
    for path in disk.list(directory).map_err(|e| io("read", directory, e))? {
        let ours = path.extension().is_some_and(|e| e == extension);
        let stem = path.file_stem().and_then(|s| s.to_str());
        let digits = stem.filter(|s| ours && s.len() == 20);
        if let Some(version) = digits.and_then(|s| s.parse().ok()) {
            files.push((Version(version), path));
        }
    }
    files.sort();
    Ok(files)
}

/// The header of a file.
pub(super) fn file_header(format: u32, first: Version, salt: u64) -> [u8; FILE_HEADER_BYTES] {
    let mut header = [0; FILE_HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&format.to_le_bytes());
    header[16..24].copy_from_slice(&first.0.to_le_bytes());
    header[24..].copy_from_slice(&salt.to_le_bytes());
    let crc = crc32c::crc32c(&header);
    header[12..16].copy_from_slice(&crc.to_le_bytes());
    header
}

/// The checksum of a frame whose checksum field is not looked at.
pub(super) fn frame_crc(salt: u64, header: &[u8], payload: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&salt.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &header[..4]);
    let crc = crc32c::crc32c_append(crc, &header[8..FRAME_HEADER_BYTES]);
    crc32c::crc32c_append(crc, payload)
}

/// A frame while it fills.
#[derive(Debug)]
pub(super) struct Frame {
    version: Version,
    bytes: Vec<u8>,
}

impl Frame {
    /// An empty frame whose first commit will be `version`.
    pub(super) fn new(version: Version) -> Self {
        Self {
            version,
            bytes: vec![0; FRAME_HEADER_BYTES],
        }
    }

    /// Where commits are put, at the end.
    pub(super) fn payload(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes the commits away that were put behind the first `len` bytes.
    pub(super) fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
    }

    fn seal(&mut self, salt: u64) {
        let length = self.bytes.len() - FRAME_HEADER_BYTES;
        let (header, payload) = self.bytes.split_at_mut(FRAME_HEADER_BYTES);
        header[..4].copy_from_slice(&(length as u32).to_le_bytes());
        header[8..].copy_from_slice(&self.version.0.to_le_bytes());
        let crc = frame_crc(salt, header, payload);
        header[4..8].copy_from_slice(&crc.to_le_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
    }
}

/// Writes frames.
#[derive(Debug)]
pub(super) struct LogWriter {
    store: Arc<Store>,
    open: Option<OpenFile>,
}

#[derive(Debug)]
struct OpenFile {
    file: DurableFile,
    path: PathBuf,
    salt: u64,
    /// Up to where there are zeros.
    allocated: u64,
}

impl LogWriter {
    /// A writer that begins a new file with its first frame: what was found at open is never written to.
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { store, open: None }
    }

    /// Makes room for a frame. After an error nothing is lost: it can be tried again.
    ///
    /// # Errors
    /// 53100 when the disk is full, 58030 for what else it says, 54000 for a frame of absurd size.
    pub(super) fn reserve(&mut self, frame: &Frame) -> Result<()> {
        if frame.len() > FRAME_BYTES_MAX {
            let message = "a group of commits has too many bytes";
            return Err(Error::limit(sqlstate::PROGRAM_LIMIT_EXCEEDED, message));
        }
        if self.open.as_ref().is_some_and(|f| f.is_full()) {
            self.rotate();
        }
        let file = match &mut self.open {
            Some(file) => file,
            None => self
                .open
                .insert(OpenFile::create(&self.store, frame.version)?),
        };
        file.reserve(frame.len() as u64 + 8)
    }

    /// Whether there is room for a frame of so many bytes, in the file at hand.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        let has_room = |f: &OpenFile| !f.is_full() && f.has_room(bytes as u64 + 8);
        self.open.as_ref().is_some_and(has_room)
    }

    /// Writes a frame for which there is room, durably. After an error the log must not be written any more: whether
    /// the frame is on disk is known only when it is read again.
    ///
    /// # Errors
    /// 58030 or 53100 for what the disk says.
    pub(super) fn append(&mut self, mut frame: Frame) -> Result<u64> {
        let file = self
            .open
            .as_mut()
            .ok_or_else(|| Error::internal("a frame was appended without room"))?;
        frame.seal(file.salt);
        file.file
            .append(&frame.bytes)
            .map_err(|e| io("write", &file.path, e))?;
        Ok(frame.bytes.len() as u64)
    }

    /// Lets the next frame begin a new file, so that the ones before can go.
    pub(super) fn rotate(&mut self) {
        self.open = None;
    }
}

impl OpenFile {
    fn create(store: &Store, first: Version) -> Result<Self> {
        let path = file_path(&store.log_dir(), first);
        if path.exists() {
            // Recovery found no whole frame in it. Its bytes stay until the next checkpoint, for whoever asks.
            let aside = path.with_extension("torn");
            let renamed = store.files().rename(&path, &aside);
            renamed.map_err(|e| io("rename", &path, e))?;
        }
        let salt = uuid::Uuid::new_v4().as_u64_pair().0;
        let header = file_header(FORMAT, first, salt);
        let mut new = store.create(path.clone())?;
        let file = new.file();
        file.write_all(&header)
            .and_then(|()| file.write_all(&vec![0; STEP_BYTES as usize - header.len()]))
            .map_err(|e| io("write", &path, e))?;
        let file = file.try_clone().map_err(|e| io("open", &path, e))?;
        new.publish()?;
        Ok(Self {
            file: DurableFile::new(file, &path, &header),
            path,
            salt,
            allocated: STEP_BYTES,
        })
    }

    fn is_full(&self) -> bool {
        self.file.end() >= FILE_BYTES_MAX
    }

    fn has_room(&self, bytes: u64) -> bool {
        self.file.end() + bytes <= self.allocated
    }

    fn reserve(&mut self, bytes: u64) -> Result<()> {
        if self.has_room(bytes) {
            return Ok(());
        }
        let until = (self.file.end() + bytes).next_multiple_of(STEP_BYTES);
        self.file
            .put_zeros(self.allocated..until)
            .map_err(|e| io("extend", &self.path, e))?;
        self.allocated = until;
        Ok(())
    }
}
