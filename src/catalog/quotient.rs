//! The digits of NUMERICs that are computed: quotients, roots and logarithms have sixteen that are significant, or more,
//! rounded away from zero.
//!
//! How many digits stand behind the point depends on the values in PostgreSQL (`select_div_scale`). A column of decimals has
//! one scale here, so a result is rounded as PostgreSQL rounds it and then filled up with zeros, which are not shown
//! ([`Shown`]).

use std::sync::Arc;

use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, DecimalType, Field, FieldRef, i256,
};

use crate::error::{Error, sqlstate};

/// The digits behind the point of a column of quotients below 10^18.
pub(crate) const LONG_SCALE: i8 = 20;
/// Those of a column of larger ones.
pub(crate) const QUOTIENT_SCALE: i8 = 16;
/// Digits that are significant at least.
const SIGNIFICANT_DIGITS: i32 = 16;
/// Decimal digits in a digit of PostgreSQL's.
const GROUP_DIGITS: i32 = 4;
/// NUMERIC without a precision.
const OPEN_NUMERIC: DataType = DataType::Decimal128(DECIMAL128_MAX_PRECISION, 10);
/// Metadata key of what is shown of the values of a column.
const SHOWN_KEY: &str = "shelfmark.digits";

/// What was computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Quotient,
    /// A quotient that has no digits behind the point where it is zero.
    Variance,
    /// The root of a variance, with the digits of that.
    Deviation,
    Root,
    Logarithm,
    Power,
    Trimmed,
}

const KINDS: [(&str, Kind); 7] = [
    ("quotient", Kind::Quotient),
    ("variance", Kind::Variance),
    ("deviation", Kind::Deviation),
    ("root", Kind::Root),
    ("logarithm", Kind::Logarithm),
    ("power", Kind::Power),
    ("trimmed", Kind::Trimmed),
];

/// Which digits behind the point are shown of the values of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shown {
    kind: Kind,
    /// So many at least.
    least: i8,
}

impl Shown {
    /// No zeros behind the others.
    pub(crate) const TRIMMED: Self = Self::new(Kind::Trimmed, 0);

    const fn new(kind: Kind, least: i8) -> Self {
        Self { kind, least }
    }

    /// Of a quotient, so many at least.
    pub(crate) const fn quotient(least: i8) -> Self {
        Self::new(Kind::Quotient, least)
    }

    /// Of a variance, or of its root.
    pub(crate) const fn variance(is_root: bool, least: i8) -> Self {
        let kind = if is_root {
            Kind::Deviation
        } else {
            Kind::Variance
        };
        Self::new(kind, least)
    }

    /// Of a square root.
    pub(crate) const fn root(least: i8) -> Self {
        Self::new(Kind::Root, least)
    }

    /// Of a logarithm.
    pub(crate) const fn logarithm(least: i8) -> Self {
        Self::new(Kind::Logarithm, least)
    }

    /// Of a power of decimals.
    pub(crate) const fn power(least: i8) -> Self {
        Self::new(Kind::Power, least)
    }

    /// What a field says; `None` of one whose values are shown as they are.
    pub(crate) fn of(field: &Field) -> Option<Self> {
        let (kind, least) = field.metadata().get(SHOWN_KEY)?.split_once('/')?;
        let (_, kind) = KINDS.into_iter().find(|(name, _)| *name == kind)?;
        Some(Self::new(kind, least.parse().ok()?))
    }

    /// What is shown of the values of a column where they are written: those of a NUMERIC without a precision, which have one
    /// scale here whatever their digits are, without the zeros behind the others.
    pub(crate) fn where_written(field: &Field) -> Option<Self> {
        let is_open = *field.data_type() == OPEN_NUMERIC;
        Self::of(field).or_else(|| is_open.then_some(Self::TRIMMED))
    }

    /// A value without the zeros that are not shown: with the digits behind the point that PostgreSQL's has.
    pub(crate) fn unfilled(self, (value, scale): Decimal) -> Decimal {
        let first = value.unsigned_abs().checked_ilog10();
        let first = first.map(|first| first as i32 - i32::from(scale));
        let hidden = (i32::from(scale) - self.digits(first)).clamp(0, scale.into());
        let (mut value, mut hidden_left) = (value, hidden);
        // Digits that are there are shown.
        while hidden_left > 0 && value % 10 == 0 {
            value /= 10;
            hidden_left -= 1;
        }
        (value, scale - (hidden - hidden_left) as i8)
    }

