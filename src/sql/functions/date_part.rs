//! `date_part(field, time)` and `extract(field FROM time)`.
//!
//! DataFusion's function answers most fields. Here are those where it does not as PostgreSQL: seconds have a fraction, the
//! fields of an interval are the parts of its months, days and time, its epoch counts years of 365.25 days, and there are
//! decades, centuries and millennia. `date_part` gives doubles, `extract` NUMERICs.

use std::slice;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int32Array};
use arrow::compute::kernels::cast_utils::IntervalUnit as Unit;
use arrow::compute::{cast, unary};
use arrow::datatypes::{
    DataType, DurationMicrosecondType, Field, FieldRef, Float64Type, Int32Type, Int64Type,
    IntervalMonthDayNano, IntervalMonthDayNanoType, TimeUnit,
};
use arrow::temporal_conversions::MICROSECONDS_IN_DAY;
use datafusion::common::{Result, ScalarValue};
use datafusion::functions::datetime;
use datafusion::functions::utils::make_scalar_function;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
};

use super::INTERVAL;
use super::calendar::JULIAN_OF_1970;
use super::interval::{DAYS_PER_MONTH, NANOS_PER_HOUR, NANOS_PER_SECOND, SECONDS_PER_DAY};
use crate::catalog::infinity::{Infinities, finite_argument};
use crate::catalog::wrapped::{Wrapper, wrapped};
use crate::catalog::zone::Zone;
use crate::error::{Error, sqlstate};

const NANOS_PER_MINUTE: i64 = 60 * NANOS_PER_SECOND;
const DAYS_PER_YEAR: f64 = 365.25;
const MONTHS_PER_YEAR: i32 = 12;

/// The function.
pub(crate) fn date_part() -> ScalarUDF {
    wrapped(datetime::date_part(), DatePart::Double)
}

/// What `extract` calls.
pub(crate) fn extract() -> ScalarUDF {
    wrapped(datetime::date_part(), DatePart::Exact)
}

/// What kind of numbers are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum DatePart {
    Double,
    Exact,
}

impl DatePart {
    fn gives(self, part: Option<Part>, of: &DataType) -> DataType {
        match (self, part) {
            (Self::Exact, Some(Part::Epoch)) if *of == DataType::Date32 => {
                DataType::Decimal128(24, 0)
            }
            (Self::Double, _) | (_, Some(Part::Julian)) => DataType::Float64,
            (Self::Exact, Some(Part::Epoch)) => DataType::Decimal128(24, 6),
            (Self::Exact, Some(Part::Second)) => DataType::Decimal128(8, 6),
            (Self::Exact, Some(Part::Millisecond)) => DataType::Decimal128(8, 3),
            (Self::Exact, _) => DataType::Decimal128(10, 0),
        }
    }
}

/// A field that is computed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Epoch,
    Second,
    Millisecond,
    Microsecond,
    Minute,
    Hour,
    Day,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
    Millennium,
    /// Days since 4713 BC, with the part of the day that is over.
    Julian,
    /// Seconds from Greenwich.
    Zone,
    /// Their hours.
    ZoneHour,
    /// Their minutes.
    ZoneMinute,
}

impl Part {
    /// The field of a name.
    fn of(name: &str) -> Option<Self> {
        let name = name.trim_matches(['\'', '"']).to_lowercase();
        match name.as_str() {
            "epoch" => return Some(Self::Epoch),
            "timezone" => return Some(Self::Zone),
            "timezone_h" | "timezone_hour" => return Some(Self::ZoneHour),
            "timezone_m" | "timezone_minute" => return Some(Self::ZoneMinute),
            "julian" => return Some(Self::Julian),
            "quarter" | "qtr" => return Some(Self::Quarter),
            "millennium" | "millennia" | "millenniums" | "mil" | "mils" => {
                return Some(Self::Millennium);
            }
            _ => {}
        }
        Some(match Unit::from_str(&name).ok()? {
            Unit::Century => Self::Century,
            Unit::Decade => Self::Decade,
            Unit::Year => Self::Year,
            Unit::Month => Self::Month,
            Unit::Day => Self::Day,
            Unit::Hour => Self::Hour,
            Unit::Minute => Self::Minute,
            Unit::Second => Self::Second,
            Unit::Millisecond => Self::Millisecond,
            Unit::Microsecond => Self::Microsecond,
            _ => return None,
        })
    }

