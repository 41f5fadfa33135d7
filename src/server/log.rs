//! What the server tells of itself on standard error, as text or JSON.

use std::io::{self, Write};
use std::time::Instant;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use super::config::{LogFormat, LogLevel, LogOptions, LogStatements};
use super::metrics::ServerMetrics;
use super::transport::Gone;
use crate::error::{Error, Result, sqlstate};
use crate::sql::backends::{Backend, Identity};
use crate::sql::redact;

/// The SQLSTATE of success.
const SUCCESSFUL_COMPLETION: &str = "00000";
/// Bytes of a statement that are logged.
const STATEMENT_BYTES_MAX: usize = 8 << 10;

/// The log of the process.
#[derive(Debug, Clone)]
pub struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
}

impl Log {
    /// Begins to write what the whole process logs; that can be done once.
    ///
    /// # Errors
    /// 22023 for levels that do not exist, 55000 when the process logs already.
    pub fn start(options: &LogOptions) -> Result<Self> {
        let (filter, handle) = reload::Layer::new(filter(&options.level)?);
        let lines = match options.format {
            LogFormat::Text => fmt::layer().with_ansi(false).with_writer(escaped).boxed(),
            LogFormat::Json => fmt::layer()
                .json()
                .flatten_event(true)
                .with_writer(io::stderr)
                .boxed(),
        };
        tracing_subscriber::registry()
            .with(filter)
            .with(lines)
            .try_init()
            .map_err(|e| {
                let state = sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE;
                Error::invalid(state, format!("could not start the log: {e}"))
            })?;
        Ok(Self { filter: handle })
    }

    /// Takes new levels.
    ///
    /// # Errors
    /// 22023 for levels that do not exist.
    pub fn set_level(&self, level: &LogLevel) -> Result<()> {
        let filter = filter(level)?;
        self.filter
            .reload(filter)
            .map_err(|e| Error::internal(format!("the log is gone: {e}")))
    }
}

fn filter(level: &LogLevel) -> Result<EnvFilter> {
    EnvFilter::try_new(&level.0).map_err(|e| {
        let message = format!("log.level \"{}\": {e}", level.0);
        Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message)
    })
}

/// A statement that runs: what will be counted and logged when it has ended.
#[derive(Debug)]
pub(super) struct RunningStatement {
    /// Its text, without passwords, shortened.
    text: String,
    begun: Instant,
}

impl RunningStatement {
    /// A statement that begins now.
    pub fn new(text: &str) -> Self {
        Self {
            text: redact(shortened(text)).into_owned(),
            begun: Instant::now(),
        }
    }

    /// It has ended, with its tag or with an error.
    pub fn ended(
        self,
        metrics: &ServerMetrics,
        options: &LogOptions,
        backend: &Backend,
        end: Result<&str, &Error>,
    ) {
        let took = self.begun.elapsed();
        let sqlstate = end.map_or_else(Error::sqlstate, |_| SUCCESSFUL_COMPLETION);
        metrics.query_ended(end.unwrap_or(&self.text), sqlstate, took);
        let wanted = match options.statements {
            LogStatements::None => false,
            LogStatements::Slow => took >= options.slow_duration,
            LogStatements::All => true,
        };
        if wanted {
            let identity = &backend.identity;
            tracing::info!(
                pid = identity.pid,
                user = identity.user,
                milliseconds = took.as_secs_f64() * 1e3,
                sqlstate,
                statement = self.text,
                "statement"
            );
        }
    }
}

/// Logs that a client has logged in.
pub(super) fn connected(options: &LogOptions, backend: &Backend) {
    let Identity { pid, user, .. } = &backend.identity;
    let address = address_of(backend);
    match options.connections {
        true => tracing::info!(pid, user, address, "connected"),
        false => tracing::debug!(pid, user, address, "connected"),
    }
}

/// Logs that a client that had logged in is gone, and why.
pub(super) fn disconnected(options: &LogOptions, backend: &Backend, gone: &Gone) {
    let Identity { pid, user, .. } = &backend.identity;
    let address = address_of(backend);
    let seconds = backend.started.elapsed().unwrap_or_default().as_secs_f64();
    match options.connections {
        true => tracing::info!(pid, user, address, seconds, %gone, "disconnected"),
        false => tracing::debug!(pid, user, address, seconds, %gone, "disconnected"),
    }
}

fn address_of(backend: &Backend) -> String {
    let address = backend.identity.address;
    address.map_or_else(|| "local".to_string(), |address| address.to_string())
}

fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(STATEMENT_BYTES_MAX)]
}

/// Standard error for lines of text.
fn escaped() -> Escaped<io::Stderr> {
    Escaped(io::stderr())
}

/// Writes lines so that names and statements in them can neither begin a new line nor speak to a terminal.
struct Escaped<W>(W);

impl<W: Write> Write for Escaped<W> {
    /// Each call has one whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        match text.contains(char::is_control) {
            false => self.0.write_all(line)?,
            true => self.0.write_all(escape(text).as_bytes())?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The line with its end, and with escapes for characters of control.
fn escape(line: &str) -> String {
    let mut escaped = String::with_capacity(line.len() + 16);
    for character in line.chars() {
        match character.is_control() {
            true => escaped.extend(character.escape_default()),
            false => escaped.push(character),
        }
    }
    escaped.push('\n');
    escaped
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_line_stays_one_line_whatever_is_in_it() {
        let mut lines = Escaped(Vec::new());
        lines.write_all("plain, caf\u{e9}\n".as_bytes()).unwrap();
        let line = "user=\"a\nINFO forged\" \x1b[31m\x07 \u{9b}31m\x7f\n";
        lines.write_all(line.as_bytes()).unwrap();
        let written = String::from_utf8(lines.0).unwrap();
        let expected =
            "plain, caf\u{e9}\nuser=\"a\\nINFO forged\" \\u{1b}[31m\\u{7} \\u{9b}31m\\u{7f}\n";
        assert_eq!(written, expected);
    }

    #[test]
    fn long_statements_are_cut_between_characters() {
        let text = "\u{e9}".repeat(STATEMENT_BYTES_MAX);
        assert_eq!(shortened(&text).len(), STATEMENT_BYTES_MAX);
        assert_eq!(shortened("SELECT 1"), "SELECT 1");
    }
}
