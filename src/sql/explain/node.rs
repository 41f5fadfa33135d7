//! EXPLAIN as a plan node: it plans its input as if it stood alone, and runs it for ANALYZE.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::Session as DataFusionSession;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, DFSchemaRef, Result as DataFusionResult, plan_err};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
    SendableRecordBatchStream, execute_stream,
};
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};
use futures::{FutureExt, TryStreamExt, stream};

use super::options::{ExplainOptions, PlanFormat};
use super::render::Explained;
use crate::error::Result;
use crate::storage::schema::SQL_TYPE_KEY;

/// The one column of the answer.
const COLUMN: &str = "QUERY PLAN";

/// What EXPLAIN shows, but for the plan itself.
#[derive(Debug, Clone)]
struct Request {
    options: ExplainOptions,
    settings: Vec<String>,
    /// When planning began.
    began: Instant,
}

/// EXPLAIN of its input.
#[derive(Debug, Clone)]
pub struct ExplainNode {
    request: Arc<Request>,
    input: LogicalPlan,
    schema: DFSchemaRef,
}

/// The plan of EXPLAIN of `input`, whose planning began at `began`; `settings` are the variables to show.
///
/// # Errors
/// Those of options that do not go together.
pub fn explain(
    options: ExplainOptions,
    settings: Vec<String>,
    began: Instant,
    input: LogicalPlan,
) -> Result<LogicalPlan> {
    options.check()?;
    let schema = Arc::new(DFSchema::try_from(schema(options.format))?);
    let request = Arc::new(Request {
        options,
        settings,
        began,
    });
    let node = Arc::new(ExplainNode {
        request,
        input,
        schema,
    });
    Ok(LogicalPlan::Extension(Extension { node }))
}

/// The schema of an answer in that format.
pub fn schema(format: PlanFormat) -> SchemaRef {
    let field = Field::new(COLUMN, DataType::Utf8, false);
    let field = match format {
        PlanFormat::Json => {
            let metadata = [(SQL_TYPE_KEY.to_string(), "json".to_string())];
            field.with_metadata(metadata.into())
        }
        PlanFormat::Text | PlanFormat::Tree => field,
    };
    Arc::new(Schema::new(vec![field]))
}

impl PartialEq for ExplainNode {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.request, &other.request) && self.input == other.input
    }
}

impl Eq for ExplainNode {}

impl Hash for ExplainNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.request.options.hash(state);
        self.input.hash(state);
    }
}

impl PartialOrd for ExplainNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.input.partial_cmp(&other.input)
    }
}

impl UserDefinedLogicalNodeCore for ExplainNode {
    fn name(&self) -> &str {
        "Explain"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Explain")
    }

    fn with_exprs_and_inputs(
        &self,
        exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> DataFusionResult<Self> {
        match (inputs.pop(), inputs.is_empty() && exprs.is_empty()) {
            (Some(input), true) => Ok(Self {
                input,
                ..self.clone()
            }),
            _ => plan_err!("EXPLAIN has one input"),
        }
    }
}

/// Makes [`ExplainExec`] of [`ExplainNode`].
#[derive(Debug, Default)]
pub struct ExplainPlanner;

#[async_trait]
impl ExtensionPlanner for ExplainPlanner {
    /// Plans the input apart: below another node, the order of its rows and their partitions would be nobody's wish.
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        logical_inputs: &[&LogicalPlan],
        _physical_inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn DataFusionSession,
        _planning: &PhysicalPlanningContext,
    ) -> DataFusionResult<Option<Arc<dyn ExecutionPlan>>> {
        let (Some(node), [input]) = (node.as_any().downcast_ref::<ExplainNode>(), logical_inputs)
        else {
            return Ok(None);
        };
        let physical = planner.create_physical_plan(input, session).await?;
        let schema = Arc::clone(node.schema.inner());
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Ok(Some(Arc::new(ExplainExec {
            request: Arc::clone(&node.request),
            logical: Arc::new(LogicalPlan::clone(input)),
            physical,
            properties: Arc::new(properties),
        })))
    }
}

/// Shows a plan. The plan is no child: what is above must not change it.
#[derive(Debug)]
struct ExplainExec {
    request: Arc<Request>,
    logical: Arc<LogicalPlan>,
    physical: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl DisplayAs for ExplainExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("ExplainExec")
    }
}

impl ExecutionPlan for ExplainExec {
    fn name(&self) -> &str {
        "ExplainExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DataFusionResult<TreeNodeRecursion>,
    ) -> DataFusionResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(
        &self,
        _partition: usize,
        context: Arc<TaskContext>,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        let planning = self.request.began.elapsed();
        let (request, schema) = (Arc::clone(&self.request), self.schema());
        let (logical, physical) = (Arc::clone(&self.logical), Arc::clone(&self.physical));
        let answered = Arc::clone(&schema);
        let rows = async move {
            let running = match request.options.analyze {
                true => {
                    let began = Instant::now();
                    let rows = execute_stream(Arc::clone(&physical), context)?;
                    rows.try_for_each(|_| async { Ok(()) }).await?;
                    Some(began.elapsed())
                }
                false => None,
            };
            let explained = Explained {
                options: &request.options,
                logical: &logical,
                physical: physical.as_ref(),
                settings: &request.settings,
                planning,
                running,
            };
            let lines: ArrayRef = Arc::new(StringArray::from(explained.rows()?));
            Ok(RecordBatch::try_new(answered, vec![lines])?)
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            schema,
            stream::once(rows.boxed()),
        )))
    }
}
