//! RETURNING over the wire: described before it runs, written once, given when it is durable.

use tokio_postgres::SimpleQueryMessage;

use super::raw::{Raw, body, kinds, names, values};
use super::wire::TestServer;

const BOOK: &str = "CREATE TABLE book (id BIGINT PRIMARY KEY, title VARCHAR(20), e VECTOR(2))";

#[tokio::test(flavor = "multi_thread")]
async fn statements_are_described_before_they_run() {
    let server = TestServer::start().await;
    let client = server.client().await;
    client.batch_execute(BOOK).await.unwrap();
    let insert = "INSERT INTO book (id, title) VALUES ($1, $2) RETURNING id, lower(title), id + $3";
    let insert = client.prepare(insert).await.unwrap();
    let described: Vec<_> = insert
        .columns()
        .iter()
        .map(|c| (c.name(), c.type_().name()))
        .collect();
    let expected = [("id", "int8"), ("lower", "text"), ("?column?", "int8")];
    assert_eq!(described, expected);
    let count = client
        .query_one("SELECT count(*) FROM book", &[])
        .await
        .unwrap();
    assert_eq!(count.get::<_, i64>(0), 0);
    for id in [1_i64, 2] {
        let row = client
            .query_one(&insert, &[&id, &"Dune", &10_i64])
            .await
            .unwrap();
        let row: (i64, String, i64) = (row.get(0), row.get(1), row.get(2));
        assert_eq!(row, (id, "dune".to_string(), id + 10));
    }
    let count = client
        .execute(&insert, &[&3_i64, &"Emma", &0_i64])
        .await
        .unwrap();
    assert_eq!(count, 1);
    let update = client
        .prepare("UPDATE book SET title = $1 WHERE id <= $2 RETURNING *")
        .await
        .unwrap();
    let rows = client.query(&update, &[&"Iliad", &2_i64]).await.unwrap();
    let titles: Vec<&str> = rows.iter().map(|row| row.get("title")).collect();
    assert_eq!(titles, ["Iliad", "Iliad"]);
    let messages = client
        .simple_query("DELETE FROM book RETURNING id")
        .await
        .unwrap();
    let rows = messages
        .iter()
        .filter(|m| matches!(m, SimpleQueryMessage::Row(_)));
    assert_eq!(rows.count(), 3);
    let complete = |m: &SimpleQueryMessage| matches!(m, SimpleQueryMessage::CommandComplete(3));
    assert!(messages.iter().any(complete));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_and_names_are_those_of_postgres() {
    let server = TestServer::start().await;
    let mut raw = Raw::connect(&server).await;
    raw.simple(BOOK).await;
    for (sql, tag, columns) in [
        (
            "INSERT INTO book VALUES (1, 'a'), (2, 'b') RETURNING id + 1, title AS t",
            "INSERT 0 2",
            ["?column?", "t"],
        ),
        (
            "UPDATE book SET title = 'c' WHERE id = 1 RETURNING upper(title), id",
            "UPDATE 1",
            ["upper", "id"],
        ),
        (
            "DELETE FROM book RETURNING id::text, 1::int",
            "DELETE 2",
            ["id", "int4"],
        ),
    ] {
        let messages = raw.simple(sql).await;
        assert_eq!(names(body(&messages, b'T').unwrap()), columns);
        let complete = body(&messages, b'C').unwrap();
        assert_eq!(complete.strip_suffix(b"\0").unwrap(), tag.as_bytes());
    }
    let messages = raw
        .extended("INSERT INTO book VALUES (7, 'x') RETURNING id")
        .await;
    assert_eq!(kinds(&messages), "12TDCZ");
    let row = values(body(&messages, b'D').unwrap());
    assert_eq!(row[0].as_deref(), Some(&b"7"[..]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_in_parts_are_written_once() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.batch_execute(BOOK).await.unwrap();
    let transaction = client.transaction().await.unwrap();
    let insert =
        "INSERT INTO book (id) SELECT value FROM generate_series(1, 100) AS g(value) RETURNING id";
    let portal = transaction.bind(insert, &[]).await.unwrap();
    let mut next = 1_i64;
    for rows_max in [1, 7, 50, 100] {
        for row in transaction.query_portal(&portal, rows_max).await.unwrap() {
            assert_eq!(row.get::<_, i64>(0), next);
            next += 1;
        }
        let count = transaction
            .query_one("SELECT count(*) FROM book", &[])
            .await
            .unwrap();
        assert_eq!(count.get::<_, i64>(0), 100);
    }
    assert_eq!(next, 101);
    transaction.commit().await.unwrap();
    server.stop().await;
}

/// More rows than one batch has, as ORMs insert them: they match the answer by place.
#[tokio::test(flavor = "multi_thread")]
async fn rows_come_back_in_the_order_of_values() {
    let server = TestServer::start().await;
    let client = server.client().await;
    client.batch_execute(BOOK).await.unwrap();
    let values: Vec<String> = (0..20_000_i64)
        .map(|i| format!("({})", (i * 7_919) % 20_000))
        .collect();
    let sql = format!(
        "INSERT INTO book (id) VALUES {} RETURNING id + 1",
        values.join(", ")
    );
    let rows = client.query(&sql, &[]).await.unwrap();
    assert_eq!(rows.len(), 20_000);
    for (i, row) in rows.iter().enumerate() {
        assert_eq!(row.get::<_, i64>(0), (i as i64 * 7_919) % 20_000 + 1);
    }
    server.stop().await;
}
