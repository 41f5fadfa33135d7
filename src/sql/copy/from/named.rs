//! The rows of files that name their columns: Parquet, Arrow and JSON, as batches in a collection's types.

use std::fs::File;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchReader};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::streaming::PartitionStream;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::arrow_file::{ArrowReader, without_panic};
use super::json::{JsonReader, json_text};
use super::matching::{Matching, position};
use super::rows::{Rows, TextRows};
use crate::catalog::assign::assign;
use crate::catalog::zone::Zone;
use crate::error::{Error, Result, sqlstate};
use crate::sql::copy::bad_file;
use crate::sql::copy::files::InputFile;
use crate::sql::copy::options::Format;
use crate::sql::copy::progress::CopyProgress;
use crate::storage::collection::Collection;
use crate::storage::schema::Column;

/// Rows of a batch that a columnar file gives: with 768 dimensions about 12 MB.
const BATCH_ROWS: usize = 4_096;
/// Batches that are read ahead of the node that inserts.
const BATCHES_AHEAD: usize = 2;

/// Files as one stream of rows.
#[derive(Debug)]
pub(super) struct FileSource {
    files: Vec<InputFile>,
    matching: Matching,
    columns: Vec<Column>,
    targets: Vec<usize>,
    schema: SchemaRef,
    /// Whose clock tells times.
    zone: Zone,
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
        wanted: &[usize],
        named: bool,
    ) -> Result<Self> {
        let all = &collection.schema.columns;
        let names = match files.first() {
            Some(file) => column_names(file).map_err(|e| e.context(file.label()))?,
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
            files,
            matching: Matching { relation, named },
            columns,
            targets,
            schema,
            zone: Zone::utc(),
            progress: Arc::default(),
        })
    }

    /// The same source, whose times are told by the clock of the zone.
    pub(super) fn with_zone(mut self, zone: Zone) -> Self {
        self.zone = zone;
        self
    }

    /// The same source, which tells `progress` how far it is.
    pub(super) fn with_progress(mut self, progress: &Arc<CopyProgress>) -> Self {
        self.progress = Arc::clone(progress);
        self
    }

    /// The places of those columns in the collection.
    pub(super) fn targets(&self) -> &[usize] {
        &self.targets
    }

    /// Casts columns to the collection's types; `place` says where a row is, for errors.
    fn batch(
        &self,
        columns: Vec<ArrayRef>,
        place: impl Fn(usize) -> String,
    ) -> Result<RecordBatch> {
        let mut cast = Vec::with_capacity(columns.len());
        for (array, column) in columns.iter().zip(&self.columns) {
            let array = assign(array, column, &self.zone).map_err(|e| {
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
                let (name, relation) = (&column.name, &self.matching.relation);
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
                Format::Json => self.read_json(file, send),
                Format::Text | Format::Csv | Format::Binary => {
                    Err(Error::internal("files of rows are read otherwise"))
                }
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
        let builder = open_parquet(file.open()?)?;
        let names = names_of(builder.schema());
        let places = self.matching.all_fields(&names, &self.columns)?;
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
        let input = file.open_decompressed(&self.progress)?;
        let reader = ArrowReader::try_new(input).map_err(not_arrow)?;
        self.read_batches(reader, 0.0, send)
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
        let places = self.matching.all_fields(&names, &self.columns)?;
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
            if !self.matching.named
                && let Some(extra) = object.keys().find(|key| !known(key))
            {
                let relation = &self.matching.relation;
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
        let Rows { columns, lines, .. } = rows.take(false);
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
            files: self.files.clone(),
            matching: self.matching.clone(),
            columns: self.columns.clone(),
            targets: self.targets.clone(),
            schema: Arc::clone(&self.schema),
            zone: self.zone.clone(),
            progress: Arc::clone(&self.progress),
        };
        let bytes = source.files.iter().map(InputFile::bytes).sum();
        let running = source.progress.begin(bytes);
        stream.spawn_blocking(move || {
            let _running = running;
            source.read(&mut |batch| sender.blocking_send(Ok(batch)).is_ok())?;
            Ok(())
        });
        stream.build()
    }
}

/// The names of a file's columns; `None` where rows are known only by place or one by one.
fn column_names(file: &InputFile) -> Result<Option<Vec<String>>> {
    match file.format {
        Format::Parquet => {
            let builder = open_parquet(file.open()?)?;
            Ok(Some(names_of(builder.schema())))
        }
        Format::Arrow => {
            let input = file.open_decompressed(&Arc::default())?;
            let schema = ArrowReader::try_new(input).map_err(not_arrow)?.schema();
            Ok(Some(names_of(&schema)))
        }
        Format::Text | Format::Csv | Format::Binary | Format::Json => Ok(None),
    }
}

/// Opens a Parquet file. The schema that Arrow keeps in its metadata is read as that of an Arrow file is.
fn open_parquet(file: File) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    without_panic(|| ParquetRecordBatchReaderBuilder::try_new(file)).map_err(not_parquet)
}

fn names_of(schema: &Schema) -> Vec<String> {
    schema.fields().iter().map(|f| f.name().clone()).collect()
}

fn not_arrow(error: ArrowError) -> Error {
    bad_file(format!("not an Arrow file: {error}"))
}

fn not_parquet(error: parquet::errors::ParquetError) -> Error {
    bad_file(format!("not a readable Parquet file: {error}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write;

    use arrow::array::Int64Array;
    use parquet::arrow::ArrowWriter;

    use super::*;

    #[test]
    fn a_damaged_schema_of_arrow_is_refused() {
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let rows = RecordBatch::try_from_iter([("id", ids)]).unwrap();
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, rows.schema(), None).unwrap();
        writer.write(&rows).unwrap();
        writer.close().unwrap();
        // The schema stands behind its key, in base64: one letter after the other is another one.
        let key = bytes.windows(12).position(|at| at == b"ARROW:schema");
        let first = key.unwrap() + 12;
        let is_letter = |byte: &u8| byte.is_ascii_alphanumeric();
        let mut messages = Vec::new();
        for place in (first..bytes.len() - 8).filter(|at| is_letter(&bytes[*at])) {
            let mut damaged = bytes.clone();
            damaged[place] = if damaged[place] == b'h' { b'i' } else { b'h' };
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&damaged).unwrap();
            let opened = open_parquet(file);
            messages.extend(opened.err().map(|error| error.to_string()));
        }
        let unknown = messages.iter().filter(|m| m.contains("types do not fit"));
        assert!(unknown.count() > 0, "{messages:?}");
    }
}
