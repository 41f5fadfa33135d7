//! Literals that PostgreSQL reads by what stands beside them: `indisprimary = 'f'`.

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use crate::catalog::assign::boolean;

/// Reads texts beside truth values.
#[derive(Debug, Default)]
pub(crate) struct LiteralPlanner;

impl ExprPlanner for LiteralPlanner {
    fn plan_binary_op(
        &self,
        mut expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        if matches!(expr.op, BinaryOperator::Eq | BinaryOperator::NotEq) {
            let right = beside(&expr.left, &expr.right, schema)?;
            let left = beside(&expr.right, &expr.left, schema)?;
            expr.right = right.unwrap_or(expr.right);
            expr.left = left.unwrap_or(expr.left);
        }
        Ok(PlannerResult::Original(expr))
    }
}

/// The truth value of a literal beside one.
fn beside(other: &Expr, literal: &Expr, schema: &DFSchema) -> Result<Option<Expr>> {
    let Expr::Literal(ScalarValue::Utf8(Some(text)), _) = literal else {
        return Ok(None);
    };
    let is_boolean = other.get_type(schema).is_ok_and(|t| t == DataType::Boolean);
    if !is_boolean {
        return Ok(None);
    }
    let value = ScalarValue::Boolean(Some(boolean(text)?));
    Ok(Some(Expr::Literal(value, None)))
}
