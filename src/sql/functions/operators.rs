//! Operators of intervals that DataFusion does not have, or that answer otherwise there.
//!
//! - `interval * number`, `number * interval` and `interval / number` are functions.
//! - A text that is written beside an interval is one: `i + '1 hour'`. So is one that is added to a time, as in
//!   `now() + '1 day'`; one that is taken from a time is a time.
//! - Intervals are compared by their lengths: DataFusion compares months, then days, then the rest, so that 25 hours are
//!   less than a day.
//! - `extract` calls a function [of its own](super::date_part).
//! - A date with an interval added is a timestamp: DataFusion's is a date, without the hours.
//! - The difference of two dates is an INTEGER: DataFusion's is a BIGINT.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{DFSchema, DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::expr::{Cast, Placeholder};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator, ScalarUDF, cast};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::date_part::extract;
use super::interval::{INTERVAL_BY, INTERVAL_LENGTH, INTERVAL_TIMES};
use super::{INTERVAL, function};
use crate::error::{Error, sqlstate};

const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// Plans the operators of intervals.
#[derive(Debug)]
pub(crate) struct IntervalPlanner {
    times: Arc<ScalarUDF>,
    by: Arc<ScalarUDF>,
    length: Arc<ScalarUDF>,
    part: Arc<ScalarUDF>,
}

/// What an operand is, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operand {
    Interval,
    Date,
    Time,
    Timestamp,
    /// A text or a parameter that becomes what is beside it.
    Open,
    Other,
}

impl Operand {
    fn of(expr: &Expr, schema: &DFSchema) -> Self {
        let is_untyped = matches!(expr, Expr::Placeholder(Placeholder { field: None, .. }));
        match expr.get_type(schema) {
            _ if is_untyped => Self::Open,
            Ok(DataType::Interval(_) | DataType::Duration(_)) => Self::Interval,
            Ok(DataType::Date32) => Self::Date,
            Ok(DataType::Time64(_)) => Self::Time,
            Ok(DataType::Timestamp(..)) => Self::Timestamp,
            Ok(DataType::Utf8 | DataType::Null) if matches!(expr, Expr::Literal(..)) => Self::Open,
            _ => Self::Other,
        }
    }
}

impl IntervalPlanner {
    /// A planner with its functions.
    pub(crate) fn new() -> Self {
        let named = |name| Arc::new(function(name));
        Self {
            times: named(INTERVAL_TIMES),
            by: named(INTERVAL_BY),
            length: named(INTERVAL_LENGTH),
            part: Arc::new(extract()),
        }
    }

    fn length_of(&self, expr: Expr, operand: Operand) -> Expr {
        let interval = match operand {
            Operand::Open => cast(expr, INTERVAL),
            _ => expr,
        };
        self.length.call(vec![interval])
    }
}

impl ExprPlanner for IntervalPlanner {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        use BinaryOperator as B;
        use Operand::{Date, Interval, Open, Time, Timestamp};
        let RawBinaryExpr { op, left, right } = expr;
        let operands = (Operand::of(&left, schema), Operand::of(&right, schema));
        let (left, right) = match (&op, operands) {
            (B::Multiply, (Interval, _)) if operands.1 != Interval => {
                return Ok(PlannerResult::Planned(self.times.call(vec![left, right])));
            }
            (B::Multiply, (_, Interval)) if operands.0 != Interval => {
                return Ok(PlannerResult::Planned(self.times.call(vec![right, left])));
            }
            (B::Divide, (Interval, _)) if operands.1 != Interval => {
                return Ok(PlannerResult::Planned(self.by.call(vec![left, right])));
            }
            (B::Plus | B::Minus, (Interval, Open)) => (left, read_text(right)),
            (B::Plus | B::Minus, (Open, Interval)) => (read_text(left), right),
            (B::Plus, (Timestamp | Time, Open)) => (left, read_text(right)),
            (B::Plus, (Open, Timestamp | Time)) => (read_text(left), right),
            (B::Minus, (Timestamp | Time, Open)) if is_text(&right) => {
                let other = like(&left, schema)?;
                (left, cast(right, other))
            }
            (B::Minus, (Open, Timestamp | Time)) if is_text(&left) => {
                let other = like(&right, schema)?;
                (cast(left, other), right)
            }
            (B::Plus, (Date, Open)) if is_text(&right) => return Err(ambiguous("date + unknown")),
            (B::Plus, (Open, Date)) if is_text(&left) => return Err(ambiguous("unknown + date")),
            (B::Plus | B::Minus, (Date, Interval)) => (cast(left, TIMESTAMP), right),
            (B::Plus, (Interval, Date)) => (left, cast(right, TIMESTAMP)),
            (B::Minus, (Date, Date)) => return Ok(PlannerResult::Planned(days(left, right))),
            (B::Minus, (Date, Open)) if is_literal(&right) => {
                let date = cast(right, DataType::Date32);
                return Ok(PlannerResult::Planned(days(left, date)));
            }
            (B::Minus, (Open, Date)) if is_literal(&left) => {
                let date = cast(left, DataType::Date32);
                return Ok(PlannerResult::Planned(days(date, right)));
            }
            (op, (Interval, Interval | Open) | (Open, Interval)) if compares(op) => (
                self.length_of(left, operands.0),
                self.length_of(right, operands.1),
            ),
            (B::Plus, (Date, Time)) => (cast(left, TIMESTAMP), time_passed(right)),
            (B::Plus, (Time, Date)) => (time_passed(left), cast(right, TIMESTAMP)),
            (op, (Date, Timestamp)) if compares(op) || *op == B::Minus => {
                beside_timestamp(left, right, schema)
            }
            (op, (Timestamp, Date)) if compares(op) || *op == B::Minus => {
                let (right, left) = beside_timestamp(right, left, schema);
                (left, right)
            }
            _ => (left, right),
        };
        Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }))
    }

    fn plan_extract(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(self.part.call(args)))
    }
}

