//! What a database counts about its own work since it was opened: plain numbers that every layer can add to.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts `more`.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// How many of something there are now.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// One more, as long as the guard is held.
    pub fn enter(&self) -> Entered<'_> {
        self.0.fetch_add(1, Relaxed);
        Entered(self)
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// One of those that a [`Gauge`] counts.
#[derive(Debug)]
pub struct Entered<'a>(&'a Gauge);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}

/// How often values fell into each of some ranges.
#[derive(Debug)]
pub struct Histogram {
    /// The upper ends of the ranges, ascending; values above the last have a range of their own.
    bounds: &'static [f64],
    counts: Vec<AtomicU64>,
    /// The bits of an `f64`.
    sum: AtomicU64,
}

/// A histogram as it was at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct HistogramValues {
    /// The sum of all values.
    pub sum: f64,
    /// The upper end of each range and how many values fell into it; the last end is infinite.
    pub buckets: Vec<(f64, u64)>,
}

impl HistogramValues {
    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }
}

impl Histogram {
    /// An empty histogram of the ranges that end at `bounds`, ascending.
    pub fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0));
        Self {
            bounds,
            counts: counts.collect(),
            sum: AtomicU64::new(0f64.to_bits()),
        }
    }

    /// Counts a value.
    pub fn observe(&self, value: f64) {
        let range = self.bounds.partition_point(|end| *end < value);
        self.counts[range].fetch_add(1, Relaxed);
        let plus = |bits| Some((f64::from_bits(bits) + value).to_bits());
        // The closure always gives a value, so the update cannot fail.
        let _ = self.sum.fetch_update(Relaxed, Relaxed, plus);
    }

    /// The values so far.
    pub fn values(&self) -> HistogramValues {
        let ends = self.bounds.iter().copied().chain([f64::INFINITY]);
        let counts = self.counts.iter().map(|count| count.load(Relaxed));
        HistogramValues {
            sum: f64::from_bits(self.sum.load(Relaxed)),
            buckets: ends.zip(counts).collect(),
        }
    }
}

/// Seconds that writes to a disk take.
const SYNC_SECONDS: [f64; 12] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5,
];
/// Commits that one write makes durable.
const GROUP_COMMITS: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 256.0, 1_024.0];

/// What the engine counts.
#[derive(Debug)]
pub struct Metrics {
    /// Bytes written to the log.
    pub log_bytes: Counter,
    /// Seconds of each durable write to the log; there is one sync in each.
    pub log_sync_seconds: Histogram,
    /// Commits of each durable write.
    pub log_group_commits: Histogram,
    /// Sealed segments that scans opened.
    pub segments_scanned: Counter,
    /// Sealed segments that scans left out by their statistics.
    pub segments_pruned: Counter,
    /// Rows that scans decoded.
    pub rows_scanned: Counter,
    /// Bytes that scans read from segments.
    pub bytes_scanned: Counter,
    /// Workers of vector searches.
    pub search_workers: Gauge,
    /// Ended compactions by kind and state.
    compactions: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            log_bytes: Counter::default(),
            log_sync_seconds: Histogram::new(&SYNC_SECONDS),
            log_group_commits: Histogram::new(&GROUP_COMMITS),
            segments_scanned: Counter::default(),
            segments_pruned: Counter::default(),
            rows_scanned: Counter::default(),
            bytes_scanned: Counter::default(),
            search_workers: Gauge::default(),
            compactions: Mutex::default(),
        }
    }
}

impl Metrics {
    /// Counts a durable write of `commits` commits to the log.
    pub fn log_written(&self, bytes: u64, commits: u64, took: Duration) {
        self.log_bytes.add(bytes);
        self.log_group_commits.observe(commits as f64);
        self.log_sync_seconds.observe(took.as_secs_f64());
    }

    /// Counts a compaction of that kind that ended in that state.
    pub fn compaction_ended(&self, kind: &'static str, state: &'static str) {
        *self.compactions.lock().entry((kind, state)).or_default() += 1;
    }

    /// Ended compactions by kind and state.
    pub fn compactions(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        self.compactions.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_falls_into_the_first_range_that_holds_it() {
        let histogram = Histogram::new(&[1.0, 2.0]);
        for value in [0.5, 1.0, 1.5, 7.0] {
            histogram.observe(value);
        }
        let values = histogram.values();
        assert_eq!(values.sum, 10.0);
        assert_eq!(values.count(), 4);
        assert_eq!(values.buckets, [(1.0, 2), (2.0, 1), (f64::INFINITY, 1)]);
    }
}
