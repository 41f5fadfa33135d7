//! The server: the Postgres wire protocol over TCP and Unix sockets.
//!
//! The life of a connection:
//! 1. [`listen`] accepts a socket; [`startup`] reads the startup message, over TLS where the client asks for it;
//!    [`auth`] lets the client show who it is; [`entrance`] makes its session.
//! 2. [`connection`] takes one message after the other: [`frame`] decodes it, [`extended`] keeps prepared statements
//!    and portals.
//! 3. [`running`] executes a statement on the runtime of queries and encodes its rows; the connection writes them.
//!    One that takes less than to wake another thread is run where its connection is ([`execution`]).
//! 4. [`respond`] makes the messages for errors, notices and columns; [`transport`] has the bytes, [`message`] puts texts into
//!    the client's encoding.
//!
//! Two runtimes keep clients apart from computation: sockets are served by one, plans are executed by the other.

pub mod auth;
pub mod config;
mod connection;
mod entrance;
mod execution;
mod extended;
mod frame;
pub mod http;
pub mod listen;
pub mod log;
mod message;
pub mod metrics;
pub mod process;
mod respond;
mod running;
mod startup;
mod transport;
mod waiting;

pub use config::Config;
pub use entrance::Access;
pub use listen::Server;

use crate::sql::redact;

/// Bytes of a statement that `pg_stat_activity` shows.
const ACTIVITY_BYTES_MAX: usize = 1024;

/// A statement as other sessions may see it: without passwords, shortened.
fn activity_text(text: &str) -> String {
    let shortened = &text[..text.floor_char_boundary(ACTIVITY_BYTES_MAX)];
    redact(shortened).into_owned()
}
