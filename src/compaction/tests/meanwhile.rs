//! What happens to a collection while it is compacted.

use std::time::Duration;

use super::{Scheduler, TIMEOUT, assert_same, compact, mixed, prepared, scheduler};
use crate::compaction::policy::JobOptions;
use crate::compaction::run::commit;
use crate::compaction::testing::{Book, KEY, Shelf, TITLE, quiet, rows_max};
use crate::storage::change::{AlterCollection, Change, JobKind, JobState};
use crate::storage::schema::CollectionSchema;
use crate::storage::vacuum::VacuumOptions;

#[tokio::test]
async fn a_collection_that_changed_meanwhile_fails_the_job_and_leaves_no_files() {
    let shelf = Shelf::open(quiet(), rows_max(100), &[KEY]);
    let scheduler = scheduler(&shelf);
    shelf.insert(&mixed(500));
    compact(&scheduler, &shelf, JobKind::Seal).await;
    let files = shelf.files();

    let waiting = prepared(&shelf).await;
    assert!(shelf.files() > files);
    let mut schema = CollectionSchema::clone(&shelf.current().schema);
    schema.clustering_key = vec![TITLE];
    shelf.commit(Change::AlterCollection(AlterCollection {
        id: shelf.collection,
        name: None,
        schema: Some(schema),
        options: None,
    }));
    let altered = commit(&shelf.engine, waiting).await.unwrap_err();
    let expected = "the clustering key of \"book\" was changed meanwhile";
    assert_eq!((altered.message(), shelf.files()), (expected, files));

    let waiting = prepared(&shelf).await;
    shelf.commit(Change::Truncate(shelf.collection));
    let truncated = commit(&shelf.engine, waiting).await.unwrap_err();
    let expected = "collection \"book\" was truncated meanwhile";
    assert_eq!((truncated.message(), shelf.files()), (expected, files));

    shelf.insert(&mixed(10));
    let waiting = prepared(&shelf).await;
    shelf.commit(Change::DropCollection(shelf.collection));
    let dropped = commit(&shelf.engine, waiting).await.unwrap_err();
    let expected = "collection \"book\" was dropped meanwhile";
    assert_eq!((dropped.message(), shelf.files()), (expected, files));
}

#[tokio::test]
async fn deletes_that_land_meanwhile_are_neither_lost_nor_undone() {
    let shelf = Shelf::open(quiet(), rows_max(100), &[KEY]);
    let scheduler = scheduler(&shelf);
    for books in mixed(500).chunks(120) {
        shelf.insert(books);
        compact(&scheduler, &shelf, JobKind::Seal).await;
    }
    shelf.insert(
        &(500..540)
            .map(|id| Book::new(id, id as f64))
            .collect::<Vec<_>>(),
    );
    assert!((0..20).all(|id| shelf.delete(id * 3)));
    let waiting = prepared(&shelf).await;
    let meanwhile: Vec<i64> = (0..60).map(|id| id * 9 + 1).collect();
    assert!(meanwhile.iter().all(|id| shelf.delete(*id)));
    shelf.insert(&[Book::new(9_999, 1.0)]);
    let expected = shelf.rows();
    let job = commit(&shelf.engine, waiting).await.unwrap();
    assert_same(&shelf.rows(), &expected);
    assert_eq!(job.deletes_rebased, meanwhile.len() as u64);
    assert!(shelf.delete(2) && shelf.delete(9_999));
}

/// Sealed rows of a shelf whose replaced files go at once.
async fn sealed_without_retention() -> (Shelf, Scheduler) {
    let mut settings = quiet();
    settings.set("retention_duration", "0s").unwrap();
    let shelf = Shelf::open(settings, rows_max(100), &[KEY]);
    let scheduler = scheduler(&shelf);
    shelf.insert(&mixed(300));
    compact(&scheduler, &shelf, JobKind::Seal).await;
    (shelf, scheduler)
}

#[tokio::test]
async fn readers_of_an_earlier_version_are_undisturbed() {
    let (shelf, scheduler) = sealed_without_retention().await;
    let snapshot = shelf.engine.committer.snapshot();
    let earlier = snapshot.collection_by_id(shelf.collection).unwrap();
    let before = shelf.located_in(earlier);
    shelf.insert(&mixed(1));
    compact(&scheduler, &shelf, JobKind::Cluster).await;
    shelf.engine.vacuum(&VacuumOptions::default()).unwrap();
    assert_eq!(shelf.located_in(earlier), before);
}

#[tokio::test]
async fn files_go_soon_after_their_last_reader() {
    let (shelf, _scheduler) = sealed_without_retention().await;
    let reader = shelf.engine.committer.snapshot();
    let full = prepared(&shelf).await;
    commit(&shelf.engine, full).await.unwrap();
    let needed = shelf.current().segments().len();
    shelf.engine.vacuum(&VacuumOptions::default()).unwrap();
    assert!(shelf.files() > needed);
    drop(reader);
    // Well within the minute after which everything is looked at again.
    for _ in 0..200 {
        if shelf.files() == needed {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(shelf.files(), needed);
}

#[tokio::test]
async fn deletes_and_inserts_go_on_while_jobs_run() {
    let shelf = Shelf::open(quiet(), rows_max(500), &[KEY]);
    let scheduler = scheduler(&shelf);
    for books in mixed(6_000).chunks(1_000) {
        shelf.insert(books);
        compact(&scheduler, &shelf, JobKind::Seal).await;
    }
    let mut expected = shelf.rows();
    for round in 0..4_i64 {
        let id = scheduler
            .submit(shelf.collection, JobKind::Cluster, JobOptions::default())
            .await
            .unwrap();
        for i in 0..10 {
            let gone = round * 1_000 + i * 77;
            assert!(shelf.delete(gone));
            expected.retain(|row| !row.starts_with(&format!("{gone}|")));
            shelf.insert(&[Book::new(100_000 + gone, i as f64)]);
        }
        let job = scheduler.wait(id, TIMEOUT).await.unwrap();
        assert_eq!(job.state, JobState::Succeeded, "{}", job.reason);
        let old: Vec<String> = shelf
            .rows()
            .into_iter()
            .filter(|r| r.split('|').next().unwrap().len() < 6)
            .collect();
        assert_same(&old, &expected);
    }
    assert_eq!(shelf.rows().len(), 6_000);
}
