//! A server as those meet it who run it: configuration, metrics, limits, signals.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tokio_postgres::{Client, NoTls};

use super::{program, root};

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The real program, serving a temporary database on free ports.
struct Served {
    child: Child,
    address: SocketAddr,
    http: SocketAddr,
    lines: mpsc::Receiver<String>,
}

impl Served {
    fn start(arguments: &[&str]) -> Self {
        let mut command = program();
        command
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(["--http-listen", "127.0.0.1:0"])
            .args(arguments)
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ended = sender.send(line);
            }
        });
        let mut served = Self {
            child,
            address: ([0, 0, 0, 0], 0).into(),
            http: ([0, 0, 0, 0], 0).into(),
            lines,
        };
        let http = served.line_with("listening for HTTP");
        served.http = address_in(&http);
        let wire = served.line_with("listening");
        served.address = address_in(&wire);
        served
    }

    /// The next line of the log that has a text in it.
    fn line_with(&self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap();
            if line.contains(text) {
                return line;
            }
        }
    }

    async fn client(&self) -> Client {
        self.try_client().await.unwrap()
    }

    async fn try_client(&self) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = tokio_postgres::Config::new()
            .host(self.address.ip().to_string())
            .port(self.address.port())
            .user("shelfmark")
            .dbname("shelfmark")
            .connect(NoTls)
            .await?;
        tokio::spawn(connection);
        Ok(client)
    }

    fn get(&self, path: &str) -> (u16, String) {
        http(
            self.http,
            &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        )
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = std::process::Command::new("kill")
            .args([name, &pid])
            .status();
        assert!(sent.unwrap().success());
    }

    fn wait(mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the server did not end");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn address_in(line: &str) -> SocketAddr {
    let start = line.find("127.0.0.1:").unwrap();
    let address = line[start..].chars();
    let address: String = address
        .take_while(|c| c.is_ascii_digit() || ".:".contains(*c))
        .collect();
    address.parse().unwrap()
}

fn http(address: SocketAddr, request: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    socket.read_to_string(&mut response).unwrap();
    let status = response.split(' ').nth(1).unwrap().parse().unwrap();
    let body = response.split_once("\r\n\r\n").unwrap().1;
    (status, body.to_string())
}

fn sqlstate(error: &tokio_postgres::Error) -> &str {
    error.code().map_or("", |code| code.code())
}

