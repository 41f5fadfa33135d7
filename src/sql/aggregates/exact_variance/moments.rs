//! How many numbers there are, their sum and that of their squares; and what these tell.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, i256};
use datafusion::common::{Result, ScalarValue};

use super::super::variance::Measure;
use crate::catalog::quotient::{
    filled, overflow, rounded_root, rounded_to, scale_of_wide, wide_rounded,
};

/// Digits behind the point of a variance whose root is taken.
const DIGITS_MAX: i32 = 30;

/// What is computed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Task {
    pub(super) measure: Measure,
    /// Digits behind the point of the numbers.
    pub(super) scale: i8,
    /// Those of the result.
    pub(super) result: i8,
}

/// Of unscaled numbers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moments {
    pub(super) count: i64,
    pub(super) sum: i128,
    pub(super) squares: i256,
}

impl Moments {
    /// The moments with a number more; `None` where they have no room.
    pub(super) fn with(self, number: i128) -> Option<Self> {
        Some(Self {
            count: self.count + 1,
            sum: self.sum.checked_add(number)?,
            squares: self.squares.checked_add(square(number)?)?,
        })
    }

    /// The moments with a number less.
    pub(super) fn without(self, number: i128) -> Option<Self> {
        Some(Self {
            count: self.count - 1,
            sum: self.sum.checked_sub(number)?,
            squares: self.squares.checked_sub(square(number)?)?,
        })
    }

    /// Both together.
    pub(super) fn and(self, other: Self) -> Option<Self> {
        Some(Self {
            count: self.count + other.count,
            sum: self.sum.checked_add(other.sum)?,
            squares: self.squares.checked_add(other.squares)?,
        })
    }

    /// `n` times the sum of squares without the square of the sum, and what it is divided by; `None` without room.
    fn fraction(self, of_sample: bool) -> Option<(i256, i128)> {
        let count = i128::from(self.count);
        let all = self.squares.checked_mul(i256::from_i128(count))?;
        let dividend = all.checked_sub(square(self.sum)?)?;
        Some((dividend, count * (count - i128::from(of_sample))))
    }
}

fn square(number: i128) -> Option<i256> {
    match number.checked_mul(number) {
        Some(square) => Some(i256::from_i128(square)),
        None => i256::from_i128(number).checked_mul(i256::from_i128(number)),
    }
}

impl Task {
    /// The unscaled result; `None` of too few numbers.
    ///
    /// # Errors
    /// 22003 for one without room.
    pub(super) fn result_of(self, moments: Moments) -> Result<Option<i128>> {
        if moments.count <= i64::from(self.measure.of_sample) {
            return Ok(None);
        }
        let fraction = moments.fraction(self.measure.of_sample);
        let (dividend, divisor) = fraction.ok_or_else(overflow)?;
        if dividend <= i256::ZERO {
            return Ok(Some(0));
        }
        let result = self.measured(dividend, divisor);
        Ok(Some(result.ok_or_else(overflow)?))
    }

    fn measured(self, dividend: i256, divisor: i128) -> Option<i128> {
        let scale = self.scale.checked_mul(2)?;
        let digits = scale_of_wide(dividend, scale, (divisor, 0)).min(DIGITS_MAX);
        let shift = digits - i32::from(scale);
        let factor = i256::from_i128(10).checked_pow(shift.unsigned_abs())?;
        let divisor = i256::from_i128(divisor);
        let variance = match shift >= 0 {
            true => wide_rounded(dividend.checked_mul(factor)?, divisor)?,
            false => wide_rounded(dividend, divisor.checked_mul(factor)?)?,
        };
        let rounded = digits.min(self.result.into());
        let measured = match self.measure.is_root {
            true => rounded_root(variance, digits, rounded)?,
            false => rounded_to(variance, digits, i8::try_from(rounded).ok()?)?,
        };
        filled(measured, rounded, self.result)
    }

    /// The result as a value.
    pub(super) fn value_of(self, moments: Moments) -> Result<ScalarValue> {
        let value = self.result_of(moments)?;
        Ok(ScalarValue::Decimal128(value, 38, self.result))
    }
}

/// Unscaled numbers of any type that is taken.
pub(super) fn unscaled(values: &ArrayRef) -> Result<ArrayRef> {
    Ok(match values.data_type() {
        DataType::Decimal128(..) => ArrayRef::clone(values),
        _ => cast(values, &DataType::Decimal128(38, 0))?,
    })
}

/// Changes moments by each number that is not NULL.
///
/// # Errors
/// 22003 where they have no room.
pub(super) fn changed(
    moments: Moments,
    values: &ArrayRef,
    change: fn(Moments, i128) -> Option<Moments>,
) -> Result<Moments> {
    let numbers = unscaled(values)?;
    let mut numbers = numbers.as_primitive::<Decimal128Type>().iter().flatten();
    Ok(numbers.try_fold(moments, change).ok_or_else(overflow)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn of(numbers: &[i128], scale: i8, of_sample: bool, is_root: bool) -> Option<i128> {
        let measure = Measure { of_sample, is_root };
        let moments = numbers.iter().copied();
        let moments = moments.fold(Moments::default(), |all, n| all.with(n).unwrap());
        Task {
            measure,
            scale,
            result: 16,
        }
        .result_of(moments)
        .unwrap()
    }

    #[test]
    fn variances_and_deviations_are_rounded() {
        assert_eq!(of(&[1, 2, 4], 0, true, false), Some(23_333_333_333_333_333));
        assert_eq!(of(&[1, 2, 4], 0, true, true), Some(15_275_252_316_519_467));
        assert_eq!(of(&[15, 25], 1, false, false), Some(2_500_000_000_000_000));
        assert_eq!(of(&[7, 7], 0, false, true), Some(0));
        assert_eq!(
            [of(&[7], 0, true, true), of(&[], 0, false, true)],
            [None, None]
        );
        let large = i128::from(i64::MAX);
        assert_eq!(
            of(&[large, -large], 0, false, true),
            Some(large * 10_i128.pow(16))
        );
    }
}
