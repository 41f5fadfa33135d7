//! Rows as text: aligned tables, CSV, JSON, Markdown, plans.

mod csv;
mod json;
mod plan;
mod record;
mod table;
mod values;

use std::io::{self, Write};

use arrow::array::AsArray;
use arrow::datatypes::{FieldRef, Int64Type, SchemaRef, UInt64Type};
use arrow::record_batch::RecordBatch;
use futures::StreamExt;
use shelfmark::sql::{Outcome, Session};
use shelfmark::{Error, Result};

use values::{Length, Values};

use super::args::Format;
use super::shell::Failure;

/// What has been printed.
pub struct Printed {
    /// How many rows.
    pub rows: u64,
    /// Whether a line with their number belongs under them.
    pub counted: bool,
}

/// Prints the rows of one answer as they come.
pub struct Printer {
    rows: u64,
    layout: Layout,
}

enum Layout {
    Table(table::Table),
    Record(record::Records),
    Plan,
    Csv(csv::Csv),
    Json(json::Json),
}

impl Printer {
    /// A printer for rows of that schema.
    pub fn new(format: Format, expanded: bool, schema: &SchemaRef) -> Self {
        let layout = match format {
            Format::Csv => Layout::Csv(csv::Csv::new(schema)),
            Format::Json => Layout::Json(json::Json::array()),
            Format::Ndjson => Layout::Json(json::Json::lines()),
            _ if plan::is_plan(schema) => Layout::Plan,
            Format::Markdown => Layout::Table(table::Table::markdown(schema)),
            Format::Table if expanded => Layout::Record(record::Records::new(schema)),
            Format::Table => Layout::Table(table::Table::aligned(schema)),
        };
        Self { rows: 0, layout }
    }

    /// Prints more rows, or keeps them until the widths of columns are known.
    ///
    /// # Errors
    /// The output's, or of a value that has no text.
    pub fn write(&mut self, batch: &RecordBatch, out: &mut impl Write) -> Result<(), Failure> {
        self.rows += batch.num_rows() as u64;
        match &mut self.layout {
            Layout::Table(table) => table.write(batch, out),
            Layout::Record(records) => records.write(batch, out),
            Layout::Plan => plan::write(batch, out),
            Layout::Csv(csv) => csv.write(batch, out),
            Layout::Json(json) => json.write(batch, out),
        }
    }

    /// Prints what is left.
    ///
    /// # Errors
    /// The output's.
    pub fn finish(self, out: &mut impl Write) -> Result<Printed, Failure> {
        let counted = matches!(self.layout, Layout::Table(_) | Layout::Record(_));
        match self.layout {
            Layout::Table(table) => table.finish(out)?,
            Layout::Json(json) => json.finish(out)?,
            Layout::Csv(csv) => csv.finish(out)?,
            Layout::Record(_) | Layout::Plan => {}
        }
        Ok(Printed {
            rows: self.rows,
            counted,
        })
    }
}

/// Runs a statement to its end; what rows it has are not wanted.
pub async fn drain(mut outcome: Outcome) -> Result<()> {
    while let Some(batch) = outcome.stream.next().await {
        batch.map_err(Error::from)?;
    }
    Ok(())
}

/// Runs a statement to its end; the number in its one row and column.
pub async fn count(mut outcome: Outcome) -> Result<u64> {
    let mut count = 0;
    while let Some(batch) = outcome.stream.next().await {
        let batch = batch.map_err(Error::from)?;
        let Some(column) = batch.columns().first() else {
            continue;
        };
        if let Some(counts) = column.as_primitive_opt::<UInt64Type>() {
            count += counts.values().iter().sum::<u64>();
        } else if let Some(counts) = column.as_primitive_opt::<Int64Type>() {
            count += counts
                .values()
                .iter()
                .map(|c| c.unsigned_abs())
                .sum::<u64>();
        }
    }
    Ok(count)
}

/// A row as names and texts; `None` is NULL.
pub type TextRow = Vec<(String, Option<String>)>;

/// Runs a statement to its end; its rows as names and texts.
///
/// # Errors
/// The statement's error, or of a value that has no text.
pub async fn text_rows(session: &Session, text: &str) -> Result<Vec<TextRow>> {
    let mut rows = Vec::new();
    for batch in session.sql(text).await?.collect().await? {
        let schema = batch.schema();
        let values = Values::of(&batch, Length::Full)?;
        for row in 0..batch.num_rows() {
            let cells = schema.fields().iter().zip(&values);
            let cell = |(f, v): (&FieldRef, &Values<'_>)| Ok((f.name().clone(), v.text(row)?));
            rows.push(cells.map(cell).collect::<Result<_>>()?);
        }
    }
    Ok(rows)
}

/// An Arrow error while printing a value.
fn no_text(error: arrow::error::ArrowError) -> Failure {
    match error {
        arrow::error::ArrowError::IoError(_, e) => Failure::from(e),
        other => Failure::Error(Error::from(other)),
    }
}

/// Writes `n` blanks or dashes.
fn repeat(out: &mut impl Write, byte: u8, n: usize) -> io::Result<()> {
    (0..n).try_for_each(|_| out.write_all(&[byte]))
}
