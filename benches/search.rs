//! Vector search: the operator beside the plain plan, and its scan beside the speed at which memory is read.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs::File;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{FixedSizeListArray, Float32Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use datafusion::physical_plan::common::collect;
use datafusion::scalar::ScalarValue;
use parquet::arrow::ArrowWriter;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rayon::iter::ParallelIterator;
use rayon::slice::ParallelSlice;
use shelfmark::{Database, Outcome, Prepared, Session, Settings};
use tokio::runtime::Runtime;

const ROWS: usize = 50_000;
const DIMENSIONS: usize = 768;
const BATCH_ROWS: usize = 5_000;
/// A filter on one key leaves one row of a hundred.
const KEYS: i64 = 100;
const VECTOR_BYTES: usize = ROWS * DIMENSIONS * size_of::<f32>();

fn random(rng: &mut StdRng, values: usize) -> Vec<f32> {
    (0..values).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// `id, key, e` with keys in no order.
fn write_rows(path: &Path) {
    let element = Arc::new(Field::new("element", DataType::Float32, false));
    let vector = DataType::FixedSizeList(Arc::clone(&element), DIMENSIONS as i32);
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("key", DataType::Int64, false),
        Field::new("e", vector, false),
    ]));
    let mut rng = StdRng::seed_from_u64(7);
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, Arc::clone(&schema), None).unwrap();
    for first in (0..ROWS).step_by(BATCH_ROWS) {
        let ids = first as i64..(first + BATCH_ROWS) as i64;
        let values = Arc::new(Float32Array::from(random(
            &mut rng,
            BATCH_ROWS * DIMENSIONS,
        )));
        let element = Arc::clone(&element);
        let vectors =
            FixedSizeListArray::try_new(element, DIMENSIONS as i32, values, None).unwrap();
        let keys = ids.clone().map(|id| id * 7_919 % KEYS);
        let rows = RecordBatch::try_new(
            Arc::clone(&schema),
            vec![
                Arc::new(Int64Array::from_iter_values(ids)),
                Arc::new(Int64Array::from_iter_values(keys)),
                Arc::new(vectors),
            ],
        );
        writer.write(&rows.unwrap()).unwrap();
    }
    writer.close().unwrap();
}

async fn run(session: &Session, text: &str) -> usize {
    rows(session.run(text).await.unwrap()).await
}

async fn execute(session: &Session, prepared: &Prepared, values: Vec<ScalarValue>) -> usize {
    rows(session.execute(prepared, values).await.unwrap()).await
}

async fn rows(outcome: Outcome) -> usize {
    let batches = collect(outcome.stream).await.unwrap();
    batches.iter().map(RecordBatch::num_rows).sum()
}

/// A session of a database with the rows, clustered by key.
async fn loaded(settings: Settings) -> Session {
    let database = Database::temporary(settings).await.unwrap();
    let session = database.session();
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = directory.path().join("rows.parquet");
    write_rows(&file);
    let create =
        format!("CREATE TABLE t (id BIGINT, key BIGINT CLUSTERING KEY, e VECTOR({DIMENSIONS}))");
    run(&session, &create).await;
    run(&session, &format!("COPY t FROM '{}'", file.display())).await;
    run(&session, "COMPACT t WITH (CLUSTERING, WAIT)").await;
    session
}

type Group<'a> = BenchmarkGroup<'a, criterion::measurement::WallTime>;

fn bench(
    group: &mut Group,
    runtime: &Runtime,
    session: &Session,
    name: &str,
    settings: &[&str],
    text: &str,
) {
    for setting in settings {
        runtime.block_on(run(session, setting));
    }
    // Reading a text with a vector in it takes longer than some of these searches.
    let prepared = runtime.block_on(session.prepare(text, &[])).unwrap();
    let search = || runtime.block_on(execute(session, &prepared, Vec::new()));
    let rows = search();
    assert_eq!(rows % 10, 0);
    group.bench_function(name, |b| {
        b.iter(|| assert_eq!(search(), rows));
    });
}

fn search(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let session = runtime.block_on(loaded(Settings::default()));
    let query = random(&mut StdRng::seed_from_u64(8), DIMENSIONS);
    let query: Vec<String> = query.iter().map(f32::to_string).collect();
    let query = format!("'[{}]'", query.join(","));
    let text = |filter: &str| format!("SELECT id FROM t {filter} ORDER BY e <-> {query} LIMIT 10");
    let (all, one) = (text(""), text("WHERE key = 42"));
    let (on, off) = (
        "SET shelfmark.enable_vector_search = on",
        "SET shelfmark.enable_vector_search = off",
    );
    let one_thread = "SET datafusion.execution.target_partitions = 1";
    let threads = std::thread::available_parallelism().unwrap();
    let all_threads = format!("SET datafusion.execution.target_partitions = {threads}");

    let mut group = criterion.benchmark_group("search, all rows");
    group.sample_size(10);
    group.throughput(Throughput::Bytes(VECTOR_BYTES as u64));
    let memory = vec![1u64; VECTOR_BYTES / size_of::<u64>()];
    group.bench_function("memory read, one thread", |b| {
        b.iter(|| {
            black_box(&memory)
                .iter()
                .fold(0u64, |sum, v| sum.wrapping_add(*v))
        });
    });
    group.bench_function("memory read, all threads", |b| {
        b.iter(|| {
            let parts = black_box(&memory).par_chunks(memory.len().div_ceil(threads.get()));
            parts
                .map(|part| part.iter().fold(0u64, |sum, v| sum.wrapping_add(*v)))
                .reduce(|| 0, u64::wrapping_add)
        });
    });
    bench(
        &mut group,
        &runtime,
        &session,
        "operator, one thread",
        &[on, one_thread],
        &all,
    );
    bench(
        &mut group,
        &runtime,
        &session,
        "operator, all threads",
        &[on, &all_threads],
        &all,
    );
    bench(
        &mut group,
        &runtime,
        &session,
        "plain plan, all threads",
        &[off],
        &all,
    );
    group.finish();

    let mut group = criterion.benchmark_group("search, one key of a hundred");
    group.throughput(Throughput::Bytes((VECTOR_BYTES / KEYS as usize) as u64));
    bench(&mut group, &runtime, &session, "operator", &[on], &one);
    bench(&mut group, &runtime, &session, "plain plan", &[off], &one);
    group.finish();
}

