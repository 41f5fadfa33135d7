//! A copy of one version of a database, made while writes go on, and its way back.
//!
//! A backup is a database directory: the files of the version's segments, and a checkpoint of the version with its growing
//! rows and everything else. Segments never change, so they are linked where the file system can; a backup takes as long
//! as the checkpoint then, and no space for what the database still has. `LOCK` comes last and makes the directory a
//! database: a backup that was cut short is not taken for one.

use std::fs;
use std::path::{Path, PathBuf};

use super::checkpoint;
use super::disk::Files;
use super::index::FilterPlace;
use super::inspect::{Inspection, check_mark, inspect};
use super::schema::Version;
use super::snapshot::Snapshot;
use super::store::{
    DIRECTORIES, MARK, Store, check_unlocked, create_directories, filter_path, io, segment_path,
    sync_directory,
};
use super::verify::verify;
use crate::error::{Error, Result, sqlstate};

/// What was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// The version that the copy has.
    pub version: Version,
    /// Its files.
    pub files: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// Bytes of those among them that are shared with the original.
    pub linked_bytes: u64,
}

/// Copies a version into a directory, which is made if need be and must be empty. Whoever calls holds the snapshot, so
/// that vacuum spares its files.
///
/// # Errors
/// 55000 when the directory has something in it, 58030 or 53100 for what the disk says; nothing is left behind then.
pub fn backup(store: &Store, snapshot: &Snapshot, target: &Path) -> Result<Copied> {
    let mut copy = Copying::begin(target, snapshot.version())?;
    for (from, to) in data_files(store.root(), target, snapshot) {
        copy.link(&from, &to)?;
    }
    let bytes = checkpoint::encode(snapshot)?;
    let path = checkpoint::path(&target.join("checkpoint"), snapshot.version());
    copy.write(&path, &bytes)?;
    copy.finish()
}

/// Copies a backup, or the directory of a database that no process has open, into a directory, which is made if need
/// be and must be empty. Every byte is checked before.
///
/// # Errors
/// 58P01 for a directory without a database, 55006 when a process has it open, XX001 for a damaged file, and those of
/// [`backup`].
pub fn restore(backup: &Path, target: &Path) -> Result<Copied> {
    check_mark(backup)?;
    check_unlocked(backup)?;
    if let Some(problem) = verify(backup)?.into_iter().find_map(|file| file.problem) {
        return Err(problem);
    }
    let found = inspect(backup)?;
    let mut copy = Copying::begin(target, found.snapshot.version())?;
    for (from, to) in files_of(backup, target, &found) {
        copy.copy(&from, &to)?;
    }
    copy.finish()
}

/// The files of segments and their filters, with their names in the copy.
fn data_files(root: &Path, target: &Path, snapshot: &Snapshot) -> Vec<(PathBuf, PathBuf)> {
    let mut files = Vec::new();
    for collection in snapshot.collections() {
        for segment in collection.segments() {
            let path = |root| segment_path(root, collection.id, segment.id);
            files.push((path(root), path(target)));
            for filter in segment.filters.iter() {
                if let FilterPlace::File { id, .. } = filter.place {
                    let path = |root| filter_path(root, collection.id, id);
                    files.push((path(root), path(target)));
                }
            }
        }
    }
    files
}

fn files_of(root: &Path, target: &Path, found: &Inspection) -> Vec<(PathBuf, PathBuf)> {
    let mut files = data_files(root, target, &found.snapshot);
    for (directory, numbered) in [("checkpoint", &found.checkpoints), ("log", &found.logs)] {
        let names = numbered.iter().filter_map(|file| file.path.file_name());
        let pair = |name| {
            let path = Path::new(directory).join(name);
            (root.join(&path), target.join(&path))
        };
        files.extend(names.map(pair));
    }
    files
}

/// A copy while it is made; dropped before it is finished, it removes what it made.
struct Copying {
    disk: Files,
    target: PathBuf,
    copied: Copied,
    is_finished: bool,
}

impl Copying {
    fn begin(target: &Path, version: Version) -> Result<Self> {
        let disk = Files::default();
        create_directories(&disk, target)?;
        let entries = disk.list(target).map_err(|e| io("read", target, e))?;
        if !entries.is_empty() {
            let message = format!("directory \"{}\" is not empty", target.display());
            let state = sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE;
            return Err(Error::invalid(state, message)
                .with_hint("Give a directory that is empty or does not exist."));
        }
        let copy = Self {
            disk,
            target: target.to_path_buf(),
            copied: Copied {
                version,
                files: 0,
                bytes: 0,
                linked_bytes: 0,
            },
            is_finished: false,
        };
        for name in DIRECTORIES {
            create_directories(&copy.disk, &target.join(name))?;
        }
        Ok(copy)
    }

    /// Gives the copy the file itself under another name, or its bytes where that is not possible.
    fn link(&mut self, from: &Path, to: &Path) -> Result<()> {
        self.make_directory(to)?;
        if self.disk.link(from, to).is_err() {
            return self.copy(from, to);
        }
        let bytes = fs::metadata(to).map_err(|e| io("read", to, e))?.len();
        self.copied.linked_bytes += bytes;
        self.count(bytes);
        Ok(())
    }

