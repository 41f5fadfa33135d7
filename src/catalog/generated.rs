//! Generated columns: their values, computed of rows on their way into a collection.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::execution::SessionState;
use datafusion::physical_expr::PhysicalExpr;

use super::typed::compiled;
use crate::error::Result;
use crate::storage::collection::Collection;

/// What the generated columns of a collection are computed by.
pub struct GeneratedColumns {
    /// With the places of the columns.
    expressions: Vec<(usize, Arc<dyn PhysicalExpr>)>,
    /// The columns of the collection, any of which may be NULL: those that are computed are at first.
    row: SchemaRef,
}

impl fmt::Debug for GeneratedColumns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = self.expressions.iter().map(|(place, _)| place);
        f.debug_list().entries(places).finish()
    }
}

impl GeneratedColumns {
    /// Those of the collection; none where it has none.
    ///
    /// # Errors
    /// Whatever is wrong with an expression by now: a function it calls may be gone.
    pub fn of(collection: &Collection, state: &SessionState) -> Result<Option<Arc<Self>>> {
        let columns = &collection.schema.columns;
        if columns.iter().all(|column| column.generated.is_none()) {
            return Ok(None);
        }
        let fields = columns.iter().map(|c| c.arrow_field().with_nullable(true));
        let row = Arc::new(Schema::new(fields.map(FieldRef::from).collect::<Vec<_>>()));
        let named = DFSchema::try_from(Arc::clone(&row))?;
        let mut expressions = Vec::new();
        for (place, column) in columns.iter().enumerate() {
            if let Some(generated) = &column.generated {
                let expr = compiled(&generated.expression, &named, state)?;
                expressions.push((place, expr));
            }
        }
        Ok(Some(Arc::new(Self { expressions, row })))
    }

    /// The values by the places of their columns, of rows whose other columns are as they are stored.
    ///
    /// # Errors
    /// Whatever an expression fails with.
    pub fn values(&self, stored: &[ArrayRef], rows: usize) -> Result<Vec<(usize, ArrayRef)>> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let (schema, columns) = (Arc::clone(&self.row), stored.to_vec());
        let batch = RecordBatch::try_new_with_options(schema, columns, &options)?;
        let value = |(place, expr): &(usize, Arc<dyn PhysicalExpr>)| {
            Ok((*place, expr.evaluate(&batch)?.into_array(rows)?))
        };
        self.expressions.iter().map(value).collect()
    }
}
