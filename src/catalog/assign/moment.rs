//! Dates and times from one another.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
};

use super::error::RowError;
use super::number::cast_or_overflow;
use crate::catalog::infinity::{DAYS, MICROS, finite};
use crate::catalog::zone::Zone;
use crate::error::{Error, sqlstate};
use crate::storage::schema::ColumnType;

/// Dates and times from one another, by the clock of the zone.
///
/// # Errors
/// 22008 for what the type does not reach.
pub(super) fn to_moment(
    source: &ArrayRef,
    target: &ColumnType,
    zone: &Zone,
) -> Result<ArrayRef, RowError> {
    let overflow = |name: &'static str| {
        move || {
            let message = format!("{name} out of range");
            Error::invalid(sqlstate::DATETIME_FIELD_OVERFLOW, message)
        }
    };
    let name = match target {
        ColumnType::Date => "date",
        ColumnType::Time => "time",
        _ => "timestamp",
    };
    let (source, infinities) = finite(source).map_err(Error::from)?;
    check_days(&source, overflow(name))?;
    let was_instant = matches!(source.data_type(), DataType::Timestamp(_, Some(_)));
    let source = in_micros(&source, overflow(name))?;
    let source = by_clock(&source, was_instant, target, zone, overflow(name))?;
    let cast = cast_or_overflow(&source, &target.arrow_type(), overflow(name))?;
    match cast.data_type() {
        DataType::Date32 => check_days(&cast, overflow(name))?,
        DataType::Timestamp(..) => {
            let micros = cast.as_primitive::<TimestampMicrosecondType>();
            let outside = |v: &i64| !MICROS.contains(v);
            let mut values = micros.values().iter().enumerate();
            if let Some((row, _)) = values.find(|(row, v)| outside(v) && !micros.is_null(*row)) {
                return Err(RowError::new(row, overflow(name)()));
            }
        }
        _ => {}
    }
    Ok(infinities.put_back(cast).map_err(Error::from)?)
}

/// Instants, in microseconds, as the clock shows them, and what a clock shows as instants: whichever the target asks for.
fn by_clock(
    source: &ArrayRef,
    was_instant: bool,
    target: &ColumnType,
    zone: &Zone,
    overflow: impl Fn() -> Error,
) -> Result<ArrayRef, RowError> {
    let to_instant = target == &ColumnType::TimestampTz;
    if was_instant == to_instant || zone.is_utc() {
        return Ok(Arc::clone(source));
    }
    let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
    let source = cast_or_overflow(source, &micros, overflow)?;
    let source = source.as_primitive::<TimestampMicrosecondType>();
    Ok(Arc::new(match to_instant {
        true => source.unary::<_, TimestampMicrosecondType>(|clock| zone.instant_of(clock)),
        false => source.unary::<_, TimestampMicrosecondType>(|micros| zone.clock_at(micros)),
    }))
}

/// Timestamps in microseconds without a zone, rounded down (Arrow rounds towards 1970).
fn in_micros(source: &ArrayRef, overflow: impl Fn() -> Error) -> Result<ArrayRef, RowError> {
    match source.data_type() {
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            let nanos = source.as_primitive::<TimestampNanosecondType>();
            let micros = nanos.unary::<_, TimestampMicrosecondType>(|v| v.div_euclid(1000));
            Ok(Arc::new(micros))
        }
        DataType::Timestamp(unit, _) => {
            let local = cast_or_overflow(source, &DataType::Timestamp(*unit, None), &overflow)?;
            let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
            cast_or_overflow(&local, &micros, overflow)
        }
        DataType::Date64 => {
            let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
            cast_or_overflow(source, &micros, overflow)
        }
        _ => Ok(Arc::clone(source)),
    }
}

/// Dates that Arrow can neither print nor turn into microseconds are refused.
fn check_days(dates: &ArrayRef, overflow: impl Fn() -> Error) -> Result<(), RowError> {
    if dates.data_type() != &DataType::Date32 {
        return Ok(());
    }
    let dates = dates.as_primitive::<Date32Type>();
    let bad = |(row, v): &(usize, &i32)| !DAYS.contains(&i64::from(**v)) && !dates.is_null(*row);
    match dates.values().iter().enumerate().find(bad) {
        Some((row, _)) => Err(RowError::new(row, overflow())),
        None => Ok(()),
    }
}
