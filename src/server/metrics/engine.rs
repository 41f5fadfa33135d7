//! The metrics of the database.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;

use super::page::Page;
use crate::database::Database;

pub(super) struct EngineCollector {
    database: Database,
}

impl EngineCollector {
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    fn log(&self, page: &mut Page) -> fmt::Result {
        let metrics = self.database.engine().metrics();
        let (bytes, seconds) = (Some(&Unit::Bytes), Some(&Unit::Seconds));
        let groups = metrics.log_group_commits.values();
        page.counter(
            "log",
            "Bytes written to the log",
            bytes,
            metrics.log_bytes.get(),
        )?;
        page.counter(
            "log_appends",
            "Durable writes to the log",
            None,
            groups.count(),
        )?;
        let syncs = metrics.log_sync_seconds.values();
        page.histogram(
            "log_sync",
            "Time of a write to the log with its sync",
            seconds,
            &syncs,
        )?;
        let help = "Commits that one durable write holds";
        page.histogram("log_group_commits", help, None, &groups)?;
        let version = self.database.engine().committer.snapshot().version();
        page.gauge("version", "The newest version", None, version.0)
    }

    fn scans(&self, page: &mut Page) -> fmt::Result {
        let metrics = self.database.engine().metrics();
        let bytes = Some(&Unit::Bytes);
        let scanned = metrics.segments_scanned.get();
        page.counter(
            "segments_scanned",
            "Segments that scans opened",
            None,
            scanned,
        )?;
        let pruned = metrics.segments_pruned.get();
        let help = "Segments that scans left out by their statistics";
        page.counter("segments_pruned", help, None, pruned)?;
        let rows = metrics.rows_scanned.get();
        page.counter("scanned_rows", "Rows that scans decoded", None, rows)?;
        let workers = metrics.search_workers.get();
        let help = "Workers that search vectors now";
        page.gauge("search_workers", help, None, workers)?;
        let read = metrics.bytes_scanned.get();
        page.counter(
            "scanned",
            "Bytes that scans read from segments",
            bytes,
            read,
        )
    }

    fn collections(&self, page: &mut Page) -> fmt::Result {
        let snapshot = self.database.engine().committer.snapshot();
        let bytes = Some(&Unit::Bytes);
        let (mut collections, mut segments, mut segment_bytes) = (0u64, 0u64, 0u64);
        let (mut rows, mut growing_rows, mut growing_bytes) = (0u64, 0u64, 0u64);
        for collection in snapshot.collections() {
            collections += 1;
            for segment in collection.segments() {
                segments += 1;
                segment_bytes += segment.bytes;
                rows += segment.live_rows();
            }
            for growing in collection.growing() {
                growing_rows += growing.live_rows();
                growing_bytes += growing.bytes;
            }
        }
        page.gauge("collections", "Collections", None, collections)?;
        page.gauge("segments", "Sealed segments", None, segments)?;
        page.gauge("segment", "Bytes of sealed segments", bytes, segment_bytes)?;
        page.gauge("segment_rows", "Live rows of sealed segments", None, rows)?;
        page.gauge(
            "growing_rows",
            "Rows that are not sealed",
            None,
            growing_rows,
        )?;
        page.gauge(
            "growing",
            "Bytes of rows that are not sealed",
            bytes,
            growing_bytes,
        )
    }

    fn compactions(&self, page: &mut Page) -> fmt::Result {
        let scheduler = self.database.scheduler();
        let text = |(kind, state): (&str, &str)| [kind.to_string(), state.to_string()];
        let ended = self.database.engine().metrics().compactions();
        let ended = ended
            .into_iter()
            .map(|(labels, count)| (text(labels), count));
        let labels = ["kind", "state"];
        page.counters("compactions", "Compactions that ended", labels, ended)?;
        let live = scheduler.live().into_iter();
        let live = live.map(|(labels, count)| (text(labels), count));
        let help = "Compactions that are queued or at work";
        page.gauges("compactions_active", help, labels, live)?;
        let help = "Segments that compaction should rewrite and does not yet";
        page.gauge(
            "compaction_backlog_segments",
            help,
            None,
            scheduler.backlog(),
        )
    }

    fn resources(&self, page: &mut Page) -> fmt::Result {
        let usage = self.database.usage();
        let bytes = Some(&Unit::Bytes);
        let help = "Memory that queries have reserved";
        page.gauge("memory_reserved", help, bytes, usage.memory_reserved)?;
        let help = "Memory that queries may reserve together";
        page.gauge("memory_limit", help, bytes, usage.memory_limit)?;
        let help = "Disk space that temporary files of queries take";
        page.gauge("temp_used", help, bytes, usage.temp_used)?;
        let help = "Disk space that temporary files of queries may take";
        page.gauge("temp_limit", help, bytes, usage.temp_limit)
    }
}

impl fmt::Debug for EngineCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EngineCollector")
    }
}

impl Collector for EngineCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let page = &mut Page(encoder);
        self.log(page)?;
        self.scans(page)?;
        self.collections(page)?;
        self.compactions(page)?;
        self.resources(page)
    }
}
