//! Values of a column as those of another that they are compared with.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::kernels::cmp::eq;
use arrow::compute::{CastOptions, and, cast_with_options, concat, filter, is_not_null};
use arrow::datatypes::{DataType, Field, Schema};

use crate::error::Result;

/// Keys in the types of other columns, and which of the keys these can have at all.
struct Converted {
    /// The keys that the other columns can have.
    pub columns: Vec<ArrayRef>,
    /// Of each key whether it is among them.
    pub fits: BooleanArray,
}

/// Keys without NULLs as rows of these fields: those that they can have, and of each key whether it is among them.
///
/// # Errors
/// None in practice: the types are comparable.
pub(super) fn rows_as(
    fields: Vec<Field>,
    values: &[ArrayRef],
) -> Result<(RecordBatch, BooleanArray)> {
    let types: Vec<DataType> = fields.iter().map(|f| f.data_type().clone()).collect();
    let converted = convert(values, &types)?;
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), converted.columns)?;
    Ok((rows, converted.fits))
}

/// Columns in parts, of which there is one at least, as whole ones.
///
/// # Errors
/// None in practice.
pub(super) fn joined<'a>(
    parts: impl IntoIterator<Item = &'a Vec<ArrayRef>>,
) -> Result<Vec<ArrayRef>> {
    let parts: Vec<&Vec<ArrayRef>> = parts.into_iter().collect();
    let columns = 0..parts.first().map_or(0, |part| part.len());
    let column = |place: usize| {
        let parts: Vec<&dyn Array> = parts.iter().map(|part| part[place].as_ref()).collect();
        Ok(concat(&parts)?)
    };
    columns.map(column).collect()
}

/// Converts columns without NULLs to these types: a value that would be another one then does not fit.
///
/// # Errors
/// None in practice: the types are comparable.
fn convert(columns: &[ArrayRef], types: &[DataType]) -> Result<Converted> {
    let rows = columns.first().map_or(0, |column| column.len());
    let mut fits = BooleanArray::from(vec![true; rows]);
    let mut converted = Vec::with_capacity(columns.len());
    for (column, data_type) in columns.iter().zip(types) {
        if column.data_type() == data_type {
            converted.push(Arc::clone(column));
            continue;
        }
        let options = CastOptions::default();
        let there = cast_with_options(column, data_type, &options)?;
        let back = cast_with_options(&there, column.data_type(), &options)?;
        let is_same = and(&eq(column, &back)?, &is_not_null(&back)?);
        let is_same = is_same.map(|same| same.iter().map(|s| Some(s == Some(true))).collect());
        fits = and(&fits, &is_same?)?;
        converted.push(there);
    }
    if fits.true_count() < rows {
        for column in &mut converted {
            *column = filter(column, &fits)?;
        }
    }
    Ok(Converted {
        columns: converted,
        fits,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arrow::array::{AsArray, Decimal128Array, Int64Array};
    use arrow::datatypes::Int32Type;

    use super::*;

    #[test]
    fn what_would_be_another_value_does_not_fit() {
        let wide: ArrayRef = Arc::new(Int64Array::from(vec![1, i64::MAX, -5]));
        let converted = convert(&[Arc::clone(&wide)], &[DataType::Int32]).unwrap();
        let narrow = converted.columns[0].as_primitive::<Int32Type>();
        assert_eq!(narrow.values(), &[1, -5]);
        assert_eq!(converted.fits, BooleanArray::from(vec![true, false, true]));

        let cents = Decimal128Array::from(vec![150, 200]);
        let cents: ArrayRef = Arc::new(cents.with_precision_and_scale(10, 2).unwrap());
        let whole = convert(
            &[cents, wide.slice(0, 2)],
            &[DataType::Int32, DataType::Int64],
        );
        let whole = whole.unwrap();
        assert_eq!(whole.columns[0].as_primitive::<Int32Type>().values(), &[2]);
        assert_eq!(whole.columns[1].len(), 1);
    }
}
