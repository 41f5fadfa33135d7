//! The places of lambdas' parameters where asynchronous functions are called.
//!
//! A parameter of a lambda has the place behind the columns of the input. DataFusion calls asynchronous functions in a node
//! of its own, whose output has their results behind the columns too, and leaves the parameters at their places, where a
//! result is now. They are moved behind it.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::LambdaVariable;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::async_func::AsyncFuncExec;
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};

/// Moves the parameters of lambdas above each [`AsyncFuncExec`]. It must run once, on the plan as it was made.
#[derive(Debug, Default)]
pub(crate) struct LambdaPlacesRule;

impl PhysicalOptimizerRule for LambdaPlacesRule {
    fn name(&self) -> &str {
        "lambda_places"
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            let moved = if let Some(projection) = node.downcast_ref::<ProjectionExec>() {
                projected(projection)?
            } else if let Some(filter) = node.downcast_ref::<FilterExec>() {
                filtered(filter)?
            } else {
                None
            };
            Ok(match moved {
                Some(moved) => Transformed::yes(moved),
                None => Transformed::no(node),
            })
        })
        .data()
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn projected(projection: &ProjectionExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(results) = Results::of(projection.input()) else {
        return Ok(None);
    };
    let mut has_moved = false;
    let mut columns = Vec::with_capacity(projection.expr().len());
    for column in projection.expr() {
        let moved = results.skip(&column.expr)?;
        has_moved |= moved.transformed;
        columns.push(ProjectionExpr {
            expr: moved.data,
            alias: column.alias.clone(),
        });
    }
    if !has_moved {
        return Ok(None);
    }
    let schema = projection.schema();
    let input = Arc::clone(projection.input());
    let moved = ProjectionExec::try_new_with_schema_metadata(columns, input, &schema)?;
    Ok(Some(Arc::new(moved)))
}

fn filtered(filter: &FilterExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(results) = Results::of(filter.input()) else {
        return Ok(None);
    };
    let moved = results.skip(filter.predicate())?;
    if !moved.transformed {
        return Ok(None);
    }
    let moved = FilterExecBuilder::from(filter)
        .with_predicate(moved.data)
        .build()?;
    Ok(Some(Arc::new(moved)))
}

/// The columns of the results of asynchronous functions.
struct Results {
    first: usize,
    count: usize,
}

impl Results {
    fn of(input: &Arc<dyn ExecutionPlan>) -> Option<Self> {
        let called = input.downcast_ref::<AsyncFuncExec>()?;
        let first = called.input().schema().fields().len();
        Some(Self {
            first,
            count: called.schema().fields().len() - first,
        })
    }

    /// The expression, in which parameters come behind the results.
    fn skip(&self, expr: &Arc<dyn PhysicalExpr>) -> Result<Transformed<Arc<dyn PhysicalExpr>>> {
        Arc::clone(expr).transform_up(|expr| {
            Ok(match expr.downcast_ref::<LambdaVariable>() {
                Some(parameter) if parameter.index() >= self.first => {
                    let place = parameter.index() + self.count;
                    let field = Arc::clone(parameter.field());
                    Transformed::yes(Arc::new(LambdaVariable::new(place, field)))
                }
                _ => Transformed::no(expr),
            })
        })
    }
}
