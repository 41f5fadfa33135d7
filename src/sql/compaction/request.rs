//! What COMPACT asks for, as a request of the scheduler.

use datafusion::common::DFSchema;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::sql::sqlparser::ast::{self, ExprWithAlias};

use crate::compaction::policy::{JobOptions, KeyRange, Request, Scope};
use crate::error::{Error, Result};
use crate::sql::ddl::{find_collection, qualify};
use crate::sql::session::Planning;
use crate::sql::statement::Compact;
use crate::storage::change::JobKind;
use crate::storage::collection::Collection;
use crate::storage::stats::Bound;

/// The request that the statement makes.
///
/// # Errors
/// 0A000 for a condition that is not one of key ranges, the errors of planning it, 42P01 for a collection of it that
/// does not exist.
pub(super) fn request(planning: &Planning<'_>, compact: &Compact) -> Result<Request> {
    let mut scope = Scope {
        bytes_max: compact.limit,
        ..Scope::default()
    };
    if let (Some(filter), Some(name)) = (&compact.filter, &compact.name) {
        let name = qualify(name, &planning.session.search_path())?;
        let collection = find_collection(&planning.snapshot, &name)?;
        scope.ranges = key_ranges(planning, collection, filter.clone())?;
    }
    let kind = match compact.clustering {
        true => JobKind::Cluster,
        false => JobKind::Merge,
    };
    let options = JobOptions {
        full: compact.full,
        target_size: compact.target_size,
        scope,
        ..JobOptions::default()
    };
    Ok(Request { kind, options })
}

/// The ranges of keys that the condition demands, all of them.
fn key_ranges(
    planning: &Planning<'_>,
    collection: &Collection,
    filter: ast::Expr,
) -> Result<Vec<KeyRange>> {
    let arrow = collection.schema.arrow_schema();
    let schema = DFSchema::try_from_qualified_schema(collection.name.name.as_str(), &arrow)?;
    let filter = ExprWithAlias {
        expr: filter,
        alias: None,
    };
    let filter = planning
        .state
        .create_logical_expr_from_sql_expr(filter, &schema)?;
    let start = planning.state.execution_props().query_execution_start_time;
    let context = SimplifyContext::builder()
        .with_config_options(std::sync::Arc::clone(planning.state.config_options()))
        .with_schema(std::sync::Arc::new(schema.clone()))
        .with_query_execution_start_time(start)
        .build();
    let simplifier = ExprSimplifier::new(context);
    let filter = simplifier.simplify(simplifier.coerce(filter, &schema)?)?;
    let terms = split_conjunction_owned(filter).into_iter();
    let range = |term: Expr| key_range(collection, &term).ok_or_else(no_range);
    terms.map(range).collect()
}

fn no_range() -> Error {
    let message = "COMPACT .. WHERE takes comparisons of columns with constants, connected by AND";
    Error::unsupported(message).with_hint("For example WHERE year BETWEEN 1990 AND 1999.")
}

/// The values that a comparison allows; ends that it leaves out are in, since this chooses segments, not rows.
fn key_range(collection: &Collection, term: &Expr) -> Option<KeyRange> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = term else {
        return None;
    };
    let (column, op, literal) = match (&**left, &**right) {
        (Expr::Column(column), Expr::Literal(literal, _)) => (column, *op, literal),
        (Expr::Literal(literal, _), Expr::Column(column)) => (column, op.swap()?, literal),
        _ => return None,
    };
    let field = collection.schema.column(&column.name)?.id;
    let bound = Some(Bound::from_scalar(literal)?);
    let (low, high) = match op {
        Operator::Eq => (bound.clone(), bound),
        Operator::Lt | Operator::LtEq => (None, bound),
        Operator::Gt | Operator::GtEq => (bound, None),
        _ => return None,
    };
    Some(KeyRange { field, low, high })
}
