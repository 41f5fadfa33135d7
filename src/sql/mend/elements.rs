//! Elements of JSON in FROM: `jsonb_array_elements(j) AS e` has a column `value`, and `e` alone is the value too.

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, OrderByKind, Query, Select, SelectItem, SetExpr, TableFactor, VisitMut,
};

use crate::sql::parser::fold;
use crate::sql::walk;

/// The column of such functions.
const COLUMN: &str = "value";

/// Writes the column where the name of the table stands for it.
pub(super) fn name_elements(query: &mut Query) {
    let mut tables = Vec::new();
    name_in_body(&mut query.body, &mut tables);
    let SetExpr::Select(select) = query.body.as_ref() else {
        return;
    };
    let Some(order) = query.order_by.as_mut().filter(|_| !tables.is_empty()) else {
        return;
    };
    let OrderByKind::Expressions(keys) = &mut order.kind else {
        return;
    };
    let is_output = |name: &Ident| {
        select.projection.iter().any(|item| {
            matches!(item, SelectItem::ExprWithAlias { alias, .. } if fold(alias) == fold(name))
        })
    };
    for key in keys {
        match &key.expr {
            Expr::Identifier(name) if is_output(name) => {}
            _ => read_columns(key, &tables),
        }
    }
}

/// Names the elements in a SELECT, or in each of a set operation, and notes the tables of the one SELECT.
fn name_in_body(body: &mut SetExpr, tables: &mut Vec<String>) {
    match body {
        SetExpr::Select(select) => *tables = name_in_select(select),
        SetExpr::SetOperation { left, right, .. } => {
            name_in_body(left, tables);
            name_in_body(right, tables);
            tables.clear();
        }
        _ => {}
    }
}

fn name_in_select(select: &mut Select) -> Vec<String> {
    let from = select.from.iter();
    let factors = from.flat_map(|table| {
        let joined = table.joins.iter().map(|join| &join.relation);
        std::iter::once(&table.relation).chain(joined)
    });
    let tables: Vec<String> = factors.filter_map(table_of_elements).collect();
    if tables.is_empty() {
        return tables;
    }
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr @ Expr::Identifier(_)) = item
            && let Expr::Identifier(name) = &*expr
            && tables.contains(&fold(name))
        {
            let alias = name.clone();
            let expr = expr.clone();
            *item = SelectItem::ExprWithAlias { expr, alias };
        }
    }
    read_columns(select, &tables);
    tables
}

/// The name of a table that has the elements of a call, and no names of columns of its own.
fn table_of_elements(factor: &TableFactor) -> Option<String> {
    let (name, alias) = match factor {
        TableFactor::Table {
            name,
            alias,
            args: Some(_),
            ..
        }
        | TableFactor::Function { name, alias, .. } => (name, alias),
        _ => return None,
    };
    let function = name.0.last()?.as_ident()?;
    if !fold(function).contains("array_elements") {
        return None;
    }
    match alias {
        Some(alias) => alias.columns.is_empty().then(|| fold(&alias.name)),
        None => Some(fold(function)),
    }
}

fn read_columns(node: &mut impl VisitMut, tables: &[String]) {
    walk::change_expressions(node, |expr| {
        if let Expr::Identifier(name) = expr
            && tables.contains(&fold(name))
        {
            let column = vec![name.clone(), Ident::new(COLUMN)];
            *expr = Expr::CompoundIdentifier(column);
        }
    });
}
