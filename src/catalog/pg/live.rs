//! What the catalogs show of the moment: the sessions and what they do. The layer of sessions tells it.

use std::fmt::Debug;

use datafusion::common::Result;

pub use super::rows::Value;
use crate::catalog::encoding::ClientEncoding;

/// The values that some columns of a row have, by the columns' names.
pub type Row = Vec<(&'static str, Value)>;

/// A relation whose rows only the layer of sessions knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LiveRelation {
    /// `pg_stat_activity`: the sessions.
    Activity,
    /// `pg_stat_ssl`: how they are connected.
    Ssl,
    /// `pg_stat_progress_copy`: their COPY statements.
    CopyProgress,
    /// `pg_stat_progress_compaction`: the compactions at work.
    CompactionProgress,
    /// `pg_settings`: the parameters of this session.
    Settings,
    /// `pg_cursors`: the open cursors of this session.
    Cursors,
    /// `pg_prepared_statements`: those of this session.
    PreparedStatements,
    /// `pg_stat_database`: what the database has done.
    Database,
}

impl LiveRelation {
    /// The relation of that name in `pg_catalog`.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        Some(match name {
            "pg_stat_activity" => Self::Activity,
            "pg_stat_ssl" => Self::Ssl,
            "pg_stat_progress_copy" => Self::CopyProgress,
            "pg_stat_progress_compaction" => Self::CompactionProgress,
            "pg_settings" => Self::Settings,
            "pg_cursors" => Self::Cursors,
            "pg_prepared_statements" => Self::PreparedStatements,
            "pg_stat_database" => Self::Database,
            _ => return None,
        })
    }
}

/// What may be done to another session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// `pg_cancel_backend`: its statement stops.
    Cancel,
    /// `pg_terminate_backend`: it ends.
    Terminate,
}

/// The sessions, as one of them sees them.
pub trait Live: Debug + Send + Sync {
    /// The rows of a relation.
    fn rows(&self, relation: LiveRelation) -> Vec<Row>;

    /// Signals the session of that number; whether there is one.
    ///
    /// # Errors
    /// 42501 when the user may not.
    fn signal(&self, pid: i32, signal: Signal) -> Result<bool>;

    /// Tells a channel something, when the session's transaction commits.
    ///
    /// # Errors
    /// 22023 for a name or a text that is too long.
    fn notify(&self, channel: &str, payload: &str) -> Result<()>;

    /// The encoding of the session's client.
    fn client_encoding(&self) -> ClientEncoding;
}
