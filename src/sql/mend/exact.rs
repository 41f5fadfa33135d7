//! Arithmetic of numbers with a point, which PostgreSQL carries out exactly: `0.1 + 0.2 = 0.3`.
//!
//! DataFusion reads them as doubles. Where constants are computed with each other alone, they are NUMERIC here; beside
//! columns they become what the columns are.

use datafusion::sql::sqlparser::ast::{self, BinaryOperator, Expr, UnaryOperator, Value};

use super::constant::numeric_of;
use crate::sql::walk;

/// The most numbers that are computed exactly: each product has the digits of both.
const NUMBERS_MAX: usize = 8;

/// Makes both sides of a comparison exact, where both are constants.
pub(super) fn compare_exactly(left: &mut Expr, op: &BinaryOperator, right: &mut Expr) {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    let compares = matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq);
    if compares && let (Some(_), Some(_)) = (numbers(left), numbers(right)) {
        make_exact(left);
        make_exact(right);
    }
}

/// Makes a constant exact that is computed.
pub(super) fn compute_exactly(expr: &mut Expr) {
    if is_computed(expr) && numbers(expr).is_some() {
        make_exact(expr);
    }
}

/// Makes the number that a cast to an exact number or a rounding is of exact: a half is then further from zero.
pub(super) fn round_exactly(number: &mut Expr) {
    if numbers(number).is_some() {
        make_exact(number);
    }
}

/// Whether a type is one of whole numbers, or NUMERIC.
pub(super) fn is_exact(data_type: &ast::DataType) -> bool {
    use ast::DataType as D;
    matches!(
        data_type,
        D::SmallInt(_)
            | D::Int2(_)
            | D::Int(_)
            | D::Integer(_)
            | D::Int4(_)
            | D::BigInt(_)
            | D::Int8(_)
            | D::Numeric(_)
            | D::Decimal(_)
            | D::Dec(_)
    )
}

fn is_computed(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) => is_computed(inner),
        Expr::UnaryOp { expr, .. } => is_computed(expr),
        Expr::BinaryOp { .. } => true,
        _ => false,
    }
}

/// How many numbers are added, subtracted and multiplied; `None` where there is anything else, or are too many.
fn numbers(expr: &Expr) -> Option<usize> {
    use BinaryOperator::{Minus, Multiply, Plus};
    let count = match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(..) => 1,
            _ => 0,
        },
        Expr::Nested(inner) => numbers(inner)?,
        Expr::UnaryOp {
            op: UnaryOperator::Plus | UnaryOperator::Minus,
            expr,
        } => numbers(expr)?,
        Expr::BinaryOp {
            left,
            op: Plus | Minus | Multiply,
            right,
        } => numbers(left)? + numbers(right)?,
        _ => 0,
    };
    (1..=NUMBERS_MAX).contains(&count).then_some(count)
}

fn make_exact(expr: &mut Expr) {
    walk::change_expressions(expr, |expr| {
        if let Expr::Value(value) = &*expr
            && let Some(numeric) = numeric_of(&value.value)
        {
            *expr = numeric;
        }
    });
}
