//! Checksums of a segment's blocks, kept in its footer and checked when a block is first read.
//!
//! ```text
//! segment = data | tail             tail = the page indexes and the footer, which has the checksums of the data
//! data    = block of 64 KiB *       the last one may be shorter
//! ```
//! The footer's key-value metadata have them under [`KEY`]: the version of this form, the bytes of the data, their
//! CRC32C, and the CRC32C of each block, as words of 8 hexadecimal digits (the length has 16). The tail needs no
//! checksum of its own: the commit has that of the whole file, and the checksum of the data is known, so that of the
//! tail follows. It is checked when the segment is opened. Segments written before there were such checksums have
//! none, and are read as they are; the checksum in their commit covers them, and `shelfmark verify` checks it.

use std::error::Error;
use std::fmt;
use std::fmt::Write;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use parquet::file::metadata::{KeyValue, ParquetMetaData};

/// The key under which a footer has checksums.
const KEY: &str = "shelfmark.checksums";
/// The version of the form in which it has them.
const FORMAT: u32 = 1;
/// Bytes of a block: little enough to read for one page, enough that the checksums of a segment are few.
pub(in crate::storage) const BLOCK_BYTES: u64 = 64 << 10;

/// Checksums of what is written to a file.
#[derive(Debug, Default)]
pub(in crate::storage) struct BlockWriter {
    whole: u32,
    blocks: Vec<u32>,
    /// The checksum of the last block, as far as it is written.
    last: u32,
    bytes: u64,
}

impl BlockWriter {
    /// Counts in the next bytes.
    pub fn add(&mut self, mut bytes: &[u8]) {
        self.whole = crc32c::crc32c_append(self.whole, bytes);
        while !bytes.is_empty() {
            let left = (BLOCK_BYTES - self.bytes % BLOCK_BYTES) as usize;
            let (now, later) = bytes.split_at(left.min(bytes.len()));
            self.last = crc32c::crc32c_append(self.last, now);
            self.bytes += now.len() as u64;
            if self.bytes.is_multiple_of(BLOCK_BYTES) {
                self.blocks.push(std::mem::take(&mut self.last));
            }
            bytes = later;
        }
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The checksum of all bytes so far.
    pub fn whole(&self) -> u32 {
        self.whole
    }

    /// What a footer says of the bytes so far.
    pub fn key_value(&self) -> KeyValue {
        let mut text = format!("{FORMAT:08x}{:016x}{:08x}", self.bytes, self.whole);
        let last = (!self.bytes.is_multiple_of(BLOCK_BYTES)).then_some(self.last);
        for checksum in self.blocks.iter().copied().chain(last) {
            write!(text, "{checksum:08x}").expect("invariant: text can always be written to");
        }
        KeyValue::new(KEY.to_string(), text)
    }
}

/// The checksums of a segment's blocks, and which of them were checked since it was opened.
#[derive(Debug)]
pub(in crate::storage) struct Blocks {
    data_bytes: u64,
    data_crc32c: u32,
    checksums: Box<[u32]>,
    /// One bit per block.
    checked: Box<[AtomicU64]>,
}

impl Blocks {
    /// The checksums of a footer; `None` where it has none.
    ///
    /// # Errors
    /// Says what is wrong with them.
    pub fn of(metadata: &ParquetMetaData) -> Result<Option<Self>, String> {
        let pairs = metadata.file_metadata().key_value_metadata();
        let found = pairs.into_iter().flatten().find(|pair| pair.key == KEY);
        let Some(text) = found.and_then(|pair| pair.value.as_deref()) else {
            return Ok(None);
        };
        let blocks = Self::parse(text)?;
        Ok(Some(blocks))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "its checksums make no sense".to_string();
        let number = |range: Range<usize>| {
            let digits = text.get(range).ok_or_else(wrong)?;
            u64::from_str_radix(digits, 16).map_err(|_| wrong())
        };
        let format = number(0..8)?;
        if format != u64::from(FORMAT) {
            return Err(format!(
                "its checksums have format {format}, this program reads {FORMAT}"
            ));
        }
        let (data_bytes, data_crc32c) = (number(8..24)?, number(24..32)? as u32);
        let starts = (32..text.len()).step_by(8);
        let checksums: Result<Box<[u32]>, String> = starts
            .map(|start| Ok(number(start..start + 8)? as u32))
            .collect();
        let checksums = checksums?;
        if checksums.len() as u64 != data_bytes.div_ceil(BLOCK_BYTES) {
            return Err(wrong());
        }
        let words = checksums.len().div_ceil(64);
        Ok(Self {
            data_bytes,
            data_crc32c,
            checksums,
            checked: (0..words).map(|_| AtomicU64::new(0)).collect(),
        })
    }

