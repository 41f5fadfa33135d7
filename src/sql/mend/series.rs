//! Functions that give rows, in a SELECT list: `SELECT generate_series(1, 3)` has three rows.

use datafusion::sql::sqlparser::ast::{Expr, FunctionArguments, Select, SelectItem};

use super::build::{arguments, call};
use super::names::type_arguments;
use crate::catalog::pg::functions::ARRAY_PLACES;
use crate::sql::functions::gives_rows;

/// Unnests the arrays that such functions give in the list.
pub(super) fn unnest_series(select: &mut Select) {
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
            unnest(expr);
        }
    }
}

/// Only where the function itself, a field or a cast of it is shown: elsewhere it may be an argument of `unnest`.
fn unnest(expr: &mut Expr) {
    match expr {
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => unnest(inner),
        Expr::CompoundFieldAccess { root, .. } => unnest(root),
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
                _ => return,
            };
            *expr = call("unnest", vec![array]);
        }
        _ => {}
    }
}
