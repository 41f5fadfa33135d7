//! Where the key space lies deep: windows in which many runs cover the same keys.

use std::collections::HashMap;

use crate::compaction::depth::places;
use crate::compaction::ranges::Weight;
use crate::storage::collection::Segment;

/// A segment as a choice among runs sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece<'a> {
    /// The segment.
    pub(super) segment: &'a Segment,
    /// Its run, or a number that stands for all that will become one run.
    pub(super) run: u64,
    /// Its live rows.
    pub(super) weight: Weight,
    /// The places of the ends of its key range among all ends, both included.
    pub(super) first: usize,
    pub(super) last: usize,
}

/// Gives segments the places of their ranges.
pub(super) fn place<K: Ord>(pieces: &mut [Piece], ranges: &[(K, K)]) {
    for (piece, (first, last)) in pieces.iter_mut().zip(places(ranges)) {
        (piece.first, piece.last) = (first, last);
    }
}

/// Segments that cover adjoining keys, and by how many runs the deepest of these keys is covered.
#[derive(Debug)]
pub(super) struct Window<'a> {
    pub(super) pieces: Vec<Piece<'a>>,
    pub(super) depth: usize,
}

/// The windows of adjoining keys that at least `edge` runs cover, and somewhere at least `deep` runs.
///
/// Keys that no segment holds do not end a window. Windows are disjoint, but a segment may reach into several of them: it
/// is in each.
pub(super) fn windows<'a>(pieces: &[Piece<'a>], deep: usize, edge: usize) -> Vec<Window<'a>> {
    let depths = depths(pieces);
    let mut spans: Vec<(usize, usize, usize)> = Vec::new();
    let mut start = None;
    for at in 0..=depths.len() {
        let inside = depths.get(at).is_some_and(|d| *d >= edge);
        match (start, inside) {
            (None, true) => start = Some(at),
            (Some(from), false) => {
                let depth = depths[from..at].iter().copied().max().unwrap_or(0);
                if depth >= deep {
                    spans.push((from, at - 1, depth));
                }
                start = None;
            }
            _ => {}
        }
    }
    let mut found: Vec<Window> = spans
        .iter()
        .map(|(_, _, depth)| Window {
            pieces: Vec::new(),
            depth: *depth,
        })
        .collect();
    for piece in pieces {
        let first = spans.partition_point(|(_, end, _)| *end < piece.first);
        let reached = spans[first..].iter();
        let reached = reached.take_while(|(from, ..)| *from <= piece.last).count();
        let windows = found.iter_mut().skip(first).take(reached);
        windows.for_each(|window| window.pieces.push(*piece));
    }
    found
}

/// How many runs cover each place; segments of one run that meet count once.
pub(super) fn depths(pieces: &[Piece]) -> Vec<usize> {
    let places = pieces.iter().map(|p| p.last + 1).max().unwrap_or(0);
    let mut begin: Vec<Vec<u64>> = vec![Vec::new(); places];
    let mut end: Vec<Vec<u64>> = vec![Vec::new(); places];
    for piece in pieces {
        begin[piece.first].push(piece.run);
        end[piece.last].push(piece.run);
    }
    let mut open: HashMap<u64, usize> = HashMap::new();
    let mut depths = Vec::with_capacity(places);
    for (begin, end) in begin.into_iter().zip(end) {
        for run in begin {
            *open.entry(run).or_default() += 1;
        }
        depths.push(open.len());
        for run in end {
            if let Some(count) = open.get_mut(&run) {
                *count -= 1;
                if *count == 0 {
                    open.remove(&run);
                }
            }
        }
    }
    depths
}
