//! Rows on their way from bytes to the columns of a collection.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use bytes::BytesMut;

use crate::catalog::assign::{RowError, cast_to};
use crate::catalog::zone::Zone;
use crate::error::{Error, Result, sqlstate};
use crate::sql::copy::dialect::LineFormat;
use crate::sql::copy::encode::put_line;
use crate::sql::format::{Format, decode_column};
use crate::storage::collection::Collection;
use crate::storage::schema::Column;

/// Rows of a batch.
const BATCH_ROWS: usize = 8_192;
/// Bytes of values after which a batch ends before it has all its rows.
const BATCH_BYTES: usize = 1 << 20;
/// The most bytes of a user's line or value that the context of an error repeats, as in PostgreSQL.
const SHOWN_BYTES_MAX: usize = 100;
/// The most characters of a value in the detail of an error.
const DETAIL_CHARS_MAX: usize = 64;

/// Rows as they were sent: texts, or the bytes of the binary format.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) columns: Vec<ArrayRef>,
    /// The line of each row.
    pub(super) lines: Vec<u64>,
    /// Whether the last row lacks fields: its others are looked at for the sake of their errors.
    pub(super) cut_short: bool,
}

/// Texts of rows under construction.
#[derive(Debug)]
pub(super) struct TextRows {
    builders: Vec<StringBuilder>,
    lines: Vec<u64>,
    bytes: usize,
}

impl TextRows {
    pub(super) fn new(columns: usize) -> Self {
        let builders = (0..columns).map(|_| StringBuilder::new()).collect();
        Self {
            builders,
            lines: Vec::new(),
            bytes: 0,
        }
    }

    /// Adds a value to a column of the row that [`TextRows::end_row`] ends.
    pub(super) fn push(&mut self, column: usize, value: Option<&str>) {
        self.bytes += value.map_or(0, str::len);
        self.builders[column].append_option(value);
    }

    /// Ends a row; whether the batch is full.
    pub(super) fn end_row(&mut self, line: u64) -> bool {
        self.lines.push(line);
        is_full(self.lines.len(), self.bytes)
    }

    /// Ends a row that lacks fields: the others are NULL.
    pub(super) fn end_short_row(&mut self, line: u64) {
        self.lines.push(line);
        for builder in &mut self.builders {
            while builder.offsets_slice().len() <= self.lines.len() {
                builder.append_null();
            }
        }
    }

    /// Takes the rows; values of a row that was not ended are dropped.
    pub(super) fn take(&mut self, cut_short: bool) -> Rows {
        self.bytes = 0;
        let lines = std::mem::take(&mut self.lines);
        let ended = |builder: &mut StringBuilder| {
            let column = builder.finish();
            Arc::new(column.slice(0, lines.len())) as ArrayRef
        };
        let columns = self.builders.iter_mut().map(ended).collect();
        Rows {
            columns,
            lines,
            cut_short,
        }
    }
}

/// Whether a batch has as much as one should have.
pub(super) fn is_full(rows: usize, bytes: usize) -> bool {
    rows >= BATCH_ROWS || bytes >= BATCH_BYTES
}

/// What rows of COPY .. FROM become, and how their errors say where they are.
#[derive(Debug)]
pub(super) struct Intake {
    relation: String,
    /// The file, where a statement reads several.
    file: Option<String>,
    columns: Vec<Column>,
    required: Vec<bool>,
    /// Whether the columns are all of the collection's.
    whole: bool,
    /// How lines are written; `None` for binary.
    lines: Option<LineFormat>,
    schema: SchemaRef,
    /// Whose clock tells times.
    zone: Zone,
}

