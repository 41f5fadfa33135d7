//! The temporary tables of a session: where they begin and end with it.

use super::session::Session;
use crate::error::Result;
use crate::storage::change::Change;
use crate::storage::snapshot::TEMPORARY_SCHEMA;

impl Session {
    /// Gives the session its schema of temporary tables, also in the open transaction.
    pub(super) fn begin_temporary(&self) -> Result<()> {
        self.inner.transaction.temporary().begin();
        match self.open_transaction() {
            Some(transaction) if !transaction.snapshot().has_temporary_schema() => {
                let schema = TEMPORARY_SCHEMA.to_string();
                transaction.define(vec![Change::CreateSchema(schema)])
            }
            _ => Ok(()),
        }
    }

    /// Drops the temporary tables: DISCARD TEMP.
    pub(super) async fn drop_temporary(&self) -> Result<()> {
        let snapshot = self.snapshot();
        let relations = snapshot.temporary();
        let collections = relations.collections().iter();
        let drops: Vec<Change> = collections.map(|c| Change::DropCollection(c.id)).collect();
        match drops.is_empty() {
            true => Ok(()),
            false => self.commit(&snapshot, drops).await,
        }
    }
}
