//! Which statements a session lets run, and which version they read.

use std::sync::Arc;

use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::TryStreamExt;

use super::TransactionStatus;
use crate::catalog::transaction::OpenTransaction;
use crate::error::Result;
use crate::sql::Named;
use crate::sql::prepared::Prepared;
use crate::sql::session::Session;
use crate::sql::statement::{Effect, Statement};
use crate::storage::snapshot::Snapshot;

impl Session {
    /// Where the session is with regard to a transaction block.
    pub fn transaction_status(&self) -> TransactionStatus {
        self.inner.block.lock().status()
    }

    /// Whether there is a block of [`Session::begin_implicit`].
    pub fn is_implicit(&self) -> bool {
        self.inner.block.lock().is_implicit()
    }

    /// Whether a prepared statement changes rows or definitions.
    pub fn writes(&self, prepared: &Prepared) -> bool {
        self.effect_of(prepared.statement()).0 == Effect::Writes
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

    /// What the block reads and changes, from here on if there was nothing yet; `None` outside a block.
    pub(in crate::sql) fn open_transaction(&self) -> Option<Arc<OpenTransaction>> {
        let inside = self.inner.block.lock().is_inside();
        let current = &self.inner.transaction;
        inside.then(|| current.get_or_begin(|| self.new_transaction()))
    }

    /// A transaction that reads the newest version.
    pub(in crate::sql) fn new_transaction(&self) -> OpenTransaction {
        let core = &self.inner.core;
        let temporary = Arc::clone(self.inner.transaction.temporary());
        OpenTransaction::begin(
            Arc::clone(&core.engine),
            &core.runtime.memory_pool,
            temporary,
        )
    }

    /// What a statement reads: the newest version, or what its block reads.
    pub(in crate::sql) fn snapshot(&self) -> Arc<Snapshot> {
        match self.open_transaction() {
            Some(transaction) => transaction.snapshot(),
            None => self.newest_with_temporary(),
        }
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
