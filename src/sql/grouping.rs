//! Keys of GROUPING SETS, ROLLUP and CUBE that are computed.
//!
//! A key whose types are coerced gets an alias that keeps its name, which DataFusion 55 does not look for around sets of
//! keys. So keys are computed below, and the sets are of columns. A cast has the name of what is cast: below it gets one
//! that no column has, and its own again above.

use std::collections::{HashMap, HashSet};
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
    let keys = Keys::new(keys, &columns);
    let below = columns.into_iter().map(Expr::Column);
    let below: Vec<Expr> = below.chain(keys.computed()).collect();
    let input = LogicalPlanBuilder::from(Arc::unwrap_or_clone(aggregate.input))
        .project(below)?
        .build()?;
    let group = vec![Expr::GroupingSet(of_columns(set, &keys))];
    let aggregates = aggregate.aggr_expr.into_iter();
    let aggregates = aggregates.map(|expr| told_of_columns(expr, &keys));
    let aggregates = aggregates.collect::<Result<Vec<_>>>()?;
    let aggregate = Aggregate::try_new(Arc::new(input), group, aggregates)?;
    Ok(Transformed::yes(
        keys.under_their_names(LogicalPlan::Aggregate(aggregate))?,
    ))
}

/// Keys that are computed, and the names of their columns.
struct Keys(Vec<(Expr, String)>);

impl Keys {
    fn new(keys: Vec<Expr>, columns: &[Column]) -> Self {
        let mut taken: HashSet<String> = columns.iter().map(Column::flat_name).collect();
        let named = keys.into_iter().map(|key| {
            let mut name = key.schema_name().to_string();
            while !taken.insert(name.clone()) {
                name.push(' ');
            }
            (key, name)
        });
        Self(named.collect())
    }

    fn computed(&self) -> impl Iterator<Item = Expr> {
        self.0.iter().map(|(key, name)| key.clone().alias(name))
    }

    /// The column that a key is, or the key where it is one already.
    fn column_of(&self, key: &Expr) -> Expr {
        match self.0.iter().find(|(computed, _)| computed == key) {
            Some((_, name)) => Expr::Column(Column::new_unqualified(name)),
            None => key.clone(),
        }
    }

    /// The plan with the names that keys have for whoever reads it.
    fn under_their_names(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let own = |(key, name): &(Expr, String)| {
            let own = key.schema_name().to_string();
            (own != *name).then(|| (name.clone(), own))
        };
        let renamed: HashMap<String, String> = self.0.iter().filter_map(own).collect();
        if renamed.is_empty() {
            return Ok(plan);
        }
        let columns = plan.schema().columns().into_iter();
        let columns = columns.filter(|c| c.name != Aggregate::INTERNAL_GROUPING_ID);
        let columns = columns.map(|column| match renamed.get(&column.name) {
            Some(own) if column.relation.is_none() => Expr::Column(column).alias(own),
            _ => Expr::Column(column),
        });
        let columns: Vec<Expr> = columns.collect();
        LogicalPlanBuilder::from(plan).project(columns)?.build()
    }
}

fn of_columns(set: &GroupingSet, keys: &Keys) -> GroupingSet {
    let columns = |exprs: &Vec<Expr>| exprs.iter().map(|key| keys.column_of(key)).collect();
    match set {
        GroupingSet::Rollup(exprs) => GroupingSet::Rollup(columns(exprs)),
        GroupingSet::Cube(exprs) => GroupingSet::Cube(columns(exprs)),
        GroupingSet::GroupingSets(sets) => {
            GroupingSet::GroupingSets(sets.iter().map(columns).collect())
        }
    }
}

/// `grouping(..)` of columns; other aggregates stay.
fn told_of_columns(expr: Expr, keys: &Keys) -> Result<Expr> {
    let told = expr.transform_down(|expr| match &expr {
        Expr::AggregateFunction(call) if call.func.name() == "grouping" => {
            let told = expr.map_children(|key| Ok(Transformed::yes(keys.column_of(&key))))?;
            Ok(Transformed::new(told.data, true, TreeNodeRecursion::Jump))
        }
        _ => Ok(Transformed::no(expr)),
    })?;
    Ok(told.data)
}
