//! How long rows of a collection live, and which of them have expired.
//!
//! A row expires `ttl` after the time in its `ttl_column`: at this time itself without a `ttl`, never where it is NULL.

use std::time::Duration;

use arrow::temporal_conversions::MICROSECONDS_IN_DAY;

use super::collection::Collection;
use super::options::CollectionOptions;
use super::schema::{CollectionSchema, Column, ColumnType};
use super::stats::{Bound, ColumnStats};
use crate::error::{Error, Result, sqlstate};

/// The option with the time that rows live, a duration.
pub const TTL: &str = "ttl";
/// The option with the name of the column from which that time counts.
pub const TTL_COLUMN: &str = "ttl_column";

/// How long rows of a collection live.
#[derive(Debug, Clone, PartialEq)]
pub struct Ttl {
    /// The time that counts.
    pub column: Column,
    /// How long after it a row has expired.
    pub duration: Duration,
}

impl Ttl {
    /// That of a collection, if it has one.
    pub fn of(collection: &Collection) -> Option<Self> {
        Self::of_options(&collection.schema, &collection.options)
    }

    fn of_options(schema: &CollectionSchema, options: &CollectionOptions) -> Option<Self> {
        let own = &options.own_settings;
        let column = schema.column(own.get(TTL_COLUMN)?)?;
        let duration = own.get(TTL).map_or(Some(Duration::ZERO), |text| {
            humantime::parse_duration(text).ok()
        })?;
        Some(Self {
            column: column.clone(),
            duration,
        })
    }

    /// That the options fit the columns.
    ///
    /// # Errors
    /// 22023 for a time to live without a column, 42703 for a column that does not exist, 42804 for one without times.
    pub fn check(schema: &CollectionSchema, options: &CollectionOptions) -> Result<()> {
        let own = &options.own_settings;
        let Some(name) = own.get(TTL_COLUMN) else {
            let message = format!("option \"{TTL}\" needs \"{TTL_COLUMN}\"");
            let hint =
                "Name the column from which the time counts, such as one with DEFAULT now().";
            let error = Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message).with_hint(hint);
            return if own.contains_key(TTL) {
                Err(error)
            } else {
                Ok(())
            };
        };
        let Some(column) = schema.column(name) else {
            let message = format!("column \"{name}\" of option \"{TTL_COLUMN}\" does not exist");
            return Err(Error::not_found(sqlstate::UNDEFINED_COLUMN, message));
        };
        if !is_time(&column.column_type) {
            let column_type = &column.column_type;
            let message =
                format!("column \"{name}\" of type {column_type} cannot say when rows expire");
            let error = Error::invalid(sqlstate::DATATYPE_MISMATCH, message);
            return Err(
                error.with_hint("It has to be a timestamp, with or without time zone, or a date.")
            );
        }
        Ok(())
    }

    /// The greatest value of the column whose rows have expired at a time, milliseconds since 1970 UTC. A date counts from
    /// its beginning, and times without a zone are UTC.
    pub fn last_expired(&self, now_ms: i64) -> i64 {
        let ttl = i64::try_from(self.duration.as_micros()).unwrap_or(i64::MAX);
        let last = now_ms.saturating_mul(1_000).saturating_sub(ttl);
        match self.column.column_type.base() {
            ColumnType::Date => last.div_euclid(MICROSECONDS_IN_DAY),
            _ => last,
        }
    }

    /// What part of the rows of a segment has expired at a time, from 0.0 to 1.0: these two only if none or all of them
    /// have, else about, as if times were spread evenly.
    pub fn expired_part(&self, stats: &ColumnStats, now_ms: i64) -> f64 {
        let (Some(Bound::Int(min)), Some(Bound::Int(max))) = (&stats.min, &stats.max) else {
            return 0.0;
        };
        let last = self.last_expired(now_ms);
        if *min > last {
            return 0.0;
        }
        if *max <= last {
            return if stats.null_count == 0 {
                1.0
            } else {
                ALMOST_ALL
            };
        }
        let (expired, all) = (last as f64 - *min as f64, *max as f64 - *min as f64);
        (expired / all).clamp(ALMOST_NONE, ALMOST_ALL)
    }
}

/// Parts that are neither none nor all, whatever they are.
const ALMOST_NONE: f64 = 0.01;
const ALMOST_ALL: f64 = 0.99;

/// Whether rows can live by the time in such a column.
fn is_time(column_type: &ColumnType) -> bool {
    use ColumnType::{Date, Timestamp, TimestampTz};
    matches!(column_type.base(), Date | Timestamp | TimestampTz)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::storage::schema::FieldId;

    fn ttl(column_type: ColumnType, seconds: u64) -> Ttl {
        Ttl {
            column: Column {
                id: FieldId(1),
                name: "at".to_string(),
                column_type,
                nullable: true,
                default: None,
                missing: None,
                generated: None,
                domain: None,
            },
            duration: Duration::from_secs(seconds),
        }
    }

    fn stats(min: i64, max: i64, null_count: u64) -> ColumnStats {
        ColumnStats {
            field: FieldId(1),
            min: Some(Bound::Int(min)),
            max: Some(Bound::Int(max)),
            min_exact: true,
            max_exact: true,
            null_count,
            nan_count: 0,
        }
    }

    #[test]
    fn times_and_dates_expire() {
        let hour = ttl(ColumnType::TimestampTz, 3_600);
        assert_eq!(hour.last_expired(7_200_000), 3_600_000_000);
        let days = ttl(ColumnType::Date, 2 * 86_400);
        let noon_of_the_fifth_day = 4 * 86_400_000 + 43_200_000;
        assert_eq!(days.last_expired(noon_of_the_fifth_day), 2);
        assert_eq!(hour.last_expired(i64::MIN), i64::MIN);
    }

    #[test]
    fn only_what_has_expired_whole_is_all() {
        let second = ttl(ColumnType::Timestamp, 1);
        let part = |min, max, nulls| second.expired_part(&stats(min, max, nulls), 11_000);
        assert_eq!(part(10_000_001, 20_000_000, 0), 0.0);
        assert_eq!(part(0, 10_000_000, 0), 1.0);
        assert_eq!(part(0, 10_000_000, 1), ALMOST_ALL);
        assert_eq!(part(0, 20_000_000, 0), 0.5);
        assert_eq!(part(0, 10_000_001, 0), ALMOST_ALL);
        assert_eq!(part(10_000_000, 20_000_000, 0), ALMOST_NONE);
        let none = ColumnStats {
            min: None,
            max: None,
            ..stats(0, 0, 3)
        };
        assert_eq!(second.expired_part(&none, 11_000), 0.0);
    }
}
