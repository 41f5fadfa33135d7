//! How much of its budget a job may use beside the sort, which has all of it.

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

impl Shares {
    /// The parts of `budget` bytes where a row's vectors have so many.
    pub fn of(budget: u64, vector_bytes: u64) -> Self {
        let gathered_row = (GATHER_COPIES * vector_bytes).max(1);
        let gather_rows = budget / GATHER_PART / gathered_row;
        Self {
            batch: (budget / BATCH_PART).clamp(1, BATCH_BYTES),
            row_group: (budget / ROW_GROUP_PART).max(1),
            gather_rows: gather_rows.clamp(GATHER_ROWS_MIN, GATHER_ROWS_MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those of 768 dimensions.
    const VECTOR_BYTES: u64 = 3_072;

    #[test]
    fn parts_are_of_the_budget_up_to_what_is_of_use() {
        let usual = Shares::of(512 << 20, VECTOR_BYTES);
        assert_eq!(usual.gather_rows, GATHER_ROWS_MAX);
        assert_eq!(usual.row_group, 128 << 20);
        assert_eq!(usual.batch, BATCH_BYTES);
        let small = Shares::of(16 << 20, VECTOR_BYTES);
        assert_eq!((small.row_group, small.batch), (4 << 20, 512 << 10));
        assert!(small.gather_rows * GATHER_COPIES * VECTOR_BYTES <= 1 << 20);
        let none = Shares::of(0, VECTOR_BYTES);
        assert_eq!((none.row_group, none.batch), (1, 1));
        assert_eq!(none.gather_rows, GATHER_ROWS_MIN);
    }
}
