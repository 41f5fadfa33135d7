//! Reserved numbers in memory, given out one by one.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Position, Sequence};
use crate::error::Result;
use crate::storage::schema::SequenceId;

/// Numbers reserved at once: as many as PostgreSQL logs ahead.
const RESERVED_MIN: u64 = 32;
/// The most, after doubling for as long as they are used up.
const RESERVED_MAX: u64 = 4_096;

/// What is reserved of every sequence and not given out yet.
#[derive(Debug, Default)]
pub struct Leases(Mutex<HashMap<SequenceId, Arc<Mutex<Lease>>>>);

#[derive(Debug, Default)]
struct Lease {
    /// Of the sequence that the numbers are of; none before the first.
    generation: Option<u64>,
    next: i64,
    left: u64,
    /// How far it has reserved.
    reserved: Option<i64>,
    /// How many it reserves next.
    size: u64,
}

impl Leases {
    /// The next numbers of a sequence, in order.
    ///
    /// `current` reads the sequence as it is now, and `reserve` makes a reservation part of it; it returns when that is
    /// as durable as whatever uses the numbers will be. Only one caller at a time runs either for one sequence.
    ///
    /// # Errors
    /// 2200H when the sequence has no more, and those of `current` and `reserve`. Numbers taken before are lost.
    pub fn take(
        &self,
        id: SequenceId,
        count: usize,
        current: impl Fn() -> Result<Arc<Sequence>>,
        reserve: impl Fn(&Sequence, i64) -> Result<()>,
    ) -> Result<Vec<i64>> {
        let lease = Arc::clone(self.0.lock().entry(id).or_default());
        let mut lease = lease.lock();
        let sequence = current()?;
        lease.follow(&sequence);
        if let Some(last) = lease.reserved
            && sequence.position != Position::reserved(last)
        {
            // Whoever reserved them took it back: a savepoint that was rolled back to.
            reserve(&sequence, last)?;
        }
        let mut numbers = Vec::with_capacity(count);
        while numbers.len() < count {
            if lease.left == 0 {
                lease.fill(&sequence, (count - numbers.len()) as u64, &reserve)?;
            }
            numbers.push(lease.next);
            lease.left -= 1;
            // Past the last number it is not read.
            lease.next = lease.next.wrapping_add(sequence.increment);
        }
        Ok(numbers)
    }

    /// The last number that was given, and whether any was.
    pub fn given(&self, sequence: &Sequence) -> Position {
        let lease = self.0.lock().get(&sequence.id).cloned();
        let Some(lease) = lease else {
            return sequence.position;
        };
        let lease = lease.lock();
        match lease.generation == Some(sequence.generation) && lease.left > 0 {
            true => Position::reserved(lease.next.wrapping_sub(sequence.increment)),
            false => sequence.position,
        }
    }

    /// Runs `change` while nobody takes numbers of the sequence, and forgets what was reserved of it.
    ///
    /// # Errors
    /// Those of `change`.
    pub fn reset(&self, id: SequenceId, change: impl FnOnce() -> Result<()>) -> Result<()> {
        let lease = Arc::clone(self.0.lock().entry(id).or_default());
        let mut lease = lease.lock();
        change()?;
        *lease = Lease::default();
        Ok(())
    }
}

impl Lease {
    /// Forgets numbers of another generation.
    fn follow(&mut self, sequence: &Sequence) {
        if self.generation != Some(sequence.generation) {
            *self = Self {
                generation: Some(sequence.generation),
                size: RESERVED_MIN,
                ..Self::default()
            };
        }
    }

    fn fill(
        &mut self,
        sequence: &Sequence,
        wanted: u64,
        reserve: &impl Fn(&Sequence, i64) -> Result<()>,
    ) -> Result<()> {
        // What it reserved may be newer than the sequence that its caller read.
        let position = self.reserved.map_or(sequence.position, Position::reserved);
        let block = sequence.block(position, wanted.max(self.size))?;
        reserve(sequence, block.last)?;
        self.size = (self.size * 2).min(RESERVED_MAX);
        (self.next, self.left, self.reserved) = (block.first, block.count, Some(block.last));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::storage::testing::sequence;

    /// A sequence whose reservations are kept, as commits keep them.
    struct Kept(Mutex<Sequence>);

    impl Kept {
        fn take(&self, leases: &Leases, count: usize) -> Vec<i64> {
            let id = self.0.lock().id;
            let current = || Ok(Arc::new(self.0.lock().clone()));
            let reserve = |_: &Sequence, last| {
                self.0.lock().position = Position::reserved(last);
                Ok(())
            };
            leases.take(id, count, current, reserve).unwrap()
        }
    }

    #[test]
    fn numbers_follow_each_other_and_are_reserved_first() {
        let (kept, leases) = (Kept(Mutex::new(sequence("s"))), Leases::default());
        assert_eq!(kept.take(&leases, 3), [1, 2, 3]);
        assert_eq!(kept.0.lock().position, Position::reserved(32));
        assert_eq!(leases.given(&kept.0.lock()), Position::reserved(3));
        let many: Vec<i64> = (4..=1_000).collect();
        assert_eq!(kept.take(&leases, 997), many);
        assert!(kept.0.lock().position.last >= 1_000);
        // As after a restart: what was reserved does not come again.
        let next = kept.0.lock().position.last + 1;
        assert_eq!(kept.take(&Leases::default(), 1), [next]);
    }

    #[test]
    fn a_reservation_that_was_taken_back_is_made_again() {
        let (kept, leases) = (Kept(Mutex::new(sequence("s"))), Leases::default());
        kept.take(&leases, 1);
        kept.0.lock().position = sequence("s").position;
        assert_eq!(kept.take(&leases, 1), [2]);
        assert_eq!(kept.0.lock().position, Position::reserved(32));
    }

    #[test]
    fn another_generation_begins_where_it_says() {
        let (kept, leases) = (Kept(Mutex::new(sequence("s"))), Leases::default());
        kept.take(&leases, 5);
        let mut restarted = sequence("s");
        restarted.generation += 1;
        restarted.position.last = 100;
        *kept.0.lock() = restarted;
        assert_eq!(kept.take(&leases, 2), [100, 101]);
    }
}
