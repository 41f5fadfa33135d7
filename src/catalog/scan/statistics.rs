//! What the optimizer is told of a scan: `count`, `min` and `max` of everything that it reads are answered by it alone
//! where it is exact.
//!
//! | what        | is exact                                                                                       |
//! |-------------|------------------------------------------------------------------------------------------------|
//! | rows        | always: deletes are counted                                                                    |
//! | NULLs       | where no row is deleted of a segment that has both NULLs and other values                      |
//! | min and max | where a segment without deletes has it as a whole value, and no other goes beyond it; never of |
//! |             | a column with NaN, or where it is a floating-point zero, whose sign statistics do not keep     |
//!
//! Of growing rows the bounds are taken here, as long as they are few; with more, nothing is known of a column.

use std::borrow::Cow;
use std::cmp::Ordering;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};

use super::source::{OutputColumn, ScanSource};
use super::units::Unit;
use crate::error::Result;
use crate::storage::adapt::adapt_batch;
use crate::storage::collect::column_stats;
use crate::storage::growing::GrowingSegment;
use crate::storage::schema::Column;
use crate::storage::stats::{Bound, ColumnStats};

/// What a text or a list is taken to need.
const VARIABLE_BYTES: usize = 32;
/// Of more growing rows than this no bounds are taken: that would be reading them, while a query is planned.
const GROWING_ROWS_MAX: u64 = 8_192;

/// Rows and bytes of one partition, about.
pub(super) fn of_partition(units: &[Unit], schema: &SchemaRef) -> Statistics {
    let rows: u64 = units.iter().map(Unit::live_rows).sum();
    Statistics {
        num_rows: Precision::Inexact(rows as usize),
        total_byte_size: Precision::Inexact(rows as usize * row_bytes(schema)),
        column_statistics: Statistics::unknown_column(schema),
    }
}

/// Rows, bytes and bounds of all that the partitions read.
pub(super) fn of_scan(
    source: &ScanSource,
    units: &[Vec<Unit>],
    columns: &[OutputColumn],
) -> Statistics {
    let schema = source.arrow_schema(columns);
    // A segment that was cut into parts counts once.
    let is_first = |unit: &&Unit| !matches!(unit, Unit::Sealed { part, .. } if *part > 0);
    let whole: Vec<&Unit> = units.iter().flatten().filter(is_first).collect();
    let rows: u64 = whole.iter().map(|unit| unit.live_rows_of_whole()).sum();
    let column_statistics = columns.iter().map(|c| of_column(source, *c, &whole));
    Statistics {
        num_rows: Precision::Exact(rows as usize),
        total_byte_size: Precision::Inexact(rows as usize * row_bytes(&schema)),
        column_statistics: column_statistics.collect(),
    }
}

/// What is known when not all of the rows are read: about how many there are.
///
/// Bounds would be right, but DataFusion 55 does not stand them below a filter over a cast, such as `at::date < '2024-01-01'`:
/// what it casts back may reach beyond the bounds, and it ends such a query with "Selectivity is out of limit". Where a
/// filter is not above the scan, [`crate::catalog::cast_filters`] sees to it.
pub(super) fn without_bounds(stats: Statistics) -> Statistics {
    let mut stats = stats.to_inexact();
    for column in &mut stats.column_statistics {
        column.min_value = Precision::Absent;
        column.max_value = Precision::Absent;
    }
    stats
}

fn row_bytes(schema: &SchemaRef) -> usize {
    let fields = schema.fields().iter();
    fields.map(|f| value_bytes(f.data_type())).sum()
}

fn value_bytes(data_type: &DataType) -> usize {
    match data_type {
        DataType::FixedSizeList(element, size) => {
            value_bytes(element.data_type()) * (*size).max(0) as usize
        }
        other => other.primitive_width().unwrap_or(VARIABLE_BYTES),
    }
}

fn of_column(source: &ScanSource, column: OutputColumn, units: &[&Unit]) -> ColumnStatistics {
    let unknown = ColumnStatistics::new_unknown();
    let OutputColumn::Stored(field) = column else {
        return unknown;
    };
    let column = source.collection.schema.column_by_id(field);
    let column = column.filter(|c| c.column_type.is_scalar());
    let known = column.and_then(|c| Some((c, containers(source, c, units)?)));
    let Some((column, containers)) = known else {
        return unknown;
    };
    let data_type = column.column_type.arrow_type();
    let has_nan = containers.iter().any(|c| c.stats.nan_count > 0);
    let bound = |wanted| match has_nan {
        true => Precision::Absent,
        false => {
            Extreme::of(&containers, wanted).map_or(Precision::Absent, |e| e.value(&data_type))
        }
    };
    ColumnStatistics {
        null_count: null_count(&containers),
        min_value: bound(Ordering::Less),
        max_value: bound(Ordering::Greater),
        ..unknown
    }
}

