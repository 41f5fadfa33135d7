//! The limits of connections: how many, for how long, and what those cost who say or read nothing.

use std::time::{Duration, Instant};

use shelfmark::{Database, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::wire::TestServer;

fn sqlstate(error: &tokio_postgres::Error) -> &str {
    error.code().map_or("", |code| code.code())
}

async fn refusal(server: &TestServer) -> tokio_postgres::Error {
    let connecting = tokio_postgres::Config::new()
        .host(server.address.ip().to_string())
        .port(server.address.port())
        .user("shelfmark")
        .dbname("shelfmark")
        .connect(tokio_postgres::NoTls)
        .await;
    connecting.err().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_too_many_is_refused() {
    let server = TestServer::with(|config| {
        config.set("server.max_connections", "4").unwrap();
        config
            .set("server.superuser_reserved_connections", "2")
            .unwrap();
    })
    .await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(server.client().await);
    }
    let error = refusal(&server).await;
    assert_eq!(sqlstate(&error), "53300");
    let message = error.as_db_error().unwrap().message();
    assert_eq!(message, "sorry, too many clients already");
    clients.pop();
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.client().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_do_not_log_in_lose_their_socket_and_keep_nobody_out() {
    let server = TestServer::with(|config| {
        config.set("server.authentication_timeout", "4s").unwrap();
    })
    .await;
    let begun = Instant::now();
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    server
        .client()
        .await
        .batch_execute("SELECT 1")
        .await
        .unwrap();
    assert!(
        begun.elapsed() < Duration::from_millis(3_600),
        "{:?}",
        begun.elapsed()
    );
    for mut socket in silent {
        let mut bytes = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(15), socket.read_to_end(&mut bytes));
        assert_eq!(read.await.unwrap().unwrap(), 0);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_has_the_name_that_the_configuration_says() {
    let server = TestServer::with(|config| config.set("server.database", "books").unwrap()).await;
    let connect = |name: &str| {
        let mut config = tokio_postgres::Config::new();
        config
            .host(server.address.ip().to_string())
            .port(server.address.port())
            .user("shelfmark")
            .dbname(name);
        async move { config.connect(tokio_postgres::NoTls).await }
    };
    for name in ["books", "postgres"] {
        let (client, connection) = connect(name).await.unwrap();
        tokio::spawn(connection);
        let row = client
            .query_one(
                "SELECT current_database()::text, (SELECT string_agg(datname, ',') FROM pg_database), \
                 (SELECT min(datname) FROM pg_stat_activity), catalog_name::text \
                 FROM information_schema.schemata WHERE schema_name = 'public'",
                &[],
            )
            .await
            .unwrap();
        for column in 0..4 {
            assert_eq!(row.get::<_, &str>(column), "books", "{name}, {column}");
        }
        client
            .batch_execute(
                "GRANT CONNECT ON DATABASE books TO PUBLIC; COMMENT ON DATABASE books IS 'shelves'",
            )
            .await
            .unwrap();
        let error = client.batch_execute("CREATE DATABASE books").await;
        assert_eq!(sqlstate(&error.unwrap_err()), "42P04");
    }
    let error = connect("shelfmark").await.err().unwrap();
    assert_eq!(sqlstate(&error), "3D000");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_sessions_end_by_the_configuration_unless_they_say_otherwise() {
    let server = TestServer::with(|config| {
        config.set("server.idle_session_timeout", "300ms").unwrap();
        config
            .set("server.idle_in_transaction_session_timeout", "200ms")
            .unwrap();
        config.set("server.statement_timeout", "20s").unwrap();
    })
    .await;
    for (sql, code) in [("SELECT 1", "57P05"), ("BEGIN", "25P03")] {
        let (client, connection) = tokio_postgres::Config::new()
            .host(server.address.ip().to_string())
            .port(server.address.port())
            .user("shelfmark")
            .dbname("shelfmark")
            .connect(tokio_postgres::NoTls)
            .await
            .unwrap();
        let driven = tokio::spawn(connection);
        client.batch_execute(sql).await.unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(10), driven).await;
        let error = ended.unwrap().unwrap().unwrap_err();
        assert_eq!(sqlstate(&error), code, "{error}");
    }
    let client = server.client().await;
    client
        .batch_execute("SET idle_session_timeout = 0")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(900)).await;
    let row = client
        .query_one("SHOW statement_timeout", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, &str>(0), "20s");
    server.stop().await;
}

/// A raw client that asks for a large answer.
async fn asking(server: &TestServer) -> TcpStream {
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let mut startup = vec![0, 3, 0, 0];
    startup.extend(b"user\0shelfmark\0database\0shelfmark\0\0");
    let length = (startup.len() as u32 + 4).to_be_bytes();
    socket
        .write_all(&[&length[..], &startup].concat())
        .await
        .unwrap();
    let sql = b"SELECT repeat('x', 1000) FROM generate_series(1, 100000000)\0";
    let length = (sql.len() as u32 + 4).to_be_bytes();
    socket
        .write_all(&[b"Q", &length[..], sql].concat())
        .await
        .unwrap();
    socket
}

async fn until_nobody_is_left(database: &Database, limit: Duration) -> Duration {
    let begun = Instant::now();
    while database.backends().count() > 0 {
        assert!(begun.elapsed() < limit, "the session is still there");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_nothing_is_disconnected() {
    let database = Database::temporary(Settings::default()).await.unwrap();
    let server = TestServer::over(database.clone(), |config| {
        config.set("server.write_timeout", "1s").unwrap();
    })
    .await;
    let _stalled = asking(&server).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(database.backends().count(), 1);
    until_nobody_is_left(&database, Duration::from_secs(10)).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_nothing_can_be_ended() {
    let database = Database::temporary(Settings::default()).await.unwrap();
    let server = TestServer::over(database.clone(), |_| {}).await;
    let _stalled = asking(&server).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let backend = database.backends().list().remove(0);
    backend.terminate();
    drop(backend);
    until_nobody_is_left(&database, Duration::from_secs(10)).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vanished_client_stops_its_statement() {
    let database = Database::temporary(Settings::default()).await.unwrap();
    let server = TestServer::over(database.clone(), |_| {}).await;
    let mut socket = asking(&server).await;
    let mut some = vec![0; 100_000];
    socket.read_exact(&mut some).await.unwrap();
    assert_eq!(database.backends().count(), 1);
    drop(socket);
    until_nobody_is_left(&database, Duration::from_secs(2)).await;
    assert_eq!(database.usage().memory_reserved, 0);
    server.stop().await;
}
