//! Writes sorted rows as segments: cuts the stream, gathers whole rows, remembers where each row went.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, UInt32Type};
use roaring::RoaringBitmap;

use super::computed::KeyNotes;
use super::gather::Gatherer;
use super::input::Input;
use super::jobs::Task;
use super::memory::{ENCODE_BYTES, Shares};
use super::order::SortOrder;
use super::outputs::Outputs;
use super::ranges::{Cutter, Limits, Weight};
use super::steps::Steps;
use super::warm::warm;
use crate::error::{Error, Result};
use crate::storage::change::NewSegment;
use crate::storage::collect::nan_fields;
use crate::storage::collection::Collection;
use crate::storage::engine::Engine;
use crate::storage::places::Places;
use crate::storage::schema::{FieldId, JobId, SegmentId};
use crate::storage::stats::Bound;
use crate::storage::store::NewFile;
use crate::storage::transaction::RowMap;
use crate::storage::writer::{SegmentLayout, SegmentWriter};

/// Rows that are encoded at once: few of wide vectors, as the memory allows, but never one by one.
const ENCODE_ROWS_MIN: u64 = 16;
const ENCODE_ROWS_MAX: u64 = 4_096;

/// What the outputs of a group should be.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The clustering run that they belong to.
    pub run: Option<JobId>,
    /// Their place among the tiers of runs.
    pub level: u8,
    /// How much each may hold.
    pub limits: Limits,
    /// The rows of outputs of groups before.
    pub rows_before: u64,
    /// Bytes that tell where their rows went.
    pub places_bytes_before: u64,
}

/// Writes the rows of one group of inputs.
pub(super) struct GroupWriter {
    engine: Arc<Engine>,
    collection: Arc<Collection>,
    inputs: Arc<Vec<Input>>,
    order: Arc<SortOrder>,
    gatherer: Gatherer,
    run: Option<JobId>,
    level: u8,
    nan_fields: HashSet<FieldId>,
    filter_fields: Vec<FieldId>,
    shares: Shares,
    task: Task,
    steps: Steps,
    cutter: Cutter,
    /// Where segments end, in rows from the start of the stream.
    cuts: VecDeque<u64>,
    /// Sorted rows that are not written, because a cut may still fall before them.
    waiting: VecDeque<RecordBatch>,
    /// Rows written.
    written: u64,
    /// The rows of outputs of groups before.
    rows_before: u64,
    maps: Vec<Places>,
    /// Bytes of the maps, and of those of groups before.
    places_bytes: u64,
    open: Option<OpenSegment>,
}

struct OpenSegment {
    id: SegmentId,
    file: NewFile,
    writer: SegmentWriter,
    notes: KeyNotes,
    /// Bytes of the file that are counted.
    bytes: u64,
}

impl GroupWriter {
    /// A writer for the rows of `inputs`, which come in `order`.
    ///
    /// # Errors
    /// 0A000 for a key of a type that has no order.
    pub fn try_new(
        engine: Arc<Engine>,
        collection: Arc<Collection>,
        inputs: Arc<Vec<Input>>,
        order: Arc<SortOrder>,
        target: Target,
        shares: Shares,
        task: Task,
    ) -> Result<Self> {
        let weights = inputs.iter().map(Input::weight);
        let planned = weights.fold(Weight::default(), Weight::plus);
        let schema = Arc::clone(&collection.schema);
        let gatherer = Gatherer::new(Arc::clone(&inputs), schema, order.narrow(), task.clone());
        let most = target.rows_before + planned.rows;
        let maps = inputs.iter().map(|input| Places::new(input.rows(), most));
        let maps: Vec<Places> = maps.collect();
        let bytes: usize = maps.iter().map(Places::memory_bytes).sum();
        Ok(Self {
            places_bytes: target.places_bytes_before + bytes as u64,
            maps,
            rows_before: target.rows_before,
            nan_fields: fields_with_nan(&collection, &inputs),
            filter_fields: collection.filter_fields(),
            steps: Steps::try_new(&order.key_types())?,
            cutter: Cutter::new(target.limits, planned),
            engine,
            collection,
            inputs,
            order,
            gatherer,
            run: target.run,
            level: target.level,
            shares,
            task,
            cuts: VecDeque::new(),
            waiting: VecDeque::new(),
            written: 0,
            open: None,
        })
    }

