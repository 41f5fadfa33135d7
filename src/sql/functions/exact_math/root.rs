//! Square roots of decimals.

use arrow::datatypes::i256;
use datafusion::common::Result;

use crate::catalog::quotient::{Decimal, filled, first_digit, rounded_root};
use crate::error::{Error, sqlstate};

/// The root as PostgreSQL rounds it; `None` where it has no room.
///
/// # Errors
/// 2201F for one of a negative number.
pub(super) fn square_root(number: Decimal, scale: i8) -> Result<Option<i128>> {
    if number.0 < 0 {
        let message = "cannot take square root of a negative number";
        let code = sqlstate::INVALID_ARGUMENT_FOR_POWER_FUNCTION;
        return Err(Error::invalid(code, message).into());
    }
    let (_, weight) = first_digit(number);
    let rounded = (15 - 2 * weight)
        .max(number.1.into())
        .clamp(0, scale.into());
    let root = rounded_root(i256::from_i128(number.0), number.1.into(), rounded);
    Ok(root.and_then(|root| filled(root, rounded, scale)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn roots_are_rounded_where_postgresql_rounds_them() {
        for (number, expected) in [
            ((20, 1), 14_142_135_623_730_950),
            ((1_234_567_890, 1), 111_111_110_605_555_600_000),
            ((2_123_456_789_012_345_678, 18), 1_457_208_560_574_753_719),
            ((0, 0), 0),
            (
                (10_i128.pow(37), 0),
                31_622_776_601_683_793_320_000_000_000_000_000,
            ),
        ] {
            let scale = number.1.max(16);
            assert_eq!(
                square_root(number, scale).unwrap(),
                Some(expected),
                "{number:?}"
            );
        }
        assert!(square_root((-1, 0), 16).is_err());
    }
}
