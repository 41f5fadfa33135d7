//! Places on a Hilbert curve through the ranks of several columns.
//!
//! Each value becomes its rank among the quantiles of a sample, so that it does not matter how values are spread. Rows near
//! each other on the curve are near in every column: the segments of a collection clustered by it are boxes, narrow in each
//! column by the same measure, where a key of columns one after the other is narrow in the first alone.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array};
use arrow::row::{RowConverter, SortField};
use datafusion::common::ScalarValue;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::storage::stats::Bound;

/// Bits of a rank.
const BITS: u32 = 8;
/// How many ranks there are.
pub const RANKS: usize = 1 << BITS;
/// The most columns of a curve: more are hardly narrow in any.
pub const CURVE_COLUMNS_MAX: usize = 4;

/// For each column the values at which a rank begins, in ascending order; no more than [`RANKS`] - 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    columns: Vec<Vec<Bound>>,
}

impl Quantiles {
    /// The quantiles of columns, given the values at which their ranks begin.
    pub fn new(columns: Vec<Vec<Bound>>) -> Self {
        Self { columns }
    }

    /// How many columns there are.
    pub fn columns(&self) -> usize {
        self.columns.len()
    }

    /// The places of rows on the curve; NULL where every column is NULL.
    ///
    /// # Errors
    /// XX001 for quantiles of other types than the columns.
    pub fn keys(&self, columns: &[ArrayRef]) -> Result<ArrayRef> {
        let all = columns.iter().zip(&self.columns);
        let all = all.map(|(column, bounds)| ranks(column, bounds));
        let ranks: Vec<Vec<Option<u32>>> = all.collect::<Result<_>>()?;
        let rows = columns.first().map_or(0, |column| column.len());
        let key = |row: usize| {
            let of_row = ranks.iter().map(|ranks| ranks[row]);
            if of_row.clone().all(|rank| rank.is_none()) {
                return None;
            }
            // NULL is the greatest, as everywhere in a key.
            let mut ranks: Vec<u32> = of_row.map(|r| r.unwrap_or(RANKS as u32 - 1)).collect();
            Some(place(&mut ranks) as i64)
        };
        Ok(Arc::new(Int64Array::from_iter((0..rows).map(key))))
    }
}

/// How many of the bounds each value is not below; `None` for NULL.
fn ranks(column: &ArrayRef, bounds: &[Bound]) -> Result<Vec<Option<u32>>> {
    let data_type = column.data_type();
    let converter = RowConverter::new(vec![SortField::new(data_type.clone())])?;
    let values = converter.convert_columns(&[ArrayRef::clone(column)])?;
    let bounds: Vec<ScalarValue> = bounds
        .iter()
        .map(|bound| bound.to_scalar(data_type))
        .collect::<Result<_>>()?;
    let bounds = match bounds.is_empty() {
        true => arrow::array::new_empty_array(data_type),
        false => ScalarValue::iter_to_array(bounds)?,
    };
    let bounds = converter.convert_columns(&[bounds])?;
    let bounds: Vec<_> = bounds.iter().collect();
    let rank = |row: usize| bounds.partition_point(|bound| *bound <= values.row(row)) as u32;
    let ranked = (0..column.len()).map(|row| column.is_valid(row).then(|| rank(row)));
    Ok(ranked.collect())
}

/// The place of a point of as many dimensions as there are ranks on a Hilbert curve (J. Skilling, "Programming the Hilbert
/// curve", 2004); the ranks are used up.
fn place(ranks: &mut [u32]) -> u64 {
    let high = 1 << (BITS - 1);
    let bits = || std::iter::successors(Some(high), |bit| Some(bit >> 1)).take(BITS as usize - 1);
    for bit in bits() {
        let low = bit - 1;
        for i in 0..ranks.len() {
            if ranks[i] & bit != 0 {
                ranks[0] ^= low;
            } else {
                let swapped = (ranks[0] ^ ranks[i]) & low;
                ranks[0] ^= swapped;
                ranks[i] ^= swapped;
            }
        }
    }
    for i in 1..ranks.len() {
        ranks[i] ^= ranks[i - 1];
    }
    let last = ranks.last().copied().unwrap_or(0);
    let turned = bits().filter(|bit| last & bit != 0);
    let turned = turned.fold(0, |turned, bit| turned ^ (bit - 1));
    ranks.iter_mut().for_each(|rank| *rank ^= turned);
    let mut place = 0;
    for bit in (0..BITS).rev() {
        for rank in ranks.iter() {
            place = place << 1 | u64::from(rank >> bit & 1);
        }
    }
    place
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arrow::array::{AsArray, Int32Array, StringArray};
    use arrow::datatypes::Int64Type;

    use super::*;

    #[test]
    fn the_curve_goes_everywhere_one_step_at_a_time() {
        let side = RANKS as u32;
        let mut points = vec![(0, 0); RANKS * RANKS];
        for x in 0..side {
            for y in 0..side {
                points[place(&mut [x, y]) as usize] = (x, y);
            }
        }
        assert_eq!(points[0], (0, 0));
        let steps = points
            .windows(2)
            .map(|w| w[0].0.abs_diff(w[1].0) + w[0].1.abs_diff(w[1].1));
        assert!(steps.into_iter().all(|step| step == 1));
    }

    #[test]
    fn any_two_points_have_two_places_in_three_dimensions() {
        let side = 0..RANKS as u32;
        let mut places: Vec<u64> = side
            .clone()
            .step_by(17)
            .flat_map(|x| side.clone().step_by(13).map(move |y| (x, y)))
            .flat_map(|(x, y)| (0..9).map(move |z| place(&mut [x, y, z])))
            .collect();
        let count = places.len();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), count);
    }

    #[test]
    fn values_have_their_ranks_and_only_rows_of_nulls_have_no_place() {
        let texts = ["b", "d"].map(|text| Bound::Text(text.into()));
        let quantiles = Quantiles::new(vec![vec![Bound::Int(10)], texts.to_vec()]);
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![Some(3), Some(10), None, None]));
        let texts = StringArray::from(vec![Some("a"), Some("c"), Some("z"), None]);
        let texts: ArrayRef = Arc::new(texts);
        assert_eq!(
            ranks(&texts, &quantiles.columns[1]).unwrap(),
            [Some(0), Some(1), Some(2), None]
        );
        let keys = quantiles.keys(&[numbers, texts]).unwrap();
        let expected = [&mut [0, 0], &mut [1, 1], &mut [255, 2]].map(|r| Some(place(r) as i64));
        let keys: Vec<_> = keys.as_primitive::<Int64Type>().iter().collect();
        assert_eq!(keys[..3], expected);
        assert_eq!(keys[3], None);
    }
}
