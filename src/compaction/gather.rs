//! Fetches the vectors of sorted rows: they are never sorted, only read from where they are.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanBufferBuilder, FixedSizeListArray, Float16Array, Float32Array,
    RecordBatch, UInt32Array,
};
use arrow::buffer::{Buffer, MutableBuffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, SchemaRef, UInt32Type};
use parquet::arrow::arrow_reader::RowSelection;

use super::input::{Input, Narrow};
use super::jobs::Task;
use crate::error::{Error, Result};
use crate::storage::adapt::adapt_batch;
use crate::storage::schema::{CollectionSchema, FieldId};
use crate::storage::segment::{ReadRequest, SegmentReader};

/// Where the rows of a column come from.
enum Slot {
    /// A column of the narrow rows.
    Narrow(usize),
    /// A vector column.
    Vector(FieldId),
}

/// Makes whole rows of narrow ones.
pub struct Gatherer {
    inputs: Arc<Vec<Input>>,
    /// Whose bytes are read.
    task: Task,
    schema: Arc<CollectionSchema>,
    arrow: SchemaRef,
    slots: Vec<Slot>,
    input_index: usize,
    row_index: usize,
}

impl Gatherer {
    /// A gatherer for the narrow rows of the inputs.
    pub fn new(
        inputs: Arc<Vec<Input>>,
        schema: Arc<CollectionSchema>,
        narrow: &Narrow,
        task: Task,
    ) -> Self {
        let slots = schema.columns.iter().map(|c| match narrow.index_of(c.id) {
            Some(index) => Slot::Narrow(index),
            None => Slot::Vector(c.id),
        });
        Self {
            slots: slots.collect(),
            arrow: schema.arrow_schema(),
            inputs,
            task,
            schema,
            input_index: narrow.input_index(),
            row_index: narrow.row_index(),
        }
    }

    /// The job whose bytes are read.
    pub fn task(&self) -> &Task {
        &self.task
    }

    /// The whole rows of narrow ones, in the same order, with the collection's `arrow_schema()`.
    ///
    /// # Errors
    /// XX001 or 58030 when an input cannot be read.
    pub fn gather(&self, narrow: &RecordBatch) -> Result<RecordBatch> {
        let places = Places {
            inputs: narrow.column(self.input_index).as_primitive::<UInt32Type>(),
            rows: narrow.column(self.row_index).as_primitive::<UInt32Type>(),
        };
        let order = places.in_order();
        let columns: Result<Vec<ArrayRef>> = self
            .slots
            .iter()
            .enumerate()
            .map(|(column, slot)| match slot {
                Slot::Narrow(index) => Ok(ArrayRef::clone(narrow.column(*index))),
                Slot::Vector(field) => self.vectors(column, *field, &places, &order),
            })
            .collect();
        let options =
            arrow::array::RecordBatchOptions::new().with_row_count(Some(narrow.num_rows()));
        let schema = SchemaRef::clone(&self.arrow);
        Ok(RecordBatch::try_new_with_options(
            schema, columns?, &options,
        )?)
    }

    /// One column of the whole rows of narrow ones.
    ///
    /// # Errors
    /// XX001 or 58030 when an input cannot be read; XX000 for a column that there is not.
    pub fn column(&self, narrow: &RecordBatch, field: FieldId) -> Result<ArrayRef> {
        match self
            .schema
            .index_of(field)
            .map(|column| &self.slots[column])
        {
            Some(Slot::Narrow(index)) => Ok(ArrayRef::clone(narrow.column(*index))),
            _ => self.vectors_at(
                narrow.column(self.input_index).as_primitive(),
                narrow.column(self.row_index).as_primitive(),
                field,
            ),
        }
    }

    /// The vectors of rows, given the places of their inputs and their places in these.
    ///
    /// # Errors
    /// XX001 or 58030 when an input cannot be read; XX000 for a column that there is not.
    pub fn vectors_at(
        &self,
        inputs: &UInt32Array,
        rows: &UInt32Array,
        field: FieldId,
    ) -> Result<ArrayRef> {
        let column = self.schema.index_of(field);
        let column = column.ok_or_else(|| Error::internal(format!("there is no field {field}")))?;
        let places = Places { inputs, rows };
        self.vectors(column, field, &places, &places.in_order())
    }

