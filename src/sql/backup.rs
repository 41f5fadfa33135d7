//! BACKUP DATABASE TO 'directory'.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::LogicalPlan;
use futures::FutureExt;

use super::command::CommandNode;
use super::session::{Session, Tag};
use crate::error::{Error, Result};
use crate::storage::backup::{Copied, backup};

/// BACKUP DATABASE: copies the newest version while writes go on; answers with what was copied.
pub(super) fn database(session: &Session, directory: String) -> Result<(Tag, LogicalPlan)> {
    let label = format!("BackupDatabase: {directory}");
    let session = session.clone();
    let action = move || {
        let (session, directory) = (session.clone(), directory.clone());
        async move {
            session.check_backup(&directory)?;
            // Held by the copying thread alone, and as long as it needs: vacuum spares what a snapshot in use names.
            let engine = Arc::clone(&session.inner.core.engine);
            let copying = tokio::task::spawn_blocking(move || {
                let snapshot = engine.committer.snapshot();
                backup(&engine.store, &snapshot, &PathBuf::from(directory))
            });
            let copied = copying.await;
            row(copied.map_err(|e| Error::internal(format!("the backup ended: {e}")))??)
        }
        .boxed()
    };
    let plan = CommandNode::plan(label, schema(), Arc::new(action))?;
    Ok((Tag::Rows, plan))
}

impl Session {
    /// That the current user may write a backup there.
    fn check_backup(&self, directory: &str) -> Result<()> {
        if !self.rights(&self.snapshot()).is_superuser() {
            return Err(Error::denied("must be superuser to back up the database"));
        }
        self.files().check_write(directory)
    }
}

fn schema() -> SchemaRef {
    let number = |name| Field::new(name, DataType::Int64, false);
    let names = ["version", "files", "bytes", "linked_bytes"];
    Arc::new(Schema::new(names.map(number).to_vec()))
}

fn row(copied: Copied) -> Result<RecordBatch> {
    let numbers = [
        copied.version.0,
        copied.files,
        copied.bytes,
        copied.linked_bytes,
    ];
    let column = |number: u64| Arc::new(Int64Array::from(vec![number as i64])) as ArrayRef;
    Ok(RecordBatch::try_new(
        schema(),
        numbers.map(column).to_vec(),
    )?)
}
