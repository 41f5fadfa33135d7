//! EXPLAIN: the plan of a statement as rows, one a line, in the column `QUERY PLAN`.

mod node;
mod options;
mod render;

pub(super) use node::explain;
pub(crate) use node::{ExplainNode, ExplainPlanner};
pub use options::ExplainOptions;
