//! UNION of doubles and decimals: its column is a double. DataFusion makes it a decimal, which has neither NaN nor the range of
//! doubles.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Union, cast};

/// The plan with doubles wherever a UNION has them.
///
/// # Errors
/// Those of DataFusion's nodes.
pub(super) fn as_doubles(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut is_mixed = false;
    plan.apply_with_subqueries(|node| {
        is_mixed = matches!(node, LogicalPlan::Union(union) if has_mixed(union));
        Ok(match is_mixed {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    })?;
    match is_mixed {
        true => Ok(plan.transform_up_with_subqueries(in_node)?.data),
        false => Ok(plan),
    }
}

fn in_node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let plan = match plan {
        LogicalPlan::Union(union) if has_mixed(&union) => of_doubles(&union)?,
        other => other.recompute_schema()?,
    };
    Ok(Transformed::yes(plan))
}

fn has_mixed(union: &Union) -> bool {
    (0..union.schema.fields().len()).any(|column| is_mixed(union, column))
}

/// Whether a column has both doubles and decimals.
fn is_mixed(union: &Union, column: usize) -> bool {
    let any = |is_kind: fn(&DataType) -> bool| {
        let mut inputs = union.inputs.iter();
        inputs.any(|input| has_kind(input, column, is_kind))
    };
    any(DataType::is_floating) && any(is_decimal)
}

fn is_decimal(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Decimal128(..))
}

/// Whether values of a kind are in a column; a UNION below has not told its types yet.
fn has_kind(plan: &LogicalPlan, column: usize, is_kind: fn(&DataType) -> bool) -> bool {
    match plan {
        LogicalPlan::Union(union) => {
            let mut inputs = union.inputs.iter();
            inputs.any(|input| has_kind(input, column, is_kind))
        }
        other => is_kind(other.schema().field(column).data_type()),
    }
}

fn of_doubles(union: &Union) -> Result<LogicalPlan> {
    let columns = 0..union.schema.fields().len();
    let mixed: Vec<bool> = columns.map(|column| is_mixed(union, column)).collect();
    let inputs = union.inputs.iter().map(|input| {
        let fields = input.schema().fields().iter().zip(&mixed);
        let mut fields =
            fields.map(|(field, is_mixed)| *is_mixed && !field.data_type().is_floating());
        match fields.any(|is_to_change| is_to_change) {
            true => input_of_doubles(input, &mixed).map(Arc::new),
            false => Ok(Arc::clone(input)),
        }
    });
    let inputs = inputs.collect::<Result<Vec<_>>>()?;
    Ok(LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?))
}

fn input_of_doubles(input: &LogicalPlan, mixed: &[bool]) -> Result<LogicalPlan> {
    let schema: &DFSchema = input.schema();
    let columns = schema.iter().zip(mixed);
    let columns = columns.map(|((table, field), is_mixed)| {
        let column = Expr::from((table, field));
        match is_mixed {
            true => cast(column, DataType::Float64).alias_qualified(table.cloned(), field.name()),
            false => column,
        }
    });
    let columns: Vec<Expr> = columns.collect();
    LogicalPlanBuilder::from(input.clone())
        .project(columns)?
        .build()
}