    fn gives(self) -> DataType {
        match self {
            Self::Epoch | Self::Second | Self::Millisecond | Self::Julian => DataType::Float64,
            _ => DataType::Int32,
        }
    }

    /// Whether it is computed here of another type than an interval.
    fn is_own(self) -> bool {
        matches!(
            self,
            Self::Second
                | Self::Millisecond
                | Self::Year
                | Self::Decade
                | Self::Century
                | Self::Millennium
                | Self::Julian
                | Self::Zone
                | Self::ZoneHour
                | Self::ZoneMinute
        )
    }

    /// The part of an interval that is a number with a fraction.
    fn fraction_of(self, interval: IntervalMonthDayNano) -> f64 {
        let nanos = |nanos: i64| nanos as f64 / 1e9;
        match self {
            Self::Epoch => {
                let years = f64::from(interval.months / MONTHS_PER_YEAR) * DAYS_PER_YEAR;
                let months = interval.months % MONTHS_PER_YEAR * DAYS_PER_MONTH;
                let days = years + f64::from(months) + f64::from(interval.days);
                days * SECONDS_PER_DAY + nanos(interval.nanoseconds)
            }
            Self::Millisecond => (interval.nanoseconds % NANOS_PER_MINUTE) as f64 / 1e6,
            _ => nanos(interval.nanoseconds % NANOS_PER_MINUTE),
        }
    }

    /// The part of an interval that is a whole number.
    fn whole_of(self, interval: IntervalMonthDayNano) -> i32 {
        // Within an i32: an i64 of nanoseconds is less than 2,562,048 hours.
        let nanos = interval.nanoseconds;
        let years = interval.months / MONTHS_PER_YEAR;
        match self {
            Self::Microsecond => (nanos % NANOS_PER_MINUTE / 1_000) as i32,
            Self::Minute => (nanos % NANOS_PER_HOUR / NANOS_PER_MINUTE) as i32,
            Self::Hour => (nanos / NANOS_PER_HOUR) as i32,
            Self::Day => interval.days,
            Self::Month => interval.months % MONTHS_PER_YEAR,
            Self::Quarter => interval.months % MONTHS_PER_YEAR / 3 + 1,
            Self::Decade => years / 10,
            Self::Century => years / 100,
            Self::Millennium => years / 1000,
            _ => years,
        }
    }
}

/// The number of the span of years that a year is in, where there is no year 0.
fn span_of(year: i32, years: i32) -> i32 {
    match year > 0 {
        true => (year + years - 1) / years,
        // Year 0 is 1 BC.
        false => -((years - year) / years),
    }
}

/// The name of a field.
fn name_of(field: &ScalarValue) -> Option<&str> {
    field.try_as_str().flatten()
}

fn is_interval(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Interval(_) | DataType::Duration(_))
}

fn unknown(name: &str) -> Error {
    Error::unsupported(format!("unit \"{name}\" not supported for type interval"))
}

impl Wrapper for DatePart {
    fn name(&self) -> Option<&str> {
        matches!(self, Self::Exact).then_some("extract")
    }

    fn return_field(&self, inner: &ScalarUDF, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let name = args.scalar_arguments.first().copied().flatten();
        let part = name.and_then(name_of).and_then(Part::of);
        let gives = self.gives(part, args.arg_fields[1].data_type());
        let computed = computed_field(inner, args, *self)?;
        let field = Field::clone(&computed).with_data_type(gives);
        Ok(Arc::new(field))
    }

    fn invoke(&self, inner: &ScalarUDF, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let wanted = args.return_field.data_type().clone();
        let (rest, infinities) = finite_argument(&args.args[1])?;
        args.args[1] = rest;
        let grows = matches!(&args.args[0], ColumnarValue::Scalar(name) if grows(name));
        let computed = computed(inner, args, *self)?.cast_to(&wanted, None)?;
        match infinities.is_empty() || !grows {
            true => Ok(computed),
            false => with_infinities(computed, &infinities),
        }
    }

