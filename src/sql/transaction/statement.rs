//! The statements that begin, end and mark transaction blocks.

use datafusion::logical_expr::LogicalPlan;

use super::{Ended, Modes, TransactionStatus};
use crate::error::{Result, sqlstate};
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
            Self::Commit { .. } | Self::Rollback { .. } | Self::RollbackTo(_)
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
        TransactionStatement::Savepoint(_) => ("SAVEPOINT", "Savepoint"),
        TransactionStatement::Release(_) => ("RELEASE", "Release"),
        TransactionStatement::RollbackTo(_) => ("ROLLBACK", "RollbackTo"),
        TransactionStatement::SetModes(_) => ("SET", "SetTransaction"),
    };
    let session = session.clone();
    done(tag, label.to_string(), move || {
        let done = session.act(&statement);
        async move { done }
    })
}

impl Session {
    fn act(&self, statement: &TransactionStatement) -> Result<()> {
        match statement {
            TransactionStatement::Begin { modes, .. } => self.begin(*modes),
            TransactionStatement::Commit { chain } => self.end(true, *chain)?,
            TransactionStatement::Rollback { chain } => self.end(false, *chain)?,
            TransactionStatement::Savepoint(name) => {
                self.inner.block.lock().savepoint(name.clone())?;
                self.change(|variables| variables.save());
            }
            TransactionStatement::Release(name) => {
                let kept = self.inner.block.lock().release(name)?;
                self.change(|variables| variables.release(kept));
            }
            TransactionStatement::RollbackTo(name) => {
                let (kept, wrote) = self.inner.block.lock().rollback_to(name)?;
                self.change(|variables| variables.roll_back_to(kept));
                self.inner.cursors.roll_back_to(kept);
                if wrote {
                    self.warn_of_writes_kept();
                }
            }
            TransactionStatement::SetModes(modes) => self.set_modes(*modes)?,
        }
        Ok(())
    }

    fn begin(&self, modes: Modes) {
        let defaults = self.default_modes();
        if self.inner.block.lock().begin(modes, defaults) {
            self.change(|variables| variables.save());
            return;
        }
        let message = "there is already a transaction in progress";
        let code = sqlstate::ACTIVE_SQL_TRANSACTION;
        self.notice(Notice::warning(message).with_sqlstate(code));
    }

    fn end(&self, commit: bool, chain: bool) -> Result<()> {
        let modes = {
            let mut block = self.inner.block.lock();
            if chain {
                let word = if commit { "COMMIT" } else { "ROLLBACK" };
                block.check_inside(&format!("{word} AND CHAIN"))?;
            }
            let modes = block.modes();
            let ended = block.end(commit);
            drop(block);
            *self.inner.pinned.lock() = None;
            self.change(|variables| variables.end_block(ended.committed));
            self.inner.cursors.end_block(ended.committed);
            self.ended(ended);
            modes
        };
        if chain {
            self.begin(modes);
        }
        Ok(())
    }

    fn ended(&self, ended: Ended) {
        if !ended.was_open {
            let message = "there is no transaction in progress";
            let code = sqlstate::NO_ACTIVE_SQL_TRANSACTION;
            self.notice(Notice::warning(message).with_sqlstate(code));
        }
        if ended.had_written && !ended.committed {
            self.warn_of_writes_kept();
        }
    }

    fn warn_of_writes_kept(&self) {
        self.notice(
            Notice::warning("ROLLBACK did not undo what the transaction wrote")
                .with_detail("Each of its statements was committed when it ended."),
        );
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
