//! A condition held against the statistics of many containers at once.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Datum, make_comparator};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::cmp;
use arrow::compute::{CastOptions, SortOptions, cast_with_options};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use datafusion::common::ScalarValue;
use datafusion::common::utils::normalize_float_zero;

use super::condition::{Comparison, Condition, Operand, Prefix, ValueList, is_nan};
use crate::catalog::infinity::finite;
use crate::storage::bloom::hashes_of;
use crate::storage::segment_filters::SegmentFilters;
use crate::storage::stats::PartitionStats;

/// The most listed values that are looked up in bloom filters: each is wrongly found once in a hundred times.
const PROBES_MAX: usize = 256;

/// Three bits per container.
#[derive(Debug, Clone)]
pub(super) struct Verdict {
    /// Whether some row may make the condition true.
    pub may_be_true: BooleanBuffer,
    /// Whether some row may make the condition false.
    pub may_be_false: BooleanBuffer,
    /// Whether some row may make the condition NULL.
    pub may_be_null: BooleanBuffer,
}

impl Verdict {
    fn unknown(containers: usize) -> Self {
        Self {
            may_be_true: BooleanBuffer::new_set(containers),
            may_be_false: BooleanBuffer::new_set(containers),
            may_be_null: BooleanBuffer::new_set(containers),
        }
    }

    fn constant(containers: usize, value: Option<bool>) -> Self {
        let all = |bit| match bit {
            true => BooleanBuffer::new_set(containers),
            false => BooleanBuffer::new_unset(containers),
        };
        Self {
            may_be_true: all(value == Some(true)),
            may_be_false: all(value == Some(false)),
            may_be_null: all(value.is_none()),
        }
    }

    fn not(self) -> Self {
        Self {
            may_be_true: self.may_be_false,
            may_be_false: self.may_be_true,
            may_be_null: self.may_be_null,
        }
    }

    fn never_null(self) -> Self {
        Self {
            may_be_null: BooleanBuffer::new_unset(self.may_be_null.len()),
            ..self
        }
    }

    /// The containers all of whose rows make the condition true.
    pub fn is_true(&self) -> BooleanBuffer {
        !&(&self.may_be_false | &self.may_be_null)
    }

    /// Not true where the filters of the column know none of the hashes; `None` is a value that they cannot tell of.
    fn with_filters(
        mut self,
        operand: &Operand,
        hashes: Option<Vec<u64>>,
        filters: Option<&SegmentFilters>,
    ) -> Self {
        let filters = filters.filter(|_| operand.casts.is_empty() && self.may_be_true.has_true());
        let column = filters.and_then(|f| f.column(operand.field));
        if let (Some(column), Some(hashes)) = (column, hashes) {
            let before = self.may_be_true;
            self.may_be_true = BooleanBuffer::collect_bool(before.len(), |i| {
                before.value(i) && column.may_contain(i, &hashes)
            });
        }
        self
    }
}

/// The hashes of listed values; of many, one is almost always taken to be there.
fn list_hashes(values: &ValueList) -> Option<Vec<u64>> {
    let listed = Some(values.sorted.len()).filter(|n| *n <= PROBES_MAX)?;
    let hashes = |i| hashes_of(&ScalarValue::try_from_array(&values.sorted, i).ok()?);
    let hashes: Option<Vec<Vec<u64>>> = (0..listed).map(hashes).collect();
    hashes.map(|hashes| hashes.concat())
}

impl Condition {
    /// What the statistics say of the condition.
    ///
    /// The bloom filters, where the containers are the row groups of one segment, may tell that none of them has a
    /// value that is looked up.
    pub fn evaluate(&self, stats: &PartitionStats, filters: Option<&SegmentFilters>) -> Verdict {
        match self {
            Self::Unknown => Verdict::unknown(stats.containers),
            Self::Constant(value) => Verdict::constant(stats.containers, *value),
            Self::Not(a) => a.evaluate(stats, filters).not(),
            Self::And(a, b) => and(a.evaluate(stats, filters), b.evaluate(stats, filters)),
            Self::Or(a, b) => {
                let (a, b) = (a.evaluate(stats, filters), b.evaluate(stats, filters));
                and(a.not(), b.not()).not()
            }
            Self::Either(branches) => either(branches, stats, filters),
            Self::Is(a, wanted) => is(a.evaluate(stats, filters), *wanted),
            Self::Compare(operand, Comparison::Eq, value) => {
                let equal = with_bounds(operand, stats, |b| b.compare(Comparison::Eq, value));
                equal.with_filters(operand, hashes_of(value), filters)
            }
            Self::Compare(operand, comparison, value) => {
                with_bounds(operand, stats, |b| b.compare(*comparison, value))
            }
            Self::Same(operand, value) => {
                let same = with_bounds(operand, stats, |b| {
                    let mut equal = b.compare(Comparison::Eq, value)?;
                    equal.may_be_false |= &b.may_null;
                    Ok(equal.never_null())
                });
                same.with_filters(operand, hashes_of(value), filters)
            }
            Self::IsNull(operand) => with_bounds(operand, stats, |b| {
                let is_null = Verdict {
                    may_be_true: b.may_null.clone(),
                    may_be_false: &b.may_value | &b.may_nan,
                    may_be_null: b.may_null.clone(),
                };
                Ok(is_null.never_null())
            }),
            Self::In(operand, values) => {
                let listed = with_bounds(operand, stats, |b| b.is_in(values));
                listed.with_filters(operand, list_hashes(values), filters)
            }
            Self::Prefix(operand, prefix) => with_bounds(operand, stats, |b| b.begins(prefix)),
        }
    }
}

