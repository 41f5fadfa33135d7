//! The columns of a primary key, their hashes and their text.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::row::{RowConverter, Rows, SortField};

use crate::catalog::assign::text_of;
use crate::error::{Error, Result};
use crate::storage::adapt::adapt_batch;
use crate::storage::collection::Collection;
use crate::storage::schema::{CollectionSchema, FieldId};

/// The key columns of a collection.
#[derive(Debug)]
pub(in crate::catalog) struct KeyColumns {
    relation: String,
    schema: Arc<CollectionSchema>,
    names: Vec<String>,
    key: RowConverter,
    first: RowConverter,
}

impl KeyColumns {
    /// The primary key of the collection, which has one.
    pub fn try_new(collection: &Collection) -> Result<Self> {
        let schema = Arc::clone(&collection.schema);
        let columns = schema
            .primary_key
            .iter()
            .filter_map(|id| schema.column_by_id(*id));
        let (mut names, mut fields) = (Vec::new(), Vec::new());
        for column in columns {
            names.push(column.name.clone());
            fields.push(SortField::new(column.column_type.arrow_type()));
        }
        let first = fields.first().cloned();
        let first = first.ok_or_else(|| Error::internal("a primary key without columns"))?;
        Ok(Self {
            relation: collection.name.name.clone(),
            key: RowConverter::new(fields)?,
            first: RowConverter::new(vec![first])?,
            names,
            schema,
        })
    }

    /// The name of the collection.
    pub fn relation(&self) -> &str {
        &self.relation
    }

    /// The columns' identities.
    pub fn fields(&self) -> &[FieldId] {
        &self.schema.primary_key
    }

    /// The schema that the columns are of.
    pub fn schema(&self) -> &Arc<CollectionSchema> {
        &self.schema
    }

    /// The key columns of rows, matched by field id.
    pub fn of_rows(&self, rows: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let batch = adapt_batch(rows, &self.schema, self.fields())?;
        Ok(batch.columns().iter().map(one_zero).collect())
    }

    /// The hash of each row's key.
    pub fn hash(&self, columns: &[ArrayRef]) -> Result<Vec<u128>> {
        let rows = self.key.convert_columns(columns)?;
        Ok(rows.iter().map(|row| hash(row.as_ref())).collect())
    }

    /// The first key column in a format whose bytes sort as its values.
    pub fn first_column_rows(&self, column: &ArrayRef) -> Result<Rows> {
        Ok(self.first.convert_columns(std::slice::from_ref(column))?)
    }

    /// `(id)=(1)`
    pub fn describe(&self, columns: &[ArrayRef], row: usize) -> Result<String> {
        let mut values = Vec::with_capacity(columns.len());
        for column in columns {
            let text = text_of(&column.slice(row, 1))?;
            values.push(match text.is_null(0) {
                true => "null".to_string(),
                false => text.value(0).to_string(),
            });
        }
        Ok(format!(
            "({})=({})",
            self.names.join(", "),
            values.join(", ")
        ))
    }
}

/// Two independent hashes with keys of this process: nobody can make keys that collide.
fn hash(key: &[u8]) -> u128 {
    static STATES: OnceLock<(RandomState, RandomState)> = OnceLock::new();
    let (upper, lower) = STATES.get_or_init(|| (RandomState::new(), RandomState::new()));
    (u128::from(upper.hash_one(key)) << 64) | u128::from(lower.hash_one(key))
}

/// -0.0 and 0.0 are one key.
pub(in crate::catalog) fn one_zero(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float32 => {
            let floats = column.as_primitive::<Float32Type>();
            Arc::new(floats.unary::<_, Float32Type>(|v| v + 0.0))
        }
        DataType::Float64 => {
            let floats = column.as_primitive::<Float64Type>();
            Arc::new(floats.unary::<_, Float64Type>(|v| v + 0.0))
        }
        _ => Arc::clone(column),
    }
}
