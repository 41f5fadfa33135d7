//! What a store asks of the disk, one operation at a time: the operating system does it, and a test may stand between.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An operation of a store. A file is called by the name under which it was created or opened, whatever became of
/// that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation<'a> {
    /// A new file is created and opened.
    Create(&'a Path),
    /// A file that is there is opened to be written, created if it is not there.
    Open(&'a Path),
    /// Bytes are written at a place of a file.
    Write(&'a Path, u64, &'a [u8]),
    /// A file gets another length.
    SetLength(&'a Path, u64),
    /// What was written to a file becomes durable, its length included.
    Sync(&'a Path),
    /// The names in a directory become durable.
    SyncDirectory(&'a Path),
    /// A file gets a second name, which must be free.
    Link(&'a Path, &'a Path),
    /// A file gets another name, in the place of the one that has it.
    Rename(&'a Path, &'a Path),
    /// A name goes, and the file with its last name.
    Remove(&'a Path),
    /// A directory is made.
    CreateDirectory(&'a Path),
    /// An empty directory goes.
    RemoveDirectory(&'a Path),
    /// A file is read whole.
    Read(&'a Path),
    /// The names in a directory are read.
    List(&'a Path),
}

/// What stands between a store and the operating system.
pub(crate) trait Disk: fmt::Debug + Send + Sync {
    /// Does the operation by calling `act` once, or does not and says why.
    ///
    /// # Errors
    /// Those of `act`, and what else a disk may say.
    fn perform(
        &self,
        operation: Operation<'_>,
        act: &mut dyn FnMut() -> io::Result<()>,
    ) -> io::Result<()>;
}

/// Nothing stands between.
#[derive(Debug)]
struct SystemDisk;

impl Disk for SystemDisk {
    fn perform(&self, _: Operation<'_>, act: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        act()
    }
}

/// The files of a disk. Clones are the same disk.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    disk: Arc<dyn Disk>,
}

impl Default for Files {
    fn default() -> Self {
        Self::on(Arc::new(SystemDisk))
    }
}

impl Files {
    /// The files of that disk.
    pub(crate) fn on(disk: Arc<dyn Disk>) -> Self {
        Self { disk }
    }

    fn perform<T>(
        &self,
        operation: Operation<'_>,
        mut act: impl FnMut() -> io::Result<T>,
    ) -> io::Result<T> {
        let mut answer = None;
        self.disk.perform(operation, &mut || {
            answer = Some(act()?);
            Ok(())
        })?;
        answer.ok_or_else(|| io::Error::other("the disk did nothing"))
    }

    fn perform_only(
        &self,
        operation: Operation<'_>,
        mut act: impl FnMut() -> io::Result<()>,
    ) -> io::Result<()> {
        self.disk.perform(operation, &mut act)
    }

    /// Creates a file, open for reading and writing.
    pub(super) fn create(&self, path: &Path) -> io::Result<StoreFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        let file = self.perform(Operation::Create(path), || options.open(path))?;
        Ok(self.file(path, file))
    }

    /// Opens a file for reading and writing, creating it where there is none.
    pub(super) fn open(&self, path: &Path) -> io::Result<StoreFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = self.perform(Operation::Open(path), || options.open(path))?;
        Ok(self.file(path, file))
    }

    fn file(&self, path: &Path, file: File) -> StoreFile {
        StoreFile {
            files: self.clone(),
            path: path.into(),
            file,
            end: 0,
        }
    }

    /// All bytes of a file.
    pub(super) fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.perform(Operation::Read(path), || {
            // A link could lead anywhere, and a pipe would never end.
            match fs::symlink_metadata(path)?.is_file() {
                true => fs::read(path),
                false => Err(io::Error::other("it is not a regular file")),
            }
        })
    }

    /// The paths in a directory, in no order.
    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.perform(Operation::List(path), || {
            fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect()
        })
    }

    /// Gives a file a second name, which must be free.
    pub(super) fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.perform_only(Operation::Link(from, to), || fs::hard_link(from, to))
    }

    /// Gives a file another name, which may be taken.
    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.perform_only(Operation::Rename(from, to), || fs::rename(from, to))
    }

    /// Removes a file; one that is not there is fine.
    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        self.perform_only(Operation::Remove(path), || match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        })
    }

    /// Makes a directory; one that is there is fine.
    pub(super) fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.perform_only(Operation::CreateDirectory(path), || {
            match fs::create_dir(path) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
                _ => Ok(()),
            }
        })
    }

    /// Removes an empty directory.
    pub(super) fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.perform_only(Operation::RemoveDirectory(path), || fs::remove_dir(path))
    }

    /// Makes the names in a directory durable.
    pub(super) fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.perform_only(Operation::SyncDirectory(path), || {
            File::open(path)?.sync_all()
        })
    }
}

