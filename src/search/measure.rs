//! A worker: finds candidates and measures them where they lie.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, Float64Array};
use arrow::datatypes::{DataType, Float16Type, Float32Type, UInt32Type};
use datafusion::common::Result;
use datafusion::execution::memory_pool::MemoryReservation;
use shelfmark_udfs::{Element, Query, Rows as Vectors, VectorType, distances_many};

use super::best::{Address, Best, Bound, least_key_of};
use super::exec::Search;
use super::pool::{Opened, Piece, Task, Unit};
use super::run::Run;
use crate::catalog::scan::{RowGroup, Rows};
use crate::error::Error;
use crate::storage::adapt::adapt_batch;
use crate::storage::growing::GrowingSegment;
use crate::storage::segment::{ReadRequest, select_ranges};
use crate::storage::vectors::{ElementType, VectorPages};

/// Bytes of vectors that are measured at once, before their distances are offered.
const BLOCK_BYTES: usize = 128 << 10;
/// Bytes of vectors that one task measures, about: some hundred microseconds.
const TASK_BYTES: usize = 4 << 20;
/// How many distances there are room for at once.
const DISTANCES_MAX: usize = 64 << 10;
/// How many queries measure as many rows in a task as one does; more measure fewer.
const TASK_QUERIES: usize = 32;
/// Rows of a batch where vectors have to be decoded.
const BATCH_ROWS: usize = 1_024;
/// Rows that are offered or passed over together.
const CHUNK_ROWS: usize = 16;

/// One of those who do the work of a search.
pub(super) struct Worker {
    run: Arc<Run>,
    /// The best of each query.
    pub best: Vec<Best>,
    /// Rows of the block that is measured.
    rows: Vec<u32>,
    /// Their distances from each of the queries that measure them, one query after the other.
    distances: Vec<f64>,
}

/// The queries whose winners may be among the rows of a segment.
struct Near<'a> {
    /// Those that have a vector, by their places among all.
    places: Vec<usize>,
    /// Their vectors.
    queries: Vec<Query<'a>>,
    /// The places of those that are NULL.
    nulls: Vec<usize>,
}

impl<'a> Near<'a> {
    fn of(run: &'a Run, unit: u32, cell: Option<usize>) -> Self {
        let mut near = Self {
            places: Vec::new(),
            queries: Vec::new(),
            nulls: Vec::new(),
        };
        let targets = run.targets.iter().enumerate();
        for (place, target) in targets.filter(|(_, target)| !target.is_far(unit, cell)) {
            match &target.vector {
                None => near.nulls.push(place),
                Some(vector) => {
                    near.places.push(place);
                    near.queries.push(Query::new(run.search.metric, vector));
                }
            }
        }
        near
    }

    /// How many rows of so many bytes are measured at once.
    fn block_rows(&self, vector_bytes: usize) -> usize {
        let few = DISTANCES_MAX / self.queries.len().max(1);
        (BLOCK_BYTES / vector_bytes.max(1)).min(few).max(1)
    }
}

impl Worker {
    pub fn new(run: Arc<Run>, reservation: &MemoryReservation) -> Self {
        let (k, ties) = (run.search.k, run.search.ties);
        let best = |_| Best::new(k, ties, reservation.new_empty());
        Self {
            best: run.targets.iter().map(best).collect(),
            run,
            rows: Vec::new(),
            distances: Vec::new(),
        }
    }

    /// Does a task; adds those that it leads to.
    ///
    /// # Errors
    /// Those of the filters; XX001 when a file is damaged, 58030 when it cannot be read; 53200 without memory.
    pub fn perform(&mut self, task: Task) -> Result<()> {
        match task {
            Task::Open(unit) if self.run.is_far(unit, None) => {
                self.run.metrics.segments_skipped.add(1);
                Ok(())
            }
            Task::Open(unit) => match self.run.units[unit as usize].clone() {
                Unit::Growing(segment) => self.search_growing(unit, &segment),
                Unit::Sealed(_) => self.open(unit),
            },
            Task::Find(opened, row_group) => self.find(opened, row_group),
            Task::Measure(opened, pieces) => self.measure_all(&opened, &pieces),
        }
    }

