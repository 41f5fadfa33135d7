//! Transaction blocks: BEGIN, COMMIT, ROLLBACK and savepoints.
//!
//! The state of a block is PostgreSQL's, and so are the answers; what it reads and changes is an
//! [`OpenTransaction`](crate::catalog::transaction::OpenTransaction), which begins with the first statement that reads
//! or writes. Whatever isolation was asked for, a block has snapshot isolation: it reads one version and its own
//! changes, and of two that change the same row the first to commit wins.
//!
//! The statements of one string of the simple protocol, or between two Syncs of the extended one, are a block too,
//! without a BEGIN: see
//! [`Session::begin_implicit`](crate::sql::Session::begin_implicit).

mod admission;
mod block;
mod statement;

pub(super) use block::{Begun, Block, Ended};
pub use block::{Isolation, Modes, TransactionStatus};
pub(super) use statement::{TransactionStatement, plan};

#[cfg(test)]
mod tests;
