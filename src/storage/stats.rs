//! PartitionStats: what each segment's columns can hold, as the pruner reads it.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::OnceLock;

use arrow::array::{ArrayRef, new_null_array};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use serde::{Deserialize, Serialize};

use super::collect;
use super::schema::{CollectionSchema, Column, FieldId};
use crate::error::{Error, Result};

/// Text and byte bounds longer than this are truncated (the lower one down, the upper one up).
pub const BOUND_BYTES_MAX: usize = 64;

/// A value at the edge of a column's range, in a form that JSON keeps exactly.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Booleans.
    Bool(bool),
    /// Integers, dates, times and timestamps (their Arrow representation).
    Int(i64),
    /// Floats of either width as the bits of a double; NaN is never a bound.
    Float(u64),
    /// Decimals, unscaled, as text because JSON readers lose digits of large numbers.
    Decimal(String),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Intervals: months, days and nanoseconds. They are no bounds, but what rows have that are older than a column.
    Interval(i32, i32, i64),
}

impl Bound {
    /// The bound of a scalar; `None` for NULL and for types that are not ordered.
    pub fn from_scalar(value: &ScalarValue) -> Option<Self> {
        use ScalarValue as S;
        if value.is_null() {
            return None;
        }
        Some(match value {
            S::Boolean(Some(v)) => Self::Bool(*v),
            S::Int8(Some(v)) => Self::Int(i64::from(*v)),
            S::Int16(Some(v)) => Self::Int(i64::from(*v)),
            S::Int32(Some(v)) | S::Date32(Some(v)) => Self::Int(i64::from(*v)),
            S::Int64(Some(v))
            | S::Time64Microsecond(Some(v))
            | S::TimestampMicrosecond(Some(v), _) => Self::Int(*v),
            S::Float32(Some(v)) => Self::Float(f64::from(*v).to_bits()),
            S::Float64(Some(v)) => Self::Float(v.to_bits()),
            S::Decimal128(Some(v), _, _) => Self::Decimal(v.to_string()),
            S::Utf8(Some(v)) | S::Utf8View(Some(v)) | S::LargeUtf8(Some(v)) => {
                Self::Text(v.clone())
            }
            S::Binary(Some(v)) | S::BinaryView(Some(v)) | S::LargeBinary(Some(v)) => {
                Self::Bytes(v.clone())
            }
            S::IntervalMonthDayNano(Some(v)) => Self::Interval(v.months, v.days, v.nanoseconds),
            _ => return None,
        })
    }

    /// The scalar of the given column type.
    ///
    /// # Errors
    /// XX001 when the bound is not of that type.
    pub fn to_scalar(&self, data_type: &DataType) -> Result<ScalarValue> {
        use ScalarValue as S;
        let wrong = || Error::corrupted(format!("statistics {self:?} are not of type {data_type}"));
        Ok(match (self, data_type) {
            (Self::Bool(v), DataType::Boolean) => S::Boolean(Some(*v)),
            (Self::Int(v), DataType::Int8) => S::Int8(Some(i8::try_from(*v).map_err(|_| wrong())?)),
            (Self::Int(v), DataType::Int16) => {
                S::Int16(Some(i16::try_from(*v).map_err(|_| wrong())?))
            }
            (Self::Int(v), DataType::Int32) => {
                S::Int32(Some(i32::try_from(*v).map_err(|_| wrong())?))
            }
            (Self::Int(v), DataType::Date32) => {
                S::Date32(Some(i32::try_from(*v).map_err(|_| wrong())?))
            }
            (Self::Int(v), DataType::Int64) => S::Int64(Some(*v)),
            (Self::Int(v), DataType::Time64(_)) => S::Time64Microsecond(Some(*v)),
            (Self::Int(v), DataType::Timestamp(_, zone)) => {
                S::TimestampMicrosecond(Some(*v), zone.clone())
            }
            (Self::Float(v), DataType::Float32) => S::Float32(Some(f64::from_bits(*v) as f32)),
            (Self::Float(v), DataType::Float64) => S::Float64(Some(f64::from_bits(*v))),
            (Self::Decimal(v), DataType::Decimal128(p, s)) => {
                S::Decimal128(Some(v.parse().map_err(|_| wrong())?), *p, *s)
            }
            (Self::Text(v), DataType::Utf8) => S::Utf8(Some(v.clone())),
            (Self::Bytes(v), DataType::Binary) => S::Binary(Some(v.clone())),
            (Self::Interval(months, days, nanoseconds), DataType::Interval(_)) => {
                S::new_interval_mdn(*months, *days, *nanoseconds)
            }
            _ => return Err(wrong()),
        })
    }
}

impl PartialOrd for Bound {
    /// The order of the column's values; `None` between kinds that never meet in one column.
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Float(a), Self::Float(b)) => {
                f64::from_bits(*a).partial_cmp(&f64::from_bits(*b))?
            }
            (Self::Decimal(a), Self::Decimal(b)) => {
                a.parse::<i128>().ok()?.cmp(&b.parse::<i128>().ok()?)
            }
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Bytes(a), Self::Bytes(b)) => a.cmp(b),
            _ => return None,
        })
    }
}

