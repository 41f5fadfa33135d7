//! A query of a search, and how near rows have to be to it.

use super::best::Bound;
use super::centroid::Ball;
use super::exec::Search;
use super::pool::Unit;

/// A query with what is known of it while a search runs; all workers share it.
#[derive(Debug)]
pub(super) struct Target {
    /// The query; `None` is NULL, from which every distance is NULL.
    pub vector: Option<Vec<f32>>,
    /// For each segment a key that no row of it is below.
    least: Vec<u64>,
    pub bound: Bound,
}

impl Target {
    /// A query whose winners are not above the key `limit`.
    pub fn new(
        search: &Search,
        vector: Option<Vec<f32>>,
        units: &[Unit],
        accepts_null: bool,
        limit: u64,
    ) -> Self {
        let least = |unit| least_key(search, vector.as_deref(), unit, accepts_null);
        Self {
            least: units.iter().map(least).collect(),
            bound: Bound::new(limit),
            vector,
        }
    }

    /// A key that no row of a segment is below.
    pub fn least(&self, unit: u32) -> u64 {
        self.least[unit as usize]
    }

    /// Whether no row of a segment can be among the winners any more.
    pub fn is_far(&self, unit: u32) -> bool {
        self.least(unit) > self.bound.get()
    }
}

/// A key that no row of a segment is below; the least of all where nothing is known.
fn least_key(search: &Search, query: Option<&[f32]>, unit: &Unit, accepts_null: bool) -> u64 {
    let Unit::Sealed(segment) = unit else {
        return 0;
    };
    let (Some(query), Some(stats)) = (query, segment.stats.vector(search.vector)) else {
        return 0;
    };
    let least = stats.centroid().filter(|c| c.len() == query.len());
    let least = least.and_then(|centroid| {
        let radius = stats.radius;
        search.least_key(Ball { centroid, radius }, query)
    });
    let least = least.unwrap_or(0);
    match stats.null_count > 0 && accepts_null {
        true => least.min(search.key(None)),
        false => least,
    }
}

impl Search {
    /// Whether centroid and radius of a segment tell what none of its rows is before.
    pub(super) fn skips_segments(&self) -> bool {
        !self.farthest_first() || self.metric.negated().is_some()
    }

    fn farthest_first(&self) -> bool {
        self.order.descending != self.score.is_decreasing()
    }

    /// A key that no vector of a ball is below.
    fn least_key(&self, ball: Ball, query: &[f32]) -> Option<u64> {
        let first = match self.farthest_first() {
            false => ball.least_distance(self.metric, query)?,
            // Not a sign turned: zero would become the zero that no distance is.
            true => 0.0 - ball.least_distance(self.metric.negated()?, query)?,
        };
        let nan = match ball.excludes_nan(self.metric, query) {
            true => u64::MAX,
            false => self.key(Some(f64::NAN)),
        };
        Some(self.key(Some(first)).min(nan))
    }
}
