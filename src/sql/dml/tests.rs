//! Upserts and merges against a model, and beside each other and VACUUM.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use futures::TryStreamExt;
use proptest::prelude::*;

use crate::sql::Session;
use crate::{Database, Settings};

mod point;
mod references;

type Rows = Vec<(i64, i64)>;
type Model = BTreeMap<i64, i64>;

/// The rows of two columns that a statement answers, sorted.
async fn rows(session: &Session, text: &str) -> crate::Result<Rows> {
    let outcome = session.run(text).await?;
    let batches: Vec<_> = outcome.stream.try_collect().await?;
    let mut rows = Vec::new();
    for batch in batches.iter().filter(|batch| batch.num_columns() == 2) {
        let column = |at: usize| {
            batch
                .column(at)
                .as_primitive::<Int64Type>()
                .values()
                .to_vec()
        };
        rows.extend(column(0).into_iter().zip(column(1)));
    }
    rows.sort_unstable();
    Ok(rows)
}

/// A change reads the version that it was planned over, also when that is not kept any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_goes_on_over_a_version_that_vacuum_drops() {
    let database = Database::temporary(Settings::default()).await.unwrap();
    let (session, other) = (database.session(), database.session());
    let run = async |text: &str| rows(&other, text).await.unwrap();
    run("CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT)").await;
    run("INSERT INTO t SELECT i, 0 FROM generate_series(1, 1000) g(i)").await;
    run("COMPACT t WITH (WAIT)").await;
    let text = "UPDATE t SET n = n + 1 WHERE id = 7";
    let prepared = session.prepare(text, &[]).await.unwrap();
    for round in 0..4 {
        // It acts when it is read.
        let begun = match round {
            0 => session.run(text).await,
            _ => session.execute(&prepared, Vec::new()).await,
        };
        run(&format!("DELETE FROM t WHERE id = {}", 100 + round)).await;
        run("COMPACT t WITH (WAIT)").await;
        run("VACUUM t RETAIN '0s'").await;
        begun.unwrap().stream.try_collect::<Vec<_>>().await.unwrap();
    }
    assert_eq!(run("SELECT id, n FROM t WHERE id = 7").await, [(7, 4)]);
}

#[derive(Debug, Clone)]
enum Step {
    /// Rows that are left out where their keys are there.
    Skip(Rows),
    /// Rows that add to those with their keys; only even ones, if so.
    Upsert(Rows, bool),
    /// Rows by which others go, change or come.
    Merge(Rows),
    Delete(i64),
    Seal,
    Begin,
    End(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let brought = || prop::collection::vec((0..12i64, 0..6i64), 1..6);
    let step = prop_oneof![
        2 => brought().prop_map(Step::Skip),
        4 => (brought(), any::<bool>()).prop_map(|(rows, even)| Step::Upsert(rows, even)),
        3 => brought().prop_map(Step::Merge),
        1 => (0..4i64).prop_map(Step::Delete),
        1 => Just(Step::Seal),
        1 => Just(Step::Begin),
        1 => any::<bool>().prop_map(Step::End),
    ];
    prop::collection::vec(step, 1..24)
}

impl Step {
    fn sql(&self) -> String {
        let values = |rows: &Rows| {
            let rows = rows.iter().map(|(id, n)| format!("({id}, {n})"));
            rows.collect::<Vec<_>>().join(", ")
        };
        match self {
            Self::Skip(rows) => {
                let values = values(rows);
                format!("INSERT INTO t VALUES {values} ON CONFLICT DO NOTHING RETURNING id, n")
            }
            Self::Upsert(rows, even) => {
                let condition = if *even {
                    "WHERE EXCLUDED.n % 2 = 0"
                } else {
                    ""
                };
                format!(
                    "INSERT INTO t VALUES {} ON CONFLICT (id) DO UPDATE SET n = t.n + EXCLUDED.n \
                     {condition} RETURNING id, n",
                    values(rows)
                )
            }
            Self::Merge(rows) => format!(
                "MERGE INTO t USING (VALUES {}) s (id, n) ON t.id = s.id \
                 WHEN MATCHED AND s.n = 0 THEN DELETE \
                 WHEN MATCHED AND s.n % 2 = 1 THEN UPDATE SET n = t.n * 2 + s.n \
                 WHEN NOT MATCHED AND s.n = 5 THEN DO NOTHING \
                 WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.n)",
                values(rows)
            ),
            Self::Delete(rest) => format!("DELETE FROM t WHERE id % 4 = {rest} RETURNING id, n"),
            Self::Seal => "COMPACT t WITH (WAIT)".to_string(),
            Self::Begin => "BEGIN".to_string(),
            Self::End(true) => "COMMIT".to_string(),
            Self::End(false) => "ROLLBACK".to_string(),
        }
    }

