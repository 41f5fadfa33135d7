//! The rows of files as a stream of batches in a collection's types.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::reader::{FileReader, StreamReader};
use arrow::record_batch::{RecordBatch, RecordBatchReader};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::streaming::PartitionStream;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::bad_file;
use super::csv::{CsvReader, Field, Syntax};
use super::files::InputFile;
use super::options::{CopyOptions, Format};
use super::progress::CopyProgress;
use super::text::{JsonReader, TextRows, json_text};
use crate::catalog::assign::assign;
use crate::error::{Error, Result, sqlstate};
use crate::storage::collection::Collection;
use crate::storage::schema::Column;

/// Rows of a batch that a columnar file gives: with 768 dimensions about 12 MB.
const BATCH_ROWS: usize = 4_096;
/// Batches that are read ahead of the node that inserts.
const BATCHES_AHEAD: usize = 2;

/// Files as one stream of rows.
#[derive(Debug)]
pub(super) struct FileSource {
    relation: String,
    files: Vec<InputFile>,
    options: CopyOptions,
    columns: Vec<Column>,
    targets: Vec<usize>,
    /// Whether the statement named the columns, so that others of the file are to be left out.
    named: bool,
    schema: SchemaRef,
    progress: Arc<CopyProgress>,
}

impl FileSource {
    /// Looks at the first file to know which columns there are.
    ///
    /// # Errors
    /// 22P04 when the file cannot be read or has columns that the collection has not.
    pub(super) fn open(
        collection: &Collection,
        files: Vec<InputFile>,
        options: CopyOptions,
        wanted: &[usize],
        named: bool,
    ) -> Result<Self> {
        let all = &collection.schema.columns;
        let names = match files.first() {
            Some(file) => column_names(file, &options).map_err(|e| e.context(file.label()))?,
            None => None,
        };
        let is_there = |at: &usize| match &names {
            Some(names) => named || position(names, &all[*at].name).is_some(),
            None => true,
        };
        let targets: Vec<usize> = wanted.iter().copied().filter(is_there).collect();
        let columns: Vec<Column> = targets.iter().map(|at| all[*at].clone()).collect();
        let fields: Vec<_> = columns
            .iter()
            .map(|c| c.arrow_field().with_nullable(true))
            .collect();
        let schema = Arc::new(Schema::new(fields));
        let relation = collection.name.to_string();
        Ok(Self {
            relation,
            files,
            options,
            columns,
            targets,
            named,
            schema,
            progress: Arc::default(),
        })
    }

    /// The same source, which tells `progress` how far it is.
    pub(super) fn with_progress(mut self, progress: &Arc<CopyProgress>) -> Self {
        self.progress = Arc::clone(progress);
        self
    }

    /// The columns of the batches.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The places of those columns in the collection.
    pub(super) fn targets(&self) -> &[usize] {
        &self.targets
    }

    /// Where each of our columns is in a file with the given names.
    fn places(&self, names: &[String]) -> Result<Vec<usize>> {
        let place = |column: &Column| {
            position(names, &column.name)
                .ok_or_else(|| bad_file(format!("the file has no column \"{}\"", column.name)))
        };
        let places: Vec<usize> = self.columns.iter().map(place).collect::<Result<_>>()?;
        let extra = (0..names.len()).find(|at| !places.contains(at));
        match extra {
            Some(at) if !self.named => {
                let (name, relation) = (&names[at], &self.relation);
                let message = format!("column \"{name}\" of the file is not in \"{relation}\"");
                Err(bad_file(message)
                    .with_hint("Name the columns to be read: COPY book (id, title) FROM .."))
            }
            _ => Ok(places),
        }
    }