fn and(a: Verdict, b: Verdict) -> Verdict {
    Verdict {
        may_be_true: &a.may_be_true & &b.may_be_true,
        may_be_false: &a.may_be_false | &b.may_be_false,
        may_be_null: &a.may_be_null | &b.may_be_null,
    }
}

/// A CASE none of whose branches applies is NULL.
fn either(
    branches: &[Condition],
    stats: &PartitionStats,
    filters: Option<&SegmentFilters>,
) -> Verdict {
    let mut any = Verdict::constant(stats.containers, None);
    for branch in branches {
        let verdict = branch.evaluate(stats, filters);
        any.may_be_true |= &verdict.may_be_true;
        any.may_be_false |= &verdict.may_be_false;
    }
    any
}

/// `a IS TRUE` is false where `a` is false or NULL.
fn is(a: Verdict, wanted: bool) -> Verdict {
    let mut is = if wanted { a } else { a.not() };
    is.may_be_false |= &is.may_be_null;
    is.never_null()
}

fn with_bounds(
    operand: &Operand,
    stats: &PartitionStats,
    decide: impl Fn(&Bounds) -> Result<Verdict, ArrowError>,
) -> Verdict {
    Bounds::new(operand, stats)
        .and_then(|bounds| decide(&bounds).ok())
        .unwrap_or_else(|| Verdict::unknown(stats.containers))
}

/// The bounds of an operand: those of its column after its casts, zeros without sign.
struct Bounds {
    min: ArrayRef,
    max: ArrayRef,
    may_null: BooleanBuffer,
    may_value: BooleanBuffer,
    may_nan: BooleanBuffer,
}

impl Bounds {
    fn new(operand: &Operand, stats: &PartitionStats) -> Option<Self> {
        let column = stats.column(operand.field)?;
        let mut bounds = Self {
            min: Arc::clone(&column.min),
            max: Arc::clone(&column.max),
            may_null: BooleanBuffer::from(column.may_null.as_slice()),
            may_value: BooleanBuffer::from(column.may_value.as_slice()),
            may_nan: BooleanBuffer::from(column.may_nan.as_slice()),
        };
        for data_type in &operand.casts {
            bounds.min = cast_bounds(&bounds.min, data_type)?;
            bounds.max = cast_bounds(&bounds.max, data_type)?;
        }
        bounds.min = normalize_float_zero(&bounds.min);
        bounds.max = normalize_float_zero(&bounds.max);
        if operand.casts_to_null {
            bounds.may_null |= &bounds.may_value;
        }
        Some(bounds)
    }

    fn compare(&self, comparison: Comparison, value: &ScalarValue) -> Result<Verdict, ArrowError> {
        let value_is_nan = is_nan(value);
        let value = value.to_scalar().map_err(ArrowError::from)?;
        let (min, max) = (&self.min, &self.max);
        let (true_values, false_values, true_nans) = match comparison {
            Comparison::Lt => (
                may(cmp::lt, min, &value)?,
                may(cmp::gt_eq, max, &value)?,
                false,
            ),
            Comparison::LtEq => {
                let above = may(cmp::gt, max, &value)?;
                (may(cmp::lt_eq, min, &value)?, above, value_is_nan)
            }
            Comparison::Eq => {
                let inside = &may(cmp::lt_eq, min, &value)? & &may(cmp::gt_eq, max, &value)?;
                let outside = &may(cmp::neq, min, &value)? | &may(cmp::neq, max, &value)?;
                (inside, outside, value_is_nan)
            }
        };
        Ok(self.verdict(&true_values, &false_values, true_nans, !true_nans))
    }

