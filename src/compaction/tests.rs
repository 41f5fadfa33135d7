//! Compaction from rows to rows, through the scheduler.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::depth::{clustering_information, key_range};
use super::jobs::Task;
use super::policy::{JobOptions, KeyRange, Request, Scope};
use super::run::{Prepared, commit, prepare};
use super::scheduler::{Scheduler, new_record};
use super::testing::{Book, KEY, Shelf, TITLE, quiet, rows_max};
use crate::settings::ByteSize;
use crate::storage::change::{AlterCollection, Change, JobKind, JobRecord, JobState};
use crate::storage::collection::Collection;
use crate::storage::schema::{CollectionSchema, JobId};
use crate::storage::stats::Bound;
use crate::storage::vacuum::VacuumOptions;

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

#[tokio::test]
async fn a_clustering_that_takes_too_long_fails_and_changes_nothing() {
    let mut settings = quiet();
    settings
        .set("compaction.clustering.timeout", "1ms")
        .unwrap();
    let shelf = Shelf::open(settings, rows_max(100), &[KEY]);
    let scheduler = scheduler(&shelf);
    shelf.insert(&mixed(5_000));
    compact(&scheduler, &shelf, JobKind::Seal).await;
    let (before, files) = (shelf.rows(), shelf.files());
    let job = compact(&scheduler, &shelf, JobKind::Cluster).await;
    assert_eq!(job.state, JobState::Failed);
    assert!(job.reason.contains("its timeout of 1ms"), "{}", job.reason);
    assert_eq!(shelf.files(), files);
    assert_same(&shelf.rows(), &before);
}

