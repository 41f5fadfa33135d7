//! Clients that are installed beside us: psql and psycopg. A test whose client is missing says so and passes.

use std::path::PathBuf;
use std::process::{Command, Output};

use super::root;
use super::wire::TestServer;

/// A file of these tests.
fn file(name: &str) -> PathBuf {
    root().join("tests/engine/clients").join(name)
}

/// Whether the command can be run; else it is told that its test is skipped.
fn is_installed(program: &str, arguments: &[&str]) -> bool {
    let ran = Command::new(program).args(arguments).output();
    let installed = ran.is_ok_and(|output| output.status.success());
    if !installed {
        eprintln!(
            "skipped: \"{program} {}\" does not work here",
            arguments.join(" ")
        );
    }
    installed
}

/// Runs a client against a server; it is told where by the environment.
async fn run(mut command: Command) -> Output {
    let server = TestServer::start().await;
    command
        .env("PGHOST", server.address.ip().to_string())
        .env("PGPORT", server.address.port().to_string())
        .env("PGUSER", "shelfmark")
        .env("PGDATABASE", "shelfmark")
        .env("PGCONNECT_TIMEOUT", "20")
        .env_remove("PGPASSWORD")
        .env_remove("PGOPTIONS");
    let ran = tokio::task::spawn_blocking(move || command.output());
    let output = ran.await.unwrap().unwrap();
    server.stop().await;
    output
}

fn texts(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_describes_copies_and_computes() {
    if !is_installed("psql", &["--version"]) {
        return;
    }
    let mut psql = Command::new("psql");
    psql.args(["-X", "-q", "-A", "-v", "ON_ERROR_STOP=1", "-f"]);
    psql.arg(file("psql.sql")).env("PAGER", "cat");
    let output = run(psql).await;
    let told = texts(&output);
    assert!(output.status.success(), "{told}");
    // Versions of psql differ in titles and blanks; these lines are the same in all of them.
    let expected = std::fs::read_to_string(file("psql.lines")).unwrap();
    let mut rest = told.as_str();
    for line in expected.lines().filter(|line| !line.is_empty()) {
        let found = rest.lines().position(|l| l.trim() == line);
        let Some(place) = found else {
            panic!("\"{line}\" does not come, or comes too early, in\n{told}");
        };
        let behind = rest
            .lines()
            .take(place + 1)
            .map(|l| l.len() + 1)
            .sum::<usize>();
        rest = rest.get(behind..).unwrap_or_default();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn psycopg_reads_and_writes_every_way_it_has() {
    if !is_installed("python3", &["-c", "import psycopg"]) {
        return;
    }
    let mut python = Command::new("python3");
    python.arg(file("with_psycopg.py"));
    let output = run(python).await;
    assert!(output.status.success(), "{}", texts(&output));
}
