//! Arguments in the place of parameters, in plans and expressions.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Subquery};

use crate::sql::correlated::{subquery_of, subquery_of_mut};
use crate::sql::parameters::place_of;

/// The key of a field's metadata that tells the number of the parameter which a name stands for.
pub(super) const PARAMETER: &str = "shelfmark.parameter";

/// What is done with the leaves of expressions.
type Leaf<'a> = &'a dyn Fn(Expr) -> Result<Transformed<Expr>>;

/// The plan with its parameters, which are planned as columns from further out, as `$1` and so on.
pub(super) fn number_parameters(plan: LogicalPlan) -> Result<LogicalPlan> {
    rewrite(plan, &|expr| {
        let Expr::OuterReferenceColumn(field, _) = &expr else {
            return Ok(Transformed::no(expr));
        };
        let Some(number) = field.metadata().get(PARAMETER) else {
            return Ok(Transformed::no(expr));
        };
        let mut metadata = field.metadata().clone();
        let id = format!("${number}");
        metadata.remove(PARAMETER);
        let field = field.as_ref().clone().with_metadata(metadata);
        let placeholder =
            datafusion::logical_expr::expr::Placeholder::new_with_field(id, Some(Arc::new(field)));
        Ok(Transformed::yes(Expr::Placeholder(placeholder)))
    })
}

/// The plan with arguments in the place of its parameters. Their columns are those of outer queries.
pub(super) fn put(plan: LogicalPlan, arguments: &[Expr]) -> Result<LogicalPlan> {
    rewrite(plan, &|expr| one(expr, arguments))
}

/// The expression with arguments in the place of its parameters; `inside` stand in subqueries.
pub(super) fn put_in_expr(expr: Expr, arguments: &[Expr], inside: &[Expr]) -> Result<Expr> {
    let put = expr.transform_up(|mut expr| {
        let Some(subquery) = subquery_of_mut(&mut expr) else {
            return one(expr, arguments);
        };
        put_in_subquery(subquery, &|expr| one(expr, inside))?;
        Ok(Transformed::yes(expr))
    })?;
    Ok(put.data)
}

fn one(expr: Expr, arguments: &[Expr]) -> Result<Transformed<Expr>> {
    let Expr::Placeholder(parameter) = &expr else {
        return Ok(Transformed::no(expr));
    };
    match arguments.get(place_of(&parameter.id)?) {
        // What is put is not looked at again.
        Some(argument) => Ok(Transformed::new(
            argument.clone(),
            true,
            TreeNodeRecursion::Continue,
        )),
        None => Ok(Transformed::no(expr)),
    }
}

/// The expression as it is within a subquery of where it stands.
pub(super) fn from_inside(expr: &Expr, schema: &DFSchema) -> Result<Expr> {
    let outer = expr.clone().transform_up(|expr| match &expr {
        Expr::Column(column) => {
            let (_, field) = expr.to_field(schema)?;
            let outer = Expr::OuterReferenceColumn(field, column.clone());
            Ok(Transformed::yes(outer))
        }
        _ => Ok(Transformed::no(expr)),
    })?;
    Ok(outer.data)
}

/// How often a plan or an expression has each parameter, of so many; in a subquery it is any number of times.
pub(super) fn uses_in_expr(expr: &Expr, count: usize) -> Result<Vec<usize>> {
    let mut uses = vec![0_usize; count];
    expr.apply(|expr| {
        if let Expr::Placeholder(parameter) = expr
            && let Some(uses) = uses.get_mut(place_of(&parameter.id)?)
        {
            *uses += 1;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    if expr.exists(|expr| Ok(subquery_of(expr).is_some()))? {
        uses.iter_mut().for_each(|uses| *uses = usize::MAX);
    }
    Ok(uses)
}

fn rewrite(plan: LogicalPlan, leaf: Leaf<'_>) -> Result<LogicalPlan> {
    let below = |child| Ok(Transformed::yes(rewrite(child, leaf)?));
    let plan = plan.map_children(below)?.data;
    // The columns of other nodes do not have the names of expressions.
    let names = match &plan {
        LogicalPlan::Extension(_) => None,
        plan => Some(NamePreserver::new(plan)),
    };
    let is_limit = matches!(plan, LogicalPlan::Limit(_));
    let plan = plan.map_expressions(|expr| {
        let name = names.as_ref().map(|names| names.save(&expr));
        let put = expr.transform_up(|mut expr| {
            let Some(subquery) = subquery_of_mut(&mut expr) else {
                return leaf(expr);
            };
            put_in_subquery(subquery, leaf)?;
            Ok(Transformed::yes(expr))
        })?;
        let put = match is_limit {
            true => put.update_data(as_count),
            false => put,
        };
        Ok(match name {
            Some(name) => put.update_data(|expr| name.restore(expr)),
            None => put,
        })
    })?;
    match plan.data {
        LogicalPlan::Subquery(mut subquery) => {
            subquery.outer_ref_columns = subquery.subquery.all_out_ref_exprs();
            Ok(match subquery.outer_ref_columns.is_empty() {
                true => Arc::unwrap_or_clone(subquery.subquery),
                false => LogicalPlan::Subquery(subquery),
            })
        }
        plan => plan.recompute_schema(),
    }
}

fn put_in_subquery(subquery: &mut Subquery, leaf: Leaf<'_>) -> Result<()> {
    let plan = rewrite(LogicalPlan::clone(&subquery.subquery), leaf)?;
    subquery.outer_ref_columns = plan.all_out_ref_exprs();
    subquery.subquery = Arc::new(plan);
    Ok(())
}

/// LIMIT and OFFSET take literals of BIGINT.
fn as_count(expr: Expr) -> Expr {
    match &expr {
        Expr::Literal(value, _) if value.data_type().is_integer() => {
            match value.cast_to(&DataType::Int64) {
                Ok(value @ ScalarValue::Int64(_)) => Expr::Literal(value, None),
                _ => expr,
            }
        }
        _ => expr,
    }
}
