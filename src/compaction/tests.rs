//! Compaction from rows to rows, through the scheduler.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::time::Duration;

use super::depth::clustering_information;
use super::jobs::Task;
use super::policy::{JobOptions, Request};
use super::run::{Prepared, prepare};
use super::scheduler::{Scheduler, new_record};
use super::testing::{Book, EMBEDDING, KEY, Shelf, TITLE, quiet, rows_max};
use crate::storage::change::{JobKind, JobRecord, JobState};
use crate::storage::schema::{JobId, SegmentId};

mod jobs;
mod meanwhile;
mod properties;

const TIMEOUT: Option<Duration> = Some(Duration::from_secs(60));

async fn compact(scheduler: &Scheduler, shelf: &Shelf, kind: JobKind) -> JobRecord {
    let options = JobOptions::default();
    let id = scheduler
        .submit(shelf.collection, kind, options)
        .await
        .unwrap();
    scheduler.wait(id, TIMEOUT).await.unwrap()
}

/// That two lists of rows are equal; shows only where they first differ.
fn assert_same(left: &[String], right: &[String]) {
    let differs = left.iter().zip(right).find(|(l, r)| l != r);
    assert_eq!(differs, None);
    assert_eq!(left.len(), right.len());
}

fn scheduler(shelf: &Shelf) -> Scheduler {
    Scheduler::open(std::sync::Arc::clone(&shelf.engine)).unwrap()
}

/// Books whose keys come in no order, some NULL, some NaN, some zeros of either sign.
fn mixed(count: i64) -> Vec<Book> {
    let key = |id: i64| match id % 11 {
        0 => None,
        1 => Some(f64::NAN),
        2 => Some(-0.0),
        3 => Some(0.0),
        _ => Some(((id * 7_919) % 1_000) as f64 - 500.0),
    };
    (0..count).map(|id| Book::new(id, key(id))).collect()
}

#[tokio::test]
async fn clustering_keeps_every_row_and_makes_ranges_disjoint() {
    let shelf = Shelf::open(quiet(), rows_max(100), &[KEY]);
    let scheduler = scheduler(&shelf);
    for books in mixed(1_000).chunks(90) {
        shelf.insert(books);
        compact(&scheduler, &shelf, JobKind::Seal).await;
    }
    shelf.insert(&[Book::new(5_000, 3.0), Book::new(5_001, None)]);
    assert!(shelf.delete(17) && shelf.delete(170) && shelf.delete(5_001));
    let before = shelf.rows();
    let depth = clustering_information(&shelf.current(), &[KEY]).depth;
    assert!(depth.average_depth > 10.0);

    let job = compact(&scheduler, &shelf, JobKind::Cluster).await;
    assert_eq!(job.state, JobState::Succeeded, "{}", job.reason);
    assert_eq!((job.rows_in, job.rows_out), (999, 999));
    assert_same(&shelf.rows(), &before);
    let collection = shelf.current();
    assert!(collection.growing().is_empty());
    let after = clustering_information(&collection, &[KEY]);
    assert_eq!(after.unclustered_segments, 0);
    assert!(job.depth_after.unwrap() < 1.5, "{:?}", after.depth);
    assert!(
        collection
            .segments()
            .all(|s| s.rows <= 100 && s.run == Some(job.id))
    );

    let again = compact(&scheduler, &shelf, JobKind::Cluster).await;
    assert_eq!(again.state, JobState::NothingToDo);
    assert_eq!(again.reason, "every row is in one clustered run already");
    shelf.insert(&[Book::new(6_000, 1.5)]);
    let third = compact(&scheduler, &shelf, JobKind::Cluster).await;
    assert_eq!(third.state, JobState::Succeeded);
    assert_eq!(shelf.rows().len(), before.len() + 1);
}

