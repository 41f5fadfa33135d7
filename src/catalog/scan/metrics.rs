//! What EXPLAIN ANALYZE tells of a scan.

use datafusion::physical_plan::metrics::{
    BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder,
};

use crate::metrics::{Counter, Metrics};

/// Counters of one partition.
#[derive(Debug)]
pub(super) struct ScanMetrics {
    /// Output rows and time.
    pub baseline: BaselineMetrics,
    /// Sealed segments that were opened.
    pub segments_scanned: Count,
    /// Sealed segments that a dynamic filter pruned before they were opened.
    pub segments_pruned_dynamic: Count,
    /// Sealed segments whose bloom filters know none of the values that are looked up.
    pub segments_pruned_bloom: Count,
    /// Row groups of the opened segments.
    pub row_groups_total: Count,
    /// Row groups of these that were pruned.
    pub row_groups_pruned: Count,
    /// Row groups of these that bloom filters pruned.
    pub row_groups_pruned_bloom: Count,
    /// Rows that were pruned by the statistics of their pages.
    pub page_rows_pruned: Count,
    /// Rows that were decoded, after deletes and late filters.
    pub rows_read: Count,
    /// Bytes that were read from files.
    pub bytes_read: Count,
}

impl ScanMetrics {
    pub fn new(metrics: &ExecutionPlanMetricsSet, partition: usize) -> Self {
        let counter = |name: &'static str| MetricBuilder::new(metrics).counter(name, partition);
        Self {
            baseline: BaselineMetrics::new(metrics, partition),
            segments_scanned: counter("segments_scanned"),
            segments_pruned_dynamic: counter("segments_pruned_dynamic"),
            segments_pruned_bloom: counter("segments_pruned_bloom"),
            row_groups_total: counter("row_groups_total"),
            row_groups_pruned: counter("row_groups_pruned"),
            row_groups_pruned_bloom: counter("row_groups_pruned_bloom"),
            page_rows_pruned: counter("page_rows_pruned"),
            rows_read: counter("rows_read"),
            bytes_read: counter("bytes_read"),
        }
    }

    /// Adds what the partition did to what the database counts.
    pub fn count_in(&self, totals: &Metrics) {
        let add = |total: &Counter, count: &Count| total.add(count.value() as u64);
        add(&totals.segments_scanned, &self.segments_scanned);
        add(&totals.segments_pruned, &self.segments_pruned_dynamic);
        add(&totals.rows_scanned, &self.rows_read);
        add(&totals.bytes_scanned, &self.bytes_read);
    }

    /// Records what was known when the query was planned.
    pub fn planned(metrics: &ExecutionPlanMetricsSet, total: usize, pruned: usize) {
        let counter = |name: &'static str| MetricBuilder::new(metrics).global_counter(name);
        counter("segments_total").add(total);
        counter("segments_pruned").add(pruned);
    }
}
