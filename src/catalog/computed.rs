//! Tables whose rows are made when they are read: those of the catalogs, and of functions that tell about the database.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::{MemTable, Session, TableProvider};
use datafusion::common::Result;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

/// What the rows of a [`Computed`] table are made of.
#[async_trait]
pub trait ComputedRows: Debug + Send + Sync + 'static {
    /// The columns.
    fn schema(&self) -> SchemaRef;

    /// A view, for those who ask, where nothing else is said.
    fn table_type(&self) -> TableType {
        TableType::View
    }

    /// All rows, as the session sees them now.
    ///
    /// # Errors
    /// What finding them meets, such as an object that does not exist any more.
    async fn rows(&self, session: &dyn Session) -> Result<RecordBatch>;
}

/// A table that asks for its [`ComputedRows`] once for each scan.
#[derive(Debug)]
pub struct Computed<R>(pub R);

#[async_trait]
impl<R: ComputedRows> TableProvider for Computed<R> {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    fn table_type(&self) -> TableType {
        self.0.table_type()
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = self.0.rows(session).await?;
        let table = MemTable::try_new(self.schema(), vec![vec![rows]])?;
        table.scan(session, projection, filters, limit).await
    }
}
