//! What the engine's parts cost, each beside the bound that the machine sets.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::HashSet;
use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{
    ArrayRef, FixedSizeListArray, Float32Array, Int64Array, RecordBatch, StringArray, UInt32Array,
};
use arrow::buffer::MutableBuffer;
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Field};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::physical_plan::common::collect;
use datafusion::prelude::SessionContext;
use roaring::RoaringBitmap;
use shelfmark::catalog::prune::may_match;
use shelfmark::compaction::policy::JobOptions;
use shelfmark::compaction::scheduler::Scheduler;
use shelfmark::settings::Settings;
use shelfmark::storage::change::{
    Append, Change, JobKind, JobState, NewCollection, NewSegment, QualifiedName,
};
use shelfmark::storage::disk::StoreFile;
use shelfmark::storage::engine::Engine;
use shelfmark::storage::schema::{
    CollectionId, CollectionOptions, CollectionSchema, Column, ColumnType, FieldId, LIST_ELEMENT,
    SegmentId, Version,
};
use shelfmark::storage::segment::{ReadRequest, SegmentReader};
use shelfmark::storage::stats::{Bound, ColumnStats, PartitionStats, SegmentStats};
use shelfmark::storage::transaction::Transaction;
use shelfmark::storage::writer::{SegmentLayout, SegmentWriter, WrittenSegment};
use shelfmark::{Database, Session};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Barrier;

/// That of the program: the C library's makes threads wait for each other.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// On the disk of the build directory: `/tmp` may be memory.
fn directory() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap()
}

/// `book (id BIGINT, title TEXT)`.
fn book(id: CollectionId) -> NewCollection {
    let column = |id, name: &str, column_type| Column {
        id: FieldId(id),
        name: name.to_string(),
        column_type,
        nullable: true,
        default: None,
        missing: None,
        generated: None,
        domain: None,
    };
    NewCollection {
        id,
        name: QualifiedName::new("public", "book"),
        schema: CollectionSchema {
            columns: vec![
                column(1, "id", ColumnType::BigInt),
                column(2, "title", ColumnType::Text),
            ],
            primary_key: vec![],
            clustering_key: vec![FieldId(1)],
            partition_key: None,
            next_field_id: FieldId(3),
            checks: Vec::new(),
            computed_keys: Vec::new(),
            foreign_keys: Vec::new(),
            primary_key_name: None,
            partitioning: None,
        },
        options: CollectionOptions::default(),
    }
}

/// One-row commits into a database of its own.
struct Inserts {
    engine: Arc<Engine>,
    collection: NewCollection,
    next: AtomicI64,
    _directory: TempDir,
}

impl Inserts {
    async fn new() -> Self {
        let directory = directory();
        let engine = Arc::new(Engine::open(directory.path(), Settings::default()).unwrap());
        let collection = book(CollectionId(engine.committer.allocate_id()));
        let create = vec![Change::CreateCollection(collection.clone())];
        let transaction = Transaction::new(Version(0), create);
        engine.committer.commit(transaction).await.unwrap();
        Self {
            engine,
            collection,
            next: AtomicI64::new(0),
            _directory: directory,
        }
    }

    async fn insert(&self) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let title = format!("The {id}th book of the library");
        let rows = RecordBatch::try_new(
            self.collection.schema.arrow_schema(),
            vec![
                Arc::new(Int64Array::from(vec![id])),
                Arc::new(StringArray::from(vec![title])),
            ],
        )
        .unwrap();
        let append = Change::Append(Append {
            collection: self.collection.id,
            segment: SegmentId(0),
            rows,
        });
        let read = self.engine.committer.snapshot().version();
        let commit = Transaction::new(read, vec![append]);
        black_box(self.engine.committer.commit(commit).await.unwrap());
    }
}

