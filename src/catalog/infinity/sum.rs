//! Sums and differences with dates and timestamps that may be infinite.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Datum, UInt32Array};
use arrow::compute::kernels::numeric::{add, sub};
use arrow::compute::take;
use arrow::datatypes::{
    DataType, Date32Type, DurationSecondType, Field, FieldRef, Int64Type, TimeUnit,
    TimestampMicrosecondType,
};
use arrow::error::ArrowError;
use arrow::temporal_conversions::SECONDS_IN_DAY;
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use datafusion::physical_expr_common::datum::apply;

use super::{DAYS, Infinities, Infinity, MICROS, finite};
use crate::error::{Error, sqlstate};

/// A sum or a difference of which a side is a date or a timestamp.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct MomentSum {
    is_difference: bool,
    /// The type that DataFusion's operator gives.
    gives: DataType,
    signature: Signature,
}

impl MomentSum {
    /// Whether a sum of operands of these types may be infinite.
    pub fn is_one(types: [&DataType; 2]) -> bool {
        types.into_iter().any(is_time)
    }

    /// The function in place of an operator; `None` where it is none of a sum.
    pub fn call(operator: Operator, [left, right]: [&Expr; 2], gives: &DataType) -> Option<Expr> {
        let function = ScalarUDF::from(Self::of(operator, gives)?);
        Some(function.call(vec![left.clone(), right.clone()]))
    }

    pub(super) fn of(operator: Operator, gives: &DataType) -> Option<Self> {
        let is_difference = match operator {
            Operator::Plus => false,
            Operator::Minus => true,
            _ => return None,
        };
        Some(Self {
            is_difference,
            gives: gives.clone(),
            signature: Signature::any(2, Volatility::Immutable),
        })
    }

    pub(super) fn compute(
        &self,
        left: &dyn Datum,
        right: &dyn Datum,
    ) -> Result<ArrayRef, ArrowError> {
        let kernel = if self.is_difference { sub } else { add };
        let operate = |left: &dyn Datum, right: &dyn Datum| {
            let sum = kernel(left, right).map_err(|_| out_of_range(&self.gives))?;
            check_range(&sum)?;
            Ok(self.in_days(sum))
        };
        let (of_left, of_right) = (whole(left), whole(right));
        let (first, firsts) = finite(&of_left)?;
        let (second, seconds) = finite(&of_right)?;
        if firsts.is_empty() && seconds.is_empty() {
            return operate(left, right);
        }
        let rows = rows_of(left, right);
        let infinities = [
            in_rows(&of_left, firsts, rows),
            in_rows(&of_right, seconds, rows),
        ];
        let known = |row: usize| is_known(&of_left, row) && is_known(&of_right, row);
        let found = infinities.into_iter().flatten();
        let found: Vec<_> = found.filter(|(row, _)| known(*row)).collect();
        if !found.is_empty() && is_time(of_left.data_type()) && is_time(of_right.data_type()) {
            return Err(infinite_difference(of_left.data_type()));
        }
        let (first, second) = (spread(&first, rows)?, spread(&second, rows)?);
        Infinities(found).put_back(operate(&first, &second)?)
    }
}

impl MomentSum {
    /// The difference of dates, which is a number of days rather than Arrow's seconds.
    fn in_days(&self, sum: ArrayRef) -> ArrayRef {
        let seconds = sum.as_primitive_opt::<DurationSecondType>();
        match seconds.filter(|_| self.gives == DataType::Int64) {
            Some(seconds) => {
                Arc::new(seconds.unary::<_, Int64Type>(|seconds| seconds / SECONDS_IN_DAY))
            }
            None => sum,
        }
    }
}

fn is_time(of: &DataType) -> bool {
    matches!(of, DataType::Date32 | DataType::Timestamp(..))
}

fn whole(operand: &dyn Datum) -> ArrayRef {
    let (array, _) = operand.get();
    array.slice(0, array.len())
}

/// How many rows there are; one value may stand for all.
fn rows_of(left: &dyn Datum, right: &dyn Datum) -> usize {
    match (left.get(), right.get()) {
        ((_, true), (right, _)) => right.len(),
        ((left, _), _) => left.len(),
    }
}

/// The value of each row.
fn spread(operand: &ArrayRef, rows: usize) -> Result<ArrayRef, ArrowError> {
    match operand.len() {
        1 => take(operand, &UInt32Array::from(vec![0; rows]), None),
        _ => Ok(Arc::clone(operand)),
    }
}

fn is_known(operand: &ArrayRef, row: usize) -> bool {
    operand.is_valid(if operand.len() == 1 { 0 } else { row })
}

/// The infinities of an operand; one that stands for all rows is in each.
fn in_rows(operand: &ArrayRef, of: Infinities, rows: usize) -> Vec<(usize, Infinity)> {
    match (operand.len(), of.0.first()) {
        (1, Some((_, infinity))) => (0..rows).map(|row| (row, *infinity)).collect(),
        _ => of.0,
    }
}

fn infinite_difference(of: &DataType) -> ArrowError {
    let message = match of {
        DataType::Date32 => "cannot subtract infinite dates",
        _ => "cannot subtract infinite timestamps",
    };
    overflow(message.to_string())
}

fn overflow(message: String) -> ArrowError {
    let error = Error::invalid(sqlstate::DATETIME_FIELD_OVERFLOW, message);
    ArrowError::from_external_error(Box::new(error))
}

fn out_of_range(of: &DataType) -> ArrowError {
    let name = match of {
        DataType::Date32 => "date",
        DataType::Timestamp(..) => "timestamp",
        _ => "interval",
    };
    overflow(format!("{name} out of range"))
}

/// # Errors
/// 22008 for a time beyond the calendar, that might be taken for an infinite one.
fn check_range(sum: &ArrayRef) -> Result<(), ArrowError> {
    let known = |row: usize| sum.is_valid(row);
    let is_outside = match sum.data_type() {
        DataType::Date32 => {
            let days = sum.as_primitive::<Date32Type>().values().iter();
            let mut outside = days
                .enumerate()
                .filter(|(_, v)| !DAYS.contains(&i64::from(**v)));
            outside.any(|(row, _)| known(row))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let micros = sum.as_primitive::<TimestampMicrosecondType>().values();
            let mut outside = micros
                .iter()
                .enumerate()
                .filter(|(_, v)| !MICROS.contains(v));
            outside.any(|(row, _)| known(row))
        }
        _ => false,
    };
    match is_outside {
        true => Err(out_of_range(sum.data_type())),
        false => Ok(()),
    }
}

impl ScalarUDFImpl for MomentSum {
    fn name(&self) -> &str {
        match self.is_difference {
            true => "moment_difference",
            false => "moment_sum",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.gives.clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(
            self.name(),
            self.gives.clone(),
            nullable,
        )))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (left, right) = (&args.args[0], &args.args[1]);
        apply(left, right, |left, right| self.compute(left, right))
    }
}
