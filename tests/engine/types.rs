//! What clients learn of types and columns: enums in the catalogs, and which column of which table a column is.

use std::error::Error;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::{SinkExt, TryStreamExt};
use tokio_postgres::Client;
use tokio_postgres::types::{FromSql, IsNull, Kind, ToSql, Type, to_sql_checked};

use super::wire::TestServer;

/// A value of an enum as the binary format has it.
#[derive(Debug, PartialEq)]
struct Label(String);

impl Label {
    fn new(text: &str) -> Self {
        Self(text.to_string())
    }
}

impl ToSql for Label {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(of: &Type) -> bool {
        matches!(of.kind(), Kind::Enum(_))
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Label {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(std::str::from_utf8(raw)?.to_string()))
    }

    fn accepts(of: &Type) -> bool {
        matches!(of.kind(), Kind::Enum(_))
    }
}

/// An interval as the binary format has it.
#[derive(Debug, PartialEq, Clone, Copy)]
struct Interval {
    micros: i64,
    days: i32,
    months: i32,
}

impl ToSql for Interval {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_i64(self.micros);
        out.put_i32(self.days);
        out.put_i32(self.months);
        Ok(IsNull::No)
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::INTERVAL
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Interval {
    fn from_sql(_: &Type, mut raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self {
            micros: raw.try_get_i64()?,
            days: raw.try_get_i32()?,
            months: raw.try_get_i32()?,
        })
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::INTERVAL
    }
}

/// Copies the rows of a table out, and into the table `copied`; how many came in.
async fn copied(client: &Client, table: &str, format: &str) -> u64 {
    let out = format!("COPY {table} TO STDOUT (FORMAT {format})");
    let out = client.copy_out(&out).await.unwrap();
    let bytes: Vec<Bytes> = out.try_collect().await.unwrap();
    let copy = format!("COPY copied FROM STDIN (FORMAT {format})");
    let sink = client.copy_in::<_, Bytes>(&copy).await.unwrap();
    let mut sink = Box::pin(sink);
    for piece in bytes {
        sink.send(piece).await.unwrap();
    }
    sink.as_mut().finish().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn intervals_are_stored_and_copied_in_the_binary_format() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let script = "CREATE TABLE trip (id INT PRIMARY KEY, d INTERVAL, ds INTERVAL[])";
    client.batch_execute(script).await.unwrap();
    let insert = client.prepare("INSERT INTO trip VALUES ($1, $2, $3)");
    let insert = insert.await.unwrap();
    assert_eq!(insert.params()[1..], [Type::INTERVAL, Type::INTERVAL_ARRAY]);
    let interval = |micros, days, months| Interval {
        micros,
        days,
        months,
    };
    let (long, short) = (interval(-1, 40, -14), interval(3_600_000_000, 0, 0));
    let rows = [(1, Some(long), vec![Some(short), None]), (2, None, vec![])];
    for (id, d, ds) in &rows {
        assert_eq!(client.execute(&insert, &[id, d, ds]).await.unwrap(), 1);
    }
    let check = async |table: &str| {
        let all = format!("SELECT d, ds FROM {table} ORDER BY id");
        let all = client.prepare(&all).await.unwrap();
        let types: Vec<&Type> = all.columns().iter().map(|c| c.type_()).collect();
        assert_eq!(types, [&Type::INTERVAL, &Type::INTERVAL_ARRAY]);
        let found = client.query(&all, &[]).await.unwrap();
        for (row, (_, d, ds)) in found.iter().zip(&rows) {
            assert_eq!(row.get::<_, Option<Interval>>(0), *d);
            assert_eq!(row.get::<_, Vec<Option<Interval>>>(1), *ds);
        }
        found.len()
    };
    assert_eq!(check("trip").await, 2);
    client
        .batch_execute("CREATE TABLE copied (id INT, d INTERVAL, ds INTERVAL[])")
        .await
        .unwrap();
    for format in ["binary", "csv", "text"] {
        assert_eq!(copied(&client, "trip", format).await, 2, "{format}");
        assert_eq!(check("copied").await, 2, "{format}");
        client.batch_execute("DELETE FROM copied").await.unwrap();
    }
    let above = "SELECT id FROM trip WHERE d < $1";
    let found = client.query(above, &[&short]).await.unwrap();
    assert_eq!(found[0].get::<_, i32>(0), 1);
    server.stop().await;
}

