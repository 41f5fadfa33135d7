//! What is spelled out once the columns of the tables in FROM are known:
//! - `NATURAL RIGHT JOIN` and `NATURAL FULL JOIN` as joins with USING, whose common columns are written out in their turn;
//! - `*` over joins with USING, whose common columns come first;
//! - `x` in the WHERE of `a JOIN b USING (x)` as `a.x`;
//! - `a.*` that comes again, as in `SELECT a.*, a.*`, as columns with names of their own: a table of DataFusion has no two
//!   of a name;
//! - an alias with fewer columns than there are, as in `FROM t AS s(a)`: the others keep their names.

mod star;
mod using;

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, Ident, Join, JoinConstraint, ObjectName, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, TableAlias, TableAliasColumnDef, TableFactor,
    TableWithJoins, VisitorMut, WildcardAdditionalOptions,
};

use self::star::order_star;
use self::using::qualify_used;
use super::mend::{ROWS, compare_widths, has_natural, merge_in_order, merge_in_select, or_break};
use super::parser::fold;
use super::shapes::{Shapes, constraint_mut, factors, in_order, name_of, named};
use super::walk;
use crate::error::{Error, Result, sqlstate};

/// Spells out what needs the columns of tables in a statement; `columns` are those of a table.
///
/// # Errors
/// 0A000 where the columns of a side are not known.
pub(super) fn spell_columns(
    statement: &mut ast::Statement,
    columns: impl Fn(&ObjectName) -> Option<Vec<String>>,
) -> Result<()> {
    let mut spelled = FromColumns {
        shapes: Shapes::new(&columns),
    };
    walk::change(statement, &mut spelled)
}

struct FromColumns<'a> {
    shapes: Shapes<'a>,
}

impl FromColumns<'_> {
    /// Names the common columns of natural joins.
    fn name_natural(&self, select: &mut Select) -> Result<()> {
        for from in select.from.iter_mut().filter(|from| has_natural(from)) {
            self.joined(from)?;
        }
        Ok(())
    }

    /// Names the columns of the joins of a FROM; the columns that it has then, in the order of `*`.
    fn joined(&self, from: &mut TableWithJoins) -> Result<Option<Vec<String>>> {
        let mut left = self.factor(&mut from.relation)?;
        for join in &mut from.joins {
            let right = self.factor(&mut join.relation)?;
            left = joined_by(join, left, right)?;
        }
        Ok(left)
    }

    fn factor(&self, factor: &mut TableFactor) -> Result<Option<Vec<String>>> {
        let TableFactor::NestedJoin {
            table_with_joins,
            alias,
        } = factor
        else {
            return Ok(self.shapes.factor(factor));
        };
        let columns = self.joined(table_with_joins)?;
        Ok(columns.map(|columns| named(columns, alias.as_ref())))
    }

    /// Spells out `a.*` that comes again, as far as the columns of `a` are known.
    fn spell_again(&self, select: &mut Select) {
        let mut seen: HashSet<String> = HashSet::new();
        let mut has_all = false;
        let aliases = select.projection.iter().filter_map(|item| match item {
            SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
            _ => None,
        });
        let mut taken: HashSet<String> = aliases.collect();
        let mut items = Vec::with_capacity(select.projection.len());
        for item in std::mem::take(&mut select.projection) {
            let Some(table) = table_of_wildcard(&item) else {
                has_all |= matches!(item, SelectItem::Wildcard(_));
                items.push(item);
                continue;
            };
            let is_again = !seen.insert(table.clone()) || has_all;
            match self.columns_of(&select.from, &table).filter(|_| is_again) {
                Some(columns) => {
                    let columns = columns.into_iter();
                    items.extend(columns.map(|column| twin(&table, column, &mut taken)));
                }
                None => items.push(item),
            }
        }
        select.projection = items;
    }

    /// The columns of the table of that name in FROM.
    fn columns_of(&self, from: &[TableWithJoins], table: &str) -> Option<Vec<String>> {
        let mut factors = factors(from);
        let found = factors.find(|factor| name_of(factor).as_deref() == Some(table));
        self.shapes.factor(found?)
    }
}

/// The name of the table whose columns an item is.
fn table_of_wildcard(item: &SelectItem) -> Option<String> {
    let SelectItem::QualifiedWildcard(kind, options) = item else {
        return None;
    };
    let SelectItemQualifiedWildcardKind::ObjectName(name) = kind else {
        return None;
    };
    let is_plain = *options == WildcardAdditionalOptions::default();
    let [table] = name.0.as_slice() else {
        return None;
    };
    table.as_ident().filter(|_| is_plain).map(fold)
}

