//! The filter that leaves out rows which have expired.
//!
//! It is part of what the name of a collection means, like the query of a view: whatever reads the collection sees the same
//! rows, statements that change rows too, PartitionStats prune what has expired whole, and a vector search takes it as one
//! more filter. What time it is, `now()` says: that of the transaction, also where a plan is kept.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::IntervalMonthDayNano;
use datafusion::catalog::TableProvider;
use datafusion::common::config::ConfigOptions;
use datafusion::common::{Column, Result, ScalarValue, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::functions::datetime::now::NowFunc;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, ScalarUDF, cast, lit};

use crate::storage::ttl::Ttl;

/// `now()` as a time of UTC, whatever the time zone of a session.
static NOW: LazyLock<ScalarUDF> = LazyLock::new(|| {
    let mut config = ConfigOptions::default();
    config.execution.time_zone = Some("UTC".to_string());
    NowFunc::new_with_config(&config).into()
});

/// The schema under which the scan knows the collection: a name in a statement does not mean it.
const STORED: &str = "stored";

/// The rows of `stored` that have not expired; it is a table of that name with the column by which they do.
///
/// # Errors
/// None in practice: the column is one of the collection.
pub(super) fn living_rows(
    ttl: &Ttl,
    name: &str,
    stored: Arc<dyn TableProvider>,
) -> Result<LogicalPlan> {
    let name = TableReference::partial(STORED, name);
    let time = Expr::Column(Column::new(Some(name.clone()), &ttl.column.name));
    let is_alive = time.clone().is_null().or(time.gt(last_expired(ttl)));
    LogicalPlanBuilder::scan(name, provider_as_source(stored), None)?
        .filter(is_alive)?
        .build()
}

/// The greatest time of rows that have expired: [`Ttl::last_expired`] as an expression.
fn last_expired(ttl: &Ttl) -> Expr {
    let nanoseconds = i64::try_from(ttl.duration.as_nanos()).unwrap_or(i64::MAX);
    let duration = IntervalMonthDayNano::new(0, 0, nanoseconds);
    let duration = lit(ScalarValue::IntervalMonthDayNano(Some(duration)));
    cast(
        NOW.call(Vec::new()) - duration,
        ttl.column.column_type.arrow_type(),
    )
}
