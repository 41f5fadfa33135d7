//! Windows as PostgreSQL has them: frames that leave out rows, and distances of `lag` and `lead` that are computed.
//!
//! DataFusion's frames are ranges of rows without gaps. `EXCLUDE` is written as one more key of PARTITION BY, which is the
//! same for all rows ([`Exclusion::mark`]); [`WindowRule`] makes functions of such windows ones that aggregate what is left
//! of each row's frame.

mod excluding;
mod exclusion;
mod rule;
mod shifting;

pub(super) use self::exclusion::Exclusion;
pub(crate) use self::rule::WindowRule;
