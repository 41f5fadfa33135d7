//! INSERT, UPDATE and DELETE as plan nodes.
//!
//! The input of a [`DmlNode`] is an ordinary query, so that DataFusion optimises it with its subqueries and joins. The
//! node acts when it is executed, in one commit or in the transaction that is open, and gives back one row: how many rows it changed.
//!
//! With RETURNING the query is below a [`ChangedRowsNode`], and what is computed of the changed rows lies between:
//! ```text
//! Dml                 collects the answer, commits, gives the answer
//!   Projection        the expressions of RETURNING: when one fails, nothing is committed
//!     ChangedRows     writes the rows of the query as they come, and hands them on as they are stored
//!       query
//! ```
//! With ON CONFLICT a [`ConflictNode`] stands above the rows that are brought, and finds the live ones with their keys;
//! what they become is computed by a projection above it.

mod answer;
mod changed;
mod conflict;
mod exec;
mod part_subqueries;
mod statement;
#[cfg(test)]
mod tests;
mod views;
mod whole;
mod with;
mod write;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, DFSchemaRef, Result};
use datafusion::execution::SessionState;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};

pub use self::changed::{ChangedRowsExec, ChangedRowsNode, Returned, ReturnedColumn};
pub use self::conflict::{Conflict, ConflictExec, ConflictNode, Paired, PairedColumn};
use self::exec::Replan;
pub use self::exec::{Again, DmlExec};
pub use self::part_subqueries::PartSubqueriesRule;
pub use self::views::{ByViews, ViewStep, check_option};
pub use self::with::{PartRole, WithExec, WithNode};
use super::assign::{Assignment, check_assignable};
use super::foreign_keys::ChildRules;
use super::options::PinnedSnapshot;
use super::row_rules::RowRules;
use super::zone::Zone;
use crate::catalog::plan_node::only_input;
use crate::error::{Error, sqlstate};
use crate::storage::collection::Collection;
use crate::storage::engine::Engine;
use crate::storage::schema::CollectionId;
use crate::storage::snapshot::Snapshot;
use crate::storage::unique::KeyId;

/// What a statement does to the rows of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Adds the input's rows: all columns of the collection in order.
    Insert,
    /// Replaces the rows at the input's addresses by the input's rows: `_segment`, `_row`, then all columns.
    Update,
    /// Removes the rows at the input's addresses: `_segment`, `_row`.
    Delete,
    /// Does what an [`Action`] says about each row: `_segment` and `_row`, NULL where there is none, the action, then
    /// sets of all columns that a row may become.
    Merge(Merge),
}

/// What MERGE or INSERT .. ON CONFLICT DO UPDATE may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Merge {
    /// How many sets of columns the input has.
    pub sets: usize,
    /// Whether rows may come.
    pub inserts: bool,
    /// Whether rows may change.
    pub updates: bool,
    /// Whether rows may go.
    pub deletes: bool,
    /// The key of ON CONFLICT: the first set is the row that is brought, whose key may change one row only.
    pub by_key: Option<KeyId>,
}

/// What is done about a row, as a number in a column of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Nothing,
    /// The row at the address goes.
    Delete,
    /// This set of columns is stored, in the place of the row at the address if there is one.
    Store(usize),
}

impl Action {
    /// The number in the column.
    pub fn number(self) -> i32 {
        match self {
            Self::Nothing => 0,
            Self::Delete => 1,
            Self::Store(set) => 2 + set as i32,
        }
    }
}

impl Operation {
    /// Columns of the input before those of the collection: addresses, and what is done.
    pub fn address_columns(self) -> usize {
        match self {
            Self::Insert => 0,
            Self::Update | Self::Delete => 2,
            Self::Merge(_) => 3,
        }
    }

    /// How many times the input has all columns of the collection, behind the first columns.
    pub fn value_sets(self) -> usize {
        match self {
            Self::Delete => 0,
            Self::Insert | Self::Update => 1,
            Self::Merge(merge) => merge.sets,
        }
    }

    /// How many columns of the input it takes.
    fn columns(self, collection: &Collection) -> usize {
        self.address_columns() + self.value_sets() * collection.schema.columns.len()
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Insert => "Insert",
            Self::Update => "Update",
            Self::Delete => "Delete",
            Self::Merge(merge) if merge.by_key.is_some() => "Upsert",
            Self::Merge(_) => "Merge",
        })
    }
}

/// The collection that a statement changes, as it was when the statement was planned.
#[derive(Clone)]
struct Target {
    engine: Arc<Engine>,
    collection: Arc<Collection>,
    /// What new rows get and must pass; known when the operator is made.
    rows: RowRules,
    /// What foreign keys to it need; known when the operator is made.
    rules: Arc<ChildRules>,
}

impl Target {
    fn new(engine: Arc<Engine>, collection: Arc<Collection>) -> Self {
        Self {
            engine,
            collection,
            rows: RowRules::default(),
            rules: Arc::default(),
        }
    }

