//! What a query sorts by where that is arithmetic over a distance: `1 - (e <=> q)`, `(e <#> q) * -1`.
//!
//! Each step is monotone as it is computed, rounding included: of two distances the greater never has a score on the
//! wrong side of the other's. Hence bounds of distances are bounds of scores. Distances that differ may have one score,
//! which is why searches compare scores and never the distances behind them.

use std::fmt;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

/// Arithmetic over a distance, in the order in which it is computed; without steps the distance itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Score {
    steps: Vec<Step>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    Negate,
    Add(f64),
    SubtractFrom(f64),
    Multiply(f64),
}

impl Score {
    /// The arithmetic of `expr`, and what it is over.
    pub(super) fn of(mut expr: &Expr) -> (Self, &Expr) {
        let mut steps = Vec::new();
        loop {
            let step = match expr {
                Expr::Negative(inner) => Some((Step::Negate, inner.as_ref())),
                Expr::BinaryExpr(binary) => Step::of(binary),
                _ => None,
            };
            let Some((step, inner)) = step else {
                steps.reverse();
                return (Self { steps }, expr);
            };
            steps.push(step);
            expr = inner;
        }
    }

    /// The score of a distance: bit for bit what the arithmetic gives.
    pub(super) fn at(&self, distance: f64) -> f64 {
        let apply = |value: f64, step: &Step| match step {
            Step::Negate => -value,
            Step::Add(addend) => value + addend,
            Step::SubtractFrom(minuend) => minuend - value,
            Step::Multiply(factor) => value * factor,
        };
        self.steps.iter().fold(distance, apply)
    }

    /// Whether it is the distance itself.
    pub(super) fn is_distance(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether greater distances have smaller scores.
    pub(super) fn is_decreasing(&self) -> bool {
        let turns = |step: &&Step| match step {
            Step::Negate | Step::SubtractFrom(_) => true,
            Step::Multiply(factor) => *factor < 0.0,
            Step::Add(_) => false,
        };
        self.steps.iter().filter(turns).count() % 2 == 1
    }
}

impl Step {
    /// The step of an operator with a constant on one side, and its other side.
    fn of(binary: &BinaryExpr) -> Option<(Self, &Expr)> {
        let (left, right) = (binary.left.as_ref(), binary.right.as_ref());
        let (step, inner) = match (binary.op, number(left), number(right)) {
            (Operator::Plus, Some(c), None) => (Self::Add(c), right),
            (Operator::Plus, None, Some(c)) => (Self::Add(c), left),
            (Operator::Minus, Some(c), None) => (Self::SubtractFrom(c), right),
            (Operator::Minus, None, Some(c)) => (Self::Add(-c), left),
            (Operator::Multiply, Some(c), None) if c != 0.0 => (Self::Multiply(c), right),
            (Operator::Multiply, None, Some(c)) if c != 0.0 => (Self::Multiply(c), left),
            _ => return None,
        };
        Some((step, inner))
    }
}

/// The finite double that an expression is, or becomes beside a distance once types are coerced.
fn number(expr: &Expr) -> Option<f64> {
    let number = match expr {
        Expr::Literal(value, _) if value.data_type().is_numeric() => {
            value.cast_to(&DataType::Float64).ok()?
        }
        Expr::Cast(cast) if *cast.field.data_type() == DataType::Float64 => {
            return number(&cast.expr);
        }
        _ => return None,
    };
    match number {
        ScalarValue::Float64(Some(number)) => Some(number).filter(|n| n.is_finite()),
        _ => None,
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let apply = |inner: String, step: &Step| match step {
            Step::Negate => format!("-({inner})"),
            Step::Add(addend) => format!("({inner}) + {addend}"),
            Step::SubtractFrom(minuend) => format!("{minuend} - ({inner})"),
            Step::Multiply(factor) => format!("({inner}) * {factor}"),
        };
        f.write_str(&self.steps.iter().fold("distance".to_string(), apply))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{col, lit};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn arithmetic_with_constants_is_a_score() {
        let d = || col("d");
        let cases = [
            (d(), 2.0, false, "distance"),
            (lit(1.0) - d(), -1.0, true, "1 - (distance)"),
            (d() * lit(-1.0), -2.0, true, "(distance) * -1"),
            (-d(), -2.0, true, "-(distance)"),
            (
                lit(3.0) - (d() - lit(0.5)) * lit(-4.0),
                9.0,
                false,
                "3 - (((distance) + -0.5) * -4)",
            ),
        ];
        for (expr, at_two, decreasing, shown) in cases {
            let (score, inner) = Score::of(&expr);
            assert_eq!(inner, &d());
            assert_eq!(score.at(2.0), at_two);
            assert_eq!(score.is_decreasing(), decreasing);
            assert_eq!(score.to_string(), shown);
        }
        for other in [
            d() * lit(0.0),
            lit(1.0) / d(),
            d() - d(),
            d() + lit(f64::INFINITY),
        ] {
            assert_eq!(Score::of(&other), (Score::default(), &other));
        }
    }

    fn step() -> impl Strategy<Value = Step> {
        let number = prop_oneof![-3f64..3.0, Just(1e300), Just(-1e-300), Just(1.0)];
        (0..4, number).prop_map(|(kind, number)| match kind {
            0 => Step::Negate,
            1 => Step::Add(number),
            2 => Step::SubtractFrom(number),
            _ => Step::Multiply(if number == 0.0 { 1.0 } else { number }),
        })
    }

    proptest! {
        #[test]
        fn scores_are_monotone_in_the_total_order(
            steps in prop::collection::vec(step(), 0..5),
            mut distances in prop::collection::vec(prop_oneof![-2f64..2.0, Just(0.0), Just(f64::INFINITY), Just(1e-320)], 2..20),
        ) {
            let score = Score { steps };
            distances.sort_by(f64::total_cmp);
            let mut scores: Vec<f64> = distances.iter().map(|d| score.at(*d)).collect();
            if score.is_decreasing() {
                scores.reverse();
            }
            prop_assert!(scores.is_sorted_by(|a, b| a.total_cmp(b).is_le()), "{}: {:?}", score, scores);
        }
    }
}
