//! A search gives the rows of the plain plan: random tables, changed and compacted meanwhile, and random queries.

mod queries;

use std::collections::HashSet;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Float64Type, Int64Type, SchemaRef};
use arrow::util::pretty::pretty_format_batches;
use datafusion::common::ScalarValue;
use datafusion::physical_plan::common::collect;
use proptest::prelude::*;
use proptest::sample::select;
use shelfmark::{Database, Outcome, Session, Settings};

use self::queries::{Query, Step, or_null, query, row, step, vector};

async fn rows(session: &Session, text: &str) -> RecordBatch {
    let outcome = session.run(text).await;
    let outcome = outcome.unwrap_or_else(|e| panic!("{text}: {e}"));
    collected(outcome, text).await
}

async fn collected(outcome: Outcome, text: &str) -> RecordBatch {
    let schema = SchemaRef::clone(&outcome.schema);
    let batches = collect(outcome.stream).await;
    let batches = batches.unwrap_or_else(|e| panic!("{text}: {e}"));
    concat_batches(&schema, &batches).unwrap()
}

async fn prepared_rows(session: &Session, query: &Query) -> RecordBatch {
    let (distance, value) = &query.prepared;
    let text = query.text_with(distance, true);
    let prepared = session.prepare(&text, &[]).await;
    let prepared = prepared.unwrap_or_else(|e| panic!("{text}: {e}"));
    let value = match value.as_str() {
        "NULL" => ScalarValue::Null,
        text => ScalarValue::from(text.trim_matches('\'')),
    };
    let values = prepared
        .parameters()
        .iter()
        .map(|_| value.clone())
        .collect();
    let outcome = session.execute(&prepared, values).await;
    let outcome = outcome.unwrap_or_else(|e| panic!("{text}: {e}"));
    collected(outcome, &text).await
}

async fn set(session: &Session, setting: &str, on: bool) {
    let value = if on { "on" } else { "off" };
    rows(session, &format!("SET shelfmark.{setting} = {value}")).await;
}

/// Id and distance of each row, floats by their bits.
fn keys(batch: &RecordBatch) -> Vec<(i64, Option<u64>)> {
    let ids = batch.column(0).as_primitive::<Int64Type>().values().iter();
    let distances = batch.column(1).as_primitive::<Float64Type>();
    let bits = distances.iter().map(|d| d.map(f64::to_bits));
    ids.copied().zip(bits).collect()
}

fn shown(batch: &RecordBatch) -> String {
    pretty_format_batches(std::slice::from_ref(batch))
        .unwrap()
        .to_string()
}

/// Runs a query both ways. Without a total order either may choose among rows of equal distance.
async fn check(session: &Session, query: &Query) {
    let text = query.text();
    set(session, "enable_segment_prune", query.prune).await;
    set(session, "enable_vector_search", true).await;
    let searched = rows(session, &text).await;
    let bound = match query.filter.contains("random()") {
        true => None,
        false => Some(prepared_rows(session, query).await),
    };
    set(session, "enable_vector_search", false).await;
    let plain = rows(session, &text).await;
    let same = |a: &RecordBatch, b: &RecordBatch| match query.ties.ends_with("id")
        || query.ties.ends_with("id DESC")
    {
        true => assert_eq!(a, b, "{text}\n{}\n{}", shown(a), shown(b)),
        false => {
            let distances = |batch| keys(batch).into_iter().map(|(_, d)| d).collect::<Vec<_>>();
            assert_eq!(distances(a), distances(b), "{text}");
        }
    };
    same(&searched, &plain);
    let all = rows(session, &query.text_with(&query.distance, false)).await;
    let all: HashSet<_> = keys(&all).into_iter().collect();
    let found: HashSet<_> = keys(&searched).into_iter().collect();
    assert_eq!(found.len(), searched.num_rows(), "{text}");
    assert!(found.is_subset(&all), "{text}");
    if let Some(bound) = bound {
        let text = query.text_with(&query.prepared.0, true);
        let literal = query
            .prepared
            .0
            .replace("$1", &format!("({}::{})", query.prepared.1, typed(query)));
        let plain = rows(session, &query.text_with(&literal, true)).await;
        assert_eq!(bound.num_rows(), plain.num_rows(), "{text}");
        same(&bound, &plain);
    }
}

fn typed(query: &Query) -> &'static str {
    if query.prepared.0.starts_with('e') {
        "vector"
    } else {
        "halfvec"
    }
}

