//! Comparisons of a row with the rows of a subquery: `(a, b) IN (SELECT ..)`, `(a, b) = (SELECT ..)`, and ANY and ALL.
//!
//! DataFusion's subqueries have one column there. The rows of the subquery become a relation whose columns no name of a
//! user's means, `m` a comparison of its columns with the values of the row, and
//!
//! - `IN` and ANY are true where a row meets `m`, else NULL where `m` is NULL for a row, else false; NOT IN is the opposite.
//! - ALL is false where a row fails `m`, else NULL where `m` is NULL for a row, else true.
//! - `(a, b) = (SELECT ..)` is the value of `m`, of which there is one at most.
//!
//! In WHERE a condition that is not met and one that is NULL are the same: what is left of IN is one EXISTS, a join.

use std::cmp::Ordering;

use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, Expr, Ident, Query, Select, SelectItem, SetExpr, Statement, Value,
};
use datafusion::sql::sqlparser::parser::Parser;

use super::build::nested;
use super::rows::{compare_rows, row_of};
use crate::error::{Error, Result, sqlstate};
use crate::sql::tokens::DIALECT;

/// What the rows of the subquery are called; no user's name has a blank at its end by chance.
pub(in crate::sql) const ROWS: &str = "rows ";

/// A row beside the rows of a subquery.
struct Compared<'a> {
    row: &'a Expr,
    op: BinaryOperator,
    query: &'a Query,
    /// Whether all rows must meet the comparison, or any.
    all: bool,
    negated: bool,
}

impl<'a> Compared<'a> {
    /// Reads IN, ANY and ALL of a row; `None` of all other expressions.
    fn of(expr: &'a Expr) -> Result<Option<Self>> {
        let (row, op, query, all, negated) = match expr {
            Expr::InSubquery {
                expr,
                subquery,
                negated,
            } => (expr, BinaryOperator::Eq, &**subquery, false, *negated),
            Expr::AnyOp {
                left,
                compare_op,
                right,
                ..
            } => match subquery_of(right) {
                Some(query) => (left, compare_op.clone(), query, false, false),
                None => return Ok(None),
            },
            Expr::AllOp {
                left,
                compare_op,
                right,
            } => match subquery_of(right) {
                Some(query) => (left, compare_op.clone(), query, true, false),
                None => return Ok(None),
            },
            _ => return Ok(None),
        };
        let Some(values) = row_of(row) else {
            return Ok(None);
        };
        check_width(values.len(), query)?;
        Ok(Some(Self {
            row,
            op,
            query,
            all,
            negated,
        }))
    }

    /// The comparison as a value.
    fn value(&self) -> Option<Expr> {
        let met = self.met()?;
        let decides = match self.all {
            true => Expr::IsFalse(Box::new(met.clone())),
            false => met.clone(),
        };
        let decided = Expr::value(Value::Boolean(self.all == self.negated));
        let open = Expr::value(Value::Boolean(self.all != self.negated));
        let when = |condition: Expr, result: Expr| ast::CaseWhen { condition, result };
        let unknown = Expr::IsNull(Box::new(met));
        Some(Expr::Case {
            case_token: ast::helpers::attached_token::AttachedToken::empty(),
            end_token: ast::helpers::attached_token::AttachedToken::empty(),
            operand: None,
            conditions: vec![
                when(self.exists(decides, false)?, decided),
                when(self.exists(unknown, false)?, Expr::value(Value::Null)),
            ],
            else_result: Some(Box::new(open)),
        })
    }

    /// The comparison as a condition that must be met.
    fn condition(&self) -> Option<Expr> {
        let met = self.met()?;
        match (self.all, self.negated) {
            (false, false) => self.exists(met, false),
            (false, true) => self.exists(Expr::IsNotFalse(Box::new(met)), true),
            (true, _) => self.exists(Expr::IsNotTrue(Box::new(met)), true),
        }
    }

    /// The comparison of the row with the columns of the relation.
    fn met(&self) -> Option<Expr> {
        let columns = columns(row_of(self.row)?.len());
        compare_rows(self.row, &self.op, &columns).map(nested)
    }

    /// Whether there is a row of the subquery, or none, that meets the condition.
    fn exists(&self, condition: Expr, negated: bool) -> Option<Expr> {
        let width = row_of(self.row)?.len();
        let mut subquery = rows_of(self.query, width)?;
        select_of(&mut subquery)?.selection = Some(condition);
        Some(Expr::Exists {
            subquery: Box::new(subquery),
            negated,
        })
    }
}

