//! Statistics of a segment, collected exactly while it is written.

use std::collections::HashSet;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::compute::{max, max_boolean, min, min_boolean};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float16Type, Float32Type,
    Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType,
};
use arrow::record_batch::RecordBatch;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::growing::batch_bytes;
use super::schema::{CollectionSchema, FieldId, field_id};
use super::stats::{BOUND_BYTES_MAX, Bound, ColumnStats, SegmentStats, VectorStats};
use crate::error::{Error, Result};

/// The float columns of `batches` that hold a NaN: those whose Parquet statistics the writer leaves out.
pub fn nan_fields(batches: &[RecordBatch]) -> HashSet<FieldId> {
    let has_nan = |column: &ArrayRef| match column.data_type() {
        DataType::Float32 => nan_count(column.as_primitive::<Float32Type>()) > 0,
        DataType::Float64 => nan_count(column.as_primitive::<Float64Type>()) > 0,
        _ => false,
    };
    let mut fields = HashSet::new();
    for batch in batches {
        for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            if let Some(id) = field_id(field).filter(|_| has_nan(column)) {
                fields.insert(id);
            }
        }
    }
    fields
}

/// Collects [`SegmentStats`] from the batches of a segment.
#[derive(Debug)]
pub struct StatsCollector {
    scalars: Vec<(usize, ScalarCollector)>,
    vectors: Vec<(usize, VectorCollector)>,
    memory_bytes: u64,
}

impl StatsCollector {
    /// For batches of the collection's `arrow_schema()`.
    pub fn new(schema: &CollectionSchema) -> Self {
        let columns = || schema.columns.iter().enumerate();
        Self {
            scalars: columns()
                .filter(|(_, c)| c.column_type.is_scalar())
                .map(|(i, c)| (i, ScalarCollector::new(c.id)))
                .collect(),
            vectors: columns()
                .filter(|(_, c)| c.column_type.is_vector())
                .map(|(i, c)| (i, VectorCollector::new(c.id)))
                .collect(),
            memory_bytes: 0,
        }
    }

    /// Takes the rows of a batch into account.
    ///
    /// # Errors
    /// XX000 for a column of a type that no [`super::schema::ColumnType`] has.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        self.memory_bytes += batch_bytes(batch);
        for (index, collector) in &mut self.scalars {
            collector.add(batch.column(*index))?;
        }
        for (index, collector) in &mut self.vectors {
            collector.add(batch.column(*index))?;
        }
        Ok(())
    }

    /// The statistics. `radius` answers the greatest L2 distance of the column's vectors from the centroid: it
    /// needs the centroid first, so it has to read the vectors again.
    ///
    /// # Errors
    /// What `radius` answers.
    pub fn finish(
        self,
        mut radius: impl FnMut(FieldId, &[f32]) -> Result<f64>,
    ) -> Result<SegmentStats> {
        let vectors = self.vectors.into_iter();
        Ok(SegmentStats {
            columns: self.scalars.into_iter().map(|(_, c)| c.finish()).collect(),
            vectors: vectors
                .map(|(_, c)| c.finish(&mut radius))
                .collect::<Result<_>>()?,
            memory_bytes: self.memory_bytes,
        })
    }
}

/// The statistics of the rows of one scalar column.
///
/// # Errors
/// XX000 for a type that no scalar [`super::schema::ColumnType`] has.
pub fn column_stats(field: FieldId, rows: &ArrayRef) -> Result<ColumnStats> {
    let mut collector = ScalarCollector::new(field);
    collector.add(rows)?;
    Ok(collector.finish())
}

#[derive(Debug)]
struct ScalarCollector {
    field: FieldId,
    range: Option<(Bound, Bound)>,
    null_count: u64,
    nan_count: u64,
}

impl ScalarCollector {
    fn new(field: FieldId) -> Self {
        Self {
            field,
            range: None,
            null_count: 0,
            nan_count: 0,
        }
    }

    fn add(&mut self, array: &ArrayRef) -> Result<()> {
        self.null_count += array.null_count() as u64;
        self.nan_count += match array.data_type() {
            DataType::Float32 => nan_count(array.as_primitive::<Float32Type>()),
            DataType::Float64 => nan_count(array.as_primitive::<Float64Type>()),
            _ => 0,
        };
        let Some((low, high)) = range_of(array)? else {
            return Ok(());
        };
        self.range = Some(match self.range.take() {
            None => (low, high),
            Some((min, max)) => (
                if low < min { low } else { min },
                if high > max { high } else { max },
            ),
        });
        Ok(())
    }

