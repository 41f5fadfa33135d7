//! Expressions of dates and times: `t AT TIME ZONE z`, `(a, b) OVERLAPS (c, d)`, `interval '1.5 weeks'`.

use std::ops::ControlFlow;

use arrow::array::StringArray;
use arrow::compute::kernels::cast_utils::parse_interval_month_day_nano;
use arrow::datatypes::{DataType, Field, IntervalMonthDayNanoType, IntervalUnit};
use datafusion::sql::sqlparser::ast::{self, BinaryOperator, Expr};

use arrow::array::AsArray;

use super::build::{binary, call, cast, nested};
use super::constant::constant_text;
use crate::catalog::zone::Zone;
use crate::sql::format::read_texts;
use crate::sql::walk;

/// The most parts of both spans of an OVERLAPS.
const COPIED_PARTS_MAX: usize = 1_000;

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

/// Whether two spans have a time in common: each begins before the other ends, or both begin at once. `None` where the
/// spans are too large to be written several times, which one within another would multiply.
pub(super) fn overlaps(left: &Expr, right: &Expr) -> Option<Expr> {
    let mut parts = 0;
    for copied in [left, right] {
        let _ = walk::read_expressions(copied, |_| {
            parts += 1;
            ControlFlow::Continue(())
        });
    }
    if parts > COPIED_PARTS_MAX {
        return None;
    }
    let (one_start, one_end) = span(left)?;
    let (two_start, two_end) = span(right)?;
    let first = |a: &Expr, b: &Expr| call("least", vec![a.clone(), b.clone()]);
    let last = |a: &Expr, b: &Expr| call("greatest", vec![a.clone(), b.clone()]);
    let before = |a: Expr, b: Expr| binary(a, BinaryOperator::Lt, b);
    let (one, two) = (first(&one_start, &one_end), first(&two_start, &two_end));
    let meet = binary(
        before(one.clone(), last(&two_start, &two_end)),
        BinaryOperator::And,
        before(two.clone(), last(&one_start, &one_end)),
    );
    let together = binary(one, BinaryOperator::Eq, two);
    let either = binary(meet, BinaryOperator::Or, together);
    Some(nested(either))
}

/// The two ends of `(start, end)` or `(start, length)`.
fn span(tuple: &Expr) -> Option<(Expr, Expr)> {
    let Expr::Tuple(parts) = tuple else {
        return None;
    };
    let [start, end] = parts.as_slice() else {
        return None;
    };
    let end = match is_interval(end) {
        true => nested(binary(start.clone(), BinaryOperator::Plus, end.clone())),
        false => end.clone(),
    };
    Some((start.clone(), end))
}

fn is_interval(expr: &Expr) -> bool {
    match expr {
        Expr::Interval(_) => true,
        Expr::Cast { data_type, .. } => {
            let name = data_type.to_string();
            name.to_ascii_lowercase().starts_with("interval")
        }
        _ => false,
    }
}