#[tokio::test]
async fn clustering_starts_by_itself_and_says_why_it_does_not() {
    let mut settings = quiet();
    for (name, value) in [
        ("compaction.auto", "on"),
        ("compaction.clustering.auto", "on"),
        ("compaction.clustering.trigger_interval", "20ms"),
        ("compaction.clustering.new_data_size_threshold", "1kB"),
    ] {
        settings.set(name, value).unwrap();
    }
    let shelf = Shelf::open(settings, rows_max(100), &[KEY]);
    let scheduler = scheduler(&shelf);
    shelf.insert(&mixed(1_000));
    compact(&scheduler, &shelf, JobKind::Seal).await;
    let before = shelf.rows();
    let said = |text: &str| scheduler.rounds().iter().any(|r| r.reason.contains(text));
    for _ in 0..3_000 {
        if said("min_interval (1h)") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(said("min_interval (1h)"), "{:?}", scheduler.rounds());
    assert!(scheduler.rounds().iter().any(|r| r.job.is_some()));
    let after = clustering_information(&shelf.current(), &[KEY]);
    assert_eq!(after.unclustered_segments, 0);
    assert_same(&shelf.rows(), &before);
}

#[tokio::test]
async fn a_collection_can_be_compacted_by_itself_where_others_are_not() {
    let mut options = rows_max(100);
    for (name, value) in [("compaction.auto", "on"), ("growing.max_size", "1B")] {
        let own = &mut options.own_settings;
        own.insert(name.to_string(), value.to_string());
    }
    let shelf = Shelf::open(quiet(), options, &[KEY]);
    let plain = Shelf::open(quiet(), rows_max(100), &[KEY]);
    let (_scheduler, _other) = (scheduler(&shelf), scheduler(&plain));
    shelf.insert(&mixed(10));
    plain.insert(&mixed(10));
    for _ in 0..1_000 {
        if shelf.current().growing().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(shelf.current().growing().is_empty());
    assert!(!plain.current().growing().is_empty());
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

#[tokio::test]
async fn jobs_are_known_by_their_ids() {
    let shelf = Shelf::open(quiet(), rows_max(100), &[KEY]);
    let scheduler = scheduler(&shelf);
    let unknown = scheduler.wait(JobId(999), TIMEOUT).await.unwrap_err();
    assert_eq!(unknown.sqlstate(), "42704");
    assert_eq!(
        scheduler.cancel(JobId(999)).unwrap_err().sqlstate(),
        "42704"
    );
    let job = compact(&scheduler, &shelf, JobKind::Merge).await;
    assert_eq!(job.state, JobState::NothingToDo);
    assert_eq!(scheduler.cancel(job.id).unwrap_err().sqlstate(), "55000");
    assert_eq!(scheduler.wait(job.id, TIMEOUT).await.unwrap(), job);
    assert!(scheduler.progress(job.id).is_none());
}

#[tokio::test]
async fn readers_of_an_earlier_version_are_undisturbed() {
    let mut settings = quiet();
    settings.set("retention_duration", "0s").unwrap();
    let shelf = Shelf::open(settings, rows_max(100), &[KEY]);
    let scheduler = scheduler(&shelf);
    shelf.insert(&mixed(300));
    compact(&scheduler, &shelf, JobKind::Seal).await;
    let snapshot = shelf.engine.committer.snapshot();
    let earlier = snapshot.collection_by_id(shelf.collection).unwrap();
    let before = shelf.located_in(earlier);
    shelf.insert(&mixed(1));
    compact(&scheduler, &shelf, JobKind::Cluster).await;
    shelf.engine.vacuum(&VacuumOptions::default()).unwrap();
    assert_eq!(shelf.located_in(earlier), before);
}

#[tokio::test]
async fn asking_again_while_a_job_runs_gives_the_running_job() {
    let shelf = Shelf::open(quiet(), rows_max(1_000), &[KEY]);
    let scheduler = scheduler(&shelf);
    shelf.insert(&mixed(20_000));
    let options = JobOptions::default();
    let submit = |kind| scheduler.submit(shelf.collection, kind, options.clone());
    let first = submit(JobKind::Cluster).await.unwrap();
    let merge = submit(JobKind::Merge).await.unwrap();
    let again = submit(JobKind::Cluster).await.unwrap();
    assert_eq!(first, again);
    assert_ne!(first, merge);
    let state = |id| shelf.engine.committer.snapshot().job(id).unwrap().state;
    assert!(matches!(state(merge), JobState::Queued | JobState::Running));
    let progress = scheduler.progress(first).unwrap();
    assert!(progress.part_done() <= 1.0);
    let clustered = scheduler.wait(first, TIMEOUT).await.unwrap();
    let merged = scheduler.wait(merge, TIMEOUT).await.unwrap();
    assert_eq!(clustered.state, JobState::Succeeded);
    assert!(
        merged.started_ms >= clustered.finished_ms,
        "{clustered:?} overlaps {merged:?}"
    );
    assert_eq!(state(merge), merged.state);
}

#[tokio::test]
async fn a_request_for_more_than_the_running_job_does_waits_for_it() {
    let shelf = Shelf::open(quiet(), rows_max(1_000), &[KEY]);
    let scheduler = scheduler(&shelf);
    shelf.insert(&mixed(20_000));
    let submit = |options: JobOptions| {
        let id = scheduler.submit(shelf.collection, JobKind::Cluster, options);
        async { id.await.unwrap() }
    };
    let plain = JobOptions::default;
    let full = || JobOptions {
        full: true,
        ..plain()
    };
    let sized = || JobOptions {
        target_size: Some(ByteSize::mib(1)),
        ..plain()
    };
    let first = submit(plain()).await;
    let rewrite = submit(full()).await;
    let smaller = submit(sized()).await;
    assert!(first < rewrite && rewrite < smaller);
    assert_eq!(scheduler.waits_for(rewrite), Some(first));
    assert_eq!(scheduler.waits_for(smaller), Some(rewrite));
    assert_eq!(scheduler.waits_for(first), None);
    assert_eq!(submit(full()).await, rewrite);
    assert_eq!(submit(sized()).await, smaller);
    assert_eq!(submit(plain()).await, first);
    scheduler.cancel(smaller).unwrap();
    let mut ended = Vec::new();
    for id in [first, rewrite, smaller] {
        ended.push(scheduler.wait(id, TIMEOUT).await.unwrap());
    }
    let states: Vec<JobState> = ended.iter().map(|job| job.state).collect();
    let expected = [
        JobState::Succeeded,
        JobState::Succeeded,
        JobState::Cancelled,
    ];
    assert_eq!(states, expected);
    assert!(ended[1].started_ms >= ended[0].finished_ms);
    assert_eq!(ended[2].started_ms, None);
}

#[tokio::test]
async fn a_cancelled_job_changes_nothing_and_leaves_no_files() {
    let shelf = Shelf::open(quiet(), rows_max(1_000), &[KEY]);
    let scheduler = scheduler(&shelf);
    shelf.insert(&mixed(50_000));
    let before = shelf.rows();
    let options = JobOptions::default();
    let id = scheduler
        .submit(shelf.collection, JobKind::Cluster, options.clone())
        .await
        .unwrap();
    let waiting = scheduler.submit(shelf.collection, JobKind::Merge, options);
    let waiting = waiting.await.unwrap();
    let short = scheduler.wait(waiting, Some(Duration::ZERO)).await;
    assert_eq!(short.unwrap_err().sqlstate(), "57014");
    scheduler.cancel(waiting).unwrap();
    let waiting = scheduler.wait(waiting, TIMEOUT).await.unwrap();
    assert_eq!(waiting.state, JobState::Cancelled);
    scheduler.cancel(id).unwrap();
    let job = scheduler.wait(id, TIMEOUT).await.unwrap();
    assert_eq!(
        (job.state, &*job.reason),
        (JobState::Cancelled, "cancelled on request")
    );
    assert_eq!(shelf.files(), 0);
    assert_same(&shelf.rows(), &before);
}

#[tokio::test]
async fn closing_stops_jobs_and_opening_fails_what_was_interrupted() {
    let shelf = Shelf::open(quiet(), rows_max(1_000), &[KEY]);
    shelf.insert(&mixed(50_000));
    let first = scheduler(&shelf);
    let options = JobOptions::default();
    let id = first
        .submit(shelf.collection, JobKind::Cluster, options.clone())
        .await
        .unwrap();
    drop(first);
    let job = JobRecord::clone(shelf.engine.committer.snapshot().job(id).unwrap());
    assert_eq!(
        (job.state, &*job.reason),
        (JobState::Cancelled, "the database was closed")
    );
    assert_eq!(shelf.files(), 0);

    let mut crashed = job.clone();
    crashed.state = JobState::Running;
    shelf.commit(Change::Job(crashed));
    let second = scheduler(&shelf);
    let job = second.wait(id, TIMEOUT).await.unwrap();
    assert_eq!(job.state, JobState::Failed);
    assert!(job.reason.starts_with("interrupted"), "{}", job.reason);
}

#[tokio::test]
async fn growing_rows_and_small_segments_are_looked_after() {
    let mut settings = quiet();
    settings.compaction_auto = true;
    settings.set("growing.max_age", "20ms").unwrap();
    let shelf = Shelf::open(settings, rows_max(1_000), &[KEY]);
    let scheduler = scheduler(&shelf);
    for books in mixed(90).chunks(10) {
        shelf.insert(books);
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    let before = shelf.rows();
    for _ in 0..200 {
        let collection = shelf.current();
        if collection.growing().is_empty() && collection.segments().len() < 8 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let collection = shelf.current();
    assert!(collection.growing().is_empty());
    assert!(collection.segments().len() < 8);
    assert_same(&shelf.rows(), &before);
    drop(scheduler);
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_collection_keeps_its_rows(
        books in prop::collection::vec(book(), 0..300),
        parts in 1_usize..6,
        segment_rows in 5_u64..120,
        kinds in prop::collection::vec(0_u8..3, 1..4),
        deletes in prop::collection::vec(0_i64..300, 0..60),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(keeps_rows(books, parts, segment_rows, kinds, deletes));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn limited_compactions_keep_rows_and_limits_and_end(
        books in prop::collection::vec(book(), 1..300),
        parts in 1_usize..8,
        segment_rows in 5_u64..120,
        clusters in prop::collection::vec(any::<bool>(), 1..4),
        low in -6_i32..6,
        width in 0_i32..6,
        limit in 1_000_u64..100_000,
    ) {
        let bound = |v: i32| Some(Bound::Float(f64::from(v).to_bits()));
        let scope = Scope {
            ranges: vec![KeyRange { field: KEY, low: bound(low), high: bound(low + width) }],
            bytes_max: Some(ByteSize(limit)),
        };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(keeps_limits(books, parts, segment_rows, clusters, scope));
    }
}

async fn keeps_limits(
    mut books: Vec<Book>,
    parts: usize,
    segment_rows: u64,
    clusters: Vec<bool>,
    scope: Scope,
) {
    const JOBS_MAX: usize = 300;
    let shelf = Shelf::open(quiet(), rows_max(segment_rows), &[KEY, TITLE]);
    let scheduler = scheduler(&shelf);
    books
        .iter_mut()
        .zip(0..)
        .for_each(|(book, id)| book.id = id);
    for part in books.chunks(books.len().div_ceil(parts).max(1)) {
        shelf.insert(part);
        compact(&scheduler, &shelf, JobKind::Seal).await;
    }
    let before = shelf.rows();
    for cluster in clusters {
        let kind = match cluster {
            true => JobKind::Cluster,
            false => JobKind::Merge,
        };
        let mut jobs = 0;
        loop {
            let known: Vec<_> = shelf.current().segments().cloned().collect();
            let options = JobOptions {
                scope: scope.clone(),
                ..JobOptions::default()
            };
            let id = scheduler.submit(shelf.collection, kind, options).await;
            let job = scheduler.wait(id.unwrap(), TIMEOUT).await.unwrap();
            assert_same(&shelf.rows(), &before);
            assert!(Some(ByteSize(job.bytes_in)) <= scope.bytes_max, "{job:?}");
            let now = shelf.current();
            let gone = known.iter().filter(|s| now.segment(s.id).is_none());
            assert!(gone.into_iter().all(|s| scope.reaches(&now, s)));
            assert_runs_are_in_order(&now);
            if job.state == JobState::NothingToDo {
                break;
            }
            assert_eq!(job.state, JobState::Succeeded, "{}", job.reason);
            jobs += 1;
            assert!(jobs < JOBS_MAX, "no end of {kind:?}: {}", job.reason);
        }
    }
}

/// That the ranges of each run meet at their ends at the most.
fn assert_runs_are_in_order(collection: &Collection) {
    let mut runs: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for segment in collection.segments().filter(|s| s.run.is_some()) {
        // Titles are long, and their bounds truncated.
        let range = key_range(collection, segment, &[KEY]);
        runs.entry(segment.run).or_default().push(range);
    }
    for mut ranges in runs.into_values() {
        ranges.sort();
        let in_order = |pair: &[(_, _)]| pair[0].1 <= pair[1].0;
        assert!(ranges.windows(2).all(in_order), "{ranges:?}");
    }
}

fn book() -> impl Strategy<Value = Book> {
    let key = prop_oneof![
        Just(None),
        Just(Some(f64::NAN)),
        Just(Some(-0.0)),
        Just(Some(0.0)),
        Just(Some(f64::MIN)),
        (-5_i32..5).prop_map(|v| Some(f64::from(v))),
        any::<f64>().prop_map(Some),
    ];
    let title = prop::option::of("[a-c]{0,3}|x{2000}");
    (key, title, any::<bool>()).prop_map(|(key, title, has_embedding)| Book {
        id: 0,
        key,
        title,
        has_embedding,
    })
}

async fn keeps_rows(
    mut books: Vec<Book>,
    parts: usize,
    segment_rows: u64,
    kinds: Vec<u8>,
    deletes: Vec<i64>,
) {
    let shelf = Shelf::open(quiet(), rows_max(segment_rows), &[KEY, TITLE]);
    let scheduler = scheduler(&shelf);
    books
        .iter_mut()
        .zip(0..)
        .for_each(|(book, id)| book.id = id);
    for part in books.chunks(books.len().div_ceil(parts).max(1)) {
        shelf.insert(part);
        compact(&scheduler, &shelf, JobKind::Seal).await;
    }
    deletes.iter().take(30).for_each(|id| {
        shelf.delete(*id);
    });
    for kind in kinds {
        let before = shelf.rows();
        let kind = [JobKind::Seal, JobKind::Merge, JobKind::Cluster][usize::from(kind)];
        let job = compact(&scheduler, &shelf, kind).await;
        assert!(
            matches!(job.state, JobState::Succeeded | JobState::NothingToDo),
            "{}",
            job.reason
        );
        assert_same(&shelf.rows(), &before);
        let again = compact(&scheduler, &shelf, kind).await;
        assert_eq!(
            again.state,
            JobState::NothingToDo,
            "{kind:?}: {}",
            again.reason
        );
    }
    let waiting = shelf.current().live_rows() > 0;
    if waiting {
        let full = prepared(&shelf).await;
        deletes.iter().skip(30).for_each(|id| {
            shelf.delete(*id);
        });
        let expected = shelf.rows();
        commit(&shelf.engine, full).await.unwrap();
        assert_same(&shelf.rows(), &expected);
    }
}