/// Queries that are asked at once.
const QUERIES: usize = 64;

/// 64 queries as one statement, and one after the other by a prepared one.
fn many(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let session = runtime.block_on(loaded(Settings::default()));
    let mut rng = StdRng::seed_from_u64(9);
    let queries: Vec<String> = (0..QUERIES)
        .map(|_| {
            let elements = random(&mut rng, DIMENSIONS);
            let elements: Vec<String> = elements.iter().map(f32::to_string).collect();
            format!("'[{}]'", elements.join(","))
        })
        .collect();
    let rows = queries
        .iter()
        .map(|query| format!("({query}::vector({DIMENSIONS}))"));
    let rows = rows.collect::<Vec<_>>().join(", ");
    let create = format!("CREATE TABLE q (v VECTOR({DIMENSIONS}))");
    runtime.block_on(run(&session, &create));
    runtime.block_on(run(&session, &format!("INSERT INTO q VALUES {rows}")));
    let lateral = "SELECT n.id FROM q CROSS JOIN LATERAL \
                   (SELECT id FROM t ORDER BY e <-> q.v LIMIT 10) n";

    let mut group = criterion.benchmark_group("search, 64 queries");
    group.sample_size(10);
    group.throughput(Throughput::Elements(QUERIES as u64));
    bench(&mut group, &runtime, &session, "at once", &[], lateral);
    let text = "SELECT id FROM t ORDER BY e <-> $1 LIMIT 10";
    let prepared = runtime.block_on(session.prepare(text, &[])).unwrap();
    let value = |query: &String| ScalarValue::from(query.trim_matches('\''));
    let values: Vec<ScalarValue> = queries.iter().map(value).collect();
    group.bench_function("one at a time, prepared", |b| {
        b.iter(|| {
            for value in &values {
                let found = execute(&session, &prepared, vec![value.clone()]);
                assert_eq!(runtime.block_on(found), 10);
            }
        });
    });
    group.finish();
}

/// A filter on a column that rows are not sorted by: it is decoded each time, or once.
fn filtered(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let query = random(&mut StdRng::seed_from_u64(8), DIMENSIONS);
    let query: Vec<String> = query.iter().map(f32::to_string).collect();
    let text = format!(
        "SELECT id FROM t WHERE id < {} ORDER BY e <-> '[{}]' LIMIT 10",
        ROWS / 100,
        query.join(",")
    );
    let mut group = criterion.benchmark_group("search, filter on another column");
    group.sample_size(20);
    for (name, size) in [("decoded each time", "0B"), ("kept decoded", "128MiB")] {
        let mut settings = Settings::default();
        settings.set("column_cache.size", size).unwrap();
        let session = runtime.block_on(loaded(settings));
        bench(&mut group, &runtime, &session, name, &[], &text);
    }
    group.finish();
}

/// What a prepared search takes beside reading vectors: the same one where no row has the key, and where some have.
fn beside_the_scan(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let session = runtime.block_on(loaded(Settings::default()));
    let text = "SELECT id FROM t WHERE key = $1 ORDER BY e <-> $2 LIMIT 10";
    let prepared = runtime.block_on(session.prepare(text, &[])).unwrap();
    let elements = random(&mut StdRng::seed_from_u64(8), DIMENSIONS);
    let as_text: Vec<String> = elements.iter().map(f32::to_string).collect();
    let as_text = ScalarValue::from(format!("[{}]", as_text.join(",")));
    let DataType::FixedSizeList(element, size) = prepared.parameters()[1].data_type() else {
        panic!("a vector is a list of fixed size");
    };
    let elements = Arc::new(Float32Array::from(elements));
    let vector = FixedSizeListArray::try_new(Arc::clone(element), *size, elements, None).unwrap();
    let vector = ScalarValue::FixedSizeList(Arc::new(vector));
    let mut group = criterion.benchmark_group("search, prepared");
    for (name, key, query, found) in [
        ("no row has the key, query as text", -1, &as_text, 0),
        ("no row has the key", -1, &vector, 0),
        ("one row of a hundred has the key", 42, &vector, 10),
    ] {
        let values = vec![ScalarValue::from(key as i64), query.clone()];
        group.bench_function(name, |b| {
            b.iter(|| {
                let rows = execute(&session, &prepared, values.clone());
                assert_eq!(runtime.block_on(rows), found);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, search, many, filtered, beside_the_scan);
criterion_main!(benches);