    fn copy(&mut self, from: &Path, to: &Path) -> Result<()> {
        self.make_directory(to)?;
        let copied = fs::copy(from, to);
        let copied = copied.and_then(|bytes| fs::File::open(to)?.sync_all().map(|()| bytes));
        let bytes = copied.map_err(|e| io("copy", from, e))?;
        self.count(bytes);
        Ok(())
    }

    fn write(&mut self, path: &Path, bytes: &[u8]) -> Result<()> {
        let created = self.disk.create(path);
        let written = created.and_then(|file| {
            file.write_all_at(bytes, 0)?;
            file.sync_all()
        });
        written.map_err(|e| io("write", path, e))?;
        self.count(bytes.len() as u64);
        Ok(())
    }

    fn make_directory(&self, file: &Path) -> Result<()> {
        match file.parent() {
            Some(directory) if !directory.is_dir() => create_directories(&self.disk, directory),
            _ => Ok(()),
        }
    }

    fn count(&mut self, bytes: u64) {
        self.copied.files += 1;
        self.copied.bytes += bytes;
    }

    /// Makes all names durable, then the copy a database.
    fn finish(mut self) -> Result<Copied> {
        let mut open = vec![self.target.clone()];
        while let Some(directory) = open.pop() {
            sync_directory(&self.disk, &directory)?;
            let entries = self.disk.list(&directory);
            let entries = entries.map_err(|e| io("read", &directory, e))?;
            open.extend(entries.into_iter().filter(|path| path.is_dir()));
        }
        let copied = self.copied;
        self.write(&self.target.join("LOCK"), MARK.as_bytes())?;
        sync_directory(&self.disk, &self.target)?;
        self.is_finished = true;
        Ok(copied)
    }
}

impl Drop for Copying {
    fn drop(&mut self) {
        if self.is_finished {
            return;
        }
        for name in DIRECTORIES.into_iter().chain(["LOCK"]) {
            let path = self.target.join(name);
            let _ = match path.is_dir() {
                true => fs::remove_dir_all(&path),
                false => fs::remove_file(&path),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::storage::change::{Change, Commit};
    use crate::storage::schema::{CollectionId, SegmentId};
    use crate::storage::testing::{append, describe, new_collection, new_segment};

    /// A store with a file of a segment, and the snapshot that names it.
    fn database(root: &Path) -> (Store, Snapshot) {
        let store = Store::open(root).unwrap();
        let mut new = new_segment(2, 5);
        let path = store.segment_path(CollectionId(1), new.id);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "12345").unwrap();
        (new.bytes, new.crc32c) = (5, crc32c::crc32c(b"12345"));
        let mut rows = append(1, &[1, 2]);
        if let Change::Append(append) = &mut rows {
            append.segment = SegmentId(3);
        }
        let commit = Commit {
            version: Version(1),
            timestamp_ms: 0,
            changes: vec![
                Change::CreateCollection(new_collection(1, "book")),
                Change::AddSegments(CollectionId(1), vec![new]),
                rows,
            ],
        };
        (store, Snapshot::empty().apply(&commit).unwrap())
    }

    #[test]
    fn a_backup_has_the_version_and_shares_its_segments() {
        let directory = tempfile::tempdir().unwrap();
        let (store, snapshot) = database(&directory.path().join("data"));
        let target = directory.path().join("backup");
        let copied = backup(&store, &snapshot, &target).unwrap();
        assert_eq!((copied.version, copied.files), (Version(1), 2));
        assert_eq!(copied.linked_bytes, 5);
        let found = inspect(&target).unwrap();
        assert_eq!(describe(&found.snapshot), describe(&snapshot));
        // The file goes from the database, and stays in the backup.
        fs::remove_file(store.segment_path(CollectionId(1), SegmentId(2))).unwrap();
        assert_eq!(
            fs::read(target.join("segments/1/2.parquet")).unwrap(),
            b"12345"
        );
    }

    #[test]
    fn a_directory_with_something_in_it_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let (store, snapshot) = database(&directory.path().join("data"));
        let target = directory.path().join("full");
        fs::create_dir(&target).unwrap();
        fs::write(target.join("notes"), "mine").unwrap();
        let error = backup(&store, &snapshot, &target).unwrap_err();
        assert_eq!(error.sqlstate(), "55000");
        assert_eq!(fs::read_dir(&target).unwrap().count(), 1);
    }

    #[test]
    fn a_backup_that_fails_leaves_nothing_and_is_no_database() {
        let directory = tempfile::tempdir().unwrap();
        let (store, snapshot) = database(&directory.path().join("data"));
        fs::remove_file(directory.path().join("data/segments/1/2.parquet")).unwrap();
        let target = directory.path().join("backup");
        assert!(backup(&store, &snapshot, &target).is_err());
        assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
        assert_eq!(
            restore(&target, &directory.path().join("new"))
                .unwrap_err()
                .sqlstate(),
            "58P01"
        );
    }

    #[test]
    fn an_open_database_is_not_restored_and_neither_is_a_damaged_one() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        let (store, _) = database(&data);
        let target = directory.path().join("new");
        assert_eq!(restore(&data, &target).unwrap_err().sqlstate(), "55006");
        drop(store);
        let checkpoint = data.join("checkpoint/00000000000000000001.ckpt");
        fs::write(checkpoint, "not a checkpoint").unwrap();
        assert_eq!(restore(&data, &target).unwrap_err().sqlstate(), "XX001");
        assert!(!target.exists());
    }
}
