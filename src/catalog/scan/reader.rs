//! One partition of a scan: its units, one after the other, as an iterator of batches.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatchOptions, UInt32Array, UInt64Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use parquet::arrow::arrow_reader::RowSelection;

use super::metrics::ScanMetrics;
use super::point::Sought;
use super::pruning::ScanPruning;
use super::source::{OutputColumn, ScanSource};
use super::units::Unit;
use crate::catalog::keys::{Place, PointKey};
use crate::error::Result;
use crate::storage::adapt::adapt_batch;
use crate::storage::collection::Segment;
use crate::storage::deletes::live_mask;
use crate::storage::fetch::sealed_rows_kept;
use crate::storage::growing::GrowingSegment;
use crate::storage::schema::{FieldId, SegmentId, field_id};
use crate::storage::segment::{
    ROW_COLUMN, ReadRequest, RowFilter, SegmentBatches, SegmentReader, live_selection,
    select_ranges,
};
use crate::storage::segment_filters::SegmentFilters;
use crate::storage::stats::PartitionStats;

/// A predicate that is evaluated before the other columns are read.
#[derive(Debug, Clone)]
pub(super) struct LateFilter {
    /// The columns it reads, in the order that its column indices mean.
    pub fields: Vec<FieldId>,
    pub predicate: Arc<dyn PhysicalExpr>,
}

/// What all units of a partition have in common.
#[derive(Debug)]
pub(super) struct ReadPlan {
    pub source: Arc<ScanSource>,
    pub columns: Vec<OutputColumn>,
    pub output: SchemaRef,
    pub pruning: Option<ScanPruning>,
    pub late: Option<LateFilter>,
    /// The key whose row is wanted, and no other.
    pub sought: Option<Arc<Sought>>,
    pub batch_size: usize,
    pub metrics: ScanMetrics,
}

impl ReadPlan {
    /// The stored columns of the output, in its order.
    fn fields(&self) -> Vec<FieldId> {
        let fields = self.columns.iter().filter_map(|c| match c {
            OutputColumn::Stored(field) => Some(*field),
            _ => None,
        });
        fields.collect()
    }

    fn key(&self) -> Option<&PointKey> {
        match self.sought.as_deref() {
            Some(Sought::Key(key)) => Some(key),
            _ => None,
        }
    }

    fn wants_row_numbers(&self) -> bool {
        self.columns.contains(&OutputColumn::Row)
    }

    /// A batch of the output: stored columns in order, then row numbers where they are wanted.
    fn output_batch(&self, segment: SegmentId, rows: &RecordBatch) -> Result<RecordBatch> {
        let count = rows.num_rows();
        let mut stored = rows.columns().iter();
        let row_numbers = self
            .wants_row_numbers()
            .then(|| rows.columns().last().cloned())
            .flatten();
        let columns: Vec<ArrayRef> = self
            .columns
            .iter()
            .filter_map(|column| match column {
                OutputColumn::Stored(_) => stored.next().cloned(),
                OutputColumn::Row => row_numbers.clone(),
                OutputColumn::Segment => {
                    Some(Arc::new(UInt64Array::from_value(segment.0, count)) as ArrayRef)
                }
            })
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let output = Arc::clone(&self.output);
        Ok(RecordBatch::try_new_with_options(
            output, columns, &options,
        )?)
    }
}

/// One bit per row group of a segment: whether it must be read.
pub(super) struct RowGroupsKept {
    /// As far as its bounds tell.
    by_bounds: BooleanBuffer,
    /// As far as its bounds and its bloom filters tell.
    pub all: BooleanBuffer,
    /// Whether the planned predicate accepts all its rows.
    pub certain: BooleanBuffer,
}

