//! A small collection of books for the tests of compaction, and its rows as a sorted list of texts.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, Float64Array, Int64Array,
    RecordBatch, StringArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int64Type};
use roaring::RoaringBitmap;
use tempfile::TempDir;

use crate::settings::{ByteSize, Settings};
use crate::storage::adapt::adapt_batch;
use crate::storage::change::{Append, Change, NewCollection, QualifiedName};
use crate::storage::collection::Collection;
use crate::storage::engine::Engine;
use crate::storage::key_model::{ComputedKey, KeyFunction};
use crate::storage::schema::{
    CollectionId, CollectionOptions, CollectionSchema, Column, ColumnType, FieldId, SegmentId,
};
use crate::storage::segment::ReadRequest;
use crate::storage::transaction::Transaction;

/// `id BIGINT PRIMARY KEY`
pub const ID: FieldId = FieldId(0);
/// `key DOUBLE PRECISION`
pub const KEY: FieldId = FieldId(1);
/// `title TEXT`
pub const TITLE: FieldId = FieldId(2);
/// `embedding VECTOR(n)`
pub const EMBEDDING: FieldId = FieldId(3);

/// `VECTOR(embedding)` in a clustering key
pub const NEAR: FieldId = FieldId(4);

/// `HILBERT(key, title)` in a clustering key
pub const CURVE: FieldId = FieldId(5);

/// A row to be inserted; its vector is made of its id.
#[derive(Debug, Clone)]
pub struct Book {
    pub id: i64,
    pub key: Option<f64>,
    pub title: Option<String>,
    pub has_embedding: bool,
}

impl Book {
    pub fn new(id: i64, key: impl Into<Option<f64>>) -> Self {
        Self {
            id,
            key: key.into(),
            title: Some(format!("title {id}")),
            has_embedding: id % 5 != 0,
        }
    }
}

/// A database with one collection.
pub struct Shelf {
    pub engine: Arc<Engine>,
    pub collection: CollectionId,
    pub dimensions: u32,
    _directory: TempDir,
}

impl Shelf {
    pub fn open(settings: Settings, options: CollectionOptions, key: &[FieldId]) -> Self {
        Self::with_dimensions(settings, options, key, 3)
    }

    pub fn with_dimensions(
        settings: Settings,
        options: CollectionOptions,
        key: &[FieldId],
        dimensions: u32,
    ) -> Self {
        let directory = TempDir::new().unwrap();
        let engine = Arc::new(Engine::open(directory.path(), settings).unwrap());
        let collection = CollectionId(engine.committer.allocate_id());
        let columns = [
            (ID, "id", ColumnType::BigInt),
            (KEY, "key", ColumnType::Double),
            (TITLE, "title", ColumnType::Text),
            (EMBEDDING, "embedding", ColumnType::Vector(dimensions)),
        ];
        let column = |(id, name, column_type): &(FieldId, &str, ColumnType)| Column {
            id: *id,
            name: (*name).to_string(),
            column_type: column_type.clone(),
            nullable: *id != ID,
            default: None,
            missing: None,
            generated: None,
            domain: None,
        };
        let computed = [
            (NEAR, KeyFunction::Vector(EMBEDDING)),
            (CURVE, KeyFunction::Hilbert(vec![KEY, TITLE])),
        ];
        let computed = computed.into_iter().filter(|(id, _)| key.contains(id));
        let computed = computed.map(|(id, function)| ComputedKey { id, function });
        let schema = CollectionSchema {
            columns: columns.iter().map(column).collect(),
            primary_key: vec![ID],
            clustering_key: key.to_vec(),
            partition_key: None,
            next_field_id: FieldId(6),
            checks: Vec::new(),
            foreign_keys: Vec::new(),
            primary_key_name: None,
            partitioning: None,
            computed_keys: computed.collect(),
        };
        let new = NewCollection {
            id: collection,
            name: QualifiedName::new("public", "book"),
            schema,
            options,
        };
        let shelf = Self {
            engine,
            collection,
            dimensions,
            _directory: directory,
        };
        shelf.commit(Change::CreateCollection(new));
        shelf
    }

    pub fn commit(&self, change: Change) {
        let version = self.engine.committer.snapshot().version();
        let transaction = Transaction::new(version, vec![change]);
        // A task of tokio that has used up its budget would wait here for a wake-up that only its runtime gives.
        let commit = tokio::task::unconstrained(self.engine.committer.commit(transaction));
        futures::executor::block_on(commit).unwrap();
    }

    pub fn current(&self) -> Arc<Collection> {
        let snapshot = self.engine.committer.snapshot();
        Arc::clone(snapshot.collection_by_id(self.collection).unwrap())
    }

    pub fn insert(&self, books: &[Book]) {
        let rows = self.batch(books);
        self.commit(Change::Append(Append {
            collection: self.collection,
            segment: SegmentId(0),
            rows,
        }));
    }

