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
//! | replace | replace of an input, truncate, drop, change of the schema, rows for a growing input | 40001 |
//! | role, owner, grants | change of the same | 40001 |
//! | alter, create index, train | alter, unique index | 40001 |
//! | alter, train | train | 40001 |
//! | alter that constrains rows, unique index | append, add segments | 40001 |
//! | add filters | replace of the segment, drop of the index | 40001 |
//!
//! Everything else that meets fits: appends meet appends, a truncate or drop meets anything before it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::change::{Append, Change, Replace};
use super::codec::Record;
use super::collection::Collection;
use super::deletes::{Replaced, Starts, check_map, rebase};
use super::log::FRAME_BYTES_MAX;
use super::schema::{CollectionId, SegmentId, Version};
use super::snapshot::Snapshot;
use super::transaction::{Durability, RowMap, Transaction};
use super::unique::Arrivals;
use crate::error::{Error, Result, sqlstate};

/// Hashes of inserted keys that are kept to find transactions that insert the same.
const KEYS_MAX: usize = 8 << 20;
/// The most bytes that one transaction may bring: half a frame, so that those it is grouped with fit too.
const COMMIT_BYTES_MAX: usize = FRAME_BYTES_MAX / 2;

/// A transaction with its changes encoded by its caller's thread.
#[derive(Debug)]
pub(super) struct Prepared {
    read_version: Version,
    changes: Vec<(Change, Record)>,
    row_maps: Vec<RowMap>,
    keys: Vec<(CollectionId, Arc<Vec<u64>>)>,
    pub(super) durability: Durability,
    /// About how many bytes it takes in the log.
    pub(super) bytes: usize,
}

impl Prepared {
    /// Encodes a transaction, and checks what needs no snapshot.
    pub(super) fn new(transaction: Transaction) -> Result<Self> {
        let mut prepared = Self {
            read_version: transaction.read_version,
            changes: Vec::with_capacity(transaction.changes.len()),
            row_maps: transaction.row_maps,
            keys: transaction.keys,
            durability: transaction.durability,
            bytes: 0,
        };
        for change in transaction.changes {
            if let Change::Replace(replace) = &change {
                check_replace(replace, &prepared.row_maps)?;
            }
            let record = Record::of_change(&change)?;
            prepared.bytes += record.len();
            prepared.changes.push((change, record));
        }
        if prepared.bytes > COMMIT_BYTES_MAX {
            let bytes = prepared.bytes;
            let message = format!("the transaction has {bytes} bytes, too many for one commit");
            return Err(Error::limit(sqlstate::PROGRAM_LIMIT_EXCEEDED, message)
                .with_hint("Load large data with COPY, or split the transaction."));
        }
        Ok(prepared)
    }

    /// Whether there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    fn row_map(&self, input: SegmentId) -> Result<&RowMap> {
        let found = self.row_maps.iter().find(|m| m.input == input);
        found.ok_or_else(|| no_row_map(input))
    }
}

fn check_replace(replace: &Replace, row_maps: &[RowMap]) -> Result<()> {
    let written = Starts::of(&replace.outputs).rows();
    let mut carried = 0;
    for input in &replace.inputs {
        let found = row_maps.iter().find(|m| m.input == *input);
        let map = found.ok_or_else(|| no_row_map(*input))?;
        check_map(map, written)?;
        carried += map.to.rows() - map.read_deletes.len();
    }
    if carried == written {
        return Ok(());
    }
    let message = format!("a replace carries {carried} rows into segments of {written} rows");
    Err(Error::internal(message))
}

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
    keys: Vec<(CollectionId, Arc<Vec<u64>>)>,
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
}

