//! Whether a plan says the same at any time: what may be evaluated when it is optimised stays true.

use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{
    Expr, LogicalPlan, TableScan, Volatility, WindowFunctionDefinition,
};

use crate::catalog::dml::{ChangedRowsNode, ConflictNode, DmlNode};
use crate::catalog::table::CollectionTable;
use crate::search::knn::KnnJoin;
use crate::sql::access::view::ViewNode;
use crate::sql::parameters::has_parameter;

/// Whether a plan reads collections alone, by functions that depend on nothing but their arguments.
pub(super) fn is_pure(plan: &LogicalPlan) -> Result<bool> {
    let mut pure = true;
    plan.apply_with_subqueries(|node| {
        pure = pure && is_pure_node(node)?;
        Ok(match pure {
            true => TreeNodeRecursion::Continue,
            false => TreeNodeRecursion::Stop,
        })
    })?;
    Ok(pure)
}

fn is_pure_node(node: &LogicalPlan) -> Result<bool> {
    let known = match node {
        LogicalPlan::TableScan(scan) => is_collection(scan),
        LogicalPlan::Extension(extension) => {
            let node = extension.node.as_any();
            node.is::<DmlNode>()
                || node.is::<ChangedRowsNode>()
                || node.is::<ConflictNode>()
                || node.is::<ViewNode>()
                || node.is::<KnnJoin>()
        }
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Aggregate(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Join(_)
        | LogicalPlan::Union(_)
        | LogicalPlan::EmptyRelation(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Values(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Unnest(_) => true,
        _ => false,
    };
    let mut pure = known;
    node.apply_expressions(|expr| {
        pure = pure && !expr.exists(|e| Ok(!is_pure_expr(e)))?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(pure)
}

fn is_collection(scan: &TableScan) -> bool {
    let provider = source_as_provider(&scan.source);
    provider.is_ok_and(|provider| provider.is::<CollectionTable>())
}

fn is_pure_expr(expr: &Expr) -> bool {
    let volatility = match expr {
        Expr::ScalarFunction(function) => function.func.signature().volatility,
        Expr::AggregateFunction(function) => function.func.signature().volatility,
        Expr::WindowFunction(window) => match &window.fun {
            WindowFunctionDefinition::AggregateUDF(function) => function.signature().volatility,
            WindowFunctionDefinition::WindowUDF(function) => function.signature().volatility,
        },
        Expr::ScalarVariable(..) | Expr::HigherOrderFunction(_) => return false,
        _ => Volatility::Immutable,
    };
    volatility == Volatility::Immutable
}

/// Whether LIMIT or OFFSET has a parameter.
pub(super) fn has_open_limit(plan: &LogicalPlan) -> Result<bool> {
    let mut open = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Limit(_) = node {
            node.apply_expressions(|expr| {
                open = open || has_parameter(expr)?;
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(open)
}
