#![allow(clippy::unwrap_used)]
//! Statements that change rows, through plain DataFusion sessions and through nodes.

mod whole;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Schema, UInt64Type};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::dataframe::{DataFrame, DataFrameWriteOptions};
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion::prelude::SessionContext;

use super::*;
use crate::catalog::table::CollectionTable;
use crate::catalog::testing::{TestDb, clustered, column, query};
use crate::error::Result;
use crate::storage::change::Change;
use crate::storage::collection::Collection;
use crate::storage::key_index::KeyIndexes;
use crate::storage::schema::{CollectionSchema, ColumnType, FieldId};

#[derive(Debug)]
struct Planner;

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(DmlPlanner)]);
        planner.create_physical_plan(plan, session).await
    }
}

struct Books {
    db: TestDb,
    id: CollectionId,
    context: SessionContext,
}

fn book_schema() -> CollectionSchema {
    let mut schema = clustered(vec![
        column(1, "id", ColumnType::BigInt),
        column(2, "title", ColumnType::Varchar(20)),
    ]);
    schema.primary_key = vec![FieldId(1)];
    schema
}

impl Books {
    async fn new() -> Self {
        Self::with(book_schema()).await
    }

    async fn with(schema: CollectionSchema) -> Self {
        Self::over(TestDb::new(), schema).await
    }

    async fn over(db: TestDb, schema: CollectionSchema) -> Self {
        let id = db.create("book", schema).await;
        let state = SessionStateBuilder::new_from_existing(db.context().state());
        let state: SessionState = state.with_query_planner(Arc::new(Planner)).build();
        let context = SessionContext::new_with_state(state);
        let this = Self { db, id, context };
        this.register();
        this
    }

    /// The rows with their addresses as the table `address`.
    fn register(&self) {
        let version = self.db.engine.committer.snapshot().version();
        let engine = Arc::clone(&self.db.engine);
        let table = CollectionTable::new(engine, self.collection(), version).with_row_address();
        let name = "address";
        // Temporary tables are of another catalog than the collections.
        let catalog = datafusion::catalog::MemoryCatalogProvider::new();
        let schema = Arc::new(datafusion::catalog::MemorySchemaProvider::new());
        use datafusion::catalog::{CatalogProvider, SchemaProvider};
        schema.register_table(name.into(), Arc::new(table)).unwrap();
        catalog.register_schema("public", schema).unwrap();
        self.context.register_catalog("rows", Arc::new(catalog));
    }

    fn collection(&self) -> Arc<Collection> {
        self.db.collection(self.id)
    }

    async fn run(&self, operation: Operation, sql: &str) -> Result<u64> {
        let input = self.context.sql(sql).await?.into_optimized_plan()?;
        let engine = Arc::clone(&self.db.engine);
        let plan = DmlNode::plan(engine, self.collection(), operation, input)?;
        count(DataFrame::new(self.context.state(), plan)).await
    }

    async fn insert(&self, values: &str) -> Result<u64> {
        let sql = format!("SELECT * FROM (VALUES {values})");
        self.run(Operation::Insert, &sql).await
    }

    async fn delete(&self, condition: &str) -> Result<u64> {
        let from = "SELECT _segment, _row FROM rows.public.address WHERE";
        let sql = format!("{from} {condition}");
        self.run(Operation::Delete, &sql).await
    }

    async fn update(&self, values: &str, condition: &str) -> Result<u64> {
        let from = "FROM rows.public.address WHERE";
        let sql = format!("SELECT _segment, _row, {values} {from} {condition}");
        self.run(Operation::Update, &sql).await
    }

    async fn rows(&self) -> Vec<String> {
        let text = query(&self.context, "SELECT * FROM book ORDER BY id, title").await;
        let lines = text.lines().filter(|l| l.starts_with('|')).skip(1);
        lines.map(|l| l.replace(' ', "")).collect()
    }

    fn segment_files(&self) -> usize {
        let directory = self
            .db
            .engine
            .store
            .segments_dir()
            .join(self.id.to_string());
        std::fs::read_dir(directory).map_or(0, |entries| entries.count())
    }
}

async fn count(frame: DataFrame) -> Result<u64> {
    let batches = frame.collect().await?;
    let counts = batches[0].column(0).as_primitive::<UInt64Type>();
    Ok(counts.value(0))
}