    fn open(&mut self, unit: u32) -> Result<()> {
        let run = Arc::clone(&self.run);
        let Unit::Sealed(segment) = &run.units[unit as usize] else {
            return Err(Error::internal("a growing segment has no file").into());
        };
        let _timer = run.metrics.filter_time.timer();
        let reader = run.source.open_segment(segment.id)?;
        let row_groups = run.candidates.row_groups(segment, &reader)?;
        if row_groups.is_empty() {
            run.metrics.segments_pruned_late.add(1);
            return Ok(());
        }
        run.metrics.segments_scanned.add(1);
        let pages = reader.vector_pages(run.search.vector)?;
        if let Some(pages) = &pages {
            pages.check_length()?;
        }
        let opened = Arc::new(Opened {
            unit,
            segment: Arc::clone(segment),
            pages,
            reader,
        });
        let mut row_groups = row_groups;
        row_groups.sort_by_cached_key(|row_group| {
            run.least(unit, &opened.reader.row_group_range(row_group.index))
        });
        let find = |row_group: RowGroup| {
            let all = || opened.reader.row_group_range(row_group.index).len();
            let bytes = match &row_group.certain {
                Some(rows) => run.measure_bytes(rows.len() as u64),
                None => run.filter_bytes(all() as u64),
            };
            (Task::Find(Arc::clone(&opened), row_group), bytes)
        };
        run.pool.add(row_groups.into_iter().map(find));
        Ok(())
    }

    fn find(&mut self, opened: Arc<Opened>, row_group: RowGroup) -> Result<()> {
        let run = Arc::clone(&self.run);
        let rows = opened.reader.row_group_range(row_group.index);
        // The bound may have fallen since the segment was opened: nothing in it is near enough any more.
        if run.are_far(opened.unit, &rows) {
            run.metrics.rows_skipped.add(rows.len());
            return Ok(());
        }
        let timer = run.metrics.filter_time.timer();
        let found = run
            .candidates
            .in_row_group(&opened.segment, &opened.reader, row_group)?;
        timer.done();
        self.count(&found);
        let vector_bytes = run.dimensions().unwrap_or(0) * size_of::<f32>();
        let rows_max = TASK_BYTES / vector_bytes.max(1);
        let rows_max = rows_max * TASK_QUERIES / run.targets.len().max(TASK_QUERIES);
        let pieces = run.pieces(opened.unit, found.ranges);
        let measure = |share: Vec<Piece>| {
            let rows: usize = share.iter().map(Piece::len).sum();
            let bytes = run.measure_bytes(rows as u64);
            (Task::Measure(Arc::clone(&opened), share), bytes)
        };
        let shares = shares(pieces, rows_max.max(1));
        run.pool.add(shares.into_iter().map(measure));
        Ok(())
    }

    fn measure_all(&mut self, opened: &Opened, pieces: &[Piece]) -> Result<()> {
        for piece in pieces {
            match self.run.is_far(opened.unit, piece.cell) {
                true => self.run.metrics.rows_skipped.add(piece.len()),
                false => self.measure(opened, piece)?,
            }
        }
        Ok(())
    }

    fn count(&self, found: &Rows) {
        let metrics = &self.run.metrics;
        let candidates = found.ranges.iter().map(|r| r.len()).sum();
        metrics.candidates.add(candidates);
        metrics.rows_filtered.add(found.evaluated as usize);
        metrics.other_bytes.add(found.bytes_read as usize);
    }

    fn measure(&mut self, opened: &Opened, piece: &Piece) -> Result<()> {
        let run = Arc::clone(&self.run);
        let _timer = run.metrics.scan_time.timer();
        let near = Near::of(&run, opened.unit, piece.cell);
        let rows = piece.rows.as_slice();
        self.offer_nulls(&near.nulls, opened.unit, rows.iter().cloned().flatten())?;
        if near.queries.is_empty() {
            return Ok(());
        }
        let Some(pages) = &opened.pages else {
            return self.measure_decoded(opened, rows, &near);
        };
        let element = match pages.element() {
            ElementType::Float32 => Element::Single,
            ElementType::Float16 => Element::Half,
        };
        run.check_dimensions(pages.dimensions(), element)?;
        self.measure_pages(opened.unit, pages, rows, &near)
    }

