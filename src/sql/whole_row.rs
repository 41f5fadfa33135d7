//! Whole rows as values: `row_to_json(t)`, `json_agg(t)`, `count(t.*)`, where `t` stands in FROM.
//!
//! DataFusion has no name for a row. The name of a relation as an argument of a function that makes JSON becomes the
//! members of an object, one for each column; `count(t.*)` counts the rows that are not made up by an outer join.
//! The columns of a table are in the catalog, those of a query in FROM in its SELECT list, unless that has a `*`.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName,
    Select, SelectItem, SetExpr, TableAlias, TableFactor, Value, VisitorMut,
};

use super::parser::fold;
use super::walk;
use crate::error::Error;

/// Functions that take a row, with what makes the same of its members.
const MAKERS: [(&str, &str); 3] = [
    ("row_to_json", "json_row"),
    ("to_json", "json_row"),
    ("to_jsonb", "jsonb_build_object"),
];

/// Puts the members of rows where their relations are named.
pub(super) fn spell_rows(
    statement: &mut ast::Statement,
    columns: impl Fn(&ObjectName) -> Option<Vec<String>>,
) {
    let mut rows = Rows {
        columns,
        scopes: Vec::new(),
    };
    // It never breaks.
    let _ = walk::change(statement, &mut rows);
}

/// What is in FROM of a SELECT.
#[derive(Default)]
struct Scope {
    /// The columns of the relations whose columns are known.
    relations: HashMap<String, Vec<String>>,
    /// Whether rows may be made up.
    has_outer_join: bool,
}

struct Rows<F> {
    columns: F,
    scopes: Vec<Scope>,
}

impl<F: Fn(&ObjectName) -> Option<Vec<String>>> Rows<F> {
    fn scope(&self, select: &Select) -> Scope {
        let mut scope = Scope::default();
        for from in &select.from {
            scope.has_outer_join |= from.joins.iter().any(|join| {
                use ast::JoinOperator::{FullOuter, Left, LeftOuter, Right, RightOuter};
                let operator = &join.join_operator;
                matches!(
                    operator,
                    Left(_) | LeftOuter(_) | Right(_) | RightOuter(_) | FullOuter(_)
                )
            });
            let joined = from.joins.iter().map(|join| &join.relation);
            for factor in std::iter::once(&from.relation).chain(joined) {
                scope.relations.extend(self.relation(factor));
            }
        }
        scope
    }

    /// The name of a relation, and its columns.
    fn relation(&self, factor: &TableFactor) -> Option<(String, Vec<String>)> {
        match factor {
            TableFactor::Table {
                name,
                alias,
                args: None,
                ..
            } => {
                let columns = (self.columns)(name)?;
                let name = match alias {
                    Some(alias) => fold(&alias.name),
                    None => fold(name.0.last()?.as_ident()?),
                };
                Some((name, named(columns, alias.as_ref())))
            }
            TableFactor::Derived {
                subquery,
                alias: Some(alias),
                ..
            } => Some((fold(&alias.name), selected(&subquery.body, Some(alias))?)),
            _ => None,
        }
    }

    /// The columns of the relation that an identifier names; a column of that name comes first.
    fn row(&self, name: &str) -> Option<(&Scope, &Vec<String>)> {
        let scope = self.scopes.last()?;
        let is_column = scope.relations.values().flatten().any(|c| c == name);
        let columns = scope.relations.get(name).filter(|_| !is_column)?;
        Some((scope, columns))
    }

