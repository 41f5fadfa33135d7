#![allow(clippy::unwrap_used)]
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::physical_plan::common::collect;

use super::Known;
use super::pattern::Pattern;
use crate::database::Database;
use crate::error::Error;
use crate::settings::Settings;
use crate::sql::Session;
use crate::sql::format::type_of;

async fn session() -> Session {
    let database = Database::temporary(Settings::default()).await.unwrap();
    let session = database.session();
    for text in [
        "CREATE TYPE mood AS ENUM ('sad', 'ok')",
        "CREATE DOMAIN positive AS int CHECK (VALUE > 0)",
        "CREATE TABLE t (id BIGINT PRIMARY KEY, n INT, small SMALLINT, x DOUBLE PRECISION, r REAL, price NUMERIC(10,2),
                         s TEXT, c CHAR(5), v VARCHAR(3), d DATE, ts TIMESTAMP, tz TIMESTAMPTZ, ok BOOLEAN, u UUID,
                         m mood, p positive, j JSONB, e VECTOR(3))",
        "INSERT INTO t SELECT i, i % 7, i % 5, i / 4.0, i / 4.0, i / 4.0, 'text ' || i % 9, 'ab', 'abc',
                '2020-01-01'::date + (i % 11)::int, '2020-01-01 00:00:00'::timestamp + i % 3 * interval '1 hour',
                '2020-01-01 00:00:00+00'::timestamptz + i % 3 * interval '1 hour', i % 2 = 0,
                '00000000-0000-0000-0000-00000000000' || i % 10, 'ok', 1 + i % 3, '{\"a\": 1}',
                ('[' || i || ',1,' || i % 5 || ']')::vector
         FROM generate_series(1, 200) s(i)",
        "INSERT INTO t (id) VALUES (1000)",
    ] {
        let outcome = session.run(text).await.unwrap();
        collect(outcome.stream).await.unwrap();
    }
    session
}

/// The rows with names and types, or the error.
async fn answer(session: &Session, text: &str) -> String {
    let answered = async {
        let outcome = session.run(text).await?;
        let fields = outcome.schema.fields().iter();
        let columns: Vec<(String, u32)> = fields
            .map(|field| (field.name().clone(), type_of(field).oid))
            .collect();
        let batches = collect(outcome.stream).await?;
        let rows: Vec<String> = batches.iter().map(values).collect();
        Ok(format!("{columns:?}\n{}", rows.concat()))
    };
    let answered: Result<String, Error> = answered.await;
    match answered {
        Ok(rows) => rows,
        Err(e) => format!("{}: {e}", e.sqlstate()),
    }
}

fn values(batch: &RecordBatch) -> String {
    let options = FormatOptions::default();
    let columns = batch.columns().iter();
    let columns = columns.map(|column| ArrayFormatter::try_new(column, &options).unwrap());
    let columns: Vec<ArrayFormatter> = columns.collect();
    let row = |row: usize| columns.iter().map(move |c| format!("{} | ", c.value(row)));
    let rows = (0..batch.num_rows()).map(|at| row(at).chain(["\n".to_string()]).collect());
    rows.collect::<Vec<String>>().concat()
}

fn known(session: &Session, text: &str) -> Option<Known> {
    session.inner.patterns.get(&Pattern::of(text)?.text)
}

/// Conditions in which `?` stands for a value, and values for it.
const CONDITIONS: &[(&str, &[&str])] = &[
    (
        "id = ?",
        &[
            "1",
            "2",
            "1001",
            "99999999999999999999",
            "'3'",
            "'x'",
            "1.5",
            "-2",
        ],
    ),
    ("n = ?", &["1", "5", "3000000000", "'2'", "' 3 '"]),
    ("small < ?", &["2", "70000", "'1'", "'70000'"]),
    ("x >= ?", &["5", "49", "7.25", "-0.5", "'7.25'", "'NaN'"]),
    ("r > ?", &["5", "49", "'7.25'"]),
    ("price > ?", &["5", "7.255", "'7.25'", "'x'"]),
    ("s = ?", &["'text 1'", "'text 2'", "5", "'it''s'"]),
    ("c = ?", &["'ab'", "'ab   '", "'abcdefgh'"]),
    ("v = ?", &["'abc'", "'abcdef'", "''"]),
    (
        "d > ?",
        &[
            "'2020-01-05'",
            "'2020-01-07'",
            "'tomorrow is another day'",
            "5",
        ],
    ),
    (
        "ts <= ?",
        &["'2020-01-01 01:00:00'", "'2020-01-01'", "'infinity'"],
    ),
    (
        "tz <= ?",
        &["'2020-01-01 01:00:00'", "'2020-01-01 02:00:00+02'", "'x'"],
    ),
    ("ok = ?", &["'true'", "'f'", "'maybe'", "1"]),
    (
        "u = ?",
        &[
            "'00000000-0000-0000-0000-000000000001'",
            "'00000000-0000-0000-0000-000000000002'",
            "'1'",
        ],
    ),
    ("m = ?", &["'ok'", "'sad'", "'mad'"]),
    ("p = ?", &["1", "2", "0", "'2'"]),
    ("j = ?", &["'{\"a\": 1}'", "'{\"a\":1}'", "'{'"]),
    ("n + 1 = ? AND ok = 'true'", &["1", "2", "'3'"]),
    ("(n = ? OR s = 'text 1') AND id < 50", &["1", "2", "3"]),
    (
        "e <-> ? < 20",
        &["'[1,2,3]'", "'[5,2,3]'", "'[1,2]'", "'[1,2'"],
    ),
    ("id IN (SELECT id FROM t WHERE n = ?)", &["1", "2", "3"]),
    ("CASE WHEN n = ? THEN true ELSE false END", &["1", "2", "3"]),
    ("n = ? AND n = n / 0", &["1", "2", "3"]),
    ("nothing = ?", &["1", "2", "3"]),
];