    fn preimage(
        &self,
        inner: &ScalarUDF,
        args: &[Expr],
        literal: &Expr,
        info: &SimplifyContext,
    ) -> Result<PreimageResult> {
        // What is before year 1 has another number there.
        let before_christ =
            |literal: &Expr| matches!(literal, Expr::Literal(ScalarValue::Int32(Some(..=0)), _));
        match whole(literal).filter(|literal| !before_christ(literal)) {
            Some(literal) => inner.preimage(args, &literal, info),
            None => Ok(PreimageResult::None),
        }
    }
}

/// Whether a field of infinite times is infinite; the others are NULL.
fn grows(name: &ScalarValue) -> bool {
    let name = name_of(name).unwrap_or_default();
    let is_isoyear = || {
        name.trim_matches(['\'', '"'])
            .eq_ignore_ascii_case("isoyear")
    };
    match Part::of(name) {
        None => is_isoyear(),
        Some(part) => matches!(
            part,
            Part::Epoch
                | Part::Year
                | Part::Decade
                | Part::Century
                | Part::Millennium
                | Part::Julian
        ),
    }
}

/// # Errors
/// 22003 for `extract`: no NUMERIC is infinite here.
fn with_infinities(computed: ColumnarValue, infinities: &Infinities) -> Result<ColumnarValue> {
    let is_scalar = matches!(computed, ColumnarValue::Scalar(_));
    let computed = computed.to_array(1)?;
    let Some(numbers) = computed.as_primitive_opt::<Float64Type>() else {
        let message = "no NUMERIC is infinite";
        let error = Error::invalid(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, message);
        return Err(error.with_hint("date_part gives infinite doubles.").into());
    };
    let mut numbers: Vec<Option<f64>> = numbers.iter().collect();
    for (row, infinity) in infinities.rows() {
        numbers[row] = Some(infinity.double());
    }
    let numbers = Float64Array::from(numbers);
    Ok(match is_scalar {
        true => ScalarValue::try_from_array(&numbers, 0)?.into(),
        false => ColumnarValue::Array(Arc::new(numbers)),
    })
}

/// A number without a fraction as an INTEGER.
fn whole(literal: &Expr) -> Option<Expr> {
    let Expr::Literal(value, metadata) = literal else {
        return None;
    };
    let integer = value.cast_to(&DataType::Int32).ok()?;
    let same = integer.cast_to(&value.data_type()).ok()? == *value;
    same.then(|| Expr::Literal(integer, metadata.clone()))
}

/// What is computed before it becomes the number that is given.
fn computed_field(
    inner: &ScalarUDF,
    args: ReturnFieldArgs<'_>,
    wanted: DatePart,
) -> Result<FieldRef> {
    let name = args.scalar_arguments.first().copied().flatten();
    let name = name.and_then(name_of);
    let part = name.and_then(Part::of);
    let of_interval = is_interval(args.arg_fields[1].data_type());
    if let Some(name) = name {
        check_unit(name, part, args.arg_fields[1].data_type(), wanted)?;
    }
    let is_of_moments = |part| {
        matches!(
            part,
            Part::Julian | Part::Zone | Part::ZoneHour | Part::ZoneMinute
        )
    };
    let gives = match part {
        Some(part) if of_interval && is_of_moments(part) => {
            return Err(unknown(name.unwrap_or_default()).into());
        }
        Some(part) if of_interval || part.is_own() => part.gives(),
        None if of_interval && name.is_some() => {
            return Err(unknown(name.unwrap_or_default()).into());
        }
        _ => return inner.return_field_from_args(args),
    };
    let nullable = args.arg_fields[1].is_nullable();
    Ok(Arc::new(Field::new(inner.name(), gives, nullable)))
}

