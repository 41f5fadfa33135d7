//! Which statements a session lets run, and which version they read.

use std::sync::Arc;

use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::TryStreamExt;

use super::TransactionStatus;
use crate::error::Result;
use crate::sql::Named;
use crate::sql::notice::Notice;
use crate::sql::session::Session;
use crate::sql::statement::{Effect, Statement};
use crate::storage::snapshot::Snapshot;

impl Session {
    /// Where the session is with regard to a transaction block.
    pub fn transaction_status(&self) -> TransactionStatus {
        self.inner.block.lock().status()
    }

    /// Notes that a statement failed, was cancelled or was not read to its end: an open block is failed from now on.
    ///
    /// What [`Session::run`] itself sees fail is noted already.
    pub fn statement_failed(&self) {
        self.inner.block.lock().fail();
    }

    /// That a statement may be planned: any but the end of a failed block is refused in it.
    ///
    /// # Errors
    /// 25P02 in a failed block.
    pub(in crate::sql) fn check_plannable(&self, statement: &Statement) -> Result<()> {
        match self.effect_of(statement) {
            (Effect::EndsFailure, _) => Ok(()),
            _ => self.inner.block.lock().check_open(),
        }
    }

    /// That a statement may run now, and notes that it does.
    ///
    /// # Errors
    /// 25P02 in a failed block, 25001 for one that does not run in a block, 25006 for a write where nothing is written.
    pub(in crate::sql) fn admit(&self, statement: &Statement) -> Result<()> {
        self.check_plannable(statement)?;
        let (effect, name) = self.effect_of(statement);
        let defaults = self.default_modes();
        let mut block = self.inner.block.lock();
        match effect {
            Effect::Reads => block.ran(),
            Effect::EndsFailure | Effect::Controls => {}
            Effect::Maintains => block.check_outside(name)?,
            Effect::Writes => {
                block.check_writable(name, defaults)?;
                block.ran();
                if block.wrote() {
                    drop(block);
                    *self.inner.pinned.lock() = None;
                    self.notice(committed_at_once(name));
                }
            }
        }
        Ok(())
    }

    /// What a statement does: EXECUTE does what was prepared.
    fn effect_of(&self, statement: &Statement) -> (Effect, &'static str) {
        match statement {
            Statement::Explain(explain) if explain.options.analyze => {
                self.effect_of(&explain.statement)
            }
            Statement::Execute(execute) => match self.named_statement(&execute.name) {
                Ok(Named {
                    prepared: Some(prepared),
                    ..
                }) => prepared.statement().effect(),
                _ => (Effect::Controls, "EXECUTE"),
            },
            _ => statement.effect(),
        }
    }

    /// The version that a statement reads: the newest, or the one that its block began with.
    pub(in crate::sql) fn snapshot_to_read(&self) -> Arc<Snapshot> {
        if !self.inner.block.lock().pins() {
            return self.snapshot();
        }
        let mut pinned = self.inner.pinned.lock();
        Arc::clone(pinned.get_or_insert_with(|| self.snapshot()))
    }

    /// The same rows; an error among them fails the block.
    pub(in crate::sql) fn watch(
        &self,
        rows: SendableRecordBatchStream,
    ) -> SendableRecordBatchStream {
        let session = self.clone();
        let schema = rows.schema();
        let rows = rows.inspect_err(move |_| session.statement_failed());
        Box::pin(RecordBatchStreamAdapter::new(schema, rows))
    }
}

fn committed_at_once(statement: &str) -> Notice {
    Notice::warning(format!(
        "{statement} in a transaction block is committed at once"
    ))
    .with_detail("Transactions of several statements are not supported yet.")
    .with_hint("A ROLLBACK will not undo it, nor the writes that follow in this block.")
}