    fn measure_pages(
        &mut self,
        unit: u32,
        pages: &VectorPages,
        rows: &[Range<u32>],
        near: &Near,
    ) -> Result<()> {
        let mut page = rows.first().map_or(0, |r| pages.page_of(r.start));
        for range in rows {
            let mut next = range.start;
            while next < range.end {
                let end = |page: usize| pages.pages()[page].first_row + pages.pages()[page].rows;
                while end(page) <= next {
                    page += 1;
                }
                let in_page = next..range.end.min(end(page));
                next = in_page.end;
                self.measure_page(unit, pages, page, in_page, near)?;
            }
        }
        Ok(())
    }

    /// Measures rows that follow each other in one page.
    fn measure_page(
        &mut self,
        unit: u32,
        pages: &VectorPages,
        page: usize,
        rows: Range<u32>,
        near: &Near,
    ) -> Result<()> {
        let of_page = &pages.pages()[page];
        let (first, end) = (rows.start - of_page.first_row, rows.end - of_page.first_row);
        let (from, to) = (of_page.vectors_before(first), of_page.vectors_before(end));
        if let Some(validity) = &of_page.validity {
            let null = |row: &u32| validity.is_null((row - of_page.first_row) as usize);
            self.offer_nulls(&near.places, unit, rows.clone().filter(null))?;
        }
        let valid = |row: &u32| match &of_page.validity {
            Some(validity) => validity.is_valid((row - of_page.first_row) as usize),
            None => true,
        };
        let mut valid_rows = rows.filter(valid);
        let block = near.block_rows(pages.vector_bytes());
        for start in (from..to).step_by(block) {
            let vectors = start..to.min(start + block);
            self.rows.clear();
            self.rows.extend(valid_rows.by_ref().take(vectors.len()));
            let bytes = pages.vectors(page, vectors)?;
            let vectors = match pages.element() {
                ElementType::Float32 => Vectors::single_le_bytes(bytes),
                ElementType::Float16 => Vectors::half_le_bytes(bytes),
            };
            self.measure_block(vectors, near);
            let metrics = &self.run.metrics;
            metrics
                .vector_bytes
                .add(self.rows.len() * pages.vector_bytes());
            self.offer_block(unit, near)?;
        }
        Ok(())
    }

    /// Fills in the distances of the block's rows.
    fn measure_block(&mut self, vectors: Vectors, near: &Near) {
        self.distances
            .resize(self.rows.len() * near.queries.len(), 0.0);
        match near.queries.as_slice() {
            [query] => query.distances_of(vectors, &mut self.distances),
            queries => distances_many(queries, vectors, &mut self.distances),
        }
    }

    /// Measures rows of a file whose vectors are not in raw pages, or that has none of them.
    fn measure_decoded(&mut self, opened: &Opened, rows: &[Range<u32>], near: &Near) -> Result<()> {
        let run = Arc::clone(&self.run);
        let Some(first) = rows.first() else {
            return Ok(());
        };
        let reader = &opened.reader;
        // Tasks stay within a row group.
        let row_group = reader.row_group_of(first.start);
        let all = reader.row_group_range(row_group);
        let batches = reader.read(ReadRequest {
            schema: Arc::clone(&run.source.collection.schema),
            fields: vec![run.search.vector],
            row_groups: vec![row_group],
            rows: Some(select_ranges(all, rows.iter().cloned())),
            row_number: true,
            filter: None,
            batch_size: BATCH_ROWS,
        })?;
        for batch in batches {
            let batch = batch?;
            let places = batch.column(1).as_primitive::<UInt32Type>().values();
            self.measure_array(opened.unit, batch.column(0), places, near)?;
        }
        Ok(())
    }

