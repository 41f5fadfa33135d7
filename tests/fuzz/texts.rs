//! Texts of vectors, and SQL.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use shelfmark::{Database, Settings};
use shelfmark_udfs::{format_vector, parse_halfvec, parse_vector};
use tokio::runtime::Runtime;

use super::{config, damage, damaged};

/// What planning any of these texts may take, on a busy machine.
const PLAN_TIME_MAX: Duration = Duration::from_secs(10);

proptest! {
    #![proptest_config(config(2_000))]

    #[test]
    fn any_text_is_a_vector_or_is_not(text in "[-+0-9eE.,\\[\\] infaINFA\u{0}-\u{7f}]{0,40}") {
        for parsed in [parse_vector(&text, None), parse_vector(&text, Some(3))].into_iter().flatten() {
            let again = parse_vector(&format_vector(parsed.iter().copied()), None).unwrap();
            prop_assert_eq!(parsed, again);
        }
        let _ = parse_halfvec(&text, None);
    }
}

const STATEMENTS: [&str; 16] = [
    "SELECT id, name FROM t WHERE id BETWEEN 1 AND 9 ORDER BY place <-> '[1,2]' LIMIT 3",
    "INSERT INTO t (id, name) VALUES (1, 'a'), (2, NULL)",
    "UPDATE t SET name = upper(name) || 'x' WHERE id IN (SELECT id FROM t)",
    "DELETE FROM t WHERE name LIKE 'a%' OR place IS NULL",
    "CREATE TABLE u (id BIGINT PRIMARY KEY, e VECTOR(3)) WITH (segment_rows_max = 10)",
    "ALTER TABLE t ADD COLUMN more NUMERIC(10, 2) DEFAULT 1.5",
    "COPY t FROM STDIN (FORMAT csv, HEADER, DELIMITER ';')",
    "COMPACT t WITH (CLUSTERING, FULL, WAIT)",
    "WITH a AS (SELECT 1 AS x UNION ALL SELECT 2) SELECT sum(x) OVER (ORDER BY x) FROM a",
    "EXPLAIN (ANALYZE, VERBOSE) SELECT count(*) FROM t GROUP BY GROUPING SETS ((id), ())",
    "GRANT SELECT, INSERT ON t TO PUBLIC WITH GRANT OPTION",
    "PREPARE p (int, text) AS SELECT $1 + 1, $2::vector <=> place FROM t",
    "DECLARE c SCROLL CURSOR FOR SELECT ARRAY[1, 2, 3][1], CASE WHEN true THEN 1 ELSE 2 END",
    "SELECT E'\\\\x41', $q$text$q$, U&'\\0041', 'it''s', \"name\" FROM t AS x JOIN t AS y USING (id)",
    "EXPORT COLLECTION t TO '/nowhere' (FORMAT delta)",
    "SET search_path = public, pg_catalog; SHOW ALL",
];

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn any_sql_is_planned_or_refused_in_time(first in 0..16usize, second in 0..16usize, damage in damage()) {
        let both = [STATEMENTS[first], " ", STATEMENTS[second]].concat();
        let text = String::from_utf8_lossy(&damaged(both.as_bytes(), &damage)).into_owned();
        plan(&text)?;
    }
}

/// Plans a text; nothing is executed.
fn plan(text: &str) -> Result<(), TestCaseError> {
    thread_local! {
        static DATABASE: (Runtime, Database) = {
            let runtime = Runtime::new().unwrap();
            let database = runtime.block_on(async {
                let database = Database::temporary(Settings::default()).await.unwrap();
                let create = "CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT, place VECTOR(2))";
                let frame = database.session().sql(create).await.unwrap();
                frame.collect().await.unwrap();
                database
            });
            (runtime, database)
        };
    }
    DATABASE.with(|(runtime, database)| {
        let began = Instant::now();
        let planned = runtime.block_on(database.session().sql(text));
        prop_assert!(
            began.elapsed() < PLAN_TIME_MAX,
            "{text} took {:?}",
            began.elapsed()
        );
        if let Err(error) = planned {
            prop_assert!(error.sqlstate() != "XX000", "{text}: {error}");
        }
        Ok(())
    })
}
