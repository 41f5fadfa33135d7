//! How fast rows are clustered, and what computed clustering keys skip and save: VECTOR for searches, HILBERT for filters.
//!
//! Beside the time of each, the share of the work that is left is printed: vectors that are measured, segments that are
//! read. `SHELFMARK_BENCH_ROWS=1000000 cargo bench --bench clustering -- speed` clusters a million rows.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{AsArray, FixedSizeListArray, Float32Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use criterion::{Criterion, criterion_group, criterion_main};
use datafusion::physical_plan::common::collect;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use shelfmark::{Database, Session, Settings};
use tokio::runtime::Runtime;

const ROWS: usize = 100_000;
const BATCH_ROWS: usize = 5_000;
const QUERIES: usize = 16;
/// Segments of a table that is filtered, and the part of either column that a filter accepts.
const SEGMENTS: usize = 64;
const SIDE: usize = 8;

/// How vectors are spread.
#[derive(Debug, Clone, Copy)]
enum Spread {
    /// A mixture of Gaussians, whose centers lie four times as far from each other as two vectors of one lie.
    Groups,
    /// Each element for itself: all vectors lie about as far from each other.
    Uniform,
}

/// A source of vectors.
struct Vectors {
    random: StdRng,
    spread: Spread,
    dimensions: usize,
    centers: Vec<Vec<f32>>,
}

impl Vectors {
    const GROUPS: usize = 256;
    const FROM_CENTER: f32 = 0.25;

    fn new(spread: Spread, dimensions: usize) -> Self {
        let mut random = StdRng::seed_from_u64(11);
        let centers = (0..Self::GROUPS).map(|_| normal(&mut random, dimensions));
        Self {
            centers: centers.collect(),
            random,
            spread,
            dimensions,
        }
    }

    fn next(&mut self) -> Vec<f32> {
        match self.spread {
            Spread::Uniform => (0..self.dimensions)
                .map(|_| self.random.random_range(-1.0..1.0))
                .collect(),
            Spread::Groups => {
                let center = &self.centers[self.random.random_range(0..Self::GROUPS)];
                let from_center = normal(&mut self.random, self.dimensions);
                let elements = center.iter().zip(from_center);
                elements.map(|(c, d)| c + d * Self::FROM_CENTER).collect()
            }
        }
    }
}

/// Nearly normal numbers: sums of twelve even ones.
fn normal(random: &mut StdRng, values: usize) -> Vec<f32> {
    let mut number = || (0..12).map(|_| random.random_range(-0.5f32..0.5)).sum();
    (0..values).map(|_| number()).collect()
}

/// Rows `id, e`, the ids in no order.
fn write_rows(path: &Path, vectors: &mut Vectors, rows: usize) {
    let dimensions = vectors.dimensions;
    let element = Arc::new(Field::new("element", DataType::Float32, false));
    let vector = DataType::FixedSizeList(Arc::clone(&element), dimensions as i32);
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("e", vector, false),
    ]));
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, Arc::clone(&schema), None).unwrap();
    for first in (0..rows).step_by(BATCH_ROWS) {
        let ids = (first..first + BATCH_ROWS).map(|row| (row * 7_919 % rows) as i64);
        let ids = Int64Array::from_iter_values(ids);
        let values = (0..BATCH_ROWS).flat_map(|_| vectors.next());
        let values = Arc::new(Float32Array::from_iter_values(values));
        let element = Arc::clone(&element);
        let vectors = FixedSizeListArray::new(element, dimensions as i32, values, None);
        let rows =
            RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(ids), Arc::new(vectors)]);
        writer.write(&rows.unwrap()).unwrap();
    }
    writer.close().unwrap();
}

async fn rows(session: &Session, text: &str) -> Vec<RecordBatch> {
    let outcome = session.run(text).await.unwrap();
    collect(outcome.stream).await.unwrap()
}

async fn run(session: &Session, text: &str) -> usize {
    let batches = rows(session, text).await;
    batches.iter().map(RecordBatch::num_rows).sum()
}

