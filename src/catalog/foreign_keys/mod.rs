//! FOREIGN KEY: that rows refer to rows that are there.
//!
//! A statement's rows are looked at twice, when all of them are known:
//! ```text
//! rows that come   their distinct keys, as keys of the parent   ─▶ the parent's index of that key: all must be there
//! rows that go     their keys, but for those that come again    ─▶ the children's index of the columns that refer: none may be
//! ```
//! Both indexes are those by which unique keys are kept ([`keys`](super::keys)), so a lookup costs about as much as that
//! of a unique key. Other transactions are not seen: the keys that were needed and taken go along with the commit, and
//! the committer refuses one that meets another by them.

mod brought;
mod children;
mod parents;
mod values;

use std::sync::Arc;

pub use self::brought::Brought;
use self::children::Taken;
use self::parents::Needed;
use super::keys::{NewKeys, Removed, look_up};
use crate::error::{Error, Result};
use crate::storage::collection::Collection;
use crate::storage::engine::Engine;
use crate::storage::foreign_key::ForeignKey;
use crate::storage::schema::CollectionId;
use crate::storage::snapshot::Snapshot;
use crate::storage::transaction::KeyUse;
use crate::storage::unique::KeyId;

/// What a statement does to the rows of a collection, as foreign keys see it.
#[derive(Clone)]
pub struct Links {
    /// The database.
    pub engine: Arc<Engine>,
    /// The unique keys of rows that come.
    pub keys: Arc<[NewKeys]>,
    /// What rows that come refer to.
    pub brought: Arc<[Brought]>,
    /// Rows that go.
    pub removed: Arc<Removed>,
}

impl Links {
    /// The keys that are needed and taken, when those needed are there and nothing refers to those taken. The collection
    /// is that of the snapshot.
    ///
    /// # Errors
    /// 23503 naming the key; XX001 or 58030 for segments that cannot be read.
    pub async fn check(&self, collection: &Arc<Collection>, snapshot: &Snapshot) -> Result<KeyUse> {
        let needed = self.needed(snapshot)?;
        let children = self.children(collection.id, snapshot);
        if needed.is_empty() && children.is_empty() {
            return Ok(KeyUse::default());
        }
        let at_hand = needed.iter().map(|needed| needed.are_at_hand(&self.engine));
        let at_hand = at_hand.collect::<Result<Vec<bool>>>()?;
        let are_at_hand = children.is_empty() && !at_hand.contains(&false);
        let (links, collection) = (self.clone(), Arc::clone(collection));
        look_up(are_at_hand, move || {
            links.check_at(&collection, &needed, &children)
        })
        .await
    }

    /// What rows that come refer to, by foreign key.
    fn needed(&self, snapshot: &Snapshot) -> Result<Vec<Needed>> {
        let brought = self.brought.iter().filter(|brought| !brought.is_empty());
        let needed = brought.map(|brought| {
            let parent = snapshot.collection_by_id(brought.key().parent);
            let parent = parent.ok_or_else(|| {
                let name = &brought.key().name;
                let message = format!("the table of constraint \"{name}\" was dropped meanwhile");
                Error::conflict(message)
            })?;
            Needed::of(brought, parent)
        });
        needed.collect()
    }

    /// Those who may refer to rows that go.
    fn children(
        &self,
        parent: CollectionId,
        snapshot: &Snapshot,
    ) -> Vec<(Arc<Collection>, ForeignKey)> {
        if self.removed.values().all(|rows| rows.is_empty()) {
            return Vec::new();
        }
        let children = snapshot.references_to(parent);
        let children = children.map(|(child, key)| (Arc::clone(child), key.clone()));
        children.collect()
    }

    fn check_at(
        &self,
        collection: &Collection,
        needed: &[Needed],
        children: &[(Arc<Collection>, ForeignKey)],
    ) -> Result<KeyUse> {
        let mut keys = KeyUse::default();
        for needed in needed {
            needed.check(self, collection)?;
            keys.needed.push((needed.parent(), needed.hashes()));
        }
        let mut taken: Vec<Taken> = Vec::new();
        for (_, key) in children {
            if !taken.iter().any(|taken| taken.key() == key.key) {
                taken.push(Taken::of(self, collection, key.key)?);
            }
        }
        for (child, key) in children {
            let of_key = taken.iter().filter(|taken| taken.key() == key.key);
            of_key
                .into_iter()
                .try_for_each(|taken| taken.check(self, collection, child, key))?;
        }
        if !taken.is_empty() {
            keys.removed.push((collection.id, Taken::hashes(&taken)));
        }
        Ok(keys)
    }

    /// The keys of rows that come, for one of the unique keys of their collection.
    fn new_keys(&self, key: KeyId) -> Option<&NewKeys> {
        self.keys.iter().find(|keys| keys.key() == key)
    }
}
