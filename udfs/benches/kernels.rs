//! The distance kernels, beside what the machine reads from memory in the same run.
//!
//! Groups `cached` and `memory` have a working set within the nearest caches, and one far beyond
//! all of them; `reading alone` in `memory` is the bound. `many` counts pairs of a query and a row.
#![allow(missing_docs)]

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use half::f16;
use shelfmark_udfs::kernels::InstructionSet;
use shelfmark_udfs::{BitMetric, BitQuery, Metric, Query, Rows, distances_many};

const DIMENSION: usize = 768;
const CACHED_ROWS: usize = 64;
/// 246 MB of `f32`.
const MEMORY_ROWS: usize = 80_000;

const METRICS: [Metric; 4] = [
    Metric::L2Squared,
    Metric::InnerProduct,
    Metric::Cosine,
    Metric::L1,
];

/// Numbers without a pattern, between 0 and 1.
fn numbers(rows: usize) -> Vec<f32> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 16_777_216.0
    };
    std::iter::repeat_with(next)
        .take(rows * DIMENSION)
        .collect()
}

/// The bound: everything is read once, and hardly anything done with it.
fn read(values: &[f32]) -> u32 {
    let mut lanes = [0_u32; 64];
    for values in values.as_chunks::<64>().0 {
        for (lane, value) in lanes.iter_mut().zip(values) {
            *lane ^= value.to_bits();
        }
    }
    lanes.into_iter().fold(0, |sum, lane| sum ^ lane)
}

/// One query against all rows, by every metric and instruction set.
fn one_query(group: &mut BenchmarkGroup<WallTime>, name: &str, rows: Rows, count: usize) {
    let query = numbers(1);
    let mut out = vec![0.0; count];
    for set in InstructionSet::available() {
        for metric in METRICS {
            let query = Query::with_instruction_set(metric, &query, set);
            group.bench_function(format!("{name} {metric:?} {}", set.name()), |b| {
                b.iter(|| query.distances_of(black_box(rows), &mut out));
            });
        }
    }
}

fn bits(group: &mut BenchmarkGroup<WallTime>, rows: &[u8]) {
    let mut out = vec![0.0; rows.len() / (DIMENSION / 8)];
    group.throughput(Throughput::Bytes(rows.len() as u64));
    for set in InstructionSet::available() {
        for metric in BitMetric::ALL {
            let query = BitQuery::with_instruction_set(metric, &rows[..DIMENSION / 8], set);
            group.bench_function(format!("bits {metric:?} {}", set.name()), |b| {
                b.iter(|| query.distances(black_box(rows), &mut out));
            });
        }
    }
}

fn rows_of(name: &str, criterion: &mut Criterion, count: usize) {
    let single = numbers(count);
    let half: Vec<f16> = single.iter().map(|&x| f16::from_f32(x)).collect();
    let bit_rows: Vec<u8> = single.iter().map(|x| x.to_bits() as u8).collect();
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10);
    group.throughput(Throughput::Bytes(size_of_val(&single[..]) as u64));
    group.bench_function("reading alone", |b| b.iter(|| read(black_box(&single))));
    one_query(&mut group, "f32", Rows::from(&single[..]), count);
    group.throughput(Throughput::Bytes(size_of_val(&half[..]) as u64));
    one_query(&mut group, "f16", Rows::from(&half[..]), count);
    bits(&mut group, &bit_rows);
    group.finish();
}

fn cached(criterion: &mut Criterion) {
    rows_of("cached", criterion, CACHED_ROWS);
}

fn memory(criterion: &mut Criterion) {
    rows_of("memory", criterion, MEMORY_ROWS);
}

/// Queries that share the reading of the rows; compare a pair's time with that of one query.
fn many(criterion: &mut Criterion) {
    const ROWS: usize = 10_000;
    let rows = numbers(ROWS);
    let values = numbers(64);
    let mut group = criterion.benchmark_group("many");
    group.sample_size(10);
    for set in InstructionSet::available() {
        for metric in [Metric::L2Squared, Metric::Cosine] {
            for count in [1, 4, 16, 64] {
                let queries: Vec<Query> = values
                    .chunks(DIMENSION)
                    .take(count)
                    .map(|values| Query::with_instruction_set(metric, values, set))
                    .collect();
                let mut out = vec![0.0; ROWS * count];
                group.throughput(Throughput::Elements(out.len() as u64));
                group.bench_function(format!("{count} {metric:?} {}", set.name()), |b| {
                    b.iter(|| distances_many(&queries, black_box(Rows::from(&rows[..])), &mut out));
                });
            }
        }
    }
    group.finish();
}

criterion_group!(benches, cached, memory, many);
criterion_main!(benches);
