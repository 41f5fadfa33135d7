//! Calls as what they mean: tables in FROM, values elsewhere.

use std::any::Any;
use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result as DataFusionResult, ScalarValue, TableReference};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Subquery, TableSource, TypeSignature, Volatility, not,
    when,
};
use datafusion::prelude::lit;
use datafusion::sql::sqlparser::ast::{
    FunctionArg, FunctionArgExpr, TableAlias, TableAliasColumnDef, TableFactor,
};

use super::body::Does;
use super::calls::{CallSite, Calls, USER_FUNCTION};
use super::put::{from_inside, put, put_in_expr, uses_in_expr};
use super::site::{Call, oid_of_field};
use crate::error::{Error, Result, sqlstate};
use crate::storage::function::{Returns, Volatility as Declared};

impl Call<'_> {
    /// The call as a value over rows of that schema.
    fn value(&self, schema: &DFSchema) -> Result<Expr> {
        let function = &self.planned.function;
        if function.returns_set {
            let message = "set-valued function called in context that cannot accept a set";
            return Err(Error::unsupported(message).with_hint(format!(
                "Call it in FROM: SELECT * FROM {}(..).",
                function.name
            )));
        }
        if self.planned.columns.len() > 1 {
            let message = format!("function {} gives a row, not a value", function.name);
            return Err(Error::unsupported(message).with_hint(format!(
                "Call it in FROM: SELECT * FROM {}(..).",
                function.name
            )));
        }
        let inside = self.values.iter().map(|value| from_inside(value, schema));
        let inside: Vec<Expr> = inside.collect::<DataFusionResult<_>>()?;
        let value = match &self.planned.does {
            Does::Value(value) => {
                self.check_once(&uses_in_expr(value, self.values.len())?)?;
                put_in_expr(value.clone(), &self.values, &inside)?
            }
            Does::Query(plan) => {
                self.check_once(&vec![usize::MAX; self.values.len()])?;
                let first = LogicalPlanBuilder::from(put(plan.clone(), &inside)?);
                let first = match is_one_row(plan) {
                    true => first.build()?,
                    false => first.limit(0, Some(1))?.build()?,
                };
                Expr::ScalarSubquery(subquery(first))
            }
        };
        self.unless_null(value)
    }

    /// NULL where a strict function gets one.
    fn unless_null(&self, value: Expr) -> Result<Expr> {
        match self.null_among() {
            Some(is_null) => {
                let nothing = match self.planned.columns.first() {
                    Some(column) => ScalarValue::try_from(column.data_type())?,
                    None => ScalarValue::Null,
                };
                Ok(when(is_null, lit(nothing)).otherwise(value)?)
            }
            None => Ok(value),
        }
    }

    /// Whether a value is NULL with which a strict function is not called; `None` where none can be.
    fn null_among(&self) -> Option<Expr> {
        let values = self.values.iter();
        let open = values.filter(|value| match value {
            Expr::Literal(value, _) => value.is_null(),
            _ => self.planned.function.is_strict,
        });
        let open = open.filter(|_| self.planned.function.is_strict);
        open.map(|value| value.clone().is_null()).reduce(Expr::or)
    }

    /// That no value which changes by itself is computed but once.
    fn check_once(&self, uses: &[usize]) -> Result<()> {
        let is_strict = self.planned.function.is_strict;
        let mut values = self.values.iter().zip(uses);
        let twice = values.any(|(value, uses)| value.is_volatile() && (*uses != 1 || is_strict));
        if !twice {
            return Ok(());
        }
        let name = &self.planned.function.name;
        let message = format!("function {name} takes no volatile argument here");
        Err(Error::unsupported(message).with_hint(format!(
            "Compute it first: SELECT {name}(x) FROM (SELECT random() AS x OFFSET 0) AS once."
        )))
    }

    /// The call as rows.
    fn rows(&self) -> Result<LogicalPlan> {
        let is_volatile = self.values.iter().any(Expr::is_volatile);
        if !is_volatile {
            return self.rows_of(&self.values);
        }
        // What changes by itself is computed once, in a row of its own.
        let table = format!("{}_arguments", self.planned.function.name.name);
        let values = self.values.iter().enumerate();
        let values = values.map(|(place, value)| value.clone().alias(format!("_{place}")));
        let once = LogicalPlanBuilder::empty(true)
            .project(values)?
            .alias(table.as_str())?;
        let columns = once.schema().columns().into_iter();
        let columns = columns.zip(once.schema().fields().iter());
        let arguments =
            columns.map(|(column, field)| Expr::OuterReferenceColumn(Arc::clone(field), column));
        let arguments: Vec<Expr> = arguments.collect();
        let rows = self.rows_of(&arguments)?;
        let outputs = rows.schema().columns();
        let rows = match subquery(rows) {
            rows if rows.outer_ref_columns.is_empty() => Arc::unwrap_or_clone(rows.subquery),
            rows => LogicalPlan::Subquery(rows),
        };
        let rows = LogicalPlanBuilder::from(rows)
            .alias(self.planned.function.name.name.as_str())?
            .build()?;
        let outputs = rows.schema().columns().into_iter().zip(outputs);
        let outputs = outputs.map(|(column, named)| Expr::Column(column).alias(named.name));
        let outputs: Vec<Expr> = outputs.collect();
        Ok(once.cross_join(rows)?.project(outputs)?.build()?)
    }

    fn rows_of(&self, values: &[Expr]) -> Result<LogicalPlan> {
        let function = &self.planned.function;
        let call = Call {
            planned: self.planned,
            values: values.to_vec(),
        };
        match &self.planned.does {
            Does::Query(plan) if function.returns_set => {
                let rows = LogicalPlanBuilder::from(put(plan.clone(), values)?);
                Ok(match call.null_among() {
                    Some(is_null) => rows.filter(not(is_null))?.build()?,
                    None => rows.build()?,
                })
            }
            Does::Query(plan) if self.planned.columns.len() > 1 => {
                let rows = LogicalPlanBuilder::from(put(plan.clone(), values)?);
                Ok(rows.limit(0, Some(1))?.build()?)
            }
            Does::Value(_) | Does::Query(_) => {
                let value = call.value(&DFSchema::empty())?;
                let name = match self.planned.columns.first() {
                    Some(column) => column.name().clone(),
                    None => function.name.name.clone(),
                };
                Ok(LogicalPlanBuilder::empty(true)
                    .project([value.alias(name)])?
                    .build()?)
            }
        }
    }
}

