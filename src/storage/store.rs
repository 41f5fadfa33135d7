//! The files of one database directory, and the order in which they become durable.

use std::fs::{self, TryLockError};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::disk::{Files, StoreFile};
use super::schema::{CollectionId, FilterId, SegmentId};
use crate::error::{Error, ErrorKind, Result, sqlstate};

/// First line of `LOCK`: what the directory is, and the format of its files.
pub(super) const MARK: &str = "shelfmark 1\n";
/// The directories of a database.
pub(super) const DIRECTORIES: [&str; 5] = ["log", "checkpoint", "segments", "indexes", "tmp"];

/// One database directory, owned by this process as long as the value lives.
///
/// Durable order, kept by everything that writes here:
///
/// 1. A segment file is written under `tmp/`, synced, linked to its final name without replacing, and its directory
///    synced ([`NewFile::publish`]); only then may a commit name it.
/// 2. A commit's frame is written to the log and synced; only then is its snapshot published and acknowledged.
/// 3. A checkpoint is written under `tmp/`, synced, renamed, its directory synced; only then are the log files go
///    that it and the checkpoint before it make needless.
/// 4. A file of bloom filters becomes durable and is named like a segment file.
/// 5. A segment file is deleted only after the commit that removes the segment is durable and no snapshot that has
///    it is alive (`vacuum`); so are its bloom filters.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    files: Files,
    /// Holds the OS lock; the operating system frees it when the process ends, however it ends.
    _lock: StoreFile,
    temporary: AtomicU64,
}

impl Store {
    /// Opens a database directory, making it where there is none or an empty one.
    ///
    /// # Errors
    /// 55006 when another opener has it, 55000 when it holds something else, 58030 for what the disk says.
    pub fn open(root: impl AsRef<Path>) -> Result<Self> {
        Self::open_on(root, Files::default())
    }

    /// As [`Store::open`], on that disk.
    pub(crate) fn open_on(root: impl AsRef<Path>, files: Files) -> Result<Self> {
        let root = root.as_ref();
        if !root.exists() {
            create_directories(&files, root)?;
        }
        let root = root.canonicalize().map_err(|e| io("open", root, e))?;
        check_ours(&files, &root)?;
        let lock = lock(&files, &root)?;
        // Before anything is beside it: a directory with something in it and without LOCK is not ours.
        sync_directory(&files, &root)?;
        for name in DIRECTORIES {
            let path = root.join(name);
            match fs::symlink_metadata(&path) {
                Ok(found) if found.is_dir() => {}
                Ok(_) => return Err(foreign(&root, &format!("\"{name}\" is not a directory"))),
                Err(_) => files
                    .create_directory(&path)
                    .map_err(|e| io("create", &path, e))?,
            }
        }
        sync_directory(&files, &root)?;
        let store = Self {
            root,
            files,
            _lock: lock,
            temporary: AtomicU64::new(0),
        };
        store.empty_tmp()?;
        Ok(store)
    }

    /// The database directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Its files, as the disk has them.
    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    /// Where commits are.
    pub fn log_dir(&self) -> PathBuf {
        self.root.join("log")
    }

    /// Where checkpoints are.
    pub fn checkpoint_dir(&self) -> PathBuf {
        self.root.join("checkpoint")
    }

    /// Where segments are, one directory per collection.
    pub fn segments_dir(&self) -> PathBuf {
        self.root.join("segments")
    }

    /// Where bloom filters of indexes are that segments do not have themselves, one directory per collection.
    pub fn indexes_dir(&self) -> PathBuf {
        self.root.join("indexes")
    }

