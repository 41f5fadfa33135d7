//! Whether a transaction fits what was committed since it read, and how it changes so that it does.
//!
//! | transaction | meets, committed since its read version | becomes |
//! |---|---|---|
//! | append, add segments | change of the schema or name, unique index | 40001 |
//! | append, add segments | the same unique key | 40001 |
//! | delete | delete of the same row | 40001 |
//! | delete | replace of the segment | deletes of the outputs, through the row map |
//! | delete | truncate, drop | 40001 |
//! | replace | deletes of its inputs | deletes of its outputs, through its own row map |
//! | replace | replace of an input, truncate, drop, rows for a growing input | 40001 |
//! | role, owner, grants | change of the same | 40001 |
//! | alter, create index, train | alter, unique index | 40001 |
//! | partition comes, goes | alter, another partition, append, add segments | 40001 |
//! | alter type | alter of the same type | 40001 |
//! | alter, train | train | 40001 |
//! | alter that constrains rows, unique index | append, add segments | 40001 |
//! | add filters | replace of the segment, drop of the index | 40001 |
//! | rows that refer by a foreign key | delete or other key of a row that they refer to | 40001 |
//! | delete or other key of a row | rows that refer to it by a foreign key, a new foreign key | 40001 |
//! | alter that brings a foreign key | delete of rows that it may refer to | 40001 |
//! | alter for which all rows come again | append, add segments, delete | 40001 |
//!
//! Everything else that meets fits: appends meet appends, a replace meets a change of the schema, a truncate or drop meets
//! anything before it.

mod definitions;
mod prepared;
mod rebased;
mod recent_keys;
mod references;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use self::definitions::{check_authority, check_schema};
pub(super) use self::prepared::Prepared;
use self::rebased::Rebased;
use self::recent_keys::RecentKeys;
use self::references::References;
use super::change::{Append, Change};
use super::codec::Record;
use super::collection::Collection;
use super::deletes::Replaced;
use super::schema::{CollectionId, SegmentId, Version};
use super::snapshot::Snapshot;
use super::transaction::{KeyUse, RowMap};
use super::unique::Arrivals;
use crate::error::{Error, Result};

/// A transaction as it will be committed.
#[derive(Debug)]
pub(super) struct Judged {
    /// What to apply.
    pub(super) changes: Vec<Change>,
    /// What to write; one per change.
    pub(super) records: Vec<Record>,
    /// What to remember when it is accepted.
    pub(super) evidence: Evidence,
}

/// What later transactions are judged by.
#[derive(Debug)]
pub(super) struct Evidence {
    row_maps: Vec<RowMap>,
    keys: KeyUse,
}

impl Judged {
    fn push(&mut self, change: Change, record: Record) {
        self.changes.push(change);
        self.records.push(record);
    }
}

/// What must be remembered of recent commits to judge transactions that read before them.
#[derive(Debug)]
pub(super) struct Judge {
    frozen: HashSet<SegmentId>,
    replaced: Replaced,
    keys: RecentKeys,
    arrivals: Arrivals,
    references: References,
}

impl Judge {
    /// A judge of transactions that read `opened` or later.
    pub(super) fn new(opened: Version) -> Self {
        Self {
            frozen: HashSet::new(),
            replaced: Replaced::default(),
            keys: RecentKeys::new(opened),
            arrivals: Arrivals::default(),
            references: References::new(opened),
        }
    }

    /// Sends later appends elsewhere than to `segment`.
    pub(super) fn freeze(&mut self, segment: SegmentId) {
        self.frozen.insert(segment);
    }

    /// The transaction as it fits `current`; `allocate` gives ids of new growing segments.
    ///
    /// # Errors
    /// 40001 when it does not fit; XX000 when it is malformed.
    pub(super) fn judge(
        &self,
        current: &Snapshot,
        prepared: Prepared,
        allocate: impl Fn() -> u64,
    ) -> Result<Judged> {
        if prepared.read_version > current.version() {
            let message = format!("version {} was read before it was", prepared.read_version);
            return Err(Error::internal(message));
        }
        let read = prepared.read_version;
        for (collection, keys) in &prepared.keys.inserted {
            let what = "a key was inserted";
            self.keys.check(*collection, keys, read, what)?;
        }
        self.references.check_keys(&prepared.keys, read)?;
        self.check_rewritten(&prepared)?;
        let mut rebased = Rebased::new(current, &prepared)?;
        let mut judged = Judged {
            changes: Vec::with_capacity(prepared.changes.len()),
            records: Vec::with_capacity(prepared.changes.len()),
            evidence: Evidence {
                row_maps: prepared.row_maps,
                keys: prepared.keys,
            },
        };
        let mut chosen = HashMap::new();
        for (change, record) in prepared.changes {
            check_schema(current, &change, read)?;
            check_authority(current, &change, read)?;
            self.arrivals.check(current, &change, read)?;
            self.references.check(current, &change, read)?;
            match change {
                Change::Append(append) => {
                    let before = append.segment;
                    let append = self.place(current, append, &mut chosen, &allocate)?;
                    let moved = append.segment != before;
                    let change = Change::Append(append);
                    let record = if moved {
                        record.with_change(&change)?
                    } else {
                        record
                    };
                    judged.push(change, record);
                }
                Change::Delete(collection, segment, rows) => {
                    let change = Change::Delete(collection, segment, rows);
                    self.carry(current, change, record, &mut judged)?;
                }
                Change::Truncate(collection) => {
                    // The place of a row never changes: new rows do not go where old ones were.
                    chosen.insert(collection, SegmentId(allocate()));
                    judged.push(Change::Truncate(collection), record);
                }
                Change::Replace(mut replace) => {
                    let changed = rebased.onto(&mut replace);
                    let change = Change::Replace(replace);
                    let record = if changed {
                        record.with_change(&change)?
                    } else {
                        record
                    };
                    judged.push(change, record);
                }
                Change::Job(mut job) if rebased.deletes > 0 => {
                    job.deletes_rebased += rebased.deletes;
                    let change = Change::Job(job);
                    let record = record.with_change(&change)?;
                    judged.push(change, record);
                }
                other => judged.push(other, record),
            }
        }
        Ok(judged)
    }

