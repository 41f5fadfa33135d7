//! Numbers of JSON as paths compute with them: exactly, within 38 digits.

use std::cmp::Ordering;

use super::tree::Operator;
use crate::catalog::json::Value;
use crate::error::{Error, sqlstate};

/// Digits that a quotient has at least.
const QUOTIENT_DIGITS: i32 = 16;
/// Digits of a group that PostgreSQL keeps numbers in, which decides how many a quotient has.
const GROUP: i32 = 4;

/// A number: digits, and how many of them stand behind the point.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number {
    digits: i128,
    scale: u32,
}

fn overflow() -> Error {
    let message = "value overflows numeric format";
    Error::invalid(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, message)
}

impl Number {
    pub(super) fn whole(number: i64) -> Self {
        Self {
            digits: i128::from(number),
            scale: 0,
        }
    }

    /// `None` for what is no number, or has more digits.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
        let scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
        match u32::try_from(scale) {
            Ok(scale) if scale <= 38 => Some(Self { digits, scale }),
            Ok(_) => None,
            Err(_) => {
                let factor = 10_i128.checked_pow(scale.unsigned_abs())?;
                let digits = digits.checked_mul(factor)?;
                Some(Self { digits, scale: 0 })
            }
        }
    }

    /// The number of a value, if it is one of as many digits.
    pub(super) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Number(text) => Self::parse(text),
            _ => None,
        }
    }

    pub(super) fn into_value(self) -> Value {
        let digits = self.digits.unsigned_abs().to_string();
        let scale = self.scale as usize;
        let padded = format!("{digits:0>width$}", width = scale + 1);
        let (whole, fraction) = padded.split_at(padded.len() - scale);
        let sign = if self.digits < 0 { "-" } else { "" };
        let point = if scale > 0 { "." } else { "" };
        Value::Number(format!("{sign}{whole}{point}{fraction}"))
    }

    fn scaled(self, scale: u32) -> Option<i128> {
        let factor = 10_i128.checked_pow(scale.checked_sub(self.scale)?)?;
        self.digits.checked_mul(factor)
    }

    pub(super) fn compare(self, other: Self) -> Ordering {
        let scale = self.scale.max(other.scale);
        match (self.scaled(scale), other.scaled(scale)) {
            (Some(left), Some(right)) => left.cmp(&right),
            // One is so large that its sign, or that of the other's difference, decides.
            (None, _) => self.digits.cmp(&0),
            (_, None) => 0.cmp(&other.digits),
        }
    }

    pub(super) fn negated(self) -> Self {
        Self {
            digits: -self.digits,
            ..self
        }
    }

    pub(super) fn abs(self) -> Self {
        Self {
            digits: self.digits.abs(),
            ..self
        }
    }

    /// Without zeros behind the point.
    pub(super) fn without_zeros(mut self) -> Self {
        while self.scale > 0 && self.digits % 10 == 0 {
            self.digits /= 10;
            self.scale -= 1;
        }
        self
    }

    fn unit(self) -> i128 {
        10_i128.pow(self.scale)
    }

    pub(super) fn floor(self) -> Self {
        Self {
            digits: self.digits.div_euclid(self.unit()),
            scale: 0,
        }
    }

    pub(super) fn ceiling(self) -> Self {
        self.negated().floor().negated()
    }

    /// Without what is behind the point; `None` for what is no `i32`.
    pub(super) fn truncated(self) -> Option<i64> {
        let whole = i32::try_from(self.digits / self.unit()).ok()?;
        Some(i64::from(whole))
    }

    /// # Errors
    /// 22012 for a division by zero, 22003 for a result of more digits.
    pub(super) fn compute(self, operator: Operator, other: Self) -> Result<Self, Error> {
        let scale = self.scale.max(other.scale);
        let sides = self.scaled(scale).zip(other.scaled(scale));
        if matches!(operator, Operator::Divide | Operator::Modulo) && other.digits == 0 {
            return Err(Error::invalid(
                sqlstate::DIVISION_BY_ZERO,
                "division by zero",
            ));
        }
        let same_scale = |digits: Option<i128>| {
            Some(Self {
                digits: digits?,
                scale,
            })
        };
        let result = match operator {
            Operator::Multiply => self.digits.checked_mul(other.digits).map(|digits| Self {
                digits,
                scale: self.scale + other.scale,
            }),
            Operator::Divide => self.divided(other),
            Operator::Add => sides.and_then(|(l, r)| same_scale(l.checked_add(r))),
            Operator::Subtract => sides.and_then(|(l, r)| same_scale(l.checked_sub(r))),
            Operator::Modulo => sides.and_then(|(l, r)| same_scale(l.checked_rem(r))),
        };
        result
            .filter(|result| result.scale <= 38)
            .ok_or_else(overflow)
    }

    /// The place of the first group of digits, and that group.
    fn first_group(self) -> (i32, i128) {
        let digits = self.digits.unsigned_abs();
        if digits == 0 {
            return (0, 0);
        }
        // The place of the first digit: 0 for units.
        let place = digits.ilog10() as i32 - self.scale as i32;
        let group = place.div_euclid(GROUP);
        let lowest = group * GROUP + self.scale as i32;
        let first = match u32::try_from(lowest) {
            Ok(lowest) => digits / 10_u128.pow(lowest),
            Err(_) => digits * 10_u128.pow(lowest.unsigned_abs()),
        };
        (group, first as i128)
    }

    /// With as many digits as PostgreSQL gives a quotient.
    fn divided(self, other: Self) -> Option<Self> {
        let ((left, first), (right, second)) = (self.first_group(), other.first_group());
        let group = left - right - i32::from(first <= second);
        let scale = (QUOTIENT_DIGITS - group * GROUP).max(0) as u32;
        let scale = scale.max(self.scale).max(other.scale);
        let shift = scale + other.scale - self.scale;
        let dividend = self.digits.checked_mul(10_i128.checked_pow(shift)?)?;
        let quotient = dividend / other.digits;
        let rest = dividend % other.digits;
        let is_up = rest.unsigned_abs() * 2 >= other.digits.unsigned_abs();
        let sign = dividend.signum() * other.digits.signum();
        Some(Self {
            digits: quotient + if is_up { sign } else { 0 },
            scale,
        })
    }
}