    /// For files that nobody needs after a crash; emptied at open.
    pub fn tmp_dir(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// The file of a sealed segment.
    pub fn segment_path(&self, collection: CollectionId, segment: SegmentId) -> PathBuf {
        segment_path(&self.root, collection, segment)
    }

    /// A file with the bloom filters of a column of a sealed segment.
    pub fn filter_path(&self, collection: CollectionId, filter: FilterId) -> PathBuf {
        filter_path(&self.root, collection, filter)
    }

    /// Removes a file with bloom filters that no commit names. A file that is not there is fine.
    ///
    /// # Errors
    /// 58030 for what the disk says.
    pub fn remove_filter(&self, collection: CollectionId, filter: FilterId) -> Result<()> {
        remove(&self.files, &self.filter_path(collection, filter))
    }

    /// A new segment file, invisible until it is published.
    ///
    /// # Errors
    /// 58030 or 53100 for what the disk says.
    pub fn create_segment(&self, collection: CollectionId, segment: SegmentId) -> Result<NewFile> {
        self.create(self.segment_path(collection, segment))
    }

    /// Removes the file of a segment that no commit names, or none any more. A file that is not there is fine.
    ///
    /// # Errors
    /// 58030 for what the disk says.
    pub fn remove_segment(&self, collection: CollectionId, segment: SegmentId) -> Result<()> {
        remove(&self.files, &self.segment_path(collection, segment))
    }

    /// A new file that will be published as `path`.
    pub(super) fn create(&self, path: PathBuf) -> Result<NewFile> {
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = self.tmp_dir().join(format!("new-{number}"));
        let created = self.files.create(&temporary);
        let file = created.map_err(|e| io("create", &temporary, e))?;
        Ok(NewFile {
            files: self.files.clone(),
            file,
            temporary,
            path,
        })
    }

    fn empty_tmp(&self) -> Result<()> {
        let directory = self.tmp_dir();
        let entries = self.files.list(&directory);
        for path in entries.map_err(|e| io("read", &directory, e))? {
            let is_dir = fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir());
            let removed = if is_dir {
                fs::remove_dir_all(&path)
            } else {
                self.files.remove(&path)
            };
            removed.map_err(|e| io("remove", &path, e))?;
        }
        Ok(())
    }
}

/// A file that exists only for its writer until it is published; dropping it removes it.
#[derive(Debug)]
pub struct NewFile {
    files: Files,
    file: StoreFile,
    temporary: PathBuf,
    path: PathBuf,
}

impl NewFile {
    /// The file, open for reading and writing.
    pub fn file(&mut self) -> &mut StoreFile {
        &mut self.file
    }

    /// The name it will have.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the file durable under its name, which must be free.
    ///
    /// # Errors
    /// 58030 or 53100 for what the disk says, also when the name is taken.
    pub fn publish(self) -> Result<()> {
        self.sync()?;
        // A link, unlike a rename, fails when the name is taken: a segment file is never overwritten.
        let linked = self.files.link(&self.temporary, &self.path);
        linked.map_err(|e| io("create", &self.path, e))?;
        self.sync_name().inspect_err(|_| {
            // Nobody will name the file. Where it cannot be removed either, or a power cut brings it back, the sweep
            // at the next open takes it.
            let _ = self.files.remove(&self.path);
        })
    }

    /// Makes the file durable under its name, replacing what has that name.
    pub(super) fn publish_over(self) -> Result<()> {
        self.sync()?;
        let renamed = self.files.rename(&self.temporary, &self.path);
        renamed.map_err(|e| io("create", &self.path, e))?;
        self.sync_name()
    }

    fn sync(&self) -> Result<()> {
        self.file
            .sync_all()
            .map_err(|e| io("sync", &self.temporary, e))?;
        let directory = self.directory();
        if directory.is_dir() {
            return Ok(());
        }
        create_directories(&self.files, directory)
    }

    fn sync_name(&self) -> Result<()> {
        sync_directory(&self.files, self.directory())
    }

    fn directory(&self) -> &Path {
        self.path
            .parent()
            .expect("invariant: every file has a directory")
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // After a rename there is nothing left to remove; what stays after an error goes at the next open.
        let _ = self.files.remove(&self.temporary);
    }
}

