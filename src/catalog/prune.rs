//! The pruner: which segments, row groups or pages may hold a row that a predicate accepts.
//!
//! A predicate is true, false or NULL for a row. For each container (whatever level it is of) the pruner knows three
//! bits about the predicate and about each of its parts: *may be true*, *may be false* and *may be NULL* for some row in
//! it. A container that may only be true need not be filtered.
//!
//! | part        | may be true        | may be false       |
//! |-------------|--------------------|--------------------|
//! | `NOT a`     | a false            | a true             |
//! | `a AND b`   | a true and b true  | a false or b false |
//! | `a OR b`    | a true or b true   | a false and b false|
//! | `key < 5`   | min < 5            | max >= 5           |
//! | NULL        | no                 | no                 |
//! | not known   | yes                | yes                |
//!
//! Soundness: a container is pruned only if no row of it can make the predicate true. What the pruner does not
//! understand (a function, a cast that does not keep the order, a literal of another type) it keeps.
//!
//! Bloom filters, where row groups have them, take *may be true* from `key = 5` and `key IN (..)`.
//!
//! Values compare as DataFusion compares them: NaN (always stored as the canonical positive NaN) is equal to itself
//! and greater than all else, -0.0 equals 0.0.

mod condition;
mod evaluate;
mod interval;
#[cfg(test)]
mod property;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::buffer::BooleanBuffer;
use arrow::datatypes::Schema;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, split_conjunction};

use self::condition::Condition;
pub use self::interval::Interval;
use crate::storage::segment_filters::SegmentFilters;
use crate::storage::stats::PartitionStats;

/// A predicate made ready to be held against statistics of any level.
///
/// Dynamic filters are taken as they are when the pruner is made.
#[derive(Debug)]
pub struct Pruner {
    conjuncts: Vec<Conjunct>,
    /// What they say together, where that is no more than the ends of an interval.
    interval: Option<Interval>,
}

#[derive(Debug)]
struct Conjunct {
    /// Names of the columns it reads, for EXPLAIN.
    columns: BTreeSet<String>,
    condition: Condition,
}

/// What was pruned, and by the predicates on which columns.
#[derive(Debug)]
pub struct Pruned {
    /// One bit per container: whether it must be read.
    pub kept: BooleanBuffer,
    /// The columns of each conjunct that pruned a container, in order of the conjuncts, each once.
    pub by: Vec<String>,
}

impl Pruner {
    /// The pruner of `predicate`, whose columns are those of `schema`; its fields carry their field ids as metadata.
    pub fn new(predicate: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Self {
        let conjuncts: Vec<Conjunct> = split_conjunction(predicate)
            .into_iter()
            .map(|part| Conjunct {
                columns: collect_columns(part)
                    .iter()
                    .map(|c| c.name().to_string())
                    .collect(),
                condition: Condition::new(part, schema),
            })
            .collect();
        Self {
            interval: Interval::of(conjuncts.iter().map(|c| &c.condition)),
            conjuncts,
        }
    }

    /// The values of one column that it accepts, where it accepts these and no others.
    pub fn interval(&self) -> Option<&Interval> {
        self.interval.as_ref()
    }

    /// Whether it can prune anything, whatever the statistics.
    pub fn is_useful(&self) -> bool {
        self.conjuncts
            .iter()
            .any(|c| !matches!(c.condition, Condition::Unknown))
    }

    /// Whether it asks for single values of a column, which bloom filters know.
    pub fn looks_up(&self) -> bool {
        self.conjuncts.iter().any(|c| c.condition.looks_up())
    }

    /// As [`Pruner::may_match`] for the row groups of a segment, whose bloom filters are asked as well.
    pub fn may_match_in(&self, stats: &PartitionStats, filters: &SegmentFilters) -> BooleanBuffer {
        let mut kept = BooleanBuffer::new_set(stats.containers);
        for conjunct in &self.conjuncts {
            kept &= &conjunct
                .condition
                .evaluate(stats, Some(filters))
                .may_be_true;
        }
        kept
    }

    /// One bit per container: whether every row of it makes the predicate true, so that none need be looked at.
    pub fn must_match(&self, stats: &PartitionStats) -> BooleanBuffer {
        self.matches(stats).1
    }

    /// [`Pruner::may_match`], and [`Pruner::must_match`], for what one costs.
    pub fn matches(&self, stats: &PartitionStats) -> (BooleanBuffer, BooleanBuffer) {
        let of_interval = self.interval.as_ref().and_then(|i| i.matches(stats));
        of_interval.unwrap_or_else(|| self.verdicts(stats))
    }

    /// The same, each conjunct held against the statistics by itself.
    fn verdicts(&self, stats: &PartitionStats) -> (BooleanBuffer, BooleanBuffer) {
        let all = || BooleanBuffer::new_set(stats.containers);
        let (mut may, mut must) = (all(), all());
        for conjunct in &self.conjuncts {
            let verdict = conjunct.condition.evaluate(stats, None);
            may &= &verdict.may_be_true;
            must &= &verdict.is_true();
        }
        (may, must)
    }

    /// One bit per container: whether a row of it may make the predicate true.
    pub fn may_match(&self, stats: &PartitionStats) -> BooleanBuffer {
        self.prune(stats).kept
    }

    /// [`Pruner::may_match`] with the columns that did it.
    pub fn prune(&self, stats: &PartitionStats) -> Pruned {
        if let Some((kept, _)) = self.interval.as_ref().and_then(|i| i.matches(stats)) {
            let columns = self.conjuncts.first().filter(|_| kept.has_false());
            let by = columns.into_iter().flat_map(|c| c.columns.iter().cloned());
            return Pruned {
                by: by.collect(),
                kept,
            };
        }
        let mut kept = BooleanBuffer::new_set(stats.containers);
        let mut by = Vec::new();
        for conjunct in &self.conjuncts {
            let may_be_true = conjunct.condition.evaluate(stats, None).may_be_true;
            if may_be_true.has_false() {
                let columns = conjunct.columns.iter().cloned().collect::<Vec<_>>();
                let name = columns.join(" or ");
                if !name.is_empty() && !by.contains(&name) {
                    by.push(name);
                }
            }
            kept &= &may_be_true;
        }
        Pruned { kept, by }
    }
}

/// One bit per container of `stats`: whether a row of it may make `predicate` true.
///
/// The columns of the predicate are those of `schema`, whose fields carry their field ids as metadata.
pub fn may_match(
    predicate: &Arc<dyn PhysicalExpr>,
    schema: &Schema,
    stats: &PartitionStats,
) -> BooleanBuffer {
    Pruner::new(predicate, schema).may_match(stats)
}
