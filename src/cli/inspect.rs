//! `shelfmark inspect`: what a database directory holds, read without writing to it.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt64Array};
use shelfmark::Result;
use shelfmark::storage::collection::{Collection, Segment};
use shelfmark::storage::inspect::{Inspection, NumberedFile, inspect};

use super::args::Format;
use super::print::Printer;
use super::shell::Failure;

/// Prints what the directory holds.
///
/// # Errors
/// 58P01 for a directory without a database, XX001 for damaged files, or the output's error.
pub fn run(root: &Path, format: Format) -> Result<(), Failure> {
    let found = inspect(root)?;
    let mut out = BufWriter::new(io::stdout());
    for (title, rows) in [
        ("Database", summary(&found)?),
        ("Collections", collections(&found)?),
        ("Segments", segments(&found)?),
        ("Files", files(root, &found)?),
    ] {
        if format.is_for_reading() {
            writeln!(out, "{title}")?;
        }
        let mut printer = Printer::new(format, false, &rows.schema());
        printer.write(&rows, &mut out)?;
        printer.finish(&mut out)?;
        writeln!(out)?;
    }
    Ok(out.flush()?)
}

fn summary(found: &Inspection) -> Result<RecordBatch> {
    let snapshot = &found.snapshot;
    table([
        numbers("version", [snapshot.version().0]),
        texts("committed_at", [time(snapshot.timestamp_ms())]),
        numbers("checkpoint", [found.checkpoint.0]),
        numbers("collections", [snapshot.collections().count() as u64]),
        numbers("views", [snapshot.views().count() as u64]),
        numbers("compactions", [snapshot.jobs().count() as u64]),
    ])
}

fn time(milliseconds: i64) -> String {
    let since_1970 = std::time::Duration::from_millis(milliseconds.unsigned_abs());
    humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + since_1970).to_string()
}

fn collections(found: &Inspection) -> Result<RecordBatch> {
    let all = || found.snapshot.collections();
    let growing_rows = |c: &Collection| c.growing().iter().map(|g| g.live_rows()).sum::<u64>();
    table([
        numbers("collection_id", all().map(|c| c.id.0)),
        texts("name", all().map(|c| c.name.to_string())),
        numbers("columns", all().map(|c| c.schema.columns.len() as u64)),
        numbers("live_rows", all().map(|c| c.live_rows())),
        numbers("growing_rows", all().map(|c| growing_rows(c))),
        numbers("segments", all().map(|c| c.segments().len() as u64)),
        numbers("bytes", all().map(|c| c.segments().map(|s| s.bytes).sum())),
    ])
}

fn segments(found: &Inspection) -> Result<RecordBatch> {
    let of = |c| Collection::segments(c).map(move |s| (c, s));
    let all = || found.snapshot.collections().flat_map(|c| of(c));
    table([
        texts("collection", all().map(|(c, _)| c.name.to_string())),
        numbers("segment_id", all().map(|(_, s)| s.id.0)),
        numbers("rows", all().map(|(_, s)| s.rows)),
        numbers("deleted_rows", all().map(|(_, s)| s.deletes.len())),
        numbers("bytes", all().map(|(_, s)| s.bytes)),
        numbers("created_version", all().map(|(_, s)| s.created.0)),
        texts("file", all().map(|(c, s)| file_state(found, c, s))),
    ])
}

/// What is seen of a segment's file without reading it.
fn file_state(found: &Inspection, collection: &Collection, segment: &Segment) -> String {
    match fs::metadata(found.segment_path(collection.id, segment.id)) {
        Ok(file) if file.len() == segment.bytes => "present".to_string(),
        Ok(file) => format!("{} bytes, not {}", file.len(), segment.bytes),
        Err(e) if e.kind() == io::ErrorKind::NotFound => "missing".to_string(),
        Err(e) => e.to_string(),
    }
}

fn files(root: &Path, found: &Inspection) -> Result<RecordBatch> {
    let all: Vec<&NumberedFile> = found.checkpoints.iter().chain(&found.logs).collect();
    let name = |file: &NumberedFile| {
        file.path
            .strip_prefix(root)
            .unwrap_or(&file.path)
            .display()
            .to_string()
    };
    table([
        texts("file", all.iter().map(|f| name(f))),
        numbers("version", all.iter().map(|f| f.version.0)),
        numbers("bytes", all.iter().map(|f| f.bytes)),
    ])
}

/// A column with its name.
pub(super) type Column = (&'static str, ArrayRef);

/// A column of texts.
pub(super) fn texts(name: &'static str, values: impl IntoIterator<Item = String>) -> Column {
    (
        name,
        Arc::new(StringArray::from_iter(values.into_iter().map(Some))),
    )
}

/// A column of numbers.
pub(super) fn numbers(name: &'static str, values: impl IntoIterator<Item = u64>) -> Column {
    (name, Arc::new(UInt64Array::from_iter(values)))
}

/// The rows of some columns.
pub(super) fn table<const N: usize>(columns: [Column; N]) -> Result<RecordBatch> {
    Ok(RecordBatch::try_from_iter(columns)?)
}
