//! COPY .. TO in PostgreSQL's formats as a plan node: over any query, to the client or a file.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, DFSchemaRef, Result as DataFusionResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
};
use datafusion::physical_expr::{Distribution, EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{
    Boundedness, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, execute_stream,
};
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};

use super::dialect::Dialect;
use super::encode::Encoder;
use super::payloads::payloads;
use super::progress::CopyProgress;
use super::write_file::write_file;
use crate::catalog::plan_node::only_input;
use crate::error::{Error, Result};
use crate::sql::format::{Format, RowEncoder, Style};

/// How rows go out, and where to.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) dialect: Dialect,
    /// Columns that are written in quotes whatever they hold.
    pub(super) force_quote: Vec<bool>,
    pub(super) style: Style,
    /// The file; `None` for the client.
    pub(super) file: Option<(PathBuf, CompressionTypeVariant)>,
    pub(super) progress: Arc<CopyProgress>,
}

impl Way {
    fn schema(&self) -> SchemaRef {
        let field = match self.file {
            None => Field::new("copy", DataType::Binary, false),
            Some(_) => Field::new("count", DataType::UInt64, false),
        };
        Arc::new(Schema::new(vec![field]))
    }

    fn encoder(&self, schema: &Schema) -> Result<Encoder> {
        let format = match self.dialect {
            Dialect::Lines(_) => Format::Text,
            Dialect::Binary => Format::Binary,
        };
        let rows = RowEncoder::try_new(schema, &[format], &self.style)?;
        let (dialect, force_quote) = (self.dialect.clone(), self.force_quote.clone());
        Ok(Encoder::new(rows, dialect, force_quote))
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = match &self.dialect {
            Dialect::Binary => "binary",
            Dialect::Lines(format) if format.quoting.is_some() => "csv",
            Dialect::Lines(_) => "text",
        };
        match &self.file {
            Some((path, _)) => write!(f, "format={format}, file={}", path.display()),
            None => write!(f, "format={format}"),
        }
    }
}

/// COPY .. TO over a query. Its rows are payloads for the client, or one number of rows.
#[derive(Debug, Clone)]
pub(super) struct CopyOutNode {
    input: LogicalPlan,
    way: Arc<Way>,
    schema: DFSchemaRef,
}

impl CopyOutNode {
    /// The plan of one COPY .. TO.
    pub(super) fn plan(input: LogicalPlan, way: Way) -> Result<LogicalPlan> {
        let schema = Arc::new(DFSchema::try_from(way.schema())?);
        let way = Arc::new(way);
        let node = Arc::new(Self { input, way, schema });
        Ok(LogicalPlan::Extension(Extension { node }))
    }
}

// Two of them are the same only if they are one: a file that is written twice is not written once.
impl PartialEq for CopyOutNode {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.way, &other.way) && self.input == other.input
    }
}

impl Eq for CopyOutNode {}

impl Hash for CopyOutNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.input.hash(state);
    }
}

impl PartialOrd for CopyOutNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for CopyOutNode {
    fn name(&self) -> &str {
        "CopyOut"
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
        write!(f, "CopyOut: {}", self.way)
    }

    fn with_exprs_and_inputs(
        &self,
        _exprs: Vec<Expr>,
        inputs: Vec<LogicalPlan>,
    ) -> DataFusionResult<Self> {
        Ok(Self {
            input: only_input(self, inputs)?,
            ..self.clone()
        })
    }
}

/// Makes the operator of COPY .. TO.
#[derive(Debug, Clone, Copy, Default)]
pub struct CopyPlanner;

#[async_trait]
impl ExtensionPlanner for CopyPlanner {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        _session: &dyn Session,
        _planning: &PhysicalPlanningContext,
    ) -> DataFusionResult<Option<Arc<dyn ExecutionPlan>>> {
        let Some(node) = node.as_any().downcast_ref::<CopyOutNode>() else {
            return Ok(None);
        };
        let input = Arc::clone(&physical_inputs[0]);
        Ok(Some(Arc::new(CopyOutExec::new(
            input,
            Arc::clone(&node.way),
        ))))
    }
}

/// Encodes the rows of its input, in their order.
#[derive(Debug)]
struct CopyOutExec {
    input: Arc<dyn ExecutionPlan>,
    way: Arc<Way>,
    properties: Arc<PlanProperties>,
}

impl CopyOutExec {
    fn new(input: Arc<dyn ExecutionPlan>, way: Arc<Way>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(way.schema()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self {
            input,
            way,
            properties: Arc::new(properties),
        }
    }
}

impl DisplayAs for CopyOutExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "CopyOutExec: {}", self.way)
    }
}

impl ExecutionPlan for CopyOutExec {
    fn name(&self) -> &str {
        "CopyOutExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        vec![Distribution::SinglePartition]
    }

    /// Keeps the query's ORDER BY, which no operator above asks for.
    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DataFusionResult<TreeNodeRecursion>,
    ) -> DataFusionResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let input = children.pop();
        let input = input.ok_or_else(|| Error::internal("COPY takes one input"))?;
        Ok(Arc::new(Self::new(input, Arc::clone(&self.way))))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        self.replace_children(children, options)
    }

    fn execute(
        &self,
        _partition: usize,
        context: Arc<TaskContext>,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        let way = Arc::clone(&self.way);
        let schema = way.schema();
        let encoder = way.encoder(&self.input.schema())?;
        let rows = execute_stream(Arc::clone(&self.input), context)?;
        let running = way.progress.begin(0);
        let payloads = payloads(rows, encoder, Arc::clone(&way.progress));
        let payloads = payloads.inspect(move |_| _ = &running);
        let output = match &way.file {
            None => {
                let batch_schema = Arc::clone(&schema);
                payloads
                    .map(move |payloads| {
                        let column = Arc::new(payloads?.into_array()?);
                        Ok(RecordBatch::try_new(
                            Arc::clone(&batch_schema),
                            vec![column],
                        )?)
                    })
                    .boxed()
            }
            Some((path, compression)) => {
                let (path, compression) = (path.clone(), *compression);
                let batch_schema = Arc::clone(&schema);
                let written = async move {
                    let bytes = payloads.map_ok(|p| p.into_bytes()).boxed();
                    write_file(path, compression, bytes).await?;
                    let count = UInt64Array::from(vec![way.progress.rows()]);
                    Ok(RecordBatch::try_new(batch_schema, vec![Arc::new(count)])?)
                };
                stream::once(written.boxed()).boxed()
            }
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, output)))
    }
}
