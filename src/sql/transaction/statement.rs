//! The statements that begin, end and mark transaction blocks.

use datafusion::logical_expr::LogicalPlan;

use super::{Begun, Ended, Modes, TransactionStatus};
use crate::error::{Error, Result, sqlstate};
use crate::sql::notice::Notice;
use crate::sql::session::{Session, Tag, done};

/// A statement about a transaction block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransactionStatement {
    /// BEGIN or START TRANSACTION.
    Begin {
        /// The word that was said: the tag of the answer.
        tag: &'static str,
        /// The modes that were named.
        modes: Modes,
    },
    /// COMMIT or END.
    Commit {
        /// AND CHAIN.
        chain: bool,
    },
    /// ROLLBACK or ABORT.
    Rollback {
        /// AND CHAIN.
        chain: bool,
    },
    /// PREPARE TRANSACTION, which ends the block and is never done.
    Prepare,
    /// SAVEPOINT.
    Savepoint(String),
    /// RELEASE SAVEPOINT.
    Release(String),
    /// ROLLBACK TO SAVEPOINT.
    RollbackTo(String),
    /// SET TRANSACTION.
    SetModes(Modes),
}

impl TransactionStatement {
    /// Whether it runs in a failed block.
    pub fn ends_failure(&self) -> bool {
        matches!(
            self,
            Self::Commit { .. } | Self::Rollback { .. } | Self::Prepare | Self::RollbackTo(_)
        )
    }
}

/// The plan of a statement about a block; it acts when it is executed.
pub(in crate::sql) fn plan(
    session: &Session,
    statement: TransactionStatement,
) -> Result<(Tag, LogicalPlan)> {
    let failed = session.transaction_status() == TransactionStatus::Failed;
    let (tag, label) = match &statement {
        TransactionStatement::Begin { tag, .. } => (*tag, "Begin"),
        TransactionStatement::Commit { .. } if failed => ("ROLLBACK", "Commit"),
        TransactionStatement::Commit { .. } => ("COMMIT", "Commit"),
        TransactionStatement::Rollback { .. } => ("ROLLBACK", "Rollback"),
        TransactionStatement::Prepare => ("ROLLBACK", "PrepareTransaction"),
        TransactionStatement::Savepoint(_) => ("SAVEPOINT", "Savepoint"),
        TransactionStatement::Release(_) => ("RELEASE", "Release"),
        TransactionStatement::RollbackTo(_) => ("ROLLBACK", "RollbackTo"),
        TransactionStatement::SetModes(_) => ("SET", "SetTransaction"),
    };
    let session = session.clone();
    done(tag, label.to_string(), move || {
        let (session, statement) = (session.clone(), statement.clone());
        async move { session.act(&statement).await }
    })
}

impl Session {
    async fn act(&self, statement: &TransactionStatement) -> Result<()> {
        match statement {
            TransactionStatement::Begin { modes, .. } => self.begin(*modes),
            TransactionStatement::Commit { chain } => self.end(true, *chain).await?,
            TransactionStatement::Rollback { chain } => self.end(false, *chain).await?,
            TransactionStatement::Prepare => {
                let is_open = self.transaction_status() == TransactionStatus::Open;
                self.end(false, false).await?;
                if is_open {
                    return Err(no_prepared());
                }
            }
            TransactionStatement::Savepoint(name) => {
                self.inner.block.lock().savepoint(name.clone())?;
                self.change(|variables| variables.save());
                if let Some(transaction) = self.open_transaction() {
                    transaction.savepoint();
                }
            }
            TransactionStatement::Release(name) => {
                let kept = self.inner.block.lock().release(name)?;
                self.change(|variables| variables.release(kept));
                self.inner.cursors.release(kept);
                self.inner.channels.release(kept);
                if let Some(transaction) = self.open_transaction() {
                    transaction.release(kept);
                }
            }
            TransactionStatement::RollbackTo(name) => {
                let kept = self.inner.block.lock().rollback_to(name)?;
                self.change(|variables| variables.roll_back_to(kept));
                self.inner.cursors.roll_back_to(kept);
                self.inner.channels.roll_back_to(kept);
                if let Some(transaction) = self.open_transaction() {
                    transaction.roll_back_to(kept);
                }
            }
            TransactionStatement::SetModes(modes) => self.set_modes(*modes)?,
        }
        Ok(())
    }

