//! Roles and privileges.
//!
//! * Statements: [`grammar`] reads them, [`command`] runs them as one commit each.
//! * Definitions (CREATE, ALTER, DROP, COMPACT ..) ask [`definitions`] when they act.
//! * Queries and changes of rows are checked on their plan: [`requirements`] says what a plan needs, whatever statement
//!   it came from, and [`rule`] asks for it whenever a plan is analysed. A plan's views are [`view`] nodes until then.
//! * Files of the server: [`files`].
//! * [`redact`] takes passwords out of a text before it is logged or shown.

pub(super) mod command;
pub(super) mod definitions;
pub mod files;
pub(super) mod grammar;
mod grants;
mod members;
mod owners;
pub mod password;
mod redact;
pub mod requirements;
mod roles;
pub mod rule;
pub mod statement;
#[cfg(test)]
mod tests;
pub mod view;

pub use files::FileAccess;
pub use redact::redact;
pub use statement::AccessStatement;