/// Whether a plan has one row, whatever it reads.
fn is_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => is_one_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => is_one_row(&alias.input),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(empty) => empty.produce_one_row,
        _ => false,
    }
}

fn subquery(plan: LogicalPlan) -> Subquery {
    Subquery {
        outer_ref_columns: plan.all_out_ref_exprs(),
        subquery: Arc::new(plan),
        spans: Default::default(),
    }
}

/// A call in FROM as a table.
#[derive(Debug)]
struct InlinedTable {
    plan: LogicalPlan,
    schema: SchemaRef,
    /// The function's name.
    name: String,
    /// Whether its only column is called as the table is.
    is_value: bool,
}

impl TableSource for InlinedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        Some(Cow::Borrowed(&self.plan))
    }
}

impl Calls {
    /// The marker of a call of that name.
    pub(in crate::sql) fn marker(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        let site = self.get(name)?;
        let marker = Marker::new(name, Arc::clone(site));
        Some(Arc::new(ScalarUDF::new_from_impl(marker)))
    }

    /// The call of that name in FROM as a table.
    ///
    /// # Errors
    /// Those of the call.
    pub(in crate::sql) fn table(
        &self,
        name: &str,
        arguments: &[Expr],
    ) -> Option<Result<Arc<dyn TableSource>>> {
        let site = self.get(name)?;
        let table = || -> Result<Arc<dyn TableSource>> {
            // Calls among the arguments.
            let inner = |argument: &Expr| inlined(argument.clone(), &DFSchema::empty());
            let arguments = arguments.iter().map(inner);
            let arguments: Vec<Expr> = arguments.collect::<DataFusionResult<_>>()?;
            let call = site.call(&arguments, &DFSchema::empty())?;
            let plan = call.rows()?;
            let function = &call.planned.function;
            let named = function.outputs().any(|p| p.name.is_some());
            Ok(Arc::new(InlinedTable {
                schema: Arc::clone(plan.schema().inner()),
                name: function.name.name.clone(),
                is_value: matches!(function.returns, Returns::Value(_)) && !named,
                plan,
            }))
        };
        Some(table())
    }
}

/// Plans a call in FROM of a function that users made; `None` for another relation.
pub(in crate::sql) fn plan_call(
    relation: &TableFactor,
    context: &mut dyn RelationPlannerContext,
) -> Option<DataFusionResult<RelationPlanning>> {
    let TableFactor::Function {
        name,
        args,
        with_ordinality,
        alias,
        ..
    } = relation
    else {
        return None;
    };
    let [schema, marker] = name.0.as_slice() else {
        return None;
    };
    let marker = marker.as_ident()?;
    if schema.as_ident()?.value != USER_FUNCTION {
        return None;
    }
    Some(called(
        &marker.value,
        args,
        *with_ordinality,
        alias.clone(),
        context,
    ))
}