/// The value of a metric, by its name with its labels.
fn metric(page: &str, name: &str) -> f64 {
    let line = page
        .lines()
        .find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {page}"))
        .parse()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_what_clients_do() {
    let served = Served::start(&["--set", "growing.max_size=1kB"]);
    let client = served.client().await;
    // A string of statements is a transaction, in which nothing is compacted.
    for script in [
        "CREATE TABLE t (id BIGINT CLUSTERING KEY);
        INSERT INTO t SELECT value FROM generate_series(1, 1000) AS g(value)",
        "COMPACT t WITH (CLUSTERING, WAIT)",
        "SELECT * FROM t WHERE id = 7; SELECT * FROM t WHERE id = 7000",
    ] {
        client.batch_execute(script).await.unwrap();
    }
    client
        .batch_execute("SELECT * FROM nowhere")
        .await
        .unwrap_err();
    let (status, page) = served.get("/metrics");
    assert_eq!(status, 200);
    assert!(page.ends_with("# EOF\n"));
    let value = |name: &str| metric(&page, name);
    assert_eq!(value("shelfmark_connections{state=\"idle\"}"), 1.0);
    assert_eq!(
        value("shelfmark_queries_total{kind=\"create\",sqlstate_class=\"00\"}"),
        1.0
    );
    assert_eq!(
        value("shelfmark_queries_total{kind=\"insert\",sqlstate_class=\"00\"}"),
        1.0
    );
    assert_eq!(
        value("shelfmark_queries_total{kind=\"select\",sqlstate_class=\"42\"}"),
        1.0
    );
    assert_eq!(value("shelfmark_query_duration_seconds_count"), 6.0);
    assert_eq!(value("shelfmark_collections"), 1.0);
    assert!(value("shelfmark_segments") >= 1.0);
    assert!(value("shelfmark_segments_scanned_total") >= 1.0);
    assert!(value("shelfmark_segments_pruned_total") >= 1.0);
    assert_eq!(value("shelfmark_search_workers"), 0.0);
    assert!(value("shelfmark_sent_rows_total") >= 1.0);
    assert!(value("shelfmark_sent_bytes_total") > 100.0);
    assert!(value("shelfmark_received_bytes_total") > 100.0);
    assert!(value("shelfmark_log_bytes_total") > 100.0);
    assert!(value("shelfmark_log_appends_total") >= 2.0);
    assert!(value("shelfmark_log_sync_seconds_count") >= 2.0);
    assert!(value("shelfmark_log_group_commits_sum") >= 2.0);
    assert_eq!(value("shelfmark_memory_limit_bytes"), 2_147_483_648.0);
    assert!(value("process_resident_memory_bytes") > 1e6);
    assert!(value("process_open_fds") > 3.0);
    let compactions = page
        .lines()
        .filter(|l| l.starts_with("shelfmark_compactions_total{"));
    let ended: f64 = compactions
        .map(|l| l.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
        .sum();
    assert!(ended >= 1.0, "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn http_answers_who_asks_well_and_survives_others() {
    let served = Served::start(&[]);
    assert_eq!(served.get("/healthz"), (200, "ok\n".to_string()));
    assert_eq!(served.get("/readyz"), (200, "ready\n".to_string()));
    assert_eq!(served.get("/etc/passwd").0, 404);
    let ask = |request: &str| http(served.http, request).0;
    assert_eq!(
        ask("POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
        405
    );
    let many = "X: y\r\n".repeat(1_000);
    assert_eq!(ask(&format!("GET / HTTP/1.1\r\n{many}\r\n")), 431);
    let long = "x".repeat(100_000);
    assert_eq!(ask(&format!("GET /{long} HTTP/1.1\r\n\r\n")), 431);
    // Connections that say nothing take no place that others need.
    let silent: Vec<_> = (0..200).map(|_| TcpStream::connect(served.http)).collect();
    drop(silent);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(served.get("/healthz").0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_running_statements_end() {
    let served = Served::start(&[]);
    let (busy, idle) = (served.client().await, served.client().await);
    let running = tokio::spawn(async move {
        busy.query(
            "SELECT count(*) FROM generate_series(1, 30000000) t (i) WHERE i % 7 = 0",
            &[],
        )
        .await
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    served.signal("-TERM");
    served.line_with("stopping");
    let row = running.await.unwrap().unwrap();
    assert_eq!(row[0].get::<_, i64>(0), 4_285_714);
    let error = idle.query("SELECT 1", &[]).await.unwrap_err();
    assert!(error.is_closed() || sqlstate(&error) == "57P01", "{error}");
    assert!(served.try_client().await.is_err());
    assert_eq!(served.wait().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_running_statements() {
    let served = Served::start(&[]);
    let busy = served.client().await;
    let running = tokio::spawn(async move {
        let sql =
            "SELECT count(*) FROM generate_series(1, 10000000) a, generate_series(1, 10000000) b";
        busy.query(sql, &[]).await
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    served.signal("-TERM");
    served.line_with("stopping");
    assert_eq!(served.get("/readyz"), (503, "stopping\n".to_string()));
    assert_eq!(served.get("/healthz").0, 200);
    served.signal("-INT");
    let error = running.await.unwrap().unwrap_err();
    assert_eq!(sqlstate(&error), "57P01", "{error}");
    assert_eq!(served.wait().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_drain_has_a_limit() {
    let served = Served::start(&["--set", "server.drain_timeout=1s"]);
    let busy = served.client().await;
    let running = tokio::spawn(async move {
        let sql =
            "SELECT count(*) FROM generate_series(1, 10000000) a, generate_series(1, 10000000) b";
        busy.query(sql, &[]).await
    });
    // A client that has not logged in must not hold up the end.
    let _half_open = TcpStream::connect(served.address).unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let begun = Instant::now();
    served.signal("-TERM");
    let error = running.await.unwrap().unwrap_err();
    assert_eq!(sqlstate(&error), "57P01", "{error}");
    assert_eq!(served.wait().code(), Some(0));
    let took = begun.elapsed();
    assert!(
        took >= Duration::from_secs(1) && took < Duration::from_secs(8),
        "{took:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_takes_rules_and_levels_and_nothing_that_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("shelfmark.toml");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    let rule = |method: &str| {
        format!("[[auth]]\ntype = 'host'\naddress = '127.0.0.1/32'\nmethod = '{method}'\n")
    };
    write(&rule("trust"));
    let served = Served::start(&["--config", file.to_str().unwrap()]);
    let client = served.client().await;
    write(&rule("reject"));
    served.signal("-HUP");
    served.line_with("was read again");
    let error = served.try_client().await.unwrap_err();
    assert_eq!(sqlstate(&error), "28000", "{error}");
    assert_eq!(client.query("SELECT 1", &[]).await.unwrap().len(), 1);
    write("[[auth]]\nnonsense = 1");
    served.signal("-HUP");
    served.line_with("was not taken");
    assert_eq!(sqlstate(&served.try_client().await.unwrap_err()), "28000");
    write(&(rule("trust") + "[log]\nlevel = 'debug'\n"));
    served.signal("-HUP");
    served.line_with("was read again");
    served.client().await;
    served.line_with("DEBUG");
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_are_logged_without_passwords_on_one_line() {
    for format in ["text", "json"] {
        let served = Served::start(&["--set", "log.statements=all", "--log-format", format]);
        let client = served.client().await;
        let _roles = client
            .batch_execute("ALTER ROLE shelfmark PASSWORD 'hunter2'")
            .await;
        let line = served.line_with("ALTER ROLE");
        assert!(!line.contains("hunter2") && line.contains("***"), "{line}");
        client.batch_execute("SELECT 'a\n\x1b[31mb'").await.unwrap();
        let line = served.line_with("SELECT");
        assert!(line.contains("b'") && !line.contains('\x1b'), "{line}");
        if format == "json" {
            assert!(line.starts_with('{') && line.ends_with('}'), "{line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_logged() {
    let served = Served::start(&["--set", "log.connections=on"]);
    drop(served.client().await);
    let line = served.line_with(": connected");
    assert!(
        line.contains("user=\"shelfmark\"") && line.contains("127.0.0.1:"),
        "{line}"
    );
    served.line_with("disconnected");
}

#[test]
fn a_configuration_is_checked_without_serving() {
    let check = |arguments: &[&str]| {
        let mut command = program();
        command.args(["serve", "--check-config"]).args(arguments);
        let output = command.output().unwrap();
        (
            output.status.success(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let example = root().join("examples/shelfmark.toml");
    assert!(check(&["--config", example.to_str().unwrap()]).0);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("shelfmark.toml");
    std::fs::write(&file, "[server]\nlisten = 'everywhere'\n").unwrap();
    let (right, errors) = check(&["--config", file.to_str().unwrap()]);
    assert!(
        !right && errors.contains("line 2") && errors.contains("server.listen"),
        "{errors}"
    );
    let (right, errors) = check(&["--set", "server.max_conections=1"]);
    assert!(
        !right && errors.contains("server.max_connections"),
        "{errors}"
    );
    let (right, errors) = check(&["--tls-cert", "/nowhere.pem", "--tls-key", "/nowhere.key"]);
    assert!(!right && errors.contains("/nowhere.pem"), "{errors}");
}
