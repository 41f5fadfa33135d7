//! What a disk may have after a power cut at any moment of a workload, and after another while it recovers: the database
//! opens at a version that it had, none that was acknowledged is missing, and every file that the version names is
//! whole.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arrow::buffer::Buffer;

use super::model::{Image, Trace};
use super::rig::{Content, Done, Recorder};
use super::workload::{Workload, all};
use super::{is_long, scratch};
use crate::database::Database;
use crate::error::Error;
use crate::storage::index::FilterPlace;
use crate::storage::recovery::{apply_frame, recover};
use crate::storage::schema::Version;
use crate::storage::snapshot::Snapshot;
use crate::storage::store::Store;
use crate::storage::testing::{Dice, describe};

/// States that are tried of all workloads together in the short and in the long form.
const STATES: [usize; 2] = [600, 100_000];
/// A prime, so that each state has its turn.
const STRIDE: usize = 104_729;
/// Bytes before the payload of a frame of the log.
const FRAME_HEADER_BYTES: usize = 16;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_leaves_a_version_that_was_and_all_that_was_acknowledged() {
    let given = std::env::var("SHELFMARK_CRASH_STATES").ok();
    let states = given.map_or(STATES[usize::from(is_long())], |n| n.parse().unwrap());
    let directory = scratch();
    let workloads = all(directory.path());
    let each = states.div_ceil(workloads.len());
    for workload in &workloads {
        let past = Past::of(workload, &directory.path().join("run")).await;
        let found = past.check(each, directory.path());
        let found = found.unwrap_or_else(|why| panic!("{}: {why}", workload.name));
        println!(
            "{}: {each} states of {} operations, versions {found:?}",
            workload.name,
            past.done.len()
        );
    }
}

/// What happened in a workload.
pub(super) struct Past {
    pub(super) done: Vec<Done>,
    /// How many operations there were when the version was acknowledged.
    pub(super) acknowledged: Vec<(usize, Version)>,
    /// What each version had.
    history: HashMap<Version, String>,
}

impl Past {
    pub(super) async fn of(workload: &Workload, path: &Path) -> Self {
        let recorder = Recorder::new(path);
        let mut acknowledged = Vec::new();
        let answered = |database: &Database| {
            let version = database.engine().committer.snapshot().version();
            acknowledged.push((recorder.len(), version));
        };
        let run = workload.run(path, recorder.files(), 0, answered).await;
        assert!(run.error.is_none(), "{:?}", run.error);
        let newest = run.database.unwrap().engine().committer.snapshot();
        std::fs::remove_dir_all(path).unwrap();
        let done = recorder.trace();
        let history = history(&done);
        assert_eq!(history[&newest.version()], describe(&newest));
        Self {
            done,
            acknowledged,
            history,
        }
    }

    /// Tries so many states, all moments alike; which versions were found, or what was wrong with the first
    /// that was wrong.
    pub(super) fn check(
        &self,
        states: usize,
        directory: &Path,
    ) -> Result<RangeInclusive<u64>, String> {
        let trace = Trace::new(Image::default(), &self.done);
        let (mut least, mut most) = (u64::MAX, 0);
        for n in 0..states {
            // Moments all over the workload come early: faults are found sooner.
            let n = n * STRIDE % states;
            let done = (n * (self.done.len() + 1) / states).min(self.done.len());
            let mut dice = Dice(n as u64);
            let image = trace.image(done, (!n.is_multiple_of(8)).then_some(&mut dice));
            let told = |why| format!("state {n}, operation {done}: {why}");
            let (version, recovery) = self.check_state(&image, done, directory).map_err(told)?;
            if n.is_multiple_of(3) {
                // Power fails again while it recovers.
                let cut = dice.below(recovery.len() + 1);
                let again = Trace::new(image, &recovery).image(cut, Some(&mut dice));
                let checked = self.check_state(&again, done, directory);
                checked.map_err(|why| told(format!("recovery, operation {cut}: {why}")))?;
            }
            (least, most) = (least.min(version.0), most.max(version.0));
        }
        Ok(least..=most)
    }

    /// The version that is recovered, and what was done for it.
    fn check_state(
        &self,
        image: &Image,
        done: usize,
        directory: &Path,
    ) -> Result<(Version, Vec<Done>), String> {
        let root = tempfile::tempdir_in(directory).unwrap();
        image.write_to(root.path());
        let recorder = Recorder::new(root.path());
        let told = |error: Error| error.to_string();
        let store = Store::open_on(root.path(), recorder.files()).map_err(told)?;
        // Without the threads of an open database: there are many states.
        let opened = recover(&store, Duration::from_secs(3_600)).map_err(told)?;
        let snapshot = opened.newest();
        let version = snapshot.version();
        let marks = self.acknowledged.iter().rev();
        let acknowledged = marks.clone().find(|(operations, _)| *operations <= done);
        if let Some((_, acknowledged)) = acknowledged.filter(|(_, known)| *known > version) {
            return Err(format!(
                "{acknowledged} was acknowledged, {version} is there"
            ));
        }
        if self.history.get(&version) != Some(&describe(snapshot)) {
            return Err(format!("version {version} is not what it was"));
        }
        check_files(&store, snapshot)?;
        Ok((version, recorder.trace()))
    }
}

/// That every file that the version names is there and whole.
fn check_files(store: &Store, snapshot: &Snapshot) -> Result<(), String> {
    for collection in snapshot.collections() {
        for segment in collection.segments() {
            let path = store.segment_path(collection.id, segment.id);
            check_file(&path, segment.crc32c)?;
            for filter in segment.filters.iter() {
                if let FilterPlace::File { id, crc32c } = filter.place {
                    check_file(&store.filter_path(collection.id, id), crc32c)?;
                }
            }
        }
    }
    Ok(())
}

fn check_file(path: &Path, crc32c: u32) -> Result<(), String> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    match crc32c::crc32c(&bytes) == crc32c {
        true => Ok(()),
        false => Err(format!("{} is not whole", path.display())),
    }
}

/// Every version that the frames of a trace make, whether they became durable or not.
fn history(done: &[Done]) -> HashMap<Version, String> {
    let logs: HashSet<&PathBuf> = done
        .iter()
        .filter_map(|done| match done {
            Done::Link(from, to) if to.starts_with("log") => Some(from),
            _ => None,
        })
        .collect();
    let mut snapshot = Snapshot::empty();
    let mut history = HashMap::from([(snapshot.version(), describe(&snapshot))]);
    for done in done {
        let Done::Write(path, 32.., Content::Bytes(bytes)) = done else {
            continue;
        };
        if logs.contains(path) {
            let length = u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
            let payload = &bytes[FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + length];
            apply_frame(&mut snapshot, Buffer::from(payload)).unwrap();
            history.insert(snapshot.version(), describe(&snapshot));
        }
    }
    history
}
