//! What stands between a sort and a scan, said in terms of the scan's columns.

use std::collections::HashMap;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, SortExpr, SubqueryAlias};

/// Expressions over some plan, and what filters its rows.
///
/// Walking down from the sort, each projection is put into the expressions in place of its columns.
#[derive(Debug)]
pub(super) struct Pattern {
    /// What comes out.
    pub outputs: Vec<Expr>,
    /// What it is sorted by.
    pub keys: Vec<SortExpr>,
    /// What rows have to fulfil.
    pub filters: Vec<Expr>,
    /// The scan.
    pub scan: LogicalPlan,
}

impl Pattern {
    /// The pattern of `outputs` and `keys` over `plan`; `None` where something else than projections, aliases and
    /// filters stands above a scan, or an expression that must not move.
    ///
    /// # Errors
    /// None; the walk over an expression can fail in general.
    pub fn try_new(
        outputs: Vec<Expr>,
        keys: Vec<SortExpr>,
        plan: &LogicalPlan,
    ) -> Result<Option<Self>> {
        let mut pattern = Self {
            outputs,
            keys,
            filters: Vec::new(),
            scan: LogicalPlan::default(),
        };
        let mut plan = plan;
        loop {
            if let Some((columns, below)) = of_names(plan) {
                pattern.replace(&columns)?;
                plan = below;
                continue;
            }
            plan = match plan {
                LogicalPlan::Filter(filter) => {
                    let conjuncts = split_conjunction_owned(filter.predicate.clone());
                    pattern.filters.extend(conjuncts);
                    &filter.input
                }
                LogicalPlan::TableScan(scan) if scan.fetch.is_none() => {
                    pattern.scan = plan.clone();
                    return Ok(Some(pattern).filter(Self::is_movable));
                }
                _ => return Ok(None),
            };
        }
    }

    fn is_movable(&self) -> bool {
        let keys = self.keys.iter().map(|key| &key.expr);
        let mut all = self.outputs.iter().chain(keys).chain(&self.filters);
        all.all(is_movable)
    }

    fn replace(&mut self, columns: &HashMap<Column, Expr>) -> Result<()> {
        let keys = self.keys.iter_mut().map(|key| &mut key.expr);
        for expr in self.outputs.iter_mut().chain(keys).chain(&mut self.filters) {
            *expr = replaced(std::mem::take(expr), columns)?;
        }
        Ok(())
    }
}

/// What is below the projections and aliases of a plan; `outputs` are then over its columns.
pub(super) fn below_names<'a>(
    outputs: &mut [Expr],
    mut plan: &'a LogicalPlan,
) -> Result<&'a LogicalPlan> {
    while let Some((columns, below)) = of_names(plan) {
        for output in outputs.iter_mut() {
            *output = replaced(std::mem::take(output), &columns)?;
        }
        plan = below;
    }
    Ok(plan)
}

/// What the columns of a projection or an alias are of those below it; `None` for other plans, and for what must not
/// move.
fn of_names(plan: &LogicalPlan) -> Option<(HashMap<Column, Expr>, &LogicalPlan)> {
    match plan {
        LogicalPlan::Projection(projection) if projection.expr.iter().all(is_movable) => {
            Some((of_projection(projection), &projection.input))
        }
        LogicalPlan::SubqueryAlias(alias) => Some((of_alias(alias), &alias.input)),
        _ => None,
    }
}

/// Whether an expression may be evaluated elsewhere, for other rows, or more than once.
fn is_movable(expr: &Expr) -> bool {
    let stays = |part: &Expr| match part {
        Expr::ScalarFunction(call) => call.func.as_async().is_some(),
        // One that depends on no row is evaluated once, wherever it stands.
        Expr::ScalarSubquery(subquery) => !subquery.outer_ref_columns.is_empty(),
        Expr::Exists(_)
        | Expr::InSubquery(_)
        | Expr::OuterReferenceColumn(..)
        | Expr::Unnest(_)
        | Expr::GroupingSet(_) => true,
        _ => false,
    };
    // The walk itself does not fail.
    !expr.is_volatile() && !expr.exists(|part| Ok(stays(part))).unwrap_or(true)
}

fn of_projection(projection: &Projection) -> HashMap<Column, Expr> {
    let columns = projection.schema.columns().into_iter();
    let exprs = projection.expr.iter();
    columns
        .zip(exprs.map(|expr| expr.clone().unalias()))
        .collect()
}

fn of_alias(alias: &SubqueryAlias) -> HashMap<Column, Expr> {
    let outer = alias.schema.columns().into_iter();
    let inner = alias.input.schema().columns().into_iter();
    outer.zip(inner.map(Expr::Column)).collect()
}

fn replaced(expr: Expr, columns: &HashMap<Column, Expr>) -> Result<Expr> {
    let replaced = expr.transform_up(|part| {
        let found = match &part {
            Expr::Column(column) => columns.get(column).cloned(),
            _ => None,
        };
        Ok(found.map_or_else(|| Transformed::no(part), Transformed::yes))
    })?;
    Ok(replaced.data)
}
