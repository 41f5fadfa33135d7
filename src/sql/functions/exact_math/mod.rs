//! Functions of NUMERICs that give NUMERICs, with PostgreSQL's digits: `sqrt`, `ln`, `log`, `exp`, `power`, `sign`, `gcd`,
//! `lcm`, `trim_scale`.
//!
//! Roots, logarithms and powers have sixteen significant digits, or those of the argument behind the point. Columns have one scale, so
//! what stands behind the sixteenth digit is zero, and not shown.

mod logarithm;
mod power;
mod root;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array};
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef};
use datafusion::common::{Result, internal_err};
use datafusion::functions::utils::make_scalar_function;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use self::logarithm::{common_logarithm, logarithm, logarithm_of_base};
use self::power::{exponential, power};
use self::root::square_root;
use crate::catalog::exact_operators::operand_type;
use crate::catalog::quotient::{Decimal, Shown, filled, overflow, quotient_type, shown_field};
use crate::error::{Error, sqlstate};

/// The digits behind the point of a column of logarithms: small ones have more than sixteen.
const LOGARITHM_SCALE: i8 = 24;
/// Those of a column of powers of whole exponents, and of others: small ones have more than sixteen.
const POWER_SCALE: i8 = 16;
const LONG_POWER_SCALE: i8 = 20;

/// A function of one or two decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Exact {
    SquareRoot,
    Logarithm,
    CommonLogarithm,
    Exponential,
    Power,
    Sign,
    Gcd,
    Lcm,
    TrimScale,
}

