//! The least distance that a vector of a segment can have from a query, from the centroid and radius of the segment.
//!
//! No vector `v` of the segment is farther (by L2) than `r` from the centroid `c`. Hence, for a query `q`:
//!
//! - L2 is at least `|q - c| - r` (triangle inequality), and L1 is never below L2.
//! - The inner product is at least `q.c - |q| r`, the negative one `-q.c - |q| r` (Cauchy and Schwarz).
//! - `v` is within `asin(r / |c|)` of the direction of `c`: the cosine distance is at least one minus the cosine of what
//!   the angle between `q` and `c` has above that.
//!
//! The bound holds for distances as they are computed: it is lowered by what rounding can take from them.

use shelfmark_udfs::{Metric, Query};

/// A ball that holds all vectors of a segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ball<'a> {
    pub centroid: &'a [f32],
    pub radius: f64,
}

/// What an angle in double precision, from a cosine, may be wrong by.
const ANGLE_ERROR: f64 = 1e-7;
/// The greatest product of norms of which no 32-bit sum overflows.
const PRODUCT_MAX: f64 = 1e30;
/// Norms within which 32-bit sums neither overflow nor vanish.
const NORMS: std::ops::Range<f64> = 1e-10..1e15;
/// What a sum may lose to terms too small for 32 bits: 16,000 squares below 2^-149, and the root of that.
const UNDERFLOW: f64 = 1e-20;

impl Ball<'_> {
    /// A distance that none computed of a vector of the ball is below; `None` when there is none worth the name.
    pub fn least_distance(&self, metric: Metric, query: &[f32]) -> Option<f64> {
        let error = relative_error(query.len());
        let least = match metric {
            Metric::L2 | Metric::L1 => self.least_l2(query, error),
            Metric::L2Squared => self.least_l2(query, error).powi(2) * (1.0 - error),
            Metric::InnerProduct => self.least_product(query, 1.0, error),
            Metric::NegativeInnerProduct => self.least_product(query, -1.0, error),
            Metric::Cosine => self.least_cosine(query, error),
        };
        least.is_finite().then_some(least)
    }

    /// Whether no vector of the ball has NaN for its distance.
    pub fn excludes_nan(&self, metric: Metric, query: &[f32]) -> bool {
        match metric {
            Metric::L2 | Metric::L2Squared | Metric::L1 => self.radius < f64::MAX,
            Metric::InnerProduct | Metric::NegativeInnerProduct => {
                norm(query) * (norm(self.centroid) + self.radius) <= PRODUCT_MAX
            }
            Metric::Cosine => self.has_directions(norm(query), query.len()),
        }
    }

    /// Whether all vectors, and a query of such a norm, have a direction that 32-bit sums can tell.
    fn has_directions(&self, of_query: f64, dimensions: usize) -> bool {
        let of_centroid = norm(self.centroid) * (1.0 - relative_error(dimensions));
        let norms = [
            of_query,
            of_centroid - self.radius,
            of_centroid + self.radius,
        ];
        norms.iter().all(|norm| NORMS.contains(norm))
    }

    fn least_l2(&self, query: &[f32], error: f64) -> f64 {
        let to_centroid = Query::new(Metric::L2, query).distance(self.centroid);
        let least = to_centroid * (1.0 - error) - self.radius;
        (least * (1.0 - error) - UNDERFLOW).max(0.0)
    }

    fn least_product(&self, query: &[f32], sign: f64, error: f64) -> f64 {
        let product = Query::new(Metric::InnerProduct, query).distance(self.centroid);
        let (of_query, of_centroid) = (norm(query), norm(self.centroid));
        if of_query * (of_centroid + self.radius) > PRODUCT_MAX {
            return f64::NEG_INFINITY;
        }
        // Each product errs by a part of the sum of its terms' sizes, which is at most the product of the norms.
        let wrong = 2.0 * error * of_query * (of_centroid + self.radius) + UNDERFLOW;
        sign * product - of_query * self.radius * (1.0 + error) - wrong
    }

    fn least_cosine(&self, query: &[f32], error: f64) -> f64 {
        let (of_query, of_centroid) = (norm(query), norm(self.centroid) * (1.0 - error));
        if !self.has_directions(of_query, query.len()) {
            return 0.0;
        }
        let cone = (self.radius / of_centroid).asin();
        let to_centroid = Query::new(Metric::Cosine, query).distance(self.centroid);
        // The kernel's cosine errs by some parts of 1, and an angle near zero by the root of that.
        let angle = (1.0 - (to_centroid - 4.0 * error).max(0.0)).acos();
        let least = 1.0 - (angle - cone - ANGLE_ERROR).max(0.0).cos();
        (least - 4.0 * error).max(0.0)
    }
}

