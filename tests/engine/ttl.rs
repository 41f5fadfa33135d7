//! Times to live: a collection whose rows expire is one with a WHERE, whatever is asked and whatever was compacted.

use std::path::Path;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use shelfmark::{Database, Error, Session, Settings};

use super::{files_below, program};

/// A type of the column by which rows live, how long they do, and the unit of their times.
const TYPES: [(&str, &str, &str); 3] = [
    ("TIMESTAMPTZ", "1 hour", "minutes"),
    ("TIMESTAMP", "0s", "seconds"),
    ("DATE", "40 days", "days"),
];

/// Queries of a relation, with a WHERE of their own.
const QUERIES: [&str; 7] = [
    "SELECT id, k, at, v FROM {t} r WHERE true {alive} ORDER BY id",
    "SELECT count(*), min(k), max(at), max(id) FROM {t} r WHERE true {alive}",
    "SELECT k % 3, count(*), sum(id) FROM {t} r WHERE k > {n} {alive} GROUP BY 1 ORDER BY 1",
    "SELECT id FROM {t} r WHERE true {alive} ORDER BY v <-> '[{n},1]', id LIMIT 5",
    "SELECT id FROM {t} r WHERE k < {n} {alive} ORDER BY v <=> '[1,{n}]', id LIMIT 3",
    "SELECT count(*) FROM {t} r WHERE EXISTS (SELECT 1 FROM {t} s WHERE s.id = r.id AND s.k <> {n} {alive})",
    "SELECT id FROM {t} r WHERE at IS NULL AND k = {n} {alive} ORDER BY id",
];

