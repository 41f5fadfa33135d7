#![allow(clippy::unwrap_used)]
//! Scans through plain DataFusion sessions: rows, pruning, row addresses, EXPLAIN.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeListArray, Float32Array, Int64Array, RecordBatch, StringArray,
};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::dataframe::DataFrame;
use datafusion::execution::session_state::SessionState;
use datafusion::prelude::{col, lit};

use crate::catalog::keys::KeyColumns;
use crate::catalog::options::PinnedSnapshot;
use crate::catalog::table::CollectionTable;
use crate::catalog::testing::*;
use crate::compaction::scheduler::Scheduler;
use crate::error::Error;
use crate::storage::change::{AlterCollection, Change};
use crate::storage::collection::Segment;
use crate::storage::schema::{CollectionId, CollectionSchema, ColumnType, FieldId};
use crate::storage::stats::Bound;
use crate::storage::unique::KeyId;

fn schema() -> CollectionSchema {
    clustered(vec![
        column(1, "key", ColumnType::BigInt),
        column(2, "title", ColumnType::Text),
        column(3, "embedding", ColumnType::Vector(2)),
    ])
}

/// A row per key: its title is `t<key>`, its vector `[key, 1]`.
fn rows(keys: impl IntoIterator<Item = i64>) -> RecordBatch {
    rows_of(&schema().arrow_schema(), keys)
}

fn rows_of(schema: &SchemaRef, keys: impl IntoIterator<Item = i64>) -> RecordBatch {
    let keys: Vec<i64> = keys.into_iter().collect();
    let titles: StringArray = keys.iter().map(|k| Some(format!("t{k}"))).collect();
    let values: Float32Array = keys
        .iter()
        .flat_map(|k| [*k as f32, 1.0])
        .map(Some)
        .collect();
    let DataType::FixedSizeList(element, 2) = schema.field(2).data_type() else {
        panic!("a vector of two dimensions");
    };
    let vectors = FixedSizeListArray::new(Arc::clone(element), 2, Arc::new(values), None);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(keys)),
        Arc::new(titles),
        Arc::new(vectors),
    ];
    RecordBatch::try_new(Arc::clone(schema), columns).unwrap()
}

/// Ten segments of 100 keys each, 0..1000, and growing rows 1000..1010.
async fn book(db: &TestDb) -> CollectionId {
    let id = db.create("book", schema()).await;
    for first in (0..1000).step_by(100) {
        db.add_segment(id, &rows(first..first + 100)).await;
    }
    db.append(id, &rows(1000..1010)).await;
    id
}

#[tokio::test]
async fn a_plain_session_selects() {
    let db = TestDb::new();
    book(&db).await;
    let context = db.context();
    let (plan, count) = run(
        &context,
        "SELECT * FROM book WHERE key >= 250 AND key < 300",
    )
    .await;
    assert_eq!(count, 50);
    assert_eq!(
        scan_line(&plan),
        "CollectionScanExec: collection=book, version=12, segments=10, pruned=9 (by key), scanned=1, growing=1, \
         projection=[key, title, embedding], predicate=key >= 250 AND key < 300"
    );
    assert_eq!(metric(&plan, "segments_total"), 10);
    assert_eq!(metric(&plan, "segments_pruned"), 9);
    assert_eq!(metric(&plan, "segments_scanned"), 1);
    // 100 rows in row groups of 64: keys 200..264 and 264..300; late filter drops 200..250.
    assert_eq!(metric(&plan, "row_groups_total"), 2);
    assert_eq!(metric(&plan, "rows_read"), 50 + 10);
    let (_, all) = run(&context, "SELECT title FROM shelfmark.public.book").await;
    assert_eq!(all, 1010);
}

#[tokio::test]
async fn switched_off_nothing_is_pruned() {
    let db = TestDb::new();
    book(&db).await;
    let context = db.context();
    query(&context, "SET shelfmark.enable_segment_prune = off").await;
    let (plan, count) = run(&context, "SELECT * FROM book WHERE key = 5").await;
    assert_eq!(count, 1);
    assert!(scan_line(&plan).contains("pruned=0, scanned=10, growing=1"));
    assert!(scan_line(&plan).ends_with("prune=off"));
    assert_eq!(metric(&plan, "row_groups_pruned"), 0);
    assert_eq!(metric(&plan, "rows_read"), 1010);
}

