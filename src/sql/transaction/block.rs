//! Transaction blocks: the state that BEGIN, COMMIT, ROLLBACK and savepoints move, decided from values alone.

use crate::error::{Error, Result, sqlstate};

/// Where a session is with regard to a transaction block, as ReadyForQuery tells it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TransactionStatus {
    /// Outside a block.
    #[default]
    Idle,
    /// Inside a block.
    Open,
    /// Inside a block whose statements are refused until it ends.
    Failed,
}

/// How strictly a transaction is kept from what others do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Isolation {
    /// The same as read committed.
    ReadUncommitted,
    /// Each statement sees what was committed when it began.
    #[default]
    ReadCommitted,
    /// All statements see what was committed when the first of them began.
    RepeatableRead,
    /// Repeatable read.
    Serializable,
}

impl Isolation {
    /// The value of the parameter `transaction_isolation`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadUncommitted => "read uncommitted",
            Self::ReadCommitted => "read committed",
            Self::RepeatableRead => "repeatable read",
            Self::Serializable => "serializable",
        }
    }

    /// The level of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        let levels = [
            Self::ReadUncommitted,
            Self::ReadCommitted,
            Self::RepeatableRead,
            Self::Serializable,
        ];
        let named = |level: &Self| level.as_str().eq_ignore_ascii_case(name);
        levels.into_iter().find(named)
    }

    /// Whether all statements of a block see the same version.
    pub fn pins(self) -> bool {
        matches!(self, Self::RepeatableRead | Self::Serializable)
    }
}

/// The modes that BEGIN or SET TRANSACTION name; those left out stay as they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Modes {
    /// ISOLATION LEVEL.
    pub isolation: Option<Isolation>,
    /// READ ONLY or READ WRITE.
    pub read_only: Option<bool>,
    /// DEFERRABLE or NOT DEFERRABLE.
    pub deferrable: Option<bool>,
}

impl Modes {
    /// These modes, and those of `defaults` where they name none.
    pub fn or(self, defaults: Self) -> Self {
        Self {
            isolation: self.isolation.or(defaults.isolation),
            read_only: self.read_only.or(defaults.read_only),
            deferrable: self.deferrable.or(defaults.deferrable),
        }
    }
}

/// A savepoint.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Savepoint {
    name: String,
    /// Whether statements of this session had committed rows in the block before it.
    wrote_before: bool,
}

/// A transaction block of a session, or that there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::sql) struct Block {
    status: TransactionStatus,
    modes: Modes,
    savepoints: Vec<Savepoint>,
    /// Whether a statement of the block has read or written.
    has_run: bool,
    /// Whether a statement of the block has written, which no ROLLBACK undoes.
    has_written: bool,
}

/// How a block ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sql) struct Ended {
    /// Whether the answer is COMMIT rather than ROLLBACK.
    pub(super) committed: bool,
    /// Whether there was a block at all.
    pub(super) was_open: bool,
    /// Whether it had written.
    pub(super) had_written: bool,
}

impl Block {
    pub(in crate::sql) fn status(&self) -> TransactionStatus {
        self.status
    }

    /// The modes of the block.
    pub(in crate::sql) fn modes(&self) -> Modes {
        self.modes
    }

    /// How many savepoints it has.
    pub(in crate::sql) fn savepoints(&self) -> usize {
        self.savepoints.len()
    }

    /// Whether its statements all read one version: until the block writes, so that it sees what it wrote.
    pub(in crate::sql) fn pins(&self) -> bool {
        let inside = self.status != TransactionStatus::Idle;
        inside && !self.has_written && self.modes.isolation.is_some_and(Isolation::pins)
    }

    /// Begins a block, with `defaults` for the modes that are not named. Answers whether there was none.
    pub(in crate::sql) fn begin(&mut self, modes: Modes, defaults: Modes) -> bool {
        if self.status != TransactionStatus::Idle {
            self.modes = modes.or(self.modes);
            return false;
        }
        *self = Self {
            status: TransactionStatus::Open,
            modes: modes.or(defaults),
            ..Self::default()
        };
        true
    }

    /// Ends the block; a failed one does not commit.
    pub(in crate::sql) fn end(&mut self, commit: bool) -> Ended {
        let block = std::mem::take(self);
        Ended {
            committed: commit && block.status != TransactionStatus::Failed,
            was_open: block.status != TransactionStatus::Idle,
            had_written: block.has_written,
        }
    }

