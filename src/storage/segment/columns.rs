//! Decoded columns of row groups, or of pages of them, for predicates that are evaluated again and again.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use lru::LruCache;
use parking_lot::Mutex;

use super::selection::select_ranges;
use super::{ReadRequest, SegmentReader};
use crate::error::Result;
use crate::storage::adapt::projected_schema;
use crate::storage::schema::{CollectionSchema, FieldId, SegmentId};

/// The most columns of row groups and pages: more are of so few rows that there is little to decode.
const COLUMNS_MAX: usize = 4_096;
/// How many columns of row groups are remembered that somebody wanted a few rows of.
const WANTED_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4_095);
/// The part of the memory that the columns of one row group may take.
const ROW_GROUP_PART: usize = 8;

/// A column of some rows of one row group, places in the file, with the type that the collection gives it.
type Key = (SegmentId, Range<u32>, FieldId, DataType);

/// A bounded cache of decoded columns, the least recently used dropped first. Texts are kept where the file says how
/// large they are before they are decoded.
#[derive(Debug)]
pub struct ColumnCache {
    bytes_max: usize,
    columns: Mutex<Columns>,
}

#[derive(Debug)]
struct Columns {
    /// Counts uses; the greatest is the newest.
    clock: u64,
    kept: HashMap<Key, (u64, ArrayRef)>,
    /// Bytes of memory of all that are kept.
    bytes: usize,
    /// How often columns were wanted for a few rows.
    wants: u64,
    /// What was wanted for a few rows and is not kept, and the number of that want.
    wanted: LruCache<Key, u64>,
}

