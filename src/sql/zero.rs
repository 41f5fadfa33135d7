//! Zero in lists: `-0.0 IN (0.0)` is true in SQL, but DataFusion looks values up by their bits.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::analyzer::AnalyzerRule;
use half::f16;

/// Adds the other zero to every list of literals that has one.
#[derive(Debug, Default)]
pub struct ZeroInListRule;

impl AnalyzerRule for ZeroInListRule {
    fn name(&self) -> &str {
        "zero_in_list"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let rewritten = plan.transform_up_with_subqueries(|node| {
            node.map_expressions(|expr| expr.transform_up(|e| Ok(with_both_zeros(e))))
        })?;
        Ok(rewritten.data)
    }
}

fn with_both_zeros(expr: Expr) -> Transformed<Expr> {
    let Expr::InList(InList {
        expr,
        mut list,
        negated,
    }) = expr
    else {
        return Transformed::no(expr);
    };
    let other = list.iter().find_map(|item| match item {
        Expr::Literal(value, metadata) => {
            other_zero(value).map(|zero| Expr::Literal(zero, metadata.clone()))
        }
        _ => None,
    });
    match other {
        Some(zero) if !list.contains(&zero) => {
            list.push(zero);
            Transformed::yes(Expr::InList(InList {
                expr,
                list,
                negated,
            }))
        }
        _ => Transformed::no(Expr::InList(InList {
            expr,
            list,
            negated,
        })),
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
    use datafusion::prelude::{col, lit};

    use super::*;

    #[test]
    fn a_list_with_one_zero_gets_the_other() {
        let list = vec![lit(1.5), lit(0.0)];
        let changed = with_both_zeros(col("x").in_list(list, true)).data;
        assert_eq!(
            changed,
            col("x").in_list(vec![lit(1.5), lit(0.0), lit(-0.0)], true)
        );
        let again = with_both_zeros(changed.clone());
        assert!(!again.transformed);
        assert_eq!(again.data, changed);
    }
}
