//! Shelfmark: a columnar SQL engine for filtered vector search and analytics over clustered collections.

pub mod catalog;
pub mod compaction;
pub mod error;
pub mod settings;
pub mod storage;
