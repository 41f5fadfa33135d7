//! Blocks of real sessions.

#![allow(clippy::unwrap_used)]

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use futures::TryStreamExt;

use crate::sql::{Session, Severity, Tag, TransactionStatus};
use crate::{Database, Settings};

mod history;

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

const NONE: [i64; 0] = [];

/// The first column of the rows, as numbers.
async fn numbers(session: &Session, text: &str) -> Vec<i64> {
    let outcome = session.run(text).await.unwrap();
    let batches: Vec<_> = outcome.stream.try_collect().await.unwrap();
    let column = |b: &RecordBatch| {
        let numbers = cast(b.column(0), &DataType::Int64).unwrap();
        numbers.as_primitive::<Int64Type>().values().to_vec()
    };
    batches.iter().flat_map(column).collect()
}

async fn ids(session: &Session) -> Vec<i64> {
    numbers(session, "SELECT id FROM t ORDER BY id").await
}

async fn code(session: &Session, text: &str) -> &'static str {
    run(session, text).await.unwrap_err().sqlstate()
}

/// The files of segments that are on disk.
fn files(database: &Database) -> usize {
    let root = database.engine().store.segments_dir();
    let directories = std::fs::read_dir(root).unwrap();
    let inside = |d: std::io::Result<std::fs::DirEntry>| std::fs::read_dir(d.unwrap().path());
    directories.map(|d| inside(d).unwrap().count()).sum()
}

#[tokio::test]
async fn a_block_is_seen_by_itself_until_it_commits() {
    let database = database().await;
    let (a, b) = (database.session(), database.session());
    ok(&a, "BEGIN").await;
    ok(&a, "INSERT INTO t VALUES (1), (2), (3)").await;
    ok(&a, "UPDATE t SET id = 20 WHERE id = 2").await;
    ok(&a, "DELETE FROM t WHERE id = 1").await;
    assert_eq!(ids(&a).await, [3, 20]);
    assert_eq!(ids(&b).await, NONE);
    let before = database.engine().committer.snapshot().version();
    ok(&a, "COMMIT").await;
    let after = database.engine().committer.snapshot().version();
    assert_eq!((ids(&b).await, after.0), (vec![3, 20], before.0 + 1));
    ok(&a, "BEGIN").await;
    ok(&a, "DELETE FROM t").await;
    assert_eq!(ids(&a).await, NONE);
    ok(&a, "ROLLBACK").await;
    assert_eq!(ids(&a).await, [3, 20]);
    assert_eq!(codes(&a), []);
}

#[tokio::test]
async fn a_block_reads_one_version_whatever_isolation_it_asks_for() {
    let database = database().await;
    let (reader, writer) = (database.session(), database.session());
    for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        let before = ids(&writer).await;
        ok(&reader, &format!("BEGIN ISOLATION LEVEL {level}")).await;
        assert_eq!(ids(&reader).await, before);
        ok(&writer, "INSERT INTO t VALUES (1)").await;
        assert_eq!(ids(&reader).await, before);
        ok(&reader, "COMMIT").await;
        assert_eq!(ids(&reader).await.len(), before.len() + 1);
    }
}

#[tokio::test]
async fn of_two_that_change_a_row_the_first_to_commit_wins() {
    let database = database().await;
    let (a, b) = (database.session(), database.session());
    ok(&a, "INSERT INTO t VALUES (1), (2)").await;
    for session in [&a, &b] {
        ok(session, "BEGIN").await;
        ok(session, "UPDATE t SET id = id + 10 WHERE id = 1").await;
    }
    ok(&b, "INSERT INTO t VALUES (3)").await;
    ok(&a, "COMMIT").await;
    assert_eq!(code(&b, "COMMIT").await, "40001");
    assert_eq!(b.transaction_status(), TransactionStatus::Idle);
    assert_eq!(ids(&b).await, [2, 11]);
    // What does not meet fits.
    for (session, id) in [(&a, 2), (&b, 11)] {
        ok(session, "BEGIN").await;
        ok(session, &format!("DELETE FROM t WHERE id = {id}")).await;
    }
    ok(&b, "COMMIT").await;
    ok(&a, "COMMIT").await;
    assert_eq!(ids(&a).await, NONE);
}