impl Intake {
    /// For rows with the columns of the collection at `targets`. Without `check_nulls` a NULL may stand where none
    /// may be stored: the row might be filtered out.
    pub(super) fn new(
        collection: &Collection,
        targets: &[usize],
        lines: Option<LineFormat>,
        check_nulls: bool,
        zone: Zone,
    ) -> Self {
        let all = &collection.schema.columns;
        let columns: Vec<Column> = targets.iter().map(|at| all[*at].clone()).collect();
        let is_required = |column: &Column| {
            let in_key = collection.schema.primary_key.contains(&column.id);
            check_nulls && (!column.nullable || in_key)
        };
        let fields = columns.iter().map(|c| c.arrow_field().with_nullable(true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Self {
            relation: collection.name.name.clone(),
            file: None,
            required: columns.iter().map(is_required).collect(),
            whole: targets.iter().copied().eq(0..all.len()),
            columns,
            lines,
            schema,
            zone,
        }
    }

    /// The same for the rows of a file, which errors name when it is one of several.
    pub(super) fn of_file(&self, file: Option<String>, lines: Option<&LineFormat>) -> Self {
        Self {
            relation: self.relation.clone(),
            file,
            columns: self.columns.clone(),
            required: self.required.clone(),
            whole: self.whole,
            lines: lines.cloned(),
            schema: Arc::clone(&self.schema),
            zone: self.zone.clone(),
        }
    }

    /// That the columns of FORCE options are among those of the rows.
    ///
    /// # Errors
    /// 42P10 for one that is not.
    pub(super) fn check_forced(&self) -> Result<()> {
        let columns: Vec<&str> = self.columns.iter().map(|c| c.name.as_str()).collect();
        if let Some(format) = &self.lines {
            format.force_not_null.flags("FORCE_NOT_NULL", &columns)?;
            format.force_null.flags("FORCE_NULL", &columns)?;
        }
        Ok(())
    }

    pub(super) fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The columns of the batches.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The rows in the collection's types.
    ///
    /// # Errors
    /// That of the first row with a value that its column cannot have, and of the first such column; 23502 for a NULL
    /// where none may be.
    pub(super) fn convert(&self, rows: &Rows) -> Result<RecordBatch> {
        let mut arrays = Vec::with_capacity(self.columns.len());
        let (mut good, mut fault) = (rows.lines.len(), None);
        for at in 0..self.columns.len() {
            // Behind the first bad row of another column nothing matters any more.
            let source = rows.columns[at].slice(0, good);
            match self.values(&source, at) {
                Ok(array) => arrays.push(array),
                Err(e) => {
                    let row = e.row.unwrap_or_default();
                    let context = self.at_value(rows, row, at);
                    (good, fault) = (row, Some(e.error.with_context_line(context)));
                }
            }
        }
        let complete = good.min(rows.lines.len() - usize::from(rows.cut_short));
        self.check_nulls(rows, complete)?;
        if let Some(fault) = fault {
            return Err(fault);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.lines.len()));
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(&self.schema),
            arrays,
            &options,
        )?)
    }

    fn values(&self, source: &ArrayRef, column: usize) -> Result<ArrayRef, RowError> {
        if self.lines.is_some() {
            return cast_to(source, &self.columns[column].column_type, &self.zone);
        }
        let cells: Vec<Option<&[u8]>> = source.as_binary::<i32>().iter().collect();
        decode_column(
            0,
            self.schema.field(column),
            Format::Binary,
            &cells,
            &self.zone,
        )
    }

    fn check_nulls(&self, rows: &Rows, complete: usize) -> Result<()> {
        let first_null = |at: usize| {
            let column = rows.columns[at].slice(0, complete);
            let null = (column.null_count() > 0).then(|| column.nulls().cloned())??;
            (0..complete).find(|row| null.is_null(*row))
        };
        let required = (0..self.columns.len()).filter(|at| self.required[*at]);
        let nulls = required.filter_map(|at| Some((first_null(at)?, at)));
        let Some((row, at)) = nulls.min() else {
            return Ok(());
        };
        let (name, relation) = (&self.columns[at].name, &self.relation);
        let message = format!(
            "null value in column \"{name}\" of relation \"{relation}\" violates not-null constraint"
        );
        let mut error =
            Error::invalid(sqlstate::NOT_NULL_VIOLATION, message).with_column(relation, name);
        if self.whole && self.lines.is_some() {
            error = error.with_detail(failing_row(rows, row));
        }
        Err(error.with_context_line(self.at_row(rows, row)))
    }

    /// `COPY book, line 2`
    pub(super) fn at_line(&self, line: u64) -> String {
        match &self.file {
            Some(file) => format!("COPY {}, file {file}, line {line}", self.relation),
            None => format!("COPY {}, line {line}", self.relation),
        }
    }

    /// `COPY book, line 2: "2"`
    pub(super) fn at_text(&self, line: u64, text: &str) -> String {
        format!("{}: \"{}\"", self.at_line(line), shortened(text))
    }

    /// `COPY book, line 2, column key`
    pub(super) fn at_column(&self, line: u64, column: usize) -> String {
        format!(
            "{}, column {}",
            self.at_line(line),
            self.columns[column].name
        )
    }

    fn at_value(&self, rows: &Rows, row: usize, column: usize) -> String {
        let place = self.at_column(rows.lines[row], column);
        match text_at(rows, row, column) {
            Some(text) => format!("{place}: \"{}\"", shortened(text)),
            None => place,
        }
    }

    fn at_row(&self, rows: &Rows, row: usize) -> String {
        let line = rows.lines[row];
        let Some(format) = &self.lines else {
            return self.at_line(line);
        };
        let mut text = BytesMut::new();
        let fields = (0..rows.columns.len()).map(|column| text_at(rows, row, column));
        put_line(format, fields, &mut text);
        self.at_text(line, &String::from_utf8_lossy(&text))
    }
}

/// What was sent as a value, where it is text.
fn text_at(rows: &Rows, row: usize, column: usize) -> Option<&str> {
    let column = &rows.columns[column];
    let is_text = column.data_type() == &DataType::Utf8 && !column.is_null(row);
    is_text.then(|| column.as_string::<i32>().value(row))
}

/// `Failing row contains (1, null, abc).`
fn failing_row(rows: &Rows, row: usize) -> String {
    let shown = |column: usize| match text_at(rows, row, column) {
        None => "null".to_string(),
        Some(text) => match text.char_indices().nth(DETAIL_CHARS_MAX) {
            Some((end, _)) => format!("{}...", &text[..end]),
            None => text.to_string(),
        },
    };
    let values: Vec<String> = (0..rows.columns.len()).map(shown).collect();
    format!("Failing row contains ({}).", values.join(", "))
}

fn shortened(text: &str) -> String {
    if text.len() <= SHOWN_BYTES_MAX {
        return text.to_string();
    }
    format!("{}...", &text[..text.floor_char_boundary(SHOWN_BYTES_MAX)])
}
