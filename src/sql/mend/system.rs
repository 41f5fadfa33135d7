//! PostgreSQL's own relations, where a statement names them.

use std::collections::{HashMap, HashSet};

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Query, Select, SelectItem, TableFactor, TableWithJoins,
};
use datafusion::sql::sqlparser::parser::Parser;

use super::folded;
use crate::catalog::pg::system_relation;
use crate::sql::tokens::DIALECT;

/// The system columns that PostgreSQL's own relations have here.
const SYSTEM_COLUMNS: [&str; 2] = ["tableoid", "xmin"];

/// What SHOW TABLES shows: the tables and views that are not PostgreSQL's own.
pub(super) fn shown_tables() -> Option<Box<Query>> {
    const SHOWN: &str = "SELECT table_catalog, table_schema, table_name, table_type \
        FROM information_schema.tables \
        WHERE table_schema NOT IN ('information_schema', 'pg_catalog') ORDER BY 2, 3";
    Parser::new(&DIALECT)
        .try_with_sql(SHOWN)
        .ok()?
        .parse_query()
        .ok()
}

/// Gives the system columns of PostgreSQL's own relations their names, which what they become would not have. Where FROM
/// has one relation alone, its name is put before them.
pub(super) fn name_system_columns(select: &mut Select, scope: &HashMap<String, u32>) {
    let mut known = scope.keys();
    let only = match (known.next(), known.next(), select.from.as_slice()) {
        (Some(only), None, [from]) if from.joins.is_empty() => Some(only),
        _ => None,
    };
    for item in &mut select.projection {
        let SelectItem::UnnamedExpr(expr) = item else {
            continue;
        };
        let (table, column) = match expr {
            Expr::CompoundIdentifier(names) => match names.as_slice() {
                [table, column] if scope.contains_key(&folded(table)) => (table.clone(), column),
                _ => continue,
            },
            Expr::Identifier(column) => match only {
                Some(only) => (Ident::with_quote('"', only.clone()), &*column),
                None => continue,
            },
            _ => continue,
        };
        if SYSTEM_COLUMNS.contains(&folded(column).as_str()) {
            let alias = column.clone();
            let expr = Expr::CompoundIdentifier(vec![table, alias.clone()]);
            *item = SelectItem::ExprWithAlias { expr, alias };
        }
    }
}

/// The system relations in FROM, by their aliases, but what WITH calls so.
pub(super) fn system_relations(select: &Select, common: &HashSet<String>) -> HashMap<String, u32> {
    let joined = |from: &TableWithJoins| {
        let joins = from.joins.iter().map(|join| join.relation.clone());
        std::iter::once(from.relation.clone())
            .chain(joins)
            .collect::<Vec<_>>()
    };
    let factors = select.from.iter().flat_map(joined);
    let known = factors.filter_map(|factor| match factor {
        TableFactor::Table { name, alias, .. } => {
            let parts = name.0.iter().map(|part| part.as_ident());
            let parts: Vec<String> = parts.map(|p| Some(folded(p?))).collect::<Option<_>>()?;
            let relation = match parts.as_slice() {
                [schema, relation] if schema == "pg_catalog" => relation,
                [relation] if !common.contains(relation) => relation,
                _ => return None,
            };
            let named = alias.map_or_else(|| relation.clone(), |a| folded(&a.name));
            Some((named, system_relation(relation)?))
        }
        _ => None,
    });
    known.collect()
}
