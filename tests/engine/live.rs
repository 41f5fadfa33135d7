//! What sessions see of each other and of themselves: activity, signals, statements by name, cursors in binary.

use std::time::Duration;

use bytes::Bytes;
use futures::SinkExt;

use super::raw::{Raw, body, kinds, sqlstate, values};
use super::wire::TestServer;

#[tokio::test(flavor = "multi_thread")]
async fn a_session_stops_and_ends_another() {
    let server = TestServer::start().await;
    let (one, two) = (server.client().await, server.client().await);
    let pid: i32 = two
        .query_one("SELECT pg_backend_pid()", &[])
        .await
        .unwrap()
        .get(0);
    let sleeping = tokio::spawn(async move {
        let slept = two.simple_query("SELECT pg_sleep(60)").await;
        (slept.err().and_then(|e| e.code().cloned()), two)
    });
    let activity = "SELECT state, query FROM pg_stat_activity WHERE pid = $1";
    loop {
        let row = one.query_one(activity, &[&pid]).await.unwrap();
        let (state, query): (&str, &str) = (row.get(0), row.get(1));
        if (state, query) == ("active", "SELECT pg_sleep(60)") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let canceled = one
        .query_one("SELECT pg_cancel_backend($1::int)", &[&pid])
        .await
        .unwrap();
    assert!(canceled.get::<_, bool>(0));
    let (code, two) = sleeping.await.unwrap();
    assert_eq!(code.unwrap().code(), "57014");
    two.simple_query("SELECT 1").await.unwrap();
    let ended = one
        .query_one("SELECT pg_terminate_backend($1::int)", &[&pid])
        .await
        .unwrap();
    assert!(ended.get::<_, bool>(0));
    while !two.is_closed() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The connection is closed a moment before its session is gone.
    while !one.query(activity, &[&pid]).await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_shows_how_far_it_is() {
    let server = TestServer::start().await;
    let (one, two) = (server.client().await, server.client().await);
    one.simple_query("CREATE TABLE t (id INT)").await.unwrap();
    let progress = "SELECT relid::regclass::text, command, type, bytes_processed, bytes_total \
        FROM pg_stat_progress_copy";
    let copy = one.copy_in::<_, Bytes>("COPY t FROM STDIN").await.unwrap();
    let mut copy = std::pin::pin!(copy);
    copy.send(Bytes::from("1\n".repeat(100_000))).await.unwrap();
    let row = loop {
        let rows = two.query(progress, &[]).await.unwrap();
        if let Some(row) = rows.into_iter().find(|row| row.get::<_, i64>(3) > 0) {
            break row;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let seen: (&str, &str, &str, i64) = (row.get(0), row.get(1), row.get(2), row.get(4));
    assert_eq!(seen, ("t", "COPY FROM", "PIPE", 0));
    assert_eq!(copy.finish().await.unwrap(), 100_000);
    assert!(two.query(progress, &[]).await.unwrap().is_empty());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_of_the_protocol_and_of_sql_have_one_space_of_names() {
    let server = TestServer::start().await;
    let mut raw = Raw::connect(&server).await;
    raw.send(b'P', b"by_place\0SELECT $1::int + 1\0\0\0").await;
    raw.send(b'S', b"").await;
    assert_eq!(kinds(&raw.until(b'Z').await), "1Z");
    let shown = raw
        .simple("SELECT statement, from_sql FROM pg_prepared_statements")
        .await;
    let shown = values(body(&shown, b'D').unwrap());
    assert_eq!(shown[0].as_deref(), Some(&b"SELECT $1::int + 1"[..]));
    assert_eq!(shown[1].as_deref(), Some(&b"f"[..]));
    let executed = raw.simple("EXECUTE by_place(41)").await;
    assert_eq!(
        values(body(&executed, b'D').unwrap())[0].as_deref(),
        Some(&b"42"[..])
    );
    assert_eq!(kinds(&raw.simple("DEALLOCATE by_place").await), "CZ");
    raw.send(b'B', b"\0by_place\0\0\0\0\0\0\0").await;
    raw.send(b'S', b"").await;
    assert_eq!(sqlstate(&raw.until(b'Z').await), "26000");
    // And the other way round.
    raw.simple("PREPARE other AS SELECT 7").await;
    raw.send(b'B', b"\0other\0\0\0\0\0\0\0").await;
    raw.send(b'E', b"\0\0\0\0\0").await;
    raw.send(b'S', b"").await;
    let answer = raw.until(b'Z').await;
    assert_eq!(
        values(body(&answer, b'D').unwrap())[0].as_deref(),
        Some(&b"7"[..])
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn binary_cursors_are_fetched_in_binary_by_the_simple_protocol() {
    let server = TestServer::start().await;
    let mut raw = Raw::connect(&server).await;
    raw.simple("BEGIN").await;
    raw.simple("DECLARE c BINARY CURSOR FOR SELECT 258::int")
        .await;
    let fetched = raw.simple("FETCH 1 FROM c").await;
    let description = body(&fetched, b'T').unwrap();
    assert_eq!(description[description.len() - 2..], [0, 1]);
    assert_eq!(
        values(body(&fetched, b'D').unwrap())[0].as_deref(),
        Some(&[0, 0, 1, 2][..])
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_name_objects_and_reach_into_correlated_subqueries() {
    let server = TestServer::start().await;
    let client = server.client().await;
    client
        .simple_query("CREATE TABLE t (id INT PRIMARY KEY, n INT)")
        .await
        .unwrap();
    let mut raw = Raw::connect(&server).await;
    let statement = "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 \
        ORDER BY attnum";
    raw.send(b'P', &[b"\0", statement.as_bytes(), b"\0\0\0"].concat())
        .await;
    raw.send(b'D', b"S\0").await;
    raw.send(b'B', b"\0\0\0\0\0\x01\0\0\0\x08public.t\0\0")
        .await;
    raw.send(b'E', b"\0\0\0\0\0").await;
    raw.send(b'S', b"").await;
    let answer = raw.until(b'Z').await;
    // The parameter is a regclass.
    assert_eq!(body(&answer, b't').unwrap()[2..], 2205_u32.to_be_bytes());
    assert_eq!(kinds(&answer), "1tT2DDCZ");
    let correlated = "SELECT c.relname, (SELECT string_agg(a.attname || $2, ',' ORDER BY a.attnum) \
        FROM (SELECT * FROM pg_attribute b WHERE b.attrelid = c.oid AND b.attnum >= $3 LIMIT 9) a) \
        FROM pg_class c WHERE c.relname = $1";
    let row = client
        .query_one(correlated, &[&"t", &"!", &1_i16])
        .await
        .unwrap();
    assert_eq!(row.get::<_, &str>(1), "id!,n!");
    server.stop().await;
}
