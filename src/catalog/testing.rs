#![allow(clippy::unwrap_used)]
//! A database for the tests of this module, filled without SQL.

use std::sync::Arc;

use arrow::compute::{SortColumn, SortOptions, lexsort_to_indices, take_record_batch};
use arrow::record_batch::RecordBatch;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::physical_plan::{ExecutionPlan, collect, displayable};
use datafusion::prelude::{SessionConfig, SessionContext};
use roaring::RoaringBitmap;

use super::in_list::InListRule;
use super::infinity::InfinityRule;
use super::options::ShelfmarkOptions;
use super::provider::{CATALOG, ShelfmarkCatalog};
use super::scan::CollectionScanExec;
use crate::settings::Settings;
use crate::storage::change::{Append, Change, NewCollection, NewSegment, QualifiedName};
use crate::storage::collect::nan_fields;
use crate::storage::collection::Collection;
use crate::storage::engine::Engine;
use crate::storage::index::{Index, IndexKey, IndexPart};
use crate::storage::schema::{
    CollectionId, CollectionOptions, CollectionSchema, Column, ColumnType, FieldId, IndexId,
    SegmentId,
};
use crate::storage::snapshot::DEFAULT_SCHEMA;
use crate::storage::transaction::Transaction;
use crate::storage::writer::{SegmentLayout, SegmentWriter};

/// A database in a directory of its own.
pub struct TestDb {
    pub engine: Arc<Engine>,
    _directory: tempfile::TempDir,
}

/// A nullable column.
pub fn column(id: u32, name: &str, column_type: ColumnType) -> Column {
    Column {
        id: FieldId(id),
        name: name.to_string(),
        column_type,
        nullable: true,
        default: None,
        missing: None,
        generated: None,
        domain: None,
    }
}

/// A schema whose first column is the clustering key.
pub fn clustered(columns: Vec<Column>) -> CollectionSchema {
    CollectionSchema {
        primary_key: vec![],
        clustering_key: vec![columns[0].id],
        partition_key: None,
        next_field_id: FieldId(columns.len() as u32 + 1),
        checks: Vec::new(),
        computed_keys: Vec::new(),
        foreign_keys: Vec::new(),
        primary_key_name: None,
        partitioning: None,
        columns,
    }
}

impl TestDb {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings {
            compaction_auto: false,
            ..Settings::default()
        };
        let engine = Engine::open(directory.path(), settings).unwrap();
        Self {
            engine: Arc::new(engine),
            _directory: directory,
        }
    }

    pub async fn commit(&self, changes: Vec<Change>) {
        let version = self.engine.committer.snapshot().version();
        let transaction = Transaction::new(version, changes);
        self.engine.committer.commit(transaction).await.unwrap();
    }

    /// A collection with small row groups, and small segments where compaction makes them.
    pub async fn create(&self, name: &str, schema: CollectionSchema) -> CollectionId {
        let id = CollectionId(self.engine.committer.allocate_id());
        let options = CollectionOptions {
            row_group_rows_max: 64,
            segment_rows_max: 100,
            ..CollectionOptions::default()
        };
        let new = NewCollection {
            id,
            name: QualifiedName::new(DEFAULT_SCHEMA, name),
            schema,
            options,
        };
        self.commit(vec![Change::CreateCollection(new)]).await;
        id
    }

    pub fn collection(&self, id: CollectionId) -> Arc<Collection> {
        let snapshot = self.engine.committer.snapshot();
        Arc::clone(snapshot.collection_by_id(id).unwrap())
    }

    /// Rows for a growing segment.
    pub async fn append(&self, collection: CollectionId, rows: &RecordBatch) {
        let append = Append {
            collection,
            segment: SegmentId(0),
            rows: rows.clone(),
        };
        self.commit(vec![Change::Append(append)]).await;
    }

    /// Rows as a sealed segment, sorted by the clustering key.
    pub async fn add_segment(&self, id: CollectionId, rows: &RecordBatch) -> SegmentId {
        let collection = self.collection(id);
        let sorted = sort_by_key(&collection.schema, rows);
        let segment = SegmentId(self.engine.committer.allocate_id());
        let mut file = self.engine.store.create_segment(id, segment).unwrap();
        let layout = SegmentLayout {
            schema: &collection.schema,
            options: &collection.options,
            sorted_by: collection.schema.stored_key(),
            nan_fields: &nan_fields(std::slice::from_ref(&sorted)),
            filter_fields: &collection.filter_fields(),
        };
        let handle = file.file().try_clone().unwrap();
        let mut writer = SegmentWriter::try_new(handle, layout).unwrap();
        writer.write(&sorted).unwrap();
        let written = writer.finish().unwrap();
        file.publish().unwrap();
        let new = NewSegment {
            id: segment,
            rows: written.rows,
            bytes: written.bytes,
            crc32c: written.crc32c,
            sorted_by: collection.schema.stored_key().to_vec(),
            run: None,
            level: 0,
            stats: Arc::new(written.stats),
            filters: written.filters,
            deletes: RoaringBitmap::new(),
        };
        self.commit(vec![Change::AddSegments(id, vec![new])]).await;
        segment
    }

    /// An index on each of these columns.
    pub async fn create_indexes(&self, id: CollectionId, fields: &[FieldId]) -> Vec<IndexId> {
        let mut ids = Vec::new();
        for field in fields {
            let index = Index {
                id: IndexId(self.engine.committer.allocate_id()),
                name: format!("index_{field}"),
                method: "btree".to_string(),
                keys: vec![IndexKey {
                    part: IndexPart::Column(*field),
                    operator_class: None,
                    descending: false,
                    nulls_first: None,
                }],
                include: vec![],
                is_unique: false,
                options: vec![],
                is_constraint: false,
                nulls_equal: false,
                predicate: None,
                columns: vec![*field],
            };
            ids.push(index.id);
            self.commit(vec![Change::CreateIndex(id, index)]).await;
        }
        ids
    }

    pub async fn delete(&self, id: CollectionId, segment: SegmentId, rows: &[u32]) {
        let rows: RoaringBitmap = rows.iter().copied().collect();
        self.commit(vec![Change::Delete(id, segment, rows)]).await;
    }

    /// A plain DataFusion session with the catalog registered.
    pub fn context(&self) -> SessionContext {
        let mut config = SessionConfig::new();
        // As the sessions of a database have it.
        let optimizer = &mut config.options_mut().optimizer;
        optimizer.enable_aggregate_dynamic_filter_pushdown = false;
        let config = config
            .with_target_partitions(3)
            .with_information_schema(true)
            .with_create_default_catalog_and_schema(false)
            .with_default_catalog_and_schema(CATALOG, DEFAULT_SCHEMA)
            .with_option_extension(ShelfmarkOptions::default());
        let context = SessionContext::new_with_config(config);
        context.add_analyzer_rule(Arc::new(InListRule));
        context.add_analyzer_rule(Arc::new(InfinityRule));
        let catalog = ShelfmarkCatalog::new(Arc::clone(&self.engine));
        context.register_catalog(CATALOG, Arc::new(catalog));
        context
    }
}

