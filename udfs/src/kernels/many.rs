//! Many queries against many rows.

use super::query::{BLOCK, Query};
use super::rows::Rows;
use super::sums::QUERIES;

/// Bytes of rows that every query meets before the next rows are read: with a group of queries
/// they fit into the nearest cache.
const BLOCK_BYTES: usize = 24 << 10;

/// The distances of all rows to all queries: `out` has a run of `rows` results for each query, one
/// query after the other. Each distance is, bit for bit, the one that [`Query::distance`] gives.
///
/// Rows are read from memory once for all queries.
///
/// # Panics
/// When the queries differ in metric or dimension, or `rows` does not hold `out.len() /
/// queries.len()` rows of that dimension.
pub fn distances_many(queries: &[Query], rows: Rows, out: &mut [f64]) {
    let Some(first) = queries.first() else {
        return assert!(out.is_empty(), "results of no query");
    };
    let count = out.len() / queries.len();
    assert_eq!(out.len(), count * queries.len(), "results of another shape");
    rows.assert_shape(first.dimension(), count);
    assert!(
        queries.iter().all(|query| query.is_like(first)),
        "queries of different metric or dimension"
    );
    let row_bytes = rows.row_bytes(first.dimension());
    let block = (BLOCK_BYTES / row_bytes.max(1)).clamp(QUERIES, BLOCK);
    let mut out: Vec<&mut [f64]> = match count {
        0 => return,
        count => out.chunks_mut(count).collect(),
    };
    for start in (0..count).step_by(block) {
        let taken = start..count.min(start + block);
        let rows = rows.slice(row_bytes, start, taken.len());
        measure_block(queries, rows, taken, &mut out);
    }
}

/// All queries against rows that stay in the cache.
fn measure_block(
    queries: &[Query],
    rows: Rows,
    taken: std::ops::Range<usize>,
    out: &mut [&mut [f64]],
) {
    let (groups, rest) = queries.as_chunks::<QUERIES>();
    let (out_groups, out_rest) = out.as_chunks_mut::<QUERIES>();
    let norms = match groups {
        [[first, ..], ..] => first.row_norms(rows, taken.len()),
        [] => [0.0; BLOCK],
    };
    for (queries, out) in groups.iter().zip(out_groups) {
        let mut out = out.each_mut().map(|out| &mut out[taken.clone()]);
        queries[0].set().query_group(
            queries[0].single_sum(),
            queries.each_ref().map(Query::values),
            rows,
            &mut out,
        );
        for (query, out) in queries.iter().zip(out) {
            query.finish(out, &norms);
        }
    }
    for (query, out) in rest.iter().zip(out_rest) {
        query.distances_of(rows, &mut out[taken.clone()]);
    }
}
