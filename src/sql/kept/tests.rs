//! A prepared statement says what the same statement with literals says, whatever happened since it was prepared.

#![allow(clippy::unwrap_used)]
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use arrow::util::display::array_value_to_string;
use datafusion::common::ScalarValue;
use datafusion::physical_plan::common::collect;

use super::Operators;
use crate::database::Database;
use crate::error::Error;
use crate::settings::Settings;
use crate::sql::{Outcome, Prepared, Session};

/// Statements whose answers have an order; `:t` says the type of a parameter.
const STATEMENTS: &[&str] = &[
    "SELECT id, k, s FROM t WHERE id = $1:bigint",
    "SELECT * FROM t WHERE id = $1:bigint AND k = $2:int",
    "SELECT id FROM t WHERE k BETWEEN $1:int AND $2:int ORDER BY id",
    "SELECT count(*), sum(k), min(f), max(s) FROM t WHERE k > $1:int",
    "SELECT count(*) FROM t",
    "SELECT count(*), $1:int + 1 FROM t",
    "SELECT id, k + $1:int FROM t WHERE s = $2:text ORDER BY 1",
    "SELECT id FROM t WHERE $1:int IS NULL OR k = $1:int ORDER BY id",
    "SELECT id FROM t WHERE k > $1:int ORDER BY e <-> $2:vector(3), id LIMIT 5",
    "SELECT id, e <-> $1:vector(3) AS d FROM t WHERE e <-> $1:vector(3) < 3 ORDER BY d, id LIMIT 3",
    "SELECT id FROM t ORDER BY id LIMIT $1:bigint OFFSET $2:bigint",
    "SELECT id FROM t ORDER BY f DESC NULLS LAST, id LIMIT 4",
    "SELECT s, count(*) FROM t WHERE f < $1:double precision GROUP BY s ORDER BY s",
    "SELECT a.id, b.k FROM t a JOIN t b ON a.k = b.id WHERE b.id = $1:bigint ORDER BY 1",
    "SELECT id FROM t WHERE id IN ($1:bigint, $2:bigint, 7) ORDER BY id",
    "SELECT id FROM t WHERE s LIKE $1:text ORDER BY id",
    "SELECT (SELECT max(k) FROM t WHERE id < $1:bigint), $2:int",
    "SELECT id FROM t WHERE NOT (k < $1:int OR f IS NULL) ORDER BY id DESC LIMIT 7",
    "SELECT DISTINCT k FROM v WHERE k <> $1:int ORDER BY k",
    "SELECT count(*) FROM t WHERE id < $1:bigint AND now() > '2000-01-01 00:00+00'",
    "SELECT id FROM t WHERE k = $1:int UNION ALL SELECT id FROM t WHERE id = $2:bigint ORDER BY 1",
    "SELECT id, row_number() OVER (ORDER BY id DESC) FROM t WHERE k = $1:int ORDER BY id",
    "SELECT CASE WHEN k > $1:int THEN s ELSE $2:text END FROM t WHERE id < 9 ORDER BY id",
    "SELECT id FROM t WHERE f = $1:double precision ORDER BY id",
    "SELECT id FROM t WHERE id = ANY(ARRAY[$1:bigint, $2:bigint]) ORDER BY id",
    "SELECT query, distance FROM vector_search('t', 'e', ARRAY[$1:vector(3), $2:vector(3)], $3:bigint) ORDER BY 1, 2",
    "SELECT query, distance FROM vector_search('t', 'e', $1:vector(3)[], 2) ORDER BY 1, 2",
    "SELECT id, unnest(ARRAY[k, $1:int]) AS u FROM t WHERE id < 9 ORDER BY id, u",
    "SELECT a.id, b.id FROM t a CROSS JOIN LATERAL
     (SELECT id FROM t WHERE k > $1:int ORDER BY e <-> a.e, id LIMIT 2) b WHERE a.id < $2:bigint ORDER BY 1, 2",
];

