//! `round_seconds(value, digits)`: a time or an interval with seconds of so many digits behind the point, which is what a
//! cast to `timestamp(3)` makes.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::functions::utils::make_scalar_function;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use crate::catalog::assign::round_seconds as rounded;

/// The name of the function.
pub(crate) const ROUND_SECONDS: &str = "round_seconds";

/// The function.
pub(super) fn round_seconds() -> ScalarUDF {
    ScalarUDF::new_from_impl(RoundSeconds {
        signature: Signature::any(2, Volatility::Immutable),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RoundSeconds {
    signature: Signature,
}

impl ScalarUDFImpl for RoundSeconds {
    fn name(&self) -> &str {
        ROUND_SECONDS
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types.first() {
            Some(value) => Ok(value.clone()),
            None => plan_err!("{ROUND_SECONDS} takes a value and its digits"),
        }
    }

    /// The digits of the argument's own type say nothing of the result's.
    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let Some(value) = args.arg_fields.first() else {
            return plan_err!("{ROUND_SECONDS} takes a value and its digits");
        };
        let field = value.as_ref().clone().with_name(self.name());
        Ok(Arc::new(field.with_metadata(Default::default())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let digits = match args.args.get(1) {
            Some(ColumnarValue::Scalar(ScalarValue::Int32(Some(digits)))) => i64::from(*digits),
            Some(ColumnarValue::Scalar(ScalarValue::Int64(Some(digits)))) => *digits,
            _ => return plan_err!("the digits of {ROUND_SECONDS} must be a constant"),
        };
        let digits = u8::try_from(digits).unwrap_or(u8::MAX);
        let value = &args.args[..1];
        make_scalar_function(
            |arrays| Ok(rounded(&arrays[0], digits).map_err(|e| e.error)?),
            Vec::new(),
        )(value)
    }
}
