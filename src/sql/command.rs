//! Commands as plan nodes: they have a fixed schema, and act when their node is executed.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{
    DFSchema, DFSchemaRef, Result as DataFusionResult, TableReference, plan_err,
};
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
    SendableRecordBatchStream,
};
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

use crate::error::Result;

/// What a command does when its node is executed: its rows, in the node's schema.
pub type Action = Arc<dyn Fn() -> BoxFuture<'static, Result<RecordBatch>> + Send + Sync>;

/// The rows of a command that makes them one batch after another.
pub type Stream = BoxStream<'static, Result<RecordBatch>>;

/// What such a command does when its node is executed.
pub type StreamAction = Arc<dyn Fn() -> Stream + Send + Sync>;

/// What a command does with the query that is below its node.
pub type QueryAction = Arc<dyn Fn(&LogicalPlan) -> StreamAction + Send + Sync>;

/// The schema of a command that answers with a number of rows.
pub fn count_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new(
        "count",
        DataType::UInt64,
        false,
    )]))
}

/// A command in a logical plan.
#[derive(Clone)]
pub struct CommandNode {
    label: String,
    action: StreamAction,
    schema: DFSchemaRef,
    /// The query whose parameters are not bound yet, and what to do with it.
    query: Option<(LogicalPlan, QueryAction)>,
}

impl CommandNode {
    /// A plan of one command that takes a query with parameters, which are bound as those of any plan.
    ///
    /// # Errors
    /// None that callers can cause.
    pub fn plan_query(
        label: impl Into<String>,
        schema: &SchemaRef,
        query: LogicalPlan,
        action: QueryAction,
    ) -> Result<LogicalPlan> {
        let node = Arc::new(Self {
            label: label.into(),
            action: action(&query),
            schema: Arc::new(with_twins(schema)?),
            query: Some((query, action)),
        });
        Ok(LogicalPlan::Extension(Extension { node }))
    }

    /// A plan of one command. `label` is what EXPLAIN shows.
    ///
    /// # Errors
    /// None that callers can cause.
    pub fn plan(
        label: impl Into<String>,
        schema: SchemaRef,
        action: Action,
    ) -> Result<LogicalPlan> {
        let rows = move || stream::once(action()).boxed();
        Self::plan_stream(label, schema, Arc::new(rows))
    }

    /// A plan of one command whose rows need not be there all at once.
    ///
    /// # Errors
    /// None that callers can cause.
    pub fn plan_stream(
        label: impl Into<String>,
        schema: SchemaRef,
        action: StreamAction,
    ) -> Result<LogicalPlan> {
        let schema = Arc::new(with_twins(&schema)?);
        let node = Arc::new(Self {
            label: label.into(),
            action,
            schema,
            query: None,
        });
        Ok(LogicalPlan::Extension(Extension { node }))
    }
}

/// The schema, in which columns of one name belong to tables of their own: cursors may have such.
fn with_twins(schema: &SchemaRef) -> Result<DFSchema> {
    let mut columns: HashMap<&str, usize> = HashMap::new();
    for field in schema.fields() {
        *columns.entry(field.name()).or_default() += 1;
    }
    let table = |(place, field): (usize, &FieldRef)| {
        let has_twin = columns[field.name().as_str()] > 1;
        has_twin.then(|| TableReference::bare(format!("column_{place}")))
    };
    let tables = schema.fields().iter().enumerate().map(table).collect();
    Ok(DFSchema::from_field_specific_qualified_schema(
        tables, schema,
    )?)
}

impl fmt::Debug for CommandNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandNode")
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

// Two commands are the same only if they are one: acting twice is not acting once.
impl PartialEq for CommandNode {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.action, &other.action)
    }
}

impl Eq for CommandNode {}

impl Hash for CommandNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.label.hash(state);
    }
}

impl PartialOrd for CommandNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for CommandNode {
    fn name(&self) -> &str {
        "Command"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        self.query.iter().map(|(query, _)| query).collect()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.label)
    }

    fn with_exprs_and_inputs(
        &self,
        exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> DataFusionResult<Self> {
        match (
            &self.query,
            inputs.pop(),
            inputs.is_empty() && exprs.is_empty(),
        ) {
            (None, None, true) => Ok(self.clone()),
            (Some((_, action)), Some(query), true) => Ok(Self {
                action: action(&query),
                query: Some((query, Arc::clone(action))),
                ..self.clone()
            }),
            _ => plan_err!("a command has other inputs"),
        }
    }
}

/// Makes [`CommandExec`] of [`CommandNode`].
#[derive(Debug, Default)]
pub struct CommandPlanner;

#[async_trait]
impl ExtensionPlanner for CommandPlanner {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        _physical_inputs: &[Arc<dyn ExecutionPlan>],
        _session: &dyn Session,
        _planning: &PhysicalPlanningContext,
    ) -> DataFusionResult<Option<Arc<dyn ExecutionPlan>>> {
        let Some(node) = node.as_any().downcast_ref::<CommandNode>() else {
            return Ok(None);
        };
        Ok(Some(Arc::new(CommandExec::new(node))))
    }
}

/// Runs a command when it is polled.
struct CommandExec {
    label: String,
    action: StreamAction,
    properties: Arc<PlanProperties>,
}

impl CommandExec {
    fn new(node: &CommandNode) -> Self {
        let schema = Arc::clone(node.schema.inner());
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self {
            label: node.label.clone(),
            action: Arc::clone(&node.action),
            properties: Arc::new(properties),
        }
    }
}

impl fmt::Debug for CommandExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandExec")
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

impl DisplayAs for CommandExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "CommandExec: {}", self.label)
    }
}

impl ExecutionPlan for CommandExec {
    fn name(&self) -> &str {
        "CommandExec"
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
        _context: Arc<TaskContext>,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        let rows = (self.action)().map_err(Into::into);
        let schema = Arc::clone(self.properties.eq_properties.schema());
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}
