//! Quantiles of columns, from a sample.

use std::cmp::Ordering;

use arrow::array::Array;
use datafusion::common::ScalarValue;

use super::sample::Chooser;
use crate::compaction::input::{Input, Narrow};
use crate::compaction::jobs::Task;
use crate::error::Result;
use crate::storage::growing::batch_bytes;
use crate::storage::key_model::{Quantiles, RANKS};
use crate::storage::schema::FieldId;
use crate::storage::stats::{BOUND_BYTES_MAX, Bound};

/// Rows of a sample for each rank.
const SAMPLE_PER_RANK: u64 = 64;
const BATCH_ROWS: usize = 1_024;

/// The quantiles of columns of all inputs; `narrow` has these columns.
///
/// # Errors
/// XX001 or 58030 when an input cannot be read, 57014 when the job is cancelled.
pub(super) fn quantiles(
    inputs: &[Input],
    narrow: &Narrow,
    fields: &[FieldId],
    task: &Task,
) -> Result<Quantiles> {
    let rows: u64 = inputs.iter().map(|input| input.weight().rows).sum();
    let mut chooser = Chooser::new(rows.div_ceil(RANKS as u64 * SAMPLE_PER_RANK));
    let mut values: Vec<Vec<Bound>> = vec![Vec::new(); fields.len()];
    for (input, place) in inputs.iter().zip(0..) {
        for batch in narrow.read(input, place, BATCH_ROWS)? {
            let batch = batch?;
            task.moved(batch_bytes(&batch))?;
            let rows: Vec<usize> = (0..batch.num_rows()).filter(|_| chooser.takes()).collect();
            for (values, field) in values.iter_mut().zip(fields) {
                let Some(column) = narrow.index_of(*field).map(|index| batch.column(index)) else {
                    continue;
                };
                for row in &rows {
                    values.extend(value(column, *row)?);
                }
            }
        }
    }
    Ok(Quantiles::new(values.into_iter().map(starts).collect()))
}

/// A value in the form of a bound; long texts are cut, which keeps their order. None of NULL and NaN.
fn value(column: &dyn Array, row: usize) -> Result<Option<Bound>> {
    Ok(
        match Bound::from_scalar(&ScalarValue::try_from_array(column, row)?) {
            Some(Bound::Float(bits)) if f64::from_bits(bits).is_nan() => None,
            Some(Bound::Text(text)) => {
                let end = text.floor_char_boundary(BOUND_BYTES_MAX);
                Some(Bound::Text(text[..end].to_string()))
            }
            other => other,
        },
    )
}

/// The values at which ranks begin that have as many of these values each. A frequent one begins several, so that all
/// ranks are in use whatever the values: a column of few would be a thin strip of the curve otherwise.
fn starts(mut values: Vec<Bound>) -> Vec<Bound> {
    values.sort_by(|a, b| a.partial_cmp(b).unwrap_or(Ordering::Equal));
    let count = values.len();
    let starts = (1..RANKS).filter_map(|rank| values.get(rank * count / RANKS).cloned());
    starts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_begin_where_as_many_values_lie_before() {
        let few = starts([7, 1, 7, 7].map(Bound::Int).to_vec());
        assert_eq!(few.len(), 255);
        assert_eq!(few.iter().filter(|v| **v == Bound::Int(1)).count(), 63);
        let many = starts((0..2_560).rev().map(Bound::Int).collect());
        assert_eq!(many.len(), 255);
        assert_eq!(
            (&many[0], &many[254]),
            (&Bound::Int(10), &Bound::Int(2_550))
        );
        assert!(starts(Vec::new()).is_empty());
    }
}
