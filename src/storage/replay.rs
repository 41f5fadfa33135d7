//! Reading the log back: every whole frame in order, and the difference between a torn tail and corruption.

use std::ops::Range;
use std::path::{Path, PathBuf};

use arrow::buffer::Buffer;

use super::codec::read_commits;
use super::disk::Files;
use super::log::{
    FILE_HEADER_BYTES, FORMAT, FORMAT_MIN, FRAME_BYTES_MAX, FRAME_HEADER_BYTES, MAGIC, file_header,
    frame_crc, log_files,
};
use super::schema::Version;
use super::store::{io, sync_directory};
use crate::error::{Error, Result};

const RESTORE: &str = "Restore the database directory from a backup.";

/// A frame in its file.
struct Frame<'a> {
    version: Version,
    payload: &'a [u8],
    place: Range<usize>,
}

/// Gives every frame that has commits after `after` to `apply`, which answers with the newest version it has then.
/// Nothing is written: whoever goes on from what was read calls [`Replay::settle`] before.
///
/// A bad frame with nothing good behind it is a write that was never acknowledged: it is ignored. So is one at the
/// end of a file when the next file goes on at its version: it was ignored at an earlier open.
///
/// # Errors
/// XX001 naming file and offset for any other bad frame, a missing file or a bad header; the errors of `apply`.
pub(super) fn read(
    disk: &Files,
    directory: &Path,
    after: Version,
    mut apply: impl FnMut(Buffer) -> Result<Version>,
) -> Result<Replay> {
    let files = log_files(disk, directory)?;
    // The last file that begins at or before the first wanted commit has it; older files are not needed.
    let start = files
        .iter()
        .rposition(|(first, _)| first.0 <= after.0 + 1)
        .unwrap_or(0);
    let mut replay = Replay::after(after);
    for (first, path) in &files[start..] {
        replay.file(disk, path, *first, &mut apply)?;
    }
    Ok(replay)
}

/// Reads log files for themselves, whatever became of the one before; what is wrong with each.
pub(super) fn check_logs(disk: &Files, logs: &[(Version, PathBuf)]) -> Vec<(PathBuf, Result<()>)> {
    let newest = |payload: Buffer| {
        let commits = read_commits(payload)?;
        Ok(commits.last().map_or(Version(0), |commit| commit.version))
    };
    let mut checked = Vec::with_capacity(logs.len());
    let before = |log: Option<&(Version, PathBuf)>| {
        let first = log.map_or(0, |(first, _)| first.0);
        Replay::after(Version(first.saturating_sub(1)))
    };
    let mut replay = before(logs.first());
    for (first, path) in logs {
        let good = replay.file(disk, path, *first, &mut { newest });
        if good.is_err() {
            // The next one is then not blamed for what is missing.
            replay = before(logs.iter().find(|(next, _)| next > first));
        }
        checked.push((path.clone(), good));
    }
    checked
}

/// How far a replay has come.
pub(super) struct Replay {
    newest: Version,
    /// Bytes of the frames so far.
    bytes: u64,
    /// The newest frame: its file, its bytes, and where they begin.
    last: Option<(PathBuf, Vec<u8>, usize)>,
}

impl Replay {
    fn after(newest: Version) -> Self {
        Self {
            newest,
            bytes: 0,
            last: None,
        }
    }

    fn file(
        &mut self,
        disk: &Files,
        path: &Path,
        first: Version,
        apply: &mut impl FnMut(Buffer) -> Result<Version>,
    ) -> Result<()> {
        if first.0 > self.newest.0 + 1 {
            return Err(self.gap(path, first));
        }
        let bytes = disk.read(path).map_err(|e| io("read", path, e))?;
        let salt = check_header(path, &bytes, first)?;
        let mut end = FILE_HEADER_BYTES;
        let mut last = None;
        while let Some(frame) = frame_at(&bytes, end, salt) {
            if frame.version.0 > self.newest.0 + 1 {
                return Err(self.gap(path, frame.version));
            }
            let newest = apply(Buffer::from(frame.payload));
            let named = |e: Error| e.context(format_args!("{} at byte {end}", path.display()));
            self.newest = newest.map_err(named)?.max(self.newest);
            self.bytes += frame.place.len() as u64;
            end = frame.place.end;
            last = Some(frame.place);
        }
        check_tail(path, &bytes, end, salt)?;
        if let Some(place) = last {
            let start = place.start;
            let frame = &bytes[start..place.end.min(bytes.len())];
            self.last = Some((path.to_path_buf(), frame.to_vec(), start));
        }
        Ok(())
    }

    /// Bytes of the frames.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes durable what was read: the last frame is written and synced once more, since it may have been read from
    /// memory that never reached the disk.
    ///
    /// # Errors
    /// 58030 for what the disk says.
    pub(super) fn settle(&self, files: &Files, directory: &Path) -> Result<()> {
        self.rewrite_last(files)?;
        sync_directory(files, directory)
    }

