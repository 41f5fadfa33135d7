//! The order of vectors: `vector_cmp` and the functions behind `= <> < <= > >=`.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int32Array};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::error::Result;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use crate::input::{Operand, all_constant, result_rows};
use crate::output::columnar;
use crate::signature::{accept_vectors, fold_text, immutable, result_field};

/// A question about the order of two vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `vector_cmp`: -1, 0 or 1.
    Compare,
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Comparison {
    /// Every comparison.
    pub const ALL: [Comparison; 7] = [
        Comparison::Compare,
        Comparison::Equal,
        Comparison::NotEqual,
        Comparison::Less,
        Comparison::LessOrEqual,
        Comparison::Greater,
        Comparison::GreaterOrEqual,
    ];

    fn name(self) -> &'static str {
        match self {
            Comparison::Compare => "vector_cmp",
            Comparison::Equal => "vector_eq",
            Comparison::NotEqual => "vector_ne",
            Comparison::Less => "vector_lt",
            Comparison::LessOrEqual => "vector_le",
            Comparison::Greater => "vector_gt",
            Comparison::GreaterOrEqual => "vector_ge",
        }
    }

    pub(crate) fn holds(self, ordering: Ordering) -> bool {
        match self {
            Comparison::Compare => true,
            Comparison::Equal => ordering.is_eq(),
            Comparison::NotEqual => ordering.is_ne(),
            Comparison::Less => ordering.is_lt(),
            Comparison::LessOrEqual => ordering.is_le(),
            Comparison::Greater => ordering.is_gt(),
            Comparison::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

/// `vector_cmp`, `vector_eq`, `vector_ne`, `vector_lt`, `vector_le`, `vector_gt`, `vector_ge`, and the same with `halfvec`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ComparisonFunction {
    comparison: Comparison,
    aliases: Vec<String>,
    signature: Signature,
}

impl ComparisonFunction {
    /// The function of a comparison.
    pub fn new(comparison: Comparison) -> Self {
        let (_, suffix) = comparison.name().split_at("vector".len());
        Self {
            comparison,
            aliases: vec![format!("halfvec{suffix}")],
            signature: immutable(),
        }
    }
}

impl ComparisonFunction {
    /// The comparison of a function, when it is one of these.
    pub(crate) fn comparison_of(function: &ScalarUDF) -> Option<Comparison> {
        let function = function.inner().downcast_ref::<Self>();
        function.map(|function| function.comparison)
    }
}

impl ScalarUDFImpl for ComparisonFunction {
    fn name(&self) -> &str {
        self.comparison.name()
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.comparison {
            Comparison::Compare => DataType::Int32,
            _ => DataType::Boolean,
        })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(result_field(self.name(), self.return_type(&[])?, &args))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        accept_vectors(self.name(), types, 2)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        Ok(match fold_text(&args, info)? {
            Some(args) => {
                let function = ScalarUDF::new_from_impl(self.clone());
                ExprSimplifyResult::Simplified(function.call(args))
            }
            None => ExprSimplifyResult::Original(args),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = result_rows(&args.args, args.number_rows);
        let left = Operand::try_new(&args.args[0])?.into_single();
        let right = Operand::try_new(&args.args[1])?.into_single();
        let orderings = (0..rows).map(|row| Some(compare_vectors(left.get(row)?, right.get(row)?)));
        let result: ArrayRef = match self.comparison {
            Comparison::Compare => Arc::new(
                orderings
                    .map(|o| o.map(|o| o as i32))
                    .collect::<Int32Array>(),
            ),
            comparison => {
                let answers = orderings.map(|o| o.map(|o| comparison.holds(o)));
                Arc::new(answers.collect::<BooleanArray>())
            }
        };
        columnar(result, all_constant(&args.args))
    }
}

/// Element by element, then the shorter first, as pgvector; -0 equals 0, and NaN, which no vector
/// of pgvector holds, equals NaN and is above everything.
pub fn compare_vectors(left: &[f32], right: &[f32]) -> Ordering {
    let mut elements = left
        .iter()
        .zip(right)
        .map(|(x, y)| compare_elements(*x, *y));
    let first = elements.find(|ordering| ordering.is_ne());
    first.unwrap_or_else(|| left.len().cmp(&right.len()))
}

fn compare_elements(x: f32, y: f32) -> Ordering {
    x.partial_cmp(&y)
        .unwrap_or_else(|| x.is_nan().cmp(&y.is_nan()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_vectors() {
        assert_eq!(compare_vectors(&[1.0, 2.0], &[1.0, 3.0]), Ordering::Less);
        assert_eq!(compare_vectors(&[1.0, 2.0], &[1.0]), Ordering::Greater);
        assert_eq!(compare_vectors(&[2.0], &[1.0, 9.0]), Ordering::Greater);
        assert_eq!(compare_vectors(&[0.0], &[-0.0]), Ordering::Equal);
        assert_eq!(
            compare_vectors(&[f32::NAN], &[f32::INFINITY]),
            Ordering::Greater
        );
        assert_eq!(compare_vectors(&[f32::NAN], &[-f32::NAN]), Ordering::Equal);
    }
}
