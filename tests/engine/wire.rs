//! The server over real sockets: every `.slt` file through both protocols, and what only a client sees.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{BufMut, BytesMut};
use futures::{TryStreamExt, pin_mut};
use shelfmark::server::{Config, Server};
use shelfmark::{Database, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};
use tokio_util::sync::CancellationToken;

use super::raw::{self, Raw};

/// A server on a free port over a temporary database.
pub struct TestServer {
    pub address: SocketAddr,
    shutdown: CancellationToken,
    served: JoinHandle<()>,
    /// Queries have threads of their own, as in the program: one that computes must not hold up a socket.
    queries: Option<Runtime>,
}

impl TestServer {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(configure: impl FnOnce(&mut Config)) -> Self {
        let database = Database::temporary(Settings::default()).await.unwrap();
        Self::over(database, configure).await
    }

    pub async fn over(database: Database, configure: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        config.set("server.listen", "127.0.0.1:0").unwrap();
        configure(&mut config);
        let queries = Runtime::new().unwrap();
        let handle = queries.handle().clone();
        let server = Server::bind(config, database, handle).await.unwrap();
        let address = server.addresses().unwrap()[0];
        let shutdown = CancellationToken::new();
        let served = tokio::spawn(server.run(shutdown.clone()));
        Self {
            address,
            shutdown,
            served,
            queries: Some(queries),
        }
    }

    /// A client whose connection is driven in the background.
    pub async fn client(&self) -> Client {
        self.client_as("shelfmark").await
    }

