//! A worker: finds candidates and measures them where they lie.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Float16Type, Float32Type, UInt32Type};
use datafusion::common::Result;
use datafusion::execution::memory_pool::MemoryReservation;
use shelfmark_udfs::{Element, Query, Rows as Vectors, VectorType};

use super::best::{Address, Best};
use super::pool::{Opened, Task, Unit};
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
/// Rows of a batch where vectors have to be decoded.
const BATCH_ROWS: usize = 1_024;

/// One of those who do the work of a search.
pub(super) struct Worker {
    run: Arc<Run>,
    pub best: Best,
    /// Rows of the block that is measured, and their distances.
    rows: Vec<u32>,
    distances: Vec<f64>,
}

impl Worker {
    pub fn new(run: Arc<Run>, reservation: MemoryReservation) -> Self {
        Self {
            best: Best::new(run.search.k, run.search.ties, reservation),
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
            Task::Open(unit) if self.run.is_far(unit) => {
                self.run.metrics.segments_skipped.add(1);
                Ok(())
            }
            Task::Open(unit) => match self.run.units[unit as usize].clone() {
                Unit::Growing(segment) => self.search_growing(unit, &segment),
                Unit::Sealed(_) => self.open(unit),
            },
            // The bound has fallen since: nothing in the segment is near enough any more.
            Task::Find(opened, _) | Task::Measure(opened, _) if self.run.is_far(opened.unit) => {
                Ok(())
            }
            Task::Find(opened, row_group) => self.find(opened, row_group),
            Task::Measure(opened, rows) => self.measure(&opened, &rows),
        }
    }

    fn open(&mut self, unit: u32) -> Result<()> {
        let run = Arc::clone(&self.run);
        let Unit::Sealed(segment) = &run.units[unit as usize] else {
            return Err(Error::internal("a growing segment has no file").into());
        };
        let _timer = run.metrics.filter_time.timer();
        let reader = run.source.open_segment(segment.id)?;
        let row_groups = run.candidates.row_groups(segment, &reader);
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
        let find = |row_group| Task::Find(Arc::clone(&opened), row_group);
        run.pool.add(row_groups.into_iter().map(find));
        Ok(())
    }

    fn find(&mut self, opened: Arc<Opened>, row_group: RowGroup) -> Result<()> {
        let run = Arc::clone(&self.run);
        let timer = run.metrics.filter_time.timer();
        let found = run
            .candidates
            .in_row_group(&opened.segment, &opened.reader, row_group)?;
        timer.done();
        self.count(&found);
        let dimensions = run.query.as_ref().map_or(0, Vec::len);
        let rows_max = TASK_BYTES / (dimensions * size_of::<f32>()).max(1);
        let mut pieces = pieces(found.ranges, rows_max.max(1));
        // The last piece is measured here and now.
        let last = pieces.pop();
        let measure = |rows| Task::Measure(Arc::clone(&opened), rows);
        if !pieces.is_empty() {
            run.pool.add(pieces.into_iter().map(measure));
        }
        last.map_or(Ok(()), |rows| self.measure(&opened, &rows))
    }

    fn count(&self, found: &Rows) {
        let metrics = &self.run.metrics;
        let candidates = found.ranges.iter().map(|r| r.len()).sum();
        metrics.candidates.add(candidates);
        metrics.rows_filtered.add(found.evaluated as usize);
        metrics.other_bytes.add(found.bytes_read as usize);
    }

    fn measure(&mut self, opened: &Opened, rows: &[Range<u32>]) -> Result<()> {
        let run = Arc::clone(&self.run);
        let _timer = run.metrics.scan_time.timer();
        match (&run.query, &opened.pages) {
            (None, _) => self.offer_nulls(opened.unit, rows.iter().cloned().flatten()),
            (Some(query), Some(pages)) => {
                let element = match pages.element() {
                    ElementType::Float32 => Element::Single,
                    ElementType::Float16 => Element::Half,
                };
                run.check_dimensions(pages.dimensions(), element)?;
                let query = Query::new(run.search.metric, query);
                self.measure_pages(opened.unit, pages, rows, &query)
            }
            (Some(query), None) => {
                let query = Query::new(run.search.metric, query);
                self.measure_decoded(opened, rows, &query)
            }
        }
    }

    fn measure_pages(
        &mut self,
        unit: u32,
        pages: &VectorPages,
        rows: &[Range<u32>],
        query: &Query,
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
                self.measure_page(unit, pages, page, in_page, query)?;
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
        query: &Query,
    ) -> Result<()> {
        let of_page = &pages.pages()[page];
        let (first, end) = (rows.start - of_page.first_row, rows.end - of_page.first_row);
        let (from, to) = (of_page.vectors_before(first), of_page.vectors_before(end));
        if let Some(validity) = &of_page.validity {
            let null = |row: &u32| validity.is_null((row - of_page.first_row) as usize);
            self.offer_nulls(unit, rows.clone().filter(null))?;
        }
        let valid = |row: &u32| match &of_page.validity {
            Some(validity) => validity.is_valid((row - of_page.first_row) as usize),
            None => true,
        };
        let mut valid_rows = rows.filter(valid);
        let block = (BLOCK_BYTES / pages.vector_bytes()).max(1);
        for start in (from..to).step_by(block) {
            let vectors = start..to.min(start + block);
            self.rows.clear();
            self.rows.extend(valid_rows.by_ref().take(vectors.len()));
            let bytes = pages.vectors(page, vectors)?;
            let vectors = match pages.element() {
                ElementType::Float32 => Vectors::single_le_bytes(bytes),
                ElementType::Float16 => Vectors::half_le_bytes(bytes),
            };
            self.measure_block(vectors, query);
            let metrics = &self.run.metrics;
            metrics
                .vector_bytes
                .add(self.rows.len() * pages.vector_bytes());
            self.offer_block(unit)?;
        }
        Ok(())
    }

