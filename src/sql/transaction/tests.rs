//! Blocks of real sessions.

#![allow(clippy::unwrap_used)]

use futures::TryStreamExt;

use crate::sql::{Session, Severity, Tag, TransactionStatus};
use crate::{Database, Settings};

async fn run(session: &Session, text: &str) -> crate::Result<(Tag, usize)> {
    let outcome = session.run(text).await?;
    let batches: Vec<_> = outcome.stream.try_collect().await?;
    let rows = batches.iter().map(|b| b.num_rows()).sum();
    Ok((outcome.tag, rows))
}

async fn ok(session: &Session, text: &str) -> (Tag, usize) {
    run(session, text).await.unwrap()
}

fn codes(session: &Session) -> Vec<(Severity, &'static str)> {
    let notices = session.take_notices();
    notices.iter().map(|n| (n.severity, n.sqlstate)).collect()
}

async fn database() -> Database {
    let database = Database::temporary(Settings::default()).await.unwrap();
    ok(&database.session(), "CREATE TABLE t (id INT)").await;
    database
}

#[tokio::test]
async fn the_state_and_the_tags_are_those_of_postgres() {
    let session = database().await.session();
    assert_eq!(session.transaction_status(), TransactionStatus::Idle);
    assert_eq!(ok(&session, "BEGIN").await.0, Tag::Done("BEGIN"));
    assert_eq!(session.transaction_status(), TransactionStatus::Open);
    run(&session, "SELECT 1/0").await.unwrap_err();
    assert_eq!(session.transaction_status(), TransactionStatus::Failed);
    assert_eq!(ok(&session, "COMMIT").await.0, Tag::Done("ROLLBACK"));
    assert_eq!(session.transaction_status(), TransactionStatus::Idle);
    assert_eq!(codes(&session), []);
    let begun = ok(&session, "START TRANSACTION").await;
    assert_eq!(begun.0, Tag::Done("START TRANSACTION"));
    ok(&session, "BEGIN").await;
    ok(&session, "COMMIT AND CHAIN").await;
    assert_eq!(session.transaction_status(), TransactionStatus::Open);
    assert_eq!(ok(&session, "END").await.0, Tag::Done("COMMIT"));
    ok(&session, "COMMIT").await;
    ok(&session, "ROLLBACK").await;
    ok(&session, "SET TRANSACTION READ ONLY").await;
    let warned = [
        (Severity::Warning, "25001"),
        (Severity::Warning, "25P01"),
        (Severity::Warning, "25P01"),
        (Severity::Warning, "25P01"),
    ];
    assert_eq!(codes(&session), warned);
}

#[tokio::test]
async fn a_block_says_what_it_cannot_undo() {
    let session = database().await.session();
    ok(&session, "BEGIN").await;
    ok(&session, "SELECT * FROM t").await;
    ok(&session, "SAVEPOINT a").await;
    assert_eq!(codes(&session), []);
    ok(&session, "INSERT INTO t VALUES (1)").await;
    let notices = session.take_notices();
    assert_eq!(notices.len(), 1);
    assert!(notices[0].message.contains("INSERT"), "{notices:?}");
    ok(&session, "DELETE FROM t").await;
    assert_eq!(codes(&session), []);
    ok(&session, "ROLLBACK TO a").await;
    assert_eq!(codes(&session).len(), 1);
    ok(&session, "COMMIT").await;
    assert_eq!(codes(&session), []);
    ok(&session, "BEGIN").await;
    ok(&session, "UPDATE t SET id = 2").await;
    assert_eq!(codes(&session).len(), 1);
    ok(&session, "ROLLBACK").await;
    assert_eq!(codes(&session).len(), 1);
}

#[tokio::test]
async fn a_repeatable_read_block_sees_one_version_until_it_writes() {
    let database = database().await;
    let (reader, writer) = (database.session(), database.session());
    ok(&reader, "BEGIN ISOLATION LEVEL REPEATABLE READ").await;
    assert_eq!(ok(&reader, "SELECT * FROM t").await.1, 0);
    ok(&writer, "INSERT INTO t VALUES (1)").await;
    assert_eq!(ok(&reader, "SELECT * FROM t").await.1, 0);
    ok(&reader, "INSERT INTO t VALUES (2)").await;
    assert_eq!(ok(&reader, "SELECT * FROM t").await.1, 2);
    ok(&reader, "COMMIT").await;
    ok(&reader, "BEGIN").await;
    assert_eq!(ok(&reader, "SELECT * FROM t").await.1, 2);
    ok(&writer, "INSERT INTO t VALUES (3)").await;
    assert_eq!(ok(&reader, "SELECT * FROM t").await.1, 3);
}