    fn search_growing(&mut self, unit: u32, segment: &GrowingSegment) -> Result<()> {
        let run = Arc::clone(&self.run);
        let timer = run.metrics.filter_time.timer();
        let found = run.candidates.in_growing(segment)?;
        timer.done();
        self.count(&found);
        let _timer = run.metrics.scan_time.timer();
        let near = Near::of(&run, unit, None);
        let rows = found.ranges.iter().cloned().flatten();
        self.offer_nulls(&near.nulls, unit, rows)?;
        if near.queries.is_empty() {
            return Ok(());
        }
        let schema = &run.source.collection.schema;
        let mut ranges = found.ranges.as_slice();
        let mut first = 0;
        for batch in segment.batches() {
            let end = first + batch.num_rows() as u32;
            let vectors = adapt_batch(batch, schema, &[run.search.vector])?;
            while let Some(range) = ranges.first().filter(|r| r.start < end) {
                let rows: Vec<u32> = (range.start.max(first)..range.end.min(end)).collect();
                let start = rows.first().map_or(0, |row| row - first);
                let array = vectors.column(0).slice(start as usize, rows.len());
                self.measure_array(unit, &array, &rows, &near)?;
                if range.end > end {
                    break;
                }
                ranges = &ranges[1..];
            }
            first = end;
        }
        Ok(())
    }

    /// Measures the vectors of an array of the column's type, which belong to `rows`.
    fn measure_array(
        &mut self,
        unit: u32,
        array: &ArrayRef,
        rows: &[u32],
        near: &Near,
    ) -> Result<()> {
        let vectors = array.as_fixed_size_list();
        let is_null = |i: &usize| vectors.is_null(*i);
        let nulls = (0..rows.len()).filter(is_null).map(|i| rows[i]);
        self.offer_nulls(&near.places, unit, nulls)?;
        if vectors.null_count() == rows.len() {
            return Ok(());
        }
        let dimensions = vectors.value_length() as usize;
        let element = VectorType::of(array.data_type()).map_or(Element::Single, |v| v.element);
        self.run.check_dimensions(dimensions, element)?;
        let block = near.block_rows(dimensions * size_of::<f32>());
        for start in (0..rows.len()).step_by(block) {
            let count = block.min(rows.len() - start);
            self.rows.clear();
            self.rows.extend_from_slice(&rows[start..start + count]);
            self.measure_matrix(&vectors.slice(start, count), near);
            self.offer_block(unit, near)?;
        }
        Ok(())
    }

    /// Fills in the distances of the block's rows that have a vector, and leaves out the others.
    fn measure_matrix(&mut self, vectors: &FixedSizeListArray, near: &Near) {
        let values = vectors.values();
        let matrix = match vectors.value_type() {
            DataType::Float16 => Vectors::from(&values.as_primitive::<Float16Type>().values()[..]),
            _ => Vectors::from(&values.as_primitive::<Float32Type>().values()[..]),
        };
        self.measure_block(matrix, near);
        let bytes = values.len() * values.data_type().primitive_width().unwrap_or(0);
        self.run.metrics.vector_bytes.add(bytes);
        if vectors.null_count() > 0 {
            let valid = |(i, _): &(usize, f64)| vectors.is_valid(i % vectors.len());
            let distances = self.distances.iter().copied().enumerate();
            self.distances = distances.filter(valid).map(|(_, d)| d).collect();
            let mut place = 0..;
            self.rows
                .retain(|_| place.next().is_some_and(|i| vectors.is_valid(i)));
        }
    }

    /// Offers the rows of the block with their distances.
    fn offer_block(&mut self, unit: u32, near: &Near) -> Result<()> {
        let (run, rows) = (&self.run, &self.rows);
        if rows.is_empty() {
            return Ok(());
        }
        run.metrics.distances.add(self.distances.len());
        for (place, distances) in near.places.iter().zip(self.distances.chunks(rows.len())) {
            let (best, bound) = (&mut self.best[*place], &run.targets[*place].bound);
            if run.search.distance_filter.is_some() {
                let measured = rows.iter().copied().zip(distances.iter().copied());
                offer_accepted(best, bound, &run.search, unit, measured)?;
                continue;
            }
            for (rows, distances) in rows.chunks(CHUNK_ROWS).zip(distances.chunks(CHUNK_ROWS)) {
                offer_chunk(best, bound, &run.search, unit, rows, distances)?;
            }
        }
        Ok(())
    }