    fn finish(self) -> ColumnStats {
        let (min, max) = self.range.unzip();
        let (min, min_exact) = min.map_or((None, true), lower_bound);
        let (max, max_exact) = max.map_or((None, true), upper_bound);
        ColumnStats {
            field: self.field,
            min,
            max,
            min_exact,
            max_exact,
            null_count: self.null_count,
            nan_count: self.nan_count,
        }
    }
}

/// Least and greatest value that is neither NULL nor NaN.
fn range_of(array: &ArrayRef) -> Result<Option<(Bound, Bound)>> {
    Ok(match array.data_type() {
        DataType::Boolean => {
            let array = array.as_boolean();
            min_boolean(array)
                .zip(max_boolean(array))
                .map(|(low, high)| (Bound::Bool(low), Bound::Bool(high)))
        }
        DataType::Int8 => integers(array.as_primitive::<Int8Type>()),
        DataType::Int16 => integers(array.as_primitive::<Int16Type>()),
        DataType::Int32 => integers(array.as_primitive::<Int32Type>()),
        DataType::Int64 => integers(array.as_primitive::<Int64Type>()),
        DataType::Date32 => integers(array.as_primitive::<Date32Type>()),
        DataType::Time64(TimeUnit::Microsecond) => {
            integers(array.as_primitive::<Time64MicrosecondType>())
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            integers(array.as_primitive::<TimestampMicrosecondType>())
        }
        DataType::Float32 => floats(array.as_primitive::<Float32Type>()),
        DataType::Float64 => floats(array.as_primitive::<Float64Type>()),
        DataType::Decimal128(_, _) => {
            let array = array.as_primitive::<Decimal128Type>();
            let bound = |v: i128| Bound::Decimal(v.to_string());
            min(array)
                .zip(max(array))
                .map(|(low, high)| (bound(low), bound(high)))
        }
        DataType::Utf8 => extremes(array.as_string::<i32>().iter())
            .map(|(low, high)| (Bound::Text(low.into()), Bound::Text(high.into()))),
        DataType::Binary => extremes(array.as_binary::<i32>().iter())
            .map(|(low, high)| (Bound::Bytes(low.into()), Bound::Bytes(high.into()))),
        other => {
            let message = format!("no statistics are kept for columns of Arrow type {other}");
            return Err(Error::internal(message));
        }
    })
}

fn integers<T: ArrowPrimitiveType<Native: Into<i64>>>(
    array: &PrimitiveArray<T>,
) -> Option<(Bound, Bound)> {
    let (low, high) = min(array).zip(max(array))?;
    Some((Bound::Int(low.into()), Bound::Int(high.into())))
}

fn floats<T: ArrowPrimitiveType<Native: Into<f64>>>(
    array: &PrimitiveArray<T>,
) -> Option<(Bound, Bound)> {
    let fold = |range: Option<(f64, f64)>, value: f64| match range {
        _ if value.is_nan() => range,
        None => Some((value, value)),
        Some((low, high)) => Some((low.min(value), high.max(value))),
    };
    let values = array.iter().flatten().map(Into::into);
    let (low, high) = values.fold(None, fold)?;
    // -0.0 and 0.0 are equal: bounds must hold for either.
    let low = if low == 0.0 { -0.0 } else { low };
    let high = if high == 0.0 { 0.0 } else { high };
    Some((Bound::Float(low.to_bits()), Bound::Float(high.to_bits())))
}

fn extremes<T: Ord + Copy>(values: impl Iterator<Item = Option<T>>) -> Option<(T, T)> {
    values.flatten().fold(None, |range, value| match range {
        None => Some((value, value)),
        Some((low, high)) => Some((low.min(value), high.max(value))),
    })
}

fn nan_count<T: ArrowPrimitiveType<Native: Into<f64>>>(array: &PrimitiveArray<T>) -> u64 {
    let nan = |value: T::Native| Into::<f64>::into(value).is_nan();
    array.iter().flatten().filter(|v| nan(*v)).count() as u64
}

