//! Statements of scripts for PostgreSQL that have nothing to do here: they are accepted, and say so, or refused where a
//! script relies on them.

use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::ObjectName;

use super::ddl::{find_maintained, no_database, qualified_parts, qualify};
use super::notice::Notice;
use super::session::{Session, Tag, done};
use super::transaction::TransactionStatus;
use crate::catalog::foreign_keys::Deferral;
use crate::catalog::pg::extensions::Extension;
use crate::error::{Error, Result, sqlstate};
use crate::storage::foreign_key::{ForeignKey, Timing};
use crate::storage::schema::CollectionId;
use crate::storage::snapshot::Snapshot;
use crate::storage::unique::is_key_or_check;

/// An extension that is a language.
const LANGUAGE: &str = "plpgsql";

/// A statement that is accepted.
#[derive(Debug, Clone)]
pub enum Script {
    /// CREATE EXTENSION.
    CreateExtension {
        /// The extension.
        name: String,
        /// Whether an existing one is fine.
        if_not_exists: bool,
    },
    /// DROP EXTENSION.
    DropExtension {
        /// The extensions.
        names: Vec<String>,
        /// Whether missing ones are fine.
        if_exists: bool,
    },
    /// ALTER EXTENSION .. UPDATE.
    AlterExtension(String),
    /// CREATE DATABASE: a server has one.
    CreateDatabase(String),
    /// DROP DATABASE.
    DropDatabase {
        /// The database.
        name: String,
        /// Whether a missing one is fine.
        if_exists: bool,
    },
    /// COMMENT ON something whose comments are not kept.
    Comment,
    /// ANALYZE.
    Analyze(Vec<ObjectName>),
    /// CLUSTER.
    Cluster(Option<ObjectName>),
    /// REINDEX.
    Reindex,
    /// CHECKPOINT.
    Checkpoint,
    /// LOCK TABLE.
    Lock(Vec<ObjectName>),
    /// SET CONSTRAINTS.
    SetConstraints {
        /// Which; no names are ALL.
        names: Vec<ObjectName>,
        /// Whether they are looked at by COMMIT.
        deferred: bool,
    },
    /// LISTEN.
    Listen(String),
    /// UNLISTEN of a channel, or of all.
    Unlisten(Option<String>),
    /// NOTIFY.
    Notify {
        /// The channel.
        channel: String,
        /// What it is told.
        payload: String,
    },
    /// DROP of something of a kind that is never there.
    DropMissing {
        /// The kind.
        kind: MissingKind,
        /// What is dropped, as errors show it.
        names: Vec<String>,
        /// Whether missing ones are fine.
        if_exists: bool,
    },
}

/// A kind of objects of which there are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingKind {
    /// Aggregates.
    Aggregate,
    /// Triggers.
    Trigger,
    /// Rules.
    Rule,
    /// Policies of rows.
    Policy,
}

impl MissingKind {
    /// The kind that the words after DROP name, and how many they are.
    pub fn of_words(first: &str, second: &str) -> Option<(Self, usize)> {
        Some(match (first, second) {
            ("AGGREGATE", _) => (Self::Aggregate, 1),
            ("TRIGGER", _) => (Self::Trigger, 1),
            ("RULE", _) => (Self::Rule, 1),
            ("POLICY", _) => (Self::Policy, 1),
            _ => return None,
        })
    }

    fn tag(self) -> &'static str {
        match self {
            Self::Aggregate => "DROP AGGREGATE",
            Self::Trigger => "DROP TRIGGER",
            Self::Rule => "DROP RULE",
            Self::Policy => "DROP POLICY",
        }
    }

    /// The error for one that is dropped.
    fn missing(self, name: &str) -> Error {
        let (what, code) = match self {
            Self::Aggregate => ("aggregate", sqlstate::UNDEFINED_FUNCTION),
            Self::Trigger => ("trigger", sqlstate::UNDEFINED_OBJECT),
            Self::Rule => ("rule", sqlstate::UNDEFINED_OBJECT),
            Self::Policy => ("policy", sqlstate::UNDEFINED_OBJECT),
        };
        Error::not_found(code, format!("{what} {name} does not exist"))
    }
}

