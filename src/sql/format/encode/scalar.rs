//! Values of one word: numbers, booleans, moments, intervals.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::datatypes::{
    Date32Type, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType,
    DurationSecondType, Float64Type, IntervalDayTimeType, IntervalMonthDayNanoType, IntervalUnit,
    IntervalYearMonthType, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
    Time64NanosecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use arrow::temporal_conversions::MICROSECONDS;
use bytes::BufMut;

use super::column::{Put, Target, each};
use crate::catalog::infinity::Infinity;
use crate::sql::format::datetime::{self, out_of_range};
use crate::sql::format::interval::Interval;
use crate::sql::format::number::{
    Decimal, Unscaled, integer_out_of_range, put_float4, put_float8, put_integer,
};

pub(super) fn booleans(array: &ArrayRef, target: Target<'_>) -> Put {
    let array = array.as_boolean().clone();
    let (yes, no) = if target.is_binary() {
        (1, 0)
    } else {
        (b't', b'f')
    };
    Box::new(move |row, out| {
        out.put_u8(if array.value(row) { yes } else { no });
        Ok(())
    })
}

/// Integers, in binary as wide as the type says.
pub(super) fn integers<T>(array: &ArrayRef, target: Target<'_>) -> Put
where
    T: ArrowPrimitiveType,
    T::Native: itoa::Integer + Into<i64>,
{
    if !target.is_binary() {
        return each::<T>(array, |v, out| {
            put_integer(v, out);
            Ok(())
        });
    }
    match target.pg_type.length {
        2 => each::<T>(array, |v, out| {
            let wide: i64 = v.into();
            out.put_i16(i16::try_from(wide).map_err(|_| integer_out_of_range("smallint"))?);
            Ok(())
        }),
        4 => each::<T>(array, |v, out| {
            let wide: i64 = v.into();
            // Object identifiers have no sign.
            let signed = i32::try_from(wide).or_else(|_| u32::try_from(wide).map(|v| v as i32));
            out.put_i32(signed.map_err(|_| integer_out_of_range("integer"))?);
            Ok(())
        }),
        _ => each::<T>(array, |v, out| {
            out.put_i64(v.into());
            Ok(())
        }),
    }
}

pub(super) fn floats4<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    target: Target<'_>,
    wide: impl Fn(T::Native) -> f32 + Send + Sync + 'static,
) -> Put {
    let digits = target.style.extra_float_digits;
    if target.is_binary() {
        return each::<T>(array, move |v, out| {
            out.put_f32(wide(v));
            Ok(())
        });
    }
    each::<T>(array, move |v, out| {
        put_float4(wide(v), digits, out);
        Ok(())
    })
}

pub(super) fn floats8(array: &PrimitiveArray<Float64Type>, target: Target<'_>) -> Put {
    let array = array.clone();
    let digits = target.style.extra_float_digits;
    if target.is_binary() {
        return Box::new(move |row, out| {
            out.put_f64(array.value(row));
            Ok(())
        });
    }
    Box::new(move |row, out| {
        put_float8(array.value(row), digits, out);
        Ok(())
    })
}