    fn batch(&self, books: &[Book]) -> RecordBatch {
        let schema = self.current().schema.arrow_schema();
        let DataType::FixedSizeList(element, _) = schema.field(3).data_type().clone() else {
            unreachable!("embedding is a vector");
        };
        let elements = books.iter().flat_map(|b| {
            (0..self.dimensions).map(move |d| {
                if b.has_embedding {
                    b.id as f32 + d as f32
                } else {
                    0.0
                }
            })
        });
        let valid: NullBuffer = books.iter().map(|b| b.has_embedding).collect();
        let vectors = FixedSizeListArray::new(
            element,
            self.dimensions as i32,
            Arc::new(Float32Array::from_iter_values(elements)),
            Some(valid),
        );
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(books.iter().map(|b| b.id))),
            Arc::new(Float64Array::from_iter(books.iter().map(|b| b.key))),
            Arc::new(StringArray::from_iter(
                books.iter().map(|b| b.title.as_deref()),
            )),
            Arc::new(vectors),
        ];
        RecordBatch::try_new(schema, columns).unwrap()
    }

    /// Deletes the row with that id; whether there was one.
    pub fn delete(&self, id: i64) -> bool {
        let found = self
            .located()
            .into_iter()
            .find(|(_, _, row)| row.starts_with(&format!("{id}|")));
        let Some((segment, row, _)) = found else {
            return false;
        };
        let rows = RoaringBitmap::from_iter([row]);
        self.commit(Change::Delete(self.collection, segment, rows));
        true
    }

    /// All live rows as texts, sorted.
    pub fn rows(&self) -> Vec<String> {
        let mut rows: Vec<String> = self.located().into_iter().map(|(_, _, row)| row).collect();
        rows.sort();
        rows
    }

    /// All live rows with their places, segment by segment, in stored order.
    pub fn located(&self) -> Vec<(SegmentId, u32, String)> {
        self.located_in(&self.current())
    }

    /// All live rows of a version, with their places.
    pub fn located_in(&self, collection: &Collection) -> Vec<(SegmentId, u32, String)> {
        let fields: Vec<FieldId> = collection.schema.columns.iter().map(|c| c.id).collect();
        let mut all = Vec::new();
        for segment in collection.segments() {
            let path = self.engine.store.segment_path(self.collection, segment.id);
            let reader = self
                .engine
                .segments
                .open(segment, &path, "segment")
                .unwrap();
            let schema = Arc::clone(&collection.schema);
            let request = ReadRequest::all(&reader, schema, fields.clone());
            let mut row = 0;
            for batch in reader.read(request).unwrap() {
                texts(
                    &batch.unwrap(),
                    segment.id,
                    &segment.deletes,
                    &mut row,
                    &mut all,
                );
            }
            assert_eq!(u64::from(row), segment.rows);
        }
        for growing in collection.growing() {
            let mut row = 0;
            for batch in growing.batches() {
                let batch = adapt_batch(batch, &collection.schema, &fields).unwrap();
                texts(&batch, growing.id, &growing.deletes, &mut row, &mut all);
            }
        }
        all
    }

    /// Files in the collection's segment directory.
    pub fn files(&self) -> usize {
        let path = self
            .engine
            .store
            .segment_path(self.collection, SegmentId(0));
        std::fs::read_dir(path.parent().unwrap()).map_or(0, Iterator::count)
    }
}

fn texts(
    batch: &RecordBatch,
    segment: SegmentId,
    deletes: &RoaringBitmap,
    row: &mut u32,
    all: &mut Vec<(SegmentId, u32, String)>,
) {
    let ids = batch.column(0).as_primitive::<Int64Type>();
    let keys = batch.column(1).as_primitive::<Float64Type>();
    let titles = batch.column(2).as_string::<i32>();
    let vectors = batch.column(3).as_fixed_size_list();
    for i in 0..batch.num_rows() {
        let key = keys.is_valid(i).then(|| keys.value(i));
        let title = titles.is_valid(i).then(|| titles.value(i));
        let vector = vectors.is_valid(i).then(|| {
            vectors
                .value(i)
                .as_primitive::<Float32Type>()
                .values()
                .to_vec()
        });
        if !deletes.contains(*row) {
            let text = format!("{}|{key:?}|{title:?}|{vector:?}", ids.value(i));
            all.push((segment, *row, text));
        }
        *row += 1;
    }
}

/// Settings under which nothing starts by itself for the first minutes.
pub fn quiet() -> Settings {
    Settings {
        compaction_auto: false,
        growing_max_size: ByteSize(u64::MAX),
        ..Settings::default()
    }
}

/// Options with segments of at most `rows` rows.
pub fn rows_max(rows: u64) -> CollectionOptions {
    CollectionOptions {
        segment_rows_max: rows,
        ..CollectionOptions::default()
    }
}
