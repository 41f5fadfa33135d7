//! Random deletes and replaces against a model.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use proptest::prelude::*;

use super::*;
use crate::settings::Settings;
use crate::storage::change::Replace;
use crate::storage::committer::{Committer, CommitterOptions};
use crate::storage::places::Places;
use crate::storage::store::Store;
use crate::storage::testing::{Dice, append, name, new_collection, new_segment, same};
use crate::storage::transaction::Transaction;

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