/// `tasks` tasks that insert `rounds` rows each, as fast as each gets its answer.
fn insert_for(runtime: &Runtime, tasks: usize, rounds: u64) -> Duration {
    runtime.block_on(async {
        let inserts = Arc::new(Inserts::new().await);
        inserts.insert().await;
        let start = Instant::now();
        let running: Vec<_> = (0..tasks)
            .map(|_| {
                let inserts = Arc::clone(&inserts);
                tokio::spawn(async move {
                    for _ in 0..rounds {
                        inserts.insert().await;
                    }
                })
            })
            .collect();
        for task in running {
            task.await.unwrap();
        }
        start.elapsed()
    })
}

/// What the disk alone takes: 1 KiB written into space that is there, and synced.
fn sync_for(rounds: u64) -> Duration {
    const FILE_BYTES: u64 = 64 << 20;
    let directory = directory();
    let file = File::create(directory.path().join("file")).unwrap();
    file.write_all_at(&vec![0; FILE_BYTES as usize], 0).unwrap();
    file.sync_all().unwrap();
    let start = Instant::now();
    for round in 0..rounds {
        let offset = (round * 1_024) % FILE_BYTES;
        file.write_all_at(&[1; 1_024], offset).unwrap();
        file.sync_data().unwrap();
    }
    start.elapsed()
}

fn log_append(criterion: &mut Criterion) {
    let runtime = runtime();
    let mut group = criterion.benchmark_group("log_append");
    group.sample_size(10);
    group.throughput(Throughput::Elements(1));
    group.bench_function("fdatasync alone", |b| b.iter_custom(sync_for));
    for tasks in [1, 32] {
        group.throughput(Throughput::Elements(tasks as u64));
        group.bench_function(format!("one-row commit, {tasks} tasks"), |b| {
            b.iter_custom(|rounds| insert_for(&runtime, tasks, rounds));
        });
    }
    group.finish();
}

/// Rows of the `seal` group: few, so that a run is short; bytes per second do not depend on them.
const SEALED_ROWS: usize = 20_000;

/// `book (id BIGINT, title TEXT, embeddings VECTOR(768))` with its rows, in batches as a scan gives them.
fn vectors() -> (CollectionSchema, Vec<RecordBatch>) {
    let mut schema = book(CollectionId(1)).schema;
    schema.columns.push(Column {
        id: FieldId(3),
        name: "embeddings".to_string(),
        column_type: ColumnType::Vector(768),
        nullable: true,
        default: None,
        missing: None,
        generated: None,
        domain: None,
    });
    let batch = |first: usize| {
        let rows = first..first + 5_000;
        let titles = rows.clone().map(|i| format!("book number {i}"));
        let values = rows
            .clone()
            .flat_map(|i| (0..768).map(move |d| ((i * 769 + d) as f32).sin()));
        let list = FixedSizeListArray::new(
            Arc::new(Field::new(LIST_ELEMENT, DataType::Float32, false)),
            768,
            Arc::new(Float32Array::from_iter_values(values)),
            None,
        );
        let columns: Vec<ArrayRef> = vec![
            Arc::new(rows.map(|i| i as i64).collect::<Int64Array>()),
            Arc::new(StringArray::from_iter_values(titles)),
            Arc::new(list),
        ];
        RecordBatch::try_new(schema.arrow_schema(), columns).unwrap()
    };
    let batches = (0..SEALED_ROWS).step_by(5_000).map(batch).collect();
    (schema, batches)
}

fn write_segment(
    file: impl Into<StoreFile>,
    schema: &CollectionSchema,
    batches: &[RecordBatch],
) -> WrittenSegment {
    let layout = SegmentLayout {
        schema,
        options: &CollectionOptions::default(),
        sorted_by: &[FieldId(1)],
        nan_fields: &HashSet::new(),
        filter_fields: &[],
    };
    let mut writer = SegmentWriter::try_new(file, layout).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.finish().unwrap()
}

