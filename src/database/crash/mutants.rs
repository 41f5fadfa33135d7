//! Planted faults: each is a trace as a program with that fault would have left it, and some state of it must be wrong.
//!
//! Nothing in the program is changed for them: a sync that is left out of the trace is one that the program forgot.
use std::path::{Path, PathBuf};

use super::rig::{Content, Done};
use super::scratch;
use super::states::Past;
use super::workload::all;

/// States that are tried before a fault counts as not found.
const STATES: usize = 4_000;

/// A fault: its name, the workload that it is planted in, and what it does to the past.
type Mutant = (&'static str, &'static str, fn(&mut Past));

const MUTANTS: [Mutant; 21] = [
    ("commits are not synced", "inserts", |past| {
        let logs = files_of(past, "log");
        drop_syncs(past, |file| logs.contains(file));
    }),
    (
        "commits are acknowledged before they are synced",
        "inserts",
        |past| {
            let early = |(operations, version): (usize, _)| (operations - 1, version);
            past.acknowledged = past.acknowledged.iter().copied().map(early).collect();
        },
    ),
    (
        "a commit is synced before it is written",
        "inserts",
        |past| {
            let logs = files_of(past, "log");
            swap(past, |first, second| match (first, second) {
                (Done::Write(file, ..), Done::Sync(_)) => logs.contains(file),
                _ => false,
            });
        },
    ),
    (
        "the name of a new log file is not synced",
        "inserts",
        |past| {
            drop_directory_syncs(past, Path::new("log"));
        },
    ),
    (
        "the names of a new database are not synced",
        "inserts",
        |past| {
            drop_directory_syncs(past, Path::new(""));
        },
    ),
    ("a checkpoint is not synced", "inserts", |past| {
        let checkpoints = files_of(past, "checkpoint");
        drop_syncs(past, |file| checkpoints.contains(file));
    }),
    (
        "the name of a checkpoint is not synced",
        "inserts",
        |past| {
            drop_directory_syncs(past, Path::new("checkpoint"));
        },
    ),
    ("logs go before there is a checkpoint", "inserts", |past| {
        move_forward(
            past,
            |done| matches!(done, Done::Remove(path) if path.starts_with("log")),
        );
    }),
    (
        "a commit is written over the one before",
        "inserts",
        |past| {
            let logs = files_of(past, "log");
            for done in &mut past.done {
                if let Done::Write(file, at @ 33.., Content::Bytes(_)) = done
                    && logs.contains(file)
                {
                    *at = 32;
                }
            }
        },
    ),
    ("a segment is not synced", "bulk copy", |past| {
        let segments = files_of(past, "segments");
        drop_syncs(past, |file| segments.contains(file));
    }),
    ("the name of a segment is not synced", "bulk copy", |past| {
        drop_directory_syncs(past, Path::new("segments/1"));
    }),
    (
        "the name of a collection's directory is not synced",
        "bulk copy",
        |past| {
            drop_directory_syncs(past, Path::new("segments"));
        },
    ),
    (
        "bloom filters are not synced",
        "vacuum and checkpoints",
        |past| {
            let filters = files_of(past, "indexes");
            drop_syncs(past, |file| filters.contains(file));
        },
    ),
    (
        "segments go before the commit that replaces them",
        "vacuum and checkpoints",
        |past| {
            move_forward(
                past,
                |done| matches!(done, Done::Remove(path) if path.starts_with("segments")),
            );
        },
    ),
    (
        "the name of a bloom filter is not synced",
        "vacuum and checkpoints",
        |past| {
            drop_directory_syncs(past, Path::new("indexes/1"));
        },
    ),
    (
        "the directory of bloom filters is not synced",
        "vacuum and checkpoints",
        |past| {
            drop_directory_syncs(past, Path::new("indexes"));
        },
    ),
    ("a commit lacks its end", "inserts", |past| {
        shorten(past, "log")
    }),
    ("a checkpoint lacks its end", "inserts", |past| {
        shorten(past, "checkpoint")
    }),
    ("a segment lacks its end", "bulk copy", |past| {
        shorten(past, "segments")
    }),
    (
        "LOCK gets its name no sooner than the others",
        "inserts",
        |past| {
            let names = |done: &&mut Done| matches!(done, Done::SyncDirectory(path) if path.as_os_str().is_empty());
            *past.done.iter_mut().find(names).unwrap() = Done::SyncDirectory("nothing".into());
        },
    ),
    ("LOCK is not synced", "inserts", |past| {
        drop_syncs(past, |file| file == Path::new("LOCK"));
    }),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_planted_fault_is_found() {
    let directory = scratch();
    let workloads = all(directory.path());
    let mut missed = Vec::new();
    for (name, workload, plant) in MUTANTS {
        let workload = workloads.iter().find(|w| w.name == workload).unwrap();
        let mut past = Past::of(workload, &directory.path().join("run")).await;
        let before = (past.done.clone(), past.acknowledged.clone());
        plant(&mut past);
        assert!(
            before != (past.done.clone(), past.acknowledged.clone()),
            "{name}: not planted"
        );
        match past.check(STATES, directory.path()) {
            Err(why) => println!("{name}: {why}"),
            Ok(_) => missed.push(name),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

/// The files that get names in a directory of that kind, by the names under which they were created.
fn files_of(past: &Past, directory: &str) -> Vec<PathBuf> {
    let named = past.done.iter().filter_map(|done| match done {
        Done::Link(from, to) | Done::Rename(from, to) if to.starts_with(directory) => Some(from),
        _ => None,
    });
    named.cloned().collect()
}

fn drop_syncs(past: &mut Past, which: impl Fn(&PathBuf) -> bool) {
    replace(past, |done| matches!(done, Done::Sync(file) if which(file)));
}

fn drop_directory_syncs(past: &mut Past, directory: &Path) {
    replace(
        past,
        |done| matches!(done, Done::SyncDirectory(path) if path == directory),
    );
}

/// Puts a sync of nothing in the place of some operations, so that the marks keep their places.
fn replace(past: &mut Past, which: impl Fn(&Done) -> bool) {
    let nothing = Done::SyncDirectory(PathBuf::from("nothing"));
    for done in past.done.iter_mut().filter(|done| which(done)) {
        *done = nothing.clone();
    }
}

/// Lets every write to a file of that kind end in its middle.
fn shorten(past: &mut Past, directory: &str) {
    let files = files_of(past, directory);
    for done in &mut past.done {
        if let Done::Write(file, _, Content::Bytes(bytes)) = done
            && files.contains(file)
        {
            *bytes = bytes[..bytes.len() / 2].into();
        }
    }
}

fn swap(past: &mut Past, which: impl Fn(&Done, &Done) -> bool) {
    for at in 1..past.done.len() {
        if which(&past.done[at - 1], &past.done[at]) {
            past.done.swap(at - 1, at);
        }
    }
}

/// Lets removals happen right after the file got its name.
fn move_forward(past: &mut Past, which: impl Fn(&Done) -> bool) {
    for at in 0..past.done.len() {
        let Done::Remove(path) = past.done[at].clone() else {
            continue;
        };
        let named = past
            .done
            .iter()
            .position(|done| matches!(done, Done::Link(_, to) if *to == path));
        if let Some(named) = named.filter(|_| which(&past.done[at])) {
            past.done[named..=at].rotate_right(1);
            past.done.swap(named, named + 1);
        }
    }
}