const BEFORE: &[&str] = &[
    "CREATE TABLE t (id BIGINT PRIMARY KEY, k INT CLUSTERING KEY, f DOUBLE PRECISION, s TEXT, e VECTOR(3))
     WITH (segment_rows_max = 100)",
    "CREATE VIEW v AS SELECT id, k FROM t WHERE id % 2 = 0",
];

/// What happens between executions.
const CHANGES: &[&str] = &[
    "INSERT INTO t SELECT i, i % 40, CASE WHEN i % 7 = 0 THEN NULL WHEN i % 11 = 0 THEN 'NaN' ELSE i % 9 END,
                          's' || (i % 5), ARRAY[i % 3, i % 4, i % 5]::real[]::vector(3)
     FROM generate_series(1, 700) g(i)",
    "COMPACT t WITH (WAIT)",
    "DELETE FROM t WHERE id % 10 = 3",
    "UPDATE t SET k = NULL WHERE id % 13 = 5",
    "COMPACT t WITH (CLUSTERING, WAIT)",
    "INSERT INTO t VALUES (1003, 5, 'NaN', NULL, NULL), (1010, NULL, -0.0, 's1', '[1,1,1]')",
    "CREATE INDEX by_s ON t (s)",
    "CREATE OR REPLACE VIEW v AS SELECT id, k FROM t WHERE id % 3 = 0",
    "SET shelfmark.enable_segment_prune = off",
    "RESET shelfmark.enable_segment_prune",
    "SET search_path = nowhere, public",
    "SET TimeZone = 'Asia/Tokyo'",
    "CREATE ROLE ann",
    "TRUNCATE t",
    "INSERT INTO t VALUES (8, 8, 8, 's8', '[8,8,8]')",
];

/// Small numbers without a plan.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// A value of a type, as text; often NULL.
    fn value(&mut self, data_type: &str) -> Option<String> {
        if self.below(8) == 0 {
            return None;
        }
        let text = match data_type {
            "int" => self.below(45).to_string(),
            "bigint" => self.below(720).to_string(),
            "double precision" => {
                ["0", "-0", "NaN", "3", "5.5", "Infinity"][self.below(6) as usize].to_string()
            }
            "text" => ["s1", "s%", "", "%1", "s4", "_2"][self.below(6) as usize].to_string(),
            "vector(3)[]" => format!("{{\"{}\",\"{}\"}}", self.vector(), self.vector()),
            _ => self.vector(),
        };
        Some(text)
    }

    fn vector(&mut self) -> String {
        format!("[{},{},{}]", self.below(3), self.below(4), self.below(5))
    }
}

/// A statement with its parameters, and the types of these.
fn split(statement: &str) -> (String, Vec<String>) {
    let mut types: Vec<String> = Vec::new();
    let mut text = statement.to_string();
    for place in 1..=3 {
        let mark = format!("${place}:");
        while let Some(at) = text.find(&mark) {
            let rest = &text[at + mark.len()..];
            let known = [
                "double precision",
                "vector(3)[]",
                "vector(3)",
                "bigint",
                "int",
                "text",
            ];
            let found = *known.iter().find(|t| rest.starts_with(**t)).unwrap();
            types.resize(types.len().max(place), String::new());
            types[place - 1] = found.to_string();
            text.replace_range(at + mark.len() - 1..at + mark.len() + found.len(), "");
        }
    }
    (text, types)
}

fn with_literals(text: &str, types: &[String], values: &[Option<String>]) -> String {
    let mut text = text.to_string();
    for (place, (data_type, value)) in types.iter().zip(values).enumerate() {
        let literal = match value {
            Some(value) => format!("'{value}'::{data_type}"),
            None => format!("NULL::{data_type}"),
        };
        text = text.replace(&format!("${}", place + 1), &literal);
    }
    text
}

async fn rows(outcome: Result<Outcome, Error>) -> Result<String, &'static str> {
    let batches = match outcome {
        Ok(outcome) => collect(outcome.stream).await.map_err(Error::from),
        Err(e) => Err(e),
    };
    let batches = batches.map_err(|e| match e.sqlstate() {
        "2201W" => "2201W",
        "2201X" => "2201X",
        "22023" => "22023",
        other => panic!("{other}: {e}"),
    })?;
    Ok(lines(&batches))
}

