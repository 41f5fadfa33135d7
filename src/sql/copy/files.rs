//! The files that a path of COPY names.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;

use super::options::{CopyOptions, Format};
use super::progress::{CopyProgress, Counted};
use crate::error::{Error, Result, sqlstate};

/// A file to read.
#[derive(Debug, Clone)]
pub(super) struct InputFile {
    pub(super) path: PathBuf,
    pub(super) format: Format,
    compression: CompressionTypeVariant,
}

impl InputFile {
    /// The file's name, for messages.
    pub(super) fn label(&self) -> String {
        self.path.display().to_string()
    }

    /// # Errors
    /// 58P01 when it is gone, 58030 for other I/O errors.
    pub(super) fn open(&self) -> Result<File> {
        File::open(&self.path).map_err(|e| open_error(&self.path, e))
    }

    /// The file's size in bytes; 0 when it is gone, which opening it will tell.
    pub(super) fn bytes(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |m| m.len())
    }

    /// The file's bytes without its compression; `progress` counts them with it.
    ///
    /// # Errors
    /// Those of [`InputFile::open`].
    pub(super) fn open_decompressed(
        &self,
        progress: &Arc<CopyProgress>,
    ) -> Result<Box<dyn Read + Send>> {
        let progress = Arc::clone(progress);
        let file = Counted {
            inner: self.open()?,
            progress,
        };
        Ok(FileCompressionType::from(self.compression).convert_read(file)?)
    }
}

fn open_error(path: &Path, error: std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::NotFound {
        let message = format!("could not open file \"{}\": no such file", path.display());
        return Error::not_found(sqlstate::UNDEFINED_FILE, message);
    }
    Error::io(format!("open file \"{}\"", path.display()), error)
}

/// The files of a path: itself, those of a directory, or those that match a glob; in the order of their names.
///
/// # Errors
/// 58P01 when there is none.
pub(super) fn find_files(path: &str, options: &CopyOptions) -> Result<Vec<InputFile>> {
    let paths = expand(path)?;
    if paths.is_empty() {
        let message = format!("no file matches \"{path}\"");
        return Err(Error::not_found(sqlstate::UNDEFINED_FILE, message));
    }
    let file = |path: PathBuf| InputFile {
        format: options.format_of(&path),
        compression: options.compression_of(&path),
        path,
    };
    Ok(paths.into_iter().map(file).collect())
}

fn expand(path: &str) -> Result<Vec<PathBuf>> {
    let plain = PathBuf::from(path);
    if plain.is_dir() {
        return files_of(&plain);
    }
    if plain.exists() || !path.contains(['*', '?', '[']) {
        // A missing file is found out by opening it, which says why.
        File::open(&plain).map_err(|e| open_error(&plain, e))?;
        return Ok(vec![plain]);
    }
    let matches = glob::glob(path).map_err(|e| {
        let message = format!("\"{path}\" is not a pattern of files: {e}");
        Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message)
    })?;
    let mut files = Vec::new();
    for found in matches {
        let found = found.map_err(|e| {
            let what = format!("read directory \"{}\"", e.path().display());
            Error::io(what, e.into())
        })?;
        if found.is_file() {
            files.push(found);
        }
    }
    Ok(files)
}

fn files_of(directory: &Path) -> Result<Vec<PathBuf>> {
    let error = |e| Error::io(format!("read directory \"{}\"", directory.display()), e);
    let mut files = Vec::new();
    for entry in directory.read_dir().map_err(error)? {
        let path = entry.map_err(error)?.path();
        let hidden = path
            .file_name()
            .is_some_and(|n| n.to_string_lossy().starts_with(['.', '_']));
        if path.is_file() && !hidden {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
