#![allow(clippy::unwrap_used)]
//! The property that pruning must have: for random schemas, rows and predicates a pruned scan, an unpruned one and a
//! plain DataFusion MemTable give the same rows, before and after deletes, merges and clustering.

mod generate;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int64Type, UInt32Type, UInt64Type};
use datafusion::catalog::{
    CatalogProvider, MemTable, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider,
};
use datafusion::common::ScalarValue;
use datafusion::prelude::SessionContext;
use proptest::prelude::*;

use self::generate::{Case, case};
use super::provider::{ROWS_CATALOG, ShelfmarkCatalog};
use super::testing::TestDb;
use crate::compaction::policy::JobOptions;
use crate::compaction::scheduler::Scheduler;
use crate::storage::change::{Change, JobKind, JobState};
use crate::storage::collection::Segment;
use crate::storage::schema::{CollectionId, CollectionSchema, IndexId, SegmentId};

/// A database and the same rows as batches in memory.
struct Twins {
    db: TestDb,
    id: CollectionId,
    schema: CollectionSchema,
    rows: RecordBatch,
    /// Values of the column `id` of live rows.
    live: BTreeSet<i64>,
}

impl Twins {
    /// Segments, then growing rows, as the case cuts its rows.
    async fn new(case: &Case) -> Self {
        let db = TestDb::new();
        let id = db.create("t", case.schema.clone()).await;
        let rows = batch(&case.schema, &case.rows);
        let mut first = 0;
        for (i, length) in case.cuts.iter().enumerate() {
            let length = (*length).min(rows.num_rows() - first);
            let part = rows.slice(first, length);
            first += length;
            if i < case.sealed {
                db.add_segment(id, &part).await;
            } else {
                db.append(id, &part).await;
            }
        }
        db.append(id, &rows.slice(first, rows.num_rows() - first))
            .await;
        Self {
            live: (0..rows.num_rows() as i64).collect(),
            schema: case.schema.clone(),
            db,
            id,
            rows,
        }
    }

    fn context(&self) -> SessionContext {
        let context = self.db.context();
        let rows = ShelfmarkCatalog::new(Arc::clone(&self.db.engine)).with_row_address();
        context.register_catalog(ROWS_CATALOG, Arc::new(rows));
        let ids = self.rows.column(0).as_primitive::<Int64Type>();
        let is_live = ids.iter().map(|id| Some(self.live.contains(&id.unwrap())));
        let live = filter_record_batch(&self.rows, &is_live.collect()).unwrap();
        let table = MemTable::try_new(self.schema.arrow_schema(), vec![vec![live]]).unwrap();
        let schema = Arc::new(MemorySchemaProvider::new());
        schema
            .register_table("t".to_string(), Arc::new(table))
            .unwrap();
        let plain = MemoryCatalogProvider::new();
        plain.register_schema("public", schema).unwrap();
        context.register_catalog("plain", Arc::new(plain));
        context
    }

    /// Deletes the rows of these ids at the addresses that a scan gives them.
    async fn delete(&mut self, ids: &BTreeSet<i64>) {
        let sql = format!("SELECT id, _segment, _row FROM {ROWS_CATALOG}.public.t");
        let batches = self.context().sql(&sql).await.unwrap();
        for batch in batches.collect().await.unwrap() {
            for i in 0..batch.num_rows() {
                let id = batch.column(0).as_primitive::<Int64Type>().value(i);
                let segment = batch.column(1).as_primitive::<UInt64Type>().value(i);
                let row = batch.column(2).as_primitive::<UInt32Type>().value(i);
                if ids.contains(&id) && self.live.remove(&id) {
                    let segment = SegmentId(segment);
                    self.db.delete(self.id, segment, &[row]).await;
                }
            }
        }
    }