/// Writing a segment with its statistics, and reading its vectors back; the bound is the raw bytes of the vectors.
fn seal(criterion: &mut Criterion) {
    let (schema, batches) = vectors();
    let directory = directory();
    let path = directory.path().join("segment.parquet");
    let create = || {
        File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
    };
    let mut group = criterion.benchmark_group("seal");
    group.throughput(Throughput::Bytes((SEALED_ROWS * 768 * 4) as u64));
    group.sample_size(10);
    group.bench_function("write", |b| {
        b.iter(|| {
            std::fs::remove_file(&path).ok();
            let file = create().unwrap();
            write_segment(file, &schema, &batches)
        });
    });
    // A run of one benchmark alone has not written it.
    if !path.exists() {
        write_segment(create().unwrap(), &schema, &batches);
    }
    let schema = Arc::new(schema);
    let reader = SegmentReader::open(&path, "segment").unwrap();
    group.bench_function("read vectors as batches", |b| {
        b.iter(|| {
            let request = ReadRequest::all(&reader, Arc::clone(&schema), vec![FieldId(3)]);
            let batches = reader.read(request).unwrap();
            batches.map(|b| b.unwrap().num_rows()).sum::<usize>()
        });
    });
    let pages = reader.vector_pages(FieldId(3)).unwrap().unwrap();
    let mut buffer = MutableBuffer::new(0);
    group.bench_function("read raw pages", |b| {
        b.iter(|| {
            for page in 0..pages.pages().len() {
                black_box(pages.read_page(page, &mut buffer).unwrap());
            }
        });
    });
    group.finish();
}

/// PartitionStats of 10,000 segments of `book`, 1,000 keys and as many titles each, in the order of the key.
fn partition_stats(schema: &CollectionSchema) -> PartitionStats {
    let stats = |field, min, max| ColumnStats {
        field,
        min: Some(min),
        max: Some(max),
        min_exact: true,
        max_exact: true,
        null_count: 0,
        nan_count: 0,
    };
    let title = |id: i64| Bound::Text(format!("The {id:09}th book of the library"));
    let segments: Vec<SegmentStats> = (0..10_000)
        .map(|i| (i * 1_000, i * 1_000 + 999))
        .map(|(first, last)| SegmentStats {
            columns: vec![
                stats(FieldId(1), Bound::Int(first), Bound::Int(last)),
                stats(FieldId(2), title(first), title(last)),
            ],
            ..SegmentStats::default()
        })
        .collect();
    let segments: Vec<_> = segments.iter().map(|stats| (1_000, stats)).collect();
    PartitionStats::build(schema, &segments)
}

fn prune(criterion: &mut Criterion) {
    let schema = book(CollectionId(1)).schema;
    let arrow = schema.arrow_schema();
    let stats = partition_stats(&schema);
    let context = SessionContext::new();
    let fields = DFSchema::try_from(Arc::clone(&arrow)).unwrap();
    let long_list = (0..1_000).map(|i| (i * 9_973).to_string());
    let long_list = format!("id IN ({})", long_list.collect::<Vec<_>>().join(", "));
    let mut group = criterion.benchmark_group("prune");
    group.throughput(Throughput::Elements(stats.containers as u64));
    for (name, sql) in [
        ("range", "id > 2000000 AND id < 2400000"),
        (
            "nested",
            "(id < 5000 OR id > 9990000) AND NOT (title < 'The 5' AND id <> 7)",
        ),
        ("prefix", "title LIKE 'The 0012%'"),
        ("in_1000", &long_list),
    ] {
        let expr = context.parse_sql_expr(sql, &fields).unwrap();
        let predicate = context.create_physical_expr(expr, &fields).unwrap();
        group.bench_function(name, |bencher| {
            bencher.iter(|| may_match(black_box(&predicate), &arrow, &stats))
        });
    }
    group.finish();
}

