//! A subquery of one value is NULL where it has no row, whatever its column is.
//!
//! DataFusion takes such a value for nullable when the column is: it folds `(SELECT id ..) IS NULL` to false where `id` is NOT
//! NULL, and refuses the NULL that comes. A function that gives its argument, but may give NULL, stands above the column.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::is_one_row;
use crate::error::Error;

/// The plan, in which values of subqueries may be NULL that may have no row.
pub(super) fn may_be_absent(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut found = false;
    let changed = plan.transform_up_with_subqueries(|plan| {
        let names = NamePreserver::new(&plan);
        let changed = plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let changed = expr.transform_up(nullable)?;
            Ok(changed.update_data(|expr| name.restore(expr)))
        })?;
        found |= changed.transformed;
        match found {
            // What is above learns it from there.
            true => changed.map_data(LogicalPlan::recompute_schema),
            false => Ok(changed),
        }
    })?;
    Ok(changed.data)
}

/// The value of a subquery, made nullable if it is not.
fn nullable(expr: Expr) -> Result<Transformed<Expr>> {
    let Expr::ScalarSubquery(mut subquery) = expr else {
        return Ok(Transformed::no(expr));
    };
    let plan = &subquery.subquery;
    let is_known = plan
        .schema()
        .fields()
        .first()
        .is_some_and(|f| !f.is_nullable());
    if !is_known || is_one_row(plan) {
        return Ok(Transformed::no(Expr::ScalarSubquery(subquery)));
    }
    let (table, field) = plan.schema().qualified_field(0);
    let value = Expr::from((table, field));
    let value = ScalarUDF::from(MaybeAbsent::default())
        .call(vec![value])
        .alias_qualified(table.cloned(), field.name());
    let plan = LogicalPlanBuilder::from(LogicalPlan::clone(plan)).project([value])?;
    subquery.subquery = Arc::new(plan.build()?);
    Ok(Transformed::yes(Expr::ScalarSubquery(subquery)))
}

/// Its argument, as one that may be NULL.
#[derive(Debug, PartialEq, Eq, Hash)]
struct MaybeAbsent {
    signature: Signature,
}

impl Default for MaybeAbsent {
    fn default() -> Self {
        Self {
            // Volatile: of a constant it must not become a constant, which is not NULL.
            signature: Signature::any(1, Volatility::Volatile),
        }
    }
}

impl ScalarUDFImpl for MaybeAbsent {
    fn name(&self) -> &str {
        "maybe_absent"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Err(only_one())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let field = args.arg_fields.first().ok_or_else(only_one)?;
        Ok(Arc::new(Field::clone(field).with_nullable(true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        args.args.into_iter().next().ok_or_else(only_one)
    }
}

fn only_one() -> DataFusionError {
    Error::internal("the value of a subquery is one argument").into()
}
