//! AND, OR and CASE that do not compute what they need not: `x <> 0 AND 1 / x > 1`.
//!
//! DataFusion computes the right side of AND and OR for all rows of a batch, unless the left one decides every row of it,
//! and makes AND and OR of a CASE whose results are booleans. So a condition that keeps another from failing has no effect,
//! and the statement fails by a row that it does not want. Here:
//!
//! - `a AND b`, where b may fail, is `a AND CASE true WHEN a IS NOT FALSE THEN b ELSE false END`; `a` stays a condition of its
//!   own, by which segments are pruned;
//! - `a OR b` is `a OR CASE true WHEN a IS NOT TRUE THEN b ELSE true END`;
//! - a boolean `CASE WHEN a THEN b END` that may fail is `CASE true WHEN a THEN b END`, which is left as it is.
//!
//! What may fail is a division by anything but a constant, and a text that is read as another type.

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::utils::{conjunction, disjunction};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, lit};
use datafusion::optimizer::AnalyzerRule;

use super::text_input::TEXT_INPUT;
use crate::catalog::arithmetic::{CHECKED_DIVIDE, CHECKED_REMAINDER};
use crate::catalog::expressions::rewrite_expressions;

/// The most conditions that are looked at before one that may fail: each is computed again.
const GUARDS_MAX: usize = 16;

/// Guards what may fail by the conditions before it. It must run after the rules that make functions of casts and of
/// arithmetic.
#[derive(Debug, Default)]
pub(crate) struct LazyRule;

impl AnalyzerRule for LazyRule {
    fn name(&self) -> &str {
        "lazy_conditions"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_expressions(plan, concerns, rewrite)
    }
}

fn concerns(expr: &Expr) -> bool {
    match expr {
        Expr::BinaryExpr(BinaryExpr { op, right, .. }) => {
            matches!(op, Operator::And | Operator::Or) && may_fail(right)
        }
        Expr::Case(case) => case.expr.is_none() && results(case).any(may_fail),
        _ => false,
    }
}

/// What a CASE may be.
fn results(case: &Case) -> impl Iterator<Item = &Expr> {
    let thens = case.when_then_expr.iter().map(|(_, then)| then.as_ref());
    thens.chain(case.else_expr.as_deref())
}

/// Whether there are values for which the expression fails.
fn may_fail(expr: &Expr) -> bool {
    let fails = |expr: &Expr| match expr {
        Expr::BinaryExpr(BinaryExpr { op, right, .. }) => {
            matches!(op, Operator::Divide | Operator::Modulo) && !is_constant(right)
        }
        Expr::ScalarFunction(call) => match call.name() {
            CHECKED_DIVIDE | CHECKED_REMAINDER => !call.args.last().is_some_and(is_constant),
            TEXT_INPUT => !call.args.iter().all(is_constant),
            _ => false,
        },
        _ => false,
    };
    expr.exists(|expr| Ok(fails(expr))).unwrap_or(true)
}

fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(..) | Expr::Placeholder(_) => true,
        Expr::Cast(cast) => is_constant(&cast.expr),
        _ => false,
    }
}

/// Whether the expression may stand in several places, and in a CASE: subqueries become joins where they stand.
fn may_move(expr: &Expr) -> bool {
    let stays = |expr: &Expr| {
        matches!(
            expr,
            Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::ScalarSubquery(_)
                | Expr::SetComparison(_)
                | Expr::OuterReferenceColumn(..)
        )
    };
    !expr.exists(|expr| Ok(stays(expr))).unwrap_or(true)
}

fn rewrite(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if matches!(op, Operator::And | Operator::Or)
                && may_fail(&right)
                && may_move(&right) =>
        {
            match guarded(&left, op, &right) {
                Some(guarded) => {
                    let right = Box::new(guarded);
                    Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right }))
                }
                None => Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
            }
        }
        Expr::Case(case)
            if case.expr.is_none() && results(&case).any(may_fail) && is_boolean(&case, schema) =>
        {
            Transformed::yes(Expr::Case(Case {
                expr: Some(Box::new(lit(true))),
                ..case
            }))
        }
        other => Transformed::no(other),
    }
}

fn is_boolean(case: &Case, schema: &DFSchema) -> bool {
    let mut results = results(case);
    results.any(|result| {
        result
            .get_type(schema)
            .is_ok_and(|t| t == DataType::Boolean)
    })
}

/// The right side, computed only where the left one does not decide.
fn guarded(left: &Expr, op: Operator, right: &Expr) -> Option<Expr> {
    let mut guards = Vec::new();
    collect_guards(left, op, &mut guards);
    guards.truncate(GUARDS_MAX);
    let (when, decided) = match op {
        Operator::And => (Expr::IsNotFalse(Box::new(conjunction(guards)?)), false),
        _ => (Expr::IsNotTrue(Box::new(disjunction(guards)?)), true),
    };
    Some(Expr::Case(Case::new(
        Some(Box::new(lit(true))),
        vec![(Box::new(when), Box::new(right.clone()))],
        Some(Box::new(lit(decided))),
    )))
}

/// The terms of a chain that do not fail themselves.
fn collect_guards(expr: &Expr, op: Operator, guards: &mut Vec<Expr>) {
    match expr {
        Expr::BinaryExpr(binary) if binary.op == op => {
            collect_guards(&binary.left, op, guards);
            collect_guards(&binary.right, op, guards);
        }
        term if !may_fail(term) && may_move(term) && !term.is_volatile() => {
            guards.push(term.clone());
        }
        _ => {}
    }
}