    /// Takes the next sorted rows, and writes those whose segment is certain.
    ///
    /// # Errors
    /// 57014 when the task is cancelled, 58030 or 53100 for what the disk says, XX001 for inputs that are damaged.
    pub fn push(&mut self, narrow: RecordBatch, outputs: &mut Outputs) -> Result<()> {
        self.task.check()?;
        let steps = self.steps.next(&self.order, &narrow)?;
        let mut cuts = Vec::new();
        for (step, bytes) in steps.into_iter().zip(self.row_bytes(&narrow)) {
            self.cutter.push(step, bytes, &mut cuts);
        }
        self.cuts.extend(cuts);
        self.waiting.push_back(narrow);
        self.drain(self.cutter.settled(), outputs)?;
        if self.waiting_bytes() <= self.shares.waiting {
            return Ok(());
        }
        let mut cuts = Vec::new();
        self.cutter.settle(&mut cuts);
        self.cuts.extend(cuts);
        self.drain(self.cutter.settled(), outputs)
    }

    /// Bytes of the rows that wait.
    fn waiting_bytes(&self) -> u64 {
        let bytes = self.waiting.iter().map(RecordBatch::get_array_memory_size);
        bytes.sum::<usize>() as u64
    }

    /// Writes what is left, and gives the group's row maps to `outputs`.
    ///
    /// # Errors
    /// As [`GroupWriter::push`].
    pub fn finish(mut self, outputs: &mut Outputs) -> Result<()> {
        self.drain(u64::MAX, outputs)?;
        self.end_segment(outputs)?;
        for (input, to) in self.inputs.iter().zip(self.maps) {
            let live = input.weight().rows;
            let carried = to.iter().flatten().count() as u64;
            if carried != live {
                return Err(Error::internal(format!(
                    "segment {} has {live} live rows, {carried} were written",
                    input.id()
                )));
            }
            outputs.add_row_map(RowMap {
                input: input.id(),
                read_deletes: RoaringBitmap::clone(input.deletes()),
                to,
            });
        }
        Ok(())
    }

    /// Bytes that each row takes in memory, its vectors included.
    fn row_bytes(&self, narrow: &RecordBatch) -> Vec<u64> {
        let columns = &narrow.columns()[..self.order.narrow().input_index()];
        let mut bytes = vec![self.order.narrow().vector_bytes(); narrow.num_rows()];
        for column in columns {
            add_value_bytes(column, &mut bytes);
        }
        bytes
    }

    /// Writes waiting rows before row `settled` of the stream.
    fn drain(&mut self, settled: u64, outputs: &mut Outputs) -> Result<()> {
        while let Some(batch) = self.waiting.pop_front() {
            if self.cuts.front() == Some(&self.written) {
                self.cuts.pop_front();
                self.end_segment(outputs)?;
            }
            let cut = self.cuts.front().copied().unwrap_or(u64::MAX);
            let most = (settled.min(cut) - self.written).min(self.shares.gather_rows) as usize;
            if most == 0 {
                self.waiting.push_front(batch);
                break;
            }
            let rows = most.min(batch.num_rows());
            self.write(&batch.slice(0, rows))?;
            if rows < batch.num_rows() {
                let rest = batch.slice(rows, batch.num_rows() - rows);
                self.waiting.push_front(rest);
            }
        }
        Ok(())
    }

    fn write(&mut self, narrow: &RecordBatch) -> Result<()> {
        if narrow.num_rows() == 0 {
            return Ok(());
        }
        self.task.check()?;
        let rows = self.gatherer.gather(narrow)?;
        if self.open.is_none() {
            self.open = Some(self.begin_segment()?);
        }
        let waiting = self.waiting_bytes();
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let row_bytes = self.order.narrow().vector_bytes().max(1);
        let rows_at_once =
            (ENCODE_BYTES / row_bytes).clamp(ENCODE_ROWS_MIN, ENCODE_ROWS_MAX) as usize;
        for first in (0..rows.num_rows()).step_by(rows_at_once) {
            let length = rows_at_once.min(rows.num_rows() - first);
            open.writer.write(&rows.slice(first, length))?;
        }
        open.notes.add(narrow, &rows)?;
        let buffered = open.writer.memory_bytes() as u64;
        let gathered = narrow.num_rows() as u64 * self.order.narrow().vector_bytes();
        self.task
            .note_write_memory(buffered + gathered + waiting + self.places_bytes);
        if buffered >= self.shares.row_group {
            open.writer.end_row_group()?;
        }
        let bytes = open.writer.bytes();
        let new_bytes = bytes - std::mem::replace(&mut open.bytes, bytes);
        self.task.moved(new_bytes)?;
        self.remember(narrow);
        self.written += narrow.num_rows() as u64;
        self.task.add_rows_written(narrow.num_rows() as u64);
        Ok(())
    }

