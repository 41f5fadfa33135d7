//! `queries CROSS JOIN LATERAL (SELECT .. ORDER BY <distance from a query> LIMIT k)` as a join of nearest rows.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::logical_expr::{
    Expr, Extension, FetchType, Join, JoinType, Limit, LogicalPlan, Projection, SkipType,
};
use datafusion::optimizer::AnalyzerRule;

use super::node::KnnJoin;
use crate::catalog::options::ShelfmarkOptions;
use crate::search::node::{Distance, with_distance_column};
use crate::search::order::Order;
use crate::search::pattern::{Pattern, below_names};
use crate::search::rule::{is_search, named_as, needed_columns};
use crate::search::score::Score;

/// Puts a [`KnnJoin`] in place of a LATERAL join with a search.
///
/// ```text
/// Join (inner or left, no condition)
///   queries
///   (Projection | alias)* -> Limit -> (Projection | alias)* -> Sort by distance from a query
///                                                              -> (Projection | Filter | alias)* -> TableScan
/// ```
/// Other LATERAL joins stay as they are and run once for each row: with further sort keys, a filter that reads the row
/// of the query, a limit that is a parameter.
#[derive(Debug, Default)]
pub struct LateralSearchRule;

impl AnalyzerRule for LateralSearchRule {
    fn name(&self) -> &str {
        "lateral_search"
    }

    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        if !ShelfmarkOptions::settings_of(config).enable_vector_search {
            return Ok(plan);
        }
        let rewritten = plan.transform_up_with_subqueries(|plan| {
            let found = match &plan {
                LogicalPlan::Join(join) => knn_join(join)?,
                _ => None,
            };
            Ok(found.map_or_else(|| Transformed::no(plan), Transformed::yes))
        })?;
        Ok(rewritten.data)
    }
}

fn knn_join(join: &Join) -> Result<Option<LogicalPlan>> {
    let is_true = |filter: &Expr| *filter == Expr::Literal(ScalarValue::Boolean(Some(true)), None);
    let is_plain = join.on.is_empty() && join.filter.as_ref().is_none_or(is_true);
    let keep_all = match join.join_type {
        JoinType::Inner => false,
        JoinType::Left => true,
        _ => return Ok(None),
    };
    if !is_plain || !is_lateral(&join.right) {
        return Ok(None);
    }
    let right = with_query_columns(LogicalPlan::clone(&join.right), join.left.schema())?;
    let Some((pattern, limit)) = limited_pattern(&right)? else {
        return Ok(None);
    };
    joined(join, pattern, limit, keep_all)
}

/// Whether it can read the rows beside it.
fn is_lateral(right: &LogicalPlan) -> bool {
    match right {
        LogicalPlan::Subquery(_) => true,
        LogicalPlan::SubqueryAlias(alias) => is_lateral(&alias.input),
        LogicalPlan::Projection(projection) => is_lateral(&projection.input),
        _ => false,
    }
}

/// The plan with columns of the queries in place of what it reads of the rows beside it.
fn with_query_columns(plan: LogicalPlan, queries: &DFSchema) -> Result<LogicalPlan> {
    let replace = |expr: Expr| {
        expr.transform(|part| {
            let place = match &part {
                Expr::OuterReferenceColumn(_, column) => queries.maybe_index_of_column(column),
                _ => None,
            };
            Ok(match place {
                Some(place) => Transformed::yes(Expr::Column(KnnJoin::query_column(place))),
                None => Transformed::no(part),
            })
        })
    };
    // Schemas stay: nothing is renamed that a plan above refers to.
    let replaced = plan.transform_down(|plan| match plan {
        LogicalPlan::Subquery(subquery) => {
            Ok(Transformed::yes(LogicalPlan::clone(&subquery.subquery)))
        }
        plan => Ok(Transformed::no(plan)),
    })?;
    let replaced = replaced
        .data
        .transform_down(|plan| plan.map_expressions(replace))?;
    Ok(replaced.data)
}

