//! Powers of decimals.
//!
//! Those of whole exponents are products of 38 digits, each rounded; others, and powers of e, are computed in fixed point
//! with 36 digits behind the point.

use arrow::datatypes::i256;
use datafusion::common::Result;

use super::logarithm::{DIGITS, OF_TEN, ONE, multiplied, natural};
use crate::catalog::quotient::{Decimal, filled, rounded_to, wide_rounded};
use crate::error::{Error, sqlstate};

/// Digits that are significant at least.
const SIGNIFICANT_DIGITS: i32 = 16;
/// The digits of a factor: the product of two fits 256 bits.
const FACTOR_DIGITS: i32 = 38;
/// No decimal has a logarithm that is further from zero.
const LOGARITHM_MAX: f64 = 200.0;
/// The decimal logarithm of e.
const COMMON_OF_E: f64 = std::f64::consts::LOG10_E;
/// How often an exponent is halved before its power is summed up.
const HALVES: u8 = 6;

/// `e` to the power of a number; `None` where it has no room.
pub(super) fn exponential(number: Decimal, scale: i8) -> Option<i128> {
    let power = number.0 as f64 / 10_f64.powi(number.1.into());
    let digits = shown_digits(power, number.1, scale);
    if power > LOGARITHM_MAX {
        return None;
    }
    if power < -LOGARITHM_MAX {
        return Some(0);
    }
    let shift = i256::from_i128(10).checked_pow((DIGITS - i32::from(number.1)).unsigned_abs())?;
    let fixed = match i32::from(number.1) <= DIGITS {
        true => i256::from_i128(number.0).checked_mul(shift)?,
        false => wide_rounded(i256::from_i128(number.0), shift)?,
    };
    fixed_power(fixed)?.rounded(digits, scale)
}

/// A number to the power of another as PostgreSQL rounds it; `None` where it has no room.
///
/// # Errors
/// 2201F for what is no number: a negative power of zero, a root of a negative number.
pub(super) fn power(base: Decimal, exponent: Decimal, scale: i8) -> Result<Option<i128>> {
    let whole = whole_number(exponent);
    let message = match (base.0, exponent.0) {
        (0, ..0) => "zero raised to a negative power is undefined",
        (..0, _) if whole.is_none() => {
            "a negative number raised to a non-integer power yields a complex result"
        }
        _ => return Ok(defined_power(base, exponent, whole, scale)),
    };
    Err(Error::invalid(sqlstate::INVALID_ARGUMENT_FOR_POWER_FUNCTION, message).into())
}

fn defined_power(base: Decimal, exponent: Decimal, whole: Option<i128>, scale: i8) -> Option<i128> {
    if let Some(whole) = whole.and_then(|whole| i32::try_from(whole).ok()) {
        let digits = SIGNIFICANT_DIGITS.max(base.1.into()).min(scale.into());
        return Floating::of(base)?.to_the(whole)?.rounded(digits, scale);
    }
    if base.0 == 0 {
        return Some(0);
    }
    let of_base = natural((base.0.checked_abs()?, base.1))?;
    let product = of_base.checked_mul(i256::from_i128(exponent.0))?;
    let unit = i256::from_i128(10).checked_pow(exponent.1.unsigned_abs().into())?;
    let product = wide_rounded(product, unit)?;
    let logarithm = product.to_i128().map_or(f64::INFINITY, in_units);
    if logarithm.abs() > LOGARITHM_MAX {
        return product.is_negative().then_some(0);
    }
    let digits = shown_digits(logarithm, base.1.max(exponent.1), scale);
    let power = fixed_power(product)?.rounded(digits, scale)?;
    let is_odd = whole.is_some_and(|whole| whole % 2 != 0);
    Some(if base.0 < 0 && is_odd { -power } else { power })
}

/// The number without its fraction; `None` where that is not zero.
fn whole_number((value, scale): Decimal) -> Option<i128> {
    let unit = 10_i128.checked_pow(scale.unsigned_abs().into())?;
    (value % unit == 0).then_some(value / unit)
}

/// A number in fixed point as a double.
fn in_units(fixed: i128) -> f64 {
    fixed as f64 / 1e36
}

/// How many digits behind the point a power of e has in PostgreSQL: sixteen that are significant, or those of the arguments.
fn shown_digits(logarithm: f64, given: i8, scale: i8) -> i32 {
    let weight = (logarithm * COMMON_OF_E) as i32;
    let digits = SIGNIFICANT_DIGITS.saturating_sub(weight);
    digits.max(given.into()).clamp(0, scale.into())
}

/// `e` to the power of a number in fixed point.
fn fixed_power(number: i256) -> Option<Floating> {
    let tens = wide_rounded(number, OF_TEN)?;
    let rest = number.checked_sub(tens.checked_mul(OF_TEN)?)?;
    let near_zero = rest.checked_div(i256::from_i128(1 << HALVES))?;
    let (mut term, mut sum) = (ONE, ONE);
    let mut count = 1;
    while term != i256::ZERO {
        term = multiplied(term, near_zero)?.checked_div(i256::from_i128(count))?;
        sum = sum.checked_add(term)?;
        count += 1;
    }
    for _ in 0..HALVES {
        sum = multiplied(sum, sum)?;
    }
    let exponent = i64::try_from(tens.to_i128()?).ok()? - i64::from(DIGITS);
    Some(Floating {
        digits: sum,
        exponent,
    })
}

/// Digits times a power of ten.
#[derive(Debug, Clone, Copy)]
struct Floating {
    digits: i256,
    exponent: i64,
}