    /// How many digits of a value are shown, whose first one is at that place, counted from the point to the left; zero has
    /// none.
    pub(crate) fn digits(self, first: Option<i32>) -> i32 {
        let digits = match (self.kind, first) {
            (Kind::Trimmed, _) => 0,
            (Kind::Variance | Kind::Deviation, None) => return 0,
            (Kind::Quotient, None) => SIGNIFICANT_DIGITS + GROUP_DIGITS,
            (Kind::Deviation, Some(first)) => {
                SIGNIFICANT_DIGITS - first.div_euclid(2) * GROUP_DIGITS
            }
            (Kind::Quotient | Kind::Variance, Some(first)) => {
                SIGNIFICANT_DIGITS - first.div_euclid(GROUP_DIGITS) * GROUP_DIGITS
            }
            (Kind::Root, first) => {
                SIGNIFICANT_DIGITS - 1 - first.unwrap_or_default().div_euclid(2) * 2
            }
            (Kind::Logarithm | Kind::Power, None) => SIGNIFICANT_DIGITS,
            (Kind::Logarithm, Some(-1)) => SIGNIFICANT_DIGITS,
            (Kind::Logarithm, Some(first)) => SIGNIFICANT_DIGITS - first,
            (Kind::Power, Some(first)) => SIGNIFICANT_DIGITS - first - i32::from(first < 0),
        };
        digits.max(self.least.into())
    }
}

/// A field of which these digits are shown.
pub(crate) fn shown_field(name: &str, data_type: DataType, shown: Shown) -> FieldRef {
    let kind = KINDS.into_iter().find(|(_, kind)| *kind == shown.kind);
    let kind = kind.map_or("", |(name, _)| name);
    let told = (SHOWN_KEY.to_string(), format!("{kind}/{}", shown.least));
    Arc::new(Field::new(name, data_type, true).with_metadata([told].into()))
}

/// The unscaled digits of a decimal, and how many of them stand behind the point.
pub(crate) type Decimal = (i128, i8);

/// The type of quotients whose dividends have the type, with so many digits behind the point at least; it has room for the
/// digits before the point, where the type says how many those are.
pub(crate) fn quotient_type(precision: u8, scale: i8, least: i8) -> DataType {
    let digits_max = DECIMAL128_MAX_PRECISION as i8;
    // What has all digits there are was computed, or has no precision: such numbers are seldom as long.
    let whole = match precision < DECIMAL128_MAX_PRECISION {
        true => precision as i8 - scale,
        false => digits_max - QUOTIENT_SCALE.max(scale).max(least),
    };
    let room = (digits_max - whole).max(scale);
    let wanted = match room >= LONG_SCALE {
        true => LONG_SCALE,
        false => QUOTIENT_SCALE,
    };
    DataType::Decimal128(
        DECIMAL128_MAX_PRECISION,
        wanted.max(scale).max(least).min(room),
    )
}

/// The first digit to the base of 10,000 and its place, counted from the point to the left.
pub(crate) fn first_digit((value, scale): Decimal) -> (u128, i32) {
    let value = value.unsigned_abs();
    let Some(last) = value.checked_ilog10() else {
        return (0, 0);
    };
    let highest = last as i32 - i32::from(scale);
    let weight = highest.div_euclid(GROUP_DIGITS);
    let length = highest.rem_euclid(GROUP_DIGITS) + 1;
    let surplus = last as i32 + 1 - length;
    let digit = match surplus >= 0 {
        true => value / 10_u128.pow(surplus.unsigned_abs()),
        false => value * 10_u128.pow(surplus.unsigned_abs()),
    };
    (digit, weight)
}

/// The digits behind the point of PostgreSQL's quotient of a number of any length.
pub(crate) fn scale_of_wide(dividend: i256, scale: i8, divisor: Decimal) -> i32 {
    let narrow = match dividend.to_i128() {
        Some(value) => Some((value, scale)),
        // The first digits do.
        None => {
            let surplus = dividend.to_string().len().saturating_sub(30) as u32;
            let factor = i256::from_i128(10).checked_pow(surplus);
            let first = factor.and_then(|factor| dividend.checked_div(factor)?.to_i128());
            first.map(|first| (first, scale - surplus as i8))
        }
    };
    let found = narrow.map_or(0, |dividend| scale_of(dividend, divisor));
    found.max(scale.into())
}

