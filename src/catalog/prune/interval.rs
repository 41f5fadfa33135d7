//! Predicates that accept the values of one column between two ends, and no others: `key = 5`, `key >= 5 AND key < 9`.
//!
//! They are most of what searches filter by, and what they say of a container is two comparisons; where rows are sorted
//! by the column, those that are accepted follow each other and are found by halving.

use std::cmp::Ordering;
use std::ops::Range;

use arrow::array::{Array, ArrayRef, make_comparator};
use arrow::buffer::BooleanBuffer;
use arrow::compute::SortOptions;
use datafusion::common::ScalarValue;

use super::condition::{Comparison, Condition, Operand};
use super::evaluate::partition_point;
use crate::storage::schema::FieldId;
use crate::storage::stats::{ColumnBounds, PartitionStats};

/// The values that a predicate accepts; NULL is none of them.
#[derive(Debug)]
pub struct Interval {
    field: FieldId,
    low: Option<End>,
    high: Option<End>,
}

/// The first or the last of the values, or what is just beyond it.
#[derive(Debug)]
struct End {
    /// The value alone.
    value: ArrayRef,
    is_accepted: bool,
}

impl Interval {
    /// The interval of conditions that all hold; `None` where they say anything else, or of floats, whose zeros are two.
    pub(super) fn of<'a>(conditions: impl Iterator<Item = &'a Condition>) -> Option<Self> {
        let mut interval = None;
        for condition in conditions {
            add(&mut interval, condition)?;
        }
        interval
    }

    /// The column.
    pub fn field(&self) -> FieldId {
        self.field
    }

    /// One bit per container: whether a row of it may be accepted, and whether all are; `None` where nothing is known of
    /// the column, or it is of another type.
    pub(super) fn matches(&self, stats: &PartitionStats) -> Option<(BooleanBuffer, BooleanBuffer)> {
        let ColumnBounds {
            min,
            max,
            may_null,
            may_value,
            ..
        } = stats.column(self.field)?;
        let (min_is_low, max_is_low) = (self.are_low(min)?, self.are_low(max)?);
        let (min_is_high, max_is_high) = (self.are_high(min)?, self.are_high(max)?);
        let may = |i: usize| {
            let is_outside = max.is_valid(i) && max_is_low(i) || min.is_valid(i) && min_is_high(i);
            may_value[i] && !is_outside
        };
        let must = |i: usize| {
            let is_inside = (self.low.is_none() || min.is_valid(i) && !min_is_low(i))
                && (self.high.is_none() || max.is_valid(i) && !max_is_high(i));
            !may_null[i] && (is_inside || !may_value[i])
        };
        Some((
            BooleanBuffer::collect_bool(stats.containers, may),
            BooleanBuffer::collect_bool(stats.containers, must),
        ))
    }

    /// Which values of an array are accepted that ascends, NULLs last; `None` where it is of another type.
    pub fn of_sorted(&self, values: &ArrayRef) -> Option<Range<usize>> {
        let (is_low, is_high) = (self.are_low(values)?, self.are_high(values)?);
        let valid = values.len() - values.null_count();
        let start = partition_point(valid, is_low);
        let end = partition_point(valid, |i| !is_high(i));
        Some(start..end.max(start))
    }

    /// Which values lie before the accepted ones.
    fn are_low(&self, values: &ArrayRef) -> Option<impl Fn(usize) -> bool + use<>> {
        are_beyond(self.low.as_ref(), values, Ordering::Less)
    }

    /// Which values lie after the accepted ones.
    fn are_high(&self, values: &ArrayRef) -> Option<impl Fn(usize) -> bool + use<>> {
        are_beyond(self.high.as_ref(), values, Ordering::Greater)
    }
}

/// Which values, none of them NULL, lie beyond an end on the side that `beyond` names.
fn are_beyond(
    end: Option<&End>,
    values: &ArrayRef,
    beyond: Ordering,
) -> Option<impl Fn(usize) -> bool + use<>> {
    let end = match end {
        Some(End { value, is_accepted }) => {
            let compare = make_comparator(values, value, SortOptions::default()).ok()?;
            Some((compare, !is_accepted))
        }
        None => None,
    };
    Some(move |i| {
        end.as_ref()
            .is_some_and(|(compare, is_end_beyond)| match compare(i, 0) {
                Ordering::Equal => *is_end_beyond,
                other => other == beyond,
            })
    })
}

/// Adds what a condition says; `None` when that is no interval of the same column.
fn add(interval: &mut Option<Interval>, condition: &Condition) -> Option<()> {
    match condition {
        Condition::And(a, b) => {
            add(interval, a)?;
            add(interval, b)
        }
        Condition::Compare(operand, comparison, value) => {
            let interval = of_column(interval, operand)?;
            let end = |is_accepted| End::new(value, is_accepted);
            if *comparison == Comparison::Eq {
                narrow(&mut interval.low, end(true)?, Ordering::Greater)?;
            }
            let is_accepted = *comparison != Comparison::Lt;
            narrow(&mut interval.high, end(is_accepted)?, Ordering::Less)
        }
        Condition::Not(inner) => match inner.as_ref() {
            Condition::Compare(operand, comparison, value) if *comparison != Comparison::Eq => {
                let interval = of_column(interval, operand)?;
                let end = End::new(value, *comparison == Comparison::Lt)?;
                narrow(&mut interval.low, end, Ordering::Greater)
            }
            _ => None,
        },
        _ => None,
    }
}

/// The interval, which is of the operand's column.
fn of_column<'a>(
    interval: &'a mut Option<Interval>,
    operand: &Operand,
) -> Option<&'a mut Interval> {
    let interval = interval.get_or_insert(Interval {
        field: operand.field,
        low: None,
        high: None,
    });
    (interval.field == operand.field && operand.casts.is_empty()).then_some(interval)
}

impl End {
    fn new(value: &ScalarValue, is_accepted: bool) -> Option<Self> {
        if value.is_null() || value.data_type().is_floating() {
            return None;
        }
        let value = value.to_array().ok()?;
        Some(Self { value, is_accepted })
    }
}

/// Takes the end that leaves less: the one that is `narrower`, of equal ones the one that is not accepted itself.
fn narrow(end: &mut Option<End>, other: End, narrower: Ordering) -> Option<()> {
    let is_narrower = match end {
        None => true,
        Some(end) => {
            match make_comparator(&other.value, &end.value, SortOptions::default()).ok()?(0, 0) {
                Ordering::Equal => !other.is_accepted,
                ordering => ordering == narrower,
            }
        }
    };
    if is_narrower {
        *end = Some(other);
    }
    Some(())
}
