//! The columns of a query that others name: in FROM, in WITH, of a view or of CREATE TABLE AS.
//!
//! PostgreSQL gives a column without a name one of its own (`count`, `?column?`), by which the query around it knows the
//! column. DataFusion's name is the whole expression.

use std::collections::HashSet;
use std::ops::ControlFlow;

use arrow::datatypes::Field;
use datafusion::sql::sqlparser::ast::{
    self, Expr, Ident, OrderByKind, Query, Select, SelectItem, SetExpr, TableFactor, Visitor,
};

use super::build::cast_as;
use crate::catalog::pg_type::{info, type_of};
use crate::sql::output_names::lasting_name;
use crate::sql::parser::fold;
use crate::sql::shapes::{factors, name_of};
use crate::sql::types::column_type;
use crate::sql::walk;
use crate::storage::schema::{ColumnType, SQL_TYPE_KEY};

/// Names the columns of a query in FROM.
pub(super) fn name_derived(factor: &mut TableFactor) {
    if let TableFactor::Derived {
        subquery,
        alias,
        lateral,
        ..
    } = factor
    {
        if let Some(alias) = alias.as_mut().filter(|alias| !alias.columns.is_empty()) {
            name_others(alias, subquery);
            return;
        }
        name_columns(subquery);
        let mut sorted = Identifiers::default();
        // It never breaks.
        let _ = walk::read(&subquery.order_by, &mut sorted);
        if *lateral && let SetExpr::Select(select) = subquery.body.as_mut() {
            name_outer(select, &sorted.0);
        }
    }
}

/// Gives their own names to columns of a query further out, which DataFusion calls otherwise: those of relations that are
/// not in FROM, and all where there is no FROM. Names by which the rows are `sorted` stay those of columns.
fn name_outer(select: &mut Select, sorted: &HashSet<String>) {
    let own: HashSet<String> = factors(&select.from).filter_map(name_of).collect();
    let is_outer = |names: &[Ident]| match names {
        [_] => select.from.is_empty(),
        [.., table, _] => !own.contains(&fold(table)),
        [] => false,
    };
    let names: Vec<Option<Ident>> = select.projection.iter().map(column_name).collect();
    let has_star = names.iter().any(Option::is_none);
    let comes_once = |name: &Ident| {
        let alike = names.iter().flatten().filter(|n| fold(n) == fold(name));
        alike.count() == 1 && !has_star && !sorted.contains(&fold(name))
    };
    let outer = select.projection.iter().map(|item| match item {
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => is_outer(std::slice::from_ref(name)),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(names)) => is_outer(names),
        _ => false,
    });
    let outer: Vec<bool> = outer.collect();
    for ((item, name), outer) in select.projection.iter_mut().zip(&names).zip(outer) {
        if let (SelectItem::UnnamedExpr(expr), Some(name)) = (&*item, name)
            && outer
            && comes_once(name)
        {
            *item = SelectItem::ExprWithAlias {
                expr: expr.clone(),
                alias: name.clone(),
            };
        }
    }
}

/// The name of a column as it is written; an empty one of an expression, `None` for a star.
fn column_name(item: &SelectItem) -> Option<Ident> {
    match item {
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(name.clone()),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(names)) => names.last().cloned(),
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.clone()),
        SelectItem::UnnamedExpr(_) => Some(Ident::new("")),
        _ => None,
    }
}

/// Names the columns of the queries in WITH.
pub(super) fn name_common(query: &mut Query) {
    let tables = query.with.iter_mut().flat_map(|with| &mut with.cte_tables);
    for table in tables {
        match table.alias.columns.is_empty() {
            true => name_columns(&mut table.query),
            false => name_others(&mut table.alias, &mut table.query),
        }
    }
}

/// Names all columns of a query whose alias names only the first of them: the others keep their names.
fn name_others(alias: &mut ast::TableAlias, query: &mut Query) {
    let Some(select) = first_select(&mut query.body) else {
        return;
    };
    let names: Option<Vec<Ident>> = select.projection.iter().map(column_name).collect();
    let Some(names) = names.filter(|names| names.len() > alias.columns.len()) else {
        return;
    };
    let mut taken: HashSet<String> = alias.columns.iter().map(|c| fold(&c.name)).collect();
    let others = names
        .iter()
        .zip(&select.projection)
        .skip(alias.columns.len());
    let others: Vec<ast::TableAliasColumnDef> = others
        .map(|(name, item)| {
            let mut name = match item {
                SelectItem::UnnamedExpr(expr) if name.value.is_empty() => {
                    let own = lasting_name(expr).or_else(|| name_of_type(expr));
                    own.unwrap_or_else(|| "?column?".to_string())
                }
                _ => fold(name),
            };
            // Blanks tell it from another column of that name.
            while !taken.insert(name.clone()) {
                name.push(' ');
            }
            let name = Ident::with_quote('"', name);
            ast::TableAliasColumnDef {
                name,
                data_type: None,
            }
        })
        .collect();
    alias.columns.extend(others);
}

