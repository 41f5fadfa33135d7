//! INSERT, UPDATE and DELETE as plan nodes.
//!
//! The input of a [`DmlNode`] is an ordinary query, so that DataFusion optimises it with its subqueries and joins. The
//! node acts when it is executed, in one commit or in the transaction that is open, and gives back one row: how many rows it changed.

mod exec;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, DFSchemaRef, Result, plan_err};
use datafusion::execution::SessionState;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};

pub use self::exec::DmlExec;
use self::exec::Replan;
use super::assign::{Assignment, check_assignable};
use super::checks::Checks;
use crate::error::Error;
use crate::storage::collection::Collection;
use crate::storage::engine::Engine;
use crate::storage::schema::CollectionId;

/// What a statement does to the rows of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Adds the input's rows: all columns of the collection in order.
    Insert,
    /// Replaces the rows at the input's addresses by the input's rows: `_segment`, `_row`, then all columns.
    Update,
    /// Removes the rows at the input's addresses: `_segment`, `_row`.
    Delete,
}

impl Operation {
    /// Columns of the input before those of the collection.
    pub fn address_columns(self) -> usize {
        match self {
            Self::Insert => 0,
            Self::Update | Self::Delete => 2,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Insert => "Insert",
            Self::Update => "Update",
            Self::Delete => "Delete",
        })
    }
}

/// The collection that a statement changes, as it was when the statement was planned.
#[derive(Clone)]
pub(super) struct Target {
    engine: Arc<Engine>,
    collection: Arc<Collection>,
    /// What new rows must pass; known when the operator is made.
    checks: Option<Arc<Checks>>,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.collection.name)
    }
}

impl Target {
    /// The same with the checks of the collection, whose conditions are planned in `session`.
    fn checked(&self, session: &dyn Session) -> crate::error::Result<Self> {
        let mut target = self.clone();
        if !self.collection.schema.checks.is_empty() {
            let state = session.as_any().downcast_ref::<SessionState>();
            let state = state.ok_or_else(|| {
                Error::unsupported("a collection with checks takes rows from a DataFusion session")
            })?;
            target.checks = Checks::of(&self.collection, state)?;
        }
        Ok(target)
    }
}

/// A statement that changes rows of a collection; its output is one row, `count` UInt64.
#[derive(Debug, Clone)]
pub struct DmlNode {
    target: Target,
    operation: Operation,
    input: LogicalPlan,
    schema: DFSchemaRef,
}

impl DmlNode {
    /// The plan of the operation.
    ///
    /// # Errors
    /// 42601 for another number of columns than the collection has, 42804 for types that cannot be assigned.
    pub fn plan(
        engine: Arc<Engine>,
        collection: Arc<Collection>,
        operation: Operation,
        input: LogicalPlan,
    ) -> crate::error::Result<LogicalPlan> {
        check_input(&collection, operation, input.schema().as_arrow())?;
        let node = Self {
            target: Target {
                engine,
                collection,
                checks: None,
            },
            operation,
            input,
            schema: Arc::new(DFSchema::try_from(count_schema())?),
        };
        Ok(LogicalPlan::Extension(Extension {
            node: Arc::new(node),
        }))
    }

    /// What it does.
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// To what.
    pub fn collection(&self) -> &Arc<Collection> {
        &self.target.collection
    }

    fn identity(&self) -> (CollectionId, Operation) {
        (self.target.collection.id, self.operation)
    }
}

/// That the input has the columns that the operation takes.
fn check_input(
    collection: &Collection,
    operation: Operation,
    input: &Schema,
) -> crate::error::Result<()> {
    let address = operation.address_columns();
    let fields = input.fields();
    let wrong = || Error::internal(format!("{operation} takes _segment, _row, not {input}"));
    if address > 0 {
        let types: Vec<_> = fields.iter().map(|f| f.data_type()).take(2).collect();
        if types != [&DataType::UInt64, &DataType::UInt32] {
            return Err(wrong());
        }
    }
    match operation {
        Operation::Delete if fields.len() == 2 => Ok(()),
        Operation::Delete => Err(wrong()),
        Operation::Insert => {
            Assignment::new(&collection.name, Arc::clone(&collection.schema)).check(input)
        }
        Operation::Update if fields.len() != 2 + collection.schema.columns.len() => Err(wrong()),
        Operation::Update => {
            let values = fields[2..].iter().zip(&collection.schema.columns);
            values
                .into_iter()
                .try_for_each(|(field, column)| check_assignable(field.data_type(), column))
        }
    }
}

/// The schema of the output.
pub(super) fn count_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new(
        "count",
        DataType::UInt64,
        false,
    )]))
}

impl PartialEq for DmlNode {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity() && self.input == other.input
    }
}

impl Eq for DmlNode {}

impl PartialOrd for DmlNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match self.identity().cmp(&other.identity()) {
            Ordering::Equal => self.input.partial_cmp(&other.input),
            different => Some(different),
        }
    }
}

impl Hash for DmlNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
        self.input.hash(state);
    }
}

impl UserDefinedLogicalNodeCore for DmlNode {
    fn name(&self) -> &str {
        match self.operation {
            Operation::Insert => "Insert",
            Operation::Update => "Update",
            Operation::Delete => "Delete",
        }
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
        let name = &self.target.collection.name;
        write!(f, "{}: collection={name}", self.operation)
    }

    fn with_exprs_and_inputs(
        &self,
        _exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> Result<Self> {
        match (inputs.pop(), inputs.len()) {
            (Some(input), 0) => Ok(Self {
                input,
                ..self.clone()
            }),
            _ => plan_err!("{} takes one input", self.operation),
        }
    }
}

/// Makes the operator of a [`DmlNode`].
#[derive(Debug, Clone, Copy, Default)]
pub struct DmlPlanner;

#[async_trait]
impl ExtensionPlanner for DmlPlanner {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        _planning_ctx: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(node) = node.as_any().downcast_ref::<DmlNode>() else {
            return Ok(None);
        };
        let state = session.as_any().downcast_ref::<SessionState>();
        let target = node.target.checked(session)?;
        let replan = state.zip(logical_inputs.first()).map(|(state, input)| {
            Arc::new(Replan {
                state: state.clone(),
                input: LogicalPlan::clone(input),
            })
        });
        Ok(Some(Arc::new(DmlExec::new(
            target,
            node.operation,
            Arc::clone(&physical_inputs[0]),
            replan,
        ))))
    }
}

/// The operator that adds the rows of `input` to the collection, for DataFusion's own INSERT and `write_table`.
pub(super) fn insert_exec(
    engine: Arc<Engine>,
    collection: Arc<Collection>,
    input: Arc<dyn ExecutionPlan>,
    session: &dyn Session,
) -> crate::error::Result<DmlExec> {
    check_input(&collection, Operation::Insert, &input.schema())?;
    let target = Target {
        engine,
        collection,
        checks: None,
    };
    let target = target.checked(session)?;
    Ok(DmlExec::new(target, Operation::Insert, input, None))
}