/// A column that comes again, with blanks behind its name.
fn twin(table: &str, column: String, taken: &mut HashSet<String>) -> SelectItem {
    let mut alias = format!("{column} ");
    while !taken.insert(alias.clone()) {
        alias.push(' ');
    }
    let quoted = |name: &str| Ident::with_quote('"', name);
    SelectItem::ExprWithAlias {
        expr: ast::Expr::CompoundIdentifier(vec![quoted(table), quoted(&column)]),
        alias: quoted(&alias),
    }
}

/// The columns of a join, which is by names from now on if it was natural.
fn joined_by(
    join: &mut Join,
    left: Option<Vec<String>>,
    right: Option<Vec<String>>,
) -> Result<Option<Vec<String>>> {
    let constraint = constraint_mut(&mut join.join_operator);
    let is_natural = matches!(constraint.as_deref(), Some(JoinConstraint::Natural));
    let Some((left, right)) = left.zip(right) else {
        if !is_natural {
            return Ok(None);
        }
        let message = "NATURAL is not supported with a RIGHT or FULL JOIN of tables whose columns \
            the text does not tell";
        let hint = "Name the columns: JOIN .. USING (a, b).";
        return Err(Error::unsupported(message).with_hint(hint));
    };
    let common: Vec<String> = match constraint {
        Some(on @ JoinConstraint::Natural) => {
            let common = left.iter().filter(|name| right.contains(name));
            let common: Vec<String> = common.cloned().collect();
            let name = |name: &String| ObjectName::from(vec![Ident::with_quote('"', name)]);
            *on = match common.is_empty() {
                true => JoinConstraint::On(ast::Expr::value(ast::Value::Boolean(true))),
                false => JoinConstraint::Using(common.iter().map(name).collect()),
            };
            common
        }
        Some(JoinConstraint::Using(names)) => {
            let names = names.iter().filter_map(|name| name.0.last()?.as_ident());
            names.map(fold).collect()
        }
        _ => Vec::new(),
    };
    Ok(Some(in_order(common, left, right)))
}

/// The alias of a table or of a query.
fn alias_of(factor: &mut TableFactor) -> Option<&mut TableAlias> {
    match factor {
        TableFactor::Table { alias, .. } | TableFactor::Derived { alias, .. } => alias.as_mut(),
        _ => None,
    }
}

/// Gives an alias the columns that it does not name, where they are known.
///
/// # Errors
/// 42P10 where it names more than there are.
fn name_others(alias: &mut TableAlias, columns: Option<Vec<String>>) -> Result<()> {
    let Some(columns) = columns else {
        return Ok(());
    };
    let (named, known) = (alias.columns.len(), columns.len());
    // That one has to name all.
    if alias.name.value == ROWS {
        return compare_widths(named, known);
    }
    if named > known {
        let message = format!(
            "table \"{}\" has {known} columns available but {named} columns specified",
            fold(&alias.name)
        );
        return Err(Error::invalid(sqlstate::INVALID_COLUMN_REFERENCE, message));
    }
    let others = columns.iter().skip(named);
    let column = |name: &String| TableAliasColumnDef {
        name: Ident::with_quote('"', name),
        data_type: None,
    };
    alias.columns.extend(others.map(column));
    Ok(())
}

impl VisitorMut for FromColumns<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        for cte in query.with.iter_mut().flat_map(|with| &mut with.cte_tables) {
            if !cte.alias.columns.is_empty() {
                let columns = self.shapes.query(&cte.query, Some(&cte.alias));
                or_break(name_others(&mut cte.alias, columns))?;
            }
            self.shapes.add(cte);
        }
        let SetExpr::Select(select) = query.body.as_mut() else {
            return ControlFlow::Continue(());
        };
        if !select.from.iter().any(has_natural) {
            return ControlFlow::Continue(());
        }
        let named = self.name_natural(select);
        or_break(named.and_then(|()| merge_in_order(query)))
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        if alias_of(factor).is_some_and(|alias| !alias.columns.is_empty()) {
            let columns = self.shapes.factor(factor);
            if let Some(alias) = alias_of(factor) {
                return or_break(name_others(alias, columns));
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        let named = self.name_natural(select);
        let merged = named.and_then(|()| merge_in_select(select));
        or_break(merged.and_then(|()| qualify_used(select, &self.shapes)))?;
        order_star(select, &self.shapes);
        self.spell_again(select);
        ControlFlow::Continue(())
    }
}