    /// Offers rows that have no distance from some of the queries.
    fn offer_nulls(
        &mut self,
        places: &[usize],
        unit: u32,
        rows: impl Iterator<Item = u32> + Clone,
    ) -> Result<()> {
        let run = &self.run;
        let key = run.search.key(None);
        if !run.accepts_null {
            return Ok(());
        }
        for place in places {
            let bound = &run.targets[*place].bound;
            if key > bound.get() {
                continue;
            }
            for row in rows.clone() {
                self.best[*place].offer(key, Address { unit, row }, bound)?;
            }
        }
        Ok(())
    }
}

/// Offers a few rows of a segment. Almost all are too far, which the nearest of them tells.
fn offer_chunk(
    best: &mut Best,
    bound: &Bound,
    search: &Search,
    unit: u32,
    rows: &[u32],
    distances: &[f64],
) -> Result<()> {
    let key = |distance: f64| search.key(Some(distance));
    if least_key_of(distances, key) > bound.get() {
        return Ok(());
    }
    for (row, distance) in rows.iter().zip(distances) {
        best.offer(key(*distance), Address { unit, row: *row }, bound)?;
    }
    Ok(())
}

/// Offers the rows of a segment whose distances the filter on the distance accepts.
fn offer_accepted(
    best: &mut Best,
    bound: &Bound,
    search: &Search,
    unit: u32,
    measured: impl Iterator<Item = (u32, f64)>,
) -> Result<()> {
    let is_wanted = |distance: f64| search.key(Some(distance)) <= bound.get();
    let wanted: Vec<(u32, f64)> = measured.filter(|(_, d)| is_wanted(*d)).collect();
    let distances = Float64Array::from_iter_values(wanted.iter().map(|(_, d)| *d));
    let accepted = search.accepted(distances)?.unwrap_or_default();
    for ((row, distance), _) in wanted.into_iter().zip(accepted).filter(|(_, a)| *a) {
        best.offer(search.key(Some(distance)), Address { unit, row }, bound)?;
    }
    Ok(())
}

/// Pieces in shares of at most `rows_max` rows each, in the same order; a piece may be in several.
fn shares(pieces: Vec<Piece>, rows_max: usize) -> Vec<Vec<Piece>> {
    let mut shares = Vec::new();
    let mut share: Vec<Piece> = Vec::new();
    let mut room = rows_max;
    for Piece { cell, rows } in pieces {
        let mut piece = Vec::new();
        for mut range in rows {
            while range.len() > room {
                let cut = range.start + room as u32;
                piece.push(range.start..cut);
                let rows = std::mem::take(&mut piece);
                share.push(Piece { cell, rows });
                shares.push(std::mem::take(&mut share));
                (range.start, room) = (cut, rows_max);
            }
            room -= range.len();
            piece.push(range);
        }
        if !piece.is_empty() {
            share.push(Piece { cell, rows: piece });
        }
    }
    if !share.is_empty() {
        shares.push(share);
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_all_rows_and_few_each() {
        let cells = [vec![0..3, 5..6], vec![10..31, 32..33], vec![40..44, 50..51]];
        let pieces = || {
            let cells = cells.iter().cloned().enumerate();
            let piece = |(cell, rows)| Piece {
                cell: Some(cell),
                rows,
            };
            cells.map(piece).collect()
        };
        let all: Vec<u32> = cells.iter().flatten().cloned().flatten().collect();
        for rows_max in 1..40 {
            let shares = shares(pieces(), rows_max);
            let rows = shares.iter().flatten().flat_map(|piece| &piece.rows);
            assert_eq!(rows.cloned().flatten().collect::<Vec<_>>(), all);
            let own = |piece: &Piece| {
                let of_cell = &cells[piece.cell.unwrap_or(9)];
                let holds = |row: u32| of_cell.iter().any(|range| range.contains(&row));
                piece.rows.iter().cloned().flatten().all(holds)
            };
            assert!(shares.iter().flatten().all(own));
            let lengths = shares
                .iter()
                .map(|s| s.iter().map(Piece::len).sum::<usize>());
            assert!(lengths.clone().all(|n| n <= rows_max), "{rows_max}");
            let full = lengths.take(shares.len() - 1);
            assert!(full.into_iter().all(|n| n == rows_max), "{rows_max}");
        }
    }
}