impl Judge {
    /// A judge of transactions that read `opened` or later.
    pub(super) fn new(opened: Version) -> Self {
        Self {
            frozen: HashSet::new(),
            replaced: Replaced::default(),
            keys: RecentKeys::new(opened),
            arrivals: Arrivals::default(),
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
        for (collection, keys) in &prepared.keys {
            self.keys.check(*collection, keys, prepared.read_version)?;
        }
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
            check_schema(current, &change, prepared.read_version)?;
            check_authority(current, &change, prepared.read_version)?;
            self.arrivals
                .check(current, &change, prepared.read_version)?;
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
        for (collection, keys) in evidence.keys {
            self.keys.record(version, collection, keys);
        }
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

/// Deletes that landed on the inputs of a transaction's replaces since they were read.
struct Rebased {
    by_first_input: HashMap<SegmentId, Vec<(u32, roaring::RoaringBitmap)>>,
    /// How many there are.
    deletes: u64,
}

impl Rebased {
    fn new(current: &Snapshot, prepared: &Prepared) -> Result<Self> {
        let mut rebased = Self {
            by_first_input: HashMap::new(),
            deletes: 0,
        };
        for (change, _) in &prepared.changes {
            if let Change::Replace(replace) = change {
                rebased.add(current, prepared, replace)?;
            }
        }
        Ok(rebased)
    }

    fn add(&mut self, current: &Snapshot, prepared: &Prepared, replace: &Replace) -> Result<()> {
        let Some(collection) = current.collection_by_id(replace.collection) else {
            return Ok(()); // The collection is gone, and applying says so.
        };
        let Some(first) = replace.inputs.first() else {
            return Ok(());
        };
        let starts = Starts::of(&replace.outputs);
        let mut landed = Vec::new();
        for input in &replace.inputs {
            check_no_delete(prepared, *input)?;
            let map = prepared.row_map(*input)?;
            let (rows, deletes) = if let Some(segment) = collection.segment(*input) {
                (segment.rows, &*segment.deletes)
            } else if let Some(growing) = collection.growing_segment(*input) {
                (growing.rows, &growing.deletes)
            } else {
                continue; // The input is gone, and applying says so.
            };
            if map.to.rows() != rows {
                let message = format!("segment {input} has other rows than were read");
                return Err(Error::conflict(message));
            }
            let moved = rebase(map, &starts, deletes)?;
            self.deletes += moved.values().map(|rows| rows.len()).sum::<u64>();
            landed.extend(moved);
        }
        self.by_first_input.insert(*first, landed);
        Ok(())
    }

    /// Puts the deletes onto the outputs; whether there were any.
    fn onto(&mut self, replace: &mut Replace) -> bool {
        let first = replace.inputs.first();
        let landed = first.and_then(|first| self.by_first_input.remove(first));
        let landed = landed.unwrap_or_default();
        let any = !landed.is_empty();
        for (output, rows) in landed {
            replace.outputs[output as usize].deletes |= rows;
        }
        any
    }
}

/// That a transaction does not delete rows of a segment that it replaces itself: they would come back.
fn check_no_delete(prepared: &Prepared, input: SegmentId) -> Result<()> {
    let deletes = |c: &Change| matches!(c, Change::Delete(_, segment, _) if *segment == input);
    if prepared.changes.iter().any(|(c, _)| deletes(c)) {
        let message = format!("a transaction deletes from segment {input} and replaces it");
        return Err(Error::internal(message));
    }
    Ok(())
}

/// That the schema is still the one that the change was made for.
fn check_schema(current: &Snapshot, change: &Change, read: Version) -> Result<()> {
    let collection = match change {
        Change::Append(append) => append.collection,
        Change::AddSegments(collection, _) => *collection,
        Change::Replace(replace) => replace.collection,
        Change::AlterCollection(alter) => alter.id,
        Change::CreateIndex(collection, _) | Change::Train(collection, _) => *collection,
        _ => return Ok(()),
    };
    match current.collection_by_id(collection) {
        Some(found) if found.schema_version > read || is_overtaken(change, found, read) => {
            Err(Error::conflict(format!(
                "collection \"{}\" was altered by a concurrent commit",
                found.name
            )))
        }
        _ => Ok(()),
    }
}

/// Whether a change brings a whole schema, but without the key that was trained since.
fn is_overtaken(change: &Change, found: &Collection, read: Version) -> bool {
    let has_schema = matches!(change, Change::AlterCollection(_) | Change::Train(..));
    has_schema && found.trained_version > read
}

/// That a role, owner or grants are still what the change was made from.
fn check_authority(current: &Snapshot, change: &Change, read: Version) -> Result<()> {
    let authority = current.authority();
    let (what, changed) = match change {
        Change::AlterRole(role) => ("the role", authority.role_changed_since(role.id, read)),
        Change::DropRole(id) => ("the role", authority.role_changed_since(*id, read)),
        Change::SetAccess(object, _) => (
            "the privileges",
            authority.access_changed_since(object, read),
        ),
        _ => return Ok(()),
    };
    if changed {
        let message = format!("{what} changed by a concurrent commit");
        return Err(Error::conflict(message));
    }
    Ok(())
}

fn no_row_map(input: SegmentId) -> Error {
    Error::internal(format!("segment {input} is replaced without a row map"))
}

/// Hashes of the unique keys that recent commits inserted.
#[derive(Debug)]
struct RecentKeys {
    commits: VecDeque<(Version, CollectionId, Arc<Vec<u64>>)>,
    hashes: usize,
    /// Commits up to this one are not known.
    forgotten: Version,
}

impl RecentKeys {
    fn new(opened: Version) -> Self {
        Self {
            commits: VecDeque::new(),
            hashes: 0,
            forgotten: opened,
        }
    }

    fn record(&mut self, version: Version, collection: CollectionId, keys: Arc<Vec<u64>>) {
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

    fn check(&self, collection: CollectionId, keys: &[u64], read: Version) -> Result<()> {
        if read < self.forgotten {
            let message = format!("too many keys were inserted since version {read} was read");
            return Err(Error::conflict(message));
        }
        let later = self.commits.iter().rev().take_while(|c| c.0 > read);
        for (version, _, inserted) in later.filter(|c| c.1 == collection) {
            if intersect(keys, inserted) {
                let message = format!("a key was inserted by concurrent commit {version}");
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
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;
    use proptest::prelude::*;

    use super::*;
    use crate::settings::Settings;
    use crate::storage::committer::{Committer, CommitterOptions};
    use crate::storage::places::Places;
    use crate::storage::store::Store;
    use crate::storage::testing::{Dice, append, name, new_collection, new_segment, same};

    const BOOK: CollectionId = CollectionId(1);

    /// A database, what its rows should be, and the versions that slow transactions may have read.
    struct World {
        committer: Committer,
        read: Vec<Arc<Snapshot>>,
        live: BTreeSet<i64>,
        next_value: i64,
        sealed: HashMap<SegmentId, Vec<i64>>,
        dice: Dice,
    }

    impl World {
        fn values(&self, snapshot: &Snapshot, id: SegmentId) -> Vec<(u32, i64)> {
            let book = snapshot.collection(&name("book")).unwrap();
            let (values, deletes) = match book.growing_segment(id) {
                Some(growing) => {
                    let columns = growing.batches().iter().map(|b| b.column(0));
                    let values = columns.flat_map(|c| c.as_primitive::<Int64Type>().values());
                    (values.copied().collect(), growing.deletes.clone())
                }
                None => {
                    let segment = book.segment(id).unwrap();
                    (self.sealed[&id].clone(), (*segment.deletes).clone())
                }
            };
            let rows = (0..).zip(values);
            rows.filter(|(row, _)| !deletes.contains(*row)).collect()
        }

        fn segments(snapshot: &Snapshot) -> Vec<SegmentId> {
            let book = snapshot.collection(&name("book")).unwrap();
            let sealed = book.segments().map(|s| s.id);
            sealed.chain(book.growing().iter().map(|g| g.id)).collect()
        }

        /// One random transaction of somebody who read some versions ago.
        async fn step(&mut self) {
            let age = self.dice.below(6.min(self.read.len()));
            let read = Arc::clone(&self.read[self.read.len() - 1 - age]);
            match self.dice.below(20) {
                0 => {
                    let truncate = vec![Change::Truncate(BOOK)];
                    self.commit(Transaction::new(read.version(), truncate), true)
                        .await;
                    self.live.clear();
                }
                1..8 => self.append().await,
                8..15 => self.delete(&read).await,
                _ => self.replace(&read).await,
            }
            let newest = self.committer.snapshot();
            let mut found = Vec::new();
            for id in Self::segments(&newest) {
                found.extend(self.values(&newest, id).into_iter().map(|(_, value)| value));
            }
            found.sort();
            assert_eq!(found, self.live.iter().copied().collect::<Vec<_>>());
            self.read.push(newest);
        }

        async fn commit(&self, transaction: Transaction, fits: bool) {
            match self.committer.commit(transaction).await {
                Ok(_) => assert!(fits, "it should not have fitted"),
                Err(error) => {
                    assert_eq!(error.sqlstate(), "40001", "{error}");
                    assert!(!fits, "{error}");
                }
            }
        }

        async fn append(&mut self) {
            let count = 1 + self.dice.below(5) as i64;
            let values: Vec<i64> = (self.next_value..self.next_value + count).collect();
            self.next_value += count;
            let transaction = Transaction::new(Version(1), vec![append(1, &values)]);
            self.commit(transaction, true).await;
            self.live.extend(values);
        }

        async fn delete(&mut self, read: &Snapshot) {
            let mut changes = Vec::new();
            let mut deleted = Vec::new();
            for id in Self::segments(read) {
                let some = self.values(read, id);
                let some: Vec<_> = some
                    .iter()
                    .filter(|_| self.dice.below(5) == 0)
                    .copied()
                    .collect();
                if !some.is_empty() {
                    let rows = some.iter().map(|(row, _)| *row).collect();
                    changes.push(Change::Delete(BOOK, id, rows));
                    deleted.extend(some.iter().map(|(_, value)| *value));
                }
            }
            let fits = deleted.iter().all(|value| self.live.contains(value));
            self.commit(Transaction::new(read.version(), changes), fits)
                .await;
            if fits {
                self.live.retain(|value| !deleted.contains(value));
            }
        }

        async fn replace(&mut self, read: &Snapshot) {
            let mut inputs = Self::segments(read);
            self.dice.shuffle(&mut inputs);
            inputs.truncate(self.dice.below(inputs.len() + 1));
            let book = read.collection(&name("book")).unwrap();
            let mut rows = Vec::new();
            let mut row_maps: Vec<RowMap> = Vec::new();
            for (at, id) in inputs.iter().enumerate() {
                let (len, deletes) = match book.growing_segment(*id) {
                    Some(g) => (g.rows, g.deletes.clone()),
                    None => {
                        let segment = book.segment(*id).unwrap();
                        (segment.rows, (*segment.deletes).clone())
                    }
                };
                let values = self.values(read, *id);
                rows.extend(values.into_iter().map(|(row, value)| (at, row, value)));
                row_maps.push(RowMap {
                    input: *id,
                    read_deletes: deletes,
                    to: Places::new(len, 10_000),
                });
            }
            self.dice.shuffle(&mut rows);
            let size = 1 + self.dice.below(19);
            let mut outputs = Vec::new();
            for (output, chunk) in rows.chunks(size).enumerate() {
                let id = SegmentId(self.committer.allocate_id());
                for (row, (input, from, _)) in chunk.iter().enumerate() {
                    row_maps[*input].to.set(*from, (output * size + row) as u64);
                }
                let values = chunk.iter().map(|(.., value)| *value).collect();
                self.sealed.insert(id, values);
                outputs.push(new_segment(id.0, chunk.len() as u64));
            }
            let newest = self.committer.snapshot();
            let now = newest.collection(&name("book")).unwrap();
            let fits = row_maps.iter().all(|map| {
                let growing = now.growing_segment(map.input);
                let same = growing.is_some_and(|g| g.rows == map.to.rows());
                same || now.segment(map.input).is_some()
            });
            let mut transaction = Transaction::new(
                read.version(),
                vec![Change::Replace(Replace {
                    collection: BOOK,
                    inputs,
                    outputs,
                })],
            );
            transaction.row_maps = row_maps;
            self.commit(transaction, fits).await;
        }
    }

    async fn run(seed: u64, steps: usize) {
        let dir = tempfile::tempdir().unwrap();
        let open = || {
            let store = Arc::new(Store::open(dir.path()).unwrap());
            let settings = Settings::default();
            Committer::open(store, CommitterOptions::from(&settings)).unwrap()
        };
        let committer = open();
        let id = committer.allocate_id();
        let create = Change::CreateCollection(new_collection(id, "book"));
        let created = committer
            .commit(Transaction::new(Version(0), vec![create]))
            .await;
        let mut world = World {
            committer,
            read: vec![created.unwrap()],
            live: BTreeSet::new(),
            next_value: 0,
            sealed: HashMap::new(),
            dice: Dice(seed),
        };
        for _ in 0..steps {
            world.step().await;
        }
        let newest = world.committer.snapshot();
        drop(world);
        same(&open().snapshot(), &newest);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn deletes_and_replaces_in_any_order_lose_and_revive_nothing(seed in any::<u64>()) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(run(seed, 60));
        }
    }

    #[test]
    fn sorted_lists_intersect() {
        assert!(intersect(&[1, 5, 9], &[0, 2, 9, 11]));
        assert!(!intersect(&[1, 5, 9], &[0, 2, 8, 10]));
        assert!(!intersect(&[], &[1]));
        assert!(intersect(&[u64::MAX], &[0, u64::MAX]));
    }
}