/// The sum of a metric, as EXPLAIN ANALYZE has it: `distances=1.20 K`.
async fn metric(session: &Session, text: &str, name: &str) -> f64 {
    let batches = rows(session, &format!("EXPLAIN ANALYZE {text}")).await;
    let lines = batches
        .iter()
        .flat_map(|b| b.column(0).as_string::<i32>().iter().flatten());
    let name = format!("{name}=");
    let values = lines.filter_map(|line| line.split_once(&name));
    let values = values.map(|(_, rest)| {
        let end = rest.find([',', ']']).unwrap_or(rest.len());
        let (number, unit) = rest[..end].split_once(' ').unwrap_or((&rest[..end], ""));
        let factor = match unit {
            "K" => 1e3,
            "M" => 1e6,
            _ => 1.0,
        };
        number.parse::<f64>().unwrap() * factor
    });
    values.sum()
}

fn vector(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    for spread in [Spread::Groups, Spread::Uniform] {
        for dimensions in [128, 768] {
            search(criterion, &runtime, Vectors::new(spread, dimensions));
        }
    }
}

/// The nearest ten of 100,000 vectors, as they came and clustered.
fn search(criterion: &mut Criterion, runtime: &Runtime, mut vectors: Vectors) {
    let (spread, dimensions) = (vectors.spread, vectors.dimensions);
    let database = runtime.block_on(Database::temporary(Settings::default()));
    let session = database.unwrap().session();
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = directory.path().join("rows.parquet");
    write_rows(&file, &mut vectors, ROWS);
    let create = format!(
        "CREATE TABLE t (id BIGINT, e VECTOR({dimensions})) CLUSTER BY (VECTOR(e)) \
         WITH (auto_compaction = off)"
    );
    runtime.block_on(run(&session, &create));
    runtime.block_on(run(&session, &format!("COPY t FROM '{}'", file.display())));
    let query = |_| {
        let query: Vec<String> = vectors.next().iter().map(f32::to_string).collect();
        format!(
            "SELECT id FROM t ORDER BY e <-> '[{}]' LIMIT 10",
            query.join(",")
        )
    };
    let queries: Vec<String> = (0..QUERIES).map(query).collect();

    let name = format!("VECTOR, {spread:?}, {dimensions} dimensions");
    let mut group = criterion.benchmark_group(&name);
    group.sample_size(20);
    for layout in ["as they came", "clustered"] {
        if layout == "clustered" {
            let start = Instant::now();
            runtime.block_on(run(&session, "COMPACT t WITH (CLUSTERING, WAIT)"));
            println!("{name}: clustered in {:.1?}", start.elapsed());
        }
        let distances = queries
            .iter()
            .map(|query| runtime.block_on(metric(&session, query, "distances")));
        let share = distances.sum::<f64>() / (QUERIES * ROWS) as f64;
        println!(
            "{name}, {layout}: {:.2} % of the vectors measured",
            share * 100.0
        );
        let mut next = queries.iter().cycle();
        group.bench_function(layout, |b| {
            b.iter(|| assert_eq!(runtime.block_on(run(&session, next.next().unwrap())), 10));
        });
    }
    group.finish();
}

/// Filters on either of two columns, and on both, with the key in three forms.
fn hilbert(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let rows = 1 << 20;
    let mut settings = Settings::default();
    let segment_rows = (rows / SEGMENTS).to_string();
    settings.set("segment.max_rows", &segment_rows).unwrap();
    let database = runtime.block_on(Database::temporary(settings));
    let session = database.unwrap().session();
    let (low, high) = (1_000 / SIDE * 3, 1_000 / SIDE * 4 - 1);
    let filters = [
        ("a", format!("a BETWEEN {low} AND {high}")),
        ("b", format!("b BETWEEN {low} AND {high}")),
        (
            "both",
            format!("a BETWEEN {low} AND {high} AND b BETWEEN {low} AND {high}"),
        ),
    ];
    for (table, key) in [
        ("none", ""),
        ("columns", "CLUSTER BY (a, b)"),
        ("curve", "CLUSTER BY (HILBERT(a, b))"),
    ] {
        let create = format!(
            "CREATE TABLE {table} (a INT, b INT, amount DOUBLE PRECISION) {key} \
             WITH (auto_compaction = off)"
        );
        let insert = format!(
            "INSERT INTO {table} SELECT value * 7919 % 1000, value * 104729 / 1009 % 1000, value \
             FROM generate_series(1::bigint, {rows}) AS g(value)"
        );
        let compact = match key {
            "" => format!("COMPACT {table} WITH (WAIT)"),
            _ => format!("COMPACT {table} WITH (CLUSTERING, WAIT)"),
        };
        for statement in [create, insert, compact] {
            runtime.block_on(run(&session, &statement));
        }
        let mut group = criterion.benchmark_group(format!("HILBERT, key: {table}"));
        group.sample_size(20);
        for (name, filter) in &filters {
            let query = format!("SELECT count(*), sum(amount) FROM {table} WHERE {filter}");
            let scanned = runtime.block_on(metric(&session, &query, "segments_scanned"));
            let total = runtime.block_on(metric(&session, &query, "segments_total"));
            println!("key: {table}, filter on {name}: {scanned} of {total} segments read");
            group.bench_function(*name, |b| {
                b.iter(|| assert_eq!(runtime.block_on(run(&session, &query)), 1));
            });
        }
        group.finish();
    }
}