    /// Changes the modes of the block.
    ///
    /// # Errors
    /// 25001 when a statement has run and the mode can no longer change.
    pub(in crate::sql) fn set_modes(&mut self, modes: Modes) -> Result<()> {
        let too_late = |what: &str| {
            let message = format!("{what} must be called before any query");
            Err(Error::invalid(sqlstate::ACTIVE_SQL_TRANSACTION, message))
        };
        let now = self.modes;
        if self.has_run && modes.isolation.is_some_and(|i| Some(i) != now.isolation) {
            return too_late("SET TRANSACTION ISOLATION LEVEL");
        }
        if self.has_run && modes.read_only == Some(false) && now.read_only == Some(true) {
            let message = "transaction read-write mode must be set before any query";
            return Err(Error::invalid(sqlstate::ACTIVE_SQL_TRANSACTION, message));
        }
        if self.has_run && modes.deferrable.is_some() {
            return too_late("SET TRANSACTION [NOT] DEFERRABLE");
        }
        self.modes = modes.or(now);
        Ok(())
    }

    /// An error of one of its statements.
    pub(in crate::sql) fn fail(&mut self) {
        if self.status == TransactionStatus::Open {
            self.status = TransactionStatus::Failed;
        }
    }

    /// That a statement which does not end the block may run.
    ///
    /// # Errors
    /// 25P02 in a failed block.
    pub(in crate::sql) fn check_open(&self) -> Result<()> {
        if self.status != TransactionStatus::Failed {
            return Ok(());
        }
        Err(Error::invalid(
            sqlstate::IN_FAILED_SQL_TRANSACTION,
            "current transaction is aborted, commands ignored until end of transaction block",
        ))
    }

    /// That `statement`, which needs a block, is in one.
    ///
    /// # Errors
    /// 25P01 outside.
    pub(in crate::sql) fn check_inside(&self, statement: &str) -> Result<()> {
        if self.status != TransactionStatus::Idle {
            return Ok(());
        }
        Err(Error::invalid(
            sqlstate::NO_ACTIVE_SQL_TRANSACTION,
            format!("{statement} can only be used in transaction blocks"),
        ))
    }

    /// That `statement`, which commits more than once, is in no block.
    ///
    /// # Errors
    /// 25001 inside.
    pub(in crate::sql) fn check_outside(&self, statement: &str) -> Result<()> {
        if self.status == TransactionStatus::Idle {
            return Ok(());
        }
        Err(Error::invalid(
            sqlstate::ACTIVE_SQL_TRANSACTION,
            format!("{statement} cannot run inside a transaction block"),
        ))
    }

    /// That `statement` may write; `defaults` are the modes of one outside a block.
    ///
    /// # Errors
    /// 25006 when the transaction is read-only.
    pub(in crate::sql) fn check_writable(&self, statement: &str, defaults: Modes) -> Result<()> {
        let modes = match self.status {
            TransactionStatus::Idle => defaults,
            _ => self.modes,
        };
        if modes.read_only != Some(true) {
            return Ok(());
        }
        Err(Error::invalid(
            sqlstate::READ_ONLY_SQL_TRANSACTION,
            format!("cannot execute {statement} in a read-only transaction"),
        ))
    }

    /// Notes that a statement runs.
    pub(in crate::sql) fn ran(&mut self) {
        self.has_run = self.status != TransactionStatus::Idle;
    }

    /// Notes that a statement writes. Answers whether it is the first of its block.
    pub(in crate::sql) fn wrote(&mut self) -> bool {
        let inside = self.status != TransactionStatus::Idle;
        inside && !std::mem::replace(&mut self.has_written, true)
    }

    /// SAVEPOINT. Answers how many there are now.
    ///
    /// # Errors
    /// 25P01 outside a block, 54000 when there are too many.
    pub(in crate::sql) fn savepoint(&mut self, name: String) -> Result<usize> {
        const SAVEPOINTS_MAX: usize = 10_000;
        self.check_inside("SAVEPOINT")?;
        if self.savepoints.len() == SAVEPOINTS_MAX {
            let message = format!("a transaction has at most {SAVEPOINTS_MAX} savepoints");
            return Err(Error::limit(sqlstate::PROGRAM_LIMIT_EXCEEDED, message));
        }
        self.savepoints.push(Savepoint {
            name,
            wrote_before: self.has_written,
        });
        Ok(self.savepoints.len())
    }

