//! `ARRAY(SELECT ..)` as an aggregate.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, Expr, FunctionArgumentClause, Ident, OrderByExpr, OrderByKind, Query, SelectItem,
    SetExpr, TableFactor, Value,
};
use datafusion::sql::sqlparser::parser::Parser;

use super::super::tokens::DIALECT;
use super::build::call_with;
use crate::sql::walk;

/// Makes a query of one column give one row: the array of that column.
pub(super) fn gather(query: &mut Query) -> Option<()> {
    let plain = query.limit_clause.is_none() && query.fetch.is_none();
    let SetExpr::Select(select) = query.body.as_mut() else {
        return None;
    };
    let group_by =
        matches!(&select.group_by, ast::GroupByExpr::Expressions(by, _) if by.is_empty());
    let [SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. }] =
        select.projection.as_slice()
    else {
        return None;
    };
    if !plain || !group_by || select.distinct.is_some() || select.having.is_some() {
        return None;
    }
    let value = value.clone();
    let order = match query.order_by.take().map(|by| by.kind) {
        Some(OrderByKind::Expressions(by)) => by,
        _ => Vec::new(),
    };
    let by_place = |mut by: OrderByExpr| {
        // ORDER BY 1 is by the only column.
        if let Expr::Value(place) = &by.expr
            && matches!(&place.value, Value::Number(..))
        {
            by.expr = value.clone();
        }
        by
    };
    let mut order: Vec<OrderByExpr> = order.into_iter().map(by_place).collect();
    let mut value = value.clone();
    if holds_query(&value) || gives_rows(&value) {
        // An aggregate's argument cannot be a subquery or have rows of its own: it is computed below.
        let named = |expr: Expr, name: String| SelectItem::ExprWithAlias {
            expr,
            alias: Ident::new(name),
        };
        let mut items = vec![named(value, "value".to_string())];
        for (place, by) in order.iter_mut().enumerate() {
            let name = format!("by_{place}");
            let column = Expr::Identifier(Ident::new(name.as_str()));
            items.push(named(std::mem::replace(&mut by.expr, column), name));
        }
        select.projection = items;
        value = Expr::Identifier(Ident::new("value"));
        *query = wrapped(query.clone())?;
    }
    let SetExpr::Select(select) = query.body.as_mut() else {
        return None;
    };
    let clauses = match order.is_empty() {
        true => Vec::new(),
        false => vec![FunctionArgumentClause::OrderBy(order)],
    };
    let gathered = call_with("array_agg", vec![value], clauses);
    select.projection = vec![SelectItem::UnnamedExpr(Expr::Function(gathered))];
    Some(())
}

/// Whether it is a function that gives rows.
fn gives_rows(value: &Expr) -> bool {
    match value {
        Expr::Function(function) => function.name.to_string() == "unnest",
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => gives_rows(inner),
        _ => false,
    }
}

/// Whether there is a query inside.
pub(super) fn holds_query(expr: &Expr) -> bool {
    struct Queries;
    impl ast::Visitor for Queries {
        type Break = ();
        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }
    walk::read(expr, &mut Queries).is_break()
}

/// The array of the rows that any query of one column gives, in no order.
pub(super) fn gather_rows(query: Query) -> Option<Query> {
    let gathered = "SELECT array_agg(value) FROM (SELECT 1) AS gathered(value)";
    around(gathered, query)
}

/// `SELECT value FROM (query) AS gathered`; its one column is to be replaced.
fn wrapped(query: Query) -> Option<Query> {
    around("SELECT value FROM (SELECT 1) AS gathered", query)
}

/// The outer query with the other one in FROM.
fn around(outer: &str, query: Query) -> Option<Query> {
    let outer = Parser::new(&DIALECT).try_with_sql(outer);
    let mut outer = *outer.ok()?.parse_query().ok()?;
    let SetExpr::Select(select) = outer.body.as_mut() else {
        return None;
    };
    let TableFactor::Derived { subquery, .. } = &mut select.from.first_mut()?.relation else {
        return None;
    };
    **subquery = query;
    Some(outer)
}