/// The digits behind the point of PostgreSQL's quotient.
fn scale_of(dividend: Decimal, divisor: Decimal) -> i32 {
    let (of_dividend, of_divisor) = (first_digit(dividend), first_digit(divisor));
    let is_less = of_dividend.0 <= of_divisor.0;
    let weight = of_dividend.1 - of_divisor.1 - i32::from(is_less);
    let scale = SIGNIFICANT_DIGITS - weight * GROUP_DIGITS;
    let given = dividend.1.max(divisor.1);
    scale.max(given.into()).max(0)
}

/// The unscaled quotient of that scale; `None` where it has no room. The divisor is not zero.
pub(crate) fn quotient(dividend: Decimal, divisor: Decimal, scale: i8) -> Option<i128> {
    let rounded = scale_of(dividend, divisor).min(scale.into());
    let shift = rounded - i32::from(dividend.1) + i32::from(divisor.1);
    let factor = |power: i32| 10_i128.checked_pow(power.max(0).unsigned_abs());
    let (above, below) = (factor(shift), factor(-shift));
    let narrow = above.and_then(|above| dividend.0.checked_mul(above));
    let narrow = narrow.zip(below.and_then(|below| divisor.0.checked_mul(below)));
    let quotient = match narrow {
        Some((dividend, divisor)) => rounded_quotient(dividend, divisor)?,
        None => wide_quotient(dividend.0, divisor.0, shift)?,
    };
    filled(quotient, rounded, scale)
}

/// Zeros behind a decimal of so many digits behind the point, up to the scale; `None` where there is no room.
pub(crate) fn filled(value: i128, digits: i32, scale: i8) -> Option<i128> {
    let zeros = u32::try_from(i32::from(scale) - digits).ok()?;
    let filled = value.checked_mul(10_i128.checked_pow(zeros)?)?;
    Decimal128Type::is_valid_decimal_precision(filled, DECIMAL128_MAX_PRECISION).then_some(filled)
}

/// A decimal of so many digits behind the point with fewer or more of them, rounded away from zero; `None` where it has no
/// room.
pub(crate) fn rounded_to(value: i256, from: i32, scale: i8) -> Option<i128> {
    let shift = i32::from(scale) - from;
    let factor = i256::from_i128(10).checked_pow(shift.unsigned_abs())?;
    let value = match shift >= 0 {
        true => value.checked_mul(factor)?,
        false => wide_rounded(value, factor)?,
    };
    let value = value.to_i128()?;
    Decimal128Type::is_valid_decimal_precision(value, DECIMAL128_MAX_PRECISION).then_some(value)
}

fn rounded_quotient(dividend: i128, divisor: i128) -> Option<i128> {
    let (quotient, rest) = (dividend.checked_div(divisor)?, dividend % divisor);
    // Half of the divisor or more, without doubling the rest, which may have no room.
    let is_half = rest.unsigned_abs() >= divisor.unsigned_abs().div_ceil(2);
    let away = dividend.signum() * divisor.signum();
    Some(quotient + if is_half { away } else { 0 })
}

/// The same where 128 bits do not do.
fn wide_quotient(dividend: i128, divisor: i128, shift: i32) -> Option<i128> {
    let wide = |value: i128, power: i32| {
        let factor = i256::from_i128(10).checked_pow(power.max(0).unsigned_abs())?;
        i256::from_i128(value).checked_mul(factor)
    };
    let (dividend, divisor) = (wide(dividend, shift)?, wide(divisor, -shift)?);
    wide_rounded(dividend, divisor)?.to_i128()
}

/// A quotient of whole numbers, rounded away from zero.
pub(crate) fn wide_rounded(dividend: i256, divisor: i256) -> Option<i256> {
    let rest = dividend.checked_rem(divisor)?;
    let quotient = dividend.checked_div(divisor)?;
    let twice = rest.checked_add(rest)?.checked_abs()?;
    let is_negative = dividend.is_negative() != divisor.is_negative();
    let away = if is_negative {
        i256::MINUS_ONE
    } else {
        i256::ONE
    };
    match twice >= divisor.checked_abs()? {
        true => quotient.checked_add(away),
        false => Some(quotient),
    }
}

