//! Keys of GROUPING SETS, ROLLUP and CUBE that are computed.
//!
//! A key whose types are coerced gets an alias that keeps its name, which DataFusion 55 does not look for around sets of
//! keys. So keys are computed below, and the sets are of columns.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::{Aggregate, Expr, GroupingSet, LogicalPlan, LogicalPlanBuilder};
use datafusion::optimizer::AnalyzerRule;

/// Computes the keys of sets below their aggregate. It must run before `grouping(..)` is resolved.
#[derive(Debug, Default)]
pub(crate) struct GroupingKeysRule;

impl AnalyzerRule for GroupingKeysRule {
    fn name(&self) -> &str {
        "grouping_keys"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let computed = plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Aggregate(aggregate) => computed_below(aggregate),
            other => Ok(Transformed::no(other)),
        })?;
        Ok(computed.data)
    }
}

fn computed_below(aggregate: Aggregate) -> Result<Transformed<LogicalPlan>> {
    let [Expr::GroupingSet(set)] = aggregate.group_expr.as_slice() else {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    };
    let mut keys: Vec<Expr> = Vec::new();
    for key in set.distinct_expr() {
        if !matches!(key, Expr::Column(_)) && !keys.contains(key) {
            keys.push(key.clone());
        }
    }
    if keys.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    let columns = aggregate.input.schema().columns();
    let columns = columns.into_iter().map(Expr::Column);
    let computed = keys.iter().map(|key| key.clone().alias(name_of(key)));
    let below: Vec<Expr> = columns.chain(computed).collect();
    let input = LogicalPlanBuilder::from(Arc::unwrap_or_clone(aggregate.input))
        .project(below)?
        .build()?;
    let group = vec![Expr::GroupingSet(of_columns(set, &keys))];
    let aggregates = aggregate.aggr_expr.into_iter();
    let aggregates = aggregates.map(|expr| told_of_columns(expr, &keys));
    let aggregates = aggregates.collect::<Result<Vec<_>>>()?;
    let aggregate = Aggregate::try_new(Arc::new(input), group, aggregates)?;
    Ok(Transformed::yes(LogicalPlan::Aggregate(aggregate)))
}

fn name_of(key: &Expr) -> String {
    key.schema_name().to_string()
}

/// The column that a key is, or the key where it is one already.
fn column_of(key: &Expr, keys: &[Expr]) -> Expr {
    match keys.contains(key) {
        true => Expr::Column(Column::new_unqualified(name_of(key))),
        false => key.clone(),
    }
}

fn of_columns(set: &GroupingSet, keys: &[Expr]) -> GroupingSet {
    let columns = |exprs: &Vec<Expr>| exprs.iter().map(|key| column_of(key, keys)).collect();
    match set {
        GroupingSet::Rollup(exprs) => GroupingSet::Rollup(columns(exprs)),
        GroupingSet::Cube(exprs) => GroupingSet::Cube(columns(exprs)),
        GroupingSet::GroupingSets(sets) => {
            GroupingSet::GroupingSets(sets.iter().map(columns).collect())
        }
    }
}

/// `grouping(..)` of columns; other aggregates stay.
fn told_of_columns(expr: Expr, keys: &[Expr]) -> Result<Expr> {
    let told = expr.transform_down(|expr| match &expr {
        Expr::AggregateFunction(call) if call.func.name() == "grouping" => {
            let told = expr.map_children(|key| {
                let column = column_of(&key, keys);
                Ok(Transformed::yes(column))
            })?;
            Ok(Transformed::new(told.data, true, TreeNodeRecursion::Jump))
        }
        _ => Ok(Transformed::no(expr)),
    })?;
    Ok(told.data)
}