/// Makes a directory and what is missing above it, durably.
pub(super) fn create_directories(files: &Files, path: &Path) -> Result<()> {
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Ok(()),
    };
    if !parent.exists() {
        create_directories(files, parent)?;
    }
    let created = files.create_directory(path);
    created.map_err(|e| io("create", path, e))?;
    sync_directory(files, parent)
}

/// Makes names in a directory durable.
pub(super) fn sync_directory(files: &Files, path: &Path) -> Result<()> {
    let synced = files.sync_directory(path);
    synced.map_err(|e| io("sync directory", path, e))
}

/// Removes a file that may be gone already.
pub(super) fn remove(files: &Files, path: &Path) -> Result<()> {
    files.remove(path).map_err(|e| io("remove", path, e))
}

/// An I/O error while doing `verb` to `path`.
pub(super) fn io(verb: &str, path: &Path, source: std::io::Error) -> Error {
    Error::io(format_args!("{verb} {}", path.display()), source)
}

/// The file of a sealed segment below a database directory.
pub(super) fn segment_path(root: &Path, collection: CollectionId, segment: SegmentId) -> PathBuf {
    let directory = root.join("segments").join(collection.to_string());
    directory.join(format!("{segment}.parquet"))
}

/// A file with bloom filters below a database directory.
pub(super) fn filter_path(root: &Path, collection: CollectionId, filter: FilterId) -> PathBuf {
    let directory = root.join("indexes").join(collection.to_string());
    directory.join(format!("{filter}.bloom"))
}

/// That the directory is a database of ours, or empty, or one whose making was interrupted.
fn check_ours(files: &Files, root: &Path) -> Result<()> {
    let mut names = files.list(root).map_err(|e| io("read", root, e))?;
    if is_marked(root) {
        return Ok(());
    }
    names.retain(|n| !n.ends_with("lost+found") && !n.ends_with("LOCK"));
    if names.is_empty() {
        return Ok(());
    }
    Err(foreign(root, "it is not empty, and no LOCK file says so"))
}

fn lock(files: &Files, root: &Path) -> Result<StoreFile> {
    let path = root.join("LOCK");
    if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file()) {
        return Err(foreign(root, "LOCK is not a file"));
    }
    let mut file = files.open(&path).map_err(|e| io("open", &path, e))?;
    match file.inner().try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(in_use(root, file.inner())),
        Err(TryLockError::Error(e)) => return Err(io("lock", &path, e)),
    }
    let content = first_bytes(file.inner()).map_err(|e| io("read", &path, e))?;
    let is_blank = content.iter().all(|b| *b == 0);
    if !is_blank && !content.starts_with(MARK.as_bytes()) {
        return Err(foreign(root, "LOCK is not of this version of Shelfmark"));
    }
    let owner = format!("{MARK}process {}\n", std::process::id());
    file.write_all_at(owner.as_bytes(), 0)
        .and_then(|()| file.set_length(owner.len() as u64))
        .and_then(|()| file.sync_all())
        .map_err(|e| io("write", &path, e))?;
    Ok(file)
}

/// Enough of a file to see what it is.
fn first_bytes(file: &mut fs::File) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    Read::by_ref(file).take(4_096).read_to_end(&mut content)?;
    Ok(content)
}

/// Whether LOCK says what the directory is, rightly or wrongly. It does so before anything else is made beside it; until
/// that is durable, a power cut may leave it empty, or with zeros.
fn is_marked(root: &Path) -> bool {
    let path = root.join("LOCK");
    match fs::symlink_metadata(&path) {
        Err(_) => false,
        Ok(found) if !found.is_file() => true,
        Ok(_) => {
            let content = fs::File::open(&path).and_then(|mut file| first_bytes(&mut file));
            content.is_ok_and(|bytes| bytes.iter().any(|b| *b != 0))
        }
    }
}

