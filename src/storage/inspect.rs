//! What a database directory holds, read without writing to it and without its lock.

use std::fs;
use std::path::{Path, PathBuf};

use super::checkpoint;
use super::disk::Files;
use super::log::numbered_files;
use super::recovery::apply_frame;
use super::replay;
use super::schema::{CollectionId, SegmentId, Version};
use super::snapshot::Snapshot;
use super::store::{MARK, io, segment_path};
use crate::error::{Error, Result, sqlstate};

/// A database directory as it was read.
#[derive(Debug)]
pub struct Inspection {
    /// The newest version: what opening the database would show.
    pub snapshot: Snapshot,
    /// The version of the checkpoint that it was read from; 0 for none.
    pub checkpoint: Version,
    /// Checkpoint files, oldest first.
    pub checkpoints: Vec<NumberedFile>,
    /// Log files, oldest first.
    pub logs: Vec<NumberedFile>,
    root: PathBuf,
}

impl Inspection {
    /// The file of a sealed segment.
    pub fn segment_path(&self, collection: CollectionId, segment: SegmentId) -> PathBuf {
        segment_path(&self.root, collection, segment)
    }
}

/// A file that is called by a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberedFile {
    /// The file.
    pub path: PathBuf,
    /// A checkpoint's version, or the version that a log file begins with.
    pub version: Version,
    /// Its bytes; log files are preallocated.
    pub bytes: u64,
}

/// Reads a database directory.
///
/// A process that has it open may go on meanwhile: what is read is one of its versions, or an error when it removes
/// a file at that moment.
///
/// # Errors
/// 58P01 for a directory that is none or holds no database, XX001 for damaged files, 58030 for what the disk says.
pub fn inspect(root: &Path) -> Result<Inspection> {
    check_mark(root)?;
    let (checkpoint_dir, log_dir) = (root.join("checkpoint"), root.join("log"));
    let files = Files::default();
    let mut snapshot = checkpoint::newest_in(&files, &checkpoint_dir)?;
    let checkpoint = snapshot.version();
    replay::read(&files, &log_dir, checkpoint, |payload| {
        apply_frame(&mut snapshot, payload)
    })?;
    Ok(Inspection {
        snapshot,
        checkpoint,
        checkpoints: with_bytes(numbered_files(&files, &checkpoint_dir, "ckpt")?)?,
        logs: with_bytes(numbered_files(&files, &log_dir, "log")?)?,
        root: root.to_path_buf(),
    })
}

/// That a directory says it is a database of ours.
///
/// # Errors
/// 58P01.
pub(super) fn check_mark(root: &Path) -> Result<()> {
    let mark = fs::read(root.join("LOCK")).unwrap_or_default();
    if mark.starts_with(MARK.as_bytes()) {
        return Ok(());
    }
    let message = format!("\"{}\" holds no database of this version", root.display());
    Err(Error::not_found(sqlstate::UNDEFINED_FILE, message))
}

fn with_bytes(files: Vec<(Version, PathBuf)>) -> Result<Vec<NumberedFile>> {
    let with_bytes = |(version, path): (Version, PathBuf)| {
        let bytes = fs::metadata(&path).map_err(|e| io("read", &path, e))?.len();
        Ok(NumberedFile {
            path,
            version,
            bytes,
        })
    };
    files.into_iter().map(with_bytes).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use super::*;
    use crate::settings::Settings;
    use crate::storage::change::Change;
    use crate::storage::engine::Engine;
    use crate::storage::transaction::Transaction;

    fn contents(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut open = vec![root.to_path_buf()];
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else {
                    found.insert(path.clone(), fs::read(path).unwrap());
                }
            }
        }
        found
    }

    #[tokio::test]
    async fn an_open_database_is_read_and_nothing_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("data");
        let engine = Engine::open(&root, Settings::default()).unwrap();
        let changes = vec![Change::CreateSchema("lib".to_string())];
        let transaction = Transaction::new(Version(0), changes);
        engine.committer.commit(transaction).await.unwrap();
        let before = contents(&root);
        let found = inspect(&root).unwrap();
        assert_eq!(found.snapshot.version(), Version(1));
        assert!(found.snapshot.has_schema("lib"));
        assert_eq!((found.checkpoint, found.logs.len()), (Version(0), 1));
        assert_eq!(contents(&root), before);
    }

    #[test]
    fn another_directory_is_no_database() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(inspect(directory.path()).unwrap_err().sqlstate(), "58P01");
        assert_eq!(contents(directory.path()).len(), 0);
    }
}
