//! Functions of numbers that fail where PostgreSQL's do: `ln(0)` is an error, not minus infinity, and `exp(1000)` is out
//! of range.

use arrow::array::{AsArray, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};
use datafusion::prelude::SessionContext;

use super::wrapped::{Check, check_function};
use crate::error::{Error, sqlstate};

/// Where a function is defined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Domain {
    /// Above zero.
    Logarithm,
    /// From -1 to 1.
    Arc,
    /// Everywhere, but its values may be too large.
    Growing,
    /// Not a negative base with an exponent that is no whole number.
    Power,
}

const FUNCTIONS: [(&str, Domain); 8] = [
    ("ln", Domain::Logarithm),
    ("log", Domain::Logarithm),
    ("log10", Domain::Logarithm),
    ("log2", Domain::Logarithm),
    ("acos", Domain::Arc),
    ("asin", Domain::Arc),
    ("exp", Domain::Growing),
    ("power", Domain::Power),
];

/// Gives the session's functions their domains.
pub fn check_domains(context: &SessionContext) {
    for (name, domain) in FUNCTIONS {
        check_function(context, name, domain);
    }
}

impl Domain {
    /// # Errors
    /// 2201E or 22003 for a number outside of the domain.
    fn check_number(self, number: f64) -> Result<()> {
        let (code, message) = match self {
            Self::Logarithm if number == 0.0 => (
                sqlstate::INVALID_ARGUMENT_FOR_LOGARITHM,
                "cannot take logarithm of zero",
            ),
            Self::Logarithm if number < 0.0 => (
                sqlstate::INVALID_ARGUMENT_FOR_LOGARITHM,
                "cannot take logarithm of a negative number",
            ),
            Self::Arc if number.abs() > 1.0 => (
                sqlstate::NUMERIC_VALUE_OUT_OF_RANGE,
                "input is out of range",
            ),
            Self::Growing if number > f64::MAX.ln() && number.is_finite() => (
                sqlstate::NUMERIC_VALUE_OUT_OF_RANGE,
                "value out of range: overflow",
            ),
            _ => return Ok(()),
        };
        Err(Error::invalid(code, message).into())
    }
}

/// # Errors
/// 2201F for a root of a negative number.
fn check_powers(args: &ScalarFunctionArgs) -> Result<()> {
    let [base, exponent] = args.args.as_slice() else {
        return Ok(());
    };
    let rows = args.number_rows;
    let (bases, exponents) = (doubles(base, rows)?, doubles(exponent, rows)?);
    let is_root = |base: f64, exponent: f64| {
        base < 0.0 && base.is_finite() && exponent.is_finite() && exponent.fract() != 0.0
    };
    let mut pairs = bases.iter().zip(&exponents);
    if pairs.any(|pair| matches!(pair, (Some(b), Some(e)) if is_root(b, e))) {
        let message = "a negative number raised to a non-integer power yields a complex result";
        return Err(Error::invalid(sqlstate::INVALID_ARGUMENT_FOR_POWER_FUNCTION, message).into());
    }
    Ok(())
}

/// The values of an argument as doubles; of a constant, for so many rows.
fn doubles(value: &ColumnarValue, rows: usize) -> Result<Float64Array> {
    let array = value.to_array(rows)?;
    Ok(cast(&array, &DataType::Float64)?
        .as_primitive::<Float64Type>()
        .clone())
}

impl Check for Domain {
    fn check(&self, _name: &str, args: &ScalarFunctionArgs) -> Result<()> {
        if *self == Self::Power {
            return check_powers(args);
        }
        for value in &args.args {
            let numbers = doubles(value, 1)?;
            numbers
                .iter()
                .flatten()
                .try_for_each(|n| self.check_number(n))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn numbers_outside_are_errors_and_nan_is_none() {
        let code = |domain: Domain, n| {
            domain
                .check_number(n)
                .err()
                .map(|e| Error::from(e).sqlstate())
        };
        assert_eq!(code(Domain::Logarithm, 0.0), Some("2201E"));
        assert_eq!(code(Domain::Logarithm, -0.5), Some("2201E"));
        assert_eq!(code(Domain::Logarithm, f64::NAN), None);
        assert_eq!(code(Domain::Logarithm, f64::INFINITY), None);
        assert_eq!(code(Domain::Arc, 1.5), Some("22003"));
        assert_eq!(code(Domain::Arc, -1.0), None);
        assert_eq!(code(Domain::Growing, 710.0), Some("22003"));
        assert_eq!(code(Domain::Growing, 709.7), None);
        assert_eq!(code(Domain::Growing, f64::INFINITY), None);
    }
}
