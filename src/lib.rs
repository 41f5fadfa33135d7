//! Shelfmark: a columnar SQL engine for filtered vector search and analytics over clustered collections.

pub mod catalog;
pub mod compaction;
pub mod database;
pub mod error;
pub mod metrics;
pub mod search;
pub mod server;
pub mod settings;
pub mod sql;
pub mod storage;

pub use database::Database;
pub use error::{Error, ErrorKind, Result};
pub use settings::Settings;
pub use sql::{Outcome, Prepared, Session, Tag};

/// The Rust of README.md runs as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
