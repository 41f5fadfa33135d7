//! Many queries at once: each row of some queries with the rows of a collection that are nearest to it.
//!
//! [`lateral`] finds such joins in LATERAL, `function` makes one of `vector_search(..)`. The operator ([`exec`]) runs the
//! search of one query ([`super::run`]) for many: each page of vectors is read once for all of them.

pub mod exec;
pub mod function;
pub mod lateral;
mod node;
pub mod planner;
pub mod trim;

pub use node::KnnJoin;
