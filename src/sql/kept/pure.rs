//! Whether a plan says the same at any time: what may be evaluated when it is optimised stays true.
//!
//! The time of `now()` is known when a statement begins: it becomes one more parameter.

use std::cell::RefCell;
use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result};
use datafusion::datasource::source_as_provider;
use datafusion::functions::datetime::now::NowFunc;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::{
    Expr, ExprSchemable, Extension, LogicalPlan, TableScan, Volatility, WindowFunctionDefinition,
    cast,
};

use super::parameter::reads_session;
use crate::catalog::dml::{ChangedRowsNode, ConflictNode, DmlNode};
use crate::catalog::table::CollectionTable;
use crate::search::knn::KnnJoin;
use crate::sql::access::view::ViewNode;
use crate::sql::keyless::KeylessNode;
use crate::sql::parameters::{has_parameter, replace};

/// Whether a plan reads collections alone, by functions that depend on nothing but their arguments.
pub(super) fn is_pure(plan: &LogicalPlan) -> Result<bool> {
    let mut pure = true;
    plan.apply_with_subqueries(|node| {
        pure = pure && is_pure_node(node)?;
        Ok(match pure {
            true => TreeNodeRecursion::Continue,
            false => TreeNodeRecursion::Stop,
        })
    })?;
    Ok(pure)
}

fn is_pure_node(node: &LogicalPlan) -> Result<bool> {
    let known = match node {
        LogicalPlan::TableScan(scan) => is_collection(scan),
        LogicalPlan::Extension(extension) => {
            let node = extension.node.as_any();
            node.is::<DmlNode>()
                || node.is::<ChangedRowsNode>()
                || node.is::<ConflictNode>()
                || node.is::<ViewNode>()
                || node.is::<KnnJoin>()
                || node.is::<KeylessNode>()
        }
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Aggregate(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Join(_)
        | LogicalPlan::Union(_)
        | LogicalPlan::EmptyRelation(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Values(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Unnest(_) => true,
        _ => false,
    };
    let mut pure = known;
    node.apply_expressions(|expr| {
        pure = pure && !expr.exists(|e| Ok(!is_pure_expr(e)))?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(pure)
}

fn is_collection(scan: &TableScan) -> bool {
    let provider = source_as_provider(&scan.source);
    provider.is_ok_and(|provider| {
        let table = provider.downcast_ref::<CollectionTable>();
        table.is_some_and(|table| !table.is_fixed())
    })
}

/// Whether a plan reads an earlier version. It holds that version as long as it is there itself, and which one a time
/// means may change: such a plan is made for one execution.
pub(in crate::sql) fn reads_the_past(plan: &LogicalPlan) -> Result<bool> {
    let mut past = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let provider = source_as_provider(&scan.source);
            past |= provider.is_ok_and(|provider| {
                let table = provider.downcast_ref::<CollectionTable>();
                table.is_some_and(CollectionTable::is_fixed)
            });
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(past)
}

/// Functions that are called when a plan is executed, whatever was known before.
const REPEATED: [&str; 4] = ["random", "uuid", "gen_random_uuid", "uuid_generate_v4"];

fn is_pure_expr(expr: &Expr) -> bool {
    let volatility = match expr {
        Expr::ScalarFunction(call) if REPEATED.contains(&call.name()) => return true,
        _ if reads_session(expr) => return true,
        Expr::ScalarFunction(function) => function.func.signature().volatility,
        Expr::AggregateFunction(function) => function.func.signature().volatility,
        Expr::WindowFunction(window) => match &window.fun {
            WindowFunctionDefinition::AggregateUDF(function) => function.signature().volatility,
            WindowFunctionDefinition::WindowUDF(function) => function.signature().volatility,
        },
        Expr::ScalarVariable(..) | Expr::HigherOrderFunction(_) => return false,
        _ => Volatility::Immutable,
    };
    volatility == Volatility::Immutable
}

/// Whether a plan calls functions that must be told of the session which executes it.
pub(super) fn has_session_functions(plan: &LogicalPlan) -> Result<bool> {
    let mut any = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            any = any || expr.exists(|e| Ok(reads_session(e)))?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(match any {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    })?;
    Ok(any)
}

/// The plan with a parameter at `place` where it calls `now()`, and the type of that time if it does. It is one time, also
/// where it is seen from another time zone.
pub(super) fn with_open_time(
    plan: LogicalPlan,
    place: usize,
) -> Result<(LogicalPlan, Option<FieldRef>)> {
    let field = RefCell::new(None);
    let plan = replace(plan, &is_now, &|expr| {
        if !is_now(&expr) {
            return Ok(Transformed::no(expr));
        }
        let (_, time) = expr.to_field(&DFSchema::empty())?;
        let first = Arc::clone(field.borrow_mut().get_or_insert_with(|| Arc::clone(&time)));
        let is_other = first.data_type() != time.data_type();
        let parameter = Placeholder::new_with_field(format!("${}", place + 1), Some(first));
        let parameter = Expr::Placeholder(parameter);
        Ok(Transformed::yes(match is_other {
            true => cast(parameter, time.data_type().clone()),
            false => parameter,
        }))
    })?;
    Ok((plan, field.into_inner()))
}

fn is_now(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.func.inner().is::<NowFunc>())
}

/// Whether LIMIT or OFFSET has a parameter, or how many rows a search finds is one.
pub(super) fn has_open_limit(plan: &LogicalPlan) -> Result<bool> {
    let mut open = false;
    plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::Limit(_) => {
                node.apply_expressions(|expr| {
                    open = open || has_parameter(expr)?;
                    Ok(TreeNodeRecursion::Continue)
                })?;
            }
            LogicalPlan::Extension(Extension { node }) => {
                let join = node.as_any().downcast_ref::<KnnJoin>();
                open = open || join.map_or(Ok(false), |join| has_parameter(join.k()))?;
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(open)
}
