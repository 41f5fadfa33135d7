//! What EXPLAIN ANALYZE tells of a search.

use datafusion::physical_plan::metrics::{
    BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, Time,
};

use crate::metrics::Metrics;

/// Counters of a search; all workers add to them.
#[derive(Debug, Clone)]
pub(super) struct SearchMetrics {
    /// Output rows.
    pub baseline: BaselineMetrics,
    /// Sealed segments that were opened.
    pub segments_scanned: Count,
    /// Sealed segments that were pruned when the search ran: by values of subqueries, or when they were opened by their
    /// row groups' statistics or bloom filters.
    pub segments_pruned_late: Count,
    /// Sealed segments none of whose vectors can be near enough.
    pub segments_skipped: Count,
    /// Rows for which the filter was evaluated.
    pub rows_filtered: Count,
    /// Candidates, or rows that may be, whose cell has no vector that can be near enough.
    pub rows_skipped: Count,
    /// Rows whose distance counts: live rows that the filter accepts.
    pub candidates: Count,
    /// Distances that were computed.
    pub distances: Count,
    /// Bytes of vectors that were read.
    pub vector_bytes: Count,
    /// Bytes of other columns that were read.
    pub other_bytes: Count,
    /// Time in which candidates were found, all workers together.
    pub filter_time: Time,
    /// Time in which distances were computed, all workers together.
    pub scan_time: Time,
    /// Time in which the columns of the winners were read.
    pub fetch_time: Time,
}

impl SearchMetrics {
    pub fn new(metrics: &ExecutionPlanMetricsSet) -> Self {
        let counter = |name: &'static str| MetricBuilder::new(metrics).counter(name, 0);
        let time = |name: &'static str| MetricBuilder::new(metrics).subset_time(name, 0);
        Self {
            baseline: BaselineMetrics::new(metrics, 0),
            segments_scanned: counter("segments_scanned"),
            segments_pruned_late: counter("segments_pruned_late"),
            segments_skipped: counter("segments_skipped"),
            rows_filtered: counter("rows_filtered"),
            rows_skipped: counter("rows_skipped"),
            candidates: counter("candidates"),
            distances: counter("distances"),
            vector_bytes: counter("vector_bytes"),
            other_bytes: counter("other_bytes"),
            filter_time: time("filter_time"),
            scan_time: time("scan_time"),
            fetch_time: time("fetch_time"),
        }
    }

    /// Records what was known when the search was planned.
    pub fn planned(metrics: &ExecutionPlanMetricsSet, total: usize, pruned: usize) {
        let counter = |name: &'static str| MetricBuilder::new(metrics).global_counter(name);
        counter("segments_total").add(total);
        counter("segments_pruned").add(pruned);
    }

    /// Adds what the search did to what the database counts.
    pub fn count_in(&self, totals: &Metrics, pruned: usize) {
        let scanned = self.segments_scanned.value() as u64;
        let late = self.segments_pruned_late.value();
        totals.segments_scanned.add(scanned);
        totals.segments_pruned.add((pruned + late) as u64);
        totals.rows_scanned.add(self.candidates.value() as u64);
        let bytes = self.vector_bytes.value() + self.other_bytes.value();
        totals.bytes_scanned.add(bytes as u64);
    }
}