/// What a sum of `dimensions` terms in 32 bits may be wrong by, relative to the sum of their sizes, in any order of
/// additions; with room for the rest of a distance.
fn relative_error(dimensions: usize) -> f64 {
    (dimensions as f64 + 16.0) * f64::from(f32::EPSILON)
}

fn norm(vector: &[f32]) -> f64 {
    Query::new(Metric::InnerProduct, vector)
        .distance(vector)
        .sqrt()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vectors() -> impl Strategy<Value = (Vec<Vec<f32>>, Vec<f32>)> {
        let number = prop_oneof![3 => -10f32..10.0, 1 => Just(0f32), 1 => -1e-3f32..1e-3];
        (1usize..40).prop_flat_map(move |dimensions| {
            let vector = prop::collection::vec(number.clone(), dimensions);
            (prop::collection::vec(vector.clone(), 1..20), vector)
        })
    }

    /// The centroid as it is kept, and a radius that is not too small.
    fn ball_of(rows: &[Vec<f32>]) -> (Vec<f32>, f64) {
        let mean =
            |i: usize| rows.iter().map(|row| f64::from(row[i])).sum::<f64>() / rows.len() as f64;
        let centroid: Vec<f32> = (0..rows[0].len()).map(|i| mean(i) as f32).collect();
        let distance = |row: &Vec<f32>| {
            let parts = row.iter().zip(&centroid);
            let squares = parts.map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
            squares.sum::<f64>().sqrt()
        };
        let radius = rows.iter().map(distance).fold(0.0, f64::max);
        (centroid, radius * (1.0 + 1e-11))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn no_distance_is_below_the_bound((rows, query) in vectors(), spread in 0f32..1.0) {
            // Around one point, so that the bound bites.
            let first = rows[0].clone();
            let near = |row: &Vec<f32>| -> Vec<f32> {
                first.iter().zip(row).map(|(a, b)| a + (b - a) * spread).collect()
            };
            let rows: Vec<Vec<f32>> = rows.iter().map(near).collect();
            let (centroid, radius) = ball_of(&rows);
            let ball = Ball { centroid: &centroid, radius };
            for metric in Metric::ALL {
                let Some(least) = ball.least_distance(metric, &query) else {
                    continue;
                };
                for row in &rows {
                    let distance = Query::new(metric, &query).distance(row);
                    let holds = match distance.is_nan() {
                        true => !ball.excludes_nan(metric, &query),
                        false => distance >= least,
                    };
                    prop_assert!(holds, "{:?} {} {}", metric, distance, least);
                }
            }
        }
    }

    #[test]
    fn the_bound_of_a_small_ball_is_near() {
        let ball = Ball {
            centroid: &[100.0, 0.0],
            radius: 1.0,
        };
        let least = |metric| ball.least_distance(metric, &[0.0, 1.0]).unwrap_or(f64::NAN);
        assert!((least(Metric::L2) - 99.0).abs() < 0.01);
        assert!((least(Metric::L1) - 99.0).abs() < 0.01);
        assert!((least(Metric::NegativeInnerProduct) + 1.0).abs() < 0.01);
        assert!((least(Metric::Cosine) - 0.99).abs() < 0.01);
        let all = Ball {
            centroid: &[0.0, 0.0],
            radius: f64::MAX,
        };
        assert_eq!(all.least_distance(Metric::L2, &[1.0, 1.0]), Some(0.0));
        assert_eq!(all.least_distance(Metric::Cosine, &[1.0, 1.0]), Some(0.0));
        assert_eq!(all.least_distance(Metric::InnerProduct, &[1.0, 1.0]), None);
    }
}
