//! Sums over pairs of `f32` slices.
//!
//! Sixteen independent lanes, because the compiler may not reorder one float sum by itself; lanes
//! accumulate in `f32` and are added up in `f64`. The relative error of a sum of n terms of one sign
//! is below (n / 16 + 2) * 2^-23.

/// Accumulators of one sum.
const LANES: usize = 16;

/// Adds `term(x, y)` over all pairs; both slices have one length.
///
/// The lanes go through the loop by value: updated in place they stay in memory, at a third of the
/// speed.
#[inline(always)]
fn sum(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f64 {
    assert_eq!(a.len(), b.len(), "vectors of different dimension");
    let (a_chunks, a_tail) = a.as_chunks::<LANES>();
    let (b_chunks, b_tail) = b.as_chunks::<LANES>();
    let add = |lanes: [f32; LANES], (x, y): (&[f32; LANES], &[f32; LANES])| {
        std::array::from_fn(|lane| lanes[lane] + term(x[lane], y[lane]))
    };
    let mut lanes = a_chunks.iter().zip(b_chunks).fold([0f32; LANES], add);
    for ((lane, x), y) in lanes.iter_mut().zip(a_tail).zip(b_tail) {
        *lane += term(*x, *y);
    }
    lanes.iter().map(|&lane| f64::from(lane)).sum()
}

/// The squared Euclidean distance.
pub fn squared_l2(a: &[f32], b: &[f32]) -> f64 {
    sum(a, b, |x, y| (x - y) * (x - y))
}

/// The inner product.
pub fn inner_product(a: &[f32], b: &[f32]) -> f64 {
    sum(a, b, |x, y| x * y)
}

/// The taxicab distance.
pub fn l1(a: &[f32], b: &[f32]) -> f64 {
    sum(a, b, |x, y| (x - y).abs())
}

/// The inner product of both slices, and of `a` with itself: two passes over a row that stays in
/// the cache, because one pass has too many lanes for the registers of a plain x86-64.
pub fn cosine_parts(a: &[f32], b: &[f32]) -> (f64, f64) {
    (inner_product(a, b), inner_product(a, a))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The bound of the module's doc, for a sum whose terms add up to `magnitude` in size.
    fn tolerance(len: usize, magnitude: f64) -> f64 {
        (len as f64 / LANES as f64 + 3.0) * f64::from(f32::EPSILON) * magnitude + 1e-37
    }

    fn exact(a: &[f32], b: &[f32], term: impl Fn(f64, f64) -> f64) -> (f64, f64) {
        let terms = a
            .iter()
            .zip(b)
            .map(|(&x, &y)| term(f64::from(x), f64::from(y)));
        terms.fold((0.0, 0.0), |(sum, size), t| (sum + t, size + t.abs()))
    }

    fn pairs() -> impl Strategy<Value = (Vec<f32>, Vec<f32>)> {
        let number = || prop_oneof![4 => -1e3f32..1e3, 1 => -1e-3f32..1e-3, 1 => Just(0.0f32)];
        prop::collection::vec((number(), number()), 0..200).prop_map(|v| v.into_iter().unzip())
    }

    proptest! {
        #[test]
        fn sums_are_close_to_exact((a, b) in pairs()) {
            let (dot, dot_size) = exact(&a, &b, |x, y| x * y);
            let (norm, _) = exact(&a, &a, |x, y| x * y);
            // A difference of rounded operands is itself rounded, relative to the difference.
            let (l2, _) = exact(&a, &b, |x, y| (x - y) * (x - y));
            let (l1_exact, _) = exact(&a, &b, |x, y| (x - y).abs());
            prop_assert!((squared_l2(&a, &b) - l2).abs() <= tolerance(a.len(), l2));
            prop_assert!((l1(&a, &b) - l1_exact).abs() <= tolerance(a.len(), l1_exact));
            prop_assert!((inner_product(&a, &b) - dot).abs() <= tolerance(a.len(), dot_size));
            let (d, n) = cosine_parts(&a, &b);
            prop_assert_eq!(d.to_bits(), inner_product(&a, &b).to_bits());
            prop_assert_eq!(n.to_bits(), inner_product(&a, &a).to_bits());
            prop_assert!((n - norm).abs() <= tolerance(a.len(), norm));
        }

        #[test]
        fn order_of_operands_does_not_matter((a, b) in pairs()) {
            for kernel in [squared_l2, inner_product, l1] {
                prop_assert_eq!(kernel(&a, &b).to_bits(), kernel(&b, &a).to_bits());
            }
        }
    }

    #[test]
    fn too_large_is_infinite() {
        assert_eq!(squared_l2(&[3e38], &[-3e38]), f64::INFINITY);
        assert_eq!(squared_l2(&[], &[]), 0.0);
    }
}
