//! Functions of two vectors that make a third: `+`, `-`, `*` and `||`.

use arrow::datatypes::{DataType, FieldRef};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use crate::distance::shared_element;
use crate::error::VectorError;
use crate::functions::result_type;
use crate::input::{Operand, all_constant, result_rows};
use crate::output::{VectorsBuilder, columnar};
use crate::signature::{accept_vectors, argument_type, common_element, immutable, result_field};
use crate::text::check_dimension;
use crate::types::{DIMENSION_MAX, Element, VectorType};

/// What is done with two vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arithmetic {
    /// `vector_add`, element by element.
    Add,
    /// `vector_sub`, element by element.
    Subtract,
    /// `vector_mul`, element by element.
    Multiply,
    /// `vector_concat`, one after the other.
    Concat,
}

impl Arithmetic {
    /// Every operation.
    pub const ALL: [Arithmetic; 4] = [
        Arithmetic::Add,
        Arithmetic::Subtract,
        Arithmetic::Multiply,
        Arithmetic::Concat,
    ];
}

/// `vector_add`, `vector_sub`, `vector_mul` and `vector_concat`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ArithmeticFunction {
    arithmetic: Arithmetic,
    signature: Signature,
}

impl ArithmeticFunction {
    /// The function of an operation.
    pub fn new(arithmetic: Arithmetic) -> Self {
        Self {
            arithmetic,
            signature: immutable(),
        }
    }

    /// Whether a function is `vector_concat`, whose arguments need not have one dimension.
    pub(crate) fn is_concat(function: &ScalarUDF) -> bool {
        let own = function.inner().downcast_ref::<Self>();
        own.is_some_and(|own| own.arithmetic == Arithmetic::Concat)
    }

    /// The type of the result where it is known when a query is planned.
    fn result(&self, left: &DataType, right: &DataType) -> VectorType {
        let (left, right) = (argument_type(left), argument_type(right));
        let (l, r) = (
            left.and_then(|v| v.dimension),
            right.and_then(|v| v.dimension),
        );
        let dimension = match self.arithmetic {
            Arithmetic::Concat => l.zip(r).map(|(l, r)| l + r).filter(|n| *n <= DIMENSION_MAX),
            _ => l.or(r),
        };
        VectorType {
            element: common_element(left, right),
            dimension,
        }
    }
}

impl ScalarUDFImpl for ArithmeticFunction {
    fn name(&self) -> &str {
        match self.arithmetic {
            Arithmetic::Add => "vector_add",
            Arithmetic::Subtract => "vector_sub",
            Arithmetic::Multiply => "vector_mul",
            Arithmetic::Concat => "vector_concat",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(self.result(&types[0], &types[1]).arrow())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let [left, right] = [0, 1].map(|i: usize| args.arg_fields[i].data_type());
        Ok(result_field(
            self.name(),
            self.result(left, right).arrow(),
            &args,
        ))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        accept_vectors(self.name(), types, 2)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = result_rows(&args.args, args.number_rows);
        let left = Operand::try_new(&args.args[0])?.into_single();
        let right = Operand::try_new(&args.args[1])?.into_single();
        let target = result_type(&args.return_field)?;
        let named = shared_element(left.vectors.element(), right.vectors.element());
        let mut builder = VectorsBuilder::new(target, rows);
        let mut result = Vec::new();
        for row in 0..rows {
            match (left.get(row), right.get(row)) {
                (Some(a), Some(b)) => {
                    compute(self.arithmetic, a, b, named, &mut result)?;
                    check_range(&result, target.element)?;
                    builder.push(result.drain(..))?;
                }
                _ => builder.push_null(),
            }
        }
        columnar(builder.finish()?, all_constant(&args.args))
    }
}

/// Appends the result to an empty buffer, which the caller reuses.
fn compute(
    arithmetic: Arithmetic,
    a: &[f32],
    b: &[f32],
    element: Element,
    out: &mut Vec<f32>,
) -> Result<(), VectorError> {
    if arithmetic == Arithmetic::Concat {
        check_dimension(VectorType::unsized_of(element), a.len() + b.len())?;
        out.extend_from_slice(a);
        out.extend_from_slice(b);
        return Ok(());
    }
    if a.len() != b.len() {
        return Err(VectorError::different_dimensions(element, a.len(), b.len()));
    }
    let pairs = a.iter().zip(b);
    match arithmetic {
        Arithmetic::Add => out.extend(pairs.map(|(x, y)| x + y)),
        Arithmetic::Subtract => out.extend(pairs.map(|(x, y)| x - y)),
        Arithmetic::Multiply | Arithmetic::Concat => out.extend(pairs.map(|(x, y)| x * y)),
    }
    if arithmetic == Arithmetic::Multiply {
        check_underflow(a, b, out, element)?;
    }
    Ok(())
}

fn check_range(values: &[f32], element: Element) -> Result<(), VectorError> {
    let infinite = |x: &f32| narrowed(*x, element).is_infinite();
    if values.iter().any(infinite) {
        Err(VectorError::overflow())
    } else {
        Ok(())
    }
}

/// A product of two numbers that are not zero must not be zero.
fn check_underflow(
    a: &[f32],
    b: &[f32],
    product: &[f32],
    element: Element,
) -> Result<(), VectorError> {
    let mut triples = a.iter().zip(b).zip(product);
    let vanished =
        |((x, y), p): ((&f32, &f32), &f32)| narrowed(*p, element) == 0.0 && *x != 0.0 && *y != 0.0;
    if triples.any(vanished) {
        Err(VectorError::underflow())
    } else {
        Ok(())
    }
}

fn narrowed(x: f32, element: Element) -> f32 {
    match element {
        Element::Single => x,
        Element::Half => half::f16::from_f32(x).to_f32(),
    }
}
