//! The property: statements that look their row up do what they do without.

use arrow::util::pretty::pretty_format_batches;
use datafusion::common::ScalarValue;
use futures::TryStreamExt;
use proptest::prelude::*;

use crate::sql::{Outcome, Session};
use crate::{Database, Result, Settings};

const TABLE: &str = "CREATE TABLE t (a INT, b TEXT, f DOUBLE PRECISION UNIQUE, n INT CHECK (n < 7),
    PRIMARY KEY (a, b)) WITH (row_group_rows_max = 4, auto_compaction = off)";

/// Statements with the parameters `$1` (INT), `$2` (TEXT) and `$3` (DOUBLE PRECISION), prepared and by literals.
const STATEMENTS: [&str; 12] = [
    "INSERT INTO t VALUES ($1::int, $2::text, $3::float8, 0)",
    "INSERT INTO t VALUES ($1::int, $2::text, $3::float8, 0) ON CONFLICT (a, b) DO UPDATE SET n = t.n + 1",
    "UPDATE t SET n = n + 1 WHERE a = $1::int AND b = $2::text RETURNING a, b, f, n",
    "UPDATE t SET f = $3::float8 WHERE $1::int = a AND b = $2::text AND n < 3",
    "UPDATE t SET a = a + 1 WHERE a = $1::int AND b = $2::text",
    "UPDATE t SET n = $1::int WHERE f = $3::float8 RETURNING n, $2::text",
    "DELETE FROM t WHERE a = $1::int AND b = $2::text AND (f IS NULL OR f <> $3::float8)",
    "DELETE FROM t WHERE f = $3::float8 AND a > $1::int AND b >= $2::text RETURNING *",
    "SELECT count(*) FROM t WHERE a = $1::int AND b = $2::text AND ($3::float8 IS NULL OR n > 0)",
    "SELECT f, n FROM t WHERE b = $2::text AND a = $1::int AND a = a + 0 OR f = $3::float8 ORDER BY 1, 2",
    "SELECT a, b FROM t WHERE f = $3::float8 AND ($1::int IS NULL OR $2::text <> 'c')",
    "SELECT x.n, y.n FROM t x JOIN t y ON y.a = x.a WHERE x.a = $1::int AND x.b = $2::text AND y.b = 'b'
     AND $3::float8 IS NULL",
];

#[derive(Debug, Clone)]
enum Step {
    /// One of the statements, with its values.
    Run(usize, Option<i32>, Option<&'static str>, Option<f64>),
    /// Another one, the same in both databases.
    Say(&'static str),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let int = prop::option::weighted(0.9, 0..4i32);
    let text = prop::option::weighted(0.9, prop::sample::select(vec!["", "b", "c"]));
    let floats = vec![0.0, -0.0, 1.5, f64::NAN, f64::INFINITY];
    let float = prop::option::weighted(0.8, prop::sample::select(floats));
    let run = (0..STATEMENTS.len(), int, text, float);
    let run = run.prop_map(|(at, a, b, f)| Step::Run(at, a, b, f));
    let others = vec![
        "COMPACT t WITH (WAIT)",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT s",
        "ROLLBACK TO s",
    ];
    let say = prop::sample::select(others).prop_map(Step::Say);
    prop::collection::vec(prop_oneof![6 => run, 1 => say], 1..60)
}

/// The rows of an answer as text, or the SQLSTATE.
async fn answer(outcome: Result<Outcome>) -> Result<String, String> {
    let batches = async {
        let batches: Vec<_> = outcome?.stream.try_collect().await?;
        Ok::<_, crate::Error>(pretty_format_batches(&batches)?.to_string())
    };
    batches.await.map_err(|e| e.sqlstate().to_string())
}

async fn session(database: &Database, prune: &str) -> Session {
    let session = database.session();
    let prune = format!("SET shelfmark.enable_segment_prune = {prune}");
    for text in [TABLE, prune.as_str()] {
        answer(session.run(text).await).await.unwrap();
    }
    session
}

async fn database() -> Database {
    Database::temporary(Settings::default()).await.unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_row_that_is_looked_up_is_the_one_that_is_searched_for(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (a, b) = (database().await, database().await);
            let (looks_up, searches) = (session(&a, "on").await, session(&b, "off").await);
            let mut prepared = Vec::new();
            for text in STATEMENTS {
                let one = async |session: &Session| session.prepare(text, &[]).await.unwrap();
                prepared.push((one(&looks_up).await, one(&searches).await));
            }
            for step in steps {
                let (found, expected) = match &step {
                    // What a compaction answers has its time.
                    Step::Say(text) => (
                        answer(looks_up.run(text).await).await.map(|_| String::new()),
                        answer(searches.run(text).await).await.map(|_| String::new()),
                    ),
                    Step::Run(at, a, b, f) => {
                        let values = || vec![
                            ScalarValue::Int32(*a),
                            ScalarValue::from(*b),
                            ScalarValue::Float64(*f),
                        ];
                        let (one, other) = &prepared[*at];
                        (
                            answer(looks_up.execute(one, values()).await).await,
                            answer(searches.execute(other, values()).await).await,
                        )
                    }
                };
                prop_assert_eq!(found, expected, "{:?}", step);
            }
            for session in [&looks_up, &searches] {
                let _ = answer(session.run("ROLLBACK").await).await;
            }
            let all = "SELECT * FROM t ORDER BY a, b";
            let (found, expected) = (looks_up.run(all).await, searches.run(all).await);
            prop_assert_eq!(answer(found).await, answer(expected).await);
            Ok(())
        })?;
    }
}