impl RowGroupsKept {
    /// What the statistics of a segment's row groups, and then its bloom filters, leave.
    pub fn new(
        source: &ScanSource,
        pruning: &ScanPruning,
        stats: &PartitionStats,
        segment: &Segment,
        reader: &SegmentReader,
    ) -> Self {
        let (by_bounds, certain) = pruning.planned_matches(stats);
        let filters = SegmentFilters {
            engine: &source.engine,
            collection: &source.collection,
            segment,
            reader,
        };
        let looked_up = match by_bounds.has_true() {
            true => pruning.lookup_match(stats, &filters),
            false => None,
        };
        let all = looked_up.map_or_else(|| by_bounds.clone(), |kept| &by_bounds & &kept);
        Self {
            by_bounds,
            all,
            certain,
        }
    }

    pub fn all(row_groups: usize) -> Self {
        let all = BooleanBuffer::new_set(row_groups);
        Self {
            by_bounds: all.clone(),
            all,
            certain: BooleanBuffer::new_unset(row_groups),
        }
    }

    fn is_segment_pruned_by_bloom(&self) -> bool {
        self.by_bounds.has_true() && !self.all.has_true()
    }
}

/// Reads the units of one partition.
pub(super) struct PartitionReader {
    plan: ReadPlan,
    units: std::vec::IntoIter<Unit>,
    current: Option<Current>,
    /// Rows that may still come out.
    limit: Option<usize>,
}

enum Current {
    Growing(GrowingReader),
    /// A row that was looked up, or those that may be it.
    Row(Option<RecordBatch>),
    Sealed(Box<SealedReader>),
}

impl PartitionReader {
    pub fn new(plan: ReadPlan, units: Vec<Unit>, limit: Option<usize>) -> Self {
        Self {
            plan,
            units: units.into_iter(),
            current: None,
            limit,
        }
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        if self.limit == Some(0) {
            return Ok(None);
        }
        loop {
            let batch = match &mut self.current {
                Some(Current::Growing(growing)) => growing.next_batch(&self.plan)?,
                Some(Current::Row(row)) => row.take(),
                Some(Current::Sealed(sealed)) => sealed.next_batch(&self.plan)?,
                None => None,
            };
            if let Some(batch) = batch {
                return Ok(Some(self.limited(batch)));
            }
            match self.units.next() {
                Some(unit) => self.current = self.open(unit)?,
                None => return Ok(None),
            }
        }
    }

    fn limited(&mut self, batch: RecordBatch) -> RecordBatch {
        let Some(limit) = &mut self.limit else {
            return batch;
        };
        let rows = batch.num_rows().min(*limit);
        *limit -= rows;
        batch.slice(0, rows)
    }

    fn open(&mut self, unit: Unit) -> Result<Option<Current>> {
        match unit {
            Unit::Growing(segment) => self.open_growing(segment),
            Unit::Sealed {
                segment,
                part,
                parts,
            } => {
                if let Some(rows) = self.looked_up(&segment)? {
                    return Ok(Some(Current::Row(self.sealed_rows(&segment, &rows)?)));
                }
                let sealed = SealedReader::open(&self.plan, segment, part, parts)?;
                Ok(sealed.map(|s| Current::Sealed(Box::new(s))))
            }
        }
    }
}

impl PartitionReader {
    fn open_growing(&mut self, segment: Arc<GrowingSegment>) -> Result<Option<Current>> {
        let engine = &self.plan.source.engine;
        let place = match self.plan.key() {
            Some(key) => key.in_growing(engine, &segment)?,
            None => Place::Unknown,
        };
        let reader = GrowingReader::new(segment);
        match place {
            Place::Unknown => Ok(Some(Current::Growing(reader))),
            Place::Nowhere => Ok(None),
            Place::Row(row) => {
                let found = reader.row(&self.plan, row)?;
                // No other row has the key.
                self.units = Vec::new().into_iter();
                Ok(Some(Current::Row(found)))
            }
        }
    }
}

