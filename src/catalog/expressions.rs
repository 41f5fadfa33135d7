//! The walk that analyzer rules take which rewrite expressions by their types, and the values of those without columns.

use std::sync::{Arc, LazyLock};

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema};

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{ColumnarValue, Expr, LogicalPlan};
use datafusion::physical_expr::PhysicalExpr;

/// A row without columns: what expressions without columns are evaluated over.
pub(crate) static ONE_ROW: LazyLock<RecordBatch> = LazyLock::new(|| {
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)
        .expect("invariant: a batch without columns has any number of rows")
});

/// The value of an expression that reads no columns.
///
/// # Errors
/// Those of the expression.
pub(crate) fn constant(expr: &Arc<dyn PhysicalExpr>) -> Result<ScalarValue> {
    match expr.evaluate(&ONE_ROW)? {
        ColumnarValue::Scalar(value) => Ok(value),
        ColumnarValue::Array(values) => ScalarValue::try_from_array(&values, 0),
    }
}

/// Rewrites the expressions of a node to ones that may be of other types; outputs keep their names. The node's columns are
/// found anew, also where only its inputs say more of theirs than before.
///
/// # Errors
/// Those of `rewrite` and of DataFusion's schemas.
pub(crate) fn retype(
    plan: LogicalPlan,
    rewrite: impl Fn(Expr, &DFSchema) -> Result<Transformed<Expr>>,
) -> Result<Transformed<LogicalPlan>> {
    let schema = schema_below(&plan)?;
    let names = NamePreserver::new(&plan);
    let plan = plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let rewritten = expr.transform_up(|expr| rewrite(expr, &schema))?;
        Ok(rewritten.update_data(|expr| name.restore(expr)))
    })?;
    Ok(Transformed::yes(plan.data.recompute_schema()?))
}

/// The columns that a node's expressions may name; of a scan all that its table has.
fn schema_below(plan: &LogicalPlan) -> Result<DFSchema> {
    let mut schema = merge_schema(&plan.inputs());
    if let LogicalPlan::TableScan(scan) = plan {
        let (name, source) = (scan.table_name.clone(), scan.source.schema());
        schema.merge(&DFSchema::try_from_qualified_schema(name, &source)?);
    }
    Ok(schema)
}

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

/// Whether a value of such a type can be anywhere in the plan: in a column that it scans, or made by a cast or a parameter.
///
/// # Errors
/// Those of DataFusion's walk.
pub(crate) fn mentions(plan: &LogicalPlan, is_such: fn(&Field) -> bool) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            found |= scan.source.schema().fields().iter().any(|f| is_such(f));
        }
        if let LogicalPlan::Extension(_) = node {
            found |= node.schema().fields().iter().any(|f| is_such(f));
        }
        node.apply_expressions(|expr| {
            found |= casts_to(expr, is_such)?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(match found {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    })?;
    Ok(found)
}

/// Whether the expression makes a value of such a type, by a cast or of a parameter.
///
/// # Errors
/// Those of DataFusion's walk.
pub(crate) fn casts_to(expr: &Expr, is_such: fn(&Field) -> bool) -> Result<bool> {
    expr.exists(|expr| {
        Ok(match expr {
            Expr::Cast(cast) => is_such(&cast.field),
            Expr::Placeholder(parameter) => parameter.field.as_ref().is_some_and(|f| is_such(f)),
            _ => false,
        })
    })
}

/// Whether a node has such an expression, or one with such an expression inside.
///
/// # Errors
/// Those of DataFusion's walk.
pub(crate) fn holds(node: &LogicalPlan, concerns: fn(&Expr) -> bool) -> Result<bool> {
    let mut found = false;
    node.apply_expressions(|expr| {
        found |= expr.exists(|e| Ok(concerns(e)))?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}
