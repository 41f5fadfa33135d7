//! EXPLAIN: the plan of a statement as rows, one a line, in the column `QUERY PLAN`.

mod node;
mod options;
mod render;

pub(crate) use node::{ExplainNode, ExplainPlanner};
pub(super) use node::{explain, schema};
pub use options::ExplainOptions;
pub(super) use options::PlanFormat;
