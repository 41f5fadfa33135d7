//! Parameters in VALUES, whose columns have one type each: DataFusion takes `uuid` and text for two.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{self, Expr, Value, VisitorMut};

use super::{Types, place_of};
use crate::error::Error;
use crate::sql::mend::share_named_type;
use crate::sql::walk;
use crate::storage::schema::SQL_TYPE_KEY;

/// Casts parameters and literals of a column of VALUES to the type that another parameter in it was declared with.
pub(in crate::sql) fn share_parameter_types(statement: &mut ast::Statement, types: &Types) {
    if types.fields.iter().flatten().next().is_none() {
        return;
    }
    struct Rows<'a>(&'a Types);
    impl VisitorMut for Rows<'_> {
        type Break = Error;
        fn post_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<Error> {
            if let ast::SetExpr::Values(values) = query.body.as_mut() {
                self.share(values);
            }
            ControlFlow::Continue(())
        }
    }
    impl Rows<'_> {
        fn share(&self, values: &mut ast::Values) {
            let columns = values.rows.first().map_or(0, |row| row.len());
            for column in 0..columns {
                let cells = values.rows.iter_mut();
                let mut cells: Vec<&mut Expr> =
                    cells.filter_map(|row| row.get_mut(column)).collect();
                let names: Vec<Option<&str>> = cells.iter().map(|cell| self.name(cell)).collect();
                let first = names.iter().flatten().next().copied();
                if let Some(first) = first
                    && names.iter().any(|name| *name != Some(first))
                {
                    share_named_type(&mut cells, first);
                }
            }
        }

        /// The name of a type that a parameter has beside its Arrow type.
        fn name(&self, cell: &Expr) -> Option<&str> {
            let Expr::Value(value) = cell else {
                return None;
            };
            let Value::Placeholder(id) = &value.value else {
                return None;
            };
            let field = self.0.get(place_of(id).ok()?)?;
            let name = field.metadata().get(SQL_TYPE_KEY)?;
            ["uuid", "json", "jsonb", "bit", "varbit", "sparsevec"]
                .contains(&name.as_str())
                .then_some(name.as_str())
        }
    }
    // It never breaks.
    let _ = walk::change(statement, &mut Rows(types));
}
