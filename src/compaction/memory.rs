//! How the memory of a job is divided: what is written gets what it needs within bounds, the sort has the rest.

use super::input::Input;
use super::order::SortOrder;
use super::write::Target;
use crate::storage::places::Places;

/// The most rows that are gathered at once: a few megabytes of vectors.
const GATHER_ROWS_MAX: u64 = 2_048;
/// The fewest: a column's vectors are read one file after the other.
const GATHER_ROWS_MIN: u64 = 64;
/// A gathered vector is in the order of its file, and in its own.
const GATHER_COPIES: u64 = 2;
/// The part of the budget that gathered rows may take.
const GATHER_PART: u64 = 16;
/// Bytes of vectors that are encoded at once; the encoder takes [`ENCODE_COPIES`] of them.
pub(super) const ENCODE_BYTES: u64 = 256 << 10;
/// Besides the numbers the encoder has eight bytes for the place of each, two for its level, and a page.
const ENCODE_COPIES: u64 = 4;
/// Bytes of a batch that is read or merged.
const BATCH_BYTES: u64 = 1 << 20;
/// The part of the budget that one batch may take. A merge holds four of each of its runs, and should hold a batch of
/// all runs: those of data ten times the budget are some forty.
const BATCH_PART: u64 = 256;
/// Sorted batches between the sort and the writer: those that wait, and those that either is at work on.
const BATCHES_BETWEEN: u64 = super::rewrite::BATCHES_AHEAD as u64 + 2;
/// The part of the budget that the row group which is being written may take, and the most that is of use.
const ROW_GROUP_PART: u64 = 8;
const ROW_GROUP_BYTES_MAX: u64 = 64 << 20;
/// The part of the budget that sorted rows may take which wait until it is known to which segment their key belongs, and
/// the most: rows of a key that fill a good part of a segment.
const WAITING_PART: u64 = 16;
const WAITING_BYTES_MAX: u64 = 16 << 20;
/// The part that is left for what was freed and is not given back to the system yet, and the most that this is.
const FREED_PART: u64 = 3;
const FREED_BYTES_MAX: u64 = 64 << 20;
/// The part that the sort has at least.
const SORT_PART_MIN: u64 = 4;

/// Parts of a budget, in bytes if nothing else is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shares {
    /// For sorting.
    pub sort: u64,
    /// The most that a batch of narrow rows should take.
    pub batch: u64,
    /// The most that a row group takes before it is written.
    pub row_group: u64,
    /// Rows that are gathered at once.
    pub gather_rows: u64,
    /// The most that sorted rows may take whose segment is not certain; a batch more, since it is looked at then.
    pub waiting: u64,
}

/// What a group of inputs needs memory for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Needs {
    /// Rows of the inputs, deleted ones too.
    pub rows: u64,
    /// Rows of outputs that there are already.
    pub rows_before: u64,
    /// Bytes of a row's vectors.
    pub vector_bytes: u64,
    /// Bytes of the places of rows of groups before.
    pub places_before: u64,
}

impl Needs {
    /// Those of inputs that become `target`.
    pub fn of(inputs: &[Input], order: &SortOrder, target: &Target) -> Self {
        Self {
            rows: inputs.iter().map(Input::rows).sum(),
            rows_before: target.rows_before,
            vector_bytes: order.narrow().vector_bytes(),
            places_before: target.places_bytes_before,
        }
    }
}

impl Shares {
    /// The parts of `budget` bytes for such needs. Where the places of rows fill it, the sort works with a quarter of it:
    /// only then more than the budget is used.
    pub fn of(budget: u64, needs: Needs) -> Self {
        let batch = (budget / BATCH_PART).clamp(1, BATCH_BYTES);
        let row_group = (budget / ROW_GROUP_PART).clamp(1, ROW_GROUP_BYTES_MAX);
        let gathered_row = (GATHER_COPIES * needs.vector_bytes).max(1);
        let gather_rows = budget / GATHER_PART / gathered_row;
        let gather_rows = gather_rows.clamp(GATHER_ROWS_MIN, GATHER_ROWS_MAX);
        let gathered = gather_rows.saturating_mul(gathered_row);
        let encoded = ENCODE_COPIES * ENCODE_BYTES.min(gathered);
        let places = Places::bytes(needs.rows, needs.rows_before.saturating_add(needs.rows));
        let waiting = (budget / WAITING_PART).min(WAITING_BYTES_MAX);
        let freed = (budget / FREED_PART).min(FREED_BYTES_MAX);
        let parts = [
            row_group,
            gathered,
            encoded,
            BATCHES_BETWEEN * batch,
            places,
            needs.places_before,
            waiting,
            freed,
        ];
        let beside = parts.into_iter().fold(0, u64::saturating_add);
        Self {
            sort: budget
                .saturating_sub(beside)
                .max(budget / SORT_PART_MIN)
                .max(1),
            batch,
            row_group,
            gather_rows,
            waiting,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NARROW: Needs = Needs {
        rows: 100_000,
        rows_before: 0,
        vector_bytes: 0,
        places_before: 0,
    };
    /// With 768 dimensions.
    const WIDE: Needs = Needs {
        vector_bytes: 3_072,
        ..NARROW
    };

    #[test]
    fn parts_fit_into_the_budget() {
        for megabytes in [8, 16, 64, 512, 10_000] {
            for needs in [NARROW, WIDE] {
                let budget = megabytes << 20;
                let shares = Shares::of(budget, needs);
                let gathered = shares.gather_rows * GATHER_COPIES * needs.vector_bytes;
                let batches = BATCHES_BETWEEN * shares.batch;
                let places = Places::bytes(needs.rows, needs.rows);
                let all =
                    shares.sort + shares.row_group + gathered + batches + places + shares.waiting;
                assert!(all <= budget, "{megabytes} MiB: {shares:?}");
                assert!(shares.sort >= budget / 4, "{megabytes} MiB: {shares:?}");
            }
        }
        let usual = Shares::of(614 << 20, WIDE);
        assert_eq!(usual.gather_rows, GATHER_ROWS_MAX);
        assert_eq!((usual.row_group, usual.batch), (64 << 20, BATCH_BYTES));
        assert!(usual.sort > 450 << 20, "{usual:?}");
    }

    #[test]
    fn places_of_rows_are_taken_from_the_sort() {
        let budget = 64 << 20;
        let few = Shares::of(budget, NARROW);
        let many = Needs {
            rows: 4_000_000,
            places_before: 1 << 20,
            ..NARROW
        };
        let many = Shares::of(budget, many);
        let places = Places::bytes(4_000_000, 4_000_000) - Places::bytes(100_000, 100_000);
        assert_eq!(few.sort - many.sort, places + (1 << 20));
    }

    #[test]
    fn the_sort_has_a_quarter_whatever_comes() {
        let most = Needs {
            rows: 1 << 40,
            ..NARROW
        };
        assert_eq!(Shares::of(64 << 20, most).sort, 16 << 20);
        let none = Shares::of(0, NARROW);
        assert_eq!((none.sort, none.row_group, none.batch), (1, 1, 1));
        assert_eq!(none.gather_rows, GATHER_ROWS_MIN);
    }
}
