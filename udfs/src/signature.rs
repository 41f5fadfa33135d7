//! What the functions accept and how their arguments combine.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, ReturnFieldArgs, Signature, Volatility};
use datafusion::scalar::ScalarValue;

use crate::output::vector_scalar;
use crate::text;
use crate::types::{Element, VectorType, is_list, is_text, list_element};

/// Every function of this crate depends on its arguments alone and checks their types itself.
pub(crate) fn immutable() -> Signature {
    Signature::user_defined(Volatility::Immutable)
}

/// Accepts `count` vectors: lists, text, or NULL.
pub(crate) fn accept_vectors(
    function: &str,
    types: &[DataType],
    count: usize,
) -> Result<Vec<DataType>> {
    if types.len() != count {
        return plan_err!("{function} takes {count} arguments, not {}", types.len());
    }
    types
        .iter()
        .map(|data_type| accept_vector(function, data_type))
        .collect()
}

/// Accepts one vector; what a list may hold is checked when it is read.
pub(crate) fn accept_vector(function: &str, data_type: &DataType) -> Result<DataType> {
    if is_list(data_type) || is_text(data_type) || data_type.is_null() {
        return Ok(data_type.clone());
    }
    plan_err!("{function} takes a vector, not {data_type}")
}

/// The vector type of an argument; `None` where text or NULL leaves it open.
pub(crate) fn argument_type(data_type: &DataType) -> Option<VectorType> {
    if is_text(data_type) || data_type.is_null() {
        return None;
    }
    VectorType::of(data_type).or_else(|| {
        let half = list_element(data_type) == Some(&DataType::Float16);
        let element = if half { Element::Half } else { Element::Single };
        let dimension = match data_type {
            DataType::FixedSizeList(_, n) => usize::try_from(*n).ok().filter(|n| *n > 0),
            _ => None,
        };
        Some(VectorType { element, dimension })
    })
}

/// The element of a result of two vectors: `halfvec` only when no side is wider.
pub(crate) fn common_element(left: Option<VectorType>, right: Option<VectorType>) -> Element {
    let half = |side: Option<VectorType>| side.is_none_or(|v| v.element == Element::Half);
    match (left, right) {
        (None, None) => Element::Single,
        _ if half(left) && half(right) => Element::Half,
        _ => Element::Single,
    }
}

/// A result field: named like the function, nullable when an argument is.
pub(crate) fn result_field(name: &str, data_type: DataType, args: &ReturnFieldArgs) -> FieldRef {
    let nullable = args
        .arg_fields
        .iter()
        .any(|f| f.is_nullable() || f.data_type().is_null());
    Arc::new(Field::new(name, data_type, nullable))
}

/// Text among the arguments read once, when the query is planned; `None` if there is none.
///
/// Only for functions whose result type does not depend on the dimension of an argument.
///
/// # Errors
/// Those of [`text::parse_vector`].
pub(crate) fn fold_text(args: &[Expr], info: &SimplifyContext) -> Result<Option<Vec<Expr>>> {
    let is_half = |e: &Expr| {
        let data_type = info.get_data_type(e).ok()?;
        Some(VectorType::of(&data_type)?.element == Element::Half)
    };
    if !args.iter().any(|arg| literal_text(arg).is_some()) {
        return Ok(None);
    }
    let half = args.iter().any(|arg| is_half(arg) == Some(true));
    let element = if half { Element::Half } else { Element::Single };
    let fold = |arg: &Expr| match literal_text(arg) {
        Some(text) => literal_vector(text, VectorType::unsized_of(element)),
        None => Ok(arg.clone()),
    };
    args.iter().map(fold).collect::<Result<Vec<_>>>().map(Some)
}

/// The text of a string literal.
pub(crate) fn literal_text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(scalar, _) => scalar_text(scalar),
        _ => None,
    }
}

fn scalar_text(scalar: &ScalarValue) -> Option<&str> {
    scalar.try_as_str().flatten()
}

/// A vector literal; where the target leaves the dimension open it takes the text's.
pub(crate) fn literal_vector(text: &str, target: VectorType) -> Result<Expr> {
    let values = text::parse(text, target)?;
    let target = VectorType {
        dimension: Some(values.len()),
        ..target
    };
    Ok(Expr::Literal(vector_scalar(&values, target)?, None))
}
