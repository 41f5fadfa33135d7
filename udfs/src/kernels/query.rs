//! One query vector against one row or a matrix of rows, by any metric.

use ::half::f16;

use super::rows::Rows;
use super::set::{InstructionSet, Sum};

/// A way to measure two vectors; all results are `f64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Metric {
    /// Euclidean distance, `<->`.
    L2,
    /// Euclidean distance squared, which orders rows the same.
    L2Squared,
    /// Inner product; the larger the nearer.
    InnerProduct,
    /// Inner product with its sign turned, `<#>`, so that the smaller is the nearer.
    NegativeInnerProduct,
    /// Cosine distance, `<=>`: 1 minus the cosine of the angle, NaN for a zero vector.
    Cosine,
    /// Taxicab distance, `<+>`.
    L1,
}

impl Metric {
    /// Every metric.
    pub const ALL: [Metric; 6] = [
        Metric::L2,
        Metric::L2Squared,
        Metric::InnerProduct,
        Metric::NegativeInnerProduct,
        Metric::Cosine,
        Metric::L1,
    ];

    /// The operator of pgvector that computes it.
    pub fn operator(self) -> Option<&'static str> {
        match self {
            Metric::L2 => Some("<->"),
            Metric::NegativeInnerProduct => Some("<#>"),
            Metric::Cosine => Some("<=>"),
            Metric::L1 => Some("<+>"),
            Metric::L2Squared | Metric::InnerProduct => None,
        }
    }

    /// The metric whose results are these with the sign turned.
    pub fn negated(self) -> Option<Metric> {
        match self {
            Metric::InnerProduct => Some(Metric::NegativeInnerProduct),
            Metric::NegativeInnerProduct => Some(Metric::InnerProduct),
            _ => None,
        }
    }

    /// Whether a smaller result means a nearer row (all but the plain inner product).
    pub fn smaller_is_nearer(self) -> bool {
        self != Metric::InnerProduct
    }
}

/// Rows measured at once, which bounds the memory for their sums.
pub(super) const BLOCK: usize = 64;

/// A query vector with what can be computed once for all rows.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    metric: Metric,
    values: &'a [f32],
    /// The inner product of the query with itself; only the cosine needs it.
    norm_squared: f64,
    kernels: InstructionSet,
}

impl<'a> Query<'a> {
    /// Prepares a query.
    pub fn new(metric: Metric, values: &'a [f32]) -> Self {
        Self::with_instruction_set(metric, values, InstructionSet::best())
    }

    /// [`Query::new`] with the kernels of an instruction set other than the best.
    pub fn with_instruction_set(
        metric: Metric,
        values: &'a [f32],
        kernels: InstructionSet,
    ) -> Self {
        let mut norm = [[0.0; 2]];
        if metric == Metric::Cosine {
            kernels.one_query(Sum::Norm, values, Rows::from(values), &mut norm);
        }
        Self {
            metric,
            values,
            norm_squared: norm[0][0],
            kernels,
        }
    }

    /// The number of elements that a row must have.
    pub fn dimension(&self) -> usize {
        self.values.len()
    }

    /// The distance of a row.
    ///
    /// # Panics
    /// When the row has another dimension than the query.
    pub fn distance(&self, row: &[f32]) -> f64 {
        self.distance_of(Rows::from(row))
    }

    /// The distance of a row of 16-bit floats.
    ///
    /// # Panics
    /// When the row has another dimension than the query.
    pub fn distance_half(&self, row: &[f16]) -> f64 {
        self.distance_of(Rows::from(row))
    }

    /// The distances of all rows of a matrix, stored row after row; `out` has one slot for each.
    ///
    /// # Panics
    /// When the matrix does not hold `out.len()` rows of the query's dimension.
    pub fn distances(&self, matrix: &[f32], out: &mut [f64]) {
        self.distances_of(Rows::from(matrix), out);
    }

    /// [`Query::distances`] for rows of 16-bit floats.
    ///
    /// # Panics
    /// When the matrix does not hold `out.len()` rows of the query's dimension.
    pub fn distances_half(&self, matrix: &[f16], out: &mut [f64]) {
        self.distances_of(Rows::from(matrix), out);
    }

    /// [`Query::distances`] for the bytes of a page: little-endian `f32` at any alignment.
    ///
    /// # Panics
    /// When the page does not hold `out.len()` rows of the query's dimension.
    pub fn distances_le_bytes(&self, page: &[u8], out: &mut [f64]) {
        self.distances_of(Rows::single_le_bytes(page), out);
    }

    /// [`Query::distances`] for the bytes of a page: little-endian `f16` at any alignment.
    ///
    /// # Panics
    /// When the page does not hold `out.len()` rows of the query's dimension.
    pub fn distances_half_le_bytes(&self, page: &[u8], out: &mut [f64]) {
        self.distances_of(Rows::half_le_bytes(page), out);
    }

    /// The distances of rows in any form; `out` has one slot for each.
    ///
    /// # Panics
    /// When there are not `out.len()` rows of the query's dimension.
    pub fn distances_of(&self, rows: Rows, out: &mut [f64]) {
        rows.assert_shape(self.dimension(), out.len());
        let row_bytes = rows.row_bytes(self.dimension());
        for (block, out) in out.chunks_mut(BLOCK).enumerate() {
            let rows = rows.slice(row_bytes, block * BLOCK, out.len());
            let mut sums = [[0.0; 2]; BLOCK];
            let mut norms = [0.0; BLOCK];
            let sums = &mut sums[..out.len()];
            self.kernels.one_query(self.sum(), self.values, rows, sums);
            for ((slot, norm), sums) in out.iter_mut().zip(&mut norms).zip(sums) {
                [*slot, *norm] = *sums;
            }
            self.finish(out, &norms);
        }
    }

