//! The rows: made from their number alone, so that the loader and the check of answers see the same without keeping them.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{FixedSizeListArray, Float32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use shelfmark::{Error, Result};

/// Rows of a batch of the file.
const BATCH_ROWS: usize = 4_096;
/// One row of so many has the key 1000.
const HEAVY_KEY_EVERY: usize = 100;

/// A collection of rows.
#[derive(Debug, Clone, Copy)]
pub struct Rows {
    pub count: usize,
    pub dimensions: usize,
}

impl Rows {
    /// The clustering key of a row; keys come in no order.
    pub fn key(&self, row: usize) -> i64 {
        match row % HEAVY_KEY_EVERY {
            0 => 1_000,
            _ => (mixed(row as u64) % 1_000) as i64,
        }
    }

    /// The elements of a row's vector, evenly distributed between -1 and 1.
    pub fn vector(&self, row: usize) -> impl Iterator<Item = f32> {
        let first = (row * self.dimensions) as u64;
        (first..first + self.dimensions as u64).map(|i| {
            let unit = (mixed(i ^ 0x5eed) >> 40) as f32 / (1_u64 << 24) as f32;
            unit * 2.0 - 1.0
        })
    }

    /// The elements of a query's vector: those of a row that is not there.
    pub fn query(&self, number: usize) -> Vec<f32> {
        self.vector(self.count + number).collect()
    }

    /// Writes all rows as Parquet.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let file = File::create(path).map_err(|e| Error::io("create the file of rows", e))?;
        let mut writer = ArrowWriter::try_new(file, self.batch(0..0)?.schema(), None)?;
        for first in (0..self.count).step_by(BATCH_ROWS) {
            writer.write(&self.batch(first..(first + BATCH_ROWS).min(self.count))?)?;
        }
        writer.close()?;
        Ok(())
    }

    fn batch(&self, rows: std::ops::Range<usize>) -> Result<RecordBatch> {
        let element = Arc::new(Field::new("element", DataType::Float32, false));
        let elements = rows.clone().flat_map(|row| self.vector(row));
        let vectors = FixedSizeListArray::try_new(
            Arc::clone(&element),
            self.dimensions as i32,
            Arc::new(Float32Array::from_iter_values(elements)),
            None,
        )?;
        let vector = DataType::FixedSizeList(element, self.dimensions as i32);
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("key", DataType::Int64, false),
            Field::new("var", DataType::Utf8, false),
            Field::new("embeddings", vector, false),
        ]);
        let ids = Int64Array::from_iter_values(rows.clone().map(|row| row as i64));
        let keys = Int64Array::from_iter_values(rows.clone().map(|row| self.key(row)));
        let texts = StringArray::from_iter_values(rows.map(|row| format!("text of row {row}")));
        Ok(RecordBatch::try_new(
            Arc::new(schema),
            vec![
                Arc::new(ids),
                Arc::new(keys),
                Arc::new(texts),
                Arc::new(vectors),
            ],
        )?)
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): neighbouring numbers come out unrelated.
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