async fn perform(session: &Session, step: &Step, next_id: &mut usize) {
    match step {
        Step::Insert(inserted) => {
            let values = inserted.iter().map(|row| {
                *next_id += 1;
                format!("({next_id}, {})", row.join(", "))
            });
            let values = values.collect::<Vec<_>>().join(", ");
            rows(session, &format!("INSERT INTO t VALUES {values}")).await;
        }
        Step::Delete(filter) => {
            // Not too many: an empty table tells little.
            let text = format!("DELETE FROM t WHERE id % 3 = 0 AND {filter}");
            rows(session, &text).await;
        }
        Step::Update(assignments, filter) => {
            let text = format!("UPDATE t SET {assignments} WHERE id % 4 = 0 AND {filter}");
            rows(session, &text).await;
        }
        Step::Compact(how) => {
            let text = match *how {
                "" => "COMPACT t WITH (WAIT)".to_string(),
                "WITH CLUSTERING" => "COMPACT t WITH (CLUSTERING, WAIT)".to_string(),
                _ => "COMPACT t WITH (CLUSTERING, FULL, WAIT)".to_string(),
            };
            rows(session, &text).await;
        }
        Step::Queries(queries) => {
            for query in queries {
                check(session, query).await;
            }
        }
    }
}

/// A session with an empty table of small segments.
async fn session_with_table() -> Session {
    let mut settings = Settings::default();
    settings.set("segment.row_group_rows", "8").unwrap();
    settings.set("segment.max_rows", "30").unwrap();
    let session = Database::temporary(settings).await.unwrap().session();
    let create = "CREATE TABLE t (id BIGINT NOT NULL, key INT CLUSTERING KEY, grp INT, s TEXT,
                                  e VECTOR(3), h HALFVEC(2))";
    rows(&session, create).await;
    session
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn searches_and_plain_plans_give_the_same_rows(
        first in prop::collection::vec(row(), 20..150),
        steps in prop::collection::vec(step(), 1..14),
        last in prop::collection::vec(query(), 10..30),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let session = session_with_table().await;
            let mut next_id = 0;
            perform(&session, &Step::Insert(first), &mut next_id).await;
            for step in steps.iter().chain([&Step::Queries(last)]) {
                perform(&session, step, &mut next_id).await;
            }
        });
    }
}

/// A LATERAL join in place of the query: `FROM q` has vectors of both columns.
fn lateral(query: &Query, left: bool) -> String {
    let column = &query.prepared.0[..1];
    let distance = query.prepared.0.replace("$1", &format!("q.{column}"));
    // Further sort keys are for each row by itself.
    let one_key = Query {
        ties: "",
        ..query.clone()
    };
    let search = one_key.text_with(&distance, true);
    let join = if left { "LEFT JOIN" } else { "JOIN" };
    format!("SELECT q.id AS query, s.d, s.id FROM q {join} LATERAL ({search}) s ON true")
}

/// Each distance with its query, by their bits.
fn joined(batch: &RecordBatch) -> Vec<(i64, Option<u64>)> {
    let queries = batch.column(0).as_primitive::<Int64Type>().values().iter();
    let distances = batch.column(1).as_primitive::<Float64Type>();
    let bits = distances.iter().map(|d| d.map(f64::to_bits));
    queries.copied().zip(bits).collect()
}

/// Many queries at once find what each finds by itself: the plain plan runs once for each.
async fn check_many(session: &Session, query: &Query, left: bool) {
    let text = lateral(query, left);
    set(session, "enable_segment_prune", query.prune).await;
    set(session, "enable_vector_search", true).await;
    let searched = rows(session, &text).await;
    set(session, "enable_vector_search", false).await;
    let plain = rows(session, &text).await;
    let (searched, plain) = (joined(&searched), joined(&plain));
    assert_eq!(searched, plain, "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn many_queries_at_once_find_what_each_finds(
        first in prop::collection::vec(row(), 20..150),
        steps in prop::collection::vec(step(), 1..6),
        vectors in prop::collection::vec((or_null(vector(3)), or_null(vector(2))), 1..9),
        last in prop::collection::vec((query(), any::<bool>()), 5..12),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let session = session_with_table().await;
            rows(&session, "CREATE TABLE q (id BIGINT NOT NULL, e VECTOR(3), h HALFVEC(2))").await;
            for (id, (e, h)) in vectors.iter().enumerate() {
                rows(&session, &format!("INSERT INTO q VALUES ({id}, {e}, {h})")).await;
            }
            let mut next_id = 0;
            perform(&session, &Step::Insert(first), &mut next_id).await;
            for step in &steps {
                if !matches!(step, Step::Queries(_)) {
                    perform(&session, step, &mut next_id).await;
                }
            }
            for (query, left) in &last {
                check_many(&session, query, *left).await;
            }
        });
    }
}

