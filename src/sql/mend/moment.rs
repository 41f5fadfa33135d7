//! Expressions of dates and times: `t AT TIME ZONE z`, `(a, b) OVERLAPS (c, d)`, `interval '1.5 weeks'`.

use arrow::array::StringArray;
use arrow::compute::kernels::cast_utils::parse_interval_month_day_nano;
use arrow::datatypes::{
    DataType, Field, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
};
use datafusion::sql::sqlparser::ast::{self, Expr};

use arrow::array::AsArray;

use super::build::{call, cast};
use super::constant::constant_text;
use crate::catalog::zone::Zone;
use crate::sql::format::read_texts;
use crate::sql::functions::{OVERLAPS, ROUND_SECONDS, cut_interval};

/// An interval that DataFusion reads otherwise than PostgreSQL, as a cast of its text; within a window's frame it must stay.
pub(super) fn interval_of_text(interval: &ast::Interval) -> Option<Expr> {
    let text = constant_text(&interval.value)?;
    if interval.leading_field.is_some() || interval.last_field.is_some() {
        return interval_of_fields(interval, &text);
    }
    let own = read_interval(&text);
    match parse_interval_month_day_nano(&text).ok() {
        theirs if theirs.is_some() && theirs == own => None,
        _ => Some(cast(interval.value.as_ref().clone(), "interval")),
    }
}

/// An interval as a cast of its text, with its field where that is a unit.
pub(super) fn cast_of_interval(interval: &ast::Interval) -> Expr {
    let text = match (&interval.leading_field, constant_text(&interval.value)) {
        (Some(unit), Some(number)) => {
            let text = format!("{number} {unit}");
            Expr::value(ast::Value::SingleQuotedString(text))
        }
        _ => interval.value.as_ref().clone(),
    };
    cast(text, "interval")
}

fn read_interval(text: &str) -> Option<IntervalMonthDayNano> {
    let field = Field::new("", DataType::Interval(IntervalUnit::MonthDayNano), true);
    let texts = StringArray::from(vec![text]);
    let read = read_texts(&texts, &field, &Zone::utc()).ok()?;
    Some(read.as_primitive::<IntervalMonthDayNanoType>().value(0))
}

/// `INTERVAL '1.25' SECOND(1)`: the seconds have so many digits.
fn interval_in_digits(interval: &ast::Interval) -> Option<Expr> {
    let digits = interval
        .fractional_seconds_precision
        .or(interval.leading_precision)?;
    let mut whole = interval.clone();
    (whole.leading_precision, whole.fractional_seconds_precision) = (None, None);
    let text = constant_text(&whole.value)?;
    let whole = match interval_of_fields(&whole, &text) {
        Some(whole) => whole,
        None => cast_of_interval(&whole),
    };
    let digits = Expr::value(ast::Value::Number(digits.to_string(), false));
    Some(cast(call(ROUND_SECONDS, vec![whole, digits]), "interval"))
}

/// `INTERVAL '1 2:03' DAY TO MINUTE`, without what is smaller than its smallest field. DataFusion reads a number of one
/// field.
fn interval_of_fields(interval: &ast::Interval, text: &str) -> Option<Expr> {
    if interval.leading_precision.is_some() || interval.fractional_seconds_precision.is_some() {
        return interval_in_digits(interval);
    }
    let name = |field: &Option<ast::DateTimeField>| {
        let name = field.as_ref().map(ast::DateTimeField::to_string);
        name.map(|name| name.to_lowercase().trim_end_matches('s').to_string())
    };
    let (first, last) = (name(&interval.leading_field)?, name(&interval.last_field));
    let smallest = last.as_ref().unwrap_or(&first);
    let is_number = |word: &str| {
        let digits = word.trim_start_matches(['-', '+']);
        !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.')
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    let spelled = match words.as_slice() {
        [number] if is_number(number) && last.is_none() => return None,
        [number] if is_number(number) => format!("{number} {smallest}"),
        [days, hours] if is_number(days) && is_number(hours) && smallest == "hour" => {
            format!("{days} days {hours} hours")
        }
        [left, right] if is_number(left) && is_number(right) => return None,
        [time] if first == "minute" && time.matches(':').count() == 1 => {
            let unsigned = time.trim_start_matches(['-', '+']);
            let sign = if time.starts_with('-') { "-" } else { "" };
            format!("{sign}0:{unsigned}")
        }
        _ => text.to_string(),
    };
    let Some(read) = read_interval(&spelled) else {
        return Some(cast(interval.value.as_ref().clone(), "interval"));
    };
    let kept = match smallest.as_str() {
        "second" => read,
        "year" | "month" | "day" | "hour" | "minute" => cut_interval(read, smallest)?,
        _ => return None,
    };
    let micros = kept.nanoseconds / 1000;
    let kept = format!(
        "{} months {} days {micros} microseconds",
        kept.months, kept.days
    );
    let kept = Expr::value(ast::Value::SingleQuotedString(kept));
    Some(cast(kept, "interval"))
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