#[tokio::test]
async fn what_searches_have_at_hand_of_inputs_they_have_of_outputs() {
    let shelf = Shelf::open(quiet(), rows_max(100), &[KEY]);
    let scheduler = scheduler(&shelf);
    let (segments, columns) = (&shelf.engine.segments, &shelf.engine.columns);
    let ids = || -> HashSet<SegmentId> { shelf.current().segments().map(|s| s.id).collect() };
    for books in mixed(300).chunks(100) {
        shelf.insert(books);
        compact(&scheduler, &shelf, JobKind::Seal).await;
    }
    compact(&scheduler, &shelf, JobKind::Cluster).await;
    assert!(!segments.is_any_mapped(&ids()), "nobody has searched");

    let collection = shelf.current();
    let segment = collection.segments().next().unwrap();
    let reader = shelf.engine.open_segment(&collection, segment).unwrap();
    let pages = reader.vector_pages(EMBEDDING).unwrap().unwrap();
    pages.vectors(0, 0..1).unwrap();
    let schema = &collection.schema;
    let kept = columns.read(segment.id, &reader, 0, schema, &[KEY]);
    assert!(kept.unwrap().is_some());
    let before = ids();
    let full = JobOptions {
        full: true,
        ..JobOptions::default()
    };
    let id = scheduler.submit(shelf.collection, JobKind::Cluster, full);
    let job = scheduler.wait(id.await.unwrap(), TIMEOUT).await.unwrap();
    assert_eq!(job.state, JobState::Succeeded, "{}", job.reason);
    for id in ids() {
        assert!(!before.contains(&id));
        let one = HashSet::from([id]);
        assert!(segments.is_any_mapped(&one));
        assert_eq!(columns.fields_of(&one), HashSet::from([KEY]));
    }
}

#[tokio::test]
async fn rows_of_a_segment_are_sorted_by_the_key() {
    let shelf = Shelf::open(quiet(), rows_max(1_000), &[KEY]);
    let scheduler = scheduler(&shelf);
    shelf.insert(&mixed(300));
    compact(&scheduler, &shelf, JobKind::Seal).await;
    let keys: Vec<String> = shelf
        .located()
        .into_iter()
        .map(|(_, _, row)| row.split('|').nth(1).unwrap().to_string())
        .collect();
    let rank = |key: &String| match key.as_str() {
        "None" => f64::INFINITY,
        "Some(NaN)" => 1e300,
        value => value[5..value.len() - 1].parse().unwrap(),
    };
    assert!(keys.is_sorted_by_key(rank), "{keys:?}");
}

#[tokio::test]
async fn without_a_clustering_key_a_merge_keeps_the_order_of_rows() {
    let shelf = Shelf::open(quiet(), rows_max(1_000), &[]);
    let scheduler = scheduler(&shelf);
    for books in mixed(300).chunks(50) {
        shelf.insert(books);
        compact(&scheduler, &shelf, JobKind::Seal).await;
    }
    let order = |shelf: &Shelf| shelf.located().into_iter().map(|r| r.2).collect::<Vec<_>>();
    let before = order(&shelf);
    let job = compact(&scheduler, &shelf, JobKind::Merge).await;
    assert_eq!(job.state, JobState::Succeeded, "{}", job.reason);
    assert_eq!((job.segments_in, job.segments_out), (6, 1));
    assert_same(&order(&shelf), &before);
    let again = compact(&scheduler, &shelf, JobKind::Merge).await;
    assert_eq!(again.state, JobState::NothingToDo);
    let refused = scheduler
        .submit(shelf.collection, JobKind::Cluster, JobOptions::default())
        .await;
    assert_eq!(refused.unwrap_err().sqlstate(), "55000");
}

