//! Cells: parts of a segment whose vectors lie around one centroid of the clustering key's codebook.
//!
//! A segment is one ball; one that was sorted by `VECTOR (column)` is many small ones, which tell much more. Where no
//! vector of a cell can be near enough any more, its rows are neither filtered nor measured.

use std::ops::Range;
use std::sync::Arc;

use super::centroid::Ball;
use super::exec::Search;
use super::pool::{Piece, Unit};
use crate::storage::collection::{Collection, Segment};
use crate::storage::key_model::KeyModel;
use crate::storage::schema::FieldId;
use crate::storage::stats::Cell;

/// The cells of one segment.
#[derive(Debug)]
pub(super) struct SegmentCells {
    segment: Arc<Segment>,
    /// Has the centroids.
    model: Arc<KeyModel>,
    /// Where each cell ends.
    ends: Vec<u32>,
}

impl SegmentCells {
    /// The cells of a segment, if it has some around the centroids of now.
    pub fn of(unit: &Unit, collection: &Collection, vector: FieldId) -> Option<Self> {
        let Unit::Sealed(segment) = unit else {
            return None;
        };
        let cells = segment.stats.vector(vector)?.cells.as_ref()?;
        let ends = cells.cells.iter().scan(0, |end, cell| {
            *end += cell.rows;
            Some(*end)
        });
        let ends: Vec<u32> = ends.collect();
        let whole = ends
            .last()
            .is_some_and(|end| u64::from(*end) == segment.rows);
        whole.then_some(Self {
            model: Arc::clone(collection.model(cells.key)?),
            segment: Arc::clone(segment),
            ends,
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// For each cell a key that no row of it is below.
    pub fn least_keys(
        &self,
        search: &Search,
        query: Option<&[f32]>,
        accepts_null: bool,
    ) -> Vec<u64> {
        let (Some(query), Some(stats)) = (query, self.segment.stats.vector(search.vector)) else {
            return vec![0; self.len()];
        };
        let key = |cell: &Cell| self.least_key(search, query, cell).unwrap_or(0);
        let null = (stats.null_count > 0 && accepts_null).then(|| search.key(None));
        let cells = stats.cells.iter().flat_map(|cells| &cells.cells);
        cells
            .map(|cell| key(cell).min(null.unwrap_or(u64::MAX)))
            .collect()
    }

    fn least_key(&self, search: &Search, query: &[f32], cell: &Cell) -> Option<u64> {
        let centroid = self.model.codebook()?.leaf(cell.leaf)?;
        if centroid.len() != query.len() {
            return None;
        }
        let radius = cell.radius();
        search.least_key(Ball { centroid, radius }, query)
    }

    /// The cells that have some of these rows.
    pub fn meeting(&self, rows: &Range<u32>) -> Range<usize> {
        let first = self.ends.partition_point(|end| *end <= rows.start);
        let last = self.ends.partition_point(|end| *end < rows.end);
        first..(last + 1).min(self.len()).max(first)
    }

    /// Ascending ranges of rows, cell by cell.
    pub fn pieces(&self, ranges: &[Range<u32>]) -> Vec<Piece> {
        let mut pieces: Vec<Piece> = Vec::new();
        for range in ranges {
            for cell in self.meeting(range) {
                let start = cell.checked_sub(1).map_or(0, |before| self.ends[before]);
                let rows = range.start.max(start)..range.end.min(self.ends[cell]);
                match pieces.last_mut() {
                    Some(last) if last.cell == Some(cell) => last.rows.push(rows),
                    _ => pieces.push(Piece {
                        cell: Some(cell),
                        rows: vec![rows],
                    }),
                }
            }
        }
        pieces
    }
}
