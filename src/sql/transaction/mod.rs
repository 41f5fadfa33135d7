//! Transaction blocks: BEGIN, COMMIT, ROLLBACK and savepoints.
//!
//! The state of a block is PostgreSQL's, and so are the answers. What a block does not do yet is hold writes back:
//! each statement in it commits by itself, and says so in a warning. A block that is REPEATABLE READ or SERIALIZABLE
//! reads one version until the session itself writes.

mod admission;
mod block;
mod statement;

pub(super) use block::{Block, Ended};
pub use block::{Isolation, Modes, TransactionStatus};
pub(super) use statement::{TransactionStatement, plan};

#[cfg(test)]
mod tests;