/// The days from a date to another, an INTEGER.
fn days(later: Expr, earlier: Expr) -> Expr {
    let days = BinaryExpr::new(Box::new(later), Operator::Minus, Box::new(earlier));
    cast(Expr::BinaryExpr(days), DataType::Int32)
}

fn is_literal(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(..))
}

fn is_text(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(ScalarValue::Utf8(Some(_)), None))
}

/// A text that is written beside an interval is one, and one that is added to a time.
fn read_text(expr: Expr) -> Expr {
    match is_text(&expr) {
        true => cast(expr, INTERVAL),
        false => expr,
    }
}

/// The type of a text that is taken from a time, or a time from it.
fn like(time: &Expr, schema: &DFSchema) -> Result<DataType> {
    Ok(match time.get_type(schema)? {
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone),
        other => other,
    })
}

/// 42725: a text beside a date may be a number of days or an interval.
fn ambiguous(operator: &str) -> DataFusionError {
    let message = format!("operator is not unique: {operator}");
    let error = Error::invalid(sqlstate::AMBIGUOUS_FUNCTION, message);
    error
        .with_hint("Add a type: date '2000-01-01' + interval '1 day'.")
        .into()
}

/// A time of day as what is added to a date.
fn time_passed(time: Expr) -> Expr {
    let micros = cast(time, DataType::Int64);
    cast(micros, DataType::Duration(TimeUnit::Microsecond))
}

/// A date beside a timestamp is one of the same kind: in nanoseconds, which DataFusion would compare, there are no far
/// dates. Where the timestamp was made of a date by whole days, both are dates.
fn beside_timestamp(date: Expr, timestamp: Expr, schema: &DFSchema) -> (Expr, Expr) {
    if let Some(other) = date_of(&timestamp, schema) {
        return (date, other);
    }
    let zone = match timestamp.get_type(schema) {
        Ok(DataType::Timestamp(_, zone)) => zone,
        _ => None,
    };
    let kind = DataType::Timestamp(TimeUnit::Microsecond, zone);
    (cast(date, kind), timestamp)
}

fn compares(op: &BinaryOperator) -> bool {
    use BinaryOperator as B;
    matches!(
        op,
        B::Eq | B::NotEq | B::Lt | B::LtEq | B::Gt | B::GtEq | B::Spaceship
    )
}

/// The date of one to which whole days were added, beside another date: compared as dates the two answer the same, and a
/// filter on a column is pruned by its bounds.
fn date_of(expr: &Expr, schema: &DFSchema) -> Option<Expr> {
    match expr {
        Expr::Cast(Cast { expr, field }) if field.data_type() == &TIMESTAMP => {
            let is_date = Operand::of(expr, schema) == Operand::Date;
            is_date.then(|| (**expr).clone())
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if matches!(op, Operator::Plus | Operator::Minus) && is_whole_days(right) =>
        {
            let date = Box::new(date_of(left, schema)?);
            Some(Expr::BinaryExpr(BinaryExpr::new(date, *op, right.clone())))
        }
        _ => None,
    }
}

fn is_whole_days(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(by)), _) if by.nanoseconds == 0)
}
