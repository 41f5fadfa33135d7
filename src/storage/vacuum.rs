//! Deleting segment files that no version needs: decided from values, then done.

use std::fs;
use std::path::{Path, PathBuf};

use super::history::Retired;
use super::schema::{CollectionId, SegmentId};
use super::snapshot::Snapshot;
use super::store::{Store, io, remove};
use crate::error::{Error, Result};

/// What a vacuum deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vacuumed {
    /// The segments whose files are gone.
    pub segments: Vec<SegmentId>,
    /// Bytes of the files.
    pub bytes: u64,
}

/// A file below `segments/` by its ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SegmentFile {
    pub(super) collection: CollectionId,
    pub(super) segment: SegmentId,
}

/// The segment files of the store; names that are not ours are passed over.
pub(super) fn segment_files(store: &Store) -> Result<Vec<SegmentFile>> {
    let mut files = Vec::new();
    for directory in entries(&store.segments_dir())? {
        let Some(collection) = number(directory.file_name().and_then(|n| n.to_str())) else {
            continue;
        };
        if !directory.is_dir() {
            continue;
        }
        for file in entries(&directory)? {
            let name = file.file_name().and_then(|n| n.to_str());
            let Some(segment) = number(name.and_then(|n| n.strip_suffix(".parquet"))) else {
                continue;
            };
            files.push(SegmentFile {
                collection: CollectionId(collection),
                segment: SegmentId(segment),
            });
        }
    }
    Ok(files)
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let wrong = |e| io("read", directory, e);
    let entries = fs::read_dir(directory).map_err(wrong)?;
    entries.map(|e| Ok(e.map_err(wrong)?.path())).collect()
}

/// A number written as we write it: no sign, no leading zero.
fn number(name: Option<&str>) -> Option<u64> {
    let number: u64 = name?.parse().ok()?;
    (number.to_string() == name?).then_some(number)
}

/// The files that a snapshot just opened does not name: what a crash left of commits that never were.
pub(super) fn stale(snapshot: &Snapshot, files: &[SegmentFile]) -> Vec<SegmentFile> {
    let named = |f: &&SegmentFile| {
        let collection = snapshot.collection_by_id(f.collection);
        collection.is_some_and(|c| c.segment(f.segment).is_some())
    };
    files.iter().filter(|f| !named(f)).copied().collect()
}

/// Deletes the stale files; only at open, when nobody is writing segments.
pub(super) fn remove_stale(store: &Store, stale: &[SegmentFile]) -> Result<()> {
    for file in stale {
        tracing::info!(collection = %file.collection, segment = %file.segment, "removes a segment file that no version names");
        store.remove_segment(file.collection, file.segment)?;
    }
    Ok(())
}

/// Deletes the files of segments that nobody can reach. What cannot be deleted now comes back, with the error.
pub(super) fn remove_unreachable(
    store: &Store,
    newest: &Snapshot,
    segments: Vec<Retired>,
) -> std::result::Result<Vacuumed, (Vec<Retired>, Error)> {
    let mut done = Vacuumed::default();
    for (at, retired) in segments.iter().enumerate() {
        let path = store.segment_path(retired.collection, retired.segment);
        let bytes = fs::metadata(&path).map_or(0, |m| m.len());
        if let Err(error) = remove(&path) {
            return Err((segments[at..].to_vec(), error));
        }
        done.segments.push(retired.segment);
        done.bytes += bytes;
        if newest.collection_by_id(retired.collection).is_none() {
            // The last file's directory goes too; with other files in it, it stays.
            let _ = path.parent().map(fs::remove_dir);
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
        let mut files = stale(&snapshot, &segment_files(&store).unwrap());
        files.sort();
        let ids: Vec<_> = files
            .iter()
            .map(|f| (f.collection.0, f.segment.0))
            .collect();
        assert_eq!(ids, [(1, 3), (9, 4)]);
        remove_stale(&store, &files).unwrap();
        assert_eq!(segment_files(&store).unwrap().len(), 1);
        assert!(foreign.exists());
    }
}
