//! What nodes of plans have in common.

use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{LogicalPlan, UserDefinedLogicalNodeCore};

/// The input of a node that has one.
///
/// # Errors
/// XX000 for more or fewer.
pub(crate) fn only_input<N: UserDefinedLogicalNodeCore>(
    node: &N,
    inputs: Vec<LogicalPlan>,
) -> Result<LogicalPlan> {
    match <[LogicalPlan; 1]>::try_from(inputs) {
        Ok([input]) => Ok(input),
        Err(inputs) => plan_err!("{} has one input, not {}", node.name(), inputs.len()),
    }
}