    pub async fn client_as(&self, user: &str) -> Client {
        let (client, connection) = tokio_postgres::Config::new()
            .host(self.address.ip().to_string())
            .port(self.address.port())
            .user(user)
            .dbname("shelfmark")
            .connect(NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        client
    }

    pub async fn stop(mut self) {
        self.shutdown.cancel();
        (&mut self.served).await.unwrap();
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // A runtime must not wait for its threads within another one.
        self.queries
            .take()
            .into_iter()
            .for_each(Runtime::shutdown_background);
    }
}

fn sqlstate(error: &tokio_postgres::Error) -> &str {
    error.code().map_or("", |code| code.code())
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_and_parameters_of_both_protocols() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let script = "CREATE TABLE book (id BIGINT PRIMARY KEY, title TEXT, e VECTOR(3));
        INSERT INTO book VALUES (1, 'Dune', '[1,0,0]'), (2, 'Emma', '[0,1,0]');
        SELECT title FROM book ORDER BY id; -- the end";
    let messages = client.simple_query(script).await.unwrap();
    let titles: Vec<_> = messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        })
        .collect();
    assert_eq!(titles, ["Dune", "Emma"]);
    let insert = "INSERT INTO book VALUES ($1, $2, $3::text::vector)";
    let inserted = client.execute(insert, &[&3_i64, &"Ulysses", &"[0,0,1]"]);
    assert_eq!(inserted.await.unwrap(), 1);
    let nearest = client
        .prepare("SELECT id, title FROM book WHERE id > $1 ORDER BY e <-> '[0,0,1]' LIMIT $2");
    let nearest = nearest.await.unwrap();
    for (after, limit, expected) in [(0_i64, 1_i64, vec![3]), (3, 5, vec![]), (1, 2, vec![3, 2])] {
        let rows = client.query(&nearest, &[&after, &limit]).await.unwrap();
        let ids: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(ids, expected);
    }
    let e = client
        .query("SELECT nothing FROM book", &[])
        .await
        .unwrap_err();
    assert_eq!(sqlstate(&e), "42703");
    assert_eq!(client.query("SELECT 1", &[]).await.unwrap().len(), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_without_a_name_have_those_of_postgres() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let sql =
        "SELECT count(*), 1 + 1, 7::bigint, count(*), max(v) AS most FROM (VALUES (1::int)) t (v)";
    let expected = ["count", "?column?", "int8", "count", "most"];
    let prepared = client.prepare(sql).await.unwrap();
    let names: Vec<_> = prepared.columns().iter().map(|c| c.name()).collect();
    assert_eq!(names, expected);
    let row = client.query_one(&prepared, &[]).await.unwrap();
    assert_eq!(
        (row.get::<_, i64>("int8"), row.get::<_, i32>("most")),
        (7, 1)
    );
    let messages = client.simple_query(sql).await.unwrap();
    let names = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.columns().iter().map(|c| c.name()).collect()),
        _ => None,
    });
    assert_eq!(names, Some(expected.to_vec()));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn literals_have_the_types_of_postgres() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let sql =
        "SELECT 1, -5, 3000000000, 1.5, ARRAY[1, 2], 2 * $1, sum(g) FROM generate_series(1, 3) g";
    let prepared = client.prepare(sql).await.unwrap();
    let types: Vec<_> = prepared
        .columns()
        .iter()
        .map(|c| c.type_().name())
        .collect();
    let expected = ["int4", "int4", "int8", "numeric", "_int4", "int4", "int8"];
    assert_eq!(types, expected);
    assert_eq!(prepared.params(), [tokio_postgres::types::Type::INT4]);
    let row = client.query_one(&prepared, &[&21_i32]).await.unwrap();
    assert_eq!((row.get::<_, i32>(1), row.get::<_, i32>(5)), (-5, 42));
    let copied = client.copy_out("COPY (SELECT 1) TO STDOUT (FORMAT binary)");
    let copied: Vec<bytes::Bytes> = copied.await.unwrap().try_collect().await.unwrap();
    let row = [0, 1, 0, 0, 0, 4, 0, 0, 0, 1, 0xff, 0xff];
    assert!(copied.concat().ends_with(&row));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_portal_gives_its_rows_in_parts() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let transaction = client.transaction().await.unwrap();
    let portal = transaction
        .bind(
            "SELECT value FROM generate_series(1::bigint, 10000::bigint) AS g(value)",
            &[],
        )
        .await
        .unwrap();
    let mut next = 1_i64;
    for rows_max in [1, 10, 5_000, 7, 100_000] {
        let rows = transaction.query_portal(&portal, rows_max).await.unwrap();
        for row in &rows {
            assert_eq!(row.get::<_, i64>(0), next);
            next += 1;
        }
    }
    assert_eq!(next, 10_001);
    transaction.commit().await.unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_request_stops_a_statement_whatever_it_does() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let shapes = [
        "SELECT count(*) FROM generate_series(1, 10000000) a, generate_series(1, 10000000) b",
        "SELECT a.value FROM generate_series(1, 100000000) AS a(value)",
        "SELECT sum(a.value * b.value) FROM generate_series(1, 1000000) AS a(value) JOIN generate_series(1, 1000000) AS b(value) ON a.value <> b.value",
    ];
    for shape in shapes {
        let token = client.cancel_token();
        let running = async {
            let rows = client.query_raw(shape, &[] as &[&str]).await?;
            pin_mut!(rows);
            while rows.try_next().await?.is_some() {}
            Ok::<_, tokio_postgres::Error>(())
        };
        let cancelling = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            token.cancel_query(NoTls).await.unwrap();
            Instant::now()
        };
        let (ended, asked) = tokio::join!(running, cancelling);
        assert_eq!(sqlstate(&ended.unwrap_err()), "57014", "{shape}");
        assert!(asked.elapsed() < Duration::from_secs(5), "{shape}");
        client.simple_query("SELECT 1").await.unwrap();
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_messages_cost_a_message_or_a_connection_and_nothing_else() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let mut raw = Raw::connect(&server).await;
    // Bodies too short, too long, not UTF-8, counts that lie: the connection goes on.
    let bodies: [(u8, &[u8], &str); 7] = [
        (b'Q', b"SELECT 1", "08P01"),
        (b'P', b"\0SELECT 1\0\xff\xff", "08P01"),
        (b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xff\0\0", "08P01"),
        (b'D', b"Zx\0", "08P01"),
        (b'Q', b"SELECT '\xff'\0", "22021"),
        (b'E', b"nothing\0\0\0\0\0", "34000"),
        (b'D', b"Snothing\0", "26000"),
    ];
    for (kind, body, expected) in bodies {
        raw.send(kind, body).await;
        raw.send(b'S', b"").await;
        let messages = raw.until(b'Z').await;
        assert_eq!(raw::sqlstate(&messages), expected, "{:?}", kind as char);
    }
    // What cannot be framed ends the connection with a word.
    for bytes in [
        &b"q\0\0\0\x04"[..],
        b"Q\0\0\0\0",
        b"Q\xff\xff\xff\xff",
        b"Q\x7f\xff\xff\xff",
    ] {
        let mut raw = Raw::connect(&server).await;
        raw.0.write_all(bytes).await.unwrap();
        let messages = raw.until(b'-').await;
        assert_eq!(raw::kinds(&messages), "E");
    }
    client.simple_query("SELECT 1").await.unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_limits_of_any_size_need_no_memory() {
    let server = TestServer::start().await;
    let mut raw = Raw::connect(&server).await;
    for (rows_max, expected) in [
        (-1, "12DDDCZ"),
        (i32::MAX, "12DDDCZ"),
        (0, "12DDDCZ"),
        (2, "12DDsZ"),
    ] {
        raw.send(b'P', b"\0SELECT * FROM (VALUES (1), (2), (3)) t\0\0\0")
            .await;
        raw.send(b'B', b"\0\0\0\0\0\0\0\0").await;
        let mut execute = BytesMut::from(&b"\0"[..]);
        execute.put_i32(rows_max);
        raw.send(b'E', &execute).await;
        raw.send(b'S', b"").await;
        assert_eq!(raw::kinds(&raw.until(b'Z').await), expected, "{rows_max}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_sql_is_described_like_a_portal() {
    let server = TestServer::start().await;
    let mut raw = Raw::connect(&server).await;
    raw.simple("BEGIN").await;
    raw.extended("DECLARE c CURSOR FOR SELECT 1 AS one").await;
    raw.send(b'D', b"Pc\0").await;
    raw.send(b'S', b"").await;
    let messages = raw.until(b'Z').await;
    assert_eq!(raw::kinds(&messages), "TZ");
    let described = raw::body(&messages, b'T').unwrap();
    assert_eq!(raw::names(described), ["one"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_skips_to_the_sync() {
    let server = TestServer::start().await;
    let mut raw = Raw::connect(&server).await;
    raw.send(b'P', b"bad\0SELECT FROM WHERE\0\0\0").await;
    raw.send(b'B', b"\0bad\0\0\0\0\0\0\0").await;
    raw.send(b'E', b"\0\0\0\0\0").await;
    raw.send(b'P', b"good\0SELECT 1\0\0\0").await;
    raw.send(b'S', b"").await;
    assert_eq!(raw::kinds(&raw.until(b'Z').await), "EZ");
    raw.send(b'P', b"good\0SELECT 1\0\0\0").await;
    raw.send(b'P', b"good\0SELECT 1\0\0\0").await;
    raw.send(b'S', b"").await;
    let messages = raw.until(b'Z').await;
    assert_eq!(raw::kinds(&messages), "1EZ");
    assert_eq!(raw::sqlstate(&messages), "42P05");
    // Nothing, in each of the protocols.
    raw.send(b'Q', b" ; -- nothing\n;\0").await;
    assert_eq!(raw::kinds(&raw.until(b'Z').await), "IZ");
    raw.send(b'P', b"\0\0\0\0").await;
    raw.send(b'B', b"\0\0\0\0\0\0\0\0").await;
    raw.send(b'D', b"P\0").await;
    raw.send(b'E', b"\0\0\0\0\0").await;
    raw.send(b'S', b"").await;
    assert_eq!(raw::kinds(&raw.until(b'Z').await), "12nIZ");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn startup_packets_that_are_none_are_refused() {
    let server = TestServer::start().await;
    let refused: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0\0\0\x04",
        b"\xff\xff\xff\xff\0\x03\0\0",
        b"\0\0\0\x08\0\x02\0\0",
        b"\0\0\0\x09\0\x03\0\0\0",
        b"\0\0\0\x0f\0\x03\0\0user\0\xff\0",
    ];
    for bytes in refused {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(5), socket.read_to_end(&mut answer));
        assert!(read.await.is_ok(), "{bytes:?}");
        assert!(answer.is_empty() || answer[0] == b'E', "{bytes:?}");
    }
    server
        .client()
        .await
        .simple_query("SELECT 1")
        .await
        .unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_and_series_take_parameters() {
    let server = TestServer::start().await;
    let client = server.client().await;
    client.batch_execute("BEGIN").await.unwrap();
    let declare =
        "DECLARE c CURSOR FOR SELECT v FROM generate_series(1, $1::int) AS g(v) WHERE v > $2";
    let declare = client.prepare(declare).await.unwrap();
    for (last, above, expected) in [(4, 2, vec![3, 4]), (2, 1, vec![2])] {
        client.execute(&declare, &[&last, &above]).await.unwrap();
        let rows = client.query("FETCH ALL FROM c", &[]).await.unwrap();
        let values: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(values, expected);
        client.batch_execute("CLOSE c").await.unwrap();
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_name_the_constraint_in_a_field() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let script = "CREATE TABLE p (id INT PRIMARY KEY);
        CREATE TABLE t (a INT PRIMARY KEY, b INT NOT NULL, c INT,
            p INT CONSTRAINT of_p REFERENCES p, CONSTRAINT small CHECK (c < 9));
        INSERT INTO t VALUES (1, 1, 1);";
    client.batch_execute(script).await.unwrap();
    for (row, column, constraint) in [
        ("(1, 1, 1)", None, Some("t_pkey")),
        ("(2, NULL, 1)", Some("b"), None),
        ("(2, 1, 10)", None, Some("small")),
        ("(2, 1, 1, 5)", None, Some("of_p")),
    ] {
        let insert = format!("INSERT INTO t VALUES {row}");
        let error = client.batch_execute(&insert).await.unwrap_err();
        let error = error.as_db_error().unwrap();
        assert_eq!(error.table(), Some("t"), "{error}");
        assert_eq!((error.column(), error.constraint()), (column, constraint));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_without_a_value_answer_in_binary() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let row = client
        .query_one("SELECT pg_sleep(0), 1", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, i32>(1), 1);
    server.stop().await;
}

/// The value of the only row and column of an answer.
fn only(messages: &[raw::Message]) -> Vec<u8> {
    let row = raw::body(messages, b'D').expect("a row");
    raw::values(row)[0].as_deref().unwrap().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_travel_in_the_encoding_of_the_client() {
    let server = TestServer::start().await;
    let mut client = Raw::connect(&server).await;
    let set = client.simple("SET client_encoding = 'iso-8859-1'").await;
    let told = raw::body(&set, b'S').unwrap();
    assert_eq!(&told[..], b"client_encoding\0LATIN1\0");
    let query =
        b"CREATE TABLE caf\xe9 (id INT, t TEXT); INSERT INTO caf\xe9 VALUES (1, '\xe9t\xe9')\0";
    client.send(b'Q', query).await;
    assert_eq!(raw::kinds(&client.until(b'Z').await), "CCZ");
    client
        .send(b'Q', b"SELECT t AS \"\xe9\", length(t) FROM caf\xe9\0")
        .await;
    let answer = client.until(b'Z').await;
    assert_eq!(only(&answer), b"\xe9t\xe9");
    let columns = raw::body(&answer, b'T').unwrap();
    assert_eq!(columns[2..4], *b"\xe9\0");
    // An error is told whatever is in it; a row that cannot be told is an error.
    client.send(b'Q', b"SELECT * FROM th\xe9\0").await;
    let error = raw::body(&client.until(b'Z').await, b'E').unwrap();
    let wanted = &b"Mrelation \"th\xe9\" does not exist\0"[..];
    assert!(error.windows(wanted.len()).any(|part| part == wanted));
    let euro = client.simple("SELECT 'a' || chr(8364)").await;
    assert_eq!(raw::sqlstate(&euro), "22P05");
    // Parameters and values in both formats, and what is copied.
    for format in [0, 1] {
        for (sql, value, wanted) in [
            (
                &b"SELECT $1::text || t FROM caf\xe9"[..],
                &b"\xe0"[..],
                &b"\xe0\xe9t\xe9"[..],
            ),
            (b"SELECT length($1)::text", b"\xe0\xe9", b"2"),
        ] {
            client.send(b'P', &[b"\0", sql, b"\0\0\0"].concat()).await;
            let length = [0, 0, 0, value.len() as u8];
            let bind = [
                &[0, 0, 0, 1, 0, format, 0, 1][..],
                &length,
                value,
                &[0, 1, 0, format],
            ];
            client.send(b'B', &bind.concat()).await;
            client.send(b'E', b"\0\0\0\0\0").await;
            client.send(b'S', b"").await;
            assert_eq!(only(&client.until(b'Z').await), wanted, "{format}");
        }
    }
    client.send(b'Q', b"COPY caf\xe9 FROM STDIN\0").await;
    client.until(b'G').await;
    client.send(b'd', b"2\t\xe7a\n").await;
    client.send(b'c', b"").await;
    assert_eq!(raw::kinds(&client.until(b'Z').await), "CZ");
    client
        .send(
            b'Q',
            b"COPY (SELECT t FROM caf\xe9 WHERE id = 2) TO STDOUT\0",
        )
        .await;
    let copied = raw::body(&client.until(b'Z').await, b'd').unwrap();
    assert_eq!(&copied[..], b"\xe7a\n");
    client
        .send(
            b'Q',
            b"COPY (SELECT t FROM caf\xe9 WHERE id = 2) TO STDOUT (ENCODING 'UTF8')\0",
        )
        .await;
    let copied = raw::body(&client.until(b'Z').await, b'd').unwrap();
    assert_eq!(&copied[..], "ça\n".as_bytes());
    // In UTF-8 again, it is the same text.
    client.simple("RESET client_encoding").await;
    let answer = client
        .simple("SELECT string_agg(t, '' ORDER BY id) FROM café")
        .await;
    assert_eq!(only(&answer), "étéça".as_bytes());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_written_is_an_error_behind_those_before() {
    let server = TestServer::start().await;
    let mut client = Raw::connect(&server).await;
    client.simple("SET client_encoding = 'LATIN1'").await;
    let sql = "SELECT chr(n) FROM generate_series(254, 256) AS n ORDER BY n";
    for answer in [client.simple(sql).await, client.extended(sql).await] {
        assert_eq!(raw::kinds(&answer).trim_start_matches(['1', '2']), "TDDEZ");
        assert_eq!(raw::sqlstate(&answer), "22P05");
    }
    assert_eq!(only(&client.simple("SELECT 1").await), b"1");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_come_between_statements() {
    let server = TestServer::start().await;
    let mut listener = Raw::connect(&server).await;
    let mut teller = Raw::connect(&server).await;
    listener.simple("LISTEN news").await;
    listener.simple("LISTEN \"Other\"").await;
    // It waits for nothing, and hears of it all the same.
    teller.simple("NOTIFY news, 'one'").await;
    teller.simple("SELECT pg_notify('Other', 'two')").await;
    let told = |message: &raw::Message| {
        assert_eq!(message.0, b'A');
        String::from_utf8(message.1[4..].to_vec()).unwrap()
    };
    for expected in ["news\0one\0", "Other\0two\0"] {
        let arrived = listener.until(b'A').await;
        assert_eq!(told(&arrived[0]), expected);
    }
    // Those of a block come when it commits, once, and not while the listener is in a block.
    listener.simple("BEGIN").await;
    let script = "BEGIN; NOTIFY news, 'a'; NOTIFY news, 'a'; SAVEPOINT s; NOTIFY news, 'b'; ROLLBACK TO s; COMMIT";
    teller.simple(script).await;
    teller.simple("BEGIN; NOTIFY news, 'c'; ROLLBACK").await;
    assert_eq!(raw::kinds(&listener.simple("SELECT 1").await), "TDCZ");
    let ended = listener.simple("COMMIT").await;
    assert_eq!(raw::kinds(&ended), "CAZ");
    assert_eq!(told(&ended[1]), "news\0a\0");
    // Its own, too; and none after UNLISTEN.
    assert_eq!(raw::kinds(&listener.simple("NOTIFY news").await), "CAZ");
    listener.simple("UNLISTEN news").await;
    assert_eq!(raw::kinds(&listener.simple("NOTIFY news").await), "CZ");
    listener.simple("DISCARD ALL").await;
    let other = listener.simple("NOTIFY \"Other\"").await;
    assert_eq!(raw::kinds(&other), "CZ");
    let long = format!("NOTIFY news, '{}'", "x".repeat(8_000));
    assert_eq!(raw::sqlstate(&teller.simple(&long).await), "22023");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_answer_names_the_routine_by_which_drivers_prepare_again() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let create = "CREATE TABLE t (a INT)";
    client.batch_execute(create).await.unwrap();
    let all = client.prepare("SELECT * FROM t").await.unwrap();
    client.query(&all, &[]).await.unwrap();
    let alter = "ALTER TABLE t ADD COLUMN b INT";
    client.batch_execute(alter).await.unwrap();
    let error = client.query(&all, &[]).await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code().code(), "0A000");
    assert_eq!(error.routine(), Some("RevalidateCachedQuery"));
    server.stop().await;
}