fn computed(
    inner: &ScalarUDF,
    mut args: ScalarFunctionArgs,
    wanted: DatePart,
) -> Result<ColumnarValue> {
    let [ColumnarValue::Scalar(name), time] = args.args.as_slice() else {
        return inner.invoke_with_args(args);
    };
    args.return_field = computed_field(
        inner,
        ReturnFieldArgs {
            arg_fields: &args.arg_fields,
            scalar_arguments: &[Some(name), None],
        },
        wanted,
    )?;
    let Some(part) = name_of(name).and_then(Part::of) else {
        return inner.invoke_with_args(args);
    };
    if is_interval(&time.data_type()) {
        let of_intervals = |times: &[ArrayRef]| of_intervals(part, &times[0]);
        return make_scalar_function(of_intervals, Vec::new())(slice::from_ref(time));
    }
    if !part.is_own() {
        return inner.invoke_with_args(args);
    }
    let from = match part {
        Part::Second | Part::Millisecond => "microsecond",
        Part::Julian => return julian(time),
        Part::Zone | Part::ZoneHour | Part::ZoneMinute => {
            return part_of_zone(part, time, &Zone::of(&args.config_options));
        }
        _ => "year",
    };
    args.args[0] = ColumnarValue::Scalar(ScalarValue::from(from));
    args.return_field = Arc::new(Field::new(inner.name(), DataType::Int32, true));
    let found = inner.invoke_with_args(args)?;
    let of_numbers = |found: &[ArrayRef]| of_numbers(part, &found[0]);
    make_scalar_function(of_numbers, Vec::new())(&[found])
}

/// Units of a type that has a clock alone.
const OF_TIMES: [Part; 6] = [
    Part::Epoch,
    Part::Hour,
    Part::Minute,
    Part::Second,
    Part::Millisecond,
    Part::Microsecond,
];

/// # Errors
/// 0A000 for a unit that the type does not have, 22023 for one that there is none of.
fn check_unit(
    name: &str,
    part: Option<Part>,
    data_type: &DataType,
    wanted: DatePart,
) -> Result<()> {
    let name = name.trim_matches(['\'', '"']).to_lowercase();
    let of_type = match data_type {
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Time32(_) | DataType::Time64(_) => "time without time zone",
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone",
        DataType::Timestamp(_, None) => "timestamp without time zone",
        _ => return Ok(()),
    };
    let is_known =
        part.is_some() || Unit::from_str(&name).is_ok() || OTHER_UNITS.contains(&name.as_str());
    if !is_known {
        let message = format!("unit \"{name}\" not recognized for type {of_type}");
        return Err(Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message).into());
    }
    let is_time = of_type.starts_with("time ");
    let has_clock = part.is_some_and(|part| OF_TIMES.contains(&part) && part != Part::Epoch);
    let fits = match of_type {
        "date" | "timestamp without time zone" if name.starts_with("timezone") => false,
        // To `date_part` it is a timestamp.
        "date" => !has_clock || wanted == DatePart::Double,
        _ if is_time => part.is_some_and(|part| OF_TIMES.contains(&part)),
        _ => true,
    };
    match fits {
        true => Ok(()),
        false => {
            let message = format!("unit \"{name}\" not supported for type {of_type}");
            Err(Error::unsupported(message).into())
        }
    }
}

/// Units that are computed elsewhere.
const OTHER_UNITS: [&str; 5] = ["dow", "isodow", "doy", "isoyear", "week"];

/// How far the session's zone is from Greenwich at each instant.
fn part_of_zone(part: Part, times: &ColumnarValue, zone: &Zone) -> Result<ColumnarValue> {
    let of_arrays = |times: &[ArrayRef]| {
        let instants = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let micros = cast(&cast(&times[0], &instants)?, &DataType::Int64)?;
        let parts = unary::<_, _, Int32Type>(micros.as_primitive::<Int64Type>(), |micros| {
            let seconds = zone.seconds_at(micros);
            match part {
                Part::ZoneHour => seconds / 3600,
                Part::ZoneMinute => seconds / 60 % 60,
                _ => seconds,
            }
        });
        Ok(Arc::new(parts) as ArrayRef)
    };
    make_scalar_function(of_arrays, Vec::new())(slice::from_ref(times))
}

