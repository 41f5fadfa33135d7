//! A pattern taken apart as a search of the nearest rows, and whether it is one.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::{Column, DFSchema, Result, TableReference};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, SortExpr, TableScan};
use shelfmark_udfs::VectorType;

use super::node::{Distance, VectorTopK, with_distance_column};
use super::order::Order;
use super::pattern::Pattern;
use super::score::Score;
use crate::catalog::table::CollectionTable;
use crate::storage::schema::field_id;

/// A sort by a key of a distance; other expressions have a column in place of the key.
#[derive(Debug)]
pub(super) struct Nearest {
    /// What rows are sorted by first: a [`Score`] of a distance, if it is a search.
    pub key: Expr,
    /// The first sort key as the sort has it.
    pub first: SortExpr,
    /// What they are sorted by where that is equal.
    pub more: Vec<SortExpr>,
    /// What comes out.
    pub outputs: Vec<Expr>,
    /// What rows have to fulfil, with the key as it was.
    pub filters: Vec<Expr>,
    /// The scan.
    pub scan: LogicalPlan,
}

impl Nearest {
    /// The parts of a pattern; `None` for one without sort keys.
    ///
    /// # Errors
    /// None; the walk over an expression can fail in general.
    pub fn of(pattern: Pattern) -> Result<Option<Self>> {
        let mut keys = pattern.keys.into_iter();
        let Some(first) = keys.next() else {
            return Ok(None);
        };
        let key = first.expr.clone().unalias_nested().data;
        let column = |expr| with_distance_column(expr, &key);
        let outputs = pattern
            .outputs
            .into_iter()
            .map(column)
            .collect::<Result<_>>()?;
        let more = keys.map(|more| {
            Ok(SortExpr {
                expr: column(more.expr)?,
                ..more
            })
        });
        Ok(Some(Self {
            more: more.collect::<Result<_>>()?,
            outputs,
            first,
            filters: pattern.filters,
            scan: pattern.scan,
            key,
        }))
    }

    /// The order of the rows by the key.
    pub fn order(&self) -> Order {
        Order::of(&self.first)
    }

    /// The columns of the scan that come out, or that rows are sorted by, each once.
    pub fn needed_columns(&self) -> Vec<Column> {
        let more = self.more.iter().map(|key| &key.expr);
        let columns = self.outputs.iter().chain(more).flat_map(Expr::column_refs);
        let columns: BTreeSet<&Column> = columns.collect();
        let of_scan = |column: &&Column| self.scan.schema().has_column(column);
        columns.into_iter().filter(of_scan).cloned().collect()
    }

    /// Whether the key is of the distance of a vector column of a collection, and a search can evaluate the filters.
    ///
    /// # Errors
    /// None; the walk over an expression can fail in general.
    pub fn is_search(&self, distance: &Distance) -> Result<bool> {
        let LogicalPlan::TableScan(scan) = &self.scan else {
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
        let call = Score::of(&self.key).1;
        for filter in &self.filters {
            if !is_filter_of_search(filter, call, scan)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
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

/// Expressions over a plan, under the names of a schema.
///
/// # Errors
/// When the plan does not have their columns.
pub(super) fn named(
    exprs: impl Iterator<Item = Expr>,
    schema: &DFSchema,
    plan: LogicalPlan,
) -> Result<LogicalPlan> {
    let exprs = exprs.zip(schema.iter());
    let exprs = exprs.map(|(expr, (qualifier, field))| named_as(expr, qualifier, field.name()));
    let projection = Projection::try_new(exprs.collect(), Arc::new(plan))?;
    Ok(LogicalPlan::Projection(projection))
}

fn named_as(expr: Expr, qualifier: Option<&TableReference>, name: &str) -> Expr {
    match &expr {
        Expr::Column(c) if c.relation.as_ref() == qualifier && c.name == name => expr,
        _ => expr.alias_qualified(qualifier.cloned(), name),
    }
}
