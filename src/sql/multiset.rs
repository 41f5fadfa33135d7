//! `EXCEPT ALL` and `INTERSECT ALL`: a row that comes n times in one query and m times in the other comes n - m times, or
//! the smaller of both.
//!
//! DataFusion makes a semi or an anti join of either, in which one row of the right side matches all its equals of the left.
//! Here the equals of each side are numbered, and the first of the left matches the first of the right alone.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, NullEquality, Result};
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, Join, JoinType, LogicalPlan, LogicalPlanBuilder,
};
use datafusion::optimizer::AnalyzerRule;

/// The column of the numbers.
const PLACE: &str = "__place";

/// Numbers the equal rows of set operations that keep them.
#[derive(Debug, Default)]
pub(crate) struct MultisetRule;

impl AnalyzerRule for MultisetRule {
    fn name(&self) -> &str {
        "multiset"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(rewrite)?.data)
    }
}

fn rewrite(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Join(join) if keeps_equals(&join) => Ok(Transformed::yes(numbered(join)?)),
        plan => Ok(Transformed::no(plan)),
    }
}

/// Whether the join stands for a set operation with ALL: it is over all columns, NULLs are equal, and the left side is not
/// made distinct. No join that is written has NULLs equal before the optimizer sees it.
fn keeps_equals(join: &Join) -> bool {
    let is_set_operation = matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti)
        && join.null_equality == NullEquality::NullEqualsNull
        && join.filter.is_none();
    is_set_operation
        && !join.on.is_empty()
        && join.on.len() == join.left.schema().fields().len()
        && !matches!(join.left.as_ref(), LogicalPlan::Distinct(_))
}

fn numbered(join: Join) -> Result<LogicalPlan> {
    let columns: Vec<Expr> = join
        .left
        .schema()
        .columns()
        .into_iter()
        .map(Expr::Column)
        .collect();
    let left = with_places(&join.left)?;
    let right = with_places(&join.right)?;
    let (mut left_keys, mut right_keys) = (Vec::new(), Vec::new());
    for (left, right) in join.on {
        if let (Expr::Column(left), Expr::Column(right)) = (left, right) {
            left_keys.push(left);
            right_keys.push(right);
        }
    }
    left_keys.push(Column::from_name(PLACE));
    right_keys.push(Column::from_name(PLACE));
    LogicalPlanBuilder::from(left)
        .join_detailed(
            right,
            join.join_type,
            (left_keys, right_keys),
            None,
            NullEquality::NullEqualsNull,
        )?
        .project(columns)?
        .build()
}

/// The rows, each with its number among its equals.
fn with_places(input: &Arc<LogicalPlan>) -> Result<LogicalPlan> {
    let columns = input.schema().columns().into_iter().map(Expr::Column);
    let columns: Vec<Expr> = columns.collect();
    let place = row_number().partition_by(columns.clone()).build()?;
    let window = LogicalPlanBuilder::from(LogicalPlan::clone(input)).window([place.clone()])?;
    let place = Expr::Column(Column::from_name(place.schema_name().to_string())).alias(PLACE);
    window.project(columns.into_iter().chain([place]))?.build()
}
