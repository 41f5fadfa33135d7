//! The crash rig: a disk that stops, fails or forgets at any operation, and what the database must be afterwards.
//!
//! `stop` ends the disk at the kth operation of a workload, as kill -9 does, and fails the Nth one with EIO, ENOSPC and
//! EMFILE; `states` replays the trace of a workload as a disk may have it after a power cut, with any of the effects
//! missing that were not synced; `machine` runs random statements with kills against a model. `rig` has the disks,
//! `workload` the statements and the oracle, `model` the files as a power cut leaves them.
//!
//! A test takes a sample of the places; `SHELFMARK_CRASH=long` takes every place, and as many states as
//! `SHELFMARK_CRASH_STATES` says.
//!
//! `meanwhile` holds a compaction while its outputs are written and not committed, and does everything that may happen to a
//! collection then.
//!
//! `mutants` shows that the rig finds what it is for: it takes a trace, leaves out a sync, moves an operation or an
//! acknowledgement, as a faulty program would have done, and wants a state to be wrong.
#![allow(clippy::unwrap_used)]

mod machine;
mod meanwhile;
mod model;
mod mutants;
mod rig;
mod states;
mod stop;
mod workload;

/// How long anything may take until it counts as stuck.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

/// Whether every place is tried instead of a sample.
fn is_long() -> bool {
    std::env::var("SHELFMARK_CRASH").is_ok_and(|form| form == "long")
}

/// A directory for databases that need not outlive the machine: in memory where there is such a place.
fn scratch() -> tempfile::TempDir {
    let memory = tempfile::tempdir_in("/dev/shm");
    memory.or_else(|_| tempfile::tempdir()).unwrap()
}