    /// Casts columns to the collection's types; `place` says where a row is, for errors.
    fn batch(
        &self,
        columns: Vec<ArrayRef>,
        place: impl Fn(usize) -> String,
    ) -> Result<RecordBatch> {
        let mut cast = Vec::with_capacity(columns.len());
        for (array, column) in columns.iter().zip(&self.columns) {
            let array = assign(array, column).map_err(|e| {
                let error = e.error.context(format!("column \"{}\"", column.name));
                match e.row {
                    Some(row) => error.context(place(row)),
                    None => error,
                }
            })?;
            if !column.nullable && array.null_count() > 0 {
                let row = (0..array.len())
                    .find(|i| array.is_null(*i))
                    .unwrap_or_default();
                let (name, relation) = (&column.name, &self.relation);
                let message = format!(
                    "null value in column \"{name}\" of relation \"{relation}\" violates not-null constraint"
                );
                return Err(
                    Error::invalid(sqlstate::NOT_NULL_VIOLATION, message).context(place(row))
                );
            }
            cast.push(array);
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), cast)?)
    }

    fn read(&self, send: &mut dyn FnMut(RecordBatch) -> bool) -> Result<()> {
        for file in &self.files {
            let read = match file.format {
                Format::Parquet => self.read_parquet(file, send),
                Format::Arrow => self.read_arrow(file, send),
                Format::Csv => self.read_csv(file, send),
                Format::Json => self.read_json(file, send),
            };
            if !read.map_err(|e| e.context(file.label()))? {
                break;
            }
        }
        Ok(())
    }

    fn read_parquet(
        &self,
        file: &InputFile,
        send: &mut dyn FnMut(RecordBatch) -> bool,
    ) -> Result<bool> {
        let builder =
            ParquetRecordBatchReaderBuilder::try_new(file.open()?).map_err(not_parquet)?;
        let names = names_of(builder.schema());
        let places = self.places(&names)?;
        let rows = builder.metadata().file_metadata().num_rows().max(1);
        let row_bytes = file.bytes() as f64 / rows as f64;
        let mask = ProjectionMask::roots(builder.parquet_schema(), places);
        let reader = builder
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS)
            .build();
        self.read_batches(reader.map_err(not_parquet)?, row_bytes, send)
    }

    fn read_arrow(
        &self,
        file: &InputFile,
        send: &mut dyn FnMut(RecordBatch) -> bool,
    ) -> Result<bool> {
        match FileReader::try_new_buffered(file.open()?, None) {
            Ok(reader) => {
                let more = self.read_batches(reader, 0.0, send)?;
                self.progress.add_bytes(file.bytes());
                Ok(more)
            }
            Err(_) => {
                let input = file.open_decompressed(&self.progress)?;
                let reader = StreamReader::try_new_buffered(input, None)
                    .map_err(|e| bad_file(format!("not an Arrow file: {e}")))?;
                self.read_batches(reader, 0.0, send)
            }
        }
    }

    /// Batches of a columnar file, in which a row takes `row_bytes` (0 where something else counts them); whether
    /// more is wanted.
    fn read_batches(
        &self,
        reader: impl RecordBatchReader,
        row_bytes: f64,
        send: &mut dyn FnMut(RecordBatch) -> bool,
    ) -> Result<bool> {
        let mut rows = 0;
        let names = names_of(&reader.schema());
        let places = self.places(&names)?;
        for batch in reader {
            let batch = batch.map_err(|e| bad_file(format!("behind row {rows}: {e}")))?;
            for start in (0..batch.num_rows()).step_by(BATCH_ROWS) {
                let slice = batch.slice(start, BATCH_ROWS.min(batch.num_rows() - start));
                let columns = places
                    .iter()
                    .map(|at| Arc::clone(slice.column(*at)))
                    .collect();
                if !send(self.batch(columns, |row| format!("row {}", rows + row + 1))?) {
                    return Ok(false);
                }
                rows += slice.num_rows();
                self.progress.add_rows(slice.num_rows() as u64);
                self.progress
                    .add_bytes((slice.num_rows() as f64 * row_bytes) as u64);
            }
        }
        Ok(true)
    }

    fn read_csv(
        &self,
        file: &InputFile,
        send: &mut dyn FnMut(RecordBatch) -> bool,
    ) -> Result<bool> {
        let mut reader = CsvReader::new(
            file.open_decompressed(&self.progress)?,
            syntax(file, &self.options),
        );
        let mut fields = Vec::new();
        let places = if has_header(&self.options) {
            reader.next(&mut fields)?;
            let names: Vec<String> = fields.iter().map(|f| f.text.clone()).collect();
            self.places(&names)?
        } else {
            (0..self.columns.len()).collect()
        };
        let width = if has_header(&self.options) {
            fields.len()
        } else {
            self.columns.len()
        };
        let null = self.options.null.as_deref().unwrap_or("");
        let mut rows = TextRows::new(self.columns.len());
        while let Some(line) = reader.next(&mut fields)? {
            check_width(&fields, width, line)?;
            for (column, at) in places.iter().enumerate() {
                let field = &fields[*at];
                let is_null = !field.quoted && field.text == null;
                rows.push(column, (!is_null).then_some(field.text.as_str()));
            }
            if rows.end_row(line) && !self.send_text(&mut rows, send)? {
                return Ok(false);
            }
        }
        self.send_text(&mut rows, send)
    }

    fn read_json(
        &self,
        file: &InputFile,
        send: &mut dyn FnMut(RecordBatch) -> bool,
    ) -> Result<bool> {
        let mut reader = JsonReader::new(file.open_decompressed(&self.progress)?);
        let mut rows = TextRows::new(self.columns.len());
        while let Some((line, object)) = reader.next()? {
            let known = |key: &str| {
                self.columns
                    .iter()
                    .any(|c| c.name.eq_ignore_ascii_case(key))
            };
            if !self.named
                && let Some(extra) = object.keys().find(|key| !known(key))
            {
                let relation = &self.relation;
                let message = format!("line {line}: column \"{extra}\" is not in \"{relation}\"");
                return Err(bad_file(message));
            }
            for (at, column) in self.columns.iter().enumerate() {
                let folded = || {
                    object
                        .iter()
                        .find(|(k, _)| k.eq_ignore_ascii_case(&column.name))
                };
                let value = object
                    .get(&column.name)
                    .or_else(|| folded().map(|(_, v)| v));
                rows.push(at, value.and_then(json_text).as_deref());
            }
            if rows.end_row(line) && !self.send_text(&mut rows, send)? {
                return Ok(false);
            }
        }
        self.send_text(&mut rows, send)
    }

    fn send_text(
        &self,
        rows: &mut TextRows,
        send: &mut dyn FnMut(RecordBatch) -> bool,
    ) -> Result<bool> {
        let (columns, lines) = rows.take();
        if lines.is_empty() {
            return Ok(true);
        }
        self.progress.add_rows(lines.len() as u64);
        Ok(send(
            self.batch(columns, |row| format!("line {}", lines[row]))?,
        ))
    }
}