#[tokio::test]
async fn two_blocks_cannot_insert_one_key() {
    let database = database().await;
    let (a, b) = (database.session(), database.session());
    ok(&a, "CREATE TABLE k (id INT PRIMARY KEY)").await;
    for session in [&a, &b] {
        ok(session, "BEGIN").await;
        ok(session, "INSERT INTO k VALUES (7)").await;
    }
    ok(&a, "SAVEPOINT s").await;
    assert_eq!(code(&a, "INSERT INTO k VALUES (7)").await, "23505");
    ok(&a, "ROLLBACK TO s").await;
    // A key is free again once its row is gone.
    ok(&a, "DELETE FROM k").await;
    ok(&a, "INSERT INTO k VALUES (7), (8)").await;
    ok(&a, "ROLLBACK TO s").await;
    ok(&a, "INSERT INTO k VALUES (8)").await;
    ok(&a, "COMMIT").await;
    assert_eq!(code(&b, "COMMIT").await, "40001");
    let found = numbers(&b, "SELECT id FROM k ORDER BY id").await;
    assert_eq!(found, [7, 8]);
}

#[tokio::test]
async fn deletes_of_a_block_follow_rows_that_compaction_moves() {
    let database = database().await;
    let (a, b) = (database.session(), database.session());
    ok(&a, "CREATE TABLE c (id INT CLUSTERING KEY)").await;
    ok(&a, "INSERT INTO c VALUES (3), (1), (2)").await;
    ok(&a, "BEGIN").await;
    ok(&a, "DELETE FROM c WHERE id = 1").await;
    ok(&a, "INSERT INTO c VALUES (4)").await;
    ok(&b, "COMPACT c WITH (CLUSTERING, WAIT)").await;
    ok(&a, "DELETE FROM c WHERE id = 3").await;
    ok(&a, "COMMIT").await;
    let found = numbers(&b, "SELECT id FROM c ORDER BY id").await;
    assert_eq!(found, [2, 4]);
}

/// A database in which more than 10 kB of rows become a file.
async fn sealing_early() -> Database {
    let settings = Settings {
        growing_max_size: "10kB".parse().unwrap(),
        compaction_auto: false,
        ..Settings::default()
    };
    Database::temporary(settings).await.unwrap()
}

fn insert(from: i64, to: i64) -> String {
    format!(
        "INSERT INTO t SELECT value, repeat('x', 100) FROM generate_series({from}, {to}) AS g(value)"
    )
}

#[tokio::test]
async fn temporary_tables_are_in_no_commit_and_their_files_go_with_the_session() {
    let database = sealing_early().await;
    let before = database.engine().committer.snapshot().version();
    let session = database.session();
    ok(
        &session,
        "CREATE TEMP TABLE t (id BIGINT PRIMARY KEY, note TEXT)",
    )
    .await;
    ok(&session, &insert(1, 1_000)).await;
    ok(&session, &insert(1_001, 1_010)).await;
    assert_eq!((files(&database), ids(&session).await.len()), (1, 1_010));
    // Rows that were rolled back are no duplicates, sealed or not.
    for last in [1_015, 1_200] {
        ok(&session, "BEGIN").await;
        for from in (1_011..last).step_by(5) {
            ok(&session, &insert(from, from + 4)).await;
        }
        assert_eq!(code(&session, &insert(1_005, 1_005)).await, "23505");
        ok(&session, "ROLLBACK").await;
        assert_eq!((files(&database), ids(&session).await.len()), (1, 1_010));
    }
    ok(&session, &insert(1_011, 1_020)).await;
    assert_eq!(code(&session, &insert(1_020, 1_021)).await, "23505");
    ok(&session, "DELETE FROM t WHERE id <= 5").await;
    assert_eq!((files(&database), ids(&session).await.len()), (1, 1_015));
    ok(&session, "TRUNCATE t").await;
    assert_eq!((files(&database), ids(&session).await.len()), (0, 0));
    ok(&session, &insert(1, 1_000)).await;
    assert_eq!((files(&database), ids(&session).await.len()), (1, 1_000));
    let after = database.engine().committer.snapshot().version();
    assert_eq!(after, before);
    drop(session);
    assert_eq!(files(&database), 0);
}

