//! Expressions of dates and times: `t AT TIME ZONE z`, `(a, b) OVERLAPS (c, d)`, `interval '1.5 weeks'`.

use arrow::array::StringArray;
use arrow::compute::kernels::cast_utils::parse_interval_month_day_nano;
use arrow::datatypes::{DataType, Field, IntervalMonthDayNanoType, IntervalUnit};
use datafusion::sql::sqlparser::ast::{self, Expr};

use arrow::array::AsArray;

use super::build::{call, cast};
use super::constant::constant_text;
use crate::catalog::zone::Zone;
use crate::sql::format::read_texts;
use crate::sql::functions::OVERLAPS;

/// An interval that DataFusion reads otherwise than PostgreSQL, as a cast of its text; within a window's frame it must stay.
pub(super) fn interval_of_text(interval: &ast::Interval) -> Option<Expr> {
    let text = constant_text(&interval.value)?;
    if interval.leading_field.is_some() || interval.last_field.is_some() {
        return None;
    }
    let field = Field::new("", DataType::Interval(IntervalUnit::MonthDayNano), true);
    let texts = StringArray::from(vec![text.as_str()]);
    let own = read_texts(&texts, &field, &Zone::utc()).ok();
    let own = own.map(|read| read.as_primitive::<IntervalMonthDayNanoType>().value(0));
    match parse_interval_month_day_nano(&text).ok() {
        theirs if theirs == own => None,
        _ => Some(cast(interval.value.as_ref().clone(), "interval")),
    }
}

/// `timezone(zone, time)`
pub(super) fn at_time_zone(time: &Expr, zone: &Expr) -> Expr {
    call("timezone", vec![zone.clone(), time.clone()])
}

/// The call that tells whether two spans have a time in common; `None` where a side is no pair.
pub(super) fn overlaps(left: &Expr, right: &Expr) -> Option<Expr> {
    let (Expr::Tuple(left), Expr::Tuple(right)) = (left, right) else {
        return None;
    };
    match (left.len(), right.len()) {
        (2, 2) => Some(call(OVERLAPS, [left.as_slice(), right].concat())),
        _ => None,
    }
}
