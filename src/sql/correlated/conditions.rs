//! Joins over conditions with subqueries: `a LEFT JOIN b ON a.x IN (SELECT ..)`.
//!
//! DataFusion plans subqueries of filters alone. An inner join becomes a filter over a join; for outer joins each subquery
//! is computed in a column of the side that it reads.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::{Expr, Filter, Join, JoinType, LogicalPlan, LogicalPlanBuilder};

use super::references::{free_references, subquery_of};
use super::{CorrelatedRule, holds_subquery};

/// Whether the join is over a condition with a subquery.
pub(super) fn asks(join: &Join) -> bool {
    join.filter.as_ref().is_some_and(holds_subquery) && free_references(&join.right).is_empty()
}

impl CorrelatedRule {
    /// The join without subqueries in its condition, as far as each reads one side.
    pub(super) fn conditioned(&self, mut join: Join) -> Result<Transformed<LogicalPlan>> {
        let Some(condition) = join.filter.take() else {
            return Ok(Transformed::no(LogicalPlan::Join(join)));
        };
        if join.join_type == JoinType::Inner {
            let joined = Arc::new(LogicalPlan::Join(join));
            let filter = Filter::try_new(condition, joined)?;
            return self.rewrite(LogicalPlan::Filter(filter));
        }
        let mut sides = [Side::new(join.left), Side::new(join.right)];
        let mut count = 0;
        let condition = condition.transform_down(|expr| {
            let Some(subquery) = subquery_of(&expr) else {
                return Ok(Transformed::no(expr));
            };
            let outer = free_references(&subquery.subquery).into_iter();
            let outer = outer.map(|(_, column)| column);
            let read: Vec<Column> = expr
                .column_refs()
                .into_iter()
                .cloned()
                .chain(outer)
                .collect();
            let Some(side) = sides.iter_mut().find(|side| side.has_all(&read)) else {
                return Ok(Transformed::no(expr));
            };
            count += 1;
            let column = side.compute(expr, format!("__on_{count}"));
            Ok(Transformed::new(column, true, TreeNodeRecursion::Jump))
        })?;
        let [left, right] = sides;
        let columns = join.schema.columns().into_iter().map(Expr::Column);
        let columns: Vec<Expr> = columns.collect();
        let joined = Join::try_new(
            left.computed_by(self)?,
            right.computed_by(self)?,
            join.on,
            Some(condition.data),
            join.join_type,
            join.join_constraint,
            join.null_equality,
            join.null_aware,
        )?;
        let plan = LogicalPlanBuilder::from(LogicalPlan::Join(joined)).project(columns)?;
        Ok(Transformed::yes(plan.build()?))
    }
}

/// One side of a join, with what is computed of it.
struct Side {
    plan: Arc<LogicalPlan>,
    computed: Vec<Expr>,
}

impl Side {
    fn new(plan: Arc<LogicalPlan>) -> Self {
        Self {
            plan,
            computed: Vec::new(),
        }
    }

    fn has_all(&self, columns: &[Column]) -> bool {
        let schema = self.plan.schema();
        columns.iter().all(|column| schema.has_column(column))
    }

    /// The column that the expression will be.
    fn compute(&mut self, expr: Expr, name: String) -> Expr {
        self.computed.push(expr.alias(&name));
        Expr::Column(Column::from_name(name))
    }

    fn computed_by(self, rule: &CorrelatedRule) -> Result<Arc<LogicalPlan>> {
        if self.computed.is_empty() {
            return Ok(self.plan);
        }
        let columns = self.plan.schema().columns().into_iter().map(Expr::Column);
        let columns: Vec<Expr> = columns.chain(self.computed).collect();
        let plan = LogicalPlanBuilder::from(Arc::unwrap_or_clone(self.plan)).project(columns)?;
        Ok(Arc::new(rule.rewrite(plan.build()?)?.data))
    }
}
