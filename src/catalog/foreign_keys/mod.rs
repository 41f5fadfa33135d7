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
//!
//! What foreign keys do about rows whose parent goes are statements of their own in the same transaction ([`Act`]). They
//! may take rows that others refer to, and so on, breadth first; what refuses by NO ACTION waits until all are done
//! ([`Check`]), or until COMMIT where it is deferred.

mod act;
mod brought;
mod check;
mod children;
mod parents;
mod replaced;
mod rules;
mod values;
mod violations;

use std::sync::Arc;

pub use self::act::{Act, Done};
pub use self::brought::Brought;
use self::check::Side;
pub use self::check::{Check, Deferral};
use self::children::Taken;
use self::parents::Needed;
pub use self::replaced::Replaced;
pub use self::rules::ChildRules;
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
    /// Those of them that come back with other values.
    pub replaced: Arc<Replaced>,
}

/// When what a statement does is looked at.
#[derive(Debug, Clone, Default)]
pub struct Moment {
    /// By COMMIT, where the foreign key says so; never outside of a transaction.
    pub deferral: Option<Deferral>,
    /// When cascades are done, of which the statement is one.
    pub waits: bool,
    /// When the other parts of the statement are done, RESTRICT too.
    pub has_parts: bool,
    /// How often keys were handed on.
    pub depth: u32,
}

/// What foreign keys have to say about a statement.
#[derive(Debug, Default)]
pub struct Verdict {
    /// The keys that are needed and taken.
    pub keys: KeyUse,
    /// What is to be done now.
    pub acts: Vec<Act>,
    /// What is to be looked at when all of that is done.
    pub then: Vec<Check>,
    /// What is to be looked at by COMMIT.
    pub deferred: Vec<Check>,
}

/// A foreign key with the collection that has it.
type Referring = (Arc<Collection>, ForeignKey);

impl Links {
    /// What foreign keys say: those that refuse now do so. The collection is that of the snapshot.
    ///
    /// # Errors
    /// 23503 naming the key; XX001 or 58030 for segments that cannot be read.
    pub async fn judge(
        &self,
        collection: &Arc<Collection>,
        snapshot: &Snapshot,
        moment: &Moment,
    ) -> Result<Verdict> {
        let needed = self.needed(snapshot)?;
        let children = self.children(collection.id, snapshot);
        if needed.is_empty() && children.is_empty() {
            return Ok(Verdict::default());
        }
        let at_hand = needed.iter().map(|(_, n)| n.are_at_hand(&self.engine));
        let at_hand = at_hand.collect::<Result<Vec<bool>>>()?;
        let are_at_hand = children.is_empty() && !at_hand.contains(&false);
        let (links, collection) = (self.clone(), Arc::clone(collection));
        let moment = moment.clone();
        look_up(are_at_hand, move || {
            links.judge_now(&collection, &needed, &children, &moment)
        })
        .await
    }

    /// What rows that come refer to, by foreign key: with its place among those.
    fn needed(&self, snapshot: &Snapshot) -> Result<Vec<(usize, Needed)>> {
        let brought = self.brought.iter().enumerate();
        let brought = brought.filter(|(_, brought)| !brought.is_empty());
        let needed = brought.map(|(place, brought)| {
            let key = brought.key();
            let parent = snapshot.collection_by_id(key.parent).ok_or_else(|| {
                let name = &key.name;
                let message = format!("the table of constraint \"{name}\" was dropped meanwhile");
                Error::conflict(message)
            })?;
            Ok((place, Needed::of(key, brought.values()?, parent)?))
        });
        needed.collect()
    }

    /// Those who may refer to rows that go.
    fn children(&self, parent: CollectionId, snapshot: &Snapshot) -> Vec<Referring> {
        if self.removed.values().all(|rows| rows.is_empty()) {
            return Vec::new();
        }
        let children = snapshot.references_to(parent);
        let children = children.map(|(child, key)| (Arc::clone(child), key.clone()));
        children.collect()
    }

    fn judge_now(
        &self,
        collection: &Collection,
        needed: &[(usize, Needed)],
        children: &[Referring],
        moment: &Moment,
    ) -> Result<Verdict> {
        let mut verdict = Verdict::default();
        let taken = self.taken(collection, children)?;
        for (child, key) in children {
            for taken in taken.iter().filter(|taken| taken.key() == key.key) {
                let acts = taken.acts(child, key, moment.depth)?;
                verdict.acts.extend(acts);
            }
        }
        let waits = moment.waits || !verdict.acts.is_empty();
        for (place, needed) in needed {
            let hashes = (needed.parent(), needed.hashes());
            verdict.keys.needed.push(hashes);
            let check = || {
                Check::new(
                    Side::Child,
                    collection.id,
                    &needed.key,
                    needed.values.clone(),
                )
            };
            if moment.defers(collection.id, &needed.key) {
                verdict.deferred.push(check());
            } else if waits {
                verdict.then.push(check());
            } else {
                self.check_needed(collection, &self.brought[*place], needed)?;
            }
        }
        for (child, key) in children {
            let defers = moment.defers(child.id, key);
            for taken in taken.iter().filter(|taken| taken.key() == key.key) {
                let restricted = self.check_restricted(collection, (child, key), taken, moment)?;
                verdict.then.extend(restricted);
                let check = self.check_taken(collection, (child, key), taken, waits || defers)?;
                match defers {
                    true => verdict.deferred.extend(check),
                    false => verdict.then.extend(check),
                }
            }
        }
        if !children.is_empty() {
            let removed = (collection.id, Taken::hashes(&taken));
            verdict.keys.removed.push(removed);
        }
        Ok(verdict)
    }

    /// The keys that are taken, for each unique key that is referred to.
    fn taken(&self, collection: &Collection, children: &[Referring]) -> Result<Vec<Taken>> {
        let mut taken: Vec<Taken> = Vec::new();
        for (_, key) in children {
            if !taken.iter().any(|taken| taken.key() == key.key) {
                taken.push(Taken::of(self, collection, key.key)?);
            }
        }
        Ok(taken)
    }

    /// That each key that is needed is there when the statement has been done to `collection`. Reads files.
    fn check_needed(
        &self,
        collection: &Collection,
        brought: &Brought,
        needed: &Needed,
    ) -> Result<()> {
        let missing = match needed.parent() == collection.id {
            true => {
                let come = self.new_keys(needed.key.key);
                needed.missing(&self.engine, &self.removed, come)?
            }
            false => needed.missing(&self.engine, &Removed::new(), None)?,
        };
        match missing.iter().position(|missing| missing == Some(true)) {
            Some(row) => Err(brought.missing(&needed.values, row, &needed.parent)),
            None => Ok(()),
        }
    }

    /// The keys of rows that come, for one of the unique keys of their collection.
    fn new_keys(&self, key: KeyId) -> Option<&NewKeys> {
        self.keys.iter().find(|keys| keys.key() == key)
    }
}

impl Moment {
    fn defers(&self, child: CollectionId, key: &ForeignKey) -> bool {
        let deferral = self.deferral.as_ref();
        deferral.is_some_and(|deferral| deferral.defers(child, key))
    }
}