    /// That the rows of a collection which is altered with all its rows are still those that were read.
    fn check_rewritten(&self, prepared: &Prepared) -> Result<()> {
        let read = prepared.read_version;
        let changes = || prepared.changes.iter().map(|(change, _)| change);
        let is_emptied =
            |id| changes().any(|c| matches!(c, Change::Truncate(emptied) if *emptied == id));
        for change in changes() {
            if let Change::AlterCollection(alter) = change
                && is_emptied(alter.id)
                && (self.arrivals.since(alter.id, read)
                    || self.references.left_since(alter.id, read))
            {
                let message = "rows changed by a concurrent commit while they were rewritten";
                return Err(Error::conflict(message));
            }
        }
        Ok(())
    }

    /// Remembers a transaction that was accepted as `version`.
    pub(super) fn accept(&mut self, version: Version, changes: &[Change], evidence: Evidence) {
        self.arrivals.record(version, changes);
        let maps = evidence.row_maps.into_iter();
        let mut maps: HashMap<_, _> = maps.map(|m| (m.input, m)).collect();
        for change in changes {
            let Change::Replace(replace) = change else {
                continue;
            };
            let inputs = replace.inputs.iter();
            let maps = inputs.filter_map(|input| maps.remove(input));
            self.replaced
                .record(replace.collection, &replace.outputs, maps);
            for input in &replace.inputs {
                self.frozen.remove(input);
            }
        }
        let mut keys = evidence.keys;
        for (collection, keys) in std::mem::take(&mut keys.inserted) {
            self.keys.record(version, collection, keys);
        }
        self.references.record(version, changes, keys);
    }

    /// Chooses the growing segment of an append that leaves the choice.
    fn place(
        &self,
        current: &Snapshot,
        mut append: Append,
        chosen: &mut HashMap<CollectionId, SegmentId>,
        allocate: impl Fn() -> u64,
    ) -> Result<Append> {
        if append.segment == SegmentId(0) {
            append.segment = *chosen.entry(append.collection).or_insert_with(|| {
                let growing = current.collection_by_id(append.collection);
                let mut newest_first = growing.into_iter().flat_map(|c| c.growing().iter().rev());
                let open = newest_first.find(|g| !self.frozen.contains(&g.id));
                open.map_or_else(|| SegmentId(allocate()), |g| g.id)
            });
        } else if self.frozen.contains(&append.segment) {
            let message = format!("growing segment {} is being sealed", append.segment);
            return Err(Error::conflict(message));
        }
        Ok(append)
    }

    /// Sends deletes of a replaced segment to what it became.
    fn carry(
        &self,
        current: &Snapshot,
        change: Change,
        record: Record,
        judged: &mut Judged,
    ) -> Result<()> {
        let Change::Delete(collection, segment, rows) = &change else {
            return Err(Error::internal("only deletes are carried"));
        };
        let found = current.collection_by_id(*collection);
        let has =
            |c: &Collection| c.segment(*segment).is_some() || c.growing_segment(*segment).is_some();
        if found.is_none_or(|c| has(c)) {
            judged.push(change, record);
            return Ok(());
        }
        let resolved = self.replaced.resolve(*collection, *segment, rows);
        let resolved = resolved.ok_or_else(|| {
            let message =
                format!("rows of segment {segment} were deleted or updated by a concurrent commit");
            Error::conflict(message)
        })?;
        for (segment, rows) in resolved {
            let change = Change::Delete(*collection, segment, rows);
            let record = Record::of_change(&change)?;
            judged.push(change, record);
        }
        Ok(())
    }
}
