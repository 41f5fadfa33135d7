//! `JOIN .. USING (a) AS j`: `j.a` is the column that the joined tables have in common.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, JoinConstraint, JoinOperator, ObjectName, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, TableFactor, TableWithJoins, VisitorMut,
};

use super::{last_part, or_break};
use crate::error::{Error, Result, sqlstate};
use crate::sql::parser::fold;
use crate::sql::shapes::constraint_mut;
use crate::sql::tokens::join_alias;
use crate::sql::walk;

/// The columns of each alias.
type Aliases = HashMap<String, Vec<Ident>>;

/// Writes columns of aliases as those of the joins, in the ORDER BY of a query whose SELECT has such joins yet.
///
/// # Errors
/// 42703 for a column that the alias does not have.
pub(super) fn join_aliases_in_order(query: &mut Query) -> Result<()> {
    let (Some(order), SetExpr::Select(select)) = (&mut query.order_by, query.body.as_ref()) else {
        return Ok(());
    };
    let mut aliases = Aliases::new();
    for from in &mut select.from.clone() {
        take_aliases(from, &mut aliases);
    }
    match aliases.is_empty() {
        true => Ok(()),
        false => walk::change(order, &mut Speller(aliases)),
    }
}

/// Writes columns of aliases as those of the joins.
///
/// # Errors
/// As [`join_aliases_in_order`].
pub(super) fn join_aliases(select: &mut Select) -> Result<()> {
    let mut aliases = Aliases::new();
    for from in &mut select.from {
        take_aliases(from, &mut aliases);
    }
    if aliases.is_empty() {
        return Ok(());
    }
    let items = std::mem::take(&mut select.projection);
    let items = items.into_iter().flat_map(|item| spread(item, &aliases));
    select.projection = items.collect();
    walk::change(select, &mut Speller(aliases))
}

/// Takes the aliases of joins out of their columns.
fn take_aliases(from: &mut TableWithJoins, aliases: &mut Aliases) {
    let joins = from.joins.iter_mut();
    for join in joins {
        if let Some(columns) = columns_of(&mut join.join_operator) {
            let alias = columns.pop_if(|last| alias_of(last).is_some());
            if let Some(alias) = alias.as_ref().and_then(alias_of) {
                let names = columns.iter().filter_map(last_part).cloned();
                aliases.insert(alias, names.collect());
            }
        }
        take_in_brackets(&mut join.relation, aliases);
    }
    take_in_brackets(&mut from.relation, aliases);
}

fn take_in_brackets(factor: &mut TableFactor, aliases: &mut Aliases) {
    if let TableFactor::NestedJoin {
        table_with_joins, ..
    } = factor
    {
        take_aliases(table_with_joins, aliases);
    }
}

fn columns_of(join: &mut JoinOperator) -> Option<&mut Vec<ObjectName>> {
    match constraint_mut(join)? {
        JoinConstraint::Using(columns) => Some(columns),
        _ => None,
    }
}

fn alias_of(column: &ObjectName) -> Option<String> {
    let name = last_part(column)?;
    join_alias(&name.value).map(str::to_string)
}

/// The columns of `j.*`.
fn spread(item: SelectItem, aliases: &Aliases) -> Vec<SelectItem> {
    if let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) =
        &item
        && let [_] = name.0.as_slice()
        && let Some(columns) = last_part(name).and_then(|name| aliases.get(&fold(name)))
    {
        let columns = columns.iter().cloned();
        return columns
            .map(|column| SelectItem::UnnamedExpr(Expr::Identifier(column)))
            .collect();
    }
    vec![item]
}

/// Writes columns without their aliases.
struct Speller(Aliases);

impl Speller {
    fn column(&self, alias: &Ident, column: &Ident) -> Result<Option<Expr>> {
        let Some(columns) = self.0.get(&fold(alias)) else {
            return Ok(None);
        };
        let found = columns.iter().find(|known| fold(known) == fold(column));
        match found {
            Some(column) => Ok(Some(Expr::Identifier(column.clone()))),
            None => {
                let (alias, column) = (fold(alias), fold(column));
                let message = format!("column {alias}.{column} does not exist");
                Err(Error::not_found(sqlstate::UNDEFINED_COLUMN, message))
            }
        }
    }
}

impl VisitorMut for Speller {
    type Break = Error;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        if let Expr::CompoundIdentifier(names) = expr
            && let [alias, column] = names.as_slice()
            && let Some(column) = or_break(self.column(alias, column))?
        {
            *expr = column;
        }
        ControlFlow::Continue(())
    }
}
