//! A session as far as plans of operators are made by it: the state that all statements share, with another
//! configuration. A state of its own would be a copy of some hundred functions for every execution.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProviderList, Session as PlanningSession};
use datafusion::common::config::{ConfigOptions, TableOptions};
use datafusion::common::{DFSchema, Result};
use datafusion::execution::TaskContext;
use datafusion::execution::context::{ExecutionProps, QueryPlanner, SessionConfig, SessionState};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::registry::ExtensionTypeRegistryRef;
use datafusion::logical_expr::{
    AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, ScalarUDF, WindowUDF,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;

use crate::catalog::transaction::OpenTransaction;

type Rules = Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>>;

/// The shared state with another configuration.
pub(super) struct Planner {
    state: Arc<SessionState>,
    config: SessionConfig,
    table_options: TableOptions,
    /// Other rules than those of the state.
    rules: Option<Rules>,
}

impl Planner {
    /// The state with that configuration.
    pub fn new(state: Arc<SessionState>, config: SessionConfig) -> Self {
        Self {
            table_options: state.table_options().clone(),
            state,
            config,
            rules: None,
        }
    }

    /// The same with other rules for plans of operators.
    pub fn with_rules(self, rules: Rules) -> Self {
        Self {
            rules: Some(rules),
            ..self
        }
    }

    /// The operators of an optimised plan.
    ///
    /// # Errors
    /// Whatever the planner refuses.
    pub async fn plan(&self, optimized: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
        let planner = self.state.query_planner();
        planner.create_physical_plan(optimized, self).await
    }

    /// What the operators run in. They look no functions up.
    pub fn task_context(&self) -> Arc<TaskContext> {
        self.task_context_with(self.config.clone())
    }

    /// What operators run in that change rows: as part of `transaction`.
    pub fn task_context_in(&self, transaction: Arc<OpenTransaction>) -> Arc<TaskContext> {
        self.task_context_with(self.config.clone().with_extension(transaction))
    }

    fn task_context_with(&self, config: SessionConfig) -> Arc<TaskContext> {
        Arc::new(TaskContext::new(
            None,
            self.state.session_id().to_string(),
            config,
            HashMap::new(),
            HashMap::new(),
            HashMap::new(),
            HashMap::new(),
            Arc::clone(self.state.runtime_env()),
        ))
    }
}

#[async_trait]
impl PlanningSession for Planner {
    fn session_id(&self) -> &str {
        self.state.session_id()
    }

    fn config(&self) -> &SessionConfig {
        &self.config
    }

    fn catalog_list(&self) -> Arc<dyn CatalogProviderList> {
        Arc::clone(self.state.catalog_list())
    }

    fn query_planner(&self) -> Arc<dyn QueryPlanner + Send + Sync> {
        Arc::clone(self.state.query_planner())
    }

    fn optimize(&self, plan: &LogicalPlan) -> Result<LogicalPlan> {
        self.state.optimize(plan)
    }

    fn physical_optimizers(&self) -> &[Arc<dyn PhysicalOptimizerRule + Send + Sync>] {
        match &self.rules {
            Some(rules) => rules,
            None => self.state.physical_optimizers(),
        }
    }

    async fn create_physical_plan(&self, plan: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
        let optimized = self.state.optimize(plan)?;
        self.plan(&optimized).await
    }

    fn create_physical_expr(&self, expr: Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
        self.state.create_physical_expr(expr, schema)
    }

    fn scalar_functions(&self) -> &HashMap<String, Arc<ScalarUDF>> {
        self.state.scalar_functions()
    }

    fn higher_order_functions(&self) -> &HashMap<String, Arc<HigherOrderUDF>> {
        self.state.higher_order_functions()
    }

    fn aggregate_functions(&self) -> &HashMap<String, Arc<AggregateUDF>> {
        self.state.aggregate_functions()
    }

    fn window_functions(&self) -> &HashMap<String, Arc<WindowUDF>> {
        self.state.window_functions()
    }

    fn extension_type_registry(&self) -> &ExtensionTypeRegistryRef {
        self.state.extension_type_registry()
    }

    fn runtime_env(&self) -> &Arc<RuntimeEnv> {
        self.state.runtime_env()
    }

    fn execution_props(&self) -> &ExecutionProps {
        self.state.execution_props()
    }

    /// Our own planners look for the state of a session.
    fn as_any(&self) -> &dyn Any {
        self.state.as_ref()
    }

    fn table_options(&self) -> &TableOptions {
        &self.table_options
    }

    fn table_options_mut(&mut self) -> &mut TableOptions {
        &mut self.table_options
    }

    fn config_options(&self) -> &ConfigOptions {
        self.config.options()
    }

    fn task_ctx(&self) -> Arc<TaskContext> {
        self.task_context()
    }
}