impl Columns {
    fn new() -> Self {
        Self {
            clock: 0,
            kept: HashMap::new(),
            bytes: 0,
            wants: 0,
            wanted: LruCache::new(WANTED_MAX),
        }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn remove(&mut self, key: &Key) {
        if let Some((_, column)) = self.kept.remove(key) {
            self.bytes -= column.get_array_memory_size();
        }
    }

    fn oldest(&self) -> Option<Key> {
        let oldest = self.kept.iter().min_by_key(|(_, (used, _))| *used);
        oldest.map(|(key, _)| key.clone())
    }
}

impl ColumnCache {
    /// A cache that takes at most `bytes_max` bytes of memory; with zero it keeps nothing.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            columns: Mutex::new(Columns::new()),
        }
    }

    /// Columns of all rows of a row group as the collection has them today, and how many bytes were read for them.
    /// `None` where they are not kept: they have to be read otherwise.
    ///
    /// # Errors
    /// XX001 when the file is damaged, 58030 when it cannot be read.
    pub fn read(
        &self,
        segment: SegmentId,
        reader: &Arc<SegmentReader>,
        row_group: usize,
        schema: &Arc<CollectionSchema>,
        fields: &[FieldId],
    ) -> Result<Option<(RecordBatch, u64)>> {
        self.read_rows(
            segment,
            reader,
            reader.row_group_range(row_group),
            schema,
            fields,
        )
    }

    /// As [`ColumnCache::read`] one column.
    ///
    /// # Errors
    /// Those of [`ColumnCache::read`].
    pub fn read_column(
        &self,
        segment: SegmentId,
        reader: &Arc<SegmentReader>,
        row_group: usize,
        schema: &Arc<CollectionSchema>,
        field: FieldId,
    ) -> Result<Option<(ArrayRef, u64)>> {
        if let Some(column) = schema.column_by_id(field) {
            let data_type = column.column_type.arrow_type();
            let rows = reader.row_group_range(row_group);
            if let Some(column) = self.get(&(segment, rows, field, data_type)) {
                return Ok(Some((column, 0)));
            }
        }
        let read = self.read(segment, reader, row_group, schema, &[field])?;
        Ok(read.map(|(columns, bytes)| (Arc::clone(columns.column(0)), bytes)))
    }

    /// The same of rows of one row group, by their places in the file. Who asks for the same places again finds them:
    /// those of pages, not of single rows.
    ///
    /// # Errors
    /// Those of [`ColumnCache::read`].
    pub fn read_rows(
        &self,
        segment: SegmentId,
        reader: &Arc<SegmentReader>,
        rows: Range<u32>,
        schema: &Arc<CollectionSchema>,
        fields: &[FieldId],
    ) -> Result<Option<(RecordBatch, u64)>> {
        let output = projected_schema(schema, fields)?;
        let columns = fields.iter().zip(output.fields());
        let bytes: Option<usize> = columns
            .map(|(field, of)| bytes_of(reader, &rows, *field, of.data_type()))
            .sum();
        if bytes.is_none_or(|bytes| bytes > self.bytes_max / ROW_GROUP_PART) {
            return Ok(None);
        }
        let key_of = |place: usize, rows: &Range<u32>| {
            let data_type = output.field(place).data_type().clone();
            (segment, rows.clone(), fields[place], data_type)
        };
        let key = |place| key_of(place, &rows);
        let all = reader.row_group_range(reader.row_group_of(rows.start));
        let part_of_all = |place| {
            let column = self.get(&key_of(place, &all))?;
            Some(column.slice((rows.start - all.start) as usize, rows.len()))
        };
        let mut columns: Vec<Option<ArrayRef>> = (0..fields.len())
            .map(|place| self.get(&key(place)).or_else(|| part_of_all(place)))
            .collect();
        let missing = columns
            .iter()
            .enumerate()
            .filter(|(_, column)| column.is_none());
        let missing: Vec<usize> = missing.map(|(place, _)| place).collect();
        let mut bytes_read = 0;
        if !missing.is_empty() {
            let of_missing = missing.iter().map(|place| fields[*place]).collect();
            let (read, bytes) = decode(reader, rows.clone(), schema, of_missing)?;
            bytes_read = bytes;
            for (place, column) in missing.into_iter().zip(read.columns()) {
                self.insert(key(place), column);
                columns[place] = Some(Arc::clone(column));
            }
        }
        let columns: Vec<ArrayRef> = columns.into_iter().flatten().collect();
        let output = with_nulls(&output, &columns);
        Ok(Some((RecordBatch::try_new(output, columns)?, bytes_read)))
    }

    /// As [`ColumnCache::read`] one column, for who wants a few of its rows: they are worth decoding all of them when
    /// the column was wanted before, not long ago.
    ///
    /// # Errors
    /// Those of [`ColumnCache::read`].
    pub fn read_again(
        &self,
        segment: SegmentId,
        reader: &Arc<SegmentReader>,
        row_group: usize,
        schema: &Arc<CollectionSchema>,
        field: FieldId,
    ) -> Result<Option<(ArrayRef, u64)>> {
        let fields = [field];
        let data_type = projected_schema(schema, &fields)?
            .field(0)
            .data_type()
            .clone();
        let rows = reader.row_group_range(row_group);
        let bytes = bytes_of(reader, &rows, field, &data_type);
        let Some(bytes) = bytes.filter(|bytes| *bytes <= self.bytes_max / ROW_GROUP_PART) else {
            return Ok(None);
        };
        if !self.is_wanted_again((segment, rows, field, data_type), bytes) {
            return Ok(None);
        }
        self.read_column(segment, reader, row_group, schema, field)
    }

    /// The columns that are kept of some of these segments.
    pub fn fields_of(&self, segments: &HashSet<SegmentId>) -> HashSet<FieldId> {
        let columns = self.columns.lock();
        let kept = columns.kept.keys();
        let kept = kept.filter(|(segment, ..)| segments.contains(segment));
        kept.map(|(_, _, field, _)| *field).collect()
    }

    /// Forgets a segment whose file goes.
    pub fn remove(&self, id: SegmentId) {
        let mut columns = self.columns.lock();
        let of_segment = columns.kept.keys().filter(|(segment, ..)| *segment == id);
        let of_segment: Vec<Key> = of_segment.cloned().collect();
        of_segment.iter().for_each(|key| columns.remove(key));
    }

    /// Whether the column of about so many bytes is kept or was wanted before: not longer ago than as many wants as
    /// columns are kept where one of those would have to go for it, or columns that nobody asks for again would push
    /// each other out. Remembers that it is wanted now.
    fn is_wanted_again(&self, key: Key, bytes: usize) -> bool {
        let mut columns = self.columns.lock();
        columns.wants += 1;
        let now = columns.wants;
        if columns.kept.contains_key(&key) {
            return true;
        }
        let has_room = columns.bytes + bytes <= self.bytes_max;
        let kept = columns.kept.len() as u64;
        let before = columns.wanted.put(key, now);
        before.is_some_and(|before| has_room || now - before <= kept)
    }

    fn get(&self, key: &Key) -> Option<ArrayRef> {
        let mut columns = self.columns.lock();
        let now = columns.tick();
        let (used, column) = columns.kept.get_mut(key)?;
        *used = now;
        Some(Arc::clone(column))
    }

    fn insert(&self, key: Key, column: &ArrayRef) {
        let mut columns = self.columns.lock();
        let now = columns.tick();
        // Another may have decoded it meanwhile.
        columns.remove(&key);
        columns.bytes += column.get_array_memory_size();
        columns.kept.insert(key, (now, Arc::clone(column)));
        while (columns.bytes > self.bytes_max || columns.kept.len() > COLUMNS_MAX)
            && let Some(oldest) = columns.oldest()
        {
            columns.remove(&oldest);
        }
    }
}

