//! A sequence as a table of one row: `SELECT last_value, is_called FROM book_id_seq`.

use std::sync::Arc;

use arrow::array::{BooleanArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::Result;
use datafusion::logical_expr::TableType;

use super::context::PgContext;
use crate::catalog::computed::ComputedRows;
use crate::error::{Error, sqlstate};
use crate::storage::change::QualifiedName;
use crate::storage::schema::SequenceId;
use crate::storage::sequence::Sequence;

/// The row of a sequence.
#[derive(Debug)]
pub struct SequenceTable {
    id: SequenceId,
    name: QualifiedName,
    schema: SchemaRef,
}

impl SequenceTable {
    /// That of the sequence. Whether somebody may read it is checked where statements are.
    pub fn new(sequence: &Sequence) -> Self {
        let schema = Arc::new(Schema::new(vec![
            Field::new("last_value", DataType::Int64, false),
            Field::new("log_cnt", DataType::Int64, false),
            Field::new("is_called", DataType::Boolean, false),
        ]));
        Self {
            id: sequence.id,
            name: sequence.name.clone(),
            schema,
        }
    }

    /// The sequence.
    pub fn id(&self) -> SequenceId {
        self.id
    }

    /// Its name.
    pub fn name(&self) -> &QualifiedName {
        &self.name
    }

    fn row(&self, context: &PgContext) -> Result<RecordBatch> {
        let sequence = context.snapshot().sequence(self.id).ok_or_else(|| {
            let message = format!("relation \"{}\" does not exist", self.name);
            Error::not_found(sqlstate::UNDEFINED_TABLE, message)
        })?;
        let position = context.sequences.position(sequence);
        Ok(RecordBatch::try_new(
            Arc::clone(&self.schema),
            vec![
                Arc::new(Int64Array::from(vec![position.last])),
                Arc::new(Int64Array::from(vec![0])),
                Arc::new(BooleanArray::from(vec![position.is_called])),
            ],
        )?)
    }
}

#[async_trait]
impl ComputedRows for SequenceTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn rows(&self, state: &dyn Session) -> Result<RecordBatch> {
        self.row(PgContext::of(state.config_options())?)
    }
}
