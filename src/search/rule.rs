//! The optimizer rule that finds searches.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::{Expr, Extension, FetchType, Limit, LogicalPlan, SkipType, Sort};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::nearest::{Nearest, named};
use super::node::{Distance, VectorTopK};
use super::pattern::Pattern;
use crate::catalog::options::ShelfmarkOptions;

/// Puts a [`VectorTopK`] in place of a sort by a distance with a limit above a collection.
///
/// ```text
/// Projection? -> Limit? -> Sort by distance [, more], fetch k -> (Projection | Filter | alias)* -> TableScan
/// Projection  -> VectorTopK k -> TableScan
/// Projection  -> Sort by distance, more, fetch k -> VectorTopK k with ties -> TableScan
/// ```
/// The sort may be by a score of the distance ([`Nearest`]). A plan that does not fit stays as it is: a filter on the
/// vector itself, a query or a subquery that depends on the row, volatile functions.
#[derive(Debug, Default)]
pub struct VectorTopKRule;

impl OptimizerRule for VectorTopKRule {
    fn name(&self) -> &str {
        "vector_top_k"
    }

    /// From the top, so that a projection is met before the sort below it.
    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let Some(Shape {
            sort,
            limit,
            outputs,
        }) = shape_of(&plan)
        else {
            return Ok(Transformed::no(plan));
        };
        if !ShelfmarkOptions::settings_of(&config.options()).enable_vector_search {
            return Ok(Transformed::no(plan));
        }
        let pattern = Pattern::try_new(outputs, sort.expr.clone(), &sort.input)?;
        let k = sort.fetch.filter(|k| *k > 0);
        let search = match pattern.zip(k) {
            Some((pattern, k)) => search(pattern, k, limit, plan.schema())?,
            None => None,
        };
        Ok(search.map_or_else(|| Transformed::no(plan), Transformed::yes))
    }
}

/// A sort with a limit as plans have it.
struct Shape<'a> {
    sort: &'a Sort,
    /// The limit above it, unless the sort's own says all.
    limit: Option<&'a Limit>,
    /// What comes out of the projection on top, or else of the sort.
    outputs: Vec<Expr>,
}

fn shape_of(plan: &LogicalPlan) -> Option<Shape<'_>> {
    let (below, projection) = match plan {
        LogicalPlan::Projection(projection) => (projection.input.as_ref(), Some(projection)),
        plan => (plan, None),
    };
    let (below, limit) = match below {
        LogicalPlan::Limit(limit) => (limit.input.as_ref(), Some(limit)),
        below => (below, None),
    };
    let LogicalPlan::Sort(sort) = below else {
        return None;
    };
    let k = sort.fetch?;
    let outputs = match projection {
        Some(projection) => {
            let exprs = projection.expr.iter();
            exprs.map(|e| e.clone().unalias()).collect()
        }
        None => {
            let columns = sort.input.schema().columns().into_iter();
            columns.map(Expr::Column).collect()
        }
    };
    Some(Shape {
        sort,
        limit: limit.filter(|limit| !is_first(limit, k)),
        outputs,
    })
}

/// Whether a limit takes the first `k` rows.
fn is_first(limit: &Limit, k: usize) -> bool {
    let skip = limit.get_skip_type();
    let fetch = limit.get_fetch_type();
    matches!(skip, Ok(SkipType::Literal(0)))
        && matches!(fetch, Ok(FetchType::Literal(Some(rows))) if rows == k)
}

/// The plan of a pattern that is a search, with the schema that it had.
fn search(
    pattern: Pattern,
    k: usize,
    limit: Option<&Limit>,
    schema: &DFSchema,
) -> Result<Option<LogicalPlan>> {
    let Some(nearest) = Nearest::of(pattern)? else {
        return Ok(None);
    };
    match Distance::of_key(&nearest.key) {
        Some(distance) if nearest.is_search(&distance)? => {}
        _ => return Ok(None),
    }
    let (order, needed) = (nearest.order(), nearest.needed_columns());
    let Nearest {
        key,
        first,
        more,
        outputs,
        filters,
        scan,
    } = nearest;
    let ties = !more.is_empty();
    let node = VectorTopK::try_new(scan, key, filters, order, k, ties, needed)?;
    let mut plan = LogicalPlan::Extension(Extension {
        node: Arc::new(node),
    });
    if ties {
        let distance = Expr::Column(VectorTopK::distance_column());
        let expr = std::iter::once(first.with_expr(distance)).chain(more);
        plan = LogicalPlan::Sort(Sort {
            expr: expr.collect(),
            input: Arc::new(plan),
            fetch: Some(k),
        });
    }
    if let Some(limit) = limit {
        plan = LogicalPlan::Limit(Limit {
            input: Arc::new(plan),
            ..limit.clone()
        });
    }
    named(outputs.into_iter(), schema, plan).map(Some)
}