/// The square root of a decimal of `scale` digits behind the point, with so many of them, rounded.
pub(crate) fn rounded_root(value: i256, scale: i32, digits: i32) -> Option<i128> {
    let shift = 2 * digits - scale;
    let factor = i256::from_i128(10).checked_pow(shift.unsigned_abs())?;
    let square = match shift >= 0 {
        true => value.checked_mul(factor)?,
        false => value.checked_div(factor)?,
    };
    let root = whole_root(square)?;
    let rest = square.checked_sub(root.checked_mul(root)?)?;
    // Above the middle of two whole numbers, which is the square of none.
    let root = match rest > root {
        true => root.checked_add(i256::ONE)?,
        false => root,
    };
    root.to_i128()
}

/// The largest whole number whose square is no larger: Newton's steps from above.
fn whole_root(square: i256) -> Option<i256> {
    if square == i256::ZERO {
        return Some(square);
    }
    let bits = 256 - square.leading_zeros();
    let mut root = i256::ONE << u8::try_from(bits.div_ceil(2)).ok()?;
    loop {
        let next = root.checked_add(square.checked_div(root)?)? >> 1;
        if next >= root {
            return Some(root);
        }
        root = next;
    }
}

/// 22003 for a number of more digits than there is room for.
pub(crate) fn overflow() -> Error {
    let message = "value overflows numeric format";
    Error::invalid(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_have_sixteen_significant_digits() {
        let shown = |dividend, divisor, scale| {
            let value = quotient(dividend, divisor, scale)?;
            Some(Decimal128Type::format_decimal(value, 38, scale))
        };
        for (dividend, divisor, scale, expected) in [
            ((2, 0), (3, 0), 16, Some("0.6666666666666667")),
            ((-2, 0), (30, 1), 20, Some("-0.66666666666666666667")),
            ((100_000, 0), (3, 0), 16, Some("33333.3333333333330000")),
            ((30, 1), (20, 1), 16, Some("1.5000000000000000")),
            ((0, 0), (7, 3), 16, Some("0.0000000000000000")),
            ((5, 0), (2, 25), 16, None),
            (
                (12_345_678_901_234_567_890_123_456, 24),
                (1, 0),
                16,
                Some("12.3456789012345679"),
            ),
            (
                (i128::from(i64::MAX), 0),
                (1, 0),
                16,
                Some("9223372036854775807.0000000000000000"),
            ),
        ] {
            let made = shown(dividend, divisor, scale);
            assert_eq!(made.as_deref(), expected, "{dividend:?} / {divisor:?}");
        }
        assert_eq!(quotient((5, 0), (2, 0), 0), Some(3));
        assert_eq!(
            quotient((10_i128.pow(37), 0), (10_i128.pow(37), 0), 16),
            Some(10_i128.pow(16))
        );
    }

    #[test]
    fn types_have_room_for_whole_digits() {
        for (precision, scale, least, expected) in [
            (10, 2, 0, 20),
            (10, 2, 24, 24),
            (19, 0, 0, 16),
            (30, 0, 0, 8),
            (38, 0, 0, 16),
            (38, 10, 0, 16),
            (38, 20, 0, 20),
        ] {
            let made = quotient_type(precision, scale, least);
            assert_eq!(
                made,
                DataType::Decimal128(38, expected),
                "({precision}, {scale})"
            );
        }
    }

    #[test]
    fn digits_that_are_shown_follow_the_first() {
        let of = |shown: Shown| [None, Some(-3), Some(0), Some(4)].map(|first| shown.digits(first));
        assert_eq!(of(Shown::quotient(0)), [20, 20, 16, 12]);
        assert_eq!(of(Shown::quotient(13)), [20, 20, 16, 13]);
        assert_eq!(of(Shown::root(0)), [15, 19, 15, 11]);
        assert_eq!(of(Shown::logarithm(0)), [16, 19, 16, 12]);
        assert_eq!(of(Shown::power(0)), [16, 18, 16, 12]);
        assert_eq!(
            Shown::quotient(0).unfilled((15 * 10_i128.pow(15), 16)),
            (15 * 10_i128.pow(15), 16)
        );
        assert_eq!(
            Shown::quotient(0).unfilled((15 * 10_i128.pow(19), 16)),
            (15 * 10_i128.pow(15), 12)
        );
        let field = shown_field("x", DataType::Decimal128(38, 16), Shown::root(2));
        assert_eq!(Shown::of(&field), Some(Shown::root(2)));
    }
}
