//! Cursors: queries whose rows are fetched some at a time.
//!
//! The rows are made as they are fetched. A cursor that only goes forward keeps none of them; one that was declared
//! with SCROLL keeps what it has read, up to a bound; one that says neither goes back for as long as that costs little.

mod rows;
mod statement;
mod store;

pub use statement::{Declare, Fetch, Target};
pub(super) use statement::{close, declare, fetch};
pub use store::CursorRow;
pub(super) use store::Cursors;

#[cfg(test)]
mod tests;