impl PartitionStream for FileSource {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let schema = Arc::clone(&self.schema);
        let mut stream = RecordBatchReceiverStream::builder(schema, BATCHES_AHEAD);
        let sender = stream.tx();
        let source = Self {
            relation: self.relation.clone(),
            files: self.files.clone(),
            options: self.options.clone(),
            columns: self.columns.clone(),
            targets: self.targets.clone(),
            named: self.named,
            schema: Arc::clone(&self.schema),
            progress: Arc::clone(&self.progress),
        };
        let bytes = source.files.iter().map(InputFile::bytes).sum();
        source.progress.begin(bytes);
        stream.spawn_blocking(move || {
            source.read(&mut |batch| sender.blocking_send(Ok(batch)).is_ok())?;
            Ok(())
        });
        stream.build()
    }
}

/// The names of a file's columns; `None` where rows are known only by place or one by one.
fn column_names(file: &InputFile, options: &CopyOptions) -> Result<Option<Vec<String>>> {
    match file.format {
        Format::Parquet => {
            let builder =
                ParquetRecordBatchReaderBuilder::try_new(file.open()?).map_err(not_parquet)?;
            Ok(Some(names_of(builder.schema())))
        }
        Format::Arrow => {
            let schema = match FileReader::try_new_buffered(file.open()?, None) {
                Ok(reader) => reader.schema(),
                Err(_) => {
                    StreamReader::try_new_buffered(file.open_decompressed(&Arc::default())?, None)
                        .map_err(|e| bad_file(format!("not an Arrow file: {e}")))?
                        .schema()
                }
            };
            Ok(Some(names_of(&schema)))
        }
        Format::Csv if has_header(options) => {
            let mut reader = CsvReader::new(
                file.open_decompressed(&Arc::default())?,
                syntax(file, options),
            );
            let mut fields = Vec::new();
            match reader.next(&mut fields)? {
                Some(_) => Ok(Some(fields.into_iter().map(|f| f.text).collect())),
                None => Err(bad_file("the file is empty and has no header")),
            }
        }
        Format::Csv | Format::Json => Ok(None),
    }
}

/// CSV files have a header unless the statement says otherwise.
fn has_header(options: &CopyOptions) -> bool {
    options.header.unwrap_or(true)
}

fn syntax(file: &InputFile, options: &CopyOptions) -> Syntax {
    let quote = options.quote.unwrap_or(b'"');
    Syntax {
        delimiter: options.delimiter_of(&file.path),
        quote,
        escape: options.escape.unwrap_or(quote),
    }
}

fn check_width(fields: &[Field], width: usize, line: u64) -> Result<()> {
    if fields.len() < width {
        return Err(bad_file(format!(
            "line {line}: {} fields, expected {width}",
            fields.len()
        )));
    }
    if fields.len() > width {
        return Err(bad_file(format!(
            "line {line}: extra data after the last expected column"
        )));
    }
    Ok(())
}

fn names_of(schema: &Schema) -> Vec<String> {
    schema.fields().iter().map(|f| f.name().clone()).collect()
}

/// The place of a name, or else of one that differs only in case.
fn position(names: &[String], name: &str) -> Option<usize> {
    let exact = names.iter().position(|n| n == name);
    exact.or_else(|| names.iter().position(|n| n.eq_ignore_ascii_case(name)))
}

fn not_parquet(error: parquet::errors::ParquetError) -> Error {
    bad_file(format!("not a readable Parquet file: {error}"))
}