    /// What the statement answers, or its SQLSTATE; the model is as it was then.
    fn act(&self, model: &mut Model) -> Result<Rows, &'static str> {
        let before = model.clone();
        let done = match self {
            Self::Skip(rows) => Ok(skip(rows, model)),
            Self::Upsert(rows, even) => upsert(rows, *even, model),
            Self::Merge(rows) => merge(rows, model).map(|()| Rows::new()),
            Self::Delete(rest) => {
                let gone = |(id, _): &(&i64, &i64)| **id % 4 == *rest;
                let gone: Rows = model.iter().filter(gone).map(|(id, n)| (*id, *n)).collect();
                model.retain(|id, _| id % 4 != *rest);
                Ok(gone)
            }
            Self::Seal | Self::Begin | Self::End(_) => Ok(Rows::new()),
        };
        done.inspect_err(|_| *model = before)
    }
}

fn skip(rows: &Rows, model: &mut Model) -> Rows {
    let mut new = Rows::new();
    for (id, n) in rows {
        if !model.contains_key(id) {
            model.insert(*id, *n);
            new.push((*id, *n));
        }
    }
    new.sort_unstable();
    new
}

fn upsert(rows: &Rows, even: bool, model: &mut Model) -> Result<Rows, &'static str> {
    let mut changed = BTreeMap::new();
    for (id, n) in rows {
        if changed.contains_key(id) {
            return Err("21000");
        }
        match model.get(id).copied() {
            Some(_) if even && n % 2 != 0 => continue,
            Some(old) => changed.insert(*id, old + n),
            None => changed.insert(*id, *n),
        };
        model.insert(*id, changed[id]);
    }
    Ok(changed.into_iter().collect())
}

fn merge(rows: &Rows, model: &mut Model) -> Result<(), &'static str> {
    let before = model.clone();
    let mut touched = BTreeSet::new();
    let mut twice = false;
    for (id, n) in rows {
        match before.get(id) {
            Some(_) if *n == 0 => twice |= !touched.insert(*id) || model.remove(id).is_none(),
            Some(old) if n % 2 == 1 => {
                twice |= !touched.insert(*id);
                model.insert(*id, old * 2 + n);
            }
            None if *n != 5 && model.insert(*id, *n).is_some() => return Err("23505"),
            _ => {}
        }
    }
    match twice {
        true => Err("21000"),
        false => Ok(()),
    }
}

