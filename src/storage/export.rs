//! Writing the live rows of a collection as Parquet files that other programs read, with or without Delta metadata.
//!
//! A segment without deleted rows, of today's columns, is copied as it is; the others, and growing rows, are written
//! again. What makes the directory a Delta table comes last: readers see all of it or no table.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use arrow::record_batch::RecordBatch;

use super::adapt::adapt_batch;
use super::collection::{Collection, Segment};
use super::committer::now_ms;
use super::deletes::live_mask;
use super::delta::{DataFile, FIRST_VERSION, first_version};
use super::disk::Files;
use super::engine::Engine;
use super::growing::GrowingSegment;
use super::schema::{ColumnType, FieldId};
use super::segment::{ReadRequest, live_selection};
use super::store::{io, sync_directory};
use super::writer::{SegmentLayout, SegmentWriter};
use crate::error::{Error, Result, sqlstate};

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// Parquet files.
    Parquet,
    /// Parquet files and the metadata of a Delta table.
    Delta,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exported {
    /// Rows.
    pub rows: u64,
    /// Parquet files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Writes the live rows of a version of a collection into a directory, which is made if need be and must be empty.
///
/// # Errors
/// 55000 when the directory has something in it, 0A000 for a column that Delta has no type for, XX001 for a damaged
/// segment, 58030 or 53100 for what the disk says. After an error the files written so far are removed.
pub fn export(
    engine: &Engine,
    collection: &Collection,
    target: &Path,
    format: ExportFormat,
) -> Result<Exported> {
    let delta = |files: &[DataFile]| {
        let name = &collection.name.name;
        first_version(name, &collection.schema, files, now_ms())
    };
    if format == ExportFormat::Delta {
        // Before anything is written: a type that it does not have.
        delta(&[])?;
    }
    let mut export = Export::begin(engine, collection, target)?;
    for segment in collection.segments() {
        export.sealed(segment)?;
    }
    for segment in collection.growing() {
        export.growing(segment)?;
    }
    if format == ExportFormat::Delta {
        let text = delta(&export.files)?;
        export.write(&target.join(FIRST_VERSION), text.as_bytes())?;
    }
    export.finish()
}

/// An export while it is made; dropped before it is finished, it removes what it wrote.
struct Export<'a> {
    engine: &'a Engine,
    collection: &'a Collection,
    target: &'a Path,
    files: Vec<DataFile>,
    written: Vec<PathBuf>,
    is_finished: bool,
}

impl<'a> Export<'a> {
    fn begin(engine: &'a Engine, collection: &'a Collection, target: &'a Path) -> Result<Self> {
        fs::create_dir_all(target).map_err(|e| io("create", target, e))?;
        let mut entries = fs::read_dir(target).map_err(|e| io("read", target, e))?;
        if entries.next().is_some() {
            let message = format!("directory \"{}\" is not empty", target.display());
            let state = sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE;
            return Err(Error::invalid(state, message)
                .with_hint("Give a directory that is empty or does not exist."));
        }
        Ok(Self {
            engine,
            collection,
            target,
            files: Vec::new(),
            written: Vec::new(),
            is_finished: false,
        })
    }

    fn sealed(&mut self, segment: &Segment) -> Result<()> {
        let (id, collection) = (segment.id, self.collection);
        let reader = self.engine.open_segment(collection, segment)?;
        let name = format!("{id}.parquet");
        if segment.deletes.is_empty() && reader.is_of(&collection.schema) {
            // Read once for its checksums: a copy of what is damaged would look good.
            reader.check_all(segment.crc32c)?;
            let path = self.engine.store.segment_path(collection.id, id);
            let to = self.target.join(&name);
            self.written.push(to.clone());
            let copied = fs::copy(&path, &to);
            copied
                .and_then(|_| File::open(&to)?.sync_all())
                .map_err(|e| io("copy", &path, e))?;
            self.add(name, segment.rows, segment.bytes);
            return Ok(());
        }
        let ranges = (0..reader.row_groups()).map(|group| reader.row_group_range(group));
        let request = ReadRequest {
            rows: live_selection(&segment.deletes, ranges),
            ..ReadRequest::all(&reader, Arc::clone(&collection.schema), self.fields())
        };
        self.rewrite(name, reader.read(request)?)
    }

    fn growing(&mut self, segment: &GrowingSegment) -> Result<()> {
        let mut first = 0;
        let mut batches = Vec::new();
        for batch in segment.batches() {
            let end = first + batch.num_rows() as u32;
            let mask = live_mask(&segment.deletes, first..end);
            let live = filter_record_batch(batch, &BooleanArray::new(mask, None))?;
            batches.push(adapt_batch(&live, &self.collection.schema, &self.fields())?);
            first = end;
        }
        let name = format!("{}.parquet", segment.id);
        self.rewrite(name, batches.into_iter().map(Ok))
    }

    /// Writes rows as a file, if there are any.
    fn rewrite(
        &mut self,
        name: String,
        batches: impl Iterator<Item = Result<RecordBatch>>,
    ) -> Result<()> {
        let path = self.target.join(&name);
        self.written.push(path.clone());
        let created = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path);
        let file = created.map_err(|e| io("create", &path, e))?;
        let handle = file.try_clone().map_err(|e| io("open", &path, e))?;
        let floats = self.collection.schema.columns.iter();
        let floats =
            floats.filter(|c| matches!(c.column_type, ColumnType::Real | ColumnType::Double));
        let layout = SegmentLayout {
            schema: &self.collection.schema,
            options: &self.collection.options,
            sorted_by: &[],
            // Any of them may have one; nobody prunes by what is not there.
            nan_fields: &floats.map(|c| c.id).collect(),
            filter_fields: &[],
        };
        let mut writer = SegmentWriter::try_new(handle, layout)?;
        for batch in batches {
            writer.write(&batch?)?;
        }
        let written = writer.finish()?;
        file.sync_all().map_err(|e| io("sync", &path, e))?;
        if written.rows == 0 {
            return fs::remove_file(&path).map_err(|e| io("remove", &path, e));
        }
        self.add(name, written.rows, written.bytes);
        Ok(())
    }

    fn write(&mut self, path: &Path, bytes: &[u8]) -> Result<()> {
        let directory = path.parent().unwrap_or(self.target);
        fs::create_dir_all(directory).map_err(|e| io("create", directory, e))?;
        self.written.push(path.to_path_buf());
        let created = File::create_new(path);
        let written = created.and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        written.map_err(|e| io("write", path, e))?;
        sync_directory(&Files::default(), directory)
    }

    fn finish(mut self) -> Result<Exported> {
        sync_directory(&Files::default(), self.target)?;
        self.is_finished = true;
        let files = self.files.iter();
        Ok(files.fold(Exported::default(), |all, file| Exported {
            rows: all.rows + file.rows,
            files: all.files + 1,
            bytes: all.bytes + file.bytes,
        }))
    }

    fn add(&mut self, name: String, rows: u64, bytes: u64) {
        self.files.push(DataFile { name, rows, bytes });
    }

    fn fields(&self) -> Vec<FieldId> {
        self.collection
            .schema
            .columns
            .iter()
            .map(|c| c.id)
            .collect()
    }
}

impl Drop for Export<'_> {
    fn drop(&mut self) {
        if self.is_finished {
            return;
        }
        for path in &self.written {
            let _ = fs::remove_file(path);
        }
    }
}
