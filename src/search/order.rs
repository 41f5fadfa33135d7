//! Distances as keys: numbers whose order is that of the result.

use datafusion::logical_expr::SortExpr;

/// The key of NULL where NULLs come last; no distance has it.
const LAST: u64 = u64::MAX;
/// The key of NULL where NULLs come first; no distance has it.
const FIRST: u64 = 0;

/// How a search orders distances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Order {
    /// Whether the greatest distance comes first.
    pub descending: bool,
    /// Whether rows without a distance come first.
    pub nulls_first: bool,
}

impl Order {
    /// The order of a sort key.
    pub fn of(key: &SortExpr) -> Self {
        Self {
            descending: !key.asc,
            nulls_first: key.nulls_first,
        }
    }

    /// The key of a distance. NaN, of which kernels make only one, is greater than all numbers.
    pub fn key(self, distance: Option<f64>) -> u64 {
        let Some(distance) = distance else {
            return if self.nulls_first { FIRST } else { LAST };
        };
        // The total order of IEEE 754: positive numbers above negative ones, whose order is the other way round.
        let bits = distance.to_bits();
        let ascending = bits ^ (((bits as i64 >> 63) as u64) | 1 << 63);
        if self.descending {
            !ascending
        } else {
            ascending
        }
    }

    /// The distance of a key.
    pub fn distance(self, key: u64) -> Option<f64> {
        if key == self.key(None) {
            return None;
        }
        let ascending = if self.descending { !key } else { key };
        let sign = if ascending >> 63 == 1 {
            1 << 63
        } else {
            u64::MAX
        };
        Some(f64::from_bits(ascending ^ sign))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDERED: [f64; 9] = [
        f64::NEG_INFINITY,
        -2.5,
        -f64::MIN_POSITIVE,
        0.0,
        5e-324,
        1.0,
        f64::MAX,
        f64::INFINITY,
        f64::NAN,
    ];

    #[test]
    fn keys_are_in_the_order_of_distances_and_give_them_back() {
        for descending in [false, true] {
            for nulls_first in [false, true] {
                let order = Order {
                    descending,
                    nulls_first,
                };
                let mut distances: Vec<Option<f64>> = ORDERED.into_iter().map(Some).collect();
                if descending {
                    distances.reverse();
                }
                let place = if nulls_first { 0 } else { distances.len() };
                distances.insert(place, None);
                let keys: Vec<u64> = distances.iter().map(|d| order.key(*d)).collect();
                assert!(keys.is_sorted_by(|a, b| a < b), "{order:?}");
                let back: Vec<_> = keys.iter().map(|k| order.distance(*k)).collect();
                let bits =
                    |d: &[Option<f64>]| d.iter().map(|d| d.map(f64::to_bits)).collect::<Vec<_>>();
                assert_eq!(bits(&back), bits(&distances));
            }
        }
    }
}