impl Floating {
    const ONE: Self = Self {
        digits: i256::ONE,
        exponent: 0,
    };

    fn of((value, scale): Decimal) -> Option<Self> {
        let number = Self {
            digits: i256::from_i128(value),
            exponent: -i64::from(scale),
        };
        number.cut()
    }

    /// The same with so many digits as a factor has.
    fn cut(self) -> Option<Self> {
        let length = match self.digits.to_i128() {
            Some(digits) => digits.unsigned_abs().checked_ilog10().map_or(1, |l| l + 1),
            None => u32::try_from(self.digits.checked_abs()?.to_string().len()).ok()?,
        };
        let surplus = length.saturating_sub(FACTOR_DIGITS as u32);
        let unit = i256::from_i128(10).checked_pow(surplus)?;
        Some(Self {
            digits: wide_rounded(self.digits, unit)?,
            exponent: self.exponent + i64::from(surplus),
        })
    }

    fn times(self, other: Self) -> Option<Self> {
        let product = Self {
            digits: self.digits.checked_mul(other.digits)?,
            exponent: self.exponent.checked_add(other.exponent)?,
        };
        product.cut()
    }

    /// One divided by the number, which is not zero.
    fn inverse(self) -> Option<Self> {
        let one = i256::from_i128(10).checked_pow(2 * FACTOR_DIGITS as u32)?;
        let inverse = Self {
            digits: wide_rounded(one, self.digits)?,
            exponent: -2 * i64::from(FACTOR_DIGITS) - self.exponent,
        };
        inverse.cut()
    }

    /// The product of so many of the number.
    fn to_the(self, count: i32) -> Option<Self> {
        let (mut product, mut square) = (Self::ONE, self);
        let mut left = count.unsigned_abs();
        while left > 0 {
            if left % 2 == 1 {
                product = product.times(square)?;
            }
            left /= 2;
            if left > 0 {
                square = square.times(square)?;
            }
        }
        if count < 0 {
            product.inverse()
        } else {
            Some(product)
        }
    }

    /// The unscaled decimal of that scale, of which so many digits are not cut off; `None` where it has no room.
    fn rounded(self, digits: i32, scale: i8) -> Option<i128> {
        // Less than the last digit by far.
        if self.exponent < -i64::from(digits) - 2 * i64::from(FACTOR_DIGITS) {
            return Some(0);
        }
        let behind = i32::try_from(-self.exponent).ok()?;
        let rounded = rounded_to(self.digits, behind, i8::try_from(digits).ok()?)?;
        filled(rounded, digits, scale)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arrow::datatypes::{Decimal128Type, DecimalType};

    use super::*;

    fn shown(value: Option<i128>, scale: i8) -> Option<String> {
        value.map(|value| Decimal128Type::format_decimal(value, 38, scale))
    }

    #[test]
    fn powers_of_whole_exponents_have_sixteen_digits() {
        for (base, exponent, expected) in [
            ((25, 1), 4, Some("39.0625000000000000")),
            ((25, 1), 0, Some("1.0000000000000000")),
            ((-25, 1), 3, Some("-15.6250000000000000")),
            ((10, 0), -2, Some("0.0100000000000000")),
            ((5, 3), 5, Some("0.0000000000031250")),
            ((0, 1), 0, Some("1.0000000000000000")),
            ((0, 1), 7, Some("0.0000000000000000")),
            ((3, 0), -400, Some("0.0000000000000000")),
            ((10, 0), 21, Some("1000000000000000000000.0000000000000000")),
            ((10, 0), 22, None),
            ((3, 0), i128::from(i32::MAX), None),
        ] {
            let made = power(base, (exponent, 0), 16).unwrap();
            assert_eq!(
                shown(made, 16).as_deref(),
                expected,
                "{base:?} ^ {exponent}"
            );
        }
    }

    #[test]
    fn other_powers_have_sixteen_significant_digits() {
        for (base, exponent, expected) in [
            ((2, 0), (-5, 1), "0.70710678118654750000"),
            ((1000, 0), (-1, 1), "0.50118723362727230000"),
            ((7, 0), (25, 1), "129.64181424216494000000"),
            ((2, 0), (25, 1), "5.65685424949238020000"),
            ((12_345_678, 3), (25, 1), "16935084336.73749900000000000000"),
            ((1, 0), (-5, 1), "1.00000000000000000000"),
        ] {
            let made = power(base, exponent, 20).unwrap();
            assert_eq!(
                shown(made, 20).unwrap(),
                expected,
                "{base:?} ^ {exponent:?}"
            );
        }
        let code =
            |base, exponent| power(base, exponent, 20).map_err(|e| Error::from(e).sqlstate());
        assert_eq!(code((0, 0), (-1, 0)), Err("2201F"));
        assert_eq!(code((-2, 0), (5, 1)), Err("2201F"));
    }

    #[test]
    fn powers_of_e_have_sixteen_significant_digits() {
        for (number, expected) in [
            ((10, 1), Some("2.71828182845904520000")),
            ((20, 1), Some("7.38905609893065020000")),
            ((0, 1), Some("1.00000000000000000000")),
            ((-100, 1), Some("0.00004539992976248485")),
            ((-3000, 1), Some("0.00000000000000000000")),
            ((500, 1), None),
            ((10_i128.pow(37), 0), None),
        ] {
            let made = shown(exponential(number, 20), 20);
            assert_eq!(made.as_deref(), expected, "{number:?}");
        }
    }
}
