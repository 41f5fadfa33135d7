//! All kernels of all instruction sets of this processor, against sums in `f64` and each other.
#![allow(clippy::unwrap_used)]

use half::f16;
use proptest::prelude::*;

use super::{InstructionSet, Metric, Query, Rows, distances_many};

/// Dimensions around the sizes of registers and of groups of them, and those of common models.
fn dimensions() -> impl Strategy<Value = usize> {
    prop_oneof![6 => 0_usize..=70, 1 => Just(768_usize), 1 => Just(1536_usize), 1 => 300_usize..310]
}

/// A number made of random bits: of ordinary size, small, or one of both zeros.
fn number(random: u64) -> f32 {
    let fraction = (random >> 40) as f32 / (1_u64 << 23) as f32 - 1.0;
    match random % 8 {
        0 => 0.0,
        1 => -0.0,
        2 => fraction * 1e-3,
        _ => fraction * 1e3,
    }
}

/// [`number`], and numbers that no arithmetic survives unchanged.
fn odd_number(random: u64) -> f32 {
    let odd = [
        f32::NAN,
        -f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::MAX,
        f32::MIN_POSITIVE / 8.0,
        f32::from_bits(1),
    ];
    match random % 300 {
        choice @ 0..7 => odd[choice as usize],
        _ => number(random >> 8),
    }
}