/// Gives columns without a name that of PostgreSQL, as far as the query does not use it otherwise.
pub(in crate::sql) fn name_columns(query: &mut Query) {
    let mut taken = Identifiers::default();
    if let Some(order) = &query.order_by {
        taken.read_order(order);
    }
    if let Some(select) = first_select(&mut query.body) {
        name_items(select, taken);
    }
}

/// The first query of set operations: the columns have its names, and it has the INTO.
pub(in crate::sql) fn first_select(body: &mut SetExpr) -> Option<&mut Select> {
    match body {
        SetExpr::Select(select) => Some(select),
        SetExpr::SetOperation { left, .. } => first_select(left),
        SetExpr::Query(query) => first_select(&mut query.body),
        _ => None,
    }
}

/// An alias hides a column of its name in HAVING, DISTINCT ON, and expressions of ORDER BY.
fn name_items(select: &mut Select, mut taken: Identifiers) {
    let is_unnamed = |item: &SelectItem| {
        matches!(item, SelectItem::UnnamedExpr(expr)
            if !matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_)))
    };
    if !select.projection.iter().any(is_unnamed) {
        return;
    }
    // None of these ever breaks.
    let _ = walk::read(&select.having, &mut taken);
    let _ = walk::read(&select.distinct, &mut taken);
    let hidden = taken.0.clone();
    for item in &select.projection {
        match item {
            SelectItem::ExprWithAlias { alias, .. } => {
                taken.0.insert(fold(alias));
            }
            SelectItem::UnnamedExpr(expr) if !is_unnamed(item) => {
                let _ = walk::read(expr, &mut taken);
            }
            SelectItem::UnnamedExpr(_) => {}
            // The columns behind a star may have any name that is read.
            _ => {
                let _ = walk::read(select, &mut taken);
            }
        }
    }
    let mut taken = taken.0;
    for item in select.projection.iter_mut().filter(|i| is_unnamed(i)) {
        let SelectItem::UnnamedExpr(expr) = item else {
            continue;
        };
        let Some(mut name) = lasting_name(expr).or_else(|| name_of_type(expr)) else {
            continue;
        };
        // DataFusion calls a cast as what is cast: blanks tell it from another column of that name.
        if taken.contains(&name) && cast_column(expr).is_some() && !hidden.contains(&name) {
            name.push(' ');
        }
        if taken.insert(name.clone()) {
            *item = SelectItem::ExprWithAlias {
                expr: expr.clone(),
                alias: Ident::with_quote('"', name),
            };
        }
    }
}

/// The name of a cast's type, of an array that of its elements.
fn name_of_type(expr: &Expr) -> Option<String> {
    let data_type = match expr {
        Expr::Nested(inner) => return name_of_type(inner),
        Expr::Cast { data_type, .. } => data_type,
        Expr::TypedString(typed) => &typed.data_type,
        Expr::Interval(_) => return Some("interval".to_string()),
        _ => return None,
    };
    let mut of = column_type(data_type).ok()?;
    if let ColumnType::Array(element) = of {
        of = *element;
    }
    let metadata = [(SQL_TYPE_KEY.to_string(), of.sql_type())].into();
    let field = Field::new("", of.arrow_type(), true).with_metadata(metadata);
    info(type_of(&field).oid).map(|of| of.name.to_string())
}

