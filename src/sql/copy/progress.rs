//! How far the COPY of a session is.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use crate::storage::schema::CollectionId;

/// What a COPY copies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CopyJob {
    /// Whether rows come in rather than go out.
    pub is_from: bool,
    /// Whether the rows are in files of the server rather than with the client.
    pub is_file: bool,
    /// The collection; `None` for a query.
    pub collection: Option<CollectionId>,
}

/// The bytes that a session's newest COPY has read or written, and its rows.
#[derive(Debug, Default)]
pub struct CopyProgress {
    job: Mutex<CopyJob>,
    is_running: AtomicBool,
    bytes_done: AtomicU64,
    bytes_total: AtomicU64,
    rows: AtomicU64,
}

/// A COPY that is running, until it is dropped.
#[derive(Debug)]
pub(super) struct Running(Arc<CopyProgress>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.is_running.store(false, Relaxed);
    }
}

impl CopyProgress {
    /// Says what the COPY copies that begins next.
    pub(super) fn describe(&self, job: CopyJob) {
        *self.job.lock() = job;
    }

    /// Begins to count; zero for bytes that nobody knows before.
    pub(super) fn begin(self: &Arc<Self>, bytes_total: u64) -> Running {
        self.bytes_done.store(0, Relaxed);
        self.rows.store(0, Relaxed);
        self.bytes_total.store(bytes_total, Relaxed);
        self.is_running.store(true, Relaxed);
        Running(Arc::clone(self))
    }

    /// What is copied now, if anything is.
    pub fn running(&self) -> Option<CopyJob> {
        self.is_running.load(Relaxed).then(|| *self.job.lock())
    }

    /// Bytes read or written, and of how many; 0 where nobody knows.
    pub fn bytes(&self) -> (u64, u64) {
        (
            self.bytes_done.load(Relaxed),
            self.bytes_total.load(Relaxed),
        )
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
        let running = progress.begin(8);
        let mut reader = Counted {
            inner: &b"abcd"[..],
            progress: Arc::clone(&progress),
        };
        reader.read_to_end(&mut Vec::new()).unwrap();
        assert_eq!(progress.fraction(), 0.5);
        assert_eq!(progress.bytes(), (4, 8));
        assert!(progress.running().is_some());
        drop(running);
        assert_eq!(progress.running(), None);
    }
}
