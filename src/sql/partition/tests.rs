//! Partitions come and go while others bring rows: no row is left without a partition.

#![allow(clippy::unwrap_used)]

use futures::TryStreamExt;

use crate::sql::Session;
use crate::{Database, Settings};

async fn run(session: &Session, text: &str) -> crate::Result<usize> {
    let outcome = session.run(text).await?;
    let batches: Vec<_> = outcome.stream.try_collect().await?;
    Ok(batches.iter().map(|b| b.num_rows()).sum())
}

async fn ok(session: &Session, text: &str) -> usize {
    run(session, text).await.unwrap()
}

async fn code(session: &Session, text: &str) -> String {
    run(session, text).await.unwrap_err().sqlstate().to_string()
}

/// Two sessions of a database with a table, its first partition and that of the rest.
async fn sessions() -> (Database, Session, Session) {
    let database = Database::temporary(Settings::default()).await.unwrap();
    let (one, other) = (database.session(), database.session());
    ok(
        &one,
        "CREATE TABLE t (id INT, k INT) PARTITION BY RANGE (k)",
    )
    .await;
    ok(
        &one,
        "CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM (0) TO (10)",
    )
    .await;
    ok(&one, "CREATE TABLE t_d PARTITION OF t DEFAULT").await;
    ok(&one, "INSERT INTO t VALUES (1, 1), (2, 50)").await;
    (database, one, other)
}

#[tokio::test]
async fn rows_that_were_meant_for_a_partition_that_is_gone_are_refused() {
    let (_database, one, other) = sessions().await;
    ok(&one, "BEGIN").await;
    ok(&one, "INSERT INTO t VALUES (3, 3)").await;
    ok(&other, "DROP TABLE t_1").await;
    assert_eq!(code(&one, "COMMIT").await, "40001");
    assert_eq!(ok(&one, "SELECT * FROM t").await, 1);
}

#[tokio::test]
async fn a_partition_does_not_go_without_rows_that_came_meanwhile() {
    for leave in ["DROP TABLE t_1", "ALTER TABLE t DETACH PARTITION t_1"] {
        let (_database, one, other) = sessions().await;
        ok(&one, "BEGIN").await;
        ok(&one, leave).await;
        ok(&other, "INSERT INTO t VALUES (3, 3)").await;
        assert_eq!(code(&one, "COMMIT").await, "40001", "{leave}");
        assert_eq!(ok(&one, "SELECT * FROM t_1").await, 2);
    }
}

#[tokio::test]
async fn a_partition_does_not_come_over_rows_of_the_default_one_that_came_meanwhile() {
    let (_database, one, other) = sessions().await;
    ok(&one, "BEGIN").await;
    ok(
        &one,
        "CREATE TABLE t_2 PARTITION OF t FOR VALUES FROM (10) TO (20)",
    )
    .await;
    ok(&other, "INSERT INTO t VALUES (12, 12)").await;
    assert_eq!(code(&one, "COMMIT").await, "40001");
    let again = "CREATE TABLE t_2 PARTITION OF t FOR VALUES FROM (10) TO (20)";
    assert_eq!(code(&one, again).await, "23514");
}

#[tokio::test]
async fn two_partitions_that_overlap_do_not_both_come() {
    let (_database, one, other) = sessions().await;
    ok(&one, "BEGIN").await;
    ok(
        &one,
        "CREATE TABLE t_2 PARTITION OF t FOR VALUES FROM (10) TO (20)",
    )
    .await;
    ok(
        &other,
        "CREATE TABLE t_3 PARTITION OF t FOR VALUES FROM (15) TO (30)",
    )
    .await;
    assert_eq!(code(&one, "COMMIT").await, "40001");
    assert_eq!(ok(&one, "SELECT * FROM pg_partition_tree('t')").await, 4);
}

#[tokio::test]
async fn a_table_does_not_become_a_partition_without_rows_that_came_meanwhile() {
    let (_database, one, other) = sessions().await;
    ok(&one, "CREATE TABLE apart (id INT, k INT)").await;
    ok(&one, "BEGIN").await;
    let attach = "ALTER TABLE t ATTACH PARTITION apart FOR VALUES FROM (10) TO (20)";
    ok(&one, attach).await;
    ok(&other, "INSERT INTO apart VALUES (12, 12)").await;
    assert_eq!(code(&one, "COMMIT").await, "40001");
    ok(&one, attach).await;
    assert_eq!(ok(&one, "SELECT * FROM t").await, 3);
}

#[tokio::test]
async fn a_statement_that_was_prepared_finds_the_partitions_of_now() {
    let (_database, one, other) = sessions().await;
    ok(&one, "PREPARE put AS INSERT INTO t VALUES ($1, $1)").await;
    ok(&one, "EXECUTE put(60)").await;
    ok(&one, "EXECUTE put(61)").await;
    ok(&other, "DROP TABLE t_d").await;
    assert_eq!(code(&one, "EXECUTE put(62)").await, "23514");
    ok(&one, "EXECUTE put(5)").await;
    assert_eq!(ok(&one, "SELECT * FROM t_1").await, 2);
}
