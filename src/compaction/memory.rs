//! How much of its budget a job may use beside the sort, which has all of it.

use super::input::Input;
use super::ranges::Weight;
use super::sort::SortOrder;
use crate::storage::collection::Collection;

/// The most rows that are gathered at once: a few megabytes of vectors.
const GATHER_ROWS_MAX: u64 = 2_048;
/// The fewest: a column's vectors are read one file after the other.
const GATHER_ROWS_MIN: u64 = 64;
/// A gathered vector is in the order of its file, then in its own, and then encoded.
const GATHER_COPIES: u64 = 3;
/// The part of the budget that gathered rows may take.
const GATHER_PART: u64 = 16;
/// Bytes of a batch that is read or merged.
const BATCH_BYTES: u64 = 2 << 20;
/// The part of the budget that one batch may take: a merge holds several.
const BATCH_PART: u64 = 32;
/// The part of the budget that the row group which is being written may take.
const ROW_GROUP_PART: u64 = 4;

/// Parts of a budget, in bytes if nothing else is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shares {
    /// The most that a batch of narrow rows should take.
    pub batch: u64,
    /// The most that a row group takes before it is written.
    pub row_group: u64,
    /// Rows that are gathered at once.
    pub gather_rows: u64,
}

/// What a group of inputs needs memory for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Needs {
    /// Bytes of a row in memory, its vectors included.
    pub row_bytes: u64,
    /// Bytes of a row's vectors.
    pub vector_bytes: u64,
    /// The most rows of a row group.
    pub row_group_rows: u64,
}

impl Needs {
    /// Those of inputs of a collection.
    pub fn of(collection: &Collection, inputs: &[Input], order: &SortOrder) -> Self {
        let weights = inputs.iter().map(Input::weight);
        let live = weights.fold(Weight::default(), Weight::plus);
        Self {
            row_bytes: live.bytes / live.rows.max(1),
            vector_bytes: order.narrow().vector_bytes(),
            row_group_rows: collection.options.row_group_rows_max,
        }
    }
}

impl Shares {
    /// The parts of `budget` bytes for such needs.
    pub fn of(budget: u64, needs: Needs) -> Self {
        let whole = needs.row_group_rows.saturating_mul(needs.row_bytes);
        let gathered_row = (GATHER_COPIES * needs.vector_bytes).max(1);
        let gather_rows = budget / GATHER_PART / gathered_row;
        Self {
            batch: (budget / BATCH_PART).clamp(1, BATCH_BYTES),
            row_group: whole.min(budget / ROW_GROUP_PART).max(1),
            gather_rows: gather_rows.clamp(GATHER_ROWS_MIN, GATHER_ROWS_MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: Needs = Needs {
        row_bytes: 3_100,
        vector_bytes: 3_072,
        row_group_rows: 16_384,
    };

    #[test]
    fn parts_are_of_the_budget_up_to_what_is_of_use() {
        let usual = Shares::of(512 << 20, WIDE);
        assert_eq!(usual.gather_rows, GATHER_ROWS_MAX);
        assert_eq!(usual.row_group, 16_384 * 3_100);
        assert_eq!(usual.batch, BATCH_BYTES);
        let small = Shares::of(16 << 20, WIDE);
        assert_eq!((small.row_group, small.batch), (4 << 20, 512 << 10));
        assert!(small.gather_rows * GATHER_COPIES * WIDE.vector_bytes <= 1 << 20);
        let none = Shares::of(0, WIDE);
        assert_eq!((none.row_group, none.batch), (1, 1));
        assert_eq!(none.gather_rows, GATHER_ROWS_MIN);
    }
}