/// Whole statements in the same manner.
const STATEMENTS: &[(&str, &[&str])] = &[
    (
        "SELECT id, e <-> ? AS d FROM t WHERE e IS NOT NULL ORDER BY e <-> ? LIMIT 3",
        &["'[1,2,3]'", "'[50,2,3]'", "'[1,2]'", "'x'"],
    ),
    (
        "SELECT id FROM t WHERE n = 3 ORDER BY e <=> ?::vector, id LIMIT 3",
        &["'[1,2,3]'", "'[50,2,3]'", "'[1,2]'"],
    ),
    (
        "SELECT n = ?, count(*) FROM t GROUP BY n = ? ORDER BY 1",
        &["1", "2", "3"],
    ),
    (
        "SELECT n, count(*) FROM t GROUP BY n HAVING count(*) > ? ORDER BY n",
        &["1", "28", "'28'"],
    ),
    (
        "SELECT s = ? FROM t WHERE id = 1",
        &["'text 1'", "'x'", "5"],
    ),
    ("SELECT 'a' = ?", &["'a'", "'b'", "5"]),
    (
        "SELECT count(*) FROM t a JOIN t b ON a.n = b.small AND b.id = ?",
        &["1", "2", "3"],
    ),
    (
        "SELECT id FROM t WHERE id < ? UNION ALL SELECT id FROM t WHERE id = ? ORDER BY 1",
        &["3", "4", "5"],
    ),
    (
        "SELECT current_setting('search_path') = ?",
        &["'public'", "'\"$user\", public'", "'x'"],
    ),
];

/// Changes in the same manner, each followed by a look at the rows.
const CHANGES: &[(&str, &[&str])] = &[
    (
        "INSERT INTO t (id, n, s) VALUES (?, ?, 'x') RETURNING id, n, s",
        &["2001", "2002", "-2003", "'2004'", "1"],
    ),
    (
        "INSERT INTO t (id, v, price) VALUES (3001, ?, 1) ON CONFLICT (id) DO UPDATE SET v = excluded.v",
        &["'abc'", "'ab'", "'abcd'", "'abc  '", "5"],
    ),
    (
        "INSERT INTO t (id, e) VALUES (3002, ?) ON CONFLICT (id) DO UPDATE SET e = excluded.e",
        &["'[1,2,3]'", "'[3,4,5]'", "'[1,2]'", "5"],
    ),
    (
        "INSERT INTO t (id, c, m, p) VALUES (3003, 'ab', 'ok', ?) ON CONFLICT (id) DO UPDATE SET p = excluded.p",
        &["1", "2", "0", "'x'"],
    ),
    (
        "UPDATE t SET n = ? WHERE id = 3 RETURNING n",
        &["1", "2", "3000000000", "'4'", "'x'"],
    ),
    (
        "UPDATE t SET s = ?, x = ? WHERE n = 2",
        &["'5'", "6", "'x'"],
    ),
    (
        "INSERT INTO t (id, small, x, r, price, s, c, v, d, ts, tz, ok, u, m, j, e) VALUES
         (?, 1, 1.5, '1.5', -1.255, 'a', 'b', 'c', '2020-02-03', '2020-02-03 01:02:03', '2020-02-03 01:02:03', 'true',
          '00000000-0000-0000-0000-000000000009', 'ok', '{\"b\" : 2}', '[1,2,3]')",
        &["4001", "4002", "'4003'"],
    ),
    ("DELETE FROM t WHERE id = ?", &["7", "8", "'9'", "'x'"]),
];

