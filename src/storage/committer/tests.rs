//! Commits, groups of them, and what is found after a reopen.
#![allow(clippy::unwrap_used)]
use std::path::Path;

use super::*;
use crate::storage::change::{AlterCollection, Change, Commit, Replace};
use crate::storage::index::{FilterPlace, SegmentFilter};
use crate::storage::places::Places;
use crate::storage::schema::{FieldId, FilterId, IndexId};
use crate::storage::testing::{
    append, delete, describe, growing_ids, index, name, new_collection, new_segment, same,
};

fn options() -> CommitterOptions {
    CommitterOptions::from(&Settings::default())
}

fn open(path: &Path) -> Committer {
    open_with(path, options())
}

fn open_with(path: &Path, options: CommitterOptions) -> Committer {
    Committer::open(Arc::new(Store::open(path).unwrap()), options).unwrap()
}

async fn commit(committer: &Committer, changes: Vec<Change>) -> Result<Arc<Snapshot>> {
    let read = committer.snapshot().version();
    committer.commit(Transaction::new(read, changes)).await
}

/// A committer with an empty collection 1.
async fn with_book(path: &Path) -> Committer {
    let committer = open(path);
    assert_eq!(committer.allocate_id(), 1);
    let create = Change::CreateCollection(new_collection(1, "book"));
    commit(&committer, vec![create]).await.unwrap();
    committer
}

fn ids(snapshot: &Snapshot) -> Vec<i64> {
    growing_ids(snapshot.collection(&name("book")).unwrap())
}

