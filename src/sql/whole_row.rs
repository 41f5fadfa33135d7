//! Whole rows as values: `row_to_json(t)`, `json_agg(t)`, `count(t.*)`, where `t` stands in FROM.
//!
//! DataFusion has no name for a row. The name of a relation as an argument of a function that makes JSON becomes the
//! members of an object, one for each column; `count(t.*)` counts the rows that are not made up by an outer join.
//! `t IS NULL` asks all columns of the row. In a SELECT list, in `array_agg(t)`, and where two rows are compared it is
//! `ROW(..)` of its columns; `(t).a` is a column. The columns of a relation are those that [`Shapes`] knows.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName,
    Query, Select, SelectItem, Value, VisitorMut,
};

use super::parser::fold;
use super::shapes::{Shapes, factors, name_of};
use super::walk;
use crate::error::Error;

/// Functions that take a row, with what makes the same of its members.
const MAKERS: [(&str, &str); 3] = [
    ("row_to_json", "json_row"),
    ("to_json", "json_row"),
    ("to_jsonb", "jsonb_build_object"),
];

/// The function that makes a record.
const ROW: &str = "row";

/// Puts the members of rows where their relations are named.
pub(super) fn spell_rows(
    statement: &mut ast::Statement,
    columns: impl Fn(&ObjectName) -> Option<Vec<String>>,
) {
    let mut rows = Rows {
        shapes: Shapes::new(&columns),
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

struct Rows<'a> {
    shapes: Shapes<'a>,
    scopes: Vec<Scope>,
}

impl Rows<'_> {
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
        }
        let known = factors(&select.from);
        let known = known.filter_map(|f| Some((name_of(f)?, self.shapes.factor(f)?)));
        scope.relations.extend(known);
        scope
    }

    /// The columns of the relation that an identifier names; a column of that name comes first.
    fn row(&self, name: &str) -> Option<(&Scope, &Vec<String>)> {
        let scope = self.scopes.last()?;
        let is_column = scope.relations.values().flatten().any(|c| c == name);
        let columns = scope.relations.get(name).filter(|_| !is_column)?;
        Some((scope, columns))
    }

    /// `ROW(..)` of the columns, where the expression names a relation.
    fn record(&self, row: &Expr) -> Option<Expr> {
        let relation = relation_of(row)?;
        let (scope, columns) = self.row(&relation)?;
        let values = columns.iter().map(|name| column(&relation, name));
        let record = super::mend::call(ROW, values.collect());
        Some(unless_made_up(scope, &relation, columns, record))
    }

    /// Two rows that are compared, as records.
    fn compared(&self, left: &mut Expr, right: &mut Expr) {
        if let (Some(row), Some(other)) = (self.record(left), self.record(right)) {
            (*left, *right) = (row, other);
        }
    }

    /// `t.a` of `(t).a`.
    fn field(&self, root: &Expr, chain: &[ast::AccessExpr]) -> Option<Expr> {
        let (Expr::Nested(row), [ast::AccessExpr::Dot(Expr::Value(field))]) = (root, chain) else {
            return None;
        };
        let Value::SingleQuotedString(field) = &field.value else {
            return None;
        };
        let relation = relation_of(row)?;
        let (_, columns) = self.row(&relation)?;
        columns.contains(field).then(|| column(&relation, field))
    }

    /// Puts records where the SELECT list names relations.
    fn records_in_list(&self, select: &mut Select) {
        for item in &mut select.projection {
            match item {
                SelectItem::UnnamedExpr(expr @ Expr::Identifier(_)) => {
                    let Some(record) = self.record(expr) else {
                        continue;
                    };
                    let Some(name) = relation_of(expr) else {
                        continue;
                    };
                    *item = SelectItem::ExprWithAlias {
                        expr: record,
                        alias: quoted(&name),
                    };
                }
                SelectItem::ExprWithAlias { expr, .. } => {
                    if let Some(record) = self.record(expr) {
                        *expr = record;
                    }
                }
                _ => {}
            }
        }
    }

    /// What is asked of a row, asked of each of its columns.
    fn all_columns(&self, row: &Expr, asked: fn(Box<Expr>) -> Expr) -> Option<Expr> {
        let relation = relation_of(row)?;
        let (_, columns) = self.row(&relation)?;
        let columns = columns.iter().map(|name| column(&relation, name));
        let asked = columns.map(|column| asked(Box::new(column)));
        asked.reduce(and).map(|all| Expr::Nested(Box::new(all)))
    }

    /// `ROW(a, t.*)` with the columns of the relation.
    fn spread(&self, list: &mut ast::FunctionArgumentList) {
        let args = std::mem::take(&mut list.args);
        let spread = args.into_iter().flat_map(|argument| {
            let FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(name)) = &argument else {
                return vec![argument];
            };
            let relation = name.0.last().and_then(|part| part.as_ident()).map(fold);
            let found = relation.and_then(|r| Some((self.row(&r)?.1.clone(), r)));
            let Some((columns, relation)) = found else {
                return vec![argument];
            };
            let columns = columns.iter().map(|name| column(&relation, name));
            let value = |column| FunctionArg::Unnamed(FunctionArgExpr::Expr(column));
            columns.map(value).collect()
        });
        list.args = spread.collect();
    }

    /// The call with a row's members instead of its relation.
    fn spelled(&self, function: &mut Function) -> Option<Expr> {
        let name = function.name.0.last()?.as_ident().map(fold)?;
        let FunctionArguments::List(list) = &mut function.args else {
            return None;
        };
        if name == ROW {
            self.spread(list);
            return None;
        }
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
        if name == "array_agg" {
            let value = Expr::Identifier(quoted(&relation));
            let record = self.record(&value)?;
            list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(record))];
            return None;
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

impl VisitorMut for Rows<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.shapes.add(cte);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        let scope = self.scope(select);
        self.scopes.push(scope);
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        self.records_in_list(select);
        self.scopes.pop();
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        let spelled = match expr {
            Expr::Function(function) => self.spelled(function),
            Expr::IsNull(row) => self.all_columns(row, Expr::IsNull),
            Expr::IsNotNull(row) => self.all_columns(row, Expr::IsNotNull),
            Expr::CompoundFieldAccess { root, access_chain } => self.field(root, access_chain),
            Expr::BinaryOp { left, op, right } if compares(op) => {
                self.compared(left, right);
                None
            }
            Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) => {
                self.compared(left, right);
                None
            }
            _ => None,
        };
        if let Some(spelled) = spelled {
            *expr = spelled;
        }
        ControlFlow::Continue(())
    }
}

/// The relation that an expression names.
fn relation_of(row: &Expr) -> Option<String> {
    match row {
        Expr::Identifier(name) => Some(fold(name)),
        Expr::QualifiedWildcard(name, _) => name.0.last()?.as_ident().map(fold),
        _ => None,
    }
}

fn compares(op: &ast::BinaryOperator) -> bool {
    use ast::BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq)
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

fn and(left: Expr, right: Expr) -> Expr {
    Expr::BinaryOp {
        left: Box::new(left),
        op: ast::BinaryOperator::And,
        right: Box::new(right),
    }
}

/// NULL where an outer join made up the row: where all its columns are NULL.
fn unless_made_up(scope: &Scope, relation: &str, columns: &[String], row: Expr) -> Expr {
    let nulls = columns
        .iter()
        .map(|name| Expr::IsNull(Box::new(column(relation, name))));
    match nulls.reduce(and).filter(|_| scope.has_outer_join) {
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
