//! The options of the server, with their defaults and ranges.

use std::path::PathBuf;
use std::time::Duration;

use super::value::{DatabaseName, ListenAddress, LogFormat, LogLevel, LogStatements};
use crate::error::Result;
use crate::settings::{ByteSize, Value, parse};

/// One key of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionInfo {
    /// The dotted name: section and key.
    pub name: String,
    /// The value as text that reads back.
    pub value: String,
    /// The default as text.
    pub default: String,
    /// What it does.
    pub description: &'static str,
}

/// Declares the sections: one entry per key, from which the structs, the defaults, the names and the texts come.
macro_rules! sections {
    ($(
        $(#[doc = $section_doc:literal])+
        $name:ident $section:literal {
            $(
                $(#[doc = $doc:literal])+
                $field:ident: $type:ty = $default:expr, in $range:expr;
            )+
        }
    )+) => { $(
        $(#[doc = $section_doc])+
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $( $(#[doc = $doc])+ pub $field: $type, )+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )+ }
            }
        }

        impl $name {
            /// Sets one value by its key; false when there is no such key.
            pub(super) fn set(&mut self, key: &str, text: &str) -> Result<bool> {
                match key {
                    $( stringify!($field) => {
                        let name = concat!($section, ".", stringify!($field));
                        self.$field = parse::<$type>(name, text, $range)?;
                    } )+
                    _ => return Ok(false),
                }
                Ok(true)
            }

            /// All keys in the order of their declaration.
            pub(super) fn list(&self) -> Vec<OptionInfo> {
                let default = Self::default();
                vec![$( OptionInfo {
                    name: concat!($section, ".", stringify!($field)).to_string(),
                    value: self.$field.to_text(),
                    default: default.$field.to_text(),
                    description: concat!($($doc),+).trim(),
                }, )+]
            }
        }
    )+ };
}

fn local(port: u16) -> ListenAddress {
    ListenAddress {
        host: "127.0.0.1".to_string(),
        port,
    }
}

sections! {
    /// Section `[server]`: where the server listens, and what its clients may take.
    ServerOptions "server" {
        /// The database directory; empty: a temporary one, removed when the server stops.
        data: Option<PathBuf> = None, in ..;
        /// The name of the database, as clients connect to it.
        database: DatabaseName = DatabaseName::default(), in ..;
        /// Addresses where clients of the Postgres protocol connect.
        listen: Vec<ListenAddress> = vec![local(5433)], in ..;
        /// A directory for the Unix socket `.s.PGSQL.PORT`; empty: none.
        unix_socket_directory: Option<PathBuf> = None, in ..;
        /// Addresses of HTTP: `/healthz`, `/readyz` and `/metrics`; empty: no HTTP.
        http_listen: Vec<ListenAddress> = vec![], in ..;
        /// Directories below which superusers may read and write files of the server by SQL; empty: none.
        file_directories: Vec<PathBuf> = vec![], in ..;
        /// The most connections at a time.
        max_connections: u32 = 1_000, in 1..=262_143;
        /// How many of these are kept for superusers.
        superuser_reserved_connections: u32 = 3, in 0..=262_143;
        /// How long a client may take to log in.
        authentication_timeout: Duration = Duration::from_secs(60), in Duration::from_secs(1)..=Duration::from_secs(600);
        /// How long a statement may run, unless its session says otherwise; 0: as long as it takes.
        statement_timeout: Duration = Duration::ZERO, in ..;
        /// How long a session may wait for its client outside a transaction, unless it says otherwise; 0: for ever.
        idle_session_timeout: Duration = Duration::ZERO, in ..;
        /// The same within a transaction block.
        idle_in_transaction_session_timeout: Duration = Duration::ZERO, in ..;
        /// How long a client that reads nothing may hold up its rows before it is disconnected; 0: for ever.
        write_timeout: Duration = Duration::from_secs(300), in ..;
        /// How long a connection is silent before TCP asks whether its client is still there; 0: never.
        tcp_keepalives_idle: Duration = Duration::from_secs(60), in ..=Duration::from_secs(32_767);
        /// How long TCP waits before it asks again.
        tcp_keepalives_interval: Duration = Duration::from_secs(10), in Duration::from_secs(1)..=Duration::from_secs(32_767);
        /// How often TCP asks before it gives the client up.
        tcp_keepalives_count: u32 = 6, in 1..=127;
        /// The largest message of a client that has not logged in.
        login_message_max_size: ByteSize = ByteSize(65_536), in ByteSize(10_000)..=ByteSize::mib(1);
        /// The largest message of a client that has logged in: a statement, its parameters, a piece of COPY.
        message_max_size: ByteSize = ByteSize::mib(256), in ByteSize(65_536)..=ByteSize::mib(1_023);
        /// The most prepared statements of a session.
        prepared_statements_max: u32 = 10_000, in 1..;
        /// The most open portals and cursors of a session.
        portals_max: u32 = 1_000, in 1..;
        /// How long running statements may go on after SIGTERM.
        drain_timeout: Duration = Duration::from_secs(30), in ..;
    }

    /// Section `[tls]`: encryption.
    TlsOptions "tls" {
        /// The server's certificate and those that sign it, PEM; empty: no TLS.
        cert_file: Option<PathBuf> = None, in ..;
        /// The private key of the certificate, PEM; only its owner may be able to read it.
        key_file: Option<PathBuf> = None, in ..;
        /// Certificates that sign those of clients, PEM; clients must then show one. Empty: they need none.
        client_ca_file: Option<PathBuf> = None, in ..;
        /// Whether connections over TCP must be encrypted.
        required: bool = false, in ..;
    }

    /// Section `[log]`: what goes to standard error.
    LogOptions "log" {
        /// Which events are logged: a level, and levels of single modules behind it.
        level: LogLevel = LogLevel("info".to_string()), in ..;
        /// How a line is written: text or json.
        format: LogFormat = LogFormat::Text, in ..;
        /// Which statements are logged: none, slow or all. Passwords in them are hidden.
        statements: LogStatements = LogStatements::Slow, in ..;
        /// How long a statement runs before it is slow.
        slow_duration: Duration = Duration::from_secs(5), in ..;
        /// Whether connections and disconnections are logged.
        connections: bool = false, in ..;
    }
}