#[tokio::test]
async fn what_was_committed_is_there_after_every_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let mut committer = with_book(dir.path()).await;
    for round in 0..4 {
        let before = committer.snapshot();
        for id in 0..5 {
            let change = append(1, &[round * 5 + id]);
            commit(&committer, vec![change]).await.unwrap();
        }
        let segment = committer
            .snapshot()
            .collection(&name("book"))
            .unwrap()
            .growing()[0]
            .id;
        let row = u32::try_from(round).unwrap();
        commit(&committer, vec![delete(1, segment.0, &[row])])
            .await
            .unwrap();
        assert_eq!(ids(&before).len(), round as usize * 4);
        let snapshot = committer.snapshot();
        let next_id = snapshot.next_id();
        drop(committer);
        committer = open(dir.path());
        same(&committer.snapshot(), &snapshot);
        assert!(committer.allocate_id() >= next_id);
    }
    assert_eq!(ids(&committer.snapshot()), (4..20).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_committers_share_writes_and_each_gets_its_own_version() {
    let dir = tempfile::tempdir().unwrap();
    let committer = with_book(dir.path()).await;
    let tasks: Vec<_> = (0..64)
        .map(|task| {
            let committer = committer.clone();
            tokio::spawn(async move {
                let mut versions = Vec::new();
                for round in 0..10 {
                    let change = append(1, &[task * 10 + round]);
                    let snapshot = commit(&committer, vec![change]).await.unwrap();
                    assert!(ids(&snapshot).contains(&(task * 10 + round)));
                    versions.push(snapshot.version().0);
                }
                versions
            })
        })
        .collect();
    let mut versions = Vec::new();
    for task in tasks {
        versions.extend(task.await.unwrap());
    }
    versions.sort();
    assert_eq!(versions, (2..642).collect::<Vec<_>>());
    let snapshot = committer.snapshot();
    drop(committer);
    let mut found = ids(&open(dir.path()).snapshot());
    assert_eq!(found, ids(&snapshot));
    found.sort();
    assert_eq!(found, (0..640).collect::<Vec<_>>());
}

#[tokio::test]
async fn checkpoints_replace_the_log_behind_them() {
    let dir = tempfile::tempdir().unwrap();
    drop(with_book(dir.path()).await);
    let options = CommitterOptions {
        retention: Duration::ZERO,
        checkpoint_commits: 7,
        ..options()
    };
    let mut committer = open_with(dir.path(), options.clone());
    for id in 0..100 {
        commit(&committer, vec![append(1, &[id])]).await.unwrap();
        if id % 10 == 9 {
            let snapshot = committer.snapshot();
            drop(committer);
            committer = open_with(dir.path(), options.clone());
            same(&committer.snapshot(), &snapshot);
        }
    }
    let snapshot = committer.snapshot();
    drop(committer);
    let count = |name: &str| std::fs::read_dir(dir.path().join(name)).unwrap().count();
    assert_eq!(count("checkpoint"), 2);
    assert!(count("log") < 10, "{} log files", count("log"));
    // The newest checkpoint is damaged: the one before it and the log give the same.
    let store = Store::open(dir.path()).unwrap();
    let directory = store.checkpoint_dir();
    let files = super::super::log::numbered_files(store.files(), &directory, "ckpt").unwrap();
    let newest = &files.last().unwrap().1;
    let mut bytes = std::fs::read(newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(newest, bytes).unwrap();
    drop(store);
    same(&open(dir.path()).snapshot(), &snapshot);
}

#[tokio::test]
async fn indexes_and_their_files_live_as_long_as_they_are_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let book = CollectionId(1);
    let options = CommitterOptions {
        retention: Duration::ZERO,
        checkpoint_commits: 4,
        ..options()
    };
    drop(with_book(dir.path()).await);
    let mut committer = open_with(dir.path(), options.clone());
    let store = || Arc::clone(&committer.inner.shared.store);
    let file = |id| {
        let (store, id) = (store(), FilterId(id));
        let new = store.create(store.filter_path(book, id)).unwrap();
        new.publish().unwrap();
    };
    let filter = |id| SegmentFilter {
        field: FieldId(1),
        bytes: 32,
        place: FilterPlace::File {
            id: FilterId(id),
            crc32c: 7,
        },
    };
    let first = |id| Change::AddFilters(book, SegmentId(2), vec![filter(id)]);
    let load = Change::AddSegments(book, vec![new_segment(2, 5), new_segment(3, 5)]);
    commit(&committer, vec![load]).await.unwrap();
    let early = commit(&committer, vec![first(4)]).await.unwrap_err();
    assert_eq!(early.sqlstate(), "40001");
    let create = Change::CreateIndex(book, index(10, "book_id_idx"));
    commit(&committer, vec![create.clone()]).await.unwrap();
    let again = commit(&committer, vec![create]).await.unwrap_err();
    assert_eq!(again.sqlstate(), "42P07");
    let table = Change::CreateCollection(new_collection(11, "book_id_idx"));
    let taken = commit(&committer, vec![table]).await.unwrap_err();
    assert_eq!(taken.sqlstate(), "42P07");
    let rename = Change::RenameIndex(book, IndexId(10), "by_id".to_string());
    commit(&committer, vec![rename, first(12)]).await.unwrap();
    let twice = commit(&committer, vec![first(13)]).await.unwrap_err();
    assert_eq!(twice.sqlstate(), "40001");
    file(12);
    // Nothing names this one: the next open removes it.
    file(14);
    let before = committer.snapshot();
    drop(committer);
    committer = open_with(dir.path(), options);
    same(&committer.snapshot(), &before);
    let store = Arc::clone(&committer.inner.shared.store);
    let exists = |id| store.filter_path(book, FilterId(id)).exists();
    assert_eq!([12, 14].map(exists), [true, false]);
    assert!(committer.allocate_id() > 14);
    drop(before);
    let snapshot = commit(&committer, vec![Change::DropIndex(book, IndexId(10))]).await;
    let collection = Arc::clone(snapshot.unwrap().collection_by_id(book).unwrap());
    assert!(collection.indexes().is_empty());
    assert!(collection.segments().all(|s| s.filters.is_empty()));
    commit(&committer, vec![append(1, &[1])]).await.unwrap();
    assert_eq!(
        committer.vacuum(&VacuumOptions::default()).unwrap().filters,
        [FilterId(12)]
    );
    assert!(!exists(12));
}

#[tokio::test]
async fn any_prefix_of_the_log_is_a_prefix_of_history() {
    let dir = tempfile::tempdir().unwrap();
    let committer = with_book(dir.path()).await;
    let mut history = vec![describe(&Snapshot::empty())];
    history.push(describe(&committer.snapshot()));
    for id in 0..8 {
        let snapshot = commit(&committer, vec![append(1, &[id, id])])
            .await
            .unwrap();
        history.push(describe(&snapshot));
        let segment = snapshot.collection(&name("book")).unwrap().growing()[0].id;
        let row = u32::try_from(id).unwrap();
        let change = delete(1, segment.0, &[row]);
        history.push(describe(&commit(&committer, vec![change]).await.unwrap()));
    }
    drop(committer);
    let log = dir.path().join("log/00000000000000000001.log");
    let bytes = std::fs::read(&log).unwrap();
    let end = bytes.iter().rposition(|b| *b != 0).unwrap() + 8;
    let mut found = std::collections::BTreeSet::new();
    for length in (32..end).step_by(37).chain([end]) {
        std::fs::write(&log, &bytes[..length]).unwrap();
        let snapshot = open(dir.path()).snapshot();
        let version = snapshot.version().0;
        assert_eq!(describe(&snapshot), history[version as usize]);
        found.insert(version);
    }
    assert_eq!(found, (0..history.len() as u64).collect());
}

async fn commit_soon(committer: &Committer, id: i64) {
    let read = committer.snapshot().version();
    let mut transaction = Transaction::new(read, vec![append(1, &[id])]);
    transaction.durability = Durability::Soon;
    let snapshot = committer.commit(transaction).await.unwrap();
    assert!(
        ids(&snapshot).contains(&id),
        "{id} is seen when it is answered"
    );
}

/// What a process would find that opened the files as they are now.
fn ids_on_disk(path: &Path) -> Vec<i64> {
    let copy = tempfile::tempdir().unwrap();
    for directory in ["log", "checkpoint"] {
        std::fs::create_dir(copy.path().join(directory)).unwrap();
        for entry in std::fs::read_dir(path.join(directory)).unwrap() {
            let file = entry.unwrap();
            let target = copy.path().join(directory).join(file.file_name());
            std::fs::copy(file.path(), target).unwrap();
        }
    }
    std::fs::copy(path.join("LOCK"), copy.path().join("LOCK")).unwrap();
    ids(&open(copy.path()).snapshot())
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_that_nobody_waits_for_reach_the_disk_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let committer = with_book(dir.path()).await;
    for id in 0..20 {
        commit_soon(&committer, id).await;
    }
    // One that waits takes those before it along.
    commit(&committer, vec![append(1, &[20])]).await.unwrap();
    assert_eq!(ids_on_disk(dir.path()), (0..=20).collect::<Vec<_>>());
    for id in 21..200 {
        commit_soon(&committer, id).await;
        let found = ids_on_disk(dir.path());
        assert_eq!(found, (0..found.len() as i64).collect::<Vec<_>>());
    }
    // Without others they are written after a while.
    let written = async {
        while ids_on_disk(dir.path()).len() < 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let written = tokio::time::timeout(Duration::from_secs(60), written).await;
    written.expect("commits are written although nobody waits");
    commit_soon(&committer, 200).await;
    drop(committer);
    let committer = open(dir.path());
    assert_eq!(ids(&committer.snapshot()), (0..=200).collect::<Vec<_>>());
}

/// A crash may bring back what a commit removed that was not written: its files stay until it is.
#[test]
fn files_stay_until_the_commit_that_removes_them_is_written() {
    let retired = |written: u64| {
        let snapshot = |version| {
            let mut snapshot = Snapshot::default();
            let commit = |version, changes| Commit {
                version: Version(version),
                timestamp_ms: 0,
                changes,
            };
            let create = Change::CreateCollection(new_collection(1, "book"));
            snapshot = snapshot.apply(&commit(1, vec![create])).unwrap();
            if version > 1 {
                let add = Change::AddSegments(CollectionId(1), vec![new_segment(2, 10)]);
                snapshot = snapshot.apply(&commit(2, vec![add])).unwrap();
            }
            Arc::new(snapshot)
        };
        let truncate = Commit {
            version: Version(3),
            timestamp_ms: 0,
            changes: vec![Change::Truncate(CollectionId(1))],
        };
        let mut history = History::new(snapshot(2), Duration::ZERO);
        let after = history.newest().apply(&truncate).unwrap();
        history.push(Arc::new(after), &truncate);
        history.written(Version(written));
        history.take_unreachable(None).len()
    };
    assert_eq!((retired(2), retired(3)), (0, 1));
}

/// All rows of the collection become one, with another definition.
fn rewrite(read: &Snapshot) -> Transaction {
    let book = read.collection(&name("book")).unwrap();
    let mut schema = (*book.schema).clone();
    schema.columns[0].default = Some("9".to_string());
    let alter = AlterCollection {
        id: book.id,
        name: None,
        schema: Some(schema),
        options: None,
    };
    let emptied = Change::Truncate(book.id);
    let changes = vec![emptied, Change::AlterCollection(alter), append(1, &[9])];
    Transaction::new(read.version(), changes)
}

#[tokio::test]
async fn rows_that_come_or_go_meanwhile_keep_a_collection_from_being_rewritten() {
    let dir = tempfile::tempdir().unwrap();
    let committer = with_book(dir.path()).await;
    let before = commit(&committer, vec![append(1, &[1, 2])]).await.unwrap();
    let segment = before.collection(&name("book")).unwrap().growing()[0].id;
    for meanwhile in [append(1, &[3]), delete(1, segment.0, &[0])] {
        let read = committer.snapshot();
        commit(&committer, vec![meanwhile]).await.unwrap();
        let error = committer.commit(rewrite(&read)).await.unwrap_err();
        assert_eq!(error.sqlstate(), "40001");
    }
    let newest = committer.snapshot();
    let after = committer.commit(rewrite(&newest)).await.unwrap();
    assert_eq!(ids(&after), [9]);
}

#[tokio::test]
async fn a_transaction_that_does_not_fit_fails_alone() {
    let dir = tempfile::tempdir().unwrap();
    let committer = with_book(dir.path()).await;
    let read = committer.snapshot().version();
    let good = committer.commit(Transaction::new(read, vec![append(1, &[1])]));
    let bad = committer.commit(Transaction::new(
        read,
        vec![Change::CreateCollection(new_collection(1, "book"))],
    ));
    let gone = committer.commit(Transaction::new(read, vec![append(9, &[1])]));
    let (good, bad, gone) = tokio::join!(good, bad, gone);
    assert_eq!(ids(&good.unwrap()), [1]);
    assert_eq!(bad.unwrap_err().sqlstate(), "42P07");
    assert_eq!(gone.unwrap_err().sqlstate(), "40001");
    let empty = committer.commit(Transaction::new(read, vec![])).await;
    assert_eq!(empty.unwrap().version(), Version(2));
}

#[tokio::test]
async fn the_same_key_twice_is_a_conflict_and_later_it_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let committer = with_book(dir.path()).await;
    let read = committer.snapshot().version();
    let insert = |read, keys: Vec<u64>| {
        let mut transaction = Transaction::new(read, vec![append(1, &[1])]);
        transaction.keys.inserted = vec![(CollectionId(1), Arc::new(keys))];
        committer.commit(transaction)
    };
    insert(read, vec![1, 5, 9]).await.unwrap();
    insert(read, vec![2, 6]).await.unwrap();
    let error = insert(read, vec![0, 6, 7]).await.unwrap_err();
    assert_eq!(error.sqlstate(), "40001");
    let read = committer.snapshot().version();
    insert(read, vec![0, 6, 7]).await.unwrap();
    assert!(insert(Version(0), vec![100]).await.is_err());
}

#[tokio::test]
async fn a_frozen_segment_grows_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let committer = with_book(dir.path()).await;
    commit(&committer, vec![append(1, &[1, 2])]).await.unwrap();
    let first = committer
        .snapshot()
        .collection(&name("book"))
        .unwrap()
        .growing()[0]
        .id;
    let frozen = committer.freeze(CollectionId(1), first).await.unwrap();
    assert_eq!(ids(&frozen), [1, 2]);
    let two = vec![append(1, &[3]), append(1, &[4])];
    let after = commit(&committer, two).await.unwrap();
    let book = after.collection(&name("book")).unwrap();
    assert_eq!(book.growing().len(), 2);
    assert_eq!(book.growing_segment(first).unwrap().rows, 2);
    let missing = committer.freeze(CollectionId(1), SegmentId(99)).await;
    assert_eq!(missing.unwrap_err().sqlstate(), "40001");
    // Sealing it is a replace that no append can disturb.
    let mut seal = Transaction::new(
        frozen.version(),
        vec![Change::Replace(Replace {
            collection: CollectionId(1),
            inputs: vec![first],
            outputs: vec![new_segment(50, 2)],
        })],
    );
    let mut to = Places::new(2, 2);
    to.set(0, 1);
    to.set(1, 0);
    seal.row_maps = vec![RowMap {
        input: first,
        read_deletes: Default::default(),
        to,
    }];
    // A delete that lands before the seal is carried, one that lands after it is sent on.
    commit(&committer, vec![delete(1, first.0, &[0])])
        .await
        .unwrap();
    let sealed = committer.commit(seal).await.unwrap();
    let segment = |s: &Snapshot| {
        let book = s.collection(&name("book")).unwrap();
        book.segment(SegmentId(50))
            .unwrap()
            .deletes
            .iter()
            .collect::<Vec<_>>()
    };
    assert_eq!(segment(&sealed), [1]);
    let late = Transaction::new(frozen.version(), vec![delete(1, first.0, &[1])]);
    let after = committer.commit(late).await.unwrap();
    assert_eq!(segment(&after), [0, 1]);
    let twice = Transaction::new(frozen.version(), vec![delete(1, first.0, &[1])]);
    let error = committer.commit(twice).await.unwrap_err();
    assert_eq!(error.sqlstate(), "40001");
    drop(committer);
    same(&open(dir.path()).snapshot(), &after);
}