/// A name, the types that are taken under it, and the function that takes them.
pub(super) type Extension = (&'static str, fn(&[DataType]) -> bool, ScalarUDF);

/// The functions under the names that they have for other numbers too.
pub(super) fn extensions() -> [Extension; 9] {
    use Exact::{CommonLogarithm, Exponential, Gcd, Lcm, Logarithm, Power, Sign, SquareRoot};
    [
        ("sqrt", is_decimal, function("sqrt", SquareRoot)),
        ("ln", is_decimal, function("ln", Logarithm)),
        ("log10", is_decimal, function("log10", CommonLogarithm)),
        ("log", is_decimal_or_base, function("log", CommonLogarithm)),
        ("exp", is_decimal, function("exp", Exponential)),
        ("power", are_exact, function("power", Power)),
        ("signum", is_decimal, function("signum", Sign)),
        ("gcd", are_exact, function("gcd", Gcd)),
        ("lcm", are_exact, function("lcm", Lcm)),
    ]
}

/// `trim_scale`.
pub(super) fn trim_scale() -> ScalarUDF {
    function("trim_scale", Exact::TrimScale)
}

fn function(name: &'static str, exact: Exact) -> ScalarUDF {
    ScalarUDF::new_from_impl(ExactFunction {
        name,
        exact,
        signature: Signature::user_defined(Volatility::Immutable),
    })
}

fn is_decimal(types: &[DataType]) -> bool {
    matches!(types, [DataType::Decimal128(..)])
}

fn is_exact(data_type: &DataType) -> bool {
    use DataType::{Decimal128, Int16, Int32, Int64, Null};
    matches!(data_type, Int16 | Int32 | Int64 | Decimal128(..) | Null)
}

/// Whether a decimal is among two exact numbers.
fn are_exact(types: &[DataType]) -> bool {
    let has_decimal = types
        .iter()
        .any(|of| matches!(of, DataType::Decimal128(..)));
    types.len() == 2 && types.iter().all(is_exact) && has_decimal
}

/// PostgreSQL has logarithms to a base of NUMERICs alone.
fn is_decimal_or_base(types: &[DataType]) -> bool {
    is_decimal(types) || types.len() == 2 && types.iter().all(is_exact)
}

impl Exact {
    /// The type of the results of arguments with so many digits behind the point, of which all are before it but `scale`.
    fn result_type(self, precision: u8, scale: i8) -> DataType {
        match self {
            Self::SquareRoot => {
                // Half of the digits before the point.
                let whole = (i16::from(precision) - i16::from(scale) + 1) / 2;
                quotient_type(whole.clamp(1, 38) as u8, 0, scale)
            }
            Self::Logarithm | Self::CommonLogarithm => {
                DataType::Decimal128(38, scale.max(LOGARITHM_SCALE))
            }
            Self::Exponential | Self::Power => {
                DataType::Decimal128(38, scale.max(LONG_POWER_SCALE))
            }
            Self::Sign => DataType::Decimal128(1, 0),
            Self::Gcd | Self::Lcm | Self::TrimScale => DataType::Decimal128(38, scale),
        }
    }

    /// The type of powers whose exponents have no fraction by their type: they have as many digits behind the point as one
    /// another.
    fn whole_power(self, types: &[&DataType]) -> Option<DataType> {
        match (self, types) {
            (Self::Power, [base, exponent]) if scale_of([*exponent]) == 0 => {
                let scale = scale_of([*base]).max(POWER_SCALE);
                Some(DataType::Decimal128(38, scale))
            }
            _ => None,
        }
    }

    /// Which digits are shown of a result, of arguments with so many behind the point.
    fn shown(self, scale: i8) -> Option<Shown> {
        match self {
            Self::SquareRoot => Some(Shown::root(scale)),
            Self::Logarithm | Self::CommonLogarithm => Some(Shown::logarithm(scale)),
            Self::Exponential | Self::Power => Some(Shown::power(scale)),
            Self::TrimScale => Some(Shown::TRIMMED),
            Self::Sign | Self::Gcd | Self::Lcm => None,
        }
    }

    /// # Errors
    /// 2201E, 2201F or 22012 where there is no result, 22003 where it has no room.
    fn compute(self, first: Decimal, second: Option<Decimal>, scale: i8) -> Result<i128> {
        let result = match (self, second) {
            (Self::SquareRoot, _) => square_root(first, scale)?,
            (Self::Logarithm, _) => logarithm(first, scale)?,
            (Self::CommonLogarithm, None) => common_logarithm(first, scale)?,
            (Self::CommonLogarithm, Some(number)) => logarithm_of_base(first, number, scale)?,
            (Self::Exponential, _) => exponential(first, scale),
            (Self::Power, Some(exponent)) => power(first, exponent, scale)?,
            (Self::Sign, _) => Some(first.0.signum()),
            (Self::Gcd, Some(second)) => {
                aligned(first, second, scale).map(|(a, b)| divisor_of(a, b))
            }
            (Self::Lcm, Some(second)) => {
                aligned(first, second, scale).and_then(|(a, b)| multiple_of(a, b))
            }
            (Self::TrimScale, _) => filled(first.0, first.1.into(), scale),
            (Self::Gcd | Self::Lcm | Self::Power, None) => {
                return internal_err!("a second number is missing");
            }
        };
        Ok(result.ok_or_else(overflow)?)
    }
}

/// Both unscaled, with so many digits behind the point.
fn aligned(first: Decimal, second: Decimal, scale: i8) -> Option<(i128, i128)> {
    let digits = |(value, of): Decimal| filled(value, of.into(), scale);
    digits(first).zip(digits(second))
}

/// The greatest common divisor.
fn divisor_of(mut a: i128, mut b: i128) -> i128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.abs()
}

/// The least common multiple.
fn multiple_of(a: i128, b: i128) -> Option<i128> {
    match divisor_of(a, b) {
        0 => Some(0),
        divisor => (a / divisor).checked_mul(b).map(i128::abs),
    }
}

/// # Errors
/// 2201E: zero and negative numbers have no logarithm.
fn check_logarithm(value: i128) -> Result<()> {
    let message = match value {
        0 => "cannot take logarithm of zero",
        value if value < 0 => "cannot take logarithm of a negative number",
        _ => return Ok(()),
    };
    Err(Error::invalid(sqlstate::INVALID_ARGUMENT_FOR_LOGARITHM, message).into())
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ExactFunction {
    name: &'static str,
    exact: Exact,
    signature: Signature,
}

/// The most digits of the arguments.
fn precision_of<'t>(types: impl IntoIterator<Item = &'t DataType>) -> u8 {
    let precision = |data_type: &DataType| match data_type {
        DataType::Decimal128(precision, _) => *precision,
        _ => 19,
    };
    types.into_iter().map(precision).max().unwrap_or_default()
}

