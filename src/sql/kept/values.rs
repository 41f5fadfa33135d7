//! VALUES whose rows are computed when they are read: DataFusion computes them when it plans, which is once for all
//! executions of operators that are kept.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::{cast, concat};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{DFSchema, DFSchemaRef, Result, exec_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::logical_plan::Values;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};
use futures::stream;

use crate::catalog::expressions::ONE_ROW;

/// VALUES as [`ValuesExec`] computes them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ValuesNode {
    schema: DFSchemaRef,
    rows: Vec<Vec<Expr>>,
}

impl PartialOrd for ValuesNode {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.rows.partial_cmp(&other.rows)
    }
}

impl UserDefinedLogicalNodeCore for ValuesNode {
    fn name(&self) -> &str {
        "ComputedValues"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        Vec::new()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.rows.iter().flatten().cloned().collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "ComputedValues: rows={}", self.rows.len())
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, _inputs: Vec<LogicalPlan>) -> Result<Self> {
        let columns = self.schema.fields().len().max(1);
        Ok(Self {
            schema: Arc::clone(&self.schema),
            rows: exprs.chunks(columns).map(<[Expr]>::to_vec).collect(),
        })
    }
}

/// The plan with VALUES that are computed at each execution.
pub(super) fn with_computed_values(plan: LogicalPlan) -> Result<LogicalPlan> {
    let computed = plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Values(Values { schema, values }) => {
            let node = Arc::new(ValuesNode {
                schema,
                rows: values,
            });
            Ok(Transformed::yes(LogicalPlan::Extension(Extension { node })))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(computed.data)
}

/// Makes the operator of VALUES that are computed at each execution.
#[derive(Debug, Clone, Copy, Default)]
pub struct ValuesPlanner;

#[async_trait]
impl ExtensionPlanner for ValuesPlanner {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        _physical_inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        _planning_ctx: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(node) = node.as_any().downcast_ref::<ValuesNode>() else {
            return Ok(None);
        };
        let nothing = DFSchema::empty();
        let physical = |expr: &Expr| session.create_physical_expr(expr.clone(), &nothing);
        let row = |row: &Vec<Expr>| row.iter().map(physical).collect::<Result<Vec<_>>>();
        let rows = node.rows.iter().map(row).collect::<Result<Vec<_>>>()?;
        let schema = Arc::clone(node.schema.inner());
        Ok(Some(Arc::new(ValuesExec::new(schema, rows))))
    }
}

/// The rows that expressions without columns give, computed one after the other in one batch.
#[derive(Debug)]
pub(super) struct ValuesExec {
    rows: Arc<[Vec<Arc<dyn PhysicalExpr>>]>,
    properties: Arc<PlanProperties>,
}

impl ValuesExec {
    fn new(schema: SchemaRef, rows: Vec<Vec<Arc<dyn PhysicalExpr>>>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self {
            rows: rows.into(),
            properties: Arc::new(properties),
        }
    }
}

impl DisplayAs for ValuesExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "ValuesExec: rows={}", self.rows.len())
    }
}

impl ExecutionPlan for ValuesExec {
    fn name(&self) -> &str {
        "ValuesExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let mut exprs = self.rows.iter().flatten();
        exprs.try_fold(TreeNodeRecursion::Continue, |_, expr| f(expr))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match children.is_empty() {
            true => Ok(self),
            false => exec_err!("VALUES have no input"),
        }
    }

    fn execute(
        &self,
        _partition: usize,
        _context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let (rows, schema) = (Arc::clone(&self.rows), self.schema());
        let batch = stream::once(async move { computed(&rows, &schema) });
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema(),
            batch,
        )))
    }
}

/// All rows, the values of a row from left to right before those of the next.
fn computed(rows: &[Vec<Arc<dyn PhysicalExpr>>], schema: &SchemaRef) -> Result<RecordBatch> {
    let mut columns: Vec<Vec<ArrayRef>> =
        vec![Vec::with_capacity(rows.len()); schema.fields().len()];
    for row in rows {
        for ((expr, column), field) in row.iter().zip(&mut columns).zip(schema.fields()) {
            let value = expr.evaluate(&ONE_ROW)?.into_array(1)?;
            column.push(match value.data_type() == field.data_type() {
                true => value,
                false => cast(&value, field.data_type())?,
            });
        }
    }
    let arrays = columns.iter().map(|column| match column.as_slice() {
        [value] => Ok(Arc::clone(value)),
        values => concat(&values.iter().map(AsRef::as_ref).collect::<Vec<_>>()),
    });
    let arrays = arrays.collect::<std::result::Result<Vec<_>, _>>()?;
    let count = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        arrays,
        &count,
    )?)
}
