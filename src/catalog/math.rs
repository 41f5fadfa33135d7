//! Functions of numbers that fail where PostgreSQL's do: `ln(0)` is an error, not minus infinity, and `exp(1000)` is out
//! of range.

use std::sync::Arc;

use arrow::array::{AsArray, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Float64Type};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use datafusion::prelude::SessionContext;

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
}

const FUNCTIONS: [(&str, Domain); 7] = [
    ("ln", Domain::Logarithm),
    ("log", Domain::Logarithm),
    ("log10", Domain::Logarithm),
    ("log2", Domain::Logarithm),
    ("acos", Domain::Arc),
    ("asin", Domain::Arc),
    ("exp", Domain::Growing),
];

/// Gives the session's functions their domains.
pub fn check_domains(context: &SessionContext) {
    for (name, domain) in FUNCTIONS {
        let function = context.state().scalar_functions().get(name).cloned();
        if let Some(inner) = function {
            context.register_udf(ScalarUDF::from(CheckedFunction { inner, domain }));
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct CheckedFunction {
    inner: Arc<ScalarUDF>,
    domain: Domain,
}

impl Domain {
    /// # Errors
    /// 2201E or 22003 for a number outside of the domain.
    fn check(self, number: f64) -> Result<()> {
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

/// The values of an argument as doubles.
fn doubles(value: &ColumnarValue) -> Result<Float64Array> {
    let array = value.to_array(1)?;
    Ok(cast(&array, &DataType::Float64)?
        .as_primitive::<Float64Type>()
        .clone())
}

impl ScalarUDFImpl for CheckedFunction {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        for value in &args.args {
            let numbers = doubles(value)?;
            numbers
                .iter()
                .flatten()
                .try_for_each(|n| self.domain.check(n))?;
        }
        self.inner.invoke_with_args(args)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn numbers_outside_are_errors_and_nan_is_none() {
        let code = |domain: Domain, n| domain.check(n).err().map(|e| Error::from(e).sqlstate());
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
