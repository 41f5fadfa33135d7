//! No SQL of a client reads a file outside of the directories that are named, or fetches an address.

use super::*;

/// Paths and addresses that a client may try.
const FORMS: [&str; 60] = [
    "/etc/passwd",
    "/etc/../etc/passwd",
    "//etc/passwd",
    "/etc//passwd",
    "/./etc/passwd",
    "/etc/passwd/",
    "/etc/pass*",
    "/etc/passw?",
    "/etc/[p]asswd",
    "/etc/*",
    "/etc",
    "/etc/",
    "/",
    "/*",
    "*",
    ".",
    "..",
    "",
    "etc/passwd",
    "../etc/passwd",
    "../../../../../../etc/passwd",
    "./Cargo.toml",
    "Cargo.toml",
    "~/.ssh/id_rsa",
    "%2fetc%2fpasswd",
    "/etc/passwd%00.csv",
    "/%2e%2e/etc/passwd",
    "/proc/self/environ",
    "/proc/self/cmdline",
    "/proc/self/root/etc/passwd",
    "/proc/self/cwd/Cargo.toml",
    "/dev/stdin",
    "/dev/null",
    "/dev/zero",
    "/sys/kernel/version",
    "file:/etc/passwd",
    "file:etc/passwd",
    "file:///etc/passwd",
    "file://localhost/etc/passwd",
    "FILE:///ETC/PASSWD",
    "file:////etc/passwd",
    "http://127.0.0.1/a.csv",
    "http://localhost:80/a.parquet",
    "http://169.254.169.254/latest/meta-data/",
    "http://[::1]/a.csv",
    "http://[::ffff:169.254.169.254]/a.csv",
    "http://2852039166/a.csv",
    "http://0x7f.1/a.csv",
    "https://example.org/a.parquet",
    "HTTPS://EXAMPLE.ORG/a.csv",
    "s3://bucket/a.parquet",
    "s3a://bucket/a.parquet",
    "gs://bucket/a.parquet",
    "az://container/a.parquet",
    "abfss://c@a.dfs.core.windows.net/a",
    "hdfs://name/a.csv",
    "ftp://example.org/a.csv",
    "data:text/csv,1",
    "\\\\server\\share\\a.csv",
    "C:\\Windows\\win.ini",
];

#[tokio::test]
async fn no_path_or_address_leads_out() {
    let database = database().await;
    run_all(&database.session(), &["CREATE TABLE t (line TEXT)"]).await;
    let allowed = tempfile::tempdir().unwrap();
    let access = FileAccess::Below(vec![allowed.path().to_path_buf()]);
    let client = client(&database, RoleId::BOOTSTRAP, access);
    for form in FORMS {
        for copy in [
            format!("COPY t FROM '{form}' (FORMAT csv)"),
            format!("COPY t TO '{form}' (FORMAT csv)"),
            format!("COPY (SELECT 1) TO '{form}' (FORMAT parquet)"),
            format!("EXPLAIN COPY t FROM '{form}' (FORMAT csv)"),
            format!("EXPLAIN ANALYZE COPY t TO '{form}' (FORMAT csv)"),
        ] {
            assert_eq!(failure(&client, &copy).await.0, "42501", "{copy}");
        }
        for other in [
            format!("SELECT * FROM '{form}'"),
            format!("SELECT * FROM \"{form}\""),
            format!("CREATE EXTERNAL TABLE e STORED AS CSV LOCATION '{form}'"),
            format!("CREATE EXTERNAL TABLE e (a TEXT) STORED AS PARQUET LOCATION '{form}'"),
            format!("INSERT INTO t SELECT * FROM '{form}'"),
            format!("SELECT * FROM read_csv('{form}')"),
            format!("SELECT * FROM parquet_metadata('{form}')"),
        ] {
            let (code, message) = failure(&client, &other).await;
            let expected = ["42P01", "42883", "0A000", "42601", "42501", "3F000"];
            assert!(expected.contains(&code), "{other}: {code} {message}");
        }
    }
    assert!(
        !run(&client, "SELECT * FROM t")
            .await
            .unwrap()
            .contains("root:")
    );
    let file = allowed.path().join("a.csv").display().to_string();
    run_all(
        &client,
        &[
            "INSERT INTO t VALUES ('x')",
            &format!("COPY t TO '{file}' (FORMAT csv)"),
            &format!("COPY t FROM '{file}' (FORMAT csv, HEADER)"),
        ],
    )
    .await;
}

#[tokio::test]
async fn files_are_for_superusers_and_those_named() {
    let database = database().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.csv").display().to_string();
    run_all(
        &database.session(),
        &[
            "CREATE ROLE ann",
            "CREATE ROLE bob IN ROLE pg_read_server_files",
            "CREATE TABLE t (id INT)",
            "INSERT INTO t VALUES (1)",
            "GRANT ALL ON t TO ann, bob",
            &format!("COPY t TO '{file}'"),
        ],
    )
    .await;
    let [ann, bob] = ["ann", "bob"].map(|name| database.session_as(name).unwrap());
    let (from, to) = (
        format!("COPY t FROM '{file}'"),
        format!("COPY t TO '{file}'"),
    );
    let (code, message) = failure(&ann, &from).await;
    assert_eq!(code, "42501");
    assert!(
        message.starts_with("must be superuser or have privileges of the pg_read_server_files")
    );
    assert_eq!(failure(&ann, &to).await.0, "42501");
    run_all(&bob, &[&from]).await;
    assert_eq!(failure(&bob, &to).await.0, "42501");
}
