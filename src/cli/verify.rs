//! `shelfmark verify`: every byte of a database's files against its checksums.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use shelfmark::storage::verify::{CheckedFile, verify};

use super::args::Format;
use super::inspect::{numbers, table, texts};
use super::print::Printer;
use super::shell::Failure;

/// Prints the files that were read and what is wrong with them; fails when something is.
///
/// # Errors
/// 58P01 for a directory without a database, 58030 for what the disk says, or the output's error.
pub fn run(root: &Path, format: Format) -> Result<ExitCode, Failure> {
    let files = verify(root)?;
    let name = |file: &CheckedFile| {
        let below = file.path.strip_prefix(root).unwrap_or(&file.path);
        below.display().to_string()
    };
    let rows = table([
        texts("file", files.iter().map(name)),
        numbers("bytes", files.iter().map(|file| file.bytes)),
        texts("state", files.iter().map(state)),
    ])?;
    let mut out = BufWriter::new(io::stdout());
    let mut printer = Printer::new(format, false, &rows.schema());
    printer.write(&rows, &mut out)?;
    printer.finish(&mut out)?;
    out.flush()?;
    let damaged = files.iter().filter(|file| file.problem.is_some()).count();
    if damaged > 0 {
        eprintln!("{damaged} of {} files are damaged", files.len());
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn state(file: &CheckedFile) -> String {
    match &file.problem {
        None => "good".to_string(),
        Some(error) => format!("{}: {}", error.sqlstate(), error.message()),
    }
}
