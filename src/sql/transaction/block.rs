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

/// How strictly a transaction asks to be kept from what others do. Every block is given snapshot isolation, which is
/// more than the first two ask for, what PostgreSQL gives for the third, and less than the last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Isolation {
    /// The same as read committed.
    ReadUncommitted,
    /// What the others promise is promised here too.
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

/// A transaction block of a session, or that there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::sql) struct Block {
    status: TransactionStatus,
    modes: Modes,
    /// Their names.
    savepoints: Vec<String>,
    /// Whether a statement of the block has read or written.
    has_run: bool,
    /// Whether it is of the statements of one string, without a BEGIN.
    is_implicit: bool,
}

/// What BEGIN found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sql) enum Begun {
    /// No block: it has begun.
    New,
    /// The implicit block of a string of statements, which is one like any other now.
    Implicit,
    /// A block, which goes on.
    Already,
}

/// How a block ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sql) struct Ended {
    /// Whether the answer is COMMIT rather than ROLLBACK.
    pub(super) committed: bool,
    /// Whether there was a block that BEGIN had begun.
    pub(super) was_open: bool,
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

    /// Whether there is a block, be it of BEGIN or of a string of statements.
    pub(in crate::sql) fn is_inside(&self) -> bool {
        self.status != TransactionStatus::Idle
    }

    /// Whether there is the block of a string of statements.
    pub(in crate::sql) fn is_implicit(&self) -> bool {
        self.is_implicit
    }

    /// Begins a block, with `defaults` for the modes that are not named.
    pub(in crate::sql) fn begin(&mut self, modes: Modes, defaults: Modes) -> Begun {
        if self.is_inside() {
            self.modes = modes.or(self.modes);
            return match std::mem::take(&mut self.is_implicit) {
                true => Begun::Implicit,
                false => Begun::Already,
            };
        }
        *self = Self {
            status: TransactionStatus::Open,
            modes: modes.or(defaults),
            ..Self::default()
        };
        Begun::New
    }

    /// Begins the block of a string of statements, unless there is a block. Answers whether there was none.
    pub(in crate::sql) fn begin_implicit(&mut self, defaults: Modes) -> bool {
        if self.is_inside() {
            return false;
        }
        self.begin(Modes::default(), defaults);
        self.is_implicit = true;
        true
    }

    /// Ends the block; a failed one does not commit.
    pub(in crate::sql) fn end(&mut self, commit: bool) -> Ended {
        let block = std::mem::take(self);
        Ended {
            committed: commit && block.status != TransactionStatus::Failed,
            was_open: block.is_inside() && !block.is_implicit,
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
        match self.is_inside() {
            true => Ok(()),
            false => Err(needs_block(statement)),
        }
    }

    /// That `statement`, which is about a block of BEGIN, is in one.
    ///
    /// # Errors
    /// 25P01 elsewhere.
    pub(in crate::sql) fn check_explicit(&self, statement: &str) -> Result<()> {
        match self.is_inside() && !self.is_implicit {
            true => Ok(()),
            false => Err(needs_block(statement)),
        }
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
        self.has_run = self.is_inside();
    }

    /// SAVEPOINT. Answers how many there are now.
    ///
    /// # Errors
    /// 25P01 outside a block, 54000 when there are too many.
    pub(in crate::sql) fn savepoint(&mut self, name: String) -> Result<usize> {
        const SAVEPOINTS_MAX: usize = 10_000;
        self.check_explicit("SAVEPOINT")?;
        if self.savepoints.len() == SAVEPOINTS_MAX {
            let message = format!("a transaction has at most {SAVEPOINTS_MAX} savepoints");
            return Err(Error::limit(sqlstate::PROGRAM_LIMIT_EXCEEDED, message));
        }
        self.savepoints.push(name);
        Ok(self.savepoints.len())
    }

    /// RELEASE SAVEPOINT. Answers how many are left.
    ///
    /// # Errors
    /// 25P01 outside a block, 3B001 for a name without a savepoint.
    pub(in crate::sql) fn release(&mut self, name: &str) -> Result<usize> {
        self.check_explicit("RELEASE SAVEPOINT")?;
        let place = self.place_of(name)?;
        self.savepoints.truncate(place);
        Ok(place)
    }

    /// ROLLBACK TO SAVEPOINT. Answers how many are left.
    ///
    /// # Errors
    /// 25P01 outside a block, 3B001 for a name without a savepoint.
    pub(in crate::sql) fn rollback_to(&mut self, name: &str) -> Result<usize> {
        self.check_explicit("ROLLBACK TO SAVEPOINT")?;
        let place = self.place_of(name)?;
        self.savepoints.truncate(place + 1);
        self.status = TransactionStatus::Open;
        Ok(place + 1)
    }

    fn place_of(&self, name: &str) -> Result<usize> {
        let place = self.savepoints.iter().rposition(|s| s == name);
        place.ok_or_else(|| {
            Error::not_found(
                sqlstate::INVALID_SAVEPOINT_SPECIFICATION,
                format!("savepoint \"{name}\" does not exist"),
            )
        })
    }
}

fn needs_block(statement: &str) -> Error {
    Error::invalid(
        sqlstate::NO_ACTIVE_SQL_TRANSACTION,
        format!("{statement} can only be used in transaction blocks"),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn begin(block: &mut Block) -> Begun {
        block.begin(Modes::default(), Modes::default())
    }

    fn open() -> Block {
        let mut block = Block::default();
        assert_eq!(begin(&mut block), Begun::New);
        block
    }

    #[test]
    fn the_block_of_a_string_becomes_one_of_begin() {
        let mut block = Block::default();
        assert!(block.begin_implicit(Modes::default()));
        assert!(!block.begin_implicit(Modes::default()));
        assert!(block.check_inside("LOCK TABLE").is_ok());
        assert_eq!(
            block.check_outside("VACUUM").unwrap_err().sqlstate(),
            "25001"
        );
        assert_eq!(block.savepoint("a".into()).unwrap_err().sqlstate(), "25P01");
        assert_eq!(begin(&mut block), Begun::Implicit);
        assert_eq!(begin(&mut block), Begun::Already);
        assert_eq!(block.savepoint("a".into()).unwrap(), 1);
        assert!(block.end(true).was_open);
        block.begin_implicit(Modes::default());
        let ended = block.end(true);
        assert!(ended.committed && !ended.was_open && !block.is_inside());
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
        block.fail();
        assert_eq!(block.rollback_to("a").unwrap(), 1);
        assert_eq!(block.status(), TransactionStatus::Open);
        assert_eq!(block.rollback_to("b").unwrap_err().sqlstate(), "3B001");
        assert_eq!(block.release("a").unwrap(), 0);
        assert!(block.end(true).committed);
    }

    #[test]
    fn the_innermost_savepoint_of_a_name_counts() {
        let mut block = open();
        block.savepoint("a".into()).unwrap();
        block.savepoint("a".into()).unwrap();
        assert_eq!(block.rollback_to("a").unwrap(), 2);
        block.release("a").unwrap();
        assert_eq!(block.rollback_to("a").unwrap(), 1);
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
