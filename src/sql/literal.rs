//! Literals that PostgreSQL reads by what stands beside them: `indisprimary = 'f'`, `n * '2'`, `n * 1.5`.
//!
//! A text is of the type of the other side. A number with a point, which DataFusion reads as a double, is NUMERIC where it is
//! computed with a NUMERIC. Beside a double NUMERIC is a double, where DataFusion would make a NUMERIC of it that has no NaN;
//! computed with an exact number, REAL is a double too.

use arrow::datatypes::DataType as D;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, cast};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::exact_operands::{is_whole, product, quotient, with_quotient};
use crate::catalog::assign::boolean;
use crate::catalog::decimal_literal::{decimal_of, decimal_of_text, double_of};
use crate::catalog::exact_operators::ExactOperator;

/// NUMERIC without precision.
const NUMERIC: D = D::Decimal128(38, 10);

/// Reads literals by the other side of their operator.
#[derive(Debug, Default)]
pub(crate) struct LiteralPlanner;

impl ExprPlanner for LiteralPlanner {
    fn plan_binary_op(
        &self,
        mut expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let read = match expr.op {
            BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::LtEq
            | BinaryOperator::Gt
            | BinaryOperator::GtEq => compared_with,
            BinaryOperator::Plus
            | BinaryOperator::Minus
            | BinaryOperator::Multiply
            | BinaryOperator::Divide
            | BinaryOperator::Modulo
            | BinaryOperator::PGExp => number_beside,
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let right = read(&expr.left, &expr.right, schema)?;
        let left = read(&expr.right, &expr.left, schema)?;
        expr.right = right.unwrap_or(expr.right);
        expr.left = left.unwrap_or(expr.left);
        Ok(match expr.op {
            BinaryOperator::Multiply => product(expr, schema),
            BinaryOperator::Divide => quotient(expr, schema),
            BinaryOperator::Plus => with_quotient(expr, ExactOperator::Sum, schema),
            BinaryOperator::Minus => with_quotient(expr, ExactOperator::Difference, schema),
            _ => PlannerResult::Original(expr),
        })
    }
}

/// What a side is that is compared with another, if it is not as it stands.
fn compared_with(other: &Expr, side: &Expr, schema: &DFSchema) -> Result<Option<Expr>> {
    match truth_beside(other, side, schema)? {
        None => Ok(double_beside(other, side, schema)),
        truth => Ok(truth),
    }
}

/// The double that a NUMERIC is beside one that is no literal.
fn double_beside(other: &Expr, side: &Expr, schema: &DFSchema) -> Option<Expr> {
    if let Some(double) = double_of(side)
        && !matches!(other, Expr::Literal(..))
        && matches!(other.get_type(schema), Ok(D::Float32 | D::Float64))
    {
        return Some(double);
    }
    let is_literal = |expr: &Expr| matches!(expr, Expr::Literal(..));
    let is_double = matches!(other.get_type(schema), Ok(D::Float32 | D::Float64));
    let is_numeric = matches!(side.get_type(schema), Ok(D::Decimal128(..)));
    let fits = is_double && is_numeric && !is_literal(other) && !is_literal(side);
    fits.then(|| cast(side.clone(), D::Float64))
}

/// The truth value of a literal beside one.
fn truth_beside(other: &Expr, literal: &Expr, schema: &DFSchema) -> Result<Option<Expr>> {
    let Expr::Literal(ScalarValue::Utf8(Some(text)), _) = literal else {
        return Ok(None);
    };
    let is_boolean = other.get_type(schema).is_ok_and(|t| t == D::Boolean);
    if !is_boolean {
        return Ok(None);
    }
    let value = ScalarValue::Boolean(Some(boolean(text)?));
    Ok(Some(Expr::Literal(value, None)))
}

/// What a side is that is computed with another, if it is not as it stands.
fn number_beside(other: &Expr, side: &Expr, schema: &DFSchema) -> Result<Option<Expr>> {
    if let Expr::Placeholder(Placeholder { field: None, .. }) = other {
        // A parameter is to hold any number.
        return Ok(double_of(side));
    }
    match side {
        Expr::Literal(value, _) => match other.get_type(schema) {
            Ok(data_type) => literal_beside(&data_type, value, side),
            Err(_) => Ok(None),
        },
        // The type of a long chain of operators is not found again for each of them.
        Expr::BinaryExpr(_) => Ok(None),
        side => Ok(real_beside(other, side, schema)),
    }
}

/// The double that a REAL is beside an exact number.
fn real_beside(other: &Expr, side: &Expr, schema: &DFSchema) -> Option<Expr> {
    if !matches!(side.get_type(schema), Ok(D::Float32)) {
        return None;
    }
    let other = other.get_type(schema).ok()?;
    let is_exact = is_whole(&other) || matches!(other, D::Decimal128(..));
    is_exact.then(|| cast(side.clone(), D::Float64))
}

/// The number that a literal is beside one of the type.
fn literal_beside(data_type: &D, value: &ScalarValue, literal: &Expr) -> Result<Option<Expr>> {
    let is_exact = matches!(data_type, D::Decimal128(..));
    let number = |value| Expr::Literal(value, None);
    Ok(match value {
        ScalarValue::Float64(Some(double)) if is_exact => decimal_of(*double).map(number),
        ScalarValue::Null if is_exact => Some(number(ScalarValue::Decimal128(None, 1, 0))),
        ScalarValue::Decimal128(..) if data_type.is_floating() => double_of(literal),
        ScalarValue::Utf8(Some(text)) if is_exact => {
            let decimal = decimal_of_text(text.trim()).map(number);
            Some(decimal.unwrap_or_else(|| cast(literal.clone(), NUMERIC)))
        }
        ScalarValue::Utf8(Some(_)) if data_type.is_numeric() => {
            Some(cast(literal.clone(), data_type.clone()))
        }
        _ => None,
    })
}
