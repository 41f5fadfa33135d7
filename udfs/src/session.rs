//! All of it installed in a DataFusion session.

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::functions_aggregate::{average::avg_udaf, sum::sum_udaf};
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF};
use datafusion::optimizer::{Analyzer, AnalyzerRule};
use datafusion::prelude::SessionContext;

use crate::aggregate::{Total, VectorAggregate};
use crate::arithmetic::{Arithmetic, ArithmeticFunction};
use crate::bit_functions::{BinaryQuantizeFunction, BitDistanceFunction};
use crate::bit_operators::{BitFunction, BitOperation};
use crate::cast::{ToArrayFunction, ToTextFunction, ToVectorFunction};
use crate::compare::{Comparison, ComparisonFunction};
use crate::distance::DistanceFunction;
use crate::functions::{MeasureFunction, NormalizeFunction, SubvectorFunction};
use crate::kernels::{BitMetric, Metric};
use crate::operators::VectorExprPlanner;
use crate::overload::OverloadedAggregate;
use crate::rule::VectorCastRule;
use crate::sparse_functions::{SparseFunction, SparseOperation};
use crate::state::StateFunction;
use crate::type_planner::VectorTypePlanner;
use crate::types::Element;

/// Every scalar function of this crate.
pub fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let mut functions = vec![
        ScalarUDF::new_from_impl(MeasureFunction::dimensions()),
        ScalarUDF::new_from_impl(MeasureFunction::norm()),
        ScalarUDF::new_from_impl(NormalizeFunction::new()),
        ScalarUDF::new_from_impl(SubvectorFunction::new()),
        ScalarUDF::new_from_impl(BinaryQuantizeFunction::new()),
        ScalarUDF::new_from_impl(ToTextFunction::new()),
        ScalarUDF::new_from_impl(ToArrayFunction::new()),
    ];
    for element in [Element::Single, Element::Half] {
        functions.push(ScalarUDF::new_from_impl(ToVectorFunction::from_text(
            element,
        )));
        functions.push(ScalarUDF::new_from_impl(ToVectorFunction::from_array(
            element,
        )));
    }
    let distances = Metric::ALL
        .map(DistanceFunction::new)
        .map(ScalarUDF::new_from_impl);
    let bit_distances = BitMetric::ALL
        .map(BitDistanceFunction::new)
        .map(ScalarUDF::new_from_impl);
    let arithmetic = Arithmetic::ALL
        .map(ArithmeticFunction::new)
        .map(ScalarUDF::new_from_impl);
    let comparisons = Comparison::ALL
        .map(ComparisonFunction::new)
        .map(ScalarUDF::new_from_impl);
    functions.extend(distances.into_iter().chain(bit_distances));
    let bits = BitOperation::NAMED
        .map(BitFunction::new)
        .map(ScalarUDF::new_from_impl);
    let sparse = Comparison::ALL
        .map(SparseOperation::Comparison)
        .into_iter()
        .chain([Metric::L2Squared, Metric::NegativeInnerProduct].map(SparseOperation::Distance));
    functions.extend(
        sparse
            .map(SparseFunction::new)
            .map(ScalarUDF::new_from_impl),
    );
    functions.extend(StateFunction::all().map(ScalarUDF::new_from_impl));
    functions.extend(arithmetic.into_iter().chain(comparisons).chain(bits));
    functions.into_iter().map(Arc::new).collect()
}

/// `vector_avg` and `vector_sum`, and `avg` and `sum` overloaded: `existing` finds the functions
/// that have these names now.
pub fn aggregate_functions(
    existing: impl Fn(&str) -> Option<Arc<AggregateUDF>>,
) -> Vec<Arc<AggregateUDF>> {
    let pairs = [
        (Total::Average, "avg", avg_udaf()),
        (Total::Sum, "sum", sum_udaf()),
    ];
    let mut functions = Vec::new();
    for (total, name, default) in pairs {
        let vector = VectorAggregate::new(total);
        functions.push(Arc::new(AggregateUDF::new_from_impl(vector.clone())));
        let builtin = existing(name).unwrap_or(default);
        if OverloadedAggregate::builtin_of(&builtin).is_none() {
            let overloaded = OverloadedAggregate::new(vector, builtin);
            functions.push(Arc::new(AggregateUDF::new_from_impl(overloaded)));
        }
    }
    functions
}

/// Registers all functions, without operators, types and casts.
///
/// # Errors
/// When the registry takes no functions.
pub fn register_functions(registry: &mut dyn FunctionRegistry) -> Result<()> {
    for function in scalar_functions() {
        registry.register_udf(function)?;
    }
    for function in aggregate_functions(|name| registry.udaf(name).ok()) {
        registry.register_udaf(function)?;
    }
    Ok(())
}

/// Adds vectors to a session that is being built: functions, operators, types and casts.
///
/// Call it after [`SessionStateBuilder::with_default_features`], whose `avg`, `sum`, `||` and
/// distance functions it overloads, and after a type planner is set, which it keeps.
pub fn with_vector_support(mut builder: SessionStateBuilder) -> SessionStateBuilder {
    builder
        .scalar_functions()
        .get_or_insert_with(Vec::new)
        .extend(scalar_functions());
    let aggregates = builder.aggregate_functions().get_or_insert_with(Vec::new);
    let added = aggregate_functions(|name| {
        // The last of a name wins when the session is built.
        aggregates
            .iter()
            .rev()
            .find(|function| function.name() == name)
            .cloned()
    });
    aggregates.extend(added);

    let planner: Arc<dyn ExprPlanner> = Arc::new(VectorExprPlanner);
    builder
        .expr_planners()
        .get_or_insert_with(Vec::new)
        .insert(0, planner);
    let types = VectorTypePlanner::new(builder.type_planner().take());
    let rule: Arc<dyn AnalyzerRule + Send + Sync> = Arc::new(VectorCastRule);
    builder
        .analyzer()
        .get_or_insert_with(Analyzer::new)
        .rules
        .insert(0, rule);
    builder.with_type_planner(Arc::new(types))
}

/// Adds vectors to a session that exists: functions, operators, types and casts.
///
/// ```
/// use datafusion::prelude::SessionContext;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> datafusion::error::Result<()> {
/// let ctx = SessionContext::new();
/// shelfmark_udfs::register_all(&ctx);
/// let batches = ctx
///     .sql("SELECT l2_distance('[1,2]'::vector, '[4,6]') AS far, avg(v)::text AS middle
///           FROM (VALUES ('[1,2]'::vector(2)), ('[2,4]'::vector(2))) AS t(v)")
///     .await?
///     .collect()
///     .await?;
/// let table = datafusion::arrow::util::pretty::pretty_format_batches(&batches)?.to_string();
/// assert!(table.contains("| 5.0 | [1.5,3] |"));
/// # Ok(())
/// # }
/// ```
///
/// The operators need a dialect that reads them: `SET datafusion.sql_parser.dialect = 'postgres'`.
/// Even that one knows no `<+>`; call `l1_distance` there.
pub fn register_all(ctx: &SessionContext) {
    let state = ctx.state();
    let id = state.session_id().to_string();
    let builder = SessionStateBuilder::new_from_existing(state).with_session_id(id);
    *ctx.state_ref().write() = with_vector_support(builder).build();
}
