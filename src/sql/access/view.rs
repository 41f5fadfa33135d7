//! The border of a view in a plan: what is below is read with the rights of the view's owner.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchemaRef, Result as DataFusionResult};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use crate::catalog::plan_node::only_input;
use crate::storage::change::QualifiedName;
use crate::storage::role::RoleId;

/// A view where a query names it. It goes when privileges have been checked ([`super::rule`]),
/// before anything is optimised.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Hash)]
pub struct ViewNode {
    /// Its name.
    pub name: QualifiedName,
    /// Whose rights its query has; none for those of who names it.
    pub owner: Option<RoleId>,
    /// Whether it is a part of a view by which rows are changed: the statement that does so needs other rights on it.
    pub is_part: bool,
    /// Whether it is the body of a function: without an owner, its rights are those of the session, whatever is around.
    pub is_call: bool,
    input: LogicalPlan,
}

impl ViewNode {
    /// Its query.
    pub fn query(&self) -> &LogicalPlan {
        &self.input
    }

    /// The query of a view, marked as such.
    pub fn plan(name: QualifiedName, owner: Option<RoleId>, input: LogicalPlan) -> LogicalPlan {
        Self {
            name,
            owner,
            is_part: false,
            is_call: false,
            input,
        }
        .into_plan()
    }

    /// The query of a function that is called.
    pub fn call(name: QualifiedName, owner: Option<RoleId>, input: LogicalPlan) -> LogicalPlan {
        Self {
            name,
            owner,
            is_part: true,
            is_call: true,
            input,
        }
        .into_plan()
    }

    /// A query within a view by which rows are changed.
    pub fn part(name: QualifiedName, owner: RoleId, input: LogicalPlan) -> LogicalPlan {
        Self {
            name,
            owner: Some(owner),
            is_part: true,
            is_call: false,
            input,
        }
        .into_plan()
    }

    fn into_plan(self) -> LogicalPlan {
        let node = Arc::new(self);
        LogicalPlan::Extension(Extension { node })
    }
}

impl UserDefinedLogicalNodeCore for ViewNode {
    fn name(&self) -> &str {
        "View"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "View: {}", self.name)
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

/// Takes the borders of views away. It runs before all other rules of the optimiser, which do not see through them.
#[derive(Debug, Default)]
pub struct ViewRule;

impl OptimizerRule for ViewRule {
    fn name(&self) -> &str {
        "views"
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _config: &dyn OptimizerConfig,
    ) -> DataFusionResult<Transformed<LogicalPlan>> {
        plan.transform_up_with_subqueries(|plan| match as_view(&plan) {
            Some(view) => Ok(Transformed::yes(view.input.clone())),
            None => Ok(Transformed::no(plan)),
        })
    }
}

/// The node as a view, if it is one.
pub(in crate::sql) fn as_view(plan: &LogicalPlan) -> Option<&ViewNode> {
    match plan {
        LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref(),
        _ => None,
    }
}
