//! `infinity` and `-infinity` of dates and timestamps: later and earlier than all others.
//!
//! They are the greatest and the least number of their Arrow type, whatever its unit, so that they are compared, sorted,
//! hashed and pruned like any other. What computes with times cannot take them: it is given the rest, with NULLs in their
//! places ([`finite`]), and they are put back where the result is a time again ([`Infinities::put_back`]).

mod cast;
mod rule;
mod sum;

use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::{Array, ArrayData, ArrayRef, AsArray, BooleanBufferBuilder, make_array};
use arrow::buffer::{Buffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{
    DataType, Date32Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use arrow::error::ArrowError;
use arrow::temporal_conversions::MICROSECONDS_IN_DAY;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::ColumnarValue;

pub(crate) use self::cast::{MomentCast, cast_moments};
pub use self::rule::InfinityRule;

/// Days from 1970-01-01 that Arrow can print: years -4712 to 262142.
pub const DAYS: RangeInclusive<i64> = -2_440_550..=95_026_236;
/// The instants of [`DAYS`], microseconds.
pub const MICROS: RangeInclusive<i64> =
    *DAYS.start() * MICROSECONDS_IN_DAY..=(*DAYS.end() + 1) * MICROSECONDS_IN_DAY - 1;

/// A time that is no day of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Infinity {
    /// `-infinity`
    Earliest,
    /// `infinity`
    Latest,
}

impl Infinity {
    /// The infinity that a timestamp of any unit is.
    pub const fn of(timestamp: i64) -> Option<Self> {
        match timestamp {
            i64::MIN => Some(Self::Earliest),
            i64::MAX => Some(Self::Latest),
            _ => None,
        }
    }

    /// The infinity that a date is.
    pub const fn of_days(days: i32) -> Option<Self> {
        match days {
            i32::MIN => Some(Self::Earliest),
            i32::MAX => Some(Self::Latest),
            _ => None,
        }
    }

    /// The infinity that a text says.
    pub fn read(text: &str) -> Option<Self> {
        let both = [Self::Earliest, Self::Latest];
        let named = |infinity: &Self| text.eq_ignore_ascii_case(infinity.name());
        both.into_iter().find(named)
    }

    /// As PostgreSQL writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Earliest => "-infinity",
            Self::Latest => "infinity",
        }
    }

    /// As a timestamp.
    pub const fn timestamp(self) -> i64 {
        match self {
            Self::Earliest => i64::MIN,
            Self::Latest => i64::MAX,
        }
    }

    /// As a date.
    pub const fn days(self) -> i32 {
        match self {
            Self::Earliest => i32::MIN,
            Self::Latest => i32::MAX,
        }
    }

    /// As a double.
    pub const fn double(self) -> f64 {
        match self {
            Self::Earliest => f64::NEG_INFINITY,
            Self::Latest => f64::INFINITY,
        }
    }

    /// The infinity in a row of an array that is no NULL.
    pub fn in_row(array: &dyn Array, row: usize) -> Option<Self> {
        match array.data_type() {
            DataType::Date32 => Self::of_days(array.as_primitive::<Date32Type>().value(row)),
            DataType::Timestamp(unit, _) => Self::of(timestamps(array, *unit)[row]),
            _ => None,
        }
    }
}

/// The rows of an array that were infinite.
#[derive(Debug, Default)]
pub struct Infinities(Vec<(usize, Infinity)>);

/// The times with NULLs in place of infinities, and which they were.
///
/// # Errors
/// Those of Arrow.
pub fn finite(times: &ArrayRef) -> Result<(ArrayRef, Infinities), ArrowError> {
    let found: Vec<_> = match times.data_type() {
        DataType::Date32 => {
            let days = times.as_primitive::<Date32Type>().values();
            found(times, days, |days| Infinity::of_days(*days))
        }
        DataType::Timestamp(unit, _) => {
            let values = timestamps(times, *unit);
            found(times, values, |value| Infinity::of(*value))
        }
        _ => Vec::new(),
    };
    if found.is_empty() {
        return Ok((Arc::clone(times), Infinities::default()));
    }
    let mut valid = valid_rows(times);
    for (row, _) in &found {
        valid.set_bit(*row, false);
    }
    let nulls = NullBuffer::new(valid.finish());
    let data = times.to_data().into_builder().nulls(Some(nulls)).build()?;
    Ok((make_array(data), Infinities(found)))
}

