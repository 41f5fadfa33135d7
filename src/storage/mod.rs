//! Files, the commit log and the snapshots that are its fold; knows Arrow, knows no SQL.

pub mod access;
pub mod adapt;
mod authority;
pub mod backup;
pub mod bloom;
pub mod change;
mod checkpoint;
mod checkpointer;
mod codec;
pub mod collect;
pub mod collection;
pub mod committer;
mod conflict;
pub mod deletes;
mod delta;
pub mod disk;
pub mod engine;
pub mod export;
pub mod fetch;
pub mod filter_file;
pub mod growing;
mod history;
pub mod index;
pub mod inspect;
pub mod key_index;
mod levels;
mod log;
mod page_header;
pub mod pending;
mod replay;
pub mod role;
pub mod schema;
pub mod segment;
pub mod segment_filters;
pub mod sequence;
pub mod snapshot;
pub mod stats;
pub mod store;
pub mod transaction;
pub mod vacuum;
pub mod vectors;
pub mod verify;
pub mod writer;
mod writer_thread;

#[cfg(test)]
pub(crate) mod testing;
