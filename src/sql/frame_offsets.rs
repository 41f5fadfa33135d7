//! Offsets of window frames that have a type: `RANGE 2::int8 PRECEDING`, `RANGE 'inf' PRECEDING`.
//!
//! DataFusion takes literals alone, and reads each as a value of the type that the sorted key has, or of an interval where
//! that is a time.

use datafusion::sql::sqlparser::ast::{self, Expr, Value};

use super::number_literal::{literal, typed_number};

/// Makes the offset the literal that it is a cast of; others stay.
pub(super) fn untype_offset(offset: &mut Expr) {
    if let Some(literal) = literal_of(offset) {
        *offset = literal;
    }
}

fn literal_of(offset: &Expr) -> Option<Expr> {
    match offset {
        Expr::Nested(inner) => literal_of(inner),
        Expr::Interval(_) => Some(offset.clone()),
        Expr::Value(value) => match &value.value {
            Value::Number(..) => Some(offset.clone()),
            Value::SingleQuotedString(_) => Some(text_offset(offset)),
            _ => None,
        },
        Expr::Cast {
            expr, data_type, ..
        } => literal_of(expr).filter(|literal| !(is_whole(data_type) && has_fraction(literal))),
        other => typed_number(other).map(literal),
    }
}

/// A text where DataFusion takes one.
fn text_offset(text: &Expr) -> Expr {
    Expr::Interval(ast::Interval {
        value: Box::new(text.clone()),
        leading_field: None,
        leading_precision: None,
        last_field: None,
        fractional_seconds_precision: None,
    })
}

/// Whether a cast to the type would round.
fn is_whole(data_type: &ast::DataType) -> bool {
    use ast::DataType as D;
    let is_named = |name: &ast::ObjectName| {
        let name = name.to_string().to_lowercase();
        matches!(name.as_str(), "int2" | "int4" | "int8")
    };
    match data_type {
        D::SmallInt(_) | D::Int(_) | D::Integer(_) | D::BigInt(_) => true,
        D::Int2(_) | D::Int4(_) | D::Int8(_) => true,
        D::Custom(name, _) => is_named(name),
        _ => false,
    }
}

fn has_fraction(literal: &Expr) -> bool {
    match literal {
        Expr::Value(value) => {
            matches!(&value.value, Value::Number(digits, _) if digits.contains(['.', 'e', 'E']))
        }
        _ => false,
    }
}