#[tokio::test]
async fn large_rows_of_a_block_are_sealed_and_go_with_it() {
    let database = sealing_early().await;
    let session = database.session();
    ok(
        &session,
        "CREATE TABLE t (id BIGINT PRIMARY KEY, note TEXT)",
    )
    .await;
    ok(&session, "BEGIN").await;
    ok(&session, &insert(1, 1_000)).await;
    assert_eq!(files(&database), 1);
    ok(&session, "SAVEPOINT s").await;
    for at in 100..110 {
        ok(&session, &insert(at * 20, at * 20 + 19)).await;
    }
    assert!(files(&database) > 1);
    ok(
        &session,
        "UPDATE t SET note = 'y' WHERE id % 2 = 0 AND id < 100",
    )
    .await;
    assert_eq!(ids(&session).await.len(), 1_200);
    ok(&session, "ROLLBACK TO s").await;
    assert_eq!((files(&database), ids(&session).await.len()), (1, 1_000));
    assert_eq!(code(&session, &insert(1_000, 1_001)).await, "23505");
    ok(&session, "ROLLBACK").await;
    assert_eq!((files(&database), ids(&session).await.len()), (0, 0));
    ok(&session, "BEGIN").await;
    ok(&session, &insert(1, 1_000)).await;
    ok(&session, "DELETE FROM t WHERE id > 500").await;
    ok(&session, "COMMIT").await;
    assert_eq!((files(&database), ids(&session).await.len()), (1, 500));
    // Whoever goes without a word rolls back.
    ok(&session, "BEGIN").await;
    ok(&session, &insert(2_000, 3_000)).await;
    assert_eq!(files(&database), 2);
    drop(session);
    assert_eq!(files(&database), 1);
}

#[tokio::test]
async fn a_block_takes_no_more_memory_than_there_is() {
    let settings = Settings {
        memory_limit: "8MiB".parse().unwrap(),
        ..Settings::default()
    };
    let database = Database::temporary(settings).await.unwrap();
    let session = database.session();
    ok(&session, "CREATE TABLE t (id BIGINT, note TEXT)").await;
    ok(&session, "BEGIN").await;
    let insert =
        "INSERT INTO t SELECT value, repeat('x', 1000) FROM generate_series(1, 1000) AS g(value)";
    let mut inserted = 0;
    let error = loop {
        match run(&session, insert).await {
            Ok(_) => inserted += 1,
            Err(error) => break error,
        }
        assert!(inserted < 20, "there is no limit");
    };
    assert_eq!(error.sqlstate(), "53200", "{error}");
    assert!(inserted > 2);
    ok(&session, "ROLLBACK").await;
    assert_eq!(database.usage().memory_reserved, 0);
    ok(&session, insert).await;
}

#[tokio::test]
async fn a_statement_of_a_block_that_has_ended_writes_nothing() {
    let database = database().await;
    let session = database.session();
    ok(&session, "BEGIN").await;
    let insert = session.sql("INSERT INTO t VALUES (1)").await.unwrap();
    ok(&session, "COMMIT").await;
    let error = crate::Error::from(insert.collect().await.unwrap_err());
    assert_eq!(error.sqlstate(), "25000");
    assert_eq!(ids(&session).await, NONE);
}

#[tokio::test]
async fn statements_that_come_together_are_one_transaction() {
    let database = database().await;
    let session = database.session();
    session.begin_implicit();
    ok(&session, "INSERT INTO t VALUES (1)").await;
    assert_eq!(ids(&database.session()).await, NONE);
    session.end_implicit().await.unwrap();
    assert_eq!(ids(&database.session()).await, [1]);
    session.begin_implicit();
    ok(&session, "INSERT INTO t VALUES (2)").await;
    run(&session, "SELECT 1/0").await.unwrap_err();
    session.end_implicit().await.unwrap();
    assert_eq!(session.transaction_status(), TransactionStatus::Idle);
    assert_eq!(ids(&session).await, [1]);
    // BEGIN takes in what came before it.
    session.begin_implicit();
    ok(&session, "INSERT INTO t VALUES (3)").await;
    ok(&session, "BEGIN").await;
    session.end_implicit().await.unwrap();
    assert_eq!(session.transaction_status(), TransactionStatus::Open);
    ok(&session, "ROLLBACK").await;
    assert_eq!(ids(&session).await, [1]);
    assert_eq!(codes(&session), []);
}