/// The bound, or a shorter one below it, and whether it is the value itself.
fn lower_bound(bound: Bound) -> (Option<Bound>, bool) {
    match bound {
        Bound::Text(text) if text.len() > BOUND_BYTES_MAX => {
            let end = text.floor_char_boundary(BOUND_BYTES_MAX);
            (Some(Bound::Text(text[..end].to_string())), false)
        }
        Bound::Bytes(bytes) if bytes.len() > BOUND_BYTES_MAX => {
            (Some(Bound::Bytes(bytes[..BOUND_BYTES_MAX].to_vec())), false)
        }
        bound => (Some(bound), true),
    }
}

/// The bound, or a shorter one above it, and whether it is the value itself; `None` where nothing short is above it.
fn upper_bound(bound: Bound) -> (Option<Bound>, bool) {
    match bound {
        Bound::Text(text) if text.len() > BOUND_BYTES_MAX => {
            let end = text.floor_char_boundary(BOUND_BYTES_MAX);
            (increment_text(&text[..end]).map(Bound::Text), false)
        }
        Bound::Bytes(bytes) if bytes.len() > BOUND_BYTES_MAX => {
            let short = increment_bytes(&bytes[..BOUND_BYTES_MAX]);
            (short.map(Bound::Bytes), false)
        }
        bound => (Some(bound), true),
    }
}

/// The shortest text above every text that begins with `prefix`, in at most [`BOUND_BYTES_MAX`] bytes.
fn increment_text(prefix: &str) -> Option<String> {
    for (place, last) in prefix.char_indices().rev() {
        let next = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32);
        if let Some(next) = next.filter(|next| place + next.len_utf8() <= BOUND_BYTES_MAX) {
            return Some(format!("{}{next}", &prefix[..place]));
        }
    }
    None
}

fn increment_bytes(prefix: &[u8]) -> Option<Vec<u8>> {
    let place = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut bytes = prefix[..=place].to_vec();
    bytes[place] += 1;
    Some(bytes)
}

/// Sums in double precision, for the mean.
#[derive(Debug)]
struct VectorCollector {
    field: FieldId,
    sums: Vec<f64>,
    count: u64,
    null_count: u64,
}

impl VectorCollector {
    fn new(field: FieldId) -> Self {
        Self {
            field,
            sums: Vec::new(),
            count: 0,
            null_count: 0,
        }
    }

    fn add(&mut self, array: &ArrayRef) -> Result<()> {
        let list = array.as_fixed_size_list();
        let dimensions = list.value_length() as usize;
        self.sums.resize(dimensions, 0.0);
        self.null_count += list.null_count() as u64;
        self.count += (list.len() - list.null_count()) as u64;
        let live = (0..list.len()).filter(|row| list.is_valid(*row));
        let range = |row: usize| {
            let start = list.value_offset(row) as usize;
            start..start + dimensions
        };
        match list.values().data_type() {
            DataType::Float32 => {
                let values = list.values().as_primitive::<Float32Type>().values();
                live.for_each(|row| add_to(&mut self.sums, &values[range(row)]));
            }
            DataType::Float16 => {
                let values = list.values().as_primitive::<Float16Type>().values();
                live.for_each(|row| add_to(&mut self.sums, &values[range(row)]));
            }
            other => return Err(Error::internal(format!("vectors of Arrow type {other}"))),
        }
        Ok(())
    }

    fn finish(self, radius: impl FnOnce(FieldId, &[f32]) -> Result<f64>) -> Result<VectorStats> {
        let count = self.count.max(1) as f64;
        let mut centroid: Vec<f32> = self.sums.iter().map(|s| (s / count) as f32).collect();
        if centroid.iter().any(|value| !value.is_finite()) {
            centroid.fill(0.0);
        }
        let radius = match self.count {
            0 => 0.0,
            _ => radius(self.field, &centroid)?,
        };
        let bytes: Vec<u8> = centroid.iter().flat_map(|v| v.to_le_bytes()).collect();
        Ok(VectorStats {
            field: self.field,
            centroid: STANDARD.encode(bytes),
            decoded: Default::default(),
            // JSON has no infinity; nothing is farther than the greatest double.
            radius: if radius.is_finite() { radius } else { f64::MAX },
            null_count: self.null_count,
            cells: None,
        })
    }
}

fn add_to<T: Copy + Into<f64>>(sums: &mut [f64], values: &[T]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += (*value).into();
    }
}