    /// The call with a row's members instead of its relation.
    fn spelled(&self, function: &Function) -> Option<Expr> {
        let name = function.name.0.last()?.as_ident().map(fold)?;
        let FunctionArguments::List(list) = &function.args else {
            return None;
        };
        let [FunctionArg::Unnamed(argument)] = list.args.as_slice() else {
            return None;
        };
        let relation = match argument {
            FunctionArgExpr::Expr(Expr::Identifier(ident)) => fold(ident),
            FunctionArgExpr::QualifiedWildcard(name) => {
                name.0.last().and_then(|part| part.as_ident()).map(fold)?
            }
            _ => return None,
        };
        let (scope, columns) = self.row(&relation)?;
        if let Some((_, maker)) = MAKERS.iter().find(|(known, _)| *known == name) {
            let row = members(maker, &relation, columns);
            return Some(unless_made_up(scope, &relation, columns, row));
        }
        let is_count = name == "count" && list.duplicate_treatment.is_none();
        if !is_count {
            return None;
        }
        let one = Expr::value(Value::Number("1".to_string(), false));
        let mut count = function.clone();
        if let FunctionArguments::List(list) = &mut count.args {
            let counted = unless_made_up(scope, &relation, columns, one);
            list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(counted))];
        }
        Some(Expr::Function(count))
    }
}

impl<F: Fn(&ObjectName) -> Option<Vec<String>>> VisitorMut for Rows<F> {
    type Break = Error;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        let scope = self.scope(select);
        self.scopes.push(scope);
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &mut Select) -> ControlFlow<Error> {
        self.scopes.pop();
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        if let Expr::Function(function) = expr
            && let Some(spelled) = self.spelled(function)
        {
            *expr = spelled;
        }
        ControlFlow::Continue(())
    }
}

/// The columns with the names of an alias.
pub(super) fn named(mut columns: Vec<String>, alias: Option<&TableAlias>) -> Vec<String> {
    let names = alias.iter().flat_map(|alias| &alias.columns);
    for (column, named) in columns.iter_mut().zip(names) {
        *column = fold(&named.name);
    }
    columns
}

/// The names of the columns of a query under an alias, if none of them is a `*` or has no name.
pub(super) fn selected(body: &SetExpr, alias: Option<&TableAlias>) -> Option<Vec<String>> {
    let items = match body {
        SetExpr::Select(select) => &select.projection,
        SetExpr::SetOperation { left, .. } => return selected(left, alias),
        SetExpr::Query(query) => return selected(&query.body, alias),
        _ => return None,
    };
    let mut given = alias.iter().flat_map(|alias| &alias.columns);
    let name = |item: &SelectItem| {
        let given = given.next().map(|column| fold(&column.name));
        let own = match item {
            SelectItem::ExprWithAlias { alias, .. } => Some(fold(alias)),
            SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(fold(name)),
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last().map(fold),
            SelectItem::UnnamedExpr(_) => None,
            _ => return None,
        };
        given.or(own)
    };
    items.iter().map(name).collect()
}

fn quoted(name: &str) -> Ident {
    Ident::with_quote('"', name)
}

fn column(relation: &str, name: &str) -> Expr {
    Expr::CompoundIdentifier(vec![quoted(relation), quoted(name)])
}

/// `maker('a', t.a, 'b', t.b)`
fn members(maker: &str, relation: &str, columns: &[String]) -> Expr {
    let members = columns.iter().flat_map(|name| {
        let key = Expr::value(Value::SingleQuotedString(name.clone()));
        [key, column(relation, name)]
    });
    super::mend::call(maker, members.collect())
}

/// NULL where an outer join made up the row: where all its columns are NULL.
fn unless_made_up(scope: &Scope, relation: &str, columns: &[String], row: Expr) -> Expr {
    let nulls = columns
        .iter()
        .map(|name| Expr::IsNull(Box::new(column(relation, name))));
    let all = nulls.reduce(|left, right| Expr::BinaryOp {
        left: Box::new(left),
        op: ast::BinaryOperator::And,
        right: Box::new(right),
    });
    match all.filter(|_| scope.has_outer_join) {
        None => row,
        Some(made_up) => Expr::Case {
            case_token: ast::helpers::attached_token::AttachedToken::empty(),
            end_token: ast::helpers::attached_token::AttachedToken::empty(),
            operand: None,
            conditions: vec![ast::CaseWhen {
                condition: made_up,
                result: Expr::value(Value::Null),
            }],
            else_result: Some(Box::new(row)),
        },
    }
}
