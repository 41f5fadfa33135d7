//! An open segment: a Parquet file read by field id, with only the bytes that are asked for.

mod blocks;
mod bloom;
mod bounds;
mod cache;
mod columns;
mod file;
mod map;
mod read;
mod reader;
mod selection;

pub(super) use blocks::BlockWriter;
pub use cache::SegmentCache;
pub use columns::ColumnCache;
pub(super) use file::{SegmentFile, checked, parquet_error};
pub use read::{ReadRequest, RowFilter, SegmentBatches};
pub use reader::SegmentReader;
pub use selection::{live_ranges, live_selection, push_range, select_ranges};

/// The name of the column with the place of each row in its file.
pub const ROW_COLUMN: &str = "_row";

#[cfg(test)]
mod tests;
