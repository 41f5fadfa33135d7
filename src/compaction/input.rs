//! The inputs of a compaction: segments, sealed and growing, read without their deleted rows.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::take_arrays;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use roaring::RoaringBitmap;

use super::policy::{growing_weight, sealed_weight};
use super::ranges::Weight;
use crate::error::{Error, Result};
use crate::storage::adapt::{adapt_batch, projected_schema};
use crate::storage::collection::{Collection, Segment};
use crate::storage::engine::Engine;
use crate::storage::growing::GrowingSegment;
use crate::storage::schema::{CollectionSchema, Column, ColumnType, FieldId, SegmentId};
use crate::storage::segment::{ReadRequest, SegmentReader, live_selection};

/// The name of the column with the place of a row's input among the inputs.
const INPUT_COLUMN: &str = "shelfmark.input";
/// The name of the column with the place of a row in its input.
const ROW_COLUMN: &str = "shelfmark.row";

/// Batches of rows, read as the iterator moves.
pub type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// A segment to be replaced, as its rows are read.
#[derive(Debug, Clone)]
pub enum Input {
    /// A file.
    Sealed(SealedInput),
    /// Rows in memory, which get no more.
    Growing(Arc<GrowingSegment>),
}

/// A sealed segment to be replaced.
#[derive(Debug, Clone)]
pub struct SealedInput {
    /// The segment, with the deletes that the job sees.
    pub segment: Arc<Segment>,
    engine: Arc<Engine>,
    path: PathBuf,
    label: String,
}

impl SealedInput {
    /// Its open file. The engine keeps only so many open, and a job may have more inputs than that.
    ///
    /// # Errors
    /// Those of [`SegmentReader::open_whole`].
    pub fn reader(&self) -> Result<Arc<SegmentReader>> {
        let segments = &self.engine.segments;
        segments.open(&self.segment, &self.path, &self.label)
    }
}

impl Input {
    /// The segment of that id.
    ///
    /// # Errors
    /// 40001 when the collection does not have it (any more).
    pub fn find(engine: &Arc<Engine>, collection: &Collection, id: SegmentId) -> Result<Self> {
        if let Some(growing) = collection.growing_segment(id) {
            return Ok(Self::Growing(Arc::clone(growing)));
        }
        let name = &collection.name;
        let segment = collection
            .segment(id)
            .ok_or_else(|| Error::conflict(format!("segment {id} of \"{name}\" is gone")))?;
        let path = engine.store.segment_path(collection.id, id);
        Ok(Self::Sealed(SealedInput {
            segment: Arc::clone(segment),
            engine: Arc::clone(engine),
            label: format!("segment {id} of \"{name}\" ({})", path.display()),
            path,
        }))
    }

    /// The segment's identity.
    pub fn id(&self) -> SegmentId {
        match self {
            Self::Sealed(sealed) => sealed.segment.id,
            Self::Growing(growing) => growing.id,
        }
    }

    /// All its rows, deleted ones included.
    pub fn rows(&self) -> u64 {
        match self {
            Self::Sealed(sealed) => sealed.segment.rows,
            Self::Growing(growing) => growing.rows,
        }
    }

    /// Its deleted rows.
    pub fn deletes(&self) -> &RoaringBitmap {
        match self {
            Self::Sealed(sealed) => &sealed.segment.deletes,
            Self::Growing(growing) => &growing.deletes,
        }
    }

    /// Bytes of its file, or of its rows in memory.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Sealed(sealed) => sealed.segment.bytes,
            Self::Growing(growing) => growing.bytes,
        }
    }

    /// Live rows, and about the bytes that they take in memory.
    pub fn weight(&self) -> Weight {
        match self {
            Self::Sealed(sealed) => sealed_weight(&sealed.segment),
            Self::Growing(growing) => growing_weight(growing),
        }
    }
}

/// The columns that are sorted with a row's place: all but vectors.
#[derive(Debug, Clone)]
pub struct Narrow {
    schema: Arc<CollectionSchema>,
    fields: Vec<FieldId>,
    arrow: SchemaRef,
}

impl Narrow {
    /// The narrow rows of a collection: its columns but vectors, then input and row.
    ///
    /// # Errors
    /// None in practice: the columns are the collection's own.
    pub fn try_new(schema: &Arc<CollectionSchema>) -> Result<Self> {
        let scalars = schema.columns.iter().filter(|c| !c.column_type.is_vector());
        Self::of(schema, scalars.map(|c| c.id).collect())
    }

    /// Narrow rows with some of the columns that are not vectors.
    ///
    /// # Errors
    /// XX000 for a column that the collection does not have.
    pub fn of(schema: &Arc<CollectionSchema>, fields: Vec<FieldId>) -> Result<Self> {
        let mut all: Vec<FieldRef> = projected_schema(schema, &fields)?.fields().to_vec();
        for name in [INPUT_COLUMN, ROW_COLUMN] {
            all.push(Arc::new(Field::new(name, DataType::UInt32, false)));
        }
        Ok(Self {
            schema: Arc::clone(schema),
            fields,
            arrow: Arc::new(Schema::new(all)),
        })
    }

