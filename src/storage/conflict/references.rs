//! Rows that refer to others beside commits that take these: neither transaction sees the other, so it is told here.
//!
//! A transaction tells the keys that its rows refer to, and those that it takes from collections that are referred to.
//! Of two that meet by a key, the first to commit wins. One that took rows before anybody referred to them told none:
//! then it counts as having taken all.

use std::collections::HashMap;

use super::recent_keys::RecentKeys;
use crate::error::{Error, Result};
use crate::storage::change::Change;
use crate::storage::foreign_key::ForeignKey;
use crate::storage::schema::{CollectionId, Version};
use crate::storage::snapshot::Snapshot;
use crate::storage::transaction::KeyUse;

/// What recent commits had to do with foreign keys.
#[derive(Debug)]
pub(super) struct References {
    needed: RecentKeys,
    removed: RecentKeys,
    /// When rows last left each collection.
    left: HashMap<CollectionId, Version>,
    /// When rows last left that did not tell their keys.
    left_untold: HashMap<CollectionId, Version>,
    /// When a definition last referred to each collection.
    referred_to: HashMap<CollectionId, Version>,
}

impl References {
    pub(super) fn new(opened: Version) -> Self {
        Self {
            needed: RecentKeys::new(opened),
            removed: RecentKeys::new(opened),
            left: HashMap::new(),
            left_untold: HashMap::new(),
            referred_to: HashMap::new(),
        }
    }

    /// That nobody took the keys that are needed since `read`, nor needs those that are taken.
    ///
    /// # Errors
    /// 40001 when somebody did.
    pub(super) fn check_keys(&self, keys: &KeyUse, read: Version) -> Result<()> {
        for (parent, needed) in &keys.needed {
            if is_later(&self.left_untold, *parent, read) {
                let message = "rows that may be referred to were deleted by a concurrent commit";
                return Err(Error::conflict(message));
            }
            let what = "a row that is referred to was deleted";
            self.removed.check(*parent, needed, read, what)?;
        }
        for (parent, removed) in &keys.removed {
            let what = "a row that goes was referred to";
            self.needed.check(*parent, removed, read, what)?;
        }
        Ok(())
    }

    /// Whether rows of the collection left since `read`.
    pub(super) fn left_since(&self, collection: CollectionId, read: Version) -> bool {
        is_later(&self.left, collection, read)
    }

    /// That a change fits the foreign keys that came since `read`, and one that brings some the rows that left.
    ///
    /// # Errors
    /// 40001 when it does not.
    pub(super) fn check(&self, current: &Snapshot, change: &Change, read: Version) -> Result<()> {
        let fits = match change {
            Change::Delete(id, ..) | Change::Truncate(id) => {
                !is_later(&self.referred_to, *id, read)
            }
            Change::AlterCollection(alter) => match &alter.schema {
                Some(schema) => {
                    let before = current.collection_by_id(alter.id);
                    let known = |key: &ForeignKey| {
                        before.is_some_and(|c| c.schema.foreign_keys.contains(key))
                    };
                    let mut new = schema.foreign_keys.iter().filter(|key| !known(key));
                    !new.any(|key| is_later(&self.left, key.parent, read))
                }
                None => true,
            },
            _ => true,
        };
        match fits {
            true => Ok(()),
            false => Err(Error::conflict(
                "rows left by a concurrent commit while a foreign key to them came",
            )),
        }
    }

    /// Remembers a commit.
    pub(super) fn record(&mut self, version: Version, changes: &[Change], keys: KeyUse) {
        for change in changes {
            match change {
                Change::Delete(id, ..) => {
                    self.left.insert(*id, version);
                    if !keys.removed.iter().any(|(told, _)| told == id) {
                        self.left_untold.insert(*id, version);
                    }
                }
                Change::Truncate(id) => {
                    self.left.insert(*id, version);
                    self.left_untold.insert(*id, version);
                }
                Change::CreateCollection(new) => self.refer(version, &new.schema.foreign_keys),
                Change::AlterCollection(alter) => {
                    let keys = alter.schema.as_ref().map(|schema| &schema.foreign_keys);
                    self.refer(version, keys.map_or(&[], Vec::as_slice));
                }
                Change::DropCollection(id) => {
                    self.left.remove(id);
                    self.left_untold.remove(id);
                    self.referred_to.remove(id);
                }
                _ => {}
            }
        }
        for (parent, needed) in keys.needed {
            self.needed.record(version, parent, needed);
        }
        for (parent, removed) in keys.removed {
            self.removed.record(version, parent, removed);
        }
    }

    fn refer(&mut self, version: Version, keys: &[ForeignKey]) {
        for key in keys {
            self.referred_to.insert(key.parent, version);
        }
    }
}

fn is_later(versions: &HashMap<CollectionId, Version>, id: CollectionId, read: Version) -> bool {
    versions.get(&id).is_some_and(|version| *version > read)
}