#[tokio::test]
async fn odd_collections_are_clustered_too() {
    let all_null: Vec<_> = (0..250).map(|id| Book::new(id, None)).collect();
    let one_key: Vec<_> = (0..250).map(|id| Book::new(id, 7.0)).collect();
    let all_nan: Vec<_> = (0..250).map(|id| Book::new(id, f64::NAN)).collect();
    let mut no_vectors = mixed(250);
    no_vectors.iter_mut().for_each(|b| b.has_embedding = false);
    for books in [all_null, one_key, all_nan, no_vectors, mixed(1)] {
        let shelf = Shelf::open(quiet(), rows_max(100), &[KEY]);
        let scheduler = scheduler(&shelf);
        shelf.insert(&books);
        let before = shelf.rows();
        let job = compact(&scheduler, &shelf, JobKind::Cluster).await;
        assert_eq!(job.state, JobState::Succeeded, "{}", job.reason);
        assert_same(&shelf.rows(), &before);
        let again = compact(&scheduler, &shelf, JobKind::Cluster).await;
        assert_eq!(again.state, JobState::NothingToDo, "{}", again.reason);
    }
    let empty = Shelf::open(quiet(), rows_max(100), &[KEY]);
    let scheduler = scheduler(&empty);
    let job = compact(&scheduler, &empty, JobKind::Cluster).await;
    assert_eq!(job.state, JobState::NothingToDo);
    empty.insert(&mixed(1));
    assert!(empty.delete(0));
    let job = compact(&scheduler, &empty, JobKind::Cluster).await;
    assert_eq!((job.state, job.segments_out), (JobState::Succeeded, 0));
    assert!(empty.rows().is_empty());
}

#[tokio::test]
async fn huge_texts_are_spilled_within_the_budget() {
    let mut settings = quiet();
    settings.set("compaction.memory_budget", "16MiB").unwrap();
    let shelf = Shelf::open(settings, rows_max(1_000), &[TITLE]);
    let scheduler = scheduler(&shelf);
    for id in 0..60 {
        let mut book = Book::new((id * 37) % 60, 1.0);
        let length = if id % 20 == 0 { 1 << 20 } else { 300 << 10 };
        book.title = Some(format!("{:06}{}", book.id, "x".repeat(length)));
        shelf.insert(&[book]);
    }
    let before = shelf.rows();
    let job = compact(&scheduler, &shelf, JobKind::Cluster).await;
    assert_eq!(job.state, JobState::Succeeded, "{}", job.reason);
    assert_same(&shelf.rows(), &before);
    let (peak, spilled) = (job.peak_memory_bytes.unwrap(), job.spilled_bytes.unwrap());
    assert!((1 << 20..=16 << 20).contains(&peak), "{peak}");
    assert!(spilled > 1 << 20, "{spilled}");
    assert_eq!((job.overlaps_after, &job.sqlstate), (Some(0.0), &None));
}

/// The rows of a key wait until it is known to which segment they belong, but only as long as there is memory for them.
#[tokio::test]
async fn rows_of_a_frequent_key_wait_within_the_budget() {
    let mut settings = quiet();
    settings.set("compaction.memory_budget", "8MiB").unwrap();
    let shelf = Shelf::open(settings, rows_max(100_000), &[KEY]);
    let scheduler = scheduler(&shelf);
    let book = |id: i64| {
        let mut book = Book::new(id, if id % 30 == 0 { 1.0 } else { 2.0 });
        book.title = Some(format!("{id:06}{}", "x".repeat(500)));
        book
    };
    let books: Vec<Book> = (0..30_000).map(book).collect();
    books.chunks(2_000).for_each(|books| shelf.insert(books));
    let before = shelf.rows();
    let job = compact(&scheduler, &shelf, JobKind::Cluster).await;
    assert_eq!(job.state, JobState::Succeeded, "{}", job.reason);
    assert_same(&shelf.rows(), &before);
    assert_eq!((job.segments_out, job.rows_out), (1, 30_000));
    let peak = job.peak_memory_bytes.unwrap();
    assert!((1 << 20..=8 << 20).contains(&peak), "{peak}");
}

/// A clustering that has written its outputs, and not yet replaced its inputs.
async fn prepared(shelf: &Shelf) -> Prepared {
    let request = Request {
        kind: JobKind::Cluster,
        options: JobOptions {
            full: true,
            ..JobOptions::default()
        },
    };
    let id = JobId(shelf.engine.committer.allocate_id());
    let job = new_record(id, &shelf.current(), &request);
    let prepared = prepare(&shelf.engine, &job, &request, &Task::default()).await;
    prepared.unwrap().unwrap()
}
