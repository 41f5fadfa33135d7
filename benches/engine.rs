//! What the engine's parts cost, each beside the bound that the machine sets.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{Int64Array, RecordBatch, StringArray};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use shelfmark::settings::Settings;
use shelfmark::storage::change::{Append, Change, NewCollection, QualifiedName};
use shelfmark::storage::engine::Engine;
use shelfmark::storage::schema::{
    CollectionId, CollectionOptions, CollectionSchema, Column, ColumnType, FieldId, SegmentId,
    Version,
};
use shelfmark::storage::transaction::Transaction;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

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
        },
        options: CollectionOptions::default(),
    }
}

/// One-row commits into a database of its own.
struct Inserts {
    engine: Engine,
    collection: NewCollection,
    next: AtomicI64,
    _directory: TempDir,
}

impl Inserts {
    async fn new() -> Self {
        let directory = directory();
        let engine = Engine::open(directory.path(), Settings::default()).unwrap();
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

criterion_group!(benches, log_append);
criterion_main!(benches);
