//! The unique keys that recent commits inserted, needed or removed.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::storage::schema::{CollectionId, Version};

/// Hashes of one use of keys that are kept to find transactions that it concerns.
const KEYS_MAX: usize = 8 << 20;

/// Hashes of the unique keys that recent commits had to do with in one way.
#[derive(Debug)]
pub(super) struct RecentKeys {
    commits: VecDeque<(Version, CollectionId, Arc<Vec<u64>>)>,
    hashes: usize,
    /// Commits up to this one are not known.
    forgotten: Version,
}

impl RecentKeys {
    pub(super) fn new(opened: Version) -> Self {
        Self {
            commits: VecDeque::new(),
            hashes: 0,
            forgotten: opened,
        }
    }

    /// Remembers the keys of a commit.
    pub(super) fn record(
        &mut self,
        version: Version,
        collection: CollectionId,
        keys: Arc<Vec<u64>>,
    ) {
        // A commit without keys counts too, so that the queue is bounded.
        self.hashes += keys.len() + 1;
        self.commits.push_back((version, collection, keys));
        while self.hashes > KEYS_MAX && self.commits.len() > 1 {
            if let Some((version, _, keys)) = self.commits.pop_front() {
                self.hashes -= keys.len() + 1;
                self.forgotten = version;
            }
        }
    }

    /// That no commit since `read` did `what` with one of the keys.
    ///
    /// # Errors
    /// 40001 when one did, or may have.
    pub(super) fn check(
        &self,
        collection: CollectionId,
        keys: &[u64],
        read: Version,
        what: &str,
    ) -> Result<()> {
        if read < self.forgotten {
            let message = format!("too many keys came or went since version {read} was read");
            return Err(Error::conflict(message));
        }
        let later = self.commits.iter().rev().take_while(|c| c.0 > read);
        for (version, _, theirs) in later.filter(|c| c.1 == collection) {
            if intersect(keys, theirs) {
                let message = format!("{what} by concurrent commit {version}");
                return Err(Error::conflict(message));
            }
        }
        Ok(())
    }
}

/// Whether two sorted lists have a number in common; a short one is looked up in a long one.
fn intersect(a: &[u64], b: &[u64]) -> bool {
    let (short, mut long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    for key in short {
        let at = long.partition_point(|k| k < key);
        long = &long[at..];
        if long.first() == Some(key) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_lists_intersect() {
        assert!(intersect(&[1, 5, 9], &[0, 2, 9, 11]));
        assert!(!intersect(&[1, 5, 9], &[0, 2, 8, 10]));
        assert!(!intersect(&[], &[1]));
        assert!(intersect(&[u64::MAX], &[0, u64::MAX]));
    }
}
