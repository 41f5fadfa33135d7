//! The best rows that a worker has met, and the bound that all workers share.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use datafusion::common::Result;
use datafusion::execution::memory_pool::MemoryReservation;

/// Fewer rows than this are not worth a selection.
const KEPT_MIN: usize = 64;

/// A row as a search knows it: the key of its distance, then its address, which decides among equal keys.
pub(super) type Entry = (u64, Address);

/// A segment by its place among those of the search (in the order of their ids), and a row of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Address {
    pub unit: u32,
    pub row: u32,
}

/// A key that no winner exceeds, in time one that `k` rows do not: rows above it are not wanted. It only falls.
///
/// A stale value is a larger one, which lets more rows through and loses none: hence relaxed.
#[derive(Debug)]
pub(super) struct Bound(AtomicU64);

impl Bound {
    /// A bound to begin with.
    pub fn new(key: u64) -> Self {
        Self(AtomicU64::new(key))
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    fn lower(&self, key: u64) {
        self.0.fetch_min(key, Relaxed);
    }
}

/// Keeps the `k` best of the rows that it is offered; with `ties` also all rows that are as good as the last of them.
#[derive(Debug)]
pub(super) struct Best {
    k: usize,
    ties: bool,
    entries: Vec<Entry>,
    /// How many entries are kept before the best are selected again.
    entries_max: usize,
    reservation: MemoryReservation,
}

impl Best {
    pub fn new(k: usize, ties: bool, reservation: MemoryReservation) -> Self {
        Self {
            k,
            ties,
            entries: Vec::new(),
            entries_max: k.saturating_mul(2).max(KEPT_MIN),
            reservation,
        }
    }

    /// Takes a row, unless it is above the bound.
    ///
    /// # Errors
    /// When memory for it cannot be had.
    pub fn offer(&mut self, key: u64, address: Address, bound: &Bound) -> Result<()> {
        if key > bound.get() {
            return Ok(());
        }
        if self.entries.len() == self.entries.capacity() {
            let more = self.entries.len().max(KEPT_MIN);
            self.reservation.try_grow(more * size_of::<Entry>())?;
            self.entries.reserve_exact(more);
        }
        self.entries.push((key, address));
        if self.entries.len() >= self.entries_max {
            self.select(bound);
            self.entries_max = self.entries.len().saturating_mul(2).max(KEPT_MIN);
        }
        Ok(())
    }

    /// Drops what is not among the best.
    fn select(&mut self, bound: &Bound) {
        if self.entries.len() < self.k {
            return;
        }
        let (_, last, _) = self.entries.select_nth_unstable(self.k - 1);
        let key = last.0;
        bound.lower(key);
        match self.ties {
            true => self.entries.retain(|entry| entry.0 <= key),
            false => self.entries.truncate(self.k),
        }
    }

    /// The best of what all workers kept, in order.
    ///
    /// # Errors
    /// When memory for them cannot be had.
    pub fn merge(all: Vec<Self>, bound: &Bound) -> Result<Vec<Entry>> {
        let mut all = all.into_iter();
        let Some(mut merged) = all.next() else {
            return Ok(Vec::new());
        };
        for other in all {
            for (key, address) in other.entries {
                merged.offer(key, address, bound)?;
            }
        }
        merged.select(bound);
        merged.entries.sort_unstable();
        Ok(merged.entries)
    }
}

/// A key that those of some distances are not below: the least of them, but zero where one is NaN. Keys only rise or
/// only fall with the distance, and no distance is the negative zero.
pub(super) fn least_key_of(distances: &[f64], key: impl Fn(f64) -> u64) -> u64 {
    const LANES: usize = 8;
    let (mut least, mut greatest) = ([f64::INFINITY; LANES], [f64::NEG_INFINITY; LANES]);
    let mut nans = 0;
    // Lanes do not depend on each other, so that the processor compares several at once.
    for distances in distances.chunks(LANES) {
        let lanes = least.iter_mut().zip(&mut greatest);
        for ((least, greatest), distance) in lanes.zip(distances) {
            *least = if distance < least { *distance } else { *least };
            *greatest = if distance > greatest {
                *distance
            } else {
                *greatest
            };
            nans += u32::from(distance.is_nan());
        }
    }
    if nans > 0 {
        return 0;
    }
    let least = least.into_iter().fold(f64::INFINITY, f64::min);
    let greatest = greatest.into_iter().fold(f64::NEG_INFINITY, f64::max);
    key(least).min(key(greatest))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryConsumer, MemoryPool};
    use proptest::prelude::*;

    use super::*;
    use crate::search::order::Order;

    fn reservation(bytes: usize) -> MemoryReservation {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(bytes));
        MemoryConsumer::new("test").register(&pool)
    }

    fn address(row: usize) -> Address {
        Address {
            unit: 0,
            row: row as u32,
        }
    }

    proptest! {
        #[test]
        fn no_key_is_below_the_least(
            distances in prop::collection::vec(
                prop_oneof![9 => -9f64..9.0, 1 => Just(0.0), 1 => Just(f64::NAN), 1 => Just(f64::INFINITY)],
                1..40,
            ),
            descending in any::<bool>(),
        ) {
            let order = Order { descending, nulls_first: false };
            let key = |distance| order.key(Some(distance));
            let least = distances.iter().map(|d| key(*d)).min().unwrap();
            let expected = if distances.iter().any(|d| d.is_nan()) { 0 } else { least };
            prop_assert_eq!(least_key_of(&distances, key), expected);
        }

        #[test]
        fn workers_together_keep_what_a_sort_keeps(
            keys in prop::collection::vec(0u64..40, 0..1_000),
            k in 1usize..200,
            workers in 1usize..4,
            ties in any::<bool>(),
        ) {
            let bound = Bound::new(u64::MAX);
            let new = || Best::new(k, ties, reservation(1 << 20));
            let mut all: Vec<Best> = (0..workers).map(|_| new()).collect();
            for (row, key) in keys.iter().enumerate() {
                all[row * 7 % workers].offer(*key, address(row), &bound).unwrap();
            }
            let rows = keys.iter().enumerate();
            let mut wanted: Vec<Entry> = rows.map(|(row, key)| (*key, address(row))).collect();
            wanted.sort_unstable();
            let last = wanted.get(k - 1).map_or(u64::MAX, |entry| entry.0);
            if ties {
                wanted.retain(|entry| entry.0 <= last);
            } else {
                wanted.truncate(k);
            }
            prop_assert_eq!(Best::merge(all, &bound).unwrap(), wanted);
        }
    }

    #[test]
    fn memory_is_bounded() {
        let mut best = Best::new(1_000, false, reservation(4_096));
        let bound = Bound::new(u64::MAX);
        let refused = (0..1_000).find_map(|row| best.offer(0, address(row), &bound).err());
        assert!(refused.is_some());
    }
}
