#![allow(clippy::unwrap_used)]
//! The property: whatever was inserted, changed, deleted and compacted, and however often the database was opened, a
//! version has the rows that it had, and the changes between two versions turn one into the other.

use std::collections::BTreeMap;
use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use proptest::prelude::*;

use crate::database::Database;
use crate::settings::Settings;
use crate::sql::Session;

/// How often each row is there.
type Rows = BTreeMap<String, i64>;

fn statement() -> impl Strategy<Value = Vec<String>> {
    let one = |text: String| vec![text];
    let key = 0i64..60;
    prop_oneof![
        3 => prop::collection::vec(key.clone(), 1..6).prop_map(move |keys| {
            let rows: Vec<String> = keys.iter().map(|k| format!("({k}, 't{k}')")).collect();
            one(format!("INSERT INTO book VALUES {}", rows.join(", ")))
        }),
        2 => Just(one("INSERT INTO book SELECT value, 'many' FROM generate_series(0, 59) AS g(value)".into())),
        3 => (key.clone(), 1i64..30)
            .prop_map(move |(from, n)| one(format!("DELETE FROM book WHERE id BETWEEN {from} AND {}", from + n))),
        2 => key.clone().prop_map(move |k| one(format!("UPDATE book SET title = title || '+' WHERE id % 60 < {k}"))),
        3 => Just(one("COMPACT book WITH (WAIT)".into())),
        2 => Just(one("COMPACT book WITH (CLUSTERING, FULL, WAIT)".into())),
        1 => Just(one("TRUNCATE book".into())),
        1 => Just(one("reopen".into())),
        1 => key.prop_map(|k| vec![
            "BEGIN".to_string(),
            format!("INSERT INTO book VALUES ({k}, 'block'), ({k}, 'gone')"),
            "DELETE FROM book WHERE title = 'gone' OR id = 7".to_string(),
            "COMMIT".to_string(),
        ]),
    ]
}

async fn collect(session: &Session, sql: &str) -> Vec<RecordBatch> {
    let frame = session
        .sql(sql)
        .await
        .unwrap_or_else(|e| panic!("{sql}: {e}"));
    frame
        .collect()
        .await
        .unwrap_or_else(|e| panic!("{sql}: {e}"))
}

/// The rows of a query of `id`, `title` and how often they count.
async fn rows(session: &Session, sql: &str) -> Rows {
    let mut rows = Rows::new();
    for batch in collect(session, sql).await {
        let ids = batch.column(0).as_primitive::<Int64Type>();
        let titles = batch.column(1).as_string::<i32>();
        let counts = batch.column(2).as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            assert!(ids.is_valid(row));
            let key = format!("{} {}", ids.value(row), titles.value(row));
            *rows.entry(key).or_default() += counts.value(row);
        }
    }
    rows.retain(|_, count| *count != 0);
    rows
}

async fn open(path: &Path) -> Database {
    let settings = Settings {
        compaction_auto: false,
        checkpoint_commits: 6,
        ..Settings::default()
    };
    Database::open(path, settings).await.unwrap()
}

fn version(database: &Database) -> u64 {
    database.engine().committer.snapshot().version().0
}

async fn check(session: &Session, history: &BTreeMap<u64, Rows>) {
    let (last, newest) = history.last_key_value().unwrap();
    for (version, known) in history {
        let sql = format!("SELECT id, title, 1::bigint FROM book FOR VERSION AS OF {version} b");
        assert_eq!(&rows(session, &sql).await, known, "version {version}");
        if version == last {
            continue;
        }
        let sql = format!(
            "SELECT id, title, CASE _change_type WHEN 'insert' THEN 1::bigint ELSE -1::bigint END \
             FROM table_changes('book', {}, {last})",
            version + 1
        );
        let mut moved = known.clone();
        for (row, count) in rows(session, &sql).await {
            *moved.entry(row).or_default() += count;
        }
        moved.retain(|_, count| *count != 0);
        assert_eq!(&moved, newest, "changes since {version}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn versions_stay_and_changes_lead_from_one_to_another(
        statements in prop::collection::vec(statement(), 1..14)
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let mut database = open(directory.path()).await;
            let create = "CREATE TABLE book (id BIGINT CLUSTERING KEY, title TEXT) WITH (segment_rows_max = 40)";
            collect(&database.session(), create).await;
            let mut history = BTreeMap::from([(version(&database), Rows::new())]);
            for statement in statements {
                if statement == ["reopen"] {
                    drop(database);
                    database = open(directory.path()).await;
                    continue;
                }
                let session = database.session();
                for sql in &statement {
                    collect(&session, sql).await;
                }
                let now = rows(&session, "SELECT id, title, 1::bigint FROM book").await;
                history.insert(version(&database), now);
            }
            check(&database.session(), &history).await;
            drop(database);
            let database = open(directory.path()).await;
            check(&database.session(), &history).await;
        });
    }
}
