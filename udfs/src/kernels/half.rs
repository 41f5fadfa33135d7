//! Sums over pairs of an `f16` row and an `f32` query.
//!
//! Rows are widened block by block on the stack (with the processor's own instruction where it has
//! one), then go through [`super::single`].

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::single;

/// Elements widened at once; a multiple of the lanes of [`single`].
const BLOCK: usize = 256;

/// Calls `add` with each block of the row, widened, and the same block of the query.
#[inline(always)]
fn for_each_block(row: &[f16], query: &[f32], mut add: impl FnMut(&[f32], &[f32])) {
    assert_eq!(row.len(), query.len(), "vectors of different dimension");
    let mut wide = [0f32; BLOCK];
    for (row, query) in row.chunks(BLOCK).zip(query.chunks(BLOCK)) {
        let wide = &mut wide[..row.len()];
        row.convert_to_f32_slice(wide);
        add(wide, query);
    }
}

fn sum(row: &[f16], query: &[f32], kernel: impl Fn(&[f32], &[f32]) -> f64) -> f64 {
    let mut total = 0.0;
    for_each_block(row, query, |a, b| total += kernel(a, b));
    total
}

/// The squared Euclidean distance.
pub fn squared_l2(row: &[f16], query: &[f32]) -> f64 {
    sum(row, query, single::squared_l2)
}

/// The inner product.
pub fn inner_product(row: &[f16], query: &[f32]) -> f64 {
    sum(row, query, single::inner_product)
}

/// The taxicab distance.
pub fn l1(row: &[f16], query: &[f32]) -> f64 {
    sum(row, query, single::l1)
}

/// The inner product of row and query, and of the row with itself, widened once.
pub fn cosine_parts(row: &[f16], query: &[f32]) -> (f64, f64) {
    let (mut dot, mut norm) = (0.0, 0.0);
    for_each_block(row, query, |a, b| {
        let (block_dot, block_norm) = single::cosine_parts(a, b);
        dot += block_dot;
        norm += block_norm;
    });
    (dot, norm)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn half_rows_agree_with_wide_rows(
            values in prop::collection::vec((-100f32..100.0, -100f32..100.0), 0..600)
        ) {
            let (row, query): (Vec<f32>, Vec<f32>) = values.into_iter().unzip();
            let row: Vec<f16> = row.into_iter().map(f16::from_f32).collect();
            let wide: Vec<f32> = row.iter().map(|x| x.to_f32()).collect();
            let size = single::inner_product(&wide, &wide) + single::inner_product(&query, &query);
            let close = |a: f64, b: f64| (a - b).abs() <= 1e-4 * size + 1e-6;
            prop_assert!(close(squared_l2(&row, &query), single::squared_l2(&wide, &query)));
            prop_assert!(close(inner_product(&row, &query), single::inner_product(&wide, &query)));
            prop_assert!(close(l1(&row, &query), single::l1(&wide, &query)));
            let (dot, norm) = cosine_parts(&row, &query);
            prop_assert!(close(dot, single::inner_product(&wide, &query)));
            prop_assert!(close(norm, single::inner_product(&wide, &wide)));
        }
    }
}
