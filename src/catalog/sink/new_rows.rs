//! The rows of a statement, ready to be committed.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::RecordBatch;
use roaring::RoaringBitmap;

use super::segment_file::{SegmentFile, commit_with_files};
use crate::catalog::foreign_keys::{
    Act, Brought, Check, ChildRules, Links, Moment, Replaced, Verdict,
};
use crate::catalog::keys::{NewKeys, Removed, are_at_hand, expired, hashes, look_up};
use crate::catalog::parts::Parts;
use crate::catalog::transaction::{OpenTransaction, Written};
use crate::catalog::zone::Zone;
use crate::error::{Error, Result, sqlstate};
use crate::storage::change::{Append, Change};
use crate::storage::collection::Collection;
use crate::storage::engine::Engine;
use crate::storage::schema::{SegmentId, Version};
use crate::storage::snapshot::Snapshot;
use crate::storage::transaction::{Durability, Transaction};

/// The rows of a statement, ready to be committed.
pub struct NewRows {
    pub(super) engine: Arc<Engine>,
    pub(super) collection: Arc<Collection>,
    pub(super) rows: u64,
    pub(super) appended: Option<RecordBatch>,
    pub(super) files: Vec<SegmentFile>,
    pub(super) keys: Arc<[NewKeys]>,
    /// The keys that foreign keys of the rows refer to.
    pub(super) brought: Arc<[Brought]>,
    /// The rows that they replace.
    pub(super) replaced: Arc<Replaced>,
}

impl NewRows {
    /// The same in place of other rows.
    pub fn in_place_of(mut self, replaced: Replaced) -> Self {
        self.replaced = Arc::new(replaced);
        self
    }

    /// How many rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Commits the rows, and the removal of others, as of `snapshot`. After a conflict it can be tried again with a
    /// newer snapshot; after other errors there is nothing left of it.
    ///
    /// # Errors
    /// 23505 when a live row has one of the keys, 23503 when a foreign key would refer to nothing, 40001 when a
    /// concurrent commit won (kind `Conflict`) or altered the collection (kind `InvalidInput`), 42P01 when one dropped
    /// it, and the errors of [`Committer::commit`](crate::storage::committer::Committer::commit).
    pub async fn commit(
        &mut self,
        snapshot: &Snapshot,
        removed: &Arc<Removed>,
        durability: Durability,
    ) -> Result<()> {
        let removed = self.check_keys(self.current(snapshot)?, removed).await?;
        let verdict = self.judge(snapshot, &removed, &Moment::default()).await?;
        if !verdict.acts.is_empty() {
            return Err(Error::internal(
                "a foreign key acts outside of a transaction",
            ));
        }
        let mut transaction = self.transaction(snapshot.version(), &removed);
        transaction.keys = verdict.keys;
        transaction.durability = durability;
        let files = std::mem::take(&mut self.files);
        let committed = commit_with_files(&self.engine, transaction, files).await;
        committed.map_err(|(error, files)| {
            self.files = files;
            error
        })
    }

    /// Makes the rows, and the removal of others, part of a transaction, and what foreign keys do about that. What is looked
    /// at when the statement is done waits for its other parts, if it has some.
    ///
    /// # Errors
    /// 23505 when a live row has one of the keys, 23503 when a foreign key would refer to nothing, 42P01 when the
    /// transaction dropped the collection, 53200 when there is no memory for the rows, 58030 or 53100 for what the disk
    /// says.
    pub async fn join(
        self,
        transaction: &OpenTransaction,
        removed: &Arc<Removed>,
        rules: &ChildRules,
        zone: Zone,
        parts: Option<&Parts>,
    ) -> Result<()> {
        let engine = Arc::clone(&self.engine);
        let moment = Moment {
            deferral: Some(transaction.deferral()),
            waits: parts.is_some(),
            has_parts: parts.is_some(),
            ..Moment::default()
        };
        let joined = self.join_once(transaction, removed, &moment, parts);
        let (acts, mut checks) = joined.await?;
        let mut acts = VecDeque::from(acts);
        while let Some(act) = acts.pop_front() {
            let snapshot = transaction.snapshot();
            let Some(done) = act.rows(&engine, &snapshot, rules, zone.clone()).await? else {
                continue;
            };
            let moment = Moment {
                waits: true,
                depth: done.depth,
                ..moment.clone()
            };
            let joined = done
                .new
                .join_once(transaction, &done.removed, &moment, parts);
            let (more, then) = joined.await?;
            acts.extend(more);
            checks.extend(then);
        }
        match parts {
            Some(parts) => {
                parts.put_off(checks);
                Ok(())
            }
            None => Check::run_all(checks, &engine, &transaction.snapshot()).await,
        }
    }

