//! Operators that DataFusion does not have: intervals times numbers.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, ScalarUDF};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::function;
use super::interval::{INTERVAL_BY, INTERVAL_TIMES};

/// Plans `interval * number`, `number * interval` and `interval / number`.
#[derive(Debug)]
pub(crate) struct IntervalPlanner {
    times: Arc<ScalarUDF>,
    by: Arc<ScalarUDF>,
}

impl IntervalPlanner {
    /// A planner with its functions.
    pub(crate) fn new() -> Self {
        let named = |name| Arc::new(function(name));
        Self {
            times: named(INTERVAL_TIMES),
            by: named(INTERVAL_BY),
        }
    }
}

impl ExprPlanner for IntervalPlanner {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let is_division = match expr.op {
            BinaryOperator::Multiply => false,
            BinaryOperator::Divide => true,
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let is_interval = |e: &Expr| {
            let data_type = e.get_type(schema);
            data_type.is_ok_and(|t| matches!(t, DataType::Interval(_) | DataType::Duration(_)))
        };
        let call = match (is_interval(&expr.left), is_interval(&expr.right)) {
            (true, false) if is_division => self.by.call(vec![expr.left, expr.right]),
            (true, false) => self.times.call(vec![expr.left, expr.right]),
            (false, true) if !is_division => self.times.call(vec![expr.right, expr.left]),
            _ => return Ok(PlannerResult::Original(expr)),
        };
        Ok(PlannerResult::Planned(call))
    }
}
