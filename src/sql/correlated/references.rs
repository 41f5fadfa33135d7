//! The columns of outer queries and the parameters that a plan reads, and values in their place.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{Exists, InSubquery, Placeholder, SetComparison};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan, Subquery};

use crate::sql::parameters::replace;

/// A column of an outer query that a subquery reads.
pub(super) type Reference = (FieldRef, Column);

/// The columns of outer queries that a plan reads.
pub(super) fn free_references(plan: &LogicalPlan) -> Vec<Reference> {
    let mut found = Vec::new();
    collect_references(plan, &mut found);
    found
}

fn collect_references(plan: &LogicalPlan, found: &mut Vec<Reference>) {
    let mut add = |reference: Reference| {
        if !found.iter().any(|(_, column)| *column == reference.1) {
            found.push(reference);
        }
    };
    let inputs = plan.inputs();
    let schema = merge_schema(&inputs);
    for expr in plan.expressions() {
        let walked = expr.apply(|expr| {
            if let Expr::OuterReferenceColumn(field, column) = expr {
                add((Arc::clone(field), column.clone()));
            } else if let Some(subquery) = subquery_of(expr) {
                let inner = free_references(&subquery.subquery).into_iter();
                inner
                    .filter(|(_, column)| !schema.has_column(column))
                    .for_each(&mut add);
            }
            Ok(TreeNodeRecursion::Continue)
        });
        debug_assert!(walked.is_ok());
    }
    let left = match plan {
        LogicalPlan::Join(join) => Some(Arc::clone(join.left.schema())),
        _ => None,
    };
    for (place, input) in inputs.into_iter().enumerate() {
        let bound = left.as_ref().filter(|_| place == 1);
        let inner = free_references(input).into_iter();
        let is_free = |(_, column): &Reference| !bound.is_some_and(|left| left.has_column(column));
        inner.filter(is_free).for_each(&mut add);
    }
}

/// The parameters that a plan has, and the subqueries in it.
pub(super) fn parameters(plan: &LogicalPlan) -> Result<Vec<Placeholder>> {
    let mut found: Vec<Placeholder> = Vec::new();
    plan.apply_with_subqueries(|plan| {
        plan.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::Placeholder(parameter) = expr
                    && !found.iter().any(|known| known.id == parameter.id)
                {
                    found.push(parameter.clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found)
}

/// The plan with values in the place of parameters, by their names.
pub(super) fn put_parameters(
    plan: LogicalPlan,
    values: &HashMap<&str, ScalarValue>,
) -> Result<LogicalPlan> {
    if values.is_empty() {
        return Ok(plan);
    }
    let is_parameter = |expr: &Expr| matches!(expr, Expr::Placeholder(_));
    replace(plan, &is_parameter, &|expr| {
        let value = match &expr {
            Expr::Placeholder(parameter) => values.get(parameter.id.as_str()),
            _ => None,
        };
        Ok(match value {
            Some(value) => Transformed::yes(Expr::Literal(value.clone(), None)),
            None => Transformed::no(expr),
        })
    })
}

/// The subquery that an expression is or asks.
pub(in crate::sql) fn subquery_of(expr: &Expr) -> Option<&Subquery> {
    match expr {
        Expr::ScalarSubquery(subquery)
        | Expr::Exists(Exists { subquery, .. })
        | Expr::InSubquery(InSubquery { subquery, .. })
        | Expr::SetComparison(SetComparison { subquery, .. }) => Some(subquery),
        _ => None,
    }
}

/// The subquery that an expression is or asks.
pub(in crate::sql) fn subquery_of_mut(expr: &mut Expr) -> Option<&mut Subquery> {
    match expr {
        Expr::ScalarSubquery(subquery)
        | Expr::Exists(Exists { subquery, .. })
        | Expr::InSubquery(InSubquery { subquery, .. })
        | Expr::SetComparison(SetComparison { subquery, .. }) => Some(subquery),
        _ => None,
    }
}

/// Values of columns of outer queries.
pub(super) type Values = HashMap<Column, ScalarValue>;

/// The values without those of columns that the schema has: a name means the nearest column.
fn hidden_by(values: &Values, schema: &DFSchema) -> Values {
    let outer = values
        .iter()
        .filter(|(column, _)| !schema.has_column(column));
    outer.map(|(c, v)| (c.clone(), v.clone())).collect()
}

/// The plan with values in the place of columns of outer queries.
pub(super) fn substitute(plan: LogicalPlan, values: &Values) -> Result<LogicalPlan> {
    let schema = merge_schema(&plan.inputs());
    let left = match &plan {
        LogicalPlan::Join(join) => Some(hidden_by(values, join.left.schema())),
        _ => None,
    };
    let mut place = 0;
    let plan = plan.map_children(|child| {
        let values = left.as_ref().filter(|_| place == 1).unwrap_or(values);
        place += 1;
        Ok(Transformed::yes(substitute(child, values)?))
    })?;
    let inner = hidden_by(values, &schema);
    // What is above goes by the names that stand there with the outer columns.
    let names = NamePreserver::new(&plan.data);
    let plan = plan.data.map_expressions(|expr| {
        let name = names.save(&expr);
        let put = expr.transform_up(|mut expr| {
            if let Expr::OuterReferenceColumn(_, column) = &expr {
                return Ok(match values.get(column) {
                    Some(value) => Transformed::yes(Expr::Literal(value.clone(), None)),
                    None => Transformed::no(expr),
                });
            }
            let Some(subquery) = subquery_of_mut(&mut expr) else {
                return Ok(Transformed::no(expr));
            };
            let plan = LogicalPlan::clone(&subquery.subquery);
            subquery.subquery = Arc::new(substitute(plan, &inner)?);
            forget(&mut subquery.outer_ref_columns, &inner);
            Ok(Transformed::yes(expr))
        })?;
        Ok(put.update_data(|expr| name.restore(expr)))
    })?;
    match plan.data {
        LogicalPlan::Subquery(mut subquery) => {
            forget(&mut subquery.outer_ref_columns, values);
            Ok(match subquery.outer_ref_columns.is_empty() {
                true => Arc::unwrap_or_clone(subquery.subquery),
                false => LogicalPlan::Subquery(subquery),
            })
        }
        plan => plan.recompute_schema(),
    }
}

/// Takes columns that have values out of a list of outer columns.
fn forget(references: &mut Vec<Expr>, values: &Values) {
    references.retain(|expr| match expr {
        Expr::OuterReferenceColumn(_, column) => !values.contains_key(column),
        _ => true,
    });
}