/// A database with segments whose keys all span the whole range.
async fn scattered(schema: &CollectionSchema, batches: &[RecordBatch]) -> (Inserts, CollectionId) {
    let database = Inserts::new().await;
    let engine = &database.engine;
    let mut collection = book(CollectionId(engine.committer.allocate_id()));
    collection.name = QualifiedName::new("public", "vectors");
    collection.schema = schema.clone();
    let all = concat_batches(batches[0].schema_ref(), batches).unwrap();
    let mut changes = vec![Change::CreateCollection(collection.clone())];
    for part in 0..4_u32 {
        let rows = UInt32Array::from_iter_values((part..all.num_rows() as u32).step_by(4));
        let id = SegmentId(engine.committer.allocate_id());
        let mut file = engine.store.create_segment(collection.id, id).unwrap();
        let handle = file.file().try_clone().unwrap();
        let rows = take_record_batch(&all, &rows).unwrap();
        let written = write_segment(handle, schema, &[rows]);
        file.publish().unwrap();
        let segment = NewSegment {
            id,
            rows: written.rows,
            bytes: written.bytes,
            crc32c: written.crc32c,
            sorted_by: vec![FieldId(1)],
            run: None,
            level: 0,
            stats: Arc::new(written.stats),
            filters: written.filters,
            deletes: RoaringBitmap::new(),
        };
        changes.push(Change::AddSegments(collection.id, vec![segment]));
    }
    let version = engine.committer.snapshot().version();
    let transaction = Transaction::new(version, changes);
    engine.committer.commit(transaction).await.unwrap();
    (database, collection.id)
}

async fn cluster_for(rounds: u64, schema: &CollectionSchema, batches: &[RecordBatch]) -> Duration {
    let mut spent = Duration::ZERO;
    for _ in 0..rounds {
        let (database, collection) = scattered(schema, batches).await;
        let scheduler = Scheduler::open(Arc::clone(&database.engine)).unwrap();
        let options = JobOptions::default();
        let start = Instant::now();
        let job = scheduler.submit(collection, JobKind::Cluster, options);
        let job = scheduler.wait(job.await.unwrap(), None).await.unwrap();
        spent += start.elapsed();
        assert_eq!(job.state, JobState::Succeeded, "{}", job.reason);
    }
    spent
}

/// Redistributing rows by key range, from segments that all overlap; the bound is writing the rows (`seal`).
fn cluster(criterion: &mut Criterion) {
    let (schema, batches) = vectors();
    let runtime = runtime();
    let mut group = criterion.benchmark_group("cluster");
    group.throughput(Throughput::Bytes((SEALED_ROWS * 768 * 4) as u64));
    group.sample_size(10);
    group.bench_function("four overlapping segments", |b| {
        b.iter_custom(|rounds| runtime.block_on(cluster_for(rounds, &schema, &batches)));
    });
    group.finish();
}

/// 200,000 items, clustered by `key`: 200 rows of each.
async fn items() -> (Database, Session) {
    let database = Database::temporary(Settings::default()).await.unwrap();
    let session = database.session();
    for sql in [
        "CREATE TABLE item (id BIGINT PRIMARY KEY, key INT CLUSTERING KEY, price DOUBLE PRECISION,
                            embedding VECTOR(4)) WITH (segment_rows_max = 50000)",
        "INSERT INTO item SELECT i, (i * 7919) % 1000, i % 97,
                                 ARRAY[i % 13, i % 17, i % 19, i % 23]::real[]::vector(4)
         FROM generate_series(1, 200000) g(i)",
        "COMPACT item WITH (CLUSTERING, WAIT)",
    ] {
        session.sql(sql).await.unwrap().collect().await.unwrap();
    }
    (database, session)
}

