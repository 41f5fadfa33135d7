//! Functions that give rows, in a SELECT list: `SELECT generate_series(1, 3)` has three rows.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, OrderByKind, Query,
    Select, SelectItem, SetExpr, Value,
};

use super::build::{arguments, call};
use super::names::type_arguments;
use crate::catalog::pg::functions::{ANCESTORS, ARRAY_PLACES};
use crate::sql::functions::gives_rows;
use crate::sql::walk;

/// Unnests the arrays that such functions give in the list.
pub(super) fn unnest_series(select: &mut Select) {
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
            unnest(expr);
        }
    }
}

/// Makes a place in the list of a key of ORDER BY that gives rows and stands in the list as well: the rows are sorted by what
/// is shown.
pub(super) fn place_sorted_series(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_ref() else {
        return;
    };
    let Some(OrderByKind::Expressions(keys)) = query.order_by.as_mut().map(|by| &mut by.kind)
    else {
        return;
    };
    for key in keys.iter_mut().filter(|key| holds_series(&key.expr)) {
        let mut items = select.projection.iter();
        let place = items.position(|item| match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                *expr == key.expr
            }
            _ => false,
        });
        let is_star = |item: &SelectItem| {
            matches!(
                item,
                SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)
            )
        };
        if let Some(place) = place
            && !select.projection[..place].iter().any(is_star)
        {
            key.expr = Expr::value(Value::Number((place + 1).to_string(), false));
        }
    }
}

/// Functions of single values, whose arguments may give rows. Others may take the array as a whole.
const OF_VALUES: [&str; 24] = [
    "abs",
    "ceil",
    "chr",
    "concat",
    "date_part",
    "date_trunc",
    "extract",
    "floor",
    "format",
    "length",
    "lower",
    "lpad",
    "make_date",
    "md5",
    "mod",
    "power",
    "random",
    "repeat",
    "round",
    "rpad",
    "sqrt",
    "to_char",
    "trunc",
    "upper",
];

/// Only where the function is shown, or what is computed of it: elsewhere it may be an argument of `unnest`.
fn unnest(expr: &mut Expr) {
    match expr {
        Expr::Nested(inner)
        | Expr::Cast { expr: inner, .. }
        | Expr::UnaryOp { expr: inner, .. }
        | Expr::Extract { expr: inner, .. } => unnest(inner),
        Expr::CompoundFieldAccess { root, .. } => unnest(root),
        Expr::BinaryOp { left, right, .. } => {
            unnest(left);
            unnest(right);
        }
        Expr::Function(function) if takes_values(function) => {
            if let FunctionArguments::List(list) = &mut function.args {
                for argument in &mut list.args {
                    if let FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) = argument {
                        unnest(argument);
                    }
                }
            }
        }
        Expr::Function(function) if function.over.is_none() => {
            let last = function.name.0.last().and_then(|part| part.as_ident());
            let name = last.map(|n| n.value.to_lowercase()).unwrap_or_default();
            let given = arguments(function).unwrap_or_default();
            let array = match (name.as_str(), given.as_slice()) {
                ("generate_series", [_, ..]) => {
                    let mut typed = function.clone();
                    if let FunctionArguments::List(list) = &mut typed.args {
                        type_arguments(&mut list.args);
                    }
                    Expr::Function(typed)
                }
                (name, _) if gives_rows(name) => expr.clone(),
                ("_pg_expandarray", [array]) => call(ARRAY_PLACES, vec![Expr::clone(array)]),
                ("pg_partition_ancestors", [of]) => call(ANCESTORS, vec![Expr::clone(of)]),
                _ => return,
            };
            *expr = call("unnest", vec![array]);
        }
        _ => {}
    }
}

fn takes_values(function: &Function) -> bool {
    let name = function.name.0.last().and_then(|part| part.as_ident());
    name.is_some_and(|name| OF_VALUES.contains(&name.value.to_lowercase().as_str()))
}

/// Whether it is a call of `generate_series`.
pub(super) fn is_series(function: &Function) -> bool {
    let name = function.name.0.last().and_then(|part| part.as_ident());
    name.is_some_and(|name| name.value.eq_ignore_ascii_case("generate_series"))
}

/// Whether something in the expression gives rows.
pub(super) fn holds_series(expr: &Expr) -> bool {
    struct Series;
    impl ast::Visitor for Series {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            let Expr::Function(function) = expr else {
                return ControlFlow::Continue(());
            };
            let last = function.name.0.last().and_then(|part| part.as_ident());
            let name = last.map(|n| n.value.to_lowercase()).unwrap_or_default();
            match matches!(name.as_str(), "generate_series" | "unnest") || gives_rows(&name) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        }
    }
    walk::read(expr, &mut Series).is_break()
}
