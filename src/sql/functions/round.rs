//! `round(x)`: a double halfway between two whole numbers becomes the even one, as in PostgreSQL; a NUMERIC the one further
//! from zero, as all numbers do in DataFusion.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::unary;
use arrow::datatypes::{DataType, FieldRef, Float32Type, Float64Type};
use datafusion::common::Result;
use datafusion::functions::math;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::date_part::mapped;

/// The function.
pub(crate) fn round() -> ScalarUDF {
    ScalarUDF::new_from_impl(Round {
        inner: math::round(),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Round {
    /// DataFusion's.
    inner: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for Round {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(given)
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        self.inner.return_type(given)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.as_slice() {
            [number] if number.data_type().is_floating() => mapped(number, to_even),
            _ => self.inner.invoke_with_args(args),
        }
    }
}

fn to_even(numbers: &ArrayRef) -> Result<ArrayRef> {
    Ok(match numbers.data_type() {
        DataType::Float64 => {
            let numbers = numbers.as_primitive::<Float64Type>();
            Arc::new(unary::<_, _, Float64Type>(numbers, f64::round_ties_even))
        }
        DataType::Float32 => {
            let numbers = numbers.as_primitive::<Float32Type>();
            Arc::new(unary::<_, _, Float32Type>(numbers, f32::round_ties_even))
        }
        _ => Arc::clone(numbers),
    })
}