/// Days since 4713 BC.
fn julian(time: &ColumnarValue) -> Result<ColumnarValue> {
    let of_arrays = |times: &[ArrayRef]| {
        let local = DataType::Timestamp(TimeUnit::Microsecond, None);
        let micros = cast(&cast(&times[0], &local)?, &DataType::Int64)?;
        let days = unary::<_, _, Float64Type>(micros.as_primitive::<Int64Type>(), |micros| {
            JULIAN_OF_1970 as f64 + micros as f64 / MICROSECONDS_IN_DAY as f64
        });
        Ok(Arc::new(days) as ArrayRef)
    };
    make_scalar_function(of_arrays, Vec::new())(slice::from_ref(time))
}

fn of_intervals(part: Part, times: &ArrayRef) -> Result<ArrayRef> {
    let times = match times.data_type() {
        DataType::Duration(_) => days_and_time(times)?,
        _ => cast(times, &INTERVAL)?,
    };
    let times = times.as_primitive::<IntervalMonthDayNanoType>();
    Ok(match part.gives() {
        DataType::Float64 => Arc::new(unary::<_, _, Float64Type>(times, |i| part.fraction_of(i))),
        _ => Arc::new(unary::<_, _, Int32Type>(times, |i| part.whole_of(i))),
    })
}

/// The difference of two moments has days, as PostgreSQL counts it.
fn days_and_time(differences: &ArrayRef) -> Result<ArrayRef> {
    let micros = cast(differences, &DataType::Duration(TimeUnit::Microsecond))?;
    let micros = micros.as_primitive::<DurationMicrosecondType>();
    let interval = |micros: i64| {
        // Within an i32: an i64 of microseconds is less than 106,751,992 days.
        let days = (micros / MICROSECONDS_IN_DAY) as i32;
        IntervalMonthDayNano::new(0, days, micros % MICROSECONDS_IN_DAY * 1000)
    };
    let intervals = unary::<_, _, IntervalMonthDayNanoType>(micros, interval);
    Ok(Arc::new(intervals))
}

/// Of the microseconds of a minute, or of years.
fn of_numbers(part: Part, found: &ArrayRef) -> Result<ArrayRef> {
    let found = found.as_primitive::<Int32Type>();
    let fractions = |unit: f64| -> Float64Array { unary(found, |n| f64::from(n) / unit) };
    let spans = |years: i32| -> Int32Array { unary(found, |year| span_of(year, years)) };
    Ok(match part {
        Part::Second => Arc::new(fractions(1e6)),
        Part::Millisecond => Arc::new(fractions(1e3)),
        Part::Century => Arc::new(spans(100)),
        Part::Millennium => Arc::new(spans(1000)),
        // There is no year 0: it is 1 BC.
        Part::Year => Arc::new(unary::<_, _, Int32Type>(found, |year| {
            if year > 0 { year } else { year - 1 }
        })),
        _ => Arc::new(unary::<_, _, Int32Type>(found, |year| year.div_euclid(10))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_an_interval_are_those_of_its_months_days_and_time() {
        let nanos = 27 * NANOS_PER_HOUR + 61 * NANOS_PER_SECOND + 250_000_000;
        let interval = IntervalMonthDayNano::new(14, 40, nanos);
        for (part, expected) in [
            (Part::Year, 1),
            (Part::Month, 2),
            (Part::Quarter, 1),
            (Part::Day, 40),
            (Part::Hour, 27),
            (Part::Minute, 1),
            (Part::Microsecond, 1_250_000),
        ] {
            assert_eq!(part.whole_of(interval), expected, "{part:?}");
        }
        assert_eq!(Part::Second.fraction_of(interval), 1.25);
        let days = DAYS_PER_YEAR + 60.0 + 40.0;
        let seconds = nanos / NANOS_PER_SECOND;
        let epoch = days * SECONDS_PER_DAY + seconds as f64 + 0.25;
        assert_eq!(Part::Epoch.fraction_of(interval), epoch);
    }

    #[test]
    fn centuries_begin_with_a_year_1() {
        for (year, century) in [
            (2000, 20),
            (2001, 21),
            (1, 1),
            (0, -1),
            (-99, -1),
            (-100, -2),
        ] {
            assert_eq!(span_of(year, 100), century, "{year}");
        }
    }
}