impl PartitionReader {
    /// The rows of a sealed segment that may have the key which is looked for; `None` where it is searched for otherwise.
    fn looked_up(&self, segment: &Segment) -> Result<Option<Vec<u32>>> {
        let (source, Some(key)) = (&self.plan.source, self.plan.key()) else {
            return Ok(None);
        };
        let rows = key.in_sealed(&source.engine, segment);
        if rows.is_none() {
            let open = || source.open_segment(segment.id);
            key.index_if_worth(&source.engine, segment, open)?;
        }
        Ok(rows)
    }

    /// A few live rows, which ascend; `None` when there are none.
    fn sealed_rows(&self, segment: &Segment, rows: &[u32]) -> Result<Option<RecordBatch>> {
        if rows.is_empty() {
            return Ok(None);
        }
        let (plan, source) = (&self.plan, &self.plan.source);
        let reader = source.open_segment(segment.id)?;
        let row_groups = rows.chunk_by(|a, b| reader.row_group_of(*a) == reader.row_group_of(*b));
        let (kept, schema) = (&source.engine.columns, &source.collection.schema);
        let (mut found, bytes) =
            sealed_rows_kept(kept, segment.id, &reader, schema, &plan.fields(), rows)?;
        plan.metrics.segments_scanned.add(1);
        plan.metrics.row_groups_total.add(row_groups.count());
        plan.metrics.bytes_read.add(bytes as usize);
        plan.metrics.rows_read.add(rows.len());
        if plan.wants_row_numbers() {
            found = with_row_numbers(&found, rows.iter().copied())?;
        }
        plan.output_batch(segment.id, &found).map(Some)
    }
}

impl Drop for PartitionReader {
    /// What was scanned counts when the scan ends, also before its last row.
    fn drop(&mut self) {
        let totals = self.plan.source.engine.metrics();
        self.plan.metrics.count_in(totals);
    }
}

impl Iterator for PartitionReader {
    type Item = datafusion::common::Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let time = self.plan.metrics.baseline.elapsed_compute().clone();
        let _timer = time.timer();
        match self.next_batch() {
            Ok(Some(batch)) => {
                self.plan.metrics.baseline.record_output(batch.num_rows());
                Some(Ok(batch))
            }
            Ok(None) => None,
            Err(error) => {
                self.limit = Some(0);
                Some(Err(error.into()))
            }
        }
    }
}

/// Reads a growing segment: its batches in today's columns, without its deleted rows.
struct GrowingReader {
    segment: Arc<GrowingSegment>,
    batch: usize,
    /// Rows of the batch that are read.
    offset: usize,
    /// The place in the segment of the batch's first row.
    first_row: u32,
}

impl GrowingReader {
    fn new(segment: Arc<GrowingSegment>) -> Self {
        Self {
            segment,
            batch: 0,
            offset: 0,
            first_row: 0,
        }
    }

    fn next_batch(&mut self, plan: &ReadPlan) -> Result<Option<RecordBatch>> {
        loop {
            let Some(batch) = self.segment.batches().get(self.batch) else {
                return Ok(None);
            };
            if self.offset == batch.num_rows() {
                self.first_row += batch.num_rows() as u32;
                (self.batch, self.offset) = (self.batch + 1, 0);
                continue;
            }
            let rows = plan.batch_size.max(1).min(batch.num_rows() - self.offset);
            let slice = batch.slice(self.offset, rows);
            let first = self.first_row + self.offset as u32;
            self.offset += rows;
            let live = self.live_rows(plan, &slice, first)?;
            if live.num_rows() > 0 {
                plan.metrics.rows_read.add(live.num_rows());
                return Ok(Some(plan.output_batch(self.segment.id, &live)?));
            }
        }
    }

    /// The row at a place, if it is alive.
    fn row(mut self, plan: &ReadPlan, row: u32) -> Result<Option<RecordBatch>> {
        for batch in self.segment.batches() {
            let end = self.first_row + batch.num_rows() as u32;
            if row < end {
                let slice = batch.slice((row - self.first_row) as usize, 1);
                let live = self.live_rows(plan, &slice, row)?;
                plan.metrics.rows_read.add(live.num_rows());
                return plan.output_batch(self.segment.id, &live).map(Some);
            }
            self.first_row = end;
        }
        Ok(None)
    }