#[tokio::test]
async fn counts_and_limits() {
    let db = TestDb::new();
    let id = book(&db).await;
    let context = db.context();
    let (plan, _) = run(&context, "SELECT count(*) FROM book").await;
    assert_eq!(metric(&plan, "rows_read"), 0, "answered from statistics");
    let text = query(&context, "SELECT count(*) AS n FROM book").await;
    assert!(text.contains("| 1010 |"), "{text}");
    let segment = db.collection(id).segments().next().unwrap().id;
    db.delete(id, segment, &[0, 1, 2]).await;
    let text = query(&context, "SELECT count(*) AS n FROM book").await;
    assert!(text.contains("| 1007 |"), "{text}");
    let text = query(
        &context,
        "SELECT count(*) AS n FROM book WHERE title LIKE 't%'",
    )
    .await;
    assert!(text.contains("| 1007 |"), "{text}");
    let (plan, count) = run(&context, "SELECT * FROM book LIMIT 15").await;
    assert_eq!(count, 15);
    assert!(
        scan_line(&plan).contains("scanned=1, growing=1"),
        "{}",
        scan_line(&plan)
    );
    let (_, none) = run(&context, "SELECT * FROM book LIMIT 0").await;
    assert_eq!(none, 0);
    let sql = "SELECT count(*) AS n FROM (SELECT 1 FROM book WHERE key > 995)";
    assert!(query(&context, sql).await.contains("| 14 |"));
}

#[tokio::test]
async fn deleted_rows_do_not_come_back() {
    let db = TestDb::new();
    let id = book(&db).await;
    let context = db.context();
    let collection = db.collection(id);
    let first = collection.segments().next().unwrap().id;
    let growing = collection.growing()[0].id;
    db.delete(id, first, &[0, 63, 64, 99]).await;
    db.delete(id, growing, &[0, 9]).await;
    let sql = "SELECT key FROM book WHERE key IN (0, 1, 63, 64, 65, 99, 1000, 1001, 1009)";
    let pruned = sorted_rows(&context, sql).await;
    assert_eq!(
        pruned.iter().filter(|l| l.contains("| ")).count(),
        4,
        "{pruned:?}"
    );
    query(&context, "SET shelfmark.enable_segment_prune = off").await;
    assert_eq!(sorted_rows(&context, sql).await, pruned);
}