fn found<T>(
    times: &ArrayRef,
    values: &[T],
    infinity_of: impl Fn(&T) -> Option<Infinity>,
) -> Vec<(usize, Infinity)> {
    let infinite = values.iter().enumerate();
    let infinite = infinite.filter_map(|(row, value)| Some((row, infinity_of(value)?)));
    infinite.filter(|(row, _)| times.is_valid(*row)).collect()
}

fn valid_rows(array: &ArrayRef) -> BooleanBufferBuilder {
    let mut valid = BooleanBufferBuilder::new(array.len());
    match array.nulls() {
        Some(nulls) => valid.append_buffer(nulls.inner()),
        None => valid.append_n(array.len(), true),
    }
    valid
}

fn timestamps(array: &dyn Array, unit: TimeUnit) -> &ScalarBuffer<i64> {
    match unit {
        TimeUnit::Second => array.as_primitive::<TimestampSecondType>().values(),
        TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().values(),
        TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().values(),
        TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().values(),
    }
}

/// The same for an argument of a function.
///
/// # Errors
/// Those of Arrow.
pub fn finite_argument(times: &ColumnarValue) -> Result<(ColumnarValue, Infinities)> {
    match times {
        ColumnarValue::Array(times) => {
            let (rest, infinities) = finite(times)?;
            Ok((ColumnarValue::Array(rest), infinities))
        }
        ColumnarValue::Scalar(time) => {
            let (rest, infinities) = finite(&time.to_array()?)?;
            let rest = ScalarValue::try_from_array(&rest, 0)?;
            Ok((ColumnarValue::Scalar(rest), infinities))
        }
    }
}

impl Infinities {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rows.
    pub fn rows(&self) -> impl Iterator<Item = (usize, Infinity)> {
        self.0.iter().copied()
    }

    /// What was computed of the rest, with infinities where it is of dates or timestamps; of other types they stay NULL.
    ///
    /// # Errors
    /// Those of Arrow.
    pub fn put_back(&self, computed: ArrayRef) -> Result<ArrayRef, ArrowError> {
        if self.is_empty() {
            return Ok(computed);
        }
        let values = match computed.data_type() {
            DataType::Date32 => {
                let mut days = computed.as_primitive::<Date32Type>().values().to_vec();
                self.rows().for_each(|(row, of)| days[row] = of.days());
                Buffer::from_vec(days)
            }
            DataType::Timestamp(unit, _) => {
                let mut values = timestamps(&computed, *unit).to_vec();
                self.rows()
                    .for_each(|(row, of)| values[row] = of.timestamp());
                Buffer::from_vec(values)
            }
            _ => return Ok(computed),
        };
        let mut valid = valid_rows(&computed);
        self.rows().for_each(|(row, _)| valid.set_bit(row, true));
        let data = ArrayData::builder(computed.data_type().clone())
            .len(computed.len())
            .add_buffer(values)
            .nulls(Some(NullBuffer::new(valid.finish())));
        Ok(make_array(data.build()?))
    }
}

impl Infinities {
    /// The same for the result of a function.
    ///
    /// # Errors
    /// Those of Arrow.
    pub fn put_back_result(&self, computed: ColumnarValue) -> Result<ColumnarValue> {
        Ok(match computed {
            ColumnarValue::Array(computed) => self.put_back(computed)?.into(),
            ColumnarValue::Scalar(computed) => {
                let computed = self.put_back(computed.to_array()?)?;
                ScalarValue::try_from_array(&computed, 0)?.into()
            }
        })
    }
}

#[cfg(test)]
mod tests;
