//! One line per value (`\x`), for rows too wide for a table.

use std::io::Write;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use unicode_width::UnicodeWidthStr;

use super::values::{Length, Values};
use super::{no_text, repeat};
use crate::cli::shell::Failure;

/// Prints rows as records.
pub struct Records {
    names: Vec<String>,
    width: usize,
    printed: u64,
}

impl Records {
    pub fn new(schema: &SchemaRef) -> Self {
        let names: Vec<String> = schema.fields().iter().map(|f| f.name().clone()).collect();
        let width = names.iter().map(|n| n.width()).max().unwrap_or(0);
        Self {
            names,
            width,
            printed: 0,
        }
    }

    pub fn write(&mut self, batch: &RecordBatch, out: &mut impl Write) -> Result<(), Failure> {
        let columns = Values::of(batch, Length::Short).map_err(no_text)?;
        for row in 0..batch.num_rows() {
            self.printed += 1;
            writeln!(out, "-[ {} ]-", self.printed)?;
            for (name, column) in self.names.iter().zip(&columns) {
                let text = column.text(row).map_err(no_text)?;
                out.write_all(name.as_bytes())?;
                repeat(out, b' ', self.width - name.width())?;
                writeln!(out, " | {}", text.as_deref().unwrap_or("NULL"))?;
            }
        }
        Ok(())
    }
}
