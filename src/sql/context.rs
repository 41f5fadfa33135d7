//! What the names of a statement mean: tables, functions and types of a session, for DataFusion's SQL planner.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::catalog::{TableFunctionArgs, TableProvider};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{
    DFSchema, DFSchemaRef, ResolvedTableReference, Result, TableReference, not_impl_err,
    plan_datafusion_err,
};
use datafusion::datasource::provider_as_source;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::planner::{
    ContextProvider, ExprPlanner, RelationPlanner, TypePlanner,
};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::var_provider::{VarType, is_system_variables};
use datafusion::logical_expr::{
    AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF,
};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;

use datafusion::sql::parser::Statement;
use datafusion::sql::planner::{
    ParserOptions, PlannerContext, SqlToRel, object_name_to_table_reference,
};
use datafusion::sql::sqlparser::ast;
use futures::FutureExt;
use futures::future::BoxFuture;
use shelfmark_udfs::VectorTypePlanner;

use super::complexity::check_relations;
use super::domains::with_checks;
use super::from_columns::spell_columns;
use super::mend::{check_counts, select_values};
use super::number_literal::{type_numbers, widened};
use super::parameters::{ArrayElements, Types, share_parameter_types};
use super::routine::{Calls, find_calls, inline_calls};
use super::vector_search::searched_collections;
use super::versions;
use super::whole_row::spell_rows;
use crate::error::{Error, sqlstate};

/// Plans a statement of DataFusion's whose parameters have the types that are known, and which may name the tables that
/// are given beside those of the session.
///
/// This is `SessionState::statement_to_plan`, which cannot be told the types of parameters.
///
/// # Errors
/// Whatever is wrong with the statement.
pub(super) async fn statement_to_plan(
    state: &SessionState,
    types: &Arc<dyn TypePlanner>,
    statement: ast::Statement,
    parameters: &Types,
    given: &[(TableReference, Arc<dyn TableProvider>)],
) -> Result<LogicalPlan> {
    to_plan(state, types, statement, parameters, given, None).await
}

/// As [`statement_to_plan`], for a statement of a function, whose parameters are columns from further out.
///
/// # Errors
/// Whatever is wrong with the statement.
pub(super) fn body_to_plan<'a>(
    state: &'a SessionState,
    types: &'a Arc<dyn TypePlanner>,
    statement: ast::Statement,
    parameters: &'a Types,
    names: DFSchemaRef,
) -> BoxFuture<'a, Result<LogicalPlan>> {
    to_plan(state, types, statement, parameters, &[], Some(names)).boxed()
}

async fn to_plan(
    state: &SessionState,
    types: &Arc<dyn TypePlanner>,
    mut statement: ast::Statement,
    parameters: &Types,
    given: &[(TableReference, Arc<dyn TableProvider>)],
    outer: Option<DFSchemaRef>,
) -> Result<LogicalPlan> {
    let checked = with_checks(state, &mut statement)?;
    let state = checked.as_deref().unwrap_or(state);
    let calls = find_calls(state, types, &mut statement).boxed().await?;
    // Views nest: what stays on the stack while one of them is planned is kept small.
    let (statement, tables) = look_up(state, statement, given).boxed().await?;
    let elements: Arc<dyn ExprPlanner> = Arc::new(ArrayElements::new(parameters));
    let others = state.expr_planners().iter().cloned();
    let names = Names {
        state,
        types,
        tables,
        calls,
        expr_planners: std::iter::once(elements).chain(others).collect(),
    };
    plan(&names, statement, parameters, outer)
}

type Tables = HashMap<ResolvedTableReference, Arc<dyn TableSource>>;

/// The tables that a statement refers to, those of earlier versions by names of their own.
async fn look_up(
    state: &SessionState,
    mut statement: ast::Statement,
    given: &[(TableReference, Arc<dyn TableProvider>)],
) -> Result<(ast::Statement, Tables)> {
    let mut tables = Tables::new();
    for (name, table) in given {
        let table = provider_as_source(Arc::clone(table));
        tables.insert(resolve_name(state, name.clone()), table);
    }
    for (name, table) in versions::resolve(state, &mut statement).boxed().await? {
        tables.insert(resolve_name(state, name), provider_as_source(table));
    }
    let (mut statement, references) = references_of(state, statement)?;
    for reference in references {
        if let Entry::Vacant(entry) = tables.entry(resolve_name(state, reference)) {
            let name = entry.key();
            if let Ok(schema) = state.schema_for_ref(name.clone())
                && let Some(table) = schema.table(&name.table).await?
            {
                entry.insert(provider_as_source(table));
            }
        }
    }
    let columns = |name: &ast::ObjectName| {
        let reference = object_name_to_table_reference(name.clone(), true).ok()?;
        let schema = tables.get(&resolve_name(state, reference))?.schema();
        Some(schema.fields().iter().map(|f| f.name().clone()).collect())
    };
    select_values(&mut statement);
    spell_columns(&mut statement, columns)?;
    spell_rows(&mut statement, columns);
    Ok((statement, tables))
}

