//! How each row's key stands to the key before, across batches.

use arrow::array::{Array, RecordBatch};
use arrow::compute::SortOptions;
use arrow::datatypes::DataType;
use arrow::row::{OwnedRow, RowConverter, SortField};

use super::order::SortOrder;
use super::ranges::Step;
use crate::error::Result;

/// Compares the keys of sorted rows as they pass.
pub(super) struct Steps {
    converter: Option<RowConverter>,
    last: Option<(OwnedRow, bool)>,
}

impl Steps {
    /// Keys of these types; none for rows that have no order.
    pub fn try_new(types: &[DataType]) -> Result<Self> {
        let options = SortOptions {
            descending: false,
            nulls_first: false,
        };
        let field = |t: &DataType| SortField::new_with_options(t.clone(), options);
        let converter = match types {
            [] => None,
            _ => Some(RowConverter::new(types.iter().map(field).collect())?),
        };
        Ok(Self {
            converter,
            last: None,
        })
    }

    /// The steps of the next batch, one for each row.
    pub fn next(&mut self, order: &SortOrder, batch: &RecordBatch) -> Result<Vec<Step>> {
        let Some(converter) = &self.converter else {
            return Ok(vec![Step::Next; batch.num_rows()]);
        };
        let columns: Vec<_> = order.key_columns(batch).into_iter().cloned().collect();
        let keys = converter.convert_columns(&columns)?;
        let is_null = |row: usize| columns[0].is_null(row);
        let step = |same: bool, null_before: bool, null: bool| match (same, null && !null_before) {
            (true, _) => Step::Same,
            (false, true) => Step::Null,
            (false, false) => Step::Next,
        };
        let mut steps = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let (same, null_before) = match row.checked_sub(1) {
                Some(before) => (keys.row(before) == keys.row(row), is_null(before)),
                None => match &self.last {
                    Some((last, null)) => (last.row() == keys.row(0), *null),
                    None => (false, false),
                },
            };
            steps.push(step(same, null_before, is_null(row)));
        }
        if let Some(last) = batch.num_rows().checked_sub(1) {
            self.last = Some((keys.row(last).owned(), is_null(last)));
        }
        Ok(steps)
    }
}
