//! Collections as DataFusion sees them: pruning, scans, tables, writes, the catalog and the system tables.

pub mod advisory;
pub mod arithmetic;
pub mod assign;
pub(crate) mod blank_padded;
pub mod cast_filters;
pub mod changes;
pub(crate) mod checks;
pub mod clustering;
pub mod covered;
pub mod decimal_literal;
pub mod dml;
pub(crate) mod enums;
#[cfg(test)]
mod equivalence;
pub(crate) mod expressions;
pub mod foreign_keys;
pub mod in_list;
pub mod index_definition;
pub mod json;
pub mod keys;
pub mod math;
pub mod options;
pub mod parts;
pub mod pg;
pub mod pg_type;
pub(crate) mod plan_node;
pub mod provider;
pub mod prune;
pub mod public;
pub mod scan;
pub mod search_path;
pub mod sequences;
pub mod sink;
pub mod stores;
pub mod string_limit;
pub mod system;
pub mod table;
pub mod temporary;
#[cfg(test)]
pub(crate) mod testing;
pub mod transaction;
mod ttl;
pub mod user;
pub(crate) mod wrapped;
pub mod yielding;
pub mod zone;
