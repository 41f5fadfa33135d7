//! The metrics of connections and their statements.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;

use super::ServerMetrics;
use super::page::Page;
use crate::database::Database;
use crate::sql::backends::State;

pub(super) struct SessionCollector {
    pub database: Database,
    pub server: Arc<ServerMetrics>,
}

impl SessionCollector {
    fn connections(&self, page: &mut Page) -> fmt::Result {
        let states = [
            State::Active,
            State::Idle,
            State::IdleInTransaction,
            State::IdleInFailedTransaction,
        ];
        let mut counts: BTreeMap<&str, u64> = states.map(|s| (s.as_str(), 0)).into();
        for backend in self.database.backends().list() {
            *counts.entry(backend.activity().state.as_str()).or_default() += 1;
        }
        let counts = counts.into_iter().map(|(s, n)| ([s.to_string()], n));
        page.gauges(
            "connections",
            "Connections by what they do",
            ["state"],
            counts,
        )?;
        let accepted = self.server.connections.get();
        let help = "Connections that were accepted";
        page.counter("connections_accepted", help, None, accepted)?;
        let refused = self.server.refused.lock().clone().into_iter();
        let refused = refused.map(|(sqlstate, n)| ([sqlstate.to_string()], n));
        let help = "Connections that were turned away";
        page.counters("connections_refused", help, ["sqlstate"], refused)
    }

    fn queries(&self, page: &mut Page) -> fmt::Result {
        let server = &self.server;
        let queries = server.queries.lock().clone().into_iter();
        let queries = queries.map(|((kind, class), n)| {
            let class = String::from_utf8_lossy(&class).into_owned();
            ([kind.to_string(), class], n)
        });
        let help = "Statements by kind and class of SQLSTATE, 00 for success";
        page.counters("queries", help, ["kind", "sqlstate_class"], queries)?;
        let seconds = server.query_seconds.values();
        let help = "Time from the start of a statement to its last row";
        page.histogram("query_duration", help, Some(&Unit::Seconds), &seconds)?;
        let rows = server.sent_rows.get();
        page.counter("sent_rows", "Rows that clients were sent", None, rows)?;
        let bytes = Some(&Unit::Bytes);
        let sent = server.sent_bytes.get();
        page.counter("sent", "Bytes that clients were sent", bytes, sent)?;
        let received = server.received_bytes.get();
        page.counter("received", "Bytes that clients sent", bytes, received)
    }
}

impl fmt::Debug for SessionCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionCollector")
    }
}

impl Collector for SessionCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let page = &mut Page(encoder);
        self.connections(page)?;
        self.queries(page)
    }
}