    /// The live rows of a slice that begins at place `first`, in today's columns.
    fn live_rows(&self, plan: &ReadPlan, slice: &RecordBatch, first: u32) -> Result<RecordBatch> {
        let schema = &plan.source.collection.schema;
        let deletes = &self.segment.deletes;
        let places = first..first + slice.num_rows() as u32;
        let deleted = deletes.range_cardinality(places.clone());
        if deleted == slice.num_rows() as u64 {
            return Ok(RecordBatch::new_empty(slice.schema()));
        }
        let mut rows = adapt_batch(slice, schema, &plan.fields())?;
        if plan.wants_row_numbers() {
            rows = with_row_numbers(&rows, places.clone())?;
        }
        if deleted == 0 {
            return Ok(rows);
        }
        let live = live_mask(deletes, places);
        Ok(filter_record_batch(&rows, &BooleanArray::new(live, None))?)
    }
}

fn with_row_numbers(rows: &RecordBatch, places: impl Iterator<Item = u32>) -> Result<RecordBatch> {
    let mut fields = rows.schema_ref().fields().to_vec();
    fields.push(Arc::new(Field::new(ROW_COLUMN, DataType::UInt32, false)));
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(UInt32Array::from_iter_values(places)));
    Ok(RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns,
    )?)
}

/// Reads a sealed segment, a row group at a time: what a dynamic filter prunes meanwhile is not read any more.
struct SealedReader {
    segment: Arc<Segment>,
    reader: Arc<SegmentReader>,
    /// Statistics of all its row groups, where something prunes.
    stats: Option<PartitionStats>,
    row_groups: std::vec::IntoIter<usize>,
    current: Option<SegmentBatches>,
    bytes_counted: u64,
}

impl SealedReader {
    /// `None` when a dynamic filter prunes the segment.
    fn open(
        plan: &ReadPlan,
        segment: Arc<Segment>,
        part: usize,
        parts: usize,
    ) -> Result<Option<Self>> {
        let metrics = &plan.metrics;
        let pruning = plan.pruning.as_ref();
        let once = usize::from(part == 0);
        if pruning.is_some_and(|p| !p.keeps_segment(&segment)) {
            metrics.segments_pruned_dynamic.add(once);
            return Ok(None);
        }
        let reader = plan.source.open_segment(segment.id)?;
        let stats = pruning.map(|p| p.row_group_stats(&reader, &segment));
        let kept = match pruning.zip(stats.as_ref()) {
            Some((pruning, stats)) => {
                RowGroupsKept::new(&plan.source, pruning, stats, &segment, &reader)
            }
            None => RowGroupsKept::all(reader.row_groups()),
        };
        if kept.is_segment_pruned_by_bloom() {
            metrics.segments_pruned_bloom.add(once);
            return Ok(None);
        }
        metrics.segments_scanned.add(once);
        let own = (0..reader.row_groups()).filter(|g| g % parts == part);
        let (row_groups, pruned): (Vec<usize>, Vec<usize>) = own.partition(|g| kept.all.value(*g));
        let by_bloom = pruned.iter().filter(|g| kept.by_bounds.value(**g));
        metrics
            .row_groups_total
            .add(row_groups.len() + pruned.len());
        metrics.row_groups_pruned.add(pruned.len());
        metrics.row_groups_pruned_bloom.add(by_bloom.count());
        Ok(Some(Self {
            segment,
            reader,
            stats,
            row_groups: row_groups.into_iter(),
            current: None,
            bytes_counted: 0,
        }))
    }