/// What one scalar column of one segment can hold.
///
/// `min` and `max` bound every value that is neither NULL nor NaN. `min` is `None` where there is no such value;
/// `max` is `None` there too, and where a truncated text has no upper bound (`max_exact` is false then).
/// -0.0 and 0.0 are equal: a lower bound of zero is -0.0, an upper one 0.0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnStats {
    /// The column.
    pub field: FieldId,
    /// The least value, or something below it.
    pub min: Option<Bound>,
    /// The greatest value, or something above it.
    pub max: Option<Bound>,
    /// Whether `min` is a stored value.
    pub min_exact: bool,
    /// Whether `max` is a stored value.
    pub max_exact: bool,
    /// How many rows are NULL.
    pub null_count: u64,
    /// How many rows are NaN.
    pub nan_count: u64,
}

/// Where the vectors of one segment lie: none is farther than `radius` (L2) from `centroid`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VectorStats {
    /// The column.
    pub field: FieldId,
    /// The mean of the vectors, little-endian 32-bit floats in base64.
    pub centroid: String,
    /// The centroid as numbers, once somebody asked for it.
    #[serde(skip)]
    pub(super) decoded: Decoded,
    /// The greatest L2 distance from the centroid, rounded up.
    pub radius: f64,
    /// How many rows are NULL.
    pub null_count: u64,
    /// Where the vectors of parts of the segment lie, if its rows were sorted by a computed key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cells: Option<Cells>,
}

/// The rows of a segment, part by part: of each, how near to a centroid its vectors lie.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cells {
    /// The computed key whose model has the centroids.
    pub key: FieldId,
    /// The parts in the order of the rows; they have all of them.
    pub cells: Vec<Cell>,
}

/// Rows that follow each other: none of their vectors is farther (by L2) from the centroid than a radius.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(from = "(u32, u32, u32)", into = "(u32, u32, u32)")]
pub struct Cell {
    /// The centroid's place in the codebook.
    pub leaf: u32,
    /// How many rows.
    pub rows: u32,
    radius: f32,
}

impl Cell {
    /// A part of so many rows. The radius is kept in 32 bits, rounded up.
    pub fn new(leaf: u32, rows: u32, radius: f64) -> Self {
        let near = radius as f32;
        let up = match f64::from(near) < radius {
            true => near.next_up(),
            false => near,
        };
        // As of whole segments: nothing is farther than the greatest number.
        let radius = if up.is_finite() { up } else { f32::MAX };
        Self { leaf, rows, radius }
    }

    /// The radius; that of vectors without a distance is the greatest double.
    pub fn radius(&self) -> f64 {
        match self.radius == f32::MAX {
            true => f64::MAX,
            false => f64::from(self.radius),
        }
    }
}

/// The radius as its bits, which JSON keeps exactly.
impl From<(u32, u32, u32)> for Cell {
    fn from((leaf, rows, radius): (u32, u32, u32)) -> Self {
        let radius = f32::from_bits(radius);
        Self { leaf, rows, radius }
    }
}

impl From<Cell> for (u32, u32, u32) {
    fn from(cell: Cell) -> Self {
        (cell.leaf, cell.rows, cell.radius.to_bits())
    }
}

/// What follows from another field: it makes no difference between two values.
#[derive(Debug, Clone, Default)]
pub(super) struct Decoded(pub(super) OnceLock<Option<Vec<f32>>>);

impl PartialEq for Decoded {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl VectorStats {
    /// The mean of the vectors; `None` when it is not kept as it should be.
    pub fn centroid(&self) -> Option<&[f32]> {
        let decoded = self.decoded.0.get_or_init(|| collect::centroid(self).ok());
        decoded.as_deref()
    }
}

/// What a sealed segment holds; written with it, never changed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SegmentStats {
    /// One entry per scalar column that the segment has.
    pub columns: Vec<ColumnStats>,
    /// One entry per vector column that the segment has.
    pub vectors: Vec<VectorStats>,
    /// Bytes that all its rows take in memory, uncompressed: what segment sizes are measured in.
    #[serde(default)]
    pub memory_bytes: u64,
}

impl SegmentStats {
    /// Where the vectors of a column lie; `None` where the segment was written before the column was added.
    pub fn vector(&self, field: FieldId) -> Option<&VectorStats> {
        self.vectors.iter().find(|v| v.field == field)
    }

    /// The statistics of a column; `None` where the segment was written before the column was added.
    pub fn column(&self, field: FieldId) -> Option<&ColumnStats> {
        self.columns.iter().find(|c| c.field == field)
    }

