//! Comma-separated values as PostgreSQL writes them: NULL is nothing, empty text is `""`.

use std::io::Write;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::no_text;
use super::values::{Length, Values};
use crate::cli::shell::Failure;

/// Prints CSV with a header.
pub struct Csv {
    /// The names of the columns, until they are printed.
    header: Option<SchemaRef>,
}

impl Csv {
    pub fn new(schema: &SchemaRef) -> Self {
        Self {
            header: Some(Arc::clone(schema)),
        }
    }

    pub fn write(&mut self, batch: &RecordBatch, out: &mut impl Write) -> Result<(), Failure> {
        self.print_header(out)?;
        let columns = Values::of(batch, Length::Full).map_err(no_text)?;
        for row in 0..batch.num_rows() {
            let cells = columns
                .iter()
                .map(|c| c.text(row))
                .collect::<Result<Vec<_>, _>>();
            write_line(cells.map_err(no_text)?.iter().map(Option::as_deref), out)?;
        }
        Ok(())
    }

    pub fn finish(mut self, out: &mut impl Write) -> Result<(), Failure> {
        self.print_header(out)
    }

    fn print_header(&mut self, out: &mut impl Write) -> Result<(), Failure> {
        let Some(schema) = self.header.take() else {
            return Ok(());
        };
        write_line(schema.fields().iter().map(|f| Some(f.name().as_str())), out)
    }
}

fn write_line<'a>(
    cells: impl Iterator<Item = Option<&'a str>>,
    out: &mut impl Write,
) -> Result<(), Failure> {
    for (i, cell) in cells.enumerate() {
        if i > 0 {
            out.write_all(b",")?;
        }
        let Some(cell) = cell else { continue };
        if cell.is_empty() || cell.contains(['"', ',', '\n', '\r']) {
            write!(out, "\"{}\"", cell.replace('"', "\"\""))?;
        } else {
            out.write_all(cell.as_bytes())?;
        }
    }
    Ok(out.write_all(b"\n")?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn null_and_empty_text_differ() {
        let mut out = Vec::new();
        let cells = [Some("a,b"), None, Some(""), Some("say \"hi\""), Some("x")];
        write_line(cells.into_iter(), &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "\"a,b\",,\"\",\"say \"\"hi\"\"\",x\n"
        );
    }
}
