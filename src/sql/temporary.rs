//! The temporary relations of a session: where they begin and end with it.

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

    /// Drops the temporary relations: DISCARD TEMP.
    pub(super) async fn drop_temporary(&self) -> Result<()> {
        let snapshot = self.snapshot();
        let relations = snapshot.temporary();
        let collections = relations.collections().iter();
        let collections = collections.map(|c| Change::DropCollection(c.id));
        // Those of columns go with their tables.
        let sequences = relations.sequences().iter().filter(|s| s.owner.is_none());
        let sequences = sequences.map(|s| Change::DropSequence(s.id));
        let views = relations.views().iter();
        let views = views.map(|v| Change::DropView(v.name.clone()));
        let drops: Vec<Change> = views.chain(collections).chain(sequences).collect();
        match drops.is_empty() {
            true => Ok(()),
            false => self.commit(&snapshot, drops).await,
        }
    }
}