/// One clustering, beside what the machine allows: reading the same bytes and writing them, synced, and encoding the same
/// rows as Parquet.
fn speed(criterion: &mut Criterion) {
    let rows = std::env::var("SHELFMARK_BENCH_ROWS").map_or(ROWS, |rows| rows.parse().unwrap());
    let mut group = criterion.benchmark_group("speed");
    group.sample_size(10);
    let mut once = None;
    // It is measured once, whatever criterion asks for: a million rows are three gigabytes.
    group.bench_function(format!("{rows} x 768"), |b| {
        b.iter_custom(|rounds| *once.get_or_insert_with(|| cluster_once(rows)) * rounds as u32);
    });
    group.finish();
}

fn cluster_once(rows: usize) -> Duration {
    let runtime = Runtime::new().unwrap();
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = directory.path().join("rows.parquet");
    write_rows(&file, &mut Vectors::new(Spread::Uniform, 768), rows);
    let data = directory.path().join("data");
    let database = runtime.block_on(Database::open(&data, Settings::default()));
    let session = database.unwrap().session();
    let create =
        "CREATE TABLE t (id BIGINT CLUSTERING KEY, e VECTOR(768)) WITH (auto_compaction = off)";
    runtime.block_on(run(&session, create));
    runtime.block_on(run(&session, &format!("COPY t FROM '{}'", file.display())));
    let inputs: Vec<PathBuf> = segments(&data);
    let start = Instant::now();
    runtime.block_on(run(&session, "COMPACT t WITH (CLUSTERING, FULL, WAIT)"));
    let clustered = start.elapsed();
    let start = Instant::now();
    let mut copy = File::create(directory.path().join("copy")).unwrap();
    let copied = |path: &PathBuf| std::io::copy(&mut File::open(path).unwrap(), &mut copy).unwrap();
    let bytes: u64 = inputs.iter().map(copied).sum();
    copy.sync_all().unwrap();
    let copied = start.elapsed();
    let encoded = encode(&file);
    println!(
        "clustering {rows} x 768, {} MB, in {clustered:.2?}; reading and writing the bytes, synced, takes {copied:.2?}, \
         encoding the rows {encoded:.2?}: {:.0} % of the speed of the slower",
        bytes / 1_000_000,
        copied.max(encoded).as_secs_f64() / clustered.as_secs_f64() * 100.0
    );
    clustered
}

/// The files of all segments of a database.
fn segments(data: &Path) -> Vec<PathBuf> {
    let collections = std::fs::read_dir(data.join("segments")).unwrap();
    let files = collections.flat_map(|c| std::fs::read_dir(c.unwrap().path()).unwrap());
    files.map(|file| file.unwrap().path()).collect()
}

/// How long it takes to encode the rows of a file as segments have them: vectors plain, other columns by zstd.
fn encode(file: &Path) -> Duration {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(file).unwrap()).unwrap();
    let schema = Arc::clone(reader.schema());
    let vectors = ColumnPath::from("e.list.element");
    let properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_2_0)
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(16_384))
        .set_column_compression(vectors.clone(), Compression::UNCOMPRESSED)
        .set_column_encoding(vectors.clone(), Encoding::PLAIN)
        .set_column_dictionary_enabled(vectors.clone(), false)
        .set_column_statistics_enabled(vectors, EnabledStatistics::None)
        .build();
    let mut writer = ArrowWriter::try_new(std::io::sink(), schema, Some(properties)).unwrap();
    let mut spent = Duration::ZERO;
    for batch in reader.with_batch_size(BATCH_ROWS).build().unwrap() {
        let batch = batch.unwrap();
        let start = Instant::now();
        writer.write(&batch).unwrap();
        spent += start.elapsed();
    }
    let start = Instant::now();
    writer.close().unwrap();
    spent + start.elapsed()
}

criterion_group!(benches, speed, vector, hilbert);
criterion_main!(benches);