/// The centroid that [`VectorStats`] keeps as text.
///
/// # Errors
/// XX001 when the text is not base64 of 32-bit floats.
pub fn centroid(stats: &VectorStats) -> Result<Vec<f32>> {
    let wrong = || Error::corrupted("the centroid of a vector column is not base64 of floats");
    let bytes = STANDARD.decode(&stats.centroid).map_err(|_| wrong())?;
    let (floats, rest) = bytes.as_chunks::<4>();
    match rest {
        [] => Ok(floats.iter().map(|f| f32::from_le_bytes(*f)).collect()),
        _ => Err(wrong()),
    }
}

/// The greatest L2 distance of `vectors` (rows of `centroid.len()` values) from `centroid`, never too small.
pub fn radius_of<T: Copy + Into<f64>>(vectors: impl Iterator<Item = T>, centroid: &[f32]) -> f64 {
    let (mut greatest, mut sum, mut place) = (0.0f64, 0.0f64, 0);
    for value in vectors {
        let difference = value.into() - f64::from(centroid[place]);
        sum += difference * difference;
        place += 1;
        if place == centroid.len() {
            // `max` would drop a NaN, and a vector with one is as far as can be.
            greatest = if sum.is_nan() {
                f64::INFINITY
            } else {
                greatest.max(sum)
            };
            (sum, place) = (0.0, 0);
        }
    }
    // A sum of 16,000 squares in double precision errs by less than one part in 10^11.
    (greatest.sqrt() * (1.0 + 1e-11)).next_up()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn text(bound: (Option<Bound>, bool)) -> (Option<String>, bool) {
        let text = bound.0.map(|bound| match bound {
            Bound::Text(text) => text,
            other => panic!("{other:?}"),
        });
        (text, bound.1)
    }

    #[test]
    fn long_text_is_cut_down_for_the_lower_bound_and_up_for_the_upper() {
        let a = |n: usize| "a".repeat(n);
        let max = |n: usize| char::MAX.to_string().repeat(n);
        let cases = [
            (a(64), Some(a(64)), Some(a(64)), true),
            (a(65), Some(a(64)), Some(a(63) + "b"), false),
            // A character that would be cut in two stays out.
            (
                a(63) + "\u{e9}\u{e9}",
                Some(a(63)),
                Some(a(62) + "b"),
                false,
            ),
            // Surrogates are no characters.
            (
                a(61) + "\u{d7ff}z",
                Some(a(61) + "\u{d7ff}"),
                Some(a(61) + "\u{e000}"),
                false,
            ),
            // The next character takes a byte more than there is room for.
            (
                a(63) + "\u{7f}z",
                Some(a(63) + "\u{7f}"),
                Some(a(62) + "b"),
                false,
            ),
            (
                a(60) + &max(2),
                Some(a(60) + &max(1)),
                Some(a(59) + "b"),
                false,
            ),
            // Nothing short is above.
            (max(20), Some(max(16)), None, false),
        ];
        for (value, min, max, exact) in cases {
            let bound = || Bound::Text(value.clone());
            assert_eq!(text(lower_bound(bound())), (min.clone(), exact), "{value}");
            assert_eq!(text(upper_bound(bound())), (max.clone(), exact), "{value}");
            assert!(min.is_none_or(|min| min <= value));
            assert!(max.is_none_or(|max| max >= value && max.len() <= BOUND_BYTES_MAX));
        }
    }

    #[test]
    fn long_bytes_are_cut_likewise() {
        let mut value = vec![1; 62];
        value.extend([0xff; 10]);
        let upper = upper_bound(Bound::Bytes(value.clone())).0;
        let mut wanted = vec![1; 61];
        wanted.push(2);
        assert_eq!(upper, Some(Bound::Bytes(wanted)));
        assert_eq!(upper_bound(Bound::Bytes(vec![0xff; 65])), (None, false));
        assert_eq!(
            upper_bound(Bound::Bytes(vec![0xff; 64])),
            (Some(Bound::Bytes(vec![0xff; 64])), true)
        );
    }

    #[test]
    fn the_radius_is_never_too_small() {
        let centroid = [0.1f32, 0.2, 0.3];
        let vectors = [[1.0f32, 2.0, 3.0], [0.1, 0.2, 0.3]];
        let radius = radius_of(vectors.iter().flatten().copied(), &centroid);
        let exact = (0..3)
            .map(|i| (f64::from(vectors[0][i]) - f64::from(centroid[i])).powi(2))
            .sum::<f64>()
            .sqrt();
        assert!(radius >= exact && radius < exact * 1.000_001);
        assert_eq!(
            radius_of([f32::NAN, 0.0, 0.0].into_iter(), &centroid),
            f64::INFINITY
        );
    }
}