/// The statement again, and the names of the tables in it.
fn references_of(
    state: &SessionState,
    statement: ast::Statement,
) -> Result<(ast::Statement, Vec<TableReference>)> {
    let searched = searched_collections(&statement);
    let statement = Statement::Statement(Box::new(statement));
    let mut references = state.resolve_table_references(&statement)?;
    references.extend(searched);
    match statement {
        Statement::Statement(statement) => Ok((*statement, references)),
        _ => not_impl_err!("this statement is not supported"),
    }
}

fn plan(
    names: &Names<'_>,
    mut statement: ast::Statement,
    parameters: &Types,
    outer: Option<DFSchemaRef>,
) -> Result<LogicalPlan> {
    check_counts(&statement)?;
    let fields = share_parameter_types(&mut statement, parameters);
    type_numbers(&mut statement);
    let options = ParserOptions::from(&names.state.config_options().sql_parser);
    let mut context = PlannerContext::new().with_prepare_param_data_types(fields);
    if let Some(outer) = outer {
        context.append_outer_query_schema(outer);
    }
    let plan = SqlToRel::new_with_options(names, options)
        .sql_statement_to_plan_with_context(statement, &mut context)?;
    let plan = inline_calls(plan, &names.calls)?;
    check_relations(&plan)?;
    Ok(plan)
}

/// The names that one statement may use, with the tables it refers to looked up.
struct Names<'a> {
    state: &'a SessionState,
    types: &'a Arc<dyn TypePlanner>,
    tables: Tables,
    calls: Calls,
    expr_planners: Vec<Arc<dyn ExprPlanner>>,
}

impl Names<'_> {
    fn resolve(&self, name: TableReference) -> ResolvedTableReference {
        resolve_name(self.state, name)
    }
}

/// What gives the session's types their names.
pub(super) fn type_planner_of(state: &SessionState) -> Arc<dyn TypePlanner> {
    let planner = SessionStateBuilder::new_from_existing(state.clone())
        .type_planner()
        .take();
    planner.unwrap_or_else(|| Arc::new(VectorTypePlanner::default()))
}

fn resolve_name(state: &SessionState, name: TableReference) -> ResolvedTableReference {
    let catalog = &state.config_options().catalog;
    name.resolve(&catalog.default_catalog, &catalog.default_schema)
}

impl ContextProvider for Names<'_> {
    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.expr_planners
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        self.state.relation_planners()
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::clone(self.types))
    }

    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        let table = self.tables.get(&self.resolve(name.clone())).cloned();
        table.ok_or_else(|| {
            let parts = [name.catalog(), name.schema(), Some(name.table())];
            let written: Vec<&str> = parts.into_iter().flatten().collect();
            let message = format!("relation \"{}\" does not exist", written.join("."));
            Error::not_found(sqlstate::UNDEFINED_TABLE, message).into()
        })
    }

    fn get_table_function_source(
        &self,
        name: &str,
        args: Vec<Expr>,
    ) -> Result<Arc<dyn TableSource>> {
        if let Some(table) = self.calls.table(name, &args) {
            return Ok(table?);
        }
        let function = self.state.table_functions().get(name).cloned();
        let function =
            function.ok_or_else(|| plan_datafusion_err!("table function '{name}' not found"))?;
        let start = self.state.execution_props().query_execution_start_time;
        let context = SimplifyContext::builder()
            .with_config_options(Arc::clone(self.state.config_options()))
            .with_query_execution_start_time(start)
            .build();
        let simplifier = ExprSimplifier::new(context);
        let schema = DFSchema::empty();
        let constant = |arg| simplifier.simplify(simplifier.coerce(arg, &schema)?);
        let args: Vec<Expr> = args
            .into_iter()
            .map(|arg| constant(arg).map(widened))
            .collect::<Result<_>>()?;
        let args = TableFunctionArgs::new(&args, self.state);
        Ok(provider_as_source(
            function.create_table_provider_with_args(args)?,
        ))
    }

    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> Result<Arc<dyn TableSource>> {
        Ok(provider_as_source(Arc::new(CteWorkTable::new(
            name, schema,
        ))))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        let called = self.calls.marker(name);
        called.or_else(|| self.state.scalar_functions().get(name).cloned())
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.state.higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.state.aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, names: &[String]) -> Option<DataType> {
        let kind = match names {
            [] => return None,
            names if is_system_variables(names) => VarType::System,
            _ => VarType::UserDefined,
        };
        let providers = self.state.execution_props().var_providers.as_ref()?;
        providers.get(&kind)?.get_type(names)
    }

    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.state.scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        let functions = self.state.higher_order_functions();
        functions.keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.state.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.state.window_functions().keys().cloned().collect()
    }
}