    /// Fills in the distances of the block's rows.
    fn measure_block(&mut self, vectors: Vectors, query: &Query) {
        self.distances.resize(self.rows.len(), 0.0);
        query.distances_of(vectors, &mut self.distances);
    }

    /// Measures rows of a file whose vectors are not in raw pages, or that has none of them.
    fn measure_decoded(
        &mut self,
        opened: &Opened,
        rows: &[Range<u32>],
        query: &Query,
    ) -> Result<()> {
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
            self.measure_array(opened.unit, batch.column(0), places, query)?;
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
        let Some(query) = &run.query else {
            return self.offer_nulls(unit, found.ranges.into_iter().flatten());
        };
        let query = Query::new(run.search.metric, query);
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
                self.measure_array(unit, &array, &rows, &query)?;
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
        query: &Query,
    ) -> Result<()> {
        let vectors = array.as_fixed_size_list();
        let is_null = |i: &usize| vectors.is_null(*i);
        self.offer_nulls(unit, (0..rows.len()).filter(is_null).map(|i| rows[i]))?;
        if vectors.null_count() == rows.len() {
            return Ok(());
        }
        let dimensions = vectors.value_length() as usize;
        let element = VectorType::of(array.data_type()).map_or(Element::Single, |v| v.element);
        self.run.check_dimensions(dimensions, element)?;
        self.rows.clear();
        self.rows.extend_from_slice(rows);
        let values = vectors.values();
        let matrix = match vectors.value_type() {
            DataType::Float16 => Vectors::from(&values.as_primitive::<Float16Type>().values()[..]),
            _ => Vectors::from(&values.as_primitive::<Float32Type>().values()[..]),
        };
        self.measure_block(matrix, query);
        let bytes = array.get_buffer_memory_size();
        self.run.metrics.vector_bytes.add(bytes);
        if vectors.null_count() > 0 {
            let mut i = (0..rows.len()).filter(|i| vectors.is_valid(*i));
            let kept: Vec<usize> = i.by_ref().collect();
            self.rows = kept.iter().map(|i| rows[*i]).collect();
            self.distances = kept.iter().map(|i| self.distances[*i]).collect();
        }
        self.offer_block(unit)
    }

    /// Offers the rows of the block with their distances.
    fn offer_block(&mut self, unit: u32) -> Result<()> {
        let (run, best) = (&self.run, &mut self.best);
        run.metrics.distances.add(self.rows.len());
        let search = &run.search;
        let is_wanted = |distance: f64| search.key(Some(distance)) <= run.bound.get();
        if run.search.distance_filter.is_some() {
            let rows = self
                .rows
                .iter()
                .copied()
                .zip(self.distances.iter().copied());
            let wanted: Vec<(u32, f64)> = rows.filter(|(_, d)| is_wanted(*d)).collect();
            let distances = Float64Array::from_iter_values(wanted.iter().map(|(_, d)| *d));
            let accepted = run.search.accepted(distances)?.unwrap_or_default();
            for ((row, distance), _) in wanted.into_iter().zip(accepted).filter(|(_, a)| *a) {
                let address = Address { unit, row };
                best.offer(search.key(Some(distance)), address, &run.bound)?;
            }
            return Ok(());
        }
        for (row, distance) in self.rows.iter().zip(&self.distances) {
            let address = Address { unit, row: *row };
            best.offer(search.key(Some(*distance)), address, &run.bound)?;
        }
        Ok(())
    }

    /// Offers rows that have no distance.
    fn offer_nulls(&mut self, unit: u32, rows: impl Iterator<Item = u32>) -> Result<()> {
        let run = &self.run;
        let key = run.search.key(None);
        if !run.accepts_null || key > run.bound.get() {
            return Ok(());
        }
        for row in rows {
            self.best.offer(key, Address { unit, row }, &run.bound)?;
        }
        Ok(())
    }
}

/// Ranges in pieces of at most `rows_max` rows each.
fn pieces(ranges: Vec<Range<u32>>, rows_max: usize) -> Vec<Vec<Range<u32>>> {
    let mut pieces = Vec::new();
    let mut piece = Vec::new();
    let mut room = rows_max;
    for mut range in ranges {
        while range.len() > room {
            let cut = range.start + room as u32;
            piece.push(range.start..cut);
            pieces.push(std::mem::take(&mut piece));
            (range.start, room) = (cut, rows_max);
        }
        room -= range.len();
        piece.push(range);
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_have_all_rows_and_few_each() {
        let ranges = vec![0..3, 5..6, 10..31, 40..44];
        for rows_max in 1..40 {
            let pieces = pieces(ranges.clone(), rows_max);
            let rows: Vec<u32> = pieces.iter().flatten().cloned().flatten().collect();
            assert_eq!(rows, ranges.iter().cloned().flatten().collect::<Vec<_>>());
            let lengths = pieces
                .iter()
                .map(|p| p.iter().map(|r| r.len()).sum::<usize>());
            assert!(lengths.clone().all(|n| n <= rows_max), "{rows_max}");
            let full = lengths.take(pieces.len() - 1);
            assert!(full.into_iter().all(|n| n == rows_max), "{rows_max}");
        }
    }
}
