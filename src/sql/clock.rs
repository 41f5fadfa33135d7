//! Times by the session's clock: the instant that a date or a time without a zone means, and what the clock shows at one.
//!
//! Instants are kept in universal time, where Arrow would read and show them too. With another zone the rule here makes
//! functions of what depends on it: casts between instants and other times, `date_trunc`, `date_part`, and months and
//! days that are added. The functions hold the zone: a plan is made again when the session has another.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::compute::{binary, try_binary};
use arrow::datatypes::{
    DataType, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, TimeUnit,
    TimestampMicrosecondType,
};
use arrow::error::ArrowError;
use chrono::{DateTime, Days, Months};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::functions::utils::make_scalar_function;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    BinaryExpr, Cast, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;

use crate::catalog::expressions::rewrite_expressions;
use crate::catalog::infinity::{Infinity, MICROS, cast_moments};
use crate::catalog::zone::Zone;
use crate::error::{Error, sqlstate};

/// Makes functions of what depends on the session's zone. It must run after types are coerced.
#[derive(Debug, Default)]
pub(crate) struct ClockRule;

impl AnalyzerRule for ClockRule {
    fn name(&self) -> &str {
        "clock"
    }

    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        let zone = Zone::of(config);
        if zone.is_utc() {
            return Ok(plan);
        }
        rewrite_expressions(plan, concerns, |expr, schema| rewrite(expr, schema, &zone))
    }
}

fn concerns(expr: &Expr) -> bool {
    match expr {
        Expr::Cast(cast) => is_moment(cast.field.data_type()),
        Expr::BinaryExpr(binary) => matches!(binary.op, Operator::Plus | Operator::Minus),
        Expr::ScalarFunction(call) => matches!(call.name(), "date_trunc" | "date_part" | "extract"),
        _ => false,
    }
}

fn is_moment(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Timestamp(..) | DataType::Date32 | DataType::Time64(_)
    )
}

fn is_instant(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(_, Some(_)))
}

/// Rewrites what depends on the zone; the type stays.
fn rewrite(expr: Expr, schema: &DFSchema, zone: &Zone) -> Transformed<Expr> {
    let made = match &expr {
        Expr::Cast(Cast { expr: inner, field }) => {
            let from = inner.get_type(schema).ok();
            from.and_then(|from| of_cast(inner, &from, field.data_type(), zone))
        }
        Expr::BinaryExpr(sum) => of_sum(sum, schema, zone),
        Expr::ScalarFunction(call) => of_call(call, schema, zone),
        _ => None,
    };
    let typed = made.and_then(|made| {
        let (have, want) = (made.get_type(schema).ok()?, expr.get_type(schema).ok()?);
        Some(match have == want {
            true => made,
            false => Expr::Cast(Cast::new(Box::new(made), want)),
        })
    });
    match typed {
        Some(typed) => Transformed::yes(typed),
        None => Transformed::no(expr),
    }
}

fn of_cast(inner: &Expr, from: &DataType, to: &DataType, zone: &Zone) -> Option<Expr> {
    let turn = match (is_instant(from), is_instant(to)) {
        (true, false) if is_moment(to) => Turn::Shown,
        (false, true) if matches!(from, DataType::Timestamp(..) | DataType::Date32) => Turn::Meant,
        _ => return None,
    };
    Some(turn.call(zone, vec![inner.clone()]))
}

/// `instant + interval`, `interval + instant`, `instant - interval`.
fn of_sum(sum: &BinaryExpr, schema: &DFSchema, zone: &Zone) -> Option<Expr> {
    let is_interval =
        |data_type: &DataType| matches!(data_type, DataType::Interval(IntervalUnit::MonthDayNano));
    let (left, right) = (sum.left.get_type(schema), sum.right.get_type(schema));
    let (left, right) = (left.ok()?, right.ok()?);
    let (instant, interval, turn) = match sum.op {
        Operator::Plus if is_instant(&left) && is_interval(&right) => {
            (&sum.left, &sum.right, Turn::Later)
        }
        Operator::Plus if is_interval(&left) && is_instant(&right) => {
            (&sum.right, &sum.left, Turn::Later)
        }
        Operator::Minus if is_instant(&left) && is_interval(&right) => {
            (&sum.left, &sum.right, Turn::Earlier)
        }
        _ => return None,
    };
    let arguments = vec![instant.as_ref().clone(), interval.as_ref().clone()];
    Some(turn.call(zone, arguments))
}

