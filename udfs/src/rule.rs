//! The analyzer rule that gives casts to and from vectors their meaning.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{AggregateFunction, InList, WindowFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    AggregateUDF, Cast, Expr, ExprSchemable, LogicalPlan, WindowFunctionDefinition,
};
use datafusion::optimizer::AnalyzerRule;

use crate::coerce::{cast_to_text, cast_to_vector};
use crate::overload::OverloadedAggregate;
use crate::signature::literal_text;
use crate::types::{VectorType, is_text};

/// Replaces `text::vector(3)`, `array::vector`, `vector::text` and the like by functions, because
/// Arrow's cast cannot read vectors and checks neither dimension nor range; and `avg` and `sum` of
/// anything but vectors by the built-in functions.
///
/// It does not matter whether it runs before or after type coercion: SQL's casts are planned
/// without asking whether Arrow could carry them out.
#[derive(Debug, Clone, Copy, Default)]
pub struct VectorCastRule;

impl AnalyzerRule for VectorCastRule {
    fn name(&self) -> &str {
        "vector_cast"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(rewrite_plan)?.data)
    }
}

fn rewrite_plan(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let schema = schema_below(&plan)?;
    let names = NamePreserver::new(&plan);
    let rewritten = plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let rewritten = expr.transform_up(|expr| rewrite_expr(expr, &schema))?;
        Ok(rewritten.update_data(|expr| name.restore(expr)))
    })?;
    if !rewritten.transformed {
        return Ok(rewritten);
    }
    rewritten.map_data(LogicalPlan::recompute_schema)
}

/// The columns that a node's expressions may name.
fn schema_below(plan: &LogicalPlan) -> Result<DFSchema> {
    let mut schema = merge_schema(&plan.inputs());
    if let LogicalPlan::TableScan(scan) = plan {
        let source = scan.source.schema();
        schema.merge(&DFSchema::try_from_qualified_schema(
            scan.table_name.clone(),
            &source,
        )?);
    }
    Ok(schema)
}

fn rewrite_expr(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let rewritten = match &expr {
        Expr::Cast(cast) => rewrite_cast(cast, schema)?,
        Expr::InList(list) => rewrite_list(list, schema)?,
        Expr::AggregateFunction(call) => rewrite_aggregate(call, schema),
        Expr::WindowFunction(call) => rewrite_window(call, schema),
        _ => None,
    };
    Ok(match rewritten {
        Some(expr) => Transformed::yes(expr),
        None => Transformed::no(expr),
    })
}

fn rewrite_cast(cast: &Cast, schema: &DFSchema) -> Result<Option<Expr>> {
    let to = cast.field.data_type();
    let target = VectorType::of_target(to);
    if target.is_none() && !is_text(to) {
        return Ok(None);
    }
    let Ok(from) = cast.expr.get_type(schema) else {
        return Ok(None);
    };
    match target {
        Some(_) if from == *to => Ok(None),
        Some(target) => cast_to_vector(&cast.expr, &from, target),
        None if VectorType::of(&from).is_some() => Ok(Some(cast_to_text(&cast.expr, to))),
        None => Ok(None),
    }
}

/// `v IN ('[1,2]', ...)`: the literals become vectors.
fn rewrite_list(list: &InList, schema: &DFSchema) -> Result<Option<Expr>> {
    if !list.list.iter().any(|item| literal_text(item).is_some()) {
        return Ok(None);
    }
    let vector = list
        .expr
        .get_type(schema)
        .ok()
        .and_then(|t| VectorType::of(&t));
    let Some(target) = vector else {
        return Ok(None);
    };
    let item = |item: &Expr| match cast_to_vector(item, &DataType::Null, target)? {
        Some(vector) => Ok(vector),
        None => Ok(item.clone()),
    };
    let items = list.list.iter().map(item).collect::<Result<Vec<_>>>()?;
    Ok(Some(Expr::InList(InList::new(
        list.expr.clone(),
        items,
        list.negated,
    ))))
}

fn rewrite_aggregate(call: &AggregateFunction, schema: &DFSchema) -> Option<Expr> {
    let builtin = builtin_for(&call.func, &call.params.args, schema)?;
    let call = AggregateFunction {
        func: builtin,
        params: call.params.clone(),
    };
    Some(Expr::AggregateFunction(call))
}

fn rewrite_window(call: &WindowFunction, schema: &DFSchema) -> Option<Expr> {
    let WindowFunctionDefinition::AggregateUDF(function) = &call.fun else {
        return None;
    };
    let builtin = builtin_for(function, &call.params.args, schema)?;
    let mut call = call.clone();
    call.fun = WindowFunctionDefinition::AggregateUDF(builtin);
    Some(Expr::WindowFunction(Box::new(call)))
}

/// The function to call instead of an overloaded one, when the arguments are no vector.
fn builtin_for(
    function: &AggregateUDF,
    args: &[Expr],
    schema: &DFSchema,
) -> Option<Arc<AggregateUDF>> {
    let builtin = OverloadedAggregate::builtin_of(function)?;
    let types = args.iter().map(|arg| arg.get_type(schema));
    let types = types.collect::<Result<Vec<DataType>>>().ok()?;
    (!OverloadedAggregate::takes(&types)).then(|| Arc::clone(builtin))
}
