//! What the server counts about its clients, and the page that Prometheus reads.

mod engine;
mod page;
mod process;
mod sessions;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use crate::database::Database;
use crate::metrics::{Counter, Histogram};

/// Seconds that statements take.
const QUERY_SECONDS: [f64; 14] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0,
];

/// Words that begin tags, as kinds of statements; all others are of the kind `other`.
const KINDS: [&str; 24] = [
    "select", "insert", "update", "delete", "copy", "create", "drop", "alter", "truncate",
    "compact", "vacuum", "explain", "show", "set", "reset", "begin", "commit", "rollback", "fetch",
    "declare", "prepare", "execute", "grant", "revoke",
];

/// What the server counts about its clients.
#[derive(Debug)]
pub struct ServerMetrics {
    /// Connections that were accepted.
    pub connections: Counter,
    /// Bytes that clients sent.
    pub received_bytes: Counter,
    /// Bytes that clients were sent.
    pub sent_bytes: Counter,
    /// Rows that clients were sent.
    pub sent_rows: Counter,
    /// Seconds from the start of a statement to its last row.
    query_seconds: Histogram,
    /// Statements by kind and class of SQLSTATE.
    queries: Mutex<BTreeMap<(&'static str, [u8; 2]), u64>>,
    /// Connections that were turned away, by SQLSTATE.
    refused: Mutex<BTreeMap<&'static str, u64>>,
}

impl Default for ServerMetrics {
    fn default() -> Self {
        Self {
            connections: Counter::default(),
            received_bytes: Counter::default(),
            sent_bytes: Counter::default(),
            sent_rows: Counter::default(),
            query_seconds: Histogram::new(&QUERY_SECONDS),
            queries: Mutex::default(),
            refused: Mutex::default(),
        }
    }
}

impl ServerMetrics {
    /// Counts a statement that ended with that SQLSTATE; `text` is its tag or, where it failed, itself.
    pub fn query_ended(&self, text: &str, sqlstate: &str, took: Duration) {
        let class = sqlstate.as_bytes().first_chunk::<2>();
        let class = class.copied().unwrap_or(*b"XX");
        let (kind, rows) = read_tag(text);
        self.sent_rows.add(rows);
        *self.queries.lock().entry((kind, class)).or_default() += 1;
        self.query_seconds.observe(took.as_secs_f64());
    }

    /// Counts a connection that was turned away.
    pub fn connection_refused(&self, sqlstate: &'static str) {
        *self.refused.lock().entry(sqlstate).or_default() += 1;
    }
}

/// The kind of a statement by its first word, and the rows that it answered with by the tag `SELECT 5`.
fn read_tag(text: &str) -> (&'static str, u64) {
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
    let first = words.find(|word| !word.is_empty()).unwrap_or_default();
    let same = |kind: &&&str| kind.eq_ignore_ascii_case(first);
    let kind = KINDS.iter().find(same).copied().unwrap_or("other");
    let rows = match text.split_once(' ') {
        Some(("SELECT" | "FETCH", rows)) => rows.parse().unwrap_or(0),
        _ => 0,
    };
    (kind, rows)
}

/// All metrics, ready to be read.
#[derive(Debug)]
pub struct Exporter {
    registry: Registry,
}

impl Exporter {
    /// The content type of what it writes.
    pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// Of one server and its database.
    pub fn new(database: Database, server: Arc<ServerMetrics>) -> Self {
        let mut registry = Registry::default();
        let own = registry.sub_registry_with_prefix("shelfmark");
        own.register_collector(Box::new(engine::EngineCollector::new(database.clone())));
        own.register_collector(Box::new(sessions::SessionCollector { database, server }));
        registry.register_collector(Box::new(process::ProcessCollector));
        Self { registry }
    }

    /// The values now, in the text format of OpenMetrics.
    ///
    /// # Errors
    /// What formatting says, which is nothing as long as memory lasts.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_a_closed_set() {
        assert_eq!(read_tag("SELECT 5"), ("select", 5));
        assert_eq!(read_tag("INSERT 0 3"), ("insert", 0));
        assert_eq!(read_tag("  (select 7"), ("select", 0));
        assert_eq!(read_tag("\'; DROP"), ("drop", 0));
        assert_eq!(read_tag("nonsense"), ("other", 0));
        assert_eq!(read_tag(""), ("other", 0));
    }
}
