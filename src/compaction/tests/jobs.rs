//! Jobs: what starts them, who gets which, how they end.

use std::time::Duration;

use super::{TIMEOUT, assert_same, compact, mixed, scheduler};
use crate::compaction::depth::clustering_information;
use crate::compaction::policy::JobOptions;
#[cfg(target_os = "linux")]
use crate::compaction::testing::NEAR;
use crate::compaction::testing::{KEY, Shelf, quiet, rows_max};
#[cfg(target_os = "linux")]
use crate::compaction::threads::linux::{NICE_MAX, nice_in};
use crate::settings::ByteSize;
use crate::storage::change::{Change, JobKind, JobRecord, JobState};
use crate::storage::schema::JobId;

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
async fn growing_rows_are_sealed_where_compaction_is_off() {
    let mut settings = quiet();
    settings.compaction_enable = false;
    settings.growing_max_size = ByteSize(1);
    let shelf = Shelf::open(settings, rows_max(1_000), &[KEY]);
    let scheduler = scheduler(&shelf);
    shelf.insert(&mixed(10));
    let before = shelf.rows();
    for _ in 0..200 {
        if shelf.current().growing().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let collection = shelf.current();
    assert!(collection.growing().is_empty());
    assert_eq!(collection.segments().len(), 1);
    assert_same(&shelf.rows(), &before);
    drop(scheduler);
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

/// Name and nice value of each thread of this process.
#[cfg(target_os = "linux")]
fn threads() -> Vec<(String, i32)> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    // A thread may end meanwhile.
    let stats = tasks.filter_map(|t| std::fs::read_to_string(t.ok()?.path().join("stat")).ok());
    let parsed = stats.map(|stat| {
        let name = stat.split_once('(').unwrap().1.rsplit_once(')').unwrap().0;
        (name.to_string(), nice_in(&stat).unwrap())
    });
    parsed.collect()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn threads_of_compaction_have_a_lower_priority_and_no_others() {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    let own = nice_in(&stat).unwrap();
    let mut settings = quiet();
    settings.set("compaction.nice", "7").unwrap();
    // So that the job is seen at work.
    settings.set("compaction.io_limit", "200kB").unwrap();
    let shelf = Shelf::open(settings, rows_max(1_000), &[NEAR]);
    let scheduler = scheduler(&shelf);
    shelf.insert(&mixed(2_000));
    let options = JobOptions::default();
    let id = scheduler.submit(shelf.collection, JobKind::Cluster, options);
    let id = id.await.unwrap();
    let lower = (own + 7).min(NICE_MAX);
    let is_lower = |(name, nice): &&(String, i32)| name == "compaction" && *nice == lower;
    let mut seen = 0;
    while scheduler.progress(id).is_some() {
        seen = threads().iter().filter(is_lower).count().max(seen);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let job = scheduler.wait(id, TIMEOUT).await.unwrap();
    assert_eq!(job.state, JobState::Succeeded, "{}", job.reason);
    let all = threads();
    // Those of its runtime, at least one that computes, and one that writes.
    assert!(seen >= 5, "{seen}: {all:?}");
    let mut others = all.iter().filter(|(name, _)| name != "compaction");
    assert!(others.all(|(_, nice)| *nice == own), "{all:?}");
}
