//! The sessions as one of them sees them, for `pg_stat_activity` and its like.

use std::sync::Weak;
use std::time::SystemTime;

use arrow::datatypes::FieldRef;
use datafusion::common::Result as DataFusionResult;

use super::backends::{Backend, Identity, State};
use super::cursor::CursorRow;
use super::format;
use super::named::Named;
use super::notice::Notice;
use super::session::{Inner, Session};
use super::variables::SettingRow;
use crate::catalog::encoding::ClientEncoding;
use crate::catalog::pg::{DATABASE_OID, Live, LiveRelation, Row, Signal, Value, collection_oid};
use crate::compaction::jobs::Progress;
use crate::error::{Error, Result};
use crate::storage::access::Rights;
use crate::storage::change::JobRecord;
use crate::storage::committer::now_ms;
use crate::storage::role::RoleId;
use crate::storage::snapshot::Snapshot;

/// What somebody sees of the query of a session that is none of theirs.
const HIDDEN: &str = "<insufficient privilege>";

/// The sessions, as one of them sees them. It owns this, hence weak.
#[derive(Debug)]
pub(super) struct LiveSessions {
    session: Weak<Inner>,
}

impl LiveSessions {
    /// As this session sees them.
    pub(super) fn new(session: Weak<Inner>) -> Self {
        Self { session }
    }

    fn session(&self) -> Option<Session> {
        let inner = self.session.upgrade()?;
        Some(Session { inner })
    }
}

impl Live for LiveSessions {
    fn notify(&self, channel: &str, payload: &str) -> DataFusionResult<()> {
        match self.session() {
            Some(session) => Ok(session.notify(channel, payload)?),
            None => Ok(()),
        }
    }

    fn client_encoding(&self) -> ClientEncoding {
        let session = self.session();
        session.map_or_else(ClientEncoding::default, |s| s.style().encoding)
    }

    fn rows(&self, relation: LiveRelation) -> Vec<Row> {
        let Some(session) = self.session() else {
            return Vec::new();
        };
        match relation {
            LiveRelation::Activity => activity(&session),
            LiveRelation::Ssl => session.backends(ssl),
            LiveRelation::CopyProgress => session.visible_backends(copy_progress),
            LiveRelation::CompactionProgress => {
                let running = session.inner.core.scheduler.running().into_iter();
                running
                    .map(|(job, now)| compaction_progress(&session, &job, &now))
                    .collect()
            }
            LiveRelation::Settings => session.settings().into_iter().map(setting).collect(),
            LiveRelation::Cursors => session.cursors().into_iter().map(cursor).collect(),
            LiveRelation::PreparedStatements => {
                let named = session.named_statements().into_iter();
                named.map(|(name, named)| statement(name, &named)).collect()
            }
            LiveRelation::Database => vec![database(&session)],
        }
    }

    fn signal(&self, pid: i32, signal: Signal) -> DataFusionResult<bool> {
        let Some(session) = self.session() else {
            return Ok(false);
        };
        let Some(backend) = session.inner.core.backends.get(pid) else {
            let message = format!("PID {pid} is not a PostgreSQL server process");
            session.notice(Notice::warning(message));
            return Ok(false);
        };
        let user = session.user().current();
        check_signal(&session.snapshot(), user, backend.identity.role, signal)?;
        match signal {
            Signal::Cancel => backend.cancel(),
            Signal::Terminate => backend.terminate(),
        }
        Ok(true)
    }
}

/// That the user may signal a session of the role `owner`.
///
/// # Errors
/// 42501 when it may not.
fn check_signal(snapshot: &Snapshot, user: RoleId, owner: RoleId, signal: Signal) -> Result<()> {
    let rights = Rights::new(snapshot, user);
    let (what, verb) = match signal {
        Signal::Cancel => ("query", "canceled"),
        Signal::Terminate => ("process", "terminated"),
    };
    if Rights::new(snapshot, owner).is_superuser() && !rights.is_superuser() {
        let verb = verb.trim_end_matches("ed");
        return Err(Error::denied(format!(
            "must be a superuser to {verb} superuser {what}"
        )));
    }
    if rights.acts_as(owner) || rights.acts_as(RoleId::SIGNAL_BACKEND) {
        return Ok(());
    }
    Err(Error::denied(format!(
        "must be a member of the role whose {what} is being {verb} or member of pg_signal_backend"
    )))
}

