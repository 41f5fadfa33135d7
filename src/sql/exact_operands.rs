//! The operands of exact products and quotients: with enough digits behind the point, or doubles where there is no room for
//! the digits of the result.
//!
//! A quotient has four more digits than what is divided, which gets twelve first: PostgreSQL's have sixteen or more. A product
//! has the digits of both sides, of 38 at the most. What is computed of whole numbers and literals alone becomes a double
//! where its digits would not fit; NUMERICs that are stored stay exact.

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType as D};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::planner::RawBinaryExpr;
use datafusion::logical_expr::{Expr, ExprSchemable, cast};

use crate::catalog::decimal_literal::double_of;

/// The digits behind the point that a number has that is divided.
const DIVIDEND_SCALE: i8 = 12;
/// The digits behind the point of a quotient.
const QUOTIENT_SCALE: i16 = 16;
/// The most digits that a result may have by its type: whole numbers are seldom as long as theirs allows, and a product's type
/// has one more than its values.
const DIGITS_MAX: i16 = 42;

pub(super) fn is_whole(data_type: &D) -> bool {
    matches!(data_type, D::Int16 | D::Int32 | D::Int64)
}

/// The product of a number and a decimal that is written.
pub(super) fn product(expr: RawBinaryExpr, schema: &DFSchema) -> RawBinaryExpr {
    let is_decimal = |side: &Expr| double_of(side).is_some();
    if !is_decimal(&expr.left) && !is_decimal(&expr.right) {
        return expr;
    }
    let Some((left, right)) = digits(&expr.left, schema).zip(digits(&expr.right, schema)) else {
        return expr;
    };
    let fits = left.all() + right.all() < DIGITS_MAX;
    match fits || reads_numeric(&expr.left, schema) || reads_numeric(&expr.right, schema) {
        true => expr,
        false => doubles(expr),
    }
}

/// A quotient, of which one side is a decimal at least.
pub(super) fn quotient(expr: RawBinaryExpr, schema: &DFSchema) -> RawBinaryExpr {
    let sides = digits(&expr.left, schema).zip(digits(&expr.right, schema));
    let Some((left, right)) = sides.filter(|(left, right)| left.exact || right.exact) else {
        return expr;
    };
    let fits = left.whole + QUOTIENT_SCALE + right.fraction <= DIGITS_MAX;
    if !fits && !reads_numeric(&expr.left, schema) && !reads_numeric(&expr.right, schema) {
        return doubles(expr);
    }
    let precision = left.whole + i16::from(DIVIDEND_SCALE);
    let is_short = left.fraction < i16::from(DIVIDEND_SCALE);
    if !is_short || precision > i16::from(DECIMAL128_MAX_PRECISION) || is_open(&expr.left) {
        return expr;
    }
    let wider = D::Decimal128(precision as u8, DIVIDEND_SCALE);
    RawBinaryExpr {
        left: cast(expr.left, wider),
        ..expr
    }
}

/// How many digits a number has by its type.
#[derive(Debug, Clone, Copy)]
struct Digits {
    whole: i16,
    fraction: i16,
    /// Whether it is a decimal.
    exact: bool,
}

impl Digits {
    fn all(self) -> i16 {
        self.whole + self.fraction
    }
}

/// Those of a whole number or a decimal; `None` of others.
fn digits(expr: &Expr, schema: &DFSchema) -> Option<Digits> {
    let (precision, scale) = match expr.get_type(schema).ok()? {
        D::Int16 => (5, None),
        D::Int32 => (10, None),
        D::Int64 => (19, None),
        D::Decimal128(precision, scale) => (precision, Some(scale)),
        _ => return None,
    };
    let fraction = i16::from(scale.unwrap_or_default());
    Some(Digits {
        whole: i16::from(precision) - fraction,
        fraction,
        exact: scale.is_some(),
    })
}

