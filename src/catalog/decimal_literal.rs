//! Numbers with a point beside NUMERIC: `price = 16.01` compares exactly.
//!
//! DataFusion reads 16.01 as a double, and compares it with a decimal as DECIMAL(30, 15), in which the double is
//! 16.010000000000001563: no price is equal to it. The literal becomes the decimal that its author wrote.

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{Between, InList};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator};
use datafusion::optimizer::analyzer::AnalyzerRule;

use super::expressions::rewrite_expressions;

/// The most digits of a decimal.
const DIGITS_MAX: usize = 38;

/// Makes decimals of the literals that are compared with decimals. It must run before types are coerced.
#[derive(Debug, Default)]
pub struct DecimalLiteralRule;

impl AnalyzerRule for DecimalLiteralRule {
    fn name(&self) -> &str {
        "decimal_literal"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_expressions(plan, concerns, rewrite)
    }
}

fn concerns(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::BinaryExpr(_) | Expr::Between(_) | Expr::InList(_)
    )
}

fn rewrite(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let is_decimal = |e: &Expr| {
        e.get_type(schema)
            .is_ok_and(|t| matches!(t, DataType::Decimal128(..)))
    };
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if compares(op) => {
            let (exact_left, exact_right) = (is_decimal(&right), is_decimal(&left));
            Transformed::yes(Expr::BinaryExpr(BinaryExpr {
                left: Box::new(exact(*left, exact_left)),
                op,
                right: Box::new(exact(*right, exact_right)),
            }))
        }
        Expr::Between(between) if is_decimal(&between.expr) => {
            Transformed::yes(Expr::Between(Between {
                low: Box::new(exact(*between.low, true)),
                high: Box::new(exact(*between.high, true)),
                ..between
            }))
        }
        Expr::InList(list) if is_decimal(&list.expr) => Transformed::yes(Expr::InList(InList {
            list: list.list.into_iter().map(|e| exact(e, true)).collect(),
            ..list
        })),
        other => Transformed::no(other),
    }
}

fn compares(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(
        op,
        Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom
    )
}

/// A double literal as the decimal of its shortest text; anything else as it is.
fn exact(expr: Expr, wanted: bool) -> Expr {
    match &expr {
        Expr::Literal(ScalarValue::Float64(Some(value)), metadata) if wanted => {
            match decimal_of(*value) {
                Some(decimal) => Expr::Literal(decimal, metadata.clone()),
                None => expr,
            }
        }
        _ => expr,
    }
}

/// The decimal of the shortest text of a double; none of what no decimal is.
pub(crate) fn decimal_of(value: f64) -> Option<ScalarValue> {
    if !value.is_finite() {
        return None;
    }
    decimal_of_text(&value.to_string())
}

/// The decimal of digits with a point and a sign.
pub(crate) fn decimal_of_text(text: &str) -> Option<ScalarValue> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{whole}{fraction}");
    let precision = digits
        .trim_start_matches(['-', '0'])
        .len()
        .max(fraction.len())
        .max(1);
    if precision > DIGITS_MAX {
        return None;
    }
    let unscaled = digits.parse::<i128>().ok()?;
    Some(ScalarValue::Decimal128(
        Some(unscaled),
        precision as u8,
        fraction.len() as i8,
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use datafusion::execution::session_state::SessionStateBuilder;
    use datafusion::optimizer::Analyzer;
    use datafusion::prelude::SessionContext;

    use super::*;

    #[test]
    fn literals_keep_the_digits_of_their_text() {
        let decimal = |unscaled, p, s| Some(ScalarValue::Decimal128(Some(unscaled), p, s));
        assert_eq!(decimal_of(16.01), decimal(1601, 4, 2));
        assert_eq!(decimal_of(-0.05), decimal(-5, 2, 2));
        assert_eq!(decimal_of(0.0), decimal(0, 1, 0));
        assert_eq!(decimal_of(1e40), None);
        assert_eq!(decimal_of(f64::NAN), None);
    }

    #[tokio::test]
    async fn decimals_compare_exactly() {
        let mut analyzer = Analyzer::new();
        analyzer.rules.insert(0, Arc::new(DecimalLiteralRule));
        let mut builder = SessionStateBuilder::new_with_default_features();
        *builder.analyzer() = Some(analyzer);
        let context = SessionContext::new_with_state(builder.build());
        for (predicate, rows) in [
            ("p = 16.01", 1),
            ("16.01 = p", 1),
            ("NOT p <> 16.01", 1),
            ("p IN (16.01, 2.5)", 1),
            ("p BETWEEN 16.01 AND 16.01", 1),
            ("p < 16.015", 1),
            ("p > 16.009 AND p <= 1e3", 2),
        ] {
            let sql = format!(
                "SELECT p FROM (SELECT column1::DECIMAL(10, 2) AS p FROM (VALUES ('16.01'), ('17'))) \
                 WHERE {predicate}"
            );
            let frame = context.sql(&sql).await.unwrap();
            assert_eq!(frame.count().await.unwrap(), rows, "{predicate}");
        }
        let nested = "SELECT * FROM (SELECT p = 16.01 FROM (SELECT 16.01::DECIMAL(10, 2) AS p))";
        assert_eq!(context.sql(nested).await.unwrap().count().await.unwrap(), 1);
    }
}
