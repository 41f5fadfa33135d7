//! Enum types in queries: values are texts whose field carries the type; what compares them asks it for their order.
//!
//! | part | what it does |
//! |---|---|
//! | [`EnumRule`] | gives casts, comparisons, ORDER BY, `min`, `max` and the like the meaning that they have for enums |
//! | [`functions`] | `enum_first`, `enum_last`, `enum_range` |
//!
//! Equal values have equal texts, so that `=`, joins, GROUP BY and DISTINCT stay what pruning and indexes know. An order is
//! never that of the texts: both sides become places in the declaration, which statistics of the texts say nothing about.

mod expression;
mod functions;
mod range;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

use self::expression::{key, rewrite, sort_keys};
pub(crate) use self::range::functions;
use crate::catalog::expressions::{casts_to, mentions, retype};
use crate::storage::enum_type::is_enum;

/// Gives expressions the meaning that they have for enums. It runs before types are coerced: by then literals beside an
/// enum are values of its type.
#[derive(Debug, Default)]
pub(crate) struct EnumRule;

impl AnalyzerRule for EnumRule {
    fn name(&self) -> &str {
        "enums"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        match mentions(&plan, is_enum)? {
            true => Ok(plan.transform_up_with_subqueries(in_node)?.data),
            false => Ok(plan),
        }
    }
}

/// The expression over rows of that schema with the meaning that it has for enums, where no plan holds it.
///
/// # Errors
/// 22P02 for a literal that is no value of the enum beside it, 42883 and 42846 for types that do not go together.
pub(crate) fn in_expression(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    if !schema.fields().iter().any(|field| is_enum(field)) && !casts_to(&expr, is_enum)? {
        return Ok(expr);
    }
    Ok(expr.transform_up(|expr| rewrite(expr, schema))?.data)
}

fn in_node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    retype(order(plan), rewrite)
}

/// The keys that a node itself sorts by.
fn order(plan: LogicalPlan) -> LogicalPlan {
    match plan {
        LogicalPlan::Sort(mut sort) => {
            sort_keys(&mut sort.expr, sort.input.schema());
            LogicalPlan::Sort(sort)
        }
        LogicalPlan::Distinct(Distinct::On(mut distinct)) => {
            let schema = distinct.input.schema();
            let on = distinct.on_expr.into_iter();
            distinct.on_expr = on.map(|expr| key(expr, schema)).collect();
            if let Some(sort) = &mut distinct.sort_expr {
                sort_keys(sort, schema);
            }
            LogicalPlan::Distinct(Distinct::On(distinct))
        }
        plan => plan,
    }
}
