//! Deleting files of segments that no version needs: decided from values, then done.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::disk::Files;
use super::history::{DataFile, Retired};
use super::schema::{CollectionId, FilterId, SegmentId};
use super::snapshot::Snapshot;
use super::store::{Store, io, remove};
use crate::error::{Error, Result};

/// What a vacuum is limited to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VacuumOptions {
    /// Only files of these collections.
    pub collections: Option<Vec<CollectionId>>,
    /// The age past which versions are forgotten now, if another than that of the settings.
    pub retention: Option<Duration>,
    /// Tells what would be deleted, and changes nothing.
    pub dry_run: bool,
}

/// What a vacuum deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vacuumed {
    /// The segments whose files are gone.
    pub segments: Vec<SegmentId>,
    /// The files of bloom filters that are gone.
    pub filters: Vec<FilterId>,
    /// Bytes of the files.
    pub bytes: u64,
}

impl Vacuumed {
    fn count(&mut self, retired: &Retired, path: &Path) {
        self.bytes += fs::metadata(path).map_or(0, |m| m.len());
        match retired.file {
            DataFile::Segment(id) => self.segments.push(id),
            DataFile::Filter(id) => self.filters.push(id),
        }
    }
}

/// What deleting these files would free.
pub(super) fn count(store: &Store, files: &[Retired]) -> Vacuumed {
    let mut would = Vacuumed::default();
    for retired in files {
        would.count(retired, &path_of(store, retired.collection, retired.file));
    }
    would
}

/// A file below `segments/` or `indexes/` by its ids.
pub(super) type Found = (CollectionId, DataFile);

/// The files of segments in the store; names that are not ours are passed over.
pub(super) fn data_files(store: &Store) -> Result<Vec<Found>> {
    let segment = |id| DataFile::Segment(SegmentId(id));
    let disk = store.files();
    let mut files = files_below(disk, &store.segments_dir(), ".parquet", segment)?;
    let filter = |id| DataFile::Filter(FilterId(id));
    files.extend(files_below(disk, &store.indexes_dir(), ".bloom", filter)?);
    Ok(files)
}

fn files_below(
    disk: &Files,
    root: &Path,
    ending: &str,
    kind: impl Fn(u64) -> DataFile,
) -> Result<Vec<Found>> {
    let list = |path: &Path| disk.list(path).map_err(|e| io("read", path, e));
    let mut files = Vec::new();
    for directory in list(root)? {
        let Some(collection) = number(directory.file_name().and_then(|n| n.to_str())) else {
            continue;
        };
        if !directory.is_dir() {
            continue;
        }
        for file in list(&directory)? {
            let name = file.file_name().and_then(|n| n.to_str());
            if let Some(id) = number(name.and_then(|n| n.strip_suffix(ending))) {
                files.push((CollectionId(collection), kind(id)));
            }
        }
    }
    Ok(files)
}

/// A number written as we write it: no sign, no leading zero.
fn number(name: Option<&str>) -> Option<u64> {
    let number: u64 = name?.parse().ok()?;
    (number.to_string() == name?).then_some(number)
}

/// The files that a snapshot just opened does not name, nor a version before it that is `kept`: what a crash left of
/// commits that never were.
pub(super) fn stale(
    snapshot: &Snapshot,
    kept: impl Iterator<Item = Found>,
    files: &[Found],
) -> Vec<Found> {
    let mut named: HashSet<Found> = kept.collect();
    for collection in snapshot.collections() {
        for segment in collection.segments() {
            named.insert((collection.id, DataFile::Segment(segment.id)));
            let filters = segment.filters.iter().filter_map(|f| f.file());
            named.extend(filters.map(|id| (collection.id, DataFile::Filter(id))));
        }
    }
    files
        .iter()
        .filter(|f| !named.contains(f))
        .copied()
        .collect()
}

/// Deletes the stale files; only at open, when nobody is writing segments.
pub(super) fn remove_stale(store: &Store, stale: &[Found]) -> Result<()> {
    for (collection, file) in stale {
        tracing::info!(%collection, ?file, "removes a file that no version names");
        remove(store.files(), &path_of(store, *collection, *file))?;
    }
    Ok(())
}

fn path_of(store: &Store, collection: CollectionId, file: DataFile) -> PathBuf {
    match file {
        DataFile::Segment(segment) => store.segment_path(collection, segment),
        DataFile::Filter(filter) => store.filter_path(collection, filter),
    }
}

/// Deletes the files that nobody can reach. What cannot be deleted now comes back, with the error.
pub(super) fn remove_unreachable(
    store: &Store,
    newest: &Snapshot,
    files: Vec<Retired>,
) -> std::result::Result<Vacuumed, (Vec<Retired>, Error)> {
    let mut done = Vacuumed::default();
    for (at, retired) in files.iter().enumerate() {
        let path = path_of(store, retired.collection, retired.file);
        done.count(retired, &path);
        if let Err(error) = remove(store.files(), &path) {
            return Err((files[at..].to_vec(), error));
        }
        if newest.collection_by_id(retired.collection).is_none() {
            // The last file's directory goes too; with other files in it, it stays.
            let directory = path.parent();
            let _ = directory.map(|d| store.files().remove_directory(d));
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::storage::change::{Change, Commit};
    use crate::storage::schema::Version;
    use crate::storage::testing::{new_collection, new_segment};

    #[test]
    fn only_files_of_ours_that_no_version_names_are_stale() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        for (collection, segment) in [(1, 2), (1, 3), (9, 4)] {
            let file = store.create_segment(CollectionId(collection), SegmentId(segment));
            file.unwrap().publish().unwrap();
        }
        let filter = store.create(store.filter_path(CollectionId(1), FilterId(5)));
        filter.unwrap().publish().unwrap();
        let foreign = store.segments_dir().join("1/notes.txt");
        fs::write(&foreign, "x").unwrap();
        fs::write(store.segments_dir().join("1/007.parquet"), "x").unwrap();
        let commit = Commit {
            version: Version(1),
            timestamp_ms: 0,
            changes: vec![
                Change::CreateCollection(new_collection(1, "book")),
                Change::AddSegments(CollectionId(1), vec![new_segment(2, 5)]),
            ],
        };
        let snapshot = Snapshot::empty().apply(&commit).unwrap();
        let mut files = stale(
            &snapshot,
            std::iter::once((CollectionId(9), DataFile::Segment(SegmentId(4)))),
            &data_files(&store).unwrap(),
        );
        files.sort();
        let segment = |id| DataFile::Segment(SegmentId(id));
        let filter = DataFile::Filter(FilterId(5));
        let expected = [(1, segment(3)), (1, filter)];
        assert_eq!(files, expected.map(|(id, file)| (CollectionId(id), file)));
        remove_stale(&store, &files).unwrap();
        assert_eq!(data_files(&store).unwrap().len(), 2);
        assert!(foreign.exists());
    }
}
