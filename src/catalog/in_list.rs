//! Lists of literals as SQL means them, where DataFusion 55 does not.
//!
//! - `-0.0 IN (0.0)` is true, but DataFusion looks values up by their bits: a list with one zero gets the other.
//! - `x IN (1) AND x NOT IN (2, NULL)` is never true, but DataFusion's simplifier subtracts the second list from the
//!   first and forgets its NULL: NULL leaves the list, as `x NOT IN (2) AND NULL` or `x IN (2) OR NULL`.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::analyzer::AnalyzerRule;
use datafusion::prelude::lit;
use half::f16;

use super::expressions::rewrite_expressions;

/// Rewrites lists of literals so that zeros and NULLs in them mean what SQL says.
#[derive(Debug, Default)]
pub struct InListRule;

impl AnalyzerRule for InListRule {
    fn name(&self) -> &str {
        "in_list"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_expressions(plan, concerns, |expr, _| rewrite(expr))
    }
}

fn concerns(expr: &Expr) -> bool {
    matches!(expr, Expr::InList(_))
}

fn rewrite(expr: Expr) -> Transformed<Expr> {
    let Expr::InList(mut list) = expr else {
        return Transformed::no(expr);
    };
    let zero_added = add_other_zero(&mut list.list);
    let before = list.list.len();
    list.list.retain(|item| !is_null(item));
    let had_null = list.list.len() < before;
    let negated = list.negated;
    if !had_null {
        let expr = Expr::InList(list);
        return if zero_added {
            Transformed::yes(expr)
        } else {
            Transformed::no(expr)
        };
    }
    let unknown = lit(ScalarValue::Boolean(None));
    Transformed::yes(match (list.list.is_empty(), negated) {
        (true, _) => unknown,
        (false, true) => Expr::InList(list).and(unknown),
        (false, false) => Expr::InList(list).or(unknown),
    })
}

fn is_null(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(value, _) => value.is_null(),
        Expr::Cast(cast) => is_null(&cast.expr),
        _ => false,
    }
}

/// Whether a zero was added.
fn add_other_zero(list: &mut Vec<Expr>) -> bool {
    let other = list.iter().find_map(|item| match item {
        Expr::Literal(value, metadata) => {
            other_zero(value).map(|zero| Expr::Literal(zero, metadata.clone()))
        }
        _ => None,
    });
    match other {
        Some(zero) if !list.contains(&zero) => {
            list.push(zero);
            true
        }
        _ => false,
    }
}

fn other_zero(value: &ScalarValue) -> Option<ScalarValue> {
    match value {
        ScalarValue::Float16(Some(v)) if v.to_f32() == 0.0 => {
            Some(ScalarValue::Float16(Some(f16::from_f32(-v.to_f32()))))
        }
        ScalarValue::Float32(Some(v)) if *v == 0.0 => Some(ScalarValue::Float32(Some(-v))),
        ScalarValue::Float64(Some(v)) if *v == 0.0 => Some(ScalarValue::Float64(Some(-v))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use datafusion::prelude::{SessionContext, col};

    use super::*;

    #[test]
    fn a_list_with_one_zero_gets_the_other() {
        let list = vec![lit(1.5), lit(0.0)];
        let changed = rewrite(col("x").in_list(list, true)).data;
        let both = vec![lit(1.5), lit(0.0), lit(-0.0)];
        assert_eq!(changed, col("x").in_list(both, true));
        let again = rewrite(changed.clone());
        assert!(!again.transformed);
        assert_eq!(again.data, changed);
    }

    #[tokio::test]
    async fn null_in_a_list_is_not_forgotten() {
        let context = SessionContext::new();
        context.add_analyzer_rule(Arc::new(InListRule));
        for (predicate, rows) in [
            ("a IN (1, 2) AND a NOT IN (2, NULL)", 0),
            ("a IN (1, NULL)", 1),
            ("a NOT IN (1, 2)", 1),
            ("(a IN (1, NULL)) IS NULL", 3),
            ("(a NOT IN (1, NULL)) IS NULL", 3),
            ("a IN (NULL)", 0),
        ] {
            let sql =
                format!("SELECT a FROM (VALUES (1), (2), (3), (NULL)) AS t(a) WHERE {predicate}");
            let frame = context.sql(&sql).await.unwrap();
            assert_eq!(frame.count().await.unwrap(), rows, "{predicate}");
        }
        let nested = "SELECT * FROM (SELECT 1.5 IN (0.0, NULL) FROM (VALUES (1)) AS t(a))";
        assert_eq!(context.sql(nested).await.unwrap().count().await.unwrap(), 1);
    }
}