fn called(
    marker: &str,
    args: &[FunctionArg],
    with_ordinality: bool,
    alias: Option<TableAlias>,
    context: &mut dyn RelationPlannerContext,
) -> DataFusionResult<RelationPlanning> {
    if with_ordinality {
        let message = "WITH ORDINALITY of a function in SQL is not supported";
        return Err(Error::unsupported(message)
            .with_hint("row_number() OVER () numbers rows.")
            .into());
    }
    let empty = DFSchema::empty();
    let mut arguments = Vec::with_capacity(args.len());
    for arg in args {
        let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = arg else {
            let message = "an argument of a function is none";
            return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message).into());
        };
        arguments.push(context.sql_to_expr(expr.clone(), &empty)?);
    }
    let source = context
        .context_provider()
        .get_table_function_source(marker, arguments)?;
    let found = (source.as_ref() as &dyn Any).downcast_ref::<InlinedTable>();
    let found = found.ok_or_else(|| Error::internal("a call in FROM is no table"))?;
    let name = TableReference::bare(found.name.as_str());
    let alias = alias.map(|alias| match found.is_value && alias.columns.is_empty() {
        // The column of a value is called as its table is.
        true => {
            let column = TableAliasColumnDef {
                name: alias.name.clone(),
                data_type: None,
            };
            TableAlias {
                columns: vec![column],
                ..alias
            }
        }
        false => alias,
    });
    let plan = LogicalPlanBuilder::scan(name, Arc::clone(&source), None)?.build()?;
    Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(
        plan, alias,
    ))))
}

/// A call while the statement around is planned.
#[derive(Debug)]
struct Marker {
    name: String,
    site: Arc<CallSite>,
    signature: Signature,
}

impl Marker {
    fn new(name: &str, site: Arc<CallSite>) -> Self {
        let any = vec![TypeSignature::Nullary, TypeSignature::UserDefined];
        let declared = site.candidates.first().map(|c| c.function.volatility);
        let volatility = match declared {
            Some(Declared::Immutable) => Volatility::Immutable,
            _ => Volatility::Stable,
        };
        Self {
            name: name.to_string(),
            site,
            signature: Signature::one_of(any, volatility),
        }
    }
}

impl PartialEq for Marker {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.site, &other.site)
    }
}

impl Eq for Marker {}

impl Hash for Marker {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Marker {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DataFusionResult<DataType> {
        Err(Error::internal("a call of a function was not inlined").into())
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let fields = args.arg_fields.iter().zip(args.scalar_arguments);
        let oids = fields.map(|(field, literal)| oid_of_field(field, literal.is_some()));
        let (planned, _) = self.site.chosen(&oids.collect::<Vec<_>>())?;
        let value = match planned.columns.first() {
            Some(column) => Field::clone(column).with_name(&self.name),
            None => Field::new(&self.name, DataType::Null, true),
        };
        Ok(Arc::new(value.with_nullable(true)))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        Err(Error::internal("a call of a function was not inlined").into())
    }
}

fn marker_of(expr: &Expr) -> Option<(&Marker, &ScalarFunction)> {
    let Expr::ScalarFunction(function) = expr else {
        return None;
    };
    let marker = (function.func.inner().as_ref() as &dyn Any).downcast_ref::<Marker>();
    marker.map(|marker| (marker, function))
}

/// The expression over rows of that schema with what its calls mean in their place.
fn inlined(expr: Expr, schema: &DFSchema) -> DataFusionResult<Expr> {
    let inlined = expr.transform_up(|expr| {
        let Some((marker, function)) = marker_of(&expr) else {
            return Ok(Transformed::no(expr));
        };
        let call = marker.site.call(&function.args, schema)?;
        Ok(Transformed::yes(call.value(schema)?))
    })?;
    Ok(inlined.data)
}

/// The plan with what its calls mean in their place.
///
/// # Errors
/// Those of the calls.
pub(in crate::sql) fn inline_calls(
    plan: LogicalPlan,
    calls: &Calls,
) -> DataFusionResult<LogicalPlan> {
    if calls.is_empty() {
        return Ok(plan);
    }
    let plan = plan.transform_up_with_subqueries(|plan| {
        let schema = merge_schema(&plan.inputs());
        let names = NamePreserver::new(&plan);
        let mut any = false;
        let plan = plan.map_expressions(|expr| {
            if !expr.exists(|expr| Ok(marker_of(expr).is_some()))? {
                return Ok(Transformed::no(expr));
            }
            any = true;
            let name = names.save(&expr);
            let value = inlined(expr, &schema)?;
            Ok(Transformed::yes(name.restore(value)))
        })?;
        match any {
            true => plan.map_data(|plan| plan.recompute_schema()),
            false => Ok(plan),
        }
    })?;
    Ok(plan.data)
}