    /// Rewrites the segments as a compaction of this kind does.
    async fn compact(&self, scheduler: &Scheduler, kind: JobKind) {
        let options = JobOptions {
            full: true,
            ..JobOptions::default()
        };
        let job = scheduler.submit(self.id, kind, options).await.unwrap();
        let job = scheduler.wait(job, None).await.unwrap();
        let done = [JobState::Succeeded, JobState::NothingToDo];
        assert!(done.contains(&job.state), "{job:?}");
    }

    /// An index on every scalar column, built for the segments that there are.
    async fn create_indexes(&self, scheduler: &Scheduler) -> Vec<IndexId> {
        let scalars = self
            .schema
            .columns
            .iter()
            .filter(|c| c.column_type.is_scalar());
        let fields: Vec<_> = scalars.map(|c| c.id).collect();
        let indexes = self.db.create_indexes(self.id, &fields).await;
        scheduler.build_filters(self.id).await.unwrap();
        let collection = self.db.collection(self.id);
        let wanted = collection.filter_fields();
        let has_all = |s: &Arc<Segment>| wanted.iter().all(|f| s.filter(*f).is_some());
        assert!(collection.segments().all(has_all));
        indexes
    }

    async fn drop_indexes(&self, indexes: Vec<IndexId>) {
        for index in indexes {
            self.db
                .commit(vec![Change::DropIndex(self.id, index)])
                .await;
        }
    }

    /// All three give the same rows for each predicate.
    async fn check(&self, when: &str, predicates: &[String]) {
        let (pruned, unpruned) = (self.context(), self.context());
        let off = "SET shelfmark.enable_segment_prune = off";
        unpruned.sql(off).await.unwrap().collect().await.unwrap();
        for predicate in predicates {
            // The vector makes the filter run before it is read.
            for columns in ["id", "id, v"] {
                let sql = |table| format!("SELECT {columns} FROM {table} WHERE {predicate}");
                let plain = ids(&pruned, &sql("plain.public.t")).await;
                assert_eq!(
                    ids(&unpruned, &sql("t")).await,
                    plain,
                    "unpruned, {when}: {predicate}"
                );
                assert_eq!(
                    ids(&pruned, &sql("t")).await,
                    plain,
                    "pruned, {when}: {predicate}"
                );
            }
        }
    }
}

fn batch(schema: &CollectionSchema, rows: &[Vec<ScalarValue>]) -> RecordBatch {
    let column = |i: usize| rows.iter().map(move |row| row[i].clone());
    let columns = (0..schema.columns.len()).map(|i| ScalarValue::iter_to_array(column(i)));
    let columns: Vec<ArrayRef> = columns.collect::<Result<_, _>>().unwrap();
    RecordBatch::try_new(schema.arrow_schema(), columns).unwrap()
}

async fn ids(context: &SessionContext, sql: &str) -> Vec<i64> {
    let frame = context.sql(sql).await.unwrap();
    let batches = frame.collect().await.unwrap();
    let columns = batches.iter().map(|b| b.column(0));
    let values = columns.flat_map(|c| c.as_primitive::<Int64Type>().values().to_vec());
    let mut ids: Vec<i64> = values.collect();
    ids.sort_unstable();
    ids
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn pruned_unpruned_and_plain_are_the_same(case in case()) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let mut twins = Twins::new(&case).await;
            let scheduler = Scheduler::open(Arc::clone(&twins.db.engine)).unwrap();
            let (early, late) = case.predicates.split_at(case.predicates.len() / 2);
            twins.check("as written", early).await;
            let indexes = twins.create_indexes(&scheduler).await;
            twins.check("with filters in files", &case.predicates).await;
            twins.delete(&case.deleted).await;
            twins.check("after deletes", early).await;
            twins.compact(&scheduler, JobKind::Seal).await;
            twins.compact(&scheduler, JobKind::Merge).await;
            twins.check("after a merge", late).await;
            twins.compact(&scheduler, JobKind::Cluster).await;
            twins.check("after clustering", late).await;
            twins.delete(&case.deleted_late).await;
            twins.check("after more deletes", late).await;
            twins.drop_indexes(indexes).await;
            twins.check("without indexes", late).await;
        });
    }
}
