//! Collections as DataFusion sees them: pruning, scans, tables, the catalog and the system tables.

pub mod prune;
