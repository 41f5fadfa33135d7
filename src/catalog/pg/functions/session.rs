//! Functions about the session and the server.

use super::{Call, Definition, Gives, Value};
use crate::catalog::encoding::ClientEncoding;
use crate::catalog::pg::context::{search_path, user_search_path};
use crate::catalog::pg::live::Signal;
use crate::catalog::pg::roles;
use datafusion::common::Result;

/// The release of PostgreSQL whose behaviour clients may count on.
const POSTGRES: &str = "15.18";

pub(super) const FUNCTIONS: &[Definition] = &[
    Definition::new("version", 0..=0, Gives::Text, version),
    Definition::new("current_database", 0..=0, Gives::Name, database),
    Definition::new("current_catalog", 0..=0, Gives::Name, database),
    Definition::new("current_schema", 0..=0, Gives::Name, schema),
    Definition::new("current_schemas", 1..=1, Gives::Names, schemas),
    Definition::new("current_user", 0..=0, Gives::Name, user),
    Definition::new("current_role", 0..=0, Gives::Name, user),
    Definition::new("session_user", 0..=0, Gives::Name, session_user),
    Definition::new("user", 0..=0, Gives::Name, user),
    Definition::new("pg_backend_pid", 0..=0, Gives::Int4, pid),
    Definition::new("pg_cancel_backend", 1..=1, Gives::Bool, |c| {
        signal(c, Signal::Cancel)
    })
    .volatile(),
    Definition::new("pg_terminate_backend", 1..=2, Gives::Bool, |c| {
        signal(c, Signal::Terminate)
    })
    .volatile(),
    Definition::new("pg_notify", 2..=2, Gives::Named("void"), notify)
        .volatile()
        .with_nulls(),
    Definition::new("pg_is_in_recovery", 0..=0, Gives::Bool, no),
    Definition::new("pg_is_wal_replay_paused", 0..=0, Gives::Bool, no),
    Definition::new("pg_postmaster_start_time", 0..=0, Gives::Instant, started),
    Definition::new("pg_conf_load_time", 0..=0, Gives::Instant, started),
    Definition::new("inet_server_addr", 0..=0, Gives::Named("inet"), |_| {
        Ok(Value::Null)
    }),
    Definition::new("inet_server_port", 0..=0, Gives::Int4, |_| Ok(Value::Null)),
    Definition::new("inet_client_addr", 0..=0, Gives::Named("inet"), |c| {
        Ok(c.context.facts.client.map(|a| a.ip().to_string()).into())
    }),
    Definition::new("inet_client_port", 0..=0, Gives::Int4, |c| {
        Ok(c.context.facts.client.map(|a| i64::from(a.port())).into())
    }),
    Definition::new("txid_current", 0..=0, Gives::Int8, transaction).volatile(),
    Definition::new("pg_current_xact_id", 0..=0, Gives::Int8, transaction).volatile(),
    Definition::new("pg_my_temp_schema", 0..=0, Gives::Oid("oid"), |_| {
        Ok(Value::Int(0))
    }),
    Definition::new("pg_is_other_temp_schema", 1..=1, Gives::Bool, no),
    Definition::new("pg_client_encoding", 0..=0, Gives::Name, |c| {
        Ok(c.context.live.client_encoding().name().into())
    }),
    Definition::new("getdatabaseencoding", 0..=0, Gives::Name, |_| {
        Ok("UTF8".into())
    }),
    // Nobody waits for a lock of another: there are none.
    Definition::new("pg_blocking_pids", 1..=1, Gives::Int4s, |_| {
        Ok(Value::List(Vec::new()))
    }),
    Definition::new("pg_encoding_to_char", 1..=1, Gives::Name, encoding_name),
    Definition::new("pg_char_to_encoding", 1..=1, Gives::Int4, encoding_code),
];

fn notify(call: &Call<'_>) -> Result<Value> {
    let text = |place| call.text(place).unwrap_or_default();
    call.context.live.notify(&text(0), &text(1))?;
    Ok("".into())
}

fn no(_: &Call<'_>) -> Result<Value> {
    Ok(false.into())
}

fn version(_: &Call<'_>) -> Result<Value> {
    let own = env!("CARGO_PKG_VERSION");
    Ok(format!("PostgreSQL {POSTGRES} (Shelfmark {own})").into())
}

fn database(call: &Call<'_>) -> Result<Value> {
    Ok(call.context.facts.database.as_str().into())
}

fn user(call: &Call<'_>) -> Result<Value> {
    Ok(roles::name_of(call.context, call.context.user.current().oid()).into())
}

fn session_user(call: &Call<'_>) -> Result<Value> {
    Ok(roles::name_of(call.context, call.context.user.session().oid()).into())
}

fn pid(call: &Call<'_>) -> Result<Value> {
    Ok(call.context.facts.backend_pid.into())
}

/// Stops a statement of another session, or the session; false where there is none of that number.
fn signal(call: &Call<'_>, signal: Signal) -> Result<Value> {
    let pid = call.int(0).and_then(|pid| i32::try_from(pid).ok());
    match pid {
        Some(pid) => Ok(call.context.live.signal(pid, signal)?.into()),
        None => Ok(false.into()),
    }
}

fn started(call: &Call<'_>) -> Result<Value> {
    Ok((call.context.facts.started_ms * 1_000).into())
}

fn exists(call: &Call<'_>, name: &str) -> bool {
    call.context
        .objects()
        .namespaces
        .iter()
        .any(|(_, n)| n == name)
}

fn schema(call: &Call<'_>) -> Result<Value> {
    let path = user_search_path(call.config);
    Ok(path.into_iter().find(|name| exists(call, name)).into())
}

fn schemas(call: &Call<'_>) -> Result<Value> {
    let path = match call.bool(0) {
        Some(true) => search_path(call.config),
        _ => user_search_path(call.config),
    };
    let there = path.into_iter().filter(|name| exists(call, name));
    Ok(there.collect::<Vec<_>>().into())
}

/// The number of the version that the statement reads: it grows with every commit, as a transaction id does.
fn transaction(call: &Call<'_>) -> Result<Value> {
    let version = call.context.snapshot().version().0;
    Ok(i64::try_from(version).ok().into())
}

fn encoding_name(call: &Call<'_>) -> Result<Value> {
    let encoding = call.int(0).and_then(ClientEncoding::of_code);
    Ok(encoding.map_or("", ClientEncoding::name).into())
}

fn encoding_code(call: &Call<'_>) -> Result<Value> {
    let encoding = ClientEncoding::of_name(&call.text(0).unwrap_or_default());
    let code = encoding.map_or(-1, |encoding| i64::from(encoding.code()));
    Ok(code.into())
}
