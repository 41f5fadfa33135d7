//! Whole batches into the columns of a collection.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{Schema, SchemaRef};

use super::cast::{assign, check_assignable};
use super::error::RowError;
use crate::catalog::generated::GeneratedColumns;
use crate::catalog::zone::Zone;
use crate::error::{Error, Result, sqlstate};
use crate::storage::collection::Collection;
use crate::storage::schema::{CollectionSchema, Column};

/// The casts and NOT NULL checks for rows of a collection; source columns match by place, and those in the places of
/// generated columns are left.
#[derive(Debug, Clone)]
pub struct Assignment {
    relation: String,
    schema: Arc<CollectionSchema>,
    arrow: SchemaRef,
    generated: Option<Arc<GeneratedColumns>>,
    zone: Zone,
}

impl Assignment {
    /// The assignment of rows to all columns of the collection, of which these are generated, by the clock of the
    /// session's zone.
    pub fn new(
        collection: &Collection,
        generated: Option<Arc<GeneratedColumns>>,
        zone: Zone,
    ) -> Self {
        Self {
            relation: collection.name.name.clone(),
            schema: Arc::clone(&collection.schema),
            arrow: collection.arrow_schema(),
            generated,
            zone,
        }
    }

    /// That rows of the schema can be assigned at all.
    ///
    /// # Errors
    /// 42601 for another number of columns, 42804 for types that do not go together.
    pub fn check(&self, source: &Schema) -> Result<()> {
        let (have, want) = (source.fields().len(), self.schema.columns.len());
        if have != want {
            let more = if have > want {
                "expressions"
            } else {
                "target columns"
            };
            let less = if have > want {
                "target columns"
            } else {
                "expressions"
            };
            let message = format!("INSERT has more {more} than {less}");
            return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message));
        }
        let pairs = source.fields().iter().zip(&self.schema.columns);
        pairs
            .into_iter()
            .try_for_each(|(field, column)| check_assignable(field.data_type(), column))
    }

    /// The schema of what comes out: the collection's.
    pub fn schema(&self) -> &SchemaRef {
        &self.arrow
    }

    /// The rows as the collection stores them.
    ///
    /// # Errors
    /// The SQLSTATE of Postgres for the first value that does not fit its column, 23502 for a NULL in a column that
    /// has none, and whatever the expression of a generated column fails with.
    pub fn batch(&self, source: &RecordBatch) -> Result<RecordBatch, RowError> {
        let mut arrays = Vec::with_capacity(self.schema.columns.len());
        for (column, array) in self.schema.columns.iter().zip(source.columns()) {
            if column.generated.is_some() {
                let none = new_null_array(&column.column_type.arrow_type(), array.len());
                arrays.push(none);
                continue;
            }
            let array = assign(array, column, &self.zone)?;
            self.check_not_null(column, &array)?;
            arrays.push(array);
        }
        self.generate(&mut arrays, source.num_rows())?;
        let options = RecordBatchOptions::new().with_row_count(Some(source.num_rows()));
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(&self.arrow),
            arrays,
            &options,
        )?)
    }

    /// Puts the values of generated columns in their places.
    fn generate(&self, arrays: &mut [ArrayRef], rows: usize) -> Result<(), RowError> {
        let Some(generated) = &self.generated else {
            return Ok(());
        };
        for (place, values) in generated.values(arrays, rows)? {
            let column = &self.schema.columns[place];
            let values = assign(&values, column, &self.zone)?;
            self.check_not_null(column, &values)?;
            arrays[place] = values;
        }
        Ok(())
    }

    fn check_not_null(&self, column: &Column, array: &dyn Array) -> Result<(), RowError> {
        let required = !column.nullable || self.schema.primary_key.contains(&column.id);
        if !required || array.null_count() == 0 {
            return Ok(());
        }
        let message = format!(
            "null value in column \"{}\" of relation \"{}\" violates not-null constraint",
            column.name, self.relation
        );
        Err(RowError {
            row: (0..array.len()).find(|row| array.is_null(*row)),
            error: Error::invalid(sqlstate::NOT_NULL_VIOLATION, message)
                .with_column(&self.relation, &column.name),
        })
    }
}