    fn vectors(
        &self,
        column: usize,
        field: FieldId,
        places: &Places,
        order: &[u32],
    ) -> Result<ArrayRef> {
        let mut matrix = Matrix::new(self.arrow.field(column).data_type(), order.len())?;
        let mut buffer = MutableBuffer::new(0);
        for same in order.chunk_by(|a, b| places.input(*a) == places.input(*b)) {
            let input = &self.inputs[places.input(same[0])];
            let rows: Vec<u32> = same
                .iter()
                .map(|slot| places.rows.value(*slot as usize))
                .collect();
            buffer.resize(rows.len() * matrix.stride, 0);
            let target = buffer.as_slice_mut();
            let nulls = match input {
                Input::Sealed(sealed) => {
                    self.read_file(&sealed.reader()?, field, &rows, target, matrix.stride)?
                }
                Input::Growing(growing) => {
                    self.read_memory(growing.batches(), field, &rows, target, matrix.stride)?
                }
            };
            matrix.scatter(same, buffer.as_slice(), nulls.as_ref());
        }
        Ok(matrix.finish())
    }

    /// Vectors of ascending rows of a file, one after the other; answers which are not NULL.
    fn read_file(
        &self,
        reader: &Arc<SegmentReader>,
        field: FieldId,
        rows: &[u32],
        target: &mut [u8],
        stride: usize,
    ) -> Result<Option<NullBuffer>> {
        let pages = reader.vector_pages(field)?;
        if let Some(pages) = pages.filter(|p| p.vector_bytes() == stride) {
            // Blocks that are looked at for the first time are read whole: that counts, too.
            let pages = pages.with_own_count();
            let nulls = pages.gather(rows, target)?;
            self.task.moved(pages.bytes_read())?;
            return Ok(nulls);
        }
        let mut request = ReadRequest::all(reader, Arc::clone(&self.schema), vec![field]);
        let ranges = rows.iter().map(|row| *row as usize..*row as usize + 1);
        let all = usize::try_from(reader.rows()).unwrap_or(usize::MAX);
        request.rows = Some(RowSelection::from_consecutive_ranges(ranges, all));
        let mut writer = VectorWriter::new(target, stride);
        let mut batches = reader.read(request)?;
        for batch in batches.by_ref() {
            let batch = batch?;
            let vectors = as_vectors(batch.column(0))?;
            (0..vectors.len()).for_each(|i| writer.push(vectors, i));
        }
        self.task.moved(batches.bytes_read())?;
        writer.finish(rows.len())
    }

    /// Vectors of ascending rows of a growing segment, one after the other; answers which are not NULL.
    fn read_memory(
        &self,
        batches: &[RecordBatch],
        field: FieldId,
        rows: &[u32],
        target: &mut [u8],
        stride: usize,
    ) -> Result<Option<NullBuffer>> {
        let mut writer = VectorWriter::new(target, stride);
        let mut first = 0;
        let mut rest = rows;
        for batch in batches {
            let end = first + batch.num_rows() as u32;
            let (here, after) = rest.split_at(rest.partition_point(|row| *row < end));
            if !here.is_empty() {
                let column = adapt_batch(batch, &self.schema, &[field])?;
                let vectors = as_vectors(column.column(0))?;
                here.iter()
                    .for_each(|row| writer.push(vectors, (row - first) as usize));
            }
            rest = after;
            first = end;
        }
        writer.finish(rows.len())
    }
}

/// Where each row of a batch is.
struct Places<'a> {
    inputs: &'a UInt32Array,
    rows: &'a UInt32Array,
}

impl Places<'_> {
    fn input(&self, slot: u32) -> usize {
        self.inputs.value(slot as usize) as usize
    }

    /// Places in the batch, ordered by input and row: the order in which files are read.
    fn in_order(&self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.rows.len() as u32).collect();
        order.sort_unstable_by_key(|slot| (self.input(*slot), self.rows.value(*slot as usize)));
        order
    }
}

