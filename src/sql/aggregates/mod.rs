//! Aggregates that DataFusion does not have, or that answer otherwise there.
//!
//! | part | what it does |
//! |---|---|
//! | [`exact_variance`] | `var_pop`, `stddev` and their like of exact numbers |
//! | [`variance`] | `var_pop`, `stddev` and their like of NaN and of infinite numbers |
//! | [`total`] | `sum` and `avg` of exact numbers |
//! | [`string_agg`] | `string_agg` of bytes, and with separators that are computed |
//! | [`with_results`] | results of the types that PostgreSQL gives: `sum(real)`, `array_agg(uuid)`, `lag(json)` |
//! | [`OrderedInputRule`] | rows of a subquery in order are gathered in its order |

mod exact_variance;
mod ordered_input;
mod results;
mod string_agg;
mod total;
mod variance;

use std::sync::Arc;

use datafusion::logical_expr::AggregateUDF;

pub(crate) use self::ordered_input::OrderedInputRule;
pub(super) use self::results::{concerns, with_results};
pub(super) use self::total::functions as totals_of_numbers;

/// The functions.
pub(crate) fn functions() -> impl Iterator<Item = Arc<AggregateUDF>> {
    let variances = variance::functions().into_iter().map(exact_variance::over);
    variances.chain([string_agg::function()]).map(Arc::new)
}
