//! The answer of EXPLAIN as plain lines.

use std::io::Write;

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema};
use arrow::record_batch::RecordBatch;

use super::no_text;
use crate::cli::shell::Failure;

/// Longer lines are broken behind their commas.
const LINE_CHARS_MAX: usize = 110;
/// How much deeper than their line its further parts begin.
const DEEPER: usize = 6;

/// Whether the rows are the answer to EXPLAIN.
pub fn is_plan(schema: &Schema) -> bool {
    let names = schema.fields().iter().map(|f| f.name().as_str());
    names.eq(["QUERY PLAN"])
}

/// Prints the lines of a plan.
pub fn write(batch: &RecordBatch, out: &mut impl Write) -> Result<(), Failure> {
    let plans = cast(batch.column(0), &DataType::Utf8).map_err(no_text)?;
    for row in plans.as_string::<i32>().iter().flatten() {
        for part in row.lines().flat_map(wrap) {
            writeln!(out, "{part}")?;
        }
    }
    Ok(())
}

/// The line in parts that fit; the metrics of an operator begin a part of their own.
fn wrap(line: &str) -> Vec<String> {
    if line.chars().count() <= LINE_CHARS_MAX {
        return vec![line.to_string()];
    }
    let indent = line.len() - line.trim_start().len() + DEEPER;
    let mut parts = vec![String::new()];
    for piece in line.split_inclusive(", ") {
        let last = parts.len() - 1;
        let length = parts[last].chars().count() + piece.trim_end().chars().count();
        let fits = length <= LINE_CHARS_MAX && !piece.starts_with("metrics=[");
        if fits || parts[last].is_empty() {
            parts[last].push_str(piece);
        } else {
            parts.push(format!("{:indent$}{piece}", ""));
        }
    }
    parts.iter().map(|p| p.trim_end().to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_break_behind_commas() {
        let columns = vec!["column"; 20].join(", ");
        let line = format!("  ScanExec: [{columns}], metrics=[rows=1, bytes=2]");
        let parts = wrap(&line);
        assert!(
            parts.iter().all(|p| p.chars().count() <= LINE_CHARS_MAX),
            "{parts:#?}"
        );
        assert_eq!(
            parts.last().map(|p| p.trim_start()),
            Some("metrics=[rows=1, bytes=2]")
        );
        let joined: Vec<&str> = parts.iter().map(|p| p.trim_start()).collect();
        assert_eq!(joined.join(" "), line.trim_start());
        assert_eq!(wrap("  short, line"), ["  short, line"]);
    }
}
