//! A query of a search, and how near rows have to be to it.

use super::best::Bound;
use super::cells::SegmentCells;
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
    /// For each segment with cells the same of each cell.
    cells: Vec<Vec<u64>>,
    pub bound: Bound,
}

impl Target {
    /// A query whose winners are not above the key `limit`.
    pub fn new(
        search: &Search,
        vector: Option<Vec<f32>>,
        units: &[Unit],
        cells: &[Option<SegmentCells>],
        accepts_null: bool,
        limit: u64,
    ) -> Self {
        let query = vector.as_deref();
        let of_cells = |cells: &Option<SegmentCells>| match cells {
            Some(cells) => cells.least_keys(search, query, accepts_null),
            None => Vec::new(),
        };
        let cells: Vec<Vec<u64>> = cells.iter().map(of_cells).collect();
        // A segment is one ball and the sum of its cells: both tell something.
        let least = |(unit, cells): (&Unit, &Vec<u64>)| {
            let of_cells = cells.iter().min().copied().unwrap_or(0);
            least_key(search, query, unit, accepts_null).max(of_cells)
        };
        Self {
            least: units.iter().zip(&cells).map(least).collect(),
            cells,
            bound: Bound::new(limit),
            vector,
        }
    }

    /// A key that no row of a segment, or of a cell of it, is below.
    pub fn least(&self, unit: u32, cell: Option<usize>) -> u64 {
        let of_cell = cell.and_then(|cell| self.cells[unit as usize].get(cell));
        self.least[unit as usize].max(of_cell.copied().unwrap_or(0))
    }

    /// Whether no row of a segment, or of a cell of it, can be among the winners any more.
    pub fn is_far(&self, unit: u32, cell: Option<usize>) -> bool {
        self.least(unit, cell) > self.bound.get()
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
    pub(super) fn least_key(&self, ball: Ball, query: &[f32]) -> Option<u64> {
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
