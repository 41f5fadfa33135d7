//! What the optimizer is told of a scan.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, make_comparator};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};

use super::source::{OutputColumn, ScanSource};
use super::units::Unit;
use crate::storage::stats::ColumnBounds;

/// What a text or a list is taken to need.
const VARIABLE_BYTES: usize = 32;

/// Rows and bytes of one partition, about.
pub(super) fn of_partition(units: &[Unit], schema: &SchemaRef) -> Statistics {
    let rows: u64 = units.iter().map(Unit::live_rows).sum();
    Statistics {
        num_rows: Precision::Inexact(rows as usize),
        total_byte_size: Precision::Inexact(rows as usize * row_bytes(schema)),
        column_statistics: Statistics::unknown_column(schema),
    }
}

/// Rows, bytes and bounds of all partitions. The number of rows is that of live rows when `exact`; bounds are never
/// exact, because deleted rows may have them.
pub(super) fn of_scan<'a>(
    source: &ScanSource,
    units: impl Iterator<Item = &'a Unit>,
    columns: &[OutputColumn],
    exact: bool,
) -> Statistics {
    let schema = source.arrow_schema(columns);
    let rows = match exact {
        true => source.collection.live_rows(),
        false => units.map(Unit::live_rows).sum(),
    } as usize;
    Statistics {
        num_rows: match exact {
            true => Precision::Exact(rows),
            false => Precision::Inexact(rows),
        },
        total_byte_size: Precision::Inexact(rows * row_bytes(&schema)),
        column_statistics: columns.iter().map(|c| of_column(source, *c)).collect(),
    }
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

/// Growing rows have no statistics: with them, nothing is known of a column.
fn of_column(source: &ScanSource, column: OutputColumn) -> ColumnStatistics {
    let unknown = ColumnStatistics::new_unknown();
    let OutputColumn::Stored(field) = column else {
        return unknown;
    };
    if !source.collection.growing().is_empty() {
        return unknown;
    }
    let Some(bounds) = source.collection.partition_stats().column(field) else {
        return unknown;
    };
    let no_nan = !bounds.may_nan.contains(&true);
    let no_null = !bounds.may_null.contains(&true);
    let precision = |value: Option<ScalarValue>| match value {
        Some(value) if no_nan => Precision::Inexact(value),
        _ => Precision::Absent,
    };
    ColumnStatistics {
        null_count: if no_null {
            Precision::Inexact(0)
        } else {
            Precision::Absent
        },
        min_value: precision(extreme(&bounds.min, bounds, Ordering::Less)),
        max_value: precision(extreme(&bounds.max, bounds, Ordering::Greater)),
        ..unknown
    }
}

/// The least (greatest) of the bounds; `None` where a container with values has none.
fn extreme(array: &ArrayRef, bounds: &ColumnBounds, wanted: Ordering) -> Option<ScalarValue> {
    let compare = make_comparator(array, array, SortOptions::default()).ok()?;
    let mut best: Option<usize> = None;
    for i in (0..array.len()).filter(|i| bounds.may_value[*i]) {
        if array.is_null(i) {
            return None;
        }
        if best.is_none_or(|best| compare(i, best) == wanted) {
            best = Some(i);
        }
    }
    ScalarValue::try_from_array(array, best?).ok()
}