fn code(result: Result<u64>) -> &'static str {
    result.unwrap_err().sqlstate()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_change_and_go() {
    let books = Books::new().await;
    assert_eq!(books.insert("(1, 'Dune'), (2, 'Emma')").await.unwrap(), 2);
    assert_eq!(books.insert("('3', 7)").await.unwrap(), 1);
    let done = books.update("id, 'Dune II'", "id = 1").await.unwrap();
    assert_eq!(done, 1);
    assert_eq!(books.delete("title = 'Emma'").await.unwrap(), 1);
    assert_eq!(books.delete("title = 'Emma'").await.unwrap(), 0);
    assert_eq!(books.rows().await, ["|1|DuneII|", "|3|7|"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn subqueries_and_empty_conditions_keep_their_meaning() {
    let books = Books::new().await;
    books.insert("(1, 'a'), (2, 'b'), (3, 'c')").await.unwrap();
    assert_eq!(books.delete("false").await.unwrap(), 0);
    let two = "id IN (SELECT id FROM book WHERE title = 'b')";
    assert_eq!(books.delete(two).await.unwrap(), 1);
    let greatest = "id = (SELECT max(id) FROM book)";
    assert_eq!(books.delete(greatest).await.unwrap(), 1);
    let none = "NOT EXISTS (SELECT 1 FROM book WHERE id = 1)";
    assert_eq!(books.delete(none).await.unwrap(), 0);
    assert_eq!(books.rows().await, ["|1|a|"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_there_once() {
    let books = Books::new().await;
    books.insert("(1, 'a'), (2, 'b')").await.unwrap();
    let error = books.insert("(3, 'c'), (1, 'd')").await.unwrap_err();
    assert_eq!(error.sqlstate(), "23505");
    let message = "duplicate key value violates unique constraint \"book_pkey\"";
    assert_eq!(error.message(), message);
    assert_eq!(error.detail(), Some("Key (id)=(1) already exists."));
    assert_eq!(code(books.insert("(5, 'e'), (5, 'f')").await), "23505");
    assert_eq!(code(books.insert("(NULL, 'e')").await), "23502");
    // A deleted key is free, and one that an update gives away.
    books.delete("id = 1").await.unwrap();
    books.insert("(1, 'again')").await.unwrap();
    assert_eq!(code(books.update("2, title", "id = 1").await), "23505");
    assert_eq!(books.update("id + 1, title", "true").await.unwrap(), 2);
    assert_eq!(books.rows().await, ["|2|again|", "|3|b|"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_sealed_segments_are_found() {
    let books = Books::new().await;
    let many = "SELECT value AS id, 'x' AS title FROM generate_series(1, 250) AS g(value)";
    assert_eq!(books.run(Operation::Insert, many).await.unwrap(), 250);
    assert_eq!(books.collection().segments().len(), 3);
    assert_eq!(books.collection().growing().len(), 0);
    for id in [1, 100, 101, 250] {
        let error = books.insert(&format!("({id}, 'y')")).await.unwrap_err();
        let detail = format!("Key (id)=({id}) already exists.");
        assert_eq!(error.detail(), Some(detail.as_str()));
    }
    books.delete("id = 100").await.unwrap();
    books.insert("(100, 'new'), (251, 'z')").await.unwrap();
    assert_eq!(code(books.insert("(100, 'newer')").await), "23505");
    assert_eq!(books.update("id, title", "true").await.unwrap(), 251);
    assert_eq!(books.rows().await.len(), 251);
}

/// Without room for indexes, keys are looked for in the row groups whose bloom filters may hold them.
#[tokio::test(flavor = "multi_thread")]
async fn keys_are_found_without_an_index() {
    let mut db = TestDb::new();
    Arc::get_mut(&mut db.engine).unwrap().keys = Arc::new(KeyIndexes::new(0));
    let books = Books::over(db, book_schema()).await;
    let many = "SELECT value * 2 AS id, 'x' AS title FROM generate_series(1, 250) AS g(value)";
    assert_eq!(books.run(Operation::Insert, many).await.unwrap(), 250);
    for id in [2, 128, 130, 500] {
        let error = books
            .insert(&format!("(1, 'y'), ({id}, 'y')"))
            .await
            .unwrap_err();
        let detail = format!("Key (id)=({id}) already exists.");
        assert_eq!(error.detail(), Some(detail.as_str()));
    }
    assert!(!books.db.engine.keys.has_room(1));
    books.delete("id = 128").await.unwrap();
    assert_eq!(
        books
            .insert("(1, 'y'), (128, 'y'), (501, 'y')")
            .await
            .unwrap(),
        3
    );
    // Many keys are worth an index.
    let many = "SELECT value + 400 AS id, 'x' AS title FROM generate_series(2, 80) AS g(value)";
    assert_eq!(code(books.run(Operation::Insert, many).await), "23505");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_several_columns_and_of_floats() {
    let mut schema = clustered(vec![
        column(1, "name", ColumnType::Text),
        column(2, "size", ColumnType::Double),
    ]);
    schema.primary_key = vec![FieldId(1), FieldId(2)];
    let books = Books::with(schema).await;
    books
        .insert("('a', 1.0), ('a', 0.0), ('b', 1.0), ('', 'NaN')")
        .await
        .unwrap();
    let error = books.insert("('a', -0.0)").await.unwrap_err();
    assert_eq!(
        error.detail(),
        Some("Key (name, size)=(a, 0.0) already exists.")
    );
    assert_eq!(code(books.insert("('', 'nan')").await), "23505");
    assert_eq!(code(books.insert("('a', NULL)").await), "23502");
    assert_eq!(books.insert("('a1', 0.0), ('ab', 1.0)").await.unwrap(), 2);
    let many = "SELECT 'k' || (value % 150), value / 150 FROM generate_series(0, 299) AS g(value)";
    assert_eq!(books.run(Operation::Insert, many).await.unwrap(), 300);
    assert_eq!(code(books.insert("('k149', 1)").await), "23505");
    assert_eq!(books.insert("('k149', 2)").await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_statement_that_fails() {
    let books = Books::new().await;
    let bad = "SELECT value AS id, CASE WHEN value = 290 THEN repeat('x', 21) ELSE 'x' END \
               FROM generate_series(1, 290)";
    assert_eq!(code(books.run(Operation::Insert, bad).await), "22001");
    let twice = "SELECT value % 290 AS id, 'x' FROM generate_series(1, 350) AS g(value)";
    assert_eq!(code(books.run(Operation::Insert, twice).await), "23505");
    books.insert("(7, 'x')").await.unwrap();
    let there = "SELECT value AS id, 'x' AS title FROM generate_series(1, 290) AS g(value)";
    assert_eq!(code(books.run(Operation::Insert, there).await), "23505");
    assert_eq!(books.rows().await, ["|7|x|"]);
    // A task that writes when the statement fails takes its file away when it ends.
    for _ in 0..1_000 {
        if books.segment_files() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("files are left");
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_are_sorted_by_the_clustering_key() {
    let mut schema = clustered(vec![
        column(1, "year", ColumnType::Double),
        column(2, "id", ColumnType::BigInt),
    ]);
    schema.clustering_key = vec![FieldId(1), FieldId(2)];
    let books = Books::with(schema).await;
    let rows = "SELECT CASE value % 4 WHEN 0 THEN NULL WHEN 1 THEN -0.0 WHEN 2 THEN 0.0 \
                ELSE 'NaN'::double END AS year, 300 - value AS id FROM generate_series(1, 200) AS g(value)";
    assert_eq!(books.run(Operation::Insert, rows).await.unwrap(), 200);
    assert_eq!(books.collection().segments().len(), 2);
    for segment in books.collection().segments() {
        assert_eq!(*segment.sorted_by, [FieldId(1), FieldId(2)]);
        let sql = format!(
            "SELECT year, id FROM rows.public.address WHERE _segment = {} ORDER BY _row",
            segment.id
        );
        let batches = books
            .context
            .sql(&sql)
            .await
            .unwrap()
            .collect()
            .await
            .unwrap();
        let all = arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap();
        let sorted = crate::catalog::testing::sort_by_key(&books.collection().schema, &all);
        let ids = |b: &RecordBatch| {
            b.column(1)
                .as_primitive::<arrow::datatypes::Int64Type>()
                .clone()
        };
        // Zeros of both signs are equal: the second column decides between them.
        let zeros = ids(&all).values()[..50].to_vec();
        assert!(zeros.is_sorted(), "{zeros:?}");
        assert_eq!(ids(&all).slice(50, 50), ids(&sorted).slice(50, 50));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_sessions_insert() {
    let books = Books::new().await;
    let context = books.db.context();
    let sql = "INSERT INTO book (title, id) VALUES ('Dune', 1)";
    assert_eq!(count(context.sql(sql).await.unwrap()).await.unwrap(), 1);
    let schema: Schema = (*books.collection().schema.arrow_schema()).clone();
    let fields = schema
        .fields()
        .iter()
        .map(|f| f.as_ref().clone().with_metadata([].into()));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let ids = Arc::new(Int64Array::from(vec![2]));
    let titles = Arc::new(StringArray::from(vec!["Emma"]));
    let batch = RecordBatch::try_new(schema, vec![ids, titles]).unwrap();
    let frame = context.read_batch(batch).unwrap();
    frame
        .write_table("book", DataFrameWriteOptions::new())
        .await
        .unwrap();
    assert_eq!(books.rows().await, ["|1|Dune|", "|2|Emma|"]);
    let error = context
        .sql("INSERT INTO book VALUES (1, 'again')")
        .await
        .unwrap();
    assert_eq!(code(count(error).await), "23505");
    let delete = context
        .sql("DELETE FROM book")
        .await
        .unwrap()
        .collect()
        .await;
    assert_eq!(Error::from(delete.unwrap_err()).sqlstate(), "0A000");
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_statements_are_run_again() {
    let books = Arc::new(Books::new().await);
    books.insert("(1, '0')").await.unwrap();
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let books = Arc::clone(&books);
        tasks.push(tokio::spawn(async move {
            for _ in 0..5 {
                let add = "id, CAST(CAST(title AS BIGINT) + 1 AS VARCHAR)";
                assert_eq!(books.update(add, "id = 1").await.unwrap(), 1);
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(books.rows().await, ["|1|20|"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_concurrent_inserts_of_a_key_one_wins() {
    let books = Arc::new(Books::new().await);
    for key in 0..5 {
        let insert = |who: usize| {
            let books = Arc::clone(&books);
            async move { books.insert(&format!("({key}, 'w{who}')")).await }
        };
        let results = futures::future::join_all((0..4).map(insert)).await;
        let won = results.iter().filter(|r| r.is_ok()).count();
        assert_eq!(won, 1, "{results:?}");
        for lost in results.into_iter().filter(Result::is_err) {
            assert_eq!(code(lost), "23505");
        }
    }
    assert_eq!(books.rows().await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn altered_columns_are_noticed() {
    let books = Books::new().await;
    let input = books.context.sql("SELECT 1, 'a'").await.unwrap();
    let input = input.into_optimized_plan().unwrap();
    let engine = Arc::clone(&books.db.engine);
    let plan = DmlNode::plan(engine, books.collection(), Operation::Insert, input).unwrap();
    let mut schema = CollectionSchema::clone(&books.collection().schema);
    schema.columns[1].column_type = ColumnType::Varchar(30);
    let alter = crate::storage::change::AlterCollection {
        id: books.id,
        name: None,
        schema: Some(schema),
        options: None,
    };
    books.db.commit(vec![Change::AlterCollection(alter)]).await;
    let late = count(DataFrame::new(books.context.state(), plan)).await;
    assert_eq!(code(late), "0A000");
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_shows_the_statement_and_does_nothing() {
    let books = Books::new().await;
    books.insert("(1, 'a')").await.unwrap();
    let sql = "SELECT _segment, _row FROM rows.public.address WHERE id = 1";
    let input = books
        .context
        .sql(sql)
        .await
        .unwrap()
        .into_optimized_plan()
        .unwrap();
    let engine = Arc::clone(&books.db.engine);
    let plan = DmlNode::plan(engine, books.collection(), Operation::Delete, input).unwrap();
    let frame = DataFrame::new(books.context.state(), plan);
    let text = frame
        .explain(false, false)
        .unwrap()
        .to_string()
        .await
        .unwrap();
    assert!(text.contains("Delete: collection=book"), "{text}");
    assert!(text.contains("DmlExec: Delete, collection=book"), "{text}");
    assert!(text.contains("CollectionScanExec"), "{text}");
    assert_eq!(books.rows().await.len(), 1);
}