async fn text(session: &Session, sql: &str) -> String {
    let frame = session.sql(sql).await;
    let text = match frame {
        Ok(frame) => frame.to_string().await.map_err(Error::from),
        Err(error) => Err(error),
    };
    text.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_expire_are_a_filter() {
    for (seed, (column, ttl, unit)) in TYPES.into_iter().enumerate() {
        let directory = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        settings.set("compaction.auto", "off").unwrap();
        let database = Database::open(directory.path(), settings).await.unwrap();
        let session = database.session();
        let columns = format!("(id INT, k INT CLUSTERING KEY, at {column}, v VECTOR(2))");
        text(&session, &format!("CREATE TABLE plain {columns}")).await;
        let options = format!("segment.max_rows = 50, ttl = '{ttl}', ttl_column = at");
        text(
            &session,
            &format!("CREATE TABLE living {columns} WITH ({options})"),
        )
        .await;
        let ttl = if ttl == "0s" { "0 hours" } else { ttl };
        let alive = format!("AND (at IS NULL OR at > CAST(now() - interval '{ttl}' AS {column}))");
        let mut random = StdRng::seed_from_u64(seed as u64);
        for round in 0..12 {
            change(&session, &mut random, (round * 60, column, unit)).await;
            let n = random.random_range(0..20).to_string();
            for query in QUERIES {
                let query = query.replace("{n}", &n);
                let filtered = query.replace("{t}", "plain").replace("{alive}", &alive);
                let query = query.replace("{t}", "living").replace("{alive}", "");
                // In a block it is the same time for both.
                text(&session, "BEGIN").await;
                let expected = text(&session, &filtered).await;
                let found = text(&session, &query).await;
                text(&session, "COMMIT").await;
                assert_eq!(found, expected, "{column}, round {round}: {query}");
            }
        }
    }
}

/// Rows on both sides of the time that expires, and what statements and compactions do with them.
async fn change(session: &Session, random: &mut StdRng, (first, column, unit): (u64, &str, &str)) {
    match random.random_range(0..5) {
        0 => drop(text(session, "COMPACT living WITH (WAIT)").await),
        1 => drop(text(session, "COMPACT living WITH (CLUSTERING, WAIT)").await),
        2 => {
            let k = random.random_range(0..20);
            for table in ["plain", "living"] {
                text(session, &format!("DELETE FROM {table} WHERE k = {k}")).await;
            }
        }
        _ => {}
    }
    let rows: Vec<String> = (first..first + 60)
        .map(|id| {
            let ago: i32 = random.random_range(-20..100);
            let at = match id % 13 {
                0 => "NULL".to_string(),
                _ => format!("CAST(now() - interval '{ago} {unit}' AS {column})"),
            };
            let (x, y) = (random.random_range(0..17), random.random_range(0..5));
            format!("({id}, {}, {at}, '[{x},{y}]')", id * 7 % 20)
        })
        .collect();
    text(
        session,
        &format!("INSERT INTO plain VALUES {}", rows.join(", ")),
    )
    .await;
    let sql = format!("INSERT INTO living SELECT * FROM plain WHERE id >= {first}");
    text(session, &sql).await;
}

/// The one number that a query gives.
async fn number(session: &Session, sql: &str) -> i64 {
    let batches = session.sql(sql).await.unwrap().collect().await.unwrap();
    let number = batches[0].column(0);
    arrow::compute::cast(number, &arrow::datatypes::DataType::Int64)
        .unwrap()
        .as_primitive::<Int64Type>()
        .value(0)
}

/// The segments below a database directory.
fn segment_files(directory: &Path) -> usize {
    files_below(&directory.join("segments"), "parquet").len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_expired_goes_from_the_disk_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = Settings::default();
    for (name, value) in [("growing.max_size", "1B"), ("retention_duration", "0s")] {
        settings.set(name, value).unwrap();
    }
    let database = Database::open(directory.path(), settings).await.unwrap();
    let session = database.session();
    let create = "CREATE TABLE t (id INT, at TIMESTAMPTZ) WITH (ttl = '3s', ttl_column = at)";
    text(&session, create).await;
    // A third of the rows never expires; without more rows there is nothing else to compact for.
    let insert = "INSERT INTO t SELECT value, CASE WHEN value % 3 = 0 THEN NULL ELSE now() END \
                  FROM generate_series(1, 3000) AS g(value)";
    text(&session, insert).await;
    let stored = "SELECT coalesce(sum(rows), 0) FROM shelfmark.segments WHERE collection = 't'";
    let sealed =
        "SELECT count(*) FROM shelfmark.segments WHERE state = 'sealed' AND collection = 't'";
    let all = number(&session, "SELECT count(*) FROM t").await;
    assert!(all == 3_000 || all == 1_000, "{all}");
    let mut left = 0;
    for _ in 0..600 {
        left = number(&session, stored).await;
        if left == 1_000 && number(&session, sealed).await == segment_files(directory.path()) as i64
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let jobs = "SELECT kind, state, rows_in, rows_out, reason FROM shelfmark.compactions";
    let jobs = text(&session, jobs).await;
    assert_eq!(left, 1_000, "{jobs}");
    assert!(
        jobs.contains("merge") && jobs.contains("succeeded"),
        "{jobs}"
    );
    assert_eq!(segment_files(directory.path()), 1, "{jobs}");
    assert_eq!(number(&session, "SELECT count(*) FROM t").await, 1_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_keeps_the_time_to_live() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let database = Database::open(path("data"), Settings::default())
        .await
        .unwrap();
    let session = database.session();
    let create = "CREATE TABLE t (id INT, at TIMESTAMPTZ) WITH (ttl = '1 day', ttl_column = at)";
    text(&session, create).await;
    let insert = "INSERT INTO t VALUES (1, now() - interval '2 days'), (2, now()), (3, NULL)";
    text(&session, insert).await;
    text(
        &session,
        &format!("BACKUP DATABASE TO '{}'", path("backup").display()),
    )
    .await;
    drop((session, database));
    let mut restore = program();
    restore
        .arg("restore")
        .arg(path("backup"))
        .arg(path("restored"));
    assert!(restore.status().unwrap().success());
    let database = Database::open(path("restored"), Settings::default())
        .await
        .unwrap();
    let session = database.session();
    assert_eq!(number(&session, "SELECT sum(id) FROM t").await, 5);
    text(&session, "COMPACT t WITH (WAIT)").await;
    let stored = "SELECT sum(live_rows) FROM shelfmark.segments WHERE collection = 't'";
    assert_eq!(number(&session, stored).await, 2);
}
