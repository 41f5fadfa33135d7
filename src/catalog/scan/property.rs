#![allow(clippy::unwrap_used)]
//! The property: what statistics answer is what reading all rows answers.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::prelude::SessionContext;
use proptest::prelude::*;

use super::CollectionScanExec;
use crate::catalog::covered::{COVERED_FILTERS, CoveredFilterRule};
use crate::catalog::testing::*;
use crate::storage::schema::{CollectionSchema, ColumnType};

/// A row: the clustering key, a float and a text.
type Row = (Option<i64>, Option<f64>, Option<String>);

fn schema() -> CollectionSchema {
    clustered(vec![
        column(1, "key", ColumnType::BigInt),
        column(2, "price", ColumnType::Double),
        column(3, "title", ColumnType::Text),
    ])
}

fn batch(rows: &[Row]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|r| r.0).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|r| r.1).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|r| r.2.clone()).collect::<StringArray>()),
    ];
    RecordBatch::try_new(schema().arrow_schema(), columns).unwrap()
}

/// A session that answers by statistics, and one that reads.
fn contexts(db: &TestDb) -> (SessionContext, SessionContext) {
    let state = db.context().state();
    let rules = state.physical_optimizers().to_vec();
    let with = |rules| {
        let builder = SessionStateBuilder::new_from_existing(state.clone());
        SessionContext::new_with_state(builder.with_physical_optimizer_rules(rules).build())
    };
    let mut fast = rules.clone();
    fast.insert(0, Arc::new(CoveredFilterRule));
    let by_statistics = ["aggregate_statistics", COVERED_FILTERS];
    let plain = rules.into_iter().filter(|r| {
        let name = r.name().to_lowercase();
        !by_statistics.contains(&name.as_str())
    });
    (with(fast), with(plain.collect()))
}

fn is_read(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<CollectionScanExec>() || plan.children().into_iter().any(is_read)
}

fn is_answered(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<PlaceholderRowExec>() || plan.children().into_iter().any(is_answered)
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let key = prop::option::weighted(0.9, -5i64..20);
    let floats = vec![-0.0, 0.0, 1.5, -2.5, f64::INFINITY, f64::NAN];
    let price = prop::option::weighted(0.8, prop::sample::select(floats));
    let title = prop::option::weighted(0.8, "[ab]{0,2}|[a]{63}b{0,3}");
    prop::collection::vec((key, price, title), 1..6)
}

/// Segments with which of their rows are deleted, and growing rows.
type Contents = (Vec<(Vec<Row>, Vec<bool>)>, Option<Vec<Row>>);

fn contents() -> impl Strategy<Value = Contents> {
    let deleted = prop::collection::vec(prop::bool::weighted(0.2), 6);
    let segments = prop::collection::vec((rows(), deleted), 0..4);
    (segments, prop::option::weighted(0.4, rows()))
}

const FILTERS: [&str; 6] = [
    "",
    "WHERE key >= 0",
    "WHERE key < 10 AND key IS NOT NULL",
    "WHERE title IS NULL OR title >= ''",
    "WHERE price > -10.0",
    "WHERE key BETWEEN 3 AND 12",
];

const QUERIES: [&str; 4] = [
    "SELECT count(*) AS n FROM book",
    "SELECT count(key) AS k, count(price) AS p, count(title) AS t FROM book",
    "SELECT min(key) AS a, max(key) AS b, min(title) AS c FROM book",
    "SELECT min(price) AS a, max(price) AS b, max(title) AS c FROM book",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn statistics_answer_as_rows_do((segments, growing) in contents()) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let db = TestDb::new();
            let id = db.create("book", schema()).await;
            for (rows, deleted) in &segments {
                let segment = db.add_segment(id, &batch(rows)).await;
                let places = (0..rows.len() as u32).filter(|row| deleted[*row as usize]);
                let places: Vec<u32> = places.collect();
                if !places.is_empty() {
                    db.delete(id, segment, &places).await;
                }
            }
            if let Some(rows) = &growing {
                db.append(id, &batch(rows)).await;
            }
            let (fast, plain) = contexts(&db);
            for filter in FILTERS {
                for sql in QUERIES {
                    let sql = format!("{sql} {filter}");
                    assert_eq!(query(&fast, &sql).await, query(&plain, &sql).await, "{sql}");
                }
            }
        });
    }
}

#[tokio::test]
async fn what_is_covered_is_not_read() {
    let db = TestDb::new();
    let id = db.create("book", schema()).await;
    let row = |key: i64| (Some(key), Some(key as f64), Some(format!("t{key}")));
    let mut segments = Vec::new();
    for first in [0, 10, 20] {
        let rows: Vec<Row> = (first..first + 10).map(row).collect();
        segments.push(db.add_segment(id, &batch(&rows)).await);
    }
    // The least key of the second segment goes: only there the minimum is not known.
    db.delete(id, segments[1], &[0]).await;
    let (fast, _) = contexts(&db);
    for (sql, is_covered) in [
        ("SELECT count(*) FROM book", true),
        ("SELECT count(*), min(key), max(title) FROM book", true),
        ("SELECT count(*) FROM book WHERE key >= 10", true),
        // As far as statistics know, the key 10 may be there.
        ("SELECT count(*) FROM book WHERE key >= 11", false),
        ("SELECT count(*) FROM book WHERE key > 100", true),
        ("SELECT max(key) FROM book WHERE key >= 10", true),
        ("SELECT min(key) FROM book WHERE key >= 10", false),
        ("SELECT min(price) FROM book", false),
        (
            "SELECT count(*) FROM book WHERE key < 10 AND length(title) > 1",
            false,
        ),
    ] {
        let (plan, _) = run(&fast, sql).await;
        assert_eq!(is_answered(&plan), is_covered, "{sql}");
        assert_eq!(is_read(&plan), !is_covered, "{sql}");
    }
    let (plan, rows) = run(&fast, "SELECT title FROM book WHERE key < 20").await;
    assert_eq!(rows, 19);
    assert!(
        scan_line(&plan).ends_with("covered"),
        "{}",
        scan_line(&plan)
    );
    db.append(id, &batch(&[row(5)])).await;
    let (plan, _) = run(&fast, "SELECT count(*), min(key) FROM book").await;
    assert!(!is_read(&plan));
    let (plan, _) = run(&fast, "SELECT count(*) FROM book WHERE key < 10").await;
    assert!(is_read(&plan));
}