#[tokio::test]
async fn row_addresses_are_places_in_the_segment() {
    let db = TestDb::new();
    let id = book(&db).await;
    let context = db.context();
    let snapshot = db.engine.committer.snapshot();
    let table = CollectionTable::at(Arc::clone(&db.engine), snapshot, id).unwrap();
    let third = db.collection(id).segments().nth(2).unwrap().id;
    let growing = db.collection(id).growing()[0].id;
    let table = Arc::new(table.with_row_address());
    let frame = context.read_table(table).unwrap();
    let keys = vec![lit(270), lit(1003)];
    let frame = frame.filter(col("key").in_list(keys, false)).unwrap();
    let text = frame.to_string().await.unwrap();
    let words: Vec<String> = text
        .lines()
        .filter(|l| l.contains(".0]"))
        .map(|l| {
            l.split_whitespace()
                .filter(|w| *w != "|")
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    assert_eq!(words.len(), 2, "{text}");
    assert!(
        words
            .iter()
            .any(|w| w == &format!("270 t270 [270.0, 1.0] {third} 70")),
        "{words:?}"
    );
    assert!(
        words
            .iter()
            .any(|w| w == &format!("1003 t1003 [1003.0, 1.0] {growing} 3"))
    );
}

#[tokio::test]
async fn a_join_prunes_by_its_dynamic_filter() {
    let db = TestDb::new();
    book(&db).await;
    let context = db.context();
    let sql =
        "SELECT book.title FROM (VALUES (311), (312)) wanted (k) JOIN book ON book.key = wanted.k";
    let (plan, count) = run(&context, sql).await;
    assert_eq!(count, 2);
    assert!(
        scan_line(&plan).contains("dynamic_filter="),
        "{}",
        scan_line(&plan)
    );
    assert_eq!(
        metric(&plan, "segments_pruned_dynamic"),
        9,
        "{}",
        scan_line(&plan)
    );
}

#[tokio::test]
async fn top_k_prunes_by_its_dynamic_filter() {
    let db = TestDb::new();
    book(&db).await;
    let context = db.context();
    query(&context, "SET datafusion.execution.target_partitions = 1").await;
    let (plan, count) = run(&context, "SELECT key FROM book ORDER BY key LIMIT 3").await;
    assert_eq!(count, 3);
    assert!(
        metric(&plan, "segments_pruned_dynamic") > 5,
        "{}",
        scan_line(&plan)
    );
}

#[tokio::test]
async fn pages_and_row_groups_are_pruned() {
    let db = TestDb::new();
    let id = db.create("book", schema()).await;
    db.add_segment(id, &rows(0..6400)).await;
    let context = db.context();
    let (plan, count) = run(
        &context,
        "SELECT title FROM book WHERE key BETWEEN 70 AND 80",
    )
    .await;
    assert_eq!(count, 11);
    assert_eq!(metric(&plan, "row_groups_total"), 100);
    assert_eq!(metric(&plan, "row_groups_pruned"), 99);
    assert!(metric(&plan, "bytes_read") > 0);
}

#[tokio::test]
async fn dml_hooks_point_to_the_statement() {
    let db = TestDb::new();
    book(&db).await;
    let context = db.context();
    for sql in ["DELETE FROM book", "UPDATE book SET key = 1"] {
        let error = match context.sql(sql).await {
            Ok(frame) => frame.collect().await.unwrap_err(),
            Err(error) => error,
        };
        let error = Error::from(error);
        assert_eq!(error.sqlstate(), "0A000", "{sql}: {error}");
    }
}

#[tokio::test]
async fn the_predicate_may_be_false() {
    let db = TestDb::new();
    book(&db).await;
    let context = db.context();
    for sql in [
        "SELECT * FROM book WHERE key > 5000 OR key < 0",
        "SELECT * FROM book WHERE key IS NULL",
        "SELECT * FROM book WHERE key NOT IN (1, 2, 3, 4, NULL)",
    ] {
        let (_, count) = run(&context, sql).await;
        assert_eq!(count, 0, "{sql}");
    }
    let (plan, _) = run(&context, "SELECT * FROM book WHERE key IS NULL").await;
    assert!(scan_line(&plan).contains("pruned=10 (by key), scanned=0, growing=1"));
}

#[tokio::test]
async fn views_of_the_system_tables() {
    let db = TestDb::new();
    book(&db).await;
    let context = db.context();
    let sql = "SELECT collection, rows, segments, clustering_key FROM shelfmark.collections";
    assert!(
        query(&context, sql)
            .await
            .contains("| book       | 1010 | 10       | key            |")
    );
    let sql = "SELECT min_value, max_value, min_exact, null_count, rows FROM shelfmark.partition_stats \
               WHERE column_name = 'key' ORDER BY segment_id LIMIT 1";
    let text = query(&context, sql).await;
    assert!(
        text.contains("| 0         | 99        | true      | 0          | 100  |"),
        "{text}"
    );
    let sql = "SELECT count(*) AS n FROM shelfmark.segments WHERE state = 'sealed' AND file LIKE 'segments/%.parquet'";
    assert!(query(&context, sql).await.contains("| 10 |"));
    let sql = "SELECT count(*) AS n FROM shelfmark.partition_stats WHERE radius IS NOT NULL";
    assert!(query(&context, sql).await.contains("| 10 |"));
    assert!(
        query(&context, "SELECT * FROM shelfmark.compactions")
            .await
            .contains("compaction_id")
    );
    let sql = "SELECT value FROM shelfmark.settings WHERE name = 'shelfmark.enable_segment_prune'";
    assert!(query(&context, sql).await.contains("| on "));
    let sql = "SELECT count(*) > 5 AS n FROM shelfmark.versions";
    assert!(query(&context, sql).await.contains("| true |"));
    let sql = "SELECT table_schema FROM information_schema.tables WHERE table_name = 'book'";
    assert!(query(&context, sql).await.contains("| public "));
}

#[tokio::test]
async fn columns_that_came_went_or_changed_their_name() {
    let db = TestDb::new();
    let id = book(&db).await;
    let mut altered = schema();
    altered.columns[0].name = "number".to_string();
    altered.columns.remove(1);
    let mut added = column(4, "title", ColumnType::Text);
    added.missing = Some(Bound::Text("none".into()));
    altered.columns.push(added);
    altered
        .columns
        .push(column(5, "shelf", ColumnType::Integer));
    altered.next_field_id = FieldId(6);
    db.commit(vec![Change::AlterCollection(AlterCollection {
        id,
        name: None,
        schema: Some(altered),
        options: None,
    })])
    .await;
    let context = db.context();
    for prune in ["on", "off"] {
        query(
            &context,
            &format!("SET shelfmark.enable_segment_prune = {prune}"),
        )
        .await;
        for (predicate, expected) in [
            ("number = 123", 1),
            ("title = 'none'", 1010),
            ("title = 't5'", 0),
            ("title LIKE 'no%' AND number > 900", 109),
            ("shelf IS NULL AND number BETWEEN 995 AND 1004", 10),
            ("shelf = 3", 0),
        ] {
            for columns in ["number", "*", "embedding"] {
                let sql = format!("SELECT {columns} FROM book WHERE {predicate}");
                assert_eq!(
                    run(&context, &sql).await.1,
                    expected,
                    "{sql}, pruning {prune}"
                );
            }
        }
    }
    query(&context, "SET shelfmark.enable_segment_prune = on").await;
    let (plan, _) = run(&context, "SELECT number FROM book WHERE title = 't5'").await;
    assert!(
        scan_line(&plan).contains("pruned=10 (by title)"),
        "{}",
        scan_line(&plan)
    );
}

/// Keys 0 to 1000 in 100 clustered segments: the shares that the model's documentation gives.
#[tokio::test]
async fn the_filters_of_the_models_documentation() {
    let db = TestDb::new();
    let id = db.create("book", schema()).await;
    for first in (0..1000).step_by(10) {
        db.add_segment(id, &rows(first..first + 10)).await;
    }
    let context = db.context();
    for (predicate, pruned) in [
        ("key > 200 AND key < 800", 40),
        ("key > 200 AND key < 600", 60),
        ("key > 200 AND key < 400", 80),
        ("key = 990", 99),
    ] {
        let (plan, _) = run(&context, &format!("SELECT key FROM book WHERE {predicate}")).await;
        let line = scan_line(&plan);
        assert!(
            line.contains(&format!("segments=100, pruned={pruned} (by key)")),
            "{line}"
        );
    }
}

/// A plan that is kept reads the rows of the day, and refuses when the columns are others.
#[tokio::test]
async fn a_kept_plan_reads_the_newest_or_the_pinned_version() {
    let db = TestDb::new();
    let id = book(&db).await;
    let context = db.context();
    let plan = context.sql("SELECT count(*) AS n FROM book").await.unwrap();
    let plan = plan.logical_plan().clone();
    let answer = async |state: SessionState| {
        let frame = DataFrame::new(state, plan.clone());
        frame.to_string().await
    };
    let before = db.engine.committer.snapshot();
    db.append(id, &rows(2000..2005)).await;
    assert!(answer(context.state()).await.unwrap().contains("| 1015 |"));
    let mut pinned = context.state();
    pinned
        .config_mut()
        .set_extension(Arc::new(PinnedSnapshot(before)));
    assert!(answer(pinned).await.unwrap().contains("| 1010 |"));
    let mut altered = schema();
    altered.columns.pop();
    db.commit(vec![Change::AlterCollection(AlterCollection {
        id,
        name: None,
        schema: Some(altered),
        options: None,
    })])
    .await;
    let error = Error::from(answer(context.state()).await.unwrap_err());
    assert_eq!(error.sqlstate(), "0A000", "{error}");
    db.commit(vec![Change::DropCollection(id)]).await;
    let error = Error::from(answer(context.state()).await.unwrap_err());
    assert_eq!(error.sqlstate(), "42P01", "{error}");
}

/// Titles lie anywhere between the bounds of every segment; filters know in which they are, in files of their own
/// and in those of segments.
#[tokio::test]
async fn a_lookup_by_an_indexed_column_reads_the_segments_that_have_it() {
    let db = TestDb::new();
    let id = db.create("book", schema()).await;
    let strided = |first: i64| rows((first..1000).step_by(10));
    for first in 0..5 {
        db.add_segment(id, &strided(first)).await;
    }
    let sql = "SELECT key FROM book WHERE title = 't503'";
    let scanned = async |sql: &str| {
        let (plan, found) = run(&db.context(), sql).await;
        let metrics = ["segments_pruned_bloom", "segments_scanned"];
        let [pruned, scanned] = metrics.map(|m| metric(&plan, m));
        (pruned, scanned, found)
    };
    assert_eq!(scanned(sql).await, (0, 5, 1));
    let scheduler = Scheduler::open(Arc::clone(&db.engine)).unwrap();
    let indexes = db.create_indexes(id, &[FieldId(2)]).await;
    scheduler.build_filters(id).await.unwrap();
    let built = |s: &Segment| s.filter(FieldId(2)).is_some_and(|f| f.file().is_some());
    assert_eq!(db.collection(id).segments().filter(|s| built(s)).count(), 5);
    // Segments written from now on have their filters as they are written.
    for first in 5..10 {
        db.add_segment(id, &strided(first)).await;
    }
    let own = db.collection(id);
    let own = own
        .segments()
        .filter(|s| !built(s) && s.filter(FieldId(2)).is_some());
    assert_eq!(own.count(), 5);
    for (key, title) in [(503, "t503"), (507, "t507")] {
        for filter in [
            format!("title = '{title}'"),
            format!("title IN ('{title}', 'x')"),
            format!("(title = '{title}' AND key > 5) OR title = 'y'"),
            format!("(title IS NOT DISTINCT FROM '{title}') AND NOT (key = 1)"),
        ] {
            let (pruned, scanned, found) =
                scanned(&format!("SELECT key FROM book WHERE {filter}")).await;
            assert!(
                pruned >= 8 && pruned + scanned == 10,
                "{filter}: {pruned}, {scanned}"
            );
            assert_eq!(found, 1, "{key}");
        }
    }
    let (pruned, _, found) = scanned("SELECT key FROM book WHERE title <> 't503'").await;
    assert_eq!((pruned, found), (0, 999));
    db.commit(vec![Change::DropIndex(id, indexes[0])]).await;
    let (pruned, scanned, _) = scanned(sql).await;
    assert!(pruned <= 5 && scanned >= 5, "{pruned}, {scanned}");
}

/// What is looked up by its key in segments without an index gets one, and the same rows are found by it.
#[tokio::test]
async fn segments_that_are_asked_for_keys_are_indexed() {
    let db = TestDb::new();
    let schema = CollectionSchema {
        primary_key: vec![FieldId(1)],
        ..clustered(schema().columns)
    };
    let id = db.create("book", schema).await;
    let strided = |first: i64| rows((first..1000).step_by(4));
    for first in 0..4 {
        db.add_segment(id, &strided(first)).await;
    }
    let deleted = db.collection(id).segments().next().unwrap().id;
    db.delete(id, deleted, &[1]).await;
    let queries = [
        "SELECT * FROM book WHERE key = 503",
        "SELECT title FROM book WHERE key = 504 AND title = 't504'",
        "SELECT title FROM book WHERE key = 504 AND title = 't505'",
        "SELECT 1 FROM book WHERE key = 505",
        "SELECT count(*), max(key) FROM book WHERE key = 506",
        "SELECT embedding, title, key FROM book WHERE key = 507",
        "SELECT * FROM book WHERE key = 4",
        "SELECT * FROM book WHERE key = 2000",
    ];
    let answers = async || {
        let mut answers = Vec::new();
        for sql in queries {
            let (_, count) = run(&db.context(), sql).await;
            let text = match count {
                0 => String::new(),
                _ => query(&db.context(), sql).await,
            };
            answers.push((count, text));
        }
        answers
    };
    let searched = answers().await;
    let counts: Vec<usize> = searched.iter().map(|(count, _)| *count).collect();
    assert_eq!(counts, [1, 1, 0, 1, 1, 1, 0, 0]);
    let is_indexed = || {
        let number = KeyColumns::of(&db.collection(id), KeyId::Primary)
            .unwrap()
            .number();
        let indexed = |s: &Segment| db.engine.keys.sealed(s.id, number).is_some();
        db.collection(id).segments().all(|s| indexed(s))
    };
    // They are made beside the queries, one at a time.
    for _ in 0..1_000 {
        if is_indexed() {
            break;
        }
        run(&db.context(), queries[0]).await;
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(is_indexed());
    for _ in 0..3 {
        assert_eq!(answers().await, searched);
    }
    let (plan, _) = run(&db.context(), queries[0]).await;
    assert_eq!(metric(&plan, "rows_read"), 1);
}

#[tokio::test]
async fn a_damaged_filter_leaves_nothing_out() {
    let db = TestDb::new();
    let id = book(&db).await;
    let scheduler = Scheduler::open(Arc::clone(&db.engine)).unwrap();
    db.create_indexes(id, &[FieldId(2)]).await;
    scheduler.build_filters(id).await.unwrap();
    let collection = db.collection(id);
    for (i, segment) in collection.segments().enumerate() {
        let file = segment.filter(FieldId(2)).unwrap().file().unwrap();
        let path = db.engine.store.filter_path(id, file);
        match i % 2 {
            0 => std::fs::write(path, "not a filter").unwrap(),
            _ => std::fs::remove_file(path).unwrap(),
        }
    }
    let (plan, found) = run(&db.context(), "SELECT key FROM book WHERE title = 't503'").await;
    assert_eq!((found, metric(&plan, "segments_pruned_bloom")), (1, 0));
}
