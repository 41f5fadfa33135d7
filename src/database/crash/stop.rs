//! Every operation on the disk as the last one before a kill, and as the one that fails.

use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use super::rig::{Plan, Rig};
use super::workload::{Run, Workload, all, check_files, clustering, indexing, open, state};
use super::{LIMIT, is_long, scratch};
use crate::error::ErrorKind;
use crate::storage::disk::Files;

/// Places of a workload that are tried in the short form.
const SAMPLE: u64 = 6;
/// EIO, ENOSPC and EMFILE, with the SQLSTATE that each must become.
const ERRORS: [(i32, &str); 3] = [(5, "58030"), (28, "53100"), (24, "53000")];

/// The places to try of so many; a sample has the first and the last.
fn places(count: u64) -> Vec<u64> {
    if is_long() || count <= SAMPLE {
        return (0..count).collect();
    }
    (0..SAMPLE)
        .map(|n| n * (count - 1) / (SAMPLE - 1))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_any_operation_leaves_the_old_or_the_new_version() {
    let directory = scratch();
    for workload in all(directory.path()) {
        let rig = Rig::new(Plan::Count);
        let path = directory.path().join("reference");
        let states = workload.states(&path, rig.files()).await;
        std::fs::remove_dir_all(&path).unwrap();
        let places = places(rig.changes());
        for place in &places {
            let rig = Rig::new(Plan::StopAt(*place));
            let path = directory.path().join(format!("stop-{place}"));
            let run = workload.run(&path, rig.files(), 0, |_| {}).await;
            let at = format!("{}, operation {place}: {:?}", workload.name, rig.failed());
            let acknowledged = run.acknowledged;
            drop(run);
            check_reopened(&workload, &path, &states, acknowledged, true, &at).await;
            std::fs::remove_dir_all(&path).unwrap();
        }
        println!(
            "{}: killed at {} of {} operations",
            workload.name,
            places.len(),
            rig.changes()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_that_fails_is_one_clean_error_and_nothing_is_lost() {
    let directory = scratch();
    for workload in all(directory.path()) {
        let rig = Rig::new(Plan::Count);
        let path = directory.path().join("reference");
        let states = workload.states(&path, rig.files()).await;
        std::fs::remove_dir_all(&path).unwrap();
        let places = places(rig.operations());
        for (n, place) in places.iter().enumerate() {
            let errors = match is_long() {
                true => &ERRORS[..],
                false => &ERRORS[n % ERRORS.len()..][..1],
            };
            for (code, sqlstate) in errors {
                let rig = Rig::new(Plan::FailAt(*place, *code));
                let path = directory.path().join(format!("fail-{place}-{code}"));
                let run = workload.run(&path, rig.files(), 0, |_| {}).await;
                let at = format!("{}, operation {place}: {:?}", workload.name, rig.failed());
                let acknowledged = run.acknowledged;
                let may_be_there = check_failed(&run, &rig, &states, sqlstate, &at).await;
                drop(run);
                check_reopened(&workload, &path, &states, acknowledged, may_be_there, &at).await;
                std::fs::remove_dir_all(&path).unwrap();
            }
        }
        println!(
            "{}: failed at {} of {} operations",
            workload.name,
            places.len(),
            rig.operations()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_is_there_exactly_when_its_statement_succeeds() {
    let directory = scratch();
    let workload = indexing();
    let (operations, states) = last_statement(&workload, directory.path()).await;
    assert!(operations.end - operations.start > 4, "{operations:?}");
    for place in operations {
        let rig = Rig::new(Plan::FailAt(place, 5));
        let path = directory.path().join(format!("fail-{place}"));
        let run = workload.run(&path, rig.files(), 0, |_| {}).await;
        let at = format!("operation {place}: {:?}", rig.failed());
        check_failed(&run, &rig, &states, "58030", &at).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_ends_a_compaction_with_the_old_state_and_no_litter() {
    let directory = scratch();
    let workload = clustering();
    let (operations, states) = last_statement(&workload, directory.path()).await;
    let count = operations.end - operations.start;
    assert!(count > 12, "{operations:?}");
    let stride = if is_long() { 1 } else { count.div_ceil(12) };
    let mut failures = 0;
    for place in operations.step_by(stride as usize) {
        let rig = Rig::new(Plan::FailAt(place, 28));
        let path = directory.path().join(format!("full-{place}"));
        let run = workload.run(&path, rig.files(), 0, |_| {}).await;
        let at = format!("operation {place}: {:?}", rig.failed());
        let may_be_there = check_failed(&run, &rig, &states, "53100", &at).await;
        failures += usize::from(run.error.is_some());
        let acknowledged = run.acknowledged;
        drop(run);
        check_reopened(&workload, &path, &states, acknowledged, may_be_there, &at).await;
    }
    assert!(failures > 3, "{failures}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_whose_name_does_not_become_durable_is_gone_at_once() {
    let directory = scratch();
    let workload = clustering();
    let path = directory.path().join("reference");
    let states = workload.states(&path, Rig::new(Plan::Count).files()).await;
    let mut failures = 0;
    for (code, sqlstate) in &ERRORS[..2] {
        for place in 0.. {
            let rig = Rig::new(Plan::FailName(place, *code));
            let path = directory.path().join(format!("name-{place}-{code}"));
            let run = workload.run(&path, rig.files(), 0, |_| {}).await;
            let Some(failed) = rig.failed() else {
                break;
            };
            let at = format!("name {place}, error {code}: {failed}");
            check_failed(&run, &rig, &states, sqlstate, &at).await;
            failures += usize::from(run.error.is_some());
            // While the database is open: nothing waits for the next start.
            check_files(run.database.as_ref().unwrap()).await;
        }
    }
    assert!(failures > 3, "{failures}");
}

/// The operations of a workload's last statement, and the state before the first statement and after each.
async fn last_statement(workload: &Workload, directory: &Path) -> (Range<u64>, Vec<String>) {
    let rig = Rig::new(Plan::Count);
    let path = directory.join("reference");
    let mut places = Vec::new();
    let files = rig.files();
    let run = workload.run(&path, files, 0, |_| places.push(rig.operations()));
    let run = run.await;
    assert!(run.error.is_none(), "{:?}", run.error);
    drop(run);
    std::fs::remove_dir_all(&path).unwrap();
    let states = workload.states(&path, Rig::new(Plan::Count).files()).await;
    (places[places.len() - 2]..places[places.len() - 1], states)
}

/// That a failure had the right code and no effect that can be seen; whether it may have one after a reopen.
async fn check_failed(run: &Run, rig: &Rig, states: &[String], sqlstate: &str, at: &str) -> bool {
    let Some(error) = &run.error else {
        // Background work, or the removal of a file that the next open removes.
        assert_eq!(run.acknowledged, states.len() - 1, "{at}");
        return false;
    };
    let Some(database) = &run.database else {
        assert_eq!(error.sqlstate(), sqlstate, "{at}: {error}");
        return false;
    };
    assert_eq!(
        state(database).await.unwrap(),
        states[run.acknowledged],
        "{at}: {error}"
    );
    if !database.engine().committer.is_read_only() {
        assert_eq!(error.sqlstate(), sqlstate, "{at}: {error}");
        return error.kind() == ErrorKind::Unavailable;
    }
    // Nothing is tried again: not even a write reaches the disk. Jobs beside the statement end first, and remove their files.
    let operations = operations_at_rest(rig);
    let again = database
        .session()
        .sql("CREATE TABLE probe (id INT)")
        .await
        .unwrap();
    let again = crate::Error::from(again.collect().await.unwrap_err());
    assert_eq!(again.sqlstate(), "58030", "{at}: {again}");
    assert!(again.to_string().contains("read-only"), "{at}: {again}");
    assert_eq!(rig.operations(), operations, "{at}");
    true
}

/// The operations once no more come.
fn operations_at_rest(rig: &Rig) -> u64 {
    let mut operations = rig.operations();
    let deadline = Instant::now() + LIMIT;
    loop {
        std::thread::sleep(Duration::from_millis(20));
        let now = rig.operations();
        if now == operations {
            return now;
        }
        assert!(Instant::now() < deadline, "the disk never rests");
        operations = now;
    }
}

/// That the database opens as the last acknowledged statement left it, or the one after it, without litter, and that
/// what was left to do can be done.
async fn check_reopened(
    workload: &Workload,
    path: &Path,
    states: &[String],
    acknowledged: usize,
    may_be_there: bool,
    at: &str,
) {
    let rig = Rig::new(Plan::Count);
    let files: Files = rig.files();
    let database = open(path, workload.settings(), files.clone()).await;
    let database = database.unwrap_or_else(|error| panic!("{at}: {error}"));
    let found = state(&database)
        .await
        .unwrap_or_else(|error| panic!("{at}: {error}"));
    check_files(&database).await;
    drop(database);
    let next = match states.get(acknowledged + 1) {
        _ if found == states[acknowledged] => acknowledged,
        Some(next) if may_be_there && found == *next => acknowledged + 1,
        _ => panic!("{at}: after {acknowledged} acknowledged statements there is\n{found}"),
    };
    let run = workload.run(path, files, next, |_| {}).await;
    assert!(run.error.is_none(), "{at}: going on: {:?}", run.error);
    let database = run.database.unwrap();
    assert_eq!(
        state(&database).await.unwrap(),
        states[states.len() - 1],
        "{at}"
    );
}