/// Enough rows that several workers take part.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_together_find_what_one_finds() {
    let mut settings = Settings::default();
    settings.set("segment.row_group_rows", "500").unwrap();
    settings.set("segment.max_rows", "2000").unwrap();
    let database = Database::temporary(settings).await.unwrap();
    let session = database.session();
    let elements: Vec<String> = (0..128)
        .map(|i| format!("((value * {} + {i}) % 101)::real", 7 + i * i))
        .collect();
    let text = format!(
        "INSERT INTO t SELECT value, value % 50, ARRAY[{}] FROM generate_series(1, 9000) AS g(value)",
        elements.join(", ")
    );
    rows(
        &session,
        "CREATE TABLE t (id BIGINT, key INT CLUSTERING KEY, e VECTOR(128))",
    )
    .await;
    rows(&session, &text).await;
    rows(&session, "COMPACT t WITH (CLUSTERING, WAIT)").await;
    rows(&session, "SET datafusion.execution.target_partitions = 4").await;
    let query = format!("'[{}]'", vec!["50"; 128].join(","));
    for filter in [
        "",
        "WHERE key < 10",
        "WHERE id % 3 = 1",
        "WHERE key > 5 AND id > 700",
    ] {
        for limit in [1, 10, 500] {
            let text = format!(
                "SELECT id, e <-> {query} AS d FROM t {filter} ORDER BY d, id LIMIT {limit}"
            );
            set(&session, "enable_vector_search", true).await;
            let searched = rows(&session, &text).await;
            set(&session, "enable_vector_search", false).await;
            assert_eq!(searched, rows(&session, &text).await, "{filter} {limit}");
            set(&session, "enable_vector_search", true).await;
            let many = format!(
                "SELECT s.id, s.d FROM (VALUES (1, {query}), (2, {query})) AS q(n, v) \
                 CROSS JOIN LATERAL (SELECT id, e <-> q.v::vector(128) AS d FROM t {filter} \
                                     ORDER BY d LIMIT {limit}) s"
            );
            let many = rows(&session, &many).await;
            let (one, other) = (many.slice(0, limit), many.slice(limit, limit));
            assert_eq!(keys(&one), keys(&other), "{filter} {limit}");
            let distances = |batch| keys(batch).into_iter().map(|(_, d)| d).collect::<Vec<_>>();
            assert_eq!(distances(&one), distances(&searched), "{filter} {limit}");
        }
    }
}

#[tokio::test]
async fn the_search_is_one_operator() {
    let database = Database::temporary(Settings::default()).await.unwrap();
    let session = database.session();
    rows(
        &session,
        "CREATE TABLE t (id BIGINT, key INT, e VECTOR(3), h HALFVEC(2))",
    )
    .await;
    let searches = [
        "SELECT id FROM t ORDER BY e <-> '[1,2,3]' LIMIT 3",
        "SELECT id, e <=> '[1,2,3]' AS d FROM t WHERE key > 3 ORDER BY d LIMIT 3 OFFSET 2",
        "SELECT * FROM t ORDER BY e <#> '[1,2,3]'::vector LIMIT 3",
        "SELECT id FROM t ORDER BY l1_distance(e, '[1,2,3]'), id LIMIT 3",
        "SELECT id FROM t WHERE e <-> '[1,2,3]' < 2 ORDER BY e <-> '[1,2,3]' LIMIT 3",
        "SELECT a.id + 1 FROM (SELECT * FROM t WHERE key = 3) a ORDER BY inner_product(a.e, '[1,2,3]') DESC LIMIT 3",
        "SELECT id FROM t ORDER BY h <-> '[1,2]' LIMIT 3",
        "WITH near AS (SELECT id, e <-> '[1,2,3]' AS d FROM t ORDER BY d LIMIT 9) SELECT * FROM near WHERE d < 1",
        "SELECT id, 1 - (e <=> '[1,2,3]') AS similarity FROM t ORDER BY similarity DESC LIMIT 3",
        "SELECT id, (e <#> '[1,2,3]') * -1 AS similarity FROM t ORDER BY similarity DESC, id LIMIT 3",
        "SELECT id, e FROM t WHERE 1 - (e <=> '[1,2,3]') > 0.5 ORDER BY 1 - (e <=> '[1,2,3]') DESC LIMIT 3",
        "SELECT id, e <#> '[1,2,3]' FROM t ORDER BY -(e <#> '[1,2,3]') DESC NULLS LAST LIMIT 3",
        "SELECT id FROM t WHERE id IN (SELECT id FROM t ORDER BY e <-> '[1,2,3]' LIMIT 9)",
    ];
    let plain = [
        "SELECT id FROM t ORDER BY e <-> '[1,2,3]'",
        "SELECT id FROM t ORDER BY abs(e <-> '[1,2,3]') LIMIT 3",
        "SELECT id FROM t ORDER BY key + (e <-> '[1,2,3]') LIMIT 3",
        "SELECT id FROM t ORDER BY key, e <-> '[1,2,3]' LIMIT 3",
        "SELECT id FROM t WHERE random() < 2 ORDER BY e <-> '[1,2,3]' LIMIT 3",
        "SELECT a.id FROM t a JOIN t b ON a.id = b.id ORDER BY a.e <-> b.e LIMIT 3",
    ];
    let texts = searches.map(|text| (text, true)).into_iter();
    for (text, is_search) in texts.chain(plain.map(|text| (text, false))) {
        let plan = rows(&session, &format!("EXPLAIN {text}")).await;
        let column = plan.column(plan.num_columns() - 1);
        assert_eq!(column.data_type(), &DataType::Utf8);
        let plan: Vec<&str> = column.as_string::<i32>().iter().flatten().collect();
        let plan = plan.join("\n");
        assert_eq!(plan.contains("VectorTopKExec"), is_search, "{text}\n{plan}");
    }
}

