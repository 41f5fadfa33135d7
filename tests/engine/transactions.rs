//! Transactions as drivers and clients make them.

use std::sync::Arc;
use std::time::Duration;

use shelfmark::{Database, Settings};
use tokio_postgres::Client;

use super::raw::{Raw, kinds, sqlstate};
use super::wire::TestServer;

const NONE: [i32; 0] = [];

async fn server() -> (TestServer, Client) {
    let server = TestServer::start().await;
    let client = server.client().await;
    let create = "CREATE TABLE t (id INT PRIMARY KEY)";
    client.batch_execute(create).await.unwrap();
    (server, client)
}

async fn ids(client: &Client) -> Vec<i32> {
    let rows = client.query("SELECT id FROM t ORDER BY id", &[]).await;
    rows.unwrap().iter().map(|row| row.get(0)).collect()
}

/// The SQLSTATE by which a string of statements fails.
async fn code(client: &Client, text: &str) -> String {
    let error = client.batch_execute(text).await.unwrap_err();
    error.code().unwrap().code().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_string_of_statements_is_one_transaction() {
    let (server, client) = server().await;
    let failing =
        "INSERT INTO t VALUES (1); INSERT INTO t VALUES (2); SELECT 1/0; INSERT INTO t VALUES (3)";
    assert_eq!(code(&client, failing).await, "22012");
    assert_eq!(ids(&client).await, NONE);
    let good = "INSERT INTO t VALUES (1); CREATE TABLE u (id INT); INSERT INTO u SELECT id FROM t";
    client.batch_execute(good).await.unwrap();
    assert_eq!(ids(&client).await, [1]);
    // A COMMIT in between keeps what came before it.
    let halves = "INSERT INTO t VALUES (2); COMMIT; INSERT INTO t VALUES (3); SELECT 1/0";
    assert_eq!(code(&client, halves).await, "22012");
    assert_eq!(ids(&client).await, [1, 2]);
    // A BEGIN leaves the block open, with all that came before it.
    client
        .batch_execute("INSERT INTO t VALUES (4); BEGIN; INSERT INTO t VALUES (5)")
        .await
        .unwrap();
    assert_eq!(ids(&client).await, [1, 2, 4, 5]);
    assert_eq!(ids(&server.client().await).await, [1, 2]);
    client.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(ids(&client).await, [1, 2]);
    for text in ["SELECT 1; SAVEPOINT a", "SELECT 1; ROLLBACK AND CHAIN"] {
        assert_eq!(code(&client, text).await, "25P01");
    }
    assert_eq!(code(&client, "SELECT 1; VACUUM").await, "25001");
    server.stop().await;
}

/// Sends a statement of the extended protocol without a Sync.
async fn execute(raw: &mut Raw, sql: &str) {
    raw.send(b'P', &[b"\0", sql.as_bytes(), b"\0\0\0"].concat())
        .await;
    raw.send(b'B', b"\0\0\0\0\0\0\0\0").await;
    raw.send(b'E', b"\0\0\0\0\0").await;
}

async fn sync(raw: &mut Raw) -> String {
    raw.send(b'S', b"").await;
    kinds(&raw.until(b'Z').await)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_before_a_sync_is_one_transaction() {
    let (server, client) = server().await;
    let mut raw = Raw::connect(&server).await;
    execute(&mut raw, "INSERT INTO t VALUES (1)").await;
    execute(&mut raw, "SELECT id / 0 FROM t").await;
    execute(&mut raw, "INSERT INTO t VALUES (2)").await;
    assert!(sync(&mut raw).await.ends_with("EZ"));
    assert_eq!(ids(&client).await, NONE);
    execute(&mut raw, "INSERT INTO t VALUES (1)").await;
    execute(&mut raw, "INSERT INTO t VALUES (2)").await;
    raw.send(b'H', b"").await;
    raw.until(b'C').await;
    raw.until(b'C').await;
    assert_eq!(ids(&client).await, NONE);
    assert_eq!(sync(&mut raw).await, "Z");
    assert_eq!(ids(&client).await, [1, 2]);
    // What is refused in a block may come first.
    execute(&mut raw, "VACUUM").await;
    execute(&mut raw, "INSERT INTO t VALUES (3)").await;
    assert_eq!(sync(&mut raw).await, "12NC12CZ");
    assert_eq!(ids(&client).await, [1, 2, 3]);
    // A conflict shows at the Sync.
    execute(&mut raw, "UPDATE t SET id = 10 WHERE id = 1").await;
    raw.send(b'H', b"").await;
    raw.until(b'C').await;
    client
        .batch_execute("DELETE FROM t WHERE id = 1")
        .await
        .unwrap();
    raw.send(b'S', b"").await;
    assert_eq!(sqlstate(&raw.until(b'Z').await), "40001");
    assert_eq!(ids(&client).await, [2, 3]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_transactions_of_a_driver_work() {
    let (server, mut client) = server().await;
    let mut transaction = client.transaction().await.unwrap();
    let insert = transaction.prepare("INSERT INTO t VALUES ($1)").await;
    let insert = insert.unwrap();
    transaction.execute(&insert, &[&1]).await.unwrap();
    let nested = transaction.transaction().await.unwrap();
    nested.execute(&insert, &[&2]).await.unwrap();
    nested.rollback().await.unwrap();
    let nested = transaction.transaction().await.unwrap();
    nested.execute(&insert, &[&3]).await.unwrap();
    nested.commit().await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(ids(&client).await, [1, 3]);
    let transaction = client.transaction().await.unwrap();
    transaction.execute(&insert, &[&4]).await.unwrap();
    drop(transaction);
    assert_eq!(ids(&client).await, [1, 3]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_vanishes_leaves_nothing() {
    let settings = Settings {
        growing_max_size: "1kB".parse().unwrap(),
        ..Settings::default()
    };
    let database = Database::temporary(settings).await.unwrap();
    let engine = Arc::clone(database.engine());
    let server = TestServer::over(database, |_| {}).await;
    let client = server.client().await;
    client
        .batch_execute("CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (0)")
        .await
        .unwrap();
    let leaving = server.client().await;
    leaving.batch_execute("BEGIN").await.unwrap();
    leaving
        .batch_execute("INSERT INTO t SELECT value FROM generate_series(1, 1000) AS g(value)")
        .await
        .unwrap();
    let files = || {
        let directories = std::fs::read_dir(engine.store.segments_dir()).unwrap();
        let files = |d: std::io::Result<std::fs::DirEntry>| std::fs::read_dir(d.unwrap().path());
        directories
            .map(|d| files(d).unwrap().count())
            .sum::<usize>()
    };
    assert_eq!(files(), 1);
    drop(leaving);
    for _ in 0..200 {
        if files() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(files(), 0);
    assert_eq!(ids(&client).await, [0]);
    server.stop().await;
}