    fn rewrite_last(&self, files: &Files) -> Result<()> {
        let Some((path, bytes, start)) = &self.last else {
            return Ok(());
        };
        let file = files.open(path).map_err(|e| io("open", path, e))?;
        file.write_all_at(bytes, *start as u64)
            .and_then(|()| file.sync_all())
            .map_err(|e| io("sync", path, e))
    }

    fn gap(&self, path: &Path, found: Version) -> Error {
        let missing = self.newest.0 + 1;
        let message = match &self.last {
            Some((last, frame, start)) => format!(
                "log file {} is damaged at byte {}: version {missing} should follow, but {} goes on at {found}",
                last.display(),
                start + frame.len(),
                path.display()
            ),
            None => format!(
                "log file {} at byte {FILE_HEADER_BYTES}: version {missing} is missing, the log begins at {found}",
                path.display()
            ),
        };
        Error::corrupted(message).with_hint(RESTORE)
    }
}

fn check_header(path: &Path, bytes: &[u8], first: Version) -> Result<u64> {
    let wrong = |why: &str| Error::corrupted(format!("log file {}: {why}", path.display()));
    let header = bytes
        .get(..FILE_HEADER_BYTES)
        .ok_or_else(|| wrong("its header is not whole"))?;
    if &header[..8] != MAGIC {
        return Err(wrong("it does not begin as a log file"));
    }
    let salt = u64_at(header, 24);
    let format = u32_at(header, 8);
    if !(FORMAT_MIN..=FORMAT).contains(&format) {
        return Err(wrong(&format!(
            "its format is {format}, this program reads {FORMAT_MIN} to {FORMAT}"
        )));
    }
    if header != file_header(format, first, salt) {
        return Err(wrong("its header is damaged"));
    }
    Ok(salt)
}

/// The whole frame at `offset`, if there is one.
fn frame_at(bytes: &[u8], offset: usize, salt: u64) -> Option<Frame<'_>> {
    let header = bytes.get(offset..offset + FRAME_HEADER_BYTES)?;
    let length = u32_at(header, 0) as usize;
    if length == 0 || length > FRAME_BYTES_MAX {
        return None;
    }
    let begin = offset + FRAME_HEADER_BYTES;
    let payload = bytes.get(begin..begin + length)?;
    if frame_crc(salt, header, payload) != u32_at(header, 4) {
        return None;
    }
    let end = (begin + length).next_multiple_of(8);
    Some(Frame {
        version: Version(u64_at(header, 8)),
        payload,
        place: offset..end,
    })
}