    /// Where the tail begins.
    pub fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// The checksum that the whole file has if this is its tail.
    pub fn whole_with(&self, tail: &[u8]) -> u32 {
        crc32c::crc32c_combine(self.data_crc32c, crc32c::crc32c(tail), tail.len())
    }

    /// The bytes of all blocks, in order.
    pub fn all(&self) -> impl Iterator<Item = Range<u64>> + use<'_> {
        (0..self.checksums.len()).map(|block| self.range(block))
    }

    /// The bytes of those blocks with bytes of `range` that were not checked yet.
    pub fn unchecked(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> + use<'_> {
        let first = (range.start / BLOCK_BYTES) as usize;
        let end = range.end.min(self.data_bytes).div_ceil(BLOCK_BYTES) as usize;
        (first..end)
            .filter(|block| !self.is_checked(*block))
            .map(|block| self.range(block))
    }

    fn is_checked(&self, block: usize) -> bool {
        // The bit is set after the check and guards no other memory.
        self.checked[block / 64].load(Ordering::Relaxed) & (1 << (block % 64)) != 0
    }

    fn range(&self, block: usize) -> Range<u64> {
        let start = block as u64 * BLOCK_BYTES;
        start..(start + BLOCK_BYTES).min(self.data_bytes)
    }

    /// Checks a block of which these are the bytes, and remembers a good one.
    ///
    /// # Errors
    /// [`Damage`], as `InvalidData`.
    pub fn check(&self, range: Range<u64>, bytes: &[u8]) -> io::Result<()> {
        let block = (range.start / BLOCK_BYTES) as usize;
        if crc32c::crc32c(bytes) != self.checksums[block] {
            return Err(io::Error::new(io::ErrorKind::InvalidData, Damage { range }));
        }
        self.checked[block / 64].fetch_or(1 << (block % 64), Ordering::Relaxed);
        Ok(())
    }
}

/// Bytes of a file that are not what was written.
#[derive(Debug)]
pub(in crate::storage) struct Damage {
    range: Range<u64>,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Range { start, end } = self.range;
        write!(f, "the checksum of bytes {start} to {} is wrong", end - 1)
    }
}

impl Error for Damage {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn checksums_come_back_from_their_text_whatever_was_written_at_a_time() {
        for bytes in [0, 1, 65_535, 65_536, 65_537, 200_000] {
            let data: Vec<u8> = (0..bytes).map(|i: u32| (i * 7 % 251) as u8).collect();
            for piece in [1, 1_000, 65_536, 1 << 20] {
                let mut writer = BlockWriter::default();
                data.chunks(piece.max(bytes as usize / 100))
                    .for_each(|piece| writer.add(piece));
                assert_eq!(writer.whole(), crc32c::crc32c(&data));
                let blocks = Blocks::parse(&writer.key_value().value.unwrap()).unwrap();
                assert_eq!(blocks.whole_with(b"tail"), {
                    crc32c::crc32c_append(crc32c::crc32c(&data), b"tail")
                });
                for range in blocks.all() {
                    let block = &data[range.start as usize..range.end as usize];
                    blocks.check(range, block).unwrap();
                }
                assert_eq!(blocks.unchecked(0..u64::from(bytes)).count(), 0);
            }
        }
    }

    #[test]
    fn a_block_is_checked_once_it_was_good() {
        let mut writer = BlockWriter::default();
        let data = vec![7; 3 * 65_536 + 10];
        writer.add(&data);
        let blocks = Blocks::parse(&writer.key_value().value.unwrap()).unwrap();
        let touched: Vec<_> = blocks.unchecked(65_535..65_537).collect();
        assert_eq!(touched, [0..65_536, 65_536..131_072]);
        let error = blocks.check(0..65_536, &[8; 65_536]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the checksum of bytes 0 to 65535 is wrong"
        );
        blocks.check(0..65_536, &data[..65_536]).unwrap();
        assert_eq!(blocks.unchecked(0..65_536).count(), 0);
        let rest: Vec<_> = blocks.unchecked(0..u64::MAX).collect();
        assert_eq!(rest, [65_536..131_072, 131_072..196_608, 196_608..196_618]);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "00000001", "0000000100000000000000010000000a", "zz"] {
            assert!(Blocks::parse(text).is_err(), "{text}");
        }
        let newer = "00000002000000000000000000000000";
        assert!(Blocks::parse(newer).unwrap_err().contains("format 2"));
    }
}