/// A value as it is on the wire.
#[derive(Debug, PartialEq, Clone)]
struct Raw(Vec<u8>);

impl ToSql for Raw {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn json_jsonb_and_characters_have_types_of_their_own() {
    let server = TestServer::start().await;
    let client = server.client().await;
    for table in ["doc", "copied"] {
        let script = format!("CREATE TABLE {table} (j JSON, b JSONB, c CHAR(4), bs JSONB[])");
        client.batch_execute(&script).await.unwrap();
    }
    let insert = client.prepare("INSERT INTO doc VALUES ($1, $2, $3, '{\"{}\"}')");
    let insert = insert.await.unwrap();
    assert_eq!(insert.params(), [Type::JSON, Type::JSONB, Type::BPCHAR]);
    let raw = |text: &str| Raw(text.as_bytes().to_vec());
    let (j, b) = (raw("{\"b\":1,  \"a\":2}"), raw("\x01{\"b\":1,  \"a\":2}"));
    let (short, newer) = (raw("ab "), raw("\x02{}"));
    let inserted = client.execute(&insert, &[&j, &b, &short]).await;
    assert_eq!(inserted.unwrap(), 1);
    let refused = client.execute(&insert, &[&j, &newer, &short]).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "22P03");
    let check = async |table: &str| {
        let all = format!("SELECT j, b, c, b -> 'a', j -> 'a', bs FROM {table}");
        let all = client.prepare(&all).await.unwrap();
        let types: Vec<&Type> = all.columns().iter().map(|c| c.type_()).collect();
        let (json, jsonb, array) = (&Type::JSON, &Type::JSONB, &Type::JSONB_ARRAY);
        assert_eq!(types, [json, jsonb, &Type::BPCHAR, jsonb, json, array]);
        let row = client.query_one(&all, &[]).await.unwrap();
        let found: Vec<Raw> = (0..5).map(|at| row.get(at)).collect();
        let normal = raw("\x01{\"a\": 2, \"b\": 1}");
        assert_eq!(
            found,
            [j.clone(), normal, raw("ab  "), raw("\x012"), raw("2")]
        );
    };
    check("doc").await;
    for format in ["binary", "csv", "text"] {
        assert_eq!(copied(&client, "doc", format).await, 1, "{format}");
        check("copied").await;
        client.batch_execute("DELETE FROM copied").await.unwrap();
    }
    let equal = client.prepare("SELECT count(*) FROM doc WHERE b = $1 AND c = $2");
    let equal = equal.await.unwrap();
    assert_eq!(equal.params(), [Type::JSONB, Type::BPCHAR]);
    let longer = raw("ab    ");
    let one = client.query_one(&equal, &[&b, &longer]).await.unwrap();
    assert_eq!(one.get::<_, i64>(0), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_find_enums_and_their_arrays_in_the_catalogs() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let script = "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
        CREATE TABLE diary (id INT PRIMARY KEY, m mood, ms mood[])";
    client.batch_execute(script).await.unwrap();
    let insert = client.prepare("INSERT INTO diary VALUES ($1, $2, $3)");
    let insert = insert.await.unwrap();
    let labels = ["sad", "ok", "happy"].map(String::from).to_vec();
    assert_eq!(insert.params()[1].name(), "mood");
    assert_eq!(*insert.params()[1].kind(), Kind::Enum(labels.clone()));
    let Kind::Array(element) = insert.params()[2].kind() else {
        panic!("{:?} is no array", insert.params()[2]);
    };
    assert_eq!(*element.kind(), Kind::Enum(labels));
    let rows = [(1, "happy", vec!["ok", "sad"]), (2, "sad", vec![])];
    for (id, m, ms) in rows {
        let ms: Vec<Label> = ms.into_iter().map(Label::new).collect();
        let m = Label::new(m);
        let inserted = client.execute(&insert, &[&id, &m, &ms]).await;
        assert_eq!(inserted.unwrap(), 1);
    }
    let (angry, none) = (Label::new("angry"), Vec::<Label>::new());
    let angry = client.execute(&insert, &[&3, &angry, &none]).await;
    let angry = angry.unwrap_err();
    assert_eq!(angry.code().unwrap().code(), "22P02");
    let above = "SELECT m, ms FROM diary WHERE m > $1 ORDER BY m";
    let found = client.query(above, &[&Label::new("sad")]).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].get::<_, Label>(0), Label::new("happy"));
    let ms: Vec<Label> = found[0].get(1);
    assert_eq!(ms, [Label::new("ok"), Label::new("sad")]);
    // A statement that is prepared follows the type.
    let all = client.prepare("SELECT min(m) FROM diary").await.unwrap();
    client
        .batch_execute(
            "ALTER TYPE mood ADD VALUE 'awful' BEFORE 'sad'; INSERT INTO diary VALUES (4, 'awful')",
        )
        .await
        .unwrap();
    let least = client.query_one(&all, &[]).await.unwrap();
    assert_eq!(least.get::<_, Label>(0), Label::new("awful"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_and_coalesce_are_of_the_type_of_their_results() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let script = "CREATE TABLE t (id INT, u UUID, j JSON, v VARCHAR(5), us UUID[]);
        CREATE TABLE s (u UUID);
        INSERT INTO t VALUES (1, NULL, NULL, NULL, NULL)";
    client.batch_execute(script).await.unwrap();
    for (sql, expected) in [
        ("SELECT coalesce(u, u) FROM t", Type::UUID),
        ("SELECT CASE WHEN id > 1 THEN u END FROM t", Type::UUID),
        ("SELECT nullif(u, u) FROM t", Type::UUID),
        ("SELECT u FROM t FULL JOIN s USING (u)", Type::UUID),
        ("SELECT coalesce(j, '[1]') FROM t", Type::JSON),
        ("SELECT coalesce(v, 'other') FROM t", Type::VARCHAR),
        ("SELECT coalesce(us, us) FROM t", Type::UUID_ARRAY),
        ("SELECT coalesce(u::text, v) FROM t", Type::TEXT),
    ] {
        let statement = client.prepare(sql).await.unwrap();
        assert_eq!(statement.columns()[0].type_(), &expected, "{sql}");
        client.query(&statement, &[]).await.unwrap();
    }
    let default = client.prepare("SELECT coalesce(u, $1)::text FROM t");
    let default = default.await.unwrap();
    assert_eq!(default.params(), [Type::UUID]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_say_which_column_of_which_table_they_are() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let script = "CREATE TABLE book (id INT PRIMARY KEY, gone INT, title TEXT);
        ALTER TABLE book DROP COLUMN gone;
        CREATE TABLE loan (id INT, book INT);
        CREATE VIEW titles AS SELECT title FROM book";
    client.batch_execute(script).await.unwrap();
    let oid = async |name: &str| {
        let sql = format!("SELECT '{name}'::regclass::oid");
        client.query_one(&sql, &[]).await.unwrap().get::<_, u32>(0)
    };
    let (book, loan, titles) = (oid("book").await, oid("loan").await, oid("titles").await);
    let origins = async |sql: &str| {
        let statement = client.prepare(sql).await.unwrap();
        let columns = statement.columns().iter();
        let told = columns.map(|c| c.table_oid().zip(c.column_id()));
        told.collect::<Vec<_>>()
    };
    for (sql, expected) in [
        ("SELECT * FROM book", vec![Some((book, 1)), Some((book, 3))]),
        (
            "SELECT title AS t, upper(title), 1 FROM book",
            vec![Some((book, 3)), None, None],
        ),
        (
            "SELECT title::text || '', id FROM book ORDER BY id LIMIT 1",
            vec![None, Some((book, 1))],
        ),
        (
            "SELECT l.id, b.title FROM loan l LEFT JOIN book b ON b.id = l.book",
            vec![Some((loan, 1)), Some((book, 3))],
        ),
        (
            "WITH t AS (SELECT title, id + 1 AS n FROM book) SELECT DISTINCT title, n FROM t",
            vec![Some((book, 3)), None],
        ),
        (
            "SELECT title, count(*) FROM book GROUP BY title",
            vec![Some((book, 3)), None],
        ),
        (
            "SELECT id FROM book UNION ALL SELECT id FROM loan",
            vec![None],
        ),
        ("SELECT * FROM titles", vec![Some((titles, 1))]),
        ("SELECT 1", vec![None]),
    ] {
        assert_eq!(origins(sql).await, expected, "{sql}");
    }
    server.stop().await;
}
