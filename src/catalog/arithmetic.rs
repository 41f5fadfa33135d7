//! Arithmetic that fails where PostgreSQL's does.
//!
//! DataFusion lets integers wrap around and divides doubles by zero. Here both are errors, 22003 and 22012: a wrong
//! number is worse than none. The operators become functions over arrow's checked kernels once their types are known.
//! Texts are read as PostgreSQL reads them: `'1e400'::float8` is out of range rather than infinite, and not every text is
//! JSON.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Datum};
use arrow::compute::kernels::numeric::{add, div, mul, rem, sub};
use arrow::datatypes::{DataType, Field, FieldRef, Float32Type, Float64Type};
use arrow::error::ArrowError;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, Cast, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ReturnFieldArgs,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::analyzer::AnalyzerRule;
use datafusion::physical_expr_common::datum::apply;

use super::assign::cast_to;
use crate::storage::schema::{ColumnType, SQL_TYPE_KEY};

/// Makes checked functions of arithmetic operators. It must run after types are coerced.
#[derive(Debug, Default)]
pub struct CheckedArithmeticRule;

impl AnalyzerRule for CheckedArithmeticRule {
    fn name(&self) -> &str {
        "checked_arithmetic"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let rewritten = plan.transform_up_with_subqueries(|node| {
            let mut schema = merge_schema(&node.inputs());
            if let LogicalPlan::TableScan(scan) = &node {
                schema.merge(&scan.projected_schema);
            }
            let names = NamePreserver::new(&node);
            node.map_expressions(|expr| {
                let name = names.save(&expr);
                let rewritten = expr.transform_up(|e| Ok(rewrite(e, &schema)))?;
                Ok(rewritten.update_data(|e| name.restore(e)))
            })
        })?;
        Ok(rewritten.data)
    }
}

fn rewrite(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let checked = Checked::of(op).filter(|checked| {
                let types = left.get_type(schema).ok().zip(right.get_type(schema).ok());
                types.is_some_and(|(l, r)| l == r && checked.can_fail(&l))
            });
            match checked {
                Some(checked) => Transformed::yes(checked.call(*left, *right)),
                None => Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
            }
        }
        Expr::Cast(Cast { expr, field })
            if read_type(&field).is_some() && expr.get_type(schema).is_ok_and(|t| is_text(&t)) =>
        {
            let reading = Reading {
                field,
                signature: Signature::any(1, Volatility::Immutable),
            };
            Transformed::yes(Arc::new(ScalarUDF::from(reading)).call(vec![*expr]))
        }
        Expr::Negative(inner) => {
            let zero = inner
                .get_type(schema)
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
        match self {
            Self::Add => add(left, right),
            Self::Subtract => sub(left, right),
            Self::Multiply => mul(left, right),
            Self::Divide | Self::Remainder if divides_by_zero(left.get().0, right.get().0) => {
                Err(ArrowError::DivideByZero)
            }
            Self::Divide => div(left, right),
            Self::Remainder => rem(left, right),
        }
    }
}

fn is_double(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Float32 | DataType::Float64)
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

/// Whether a row has a zero divisor; nothing divided by zero is nothing. Either side may be one value for all rows.
fn divides_by_zero(dividends: &dyn Array, divisors: &dyn Array) -> bool {
    let is_zero = |row: usize| match divisors.data_type() {
        DataType::Float32 => divisors.as_primitive::<Float32Type>().value(row) == 0.0,
        _ => divisors.as_primitive::<Float64Type>().value(row) == 0.0,
    };
    let rows = dividends.len().max(divisors.len());
    let at = |array: &dyn Array, row: usize| if array.len() == 1 { 0 } else { row };
    (0..rows).any(|row| {
        let (dividend, divisor) = (at(dividends, row), at(divisors, row));
        dividends.is_valid(dividend) && divisors.is_valid(divisor) && is_zero(divisor)
    })
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
            Checked::Divide => "checked_divide",
            Checked::Remainder => "checked_remainder",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types[0].clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (left, right) = (&args.args[0], &args.args[1]);
        apply(left, right, |left, right| self.checked.compute(left, right))
    }
}

/// The type of a field whose texts are read by PostgreSQL's rules: Arrow reads them otherwise, or takes any text.
fn read_type(field: &Field) -> Option<ColumnType> {
    match (field.data_type(), field.metadata().get(SQL_TYPE_KEY)) {
        (DataType::Float32, _) => Some(ColumnType::Real),
        (DataType::Float64, _) => Some(ColumnType::Double),
        (DataType::Utf8, Some(name)) if name == "json" || name == "jsonb" => Some(ColumnType::Json),
        _ => None,
    }
}

/// Text read as a value of a type.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Reading {
    field: FieldRef,
    signature: Signature,
}

impl ScalarUDFImpl for Reading {
    fn name(&self) -> &str {
        "read_text"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(self.field.data_type().clone())
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs) -> Result<FieldRef> {
        let field = Field::clone(&self.field);
        Ok(Arc::new(field.with_name(self.name()).with_nullable(true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let target = read_type(&self.field).unwrap_or(ColumnType::Text);
        let text = args.args[0].to_array(1)?;
        let read = cast_to(&text, &target).map_err(|e| e.error)?;
        match &args.args[0] {
            ColumnarValue::Scalar(_) => {
                let value = ScalarValue::try_from_array(&read, 0)?;
                Ok(ColumnarValue::Scalar(value))
            }
            ColumnarValue::Array(_) => Ok(ColumnarValue::Array(read)),
        }
    }
}