/// An open file of a store: written from its start onward, or at a place.
#[derive(Debug)]
pub struct StoreFile {
    files: Files,
    path: Arc<Path>,
    file: File,
    /// Where the next bytes of [`Write`] go.
    end: u64,
}

impl StoreFile {
    /// The same file, open once more and written from its start.
    ///
    /// # Errors
    /// What the operating system says, for one that too many files are open.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(self.files.file(&self.path, self.file.try_clone()?))
    }

    /// The operating system's file, for reading.
    ///
    /// # Errors
    /// Those of [`StoreFile::try_clone`].
    pub fn to_read(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// The operating system's file, for its lock.
    pub(super) fn inner(&mut self) -> &mut File {
        &mut self.file
    }

    /// Writes all of the bytes at a place.
    pub(super) fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let operation = Operation::Write(&self.path, offset, bytes);
        self.files
            .perform_only(operation, || self.file.write_all_at(bytes, offset))
    }

    /// The file once more, by a name that it has, for writes past the page cache that are durable when they return; if
    /// one of `blocks`, which are there already, succeeds.
    pub(super) fn open_direct(&self, name: &Path, blocks: &[u8], begin: u64) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).custom_flags(direct_flags()?);
        self.files.perform(Operation::Open(name), || {
            let file = options.open(name)?;
            file.write_all_at(blocks, begin)?;
            Ok(file)
        })
    }

    /// Writes all of `bytes` at a place, and makes them durable, by one write to `direct`: of the whole `blocks` from
    /// `begin` on in which they lie.
    pub(super) fn write_direct(
        &self,
        direct: &File,
        bytes: &[u8],
        offset: u64,
        blocks: &[u8],
        begin: u64,
    ) -> io::Result<()> {
        let operation = Operation::Write(&self.path, offset, bytes);
        self.files
            .perform_only(operation, || direct.write_all_at(blocks, begin))?;
        // To what stands between they are two.
        self.files
            .perform_only(Operation::Sync(&self.path), || Ok(()))
    }

    /// Gives the file another length.
    pub(super) fn set_length(&self, bytes: u64) -> io::Result<()> {
        let operation = Operation::SetLength(&self.path, bytes);
        self.files
            .perform_only(operation, || self.file.set_len(bytes))
    }

    /// Makes what was written durable, times and all.
    pub(super) fn sync_all(&self) -> io::Result<()> {
        let operation = Operation::Sync(&self.path);
        self.files.perform_only(operation, || self.file.sync_all())
    }

    /// Makes what was written durable, and of the file's properties only what is needed to read it.
    pub(super) fn sync_data(&self) -> io::Result<()> {
        let operation = Operation::Sync(&self.path);
        self.files.perform_only(operation, || self.file.sync_data())
    }
}

/// What makes writes go past the page cache and be durable when they return.
#[cfg(target_os = "linux")]
fn direct_flags() -> io::Result<i32> {
    Ok(libc::O_DIRECT | libc::O_DSYNC)
}

#[cfg(not(target_os = "linux"))]
fn direct_flags() -> io::Result<i32> {
    Err(io::ErrorKind::Unsupported.into())
}

impl Write for StoreFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all_at(bytes, self.end)?;
        self.end += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl From<File> for StoreFile {
    /// A file that belongs to no store, written from its start.
    fn from(file: File) -> Self {
        Files::default().file(Path::new(""), file)
    }
}