/// `date_trunc(unit, instant)`, `date_part(field, instant)` and `extract`.
fn of_call(call: &ScalarFunction, schema: &DFSchema, zone: &Zone) -> Option<Expr> {
    let [Expr::Literal(word, _), instant] = call.args.as_slice() else {
        return None;
    };
    if !is_instant(&instant.get_type(schema).ok()?) {
        return None;
    }
    let shown = Turn::Shown.call(zone, vec![instant.clone()]);
    let word_of = word.try_as_str().flatten()?.to_ascii_lowercase();
    let on_clock = || {
        let word = Expr::Literal(word.clone(), None);
        call.func.call(vec![word, shown.clone()])
    };
    match (call.name(), word_of.as_str()) {
        // Seconds since 1970 are the same everywhere, and what is asked of the zone is not shown by its clock.
        ("date_part" | "extract", "epoch" | "timezone" | "timezone_hour" | "timezone_minute") => {
            None
        }
        ("date_part" | "extract", _) => Some(on_clock()),
        ("date_trunc", "day" | "week" | "month" | "quarter" | "year") => {
            Some(Turn::Meant.call(zone, vec![on_clock()]))
        }
        // Of an hour that comes twice each stays its own.
        ("date_trunc", _) => Some(Turn::Beside.call(zone, vec![on_clock(), instant.clone()])),
        _ => None,
    }
}

/// A function of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Turn {
    /// What the clock shows at an instant.
    Shown,
    /// The instant of what the clock shows.
    Meant,
    /// The same with the offset that the clock has at another instant.
    Beside,
    /// An instant later by an interval: months and days go on the clock, the rest passes.
    Later,
    /// An instant earlier by an interval.
    Earlier,
}

impl Turn {
    fn call(self, zone: &Zone, arguments: Vec<Expr>) -> Expr {
        let function = ClockFunction {
            turn: self,
            zone: zone.clone(),
            signature: Signature::any(arguments.len(), Volatility::Immutable),
        };
        Arc::new(ScalarUDF::from(function)).call(arguments)
    }