#[tokio::test]
async fn what_is_repeated_changes_what_is_changed_anew() {
    let (repeated, anew) = (session().await, session().await);
    for (template, values) in CHANGES {
        for value in values.iter().chain(*values).chain(*values) {
            let text = template.replace('?', value);
            let expected = answer(&anew, &format!("/* anew */ {text}")).await;
            assert_eq!(answer(&repeated, &text).await, expected, "{text}");
            let all = "SELECT * FROM t ORDER BY id";
            assert_eq!(
                answer(&repeated, all).await,
                answer(&anew, all).await,
                "{text}"
            );
        }
    }
}

#[tokio::test]
async fn what_is_repeated_answers_as_what_is_planned_anew() {
    let session = session().await;
    let conditions = CONDITIONS.iter().map(|(condition, values)| {
        let text = format!("SELECT id, s FROM t WHERE {condition} ORDER BY id");
        (text, *values)
    });
    let statements = STATEMENTS
        .iter()
        .map(|(text, values)| ((*text).to_string(), *values));
    let mut wrong = Vec::new();
    for (template, values) in conditions.chain(statements) {
        // Every value comes first, second, and later.
        for value in values.iter().chain(values).chain(values) {
            let text = template.replace('?', value);
            let anew = answer(&session, &format!("/* anew */ {text}")).await;
            let again = answer(&session, &text).await;
            if again != anew {
                wrong.push(format!("{text}\n{again}\nnot\n{anew}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[tokio::test]
async fn what_came_twice_is_recalled_with_other_values() {
    let session = session().await;
    for text in [
        "SELECT s FROM t WHERE id = 1",
        "SELECT s FROM t WHERE id = 2",
    ] {
        assert!(session.recall(text).repeated.is_none());
        answer(&session, text).await;
    }
    assert!(
        session
            .recall("SELECT s FROM t WHERE id = 3;")
            .repeated
            .is_some()
    );
    assert!(
        session
            .recall("SELECT s FROM t WHERE id = 'x'")
            .repeated
            .is_none()
    );
    assert!(
        session
            .recall("SELECT s FROM t WHERE n = 3")
            .repeated
            .is_none()
    );
    answer(&session, "CREATE TABLE other (id INT)").await;
    assert!(
        session
            .recall("SELECT s FROM t WHERE id = 3")
            .repeated
            .is_none()
    );
    for text in [
        "SELECT s FROM t WHERE id = 3",
        "SET hnsw.ef_search = 100",
        "SET enable_seqscan = off",
        "SELECT s FROM t WHERE id = 4",
        "SET hnsw.ef_search = 200",
    ] {
        answer(&session, text).await;
    }
    assert!(
        session
            .recall("SELECT s FROM t WHERE id = 4")
            .repeated
            .is_some()
    );
}

#[tokio::test]
async fn what_is_met_under_other_settings_each_time_is_not_prepared() {
    let session = session().await;
    let text = "SELECT s FROM t WHERE id = 1";
    for zone in ["UTC", "Europe/Paris", "Asia/Tokyo", "UTC"] {
        answer(&session, &format!("SET timezone = '{zone}'")).await;
        answer(&session, text).await;
        assert!(matches!(known(&session, text), Some(Known::Once(_))));
    }
    answer(&session, text).await;
    assert!(matches!(known(&session, text), Some(Known::Prepared(_))));
}

#[tokio::test]
async fn what_cannot_be_prepared_is_not_tried_again() {
    let session = session().await;
    let text = "SELECT n = 1, count(*) FROM t GROUP BY n = 1";
    for _ in 0..3 {
        assert!(answer(&session, text).await.starts_with('['));
    }
    assert!(matches!(known(&session, text), Some(Known::No(_))));
}

#[tokio::test]
async fn changed_columns_and_rows_are_seen() {
    let session = session().await;
    let text = "SELECT * FROM t WHERE id = 1";
    for _ in 0..3 {
        answer(&session, text).await;
    }
    assert!(session.recall(text).repeated.is_some());
    for change in [
        "UPDATE t SET n = 77 WHERE id = 1",
        "ALTER TABLE t DROP COLUMN r",
        "ALTER TABLE t ADD COLUMN r TEXT DEFAULT 'new'",
        "DELETE FROM t WHERE id = 1",
        "DROP TABLE t",
    ] {
        answer(&session, change).await;
        let anew = answer(&session, &format!("/* anew */ {text}")).await;
        assert_eq!(answer(&session, text).await, anew, "{change}");
    }
}

#[tokio::test]
async fn a_failed_block_refuses_what_is_recalled() {
    let session = session().await;
    let text = "SELECT s FROM t WHERE id = 1";
    for _ in 0..3 {
        answer(&session, text).await;
    }
    for text in ["BEGIN", "SELECT 1 / 0"] {
        answer(&session, text).await;
    }
    assert!(answer(&session, text).await.starts_with("25P02"));
}
