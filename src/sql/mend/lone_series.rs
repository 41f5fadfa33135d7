//! The one `generate_series` of a SELECT list without FROM, as the table that it is in FROM: that makes rows as they are
//! read, where a list makes an array of all of them first.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident,
    Select, SelectItem, TableAlias, TableFactor, TableWithJoins, Value,
};

use super::from::names_columns;
use super::gather::holds_query;
use super::series::{holds_series, is_series};
use crate::sql::walk;

/// Puts a series that stands alone into FROM.
pub(super) fn stream_series(select: &mut Select) {
    let is_plain = select.from.is_empty()
        && select.distinct.is_none()
        && select.having.is_none()
        && matches!(&select.group_by, GroupByExpr::Expressions(keys, _) if keys.is_empty());
    if !is_plain {
        return;
    }
    let mut series = None;
    let mut items = select.projection.iter().map(shown);
    if !items.all(|item| item.is_some_and(|item| counts(item, &mut series))) {
        return;
    }
    let Some(call) = series.filter(is_constant) else {
        return;
    };
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
            read_column(expr);
        }
    }
    select.from.push(table_of(call));
}

fn shown(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    }
}

/// Notes the series of an expression; whether it is the only thing that gives rows so far.
fn counts(expr: &Expr, series: &mut Option<Function>) -> bool {
    match expr {
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => counts(inner, series),
        Expr::BinaryOp { left, right, .. } => counts(left, series) && counts(right, series),
        Expr::Function(function) if is_series(function) => {
            series.replace(function.clone()).is_none()
        }
        other => !holds_series(other),
    }
}

/// Whether the arguments are values that are known by now.
fn is_constant(function: &Function) -> bool {
    let FunctionArguments::List(list) = &function.args else {
        return false;
    };
    let constant = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => {
            !(names_columns(expr) || holds_query(expr) || holds_parameter(expr))
        }
        _ => false,
    };
    function.over.is_none() && list.args.len() > 1 && list.args.iter().all(constant)
}

fn holds_parameter(expr: &Expr) -> bool {
    struct Parameters;
    impl ast::Visitor for Parameters {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Value(value) if matches!(value.value, Value::Placeholder(_)) => {
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    walk::read(expr, &mut Parameters).is_break()
}

/// The name of the table and of its column.
const NAME: &str = "generate_series";

/// Puts the column in place of the call.
fn read_column(expr: &mut Expr) {
    match expr {
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => read_column(inner),
        Expr::BinaryOp { left, right, .. } => {
            read_column(left);
            read_column(right);
        }
        Expr::Function(function) if is_series(function) => {
            *expr = Expr::Identifier(Ident::new(NAME));
        }
        _ => {}
    }
}

fn table_of(call: Function) -> TableWithJoins {
    let args = match call.args {
        FunctionArguments::List(list) => list.args,
        _ => Vec::new(),
    };
    let alias = TableAlias {
        explicit: true,
        name: Ident::new(NAME),
        columns: Vec::new(),
        at: None,
    };
    TableWithJoins {
        relation: TableFactor::Function {
            lateral: false,
            name: call.name,
            args,
            with_ordinality: false,
            alias: Some(alias),
        },
        joins: Vec::new(),
    }
}