impl Script {
    fn tag(&self) -> &'static str {
        match self {
            Self::CreateExtension { .. } => "CREATE EXTENSION",
            Self::DropExtension { .. } => "DROP EXTENSION",
            Self::AlterExtension(_) => "ALTER EXTENSION",
            Self::CreateDatabase(_) => "CREATE DATABASE",
            Self::DropDatabase { .. } => "DROP DATABASE",
            Self::Comment => "COMMENT",
            Self::Analyze(_) => "ANALYZE",
            Self::Cluster(_) => "CLUSTER",
            Self::Reindex => "REINDEX",
            Self::Checkpoint => "CHECKPOINT",
            Self::Lock(_) => "LOCK TABLE",
            Self::SetConstraints { .. } => "SET CONSTRAINTS",
            Self::Listen(_) => "LISTEN",
            Self::Unlisten(_) => "UNLISTEN",
            Self::Notify { .. } => "NOTIFY",
            Self::DropMissing { kind, .. } => kind.tag(),
        }
    }
}

/// The plan of such a statement.
pub(super) fn plan(session: &Session, script: Script) -> Result<(Tag, LogicalPlan)> {
    let (tag, session) = (script.tag(), session.clone());
    done(tag, format!("Accept: {tag}"), move || {
        let (session, script) = (session.clone(), script.clone());
        async move { session.accept(&script).await }
    })
}

/// That collections which are to be maintained exist.
fn check_collections(session: &Session, names: &[ObjectName]) -> Result<()> {
    let (path, snapshot) = (session.search_path(), session.snapshot());
    for name in names {
        find_maintained(&snapshot, &qualify(name, &path)?)?;
    }
    Ok(())
}

/// Whether a collection of these SQL schemas has a key or CHECK constraint of that name.
fn has_constraint(snapshot: &Snapshot, schemas: &[String], name: &str) -> bool {
    let mut collections = snapshot.collections();
    collections.any(|collection| {
        schemas.contains(&collection.name.schema)
            && is_key_or_check(&collection.unique_keys(), &collection.schema, name)
    })
}

impl Session {
    async fn accept(&self, script: &Script) -> Result<()> {
        match script {
            Script::CreateExtension {
                name,
                if_not_exists,
            } => self.create_extension(name, *if_not_exists),
            Script::DropExtension { names, if_exists } => names
                .iter()
                .try_for_each(|name| self.drop_extension(name, *if_exists)),
            Script::AlterExtension(name) => {
                self.check_extension(name)?;
                self.notice(format!(
                    "extension \"{name}\" is built in and always the newest"
                ));
                Ok(())
            }
            Script::CreateDatabase(name) => Err(self.no_second_database(name)),
            Script::DropDatabase { name, if_exists } => self.drop_database(name, *if_exists),
            Script::Comment => {
                self.notice("comments on such objects are not kept");
                Ok(())
            }
            Script::Analyze(names) => check_collections(self, names),
            Script::Cluster(name) => {
                check_collections(self, name.as_slice())?;
                let hint = "COMPACT .. WITH CLUSTERING shelves the rows by the clustering key.";
                self.notice(Notice::from("CLUSTER does nothing").with_hint(hint));
                Ok(())
            }
            Script::Reindex => {
                self.notice("indexes are written with their segments, REINDEX does nothing");
                Ok(())
            }
            Script::Checkpoint => {
                self.notice("commits are durable, and checkpoints are written as the log grows");
                Ok(())
            }
            Script::Lock(names) => {
                self.inner.block.lock().check_inside("LOCK TABLE")?;
                check_collections(self, names)?;
                self.notice(
                    "readers and writers do not wait for each other, LOCK TABLE does nothing",
                );
                Ok(())
            }
            Script::SetConstraints { names, deferred } => {
                self.set_constraints(names, *deferred).await
            }
            Script::Listen(channel) => {
                self.listen(channel);
                Ok(())
            }
            Script::Unlisten(channel) => {
                self.unlisten(channel.as_deref());
                Ok(())
            }
            Script::Notify { channel, payload } => self.notify(channel, payload),
            Script::DropMissing {
                kind,
                names,
                if_exists,
            } => self.drop_missing(*kind, names, *if_exists),
        }
    }

    fn drop_missing(&self, kind: MissingKind, names: &[String], if_exists: bool) -> Result<()> {
        for name in names {
            let missing = kind.missing(name);
            if !if_exists {
                return Err(missing);
            }
            self.notice(format!("{}, skipping", missing.message()));
        }
        Ok(())
    }

