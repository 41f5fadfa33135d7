//! Keys end where arrays become rows.
//!
//! A row of the input of an `Unnest` comes out once for each element, and the elements have the place of the array.
//! DataFusion 55 hands the functional dependencies of the input on all the same: a primary key stays unique and tells
//! what the element is, so ORDER BY and GROUP BY go by the key alone and DISTINCT does nothing. A node without
//! dependencies below each such `Unnest` keeps them from it.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchemaRef, FunctionalDependencies, Result};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, Unnest, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};

use crate::catalog::plan_node::only_input;

/// The rows of its input, of which no column is known to depend on others.
#[derive(Debug, Clone)]
pub(super) struct KeylessNode {
    input: LogicalPlan,
    schema: DFSchemaRef,
}

impl KeylessNode {
    fn try_new(input: LogicalPlan) -> Result<Self> {
        let schema = input.schema().as_ref().clone();
        let schema = schema.with_functional_dependencies(FunctionalDependencies::empty())?;
        Ok(Self {
            input,
            schema: Arc::new(schema),
        })
    }
}

// The schema is that of the input.
impl PartialEq for KeylessNode {
    fn eq(&self, other: &Self) -> bool {
        self.input == other.input
    }
}

impl Eq for KeylessNode {}

impl PartialOrd for KeylessNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.input.partial_cmp(&other.input)
    }
}

impl Hash for KeylessNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.input.hash(state);
    }
}

impl UserDefinedLogicalNodeCore for KeylessNode {
    fn name(&self) -> &str {
        "Keyless"
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

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        HashSet::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Keyless")
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        Self::try_new(only_input(self, inputs)?)
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![output_columns.to_vec()])
    }

    fn supports_limit_pushdown(&self) -> bool {
        true
    }
}

/// Puts a [`KeylessNode`] below each `Unnest` whose input has dependencies. It must run after the
/// rules that make such plans; the optimiser, which uses dependencies, comes later.
#[derive(Debug, Default)]
pub struct KeylessRule;

impl AnalyzerRule for KeylessRule {
    fn name(&self) -> &str {
        "keyless_unnest"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let mut found = false;
        let kept = plan.transform_up_with_subqueries(|plan| match plan {
            LogicalPlan::Unnest(unnest) if has_dependencies(&unnest.input) => {
                found = true;
                without_dependencies(unnest).map(Transformed::yes)
            }
            // What is above has them from there.
            plan if found => plan.recompute_schema().map(Transformed::yes),
            plan => Ok(Transformed::no(plan)),
        })?;
        Ok(kept.data)
    }
}

fn has_dependencies(plan: &LogicalPlan) -> bool {
    !plan.schema().functional_dependencies().is_empty()
}

fn without_dependencies(unnest: Unnest) -> Result<LogicalPlan> {
    let node = Arc::new(KeylessNode::try_new(Arc::unwrap_or_clone(unnest.input))?);
    let input = Arc::new(LogicalPlan::Extension(Extension { node }));
    Unnest::try_new(input, unnest.exec_columns, unnest.options).map(LogicalPlan::Unnest)
}

/// Makes nothing of a [`KeylessNode`] but its input: operators tell of uniqueness themselves, `UnnestExec` rightly.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeylessPlanner;

#[async_trait]
impl ExtensionPlanner for KeylessPlanner {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        _session: &dyn Session,
        _planning_ctx: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let is_ours = node.as_any().is::<KeylessNode>();
        Ok(physical_inputs.first().filter(|_| is_ours).map(Arc::clone))
    }
}