    /// The statistics of a column in a segment of `rows` rows. Each row of a segment that was written before the column
    /// was added holds its `missing` value.
    pub fn of_column(&self, column: &Column, rows: u64) -> Cow<'_, ColumnStats> {
        match self.column(column.id) {
            Some(stats) => Cow::Borrowed(stats),
            None => Cow::Owned(ColumnStats::missing(column, rows)),
        }
    }
}

/// Statistics of one column over many containers (segments, row groups or pages), one array slot each.
///
/// This is all that the pruner knows: it is the same at every level.
#[derive(Debug, Clone)]
pub struct ColumnBounds {
    /// Lower bounds, of the column's type; NULL where the container has none (see the flags).
    pub min: ArrayRef,
    /// Upper bounds, of the column's type; NULL where unknown.
    pub max: ArrayRef,
    /// Whether the container may hold a NULL.
    pub may_null: Vec<bool>,
    /// Whether the container may hold a value that is not NULL and not NaN.
    pub may_value: Vec<bool>,
    /// Whether the container may hold a NaN.
    pub may_nan: Vec<bool>,
}

/// Statistics of every scalar column of a schema over many containers, in the same order for each.
#[derive(Debug, Clone)]
pub struct PartitionStats {
    /// How many containers.
    pub containers: usize,
    /// Rows of each container.
    pub rows: Vec<u64>,
    /// One entry per scalar column.
    pub columns: Vec<(FieldId, ColumnBounds)>,
}

impl PartitionStats {
    /// The statistics of segments, given their rows and their own statistics.
    ///
    /// A segment written before a column was added holds that column's `missing` value in every row.
    pub fn build(schema: &CollectionSchema, segments: &[(u64, &SegmentStats)]) -> Self {
        let scalars = schema.columns.iter().filter(|c| c.column_type.is_scalar());
        Self {
            containers: segments.len(),
            rows: segments.iter().map(|(rows, _)| *rows).collect(),
            columns: scalars
                .map(|c| (c.id, ColumnBounds::build(c, segments)))
                .collect(),
        }
    }

    /// The bounds of a column.
    pub fn column(&self, field: FieldId) -> Option<&ColumnBounds> {
        self.columns
            .iter()
            .find(|(id, _)| *id == field)
            .map(|(_, bounds)| bounds)
    }
}

impl ColumnBounds {
    /// The bounds of containers that were written before the column was added, given their rows.
    pub(super) fn missing(column: &Column, rows: &[u64]) -> Self {
        let none = SegmentStats::default();
        let segments: Vec<_> = rows.iter().map(|rows| (*rows, &none)).collect();
        Self::build(column, &segments)
    }

    /// Bounds that exclude nothing, given the rows of each container.
    pub(super) fn unknown(data_type: &DataType, rows: &[u64]) -> Self {
        let any: Vec<bool> = rows.iter().map(|rows| *rows > 0).collect();
        Self {
            min: new_null_array(data_type, rows.len()),
            max: new_null_array(data_type, rows.len()),
            may_null: any.clone(),
            may_value: any.clone(),
            may_nan: any,
        }
    }

    fn build(column: &Column, segments: &[(u64, &SegmentStats)]) -> Self {
        let all: Vec<Cow<'_, ColumnStats>> = segments
            .iter()
            .map(|(rows, stats)| stats.of_column(column, *rows))
            .collect();
        let data_type = column.column_type.arrow_type();
        let rows = |i: usize| segments[i].0;
        Self {
            min: bounds_array(all.iter().map(|s| s.min.as_ref()), &data_type),
            max: bounds_array(all.iter().map(|s| s.max.as_ref()), &data_type),
            may_null: all.iter().map(|s| s.null_count > 0).collect(),
            may_value: (0..all.len())
                .map(|i| all[i].null_count + all[i].nan_count < rows(i))
                .collect(),
            may_nan: all.iter().map(|s| s.nan_count > 0).collect(),
        }
    }
}

impl ColumnStats {
    /// The statistics of a column that was added after `rows` rows were written.
    fn missing(column: &Column, rows: u64) -> Self {
        let value = column.missing.clone();
        let null_count = if value.is_none() { rows } else { 0 };
        Self {
            field: column.id,
            min: value.clone(),
            max: value,
            min_exact: true,
            max_exact: true,
            null_count,
            nan_count: 0,
        }
    }
}

/// The bounds as an array of the column's type. A bound that does not fit the type is unknown: the pruner keeps
/// what it does not know.
fn bounds_array<'a>(
    bounds: impl Iterator<Item = Option<&'a Bound>>,
    data_type: &DataType,
) -> ArrayRef {
    let Ok(null) = ScalarValue::try_from(data_type) else {
        return new_null_array(data_type, bounds.count());
    };
    let mut scalars = bounds
        .map(|b| {
            b.and_then(|b| b.to_scalar(data_type).ok())
                .unwrap_or_else(|| null.clone())
        })
        .peekable();
    if scalars.peek().is_none() {
        return new_null_array(data_type, 0);
    }
    ScalarValue::iter_to_array(scalars).expect("invariant: every scalar has the column's type")
}
