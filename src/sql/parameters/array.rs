//! Parameters in array literals.

use arrow::datatypes::FieldRef;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult};

use super::{Types, place_of};

/// Gives parameters in array literals the types that are known: DataFusion plans elements as if it knew none.
#[derive(Debug)]
pub(in crate::sql) struct ArrayElements(Vec<Option<FieldRef>>);

impl ArrayElements {
    pub fn new(parameters: &Types) -> Self {
        Self(parameters.fields())
    }

    fn typed(&self, expr: Expr) -> Result<Transformed<Expr>> {
        let Expr::Placeholder(Placeholder { id, field: None }) = expr else {
            return Ok(Transformed::no(expr));
        };
        let field = self.0.get(place_of(&id)?).cloned().flatten();
        Ok(Transformed::yes(Expr::Placeholder(
            Placeholder::new_with_field(id, field),
        )))
    }
}

impl ExprPlanner for ArrayElements {
    fn plan_array_literal(
        &self,
        elements: Vec<Expr>,
        _schema: &DFSchema,
    ) -> Result<PlannerResult<Vec<Expr>>> {
        let elements = elements.into_iter();
        let typed = elements.map(|element| Ok(element.transform_up(|e| self.typed(e))?.data));
        typed.collect::<Result<_>>().map(PlannerResult::Original)
    }
}