    /// # Errors
    /// 42704 for a name that no constraint has, 42809 for that of one that cannot be deferred, 23503 when rows do not keep
    /// one that was deferred.
    async fn set_constraints(&self, names: &[ObjectName], deferred: bool) -> Result<()> {
        let snapshot = self.snapshot();
        let mut named = Vec::new();
        for name in names {
            named.extend(self.deferrable(&snapshot, name)?);
        }
        if self.transaction_status() == TransactionStatus::Idle {
            let message = "SET CONSTRAINTS can only be used in transaction blocks";
            let code = sqlstate::NO_ACTIVE_SQL_TRANSACTION;
            self.notice(Notice::warning(message).with_sqlstate(code));
        }
        let Some(transaction) = self.open_transaction() else {
            return Ok(());
        };
        let change = |deferral: &mut Deferral| match names {
            [] => deferral.set_all(deferred),
            _ => {
                let named = named.iter();
                named.for_each(|(child, name)| deferral.set(*child, name, deferred));
            }
        };
        transaction.defer(change).await
    }

    /// The foreign keys of that name, with their collections.
    fn deferrable(
        &self,
        snapshot: &Snapshot,
        name: &ObjectName,
    ) -> Result<Vec<(CollectionId, String)>> {
        let path = self.search_path().into_schemas();
        let (schema, name) = qualified_parts(name)?;
        let schemas = schema.map_or(path, |schema| vec![schema]);
        let collections = snapshot.collections();
        let collections = collections.filter(|c| schemas.contains(&c.name.schema));
        let keys = collections.filter_map(|c| Some((c.id, c.schema.foreign_key(&name)?)));
        let keys: Vec<_> = keys.collect();
        let is_immediate = |(_, key): &(_, &ForeignKey)| key.timing == Timing::Immediate;
        if keys.iter().any(is_immediate) || has_constraint(snapshot, &schemas, &name) {
            let message = format!("constraint \"{name}\" is not deferrable");
            return Err(Error::invalid(sqlstate::WRONG_OBJECT_TYPE, message));
        }
        if keys.is_empty() {
            let message = format!("constraint \"{name}\" does not exist");
            return Err(Error::not_found(sqlstate::UNDEFINED_OBJECT, message));
        }
        Ok(keys
            .into_iter()
            .map(|(id, key)| (id, key.name.clone()))
            .collect())
    }

    fn create_extension(&self, name: &str, if_not_exists: bool) -> Result<()> {
        let extension = Extension::named(name);
        if extension.is_none() && name != LANGUAGE {
            let message = format!("extension \"{name}\" is not available");
            let hint = format!("Those that are there are built in: {}.", Extension::names());
            return Err(Error::unsupported(message).with_hint(hint));
        }
        let notice = Notice::from(match if_not_exists {
            true => format!("extension \"{name}\" already exists, skipping"),
            false => format!("extension \"{name}\" is built in"),
        });
        self.notice(match extension.and_then(|extension| extension.has) {
            Some(has) => notice.with_hint(format!("Of its functions there are {has}.")),
            None => notice,
        });
        Ok(())
    }

    fn no_second_database(&self, name: &str) -> Error {
        if *name == self.identity().database {
            let message = format!("database \"{name}\" already exists");
            return Error::exists(sqlstate::DUPLICATE_DATABASE, message);
        }
        Error::unsupported("a server has one database").with_hint(
            "Its setting server.database is the name; make a schema, or start a second server.",
        )
    }

    fn drop_database(&self, name: &str, if_exists: bool) -> Result<()> {
        if *name == self.identity().database {
            let message = "cannot drop the currently open database";
            return Err(Error::invalid(sqlstate::OBJECT_IN_USE, message));
        }
        let missing = no_database(name);
        if !if_exists {
            return Err(missing);
        }
        self.notice(format!("{}, skipping", missing.message()));
        Ok(())
    }

    fn drop_extension(&self, name: &str, if_exists: bool) -> Result<()> {
        match self.check_extension(name) {
            Ok(()) => self.notice(format!("extension \"{name}\" is built in and stays")),
            Err(error) if if_exists => self.notice(format!("{}, skipping", error.message())),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn check_extension(&self, name: &str) -> Result<()> {
        if Extension::named(name).is_some() || name == LANGUAGE {
            return Ok(());
        }
        let message = format!("extension \"{name}\" does not exist");
        Err(Error::not_found(sqlstate::UNDEFINED_OBJECT, message))
    }
}
