//! Statistics of row groups and pages, as the file has them, in the pruner's form.
//!
//! Whatever is not surely right is unknown here: the pruner keeps what it does not know.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, UInt32Array, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::{ArrowPrimitiveType, DataType, Float32Type, Float64Type};
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::errors::Result as ParquetResult;
use parquet::file::statistics::Statistics;

use super::SegmentReader;
use super::reader::StoredColumn;
use crate::storage::schema::{CollectionSchema, Column, FieldId};
use crate::storage::stats::{ColumnBounds, PartitionStats, SegmentStats};

/// Bounds and NULLs of some containers, as the file has them.
struct Stored {
    min: ArrayRef,
    max: ArrayRef,
    null_counts: UInt64Array,
}

/// The pages of a column in a row group.
#[derive(Debug)]
pub(super) struct Pages {
    /// The first row of each within the row group.
    starts: Vec<u32>,
    bounds: ColumnBounds,
}

impl Pages {
    /// Whether the containers are the pages, as they are where no other column has pages too.
    fn are(&self, containers: &[Range<u32>]) -> bool {
        let starts = containers.iter().map(|container| &container.start);
        self.starts.iter().eq(starts)
    }
}

impl SegmentReader {
    /// Statistics of every scalar column, one container per row group. `segment_stats` are those of the segment:
    /// only they know of NaN.
    pub fn row_group_stats(
        &self,
        schema: &CollectionSchema,
        segment_stats: &SegmentStats,
    ) -> PartitionStats {
        let rows: Vec<u64> = (0..self.row_groups())
            .map(|i| self.row_group_rows(i))
            .collect();
        let scalars = schema.columns.iter().filter(|c| c.column_type.is_scalar());
        let bounds = scalars.map(|c| (c.id, self.known_bounds(c, &rows, segment_stats)));
        PartitionStats {
            containers: rows.len(),
            columns: bounds.collect(),
            rows: rows.clone(),
        }
    }

    /// The bounds of the row groups, decoded once: every query that may read the segment asks for them.
    fn known_bounds(
        &self,
        column: &Column,
        rows: &[u64],
        segment_stats: &SegmentStats,
    ) -> ColumnBounds {
        let Some(stored) = self.stored(column.id) else {
            return ColumnBounds::missing(column, rows);
        };
        if let Some(known) = self.bounds.lock().get(&column.id) {
            return known.clone();
        }
        let found = self.row_group_bounds(stored).ok().flatten();
        let bounds = column_bounds(column, rows, found, segment_stats);
        self.bounds.lock().insert(column.id, bounds.clone());
        bounds
    }

    /// Statistics of the scalar columns among `fields` within a row group, and the rows of each container counted from
    /// the row group's first. A container is what pages of all these columns have in common. `None` when the file
    /// has no page index or none of the columns.
    pub fn page_stats(
        &self,
        row_group: usize,
        schema: &CollectionSchema,
        segment_stats: &SegmentStats,
        fields: &[FieldId],
    ) -> Option<(PartitionStats, Vec<Range<u32>>)> {
        let columns = schema.columns.iter();
        let wanted: Vec<&Column> = columns
            .filter(|c| fields.contains(&c.id) && c.column_type.is_scalar())
            .collect();
        let pages: Vec<Option<Arc<Pages>>> = wanted
            .iter()
            .map(|c| self.known_pages(row_group, c, segment_stats))
            .collect();
        let starts = pages.iter().flatten().flat_map(|pages| &pages.starts);
        let starts: BTreeSet<u32> = starts.copied().collect();
        let containers = ranges(starts.into_iter().collect(), self.row_group_rows(row_group));
        if containers.is_empty() {
            return None;
        }
        let rows: Vec<u64> = containers.iter().map(|r| r.len() as u64).collect();
        let bounds =
            |column: &Column, pages: &Option<Arc<Pages>>| match (self.stored(column.id), pages) {
                (None, _) => ColumnBounds::missing(column, &rows),
                (Some(_), Some(pages)) if pages.are(&containers) => pages.bounds.clone(),
                (Some(_), Some(pages)) => spread(&pages.bounds, &pages.starts, &containers),
                (Some(_), None) => column_bounds(column, &rows, None, segment_stats),
            };
        let columns = wanted.iter().zip(&pages);
        let stats = PartitionStats {
            containers: containers.len(),
            columns: columns.map(|(c, pages)| (c.id, bounds(c, pages))).collect(),
            rows: rows.clone(),
        };
        Some((stats, containers))
    }

    /// The pages of a column, decoded once; `None` without a page index.
    fn known_pages(
        &self,
        row_group: usize,
        column: &Column,
        segment_stats: &SegmentStats,
    ) -> Option<Arc<Pages>> {
        let stored = self.stored(column.id)?;
        let key = (row_group, column.id);
        if let Some(known) = self.pages.lock().get(&key) {
            return known.clone();
        }
        let pages = self.page_starts(row_group, stored).map(|starts| {
            let found = self.page_bounds(row_group, stored).ok().flatten();
            let rows = page_rows(&starts, self.row_group_rows(row_group));
            let bounds = column_bounds(column, &rows, found, segment_stats);
            Arc::new(Pages { starts, bounds })
        });
        self.pages.lock().insert(key, pages.clone());
        pages
    }