pub(super) fn decimals<T>(array: &ArrayRef, scale: i8, target: Target<'_>) -> Put
where
    T: ArrowPrimitiveType,
    T::Native: Unscaled,
{
    if target.is_binary() && target.pg_type.length == 8 {
        return each::<T>(array, |v, out| {
            let value = v.with_digits(|digits| digits.parse::<u64>());
            out.put_u64(value.map_err(|_| integer_out_of_range("xid8"))?);
            Ok(())
        });
    }
    let shown = target.shown;
    if target.is_binary() {
        return each::<T>(array, move |v, out| {
            v.with_digits(|digits| Decimal::shown(digits, scale, shown).put_binary(out));
            Ok(())
        });
    }
    each::<T>(array, move |v, out| {
        v.with_digits(|digits| Decimal::shown(digits, scale, shown).put_text(out));
        Ok(())
    })
}

pub(super) fn dates(array: &PrimitiveArray<Date32Type>, target: Target<'_>) -> Put {
    let array = array.clone();
    if target.is_binary() {
        return Box::new(move |row, out| {
            out.put_i32(datetime::date_to_wire(array.value(row))?);
            Ok(())
        });
    }
    let style = Arc::clone(target.style);
    Box::new(move |row, out| {
        datetime::put_date(array.value(row), &style, out);
        Ok(())
    })
}

/// Counts of a unit as microseconds: multiplied, or divided and rounded down.
#[derive(Clone, Copy)]
struct ToMicros {
    times: i64,
    divided_by: i64,
}

impl ToMicros {
    fn of(unit: TimeUnit) -> Self {
        let (times, divided_by) = match unit {
            TimeUnit::Second => (MICROSECONDS, 1),
            TimeUnit::Millisecond => (1000, 1),
            TimeUnit::Microsecond => (1, 1),
            TimeUnit::Nanosecond => (1, 1000),
        };
        Self { times, divided_by }
    }

    /// Infinities are the same in each unit.
    fn apply(self, value: i64) -> Option<i64> {
        if Infinity::of(value).is_some() {
            return Some(value);
        }
        Some(value.checked_mul(self.times)?.div_euclid(self.divided_by))
    }
}

pub(super) fn times(array: &ArrayRef, unit: TimeUnit, target: Target<'_>) -> Put {
    let binary = target.is_binary();
    let to_micros = ToMicros::of(unit);
    let put = move |value: i64, out: &mut bytes::BytesMut| {
        let micros = to_micros.apply(value).ok_or_else(|| out_of_range("time"))?;
        if binary {
            out.put_i64(micros);
        } else {
            datetime::put_time(micros, out);
        }
        Ok(())
    };
    match unit {
        TimeUnit::Second => each::<Time32SecondType>(array, move |v, out| put(v.into(), out)),
        TimeUnit::Millisecond => {
            each::<Time32MillisecondType>(array, move |v, out| put(v.into(), out))
        }
        TimeUnit::Microsecond => each::<Time64MicrosecondType>(array, put),
        TimeUnit::Nanosecond => each::<Time64NanosecondType>(array, put),
    }
}

pub(super) fn moments(array: &ArrayRef, unit: TimeUnit, zoned: bool, target: Target<'_>) -> Put {
    match unit {
        TimeUnit::Second => timestamps::<TimestampSecondType>(array, unit, zoned, target),
        TimeUnit::Millisecond => timestamps::<TimestampMillisecondType>(array, unit, zoned, target),
        TimeUnit::Microsecond => timestamps::<TimestampMicrosecondType>(array, unit, zoned, target),
        TimeUnit::Nanosecond => timestamps::<TimestampNanosecondType>(array, unit, zoned, target),
    }
}

/// Counts of a unit since 1970, as timestamps with or without time zone.
pub(super) fn timestamps<T>(
    array: &ArrayRef,
    unit: TimeUnit,
    zoned: bool,
    target: Target<'_>,
) -> Put
where
    T: ArrowPrimitiveType<Native = i64>,
{
    let to_micros = ToMicros::of(unit);
    let micros_of = move |value| {
        to_micros
            .apply(value)
            .ok_or_else(|| out_of_range("timestamp"))
    };
    if target.is_binary() {
        return each::<T>(array, move |v, out| {
            out.put_i64(datetime::timestamp_to_wire(micros_of(v)?)?);
            Ok(())
        });
    }
    let style = Arc::clone(target.style);
    each::<T>(array, move |v, out| {
        let micros = micros_of(v)?;
        if zoned {
            datetime::put_timestamptz(micros, &style, out);
        } else {
            datetime::put_timestamp(micros, &style, out);
        }
        Ok(())
    })
}

pub(super) fn intervals(array: &ArrayRef, unit: IntervalUnit, target: Target<'_>) -> Put {
    match unit {
        IntervalUnit::YearMonth => each_interval::<IntervalYearMonthType>(array, target, |v| {
            Some(Interval {
                months: v,
                days: 0,
                micros: 0,
            })
        }),
        IntervalUnit::DayTime => each_interval::<IntervalDayTimeType>(array, target, |v| {
            Some(Interval {
                months: 0,
                days: v.days,
                micros: i64::from(v.milliseconds) * 1000,
            })
        }),
        IntervalUnit::MonthDayNano => {
            each_interval::<IntervalMonthDayNanoType>(array, target, |v| {
                Some(Interval {
                    months: v.months,
                    days: v.days,
                    micros: v.nanoseconds / 1000,
                })
            })
        }
    }
}

const DAY_MICROS: i64 = 24 * 60 * 60 * 1_000_000;

pub(super) fn durations(array: &ArrayRef, unit: TimeUnit, target: Target<'_>) -> Put {
    let to_micros = ToMicros::of(unit);
    let interval = move |value| {
        // The difference of two timestamps has days, as PostgreSQL's.
        let micros = to_micros.apply(value)?;
        Some(Interval {
            months: 0,
            days: i32::try_from(micros / DAY_MICROS).ok()?,
            micros: micros % DAY_MICROS,
        })
    };
    match unit {
        TimeUnit::Second => each_interval::<DurationSecondType>(array, target, interval),
        TimeUnit::Millisecond => each_interval::<DurationMillisecondType>(array, target, interval),
        TimeUnit::Microsecond => each_interval::<DurationMicrosecondType>(array, target, interval),
        TimeUnit::Nanosecond => each_interval::<DurationNanosecondType>(array, target, interval),
    }
}

fn each_interval<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    target: Target<'_>,
    interval_of: impl Fn(T::Native) -> Option<Interval> + Send + Sync + 'static,
) -> Put {
    let binary = target.is_binary();
    let style = target.style.interval_style;
    each::<T>(array, move |v, out| {
        let interval = interval_of(v).ok_or_else(|| out_of_range("interval"))?;
        if binary {
            interval.put_binary(out);
        } else {
            interval.put_text(style, out);
        }
        Ok(())
    })
}