/// IN, ANY or ALL of a row and a subquery; `None` for what is none.
///
/// # Errors
/// 42601 where the row and the subquery differ in their number of columns.
pub(super) fn row_among_rows(expr: &Expr) -> Result<Option<Expr>> {
    Ok(Compared::of(expr)?.and_then(|compared| compared.value()))
}

/// Makes conditions of WHERE that compare a row with those of a subquery such that become joins.
///
/// # Errors
/// As [`row_among_rows`].
pub(super) fn rows_in_where(selection: &mut Option<Expr>) -> Result<()> {
    let mut open: Vec<&mut Expr> = selection.iter_mut().collect();
    while let Some(expr) = open.pop() {
        match expr {
            Expr::Nested(inner) => open.push(inner),
            Expr::BinaryOp {
                left,
                op: BinaryOperator::And,
                right,
            } => open.extend([left.as_mut(), right.as_mut()]),
            expr => {
                let condition = Compared::of(expr)?.and_then(|compared| compared.condition());
                if let Some(condition) = condition {
                    *expr = condition;
                }
            }
        }
    }
    Ok(())
}

/// `(a, b) = (SELECT x, y ..)`; `None` for what is none.
///
/// # Errors
/// As [`row_among_rows`].
pub(super) fn row_with_query(
    left: &Expr,
    op: &BinaryOperator,
    right: &Expr,
) -> Result<Option<Expr>> {
    let (Some(row), Some(query)) = (row_of(left), subquery_of(right)) else {
        return Ok(None);
    };
    check_width(row.len(), query)?;
    let compares = || {
        let compared = compare_rows(left, op, &columns(row.len()))?;
        let mut compares = rows_of(query, row.len())?;
        select_of(&mut compares)?.projection = vec![SelectItem::UnnamedExpr(compared)];
        Some(Expr::Subquery(Box::new(compares)))
    };
    Ok(compares())
}

fn column(place: usize) -> Ident {
    Ident::with_quote('"', format!("{place} "))
}

/// The columns of the relation as a row.
fn columns(width: usize) -> Expr {
    let named = (0..width).map(|place| Expr::CompoundIdentifier(vec![rows(), column(place)]));
    Expr::Tuple(named.collect())
}

fn rows() -> Ident {
    Ident::with_quote('"', ROWS)
}

/// `SELECT 1 FROM (query) AS rows(..)`
fn rows_of(query: &Query, width: usize) -> Option<Query> {
    let names: Vec<String> = (0..width).map(|place| column(place).to_string()).collect();
    let text = format!(
        "SELECT 1 FROM (SELECT 1) AS {}({})",
        rows(),
        names.join(", ")
    );
    let parsed = Parser::new(&DIALECT).try_with_sql(&text).ok()?;
    let Statement::Query(mut outer) = { parsed }.parse_statement().ok()? else {
        return None;
    };
    let from = select_of(&mut outer)?.from.first_mut()?;
    let ast::TableFactor::Derived { subquery, .. } = &mut from.relation else {
        return None;
    };
    **subquery = query.clone();
    Some(*outer)
}

fn select_of(query: &mut Query) -> Option<&mut Select> {
    match query.body.as_mut() {
        SetExpr::Select(select) => Some(select),
        _ => None,
    }
}

fn subquery_of(expr: &Expr) -> Option<&Query> {
    match expr {
        Expr::Nested(inner) => subquery_of(inner),
        Expr::Subquery(query) => Some(query),
        _ => None,
    }
}

/// # Errors
/// 42601 where the subquery has another number of columns, as far as its text tells.
fn check_width(width: usize, query: &Query) -> Result<()> {
    match width_of(&query.body) {
        Some(found) => compare_widths(width, found),
        None => Ok(()),
    }
}

/// That the rows of a subquery are as wide as the row that is compared with them.
///
/// # Errors
/// 42601.
pub(in crate::sql) fn compare_widths(width: usize, found: usize) -> Result<()> {
    let message = match found.cmp(&width) {
        Ordering::Less => "subquery has too few columns",
        Ordering::Equal => return Ok(()),
        Ordering::Greater => "subquery has too many columns",
    };
    Err(Error::invalid(sqlstate::SYNTAX_ERROR, message))
}

/// How many columns a query has, where that does not depend on tables.
fn width_of(body: &SetExpr) -> Option<usize> {
    match body {
        SetExpr::Select(select) => {
            let is_one = |item: &SelectItem| {
                matches!(
                    item,
                    SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. }
                )
            };
            let is_known = select.projection.iter().all(is_one);
            is_known.then_some(select.projection.len())
        }
        SetExpr::Values(values) => Some(values.rows.first()?.content.len()),
        SetExpr::SetOperation { left, .. } => width_of(left),
        SetExpr::Query(query) => width_of(&query.body),
        _ => None,
    }
}