    fn distance_of(&self, row: Rows) -> f64 {
        let mut sums = [[0.0; 2]];
        self.kernels
            .one_query(self.sum(), self.values, row, &mut sums);
        let [[sum, norm]] = sums;
        let mut distance = [sum];
        self.finish(&mut distance, &[norm]);
        distance[0]
    }

    pub(super) fn values(&self) -> &'a [f32] {
        self.values
    }

    pub(super) fn set(&self) -> InstructionSet {
        self.kernels
    }

    /// Whether both can share the reading of a row.
    pub(super) fn is_like(&self, other: &Query) -> bool {
        self.metric == other.metric && self.dimension() == other.dimension()
    }

    fn sum(&self) -> Sum {
        match self.metric {
            Metric::L2 | Metric::L2Squared => Sum::SquaredL2,
            Metric::InnerProduct | Metric::NegativeInnerProduct => Sum::InnerProduct,
            Metric::Cosine => Sum::CosineParts,
            Metric::L1 => Sum::L1,
        }
    }

    /// The sum that depends on the query, where norms of rows are computed apart.
    pub(super) fn single_sum(&self) -> Sum {
        match self.sum() {
            Sum::CosineParts => Sum::InnerProduct,
            sum => sum,
        }
    }

    /// The inner product with itself of each of at most [`BLOCK`] rows, where [`Query::finish`] needs it.
    pub(super) fn row_norms(&self, rows: Rows, count: usize) -> [f64; BLOCK] {
        let mut sums = [[0.0; 2]; BLOCK];
        if self.metric == Metric::Cosine {
            let sums = &mut sums[..count];
            self.kernels.one_query(Sum::Norm, self.values, rows, sums);
        }
        sums.map(|[norm, _]| norm)
    }

    /// Makes distances of the first sums; `row_norms` has as many numbers at least.
    pub(super) fn finish(&self, sums: &mut [f64], row_norms: &[f64]) {
        self.kernels
            .finish(self.metric, self.norm_squared, sums, row_norms);
    }
}

/// From the first sums of rows to their distances, in place. The rows' inner products with themselves are needed for
/// the cosine alone.
#[inline(always)]
pub(super) fn finish(metric: Metric, norm_squared: f64, sums: &mut [f64], row_norms: &[f64]) {
    match metric {
        Metric::L2 => {
            for sum in sums {
                *sum = canonical(sum.sqrt());
            }
        }
        Metric::L2Squared | Metric::InnerProduct | Metric::L1 => {
            for sum in sums {
                *sum = canonical(*sum);
            }
        }
        Metric::NegativeInnerProduct => {
            for sum in sums {
                *sum = canonical(-*sum);
            }
        }
        Metric::Cosine => {
            for (sum, row_norm) in sums.iter_mut().zip(row_norms) {
                let similarity = *sum / (row_norm * norm_squared).sqrt();
                *sum = canonical(1.0 - similarity.clamp(-1.0, 1.0));
            }
        }
    }
}

/// One NaN, which sorts last, and one zero: results are compared bit for bit by Arrow's total order.
#[inline(always)]
fn canonical(distance: f64) -> f64 {
    if distance.is_nan() {
        f64::NAN
    } else {
        distance + 0.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn distance(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
        Query::new(metric, b).distance(a)
    }

    #[test]
    fn known_distances() {
        let (a, b) = ([1.0, 2.0, 2.0], [4.0, 6.0, 2.0]);
        assert_eq!(distance(Metric::L2, &a, &b), 5.0);
        assert_eq!(distance(Metric::L2Squared, &a, &b), 25.0);
        assert_eq!(distance(Metric::InnerProduct, &a, &b), 20.0);
        assert_eq!(distance(Metric::NegativeInnerProduct, &a, &b), -20.0);
        assert_eq!(distance(Metric::L1, &a, &b), 7.0);
        assert_eq!(distance(Metric::Cosine, &[1.0, 1.0], &[2.0, 2.0]), 0.0);
        assert_eq!(distance(Metric::Cosine, &[1.0, 0.0], &[0.0, 2.0]), 1.0);
        assert_eq!(distance(Metric::Cosine, &[1.0, 1.0], &[-1.1, -1.1]), 2.0);
    }

    #[test]
    fn results_are_canonical() {
        let zero = distance(Metric::NegativeInnerProduct, &[0.0], &[1.0]);
        assert_eq!(zero.to_bits(), 0f64.to_bits());
        let nan = distance(Metric::Cosine, &[0.0, 0.0], &[1.0, 2.0]);
        assert_eq!(nan.to_bits(), f64::NAN.to_bits());
        assert_eq!(nan.total_cmp(&f64::INFINITY), std::cmp::Ordering::Greater);
    }

    proptest! {
        #[test]
        fn a_matrix_gives_what_its_rows_give(
            rows in prop::collection::vec(prop::collection::vec(-1e6f32..1e6, 19), 1..20)
        ) {
            let matrix: Vec<f32> = rows.concat();
            let halves: Vec<f16> = matrix.iter().map(|&x| f16::from_f32(x / 100.0)).collect();
            for metric in Metric::ALL {
                let query = Query::new(metric, &rows[0]);
                let mut out = vec![0.0; rows.len()];
                query.distances(&matrix, &mut out);
                for (row, d) in rows.iter().zip(&out) {
                    prop_assert_eq!(query.distance(row).to_bits(), d.to_bits());
                    prop_assert_eq!(distance(metric, &rows[0], row).to_bits(), d.to_bits());
                }
                query.distances_half(&halves, &mut out);
                for (row, d) in halves.chunks(19).zip(&out) {
                    prop_assert_eq!(query.distance_half(row).to_bits(), d.to_bits());
                }
            }
        }
    }
}
