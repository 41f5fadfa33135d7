//! Columns of which only those are computed that a row needs: what does not happen to a row cannot fail for it.

use std::sync::Arc;

use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, lit};
use datafusion::sql::sqlparser::ast::{self, CaseWhen, SelectItem};

use super::quoted;
use super::returning::check_rows;
use crate::catalog::dml::Action;
use crate::error::{Error, Result};

/// The column with what is done about a row.
const ACTION: &str = "_shelfmark_action";
/// Its place, behind the address; sets of values follow.
const ACTION_PLACE: usize = 2;

/// A query for what [`Operation::Merge`](crate::catalog::dml::Operation::Merge) takes, in sets of `columns`: the action
/// is computed once, and the values of a set where it is chosen.
pub(super) fn choose(plan: LogicalPlan, columns: usize) -> Result<LogicalPlan> {
    let LogicalPlan::Projection(query) = plan else {
        return Err(Error::unsupported("MERGE takes expressions only"));
    };
    check_rows(&query.input, "MERGE")?;
    let mut below: Vec<Expr> = query
        .input
        .schema()
        .columns()
        .into_iter()
        .map(Expr::Column)
        .collect();
    below.push(query.expr[ACTION_PLACE].clone().unalias().alias(ACTION));
    let below = Projection::try_new(below, query.input)?;
    let action = datafusion::prelude::col(ACTION);
    let exprs = query.expr.into_iter().enumerate();
    let exprs = exprs.map(|(place, expr)| match place.checked_sub(ACTION_PLACE + 1) {
        Some(place) => only_if(Action::Store(place / columns), expr),
        None if place == ACTION_PLACE => action.clone(),
        None => expr,
    });
    let chosen = Projection::try_new(exprs.collect(), Arc::new(LogicalPlan::Projection(below)))?;
    Ok(LogicalPlan::Projection(chosen))
}

/// The value where this is done, else NULL. A column is there anyway.
fn only_if(action: Action, expr: Expr) -> Expr {
    let (value, name) = match expr {
        Expr::Alias(alias) => (*alias.expr, alias.name),
        other => return other,
    };
    if matches!(value, Expr::Column(_)) {
        return value.alias(name);
    }
    let chosen = datafusion::prelude::col(ACTION).eq(lit(action.number()));
    let case = Case::new(None, vec![(Box::new(chosen), Box::new(value))], None);
    Expr::Case(case).alias(name)
}

/// The number of an action.
pub(super) fn number(action: Action) -> ast::Expr {
    ast::Expr::Value(ast::Value::Number(action.number().to_string(), false).into())
}

/// `CASE WHEN .. THEN .. ELSE .. END`.
pub(super) fn case(whens: Vec<(ast::Expr, ast::Expr)>, otherwise: ast::Expr) -> ast::Expr {
    let when = |(condition, result)| CaseWhen { condition, result };
    ast::Expr::Case {
        case_token: ast::helpers::attached_token::AttachedToken::empty(),
        end_token: ast::helpers::attached_token::AttachedToken::empty(),
        operand: None,
        conditions: whens.into_iter().map(when).collect(),
        else_result: Some(Box::new(otherwise)),
    }
}

/// The items of a SELECT, whose names differ.
pub(super) fn named_by_place(exprs: Vec<ast::Expr>) -> Vec<SelectItem> {
    let item = |(place, expr)| SelectItem::ExprWithAlias {
        expr,
        alias: quoted(&format!("_{place}")),
    };
    exprs.into_iter().enumerate().map(item).collect()
}
