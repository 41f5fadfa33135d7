//! The types of what is added, and those of the sums.

use std::fmt::Debug;
use std::hash::Hash;

use arrow::array::{Array, ArrowNativeTypeOp, PrimitiveArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Int16Type, Int32Type, Int64Type,
};
use datafusion::common::{Result, ScalarValue};

use super::{Task, Total};
use crate::catalog::quotient::{overflow, quotient};

/// The value of a sum.
pub(super) type SumOf<I> = <<I as Input>::Sum as ArrowPrimitiveType>::Native;

/// A type of numbers that are added.
pub(super) trait Input: ArrowPrimitiveType<Native: Send + Sync> + Debug + Send {
    /// The type that sums are of.
    type Sum: ArrowPrimitiveType<Native: Into<i128> + Hash + Eq> + Send;
    /// Whether sums of as many rows as there are may be too long.
    const CAN_OVERFLOW: bool = false;

    /// The number as a sum.
    fn widened(number: Self::Native) -> SumOf<Self>;
}

impl Input for Int16Type {
    type Sum = Int64Type;

    fn widened(number: i16) -> i64 {
        number.into()
    }
}

impl Input for Int32Type {
    type Sum = Int64Type;

    fn widened(number: i32) -> i64 {
        number.into()
    }
}

impl Input for Int64Type {
    type Sum = Decimal128Type;

    fn widened(number: i64) -> i128 {
        number.into()
    }
}

impl Input for Decimal128Type {
    type Sum = Decimal128Type;
    const CAN_OVERFLOW: bool = true;

    fn widened(number: i128) -> i128 {
        number
    }
}

/// Adds to a sum; whether there was room.
pub(super) fn add<I: Input>(sum: &mut SumOf<I>, more: SumOf<I>) -> bool {
    if !I::CAN_OVERFLOW {
        *sum = sum.add_wrapping(more);
        return true;
    }
    match sum.add_checked(more) {
        Ok(new) => *sum = new,
        Err(_) => return false,
    }
    true
}

/// The sum of the numbers that are not NULL.
///
/// # Errors
/// 22003 for one without room.
pub(super) fn sum_of<I: Input>(numbers: &PrimitiveArray<I>) -> Result<SumOf<I>> {
    let mut sum = SumOf::<I>::default();
    let has_room = match (numbers.nulls(), I::CAN_OVERFLOW) {
        (None, false) => {
            let widened = numbers.values().iter().map(|number| I::widened(*number));
            sum = widened.fold(sum, |sum, number| sum.add_wrapping(number));
            true
        }
        (None, true) => {
            let mut widened = numbers.values().iter().map(|number| I::widened(*number));
            widened.all(|number| add::<I>(&mut sum, number))
        }
        (Some(nulls), _) => nulls
            .valid_indices()
            .all(|at| add::<I>(&mut sum, I::widened(numbers.value(at)))),
    };
    match has_room {
        true => Ok(sum),
        false => Err(overflow().into()),
    }
}

impl Task {
    /// Digits of the sum, and of the result, behind the point.
    fn scales(&self) -> (i8, i8) {
        let scale = |data_type: &DataType| match data_type {
            DataType::Decimal128(_, scale) => *scale,
            _ => 0,
        };
        (scale(&self.sum), scale(&self.result))
    }

    /// What becomes of a sum of so many numbers, which are some.
    ///
    /// # Errors
    /// 22003 for a result without room.
    pub(super) fn result_of(&self, sum: i128, count: i64) -> Result<i128> {
        if self.total == Total::Sum {
            return Ok(sum);
        }
        let (of_sum, of_result) = self.scales();
        let average = quotient((sum, of_sum), (count.into(), 0), of_result);
        Ok(average.ok_or_else(overflow)?)
    }

    /// The value of the result; NULL of no numbers.
    pub(super) fn value_of(&self, sum: i128, count: i64) -> Result<ScalarValue> {
        if count == 0 {
            return ScalarValue::try_from(&self.result);
        }
        let value = self.result_of(sum, count)?;
        Ok(match &self.result {
            DataType::Decimal128(precision, scale) => {
                ScalarValue::Decimal128(Some(value), *precision, *scale)
            }
            // The sums of such results are of 64 bits.
            _ => ScalarValue::Int64(i64::try_from(value).ok()),
        })
    }

    /// A sum as a value; NULL of no numbers.
    pub(super) fn sum_value(&self, sum: i128, is_some: bool) -> ScalarValue {
        let sum = is_some.then_some(sum);
        match &self.sum {
            DataType::Decimal128(precision, scale) => {
                ScalarValue::Decimal128(sum, *precision, *scale)
            }
            _ => ScalarValue::Int64(sum.and_then(|sum| i64::try_from(sum).ok())),
        }
    }
}
