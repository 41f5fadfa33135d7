#![allow(clippy::unwrap_used)]

mod files;
mod matrix;
mod statements;

use crate::database::Database;
use crate::error::Result;
use crate::settings::Settings;
use crate::sql::backends::Identity;
use crate::sql::{FileAccess, Session};
use crate::storage::role::RoleId;

async fn database() -> Database {
    Database::temporary(Settings::default()).await.unwrap()
}

/// The session of a client.
fn client(database: &Database, role: RoleId, files: FileAccess) -> Session {
    let identity = Identity {
        role,
        ..Identity::embedded()
    };
    database.open_session(identity, files)
}

/// Runs a statement to its end; the answer is its rows as text.
async fn run(session: &Session, sql: &str) -> Result<String> {
    let frame = session.sql(sql).await?;
    Ok(frame.to_string().await?)
}

async fn run_all(session: &Session, statements: &[&str]) {
    for sql in statements {
        if let Err(e) = run(session, sql).await {
            panic!("{sql}: {e}");
        }
    }
}

/// The SQLSTATE and message of a statement that must fail.
async fn failure(session: &Session, sql: &str) -> (&'static str, String) {
    match run(session, sql).await {
        Ok(rows) => panic!("{sql} succeeded: {rows}"),
        Err(e) => (e.sqlstate(), e.message().to_string()),
    }
}
