//! Expressions turned into vectors: literals read, parameters typed, casts replaced by functions.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, ScalarUDF, lit};

use crate::cast::{ToTextFunction, ToVectorFunction};
use crate::error::VectorError;
use crate::output::vector_scalar;
use crate::signature::literal_text;
use crate::text;
use crate::types::{VectorType, is_list, is_text};

/// An expression as a vector of the type: text is read (a literal at once), an array converted, an
/// untyped parameter gets the type. An expression that already has the type is left alone.
///
/// This is what an assignment to a vector column does in pgvector.
///
/// # Errors
/// When a literal is no vector of that type: see [`crate::parse_vector`]; 42846 for an expression of a type that cannot
/// become a vector.
pub fn coerce_to_vector(expr: Expr, target: VectorType, schema: &DFSchema) -> Result<Expr> {
    let from = expr.get_type(schema)?;
    if from == target.arrow() {
        return Ok(expr);
    }
    match cast_to_vector(&expr, &from, target)? {
        Some(vector) => Ok(vector),
        None => Ok(Expr::Cast(Cast::new(Box::new(expr), target.arrow()))),
    }
}

/// A cast to a vector type as literal, typed parameter, or call; `None` where Arrow's cast will do.
pub(crate) fn cast_to_vector(
    expr: &Expr,
    from: &DataType,
    target: VectorType,
) -> Result<Option<Expr>> {
    if let Some(text) = literal_text(expr) {
        let values = text::parse(text, target)?;
        return Ok(Some(Expr::Literal(vector_scalar(&values, target)?, None)));
    }
    if let Expr::Placeholder(Placeholder { id, field: None }) = expr {
        return Ok(Some(parameter(id, target)));
    }
    let function = if is_text(from) {
        ToVectorFunction::from_text(target.element)
    } else if is_list(from) {
        ToVectorFunction::from_array(target.element)
    } else if from.is_null() || from == &target.arrow() {
        return Ok(None);
    } else {
        return Err(VectorError::no_cast(from, target.element).into());
    };
    let mut args = vec![expr.clone()];
    // Dimensions are at most 16,000.
    args.extend(target.dimension.map(|n| lit(n as i64)));
    Ok(Some(ScalarUDF::new_from_impl(function).call(args)))
}

/// A parameter of a vector type.
pub(crate) fn parameter(id: &str, target: VectorType) -> Expr {
    let field = Arc::new(Field::new("", target.arrow(), true));
    Expr::Placeholder(Placeholder::new_with_field(id.to_string(), Some(field)))
}

/// A cast of a vector to text as a call.
pub(crate) fn cast_to_text(expr: &Expr, target: &DataType) -> Expr {
    let text = ScalarUDF::new_from_impl(ToTextFunction::new()).call(vec![expr.clone()]);
    match target {
        DataType::Utf8 => text,
        other => Expr::Cast(Cast::new(Box::new(text), other.clone())),
    }
}
