//! A file that grows into zeros, each piece durable when it is there.
//!
//! ```text
//! on disk   | ... the last block: what is there, zeros | zeros ...
//! a write          [what is there, new bytes, zeros up to the end of a block]
//! ```
//! A write of whole blocks with `O_DIRECT | O_DSYNC` does what a write and an `fdatasync` do, without a copy in the page
//! cache, a look for dirty pages and a wait for each; a disk that can do it takes one command in place of two (FUA).
//! The bytes of the last block are written again as they were, which writing a page back does too. Where a file system
//! has no such writes, and for what is long anyway, bytes go through the page cache.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

use super::disk::StoreFile;

/// What places and lengths of direct writes are multiples of; no disk asks for more.
const BLOCK_BYTES: usize = 4096;
/// Of longer pieces the copy into blocks would cost more than the page cache does.
const DIRECT_BYTES_MAX: usize = 256 << 10;

/// A file that grows into zeros.
#[derive(Debug)]
pub(super) struct DurableFile {
    file: StoreFile,
    /// The same file for direct writes; `None` where there are none.
    direct: Option<File>,
    /// Where the next piece goes.
    end: u64,
    /// What is in the last block before `end`.
    last_block: Vec<u8>,
    blocks: Blocks,
}

impl DurableFile {
    /// The file that is called `name`, in which `start` and zeros behind it are durable: a block of them at least.
    pub(super) fn new(file: StoreFile, name: &Path, start: &[u8]) -> Self {
        let mut durable = Self {
            direct: None,
            end: start.len() as u64,
            last_block: start[start.len() / BLOCK_BYTES * BLOCK_BYTES..].to_vec(),
            blocks: Blocks::default(),
            file,
        };
        durable.direct = durable.open_direct(name).ok();
        durable
    }

    /// The file for direct writes, if one of what is in the last block already succeeds: some file systems refuse only
    /// that.
    fn open_direct(&mut self, name: &Path) -> io::Result<File> {
        let begin = self.end - self.last_block.len() as u64;
        let blocks = self.blocks.fill(&self.last_block, &[]);
        self.file.open_direct(name, blocks, begin)
    }

    /// Where the next piece goes.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Puts zeros at a place behind everything else, durably.
    pub(super) fn put_zeros(&self, range: Range<u64>) -> io::Result<()> {
        let zeros = vec![0; (range.end - range.start) as usize];
        self.file.write_all_at(&zeros, range.start)?;
        self.file.sync_data()
    }

    /// Puts a piece at the end, durably. There are zeros up to the end of the block in which it ends. After an error
    /// nobody knows what of it is there.
    pub(super) fn append(&mut self, piece: &[u8]) -> io::Result<()> {
        match &self.direct {
            Some(direct) if piece.len() <= DIRECT_BYTES_MAX => {
                let begin = self.end - self.last_block.len() as u64;
                let blocks = self.blocks.fill(&self.last_block, piece);
                self.file
                    .write_direct(direct, piece, self.end, blocks, begin)?;
            }
            _ => {
                self.file.write_all_at(piece, self.end)?;
                self.file.sync_data()?;
            }
        }
        self.end += piece.len() as u64;
        let in_last = (self.end % BLOCK_BYTES as u64) as usize;
        if in_last <= piece.len() {
            self.last_block.clear();
        }
        let new = in_last - self.last_block.len();
        self.last_block
            .extend_from_slice(&piece[piece.len() - new..]);
        Ok(())
    }
}

/// Memory for whole blocks, at an address that is a multiple of their size.
#[derive(Debug, Default)]
struct Blocks(Vec<u8>);

impl Blocks {
    /// The blocks that begin with `first`, go on with `second` and end with zeros; at least one.
    fn fill(&mut self, first: &[u8], second: &[u8]) -> &[u8] {
        let bytes = (first.len() + second.len()).max(1);
        let bytes = bytes.next_multiple_of(BLOCK_BYTES);
        self.0.clear();
        self.0.reserve(bytes + BLOCK_BYTES);
        // It stays where it is: there is room.
        let start = self.0.as_ptr().align_offset(BLOCK_BYTES);
        self.0.resize(start, 0);
        self.0.extend_from_slice(first);
        self.0.extend_from_slice(second);
        self.0.resize(start + bytes, 0);
        &self.0[start..]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write;

    use super::*;
    use crate::storage::disk::Files;
    use crate::storage::testing::Dice;

    const ROOM: u64 = 4 << 20;

    fn pieces() -> Vec<Vec<u8>> {
        let mut dice = Dice(7);
        let lengths = [
            1,
            8,
            4_064,
            4_096,
            4_104,
            300,
            8_192,
            DIRECT_BYTES_MAX + 8,
            16,
        ];
        let random = (0..40).map(|_| 8 * (1 + dice.below(1_500)));
        let lengths: Vec<usize> = lengths.into_iter().chain(random).collect();
        let piece = |(n, length): (usize, usize)| vec![n as u8 + 1; length];
        lengths.into_iter().enumerate().map(piece).collect()
    }

    fn check(direct: bool) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let mut file = Files::default().create(&path).unwrap();
        file.write_all(b"header").unwrap();
        file.write_all_at(&vec![0; ROOM as usize - 6], 6).unwrap();
        file.sync_all().unwrap();
        let mut durable = DurableFile::new(file, &path, b"header");
        if !direct {
            durable.direct = None;
        }
        let mut expected = b"header".to_vec();
        for piece in pieces() {
            durable.append(&piece).unwrap();
            expected.extend(piece);
            assert_eq!(durable.end(), expected.len() as u64);
            let found = std::fs::read(&path).unwrap();
            assert_eq!(found[..expected.len()], expected);
            assert!(found[expected.len()..].iter().all(|byte| *byte == 0));
        }
        durable.put_zeros(ROOM..2 * ROOM).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 2 * ROOM);
    }

    #[test]
    fn pieces_follow_each_other_past_the_page_cache_and_through_it() {
        check(true);
        check(false);
    }

    #[test]
    fn blocks_are_whole_and_at_an_address_of_their_size() {
        let mut blocks = Blocks::default();
        for (first, second) in [(0, 0), (0, 1), (4_000, 96), (4_000, 97), (10, 9_000)] {
            let filled = blocks.fill(&vec![1; first], &vec![2; second]);
            assert_eq!(filled.as_ptr().align_offset(BLOCK_BYTES), 0);
            assert_eq!(filled.len() % BLOCK_BYTES, 0);
            let sum: usize = filled.iter().map(|byte| usize::from(*byte)).sum();
            assert_eq!(sum, first + 2 * second);
        }
    }
}
