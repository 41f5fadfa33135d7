//! Computed items of a clustering key while rows are sorted by them and written.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::compute::concat;
use arrow::datatypes::Int64Type;

use super::gather::Gatherer;
use super::order::SortOrder;
use crate::error::Result;
use crate::storage::collect::radius_of;
use crate::storage::collection::Collection;
use crate::storage::key_model::{Codebook, KeyFunction, KeyModel, values_of};
use crate::storage::schema::{CollectionSchema, ColumnType, FieldId};
use crate::storage::stats::{Bound, Cell, Cells, ColumnStats, SegmentStats};

/// Bytes of vectors whose keys are computed at once.
const BLOCK_BYTES: usize = 4 << 20;
/// Bytes of vectors that a part of a segment has at least, if not fewer rows than [`CELL_ROWS_MIN`]: a search that skips
/// less saves nothing. It bounds the number of parts too.
const CELL_BYTES_MIN: usize = 64 << 10;
const CELL_ROWS_MIN: usize = 16;

/// A trained item of a key.
#[derive(Debug, Clone)]
pub struct ComputedItem {
    function: KeyFunction,
    model: Arc<KeyModel>,
    /// Rows whose keys are computed at once.
    block_rows: usize,
}

impl ComputedItem {
    /// The item of that id, if there is one that was trained.
    pub fn of(collection: &Collection, id: FieldId) -> Option<Self> {
        let function = &collection.schema.computed_key(id)?.function;
        let columns = function.columns().iter();
        let columns = columns.filter_map(|id| collection.schema.column_by_id(*id));
        let bytes = columns.map(|column| match column.column_type {
            ColumnType::Vector(dimensions) | ColumnType::HalfVec(dimensions) => {
                dimensions as usize * size_of::<f32>()
            }
            _ => 0,
        });
        Some(Self {
            function: function.clone(),
            model: Arc::clone(collection.model(id)?),
            block_rows: (BLOCK_BYTES / bytes.sum::<usize>().max(1)).max(1),
        })
    }

    /// The keys of narrow rows.
    ///
    /// # Errors
    /// XX001 or 58030 when an input cannot be read.
    pub fn keys(&self, rows: &RecordBatch, gatherer: &Gatherer) -> Result<ArrayRef> {
        let mut blocks = vec![Arc::new(Int64Array::from(Vec::<i64>::new())) as ArrayRef];
        for start in (0..rows.num_rows()).step_by(self.block_rows) {
            let block = rows.slice(start, self.block_rows.min(rows.num_rows() - start));
            let columns = self.function.columns().iter();
            let columns = columns.map(|field| gatherer.column(&block, *field));
            let columns: Vec<ArrayRef> = columns.collect::<Result<_>>()?;
            blocks.push(gatherer.task().compute(|| self.model.keys(&columns))?);
        }
        let blocks: Vec<&dyn Array> = blocks.iter().map(|block| &**block).collect();
        Ok(concat(&blocks)?)
    }
}

/// What is noted of the computed keys of a segment while it is written.
pub struct KeyNotes {
    items: Vec<ItemNotes>,
}

impl KeyNotes {
    /// Nothing of a segment whose rows come in `order`.
    pub fn new(order: &SortOrder, schema: &CollectionSchema) -> Self {
        let items = order.computed().map(|(item, column)| ItemNotes {
            column,
            model: Arc::clone(&item.model),
            range: None,
            null_count: 0,
            cells: CellNotes::new(item, schema),
        });
        Self {
            items: items.collect(),
        }
    }

    /// Takes sorted rows into account: as they were sorted, and as they are written.
    ///
    /// # Errors
    /// XX000 for rows of another schema.
    pub fn add(&mut self, sorted: &RecordBatch, rows: &RecordBatch) -> Result<()> {
        for item in &mut self.items {
            let keys = sorted.column(item.column).as_primitive::<Int64Type>();
            item.add(keys);
            let (Some(cells), Some(codebook)) = (&mut item.cells, item.model.codebook()) else {
                continue;
            };
            cells.add(codebook, keys, rows.column(cells.column))?;
        }
        Ok(())
    }

