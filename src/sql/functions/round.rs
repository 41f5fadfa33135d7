//! `round(x)`: a double halfway between two whole numbers becomes the even one, as in PostgreSQL; a NUMERIC the one further
//! from zero, as all numbers do in DataFusion.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::unary;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion::common::Result;
use datafusion::functions::math;
use datafusion::functions::utils::make_scalar_function;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};

use crate::catalog::wrapped::{Wrapper, wrapped};

/// The function.
pub(crate) fn round() -> ScalarUDF {
    wrapped(math::round(), Round)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Round;

impl Wrapper for Round {
    fn invoke(&self, inner: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.as_slice() {
            [number] if number.data_type().is_floating() => {
                make_scalar_function(|numbers| to_even(&numbers[0]), Vec::new())(&args.args)
            }
            _ => inner.invoke_with_args(args),
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
