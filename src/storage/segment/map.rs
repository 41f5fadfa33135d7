//! A segment's file in memory: its bytes where the page cache has them, without a copy.

use std::fs::File;
use std::io;

use memmap2::Mmap;

/// A whole file, mapped for reading.
#[derive(Debug)]
pub(super) struct FileMap(Mmap);

impl FileMap {
    /// Maps a file of `bytes` bytes.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file is shorter; whatever the system says.
    pub fn new(file: &File, bytes: u64) -> io::Result<Self> {
        // SAFETY: the bytes of a map must not change while it is read, and its pages must exist. A segment is written
        // once, before its name is committed, and never opened for writing again. Vacuum unlinks the file, which leaves
        // what is mapped. Only somebody from outside could write to it or cut it; against a cut the length is looked at
        // before the bytes of a search are read.
        let map = unsafe { Mmap::map(file) }?;
        match map.len() as u64 >= bytes {
            true => Ok(Self(map)),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// The bytes of the file.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}
