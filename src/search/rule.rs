//! The optimizer rule that finds searches.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema, Result, TableReference};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{
    Expr, Extension, FetchType, Limit, LogicalPlan, Projection, SkipType, Sort, SortExpr, TableScan,
};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};
use shelfmark_udfs::VectorType;

use super::node::{Distance, VectorTopK, with_distance_column};
use super::order::Order;
use super::pattern::Pattern;
use super::score::Score;
use crate::catalog::options::ShelfmarkOptions;
use crate::catalog::table::CollectionTable;
use crate::storage::schema::field_id;

/// Puts a [`VectorTopK`] in place of a sort by a distance with a limit above a collection.
///
/// ```text
/// Projection? -> Limit? -> Sort by distance [, more], fetch k -> (Projection | Filter | alias)* -> TableScan
/// Projection  -> VectorTopK k -> TableScan
/// Projection  -> Sort by distance, more, fetch k -> VectorTopK k with ties -> TableScan
/// ```
/// The sort may be by a [`Score`] of the distance. A plan that does not fit stays as it is: a filter on the vector itself, a query that depends on the row,
/// subqueries, volatile functions.
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
    let Pattern {
        outputs,
        keys,
        filters,
        scan,
    } = pattern;
    let [first, more @ ..] = keys.as_slice() else {
        return Ok(None);
    };
    let key = first.expr.clone().unalias_nested().data;
    let call = Score::of(&key).1;
    match Distance::of(call) {
        Some(distance) if is_search(&distance, call, &filters, &scan)? => {}
        _ => return Ok(None),
    }
    let column = |expr: Expr| with_distance_column(expr, &key);
    let outputs: Vec<Expr> = outputs.into_iter().map(column).collect::<Result<_>>()?;
    let more: Vec<SortExpr> = more
        .iter()
        .map(|key| Ok(key.with_expr(column(key.expr.clone())?)))
        .collect::<Result<_>>()?;
    let needed = needed_columns(outputs.iter().chain(more.iter().map(|key| &key.expr)));
    let (order, ties) = (Order::of(first), !more.is_empty());
    let node = VectorTopK::try_new(scan, key.clone(), filters, order, k, ties, needed)?;
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
    let named = outputs.into_iter().zip(schema.iter());
    let named = named.map(|(expr, (qualifier, field))| named_as(expr, qualifier, field.name()));
    let projection = Projection::try_new(named.collect(), Arc::new(plan))?;
    Ok(Some(LogicalPlan::Projection(projection)))
}

/// Whether a call measures a vector column of a collection, and a search can evaluate the filters.
pub(super) fn is_search(
    distance: &Distance,
    call: &Expr,
    filters: &[Expr],
    scan: &LogicalPlan,
) -> Result<bool> {
    let LogicalPlan::TableScan(scan) = scan else {
        return Ok(false);
    };
    let is_vector = scan
        .projected_schema
        .qualified_field_from_column(distance.column)
        .is_ok_and(|(_, f)| {
            field_id(f).is_some()
                && VectorType::of(f.data_type()).is_some_and(|v| v.dimension.is_some())
        });
    if !is_vector || !is_collection(scan)? {
        return Ok(false);
    }
    for filter in filters {
        if !is_filter_of_search(filter, call, scan)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_collection(scan: &TableScan) -> Result<bool> {
    let provider = source_as_provider(&scan.source)?;
    Ok(provider.downcast_ref::<CollectionTable>().is_some())
}

/// Whether a filter reads scalar columns alone, or nothing but the distance.
fn is_filter_of_search(filter: &Expr, distance: &Expr, scan: &TableScan) -> Result<bool> {
    let columns = filter.column_refs();
    let is_scalar = |column: &&Column| {
        let field = scan.projected_schema.qualified_field_from_column(column);
        field.is_ok_and(|(_, f)| field_id(f).is_some() && !f.data_type().is_nested())
    };
    if columns.iter().all(is_scalar) {
        return Ok(!columns.is_empty());
    }
    let of_distance = with_distance_column(filter.clone(), distance)?;
    let is_distance = |column: &&Column| **column == VectorTopK::distance_column();
    Ok(of_distance.column_refs().iter().all(is_distance))
}

/// The columns of the scan that expressions read, each once.
pub(super) fn needed_columns<'a>(exprs: impl Iterator<Item = &'a Expr>) -> Vec<Column> {
    let columns: BTreeSet<Column> = exprs.flat_map(Expr::column_refs).cloned().collect();
    let distance = VectorTopK::distance_column();
    columns.into_iter().filter(|c| *c != distance).collect()
}

pub(super) fn named_as(expr: Expr, qualifier: Option<&TableReference>, name: &str) -> Expr {
    match &expr {
        Expr::Column(c) if c.relation.as_ref() == qualifier && c.name == name => expr,
        _ => expr.alias_qualified(qualifier.cloned(), name),
    }
}
