//! VALUES with subqueries or columns of what is before LATERAL, and TABLE, as SELECTs.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{self, Expr, Ident, Select, SelectItem, SetExpr, VisitorMut};
use datafusion::sql::sqlparser::parser::Parser;

use super::from::names_columns;
use super::gather::holds_query;
use super::series::holds_series;
use super::ties::wrapped;
use crate::error::{Error, Result};
use crate::sql::tokens::{DIALECT, tokenize};
use crate::sql::walk;

/// Makes SELECTs of the rows of VALUES that hold subqueries, which DataFusion computes before there are any results of
/// them, or columns, which it takes for others than those of the rows above.
pub(in crate::sql) fn select_values(statement: &mut ast::Statement) {
    struct Rows;
    impl VisitorMut for Rows {
        type Break = Error;
        fn post_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<Error> {
            select_rows(&mut query.body);
            ControlFlow::Continue(())
        }
    }
    // It never breaks.
    let _ = walk::change(statement, &mut Rows);
}

/// Makes SELECTs of the VALUES that a statement is, or unites with other rows, where there is a number with a point: it is
/// NUMERIC in FROM.
pub(super) fn select_numbers(body: &mut SetExpr) {
    let is_fraction = |cell: &Expr| {
        matches!(cell, Expr::Value(value)
            if matches!(&value.value, ast::Value::Number(n, _) if n.contains(['.', 'e', 'E'])))
    };
    match body {
        SetExpr::SetOperation {
            op: ast::SetOperator::Union,
            left,
            right,
            ..
        } => {
            select_numbers(left);
            select_numbers(right);
        }
        SetExpr::Values(values) if values.rows.iter().any(|row| row.iter().any(is_fraction)) => {
            if let Some(wrapped) = wrapped(body) {
                *body = *wrapped;
            }
        }
        _ => {}
    }
}

/// Makes `SELECT * FROM t` of `TABLE t`, and a SELECT of the one row of VALUES in which a function gives rows.
pub(super) fn select_body(body: &mut SetExpr) -> Result<()> {
    match body {
        SetExpr::SetOperation { left, right, .. } => {
            select_body(left)?;
            select_body(right)
        }
        SetExpr::Table(table) => {
            let parts = [&table.schema_name, &table.table_name];
            let parts: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
            let text = format!("SELECT * FROM {}", parts.join("."));
            let mut parser = Parser::new(&DIALECT).with_tokens_with_locations(tokenize(&text)?);
            *body = *parser.parse_query()?.body;
            Ok(())
        }
        SetExpr::Values(_) => {
            select_series(body);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Makes a SELECT of the one row of VALUES in which a function gives rows: INSERT has such.
fn select_series(body: &mut SetExpr) {
    if let SetExpr::Values(values) = body
        && let [row] = values.rows.as_slice()
        && row.content.iter().any(holds_series)
        && let Some(select) = select_of(row.content.clone())
    {
        *body = SetExpr::Select(Box::new(select));
    }
}

fn select_rows(body: &mut SetExpr) {
    match body {
        SetExpr::SetOperation { left, right, .. } => {
            select_rows(left);
            select_rows(right);
        }
        SetExpr::Values(values) if values.rows.iter().any(asks) => {
            if let Some(union) = united(values.rows.clone(), values.explicit_row) {
                *body = union;
            }
        }
        _ => {}
    }
}

fn asks(row: &ast::Parens<Vec<Expr>>) -> bool {
    row.content
        .iter()
        .any(|value| holds_query(value) || names_columns(value) && !is_default(value))
}

/// Whether it is the word of INSERT, and no column.
fn is_default(value: &Expr) -> bool {
    matches!(value, Expr::Identifier(name)
        if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("default"))
}

/// The rows in their order, as the union of a SELECT for each that asks and of VALUES for those between.
fn united(rows: Vec<ast::Parens<Vec<Expr>>>, explicit_row: bool) -> Option<SetExpr> {
    let mut parts: Vec<SetExpr> = Vec::new();
    for row in rows {
        if asks(&row) {
            parts.push(SetExpr::Select(Box::new(select_of(row.content)?)));
            continue;
        }
        match parts.last_mut() {
            Some(SetExpr::Values(values)) => values.rows.push(row),
            _ => parts.push(SetExpr::Values(ast::Values {
                explicit_row,
                value_keyword: false,
                rows: vec![row],
            })),
        }
    }
    balanced(parts)
}

/// A union that is as flat as can be: each level of a tree takes room on the stack.
fn balanced(mut parts: Vec<SetExpr>) -> Option<SetExpr> {
    if parts.len() < 2 {
        return parts.pop();
    }
    let right = parts.split_off(parts.len() / 2);
    Some(SetExpr::SetOperation {
        op: ast::SetOperator::Union,
        set_quantifier: ast::SetQuantifier::All,
        left: Box::new(balanced(parts)?),
        right: Box::new(balanced(right)?),
    })
}

/// A SELECT of the values, under the names that columns of VALUES have.
fn select_of(values: Vec<Expr>) -> Option<Select> {
    let query = Parser::new(&DIALECT).try_with_sql("SELECT 1").ok()?;
    let SetExpr::Select(mut select) = *{ query }.parse_query().ok()?.body else {
        return None;
    };
    let named = values.into_iter().zip(1..);
    select.projection = named
        .map(|(expr, place)| SelectItem::ExprWithAlias {
            expr,
            alias: Ident::new(format!("column{place}")),
        })
        .collect();
    Some(*select)
}