/// Rows without the names of their columns, which say how an expression was written.
fn lines(batches: &[RecordBatch]) -> String {
    let mut lines = String::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let values = batch.columns().iter();
            let values = values.map(|c| array_value_to_string(c, row).unwrap());
            lines.push_str(&values.collect::<Vec<_>>().join("|"));
            lines.push('\n');
        }
    }
    lines
}

async fn run(session: &Session, text: &str) {
    let outcome = session.run(text).await;
    let outcome = outcome.unwrap_or_else(|e| panic!("{text}: {e}"));
    collect(outcome.stream)
        .await
        .unwrap_or_else(|e| panic!("{text}: {e}"));
}

async fn session() -> Session {
    let database = Database::temporary(Settings::default()).await.unwrap();
    let session = database.session();
    for text in BEFORE {
        run(&session, text).await;
    }
    session
}

fn scalars(values: &[Option<String>]) -> Vec<ScalarValue> {
    values.iter().cloned().map(ScalarValue::Utf8).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn prepared_statements_say_what_literals_say() {
    let session = session().await;
    let mut random = Random(7);
    let mut prepared: Vec<(String, Vec<String>, Arc<Prepared>)> = Vec::new();
    for statement in STATEMENTS {
        let (text, types) = split(statement);
        let made = session.prepare(&text, &[]).await;
        let made = made.unwrap_or_else(|e| panic!("{text}: {e}"));
        prepared.push((text, types, made));
    }
    for change in CHANGES {
        run(&session, change).await;
        for (text, types, prepared) in &prepared {
            for _ in 0..2 {
                let values: Vec<_> = types.iter().map(|t| random.value(t)).collect();
                let literal = with_literals(text, types, &values);
                let expected = rows(session.run(&literal).await).await;
                let found = rows(session.execute(prepared, scalars(&values)).await).await;
                assert_eq!(found, expected, "after {change}: {literal}");
            }
        }
    }
}

/// Statements that change rows; what they give back has an order.
const STATEMENTS_OF_CHANGE: &[&str] = &[
    "INSERT INTO c (k, n, s) VALUES ($1:bigint, $2:int, 'new')",
    "INSERT INTO c (k, n) VALUES ($1:bigint, 1), ($2:bigint, 2) RETURNING k, n",
    "INSERT INTO c (k, n) VALUES ($1:bigint, $2:int) ON CONFLICT DO NOTHING",
    "INSERT INTO c (k, n) VALUES ($1:bigint, 7), (8, $2:int) ON CONFLICT (k) DO UPDATE SET n = c.n + excluded.n RETURNING k, n, id",
    "INSERT INTO c (k, s) SELECT k + 100, s FROM c WHERE k < $1:bigint ON CONFLICT DO NOTHING",
    "UPDATE c SET n = n + $2:int WHERE k = $1:bigint RETURNING k, n, s",
    "UPDATE c SET s = $2:text WHERE n > $1:int",
    "UPDATE c SET k = k + 1000 WHERE k = $1:bigint AND k < 1000",
    "DELETE FROM c WHERE k = $1:bigint RETURNING *",
    "DELETE FROM c WHERE n % 11 = $1:int",
    "INSERT INTO c (k, n) VALUES ($1:bigint, nextval('c_id_seq')) RETURNING id, n",
    "INSERT INTO c (k, s) VALUES ($1:bigint, (now() > '2000-01-01 00:00+00')::text) RETURNING k, s",
];

/// Rows of two databases: one executes statements with literals, the other prepared ones.
#[tokio::test(flavor = "multi_thread")]
async fn prepared_changes_do_what_literals_do() {
    let table =
        "CREATE TABLE c (id BIGSERIAL, k BIGINT PRIMARY KEY, n INT CHECK (n < 100000), s TEXT)";
    let (literal, session) = (session().await, session().await);
    for session in [&literal, &session] {
        run(session, table).await;
    }
    let mut prepared = Vec::new();
    for statement in STATEMENTS_OF_CHANGE {
        let (text, types) = split(statement);
        let made = session.prepare(&text, &[]).await.unwrap();
        prepared.push((text, types, made));
    }
    let mut random = Random(11);
    for round in 0..400 {
        let block = ["BEGIN", "ROLLBACK", "BEGIN", "COMMIT"].get(random.below(24) as usize);
        if let Some(block) = block {
            let expected = answer(literal.run(block).await).await;
            assert_eq!(answer(session.run(block).await).await, expected);
        }
        let (text, types, prepared) = &prepared[random.below(prepared.len() as u64) as usize];
        let value = |t: &String| match t.as_str() {
            "bigint" => Some(random.below(40).to_string()),
            other => random.value(other),
        };
        let values: Vec<_> = types.iter().map(value).collect();
        let expected = answer(literal.run(&with_literals(text, types, &values)).await).await;
        let found = answer(session.execute(prepared, scalars(&values)).await).await;
        assert_eq!(found, expected, "{round}: {text} {values:?}");
    }
    let all = "SELECT k, n, s FROM c ORDER BY k";
    for session in [&literal, &session] {
        run(session, "ROLLBACK").await;
    }
    assert_eq!(
        rows(session.run(all).await).await,
        rows(literal.run(all).await).await
    );
    for (text, _, prepared) in &prepared {
        assert_eq!(level(prepared), "operators", "{text}");
    }
}

async fn answer(outcome: Result<Outcome, Error>) -> Result<String, String> {
    let batches = match outcome {
        Ok(outcome) => collect(outcome.stream).await.map_err(Error::from),
        Err(e) => Err(e),
    };
    batches
        .map(|b| lines(&b))
        .map_err(|e| e.sqlstate().to_string())
}

/// Many sessions count in one row by statements that are kept: none of them is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn kept_changes_look_again_after_a_conflict() {
    let database = Database::temporary(Settings::default()).await.unwrap();
    let session = database.session();
    run(&session, BEFORE[0]).await;
    run(&session, "INSERT INTO t VALUES (1, 0, 0, 'a', NULL)").await;
    let texts = [
        "UPDATE t SET k = k + $1 WHERE id = 1",
        "INSERT INTO t (id, k) VALUES (1, 0) ON CONFLICT (id) DO UPDATE SET k = t.k + $1",
    ];
    let one = async |session: Session, text: &str| {
        let prepared = session.prepare(text, &[]).await.unwrap();
        for _ in 0..20 {
            let values = vec![ScalarValue::Int32(Some(1))];
            answer(session.execute(&prepared, values).await)
                .await
                .unwrap();
        }
    };
    let sessions = (0..8).map(|n| one(database.session(), texts[n % 2]));
    futures::future::join_all(sessions).await;
    assert_eq!(
        rows(session.run("SELECT k FROM t").await).await,
        Ok("160\n".into())
    );
}

