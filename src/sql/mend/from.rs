//! Function calls in FROM.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{self, Expr, FunctionArg, Ident, ObjectName, TableFactor};

use super::build::argument;
use super::unqualify;

/// Makes calls in FROM functions that may use what stands before them.
pub(super) fn call_in_from(factor: &mut TableFactor) {
    match factor {
        TableFactor::Table {
            name,
            alias,
            args: Some(args),
            with_ordinality,
            ..
        } => {
            unqualify(name);
            let uses_columns = args.args.iter().any(uses_columns);
            let with_ordinality = *with_ordinality;
            if uses_columns || with_ordinality {
                *factor = TableFactor::Function {
                    lateral: uses_columns,
                    name: name.clone(),
                    args: args.args.clone(),
                    with_ordinality,
                    alias: alias.take(),
                };
            }
        }
        TableFactor::Function { name, .. } => unqualify(name),
        TableFactor::UNNEST {
            alias,
            array_exprs,
            with_offset: false,
            with_ordinality,
            ..
        } => {
            let args: Vec<FunctionArg> = array_exprs.iter().cloned().map(argument).collect();
            *factor = TableFactor::Function {
                lateral: args.iter().any(uses_columns),
                name: ObjectName::from(vec![Ident::new("unnest")]),
                args,
                with_ordinality: *with_ordinality,
                alias: alias.take(),
            };
        }
        _ => {}
    }
}

/// Whether an argument names a column.
fn uses_columns(argument: &FunctionArg) -> bool {
    struct Columns;
    impl ast::Visitor for Columns {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Identifier(_) | Expr::CompoundIdentifier(_) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    ast::Visit::visit(argument, &mut Columns).is_break()
}
