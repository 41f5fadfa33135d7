//! Comparisons of rows, `(a, b) < (c, d)`, as comparisons of their values.
//!
//! DataFusion makes structs of rows, and a struct with a NULL in it is a value like others: `(1, NULL) = (1, NULL)` would be
//! true. PostgreSQL compares value by value, and knows nothing where NULL decides. Written out, the first value also prunes
//! segments.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, UnaryOperator};

use super::build::{arguments, binary, nested};
use super::gather::holds_query;
use crate::sql::walk;

/// The most parts of rows that are written several times, which rows within rows would multiply.
const COPIED_PARTS_MAX: usize = 1_000;
/// The most values of rows that are put into an order: each comparison stands within the one before.
const ORDERED_MAX: usize = 32;
/// The most rows of an IN list that are written as comparisons.
const ROWS_MAX: usize = 32;

/// `(a, b) = (c, d)` and its like; `None` for what is no comparison of two rows of one length.
pub(super) fn compare_rows(left: &Expr, op: &BinaryOperator, right: &Expr) -> Option<Expr> {
    let (left, right) = (row_of(left)?, row_of(right)?);
    let fits = left.len() == right.len() && !left.is_empty();
    fits.then(|| compared(&left, op, &right))
        .flatten()
        .map(nested)
}

/// `(a, b) IN ((1, 2), (3, 4))`.
pub(super) fn row_in_list(row: &Expr, list: &[Expr], negated: bool) -> Option<Expr> {
    if list.len() > ROWS_MAX || list.len() * parts(row) > COPIED_PARTS_MAX {
        return None;
    }
    let equals = list
        .iter()
        .map(|other| compare_rows(row, &BinaryOperator::Eq, other));
    let any = balanced(&equals.collect::<Option<Vec<_>>>()?, &BinaryOperator::Or)?;
    let any = nested(any);
    Some(match negated {
        true => nested(Expr::UnaryOp {
            op: UnaryOperator::Not,
            expr: Box::new(any),
        }),
        false => any,
    })
}

/// `(a, b) IS NULL`: all values are NULL; `IS NOT NULL`: none is.
pub(super) fn row_is_null(row: &Expr, negated: bool) -> Option<Expr> {
    let test = |value: Expr| match negated {
        true => Expr::IsNotNull(Box::new(value)),
        false => Expr::IsNull(Box::new(value)),
    };
    let tests: Vec<Expr> = row_of(row)?.into_iter().map(test).collect();
    balanced(&tests, &BinaryOperator::And).map(nested)
}

/// The values of a row that is written out.
pub(super) fn row_of(expr: &Expr) -> Option<Vec<Expr>> {
    match expr {
        Expr::Tuple(values) => Some(values.clone()),
        Expr::Nested(inner) => row_of(inner),
        Expr::Function(function) => {
            let name = function.name.0.last()?.as_ident()?;
            let is_row = name.value.eq_ignore_ascii_case("row") && function.over.is_none();
            let values = arguments(function).filter(|_| is_row)?;
            Some(values.into_iter().cloned().collect())
        }
        _ => None,
    }
}

fn compared(left: &[Expr], op: &BinaryOperator, right: &[Expr]) -> Option<Expr> {
    use BinaryOperator::{And, Eq, Gt, GtEq, Lt, LtEq, NotEq, Or};
    let pairs = |op: &BinaryOperator| -> Vec<Expr> {
        let pairs = left.iter().zip(right);
        pairs.map(|(l, r)| pair(l, op.clone(), r)).collect()
    };
    match op {
        Eq => balanced(&pairs(&Eq), &And),
        NotEq => balanced(&pairs(&NotEq), &Or),
        Lt | LtEq | Gt | GtEq => {
            let all = || left.iter().chain(right);
            let is_long = left.len() > ORDERED_MAX;
            if is_long
                || all().map(parts).sum::<usize>() > COPIED_PARTS_MAX
                || all().any(holds_query)
            {
                return None;
            }
            let (strict, first) = match op {
                Lt | LtEq => (Lt, LtEq),
                _ => (Gt, GtEq),
            };
            let mut pairs = left.iter().zip(right).rev();
            let (l, r) = pairs.next()?;
            let mut ordered = pair(l, op.clone(), r);
            for (l, r) in pairs {
                let later = binary(pair(l, Eq, r), And, ordered);
                ordered = nested(binary(pair(l, strict.clone(), r), Or, later));
            }
            // By itself it says nothing new, but a filter is pruned by it.
            Some(match left.len() {
                1 => ordered,
                _ => binary(pair(&left[0], first, &right[0]), And, ordered),
            })
        }
        _ => None,
    }
}

/// A comparison of two values, which may be rows.
fn pair(left: &Expr, op: BinaryOperator, right: &Expr) -> Expr {
    compare_rows(left, &op, right).unwrap_or_else(|| {
        let operand = |expr: &Expr| match expr {
            Expr::BinaryOp { .. } | Expr::UnaryOp { .. } => nested(expr.clone()),
            expr => expr.clone(),
        };
        binary(operand(left), op, operand(right))
    })
}

/// The terms as a tree that is as flat as can be; `None` of no terms.
pub(super) fn balanced(terms: &[Expr], op: &BinaryOperator) -> Option<Expr> {
    match terms {
        [] => None,
        [only] => Some(only.clone()),
        terms => {
            let (left, right) = terms.split_at(terms.len() / 2);
            let (left, right) = (balanced(left, op)?, balanced(right, op)?);
            Some(binary(nested(left), op.clone(), nested(right)))
        }
    }
}

fn parts(expr: &Expr) -> usize {
    let mut parts = 0;
    let _ = walk::read_expressions(expr, |_| {
        parts += 1;
        ControlFlow::Continue(())
    });
    parts
}