    /// The collection in a version, with the columns for which the statement was planned.
    fn current(&self, snapshot: &Snapshot) -> crate::error::Result<Arc<Collection>> {
        let planned = &self.collection;
        let name = &planned.name;
        let current = snapshot.collection_by_id(planned.id).ok_or_else(|| {
            let message = format!("relation \"{name}\" does not exist");
            Error::not_found(sqlstate::UNDEFINED_TABLE, message)
        })?;
        if !RowRules::are_same(planned, current) {
            let message = format!("cached plan is out of date: \"{name}\" was altered");
            return Err(Error::unsupported(message).with_hint("Run the statement again."));
        }
        Ok(Arc::clone(current))
    }
}

impl Target {
    /// Whether checks mean the same in every execution.
    fn is_repeatable(&self) -> bool {
        self.rules.are_immutable() && self.rows.are_immutable()
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.collection.name)
    }
}

impl Target {
    /// The same with the checks of the collection, and what foreign keys to it need, planned in `session`.
    fn checked(&self, session: &dyn Session) -> crate::error::Result<Self> {
        let mut target = self.clone();
        let Some(state) = session.as_any().downcast_ref::<SessionState>() else {
            target.rows = RowRules::none(&self.collection)?;
            return Ok(target);
        };
        target.rows = RowRules::of(&self.collection, state)?;
        let snapshot = PinnedSnapshot::or_newest(session.config(), &self.engine);
        target.rules = Arc::new(ChildRules::of(&snapshot, self.collection.id, state)?);
        Ok(target)
    }
}

/// What a statement answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answering {
    /// How many rows it changed.
    Count,
    /// The same; its input is made of changed rows, which it looks at.
    Checked,
    /// What its input makes of changed rows.
    Returned,
}

/// A statement that changes rows of a collection; its output is one row, `count` UInt64, or what RETURNING asks for.
#[derive(Debug, Clone)]
pub struct DmlNode {
    target: Target,
    operation: Operation,
    input: LogicalPlan,
    answering: Answering,
    views: ByViews,
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
            target: Target::new(engine, collection),
            operation,
            input,
            answering: Answering::Count,
            views: ByViews::default(),
            schema: Arc::new(DFSchema::try_from(count_schema())?),
        };
        Ok(extension(node))
    }

    /// The plan of a statement with RETURNING: `answer` is made of the rows of a [`ChangedRowsNode`].
    ///
    /// # Errors
    /// XX000 for an answer of other rows.
    pub fn returning(answer: LogicalPlan) -> crate::error::Result<LogicalPlan> {
        Self::over_changed_rows(answer, Answering::Returned)
    }

    /// The plan of a statement without RETURNING, whose changed rows are looked at: `checked` is made of the rows of a
    /// [`ChangedRowsNode`].
    ///
    /// # Errors
    /// XX000 for one of other rows.
    pub fn checking(checked: LogicalPlan) -> crate::error::Result<LogicalPlan> {
        Self::over_changed_rows(checked, Answering::Checked)
    }

    fn over_changed_rows(
        answer: LogicalPlan,
        answering: Answering,
    ) -> crate::error::Result<LogicalPlan> {
        let changed = changed_rows(&answer);
        let changed = changed.ok_or_else(|| Error::internal("RETURNING without changed rows"))?;
        let node = Self {
            target: changed.target.clone(),
            operation: changed.operation,
            schema: match answering {
                Answering::Returned => Arc::clone(answer.schema()),
                _ => Arc::new(DFSchema::try_from(count_schema())?),
            },
            input: answer,
            answering,
            views: ByViews::default(),
        };
        Ok(extension(node))
    }

    /// The same plan of a statement that names a view.
    pub fn by_views(plan: LogicalPlan, views: ByViews) -> LogicalPlan {
        let node = match &plan {
            LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref::<Self>(),
            _ => None,
        };
        match node.cloned() {
            Some(node) => extension(Self { views, ..node }),
            None => plan,
        }
    }

    /// The views by which it changes rows.
    pub fn views(&self) -> &ByViews {
        &self.views
    }

    /// What it does.
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// To what.
    pub fn collection(&self) -> &Arc<Collection> {
        &self.target.collection
    }

    /// The query that finds the rows.
    pub fn query(&self) -> &LogicalPlan {
        match changed_rows(&self.input).filter(|_| self.hands_rows_on()) {
            Some(changed) => &changed.input,
            None => &self.input,
        }
    }

    /// Whether RETURNING reads rows as they are stored.
    pub fn returns_stored(&self) -> bool {
        let changed = changed_rows(&self.input).filter(|_| self.hands_rows_on());
        changed.is_some_and(ChangedRowsNode::has_stored)
    }

    /// Whether its output is what RETURNING asks for.
    pub fn returns(&self) -> bool {
        self.answering == Answering::Returned
    }

    /// Whether its input is made of changed rows.
    pub fn hands_rows_on(&self) -> bool {
        self.answering != Answering::Count
    }

    fn identity(&self) -> (CollectionId, Operation, Answering, &ByViews) {
        let id = self.target.collection.id;
        (id, self.operation, self.answering, &self.views)
    }
}