fn as_vectors(column: &ArrayRef) -> Result<&FixedSizeListArray> {
    column
        .as_fixed_size_list_opt()
        .ok_or_else(|| Error::internal(format!("{} is not a vector", column.data_type())))
}

/// The values of a vector's elements as bytes.
fn value_bytes(vectors: &FixedSizeListArray, row: usize, stride: usize) -> &[u8] {
    let data = vectors.values();
    let bytes = match data.data_type() {
        DataType::Float16 => data
            .as_primitive::<arrow::datatypes::Float16Type>()
            .values()
            .inner(),
        _ => data
            .as_primitive::<arrow::datatypes::Float32Type>()
            .values()
            .inner(),
    };
    let start = (vectors.value_offset(row) as usize) * (stride / vectors.value_length() as usize);
    &bytes[start..start + stride]
}

/// Puts vectors one after the other.
struct VectorWriter<'a> {
    target: &'a mut [u8],
    stride: usize,
    valid: BooleanBufferBuilder,
}

impl<'a> VectorWriter<'a> {
    fn new(target: &'a mut [u8], stride: usize) -> Self {
        Self {
            target,
            stride,
            valid: BooleanBufferBuilder::new(0),
        }
    }

    fn push(&mut self, vectors: &FixedSizeListArray, row: usize) {
        let start = self.valid.len() * self.stride;
        let target = &mut self.target[start..start + self.stride];
        self.valid.append(vectors.is_valid(row));
        match vectors.is_valid(row) {
            true => target.copy_from_slice(value_bytes(vectors, row, self.stride)),
            false => target.fill(0),
        }
    }

    fn finish(mut self, rows: usize) -> Result<Option<NullBuffer>> {
        if self.valid.len() != rows {
            return Err(Error::internal(
                "an input has fewer rows than were asked for",
            ));
        }
        let nulls = NullBuffer::new(self.valid.finish());
        Ok(Some(nulls).filter(|n| n.null_count() > 0))
    }
}

/// The vectors of a batch while they come from several inputs.
struct Matrix {
    data_type: DataType,
    values: MutableBuffer,
    valid: BooleanBufferBuilder,
    rows: usize,
    stride: usize,
}

impl Matrix {
    fn new(data_type: &DataType, rows: usize) -> Result<Self> {
        let stride = match data_type {
            DataType::FixedSizeList(element, dimensions) => {
                element.data_type().primitive_width().unwrap_or(0) * *dimensions as usize
            }
            other => return Err(Error::internal(format!("{other} is not a vector"))),
        };
        let mut valid = BooleanBufferBuilder::new(rows);
        valid.append_n(rows, true);
        Ok(Self {
            data_type: data_type.clone(),
            values: MutableBuffer::from_len_zeroed(rows * stride),
            valid,
            rows,
            stride,
        })
    }

    /// Puts vectors that come one after the other at their places.
    fn scatter(&mut self, places: &[u32], vectors: &[u8], nulls: Option<&NullBuffer>) {
        let values = self.values.as_slice_mut();
        for (vector, place) in vectors.chunks_exact(self.stride).zip(places) {
            let start = *place as usize * self.stride;
            values[start..start + self.stride].copy_from_slice(vector);
        }
        for (i, place) in places.iter().enumerate() {
            if nulls.is_some_and(|n| n.is_null(i)) {
                self.valid.set_bit(*place as usize, false);
            }
        }
    }

    fn finish(mut self) -> ArrayRef {
        let nulls = NullBuffer::new(self.valid.finish());
        let nulls = Some(nulls).filter(|n| n.null_count() > 0);
        let values = Buffer::from(self.values);
        let DataType::FixedSizeList(element, dimensions) = self.data_type else {
            unreachable!("invariant: checked when it was made");
        };
        let values: ArrayRef = match element.data_type() {
            DataType::Float16 => Arc::new(Float16Array::new(ScalarBuffer::from(values), None)),
            _ => Arc::new(Float32Array::new(ScalarBuffer::from(values), None)),
        };
        debug_assert_eq!(values.len(), self.rows * dimensions as usize);
        Arc::new(FixedSizeListArray::new(element, dimensions, values, nulls))
    }
}
