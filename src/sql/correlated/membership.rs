//! `x IN (SELECT y ..)` in filters, where NULLs leave it open.
//!
//! DataFusion makes a join of it, or a column that says whether there is a partner. What is open is false then, which is the
//! same where a row has to pass only: under AND and OR. In any other place, as in `NOT IN .. OR ..` or `(x IN ..) IS NULL`,
//! it is written out as
//!
//! ```sql
//! CASE WHEN x IN (S) THEN true
//!      WHEN (SELECT count(*) FROM S WHERE y IS NULL) > 0 OR x IS NULL AND (SELECT count(*) FROM S) > 0 THEN NULL
//!      ELSE false END
//! ```

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::expr::{BinaryExpr, Exists, InSubquery};
use datafusion::logical_expr::{
    Expr, ExprSchemable, Filter, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, lit, not,
    when,
};

use super::references::free_references;
use super::{CorrelatedRule, as_seen_inside};

impl CorrelatedRule {
    /// The condition of a filter, with what may be open written out where that matters.
    pub(super) fn memberships(
        &self,
        condition: Expr,
        schema: &DFSchema,
        is_conjunct: bool,
    ) -> Result<Expr> {
        match without_not(condition) {
            Expr::BinaryExpr(BinaryExpr {
                left,
                op: op @ (Operator::And | Operator::Or),
                right,
            }) => {
                let is_conjunct = is_conjunct && op == Operator::And;
                let left = Box::new(self.memberships(*left, schema, is_conjunct)?);
                let right = Box::new(self.memberships(*right, schema, is_conjunct)?);
                Ok(Expr::BinaryExpr(BinaryExpr { left, op, right }))
            }
            Expr::InSubquery(inside) if !inside.negated => Ok(Expr::InSubquery(inside)),
            Expr::InSubquery(inside) if is_conjunct => not_in(inside, schema),
            other => {
                let written = other.transform_down(|expr| match expr {
                    Expr::InSubquery(inside) => {
                        let written = self.written_out(inside, schema)?;
                        Ok(Transformed::new(written, true, TreeNodeRecursion::Jump))
                    }
                    expr => Ok(Transformed::no(expr)),
                })?;
                Ok(written.data)
            }
        }
    }

    /// Whether the value is among the rows, or NULL.
    fn written_out(&self, inside: InSubquery, schema: &DFSchema) -> Result<Expr> {
        let plan = Arc::clone(&inside.subquery.subquery);
        if !free_references(&plan).is_empty() {
            return Ok(self.call(Expr::InSubquery(inside), schema, false)?.data);
        }
        let negated = inside.negated;
        let value = inside.expr.as_ref().clone();
        let found = Expr::InSubquery(InSubquery {
            negated: false,
            ..inside
        });
        let (table, field) = plan.schema().qualified_field(0);
        let mut open = lit(false);
        if field.is_nullable() {
            let column = Expr::from((table, field));
            open = open.or(any_row(&plan, Some(column.is_null()))?);
        }
        if value.nullable(schema)? {
            open = open.or(value.is_null().and(any_row(&plan, None)?));
        }
        when(found, lit(!negated))
            .when(open, lit(ScalarValue::Boolean(None)))
            .otherwise(lit(negated))
    }
}

/// Whether a plan has a row that meets the condition.
fn any_row(plan: &Arc<LogicalPlan>, condition: Option<Expr>) -> Result<Expr> {
    let mut rows = LogicalPlanBuilder::from(LogicalPlan::clone(plan));
    if let Some(condition) = condition {
        rows = rows.filter(condition)?;
    }
    let none: [Expr; 0] = [];
    let counted = rows
        .limit(0, Some(1))?
        .aggregate(none, [count(lit(1_i64))])?
        .build()?;
    let counted = Expr::ScalarSubquery(Subquery {
        subquery: Arc::new(counted),
        outer_ref_columns: Vec::new(),
        spans: Default::default(),
    });
    Ok(counted.gt(lit(0_i64)))
}

/// `NOT x IN (SELECT ..)` as `x NOT IN (SELECT ..)`.
fn without_not(expr: Expr) -> Expr {
    match expr {
        Expr::Not(inner) => match *inner {
            Expr::InSubquery(inside) => Expr::InSubquery(InSubquery {
                negated: !inside.negated,
                ..inside
            }),
            inner => not(inner),
        },
        expr => expr,
    }
}

/// `x NOT IN (SELECT y ..)` that reads outer columns, as NOT EXISTS of a row where `y = x` is not false: which rows there are
/// depends on those columns, where DataFusion takes a NULL in any of them for one in all. It stays what it is where the
/// outer columns have the names of inner ones.
fn not_in(inside: InSubquery, outer: &DFSchema) -> Result<Expr> {
    let plan = &inside.subquery.subquery;
    let (table, field) = plan.schema().qualified_field(0);
    let columns = inside.expr.column_refs();
    let has_one = |plan: &LogicalPlan| {
        let schema = plan.schema();
        Ok(columns.iter().any(|column| schema.has_column(column)))
    };
    if free_references(plan).is_empty() || plan.exists(has_one)? {
        return Ok(Expr::InSubquery(inside));
    }
    let sought = as_seen_inside(inside.expr.as_ref().clone(), outer)?;
    let differs = Expr::from((table, field)).eq(sought).is_not_false();
    let left = Filter::try_new(differs, Arc::clone(plan))?;
    let left = LogicalPlan::Filter(left);
    let subquery = Subquery {
        outer_ref_columns: left.all_out_ref_exprs(),
        subquery: Arc::new(left),
        spans: inside.subquery.spans,
    };
    Ok(Expr::Exists(Exists {
        subquery,
        negated: true,
    }))
}