impl Session {
    fn backends(&self, row: impl Fn(&Backend) -> Row) -> Vec<Row> {
        let backends = self.inner.core.backends.list();
        backends.iter().map(|backend| row(backend)).collect()
    }

    fn visible_backends(&self, row: impl Fn(&Backend) -> Option<Row>) -> Vec<Row> {
        let backends = self.inner.core.backends.list().into_iter();
        let visible = backends.filter(|b| self.may_see(b.identity.role));
        visible.filter_map(|backend| row(&backend)).collect()
    }

    /// Whether the user may see what sessions of the role do.
    fn may_see(&self, role: RoleId) -> bool {
        let snapshot = self.snapshot();
        let rights = Rights::new(&snapshot, self.user().current());
        rights.acts_as(role) || rights.acts_as(RoleId::READ_ALL_STATS)
    }
}

fn activity(session: &Session) -> Vec<Row> {
    let mut rows = session.backends(|backend| {
        let mut row = identity(&backend.identity);
        let application = backend.activity().application_name;
        row.push(("application_name", application.into()));
        match session.may_see(backend.identity.role) {
            true => row.extend(doings(backend)),
            false => row.push(("query", HIDDEN.into())),
        }
        row
    });
    if session
        .inner
        .core
        .backends
        .get(session.identity().pid)
        .is_none()
    {
        // A session of the program that embeds the database is no client, but it asks.
        let mut own = identity(session.identity());
        own.push(("state", State::Active.as_str().into()));
        own.push(("backend_type", "client backend".into()));
        rows.push(own);
    }
    rows
}

fn identity(identity: &Identity) -> Row {
    vec![
        ("datid", DATABASE_OID.into()),
        ("datname", identity.database.as_str().into()),
        ("pid", identity.pid.into()),
        ("usesysid", identity.role.oid().into()),
        ("usename", identity.user.as_str().into()),
    ]
}

/// What only those who may see the session's queries see of it.
fn doings(backend: &Backend) -> Row {
    let activity = backend.activity();
    let address = backend.identity.address;
    let waits = activity.state != State::Active;
    vec![
        ("client_addr", address.map(|a| a.ip().to_string()).into()),
        // As PostgreSQL has it, -1 is a socket of this machine.
        (
            "client_port",
            address.map_or(-1, |a| i32::from(a.port())).into(),
        ),
        ("backend_start", instant(backend.started)),
        (
            "xact_start",
            activity.transaction_start.map(instant_of).into(),
        ),
        ("query_start", activity.query_start.map(instant_of).into()),
        ("state_change", instant(activity.state_change)),
        ("wait_event_type", waits.then_some("Client").into()),
        ("wait_event", waits.then_some("ClientRead").into()),
        ("state", activity.state.as_str().into()),
        ("query", activity.query.into()),
        ("backend_type", "client backend".into()),
    ]
}

fn ssl(backend: &Backend) -> Row {
    vec![
        ("pid", backend.identity.pid.into()),
        ("ssl", backend.identity.encrypted.into()),
    ]
}

fn copy_progress(backend: &Backend) -> Option<Row> {
    let job = backend.copy.running()?;
    let (done, total) = backend.copy.bytes();
    let command = if job.is_from { "COPY FROM" } else { "COPY TO" };
    let place = if job.is_file { "FILE" } else { "PIPE" };
    Some(vec![
        ("pid", backend.identity.pid.into()),
        ("datid", DATABASE_OID.into()),
        ("datname", backend.identity.database.as_str().into()),
        ("relid", job.collection.map_or(0, collection_oid).into()),
        ("command", command.into()),
        ("type", place.into()),
        ("bytes_processed", number(done)),
        ("bytes_total", number(total)),
        ("tuples_processed", number(backend.copy.rows())),
        ("tuples_excluded", Value::Int(0)),
    ])
}