/// The most digits behind the point of the arguments.
fn scale_of<'t>(types: impl IntoIterator<Item = &'t DataType>) -> i8 {
    let scale = |data_type: &DataType| match data_type {
        DataType::Decimal128(_, scale) => *scale,
        _ => 0,
    };
    types.into_iter().map(scale).max().unwrap_or_default()
}

impl ScalarUDFImpl for ExactFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        types.iter().map(operand_type).collect()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        if let Some(power) = self.exact.whole_power(&types.iter().collect::<Vec<_>>()) {
            return Ok(power);
        }
        Ok(self.exact.result_type(precision_of(types), scale_of(types)))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let types = || args.arg_fields.iter().map(|field| field.data_type());
        if let Some(power) = self.exact.whole_power(&types().collect::<Vec<_>>()) {
            let power = match Shown::of(&args.arg_fields[0]) {
                Some(_) => DataType::Decimal128(38, POWER_SCALE),
                None => power,
            };
            return Ok(Arc::new(Field::new(self.name, power, true)));
        }
        let result = self
            .exact
            .result_type(precision_of(types()), scale_of(types()));
        // How many digits a quotient has depends on its value.
        let plain = args
            .arg_fields
            .iter()
            .filter(|field| Shown::of(field).is_none());
        let least = scale_of(plain.map(|field| field.data_type()));
        Ok(match self.exact.shown(least) {
            Some(shown) => shown_field(self.name, result, shown),
            None => Arc::new(Field::new(self.name, result, true)),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let result = args.return_field.data_type().clone();
        let shown: Vec<Option<Shown>> = args.arg_fields.iter().map(|f| Shown::of(f)).collect();
        let compute = |given: &[ArrayRef]| computed(self.exact, given, &shown, &result);
        make_scalar_function(compute, Vec::new())(&args.args)
    }
}

fn computed(
    exact: Exact,
    given: &[ArrayRef],
    shown: &[Option<Shown>],
    result: &DataType,
) -> Result<ArrayRef> {
    let scale = scale_of([result]);
    let digits = |place: usize, value: i128| {
        let all = (value, scale_of([given[place].data_type()]));
        match shown[place] {
            Some(shown) => shown.unfilled(all),
            None => all,
        }
    };
    let first = given[0].as_primitive::<Decimal128Type>();
    let values: Decimal128Array = match given.get(1) {
        None => {
            let values = first.iter().map(|value| match value {
                Some(value) => exact.compute(digits(0, value), None, scale).map(Some),
                None => Ok(None),
            });
            values.collect::<Result<_>>()?
        }
        Some(second) => {
            let pairs = first.iter().zip(second.as_primitive::<Decimal128Type>());
            let values = pairs.map(|pair| match pair {
                (Some(first), Some(second)) => {
                    let second = Some(digits(1, second));
                    exact.compute(digits(0, first), second, scale).map(Some)
                }
                _ => Ok(None),
            });
            values.collect::<Result<_>>()?
        }
    };
    Ok(Arc::new(values.with_data_type(result.clone())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn divisors_and_multiples_have_the_digits_of_both() {
        let of = |exact: Exact, first, second| exact.compute(first, Some(second), 1).unwrap();
        assert_eq!(of(Exact::Gcd, (45, 1), (3, 0)), 15);
        assert_eq!(of(Exact::Lcm, (45, 1), (-3, 0)), 90);
        assert_eq!(of(Exact::Lcm, (0, 1), (0, 0)), 0);
        assert!(
            Exact::Lcm
                .compute((10_i128.pow(37) + 1, 0), Some((10_i128.pow(37), 0)), 0)
                .is_err()
        );
    }
}