/// Random bits (the generator `splitmix64`): elements drawn one by one by the test's own strategies
/// take longer than the kernels.
fn random_bits(mut state: u64) -> impl Iterator<Item = u64> {
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

#[derive(Debug)]
struct Case {
    dimension: usize,
    /// Row after row.
    queries: Vec<f32>,
    rows: Vec<f32>,
}

impl Case {
    fn queries(&self) -> Vec<&[f32]> {
        let query = |i| &self.queries[i * self.dimension..(i + 1) * self.dimension];
        (0..QUERIES).map(query).collect()
    }
}

const QUERIES: usize = 6;

fn cases(number: fn(u64) -> f32, rows: usize) -> impl Strategy<Value = Case> {
    (dimensions(), any::<u64>()).prop_map(move |(dimension, seed)| {
        let mut numbers = random_bits(seed).map(number);
        let mut vectors = |count: usize| numbers.by_ref().take(dimension * count).collect();
        Case {
            dimension,
            queries: vectors(QUERIES),
            rows: vectors(rows),
        }
    })
}

/// The sum of a metric in `f64` and the sum of its terms' absolute values.
fn exact(metric: Metric, row: &[f32], query: &[f32]) -> (f64, f64) {
    let term = |(x, y): (&f32, &f32)| {
        let (x, y) = (f64::from(*x), f64::from(*y));
        match metric {
            Metric::L1 => (x - y).abs(),
            Metric::L2 | Metric::L2Squared => (x - y) * (x - y),
            Metric::InnerProduct | Metric::NegativeInnerProduct | Metric::Cosine => x * y,
        }
    };
    let terms = row.iter().zip(query).map(term);
    terms.fold((0.0, 0.0), |(sum, size), t| (sum + t, size + t.abs()))
}

/// The bound of the module's doc; the last summand is for products below the normal numbers.
fn bound(dimension: usize, size: f64) -> f64 {
    (dimension as f64 / 32.0 + 4.0) * f64::from(f32::EPSILON) * size
        + (dimension + 1) as f64 * f64::from(f32::MIN_POSITIVE)
}

fn assert_close(metric: Metric, got: f64, row: &[f32], query: &[f32], context: &str) {
    let (sum, size) = exact(metric, row, query);
    let bound = bound(row.len(), size);
    let (expected, bound) = match metric {
        Metric::L2 => (sum.sqrt(), bound / sum.sqrt().max(bound.sqrt())),
        Metric::L2Squared | Metric::InnerProduct | Metric::L1 => (sum, bound),
        Metric::NegativeInnerProduct => (-sum, bound),
        Metric::Cosine => {
            let (x, y) = (exact(metric, row, row).0, exact(metric, query, query).0);
            if x < 1e-20 || y < 1e-20 {
                return;
            }
            let norms = (x * y).sqrt();
            let relative = 2.0 * self::bound(row.len(), 1.0);
            (1.0 - sum / norms, bound / norms + relative)
        }
    };
    assert!(
        (got - expected).abs() <= bound + 1e-15,
        "{context}: {got} instead of {expected}, bound {bound}"
    );
}

fn bits(distances: &[f64]) -> Vec<u64> {
    distances.iter().map(|d| d.to_bits()).collect()
}

/// Bytes at an odd address.
struct Unaligned {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl Unaligned {
    fn new(bytes: impl Iterator<Item = u8>) -> Self {
        let bytes: Vec<u8> = bytes.collect();
        let (length, mut memory) = (bytes.len(), vec![0; bytes.len() + 9]);
        let start = memory.as_ptr().align_offset(8) + 1;
        memory[start..start + length].copy_from_slice(&bytes);
        Self {
            memory,
            start,
            length,
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }
}

/// Every entry point gives the bits that single pairs give; returns those, query after query.
fn check_entry_points(set: InstructionSet, metric: Metric, case: &Case) -> Vec<u64> {
    let queries = case.queries();
    let queries: Vec<Query> = queries
        .into_iter()
        .map(|values| Query::with_instruction_set(metric, values, set))
        .collect();
    let count = ROWS;
    let row = |i| &case.rows[i * case.dimension..(i + 1) * case.dimension];
    let single: Vec<u64> = queries
        .iter()
        .flat_map(|query| (0..count).map(|i| query.distance(row(i)).to_bits()))
        .collect();

    let page = Unaligned::new(case.rows.iter().flat_map(|x| x.to_le_bytes()));
    let page = page.bytes();
    let mut out = vec![0.0; count];
    for (query, single) in queries.iter().zip(single.chunks(count)) {
        query.distances(&case.rows, &mut out);
        assert_eq!(bits(&out), single, "matrix, {set:?} {metric:?}");
        query.distances_le_bytes(page, &mut out);
        assert_eq!(bits(&out), single, "bytes, {set:?} {metric:?}");
    }
    for count_queries in 0..=QUERIES {
        let mut out = vec![0.0; count * count_queries];
        distances_many(
            &queries[..count_queries],
            Rows::single_le_bytes(page),
            &mut out,
        );
        let single = &single[..out.len()];
        assert_eq!(
            bits(&out),
            single,
            "{count_queries} queries, {set:?} {metric:?}"
        );
    }
    single
}

/// Rows of a case whose entry points are compared: blocks and a rest, of every kernel.
const ROWS: usize = 11;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn all_entry_points_and_fused_sets_agree(case in cases(odd_number, ROWS)) {
        for metric in Metric::ALL {
            let sets = InstructionSet::available().into_iter();
            let results: Vec<(InstructionSet, Vec<u64>)> =
                sets.map(|set| (set, check_entry_points(set, metric, &case))).collect();
            for (set, result) in &results {
                let portable_rounds_twice = cfg!(target_arch = "x86_64") && set.name() == "portable";
                if !portable_rounds_twice {
                    prop_assert_eq!(result, &results[0].1, "{:?} {:?}", set, metric);
                }
            }
        }
    }

    #[test]
    fn distances_are_close_to_exact(case in cases(number, 2)) {
        for set in InstructionSet::available() {
            for metric in Metric::ALL {
                let query = case.queries()[0];
                let mut out = [0.0; 2];
                Query::with_instruction_set(metric, query, set).distances(&case.rows, &mut out);
                for (i, distance) in out.into_iter().enumerate() {
                    let row = &case.rows[i * case.dimension..(i + 1) * case.dimension];
                    let context = format!("{set:?} {metric:?} {}", case.dimension);
                    assert_close(metric, distance, row, query, &context);
                }
            }
        }
    }

    #[test]
    fn half_rows_give_what_wide_rows_give(case in cases(odd_number, ROWS)) {
        let halves: Vec<f16> = case.rows.iter().map(|&x| f16::from_f32(x)).collect();
        let wide: Vec<f32> = halves.iter().map(|x| x.to_f32()).collect();
        let page = Unaligned::new(halves.iter().flat_map(|x| x.to_le_bytes()));
        for set in InstructionSet::available() {
            for metric in Metric::ALL {
                let queries = case.queries();
                let queries: Vec<Query> = queries
                    .into_iter()
                    .map(|values| Query::with_instruction_set(metric, values, set))
                    .collect();
                let (mut expected, mut got) = ([0.0; ROWS], [0.0; ROWS]);
                queries[0].distances(&wide, &mut expected);
                queries[0].distances_half(&halves, &mut got);
                prop_assert_eq!(bits(&expected), bits(&got), "{:?} {:?}", set, metric);
                queries[0].distances_half_le_bytes(page.bytes(), &mut got);
                prop_assert_eq!(bits(&expected), bits(&got), "{:?} {:?}", set, metric);
                let (mut expected, mut got) = ([0.0; ROWS * QUERIES], [0.0; ROWS * QUERIES]);
                distances_many(&queries, Rows::from(&wide[..]), &mut expected);
                distances_many(&queries, Rows::from(&halves[..]), &mut got);
                prop_assert_eq!(bits(&expected), bits(&got), "{:?} {:?}", set, metric);
            }
        }
    }

    #[test]
    fn order_of_operands_does_not_matter(case in cases(odd_number, 1)) {
        for set in InstructionSet::available() {
            for metric in Metric::ALL {
                let distance = |a: &[f32], b: &[f32]| {
                    Query::with_instruction_set(metric, a, set).distance(b).to_bits()
                };
                let query = case.queries()[0];
                prop_assert_eq!(distance(query, &case.rows), distance(&case.rows, query));
            }
        }
    }
}

#[test]
fn more_rows_than_a_block() {
    let count = 1_000;
    for dimension in [1, 7, 33, 200] {
        let numbers = |count: usize, seed: usize| -> Vec<f32> {
            let number = |i| ((i * 7_919 + seed) % 1_009) as f32 / 31.0 - 16.0;
            (0..count * dimension).map(number).collect()
        };
        let (rows, values) = (numbers(count, 1), numbers(9, 5));
        for metric in Metric::ALL {
            let query = |i| Query::new(metric, &values[i * dimension..(i + 1) * dimension]);
            let queries: Vec<Query> = (0..9).map(query).collect();
            let mut out = vec![0.0; 9 * count];
            distances_many(&queries, Rows::from(&rows[..]), &mut out);
            for (query, many) in queries.iter().zip(out.chunks(count)) {
                let mut one = vec![0.0; count];
                query.distances(&rows, &mut one);
                assert_eq!(bits(&one), bits(many));
                let last = query.distance(&rows[(count - 1) * dimension..]);
                assert_eq!(last.to_bits(), one[count - 1].to_bits());
            }
        }
    }
}

#[test]
fn too_large_is_infinite() {
    for set in InstructionSet::available() {
        let query = Query::with_instruction_set(Metric::L2, &[3e38], set);
        assert_eq!(query.distance(&[-3e38]), f64::INFINITY);
        assert_eq!(
            Query::with_instruction_set(Metric::L2, &[], set).distance(&[]),
            0.0
        );
    }
}

#[test]
#[should_panic(expected = "matrix of another shape")]
fn another_shape_is_refused() {
    Query::new(Metric::L2, &[1.0, 2.0]).distances_le_bytes(&[0; 15], &mut [0.0; 2]);
}

#[test]
#[should_panic(expected = "different metric or dimension")]
fn queries_must_be_alike() {
    let queries = [
        Query::new(Metric::L2, &[1.0]),
        Query::new(Metric::L1, &[1.0]),
    ];
    distances_many(&queries, Rows::from(&[1.0_f32][..]), &mut [0.0; 2]);
}
