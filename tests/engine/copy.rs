//! COPY between the client and collections: bytes in and out as PostgreSQL 15 has them.

use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::UInt64Type;
use bytes::Bytes;
use futures::StreamExt;
use shelfmark::sql::{CopyFormat, CopyShape};
use shelfmark::{Database, Error, Outcome, Result, Session, Settings, Tag};

async fn session() -> Session {
    let database = Database::temporary(Settings::default()).await.unwrap();
    database.session()
}

async fn run(session: &Session, sql: &str) -> Result<u64> {
    count(session.run(sql).await?).await
}

/// Reads a statement to its end; the number in its rows.
async fn count(mut outcome: Outcome) -> Result<u64> {
    let mut count = 0;
    while let Some(batch) = outcome.stream.next().await {
        let batch = batch?;
        if let Some(counts) = batch
            .columns()
            .first()
            .and_then(|c| c.as_primitive_opt::<UInt64Type>())
        {
            count += counts.values().iter().sum::<u64>();
        }
    }
    Ok(count)
}

/// COPY .. FROM STDIN with bytes that come in pieces of `size`.
async fn copy_in(session: &Session, sql: &str, bytes: &[u8], size: usize) -> Result<u64> {
    let mut outcome = session.run(sql).await?;
    assert!(matches!(outcome.tag, Tag::CopyIn(_)), "{sql}");
    let mut input = outcome.input.take().unwrap();
    let sending = async {
        for piece in bytes.chunks(size) {
            if !input.write(Bytes::copy_from_slice(piece)).await {
                return;
            }
        }
        input.finish().await;
    };
    tokio::join!(sending, count(outcome)).1
}

/// The payloads of COPY .. TO STDOUT.
async fn copy_out(session: &Session, sql: &str) -> Result<Vec<Vec<u8>>> {
    let mut outcome = session.run(sql).await?;
    let Tag::CopyOut(shape) = outcome.tag else {
        panic!("{sql}: {:?}", outcome.tag);
    };
    let mut payloads = Vec::new();
    while let Some(batch) = outcome.stream.next().await {
        let batch = batch?;
        let values = batch.column(0).as_binary::<i32>();
        payloads.extend(values.iter().flatten().map(<[u8]>::to_vec));
    }
    let rows = session.copy_progress().rows();
    assert_eq!(shape.rows(payloads.len() as u64), rows, "{sql}");
    Ok(payloads)
}

async fn text_out(session: &Session, sql: &str) -> String {
    String::from_utf8(copy_out(session, sql).await.unwrap().concat()).unwrap()
}

fn shown(error: &Error) -> String {
    let context = error.context_lines().unwrap_or("no context");
    format!("{} {} / {context}", error.sqlstate(), error.message())
}

const TYPES: &str = "CREATE TABLE every (id INT, flag BOOLEAN, small SMALLINT, big BIGINT, single REAL, \
    wide DOUBLE PRECISION, exact NUMERIC(20, 4), name TEXT, short VARCHAR(20), day DATE, at TIME, \
    moment TIMESTAMP, instant TIMESTAMPTZ, raw BYTEA, uid UUID, doc JSON, \
    numbers INT[], words TEXT[])";

const VALUES: &str = "INSERT INTO every VALUES \
    (1, true, -32768, 9223372036854775807, 1.5, 0.1, 12345.6789, E'tab\\there', 'plain', '2024-02-29', '23:59:59.5', \
     '2024-02-29 12:34:56.789', '2024-02-29 12:34:56+00', '\\xdeadbeef', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', \
     '{\"a\": [1, 2]}', ARRAY[1, NULL, 3], ARRAY['a', 'b c', NULL]), \
    (2, false, 32767, -9223372036854775808, 1e30, 1e300, -0.0001, E'back\\\\slash \"quoted\", comma\\nline\\r', '', \
     '0001-01-01', '00:00:00', '1999-12-31 23:59:59.999999', '1970-01-01 00:00:00+00', '', \
     '00000000-0000-0000-0000-000000000000', 'null', ARRAY[]::INT[], ARRAY['']), \
    (3, NULL, NULL, NULL, 'NaN', '-Infinity', NULL, '\\N', 'NULL', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL), \
    (4, NULL, NULL, NULL, NULL, NULL, NULL, '\\.', 'ä€𝄞', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)";

/// Written by PostgreSQL 15 for the same table.
const TEXT: &str = include_str!("copy/every.text");
const CSV: &str = include_str!("copy/every.csv");
const BINARY: &[u8] = include_bytes!("copy/every.binary");

