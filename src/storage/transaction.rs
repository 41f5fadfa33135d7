//! What a caller asks the committer to do.

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
    /// Sorted hashes of the unique keys that the changes insert: two transactions that insert one key conflict.
    pub keys: Vec<(CollectionId, Arc<Vec<u64>>)>,
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
            keys: Vec::new(),
            durability: Durability::Synced,
        }
    }
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
