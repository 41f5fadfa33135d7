//! Powers of numbers that are written.

use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, Expr as SqlExpr, UnaryOperator, Value,
};

use super::{NUMERIC, number, typed_number};

/// Powers of numbers with a point that are written stay doubles from here on.
const LONG_POWER: f64 = 1e17;

/// The expression that an argument is.
pub(super) fn given(argument: &ast::FunctionArg) -> Option<&SqlExpr> {
    match argument {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    }
}

pub(super) fn given_mut(argument: &mut ast::FunctionArg) -> Option<&mut SqlExpr> {
    match argument {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    }
}

/// Leaves zeros behind the point of a NUMERIC out: powers of whole exponents have no more digits for them.
pub(super) fn cut_whole(expr: &mut SqlExpr) {
    if let SqlExpr::BinaryOp { left, op, .. } = expr
        && *op == BinaryOperator::Custom(NUMERIC.to_string())
        && let SqlExpr::Value(value) = left.as_mut()
        && let Value::SingleQuotedString(digits) = &mut value.value
        && let Some((whole, fraction)) = digits.split_once('.')
        && fraction.bytes().all(|digit| digit == b'0')
    {
        *digits = whole.to_string();
    }
}

/// Whether a power of numbers that are written, or of e, has no room in a NUMERIC beside the digits behind its point.
pub(super) fn is_long_power(given: &[&SqlExpr]) -> bool {
    let values = given.iter().map(|expr| written_number(expr));
    let power = match values.collect::<Option<Vec<f64>>>().as_deref() {
        Some([exponent]) => exponent.exp(),
        Some([base, exponent]) => base.powf(*exponent).abs(),
        _ => return false,
    };
    power >= LONG_POWER
}

/// The value of a number as it is written.
fn written_number(expr: &SqlExpr) -> Option<f64> {
    match expr {
        SqlExpr::Nested(inner) => written_number(inner),
        SqlExpr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => written_number(expr).map(|number| -number),
        expr => {
            let digits = typed_number(expr).or_else(|| number(expr))?;
            digits.parse().ok()
        }
    }
}
