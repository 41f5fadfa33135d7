//! Numbers with a point beside NUMERIC: `price = 16.01` compares exactly. Among doubles NUMERICs are doubles.
//!
//! DataFusion reads 16.01 as a double, and compares it with a decimal as DECIMAL(30, 15), in which the double is
//! 16.010000000000001563: no price is equal to it. The literal becomes the decimal that its author wrote.
//!
//! Of a double and a decimal among the results of CASE, in a list or in a UNION, it makes a decimal, which has neither NaN nor the range
//! of doubles: PostgreSQL makes a double.

use arrow::datatypes::{DataType, Decimal128Type, DecimalType};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{Between, InList, ScalarFunction};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, cast};
use datafusion::optimizer::analyzer::AnalyzerRule;

use super::decimal_union;
use super::expressions::rewrite_expressions;

/// The most digits of a decimal.
const DIGITS_MAX: usize = 38;

/// Makes decimals of the literals that are compared with decimals, and doubles of decimals among doubles. It must run before
/// types are coerced.
#[derive(Debug, Default)]
pub struct DecimalLiteralRule;

impl AnalyzerRule for DecimalLiteralRule {
    fn name(&self) -> &str {
        "decimal_literal"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        decimal_union::as_doubles(rewrite_expressions(plan, concerns, rewrite)?)
    }
}

fn concerns(expr: &Expr) -> bool {
    match expr {
        Expr::BinaryExpr(_) | Expr::Between(_) | Expr::InList(_) | Expr::Case(_) => true,
        Expr::ScalarFunction(call) => gives_one_of(call),
        _ => false,
    }
}

/// Whether a call gives one of its arguments, or an array of them.
fn gives_one_of(call: &ScalarFunction) -> bool {
    const GIVE: [&str; 5] = ["coalesce", "greatest", "least", "make_array", "nullif"];
    GIVE.contains(&call.name())
}

fn rewrite(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let is_decimal = |e: &Expr| {
        e.get_type(schema)
            .is_ok_and(|t| matches!(t, DataType::Decimal128(..)))
    };
    let is_integer = |e: &Expr| matches!(e.get_type(schema), Ok(DataType::Int16 | DataType::Int32));
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
        Expr::InList(list) if is_integer(&list.expr) && list.list.iter().all(is_bigint) => {
            in_integers(list)
        }
        Expr::InList(list) if is_decimal(&list.expr) => Transformed::yes(Expr::InList(InList {
            list: list.list.into_iter().map(|e| exact(e, true)).collect(),
            ..list
        })),
        Expr::Between(mut between) => {
            let ends = [&mut between.low, &mut between.high].map(Box::as_mut);
            let all = std::iter::once(between.expr.as_mut()).chain(ends);
            as_doubles(all.collect(), schema).update_data(|()| Expr::Between(between))
        }
        Expr::InList(mut list) => {
            let all = std::iter::once(list.expr.as_mut()).chain(&mut list.list);
            as_doubles(all.collect(), schema).update_data(|()| Expr::InList(list))
        }
        Expr::Case(mut case) => {
            let thens = case.when_then_expr.iter_mut().map(|(_, then)| then);
            let all = thens.chain(&mut case.else_expr).map(Box::as_mut);
            as_doubles(all.collect(), schema).update_data(|()| Expr::Case(case))
        }
        Expr::ScalarFunction(mut call) if gives_one_of(&call) => {
            let all = call.args.iter_mut();
            as_doubles(all.collect(), schema).update_data(|()| Expr::ScalarFunction(call))
        }
        other => Transformed::no(other),
    }
}

fn is_bigint(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(ScalarValue::Int64(Some(_)), _))
}

/// Makes INTEGERs of the BIGINTs of a list, as far as they fit: those of a long list are planned as such.
fn in_integers(mut list: InList) -> Transformed<Expr> {
    for number in &mut list.list {
        if let Expr::Literal(ScalarValue::Int64(Some(value)), _) = number
            && let Ok(value) = i32::try_from(*value)
        {
            *number = Expr::Literal(ScalarValue::Int32(Some(value)), None);
        }
    }
    Transformed::yes(Expr::InList(list))
}

/// Makes doubles of decimals that have a double among them.
fn as_doubles(mut exprs: Vec<&mut Expr>, schema: &DFSchema) -> Transformed<()> {
    let types = exprs.iter().map(|expr| expr.get_type(schema).ok());
    let types: Vec<Option<DataType>> = types.collect();
    let is_double = |t: &Option<DataType>| t.as_ref().is_some_and(DataType::is_floating);
    let is_decimal = |t: &Option<DataType>| matches!(t, Some(DataType::Decimal128(..)));
    if !types.iter().any(is_double) || !types.iter().any(is_decimal) {
        return Transformed::no(());
    }
    let decimals = exprs.iter_mut().zip(&types).filter(|(_, t)| is_decimal(t));
    for (expr, _) in decimals {
        **expr = match double_of(expr) {
            Some(double) => double,
            None => cast(std::mem::take(*expr), DataType::Float64),
        };
    }
    Transformed::yes(())
}

/// The double of a decimal that is a literal.
pub(crate) fn double_of(expr: &Expr) -> Option<Expr> {
    let Expr::Literal(ScalarValue::Decimal128(Some(value), precision, scale), None) = expr else {
        return None;
    };
    let text = Decimal128Type::format_decimal(*value, *precision, *scale);
    let double = text.parse::<f64>().ok()?;
    Some(Expr::Literal(ScalarValue::Float64(Some(double)), None))
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