/// Both sides as doubles.
fn doubles(expr: RawBinaryExpr) -> RawBinaryExpr {
    let double = |side: Expr| double_of(&side).unwrap_or_else(|| cast(side, D::Float64));
    RawBinaryExpr {
        left: double(expr.left),
        right: double(expr.right),
        ..expr
    }
}

/// Whether an expression reads a NUMERIC that is no literal, nor computed of such and whole numbers.
fn reads_numeric(expr: &Expr, schema: &DFSchema) -> bool {
    let is_numeric = |expr: &Expr| matches!(expr.get_type(schema), Ok(D::Decimal128(..)) | Err(_));
    let reads = |expr: &Expr| match expr {
        Expr::BinaryExpr(_) | Expr::Literal(..) | Expr::Negative(_) | Expr::Alias(_) => false,
        // A dividend that was made longer here.
        Expr::Cast(Cast { expr: inner, .. }) if matches!(**inner, Expr::BinaryExpr(_)) => false,
        Expr::Cast(Cast { expr: inner, .. })
            if inner.get_type(schema).is_ok_and(|t| is_whole(&t)) =>
        {
            false
        }
        other => is_numeric(other),
    };
    expr.exists(|expr| Ok(reads(expr))).unwrap_or(true)
}

/// Whether an expression may yet turn out to be a double: it has results of several types.
fn is_open(expr: &Expr) -> bool {
    const GIVE: [&str; 4] = ["coalesce", "greatest", "least", "nullif"];
    let gives_one_of = |expr: &Expr| match expr {
        Expr::Case(_) => true,
        Expr::ScalarFunction(call) => GIVE.contains(&call.name()),
        _ => false,
    };
    expr.exists(|expr| Ok(gives_one_of(expr))).unwrap_or(true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arrow::datatypes::{Field, Schema};
    use datafusion::logical_expr::col;
    use datafusion::prelude::lit;
    use datafusion::sql::sqlparser::ast::BinaryOperator;

    use super::*;
    use crate::catalog::decimal_literal::decimal_of_text;

    fn schema() -> DFSchema {
        let columns = [
            ("i", D::Int32),
            ("b", D::Int64),
            ("n", D::Decimal128(38, 10)),
            ("p", D::Decimal128(10, 2)),
        ];
        let fields = columns.map(|(name, data_type)| Field::new(name, data_type, true));
        DFSchema::try_from(Schema::new(fields.to_vec())).unwrap()
    }

    fn decimal(text: &str) -> Expr {
        Expr::Literal(decimal_of_text(text).unwrap(), None)
    }

    #[test]
    fn what_has_no_room_is_a_double_unless_it_is_stored_exactly() {
        use BinaryOperator::{Divide, Multiply};
        let schema = schema();
        for (left, op, right, expected) in [
            (col("i"), Multiply, decimal("1.5"), D::Int32),
            (col("b"), Multiply, decimal("1.23456789012345"), D::Int64),
            (
                col("b"),
                Multiply,
                decimal("1.234567890123456789012345"),
                D::Float64,
            ),
            (
                col("n"),
                Multiply,
                decimal("1.23456789012345"),
                D::Decimal128(38, 10),
            ),
            (col("i"), Divide, decimal("3.0"), D::Decimal128(22, 12)),
            (col("b"), Divide, decimal("3.0"), D::Decimal128(31, 12)),
            (col("b"), Divide, decimal("3.14159265358979"), D::Float64),
            (col("p"), Divide, lit(3_i32), D::Decimal128(20, 12)),
            (col("n"), Divide, lit(3_i32), D::Decimal128(38, 10)),
            (col("i"), Divide, lit(3_i32), D::Int32),
        ] {
            let expr = RawBinaryExpr {
                op: op.clone(),
                left,
                right,
            };
            let shown = format!("{} {op} {}", expr.left, expr.right);
            let made = match op {
                Multiply => product(expr, &schema),
                _ => quotient(expr, &schema),
            };
            assert_eq!(made.left.get_type(&schema).unwrap(), expected, "{shown}");
        }
    }
}
