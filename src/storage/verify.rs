//! Reading every byte of a database's files against its checksums, without writing to them.

use std::path::{Path, PathBuf};

use super::checkpoint;
use super::collection::{Collection, Segment};
use super::disk::Files;
use super::filter_file;
use super::index::FilterPlace;
use super::inspect::{Inspection, check_mark, inspect};
use super::log::{log_files, numbered_files};
use super::replay::check_logs;
use super::segment::SegmentReader;
use super::store::{filter_path, io, segment_path};
use crate::error::{Error, Result};

/// A file that was read.
#[derive(Debug)]
pub struct CheckedFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its bytes; 0 for a file that is missing.
    pub bytes: u64,
    /// What is wrong with it.
    pub problem: Option<Error>,
}

impl CheckedFile {
    fn new(path: PathBuf, checked: Result<()>) -> Self {
        Self {
            bytes: std::fs::metadata(&path).map_or(0, |found| found.len()),
            problem: checked.err(),
            path,
        }
    }
}

/// Reads all files of a database directory: checkpoints, logs, and those that its newest version names.
///
/// A process that has it open may go on meanwhile; a file that it removes in that moment counts as missing.
///
/// # Errors
/// 58P01 for a directory without a database, 58030 for what the disk says of the directory. What is wrong with a file
/// is told with the file; when the newest version cannot be read, the files that only it names are not there.
pub fn verify(root: &Path) -> Result<Vec<CheckedFile>> {
    check_mark(root)?;
    let files = Files::default();
    let mut checked = Vec::new();
    for (version, path) in numbered_files(&files, &root.join("checkpoint"), "ckpt")? {
        let bytes = files.read(&path).map_err(|e| io("read", &path, e));
        let good = bytes.and_then(|bytes| checkpoint::check(bytes, version));
        let good = good.map_err(|e| e.context(path.display()));
        checked.push(CheckedFile::new(path, good));
    }
    let logs = log_files(&files, &root.join("log"))?;
    let logs = check_logs(&files, &logs).into_iter();
    checked.extend(logs.map(|(path, good)| CheckedFile::new(path, good)));
    match inspect(root) {
        Ok(found) => checked.extend(check_data(root, &found)),
        // Told with the log file already, unless it is about what is in it.
        Err(_) if checked.iter().any(|file| file.problem.is_some()) => {}
        Err(error) => checked.push(CheckedFile::new(root.join("log"), Err(error))),
    }
    Ok(checked)
}

fn check_data(root: &Path, found: &Inspection) -> Vec<CheckedFile> {
    let mut checked = Vec::new();
    for collection in found.snapshot.collections() {
        for segment in collection.segments() {
            checked.extend(check_segment(root, collection, segment));
        }
    }
    checked
}

/// Reads the files of a sealed segment: its own, and those with its bloom filters.
pub fn check_segment(root: &Path, collection: &Collection, segment: &Segment) -> Vec<CheckedFile> {
    let label = collection.segment_label(segment.id);
    let path = segment_path(root, collection.id, segment.id);
    // Not from the cache, which may have known the file before it was damaged.
    let reader = SegmentReader::open_whole(&path, &label, segment.bytes, segment.crc32c);
    let good = reader.and_then(|reader| reader.check_all(segment.crc32c));
    let mut checked = vec![CheckedFile::new(path, good)];
    for filter in segment.filters.iter() {
        if let FilterPlace::File { id, crc32c } = filter.place {
            let path = filter_path(root, collection.id, id);
            let read = filter_file::read(&Files::default(), &path, &label, crc32c);
            checked.push(CheckedFile::new(path, read.map(drop)));
        }
    }
    checked
}