    fn begin(&self, modes: Modes) {
        let defaults = self.default_modes();
        let begun = self.inner.block.lock().begin(modes, defaults);
        match begun {
            Begun::New => self.change(|variables| variables.save()),
            Begun::Implicit => {}
            Begun::Already => {
                let message = "there is already a transaction in progress";
                let code = sqlstate::ACTIVE_SQL_TRANSACTION;
                self.notice(Notice::warning(message).with_sqlstate(code));
            }
        }
    }

    async fn end(&self, commit: bool, chain: bool) -> Result<()> {
        let (modes, ended) = {
            let mut block = self.inner.block.lock();
            if chain {
                let word = if commit { "COMMIT" } else { "ROLLBACK" };
                block.check_explicit(&format!("{word} AND CHAIN"))?;
            }
            (block.modes(), block.end(commit))
        };
        if !ended.was_open {
            let message = "there is no transaction in progress";
            let code = sqlstate::NO_ACTIVE_SQL_TRANSACTION;
            self.notice(Notice::warning(message).with_sqlstate(code));
        }
        self.finish(ended).await?;
        if chain {
            self.begin(modes);
        }
        Ok(())
    }

    /// Commits what the block changed, or drops it. Once begun it goes on to its end, also when nobody waits.
    async fn finish(&self, ended: Ended) -> Result<()> {
        let session = self.clone();
        let durability = self.durability();
        let finish = async move {
            let transaction = session.inner.transaction.take();
            let committed = match transaction {
                Some(transaction) if ended.committed => transaction.commit(durability).await,
                Some(transaction) => {
                    transaction.roll_back();
                    Ok(())
                }
                None => Ok(()),
            };
            let is_kept = ended.committed && committed.is_ok();
            session.change(|variables| variables.end_block(is_kept));
            session.inner.cursors.end_block(is_kept);
            session.inner.channels.end_block(is_kept);
            committed
        };
        let finished = tokio::spawn(finish).await;
        finished.map_err(|e| Error::internal(format!("the end of a transaction stopped: {e}")))?
    }

    /// Begins the block of several statements that came together, unless there is a block: they are one transaction.
    ///
    /// BEGIN makes it a block like any other; otherwise [`Session::end_implicit`] ends it.
    pub fn begin_implicit(&self) {
        let defaults = self.default_modes();
        let begun = self.inner.block.lock().begin_implicit(defaults);
        if begun {
            self.change(|variables| variables.save());
        }
    }

    /// Ends the block of [`Session::begin_implicit`], if there is one: it is committed, or rolled back when a
    /// statement has failed.
    ///
    /// # Errors
    /// Those of COMMIT; nothing has changed then.
    pub async fn end_implicit(&self) -> Result<()> {
        let ended = {
            let mut block = self.inner.block.lock();
            if !block.is_implicit() {
                return Ok(());
            }
            block.end(true)
        };
        self.finish(ended).await
    }

    fn set_modes(&self, modes: Modes) -> Result<()> {
        if self.transaction_status() == TransactionStatus::Idle {
            let message = "SET TRANSACTION can only be used in transaction blocks";
            let code = sqlstate::NO_ACTIVE_SQL_TRANSACTION;
            self.notice(Notice::warning(message).with_sqlstate(code));
            return Ok(());
        }
        self.inner.block.lock().set_modes(modes)
    }
}

/// What PostgreSQL says unless it is told how many transactions may be prepared.
fn no_prepared() -> Error {
    let message = "prepared transactions are disabled";
    Error::invalid(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
        .with_hint("Set max_prepared_transactions to a nonzero value.")
}
