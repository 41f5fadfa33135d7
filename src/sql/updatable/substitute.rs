//! Expressions over a relation as expressions over what it is made of.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result as DataFusionResult};
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison};
use datafusion::logical_expr::{Expr, LogicalPlan, Subquery};

use crate::error::{Error, Result};
use crate::sql::access::view::ViewNode;
use crate::storage::change::QualifiedName;
use crate::storage::role::RoleId;

/// Columns of a relation, and what stands in the place of each.
pub(super) struct Substitution<'a> {
    /// The columns.
    pub schema: &'a DFSchema,
    /// What stands for each of them.
    pub exprs: &'a [Expr],
}

impl Substitution<'_> {
    /// The expression with what stands for its columns.
    ///
    /// # Errors
    /// 0A000 where a subquery names a column that is computed.
    pub fn apply(&self, expr: Expr) -> Result<Expr> {
        let substituted = expr.transform_down(|expr| match &expr {
            Expr::Column(column) => Ok(match self.of(column) {
                Some(other) => Transformed::new(other.clone(), true, TreeNodeRecursion::Jump),
                None => Transformed::no(expr),
            }),
            _ => change_subquery(expr, &|subquery| self.in_subquery(subquery)),
        });
        Ok(substituted?.data)
    }

    fn of(&self, column: &Column) -> Option<&Expr> {
        self.exprs.get(self.schema.maybe_index_of_column(column)?)
    }

    /// The columns of the query around that a subquery names.
    fn in_subquery(&self, subquery: Subquery) -> DataFusionResult<Subquery> {
        let Subquery {
            subquery: plan,
            outer_ref_columns,
            spans,
        } = subquery;
        let plan = LogicalPlan::clone(&plan).transform_up_with_subqueries(|plan| {
            plan.map_expressions(|expr| expr.transform_up(|expr| self.outer(expr)))
        })?;
        let outer = outer_ref_columns.into_iter();
        let outer = outer.map(|expr| Ok(self.outer(expr)?.data));
        Ok(Subquery {
            subquery: Arc::new(plan.data),
            outer_ref_columns: outer.collect::<DataFusionResult<_>>()?,
            spans,
        })
    }

    fn outer(&self, expr: Expr) -> DataFusionResult<Transformed<Expr>> {
        let Expr::OuterReferenceColumn(field, column) = &expr else {
            return Ok(Transformed::no(expr));
        };
        match self.of(column).map(unaliased) {
            None => Ok(Transformed::no(expr)),
            Some(Expr::Column(other)) => {
                let field = Arc::clone(field);
                Ok(Transformed::yes(Expr::OuterReferenceColumn(
                    field,
                    other.clone(),
                )))
            }
            Some(_) => {
                let name = &column.name;
                let message = format!(
                    "rows are not changed by views whose subqueries name a column that is computed: \"{name}\""
                );
                Err(Error::unsupported(message).into())
            }
        }
    }
}

/// The expression, whose subqueries are read by the rights of a view's owner.
pub(super) fn by_owner(expr: Expr, view: &QualifiedName, owner: RoleId) -> Result<Expr> {
    let marked = expr.transform_down(|expr| {
        change_subquery(expr, &|subquery: Subquery| {
            let plan = LogicalPlan::clone(&subquery.subquery);
            Ok(Subquery {
                subquery: Arc::new(ViewNode::part(view.clone(), owner, plan)),
                ..subquery
            })
        })
    });
    Ok(marked?.data)
}

/// What an expression is, whatever it is called.
pub(super) fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

/// The expression with another subquery, if it is one of a subquery.
fn change_subquery(
    expr: Expr,
    change: &dyn Fn(Subquery) -> DataFusionResult<Subquery>,
) -> DataFusionResult<Transformed<Expr>> {
    Ok(match expr {
        Expr::ScalarSubquery(subquery) => Transformed::yes(Expr::ScalarSubquery(change(subquery)?)),
        Expr::Exists(exists) => Transformed::yes(Expr::Exists(Exists {
            subquery: change(exists.subquery)?,
            ..exists
        })),
        Expr::InSubquery(inside) => Transformed::yes(Expr::InSubquery(InSubquery {
            subquery: change(inside.subquery)?,
            ..inside
        })),
        Expr::SetComparison(set) => Transformed::yes(Expr::SetComparison(SetComparison {
            subquery: change(set.subquery)?,
            ..set
        })),
        other => Transformed::no(other),
    })
}
