//! Arithmetic that fails where PostgreSQL's does.
//!
//! DataFusion lets integers wrap around and divides doubles by zero. Here both are errors, 22003 and 22012: a wrong
//! number is worse than none. The operators become functions over arrow's checked kernels once their types are known.
//! A cast to a whole number rounds, doubles to the even one and decimals away from zero, where Arrow cuts. A cast of a float
//! to NUMERIC has the six digits that REAL is sure of, or the fifteen of a double, where Arrow has those of its bits.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Datum};
use arrow::compute::kernels::numeric::{add, div, mul, rem, sub};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::error::ArrowError;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::functions::utils::make_scalar_function;
use datafusion::logical_expr::{
    BinaryExpr, Cast, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, cast,
};
use datafusion::optimizer::analyzer::AnalyzerRule;
use datafusion::physical_expr_common::datum::apply;

use super::assign::cast_to;
use super::exact_operators::ExactOperator;
use super::expressions::rewrite_expressions;
use super::zone::Zone;
use crate::error::{Error, sqlstate};
use crate::storage::schema::ColumnType;

/// The functions of `/` and `%`, which fail by a zero.
pub(crate) const CHECKED_DIVIDE: &str = "checked_divide";
pub(crate) const CHECKED_REMAINDER: &str = "checked_remainder";
/// Bytes of arguments that the name of a call has in full.
const NAMED_BYTES_MAX: usize = 256;

/// Makes checked functions of arithmetic operators. It must run after types are coerced.
#[derive(Debug, Default)]
pub struct CheckedArithmeticRule;

impl AnalyzerRule for CheckedArithmeticRule {
    fn name(&self) -> &str {
        "checked_arithmetic"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_expressions(plan, concerns, rewrite)
    }
}

fn concerns(expr: &Expr) -> bool {
    matches!(expr, Expr::BinaryExpr(_) | Expr::Cast(_))
}

fn rewrite(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::BinaryExpr(binary) if divides_decimals(&binary, schema) => {
            let quotient_type = Expr::BinaryExpr(binary.clone()).get_type(schema);
            match quotient_type {
                Ok(of) => {
                    let BinaryExpr { left, right, .. } = binary;
                    Transformed::yes(cast(ExactOperator::Quotient.call(*left, *right), of))
                }
                Err(_) => Transformed::no(Expr::BinaryExpr(binary)),
            }
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let checked = Checked::of(op).filter(|checked| {
                let of_right = || type_of(&right, schema).ok();
                let types = type_of(&left, schema).ok().zip(of_right());
                types.is_some_and(|(l, r)| l == r && checked.can_fail(&l))
            });
            match checked {
                Some(checked) => Transformed::yes(checked.call(*left, *right)),
                None => Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
            }
        }
        Expr::Cast(Cast { expr, field }) => {
            let rounds = type_of(&expr, schema)
                .ok()
                .and_then(|from| rounded_to(&from, field.data_type()));
            match rounds {
                Some(target) => {
                    let target = RoundingFunction {
                        target,
                        signature: Signature::any(1, Volatility::Immutable),
                    };
                    Transformed::yes(Arc::new(ScalarUDF::from(target)).call(vec![*expr]))
                }
                None => Transformed::no(Expr::Cast(Cast { expr, field })),
            }
        }
        Expr::Negative(inner) => {
            let zero = type_of(&inner, schema)
                .ok()
                .filter(DataType::is_signed_integer);
            match zero.and_then(|t| ScalarValue::new_zero(&t).ok()) {
                Some(zero) => {
                    let zero = Expr::Literal(zero, None);
                    Transformed::yes(Checked::Subtract.call(zero, *inner))
                }
                None => Transformed::no(Expr::Negative(inner)),
            }
        }
        other => Transformed::no(other),
    }
}

/// Whether decimals are divided, as yet by Arrow's operator, which cuts: what they are was not known when they were planned.
fn divides_decimals(binary: &BinaryExpr, schema: &DFSchema) -> bool {
    let is_decimal = |side: &Expr| matches!(type_of(side, schema), Ok(DataType::Decimal128(..)));
    binary.op == Operator::Divide && is_decimal(&binary.left) && is_decimal(&binary.right)
}

/// The type of an operand. A call that was made here has the type of its first argument: DataFusion would name all that is
/// below it, again for each operator of a chain.
fn type_of(mut expr: &Expr, schema: &DFSchema) -> Result<DataType> {
    while let Expr::ScalarFunction(call) = expr
        && call
            .func
            .inner()
            .downcast_ref::<CheckedFunction>()
            .is_some()
        && let Some(first) = call.args.first()
    {
        expr = first;
    }
    expr.get_type(schema)
}

