//! The files of one database directory, and the order in which they become durable.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::schema::{CollectionId, FilterId, SegmentId};
use crate::error::{Error, ErrorKind, Result, sqlstate};

/// First line of `LOCK`: what the directory is, and the format of its files.
pub(super) const MARK: &str = "shelfmark 1\n";
const DIRECTORIES: [&str; 5] = ["log", "checkpoint", "segments", "indexes", "tmp"];

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
    /// Holds the OS lock; the operating system frees it when the process ends, however it ends.
    _lock: File,
    temporary: AtomicU64,
}

impl Store {
    /// Opens a database directory, making it where there is none or an empty one.
    ///
    /// # Errors
    /// 55006 when another opener has it, 55000 when it holds something else, 58030 for what the disk says.
    pub fn open(root: impl AsRef<Path>) -> Result<Self> {
        let root = root.as_ref();
        if !root.exists() {
            create_directories(root)?;
        }
        let root = root.canonicalize().map_err(|e| io("open", root, e))?;
        check_ours(&root)?;
        let lock = lock(&root)?;
        for name in DIRECTORIES {
            let path = root.join(name);
            match fs::symlink_metadata(&path) {
                Ok(found) if found.is_dir() => {}
                Ok(_) => return Err(foreign(&root, &format!("\"{name}\" is not a directory"))),
                Err(_) => fs::create_dir(&path).map_err(|e| io("create", &path, e))?,
            }
        }
        sync_directory(&root)?;
        let store = Self {
            root,
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
        let directory = self.indexes_dir().join(collection.to_string());
        directory.join(format!("{filter}.bloom"))
    }

    /// Removes a file with bloom filters that no commit names. A file that is not there is fine.
    ///
    /// # Errors
    /// 58030 for what the disk says.
    pub fn remove_filter(&self, collection: CollectionId, filter: FilterId) -> Result<()> {
        remove(&self.filter_path(collection, filter))
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
        remove(&self.segment_path(collection, segment))
    }

    /// A new file that will be published as `path`.
    pub(super) fn create(&self, path: PathBuf) -> Result<NewFile> {
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = self.tmp_dir().join(format!("new-{number}"));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&temporary)
            .map_err(|e| io("create", &temporary, e))?;
        Ok(NewFile {
            file,
            temporary,
            path,
        })
    }

    fn empty_tmp(&self) -> Result<()> {
        let directory = self.tmp_dir();
        for entry in fs::read_dir(&directory).map_err(|e| io("read", &directory, e))? {
            let entry = entry.map_err(|e| io("read", &directory, e))?;
            let path = entry.path();
            let is_dir = entry.file_type().is_ok_and(|t| t.is_dir());
            let removed = if is_dir {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.map_err(|e| io("remove", &path, e))?;
        }
        Ok(())
    }
}

/// A file that exists only for its writer until it is published; dropping it removes it.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
}

impl NewFile {
    /// The file, open for reading and writing.
    pub fn file(&mut self) -> &mut File {
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
        fs::hard_link(&self.temporary, &self.path).map_err(|e| io("create", &self.path, e))?;
        self.sync_name()
    }

    /// Makes the file durable under its name, replacing what has that name.
    pub(super) fn publish_over(self) -> Result<()> {
        self.sync()?;
        fs::rename(&self.temporary, &self.path).map_err(|e| io("create", &self.path, e))?;
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
        create_directories(directory)
    }

    fn sync_name(&self) -> Result<()> {
        sync_directory(self.directory())
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
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Makes a directory and what is missing above it, durably.
fn create_directories(path: &Path) -> Result<()> {
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Ok(()),
    };
    if !parent.exists() {
        create_directories(parent)?;
    }
    match fs::create_dir(path) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(io("create", path, e)),
        _ => sync_directory(parent),
    }
}

/// Makes names in a directory durable.
pub(super) fn sync_directory(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|e| io("sync directory", path, e))
}

/// Removes a file that may be gone already.
pub(super) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(io("remove", path, e)),
        _ => Ok(()),
    }
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

/// That the directory is a database of ours, or empty, or one whose making was interrupted.
fn check_ours(root: &Path) -> Result<()> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root).map_err(|e| io("read", root, e))? {
        let entry = entry.map_err(|e| io("read", root, e))?;
        names.push(entry.file_name());
    }
    // LOCK says what it is before anything else is made beside it.
    if fs::metadata(root.join("LOCK")).is_ok_and(|lock| lock.len() > 0) {
        return Ok(());
    }
    names.retain(|n| n != "lost+found" && n != "LOCK");
    if names.is_empty() {
        return Ok(());
    }
    Err(foreign(root, "it is not empty, and no LOCK file says so"))
}

fn lock(root: &Path) -> Result<File> {
    let path = root.join("LOCK");
    if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file()) {
        return Err(foreign(root, "LOCK is not a file"));
    }
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|e| io("open", &path, e))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(in_use(root, &mut file)),
        Err(TryLockError::Error(e)) => return Err(io("lock", &path, e)),
    }
    let mut content = Vec::new();
    Read::by_ref(&mut file)
        .take(4_096)
        .read_to_end(&mut content)
        .map_err(|e| io("read", &path, e))?;
    if !content.is_empty() && !content.starts_with(MARK.as_bytes()) {
        return Err(foreign(root, "LOCK is not of this version of Shelfmark"));
    }
    file.seek(SeekFrom::Start(0))
        .and_then(|_| writeln!(file, "{MARK}process {}", std::process::id()))
        .and_then(|()| file.stream_position())
        .and_then(|end| file.set_len(end))
        .and_then(|()| file.sync_all())
        .map_err(|e| io("write", &path, e))?;
    Ok(file)
}

fn in_use(root: &Path, lock: &mut File) -> Error {
    let mut owner = String::new();
    let _ = lock.take(4_096).read_to_string(&mut owner);
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
        fs::write(dir.path().join("LOCK"), "").unwrap();
        assert_eq!(Store::open(dir.path()).unwrap_err().sqlstate(), "55000");
        fs::write(dir.path().join("LOCK"), "somebody else's").unwrap();
        assert_eq!(Store::open(dir.path()).unwrap_err().sqlstate(), "55000");
        assert_eq!(
            fs::read(dir.path().join("LOCK")).unwrap(),
            b"somebody else's"
        );
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
