//! From the search in a logical plan to the operator.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::{Column, DFSchema, ExprSchema, Result};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    Expr, LogicalPlan, Operator, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::conjunction_opt;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};

use super::exec::{Limit, Search, VectorTopKExec};
use super::node::{Distance, VectorTopK, with_distance_column};
use super::order::Order;
use super::score::Score;
use crate::catalog::options::ShelfmarkOptions;
use crate::catalog::scan::CollectionScanExec;
use crate::error::Error;
use crate::storage::schema::field_id;

/// Makes a [`VectorTopKExec`] of a [`VectorTopK`].
#[derive(Debug, Default)]
pub struct VectorTopKPlanner;

#[async_trait]
impl ExtensionPlanner for VectorTopKPlanner {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        planning: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(node) = node.as_any().downcast_ref::<VectorTopK>() else {
            return Ok(None);
        };
        let ([input], [scan]) = (logical_inputs, physical_inputs) else {
            return Err(Error::internal("a vector search has one input").into());
        };
        let scan = scan_of(scan)?;
        let physical = |expr: &Expr, schema: &DFSchema| {
            planner.create_physical_expr(expr, schema, session, planning)
        };
        let (_, call) = Score::of(&node.key);
        let lost = || Error::internal("a vector search lost its distance");
        let parts = Parts {
            key: &node.key,
            distance: Distance::of(call).ok_or_else(lost)?,
            queries: &DFSchema::empty(),
            filters: &node.filters,
            order: node.order,
            k: node.k,
            ties: node.ties,
            columns: &node.columns,
            output: Arc::clone(UserDefinedLogicalNodeCore::schema(node).inner()),
        };
        let search = search(parts, input.schema(), scan, physical)?;
        let prune = ShelfmarkOptions::prunes(session.config_options());
        let source = Arc::clone(scan.source());
        Ok(Some(Arc::new(VectorTopKExec::new(source, search, prune))))
    }
}

/// The scan that a search is made of.
///
/// # Errors
/// XX000 when it is something else.
pub(super) fn scan_of(plan: &Arc<dyn ExecutionPlan>) -> Result<&CollectionScanExec> {
    let message = || format!("a vector search over {}, which is no scan", plan.name());
    let scan = plan.downcast_ref::<CollectionScanExec>();
    Ok(scan.ok_or_else(|| Error::internal(message()))?)
}

/// A search in logical expressions.
pub(super) struct Parts<'a> {
    /// What rows are sorted by, over the distance.
    pub key: &'a Expr,
    pub distance: Distance<'a>,
    /// The columns that the query may read.
    pub queries: &'a DFSchema,
    pub filters: &'a [Expr],
    pub order: Order,
    pub k: usize,
    pub ties: bool,
    pub columns: &'a [Column],
    /// The columns and the key.
    pub output: SchemaRef,
}

/// The search of parts over a scan with the columns of `input`.
///
/// # Errors
/// When the input has no such columns.
pub(super) fn search(
    parts: Parts,
    input: &DFSchema,
    scan: &CollectionScanExec,
    physical: impl Fn(&Expr, &DFSchema) -> Result<Arc<dyn PhysicalExpr>>,
) -> Result<Search> {
    let lost = |what: &str| Error::internal(format!("a vector search lost its {what}"));
    let (score, call) = Score::of(parts.key);
    let distance = parts.distance;
    let vector = input.field_from_column(distance.column)?;
    let place = |column: &Column| input.index_of_column(column);
    let columns = parts.columns.iter().map(place);
    let columns: Vec<usize> = columns.collect::<Result<_>>()?;
    let of_distance = distance_schema()?;
    let (mut scalar, mut measured, mut limits) = (Vec::new(), Vec::new(), Vec::new());
    for filter in parts.filters {
        let nested = |c: &&Column| {
            let field = input.field_from_column(c);
            field.is_ok_and(|f| f.data_type().is_nested())
        };
        if filter.column_refs().iter().any(nested) {
            if let Some((of_score, value)) = limit(filter, parts.key, parts.order) {
                let value = physical(value, &DFSchema::empty())?;
                limits.push(Limit { of_score, value });
            }
            let filter = with_distance_column(filter.clone(), call)?;
            measured.push(physical(&filter, &of_distance)?);
        } else {
            scalar.push(physical(filter, input)?);
        }
    }
    Ok(Search {
        metric: distance.metric,
        score,
        vector: field_id(vector).ok_or_else(|| lost("vector column"))?,
        vector_name: vector.name().clone(),
        query: physical(distance.query, parts.queries)?,
        filter: conjunction_opt(scalar),
        distance_filter: conjunction_opt(measured),
        limits,
        order: parts.order,
        k: parts.k,
        ties: parts.ties,
        table: scan.schema(),
        columns: columns.iter().map(|i| scan.request().columns[*i]).collect(),
        output: parts.output,
    })
}

/// What a filter says that no winner exceeds, when it says so of the key (`true`) or of the distance that comes first
/// when it is small.
fn limit<'a>(filter: &'a Expr, key: &Expr, order: Order) -> Option<(bool, &'a Expr)> {
    let Expr::BinaryExpr(binary) = filter else {
        return None;
    };
    let (op, of, value) = match binary.left.any_column_refs() {
        true => (binary.op, binary.left.as_ref(), binary.right.as_ref()),
        false => (
            binary.op.swap()?,
            binary.right.as_ref(),
            binary.left.as_ref(),
        ),
    };
    if value.any_column_refs() || value.is_volatile() {
        return None;
    }
    let (score, call) = Score::of(key);
    let is_below = matches!(op, Operator::Lt | Operator::LtEq);
    let is_above = matches!(op, Operator::Gt | Operator::GtEq);
    let descending = order.descending;
    if of == key && (if descending { is_above } else { is_below }) {
        return Some((true, value));
    }
    (of == call && is_below && descending == score.is_decreasing()).then_some((false, value))
}

/// What filters on the distance read.
fn distance_schema() -> Result<DFSchema> {
    let column = VectorTopK::distance_column();
    let field = Field::new(column.name, DataType::Float64, true);
    DFSchema::new_with_metadata(vec![(column.relation, Arc::new(field))], Default::default())
}