async fn check(steps: &[Step]) {
    let database = Database::temporary(Settings::default()).await.unwrap();
    let session = database.session();
    let create = "CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT)";
    rows(&session, create).await.unwrap();
    let mut model = Model::new();
    let mut saved: Option<Model> = None;
    for step in steps {
        match (step, &saved) {
            (Step::Seal | Step::Begin, Some(_)) | (Step::End(_), None) => continue,
            (Step::Begin, None) => saved = Some(model.clone()),
            (Step::End(false), Some(before)) => model = before.clone(),
            _ => {}
        }
        if let Step::End(_) = step {
            saved = None;
        }
        let sql = step.sql();
        let expected = step.act(&mut model);
        let answered = rows(&session, &sql).await;
        match (&expected, &answered) {
            (Ok(_), Ok(_)) if matches!(step, Step::Seal) => {}
            (Ok(expected), Ok(rows)) => assert_eq!(rows, expected, "{sql}"),
            // A merge may meet both faults; which one it tells first is not promised.
            (Err(_), Err(e)) if matches!(step, Step::Merge(_)) => {
                assert!(["21000", "23505"].contains(&e.sqlstate()), "{sql}: {e}");
            }
            (Err(code), Err(e)) => assert_eq!(e.sqlstate(), *code, "{sql}: {e}"),
            _ => panic!("{sql}: {answered:?}, not {expected:?}"),
        }
        if expected.is_err()
            && let Some(before) = saved.take()
        {
            rows(&session, "ROLLBACK").await.unwrap();
            model = before;
        }
        let all: Rows = model.iter().map(|(id, n)| (*id, *n)).collect();
        assert_eq!(
            rows(&session, "SELECT id, n FROM t").await.unwrap(),
            all,
            "{sql}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_statements_do_what_the_model_does(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(check(&steps));
    }
}

/// More rows than are looked up at once, over sealed, growing and deleted rows.
#[tokio::test(flavor = "multi_thread")]
async fn many_rows_are_upserted() {
    let database = Database::temporary(Settings::default()).await.unwrap();
    let session = database.session();
    for text in [
        "CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT)",
        "INSERT INTO t SELECT value * 3, 0 FROM generate_series(0, 59999) AS g(value)",
        "COMPACT t WITH (WAIT)",
        "INSERT INTO t SELECT value * 3 + 1, 0 FROM generate_series(0, 1999) AS g(value)",
        "DELETE FROM t WHERE id % 6 = 0",
        "INSERT INTO t SELECT value, 1 FROM generate_series(0, 179999) AS g(value) \
         ON CONFLICT (id) DO UPDATE SET n = t.n + 10",
    ] {
        rows(&session, text).await.unwrap();
    }
    let counts = "SELECT n, count(*) FROM t GROUP BY n";
    let updated = 30_000 + 2_000;
    let expected = [(1, 180_000 - updated), (10, updated)];
    assert_eq!(rows(&session, counts).await.unwrap(), expected);
    let again = "INSERT INTO t SELECT value, 2 FROM generate_series(-5, 180004) AS g(value) ON CONFLICT DO NOTHING";
    rows(&session, again).await.unwrap();
    let expected = [(1, 180_000 - updated), (2, 10), (10, updated)];
    assert_eq!(rows(&session, counts).await.unwrap(), expected);
}

/// Whoever meets another counts on what the other left.
#[tokio::test(flavor = "multi_thread")]
async fn counters_lose_nothing_beside_each_other() {
    let database = Database::temporary(Settings::default()).await.unwrap();
    let create = "CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT)";
    rows(&database.session(), create).await.unwrap();
    let count = |session: Session| async move {
        for i in 0..20 {
            let upsert = format!(
                "INSERT INTO t VALUES ({}, 1) ON CONFLICT (id) DO UPDATE SET n = t.n + 1",
                i % 3
            );
            rows(&session, &upsert).await.unwrap();
            rows(
                &session,
                "INSERT INTO t VALUES (9, 0) ON CONFLICT DO NOTHING",
            )
            .await
            .unwrap();
        }
    };
    let tasks: Vec<_> = (0..6)
        .map(|_| tokio::spawn(count(database.session())))
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let all = rows(&database.session(), "SELECT id, n FROM t")
        .await
        .unwrap();
    assert_eq!(all, [(0, 42), (1, 42), (2, 36), (9, 0)]);
}

/// In blocks the first to commit wins.
#[tokio::test(flavor = "multi_thread")]
async fn blocks_that_bring_one_key_do_not_both_commit() {
    let database = Database::temporary(Settings::default()).await.unwrap();
    let (a, b) = (database.session(), database.session());
    rows(&a, "CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT)")
        .await
        .unwrap();
    for statement in [
        "INSERT INTO t VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET n = t.n + 1",
        "INSERT INTO t VALUES (2, 1) ON CONFLICT DO NOTHING",
    ] {
        for session in [&a, &b] {
            rows(session, "BEGIN").await.unwrap();
            rows(session, statement).await.unwrap();
        }
        rows(&a, "COMMIT").await.unwrap();
        assert_eq!(rows(&b, "COMMIT").await.unwrap_err().sqlstate(), "40001");
    }
    let all = rows(&a, "SELECT id, n FROM t").await.unwrap();
    assert_eq!(all, [(1, 1), (2, 1)]);
}