    /// Gives what was noted to the segment's statistics.
    pub fn put_into(self, stats: &mut SegmentStats) {
        for item in self.items {
            let key = item.model.id;
            let (min, max) = item.range.unzip();
            stats.columns.push(ColumnStats {
                field: key,
                min: min.map(Bound::Int),
                max: max.map(Bound::Int),
                min_exact: true,
                max_exact: true,
                null_count: item.null_count,
                nan_count: 0,
            });
            let Some(cells) = item.cells else {
                continue;
            };
            let vectors = stats.vectors.iter_mut().find(|v| v.field == cells.field);
            if let Some(vectors) = vectors {
                let cells = cells.finish();
                vectors.cells = Some(Cells { key, cells });
            }
        }
    }
}

struct ItemNotes {
    /// The place of its keys among the columns that rows are sorted by.
    column: usize,
    model: Arc<KeyModel>,
    range: Option<(i64, i64)>,
    null_count: u64,
    cells: Option<CellNotes>,
}

impl ItemNotes {
    fn add(&mut self, keys: &Int64Array) {
        self.null_count += keys.null_count() as u64;
        let range = arrow::compute::min(keys).zip(arrow::compute::max(keys));
        self.range = match (self.range, range) {
            (Some((min, max)), Some((low, high))) => Some((min.min(low), max.max(high))),
            (known, new) => known.or(new),
        };
    }
}

/// Parts of a segment as its rows come in: one ends where the next leaf begins, unless it is too small.
struct CellNotes {
    field: FieldId,
    /// The place of the vectors among the collection's columns.
    column: usize,
    rows_min: u32,
    done: Vec<Cell>,
    /// That of the first vector.
    leaf: Option<u32>,
    rows: u32,
    radius: f64,
}

impl CellNotes {
    fn new(item: &ComputedItem, schema: &CollectionSchema) -> Option<Self> {
        let KeyFunction::Vector(field) = item.function else {
            return None;
        };
        let vector_bytes = item.model.codebook()?.dimensions() * size_of::<f32>();
        Some(Self {
            field,
            column: schema.index_of(field)?,
            rows_min: (CELL_BYTES_MIN / vector_bytes.max(1)).max(CELL_ROWS_MIN) as u32,
            done: Vec::new(),
            leaf: None,
            rows: 0,
            radius: 0.0,
        })
    }

    fn add(&mut self, codebook: &Codebook, keys: &Int64Array, vectors: &ArrayRef) -> Result<()> {
        let vectors = vectors.as_fixed_size_list();
        let values = values_of(vectors)?;
        // Stretches of one leaf, or of NULL.
        let places: Vec<usize> = (0..keys.len()).collect();
        let leaf = |row: usize| keys.is_valid(row).then(|| keys.value(row) as u32);
        for rows in places.chunk_by(|a, b| leaf(*a) == leaf(*b)) {
            let (first, end) = (rows[0], rows[0] + rows.len());
            self.add_stretch(codebook, leaf(first), first..end, &values);
        }
        Ok(())
    }

    fn add_stretch(
        &mut self,
        codebook: &Codebook,
        leaf: Option<u32>,
        rows: Range<usize>,
        values: &[f32],
    ) {
        if let Some(leaf) = leaf {
            if self.rows >= self.rows_min && self.leaf.is_some_and(|own| own != leaf) {
                self.end_cell();
            }
            let own = *self.leaf.get_or_insert(leaf);
            let dimensions = codebook.dimensions();
            let vectors = &values[rows.start * dimensions..rows.end * dimensions];
            let radius = match codebook.leaf(own) {
                Some(centroid) => radius_of(vectors.iter().copied(), centroid),
                None => f64::INFINITY,
            };
            self.radius = self.radius.max(radius);
        }
        self.rows += rows.len() as u32;
    }

    fn end_cell(&mut self) {
        if self.rows > 0 {
            let leaf = self.leaf.unwrap_or_default();
            self.done.push(Cell::new(leaf, self.rows, self.radius));
        }
        (self.leaf, self.rows, self.radius) = (None, 0, 0.0);
    }

    fn finish(mut self) -> Vec<Cell> {
        self.end_cell();
        self.done
    }
}