fn compaction_progress(session: &Session, job: &JobRecord, progress: &Progress) -> Row {
    let micros = |ms: i64| Value::Int(ms.saturating_mul(1_000));
    let now = now_ms();
    let elapsed = i64::try_from(progress.elapsed.as_millis()).unwrap_or(i64::MAX);
    let left = progress.time_left();
    let left = left.and_then(|left| i64::try_from(left.as_millis()).ok());
    vec![
        // Threads of the server do it, which no session has.
        ("pid", Value::Null),
        ("datid", DATABASE_OID.into()),
        ("datname", session.identity().database.as_str().into()),
        ("relid", collection_oid(job.collection).into()),
        ("compaction_id", number(job.id.0)),
        ("kind", job.kind.as_str().into()),
        ("phase", progress.phase.name().into()),
        ("started_at", micros(now.saturating_sub(elapsed))),
        (
            "eta",
            left.map_or(Value::Null, |left| micros(now.saturating_add(left))),
        ),
        ("progress", Value::Float(progress.part_done())),
        ("segments_total", number(progress.inputs.segments)),
        ("tuples_total", number(progress.inputs.rows)),
        ("tuples_read", number(progress.rows_read)),
        ("tuples_written", number(progress.rows_written)),
        ("bytes_total", number(progress.inputs.bytes)),
        ("bytes_written", number(progress.bytes_written)),
        ("peak_memory_bytes", number(progress.memory_bytes_max)),
        ("spilled_bytes", number(progress.spilled_bytes)),
    ]
}

fn setting(row: SettingRow) -> Row {
    vec![
        ("name", row.name.into()),
        ("setting", row.setting.into()),
        ("unit", row.unit.into()),
        ("category", row.category.into()),
        ("short_desc", row.description.into()),
        ("context", row.context.into()),
        ("vartype", row.kind.into()),
        ("source", row.source.into()),
        ("min_val", row.min.into()),
        ("max_val", row.max.into()),
        ("enumvals", row.values.into()),
        ("boot_val", row.boot.into()),
        ("reset_val", row.reset.into()),
        ("pending_restart", false.into()),
    ]
}

fn cursor(row: CursorRow) -> Row {
    vec![
        ("name", row.name.into()),
        ("statement", row.statement.into()),
        ("is_holdable", row.is_holdable.into()),
        ("is_binary", row.is_binary.into()),
        ("is_scrollable", row.is_scrollable.into()),
        ("creation_time", instant(row.created)),
    ]
}

fn statement(name: String, named: &Named) -> Row {
    let parameters = named.prepared.as_ref().map_or(&[][..], |p| p.parameters());
    let types = parameters
        .iter()
        .map(|field: &FieldRef| format::type_of(field).oid);
    vec![
        ("name", name.into()),
        ("statement", named.text.as_ref().into()),
        ("prepare_time", instant(named.created)),
        ("parameter_types", types.collect::<Vec<_>>().into()),
        ("from_sql", named.from_sql.into()),
    ]
}

/// What is counted since the database was opened; columns that nobody counts are NULL.
fn database(session: &Session) -> Row {
    let core = &session.inner.core;
    let metrics = core.engine.metrics();
    let commits = metrics.log_group_commits.values().sum;
    vec![
        ("datid", DATABASE_OID.into()),
        ("datname", session.identity().database.as_str().into()),
        ("numbackends", (core.backends.count() as i64).into()),
        ("xact_commit", Value::Int(commits as i64)),
        ("tup_returned", number(metrics.rows_scanned.get())),
        ("conflicts", Value::Int(0)),
        ("deadlocks", Value::Int(0)),
        ("stats_reset", Value::Int(core.opened_ms * 1_000)),
    ]
}

fn number(value: u64) -> Value {
    Value::Int(i64::try_from(value).unwrap_or(i64::MAX))
}

/// Microseconds since 1970 UTC.
fn instant_of(time: SystemTime) -> i64 {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

fn instant(time: SystemTime) -> Value {
    Value::Int(instant_of(time))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::database::Database;
    use crate::settings::Settings;

    #[tokio::test]
    async fn only_members_and_superusers_signal_sessions() {
        let database = Database::temporary(Settings::default()).await.unwrap();
        let session = database.session();
        for statement in [
            "CREATE ROLE ann LOGIN",
            "CREATE ROLE bob LOGIN",
            "CREATE ROLE eve LOGIN",
            "GRANT ann TO bob",
            "GRANT pg_signal_backend TO eve",
        ] {
            let frame = session.sql(statement).await.unwrap();
            frame.collect().await.unwrap();
        }
        let snapshot = session.snapshot();
        let role = |name: &str| snapshot.role_named(name).unwrap().id;
        let may = |user, owner| check_signal(&snapshot, user, owner, Signal::Cancel).is_ok();
        let (ann, bob, eve) = (role("ann"), role("bob"), role("eve"));
        assert!(may(ann, ann) && may(bob, ann) && may(eve, ann));
        assert!(!may(ann, bob) && !may(eve, RoleId::BOOTSTRAP));
        assert!(may(RoleId::BOOTSTRAP, eve));
    }
}