/// An operation that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Checked {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Checked {
    fn of(operator: Operator) -> Option<Self> {
        match operator {
            Operator::Plus => Some(Self::Add),
            Operator::Minus => Some(Self::Subtract),
            Operator::Multiply => Some(Self::Multiply),
            Operator::Divide => Some(Self::Divide),
            Operator::Modulo => Some(Self::Remainder),
            _ => None,
        }
    }

    /// Whether DataFusion's operator answers something where this one fails.
    fn can_fail(self, operands: &DataType) -> bool {
        match self {
            Self::Add | Self::Subtract | Self::Multiply => operands.is_integer(),
            Self::Divide | Self::Remainder => is_double(operands),
        }
    }

    fn call(self, left: Expr, right: Expr) -> Expr {
        let function = CheckedFunction {
            checked: self,
            signature: Signature::any(2, Volatility::Immutable),
        };
        Arc::new(ScalarUDF::from(function)).call(vec![left, right])
    }

    fn compute(self, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError> {
        let computed = match self {
            Self::Add => add(left, right),
            Self::Subtract => sub(left, right),
            Self::Multiply => mul(left, right),
            Self::Divide | Self::Remainder if divides_by_zero(left.get().0, right.get().0) => {
                Err(ArrowError::DivideByZero)
            }
            Self::Divide => div(left, right),
            Self::Remainder => rem(left, right),
        };
        computed.map_err(|error| match error {
            ArrowError::ArithmeticOverflow(_) => out_of_range(left.get().0.data_type()),
            other => other,
        })
    }
}

/// 22003 for a whole number that its type does not hold.
fn out_of_range(data_type: &DataType) -> ArrowError {
    let name = match data_type {
        DataType::Int16 => "smallint",
        DataType::Int32 => "integer",
        _ => "bigint",
    };
    let message = format!("{name} out of range");
    let error = Error::invalid(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, message);
    ArrowError::ExternalError(Box::new(error))
}

fn is_double(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Float32 | DataType::Float64)
}

/// Whether a row has a zero divisor; nothing divided by zero is nothing, and NaN is NaN. Either side may be one value for all
/// rows.
fn divides_by_zero(dividends: &dyn Array, divisors: &dyn Array) -> bool {
    let double = |array: &dyn Array, row: usize| match array.data_type() {
        DataType::Float32 => array.as_primitive::<Float32Type>().value(row).into(),
        _ => array.as_primitive::<Float64Type>().value(row),
    };
    let rows = dividends.len().max(divisors.len());
    let at = |array: &dyn Array, row: usize| if array.len() == 1 { 0 } else { row };
    (0..rows).any(|row| {
        let (dividend, divisor) = (at(dividends, row), at(divisors, row));
        dividends.is_valid(dividend)
            && divisors.is_valid(divisor)
            && double(divisors, divisor) == 0.0
            && !double(dividends, dividend).is_nan()
    })
}

/// The name of a call. It does not grow with the number of operators in a row: the planner names each of them with all
/// that are below it, again and again.
fn short_name(function: &str, args: &str) -> String {
    if args.len() <= NAMED_BYTES_MAX {
        return format!("{function}({args})");
    }
    let digest = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, args).hash(&mut hasher);
        hasher.finish()
    };
    format!("{function}(#{:016x}{:016x})", digest(0), digest(1))
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct CheckedFunction {
    checked: Checked,
    signature: Signature,
}

impl ScalarUDFImpl for CheckedFunction {
    fn name(&self) -> &str {
        match self.checked {
            Checked::Add => "checked_add",
            Checked::Subtract => "checked_subtract",
            Checked::Multiply => "checked_multiply",
            Checked::Divide => CHECKED_DIVIDE,
            Checked::Remainder => CHECKED_REMAINDER,
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types[0].clone())
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let args: Vec<_> = args.iter().map(|a| a.schema_name().to_string()).collect();
        Ok(short_name(self.name(), &args.join(",")))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (left, right) = (&args.args[0], &args.args[1]);
        apply(left, right, |left, right| self.checked.compute(left, right))
    }
}

/// The type that a cast rounds to: a whole number, or NUMERIC of a float, which has no more digits than the float tells.
fn rounded_to(from: &DataType, to: &DataType) -> Option<ColumnType> {
    let has_fraction = from.is_floating() || matches!(from, DataType::Decimal128(..));
    match to {
        DataType::Int16 if has_fraction => Some(ColumnType::SmallInt),
        DataType::Int32 if has_fraction => Some(ColumnType::Integer),
        DataType::Int64 if has_fraction => Some(ColumnType::BigInt),
        DataType::Decimal128(precision, scale) if from.is_floating() => {
            Some(ColumnType::Numeric(*precision, *scale))
        }
        _ => None,
    }
}

/// A number with a fraction rounded to a whole one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct RoundingFunction {
    target: ColumnType,
    signature: Signature,
}

impl ScalarUDFImpl for RoundingFunction {
    fn name(&self) -> &str {
        "rounded_cast"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(self.target.arrow_type())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let round = |numbers: &[ArrayRef]| {
            let rounded = cast_to(&numbers[0], &self.target, &Zone::utc());
            Ok(rounded.map_err(|e| e.error)?)
        };
        make_scalar_function(round, Vec::new())(&args.args)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use datafusion::logical_expr::{col, lit};

    use super::*;

    #[test]
    fn names_of_long_sums_are_short_and_differ() {
        let sum = |first: Expr, terms: i64| {
            (0..terms).fold(first, |sum, n| Checked::Add.call(sum, lit(n)))
        };
        let name = |expr: &Expr| expr.schema_name().to_string();
        assert_eq!(name(&sum(col("a"), 1)), "checked_add(a,Int64(0))");
        let long = [sum(col("a"), 400), sum(col("b"), 400), sum(col("a"), 401)];
        let names: Vec<_> = long.iter().map(name).collect();
        assert!(names.iter().all(|n| n.len() < 2 * NAMED_BYTES_MAX));
        assert_eq!(name(&long[0].clone()), names[0]);
        assert!(names[0] != names[1] && names[0] != names[2] && names[1] != names[2]);
    }
}