#[tokio::test(flavor = "multi_thread")]
async fn bytes_are_those_of_postgres() {
    let session = session().await;
    run(&session, TYPES).await.unwrap();
    run(&session, VALUES).await.unwrap();
    let query = "COPY (SELECT * FROM every ORDER BY id) TO STDOUT";
    assert_eq!(text_out(&session, query).await, TEXT);
    let csv = format!("{query} (FORMAT csv, HEADER)");
    assert_eq!(text_out(&session, &csv).await, CSV);
    let binary = format!("{query} (FORMAT binary)");
    assert_eq!(copy_out(&session, &binary).await.unwrap().concat(), BINARY);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_out_comes_in_again() {
    let session = session().await;
    run(&session, TYPES).await.unwrap();
    run(&session, &TYPES.replace("every", "again"))
        .await
        .unwrap();
    for (options, bytes) in [
        ("", TEXT.as_bytes()),
        ("(FORMAT csv, HEADER MATCH)", CSV.as_bytes()),
        ("(FORMAT binary)", BINARY),
    ] {
        for size in [1, 1_000_000] {
            run(&session, "TRUNCATE again").await.unwrap();
            let sql = format!("COPY again FROM STDIN {options}");
            assert_eq!(
                copy_in(&session, &sql, bytes, size).await.unwrap(),
                4,
                "{options}"
            );
            let options = options.replace(" MATCH", "");
            let sql = format!("COPY (SELECT * FROM again ORDER BY id) TO STDOUT {options}");
            let out = copy_out(&session, &sql).await.unwrap().concat();
            assert_eq!(out, bytes, "{options}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn options_of_text_and_csv() {
    let session = session().await;
    run(&session, "CREATE TABLE t (a TEXT, b TEXT)")
        .await
        .unwrap();
    let values = "INSERT INTO t VALUES ('x', NULL), ('', 'y\"z'), ('a|b', '-'), (E'\\\\.', 'n')";
    run(&session, values).await.unwrap();
    let cases = [
        (
            "t",
            "DELIMITER '|' NULL '-'",
            "x|-\n|y\"z\na\\|b|-\n\\\\.|n\n",
        ),
        ("t", "(HEADER)", "a\tb\nx\t\\N\n\ty\"z\na|b\t-\n\\\\.\tn\n"),
        ("t", "CSV", "x,\n\"\",\"y\"\"z\"\na|b,-\n\\.,n\n"),
        (
            "t",
            "CSV HEADER FORCE QUOTE b",
            "a,b\nx,\n\"\",\"y\"\"z\"\na|b,\"-\"\n\\.,\"n\"\n",
        ),
        (
            "t",
            "(FORMAT csv, FORCE_QUOTE *)",
            "\"x\",\n\"\",\"y\"\"z\"\n\"a|b\",\"-\"\n\"\\.\",\"n\"\n",
        ),
        (
            "t",
            "CSV QUOTE '''' NULL '-' DELIMITER '|'",
            "x|-\n|y\"z\n'a|b'|'-'\n\\.|n\n",
        ),
        (
            "t",
            "CSV ESCAPE '!' NULL 'x'",
            "\"x\",x\n,\"y!\"z\"\na|b,-\n\\.,n\n",
        ),
        ("t (b)", "CSV", "\n\"y\"\"z\"\n-\nn\n"),
        ("t (a)", "CSV", "x\n\"\"\na|b\n\"\\.\"\n"),
        ("(SELECT b, a FROM t WHERE a = 'x')", "", "\\N\tx\n"),
    ];
    for (subject, options, expected) in cases {
        let sql = format!("COPY {subject} TO STDOUT {options}");
        assert_eq!(text_out(&session, &sql).await, expected, "{sql}");
    }
    let empty = "COPY (SELECT * FROM t WHERE a = 'none') TO STDOUT";
    assert_eq!(text_out(&session, empty).await, "");
    let binary = copy_out(&session, &format!("{empty} BINARY"))
        .await
        .unwrap();
    assert_eq!(binary, [b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\xff\xff"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn options_that_do_not_go_together() {
    let session = session().await;
    run(&session, "CREATE TABLE t (a INT, b TEXT)")
        .await
        .unwrap();
    run(&session, "CREATE VIEW v AS SELECT a FROM t")
        .await
        .unwrap();
    run(&session, "CREATE MATERIALIZED VIEW m AS SELECT a FROM t")
        .await
        .unwrap();
    let cases = [
        ("v FROM STDIN", "42809"),
        ("m FROM STDIN", "42809"),
        ("m TO STDOUT", "42809"),
        ("t FROM STDIN (FORMAT xml)", "22023"),
        ("t FROM STDIN (FORMAT)", "42601"),
        ("t FROM STDIN (FORMAT csv, FORMAT csv)", "42601"),
        ("t FROM STDIN CSV CSV", "42601"),
        ("t FROM STDIN (ON_ERROR ignore)", "42601"),
        ("t FROM STDIN (REJECT_LIMIT 3)", "42601"),
        ("t FROM STDIN (DEFAULT 'x')", "42601"),
        ("t FROM STDIN (LOG_VERBOSITY verbose)", "42601"),
        ("t FROM STDIN (HEADER maybe)", "42601"),
        ("t TO STDOUT (HEADER match)", "0A000"),
        ("t FROM STDIN (FREEZE 3)", "42601"),
        ("t FROM STDIN (FORMAT binary, DELIMITER ',')", "42601"),
        ("t FROM STDIN (FORMAT binary, NULL 'x')", "42601"),
        ("t FROM STDIN (FORMAT binary, HEADER)", "0A000"),
        ("t FROM STDIN (DELIMITER 'ab')", "0A000"),
        ("t FROM STDIN (DELIMITER 'a')", "22023"),
        ("t FROM STDIN (DELIMITER E'\\n')", "22023"),
        ("t FROM STDIN (NULL E'\\n')", "22023"),
        ("t FROM STDIN (DELIMITER '|', NULL '|')", "0A000"),
        ("t FROM STDIN (QUOTE '\"')", "0A000"),
        ("t FROM STDIN (ESCAPE '\"')", "0A000"),
        ("t FROM STDIN (FORMAT csv, QUOTE 'ab')", "0A000"),
        ("t FROM STDIN (FORMAT csv, ESCAPE 'ab')", "0A000"),
        ("t FROM STDIN (FORMAT csv, QUOTE ',')", "22023"),
        ("t FROM STDIN (FORMAT csv, NULL '\"')", "0A000"),
        ("t FROM STDIN (FORMAT csv, FORCE_QUOTE (a))", "0A000"),
        ("t TO STDOUT (FORMAT csv, FORCE_NULL (a))", "0A000"),
        ("t FROM STDIN (FORCE_NOT_NULL (a))", "0A000"),
        ("t (a) FROM STDIN (FORMAT csv, FORCE_NULL (b))", "42P10"),
        ("t FROM STDIN (FORMAT csv, FORCE_NULL 3)", "22023"),
        ("t FROM STDIN (ENCODING 'mule_internal')", "0A000"),
        ("t FROM STDIN (ENCODING 'klingon')", "22023"),
        ("t FROM STDIN (FORMAT parquet)", "0A000"),
        ("t TO STDOUT (FORMAT json)", "0A000"),
        ("t (c) FROM STDIN", "42703"),
        ("t (a, a) FROM STDIN", "42701"),
        ("nothing FROM STDIN", "42P01"),
        ("nothing TO STDOUT", "42P01"),
        ("v TO STDOUT", "42809"),
        ("v FROM STDIN", "42809"),
        ("t FROM STDIN WHERE c > 1", "42703"),
    ];
    for (statement, code) in cases {
        let error = session
            .run(&format!("COPY {statement}"))
            .await
            .map(|_| ())
            .unwrap_err();
        assert_eq!(error.sqlstate(), code, "{statement}: {error}");
    }
    for statement in [
        "t FROM STDIN (ENCODING 'utf-8', FREEZE, DELIMITER ';', HEADER 1)",
        "t FROM STDIN WITH CSV HEADER FREEZE ENCODING 'UTF8'",
    ] {
        copy_in(&session, &format!("COPY {statement}"), b"", 1)
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_line_leaves_nothing() {
    let session = session().await;
    run(
        &session,
        "CREATE TABLE book (id INT PRIMARY KEY, key INT NOT NULL)",
    )
    .await
    .unwrap();
    let mut lines: String = (0..100_000).map(|i| format!("{i}\t{i}\n")).collect();
    lines.push_str("100000\tabc\n");
    let error = copy_in(&session, "COPY book FROM STDIN", lines.as_bytes(), 5_000)
        .await
        .unwrap_err();
    assert_eq!(
        shown(&error),
        "22P02 invalid input syntax for type integer: \"abc\" / COPY book, line 100001, column key: \"abc\""
    );
    let twice = copy_in(&session, "COPY book FROM STDIN", b"1\t1\n2\t2\n1\t3\n", 100)
        .await
        .unwrap_err();
    assert_eq!(twice.sqlstate(), "23505");
    let null = copy_in(&session, "COPY book (key) FROM STDIN", b"1\n", 100)
        .await
        .unwrap_err();
    assert_eq!(null.sqlstate(), "23502");
    assert_eq!(text_out(&session, "COPY book TO STDOUT").await, "");
    let fine = lines.lines().take(100_000).collect::<Vec<_>>().join("\n");
    let copied = copy_in(&session, "COPY book FROM STDIN", fine.as_bytes(), 65_536).await;
    assert_eq!(copied.unwrap(), 100_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_filtered_and_defaults_filled() {
    let session = session().await;
    run(
        &session,
        "CREATE TABLE t (a INT NOT NULL, b TEXT DEFAULT 'none', c INT)",
    )
    .await
    .unwrap();
    let sql = "COPY t (c, a) FROM STDIN CSV WHERE t.a > 1 AND b = 'none'";
    let copied = copy_in(&session, sql, b"1,1\n2,2\n3,3\n4,\n", 100).await;
    assert_eq!(copied.unwrap(), 2);
    let out = text_out(&session, "COPY (SELECT * FROM t ORDER BY a) TO STDOUT").await;
    assert_eq!(out, "2\tnone\t2\n3\tnone\t3\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_gives_up_leaves_nothing() {
    let session = session().await;
    run(&session, "CREATE TABLE t (a INT)").await.unwrap();
    let started = || async {
        let mut outcome = session.run("COPY t FROM STDIN").await.unwrap();
        let mut input = outcome.input.take().unwrap();
        assert!(input.write(Bytes::from_static(b"1\n2\n")).await);
        (input, outcome)
    };
    let (input, outcome) = started().await;
    let (_, failed) = tokio::join!(input.fail("changed my mind"), count(outcome));
    let error = failed.unwrap_err();
    assert_eq!(error.sqlstate(), "57014");
    assert_eq!(error.message(), "COPY from stdin failed: changed my mind");
    let (input, outcome) = started().await;
    drop(input);
    assert_eq!(count(outcome).await.unwrap_err().sqlstate(), "57014");
    // A statement that is not read any more wants no more bytes.
    let (mut input, outcome) = started().await;
    drop(outcome);
    let bytes = Bytes::from(vec![b'1'; 1 << 20]);
    let refused = async { while input.write(bytes.clone()).await {} };
    tokio::time::timeout(Duration::from_secs(10), refused)
        .await
        .unwrap();
    assert_eq!(text_out(&session, "COPY t TO STDOUT").await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn order_and_shape_are_kept() {
    let session = session().await;
    run(
        &session,
        "CREATE TABLE t (a INT, b INT) WITH (segment_rows_max = 1000)",
    )
    .await
    .unwrap();
    let lines: String = (0..50_000)
        .map(|i| format!("{}\t{i}\n", (i * 7919) % 50_000))
        .collect();
    copy_in(&session, "COPY t FROM STDIN", lines.as_bytes(), 10_000)
        .await
        .unwrap();
    let out = text_out(&session, "COPY (SELECT a FROM t ORDER BY a) TO STDOUT").await;
    let expected: String = (0..50_000).map(|i| format!("{i}\n")).collect();
    assert_eq!(out, expected);
    let shape = |format, columns, extra| CopyShape {
        format,
        columns,
        extra,
    };
    for (sql, expected) in [
        (
            "COPY t TO STDOUT",
            Tag::CopyOut(shape(CopyFormat::Text, 2, false)),
        ),
        (
            "COPY t (a) TO STDOUT CSV HEADER",
            Tag::CopyOut(shape(CopyFormat::Text, 1, true)),
        ),
        (
            "COPY t (b, a) FROM STDIN BINARY",
            Tag::CopyIn(shape(CopyFormat::Binary, 2, true)),
        ),
    ] {
        assert_eq!(session.run(sql).await.unwrap().tag, expected, "{sql}");
    }
    // A session that only collects rows has no bytes to give.
    let collected = session
        .sql("COPY t FROM STDIN")
        .await
        .unwrap()
        .collect()
        .await;
    assert_eq!(Error::from(collected.unwrap_err()).sqlstate(), "0A000");
}
