//! Keys that are looked at later: when a statement's cascades are done, or when a transaction commits.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::filter;

use super::brought::referring_columns;
use super::children::{check_unreferred, keys_of_child};
use super::parents::Needed;
use super::values::joined;
use super::violations::is_missing;
use crate::catalog::keys::{Removed, look_up};
use crate::error::Result;
use crate::storage::engine::Engine;
use crate::storage::foreign_key::{ForeignKey, Timing};
use crate::storage::schema::CollectionId;
use crate::storage::snapshot::Snapshot;

/// Keys of which a row refers to nothing, unless its parent comes or it goes itself until they are looked at.
#[derive(Debug, Clone)]
pub struct Check {
    side: Side,
    child: CollectionId,
    key: ForeignKey,
    /// The columns in the order of the foreign key.
    values: Vec<ArrayRef>,
}

/// Whose rows changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Those that refer.
    Child,
    /// Those that are referred to.
    Parent,
}

impl Check {
    pub(super) fn new(
        side: Side,
        child: CollectionId,
        key: &ForeignKey,
        values: Vec<ArrayRef>,
    ) -> Self {
        Self {
            side,
            child,
            key: key.clone(),
            values,
        }
    }

    /// Of which foreign key of which collection.
    pub fn of(&self) -> (CollectionId, &ForeignKey) {
        (self.child, &self.key)
    }

    /// Bytes of the keys.
    pub fn bytes(&self) -> usize {
        self.values.iter().map(|v| v.get_array_memory_size()).sum()
    }

    /// Looks at all of them in the snapshot, those of one kind at once.
    ///
    /// # Errors
    /// 23503 naming a key; XX001 or 58030 for segments that cannot be read.
    pub async fn run_all(
        checks: Vec<Self>,
        engine: &Arc<Engine>,
        snapshot: &Arc<Snapshot>,
    ) -> Result<()> {
        for check in Self::grouped(checks)? {
            check.run(engine, snapshot).await?;
        }
        Ok(())
    }

    /// The same with those of one kind as one.
    fn grouped(checks: Vec<Self>) -> Result<Vec<Self>> {
        let mut groups: Vec<Vec<Self>> = Vec::new();
        for check in checks {
            let is_alike = |group: &&mut Vec<Self>| group.iter().all(|c| c.is_like(&check));
            match groups.iter_mut().find(is_alike) {
                Some(group) => group.push(check),
                None => groups.push(vec![check]),
            }
        }
        groups.into_iter().map(Self::join).collect()
    }

    fn is_like(&self, other: &Self) -> bool {
        let types = |check: &Self| -> Vec<_> {
            let values = check.values.iter();
            values.map(|v| v.data_type().clone()).collect()
        };
        (self.side, self.child, &self.key) == (other.side, other.child, &other.key)
            && types(self) == types(other)
    }

    fn join(group: Vec<Self>) -> Result<Self> {
        Ok(Self {
            values: joined(group.iter().map(|check| &check.values))?,
            ..group[0].clone()
        })
    }

    /// That each of the keys is there in the snapshot, or nothing refers to it.
    ///
    /// # Errors
    /// 23503 naming the key; XX001 or 58030 for segments that cannot be read.
    async fn run(&self, engine: &Arc<Engine>, snapshot: &Arc<Snapshot>) -> Result<()> {
        let (check, engine, snapshot) = (self.clone(), Arc::clone(engine), Arc::clone(snapshot));
        look_up(false, move || check.run_now(&engine, &snapshot)).await
    }

    fn run_now(&self, engine: &Engine, snapshot: &Snapshot) -> Result<()> {
        // What was dropped meanwhile is not kept; another name or timing is no matter.
        let child = snapshot.collection_by_id(self.child);
        let found = child.and_then(|child| {
            let mut keys = child.schema.foreign_keys.iter();
            let is_it = |key: &&ForeignKey| {
                (&key.columns, key.parent, key.key)
                    == (&self.key.columns, self.key.parent, self.key.key)
            };
            Some((child, keys.find(is_it)?))
        });
        let parent = snapshot.collection_by_id(self.key.parent);
        let (Some((child, key)), Some(parent)) = (found, parent) else {
            return Ok(());
        };
        let needed = Needed::of(key, self.values.clone(), parent)?;
        let missing = needed.missing(engine, &Removed::new(), None)?;
        if !missing.has_true() {
            return Ok(());
        }
        let values = self.values.iter().map(|v| Ok(filter(v, &missing)?));
        let values = values.collect::<Result<Vec<ArrayRef>>>()?;
        let none = Removed::new();
        if self.side == Side::Parent {
            return check_unreferred(engine, parent, child, key, &values, &none);
        }
        let columns = referring_columns(child, key)?;
        let keys = keys_of_child(child, key, columns, &values)?;
        match keys.present(engine, child, &none)? {
            Some(text) => Err(is_missing(&child.name.name, key, &text, parent)),
            None => Ok(()),
        }
    }
}

/// Which foreign keys a transaction looks at when it commits, as far as SET CONSTRAINTS says so.
#[derive(Debug, Clone, Default)]
pub struct Deferral {
    all: Option<bool>,
    named: Vec<(CollectionId, String, bool)>,
}

impl Deferral {
    /// All that can be are from now on, or none is.
    pub fn set_all(&mut self, deferred: bool) {
        self.named.clear();
        self.all = Some(deferred);
    }

    /// One is from now on, or is not.
    pub fn set(&mut self, child: CollectionId, name: &str, deferred: bool) {
        self.named.push((child, name.to_string(), deferred));
    }

    /// Whether the foreign key is looked at by COMMIT.
    pub fn defers(&self, child: CollectionId, key: &ForeignKey) -> bool {
        if key.timing == Timing::Immediate {
            return false;
        }
        let mut newest_first = self.named.iter().rev();
        let named = newest_first.find(|(id, name, _)| (*id, name) == (child, &key.name));
        let said = named.map(|(.., deferred)| *deferred).or(self.all);
        said.unwrap_or(key.timing == Timing::Deferred)
    }
}