    /// The Arrow schema of narrow rows.
    pub fn arrow_schema(&self) -> &SchemaRef {
        &self.arrow
    }

    /// The columns of the collection.
    pub fn collection_schema(&self) -> &Arc<CollectionSchema> {
        &self.schema
    }

    /// Bytes of a row's vectors, which narrow rows do without.
    pub fn vector_bytes(&self) -> u64 {
        let bytes = |c: &Column| match c.column_type {
            ColumnType::Vector(dimensions) => 4 * u64::from(dimensions),
            ColumnType::HalfVec(dimensions) => 2 * u64::from(dimensions),
            _ => 0,
        };
        self.schema.columns.iter().map(bytes).sum()
    }

    /// The place of a column that is not a vector.
    pub fn index_of(&self, field: FieldId) -> Option<usize> {
        self.fields.iter().position(|f| *f == field)
    }

    /// The place of the column with the row's input.
    pub fn input_index(&self) -> usize {
        self.fields.len()
    }

    /// The place of the column with the row's place in its input.
    pub fn row_index(&self) -> usize {
        self.fields.len() + 1
    }

    /// The live rows of an input in the order of their places; `place` is its own among the inputs.
    ///
    /// # Errors
    /// XX001 or 58030 when its file cannot be read; later errors come from the iterator.
    pub fn read(&self, input: &Input, place: u32, batch_rows: usize) -> Result<Batches> {
        match input {
            Input::Sealed(sealed) => self.read_sealed(sealed, place, batch_rows),
            Input::Growing(growing) => Ok(self.read_growing(growing, place, batch_rows)),
        }
    }

    fn read_sealed(&self, sealed: &SealedInput, place: u32, batch_rows: usize) -> Result<Batches> {
        let reader = sealed.reader()?;
        let schema = Arc::clone(&self.schema);
        let mut request = ReadRequest::all(&reader, schema, self.fields.clone());
        let ranges = (0..reader.row_groups()).map(|i| reader.row_group_range(i));
        request.rows = live_selection(&sealed.segment.deletes, ranges);
        request.row_number = true;
        request.batch_size = batch_rows;
        let this = self.clone();
        let batches = reader.read(request)?;
        Ok(Box::new(batches.map(move |b| this.with_input(b?, place))))
    }

    fn read_growing(
        &self,
        growing: &Arc<GrowingSegment>,
        place: u32,
        batch_rows: usize,
    ) -> Batches {
        let this = self.clone();
        let growing = Arc::clone(growing);
        let mut first_row = 0;
        let starts = growing.batches().iter().map(|batch| {
            first_row += batch.num_rows();
            first_row - batch.num_rows()
        });
        let pieces: Vec<(usize, usize, usize)> = starts
            .zip(growing.batches())
            .enumerate()
            .flat_map(|(i, (start, batch))| {
                let offsets = (0..batch.num_rows()).step_by(batch_rows.max(1));
                offsets.map(move |offset| (i, start, offset))
            })
            .collect();
        Box::new(pieces.into_iter().map(move |(batch, start, offset)| {
            let all = &growing.batches()[batch];
            let rows = batch_rows.max(1).min(all.num_rows() - offset);
            let piece = all.slice(offset, rows);
            this.read_piece(&piece, (start + offset) as u32, &growing.deletes, place)
        }))
    }

    /// The live rows of a part of a growing segment that begins with row `first`.
    fn read_piece(
        &self,
        piece: &RecordBatch,
        first: u32,
        deletes: &RoaringBitmap,
        place: u32,
    ) -> Result<RecordBatch> {
        let rows = adapt_batch(piece, &self.schema, &self.fields)?;
        let places = first..first + piece.num_rows() as u32;
        let places: Vec<u32> = places.filter(|row| !deletes.contains(*row)).collect();
        let live = UInt32Array::from_iter_values(places.iter().map(|row| row - first));
        // A copy even where no row is deleted: a slice would keep, and be charged for, the whole batch it is of.
        let mut columns = take_arrays(rows.columns(), &live, None)?;
        columns.push(Arc::new(UInt32Array::from(places)));
        self.with_input_column(columns, live.len(), place)
    }

    fn with_input(&self, rows: RecordBatch, place: u32) -> Result<RecordBatch> {
        let count = rows.num_rows();
        self.with_input_column(rows.columns().to_vec(), count, place)
    }

    /// Puts the input's place before the last column, the row's.
    fn with_input_column(
        &self,
        mut columns: Vec<ArrayRef>,
        rows: usize,
        place: u32,
    ) -> Result<RecordBatch> {
        let inputs = UInt32Array::from_value(place, rows);
        columns.insert(columns.len() - 1, Arc::new(inputs));
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let schema = SchemaRef::clone(&self.arrow);
        Ok(RecordBatch::try_new_with_options(
            schema, columns, &options,
        )?)
    }
}
