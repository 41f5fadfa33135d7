//! Columns of `JOIN .. USING (x)` in WHERE: there DataFusion takes `x`, which both sides have, for ambiguous.

use std::collections::HashMap;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Join, JoinConstraint, JoinOperator, Select, TableFactor,
};

use super::super::parser::fold;
use super::super::shapes::{Shapes, name_of};
use super::super::walk;
use crate::error::Result;

/// Names the left side's column, whose value `x` has, in the WHERE of a SELECT.
///
/// # Errors
/// None of its own.
pub(super) fn qualify_used(select: &mut Select, shapes: &Shapes<'_>) -> Result<()> {
    let Some(selection) = &mut select.selection else {
        return Ok(());
    };
    let mut tables = HashMap::new();
    for from in &select.from {
        let mut sides = vec![Side::of(&from.relation, shapes)];
        for join in &from.joins {
            let right = Side::of(&join.relation, shapes);
            for name in used(join, &sides, &right) {
                if let Some(table) = Side::first_with(&sides, &name) {
                    tables.entry(name).or_insert(table);
                }
            }
            sides.push(right);
        }
    }
    if tables.is_empty() {
        return Ok(());
    }
    // In subqueries a name may be that of another column.
    walk::change_outside_subqueries(selection, |expr| {
        if let Expr::Identifier(name) = &*expr
            && let Some(table) = tables.get(&fold(name))
        {
            let table = Ident::with_quote('"', table);
            *expr = Expr::CompoundIdentifier(vec![table, name.clone()]);
        }
        Ok(())
    })
}

/// A table of a join: its name, and its columns where they are known.
struct Side {
    table: Option<String>,
    columns: Option<Vec<String>>,
}

impl Side {
    fn of(factor: &TableFactor, shapes: &Shapes<'_>) -> Self {
        Self {
            table: name_of(factor),
            columns: shapes.factor(factor),
        }
    }

    /// The first of the tables that has a column; of tables whose columns are not known only one can be it.
    fn first_with(sides: &[Self], name: &String) -> Option<String> {
        let found = sides.iter().find(|side| match &side.columns {
            Some(columns) => columns.contains(name),
            None => true,
        })?;
        let is_sure = found.columns.is_some() || sides.len() == 1;
        found.table.clone().filter(|_| is_sure)
    }
}

/// The columns that both sides of an inner or left join share by name.
fn used(join: &Join, left: &[Side], right: &Side) -> Vec<String> {
    use JoinOperator as J;
    let (J::Join(on) | J::Inner(on) | J::Left(on) | J::LeftOuter(on)) = &join.join_operator else {
        return Vec::new();
    };
    match on {
        JoinConstraint::Using(names) => {
            let names = names.iter().filter_map(|name| name.0.last()?.as_ident());
            names.map(fold).collect()
        }
        JoinConstraint::Natural => {
            let columns = right.columns.iter().flatten();
            let is_left = |name: &&String| {
                let known = left.iter().filter_map(|side| side.columns.as_ref());
                known.into_iter().any(|columns| columns.contains(name))
            };
            columns.filter(is_left).cloned().collect()
        }
        _ => Vec::new(),
    }
}