    /// The same without what foreign keys do, and what is looked at when they have done it.
    async fn join_once(
        mut self,
        transaction: &OpenTransaction,
        removed: &Arc<Removed>,
        moment: &Moment,
        parts: Option<&Parts>,
    ) -> Result<(Vec<Act>, Vec<Check>)> {
        let snapshot = transaction.snapshot();
        let removed = &self.check_keys(self.current(&snapshot)?, removed).await?;
        let verdict = self.judge(&snapshot, removed, moment).await?;
        transaction.write(Written {
            collection: self.collection.id,
            removed,
            appended: self.appended.take(),
            files: std::mem::take(&mut self.files),
            keys: verdict.keys,
            deferred: verdict.deferred,
        })?;
        match parts {
            Some(parts) => parts.seal_later(self.collection.id),
            None => transaction.seal_if_large(self.collection.id).await?,
        }
        Ok((verdict.acts, verdict.then))
    }

    /// The collection with the columns for which the rows were made.
    fn current<'a>(&self, snapshot: &'a Snapshot) -> Result<&'a Arc<Collection>> {
        let name = &self.collection.name;
        // Neither gets better by trying again.
        let current = snapshot.collection_by_id(self.collection.id);
        let current = current.ok_or_else(|| {
            let message = format!("relation \"{name}\" was dropped by a concurrent commit");
            Error::not_found(sqlstate::UNDEFINED_TABLE, message)
        })?;
        let known = self.collection.unique_keys();
        let mut keys = current.unique_keys().into_iter();
        let is_same = Arc::ptr_eq(&current.schema, &self.collection.schema)
            || current.schema == self.collection.schema;
        if !is_same || keys.any(|key| !known.contains(&key)) {
            let message = format!("\"{name}\" was altered by a concurrent commit");
            return Err(Error::invalid(sqlstate::SERIALIZATION_FAILURE, message)
                .with_hint("Run the statement again."));
        }
        Ok(current)
    }

    /// That the keys are free. Rows that have expired give theirs up: the answer has them too among those to be removed.
    async fn check_keys(
        &self,
        current: &Arc<Collection>,
        removed: &Arc<Removed>,
    ) -> Result<Arc<Removed>> {
        let error = match self.check_absent(current, removed).await {
            Err(error) if error.sqlstate() == sqlstate::UNIQUE_VIOLATION => error,
            checked => return checked.map(|()| Arc::clone(removed)),
        };
        let expired = expired(&self.engine, current).await?.ok_or(error)?;
        let mut all = Removed::clone(removed);
        for (segment, rows) in expired {
            *all.entry(segment).or_default() |= rows;
        }
        let all = Arc::new(all);
        self.check_absent(current, &all).await?;
        Ok(all)
    }

    async fn check_absent(&self, current: &Arc<Collection>, removed: &Arc<Removed>) -> Result<()> {
        if self.keys.is_empty() || self.rows == 0 {
            return Ok(());
        }
        let are_at_hand = are_at_hand(&self.keys, &self.engine, current)?;
        let keys = Arc::clone(&self.keys);
        let (engine, current) = (Arc::clone(&self.engine), Arc::clone(current));
        let removed = Arc::clone(removed);
        let check = move || {
            let mut keys = keys.iter();
            keys.try_for_each(|keys| keys.check_absent(&engine, &current, &removed))
        };
        look_up(are_at_hand, check).await
    }

    fn transaction(&self, read_version: Version, removed: &Removed) -> Transaction {
        let id = self.collection.id;
        let mut deletes: Vec<(SegmentId, &RoaringBitmap)> = removed
            .iter()
            .map(|(segment, rows)| (*segment, rows))
            .collect();
        deletes.sort_unstable_by_key(|(segment, _)| *segment);
        let deletes = deletes.into_iter();
        let mut changes: Vec<Change> = deletes
            .map(|(segment, rows)| Change::Delete(id, segment, rows.clone()))
            .collect();
        if !self.files.is_empty() {
            let segments = self.files.iter().map(|f| f.segment().clone()).collect();
            changes.push(Change::AddSegments(id, segments));
        }
        if let Some(rows) = &self.appended {
            changes.push(Change::Append(Append {
                collection: id,
                segment: SegmentId(0),
                rows: rows.clone(),
            }));
        }
        Transaction::new(read_version, changes)
    }

    /// What foreign keys say about it, and the keys that it has to do with.
    async fn judge(
        &self,
        snapshot: &Snapshot,
        removed: &Arc<Removed>,
        moment: &Moment,
    ) -> Result<Verdict> {
        let links = Links {
            engine: Arc::clone(&self.engine),
            keys: Arc::clone(&self.keys),
            brought: Arc::clone(&self.brought),
            removed: Arc::clone(removed),
            replaced: Arc::clone(&self.replaced),
        };
        let current = self.current(snapshot)?;
        let mut verdict = links.judge(current, snapshot, moment).await?;
        if self.rows > 0 && !self.keys.is_empty() {
            let inserted = (self.collection.id, hashes(&self.keys));
            verdict.keys.inserted.push(inserted);
        }
        Ok(verdict)
    }
}
