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
    AggregateUDF, Cast, Expr, ExprSchemable, LogicalPlan, ScalarUDF, Sort,
    WindowFunctionDefinition, and, not,
};
use datafusion::optimizer::AnalyzerRule;

use crate::arithmetic::ArithmeticFunction;
use crate::bit_cast::{BitsToIntegerFunction, ToBitsFunction};
use crate::bit_type::BitType;
use crate::coerce::{cast_to_text, cast_to_vector, parameter};
use crate::compare::{Comparison, ComparisonFunction};
use crate::distance::DistanceFunction;
use crate::error::VectorError;
use crate::functions::{MeasureFunction, NormalizeFunction};
use crate::operators::{as_sparse, is_sparse};
use crate::overload::OverloadedAggregate;
use crate::signature::literal_text;
use crate::sparse::SparseType;
use crate::sparse_functions::{
    SparseFunction, SparseOperation, SparseToVectorFunction, ToSparseFunction,
};
use crate::types::{Element, VectorType, is_text};

/// Gives casts, and what else depends on types, the meaning that it has for vectors.
///
/// - `text::vector(3)`, `array::vector`, `vector::text` become functions, because Arrow's cast cannot
///   read vectors and checks neither dimension nor range.
/// - `text::bit(3)`, `5::bit(8)`, `bits::integer` become functions, which cut and fill as PostgreSQL does.
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
    let plan = match plan {
        LogicalPlan::Sort(sort) => sort_sparse(sort).update_data(LogicalPlan::Sort),
        plan => Transformed::no(plan),
    };
    plan.transform_data(rewrite_expressions)
}

fn rewrite_expressions(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
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

/// Sparse vectors in ORDER BY are sorted by keys: their texts have another order.
fn sort_sparse(mut sort: Sort) -> Transformed<Sort> {
    let schema = sort.input.schema();
    let mut changed = false;
    for key in &mut sort.expr {
        if is_sparse(&key.expr, schema) {
            key.expr = SparseFunction::udf(SparseOperation::SortKey).call(vec![key.expr.clone()]);
            changed = true;
        }
    }
    Transformed::new(sort, changed, TreeNodeRecursion::Continue)
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
            is_text(to)
                || VectorType::of_target(to).is_some()
                || (to.is_integer() && !matches!(*cast.expr, Expr::Literal(..)))
        }
        Expr::InList(_) | Expr::Between(_) => true,
        Expr::AggregateFunction(call) => OverloadedAggregate::builtin_of(&call.func).is_some(),
        Expr::WindowFunction(call) => match &call.fun {
            WindowFunctionDefinition::AggregateUDF(function) => {
                OverloadedAggregate::builtin_of(function).is_some()
            }
            _ => false,
        },
        Expr::ScalarFunction(call) => {
            takes_two_vectors(&call.func) || sparse_operation(&call.func).is_some()
        }
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
    if let Some(bits) = BitType::of_field(&cast.field) {
        return cast_to_bits(&cast.expr, bits, schema).map(Some);
    }
    if to.is_integer() {
        return cast_of_bits(cast, schema);
    }
    if let Some(sparse) = SparseType::of_field(&cast.field) {
        return Ok(Some(cast_to_sparse(&cast.expr, sparse)));
    }
    let target = VectorType::of_target(to);
    if target.is_none() && !is_text(to) {
        return Ok(None);
    }
    let Ok(from) = cast.expr.get_type(schema) else {
        return Ok(None);
    };
    match target {
        Some(target) if is_sparse(&cast.expr, schema) => {
            let function = ScalarUDF::new_from_impl(SparseToVectorFunction::new(target));
            Ok(Some(function.call(vec![cast.expr.as_ref().clone()])))
        }
        Some(_) if from == *to => Ok(None),
        Some(target) => cast_to_vector(&cast.expr, &from, target),
        None if VectorType::of(&from).is_some() => Ok(Some(cast_to_text(&cast.expr, to))),
        None => Ok(None),
    }
}

