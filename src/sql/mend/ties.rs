//! `FETCH FIRST n ROWS WITH TIES`: the rows that no more than n others come before.
//!
//! They are those whose `rank()` in the order of the query is at most n, or n more than OFFSET. A window function sees the
//! columns of FROM as ORDER BY does, except that an output column is not known there: the expression stands for its name
//! or place.

use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, Expr, Fetch, Ident, LimitClause, OrderByExpr, OrderByKind, Query,
    SelectItem, SetExpr, Value,
};
use datafusion::sql::sqlparser::parser::Parser;

use super::build::{binary, call_with, nested};
use super::last_name;
use crate::error::{Error, Result, sqlstate};
use crate::sql::output_names::lasting_name;
use crate::sql::parser::fold;
use crate::sql::tokens::DIALECT;

/// Makes a condition on ranks of it.
///
/// # Errors
/// 42601 where there is no ORDER BY.
pub(super) fn rank_of_ties(query: &mut Query) -> Result<()> {
    let Some(fetch) = query
        .fetch
        .take_if(|fetch| fetch.with_ties && !fetch.percent)
    else {
        return Ok(());
    };
    let keys = match query.order_by.as_ref().map(|by| &by.kind) {
        Some(OrderByKind::Expressions(keys)) if !keys.is_empty() => keys.clone(),
        _ => {
            let message = "WITH TIES cannot be specified without ORDER BY clause";
            return Err(Error::invalid(sqlstate::SYNTAX_ERROR, message));
        }
    };
    let last = last_of(&fetch, query.limit_clause.as_ref());
    keep_places(query, "rank", keys, |rank| {
        nested(binary(rank, BinaryOperator::LtEq, nested(last)))
    });
    Ok(())
}

/// Keeps the rows whose place in the order of the keys, as the function counts it, fulfills a condition.
pub(super) fn keep_places(
    query: &mut Query,
    function: &str,
    keys: Vec<OrderByExpr>,
    condition: impl FnOnce(Expr) -> Expr,
) {
    let shown = items_of(&query.body);
    let is_plain = matches!(query.body.as_ref(), SetExpr::Select(s) if s.distinct.is_none());
    if !is_plain && let Some(wrapped) = wrapped(&query.body) {
        query.body = wrapped;
    }
    if let SetExpr::Select(select) = query.body.as_mut() {
        let keys = keys.into_iter().map(|key| match is_plain {
            true => as_input(key, &shown),
            false => as_output(key, &shown),
        });
        let within = condition(place(function, keys.collect()));
        select.qualify = Some(match select.qualify.take() {
            Some(other) => binary(nested(other), BinaryOperator::And, within),
            None => within,
        });
    }
}

/// The greatest rank of a row that is fetched.
fn last_of(fetch: &Fetch, limit: Option<&LimitClause>) -> Expr {
    let one = || Expr::value(Value::Number("1".to_string(), false));
    let count = fetch.quantity.clone().unwrap_or_else(one);
    match limit {
        Some(LimitClause::LimitOffset {
            offset: Some(offset),
            ..
        }) => binary(
            nested(count),
            BinaryOperator::Plus,
            nested(offset.value.clone()),
        ),
        _ => count,
    }
}

fn place(function: &str, keys: Vec<OrderByExpr>) -> Expr {
    let mut place = call_with(function, Vec::new(), Vec::new());
    place.over = Some(ast::WindowType::WindowSpec(ast::WindowSpec {
        window_name: None,
        partition_by: Vec::new(),
        order_by: keys,
        window_frame: None,
    }));
    Expr::Function(place)
}

/// The items of a SELECT, of several the first.
fn items_of(body: &SetExpr) -> Vec<SelectItem> {
    match body {
        SetExpr::Select(select) => select.projection.clone(),
        SetExpr::SetOperation { left, .. } => items_of(left),
        SetExpr::Query(query) => items_of(&query.body),
        _ => Vec::new(),
    }
}

/// `SELECT * FROM (..) AS tied` of the body, whose rows are left out or put together before they are ranked.
pub(super) fn wrapped(body: &SetExpr) -> Option<Box<SetExpr>> {
    let text = "SELECT * FROM (SELECT 1) AS \"tied \"";
    let mut outer = *{ Parser::new(&DIALECT).try_with_sql(text).ok()? }
        .parse_query()
        .ok()?;
    let SetExpr::Select(select) = outer.body.as_mut() else {
        return None;
    };
    let from = select.from.first_mut()?;
    let ast::TableFactor::Derived { subquery, .. } = &mut from.relation else {
        return None;
    };
    *subquery.body = body.clone();
    Some(outer.body)
}

/// The item at the place that a key is.
fn item_at<'a>(key: &Expr, shown: &'a [SelectItem]) -> Option<&'a SelectItem> {
    let Expr::Value(value) = key else {
        return None;
    };
    let Value::Number(place, _) = &value.value else {
        return None;
    };
    shown.get(place.parse::<usize>().ok()?.checked_sub(1)?)
}

/// The key as FROM's columns tell it: for a place or a name of the output, what stands there.
fn as_input(mut key: OrderByExpr, shown: &[SelectItem]) -> OrderByExpr {
    let item = match &key.expr {
        Expr::Identifier(name) => shown.iter().find(|item| {
            matches!(item, SelectItem::ExprWithAlias { alias, .. } if fold(alias) == fold(name))
        }),
        place => item_at(place, shown),
    };
    if let Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item {
        key.expr = expr.clone();
    }
    key
}

/// The key as a column of the output: for a place, its name.
fn as_output(mut key: OrderByExpr, shown: &[SelectItem]) -> OrderByExpr {
    let quoted = |name: String| Ident::with_quote('"', name);
    let name = match item_at(&key.expr, shown) {
        Some(SelectItem::ExprWithAlias { alias, .. }) => Some(quoted(fold(alias))),
        Some(SelectItem::UnnamedExpr(expr)) => match last_name(expr) {
            Some(name) => Some(quoted(fold(name))),
            None => lasting_name(expr).map(quoted),
        },
        _ => None,
    };
    if let Some(name) = name {
        key.expr = Expr::Identifier(name);
    }
    key
}
