//! What a caller asks the committer to do.

use std::collections::HashMap;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::change::Change;
use super::places::Places;
use super::schema::{CollectionId, SegmentId, Version};

/// When a commit is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// When it is on disk.
    #[default]
    Synced,
    /// When it can be seen: it reaches the disk a moment later, in order with all others. A crash before then loses it.
    Soon,
}

/// Changes that become one commit, and what is needed to judge them against commits that came meanwhile.
#[derive(Debug, Clone, Default)]
pub struct Transaction {
    /// The version that the caller read.
    pub read_version: Version,
    /// What to do, in order.
    pub changes: Vec<Change>,
    /// One per input of every [`Change::Replace`].
    pub row_maps: Vec<RowMap>,
    /// The unique keys that the changes have to do with.
    pub keys: KeyUse,
    /// When it is answered.
    pub durability: Durability,
}

impl Transaction {
    /// A transaction of somebody who read `read_version`.
    pub fn new(read_version: Version, changes: Vec<Change>) -> Self {
        Self {
            read_version,
            changes,
            row_maps: Vec::new(),
            keys: KeyUse::default(),
            durability: Durability::Synced,
        }
    }
}

/// Sorted hashes of unique keys, by the collections that have them.
pub type KeyHashes = Vec<(CollectionId, Arc<Vec<u64>>)>;

/// The unique keys that a transaction has to do with, by which it is judged against those that came meanwhile.
#[derive(Debug, Clone, Default)]
pub struct KeyUse {
    /// Those that it inserts: two transactions that insert one key conflict.
    pub inserted: KeyHashes,
    /// Those that rows of its refer to by foreign keys.
    pub needed: KeyHashes,
    /// Those that it takes from collections that foreign keys refer to, which conflicts with who needs them. A
    /// collection that is not among them and loses rows has told none.
    pub removed: KeyHashes,
}

/// How much there is of each use of keys.
pub type KeyUseLengths = [usize; 3];

impl KeyUse {
    fn all(&self) -> [&KeyHashes; 3] {
        [&self.inserted, &self.needed, &self.removed]
    }

    fn all_mut(&mut self) -> [&mut KeyHashes; 3] {
        [&mut self.inserted, &mut self.needed, &mut self.removed]
    }

    /// How many lists it has of each use.
    pub fn lengths(&self) -> KeyUseLengths {
        self.all().map(Vec::len)
    }

    /// How many lists it has.
    pub fn lists(&self) -> usize {
        self.lengths().iter().sum()
    }

    /// How many hashes it has.
    pub fn hashes(&self) -> usize {
        let lists = self.all().into_iter().flatten();
        lists.map(|(_, hashes)| hashes.len()).sum()
    }

    /// Adds the lists of another.
    pub fn append(&mut self, mut more: Self) {
        let pairs = self.all_mut().into_iter().zip(more.all_mut());
        pairs.for_each(|(own, more)| own.append(more));
    }

    /// Leaves the first lists of each use.
    pub fn truncate(&mut self, lengths: KeyUseLengths) {
        let pairs = self.all_mut().into_iter().zip(lengths);
        pairs.for_each(|(own, length)| own.truncate(length));
    }

    /// Leaves the lists of some collections.
    pub fn retain(&mut self, stays: impl Fn(&CollectionId) -> bool) {
        let all = self.all_mut().into_iter();
        all.for_each(|own| own.retain(|(id, _)| stays(id)));
    }

    /// The same with one sorted list for each collection and use.
    pub fn joined(mut self) -> Self {
        let all = self.all_mut().into_iter();
        all.for_each(|own| *own = joined(std::mem::take(own)));
        self
    }
}

/// One sorted list for each collection.
fn joined(keys: KeyHashes) -> KeyHashes {
    let mut by_collection = HashMap::<CollectionId, Vec<Arc<Vec<u64>>>>::new();
    for (collection, keys) in keys {
        by_collection.entry(collection).or_default().push(keys);
    }
    let join = |mut lists: Vec<Arc<Vec<u64>>>| match lists.len() {
        1 => lists.remove(0),
        _ => {
            let mut all: Vec<u64> = lists.iter().flat_map(|l| l.iter().copied()).collect();
            all.sort_unstable();
            all.dedup();
            Arc::new(all)
        }
    };
    let lists = by_collection.into_iter();
    lists.map(|(id, lists)| (id, join(lists))).collect()
}

/// Where the rows of one input of a [`Change::Replace`] went.
#[derive(Debug, Clone, PartialEq)]
pub struct RowMap {
    /// The input.
    pub input: SegmentId,
    /// The input's deletes when its rows were read.
    pub read_deletes: RoaringBitmap,
    /// For every row of the input its place among the rows of `Replace::outputs`; none for those of `read_deletes`.
    pub to: Places,
}