/// The rows in the order of the clustering key, NULLs last.
pub fn sort_by_key(schema: &CollectionSchema, rows: &RecordBatch) -> RecordBatch {
    let key = schema.clustering_indices();
    if key.is_empty() || rows.num_rows() == 0 {
        return rows.clone();
    }
    let options = SortOptions {
        descending: false,
        nulls_first: false,
    };
    let columns: Vec<SortColumn> = key
        .iter()
        .map(|i| SortColumn {
            values: Arc::clone(rows.column(*i)),
            options: Some(options),
        })
        .collect();
    let order = lexsort_to_indices(&columns, None).unwrap();
    take_record_batch(rows, &order).unwrap()
}

/// The answer as text.
pub async fn query(context: &SessionContext, sql: &str) -> String {
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    pretty_format_batches(&batches).unwrap().to_string()
}

/// The rows of the answer as text in an order of their own.
pub async fn sorted_rows(context: &SessionContext, sql: &str) -> Vec<String> {
    let text = query(context, sql).await;
    let mut rows: Vec<String> = text.lines().map(str::to_string).collect();
    rows.sort();
    rows
}

/// Runs the query; the executed plan, with metrics, and how many rows came.
pub async fn run(context: &SessionContext, sql: &str) -> (Arc<dyn ExecutionPlan>, usize) {
    let plan = context.sql(sql).await.unwrap();
    let plan = plan.create_physical_plan().await.unwrap();
    let batches = collect(Arc::clone(&plan), context.task_ctx())
        .await
        .unwrap();
    (plan, batches.iter().map(RecordBatch::num_rows).sum())
}

/// The line of EXPLAIN about the scan.
pub fn scan_line(plan: &Arc<dyn ExecutionPlan>) -> String {
    let text = displayable(plan.as_ref()).indent(false).to_string();
    let line = text.lines().find(|l| l.contains("CollectionScanExec"));
    line.unwrap().trim().to_string()
}

/// The value of a metric of the scan, summed up.
pub fn metric(plan: &Arc<dyn ExecutionPlan>, name: &str) -> usize {
    if plan.downcast_ref::<CollectionScanExec>().is_some() {
        let metrics = plan.metrics().unwrap();
        return metrics.sum_by_name(name).map_or(0, |v| v.as_usize());
    }
    plan.children().iter().map(|c| metric(c, name)).sum()
}
