//! How far the COPY of a session is.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bytes of the files that a session's newest COPY .. FROM reads, and the rows they gave.
#[derive(Debug, Default)]
pub struct CopyProgress {
    bytes_done: AtomicU64,
    bytes_total: AtomicU64,
    rows: AtomicU64,
}

impl CopyProgress {
    pub(super) fn begin(&self, bytes_total: u64) {
        self.bytes_done.store(0, Relaxed);
        self.rows.store(0, Relaxed);
        self.bytes_total.store(bytes_total, Relaxed);
    }

    pub(super) fn add_bytes(&self, bytes: u64) {
        self.bytes_done.fetch_add(bytes, Relaxed);
    }

    pub(super) fn add_rows(&self, rows: u64) {
        self.rows.fetch_add(rows, Relaxed);
    }

    /// The part of the files' bytes that is read, 0 to 1; 0 before any COPY.
    pub fn fraction(&self) -> f64 {
        let total = self.bytes_total.load(Relaxed).max(1);
        (self.bytes_done.load(Relaxed) as f64 / total as f64).min(1.0)
    }

    /// Rows read.
    pub fn rows(&self) -> u64 {
        self.rows.load(Relaxed)
    }
}

/// Counts the bytes that are read through it.
pub(super) struct Counted<R> {
    pub(super) inner: R,
    pub(super) progress: Arc<CopyProgress>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let bytes = self.inner.read(buffer)?;
        self.progress.add_bytes(bytes as u64);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn bytes_that_are_read_count() {
        let progress = Arc::new(CopyProgress::default());
        progress.begin(8);
        let mut reader = Counted {
            inner: &b"abcd"[..],
            progress: Arc::clone(&progress),
        };
        reader.read_to_end(&mut Vec::new()).unwrap();
        assert_eq!(progress.fraction(), 0.5);
    }
}