/// In a block all statements have the time of its begin; outside each has its own.
#[tokio::test]
async fn the_time_of_a_kept_plan_is_that_of_its_execution() {
    let session = session().await;
    let prepared = session.prepare("SELECT now()", &[]).await.unwrap();
    let time = async || {
        rows(session.execute(&prepared, Vec::new()).await)
            .await
            .unwrap()
    };
    let literal = async || rows(session.run("SELECT now()").await).await.unwrap();
    let mut times = vec![time().await, time().await, time().await, literal().await];
    assert!(times.is_sorted());
    times.dedup();
    assert_eq!(times.len(), 4);
    run(&session, "BEGIN").await;
    let begun = time().await;
    assert_eq!(literal().await, begun);
    assert_eq!(time().await, begun);
    run(&session, "COMMIT").await;
    assert_ne!(time().await, begun);
}

fn level(prepared: &Prepared) -> &'static str {
    let kept = prepared.kept_now().unwrap();
    match &kept.optimized {
        None => "analyzed",
        Some(optimized) => match *optimized.operators.lock() {
            Operators::Some(_) => "operators",
            _ => "optimized",
        },
    }
}

#[tokio::test]
async fn plans_are_kept_as_far_up_as_they_may_be() {
    let session = session().await;
    for (text, values, expected) in [
        (
            "SELECT * FROM t WHERE id = $1",
            vec![Some("1")],
            "operators",
        ),
        (
            "SELECT count(*) FROM t WHERE k < $1",
            vec![Some("1")],
            "operators",
        ),
        (
            "SELECT id FROM t WHERE k = $1 ORDER BY f LIMIT 3",
            vec![Some("1")],
            "operators",
        ),
        (
            "SELECT id FROM t WHERE k = $1 ORDER BY e <-> '[1,2,3]' LIMIT 2",
            vec![Some("1")],
            "operators",
        ),
        (
            "SELECT id FROM t ORDER BY id LIMIT $1",
            vec![Some("1")],
            "optimized",
        ),
        (
            "SELECT a.id FROM t a JOIN t b ON a.k = b.id WHERE b.k = $1",
            vec![Some("1")],
            "optimized",
        ),
        (
            "SELECT query, id FROM vector_search('t', 'e', $1::vector(3)[], 2)",
            vec![Some("{\"[1,2,3]\"}")],
            "operators",
        ),
        ("DELETE FROM t WHERE id = $1", vec![Some("1")], "operators"),
        (
            "SELECT id FROM t WHERE id = $1 AND now() > '2020-01-01 00:00+00'",
            vec![Some("1")],
            "operators",
        ),
        (
            "INSERT INTO t (id, k) VALUES ($1, (now() > '2000-01-01 00:00+00')::int) ON CONFLICT DO NOTHING RETURNING id",
            vec![Some("1")],
            "operators",
        ),
        (
            "UPDATE t SET k = k + 1 WHERE id = $1 RETURNING k",
            vec![Some("1")],
            "operators",
        ),
        (
            "INSERT INTO t (id, k) VALUES ($1, 1) ON CONFLICT (id) DO UPDATE SET k = t.k + 1",
            vec![Some("1")],
            "operators",
        ),
        (
            "DELETE FROM t a USING t b WHERE a.id = $1 AND b.id = a.k",
            vec![Some("1")],
            "optimized",
        ),
        (
            "SELECT relname FROM pg_class WHERE relname = $1",
            vec![Some("t")],
            "analyzed",
        ),
        (
            "SELECT timestamptz '2024-01-01'::text, $1::timestamptz::date",
            vec![Some("2024-01-01")],
            "operators",
        ),
        (
            "SELECT current_setting('TimeZone'), $1::int",
            vec![Some("1")],
            "analyzed",
        ),
    ] {
        let values: Vec<_> = values.into_iter().map(|v| v.map(str::to_string)).collect();
        let prepared = session.prepare(text, &[]).await.unwrap();
        for _ in 0..2 {
            answer(session.execute(&prepared, scalars(&values)).await)
                .await
                .unwrap();
        }
        assert_eq!(level(&prepared), expected, "{text}");
    }
}

