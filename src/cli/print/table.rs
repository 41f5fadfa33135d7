//! Aligned columns, for a terminal or as Markdown.

use std::io::Write;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use unicode_width::UnicodeWidthStr;

use super::values::{Length, Values, right_aligned};
use super::{no_text, repeat};
use crate::cli::shell::Failure;

/// Rows from which the widths of columns are taken; those after them are printed as they come.
const SAMPLE_ROWS: usize = 1_000;

/// What stands for NULL.
const NULL: &str = "NULL";

/// Prints aligned columns.
pub struct Table {
    markdown: bool,
    header: Vec<String>,
    right: Vec<bool>,
    /// The first rows, until the widths are known.
    sample: Vec<Vec<String>>,
    /// Set when the header is printed.
    widths: Option<Vec<usize>>,
}

impl Table {
    /// ` a | b `, as psql has it.
    pub fn aligned(schema: &SchemaRef) -> Self {
        Self::new(schema, false)
    }

    /// `| a | b |`.
    pub fn markdown(schema: &SchemaRef) -> Self {
        Self::new(schema, true)
    }

    fn new(schema: &SchemaRef, markdown: bool) -> Self {
        let name = |text: &String| if markdown { escape(text) } else { text.clone() };
        Self {
            markdown,
            header: schema.fields().iter().map(|f| name(f.name())).collect(),
            right: right_aligned(schema),
            sample: Vec::new(),
            widths: None,
        }
    }

    pub fn write(&mut self, batch: &RecordBatch, out: &mut impl Write) -> Result<(), Failure> {
        let columns = Values::of(batch, Length::Short).map_err(no_text)?;
        for row in 0..batch.num_rows() {
            let cells = columns
                .iter()
                .map(|c| self.cell(c, row))
                .collect::<Result<Vec<_>, _>>()?;
            match &self.widths {
                Some(widths) => self.print_row(&cells, widths, out)?,
                None => self.sample.push(cells),
            }
            if self.sample.len() == SAMPLE_ROWS {
                self.print_sample(out)?;
            }
        }
        Ok(())
    }

    pub fn finish(mut self, out: &mut impl Write) -> Result<(), Failure> {
        match self.widths {
            Some(_) => Ok(()),
            None => self.print_sample(out),
        }
    }

    fn cell(&self, column: &Values<'_>, row: usize) -> Result<String, Failure> {
        let text = column
            .text(row)
            .map_err(no_text)?
            .unwrap_or_else(|| NULL.to_string());
        Ok(if self.markdown { escape(&text) } else { text })
    }

    fn print_sample(&mut self, out: &mut impl Write) -> Result<(), Failure> {
        let rows = std::mem::take(&mut self.sample);
        let mut widths: Vec<usize> = self.header.iter().map(|h| h.width()).collect();
        for row in &rows {
            widths
                .iter_mut()
                .zip(row)
                .for_each(|(w, cell)| *w = (*w).max(cell.width()));
        }
        self.print_row(&self.header, &widths, out)?;
        self.print_rule(&widths, out)?;
        rows.iter()
            .try_for_each(|row| self.print_row(row, &widths, out))?;
        self.widths = Some(widths);
        Ok(())
    }

    fn print_row(
        &self,
        cells: &[String],
        widths: &[usize],
        out: &mut impl Write,
    ) -> Result<(), Failure> {
        let last = cells.len().saturating_sub(1);
        for (i, ((cell, width), right)) in cells.iter().zip(widths).zip(&self.right).enumerate() {
            let blanks = width.saturating_sub(cell.width());
            out.write_all(if i > 0 || self.markdown { b"| " } else { b" " })?;
            if *right {
                repeat(out, b' ', blanks)?;
            }
            out.write_all(cell.as_bytes())?;
            let ends_line = i == last && !self.markdown;
            if !*right && !ends_line {
                repeat(out, b' ', blanks)?;
            }
            if !ends_line {
                out.write_all(b" ")?;
            }
        }
        out.write_all(if self.markdown { b"|\n" } else { b"\n" })?;
        Ok(())
    }

    fn print_rule(&self, widths: &[usize], out: &mut impl Write) -> Result<(), Failure> {
        for (i, (width, right)) in widths.iter().zip(&self.right).enumerate() {
            if self.markdown {
                out.write_all(b"| ")?;
                repeat(out, b'-', width.saturating_sub(1).max(1))?;
                out.write_all(if *right { b": " } else { b"- " })?;
            } else {
                out.write_all(if i > 0 { b"+" } else { b"" })?;
                repeat(out, b'-', width + 2)?;
            }
        }
        out.write_all(if self.markdown { b"|\n" } else { b"\n" })?;
        Ok(())
    }
}

/// A cell that does not end its Markdown column.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    fn batch() -> RecordBatch {
        let titles: ArrayRef = Arc::new(StringArray::from(vec![Some("Dune"), Some("三体|"), None]));
        let years: ArrayRef = Arc::new(Int64Array::from(vec![Some(1965), None, Some(7)]));
        RecordBatch::try_from_iter_with_nullable([("title", titles, true), ("year", years, true)])
            .unwrap()
    }

    fn print(mut table: Table) -> String {
        let mut out = Vec::new();
        table.write(&batch(), &mut out).unwrap();
        table.finish(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_align_by_display_width() {
        let expected = "\
\u{20}title | year
-------+------
\u{20}Dune  | 1965
\u{20}三体| | NULL
\u{20}NULL  |    7
";
        assert_eq!(print(Table::aligned(&batch().schema())), expected);
    }

    #[test]
    fn markdown_escapes_bars() {
        let expected = "\
| title  | year |
| ------ | ---: |
| Dune   | 1965 |
| 三体\\| | NULL |
| NULL   |    7 |
";
        assert_eq!(print(Table::markdown(&batch().schema())), expected);
    }

    #[test]
    fn no_rows_still_show_the_columns() {
        let mut out = Vec::new();
        Table::aligned(&batch().schema()).finish(&mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            " title | year\n-------+------\n"
        );
    }
}