/// Rows to leave out, and rows to take.
type Taken = (usize, usize);

/// The sort below a limit, with the columns of `plan` as outputs.
fn limited_pattern(plan: &LogicalPlan) -> Result<Option<(Pattern, Taken)>> {
    let outputs = plan.schema().columns().into_iter();
    let mut outputs: Vec<Expr> = outputs.map(Expr::Column).collect();
    let below = below_names(&mut outputs, plan)?;
    let LogicalPlan::Limit(limit) = below else {
        return Ok(None);
    };
    let Some(taken) = taken(limit) else {
        return Ok(None);
    };
    let LogicalPlan::Sort(sort) = below_names(&mut outputs, &limit.input)? else {
        return Ok(None);
    };
    let pattern = match sort.fetch {
        None => Pattern::try_new(outputs, sort.expr.clone(), &sort.input)?,
        Some(_) => None,
    };
    Ok(pattern.map(|pattern| (pattern, taken)))
}

fn taken(limit: &Limit) -> Option<Taken> {
    match (limit.get_skip_type(), limit.get_fetch_type()) {
        (Ok(SkipType::Literal(skip)), Ok(FetchType::Literal(Some(k)))) if k > 0 => Some((skip, k)),
        _ => None,
    }
}

fn joined(
    join: &Join,
    pattern: Pattern,
    (skip, k): Taken,
    keep_all: bool,
) -> Result<Option<LogicalPlan>> {
    let Pattern {
        outputs,
        keys,
        filters,
        scan,
    } = pattern;
    let [first] = keys.as_slice() else {
        return Ok(None);
    };
    let key = first.expr.clone().unalias_nested().data;
    let distance = Distance::of_queries(&key);
    if !distance.is_some_and(|d| is_search(&d, Score::of(&key).1, &filters, &scan).unwrap_or(false))
    {
        return Ok(None);
    }
    let outputs = outputs.into_iter().map(|o| with_distance_column(o, &key));
    let outputs: Vec<Expr> = outputs.collect::<Result<_>>()?;
    let is_column = |output: &Expr| matches!(output, Expr::Column(_));
    // An expression over the NULLs of a query without rows may be something else than NULL.
    if keep_all && !outputs.iter().all(is_column) {
        return Ok(None);
    }
    let queries = renamed(&join.left)?;
    let needed = needed_columns(outputs.iter());
    let of_scan = |column: &Column| scan.schema().has_column(column);
    let columns = needed.into_iter().filter(of_scan).collect();
    let node = KnnJoin {
        queries: Arc::new(queries),
        key,
        filters,
        order: Order::of(first),
        skip,
        k,
        keep_all,
        columns: Vec::new(),
        schema: Arc::new(DFSchema::empty()),
        scan: Arc::new(scan),
    };
    let node = node.with_columns(columns)?;
    let of_queries = (0..join.left.schema().fields().len()).map(KnnJoin::query_column);
    let all = of_queries.map(Expr::Column).chain(outputs);
    let named = all.zip(join.schema.iter());
    let named = named.map(|(expr, (qualifier, field))| named_as(expr, qualifier, field.name()));
    let plan = LogicalPlan::Extension(Extension {
        node: Arc::new(node),
    });
    let projection = Projection::try_new(named.collect(), Arc::new(plan))?;
    Ok(Some(LogicalPlan::Projection(projection)))
}

/// The queries with columns that no other relation has.
pub(super) fn renamed(queries: &Arc<LogicalPlan>) -> Result<LogicalPlan> {
    let columns = queries.schema().columns().into_iter().enumerate();
    let columns = columns.map(|(place, column)| {
        let Column { relation, name, .. } = KnnJoin::query_column(place);
        Expr::Column(column).alias_qualified(relation, name)
    });
    let projection = Projection::try_new(columns.collect(), Arc::clone(queries))?;
    Ok(LogicalPlan::Projection(projection))
}
