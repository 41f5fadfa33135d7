//! A table written down column by column.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::common::Result;

/// Columns of equal length.
#[derive(Debug, Default)]
pub(super) struct Columns {
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
}

impl Columns {
    fn push(mut self, name: &str, array: ArrayRef) -> Self {
        self.fields
            .push(Field::new(name, array.data_type().clone(), true));
        self.arrays.push(array);
        self
    }

    /// TEXT
    pub fn text<V: Into<Option<String>>>(
        self,
        name: &str,
        values: impl Iterator<Item = V>,
    ) -> Self {
        let array: StringArray = values.map(Into::into).collect();
        self.push(name, Arc::new(array))
    }

    /// BIGINT
    pub fn number<V: Into<Option<u64>>>(self, name: &str, values: impl Iterator<Item = V>) -> Self {
        let array: Int64Array = values.map(|v| v.into().map(|v| v as i64)).collect();
        self.push(name, Arc::new(array))
    }

    /// DOUBLE PRECISION
    pub fn double(self, name: &str, values: impl Iterator<Item = Option<f64>>) -> Self {
        let array: Float64Array = values.collect();
        self.push(name, Arc::new(array))
    }

    /// BOOLEAN
    pub fn flag(self, name: &str, values: impl Iterator<Item = Option<bool>>) -> Self {
        let array: BooleanArray = values.collect();
        self.push(name, Arc::new(array))
    }

    /// TIMESTAMP WITH TIME ZONE, from milliseconds since 1970 UTC
    pub fn instant<V: Into<Option<i64>>>(
        self,
        name: &str,
        values: impl Iterator<Item = V>,
    ) -> Self {
        let values = values.map(|ms| ms.into().map(|ms| ms * 1_000));
        let array: TimestampMicrosecondArray = values.collect();
        self.push(name, Arc::new(array.with_timezone("UTC")))
    }

    /// The columns as a batch.
    pub fn into_batch(self) -> Result<RecordBatch> {
        let schema = Arc::new(Schema::new(self.fields));
        Ok(RecordBatch::try_new(schema, self.arrays)?)
    }
}
