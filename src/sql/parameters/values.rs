//! Parameters in VALUES, whose columns have one type each: DataFusion takes `uuid` and text for two.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::datatypes::FieldRef;
use datafusion::sql::sqlparser::ast::{self, Expr, Value, VisitorMut};

use super::{Types, place_of};
use crate::error::Error;
use crate::sql::mend::{NAMED_TYPES, share_named_type};
use crate::sql::walk;
use crate::storage::schema::SQL_TYPE_KEY;

/// Casts parameters and literals of a column of VALUES to the type that another parameter in it was declared with. Gives
/// the types that parameters are planned with.
pub(in crate::sql) fn share_parameter_types(
    statement: &mut ast::Statement,
    types: &Types,
) -> Vec<Option<FieldRef>> {
    let mut rows = Rows {
        types,
        fields: types.fields(),
    };
    if types.fields.iter().flatten().next().is_some() {
        // It never breaks.
        let _ = walk::change(statement, &mut rows);
    }
    rows.fields
}

/// Visits VALUES.
struct Rows<'a> {
    types: &'a Types,
    /// What the parameters are planned with.
    fields: Vec<Option<FieldRef>>,
}

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
    fn share(&mut self, values: &mut ast::Values) {
        let columns = values.rows.first().map_or(0, |row| row.len());
        for column in 0..columns {
            let cells = values.rows.iter_mut();
            let mut cells: Vec<&mut Expr> = cells.filter_map(|row| row.get_mut(column)).collect();
            let names: Vec<Option<&str>> = cells.iter().map(|cell| self.name(cell)).collect();
            let Some(first) = names.iter().flatten().next().copied() else {
                continue;
            };
            if names.iter().all(|name| *name == Some(first)) {
                continue;
            }
            if NAMED_TYPES.contains(&first) {
                share_named_type(&mut cells, first);
            } else if cells
                .iter()
                .zip(&names)
                .any(|(cell, name)| is_literal(cell, *name, first))
            {
                let places: Vec<usize> = cells.iter().filter_map(|cell| place(cell)).collect();
                self.plan_as_literals(&places);
            }
        }
    }

    /// Plans parameters as literals, without the names of their types: what the rows go to gives them one.
    fn plan_as_literals(&mut self, places: &[usize]) {
        for at in places {
            if let Some(Some(field)) = self.fields.get_mut(*at) {
                let mut metadata = field.metadata().clone();
                metadata.remove(SQL_TYPE_KEY);
                *field = Arc::new(field.as_ref().clone().with_metadata(metadata));
            }
        }
    }

    /// The name of the type that a parameter has beside its Arrow type.
    fn name(&self, cell: &Expr) -> Option<&str> {
        let field = self.types.get(place(cell)?)?;
        field.metadata().get(SQL_TYPE_KEY).map(String::as_str)
    }
}

/// Whether it is a literal, or a parameter that has no type of the name `first`.
fn is_literal(cell: &Expr, name: Option<&str>, first: &str) -> bool {
    matches!(cell, Expr::Value(_)) && name != Some(first)
}

/// The place of a parameter.
fn place(cell: &Expr) -> Option<usize> {
    let Expr::Value(value) = cell else {
        return None;
    };
    match &value.value {
        Value::Placeholder(id) => place_of(id).ok(),
        _ => None,
    }
}
