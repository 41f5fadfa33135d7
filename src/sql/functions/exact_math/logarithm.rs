//! Logarithms of decimals, in fixed point with 36 digits behind the point.

use arrow::datatypes::i256;
use datafusion::common::Result;

use super::check_logarithm;
use crate::catalog::quotient::{Decimal, filled, rounded_to};
use crate::error::{Error, sqlstate};

/// The digits behind the point while a logarithm is computed.
pub(super) const DIGITS: i32 = 36;
/// Digits that are significant at least.
const SIGNIFICANT_DIGITS: i32 = 16;
/// 1, and the natural logarithms of 2 and 10.
pub(super) const ONE: i256 = i256::from_i128(10_i128.pow(36));
const OF_TWO: i256 = i256::from_i128(693_147_180_559_945_309_417_232_121_458_176_568);
pub(super) const OF_TEN: i256 = i256::from_i128(2_302_585_092_994_045_684_017_991_454_684_364_208);

/// The natural logarithm as PostgreSQL rounds it; `None` where it has no room.
///
/// # Errors
/// 2201E for one of zero or of a negative number.
pub(super) fn logarithm(number: Decimal, scale: i8) -> Result<Option<i128>> {
    check_logarithm(number.0)?;
    let found = natural(number);
    Ok(found.and_then(|found| as_rounded(found, weight(number, found), number.1, scale)))
}

/// The logarithm to the base of ten.
///
/// # Errors
/// Those of [`logarithm`].
pub(super) fn common_logarithm(number: Decimal, scale: i8) -> Result<Option<i128>> {
    check_logarithm(number.0)?;
    let found = natural(number).and_then(|natural| {
        let found = divided(natural, OF_TEN)?;
        as_rounded(found, weight(number, natural), number.1, scale)
    });
    Ok(found)
}

/// The logarithm to a base.
///
/// # Errors
/// Those of [`logarithm`], and 22012 for the base one.
pub(super) fn logarithm_of_base(base: Decimal, number: Decimal, scale: i8) -> Result<Option<i128>> {
    check_logarithm(base.0)?;
    check_logarithm(number.0)?;
    // Its computed logarithm is near zero.
    if 10_i128.checked_pow(base.1.unsigned_abs().into()) == Some(base.0) {
        return Err(Error::invalid(sqlstate::DIVISION_BY_ZERO, "division by zero").into());
    }
    let sides = natural(number).zip(natural(base));
    let found = sides.and_then(|(of_number, of_base)| {
        let weight = weight(number, of_number) - weight(base, of_base);
        let found = divided(of_number, of_base)?;
        as_rounded(found, weight, base.1.max(number.1), scale)
    });
    Ok(found)
}

/// The place of the first digit of a natural logarithm as PostgreSQL estimates it, counted from the point to the left.
fn weight((value, scale): Decimal, logarithm: i256) -> i32 {
    let unit = 10_i128.checked_pow(scale.unsigned_abs().into());
    let from_one = unit.and_then(|unit| Some((value.checked_sub(unit)?, unit)));
    match from_one {
        // Near one it is that of the difference.
        Some((difference, unit)) if difference.unsigned_abs() <= unit.unsigned_abs() / 10 => {
            let first = difference.unsigned_abs().checked_ilog10();
            first.map_or(0, |first| first as i32 - i32::from(scale))
        }
        _ => {
            let logarithm = logarithm.to_i128().unwrap_or(i128::MAX) as f64 / 1e36;
            logarithm.abs().log10() as i32
        }
    }
}

/// A logarithm with sixteen significant digits, or so many behind the point as were given.
fn as_rounded(found: i256, weight: i32, given: i8, scale: i8) -> Option<i128> {
    let digits = SIGNIFICANT_DIGITS - weight;
    let digits = digits.max(given.into()).clamp(0, scale.into());
    let rounded = rounded_to(found, DIGITS, i8::try_from(digits).ok()?)?;
    filled(rounded, digits, scale)
}

pub(super) fn multiplied(a: i256, b: i256) -> Option<i256> {
    a.checked_mul(b)?.checked_div(ONE)
}

fn divided(a: i256, b: i256) -> Option<i256> {
    a.checked_mul(ONE)?.checked_div(b)
}

/// The natural logarithm of a number above zero: `10^e * m / 2^k` with m near one.
pub(super) fn natural((value, scale): Decimal) -> Option<i256> {
    let digits = value.checked_ilog10()? as i32 + 1;
    let shift = i256::from_i128(10).checked_pow((DIGITS - digits).unsigned_abs())?;
    let mut near = match digits <= DIGITS {
        true => i256::from_i128(value).checked_mul(shift)?,
        false => i256::from_i128(value).checked_div(shift)?,
    };
    let three_quarters = i256::from_i128(75 * 10_i128.pow(34));
    let mut halves = 0;
    while near < three_quarters {
        near = near.checked_add(near)?;
        halves += 1;
    }
    let tens = i256::from_i128((digits - i32::from(scale)).into());
    let of_tens = OF_TEN.checked_mul(tens)?;
    let of_halves = OF_TWO.checked_mul(i256::from_i128(halves))?;
    of_tens.checked_sub(of_halves)?.checked_add(near_one(near)?)
}

/// The logarithm of a number near one: twice the area tangent of `(x - 1) / (x + 1)`.
fn near_one(number: i256) -> Option<i256> {
    let of = divided(number.checked_sub(ONE)?, number.checked_add(ONE)?)?;
    let square = multiplied(of, of)?;
    let (mut power, mut sum) = (of, i256::ZERO);
    let mut odd = 1;
    while power != i256::ZERO {
        sum = sum.checked_add(power.checked_div(i256::from_i128(odd))?)?;
        power = multiplied(power, square)?;
        odd += 2;
    }
    sum.checked_add(sum)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn logarithms_have_sixteen_significant_digits() {
        for (number, expected) in [
            ((20, 1), 6_931_471_805_599_453),
            ((10_i128.pow(11), 1), 230_258_509_299_404_570),
            ((1, 1), -23_025_850_929_940_457),
            ((10_i128.pow(30), 0), 690_775_527_898_213_710),
            ((1, 0), 0),
            ((5 * 10_i128.pow(21), 22), -6_931_471_805_599_453_094_172),
        ] {
            let scale = number.1.max(16);
            assert_eq!(
                logarithm(number, scale).unwrap(),
                Some(expected),
                "{number:?}"
            );
        }
        assert!(logarithm((0, 0), 16).is_err());
    }

    #[test]
    fn powers_of_a_base_have_whole_logarithms() {
        let of_whole = |whole: i128| Some(whole * 10_i128.pow(16));
        assert_eq!(
            common_logarithm((10_i128.pow(13), 1), 16).unwrap(),
            of_whole(12)
        );
        assert_eq!(common_logarithm((1, 3), 16).unwrap(), of_whole(-3));
        assert_eq!(
            logarithm_of_base((2, 0), (1024, 0), 16).unwrap(),
            of_whole(10)
        );
        assert!(logarithm_of_base((1, 0), (2, 0), 16).is_err());
    }
}
