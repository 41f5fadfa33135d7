//! One query vector against one row or a matrix of rows, by any metric.

use ::half::f16;

use super::{half, single};

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

    /// Whether a smaller result means a nearer row (all but the plain inner product).
    pub fn smaller_is_nearer(self) -> bool {
        self != Metric::InnerProduct
    }
}

/// A query vector with what can be computed once for all rows.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    metric: Metric,
    values: &'a [f32],
    /// The inner product of the query with itself; only the cosine needs it.
    norm_squared: f64,
}

impl<'a> Query<'a> {
    /// Prepares a query.
    pub fn new(metric: Metric, values: &'a [f32]) -> Self {
        let norm_squared = match metric {
            Metric::Cosine => single::inner_product(values, values),
            _ => 0.0,
        };
        Self {
            metric,
            values,
            norm_squared,
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
        canonical(match self.metric {
            Metric::L2 => single::squared_l2(row, self.values).sqrt(),
            Metric::L2Squared => single::squared_l2(row, self.values),
            Metric::InnerProduct => single::inner_product(row, self.values),
            Metric::NegativeInnerProduct => -single::inner_product(row, self.values),
            Metric::Cosine => self.cosine(single::cosine_parts(row, self.values)),
            Metric::L1 => single::l1(row, self.values),
        })
    }

    /// The distance of a row of 16-bit floats.
    ///
    /// # Panics
    /// When the row has another dimension than the query.
    pub fn distance_half(&self, row: &[f16]) -> f64 {
        canonical(match self.metric {
            Metric::L2 => half::squared_l2(row, self.values).sqrt(),
            Metric::L2Squared => half::squared_l2(row, self.values),
            Metric::InnerProduct => half::inner_product(row, self.values),
            Metric::NegativeInnerProduct => -half::inner_product(row, self.values),
            Metric::Cosine => self.cosine(half::cosine_parts(row, self.values)),
            Metric::L1 => half::l1(row, self.values),
        })
    }

    /// The distances of all rows of a matrix, stored row after row; `out` has one slot for each.
    ///
    /// # Panics
    /// When the matrix does not hold `out.len()` rows of the query's dimension.
    pub fn distances(&self, matrix: &[f32], out: &mut [f64]) {
        assert_eq!(
            matrix.len(),
            out.len() * self.dimension(),
            "matrix of another shape"
        );
        for (row, slot) in matrix.chunks_exact(self.dimension().max(1)).zip(out) {
            *slot = self.distance(row);
        }
    }

    /// [`Query::distances`] for rows of 16-bit floats.
    ///
    /// # Panics
    /// When the matrix does not hold `out.len()` rows of the query's dimension.
    pub fn distances_half(&self, matrix: &[f16], out: &mut [f64]) {
        assert_eq!(
            matrix.len(),
            out.len() * self.dimension(),
            "matrix of another shape"
        );
        for (row, slot) in matrix.chunks_exact(self.dimension().max(1)).zip(out) {
            *slot = self.distance_half(row);
        }
    }

    fn cosine(&self, (dot, row_norm_squared): (f64, f64)) -> f64 {
        let similarity = dot / (row_norm_squared * self.norm_squared).sqrt();
        1.0 - similarity.clamp(-1.0, 1.0)
    }
}

/// One NaN, which sorts last, and one zero: results are compared bit for bit by Arrow's total order.
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