#[tokio::test]
async fn plans_follow_definitions_settings_and_rights() {
    let session = session().await;
    run(&session, "INSERT INTO t VALUES (1, 1, 1, 'a', NULL)").await;
    let prepared = session
        .prepare("SELECT * FROM t WHERE id = $1", &[])
        .await
        .unwrap();
    let execute = async |session: &Session| {
        let values = vec![ScalarValue::Int64(Some(1))];
        match session.execute(&prepared, values).await {
            Ok(outcome) => collect(outcome.stream).await.map_err(Error::from),
            Err(e) => Err(e),
        }
        .map(|batches| batches.iter().map(|b| b.num_rows()).sum::<usize>())
        .map_err(|e| e.sqlstate().to_string())
    };
    assert_eq!(execute(&session).await, Ok(1));
    let kept = prepared.kept_now().unwrap();
    run(&session, "INSERT INTO t VALUES (2, 1, 1, 'a', NULL)").await;
    assert_eq!(execute(&session).await, Ok(1));
    assert!(
        Arc::ptr_eq(&kept, &prepared.kept_now().unwrap()),
        "rows change no plan"
    );
    for change in [
        "SET TimeZone = 'Asia/Tokyo'",
        "CREATE TABLE other (id INT)",
        "CREATE SCHEMA s",
    ] {
        let kept = prepared.kept_now().unwrap();
        run(&session, change).await;
        assert_eq!(execute(&session).await, Ok(1));
        assert!(
            !Arc::ptr_eq(&kept, &prepared.kept_now().unwrap()),
            "{change}"
        );
    }
    // Another table of that name comes first now.
    run(
        &session,
        "CREATE TABLE s.t (id BIGINT, k INT, f DOUBLE PRECISION, s TEXT, e VECTOR(3))",
    )
    .await;
    run(&session, "SET search_path = s, public").await;
    assert_eq!(execute(&session).await, Ok(0));
    run(&session, "RESET search_path").await;
    run(&session, "CREATE ROLE ann").await;
    run(&session, "SET ROLE ann").await;
    assert_eq!(execute(&session).await, Err("42501".to_string()));
    run(&session, "RESET ROLE").await;
    run(&session, "GRANT SELECT ON t TO ann").await;
    run(&session, "SET ROLE ann").await;
    assert_eq!(execute(&session).await, Ok(1));
    run(&session, "RESET ROLE").await;
    run(&session, "ALTER TABLE t ADD COLUMN more INT").await;
    assert_eq!(execute(&session).await, Err("0A000".to_string()));
    run(&session, "ALTER TABLE t DROP COLUMN more").await;
    assert_eq!(execute(&session).await, Ok(1));
    run(&session, "ALTER TABLE t RENAME TO gone").await;
    assert_eq!(execute(&session).await, Err("42P01".to_string()));
    run(&session, "ALTER TABLE gone RENAME TO t").await;
    assert_eq!(execute(&session).await, Ok(1));
}