/// Rows that have statistics of a column together.
struct Container<'a> {
    /// Deleted ones included.
    rows: u64,
    deleted: u64,
    stats: Cow<'a, ColumnStats>,
}

impl Container<'_> {
    fn has_values(&self) -> bool {
        self.stats.null_count + self.stats.nan_count < self.rows
    }
}

/// The containers with live rows; `None` when there are too many growing ones to look at.
fn containers<'a>(
    source: &ScanSource,
    column: &Column,
    units: &[&'a Unit],
) -> Option<Vec<Container<'a>>> {
    let growing = units.iter().filter(|u| u.is_growing());
    if growing.map(|u| u.live_rows()).sum::<u64>() > GROWING_ROWS_MAX {
        return None;
    }
    let mut containers = Vec::with_capacity(units.len());
    for unit in units.iter().filter(|u| u.live_rows_of_whole() > 0) {
        match unit {
            Unit::Growing(growing) => {
                containers.extend(growing_containers(source, column, growing).ok()?);
            }
            Unit::Sealed { segment, .. } => containers.push(Container {
                rows: segment.rows,
                deleted: segment.deletes.len(),
                stats: segment.stats.of_column(column, segment.rows),
            }),
        }
    }
    Some(containers)
}

fn growing_containers(
    source: &ScanSource,
    column: &Column,
    growing: &GrowingSegment,
) -> Result<Vec<Container<'static>>> {
    let mut first = 0;
    let containers = growing.batches().iter().map(|batch| {
        let rows = batch.num_rows() as u32;
        let deleted = growing.deletes.range_cardinality(first..first + rows);
        first += rows;
        let values = adapt_batch(batch, &source.collection.schema, &[column.id])?;
        Ok(Container {
            rows: u64::from(rows),
            deleted,
            stats: Cow::Owned(column_stats(column.id, values.column(0))?),
        })
    });
    containers.collect()
}

fn null_count(containers: &[Container<'_>]) -> Precision<usize> {
    let mut total = 0;
    for container in containers {
        total += match container.stats.null_count {
            0 => 0,
            nulls if container.deleted == 0 => nulls,
            nulls if nulls == container.rows => nulls - container.deleted,
            // Which of the deleted rows are NULL is not known.
            _ => return Precision::Absent,
        };
    }
    Precision::Exact(total as usize)
}

/// The least or the greatest bound.
struct Extreme {
    bound: Bound,
    /// Whether a live row has that value.
    is_exact: bool,
}

impl Extreme {
    /// `None` where there is no value, or a container does not know its bound.
    fn of(containers: &[Container<'_>], wanted: Ordering) -> Option<Self> {
        let mut best: Option<Self> = None;
        for container in containers.iter().filter(|c| c.has_values()) {
            let stats = &container.stats;
            let (bound, is_stored) = match wanted {
                Ordering::Less => (stats.min.as_ref()?, stats.min_exact),
                _ => (stats.max.as_ref()?, stats.max_exact),
            };
            let is_exact = is_stored && container.deleted == 0 && !is_zero(bound);
            let order = best.as_ref().map(|best| bound.partial_cmp(&best.bound));
            match (&mut best, order) {
                (Some(_), Some(None)) => return None,
                (Some(best), Some(Some(Ordering::Equal))) => best.is_exact |= is_exact,
                (Some(_), Some(Some(order))) if order != wanted => {}
                (best, _) => {
                    *best = Some(Self {
                        bound: bound.clone(),
                        is_exact,
                    });
                }
            }
        }
        best
    }

    fn value(&self, data_type: &DataType) -> Precision<ScalarValue> {
        match self.bound.to_scalar(data_type) {
            Ok(value) if self.is_exact => Precision::Exact(value),
            Ok(value) => Precision::Inexact(value),
            Err(_) => Precision::Absent,
        }
    }
}

fn is_zero(bound: &Bound) -> bool {
    matches!(bound, Bound::Float(bits) if f64::from_bits(*bits) == 0.0)
}