fn extension(node: impl UserDefinedLogicalNode + 'static) -> LogicalPlan {
    LogicalPlan::Extension(Extension {
        node: Arc::new(node),
    })
}

/// The node that writes, below what RETURNING computes: the first input of each.
fn changed_rows(answer: &LogicalPlan) -> Option<&ChangedRowsNode> {
    let mut plan = answer;
    loop {
        if let LogicalPlan::Extension(extension) = plan
            && let Some(changed) = extension.node.as_any().downcast_ref()
        {
            return Some(changed);
        }
        plan = plan.inputs().into_iter().next()?;
    }
}

/// That the input has the columns that the operation takes.
fn check_input(
    collection: &Collection,
    operation: Operation,
    input: &Schema,
) -> crate::error::Result<()> {
    if operation == Operation::Insert {
        return Assignment::new(collection, None, Zone::utc()).check(input);
    }
    let (fields, columns) = (input.fields(), &collection.schema.columns);
    let types: Vec<_> = fields.iter().map(|f| f.data_type()).take(2).collect();
    if types != [&DataType::UInt64, &DataType::UInt32]
        || fields.len() != operation.columns(collection)
    {
        return Err(Error::internal(format!(
            "{operation} takes _segment, _row, not {input}"
        )));
    }
    let values = fields[operation.address_columns()..].iter();
    values
        .zip(columns.iter().cycle())
        .try_for_each(|(field, column)| check_assignable(field.data_type(), column))
}

/// The schema of the output.
fn count_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let count = Field::new("count", DataType::UInt64, false);
        Arc::new(Schema::new(vec![count]))
    });
    Arc::clone(&SCHEMA)
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
            Operation::Merge(merge) if merge.by_key.is_some() => "Upsert",
            Operation::Merge(_) => "Merge",
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

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let input = only_input(self, inputs)?;
        Ok(Self {
            schema: match self.returns() {
                true => Arc::clone(input.schema()),
                false => Arc::clone(&self.schema),
            },
            input,
            ..self.clone()
        })
    }
}

/// Makes the operators of [`DmlNode`], [`ChangedRowsNode`], [`ConflictNode`] and [`WithNode`].
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
        if let Some(node) = node.as_any().downcast_ref::<ChangedRowsNode>() {
            let input = Arc::clone(&physical_inputs[0]);
            return Ok(Some(Arc::new(ChangedRowsExec::new(node, input))));
        }
        if let Some(node) = node.as_any().downcast_ref::<ConflictNode>() {
            let input = Arc::clone(&physical_inputs[0]);
            let target = node.target().checked(session)?;
            let snapshot = PinnedSnapshot::or_newest(session.config(), &target.engine);
            let found = ConflictExec::try_new(node, target, &snapshot, input)?;
            return Ok(Some(Arc::new(found)));
        }
        let state = session.as_any().downcast_ref::<SessionState>();
        if let Some(node) = node.as_any().downcast_ref::<WithNode>() {
            let with = WithExec::try_new(node, physical_inputs.to_vec(), state)?;
            return Ok(Some(Arc::new(with)));
        }
        let Some(node) = node.as_any().downcast_ref::<DmlNode>() else {
            return Ok(None);
        };
        let target = node.target.checked(session)?;
        let replan = state.zip(logical_inputs.first()).map(|(state, input)| {
            Replan::Plan(Arc::new(state.clone()), Arc::new(LogicalPlan::clone(input)))
        });
        Ok(Some(Arc::new(DmlExec::new(
            target,
            node.operation,
            Arc::clone(&physical_inputs[0]),
            node.answering,
            replan,
        ))))
    }
}

/// That statements change rows of the collection.
///
/// # Errors
/// 42809 for a materialized view.
pub fn check_changeable(collection: &Collection) -> crate::error::Result<()> {
    if collection.materialized.is_some() {
        let name = &collection.name.name;
        let message = format!("cannot change materialized view \"{name}\"");
        return Err(Error::invalid(sqlstate::WRONG_OBJECT_TYPE, message));
    }
    Ok(())
}

/// The operator that adds the rows of `input` to the collection, for DataFusion's own INSERT and `write_table`.
pub(super) fn insert_exec(
    engine: Arc<Engine>,
    collection: Arc<Collection>,
    input: Arc<dyn ExecutionPlan>,
    session: &dyn Session,
) -> crate::error::Result<DmlExec> {
    check_changeable(&collection)?;
    check_input(&collection, Operation::Insert, &input.schema())?;
    let target = Target::new(engine, collection).checked(session)?;
    let answering = Answering::Count;
    Ok(DmlExec::new(
        target,
        Operation::Insert,
        input,
        answering,
        None,
    ))
}