/// `SELECT x::text .. ORDER BY x` sorts by the text: PostgreSQL calls a cast as what is cast. In an expression of ORDER BY,
/// `x` is the column. DataFusion has a name for both, and refuses to have it twice.
pub(super) fn name_sorted_casts(query: &mut Query) {
    let (Some(order), SetExpr::Select(select)) = (&query.order_by, query.body.as_mut()) else {
        return;
    };
    let mut used = Identifiers::default();
    // It never breaks.
    let _ = walk::read(order, &mut used);
    let keys = match &order.kind {
        OrderByKind::Expressions(keys) => keys.as_slice(),
        OrderByKind::All(_) => &[],
    };
    let is_key = |name: &str| {
        let mut keys = keys.iter();
        keys.any(|key| matches!(&key.expr, Expr::Identifier(key) if fold(key) == name))
    };
    for item in &mut select.projection {
        let SelectItem::UnnamedExpr(expr @ Expr::Cast { .. }) = item else {
            continue;
        };
        let Some(name) = cast_column(expr).filter(|name| used.0.contains(name)) else {
            continue;
        };
        let alias = if is_key(&name) {
            name
        } else {
            format!("{name} ")
        };
        *item = SelectItem::ExprWithAlias {
            expr: expr.clone(),
            alias: Ident::with_quote('"', alias),
        };
    }
}

/// The column that is cast.
fn cast_column(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Cast { expr, .. } | Expr::Nested(expr) => cast_column(expr),
        Expr::Identifier(name) => Some(fold(name)),
        Expr::CompoundIdentifier(names) => names.last().map(fold),
        _ => None,
    }
}

/// The names of the columns that have none of their own.
pub(super) fn lasting_names(select: &Select) -> Vec<Option<String>> {
    let name = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(Expr::Identifier(_) | Expr::CompoundIdentifier(_)) => None,
        SelectItem::UnnamedExpr(expr) => lasting_name(expr),
        _ => None,
    };
    select.projection.iter().map(name).collect()
}

/// Gives columns that were mended the names that they had.
pub(super) fn keep_names(select: &mut Select, names: Vec<Option<String>>) {
    for (item, name) in select.projection.iter_mut().zip(names) {
        if let SelectItem::UnnamedExpr(expr) = item
            && let Some(name) = name
            && lasting_name(expr).is_some_and(|mended| mended != name)
        {
            *item = SelectItem::ExprWithAlias {
                expr: expr.clone(),
                alias: Ident::with_quote('"', name),
            };
        }
    }
}

/// Names that stand in a query: an alias would change what they mean in GROUP BY or ORDER BY.
#[derive(Default)]
struct Identifiers(HashSet<String>);

impl Identifiers {
    /// Notes names in the keys that are more than the name of a column.
    fn read_order(&mut self, order: &ast::OrderBy) {
        let OrderByKind::Expressions(keys) = &order.kind else {
            return;
        };
        for key in keys {
            if !matches!(key.expr, Expr::Identifier(_)) {
                // It never breaks.
                let _ = walk::read(&key.expr, self);
            }
        }
    }
}

impl Visitor for Identifiers {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(name) => {
                self.0.insert(fold(name));
            }
            Expr::CompoundIdentifier(names) => self.0.extend(names.last().map(fold)),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// `generate_series('2020-01-01'::timestamp, '2020-01-03', '1 day')`: literals are read as the first argument's type asks.
pub(super) fn type_series(factor: &mut TableFactor) {
    let (name, arguments) = match factor {
        TableFactor::Table {
            name,
            args: Some(args),
            ..
        } => (name, &mut args.args),
        TableFactor::Function { name, args, .. } => (name, args),
        _ => return,
    };
    let called = name.0.last().and_then(|part| part.as_ident()).map(fold);
    if called.as_deref() == Some("generate_series") {
        type_arguments(arguments);
    }
}

/// Reads the literals among the arguments of `generate_series` as one of the bounds asks, the first of them before the other.
pub(super) fn type_arguments(arguments: &mut [ast::FunctionArg]) {
    let values = arguments.iter_mut().filter_map(|argument| match argument {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    });
    let values: Vec<&mut Expr> = values.collect();
    let told = |value: &&mut Expr| match &**value {
        Expr::Cast { data_type, .. } => Some(data_type.clone()),
        Expr::TypedString(typed) => Some(typed.data_type.clone()),
        _ => None,
    };
    let Some(data_type) = values.iter().take(2).find_map(told) else {
        return;
    };
    let interval = ast::DataType::Interval {
        fields: None,
        precision: None,
    };
    let types = [data_type.clone(), data_type, interval];
    for (value, data_type) in values.into_iter().zip(types) {
        if let Expr::Value(literal) = &*value
            && matches!(
                literal.value,
                ast::Value::SingleQuotedString(_) | ast::Value::Null
            )
        {
            *value = cast_as(value.clone(), data_type);
        }
    }
}