/// That no process has the database open.
///
/// # Errors
/// 55006.
pub(super) fn check_unlocked(root: &Path) -> Result<()> {
    let path = root.join("LOCK");
    // Only read: a backup may lie where nothing can be written.
    let mut file = fs::File::open(&path).map_err(|e| io("open", &path, e))?;
    match file.try_lock_shared() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(in_use(root, &mut file)),
        Err(TryLockError::Error(e)) => Err(io("lock", &path, e)),
    }
}

fn in_use(root: &Path, lock: &mut fs::File) -> Error {
    let content = first_bytes(lock).unwrap_or_default();
    let owner = String::from_utf8_lossy(&content);
    let owner = owner.lines().nth(1).unwrap_or("another process").trim();
    let message = format!("database {} is in use by {owner}", root.display());
    Error::new(ErrorKind::Unavailable, sqlstate::OBJECT_IN_USE, message)
        .with_hint("One process owns a database; connect to its server, or end it.")
}

fn foreign(root: &Path, why: &str) -> Error {
    let message = format!("{} is not a Shelfmark database: {why}", root.display());
    Error::invalid(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
        .with_hint("Give an empty directory, or one that Shelfmark made.")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write;

    use super::*;

    #[test]
    fn a_second_opener_is_refused_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let error = Store::open(dir.path()).unwrap_err();
        assert_eq!(error.sqlstate(), "55006");
        assert!(error.message().contains(&std::process::id().to_string()));
        drop(store);
        Store::open(dir.path()).unwrap();
    }

    #[test]
    fn a_directory_of_something_else_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.txt"), "precious").unwrap();
        assert_eq!(Store::open(dir.path()).unwrap_err().sqlstate(), "55000");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        for blank in [&[][..], &[0; 25]] {
            fs::write(dir.path().join("LOCK"), blank).unwrap();
            assert_eq!(Store::open(dir.path()).unwrap_err().sqlstate(), "55000");
        }
        fs::write(dir.path().join("LOCK"), "somebody else's").unwrap();
        assert_eq!(Store::open(dir.path()).unwrap_err().sqlstate(), "55000");
        assert_eq!(
            fs::read(dir.path().join("LOCK")).unwrap(),
            b"somebody else's"
        );
    }

    #[test]
    fn making_that_a_power_cut_ended_begins_again() {
        for blank in [&[][..], &[0; 25]] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("LOCK"), blank).unwrap();
            drop(Store::open(dir.path()).unwrap());
            assert!(
                fs::read(dir.path().join("LOCK"))
                    .unwrap()
                    .starts_with(MARK.as_bytes())
            );
        }
    }

    #[test]
    fn a_segments_directory_that_is_a_link_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let root = dir.path().join("deep/database");
        drop(Store::open(&root).unwrap());
        fs::remove_dir(root.join("segments")).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), root.join("segments")).unwrap();
        assert_eq!(Store::open(&root).unwrap_err().sqlstate(), "55000");
    }

    #[test]
    fn a_new_file_appears_whole_once_and_only_when_published() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let path = store.segment_path(CollectionId(1), SegmentId(2));
        let mut first = store.create_segment(CollectionId(1), SegmentId(2)).unwrap();
        let mut second = store.create_segment(CollectionId(1), SegmentId(2)).unwrap();
        first.file().write_all(b"first").unwrap();
        second.file().write_all(b"second").unwrap();
        assert!(!path.exists());
        first.publish().unwrap();
        assert_eq!(second.publish().unwrap_err().sqlstate(), "58030");
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(fs::read_dir(store.tmp_dir()).unwrap().count(), 0);
    }

    #[test]
    fn tmp_is_emptied_at_open() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        fs::create_dir(store.tmp_dir().join("spill")).unwrap();
        fs::write(store.tmp_dir().join("spill/1"), "x").unwrap();
        drop(store);
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(fs::read_dir(store.tmp_dir()).unwrap().count(), 0);
    }
}