/// About the bytes of a column of rows of one row group with their validity; `None` where nothing tells how long values
/// are.
fn bytes_of(
    reader: &SegmentReader,
    rows: &Range<u32>,
    field: FieldId,
    data_type: &DataType,
) -> Option<usize> {
    match data_type {
        DataType::Boolean => Some(rows.len()),
        DataType::FixedSizeBinary(width) => Some(rows.len() * (*width as usize + 1)),
        DataType::Utf8 | DataType::Binary => {
            let row_group = reader.row_group_of(rows.start);
            let part = rows.len() as f64 / reader.row_group_rows(row_group) as f64;
            let of_values = reader.bytes_of_values(row_group, field)? as f64 * part;
            Some(of_values as usize + rows.len() * (size_of::<i32>() + 1))
        }
        other => other
            .primitive_width()
            .map(|width| rows.len() * (width + 1)),
    }
}

/// The schema of columns, which may have NULLs where the collection's have none: in rows that were deleted.
fn with_nulls(schema: &SchemaRef, columns: &[ArrayRef]) -> SchemaRef {
    let fields = schema.fields().iter().zip(columns);
    let has_nulls =
        |(field, column): (&Arc<Field>, &ArrayRef)| !field.is_nullable() && column.null_count() > 0;
    if !fields.clone().any(has_nulls) {
        return Arc::clone(schema);
    }
    let nullable = fields.map(|(field, column)| {
        let nullable = field.is_nullable() || column.null_count() > 0;
        Field::clone(field).with_nullable(nullable)
    });
    Arc::new(Schema::new(nullable.collect::<Vec<Field>>()))
}

/// Columns of rows of one row group, and how many bytes were read for them.
fn decode(
    reader: &Arc<SegmentReader>,
    rows: Range<u32>,
    schema: &CollectionSchema,
    fields: Vec<FieldId>,
) -> Result<(RecordBatch, u64)> {
    // Deleted rows come too, whatever they have.
    let mut schema = schema.clone();
    for column in &mut schema.columns {
        column.nullable = true;
    }
    let schema = Arc::new(schema);
    let output = projected_schema(&schema, &fields)?;
    let row_group = reader.row_group_of(rows.start);
    let all = reader.row_group_range(row_group);
    let request = ReadRequest {
        row_groups: vec![row_group],
        batch_size: rows.len(),
        rows: (rows != all).then(|| select_ranges(all, [rows])),
        ..ReadRequest::all(reader, schema, fields)
    };
    let mut batches = reader.read(request)?;
    let read: Vec<RecordBatch> = batches.by_ref().collect::<Result<_>>()?;
    Ok((concat_batches(&output, &read)?, batches.bytes_read()))
}