    fn gives(self) -> DataType {
        let zone = (self != Self::Shown).then(|| "UTC".into());
        DataType::Timestamp(TimeUnit::Microsecond, zone)
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ClockFunction {
    turn: Turn,
    zone: Zone,
    signature: Signature,
}

impl ClockFunction {
    fn compute(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let zone = &self.zone;
        let first = micros(&arguments[0])?;
        let first = first.as_primitive::<TimestampMicrosecondType>();
        let shifted = |factor: i32| {
            let intervals = typed::<IntervalMonthDayNanoType>(&arguments[1])?;
            try_binary(first, intervals, |at, interval| {
                later(zone, at, interval, factor).ok_or_else(out_of_range)
            })
        };
        let result: PrimitiveArray<TimestampMicrosecondType> = match self.turn {
            Turn::Shown => first.unary(|at| zone.clock_at(at)),
            Turn::Meant => first.unary(|clock| zone.instant_of(clock)),
            Turn::Beside => {
                let instants = micros(&arguments[1])?;
                let instants = instants.as_primitive::<TimestampMicrosecondType>();
                binary(first, instants, |clock, at| match Infinity::of(at) {
                    Some(_) => at,
                    None => clock - (zone.clock_at(at) - at),
                })?
            }
            Turn::Later => shifted(1)?,
            Turn::Earlier => shifted(-1)?,
        };
        Ok(Arc::new(result.with_data_type(self.turn.gives())))
    }
}

impl ScalarUDFImpl for ClockFunction {
    fn name(&self) -> &str {
        match self.turn {
            Turn::Shown => "clock_at",
            Turn::Meant => "instant_of",
            Turn::Beside => "instant_beside",
            Turn::Later => "instant_later",
            Turn::Earlier => "instant_earlier",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(self.turn.gives())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        make_scalar_function(|arrays| self.compute(arrays), Vec::new())(&args.args)
    }
}

/// Instants, or what clocks show, in microseconds.
fn micros(moments: &ArrayRef) -> Result<ArrayRef> {
    let zone = is_instant(moments.data_type()).then(|| "UTC".into());
    let target = DataType::Timestamp(TimeUnit::Microsecond, zone);
    Ok(cast_moments(moments, &target)?)
}

fn typed<T: ArrowPrimitiveType>(array: &ArrayRef) -> Result<&PrimitiveArray<T>, ArrowError> {
    array.as_primitive_opt::<T>().ok_or_else(|| {
        let message = format!("{} is no {}", array.data_type(), T::DATA_TYPE);
        ArrowError::from_external_error(Box::new(Error::internal(message)))
    })
}

/// 22008 for a time that no timestamp reaches.
pub(super) fn out_of_range() -> ArrowError {
    let error = Error::invalid(sqlstate::DATETIME_FIELD_OVERFLOW, "timestamp out of range");
    ArrowError::from_external_error(Box::new(error))
}

/// The instant that is later by `factor` times the interval, in microseconds.
pub(super) fn later(
    zone: &Zone,
    at: i64,
    interval: IntervalMonthDayNano,
    factor: i32,
) -> Option<i64> {
    if Infinity::of(at).is_some() {
        return Some(at);
    }
    let (months, days) = (interval.months, interval.days);
    let moved = match (months, days) {
        (0, 0) => at,
        _ => {
            let clock = DateTime::from_timestamp_micros(zone.clock_at(at))?.naive_utc();
            let (months, days) = (months.checked_mul(factor)?, days.checked_mul(factor)?);
            let by = Months::new(months.unsigned_abs());
            let clock = match months < 0 {
                true => clock.checked_sub_months(by)?,
                false => clock.checked_add_months(by)?,
            };
            let by = Days::new(u64::from(days.unsigned_abs()));
            let clock = match days < 0 {
                true => clock.checked_sub_days(by)?,
                false => clock.checked_add_days(by)?,
            };
            zone.instant_of(clock.and_utc().timestamp_micros())
        }
    };
    let passed = interval.nanoseconds / 1_000;
    let passed = passed.checked_mul(i64::from(factor))?;
    moved.checked_add(passed).filter(|at| MICROS.contains(at))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn days_go_on_the_clock_and_hours_pass() {
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        let at = |text: &str| {
            let moment = DateTime::parse_from_rfc3339(text).unwrap();
            moment.timestamp_micros()
        };
        let interval = |months, days, hours: i64| IntervalMonthDayNano {
            months,
            days,
            nanoseconds: hours * 3_600_000_000_000,
        };
        let noon = at("2024-03-30T12:00:00+01:00");
        let day = later(&berlin, noon, interval(0, 1, 0), 1);
        assert_eq!(day, Some(at("2024-03-31T12:00:00+02:00")));
        let hours = later(&berlin, noon, interval(0, 0, 24), 1);
        assert_eq!(hours, Some(at("2024-03-31T13:00:00+02:00")));
        let month = later(
            &berlin,
            at("2024-03-31T12:00:00+02:00"),
            interval(1, 0, 0),
            -1,
        );
        assert_eq!(month, Some(at("2024-02-29T12:00:00+01:00")));
        assert_eq!(later(&berlin, *MICROS.end(), interval(0, 1, 0), 1), None);
        assert_eq!(later(&berlin, *MICROS.end(), interval(0, 0, 1), 1), None);
        assert_eq!(
            later(&berlin, i64::MIN, interval(0, 1, 0), 1),
            Some(i64::MIN)
        );
        assert_eq!(later(&berlin, noon, interval(i32::MIN, 0, 0), -1), None);
    }
}
