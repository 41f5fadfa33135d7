//! A session's variables: PostgreSQL's parameters, our own settings, those of DataFusion that may be changed, and
//! names that applications make up.
//!
//! Values are kept as text in layers, so that a transaction block can take them back. Where DataFusion's configuration
//! has a part in a variable, it is told of each change of the value that counts.

mod check;
mod effect;
mod functions;
mod layers;
mod list;
mod name;
mod number;
mod parameter;
mod session;
mod show;
mod statement;

pub(super) use functions::functions;
pub(super) use layers::Variables;
pub(super) use parameter::boolean;
pub use session::Timeouts;
pub(super) use session::{Followed, Reported};
pub use show::SettingRow;
pub(super) use show::{show, show_all};
pub(super) use statement::{
    DiscardKind, SetStatement, SetValue, discard, reset_all, set, set_default_modes,
};

#[cfg(test)]
mod tests;