#[tokio::test]
async fn versions_can_be_queried_and_vacuum_spares_their_files() {
    let dir = tempfile::tempdir().unwrap();
    let committer = with_book(dir.path()).await;
    let store = Arc::clone(&committer.inner.shared.store);
    let file = store.create_segment(CollectionId(1), SegmentId(7)).unwrap();
    file.publish().unwrap();
    let add = Change::AddSegments(CollectionId(1), vec![new_segment(7, 3)]);
    commit(&committer, vec![add]).await.unwrap();
    let read = committer.snapshot().version();
    commit(&committer, vec![Change::Truncate(CollectionId(1))])
        .await
        .unwrap();
    assert_eq!(
        committer.vacuum(&VacuumOptions::default()).unwrap(),
        Vacuumed::default()
    );
    let past = committer.snapshot_at(read).unwrap();
    assert_eq!(past.collection(&name("book")).unwrap().live_rows(), 3);
    let future = committer.snapshot_at(Version(99)).unwrap_err();
    assert_eq!(future.sqlstate(), "42704");
    drop((past, committer, store));
    let reopened = open(dir.path());
    let past = reopened.snapshot_at(read).unwrap();
    assert_eq!(past.collection(&name("book")).unwrap().live_rows(), 3);
    assert!(dir.path().join("segments/1/7.parquet").exists());
    drop((past, reopened));
    let reopened = open_with(
        dir.path(),
        CommitterOptions {
            retention: Duration::ZERO,
            ..options()
        },
    );
    let gone = reopened.snapshot_at(read).unwrap_err();
    assert_eq!(gone.sqlstate(), "72000");
    assert!(!dir.path().join("segments/1/7.parquet").exists());
}

#[tokio::test]
async fn after_a_failed_write_the_database_is_read_only() {
    let dir = tempfile::tempdir().unwrap();
    let committer = with_book(dir.path()).await;
    let shared = &committer.inner.shared;
    shared.failed.set("sync failed".to_string()).unwrap();
    let error = commit(&committer, vec![append(1, &[1])]).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.sqlstate()),
        (ErrorKind::Unavailable, "58030")
    );
    assert_eq!(committer.snapshot().version(), Version(1));
    drop(committer);
    let reopened = open(dir.path());
    commit(&reopened, vec![append(1, &[1])]).await.unwrap();
}
