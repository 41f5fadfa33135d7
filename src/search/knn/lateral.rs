//! `queries CROSS JOIN LATERAL (SELECT .. ORDER BY <distance from a query> LIMIT k)` as a join of nearest rows.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::logical_expr::{
    Expr, Extension, FetchType, Join, JoinType, Limit, LogicalPlan, Projection, SkipType, lit,
};
use datafusion::optimizer::AnalyzerRule;

use super::node::KnnJoin;
use crate::catalog::options::ShelfmarkOptions;
use crate::search::nearest::{Nearest, named};
use crate::search::node::Distance;
use crate::search::pattern::{Pattern, below_names};

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
    let Some(nearest) = Nearest::of(pattern)?.filter(|nearest| nearest.more.is_empty()) else {
        return Ok(None);
    };
    match Distance::of_queries(&nearest.key) {
        Some(distance) if nearest.is_search(&distance)? => {}
        _ => return Ok(None),
    }
    let is_column = |output: &Expr| matches!(output, Expr::Column(_));
    // An expression over the NULLs of a query without rows may be something else than NULL.
    if keep_all && !nearest.outputs.iter().all(is_column) {
        return Ok(None);
    }
    let node = KnnJoin {
        queries: Arc::new(renamed(&join.left)?),
        order: nearest.order(),
        skip,
        k: lit(k as i64),
        keep_all,
        columns: Vec::new(),
        schema: Arc::new(DFSchema::empty()),
        key: nearest.key.clone(),
        filters: nearest.filters.clone(),
        scan: Arc::new(nearest.scan.clone()),
    };
    let node = node.with_columns(nearest.needed_columns())?;
    let of_queries = (0..join.left.schema().fields().len()).map(KnnJoin::query_column);
    let all = of_queries.map(Expr::Column).chain(nearest.outputs);
    let plan = LogicalPlan::Extension(Extension {
        node: Arc::new(node),
    });
    named(all, &join.schema, plan).map(Some)
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