/// The same statements by their text each time, and prepared once; the difference is parsing and planning.
fn prepared(criterion: &mut Criterion) {
    let runtime = runtime();
    let (_database, session) = runtime.block_on(items());
    let statements = [
        (
            "point query",
            "SELECT id, key, price FROM item WHERE key = $1 AND id = $2",
            vec![
                ScalarValue::Int32(Some(500)),
                ScalarValue::Int64(Some(1_500)),
            ],
        ),
        (
            "filtered search",
            "SELECT id FROM item WHERE key = $1 ORDER BY embedding <-> $2 LIMIT 10",
            vec![
                ScalarValue::Int32(Some(500)),
                ScalarValue::from("[1,2,3,4]"),
            ],
        ),
        (
            "aggregate",
            "SELECT count(*), sum(price) FROM item WHERE key = $1",
            vec![ScalarValue::Int32(Some(500))],
        ),
        (
            "no rows",
            "SELECT $1::int + 1",
            vec![ScalarValue::Int32(Some(1))],
        ),
    ];
    let mut group = criterion.benchmark_group("prepared");
    for (name, text, values) in statements {
        let literal = with_literals(text, &values);
        // A text with a comment is planned each time.
        let anew = format!("/* anew */ {literal}");
        for (way, text) in [("as text", &literal), ("planned anew", &anew)] {
            group.bench_function(format!("{name}, {way}"), |b| {
                b.to_async(&runtime).iter(|| async {
                    let outcome = session.run(text).await.unwrap();
                    black_box(collect(outcome.stream).await.unwrap())
                });
            });
        }
        let statement = runtime.block_on(session.prepare(text, &[])).unwrap();
        group.bench_function(format!("{name}, prepared"), |b| {
            b.to_async(&runtime).iter(|| async {
                let outcome = session.execute(&statement, values.clone()).await.unwrap();
                black_box(collect(outcome.stream).await.unwrap())
            });
        });
    }
    group.finish();
}

/// `sessions` sessions that each insert `rounds` rows of `statement`'s table, one commit a row.
fn insert_prepared_for(runtime: &Runtime, sessions: usize, rounds: u64) -> Duration {
    runtime.block_on(async {
        let directory = directory();
        let database = Database::open(directory.path(), Settings::default())
            .await
            .unwrap();
        let create = "CREATE TABLE event (id BIGINT, title TEXT)";
        database
            .session()
            .sql(create)
            .await
            .unwrap()
            .collect()
            .await
            .unwrap();
        let ready = Arc::new(Barrier::new(sessions + 1));
        let running: Vec<_> = (0..sessions)
            .map(|_| {
                let (session, ready) = (database.session(), Arc::clone(&ready));
                tokio::spawn(async move {
                    let insert = "INSERT INTO event VALUES ($1, $2)";
                    let statement = session.prepare(insert, &[]).await.unwrap();
                    ready.wait().await;
                    for round in 0..rounds {
                        let values = vec![
                            ScalarValue::Int64(Some(round as i64)),
                            ScalarValue::from("a book of the library"),
                        ];
                        let outcome = session.execute(&statement, values).await.unwrap();
                        black_box(collect(outcome.stream).await.unwrap());
                    }
                })
            })
            .collect();
        ready.wait().await;
        let start = Instant::now();
        for task in running {
            task.await.unwrap();
        }
        start.elapsed()
    })
}

/// `INSERT` of one row, prepared, by sessions of the embedded database, beside what the disk alone takes.
fn insert(criterion: &mut Criterion) {
    let runtime = runtime();
    let mut group = criterion.benchmark_group("insert");
    group.sample_size(10);
    group.throughput(Throughput::Elements(1));
    group.bench_function("fdatasync alone", |b| b.iter_custom(sync_for));
    for sessions in [1, 8, 64] {
        group.throughput(Throughput::Elements(sessions as u64));
        group.bench_function(format!("one row, {sessions} sessions"), |b| {
            b.iter_custom(|rounds| insert_prepared_for(&runtime, sessions, rounds));
        });
    }
    group.finish();
}

fn with_literals(text: &str, values: &[ScalarValue]) -> String {
    let mut text = text.to_string();
    for (i, value) in values.iter().enumerate() {
        text = text.replace(&format!("${}", i + 1), &format!("'{value}'"));
    }
    text
}

criterion_group!(benches, log_append, seal, prune, cluster, prepared, insert);
criterion_main!(benches);
