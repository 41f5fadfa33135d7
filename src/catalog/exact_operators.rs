//! `/` of NUMERICs with PostgreSQL's digits, and `*` where the digits of both sides have no room in one number; `+`, `-` and
//! `*` of quotients.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Float64Array};
use arrow::compute::try_binary;
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, Float64Type, i256};
use arrow::error::ArrowError;
use datafusion::common::{Result, plan_err};
use datafusion::functions::utils::make_scalar_function;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use crate::catalog::quotient::{
    Decimal, QUOTIENT_SCALE, Shown, filled, overflow, quotient, quotient_type, rounded_to,
    shown_field,
};
use crate::error::{Error, sqlstate};

/// The digits that a decimal has at most.
const DIGITS_MAX: u8 = 38;

/// An operator of decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ExactOperator {
    /// `+`
    Sum,
    /// `-`
    Difference,
    /// `*`
    Product,
    /// `/`
    Quotient,
}

impl ExactOperator {
    /// The operator's value for two exact numbers, of which one is a decimal at least.
    pub(crate) fn call(self, left: Expr, right: Expr) -> Expr {
        let function = ExactFunction {
            operator: self,
            signature: Signature::user_defined(Volatility::Immutable),
        };
        ScalarUDF::new_from_impl(function).call(vec![left, right])
    }

    fn result_type(self, left: (u8, i8), right: (u8, i8)) -> DataType {
        match self {
            Self::Sum | Self::Difference => DataType::Decimal128(DIGITS_MAX, left.1.max(right.1)),
            Self::Product => {
                let scale = QUOTIENT_SCALE.max(left.1).max(right.1);
                DataType::Decimal128(DIGITS_MAX, scale)
            }
            Self::Quotient => quotient_type(left.0, left.1, right.1),
        }
    }

    /// # Errors
    /// 22012 for a quotient by zero, 22003 for a result without room.
    fn compute(self, left: Decimal, right: Decimal, scale: i8) -> Result<i128> {
        let result = match self {
            Self::Sum => sum(left, right, scale),
            Self::Difference => sum(left, (-right.0, right.1), scale),
            Self::Product => product(left, right, scale),
            Self::Quotient if right.0 == 0 => {
                let message = "division by zero";
                return Err(Error::invalid(sqlstate::DIVISION_BY_ZERO, message).into());
            }
            Self::Quotient => quotient(left, right, scale),
        };
        Ok(result.ok_or_else(overflow)?)
    }
}

/// The sum; no side has more digits behind the point than the scale.
fn sum(left: Decimal, right: Decimal, scale: i8) -> Option<i128> {
    let side = |(value, of): Decimal| filled(value, of.into(), scale);
    side(left)?.checked_add(side(right)?)
}

/// The product, rounded to the scale.
fn product(left: Decimal, right: Decimal, scale: i8) -> Option<i128> {
    let product = i256::from_i128(left.0).checked_mul(i256::from_i128(right.0))?;
    rounded_to(product, i32::from(left.1) + i32::from(right.1), scale)
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ExactFunction {
    operator: ExactOperator,
    signature: Signature,
}

/// Whether what was planned as an exact number has turned out to be a double, as the results of CASE do that have one among
/// them.
fn are_doubles(types: &[DataType]) -> bool {
    types.iter().any(DataType::is_floating)
}

/// The type that an operand becomes.
pub(crate) fn operand_type(given: &DataType) -> Result<DataType> {
    Ok(match given {
        DataType::Int16 => DataType::Decimal128(5, 0),
        DataType::Int32 => DataType::Decimal128(10, 0),
        DataType::Int64 => DataType::Decimal128(19, 0),
        DataType::Decimal128(..) => given.clone(),
        DataType::Null => DataType::Decimal128(1, 0),
        other => return plan_err!("{other} is no exact number"),
    })
}

fn digits_of(data_type: &DataType) -> Result<(u8, i8)> {
    match operand_type(data_type)? {
        DataType::Decimal128(precision, scale) => Ok((precision, scale)),
        other => plan_err!("{other} is no exact number"),
    }
}

impl ScalarUDFImpl for ExactFunction {
    fn name(&self) -> &str {
        match self.operator {
            ExactOperator::Sum => "numeric_add",
            ExactOperator::Difference => "numeric_subtract",
            ExactOperator::Product => "numeric_multiply",
            ExactOperator::Quotient => "numeric_divide",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match are_doubles(types) {
            true => Ok(vec![DataType::Float64; types.len()]),
            false => types.iter().map(operand_type).collect(),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        if are_doubles(types) {
            return Ok(DataType::Float64);
        }
        let (left, right) = (digits_of(&types[0])?, digits_of(&types[1])?);
        Ok(self.operator.result_type(left, right))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let types = args
            .arg_fields
            .iter()
            .map(|field| field.data_type().clone());
        let types: Vec<DataType> = types.collect();
        let result = self.return_type(&types)?;
        if are_doubles(&types) {
            return Ok(Arc::new(Field::new(self.name(), result, true)));
        }
        let least = |field: &FieldRef| match Shown::where_written(field) {
            // How many they are depends on the value.
            Some(_) => Ok(0),
            None => digits_of(field.data_type()).map(|(_, scale)| scale),
        };
        let least = least(&args.arg_fields[0])?.max(least(&args.arg_fields[1])?);
        Ok(shown_field(self.name(), result, Shown::quotient(least)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let result = args.return_field.data_type().clone();
        let shown = [0, 1].map(|side: usize| Shown::where_written(&args.arg_fields[side]));
        let compute = |sides: &[ArrayRef]| match result {
            DataType::Float64 => computed_doubles(self.operator, sides),
            _ => computed(self.operator, sides, shown, &result),
        };
        make_scalar_function(compute, Vec::new())(&args.args)
    }
}

/// # Errors
/// 22012 for a quotient by zero.
fn computed_doubles(operator: ExactOperator, sides: &[ArrayRef]) -> Result<ArrayRef> {
    let [left, right] = [0, 1].map(|side: usize| sides[side].as_primitive::<Float64Type>());
    let values: Float64Array = try_binary(left, right, |left, right| match operator {
        ExactOperator::Sum => Ok(left + right),
        ExactOperator::Difference => Ok(left - right),
        ExactOperator::Product => Ok(left * right),
        ExactOperator::Quotient if right == 0.0 => Err(ArrowError::DivideByZero),
        ExactOperator::Quotient => Ok(left / right),
    })?;
    Ok(Arc::new(values))
}

fn computed(
    operator: ExactOperator,
    sides: &[ArrayRef],
    shown: [Option<Shown>; 2],
    result: &DataType,
) -> Result<ArrayRef> {
    let scale_of = |data_type: &DataType| digits_of(data_type).map(|(_, scale)| scale);
    let (of_left, of_right) = (
        scale_of(sides[0].data_type())?,
        scale_of(sides[1].data_type())?,
    );
    let scale = scale_of(result)?;
    let digits = |value: i128, scale: i8, shown: Option<Shown>| match shown {
        Some(shown) => shown.unfilled((value, scale)),
        None => (value, scale),
    };
    let [left, right] = [0, 1].map(|side: usize| sides[side].as_primitive::<Decimal128Type>());
    let values = left.iter().zip(right).map(|pair| match pair {
        (Some(left), Some(right)) => {
            let left = digits(left, of_left, shown[0]);
            let right = digits(right, of_right, shown[1]);
            operator.compute(left, right, scale).map(Some)
        }
        _ => Ok(None),
    });
    let values: Decimal128Array = values.collect::<Result<_>>()?;
    Ok(Arc::new(values.with_data_type(result.clone())))
}
