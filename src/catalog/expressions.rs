//! The walk that analyzer rules take which rewrite expressions by their types.

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan};

/// Rewrites the expressions of a plan and of its subqueries, innermost first, each with the columns that it may name.
/// Outputs keep their names. Nodes without an expression that `concerns` the rule are left as they are: most are, and
/// their columns cost more than a look at the expressions.
///
/// # Errors
/// Those of DataFusion's walk.
pub(crate) fn rewrite_expressions(
    plan: LogicalPlan,
    concerns: fn(&Expr) -> bool,
    rewrite: impl Fn(Expr, &DFSchema) -> Transformed<Expr>,
) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|node| {
        if !holds(&node, concerns)? {
            return Ok(Transformed::no(node));
        }
        let mut schema = merge_schema(&node.inputs());
        // The filters of a scan are over its own columns.
        if let LogicalPlan::TableScan(scan) = &node {
            schema.merge(&scan.projected_schema);
        }
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let name = names.save(&expr);
            let rewritten = expr.transform_up(|e| Ok(rewrite(e, &schema)))?;
            Ok(rewritten.update_data(|e| name.restore(e)))
        })
    })?;
    Ok(rewritten.data)
}

fn holds(node: &LogicalPlan, concerns: fn(&Expr) -> bool) -> Result<bool> {
    let mut found = false;
    node.apply_expressions(|expr| {
        found |= expr.exists(|e| Ok(concerns(e)))?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}