    fn converter(
        &self,
        leaf: usize,
        stored: StoredColumn,
    ) -> ParquetResult<StatisticsConverter<'_>> {
        let field = self.arrow_schema().field(stored.root);
        let descriptor = self.metadata().file_metadata().schema_descr();
        let converter = StatisticsConverter::from_column_index(leaf, field, descriptor)?;
        Ok(converter.with_missing_null_counts_as_zero(false))
    }

    fn row_group_bounds(&self, stored: StoredColumn) -> ParquetResult<Option<Stored>> {
        let Some(leaf) = stored.leaf else {
            return Ok(None);
        };
        let groups = self.metadata().row_groups();
        let mut statistics = groups.iter().filter_map(|g| g.column(leaf).statistics());
        // The deprecated fields were written in an order that depends on the writer.
        if statistics.any(Statistics::is_min_max_deprecated) {
            return Ok(None);
        }
        let converter = self.converter(leaf, stored)?;
        Ok(Some(Stored {
            min: converter.row_group_mins(groups)?,
            max: converter.row_group_maxes(groups)?,
            null_counts: converter.row_group_null_counts(groups)?,
        }))
    }

    fn page_bounds(&self, row_group: usize, stored: StoredColumn) -> ParquetResult<Option<Stored>> {
        let indexes = self
            .metadata()
            .column_index()
            .zip(self.metadata().offset_index());
        let Some((leaf, (column, offset))) = stored.leaf.zip(indexes) else {
            return Ok(None);
        };
        let converter = self.converter(leaf, stored)?;
        Ok(Some(Stored {
            min: converter.data_page_mins(column, offset, &[row_group])?,
            max: converter.data_page_maxes(column, offset, &[row_group])?,
            null_counts: converter.data_page_null_counts(column, offset, &[row_group])?,
        }))
    }

    /// The first row of each page within its row group; `None` without a page index.
    fn page_starts(&self, row_group: usize, stored: StoredColumn) -> Option<Vec<u32>> {
        let pages = &self
            .metadata()
            .offset_index()?
            .get(row_group)?
            .get(stored.leaf?)?;
        let starts = pages
            .page_locations()
            .iter()
            .map(|p| p.first_row_index as u32);
        let starts: Vec<u32> = starts.collect();
        (starts.first() == Some(&0)).then_some(starts)
    }
}

fn ranges(starts: Vec<u32>, rows: u64) -> Vec<Range<u32>> {
    let ends = starts.iter().skip(1).copied().chain([rows as u32]);
    starts
        .iter()
        .copied()
        .zip(ends)
        .map(|(start, end)| start..end)
        .collect()
}

fn page_rows(starts: &[u32], rows: u64) -> Vec<u64> {
    let pages = ranges(starts.to_vec(), rows);
    pages.iter().map(|r| r.len() as u64).collect()
}

/// The bounds of pages for containers that each lie within one page.
fn spread(bounds: &ColumnBounds, starts: &[u32], containers: &[Range<u32>]) -> ColumnBounds {
    let page_of = |range: &Range<u32>| starts.partition_point(|s| *s <= range.start) - 1;
    let pages: Vec<usize> = containers.iter().map(page_of).collect();
    let places = UInt32Array::from_iter_values(pages.iter().map(|p| *p as u32));
    let spread = |array: &ArrayRef| {
        take(array, &places, None).expect("invariant: there is a bound for every page")
    };
    let flags = |flags: &[bool]| pages.iter().map(|p| flags[*p]).collect();
    ColumnBounds {
        min: spread(&bounds.min),
        max: spread(&bounds.max),
        may_null: flags(&bounds.may_null),
        may_value: flags(&bounds.may_value),
        may_nan: flags(&bounds.may_nan),
    }
}

/// Bounds from what was found in the file, as far as it can be trusted.
fn column_bounds(
    column: &Column,
    rows: &[u64],
    found: Option<Stored>,
    segment_stats: &SegmentStats,
) -> ColumnBounds {
    let data_type = column.column_type.arrow_type();
    let whole = segment_stats.column(column.id);
    let float = matches!(data_type, DataType::Float32 | DataType::Float64);
    let may_nan = float && whole.is_none_or(|s| s.nan_count > 0);
    let may_null = whole.is_none_or(|s| s.null_count > 0);
    let mut bounds = ColumnBounds::unknown(&data_type, rows);
    bounds.may_nan = vec![may_nan; rows.len()];
    bounds.may_null = vec![may_null; rows.len()];
    let fits = |s: &Stored| {
        let arrays: [&dyn Array; 3] = [&s.min, &s.max, &s.null_counts];
        arrays.iter().all(|a| a.len() == rows.len())
    };
    let Some(found) = found.filter(fits) else {
        return bounds;
    };
    for (i, rows) in rows.iter().enumerate() {
        if found.null_counts.is_valid(i) {
            let nulls = found.null_counts.value(i);
            bounds.may_null[i] = nulls > 0;
            bounds.may_value[i] = nulls < *rows;
        }
    }
    let same_type = found.min.data_type() == &data_type && found.max.data_type() == &data_type;
    // Parquet's bounds leave NaN out, but not every writer does.
    if same_type && !may_nan {
        bounds.min = widen_zero(&found.min, -0.0);
        bounds.max = widen_zero(&found.max, 0.0);
    }
    bounds
}

/// -0.0 and 0.0 are equal: a bound of either must hold for both.
fn widen_zero(bounds: &ArrayRef, zero: f64) -> ArrayRef {
    match bounds.data_type() {
        DataType::Float32 => replace_zero(bounds.as_primitive::<Float32Type>(), zero as f32, 0.0),
        DataType::Float64 => replace_zero(bounds.as_primitive::<Float64Type>(), zero, 0.0),
        _ => Arc::clone(bounds),
    }
}

fn replace_zero<T: ArrowPrimitiveType>(
    array: &PrimitiveArray<T>,
    zero: T::Native,
    any_zero: T::Native,
) -> ArrayRef
where
    T::Native: PartialEq,
{
    // `ArrowNativeTypeOp` orders floats totally; `==` of floats does not tell the zeros apart.
    let widen = |value: T::Native| if value == any_zero { zero } else { value };
    Arc::new(array.unary::<_, T>(widen))
}
