//! Columns that come twice in a SELECT.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, Query, Select, SelectItem, SelectItemQualifiedWildcardKind,
    VisitorMut,
};

use super::build::{binary, call};
use super::{first_select, last_name};
use crate::error::Error;
use crate::sql::parser::fold;
use crate::sql::walk;

/// Gives columns that come again names of their own. Casts name nothing: `x::int` is a twin of `x`.
pub(super) fn name_twins(select: &mut Select) {
    let has_one_table = matches!(select.from.as_slice(), [only] if only.joins.is_empty());
    name_twin_items(&mut select.projection, has_one_table);
}

/// The same for the items of a SELECT list or of RETURNING, by whether they are of one table.
pub(in crate::sql) fn name_twin_items(items: &mut [SelectItem], has_one_table: bool) {
    let unnamed = items.iter().filter_map(|item| match item {
        SelectItem::UnnamedExpr(expr) => last_name(expr),
        _ => None,
    });
    let mut seen: HashSet<String> = unnamed.map(Ident::to_string).collect();
    // With their tables' names, columns differ.
    let mut columns = HashSet::new();
    let wildcards: Vec<Option<String>> = items.iter().filter_map(wildcard).collect();
    for item in items {
        let (expr, name) = match item {
            SelectItem::UnnamedExpr(expr) if last_name(expr).is_some() => {
                let is_in = |wildcard: &Option<String>| match (wildcard, qualifier(expr)) {
                    (Some(table), Some(of)) => of == *table,
                    (Some(_), None) => has_one_table,
                    (None, _) => true,
                };
                let column = match (has_one_table, last_name(expr)) {
                    (true, Some(name)) => fold(name),
                    _ => expr.to_string(),
                };
                if columns.insert(column) && !wildcards.iter().any(is_in) {
                    continue;
                }
                let name = last_name(expr).map(|name| name.value.clone());
                (expr, name.unwrap_or_default())
            }
            SelectItem::UnnamedExpr(expr) => {
                if seen.insert(called(expr)) {
                    continue;
                }
                let name = expr.to_string();
                (expr, name)
            }
            SelectItem::ExprWithAlias { expr, alias } => {
                if seen.insert(alias.value.clone()) {
                    continue;
                }
                (expr, alias.value.clone())
            }
            _ => continue,
        };
        let mut alias = Ident::with_quote('"', name);
        while !seen.insert(alias.value.clone()) {
            alias.value.push(' ');
        }
        *item = SelectItem::ExprWithAlias {
            expr: expr.clone(),
            alias,
        };
    }
}

/// The table whose columns a wildcard is, as it is written; of `*` it is none.
fn wildcard(item: &SelectItem) -> Option<Option<String>> {
    match item {
        SelectItem::Wildcard(_) => Some(None),
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(table), _) => {
            Some(Some(table.to_string()))
        }
        _ => None,
    }
}

/// What stands before the name of a column, as it is written.
fn qualifier(column: &Expr) -> Option<String> {
    let Expr::CompoundIdentifier(names) = column else {
        return None;
    };
    let (_, before) = names.split_last()?;
    let before: Vec<String> = before.iter().map(Ident::to_string).collect();
    Some(before.join("."))
}

/// What DataFusion may name an expression by: casts name nothing, and a subquery is called as its column is.
fn called(expr: &Expr) -> String {
    struct Plain;
    impl VisitorMut for Plain {
        type Break = Error;
        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
            let plain = match expr {
                Expr::Cast { expr: inner, .. } | Expr::Nested(inner) => inner.as_ref().clone(),
                Expr::TypedString(typed) => Expr::Value(typed.value.clone()),
                Expr::Subquery(query) => column_of(query),
                // The other way round it is `@>`.
                Expr::BinaryOp {
                    left,
                    op: BinaryOperator::ArrowAt,
                    right,
                } => binary(
                    right.as_ref().clone(),
                    BinaryOperator::AtArrow,
                    left.as_ref().clone(),
                ),
                Expr::Array(array) => {
                    array.named = true;
                    return ControlFlow::Continue(());
                }
                Expr::InSubquery { .. } | Expr::Exists { .. } => call("subquery", Vec::new()),
                _ => return ControlFlow::Continue(()),
            };
            *expr = plain;
            ControlFlow::Continue(())
        }
    }
    let mut plain = expr.clone();
    // It never breaks.
    let _ = walk::change(&mut plain, &mut Plain);
    last_name(&plain).map_or_else(|| plain.to_string(), Ident::to_string)
}

/// The first column of a query.
fn column_of(query: &mut Query) -> Expr {
    let first = first_select(&mut query.body).and_then(|select| select.projection.first());
    match first {
        Some(SelectItem::UnnamedExpr(expr)) => expr.clone(),
        Some(SelectItem::ExprWithAlias { alias, .. }) => Expr::Identifier(alias.clone()),
        _ => call("subquery", Vec::new()),
    }
}
