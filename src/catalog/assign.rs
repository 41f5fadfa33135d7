//! Assignment casts: what a value becomes when it is stored in a column, as Postgres has it.
//!
//! [`Assignment`] takes whole batches, [`assign`] one array. Text goes through the input function of the column's
//! type, because neither DataFusion's literals nor files say whether a text was meant as one.

mod batch;
mod cast;
mod datetime;
mod error;
mod interval;
mod list;
mod moment;
mod number;
mod output;
mod parse;
mod precision;
#[cfg(test)]
mod tests;

pub use batch::Assignment;
pub use cast::{assign, cast_to, check_assignable, read_text};
pub use error::RowError;
pub use output::{json_of, text_of};
pub use parse::boolean;
pub use precision::round_seconds;