/// A vector of two numbers, each 600 times, as SQL over `a` and `b`: wide enough that few rows are a cell.
fn wide(a: &str, b: &str) -> String {
    format!("array_concat(array_repeat(({a})::real, 600), array_repeat(({b})::real, 600))")
}

/// Rows of a table that is clustered by its vectors: so many places, and how far rows lie from them.
fn insert_wide(first: usize, count: usize, places: usize, spread: f64) -> String {
    let a = format!("value * 7919 % {places} * 10 + value * 104729 % 1000 * {spread} / 1000");
    let b = format!("value * 7919 % {places} * -3 + value * 15485863 % 1000 * {spread} / 1000");
    let vector = wide(&a, &b);
    format!(
        "INSERT INTO t SELECT value, value % 5, CASE WHEN value % 23 > 0 THEN {vector} END \
         FROM generate_series({first}::bigint, {}) AS g(value)",
        first + count - 1
    )
}

/// That a search of the table finds what the plain plan finds.
async fn check_wide(session: &Session, (a, b): (f64, f64)) {
    let query = wide(&a.to_string(), &b.to_string());
    for operator in ["<->", "<#>", "<=>", "<+>"] {
        for (filter, direction) in [
            ("", ""),
            ("WHERE tenant = 2", ""),
            ("", "DESC"),
            ("WHERE id % 2 = 0", ""),
        ] {
            let text = format!(
                "SELECT id, e {operator} {query}::vector AS d FROM t {filter} \
                 ORDER BY d {direction}, id LIMIT 7"
            );
            set(session, "enable_vector_search", true).await;
            let searched = rows(session, &text).await;
            set(session, "enable_vector_search", false).await;
            assert_eq!(searched, rows(session, &text).await, "{text}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn clustering_by_vectors_changes_no_result(
        key in select(&["VECTOR(e)", "tenant, VECTOR(e)", "VECTOR(e), id"][..]),
        parts in prop::collection::vec((1usize..250, 1usize..12, 0f64..8.0), 1..4),
        segment_rows in 60usize..300,
        queries in prop::collection::vec((-50f64..130.0, -50f64..50.0), 2..4),
        deleted in 3usize..40,
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let mut settings = Settings::default();
            settings.set("segment.row_group_rows", "64").unwrap();
            settings.set("segment.max_rows", &segment_rows.to_string()).unwrap();
            let database = Database::temporary(settings).await.unwrap();
            let session = database.session();
            let create = format!(
                "CREATE TABLE t (id BIGINT, tenant INT, e VECTOR(1200)) CLUSTER BY ({key}) \
                 WITH (auto_compaction = off)"
            );
            rows(&session, &create).await;
            let mut first = 0;
            for (at, (count, places, spread)) in parts.into_iter().enumerate() {
                rows(&session, &insert_wide(first, count, places, spread)).await;
                first += count;
                for query in &queries {
                    check_wide(&session, *query).await;
                }
                let how = ["CLUSTERING", "CLUSTERING, FULL"][at % 2];
                rows(&session, &format!("COMPACT t WITH ({how}, WAIT)")).await;
                for query in &queries {
                    check_wide(&session, *query).await;
                }
                rows(&session, &format!("DELETE FROM t WHERE id % {deleted} = 0")).await;
                check_wide(&session, queries[0]).await;
            }
        });
    }
}
