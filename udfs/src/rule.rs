//! The analyzer rule that gives casts to and from vectors their meaning.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{
    AggregateFunction, Between, InList, Placeholder, ScalarFunction, WindowFunction,
};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    AggregateUDF, Cast, Expr, ExprSchemable, LogicalPlan, ScalarUDF, WindowFunctionDefinition, and,
    not,
};
use datafusion::optimizer::AnalyzerRule;

use crate::arithmetic::ArithmeticFunction;
use crate::coerce::{cast_to_text, cast_to_vector, parameter};
use crate::compare::{Comparison, ComparisonFunction};
use crate::distance::DistanceFunction;
use crate::overload::OverloadedAggregate;
use crate::signature::literal_text;
use crate::types::{Element, VectorType, is_text};

/// Gives casts, and what else depends on types, the meaning that it has for vectors.
///
/// - `text::vector(3)`, `array::vector`, `vector::text` become functions, because Arrow's cast cannot
///   read vectors and checks neither dimension nor range.
/// - `IN` and `BETWEEN` read string literals beside a vector.
/// - A parameter beside a vector gets its type; run the rule before asking a plan for its parameters.
/// - `avg` and `sum` of anything but vectors become the built-in functions again.
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
    if !any_concerned(&plan)? {
        return Ok(Transformed::no(plan));
    }
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

/// Whether the node has an expression that may have to be rewritten; most plans have none, and a
/// schema costs more than a look at the expressions.
fn any_concerned(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_expressions(|expr| {
        found = expr.exists(|expr| Ok(is_concerned(expr)))?;
        Ok(if found {
            TreeNodeRecursion::Stop
        } else {
            TreeNodeRecursion::Continue
        })
    })?;
    Ok(found)
}

fn is_concerned(expr: &Expr) -> bool {
    match expr {
        Expr::Cast(cast) => {
            let to = cast.field.data_type();
            is_text(to) || VectorType::of_target(to).is_some()
        }
        Expr::InList(_) | Expr::Between(_) => true,
        Expr::AggregateFunction(call) => OverloadedAggregate::builtin_of(&call.func).is_some(),
        Expr::WindowFunction(call) => match &call.fun {
            WindowFunctionDefinition::AggregateUDF(function) => {
                OverloadedAggregate::builtin_of(function).is_some()
            }
            _ => false,
        },
        Expr::ScalarFunction(call) => takes_two_vectors(&call.func),
        _ => false,
    }
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
        Expr::Between(between) => rewrite_between(between, schema),
        Expr::ScalarFunction(call) => rewrite_call(call, schema),
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

/// `v BETWEEN a AND b` by the order of vectors.
fn rewrite_between(between: &Between, schema: &DFSchema) -> Option<Expr> {
    let Between {
        expr,
        negated,
        low,
        high,
    } = between;
    let is_vector = |e: &Expr| {
        e.get_type(schema)
            .is_ok_and(|t| VectorType::of(&t).is_some())
    };
    if ![expr, low, high].into_iter().any(|e| is_vector(e)) {
        return None;
    }
    let compare = |comparison, bound: &Expr| {
        let function = ScalarUDF::new_from_impl(ComparisonFunction::new(comparison));
        function.call(vec![expr.as_ref().clone(), bound.clone()])
    };
    let inside = and(
        compare(Comparison::GreaterOrEqual, low),
        compare(Comparison::LessOrEqual, high),
    );
    Some(if *negated { not(inside) } else { inside })
}

/// Whether both arguments of a function are vectors.
fn takes_two_vectors(function: &ScalarUDF) -> bool {
    let function = function.inner();
    function.is::<DistanceFunction>()
        || function.is::<ComparisonFunction>()
        || function.is::<ArithmeticFunction>()
}

/// `l2_distance(v, $1)`: the parameter gets the type of the other side.
fn rewrite_call(call: &ScalarFunction, schema: &DFSchema) -> Option<Expr> {
    if !takes_two_vectors(&call.func) {
        return None;
    }
    let [left, right] = call.args.as_slice() else {
        return None;
    };
    let (id, other) = match (left, right) {
        (Expr::Placeholder(Placeholder { id, field: None }), other)
        | (other, Expr::Placeholder(Placeholder { id, field: None })) => (id, other),
        _ => return None,
    };
    let mut target = VectorType::of(&other.get_type(schema).ok()?)
        .unwrap_or(VectorType::unsized_of(Element::Single));
    if ArithmeticFunction::is_concat(&call.func) {
        target.dimension = None;
    }
    let typed = |arg: &Expr| match arg {
        Expr::Placeholder(Placeholder { field: None, .. }) => parameter(id, target),
        other => other.clone(),
    };
    Some(call.func.call(vec![typed(left), typed(right)]))
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