/// That no whole frame lies behind `end`, where none begins.
///
/// A torn write may leave anything behind `end`, a whole frame only if an earlier one is damaged. Checksums are
/// computed for places that look like a frame, up to a few times the file's size.
fn check_tail(path: &Path, bytes: &[u8], end: usize, salt: u64) -> Result<()> {
    let mut budget = bytes.len().saturating_mul(4);
    let mut offset = end;
    while offset + FRAME_HEADER_BYTES <= bytes.len() {
        let length = u32_at(bytes, offset) as usize;
        if length != 0 && offset + FRAME_HEADER_BYTES + length <= bytes.len() {
            if budget < length {
                return Ok(());
            }
            budget -= length;
            if frame_at(bytes, offset, salt).is_some() {
                return Err(Error::corrupted(format!(
                    "log file {} is damaged at byte {end}: a whole frame follows at byte {offset}",
                    path.display()
                ))
                .with_hint(RESTORE));
            }
        }
        offset += 8;
    }
    Ok(())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::{self, OpenOptions};
    use std::sync::Arc;

    use super::super::log::{Frame as NewFrame, LogWriter, file_path};
    use super::*;
    use crate::storage::store::Store;

    /// A log whose frames say which versions they have, in files cut behind their last frame.
    struct Log {
        dir: tempfile::TempDir,
        /// The last version of every frame.
        frames: Vec<u64>,
    }

    impl Log {
        /// One file per slice, one frame per number of commits.
        fn new(files: &[&[u64]]) -> Self {
            let mut log = Self {
                dir: tempfile::tempdir().unwrap(),
                frames: vec![0],
            };
            drop(Store::open(log.dir.path()).unwrap());
            files.iter().for_each(|frames| log.write(frames));
            log
        }

        fn write(&mut self, frames: &[u64]) {
            let store = Arc::new(Store::open(self.dir.path()).unwrap());
            let mut writer = LogWriter::new(store);
            let first = self.last() + 1;
            let mut end = FILE_HEADER_BYTES as u64;
            for commits in frames {
                let first = self.last() + 1;
                let mut frame = NewFrame::new(Version(first));
                for version in first..first + commits {
                    frame.payload().extend(version.to_le_bytes());
                }
                frame.payload().extend(b"odd");
                writer.reserve(&frame).unwrap();
                end += writer.append(frame).unwrap();
                self.frames.push(first + commits - 1);
            }
            let file = OpenOptions::new().write(true).open(self.file(first));
            file.unwrap().set_len(end + 64).unwrap();
        }

        fn last(&self) -> u64 {
            *self.frames.last().unwrap()
        }

        fn file(&self, first: u64) -> PathBuf {
            file_path(&self.dir.path().join("log"), Version(first))
        }

        fn read(&self, after: u64) -> Result<u64> {
            let mut newest = after;
            let directory = self.dir.path().join("log");
            let files = Files::default();
            let replay = read(&files, &directory, Version(after), |payload| {
                for version in payload.as_slice()[..payload.len() - 3].chunks(8) {
                    let version = u64::from_le_bytes(version.try_into().unwrap());
                    assert!(version <= newest + 1, "{version} after {newest}");
                    newest = newest.max(version);
                }
                Ok(Version(newest))
            })?;
            replay.settle(&files, &directory)?;
            Ok(newest)
        }
    }

    #[test]
    fn all_frames_of_all_files_come_in_order() {
        let log = Log::new(&[&[1, 3, 2], &[1], &[5, 5]]);
        for after in 0..=17 {
            assert_eq!(log.read(after).unwrap(), 17);
        }
        assert_eq!(Log::new(&[]).read(0).unwrap(), 0);
    }

    #[test]
    fn a_write_torn_at_any_byte_never_happened() {
        let log = Log::new(&[&[1, 2], &[1, 3]]);
        let file = log.file(4);
        let whole = fs::read(&file).unwrap();
        let begin = FILE_HEADER_BYTES + 32;
        for torn in begin..whole.len() - 64 {
            for filling in [0, 0xaa] {
                let mut bytes = whole.clone();
                bytes[torn..].fill(filling);
                let cut = whole[..torn].to_vec();
                for bytes in [bytes, cut] {
                    fs::write(&file, bytes).unwrap();
                    let newest = log.read(0).unwrap();
                    let padding_only = torn >= whole.len() - 64 - 5;
                    assert!(
                        newest == 4 || padding_only && newest == 7,
                        "{torn}: {newest}"
                    );
                }
            }
        }
        // The database goes on in a new file; the torn frame stays behind it.
        fs::write(&file, &whole[..begin + 20]).unwrap();
        let mut log = log;
        *log.frames.last_mut().unwrap() = 4;
        log.write(&[2]);
        assert_eq!(log.read(0).unwrap(), 6);
    }

    #[test]
    fn a_file_whose_first_frame_is_torn_is_put_aside() {
        let mut log = Log::new(&[&[2], &[3]]);
        let file = log.file(3);
        let bytes = fs::read(&file).unwrap();
        fs::write(&file, &bytes[..FILE_HEADER_BYTES + 20]).unwrap();
        *log.frames.last_mut().unwrap() = 2;
        assert_eq!(log.read(0).unwrap(), 2);
        log.write(&[4]);
        assert_eq!(log.read(0).unwrap(), 6);
        assert!(file.with_extension("torn").exists());
    }

    #[test]
    fn a_damaged_byte_is_found_or_was_never_acknowledged() {
        let log = Log::new(&[&[1, 2, 3], &[1, 2]]);
        for first in [1, 7] {
            let file = log.file(first);
            let whole = fs::read(&file).unwrap();
            for at in 0..whole.len() {
                for mask in [1 << (at % 8), 0xff] {
                    let mut bytes = whole.clone();
                    bytes[at] ^= mask;
                    fs::write(&file, &bytes).unwrap();
                    match log.read(0) {
                        Ok(newest) => assert!([7, 9].contains(&newest), "{first} {at}: {newest}"),
                        Err(error) => {
                            assert_eq!(error.sqlstate(), "XX001");
                            let name = format!("{first:020}.log");
                            assert!(error.message().contains(&name), "{error}");
                        }
                    }
                }
            }
            fs::write(&file, &whole).unwrap();
        }
        assert_eq!(log.read(0).unwrap(), 9);
    }

    #[test]
    fn a_missing_file_is_found() {
        let log = Log::new(&[&[1, 2], &[1], &[2]]);
        fs::remove_file(log.file(4)).unwrap();
        assert_eq!(log.read(0).unwrap_err().sqlstate(), "XX001");
        assert_eq!(log.read(3).unwrap_err().sqlstate(), "XX001");
        assert_eq!(log.read(4).unwrap(), 6);
        fs::remove_file(log.file(1)).unwrap();
        assert_eq!(log.read(0).unwrap_err().sqlstate(), "XX001");
    }
}