    fn next_batch(&mut self, plan: &ReadPlan) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batches) = &mut self.current {
                let batch = batches.next().transpose()?;
                let bytes = batches.bytes_read();
                let new_bytes = bytes - self.bytes_counted;
                self.bytes_counted = bytes;
                plan.metrics.bytes_read.add(new_bytes as usize);
                match batch {
                    Some(batch) if batch.num_rows() == 0 => continue,
                    Some(batch) => {
                        plan.metrics.rows_read.add(batch.num_rows());
                        return Ok(Some(plan.output_batch(self.segment.id, &batch)?));
                    }
                    None => self.current = None,
                }
            }
            let Some(row_group) = self.row_groups.next() else {
                return Ok(None);
            };
            self.bytes_counted = 0;
            self.current = self.open_row_group(plan, row_group)?;
        }
    }

    /// `None` when nothing of the row group is left.
    fn open_row_group(&self, plan: &ReadPlan, row_group: usize) -> Result<Option<SegmentBatches>> {
        if self.is_pruned_now(plan, row_group) {
            plan.metrics.row_groups_pruned.add(1);
            return Ok(None);
        }
        let all = self.reader.row_group_range(row_group);
        let pruning = plan.pruning.as_ref();
        let pages = pruning.and_then(|p| p.page_ranges(&self.reader, &self.segment, row_group));
        let deletes = &self.segment.deletes;
        let rows = match pages {
            None => live_selection(deletes, [all]),
            Some(ranges) => {
                let pages = select_ranges(0..all.len() as u32, ranges.iter().cloned());
                let pruned = all.len() - pages.row_count();
                plan.metrics.page_rows_pruned.add(pruned);
                let places = ranges
                    .iter()
                    .map(|r| all.start + r.start..all.start + r.end);
                Some(match live_selection(deletes, places) {
                    Some(live) => pages.and_then(&live),
                    None => pages,
                })
            }
        };
        if rows.as_ref().is_some_and(|rows| rows.row_count() == 0) {
            return Ok(None);
        }
        self.read(plan, row_group, rows).map(Some)
    }

    fn read(
        &self,
        plan: &ReadPlan,
        row_group: usize,
        rows: Option<RowSelection>,
    ) -> Result<SegmentBatches> {
        let late = plan.late.as_ref();
        let request = ReadRequest {
            schema: Arc::clone(&plan.source.collection.schema),
            fields: plan.fields(),
            row_groups: vec![row_group],
            rows,
            row_number: plan.wants_row_numbers(),
            filter: late.map(|late| (late.fields.clone(), late.row_filter())),
            batch_size: plan.batch_size,
        };
        self.reader.read(request)
    }

    fn is_pruned_now(&self, plan: &ReadPlan, row_group: usize) -> bool {
        match (&plan.pruning, &self.stats) {
            (Some(pruning), Some(stats)) if pruning.is_dynamic() => {
                !pruning.dynamic_match(stats).value(row_group)
            }
            _ => false,
        }
    }
}

impl LateFilter {
    /// The filter of `predicate`, whose columns are those of `table`; `None` when it reads none, or any that is not
    /// stored.
    pub fn new(predicate: &Arc<dyn PhysicalExpr>, table: &Schema) -> Option<Self> {
        let columns = collect_columns(predicate);
        let mut indices: Vec<usize> = columns.iter().map(|c| c.index()).collect();
        indices.sort_unstable();
        let fields: Option<Vec<FieldId>> = indices
            .iter()
            .map(|i| field_id(table.fields().get(*i)?))
            .collect();
        let schema = table.project(&indices).ok()?;
        let predicate = reassign_expr_columns(Arc::clone(predicate), &schema).ok()?;
        let fields = fields.filter(|fields| !fields.is_empty())?;
        Some(Self { fields, predicate })
    }

    /// Which rows of a batch of its columns it accepts.
    pub fn evaluate(&self, rows: &RecordBatch) -> Result<BooleanArray> {
        let result = self.predicate.evaluate(rows)?;
        let result = result.into_array(rows.num_rows())?;
        Ok(result.as_boolean().clone())
    }

    pub fn row_filter(&self) -> RowFilter {
        let filter = self.clone();
        Box::new(move |rows| filter.evaluate(rows))
    }
}