    /// Puts together what holds for values and what holds for NaN.
    fn verdict(
        &self,
        true_values: &BooleanBuffer,
        false_values: &BooleanBuffer,
        true_nans: bool,
        false_nans: bool,
    ) -> Verdict {
        let mut verdict = Verdict {
            may_be_true: &self.may_value & true_values,
            may_be_false: &self.may_value & false_values,
            may_be_null: self.may_null.clone(),
        };
        if true_nans {
            verdict.may_be_true |= &self.may_nan;
        }
        if false_nans {
            verdict.may_be_false |= &self.may_nan;
        }
        verdict
    }

    /// True where a listed value lies within the bounds. False unless all values of the container are one listed
    /// value; never false when the list has a NULL. IN lists compare floats bit by bit: zero may be either zero.
    fn is_in(&self, values: &ValueList) -> Result<Verdict, ArrowError> {
        let ascending = SortOptions::default();
        let to_min = make_comparator(&values.sorted, &self.min, ascending)?;
        let to_max = make_comparator(&values.sorted, &self.max, ascending)?;
        let listed = values.sorted.len();
        // The first listed value that is not below the lower bound decides.
        let first = |i: usize| match self.min.is_null(i) {
            true => 0,
            false => partition_point(listed, |k| to_min(k, i) == Ordering::Less),
        };
        let fits = |k: usize, i: usize| {
            k < listed && (self.max.is_null(i) || to_max(k, i) != Ordering::Greater)
        };
        let inside = BooleanBuffer::collect_bool(self.min.len(), |i| fits(first(i), i));
        if values.has_null {
            let none = BooleanBuffer::new_unset(self.min.len());
            // A value that is not listed may be the one that is not known.
            let mut listed = self.verdict(&inside, &none, values.has_nan, false);
            listed.may_be_null = BooleanBuffer::new_set(listed.may_be_null.len());
            return Ok(listed);
        }
        let one_value = without_nulls(&cmp::eq(&self.min, &self.max)?, false);
        let all_inside = &(&inside & &one_value) & &not_zero(&self.min);
        Ok(self.verdict(&inside, &!&all_inside, values.has_nan, true))
    }

    fn begins(&self, prefix: &Prefix) -> Result<Verdict, ArrowError> {
        let from = prefix.from.to_scalar().map_err(ArrowError::from)?;
        let mut inside = may(cmp::gt_eq, &self.max, &from)?;
        let mut outside = may(cmp::lt, &self.min, &from)?;
        if let Some(below) = &prefix.below {
            let below = below.to_scalar().map_err(ArrowError::from)?;
            inside &= &may(cmp::lt, &self.min, &below)?;
            outside |= &may(cmp::gt_eq, &self.max, &below)?;
        }
        if !prefix.is_all {
            outside = BooleanBuffer::new_set(self.min.len());
        }
        Ok(self.verdict(&inside, &outside, true, true))
    }
}

/// The bounds as another type. One that does not survive the cast becomes NULL: not known.
fn cast_bounds(bounds: &ArrayRef, to: &DataType) -> Option<ArrayRef> {
    let (rest, infinities) = finite(bounds).ok()?;
    let cast = cast_with_options(&rest, to, &CastOptions::default()).ok()?;
    infinities.put_back(cast).ok()
}

type Kernel = fn(&dyn Datum, &dyn Datum) -> Result<BooleanArray, ArrowError>;

/// Where the comparison of a bound with a value holds, or the bound is not known.
fn may(kernel: Kernel, bound: &ArrayRef, value: &dyn Datum) -> Result<BooleanBuffer, ArrowError> {
    Ok(without_nulls(&kernel(bound, value)?, true))
}

fn without_nulls(array: &BooleanArray, null_is: bool) -> BooleanBuffer {
    match (array.nulls(), null_is) {
        (None, _) => array.values().clone(),
        (Some(nulls), true) => array.values() | &!nulls.inner(),
        (Some(nulls), false) => array.values() & nulls.inner(),
    }
}

/// Where a bound is not a floating-point zero.
fn not_zero(bound: &ArrayRef) -> BooleanBuffer {
    if !bound.data_type().is_floating() {
        return BooleanBuffer::new_set(bound.len());
    }
    let differs = ScalarValue::new_zero(bound.data_type())
        .and_then(|zero| Ok(cmp::neq(bound, &zero.to_scalar()?)?));
    match differs {
        Ok(differs) => without_nulls(&differs, true),
        Err(_) => BooleanBuffer::new_unset(bound.len()),
    }
}

/// The least `k` below `len` for which `is_before` is false, where all before it are true; else `len`.
pub(super) fn partition_point(len: usize, is_before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = low + (high - low) / 2;
        if is_before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}
