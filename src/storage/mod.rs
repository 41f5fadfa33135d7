//! Files, the commit log and the snapshots that are its fold; knows Arrow, knows no SQL.

pub mod change;
pub mod collection;
pub mod committer;
pub mod engine;
pub mod growing;
pub mod schema;
pub mod snapshot;
pub mod stats;
pub mod store;
pub mod transaction;
