//! Who comes in over real sockets: passwords, rules, TLS; and what a client may do then.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use shelfmark::server::config::AuthEntry;
use shelfmark::server::{Config, Server};
use shelfmark::{Database, Settings};
use tokio_postgres::{Client, NoTls};

use super::wire::TestServer;

/// A rule for this machine.
fn rule(kind: &str, method: &str) -> AuthEntry {
    AuthEntry {
        line: 1,
        kind: kind.into(),
        database: "all".into(),
        user: "all".into(),
        address: "127.0.0.1".into(),
        method: method.into(),
    }
}

/// A database with a user `ann` who may read `book`.
async fn database() -> Database {
    let database = Database::temporary(Settings::default()).await.unwrap();
    let session = database.session();
    for sql in [
        "CREATE USER ann PASSWORD 'open sesame' CONNECTION LIMIT 2",
        "CREATE ROLE team PASSWORD 'open sesame'",
        "CREATE USER late PASSWORD 'open sesame' VALID UNTIL '2020-01-01'",
        "CREATE TABLE book (id INT)",
        "INSERT INTO book VALUES (7)",
        "CREATE TABLE hidden (id INT)",
        "GRANT SELECT ON book TO ann",
        "ALTER ROLE ann SET timezone = 'Asia/Tokyo'",
    ] {
        session.sql(sql).await.unwrap().collect().await.unwrap();
    }
    database
}

async fn connect(
    server: &TestServer,
    user: &str,
    password: &str,
) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::Config::new()
        .host(server.address.ip().to_string())
        .port(server.address.port())
        .user(user)
        .password(password)
        .dbname("shelfmark")
        .connect(NoTls)
        .await?;
    tokio::spawn(connection);
    Ok(client)
}

fn told(error: &tokio_postgres::Error) -> (String, String) {
    let error = error.as_db_error().unwrap();
    (error.code().code().to_string(), error.message().to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_lets_in_and_grants_let_do() {
    let database = database().await;
    let admin = database.session();
    let scram = |config: &mut Config| config.auth = Some(vec![rule("host", "scram-sha-256")]);
    let server = TestServer::over(database, scram).await;
    let refused = |user: &str| format!("password authentication failed for user \"{user}\"");
    for (user, password, code, message) in [
        ("ann", "open", "28P01", refused("ann")),
        ("nobody", "open sesame", "28P01", refused("nobody")),
        ("late", "open sesame", "28P01", refused("late")),
        ("shelfmark", "open sesame", "28P01", refused("shelfmark")),
        (
            "team",
            "open sesame",
            "28000",
            "role \"team\" is not permitted to log in".into(),
        ),
    ] {
        let error = connect(&server, user, password).await.err().unwrap();
        assert_eq!(told(&error), (code.to_string(), message));
    }
    let client = connect(&server, "ann", "open sesame").await.unwrap();
    let second = connect(&server, "ann", "open sesame").await.unwrap();
    let third = connect(&server, "ann", "open sesame").await.err().unwrap();
    let expected = "too many connections for role \"ann\"".to_string();
    assert_eq!(told(&third), ("53300".to_string(), expected));
    drop(second);
    let prepared = client
        .prepare("SELECT id FROM book WHERE id > $1")
        .await
        .unwrap();
    assert_eq!(client.query(&prepared, &[&1_i32]).await.unwrap().len(), 1);
    let zone = client.query_one("SHOW timezone", &[]).await.unwrap();
    assert_eq!(zone.get::<_, &str>(0), "Asia/Tokyo");
    for (sql, message) in [
        ("SELECT * FROM hidden", "permission denied for table hidden"),
        (
            "INSERT INTO book VALUES (1)",
            "permission denied for table book",
        ),
        ("CREATE ROLE x", "permission denied to create role"),
        (
            "SET ROLE shelfmark",
            "permission denied to set role \"shelfmark\"",
        ),
    ] {
        for error in [
            client.batch_execute(sql).await.err().unwrap(),
            client.execute(sql, &[]).await.err().unwrap(),
        ] {
            assert_eq!(told(&error), ("42501".to_string(), message.to_string()));
        }
    }
    let copy = client.batch_execute("COPY book TO '/tmp/never.csv'").await;
    assert_eq!(told(&copy.err().unwrap()).0, "42501");
    // What was prepared is checked again when it is executed.
    let revoke = admin.sql("REVOKE SELECT ON book FROM ann").await.unwrap();
    revoke.collect().await.unwrap();
    let error = client.query(&prepared, &[&1_i32]).await.err().unwrap();
    assert_eq!(told(&error).0, "42501");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_binds_its_password_to_tls() {
    if Command::new("psql").arg("--version").output().is_err() {
        println!("psql is not installed: not tested");
        return;
    }
    let files = tempfile::tempdir().unwrap();
    let (cert, key) = (files.path().join("cert"), files.path().join("key"));
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    fs::write(&cert, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let configure = |config: &mut Config| {
        config.tls.cert_file = Some(cert.clone());
        config.tls.key_file = Some(key);
        config.auth = Some(vec![rule("hostssl", "scram-sha-256")]);
    };
    let server = TestServer::over(database().await, configure).await;
    let port = server.address.port();
    let psql = async |options: &str, password: &'static str| -> Output {
        let target = format!("host=127.0.0.1 port={port} user=ann dbname=shelfmark {options}");
        let run = move || {
            Command::new("psql")
                .args([&target, "-XAtc", "SELECT id FROM book"])
                .env("PGPASSWORD", password)
                .output()
                .unwrap()
        };
        tokio::task::spawn_blocking(run).await.unwrap()
    };
    let root = format!("sslmode=verify-ca sslrootcert={}", cert.display());
    for options in [
        "sslmode=require channel_binding=require",
        "sslmode=require channel_binding=disable",
        "sslmode=require ssl_min_protocol_version=TLSv1.3",
        "sslmode=require ssl_max_protocol_version=TLSv1.2",
        "",
        &root,
    ] {
        let output = psql(options, "open sesame").await;
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{options}: {errors}");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "7");
    }
    for (options, password, message) in [
        (
            "sslmode=require",
            "wrong",
            "password authentication failed for user \"ann\"",
        ),
        (
            "sslmode=disable",
            "open sesame",
            "no access rule for host \"127.0.0.1\"",
        ),
        (
            "sslmode=require ssl_max_protocol_version=TLSv1.1 ssl_min_protocol_version=TLSv1",
            "open sesame",
            "SSL",
        ),
    ] {
        let output = psql(options, password).await;
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && errors.contains(message),
            "{options}: {errors}"
        );
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_would_not_protect_does_not_start() {
    let files = tempfile::tempdir().unwrap();
    let missing = files.path().join("missing");
    let database = database().await;
    let start = async |configure: &dyn Fn(&mut Config)| {
        let mut config = Config::default();
        config.set("server.listen", "127.0.0.1:0").unwrap();
        configure(&mut config);
        let handle = tokio::runtime::Handle::current();
        let bound = Server::bind(config, database.clone(), handle).await;
        bound.err().map(|e| e.sqlstate().to_string())
    };
    assert_eq!(start(&|_| {}).await, None);
    let bad_tls = |config: &mut Config| {
        config.tls.cert_file = Some(missing.clone());
        config.tls.key_file = Some(missing.clone());
    };
    assert_eq!(start(&bad_tls).await.as_deref(), Some("F0000"));
    let trusting = |config: &mut Config| {
        let mut rule = rule("host", "trust");
        rule.address = "all".into();
        config.auth = Some(vec![rule]);
    };
    assert_eq!(start(&trusting).await.as_deref(), Some("F0000"));
}