    /// RELEASE SAVEPOINT. Answers how many are left.
    ///
    /// # Errors
    /// 25P01 outside a block, 3B001 for a name without a savepoint.
    pub(in crate::sql) fn release(&mut self, name: &str) -> Result<usize> {
        self.check_inside("RELEASE SAVEPOINT")?;
        let place = self.place_of(name)?;
        self.savepoints.truncate(place);
        Ok(place)
    }

    /// ROLLBACK TO SAVEPOINT. Answers how many are left, and whether the block wrote after it.
    ///
    /// # Errors
    /// 25P01 outside a block, 3B001 for a name without a savepoint.
    pub(in crate::sql) fn rollback_to(&mut self, name: &str) -> Result<(usize, bool)> {
        self.check_inside("ROLLBACK TO SAVEPOINT")?;
        let place = self.place_of(name)?;
        self.savepoints.truncate(place + 1);
        self.status = TransactionStatus::Open;
        let wrote = self.has_written && !self.savepoints[place].wrote_before;
        Ok((place + 1, wrote))
    }

    fn place_of(&self, name: &str) -> Result<usize> {
        let place = self.savepoints.iter().rposition(|s| s.name == name);
        place.ok_or_else(|| {
            Error::not_found(
                sqlstate::INVALID_SAVEPOINT_SPECIFICATION,
                format!("savepoint \"{name}\" does not exist"),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn open() -> Block {
        let mut block = Block::default();
        assert!(block.begin(Modes::default(), Modes::default()));
        block
    }

    #[test]
    fn a_failed_block_only_ends() {
        let mut block = open();
        block.fail();
        assert_eq!(block.check_open().unwrap_err().sqlstate(), "25P02");
        assert!(!block.end(true).committed);
        assert_eq!(block.status(), TransactionStatus::Idle);
        block.fail();
        assert_eq!(block.status(), TransactionStatus::Idle);
    }

    #[test]
    fn rolling_back_to_a_savepoint_mends_the_block() {
        let mut block = open();
        assert_eq!(block.savepoint("a".into()).unwrap(), 1);
        assert_eq!(block.savepoint("b".into()).unwrap(), 2);
        assert!(block.wrote());
        assert!(!block.wrote());
        block.fail();
        assert_eq!(block.rollback_to("a").unwrap(), (1, true));
        assert_eq!(block.status(), TransactionStatus::Open);
        assert_eq!(block.rollback_to("b").unwrap_err().sqlstate(), "3B001");
        assert_eq!(block.release("a").unwrap(), 0);
        assert!(block.end(true).committed);
    }

    #[test]
    fn the_innermost_savepoint_of_a_name_counts() {
        let mut block = open();
        block.savepoint("a".into()).unwrap();
        block.wrote();
        block.savepoint("a".into()).unwrap();
        assert_eq!(block.rollback_to("a").unwrap(), (2, false));
        block.release("a").unwrap();
        assert_eq!(block.rollback_to("a").unwrap(), (1, true));
    }

    #[test]
    fn savepoints_need_a_block_and_vacuum_needs_none() {
        let mut block = Block::default();
        assert_eq!(block.savepoint("a".into()).unwrap_err().sqlstate(), "25P01");
        assert!(block.check_outside("VACUUM").is_ok());
        let error = open().check_outside("VACUUM").unwrap_err();
        assert_eq!(error.sqlstate(), "25001");
    }

    #[test]
    fn modes_change_before_the_first_statement_only() {
        let mut block = open();
        let serializable = Modes {
            isolation: Some(Isolation::Serializable),
            ..Modes::default()
        };
        let read_only = |on| Modes {
            read_only: Some(on),
            ..Modes::default()
        };
        block.set_modes(serializable).unwrap();
        block.ran();
        block.set_modes(serializable).unwrap();
        block.set_modes(read_only(true)).unwrap();
        assert_eq!(
            block
                .check_writable("INSERT", Modes::default())
                .unwrap_err()
                .sqlstate(),
            "25006"
        );
        let error = block.set_modes(read_only(false)).unwrap_err();
        assert_eq!(error.sqlstate(), "25001");
    }
}