    /// Notes that the rows are the next ones of the outputs.
    fn remember(&mut self, narrow: &RecordBatch) {
        let column = |index: usize| narrow.column(index).as_primitive::<UInt32Type>().values();
        let inputs = column(self.order.narrow().input_index());
        let rows = column(self.order.narrow().row_index());
        let places = self.rows_before + self.written..;
        for ((input, row), place) in inputs.iter().zip(rows.iter()).zip(places) {
            self.maps[*input as usize].set(*row, place);
        }
    }

    fn begin_segment(&self) -> Result<OpenSegment> {
        let id = SegmentId(self.engine.committer.allocate_id());
        let mut file = self.engine.store.create_segment(self.collection.id, id)?;
        let handle = file
            .file()
            .try_clone()
            .map_err(|e| Error::io("use the file of a new segment", e))?;
        let layout = SegmentLayout {
            schema: &self.collection.schema,
            options: &self.collection.options,
            sorted_by: self.collection.sort_key(),
            nan_fields: &self.nan_fields,
            filter_fields: &self.filter_fields,
        };
        Ok(OpenSegment {
            id,
            file,
            writer: SegmentWriter::try_new(handle, layout)?,
            notes: KeyNotes::new(&self.order, &self.collection.schema),
            bytes: 0,
        })
    }

    fn end_segment(&mut self, outputs: &mut Outputs) -> Result<()> {
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        let mut written = open.writer.finish()?;
        open.notes.put_into(&mut written.stats);
        open.file.publish()?;
        self.task.add_segment(written.bytes);
        let segment = NewSegment {
            id: open.id,
            rows: written.rows,
            bytes: written.bytes,
            crc32c: written.crc32c,
            sorted_by: self.collection.sort_key().to_vec(),
            run: self.run,
            level: self.level,
            stats: Arc::new(written.stats),
            filters: written.filters,
            deletes: RoaringBitmap::new(),
        };
        // From now on whoever drops the outputs removes the file.
        outputs.add_segment(segment.clone());
        self.task.moved(written.bytes - open.bytes)?;
        warm(&self.engine, &self.collection, &segment, &self.task)
    }
}

/// Float columns in which an input has a NaN.
fn fields_with_nan(collection: &Collection, inputs: &[Input]) -> HashSet<FieldId> {
    let mut fields = HashSet::new();
    for input in inputs {
        match input {
            Input::Sealed(sealed) => {
                let columns = sealed.segment.stats.columns.iter();
                fields.extend(columns.filter(|c| c.nan_count > 0).map(|c| c.field));
            }
            Input::Growing(growing) => fields.extend(nan_fields(growing.batches())),
        }
    }
    let is_nan = |bound: &Bound| matches!(bound, Bound::Float(v) if f64::from_bits(*v).is_nan());
    let columns = collection.schema.columns.iter();
    let added_as_nan = columns.filter(|c| c.missing.as_ref().is_some_and(is_nan));
    fields.extend(added_as_nan.map(|c| c.id));
    fields
}

/// Adds to `bytes` what each value of a column takes in memory.
fn add_value_bytes(column: &dyn Array, bytes: &mut [u64]) {
    let add_lengths = |bytes: &mut [u64], offsets: &[i32]| {
        for (row, ends) in bytes.iter_mut().zip(offsets.windows(2)) {
            *row += (ends[1] - ends[0]) as u64 + 4;
        }
    };
    match column.data_type() {
        DataType::Utf8 => add_lengths(bytes, column.as_string::<i32>().value_offsets()),
        DataType::Binary => add_lengths(bytes, column.as_binary::<i32>().value_offsets()),
        data_type => {
            let all = || column.to_data().get_slice_memory_size().unwrap_or(0) as u64;
            let each = match data_type.primitive_width() {
                Some(width) => width as u64,
                None => all() / (bytes.len() as u64).max(1),
            };
            bytes.iter_mut().for_each(|row| *row += each);
        }
    }
}