/// What a block defines is seen in it, and by nobody after its ROLLBACK.
#[tokio::test]
async fn plans_follow_what_a_block_does() {
    let session = session().await;
    let text = "SELECT count(*) FROM v WHERE k >= $1";
    let prepared = session.prepare(text, &[]).await.unwrap();
    let count = async || {
        let values = vec![ScalarValue::Int32(Some(1))];
        rows(session.execute(&prepared, values).await)
            .await
            .unwrap()
    };
    assert_eq!(count().await, "0\n");
    run(&session, "BEGIN").await;
    run(
        &session,
        "INSERT INTO t VALUES (2, 1, 1, 'a', NULL), (3, 1, 1, 'a', NULL)",
    )
    .await;
    assert_eq!(count().await, "1\n");
    run(
        &session,
        "CREATE OR REPLACE VIEW v AS SELECT id, k FROM t WHERE id % 3 = 0 OR id = 2",
    )
    .await;
    assert_eq!(count().await, "2\n");
    run(&session, "ROLLBACK").await;
    assert_eq!(count().await, "0\n");
    run(
        &session,
        "INSERT INTO t VALUES (2, 1, 1, 'a', NULL), (3, 1, 1, 'a', NULL)",
    )
    .await;
    assert_eq!(count().await, "1\n");
}

/// Two executions that are read at the same time have values of their own.
#[tokio::test]
async fn executions_that_overlap_do_not_mix() {
    let session = session().await;
    run(&session, CHANGES[0]).await;
    let prepared = session
        .prepare("SELECT id, $1 AS n FROM t WHERE id = $1", &[])
        .await
        .unwrap();
    for _ in 0..3 {
        let first = session
            .execute(&prepared, vec![ScalarValue::Int64(Some(5))])
            .await;
        let second = session
            .execute(&prepared, vec![ScalarValue::Int64(Some(6))])
            .await;
        assert!(rows(second).await.unwrap().contains("6|6"));
        assert!(rows(first).await.unwrap().contains("5|5"));
    }
}
