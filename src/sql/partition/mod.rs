//! Partitioned tables: a collection that holds all rows, and partitions of it by name ([`crate::storage::partition`]).
//!
//! | part | what it does |
//! |---|---|
//! | [`grammar`] | PARTITION BY, PARTITION OF, bounds |
//! | [`key`] | the key of a partitioned table, and what may not be done to its columns |
//! | [`bound`] | the bounds of a new partition, which must not overlap others |
//! | [`create`] | CREATE TABLE .. PARTITION OF |
//! | [`attach`] | ALTER TABLE .. ATTACH and DETACH PARTITION |
//! | [`rows`] | what empties a partition: DROP, TRUNCATE, DETACH |
//! | [`alter`] | ALTER TABLE of a partition |

mod alter;
mod attach;
mod bound;
mod create;
mod grammar;
mod key;
mod rows;
#[cfg(test)]
mod tests;

use datafusion::sql::sqlparser::ast::{Expr, Ident, ObjectName};

pub(super) use self::alter::check_actions;
pub(super) use self::attach::{attach, detach, of_index};
pub(super) use self::create::create;
pub(super) use self::grammar::{partition_by, partition_of, partitions_of_table};
pub(super) use self::key::{check_column, check_keys, divide};
pub(super) use self::rows::{Emptied, drop_rows_of};

/// PARTITION BY.
#[derive(Debug, Clone)]
pub struct PartitionBy {
    /// LIST, RANGE or HASH, as it was written.
    pub strategy: Ident,
    /// The columns of the key.
    pub columns: Vec<Ident>,
}

/// CREATE TABLE .. PARTITION OF.
#[derive(Debug, Clone)]
pub struct CreatePartition {
    /// Its name.
    pub name: ObjectName,
    /// Whether an existing one is fine.
    pub if_not_exists: bool,
    /// Whether it is the session's own.
    pub temporary: bool,
    /// The partitioned table.
    pub parent: ObjectName,
    /// Which rows it has.
    pub bound: Bound,
}

/// Which rows a partition has, as a statement says it.
#[derive(Debug, Clone)]
pub enum Bound {
    /// DEFAULT.
    Default,
    /// IN (..).
    List(Vec<Expr>),
    /// FROM (..) TO (..).
    Range(Vec<End>, Vec<End>),
    /// WITH (MODULUS .., REMAINDER ..).
    Hash(i64, i64),
}

/// An end of a range in one column.
#[derive(Debug, Clone)]
pub enum End {
    /// MINVALUE.
    Min,
    /// MAXVALUE.
    Max,
    /// The value.
    Value(Box<Expr>),
}