/// A cast to a type of bit strings as a call; a parameter without a type gets theirs.
fn cast_to_bits(expr: &Expr, target: BitType, schema: &DFSchema) -> Result<Expr> {
    if let Ok(from) = expr.get_type(schema) {
        let has_cast = is_text(&from) || from.is_null() || (from.is_integer() && !target.varying);
        if !has_cast {
            return Err(VectorError::no_bit_cast(&from, target).into());
        }
    }
    let value = match expr {
        Expr::Placeholder(Placeholder { id, field: None }) => {
            let field = BitType {
                length: None,
                ..target
            }
            .field("", true);
            Expr::Placeholder(Placeholder::new_with_field(id.clone(), Some(field)))
        }
        typed => typed.clone(),
    };
    Ok(ScalarUDF::new_from_impl(ToBitsFunction::new(target)).call(vec![value]))
}

/// A cast to a type of sparse vectors as a call; a parameter without a type gets theirs.
fn cast_to_sparse(expr: &Expr, target: SparseType) -> Expr {
    let value = match expr {
        Expr::Placeholder(Placeholder { field: None, .. }) => as_sparse(expr.clone()),
        typed => typed.clone(),
    };
    ScalarUDF::new_from_impl(ToSparseFunction::new(target)).call(vec![value])
}

/// `B'101'::int`: a bit string to an integer, which is no text to read.
fn cast_of_bits(cast: &Cast, schema: &DFSchema) -> Result<Option<Expr>> {
    let Ok((_, from)) = cast.expr.to_field(schema) else {
        return Ok(None);
    };
    let Some(bits) = BitType::of_field(&from) else {
        return Ok(None);
    };
    let function = BitsToIntegerFunction::try_new(bits, cast.field.data_type())?;
    let call = ScalarUDF::new_from_impl(function).call(vec![cast.expr.as_ref().clone()]);
    Ok(Some(call))
}

/// `v IN ('[1,2]', ...)`: the literals become vectors.
fn rewrite_list(list: &InList, schema: &DFSchema) -> Result<Option<Expr>> {
    if !list.list.iter().any(|item| literal_text(item).is_some()) {
        return Ok(None);
    }
    if is_sparse(&list.expr, schema) {
        let items = list.list.iter().cloned().map(as_sparse).collect();
        let list = InList::new(list.expr.clone(), items, list.negated);
        return Ok(Some(Expr::InList(list)));
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
    let sparse = [expr, low, high].into_iter().any(|e| is_sparse(e, schema));
    if !sparse && ![expr, low, high].into_iter().any(|e| is_vector(e)) {
        return None;
    }
    let compare = |comparison, bound: &Expr| {
        let sides = [expr.as_ref(), bound].map(Expr::clone);
        match sparse {
            true => SparseFunction::udf(SparseOperation::Comparison(comparison))
                .call(sides.map(as_sparse).to_vec()),
            false => {
                ScalarUDF::new_from_impl(ComparisonFunction::new(comparison)).call(sides.to_vec())
            }
        }
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

/// What a function of vectors means where an argument is a sparse one.
fn sparse_operation(function: &ScalarUDF) -> Option<SparseOperation> {
    let distance = DistanceFunction::metric_of(function).map(SparseOperation::Distance);
    let comparison = ComparisonFunction::comparison_of(function).map(SparseOperation::Comparison);
    let norm = MeasureFunction::is_norm(function).then_some(SparseOperation::Norm);
    let normalize = function.inner().is::<NormalizeFunction>();
    distance
        .or(comparison)
        .or(norm)
        .or(normalize.then_some(SparseOperation::Normalize))
}

/// `l2_distance(v, $1)`: the parameter gets the type of the other side.
fn rewrite_call(call: &ScalarFunction, schema: &DFSchema) -> Option<Expr> {
    if let Some(operation) = sparse_operation(&call.func)
        && call.args.iter().any(|arg| is_sparse(arg, schema))
    {
        let args = call.args.iter().cloned().map(as_sparse).collect();
        return Some(SparseFunction::udf(operation).call(args));
    }
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
