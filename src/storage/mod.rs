//! Files, the commit log and the snapshots that are its fold; knows Arrow, knows no SQL.

pub mod adapt;
pub mod change;
pub mod collect;
pub mod collection;
pub mod committer;
pub mod engine;
pub mod growing;
mod levels;
mod page_header;
pub mod schema;
pub mod segment;
pub mod snapshot;
pub mod stats;
pub mod store;
pub mod transaction;
pub mod vectors;
pub mod writer;
