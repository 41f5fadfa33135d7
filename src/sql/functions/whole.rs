//! NUMERICs without their fraction: `ceil`, `floor` and `trunc` of one have no digits behind the point, where DataFusion keeps
//! zeros.

use std::sync::Arc;

use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF};
use datafusion::prelude::SessionContext;

use crate::catalog::wrapped::{Wrapper, wrapped};

/// Lets the session's functions give whole numbers.
pub(super) fn without_zeros(context: &SessionContext) {
    let state = context.state();
    for name in ["ceil", "floor", "trunc"] {
        if let Some(inner) = state.scalar_functions().get(name) {
            context.register_udf(wrapped(Arc::clone(inner), Whole));
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Whole;

/// The type of a decimal without its fraction, which may be the next whole number.
fn whole_type(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Decimal128(precision, scale) if *scale > 0 => {
            let whole = (i16::from(*precision) - i16::from(*scale) + 1).clamp(1, 38);
            Some(DataType::Decimal128(whole as u8, 0))
        }
        _ => None,
    }
}

impl Wrapper for Whole {
    fn return_field(&self, inner: &ScalarUDF, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let keeps_digits = args.arg_fields.len() > 1;
        let field = inner.return_field_from_args(args)?;
        Ok(match whole_type(field.data_type()) {
            Some(whole) if !keeps_digits => Arc::new(Field::clone(&field).with_data_type(whole)),
            _ => field,
        })
    }

    fn invoke(&self, inner: &ScalarUDF, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let wanted = args.return_field.data_type().clone();
        let given = args.arg_fields[0].data_type().clone();
        if args.arg_fields.len() > 1 || whole_type(&given).is_none() {
            return inner.invoke_with_args(args);
        }
        args.return_field = Arc::new(Field::clone(&args.return_field).with_data_type(given));
        Ok(match inner.invoke_with_args(args)? {
            ColumnarValue::Scalar(number) => ColumnarValue::Scalar(number.cast_to(&wanted)?),
            ColumnarValue::Array(numbers) => ColumnarValue::Array(cast(&numbers, &wanted)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_whole_number_has_room() {
        let whole = |precision, scale| whole_type(&DataType::Decimal128(precision, scale));
        assert_eq!(whole(2, 2), Some(DataType::Decimal128(1, 0)));
        assert_eq!(whole(38, 10), Some(DataType::Decimal128(29, 0)));
        assert_eq!(whole(5, 0), None);
    }
}
