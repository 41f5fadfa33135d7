//! Exact products and quotients: which of them are computed here, and which operands are doubles because there is no room for
//! the digits of the result.
//!
//! A quotient has PostgreSQL's digits ([`ExactOperator`]). A product has the digits of both sides, of 38 at the most. What is
//! computed of whole numbers and literals alone becomes a double where its digits would not fit; NUMERICs that are stored
//! stay exact.

use arrow::datatypes::DataType as D;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::planner::{PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, cast};

use crate::catalog::decimal_literal::double_of;
use crate::catalog::exact_operators::ExactOperator;
use crate::catalog::quotient::Shown;

/// The most digits that a result may have by its type: whole numbers are seldom as long as theirs allows, and a product's type
/// has one more than its values.
const DIGITS_MAX: i16 = 42;
/// The digits behind the point that products may have without leaving too few for those before it.
const PRODUCT_SCALE_MAX: i16 = 20;

pub(super) fn is_whole(data_type: &D) -> bool {
    matches!(data_type, D::Int16 | D::Int32 | D::Int64)
}

/// A product of numbers.
pub(super) fn product(expr: RawBinaryExpr, schema: &DFSchema) -> PlannerResult<RawBinaryExpr> {
    let Some((left, right)) = digits(&expr.left, schema).zip(digits(&expr.right, schema)) else {
        return PlannerResult::Original(expr);
    };
    let is_decimal = |side: &Expr| double_of(side).is_some();
    let is_written = is_decimal(&expr.left) || is_decimal(&expr.right);
    let fits = left.all() + right.all() < DIGITS_MAX;
    if is_written
        && !fits
        && !reads_numeric(&expr.left, schema)
        && !reads_numeric(&expr.right, schema)
    {
        return PlannerResult::Original(doubles(expr));
    }
    let is_long = left.fraction + right.fraction > PRODUCT_SCALE_MAX && !fits;
    let is_long = is_long || is_quotient(&expr.left, schema) || is_quotient(&expr.right, schema);
    match is_long && !is_open(&expr.left, schema) && !is_open(&expr.right, schema) {
        true => PlannerResult::Planned(ExactOperator::Product.call(expr.left, expr.right)),
        false => PlannerResult::Original(expr),
    }
}

/// A quotient, of which one side is a decimal at least.
pub(super) fn quotient(expr: RawBinaryExpr, schema: &DFSchema) -> PlannerResult<RawBinaryExpr> {
    let sides = digits(&expr.left, schema).zip(digits(&expr.right, schema));
    let is_exact = sides.is_some_and(|(left, right)| left.exact || right.exact);
    match is_exact && !is_open(&expr.left, schema) && !is_open(&expr.right, schema) {
        true => PlannerResult::Planned(ExactOperator::Quotient.call(expr.left, expr.right)),
        false => PlannerResult::Original(expr),
    }
}

/// A sum or a difference, with digits as quotients have them where a side is one.
pub(super) fn with_quotient(
    expr: RawBinaryExpr,
    operator: ExactOperator,
    schema: &DFSchema,
) -> PlannerResult<RawBinaryExpr> {
    let has_quotient = is_quotient(&expr.left, schema) || is_quotient(&expr.right, schema);
    let is_exact = |side: &Expr| digits(side, schema).is_some() && !is_open(side, schema);
    match has_quotient && is_exact(&expr.left) && is_exact(&expr.right) {
        true => PlannerResult::Planned(operator.call(expr.left, expr.right)),
        false => PlannerResult::Original(expr),
    }
}

/// Whether how many digits of an expression are shown depends on its value.
fn is_quotient(expr: &Expr, schema: &DFSchema) -> bool {
    match expr {
        // The type of a long chain of operators is not found again for each of them.
        Expr::BinaryExpr(_) | Expr::Literal(..) => false,
        other => other
            .to_field(schema)
            .is_ok_and(|(_, field)| Shown::of(&field).is_some()),
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

/// Whether an expression may yet turn out to be a double: doubles are among its results.
fn is_open(expr: &Expr, schema: &DFSchema) -> bool {
    const GIVE: [&str; 4] = ["coalesce", "greatest", "least", "nullif"];
    let is_double = |expr: &Expr| expr.get_type(schema).is_ok_and(|of| of.is_floating());
    let gives_double = |expr: &Expr| match expr {
        Expr::Case(case) => {
            let thens = case.when_then_expr.iter().map(|(_, then)| then);
            thens.chain(&case.else_expr).any(|then| is_double(then))
        }
        Expr::ScalarFunction(call) => {
            GIVE.contains(&call.name()) && call.args.iter().any(is_double)
        }
        _ => false,
    };
    expr.exists(|expr| Ok(gives_double(expr))).unwrap_or(true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arrow::datatypes::{Field, Schema};
    use datafusion::logical_expr::col;
    use datafusion::prelude::{coalesce, lit};
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
        let schema = schema();
        for (left, right, expected) in [
            (col("i"), decimal("1.5"), D::Int32),
            (col("b"), decimal("1.23456789012345"), D::Int64),
            (col("b"), decimal("1.234567890123456789012345"), D::Float64),
            (col("n"), decimal("1.23456789012345"), D::Decimal128(38, 10)),
        ] {
            let shown = format!("{left} * {right}");
            let op = BinaryOperator::Multiply;
            match product(RawBinaryExpr { op, left, right }, &schema) {
                PlannerResult::Original(made) => {
                    assert_eq!(made.left.get_type(&schema).unwrap(), expected, "{shown}");
                }
                PlannerResult::Planned(made) => {
                    let made = made.get_type(&schema).unwrap();
                    assert_eq!(
                        (made, expected),
                        (D::Decimal128(38, 16), D::Decimal128(38, 10))
                    );
                }
            }
        }
    }

    #[test]
    fn quotients_of_exact_numbers_are_exact() {
        let schema = schema();
        for (left, right, expected) in [
            (col("i"), decimal("3.0"), Some(D::Decimal128(38, 20))),
            (
                col("b"),
                decimal("3.14159265358979"),
                Some(D::Decimal128(38, 16)),
            ),
            (col("p"), lit(3_i32), Some(D::Decimal128(38, 20))),
            (col("n"), col("n"), Some(D::Decimal128(38, 16))),
            (col("i"), lit(3_i32), None),
            (coalesce(vec![col("p"), lit(1.5)]), lit(3_i32), None),
        ] {
            let shown = format!("{left} / {right}");
            let op = BinaryOperator::Divide;
            let made = match quotient(RawBinaryExpr { op, left, right }, &schema) {
                PlannerResult::Planned(made) => Some(made.get_type(&schema).unwrap()),
                PlannerResult::Original(_) => None,
            };
            assert_eq!(made, expected, "{shown}");
        }
    }
}
