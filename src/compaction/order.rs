//! The order in which a compaction sorts rows: by the clustering key, ascending, NULL last.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, PrimitiveArray, RecordBatch};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Field, FieldRef, Float32Type, Float64Type, Schema, SchemaRef,
};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};

use super::computed::ComputedItem;
use super::gather::Gatherer;
use super::input::Narrow;
use crate::error::{Error, Result};
use crate::storage::collection::Collection;
use crate::storage::key_model::KEY_TYPE;

/// Narrow rows with the columns by which they are sorted.
#[derive(Debug, Clone)]
pub struct SortOrder {
    narrow: Narrow,
    schema: SchemaRef,
    /// Columns of the key that come after the narrow columns.
    added: Vec<Added>,
    /// The clustering key.
    key: Vec<usize>,
    /// What decides between equal keys, so that the same rows always sort alike.
    ties: Vec<usize>,
}

/// A column of the key that no narrow row has.
#[derive(Debug, Clone)]
enum Added {
    /// A copy of a float column with one zero and one NaN.
    Float(usize),
    /// What is computed.
    Computed(ComputedItem),
}

impl SortOrder {
    /// The order of a collection: by its `sort_key`, else as the rows come.
    ///
    /// # Errors
    /// None in practice: the columns are the collection's own.
    pub fn try_new(collection: &Collection) -> Result<Self> {
        let narrow = Narrow::try_new(&collection.schema)?;
        let ties = ties(collection, &narrow);
        let mut fields: Vec<FieldRef> = narrow.arrow_schema().fields().to_vec();
        let mut added = Vec::new();
        let mut key = Vec::new();
        for id in collection.sort_key() {
            let column = match (narrow.index_of(*id), ComputedItem::of(collection, *id)) {
                (Some(index), _) if fields[index].data_type().is_floating() => Added::Float(index),
                (Some(index), _) => {
                    key.push(index);
                    continue;
                }
                (None, Some(computed)) => Added::Computed(computed),
                (None, None) => return Err(Error::internal(format!("no key has field {id}"))),
            };
            let data_type = match &column {
                Added::Float(index) => fields[*index].data_type().clone(),
                Added::Computed(_) => KEY_TYPE,
            };
            let name = format!("shelfmark.key{}", added.len());
            key.push(fields.len());
            fields.push(Arc::new(Field::new(name, data_type, true)));
            added.push(column);
        }
        Ok(Self {
            narrow,
            schema: Arc::new(Schema::new(fields)),
            added,
            key,
            ties,
        })
    }

    /// The computed items of the key, each with the place of its column in sorted batches.
    pub fn computed(&self) -> impl Iterator<Item = (&ComputedItem, usize)> {
        let first = self.narrow.arrow_schema().fields().len();
        let added = self.added.iter().enumerate();
        added.filter_map(move |(i, added)| match added {
            Added::Computed(computed) => Some((computed, first + i)),
            Added::Float(_) => None,
        })
    }

    /// Columns of sorted batches.
    pub(super) fn arrow_schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The narrow rows.
    pub fn narrow(&self) -> &Narrow {
        &self.narrow
    }

    /// The key's columns in sorted batches, most significant first; empty for none.
    pub fn key_columns<'a>(&self, batch: &'a RecordBatch) -> Vec<&'a ArrayRef> {
        self.key.iter().map(|i| batch.column(*i)).collect()
    }

    /// Types of the key's columns.
    pub fn key_types(&self) -> Vec<DataType> {
        let field = |i: &usize| self.schema.field(*i).data_type().clone();
        self.key.iter().map(field).collect()
    }

    /// Adds the columns of the key that narrow rows do not have.
    pub(super) fn with_sort_keys(
        &self,
        rows: RecordBatch,
        gatherer: &Gatherer,
    ) -> Result<RecordBatch> {
        if self.added.is_empty() {
            return Ok(rows);
        }
        let mut columns = rows.columns().to_vec();
        for added in &self.added {
            columns.push(match added {
                Added::Float(index) => one_zero_one_nan(rows.column(*index)),
                Added::Computed(computed) => computed.keys(&rows, gatherer)?,
            });
        }
        Ok(RecordBatch::try_new(
            SchemaRef::clone(&self.schema),
            columns,
        )?)
    }

    /// Ascending, NULL last: by the key, then by what breaks ties. `None` without a key.
    pub(super) fn ordering(&self) -> Option<LexOrdering> {
        if self.key.is_empty() {
            return None;
        }
        let options = arrow::compute::SortOptions {
            descending: false,
            nulls_first: false,
        };
        let by = |index: &usize| {
            let column = Column::new(self.schema.field(*index).name(), *index);
            PhysicalSortExpr::new(Arc::new(column) as Arc<dyn PhysicalExpr>, options)
        };
        LexOrdering::new(self.key.iter().chain(&self.ties).map(by))
    }
}

/// The columns that decide between equal keys: the primary key, then the place of the row.
fn ties(collection: &Collection, narrow: &Narrow) -> Vec<usize> {
    let sorted_by = collection.sort_key();
    let primary_key = collection.schema.primary_key.iter();
    let others = primary_key.filter(|id| !sorted_by.contains(id));
    let places = others.filter_map(|id| narrow.index_of(*id));
    let row = [narrow.input_index(), narrow.row_index()];
    places.chain(row).collect()
}

/// Arrow orders -0.0 before 0.0 and knows many NaNs; SQL knows one of each, and orders NaN above all numbers.
fn one_zero_one_nan(column: &ArrayRef) -> ArrayRef {
    fn unify<T: ArrowPrimitiveType>(
        column: &PrimitiveArray<T>,
        unify: impl Fn(T::Native) -> T::Native,
    ) -> ArrayRef {
        Arc::new(column.unary::<_, T>(unify))
    }
    match column.data_type() {
        DataType::Float32 => unify(column.as_primitive::<Float32Type>(), |v| {
            if v.is_nan() { f32::NAN } else { v + 0.0 }
        }),
        DataType::Float64 => unify(column.as_primitive::<Float64Type>(), |v| {
            if v.is_nan() { f64::NAN } else { v + 0.0 }
        }),
        _ => ArrayRef::clone(column),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arrow::array::{Array, Float32Array, Float64Array};

    use super::*;

    #[test]
    fn one_zero_and_one_nan_are_left() {
        let odd = f64::from_bits(0xFFF8_0000_0000_0001);
        let column: ArrayRef = Arc::new(Float64Array::from(vec![Some(-0.0), None, Some(odd)]));
        let unified = one_zero_one_nan(&column);
        let values = unified.as_primitive::<Float64Type>();
        assert_eq!(values.value(0).to_bits(), 0.0_f64.to_bits());
        assert_eq!(values.value(2).to_bits(), f64::NAN.to_bits());
        assert_eq!(values.null_count(), 1);
        let column: ArrayRef = Arc::new(Float32Array::from(vec![-0.0, -f32::NAN]));
        let unified = one_zero_one_nan(&column);
        let values = unified.as_primitive::<Float32Type>();
        assert_eq!(values.value(0).to_bits(), 0.0_f32.to_bits());
        assert_eq!(values.value(1).to_bits(), f32::NAN.to_bits());
    }
}
