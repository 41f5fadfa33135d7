//! NUMERICs without their fraction: `ceil`, `floor` and `trunc` of one have no digits behind the point, where DataFusion keeps
//! zeros. `trunc` and `round` to so many digits, which are written, have so many.

use std::sync::Arc;

use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF};
use datafusion::prelude::SessionContext;

use crate::catalog::wrapped::{Wrapper, wrapped};

/// Lets the session's functions give whole numbers.
pub(super) fn without_zeros(context: &SessionContext) {
    let state = context.state();
    for name in ["ceil", "floor", "round", "trunc"] {
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

/// The type of a decimal with so many digits behind the point.
fn with_digits(data_type: &DataType, digits: i32) -> Option<DataType> {
    let DataType::Decimal128(precision, scale) = data_type else {
        return None;
    };
    let scale_wanted = digits.clamp(0, 38) as i16;
    let whole = i16::from(*precision) - i16::from(*scale);
    let precision = (whole + scale_wanted).clamp(1, 38);
    // Digits before the point have no room otherwise.
    let fits = whole + scale_wanted <= 38 || scale_wanted <= i16::from(*scale);
    fits.then_some(DataType::Decimal128(precision as u8, scale_wanted as i8))
}

/// The digits behind the point that a call asks for; `None` where they are computed.
fn literal_digits(args: &ReturnFieldArgs<'_>) -> Option<i32> {
    match args.scalar_arguments {
        [_, Some(ScalarValue::Int32(Some(digits)))] => Some(*digits),
        [_, Some(ScalarValue::Int64(Some(digits)))] => i32::try_from(*digits).ok(),
        _ => None,
    }
}

impl Wrapper for Whole {
    fn return_field(&self, inner: &ScalarUDF, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let is_short = args.arg_fields.len() == 1;
        let digits = literal_digits(&args);
        let field = inner.return_field_from_args(args)?;
        let wanted = match digits {
            _ if is_short => whole_type(field.data_type()),
            Some(digits) => with_digits(field.data_type(), digits),
            None => None,
        };
        Ok(match wanted {
            Some(wanted) => Arc::new(Field::clone(&field).with_data_type(wanted)),
            None => field,
        })
    }

    fn invoke(&self, inner: &ScalarUDF, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let wanted = args.return_field.data_type().clone();
        let scalars: Vec<Option<ScalarValue>> = args.args.iter().map(scalar_of).collect();
        let scalars: Vec<Option<&ScalarValue>> = scalars.iter().map(Option::as_ref).collect();
        let given = inner.return_field_from_args(ReturnFieldArgs {
            arg_fields: &args.arg_fields,
            scalar_arguments: &scalars,
        })?;
        if *given.data_type() == wanted {
            return inner.invoke_with_args(args);
        }
        args.return_field = given;
        Ok(match inner.invoke_with_args(args)? {
            ColumnarValue::Scalar(number) => ColumnarValue::Scalar(number.cast_to(&wanted)?),
            ColumnarValue::Array(numbers) => ColumnarValue::Array(cast(&numbers, &wanted)?),
        })
    }
}

fn scalar_of(value: &ColumnarValue) -> Option<ScalarValue> {
    match value {
        ColumnarValue::Scalar(scalar) => Some(scalar.clone()),
        ColumnarValue::Array(_) => None,
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

    #[test]
    fn digits_that_are_asked_for_have_room() {
        let of =
            |precision, scale, digits| with_digits(&DataType::Decimal128(precision, scale), digits);
        assert_eq!(of(12, 3, 1), Some(DataType::Decimal128(10, 1)));
        assert_eq!(of(12, 3, -1), Some(DataType::Decimal128(9, 0)));
        assert_eq!(of(5, 4, 6), Some(DataType::Decimal128(7, 6)));
        assert_eq!(of(38, 0, 2), None);
        assert_eq!(of(2, 2, 0), Some(DataType::Decimal128(1, 0)));
    }
}
