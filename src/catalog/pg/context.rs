//! What the functions and tables of the catalogs know of the session and the statement that use them.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use datafusion::common::{Result, plan_err};
use datafusion::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};

use super::live::Live;
use super::objects::{Objects, Relation};
use crate::catalog::advisory::SessionLocks;
use crate::catalog::search_path as path;
use crate::catalog::sequences::SessionSequences;
use crate::catalog::user::CurrentUser;
use crate::storage::snapshot::{Snapshot, TEMPORARY_SCHEMA};

/// Who runs statements, and where from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionFacts {
    /// The role that logged in.
    pub user: String,
    /// The database that the client named.
    pub database: String,
    /// The number by which the session can be cancelled.
    pub backend_pid: i32,
    /// Where the client is; `None` for a socket of this machine and for embedded sessions.
    pub client: Option<SocketAddr>,
    /// When the database was opened by this process, milliseconds since 1970 UTC.
    pub started_ms: i64,
}

/// The session's facts and the version that the statement reads, carried by the configuration to wherever functions
/// are evaluated.
#[derive(Debug, Clone)]
pub struct PgContext {
    /// The session.
    pub facts: Arc<SessionFacts>,
    /// Whose rights it has.
    pub user: Arc<CurrentUser>,
    /// The sessions as it sees them.
    pub live: Arc<dyn Live>,
    /// The advisory locks as it takes them.
    pub locks: Arc<SessionLocks>,
    /// The sequences as it uses them.
    pub sequences: SessionSequences,
    version: Arc<Version>,
}

#[derive(Debug)]
struct Version {
    snapshot: Arc<Snapshot>,
    objects: OnceLock<Arc<Objects>>,
}

impl PgContext {
    /// The context of a statement that reads `snapshot`.
    pub fn new(
        facts: Arc<SessionFacts>,
        user: Arc<CurrentUser>,
        live: Arc<dyn Live>,
        locks: Arc<SessionLocks>,
        sequences: SessionSequences,
        snapshot: Arc<Snapshot>,
    ) -> Self {
        let objects = OnceLock::new();
        Self {
            facts,
            user,
            live,
            locks,
            sequences,
            version: Arc::new(Version { snapshot, objects }),
        }
    }

    /// The context that the configuration carries.
    ///
    /// # Errors
    /// When it carries none: the session is not one of ours.
    pub(super) fn of(config: &ConfigOptions) -> Result<&Self> {
        match config.extensions.get::<Self>() {
            Some(context) => Ok(context),
            None => plan_err!("the system catalogs need a session of a shelfmark Database"),
        }
    }

    /// The version that a statement with this configuration reads, if it is one of ours.
    pub fn snapshot_of(config: &ConfigOptions) -> Option<Arc<Snapshot>> {
        let context = config.extensions.get::<Self>();
        context.map(|context| Arc::clone(&context.version.snapshot))
    }

    /// The version that the statement reads.
    pub(super) fn snapshot(&self) -> &Arc<Snapshot> {
        &self.version.snapshot
    }

    /// The objects of that version.
    pub(super) fn objects(&self) -> &Arc<Objects> {
        let made = || Arc::new(Objects::of(&self.version.snapshot));
        self.version.objects.get_or_init(made)
    }

    /// The relation that a name without a schema means, or none.
    pub(super) fn resolve(&self, config: &ConfigOptions, name: &str) -> Option<&Relation> {
        let path = search_path(config);
        path.iter().find_map(|s| self.objects().find(s, name))
    }

    /// Whether the relation is the one that its bare name means.
    pub(super) fn is_visible(&self, config: &ConfigOptions, relation: &Relation) -> bool {
        let found = self.resolve(config, &relation.name);
        found.is_some_and(|found| found.oid == relation.oid)
    }
}

/// The schemas in which a bare name is looked up: that of temporary tables and PostgreSQL's own come first.
pub(super) fn search_path(config: &ConfigOptions) -> Vec<String> {
    let user = user_search_path(config);
    let implicit = match user.iter().any(|name| name == "pg_catalog") {
        true => None,
        false => Some("pg_catalog".to_string()),
    };
    let temporary = TEMPORARY_SCHEMA.to_string();
    let before = std::iter::once(temporary).chain(implicit);
    before.chain(user).collect()
}

/// The schemas that the session named.
pub(super) fn user_search_path(config: &ConfigOptions) -> Vec<String> {
    let path = &config.catalog.default_schema;
    path::split(path).unwrap_or_else(|| vec![path.clone()])
}

impl ConfigExtension for PgContext {
    const PREFIX: &'static str = "shelfmark_session";
}

impl ExtensionOptions for PgContext {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    /// Facts are no settings.
    fn set(&mut self, key: &str, _value: &str) -> Result<()> {
        plan_err!("\"{key}\" cannot be set")
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}
