//! A sample of the vectors of a collection.

use std::sync::Arc;

use arrow::array::{Array, AsArray, UInt32Array};

use crate::compaction::gather::Gatherer;
use crate::compaction::input::{Input, Narrow};
use crate::compaction::jobs::Task;
use crate::error::{Error, Result};
use crate::storage::key_model::values_of;
use crate::storage::schema::{CollectionSchema, ColumnType, FieldId};

/// Vectors that are read at once, in bytes.
const READ_BYTES: usize = 4 << 20;
/// Numbers whose squares add up: vectors with others have no place among centroids.
const NUMBER_MAX: f32 = 1e15;

/// Some of the vectors of a column: all have distances from each other.
#[derive(Debug)]
pub(super) struct Sample {
    /// Of each vector.
    pub dimensions: usize,
    /// One after the other; at least one, if need be of zeros.
    pub vectors: Vec<f32>,
    /// How many rows the sample is of.
    pub of_rows: u64,
}

impl Sample {
    /// How many vectors there are.
    pub fn rows(&self) -> usize {
        self.vectors.len() / self.dimensions
    }
}

/// A sample of the live rows of inputs, evenly from all of them; `rows_max` tells its size from the number of rows and the
/// bytes of a vector.
///
/// # Errors
/// XX001 or 58030 when an input cannot be read, 57014 when the job is cancelled.
pub(super) fn sample(
    inputs: &Arc<Vec<Input>>,
    schema: &Arc<CollectionSchema>,
    field: FieldId,
    task: &Task,
    rows_max: impl FnOnce(u64, u64) -> u64,
) -> Result<Sample> {
    let column = schema.column_by_id(field).map(|c| &c.column_type);
    let Some(ColumnType::Vector(dimensions) | ColumnType::HalfVec(dimensions)) = column else {
        return Err(Error::internal(format!("field {field} is not a vector")));
    };
    let dimensions = *dimensions as usize;
    let vector_bytes = dimensions * size_of::<f32>();
    let of_rows = inputs.iter().map(|input| input.weight().rows).sum();
    let step = u64::div_ceil(of_rows, rows_max(of_rows, vector_bytes as u64).max(1));
    let gatherer = Gatherer::new(
        Arc::clone(inputs),
        Arc::clone(schema),
        &Narrow::try_new(schema)?,
        task.clone(),
    );
    let mut vectors = Vec::new();
    let places = chosen(inputs, step);
    for chunk in places.chunks((READ_BYTES / vector_bytes.max(1)).max(1)) {
        task.check()?;
        let of = UInt32Array::from_iter_values(chunk.iter().map(|(input, _)| *input));
        let rows = UInt32Array::from_iter_values(chunk.iter().map(|(_, row)| *row));
        let read = gatherer.vectors_at(&of, &rows, field)?;
        let read = read.as_fixed_size_list();
        let values = values_of(read)?;
        for (row, vector) in values.chunks_exact(dimensions).enumerate() {
            if read.is_valid(row) && vector.iter().all(|v| v.abs() <= NUMBER_MAX) {
                vectors.extend_from_slice(vector);
            }
        }
    }
    if vectors.is_empty() {
        vectors.resize(dimensions, 0.0);
    }
    Ok(Sample {
        dimensions,
        vectors,
        of_rows,
    })
}

/// One of every `step` live rows, by input and place.
fn chosen(inputs: &[Input], step: u64) -> Vec<(u32, u32)> {
    let mut places = Vec::new();
    let mut chooser = Chooser::new(step);
    for (input, place) in inputs.iter().zip(0..) {
        let deletes = input.deletes();
        let live = (0..input.rows() as u32).filter(|row| !deletes.contains(*row));
        places.extend(live.filter(|_| chooser.takes()).map(|row| (place, row)));
    }
    places
}

/// Takes one of every so many rows; not always the same of them, so that rows in turns do not matter.
pub(super) struct Chooser {
    step: u64,
    count: u64,
    next: u64,
}

impl Chooser {
    pub fn new(step: u64) -> Self {
        let step = step.max(1);
        Self {
            step,
            count: 0,
            next: spread(0) % step,
        }
    }

    /// Whether the next row is taken.
    pub fn takes(&mut self) -> bool {
        let taken = self.count == self.next;
        if taken {
            let window = self.count / self.step + 1;
            self.next = window * self.step + spread(window) % self.step;
        }
        self.count += 1;
        taken
    }
}

/// The finalizer of SplitMix64: numbers in order become numbers in none.
fn spread(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
